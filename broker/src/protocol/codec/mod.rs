//! The machine under the tables: a bounded reader, a counting and a gathering writer, the types
//! of the wire, and the macro that makes messages from tables.

mod error;
mod reader;
mod records;
#[doc(hidden)]
pub mod sample;
mod table;
mod text;
mod types;
mod writer;

use std::fmt;

use bytes::Bytes;

pub use error::{DecodeError, DecodeProblem, EncodeError, EncodeProblem};
pub use reader::{DECODED_BYTES_BASE, DECODED_BYTES_PER_FRAME_BYTE, Reader};
pub use records::Records;
#[doc(hidden)]
pub use sample::Sampler;
pub(crate) use table::{option_of, table_head, tables};
pub use text::Str;
pub use types::STRING_BYTES_MAX;
pub use writer::{Counter, Gather, SHARED_BYTES_MIN, Sink};

use super::ApiKey;

/// An inclusive range of versions, as Kafka writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionRange {
    /// The lowest version.
    pub min: i16,
    /// The highest version.
    pub max: i16,
}

impl VersionRange {
    /// The versions from `min` to `max`, both included.
    #[must_use]
    pub const fn new(min: i16, max: i16) -> Self {
        assert!(0 <= min && min <= max, "versions ascend from 0");
        Self { min, max }
    }

    /// Whether `version` is one of them.
    #[must_use]
    pub const fn contains(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }

    /// Every version, lowest first.
    pub fn iter(self) -> impl Iterator<Item = i16> {
        self.min..=self.max
    }

    /// The highest version that both know, or `None`.
    #[must_use]
    pub fn highest_common(self, other: Self) -> Option<i16> {
        let highest = self.max.min(other.max);
        (highest >= self.min.max(other.min)).then_some(highest)
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.min, self.max)
    }
}

/// How a message is laid out: its version, and whether that version is flexible (compact lengths
/// and tagged fields, KIP-482).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// The version of the message, which holds for everything inside it.
    pub version: i16,
    /// Whether lengths are compact and structs end in tagged fields.
    pub flexible: bool,
}

/// A type that a field of a table may have.
///
/// Implemented for signed integers, `bool`, [`Uuid`](uuid::Uuid), [`Str`], [`Bytes`], [`Records`], `Vec`
/// and `Option` of these, and for every struct that the macro makes.
pub trait Wire: Sized {
    /// Takes a value from the reader.
    ///
    /// # Errors
    /// A [`DecodeError`] with field and position; the reader's position is then meaningless.
    fn read(reader: &mut Reader, encoding: Encoding) -> Result<Self, DecodeError>;

    /// As [`Wire::read`], for a field that may be null at some versions only.
    ///
    /// # Errors
    /// Also [`DecodeProblem::UnexpectedNull`].
    #[inline]
    fn read_if_nullable(
        reader: &mut Reader,
        encoding: Encoding,
        _nullable: bool,
    ) -> Result<Self, DecodeError> {
        Self::read(reader, encoding)
    }

    /// Puts the value into the sink. Writes the same bytes into every sink, so that a [`Counter`]
    /// tells the exact size.
    ///
    /// # Errors
    /// An [`EncodeError`] with the field; the sink then holds a part of the encoding.
    fn write<S: Sink>(&self, sink: &mut S, encoding: Encoding) -> Result<(), EncodeError>;

    /// As [`Wire::write`], for a field that may be null at some versions only.
    ///
    /// # Errors
    /// Also [`EncodeProblem::UnexpectedNull`].
    #[inline]
    fn write_if_nullable<S: Sink>(
        &self,
        sink: &mut S,
        encoding: Encoding,
        _nullable: bool,
    ) -> Result<(), EncodeError> {
        self.write(sink, encoding)
    }

    /// The least number of bytes that a value takes, by which counts are bounded.
    fn size_min(encoding: Encoding) -> usize;

    /// A random value that this version can carry, for tests.
    #[doc(hidden)]
    fn sample(sampler: &mut Sampler, encoding: Encoding) -> Self;

    /// As `sample`, for a field that may be null at some versions only.
    #[doc(hidden)]
    fn sample_if_nullable(sampler: &mut Sampler, encoding: Encoding, _nullable: bool) -> Self {
        Self::sample(sampler, encoding)
    }
}

/// A type with a null of its own on the wire: strings, blobs and arrays.
pub trait Nullable: Wire {
    /// Takes a value, or `None` for null.
    ///
    /// # Errors
    /// As [`Wire::read`].
    fn read_nullable(reader: &mut Reader, encoding: Encoding) -> Result<Option<Self>, DecodeError>;

    /// Puts a null.
    fn write_null<S: Sink>(sink: &mut S, encoding: Encoding);
}

/// A table that stands for itself: the body of a request or response, or a persisted record.
pub trait Message: Wire + Default + Clone + PartialEq + fmt::Debug {
    /// The name of the table.
    const NAME: &'static str;
    /// The versions that can be decoded and encoded.
    const VERSIONS: VersionRange;
    /// The first flexible version; `i16::MAX` if there is none.
    const FLEXIBLE_FROM: i16;

    /// The layout of a version.
    #[must_use]
    fn encoding(version: i16) -> Encoding {
        Encoding { version, flexible: version >= Self::FLEXIBLE_FROM }
    }

    /// Decodes the whole of `bytes`: strings and blobs of the value are slices of it.
    ///
    /// Allocates for arrays only, at most [`DECODED_BYTES_BASE`] +
    /// [`DECODED_BYTES_PER_FRAME_BYTE`] times the bytes.
    ///
    /// # Errors
    /// A [`DecodeError`], also for a version outside [`Message::VERSIONS`] and for trailing bytes.
    fn decode(bytes: Bytes, version: i16) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let message = Self::decode_body(&mut reader, version)?;
        reader.enter(Self::NAME);
        reader.finish()?;
        Ok(message)
    }

    /// As [`Message::decode`], for what follows a header in the same reader. Bytes after the body
    /// are left in the reader, for the caller to judge.
    ///
    /// # Errors
    /// As [`Message::decode`].
    fn decode_body(reader: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        reader.enter(Self::NAME);
        let supported = Self::VERSIONS;
        if !supported.contains(version) {
            return Err(reader.error(DecodeProblem::UnsupportedVersion { version, supported }));
        }
        Self::read(reader, Self::encoding(version))
    }

    /// Puts the encoding into a sink.
    ///
    /// # Errors
    /// An [`EncodeError`]: a version outside [`Message::VERSIONS`], a null or a value that the
    /// version cannot carry, a length beyond its length field.
    fn encode_into<S: Sink>(&self, sink: &mut S, version: i16) -> Result<(), EncodeError> {
        let supported = Self::VERSIONS;
        if !supported.contains(version) {
            return Err(EncodeError::new(version, EncodeProblem::UnsupportedVersion { supported })
                .within(Self::NAME));
        }
        self.write(sink, Self::encoding(version))
    }

    /// Counts the bytes of the encoding.
    ///
    /// # Errors
    /// As [`Message::encode_into`]; if this succeeds, so does encoding.
    fn measure(&self, version: i16) -> Result<Counter, EncodeError> {
        let mut counter = Counter::default();
        self.encode_into(&mut counter, version)?;
        Ok(counter)
    }

    /// Encodes without a header: for persisted records.
    ///
    /// # Errors
    /// As [`Message::encode_into`].
    fn encode(&self, version: i16) -> Result<Gather, EncodeError> {
        let mut gather = Gather::with_capacity(self.measure(version)?.copied());
        self.encode_into(&mut gather, version)?;
        Ok(gather)
    }
}

/// The body of a request.
pub trait Request: Message {
    /// The API it calls.
    const API: ApiKey;
    /// The body of its response.
    type Response: Message;
}

/// Stands in a table's options for a field that is not tagged. Tags are unsigned 32-bit.
pub(crate) const NO_TAG: i64 = -1;

/// Whether the tags of a table ascend; fields without tag do not count.
pub(crate) const fn tags_ascend(tags: &[i64]) -> bool {
    let mut last = NO_TAG;
    let mut rest = tags;
    while let [tag, others @ ..] = rest {
        if *tag != NO_TAG {
            if *tag <= last || *tag > 0xffff_ffff {
                return false;
            }
            last = *tag;
        }
        rest = others;
    }
    true
}

/// Puts a tagged field: tag, size, value.
pub(crate) fn put_tagged_field<S: Sink, T: Wire>(
    sink: &mut S,
    tag: i64,
    value: &T,
    encoding: Encoding,
) -> Result<(), EncodeError> {
    let mut counter = Counter::default();
    value.write(&mut counter, encoding)?;
    let length = counter.size();
    let size = u32::try_from(length).map_err(|_| {
        let length_max = usize::try_from(u32::MAX).unwrap_or(usize::MAX);
        EncodeError::new(encoding.version, EncodeProblem::TooLong { length, length_max })
    })?;
    let tag = u32::try_from(tag).expect("the table's assertion admits no negative tag");
    sink.put_unsigned_varint(tag);
    sink.put_unsigned_varint(size);
    value.write(sink, encoding)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{DecodeProblem, EncodeProblem, Message, Str, tables, tags_ascend};

    tables! {
        /// A record with versions of its own.
        record Example (0..=2, flexible 2) {
            /// A field of every version.
            name: Str, 0..;
            /// A field that older versions go without.
            epoch: i32, 1.., default = -1, ignorable;
            /// A field that no older version can do without.
            owner: Option<Str>, 1.., nullable = 2..;
            /// A tagged field.
            note: Str, 2.., tag = 3, ignorable;
        }

        /// A record that is never flexible.
        record Plain (0..=0) {
            /// Its only field.
            values: Vec<i16>, 0..;
        }
    }

    fn encoded(example: &Example, version: i16) -> Result<Bytes, EncodeProblem> {
        example.encode(version).map(|gather| gather.into_bytes()).map_err(|error| error.problem)
    }

    #[test]
    fn a_record_is_laid_out_by_its_table() {
        let example = Example { name: "a".into(), epoch: 5, ..Example::default() };
        assert_eq!(encoded(&example, 0), Ok(Bytes::from_static(&[0, 1, b'a'])));
        assert_eq!(encoded(&example, 1), Err(EncodeProblem::UnexpectedNull));
        let flexible = Bytes::from_static(&[2, b'a', 0, 0, 0, 5, 0, 0]);
        assert_eq!(encoded(&example, 2), Ok(flexible.clone()));
        assert_eq!(Example::decode(flexible, 2), Ok(example));

        let tagged = Example { note: "n".into(), ..Example::default() };
        let bytes = encoded(&tagged, 2).expect("a tagged field");
        assert_eq!(bytes, &[1, 0xff, 0xff, 0xff, 0xff, 0, 1, 3, 2, 2, b'n'][..]);
        assert_eq!(Example::decode(bytes, 2), Ok(tagged));

        let owned = Example { owner: Some("o".into()), ..Example::default() };
        assert_eq!(encoded(&owned, 0), Err(EncodeProblem::NotInVersion));
        let supported = Example::VERSIONS;
        assert_eq!(encoded(&owned, 3), Err(EncodeProblem::UnsupportedVersion { supported }));
        let error = Example::decode(Bytes::new(), 3).expect_err("no version 3");
        assert_eq!(error.problem, DecodeProblem::UnsupportedVersion { version: 3, supported });
    }

    #[test]
    fn a_record_without_flexible_versions_has_classic_lengths() {
        let plain = Plain { values: vec![1, -1] };
        let bytes = plain.encode(0).expect("a record").into_bytes();
        assert_eq!(bytes, &[0, 0, 0, 2, 0, 1, 0xff, 0xff][..]);
        assert_eq!(Plain::decode(bytes, 0), Ok(plain));
    }

    #[test]
    fn tags_that_do_not_ascend_are_noticed() {
        assert!(tags_ascend(&[-1, 0, -1, 3]));
        assert!(!tags_ascend(&[0, 0]));
        assert!(!tags_ascend(&[1, 0]));
    }
}

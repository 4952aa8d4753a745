//! Frames and headers: what stands before every request and response.
//!
//! ```text
//! request    length i32 | api key i16 | version i16 | correlation id i32 | client id | (tags) | body
//! response   length i32 | correlation id i32 | (tags) | body
//! ```
//!
//! The length counts what follows it. Functions that decode take a frame without its length,
//! functions that encode write it.

use bytes::Bytes;
use thiserror::Error;

use super::{
    ApiKey,
    codec::{
        Counter, DecodeError, EncodeError, EncodeProblem, Encoding, Gather, Message, Reader,
        Request, Sink, Str, VersionRange, Wire,
    },
};

/// Bytes of the length before each frame.
pub const LENGTH_BYTES: usize = 4;

/// The part of a request that has the same layout for every API and version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preamble {
    /// The API's number, known or not.
    pub api_key: i16,
    /// The version of the body, served or not.
    pub version: i16,
    /// What the response must repeat.
    pub correlation_id: i32,
}

impl Preamble {
    /// Bytes of a preamble.
    pub const BYTES: usize = 8;

    /// Reads the first eight bytes of a frame.
    ///
    /// # Errors
    /// [`HeaderError::FrameTooShort`].
    pub fn decode(frame: &[u8]) -> Result<Self, HeaderError> {
        let Some([k0, k1, v0, v1, c0, c1, c2, c3]) = frame.first_chunk::<{ Self::BYTES }>() else {
            return Err(HeaderError::FrameTooShort { length: frame.len(), needed: Self::BYTES });
        };
        Ok(Self {
            api_key: i16::from_be_bytes([*k0, *k1]),
            version: i16::from_be_bytes([*v0, *v1]),
            correlation_id: i32::from_be_bytes([*c0, *c1, *c2, *c3]),
        })
    }
}

/// Why the header of a request could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// Not even the preamble is there: the connection is of no use.
    #[error("frame of {length} bytes, a request has at least {needed}")]
    FrameTooShort {
        /// Bytes of the frame.
        length: usize,
        /// Bytes of the shortest request.
        needed: usize,
    },
    /// An API that this broker does not have: Kafka closes the connection.
    #[error("api key {} is not known", preamble.api_key)]
    UnknownApi {
        /// What could be read.
        preamble: Preamble,
    },
    /// A version that is not served. For ApiVersions the answer is a body of version 0 with error
    /// UNSUPPORTED_VERSION (35) and the versions there are; for others Kafka closes the connection.
    #[error("{api} version {} is not served, {served} are", preamble.version)]
    UnsupportedVersion {
        /// What could be read.
        preamble: Preamble,
        /// The API asked for.
        api: ApiKey,
        /// The versions that are served.
        served: VersionRange,
    },
    /// The rest of the header is broken.
    #[error("request header: {0}")]
    Malformed(#[from] DecodeError),
}

/// The header of a request that this broker serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// The API.
    pub api: ApiKey,
    /// The version of the body, one that is served.
    pub version: i16,
    /// What the response must repeat.
    pub correlation_id: i32,
    /// The client's name for itself.
    pub client_id: Option<Str>,
}

impl RequestHeader {
    /// Reads the header of a frame. The reader then stands at the body, for
    /// [`Message::decode_body`].
    ///
    /// # Errors
    /// A [`HeaderError`], which says what the peer is to be told.
    pub fn decode(frame: Bytes) -> Result<(Self, Reader), HeaderError> {
        let preamble = Preamble::decode(&frame)?;
        let api =
            ApiKey::from_code(preamble.api_key).ok_or(HeaderError::UnknownApi { preamble })?;
        let Preamble { version, correlation_id, .. } = preamble;
        let served = api.served();
        if !served.contains(version) {
            return Err(HeaderError::UnsupportedVersion { preamble, api, served });
        }
        let mut reader = Reader::new(frame);
        reader.enter("RequestHeader");
        reader.skip(Preamble::BYTES)?;
        reader.enter("RequestHeader.client_id");
        // The client id keeps its classic length in flexible headers too.
        let client_id = Option::<Str>::read(&mut reader, CLASSIC)?;
        if api.is_flexible(version) {
            skip_tagged_fields(&mut reader, "RequestHeader.tagged fields")?;
        }
        Ok((Self { api, version, correlation_id, client_id }, reader))
    }

    fn write<S: Sink>(&self, sink: &mut S) -> Result<(), EncodeError> {
        sink.put(&self.api.code().to_be_bytes());
        sink.put(&self.version.to_be_bytes());
        sink.put(&self.correlation_id.to_be_bytes());
        self.client_id
            .write(sink, CLASSIC)
            .map_err(|error| error.within("RequestHeader.client_id"))?;
        if self.api.is_flexible(self.version) {
            sink.put_unsigned_varint(0);
        }
        Ok(())
    }
}

/// Decodes a response frame: its correlation id and its body.
///
/// For ApiVersions answered with error 35, decode at version 0 again: `version` is what was asked.
///
/// # Errors
/// A [`DecodeError`], also for bytes that follow the body.
pub fn decode_response<R: Request>(
    frame: Bytes,
    version: i16,
) -> Result<(i32, R::Response), DecodeError> {
    let mut reader = Reader::new(frame);
    reader.enter("ResponseHeader.correlation_id");
    let correlation_id = i32::read(&mut reader, CLASSIC)?;
    if R::API.response_header_version(version) > 0 {
        skip_tagged_fields(&mut reader, "ResponseHeader.tagged fields")?;
    }
    Ok((correlation_id, R::Response::decode_body(&mut reader, version)?))
}

/// Encodes a request with its length and header.
///
/// # Errors
/// As [`Message::encode_into`], and [`EncodeProblem::TooLong`] for a frame above 2 GiB.
pub fn encode_request<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: Option<&Str>,
) -> Result<Gather, EncodeError> {
    let client_id = client_id.cloned();
    let header = RequestHeader { api: R::API, version, correlation_id, client_id };
    encode_frame(|sink| header.write(sink), |sink| header.write(sink), request, version)
}

/// Encodes a response with its length and header, into slices for one vectored send.
///
/// # Errors
/// As [`Message::encode_into`], and [`EncodeProblem::TooLong`] for a frame above 2 GiB.
pub fn encode_response<M: Message>(
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    response: &M,
) -> Result<Gather, EncodeError> {
    let tagged = api.response_header_version(version) > 0;
    let id = correlation_id.to_be_bytes();
    encode_frame(
        |counter| put_response_header(counter, id, tagged),
        |gather| put_response_header(gather, id, tagged),
        response,
        version,
    )
}

/// Strings and numbers of headers, which have no flexible form.
const CLASSIC: Encoding = Encoding { version: 0, flexible: false };

fn put_response_header<S: Sink>(
    sink: &mut S,
    id: [u8; 4],
    tagged: bool,
) -> Result<(), EncodeError> {
    sink.put(&id);
    if tagged {
        sink.put_unsigned_varint(0);
    }
    Ok(())
}

/// One pass counts, the other writes: lengths stand before what they measure.
fn encode_frame<M: Message>(
    count_header: impl FnOnce(&mut Counter) -> Result<(), EncodeError>,
    write_header: impl FnOnce(&mut Gather) -> Result<(), EncodeError>,
    body: &M,
    version: i16,
) -> Result<Gather, EncodeError> {
    let mut counter = Counter::default();
    count_header(&mut counter)?;
    body.encode_into(&mut counter, version)?;
    let length = counter.size();
    let stored = i32::try_from(length).map_err(|_| {
        let problem = EncodeProblem::TooLong { length, length_max: 0x7fff_ffff };
        EncodeError::new(version, problem).within(M::NAME)
    })?;
    let mut gather = Gather::with_capacity(LENGTH_BYTES + counter.copied());
    gather.put(&stored.to_be_bytes());
    write_header(&mut gather)?;
    body.encode_into(&mut gather, version)?;
    debug_assert_eq!(gather.size(), LENGTH_BYTES + length, "both passes see the same value");
    Ok(gather)
}

fn skip_tagged_fields(reader: &mut Reader, field: &'static str) -> Result<(), DecodeError> {
    reader.enter(field);
    for _ in 0..reader.tagged_field_count()? {
        let (_, size) = reader.tagged_field()?;
        reader.skip(size)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(bytes: &[u8]) -> Bytes {
        Bytes::copy_from_slice(bytes)
    }

    #[test]
    fn a_frame_shorter_than_its_preamble_is_refused() {
        for length in 0..Preamble::BYTES {
            let error = RequestHeader::decode(frame(&vec![0; length])).expect_err("too short");
            assert_eq!(error, HeaderError::FrameTooShort { length, needed: 8 });
        }
    }

    #[test]
    fn an_unknown_api_keeps_its_number() {
        let error =
            RequestHeader::decode(frame(&[0x7f, 0xff, 0, 1, 0, 0, 0, 9])).expect_err("unknown");
        let preamble = Preamble { api_key: 0x7fff, version: 1, correlation_id: 9 };
        assert_eq!(error, HeaderError::UnknownApi { preamble });
    }

    #[test]
    fn a_version_that_is_not_served_is_told_with_those_that_are() {
        let error =
            RequestHeader::decode(frame(&[0, 18, 0, 99, 0, 0, 0, 9])).expect_err("version 99");
        let HeaderError::UnsupportedVersion { api, served, .. } = error else { panic!("{error}") };
        assert_eq!((api, served), (ApiKey::ApiVersions, VersionRange::new(0, 4)));
    }

    #[test]
    fn the_client_id_of_a_flexible_header_is_a_classic_string() {
        let bytes = [0, 18, 0, 3, 0, 0, 0, 9, 0, 2, b'm', b'e', 1, 7, 3, 1, 2, 3, 0xee];
        let (header, reader) = RequestHeader::decode(frame(&bytes)).expect("a header");
        assert_eq!(header.client_id, Some(Str::from("me")));
        assert_eq!(reader.remaining(), 1, "the unknown tagged field is passed over");
    }
}

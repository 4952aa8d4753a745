//! How each type of the tables looks on the wire.

use bytes::Bytes;
use uuid::Uuid;

use super::{
    DecodeError, DecodeProblem, EncodeError, EncodeProblem, Encoding, Nullable, Reader, Records,
    Sampler, Sink, Str, Wire,
};

/// Bytes of the longest string, in every encoding: what the two signed bytes of a classic length
/// can say.
pub const STRING_BYTES_MAX: usize = 0x7fff;

macro_rules! integers {
    ($($integer:ty),*) => {$(
        impl Wire for $integer {
            #[inline]
            fn read(reader: &mut Reader, _: Encoding) -> Result<Self, DecodeError> {
                reader.array().map(Self::from_be_bytes)
            }

            #[inline]
            fn write<S: Sink>(&self, sink: &mut S, _: Encoding) -> Result<(), EncodeError> {
                sink.put(&self.to_be_bytes());
                Ok(())
            }

            #[inline]
            fn size_min(_: Encoding) -> usize {
                size_of::<Self>()
            }

            fn sample(sampler: &mut Sampler, _: Encoding) -> Self {
                let drawn = sampler.integer_bytes();
                drawn.first_chunk().copied().map(Self::from_be_bytes).unwrap_or_default()
            }
        }
    )*};
}

integers!(i8, i16, i32, i64);

impl Wire for bool {
    #[inline]
    fn read(reader: &mut Reader, _: Encoding) -> Result<Self, DecodeError> {
        reader.array().map(|[byte]| byte != 0)
    }

    #[inline]
    fn write<S: Sink>(&self, sink: &mut S, _: Encoding) -> Result<(), EncodeError> {
        sink.put(&[u8::from(*self)]);
        Ok(())
    }

    #[inline]
    fn size_min(_: Encoding) -> usize {
        1
    }

    fn sample(sampler: &mut Sampler, _: Encoding) -> Self {
        sampler.coin()
    }
}

impl Wire for Uuid {
    #[inline]
    fn read(reader: &mut Reader, _: Encoding) -> Result<Self, DecodeError> {
        reader.array().map(Self::from_bytes)
    }

    #[inline]
    fn write<S: Sink>(&self, sink: &mut S, _: Encoding) -> Result<(), EncodeError> {
        sink.put(self.as_bytes());
        Ok(())
    }

    #[inline]
    fn size_min(_: Encoding) -> usize {
        16
    }

    fn sample(sampler: &mut Sampler, _: Encoding) -> Self {
        Self::from_u64_pair(sampler.draw(), sampler.draw())
    }
}

/// Writes a length or a count: four signed bytes, or a compact one that is stored plus one.
#[inline]
fn put_length<S: Sink>(sink: &mut S, length: usize, encoding: Encoding) -> Result<(), EncodeError> {
    const LENGTH_MAX: usize = 0x7fff_ffff;
    let stored = u32::try_from(length).ok().filter(|_| length <= LENGTH_MAX).ok_or_else(|| {
        EncodeError::new(
            encoding.version,
            EncodeProblem::TooLong { length, length_max: LENGTH_MAX },
        )
    })?;
    if encoding.flexible {
        sink.put_unsigned_varint(stored + 1);
    } else {
        sink.put(&stored.to_be_bytes());
    }
    Ok(())
}

/// Writes the null of a type whose classic length is of four bytes.
#[inline]
fn put_null<S: Sink>(sink: &mut S, encoding: Encoding) {
    if encoding.flexible {
        sink.put(&[0]);
    } else {
        sink.put(&(-1i32).to_be_bytes());
    }
}

#[cold]
fn unexpected_null(reader: &Reader) -> DecodeError {
    reader.error(DecodeProblem::UnexpectedNull)
}

impl Nullable for Str {
    #[inline]
    fn read_nullable(reader: &mut Reader, encoding: Encoding) -> Result<Option<Self>, DecodeError> {
        let length =
            if encoding.flexible { reader.length(true)? } else { reader.short_length()? };
        let Some(length) = length else { return Ok(None) };
        if length > STRING_BYTES_MAX {
            return Err(
                reader.error(DecodeProblem::StringTooLong { length, length_max: STRING_BYTES_MAX })
            );
        }
        let bytes = reader.bytes(length)?;
        Self::try_from(bytes).map(Some).map_err(|error| {
            reader.error(DecodeProblem::NotUtf8 { valid_up_to: error.valid_up_to() })
        })
    }

    #[inline]
    fn write_null<S: Sink>(sink: &mut S, encoding: Encoding) {
        if encoding.flexible {
            sink.put(&[0]);
        } else {
            sink.put(&(-1i16).to_be_bytes());
        }
    }
}

impl Wire for Str {
    #[inline]
    fn read(reader: &mut Reader, encoding: Encoding) -> Result<Self, DecodeError> {
        Self::read_nullable(reader, encoding)?.ok_or_else(|| unexpected_null(reader))
    }

    #[inline]
    fn write<S: Sink>(&self, sink: &mut S, encoding: Encoding) -> Result<(), EncodeError> {
        let bytes = self.as_bytes();
        let length = bytes.len();
        let stored = u16::try_from(length).ok().filter(|_| length <= STRING_BYTES_MAX);
        let stored = stored.ok_or_else(|| {
            EncodeError::new(
                encoding.version,
                EncodeProblem::TooLong { length, length_max: STRING_BYTES_MAX },
            )
        })?;
        if encoding.flexible {
            sink.put_unsigned_varint(u32::from(stored) + 1);
        } else {
            sink.put(&stored.to_be_bytes());
        }
        sink.put(bytes);
        Ok(())
    }

    #[inline]
    fn size_min(encoding: Encoding) -> usize {
        if encoding.flexible { 1 } else { 2 }
    }

    fn sample(sampler: &mut Sampler, _: Encoding) -> Self {
        Self::from(sampler.text())
    }
}

impl Nullable for Bytes {
    #[inline]
    fn read_nullable(reader: &mut Reader, encoding: Encoding) -> Result<Option<Self>, DecodeError> {
        match reader.length(encoding.flexible)? {
            Some(length) => reader.bytes(length).map(Some),
            None => Ok(None),
        }
    }

    #[inline]
    fn write_null<S: Sink>(sink: &mut S, encoding: Encoding) {
        put_null(sink, encoding);
    }
}

impl Wire for Bytes {
    #[inline]
    fn read(reader: &mut Reader, encoding: Encoding) -> Result<Self, DecodeError> {
        Self::read_nullable(reader, encoding)?.ok_or_else(|| unexpected_null(reader))
    }

    #[inline]
    fn write<S: Sink>(&self, sink: &mut S, encoding: Encoding) -> Result<(), EncodeError> {
        put_length(sink, self.len(), encoding)?;
        sink.put_shared(self);
        Ok(())
    }

    #[inline]
    fn size_min(encoding: Encoding) -> usize {
        if encoding.flexible { 1 } else { 4 }
    }

    fn sample(sampler: &mut Sampler, _: Encoding) -> Self {
        sampler.blob()
    }
}

impl Nullable for Records {
    #[inline]
    fn read_nullable(reader: &mut Reader, encoding: Encoding) -> Result<Option<Self>, DecodeError> {
        Ok(Bytes::read_nullable(reader, encoding)?.map(Self::from))
    }

    #[inline]
    fn write_null<S: Sink>(sink: &mut S, encoding: Encoding) {
        put_null(sink, encoding);
    }
}

impl Wire for Records {
    #[inline]
    fn read(reader: &mut Reader, encoding: Encoding) -> Result<Self, DecodeError> {
        Bytes::read(reader, encoding).map(Self::from)
    }

    #[inline]
    fn write<S: Sink>(&self, sink: &mut S, encoding: Encoding) -> Result<(), EncodeError> {
        put_length(sink, self.size(), encoding)?;
        self.slices().for_each(|slice| sink.put_shared(slice));
        Ok(())
    }

    #[inline]
    fn size_min(encoding: Encoding) -> usize {
        Bytes::size_min(encoding)
    }

    fn sample(sampler: &mut Sampler, _: Encoding) -> Self {
        (0..sampler.count()).map(|_| sampler.blob()).collect()
    }
}

impl<T: Wire> Nullable for Vec<T> {
    #[inline]
    fn read_nullable(reader: &mut Reader, encoding: Encoding) -> Result<Option<Self>, DecodeError> {
        let Some(count) = reader.length(encoding.flexible)? else { return Ok(None) };
        reader.admit(count, T::size_min(encoding), size_of::<T>())?;
        let mut elements = Self::with_capacity(count);
        for _ in 0..count {
            elements.push(T::read(reader, encoding)?);
        }
        Ok(Some(elements))
    }

    #[inline]
    fn write_null<S: Sink>(sink: &mut S, encoding: Encoding) {
        put_null(sink, encoding);
    }
}

impl<T: Wire> Wire for Vec<T> {
    #[inline]
    fn read(reader: &mut Reader, encoding: Encoding) -> Result<Self, DecodeError> {
        Self::read_nullable(reader, encoding)?.ok_or_else(|| unexpected_null(reader))
    }

    #[inline]
    fn write<S: Sink>(&self, sink: &mut S, encoding: Encoding) -> Result<(), EncodeError> {
        put_length(sink, self.len(), encoding)?;
        self.iter().try_for_each(|element| element.write(sink, encoding))
    }

    #[inline]
    fn size_min(encoding: Encoding) -> usize {
        if encoding.flexible { 1 } else { 4 }
    }

    fn sample(sampler: &mut Sampler, encoding: Encoding) -> Self {
        (0..sampler.count()).map(|_| T::sample(sampler, encoding)).collect()
    }
}

impl<T: Nullable> Wire for Option<T> {
    #[inline]
    fn read(reader: &mut Reader, encoding: Encoding) -> Result<Self, DecodeError> {
        T::read_nullable(reader, encoding)
    }

    #[inline]
    fn read_if_nullable(
        reader: &mut Reader,
        encoding: Encoding,
        nullable: bool,
    ) -> Result<Self, DecodeError> {
        let value = T::read_nullable(reader, encoding)?;
        if value.is_none() && !nullable {
            return Err(unexpected_null(reader));
        }
        Ok(value)
    }

    #[inline]
    fn write<S: Sink>(&self, sink: &mut S, encoding: Encoding) -> Result<(), EncodeError> {
        self.write_if_nullable(sink, encoding, true)
    }

    #[inline]
    fn write_if_nullable<S: Sink>(
        &self,
        sink: &mut S,
        encoding: Encoding,
        nullable: bool,
    ) -> Result<(), EncodeError> {
        match self {
            Some(value) => value.write(sink, encoding),
            None if nullable => {
                T::write_null(sink, encoding);
                Ok(())
            }
            None => Err(EncodeError::new(encoding.version, EncodeProblem::UnexpectedNull)),
        }
    }

    #[inline]
    fn size_min(encoding: Encoding) -> usize {
        T::size_min(encoding)
    }

    fn sample(sampler: &mut Sampler, encoding: Encoding) -> Self {
        Self::sample_if_nullable(sampler, encoding, true)
    }

    fn sample_if_nullable(sampler: &mut Sampler, encoding: Encoding, nullable: bool) -> Self {
        if nullable && sampler.draw().is_multiple_of(4) {
            return None;
        }
        Some(T::sample(sampler, encoding))
    }
}

//! The codec a batch's records are compressed with.

use thiserror::Error;

/// The codec in the lowest three attribute bits. The engine stores compressed bytes as they came;
/// it never compresses or decompresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// Plain records.
    #[default]
    None,
    /// A gzip stream.
    Gzip,
    /// Snappy in the xerial framing.
    Snappy,
    /// An LZ4 frame.
    Lz4,
    /// A Zstandard frame.
    Zstd,
}

/// Attribute bits that name no codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("compression codec {0} is unknown; 0 to 4 are defined")]
pub struct UnknownCompression(pub i16);

impl Compression {
    pub(super) const MASK: i16 = 0b111;

    /// The codec's number, as the attributes hold it.
    #[must_use]
    pub const fn bits(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The codec named by the lowest three bits of `attributes`.
    ///
    /// # Errors
    ///
    /// [`UnknownCompression`] for 5, 6 and 7.
    pub const fn from_bits(attributes: i16) -> Result<Self, UnknownCompression> {
        match attributes & Self::MASK {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            other => Err(UnknownCompression(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codec_survives_the_trip_through_its_bits() {
        for codec in [
            Compression::None,
            Compression::Gzip,
            Compression::Snappy,
            Compression::Lz4,
            Compression::Zstd,
        ] {
            assert_eq!(Compression::from_bits(codec.bits()), Ok(codec));
        }
        assert_eq!(Compression::from_bits(7), Err(UnknownCompression(7)));
    }
}

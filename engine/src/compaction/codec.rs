//! The seam to compression: keys stand in records, and records may be compressed.

use thiserror::Error;

use crate::batch::Compression;

/// Why a batch's records could not be unpacked or packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CodecError {
    /// Nobody here knows the codec.
    #[error("codec {0:?} is not supported")]
    Unsupported(Compression),
    /// The bytes are not what the codec makes, or unpack to more than is allowed.
    #[error("records of codec {0:?} do not unpack")]
    Malformed(Compression),
}

/// Unpacks and packs the records of compressed batches. The engine has no compression libraries;
/// whoever compacts logs with compressed batches brings them.
///
/// Called on the shard's thread, for one batch at a time.
pub trait BatchCodec {
    /// Appends the uncompressed records of a batch body to `records`, which is empty. Never called
    /// for [`Compression::None`].
    ///
    /// # Errors
    ///
    /// [`CodecError`]; the batch is then left as it is.
    fn unpack(
        &self,
        codec: Compression,
        body: &[u8],
        records: &mut Vec<u8>,
    ) -> Result<(), CodecError>;

    /// Appends the compressed form of `records` to `body`, which is empty. Never called for
    /// [`Compression::None`].
    ///
    /// # Errors
    ///
    /// [`CodecError`]; the batch is then left as it is.
    fn pack(
        &self,
        codec: Compression,
        records: &[u8],
        body: &mut Vec<u8>,
    ) -> Result<(), CodecError>;
}

/// Knows no codec: compressed batches are left as they are, with every record in them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Uncompressed;

impl BatchCodec for Uncompressed {
    fn unpack(&self, codec: Compression, _: &[u8], _: &mut Vec<u8>) -> Result<(), CodecError> {
        Err(CodecError::Unsupported(codec))
    }

    fn pack(&self, codec: Compression, _: &[u8], _: &mut Vec<u8>) -> Result<(), CodecError> {
        Err(CodecError::Unsupported(codec))
    }
}

//! Compression in the form that every Kafka client reads.

use std::io::{self, Write};

use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

use super::Compression;
use super::snappy::{BLOCK_BYTES, MAGIC};

/// Kafka's default levels.
const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 3;

/// Why records cannot be compressed.
#[derive(Debug, thiserror::Error)]
#[error("cannot compress {input_bytes} bytes of records as {codec:?}")]
pub struct CompressError {
    /// The codec asked for.
    pub codec: Compression,
    /// Bytes that were to be compressed.
    pub input_bytes: usize,
    /// What the codec said.
    pub source: io::Error,
}

/// Appends the compressed form of `records` to `out`. With an error, `out` may have grown by part
/// of it.
///
/// # Errors
///
/// [`CompressError`] if the codec fails, which no valid input makes it do.
pub fn compress(
    codec: Compression,
    records: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), CompressError> {
    let result = match codec {
        Compression::None => out.write_all(records),
        Compression::Gzip => gzip(records, out),
        Compression::Snappy => snappy(records, out),
        Compression::Lz4 => lz4(records, out),
        Compression::Zstd => zstd::stream::copy_encode(records, out, ZSTD_LEVEL),
    };
    result.map_err(|source| CompressError { codec, input_bytes: records.len(), source })
}

fn gzip(records: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::new(GZIP_LEVEL));
    encoder.write_all(records)?;
    encoder.finish()?;
    Ok(())
}

fn snappy(records: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    const VERSION: i32 = 1;
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&VERSION.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for block in records.chunks(BLOCK_BYTES) {
        let compressed = encoder.compress_vec(block)?;
        let length = i32::try_from(compressed.len()).map_err(io::Error::other)?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&compressed);
    }
    Ok(())
}

/// Java's consumer refuses blocks that refer to earlier ones, so each stands alone.
fn lz4(records: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let info = FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(info, out);
    encoder.write_all(records)?;
    encoder.finish().map_err(io::Error::from)?;
    Ok(())
}

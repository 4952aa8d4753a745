//! Compressing a whole batch, as a producer does before it sends.

use ringlog_engine::batch::{BatchHeader, HEADER_BYTES, LENGTH_PREFIX_BYTES};

use super::{CompressError, Compression, compress};

const LENGTH_AT: std::ops::Range<usize> = 8..12;
const CHECKSUM_AT: std::ops::Range<usize> = 17..21;
const CHECKSUMMED_FROM: usize = 21;
const ATTRIBUTES_AT: std::ops::Range<usize> = 21..23;

/// Gives the uncompressed batch `batch` with its records compressed, and length, attributes and
/// checksum made new. Anything that is no batch comes back as it was.
///
/// # Errors
///
/// [`CompressError`], as [`compress`].
pub fn compress_batch(codec: Compression, batch: &[u8]) -> Result<Vec<u8>, CompressError> {
    let (Some(header), Some(body)) = (BatchHeader::read(batch), batch.get(HEADER_BYTES..)) else {
        return Ok(batch.to_vec());
    };
    if codec == Compression::None {
        return Ok(batch.to_vec());
    }
    let mut out = Vec::with_capacity(batch.len());
    out.extend_from_slice(batch.get(..HEADER_BYTES).unwrap_or_default());
    compress(codec, body, &mut out)?;
    let length = i32::try_from(out.len() - LENGTH_PREFIX_BYTES).unwrap_or(i32::MAX);
    let attributes = header.attributes.with_compression(codec).bits();
    set(&mut out, LENGTH_AT, &length.to_be_bytes());
    set(&mut out, ATTRIBUTES_AT, &attributes.to_be_bytes());
    let checksum = crc32c::crc32c(out.get(CHECKSUMMED_FROM..).unwrap_or_default());
    set(&mut out, CHECKSUM_AT, &checksum.to_be_bytes());
    Ok(out)
}

fn set(bytes: &mut [u8], at: std::ops::Range<usize>, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at) {
        place.copy_from_slice(value);
    }
}

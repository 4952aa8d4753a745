//! The few requests of the hot path by hand: templates that are filled in, and their answers.

pub mod fetch;
pub mod produce;

const CLIENT_ID: &str = "ringlog-bench";
const CORRELATION_AT: std::ops::Range<usize> = 8..12;

/// Room for the length, and a request header of version 1 with correlation id 0.
fn put_head(out: &mut Vec<u8>, api_key: i16, version: i16) {
    out.extend([0; 4]);
    out.extend(api_key.to_be_bytes());
    out.extend(version.to_be_bytes());
    out.extend(0_i32.to_be_bytes());
    put_string(out, CLIENT_ID);
}

/// States the length of a request that ends `more` bytes after those that are there.
fn put_length(request: &mut [u8], more: usize) {
    let bytes = length(request.len() + more - 4).to_be_bytes();
    if let Some(place) = request.first_chunk_mut() {
        *place = bytes;
    }
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    out.extend(i16::try_from(text.len()).unwrap_or(i16::MAX).to_be_bytes());
    out.extend(text.as_bytes());
}

/// A length as the wire writes it; the settings keep everything far below the limit.
fn length(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}

/// Sets the correlation id of a request.
pub fn set_correlation(request: &mut [u8], correlation_id: i32) {
    if let Some(place) = request.get_mut(CORRELATION_AT) {
        place.copy_from_slice(&correlation_id.to_be_bytes());
    }
}

/// The next frame of what has arrived, without its length, if it is whole.
///
/// # Errors
///
/// The length that it states, if that is negative or above `limit_bytes`.
pub fn next_frame(received: &[u8], limit_bytes: usize) -> Result<Option<&[u8]>, i32> {
    let Some((length, rest)) = received.split_first_chunk::<4>() else { return Ok(None) };
    let stated = i32::from_be_bytes(*length);
    let length = usize::try_from(stated).ok().filter(|&length| length <= limit_bytes);
    Ok(rest.get(..length.ok_or(stated)?))
}

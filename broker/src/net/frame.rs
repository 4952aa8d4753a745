//! The frames of the wire: a length, then that many bytes of a request.
//!
//! ```text
//! | length: i32, big-endian | request: `length` bytes | length | request ...
//! ```
//!
//! This module only tells where a frame ends. What is in it is `protocol`'s.

/// Bytes of the length before a frame.
pub const LENGTH_BYTES: usize = 4;

/// What stands at the start of some received bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Not even a length yet.
    Nothing,
    /// The start of a frame of this many bytes, its length included.
    Part(usize),
    /// A frame of this many bytes, its length included, and perhaps more after it.
    Whole(usize),
}

/// A length that no frame may have. Nothing after it can be made sense of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Below zero.
    #[error("a request announces {length} bytes: must be 0 or more")]
    Negative {
        /// The length as read.
        length: i32,
    },
    /// Above `socket.request.max.bytes`.
    #[error("a request announces {length} bytes, more than socket.request.max.bytes={length_max}")]
    TooLarge {
        /// The length as read, in bytes.
        length: usize,
        /// The greatest allowed, in bytes.
        length_max: usize,
    },
}

/// Says whether `bytes` begin with a whole frame. Costs a comparison, whatever the frame's size.
///
/// # Errors
///
/// [`FrameError`] as soon as the length can be read.
pub fn look(bytes: &[u8], length_max: usize) -> Result<Look, FrameError> {
    let Some(prefix) = bytes.first_chunk::<LENGTH_BYTES>() else { return Ok(Look::Nothing) };
    let length = i32::from_be_bytes(*prefix);
    let length = usize::try_from(length).map_err(|_| FrameError::Negative { length })?;
    if length > length_max {
        return Err(FrameError::TooLarge { length, length_max });
    }
    let frame_bytes = LENGTH_BYTES + length;
    Ok(if bytes.len() < frame_bytes { Look::Part(frame_bytes) } else { Look::Whole(frame_bytes) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(length: i32, body: usize) -> Vec<u8> {
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.resize(LENGTH_BYTES + body, 7);
        bytes
    }

    #[test]
    fn a_frame_is_whole_when_its_last_byte_is_there() {
        let all = bytes(10, 10);
        for cut in 0..LENGTH_BYTES {
            assert_eq!(look(&all[..cut], 10), Ok(Look::Nothing));
        }
        for cut in LENGTH_BYTES..14 {
            assert_eq!(look(&all[..cut], 10), Ok(Look::Part(14)));
        }
        assert_eq!(look(&all, 10), Ok(Look::Whole(14)));
        assert_eq!(look(&bytes(10, 30), 10), Ok(Look::Whole(14)));
        assert_eq!(look(&bytes(0, 0), 10), Ok(Look::Whole(4)));
    }

    #[test]
    fn lengths_below_zero_and_above_the_limit_are_errors_with_figures() {
        assert_eq!(look(&bytes(-1, 0), 10), Err(FrameError::Negative { length: -1 }));
        assert_eq!(look(&bytes(i32::MIN, 0), 10), Err(FrameError::Negative { length: i32::MIN }));
        let error = look(&bytes(i32::MAX, 0), 10).expect_err("too large");
        assert_eq!(error, FrameError::TooLarge { length: 2_147_483_647, length_max: 10 });
        assert!(error.to_string().contains("2147483647"), "{error}");
        assert!(error.to_string().contains("max.bytes=10"), "{error}");
    }
}

//! Zig-zag variable-length integers, as records use them.

/// Appends a signed number of up to 64 bits.
pub(super) fn put(out: &mut Vec<u8>, value: i64) {
    let mut rest = (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned();
    loop {
        let [low, ..] = (rest & 0x7f).to_le_bytes();
        rest >>= 7;
        if rest == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Takes a signed number of up to 64 bits off the front; `None` if it is cut short or too long.
pub(super) fn take_i64(input: &mut &[u8]) -> Option<i64> {
    let mut value = 0_u64;
    for shift in (0..70).step_by(7) {
        let (byte, rest) = input.split_first()?;
        *input = rest;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    None
}

/// Takes a signed number of up to 32 bits off the front.
pub(super) fn take_i32(input: &mut &[u8]) -> Option<i32> {
    i32::try_from(take_i64(input)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_the_trip() {
        for value in [0, 1, -1, 63, 64, -64, -65, i64::from(i32::MAX), i64::MAX, i64::MIN] {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            assert!(bytes.len() <= 10);
            let mut rest = bytes.as_slice();
            assert_eq!(take_i64(&mut rest), Some(value));
            assert!(rest.is_empty());
            assert_eq!(take_i64(&mut &bytes[..bytes.len() - 1]), None);
        }
    }

    #[test]
    fn a_number_of_more_than_64_bits_is_refused() {
        assert_eq!(take_i64(&mut [0xff; 10].as_slice()), None);
        assert_eq!(take_i32(&mut [0xff, 0xff, 0xff, 0xff, 0x7f].as_slice()), None);
    }
}

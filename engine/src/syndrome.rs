//! What a wrong checksum says about which bit is wrong.

/// CRC-32C's polynomial, reflected.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// How many bits follow the one that, flipped, changes the checksum of `bits` bits by `syndrome`;
/// `None` if no single bit does. At most one does, for nothing that is checked has 2^31 bits.
pub(crate) fn bits_after(syndrome: u32, bits: usize) -> Option<usize> {
    // A checksum is linear: the flipped bit alone counts, and every bit behind it is a step.
    let mut register = POLYNOMIAL;
    for after in 0..bits {
        if register == syndrome {
            return Some(after);
        }
        register = if register & 1 == 1 { (register >> 1) ^ POLYNOMIAL } else { register >> 1 };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syndrome_leads_to_the_one_bit_that_makes_it() {
        let bytes: Vec<u8> = (0_u32..300).map(|n| n.wrapping_mul(37).to_le_bytes()[0]).collect();
        let right = crc32c::crc32c(&bytes);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut wrong = bytes.clone();
                wrong[at] ^= 1 << bit;
                let syndrome = right ^ crc32c::crc32c(&wrong);
                let after = bits_after(syndrome, 8 * bytes.len()).unwrap();
                assert_eq!((bytes.len() - 1 - after / 8, 7 - after % 8), (at, bit));
            }
        }
        let mut wrong = bytes.clone();
        wrong[7] ^= 3;
        wrong[90] ^= 8;
        assert_eq!(bits_after(right ^ crc32c::crc32c(&wrong), 8 * bytes.len()), None);
    }
}

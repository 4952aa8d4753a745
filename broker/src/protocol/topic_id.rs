//! How Kafka prints topic ids: the 16 bytes of the UUID in URL-safe base64 without padding.

use thiserror::Error;
use uuid::Uuid;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Characters of a printed id: 128 bits, six to each.
const CHARACTERS: usize = 22;

/// Why a text is no topic id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParseTopicIdError {
    /// Too few or too many characters.
    #[error("topic id of {length} characters, 22 are needed")]
    Length {
        /// Bytes of the text.
        length: usize,
    },
    /// A character outside of the alphabet, or a last one with bits beyond the 128th.
    #[error("topic id has an invalid character at position {position}")]
    Character {
        /// Bytes before the character.
        position: usize,
    },
}

/// Prints an id as Kafka's tools and logs do.
#[must_use]
pub fn format_topic_id(id: Uuid) -> String {
    // The last character holds the lowest two bits, followed by four zeros.
    let low = u128::from_be_bytes(id.into_bytes());
    (0..CHARACTERS)
        .map(|position| {
            let shift = 122usize.checked_sub(position * 6);
            let bits = shift.map_or(low << 4, |shift| low >> shift) & 0x3f;
            let index = usize::from(bits.to_le_bytes()[0]);
            char::from(ALPHABET[index])
        })
        .collect()
}

/// Reads an id as Kafka's tools print it.
///
/// # Errors
/// A [`ParseTopicIdError`] with the length or the position.
pub fn parse_topic_id(text: &str) -> Result<Uuid, ParseTopicIdError> {
    if text.len() != CHARACTERS {
        return Err(ParseTopicIdError::Length { length: text.len() });
    }
    let mut id = 0u128;
    for (position, character) in text.bytes().enumerate() {
        let invalid = ParseTopicIdError::Character { position };
        let index = ALPHABET.iter().zip(0u128..).find(|(known, _)| **known == character);
        let (_, bits) = index.ok_or(invalid.clone())?;
        if position + 1 < CHARACTERS {
            id = id << 6 | bits;
        } else if bits & 0x0f == 0 {
            id = id << 2 | bits >> 4;
        } else {
            return Err(invalid);
        }
    }
    Ok(Uuid::from_u128(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_print_as_kafka_prints_them_and_read_back() {
        // Kafka's own constants: the zero id, and that of the metadata topic, which is one.
        assert_eq!(format_topic_id(Uuid::nil()), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(format_topic_id(Uuid::from_u128(1)), "AAAAAAAAAAAAAAAAAAAAAQ");
        for id in [Uuid::from_u128(1), Uuid::max(), Uuid::from_u128(0x0123_4567_89ab_cdef << 40)] {
            assert_eq!(parse_topic_id(&format_topic_id(id)), Ok(id));
        }
    }

    #[test]
    fn what_is_no_id_is_told_where() {
        assert_eq!(parse_topic_id("AAAA"), Err(ParseTopicIdError::Length { length: 4 }));
        let error = Err(ParseTopicIdError::Character { position: 21 });
        assert_eq!(parse_topic_id("AAAAAAAAAAAAAAAAAAAAAB"), error);
    }
}

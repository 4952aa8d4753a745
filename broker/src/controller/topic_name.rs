//! What topics may be called.

use super::error::NameError;

/// The topic that holds the committed offsets of consumer groups.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// The topics that are the broker's own: clients neither create nor delete them. The second is
/// Kafka's, whose name is kept free.
pub const INTERNAL_TOPICS: &[&str] = &[OFFSETS_TOPIC, "__transaction_state"];

/// Characters that a topic's name may have: with `-` and the partition's number it must be a
/// folder's name, of which file systems allow 255 bytes.
pub const TOPIC_NAME_CHARS_MAX: usize = 249;

/// Whether a topic is the broker's own.
#[must_use]
pub fn is_internal(name: &str) -> bool {
    INTERNAL_TOPICS.contains(&name)
}

/// Checks a topic's name by Kafka's rules.
///
/// # Errors
///
/// What is wrong with it.
pub fn validate_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name == "." || name == ".." {
        return Err(NameError::Dots);
    }
    if name.len() > TOPIC_NAME_CHARS_MAX {
        return Err(NameError::TooLong { bytes: name.len() });
    }
    let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match name.chars().find(|c| !allowed(c)) {
        Some(character) => Err(NameError::Character { character }),
        None => Ok(()),
    }
}

/// Whether two names differ, and only in `.` and `_`: Kafka's metrics would not tell them apart.
pub(super) fn collides(left: &str, right: &str) -> bool {
    let same = |a: u8, b: u8| a == b || (matches!(a, b'.' | b'_') && matches!(b, b'.' | b'_'));
    left.len() == right.len()
        && left != right
        && left.bytes().zip(right.bytes()).all(|(a, b)| same(a, b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_letters_digits_dots_underscores_and_dashes() {
        for name in ["a", "a.b_c-D9", "...", "_", &"x".repeat(249)] {
            assert_eq!(validate_name(name), Ok(()), "{name}");
        }
        assert_eq!(validate_name(""), Err(NameError::Empty));
        assert_eq!(validate_name("."), Err(NameError::Dots));
        assert_eq!(validate_name(".."), Err(NameError::Dots));
        assert_eq!(validate_name(&"x".repeat(250)), Err(NameError::TooLong { bytes: 250 }));
        for (name, character) in [("a b", ' '), ("a/b", '/'), ("é", 'é'), ("a\0", '\0')] {
            assert_eq!(validate_name(name), Err(NameError::Character { character }), "{name}");
        }
    }

    #[test]
    fn names_that_differ_only_in_dot_and_underscore_collide() {
        assert!(collides("a.b", "a_b"));
        assert!(!collides("a.b", "a.b"));
        assert!(!collides("a.b", "a-b"));
        assert!(!collides("a.b", "a_bc"));
    }
}

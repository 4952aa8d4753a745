//! The names a coordinator deals in, as types that do not mix, and where a group lives.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Cloning shares the text.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as the wire writes it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether the name has no characters.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self("".into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name! {
    /// The id of a group (`group.id`).
    GroupId
}

name! {
    /// The id the coordinator gave a member. Empty where a client has none yet.
    MemberId
}

name! {
    /// The id a static member brings along (`group.instance.id`).
    InstanceId
}

name! {
    /// The name of a topic that offsets are committed for.
    TopicName
}

name! {
    /// The kind of a group (`consumer`, `connect`), or the name of one of its assignment
    /// protocols (`range`, `cooperative-sticky`).
    ProtocolName
}

/// The partition of `__consumer_offsets`, out of `partition_count`, that a group lives on:
/// Java's `String.hashCode` of the group id, without its sign, modulo the count. `i32::MIN`, which
/// has no positive counterpart, counts as 0, as in Kafka.
///
/// # Panics
///
/// If `partition_count` is not positive.
#[must_use]
pub fn partition_for(group_id: &str, partition_count: i32) -> i32 {
    assert!(partition_count > 0, "a topic has at least one partition, not {partition_count}");
    java_hash(group_id).checked_abs().unwrap_or(0) % partition_count
}

/// `String.hashCode` as the Java platform defines it: over UTF-16 code units, wrapping.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_one_of_java_strings() {
        assert_eq!(java_hash(""), 0);
        assert_eq!(java_hash("a"), 97);
        assert_eq!(java_hash("abc"), 96_354);
        assert_eq!(java_hash("hello"), 99_162_322);
        assert_eq!(java_hash("Hello World"), -862_545_276);
        assert_eq!(java_hash("console-consumer-12345"), 158_455_506);
        assert_eq!(java_hash("gruppe-ä-日本"), -1_165_674_302);
        // Two strings known for colliding, and the one known for hashing to the minimum.
        assert_eq!(java_hash("Aa"), java_hash("BB"));
        assert_eq!(java_hash("polygenelubricants"), i32::MIN);
        // A character outside the basic plane counts as its two surrogates, 0xd83d and 0xde00.
        assert_eq!(java_hash("\u{1f600}"), 0xd83d * 31 + 0xde00);
    }

    #[test]
    fn a_group_lives_on_the_partition_that_kafka_puts_it_on() {
        assert_eq!(partition_for("abc", 50), 4);
        assert_eq!(partition_for("console-consumer-12345", 50), 6);
        assert_eq!(partition_for("Hello World", 50), 26);
        assert_eq!(partition_for("polygenelubricants", 50), 0);
        assert_eq!(partition_for("", 50), 0);
        assert_eq!(partition_for("anything", 1), 0);
    }
}

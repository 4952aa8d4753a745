//! What names things in a cluster.

use std::fmt;

use uuid::Uuid;

/// The number of a broker in its cluster; not negative for a broker that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BrokerId(pub i32);

impl fmt::Display for BrokerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a partition within its topic, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(pub i32);

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of a topic: given once when it is created, and never given again, so that a topic that
/// is deleted and created anew under the same name is another topic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(Uuid);

impl TopicId {
    /// "No id", as on Kafka's wire.
    pub const ZERO: Self = Self(Uuid::nil());

    /// An id; `None` if Kafka reserves it (0 and 1).
    #[must_use]
    pub const fn new(id: Uuid) -> Option<Self> {
        if id.as_u128() <= 1 { None } else { Some(Self(id)) }
    }

    /// The id in the wire's 16 bytes, [`TopicId::ZERO`] among them.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The id as the wire writes it.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicId({self})")
    }
}

impl fmt::Display for TopicId {
    /// As Kafka's tools print it: 22 letters, digits, `-` and `_`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_base64(self.0, f)
    }
}

/// The id of a cluster: drawn once when its first broker starts on an empty data folder.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClusterId(Uuid);

impl ClusterId {
    /// The cluster id made of a random id.
    #[must_use]
    pub const fn new(id: Uuid) -> Self {
        Self(id)
    }

    /// The 128 bits of the id.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterId({self})")
    }
}

impl fmt::Display for ClusterId {
    /// As Kafka's wire and tools write it: 22 letters, digits, `-` and `_`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_base64(self.0, f)
    }
}

/// Base64 for URLs, without padding (RFC 4648 section 5).
fn write_base64(id: Uuid, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for chunk in id.as_bytes().chunks(3) {
        let bits = chunk.iter().fold(0_usize, |bits, &byte| bits << 8 | usize::from(byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            write!(f, "{}", char::from(DIGITS[bits >> (18 - 6 * digit) & 63]))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_printed_as_kafka_prints_them() {
        // Both texts as Kafka's Uuid class prints these bits.
        assert_eq!(TopicId::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(ClusterId::new(Uuid::from_u128(1)).to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        let all = ClusterId::new(Uuid::from_u128(u128::MAX));
        assert_eq!(all.to_string(), "_____________________w");
    }

    #[test]
    fn the_two_ids_that_kafka_reserves_are_no_topic_ids() {
        assert_eq!(TopicId::new(Uuid::from_u128(0)), None);
        assert_eq!(TopicId::new(Uuid::from_u128(1)), None);
        assert!(TopicId::new(Uuid::from_u128(2)).is_some());
    }
}

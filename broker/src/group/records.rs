//! Kafka's formats of the keys and values in `__consumer_offsets`.
//!
//! ```text
//! offset key    i16 version (0, 1) | string group | string topic | i32 partition
//! offset value  i16 version | i64 offset | i32 leader epoch (3) | string metadata
//!               | i64 commit timestamp | i64 expire timestamp (1)
//! group key     i16 version (2) | string group
//! group value   i16 version | string protocol type | i32 generation | nullable string protocol
//!               | nullable string leader | i64 current state timestamp (2, 3) | array of members
//!   member      string id | nullable string instance id (3) | string client id
//!               | string client host | i32 rebalance timeout ms (1..=3)
//!               | i32 session timeout ms | bytes subscription | bytes assignment
//! ```
//!
//! Numbers are big-endian, strings have 16-bit lengths, byte strings and arrays 32-bit ones.
//! Versions 0 to 3 of the values are read, 3 is written, except that an offset with an expiry
//! time of its own is written as version 1, the only one that has a place for it. Keys of other
//! versions belong to other kinds of groups and are left alone.

use bytes::{BufMut, Bytes, BytesMut};
use ringlog_engine::offset::Timestamp;
use thiserror::Error;

use super::api::{CommittedOffset, Record};
use super::id::{GroupId, InstanceId, MemberId, ProtocolName, TopicName};

/// Why a record of `__consumer_offsets` could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecordError {
    /// The record has no key.
    #[error("the record has no key")]
    NoKey,
    /// The record ends in the middle of a field.
    #[error("a field of {needed} bytes does not fit into the {remaining} bytes that remain")]
    Truncated {
        /// Bytes of the field.
        needed: usize,
        /// Bytes that are left.
        remaining: usize,
    },
    /// A length or a count is negative where it must not be.
    #[error("a length is {actual}, it must not be negative")]
    NegativeLength {
        /// The length as it stands there.
        actual: i32,
    },
    /// A string is not UTF-8.
    #[error("a string is not valid UTF-8")]
    NotUtf8,
    /// The version of the value is unknown.
    #[error("value version {actual} is unknown, 0..=3 are known")]
    UnknownValueVersion {
        /// The version as it stands there.
        actual: i16,
    },
}

/// What a record is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    Offset { group_id: GroupId, topic: TopicName, partition: i32 },
    Group { group_id: GroupId },
    Other { version: i16 },
}

/// The state of a group as its record keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GroupValue {
    pub(super) protocol_type: ProtocolName,
    pub(super) generation: i32,
    pub(super) protocol: Option<ProtocolName>,
    pub(super) leader: Option<MemberId>,
    pub(super) current_state_timestamp: Option<Timestamp>,
    pub(super) members: Vec<MemberValue>,
}

/// A member as its group's record keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MemberValue {
    pub(super) member_id: MemberId,
    pub(super) instance_id: Option<InstanceId>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    pub(super) subscription: Bytes,
    pub(super) assignment: Bytes,
}

/// The record of a committed offset; the tombstone of one if there is no offset.
pub(super) fn offset_record(
    group_id: &GroupId,
    topic: &TopicName,
    partition: i32,
    committed: Option<&CommittedOffset>,
) -> Record {
    let mut key = BytesMut::new();
    key.put_i16(1);
    put_string(&mut key, group_id.as_str());
    put_string(&mut key, topic.as_str());
    key.put_i32(partition);
    let value = committed.map(|committed| {
        let mut value = BytesMut::new();
        let version = if committed.expire_timestamp.is_some() { 1 } else { 3 };
        value.put_i16(version);
        value.put_i64(committed.offset);
        if version >= 3 {
            value.put_i32(committed.leader_epoch);
        }
        put_string(&mut value, &committed.metadata);
        value.put_i64(committed.commit_timestamp.millis());
        if let Some(expire_timestamp) = committed.expire_timestamp {
            value.put_i64(expire_timestamp.millis());
        }
        value.freeze()
    });
    Record { key: key.freeze(), value }
}

/// The record of a group; its tombstone if there is no value.
pub(super) fn group_record(group_id: &GroupId, group: Option<&GroupValue>) -> Record {
    let mut key = BytesMut::new();
    key.put_i16(2);
    put_string(&mut key, group_id.as_str());
    let value = group.map(|group| {
        let mut value = BytesMut::new();
        value.put_i16(3);
        put_string(&mut value, group.protocol_type.as_str());
        value.put_i32(group.generation);
        put_nullable_string(&mut value, group.protocol.as_ref().map(ProtocolName::as_str));
        put_nullable_string(&mut value, group.leader.as_ref().map(MemberId::as_str));
        value.put_i64(group.current_state_timestamp.unwrap_or(Timestamp::NONE).millis());
        value.put_i32(length(group.members.len()));
        for member in &group.members {
            put_string(&mut value, member.member_id.as_str());
            put_nullable_string(&mut value, member.instance_id.as_ref().map(InstanceId::as_str));
            put_string(&mut value, &member.client_id);
            put_string(&mut value, &member.client_host);
            value.put_i32(member.rebalance_timeout_ms);
            value.put_i32(member.session_timeout_ms);
            put_bytes(&mut value, &member.subscription);
            put_bytes(&mut value, &member.assignment);
        }
        value.freeze()
    });
    Record { key: key.freeze(), value }
}

/// Reads a key.
pub(super) fn read_key(key: &[u8]) -> Result<Key, RecordError> {
    let mut reader = Reader { rest: key };
    match reader.i16()? {
        0 | 1 => Ok(Key::Offset {
            group_id: reader.string()?.into(),
            topic: reader.string()?.into(),
            partition: reader.i32()?,
        }),
        2 => Ok(Key::Group { group_id: reader.string()?.into() }),
        version => Ok(Key::Other { version }),
    }
}

/// Reads the value of an offset.
pub(super) fn read_offset(value: &[u8]) -> Result<CommittedOffset, RecordError> {
    let mut reader = Reader { rest: value };
    let version = reader.value_version()?;
    Ok(CommittedOffset {
        offset: reader.i64()?,
        leader_epoch: if version >= 3 { reader.i32()? } else { -1 },
        metadata: reader.string()?.to_owned(),
        commit_timestamp: Timestamp::from_millis(reader.i64()?),
        expire_timestamp: if version == 1 { timestamp(reader.i64()?) } else { None },
    })
}

/// Reads the value of a group.
pub(super) fn read_group(value: &[u8]) -> Result<GroupValue, RecordError> {
    let mut reader = Reader { rest: value };
    let version = reader.value_version()?;
    Ok(GroupValue {
        protocol_type: reader.string()?.into(),
        generation: reader.i32()?,
        protocol: reader.nullable_string()?.map(ProtocolName::from),
        leader: reader.nullable_string()?.map(MemberId::from),
        current_state_timestamp: if version >= 2 { timestamp(reader.i64()?) } else { None },
        members: read_members(&mut reader, version)?,
    })
}

fn read_members(reader: &mut Reader<'_>, version: i16) -> Result<Vec<MemberValue>, RecordError> {
    let count = reader.count()?;
    // Nothing is reserved for the count: memory follows the bytes that are really there.
    let mut members = Vec::new();
    for _ in 0..count {
        let member_id = reader.string()?.into();
        let instance_id =
            if version >= 3 { reader.nullable_string()?.map(InstanceId::from) } else { None };
        let client_id = reader.string()?.to_owned();
        let client_host = reader.string()?.to_owned();
        let rebalance_timeout_ms = if version >= 1 { reader.i32()? } else { -1 };
        let session_timeout_ms = reader.i32()?;
        members.push(MemberValue {
            member_id,
            instance_id,
            client_id,
            client_host,
            rebalance_timeout_ms: if rebalance_timeout_ms == -1 {
                session_timeout_ms
            } else {
                rebalance_timeout_ms
            },
            session_timeout_ms,
            subscription: Bytes::copy_from_slice(reader.bytes()?),
            assignment: Bytes::copy_from_slice(reader.bytes()?),
        });
    }
    Ok(members)
}

/// The topics of a consumer's subscription (the metadata of protocol type `consumer`); `None` if
/// the bytes are not one. All its versions begin with a version and the topics.
pub(super) fn read_subscribed_topics(metadata: &[u8]) -> Option<Vec<TopicName>> {
    let mut reader = Reader { rest: metadata };
    if reader.i16().ok()? < 0 {
        return None;
    }
    let count = reader.count().ok()?;
    (0..count).map(|_| reader.string().ok().map(TopicName::from)).collect()
}

fn timestamp(millis: i64) -> Option<Timestamp> {
    (millis != Timestamp::NONE.millis()).then_some(Timestamp::from_millis(millis))
}

fn length(length: usize) -> i32 {
    i32::try_from(length).expect("requests are bounded far below 2 GiB")
}

fn put_string(out: &mut BytesMut, text: &str) {
    out.put_i16(i16::try_from(text.len()).expect("names and metadata are checked on arrival"));
    out.put_slice(text.as_bytes());
}

fn put_nullable_string(out: &mut BytesMut, text: Option<&str>) {
    match text {
        Some(text) => put_string(out, text),
        None => out.put_i16(-1),
    }
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    out.put_i32(length(bytes.len()));
    out.put_slice(bytes);
}

/// Reads fields off the front of a record, never past its end.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, needed: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(needed)
            .ok_or(RecordError::Truncated { needed, remaining: self.rest.len() })?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let remaining = self.rest.len();
        let (taken, rest) =
            self.rest.split_first_chunk().ok_or(RecordError::Truncated { needed: N, remaining })?;
        self.rest = rest;
        Ok(*taken)
    }

    fn i16(&mut self) -> Result<i16, RecordError> {
        self.array().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Result<i32, RecordError> {
        self.array().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, RecordError> {
        self.array().map(i64::from_be_bytes)
    }

    fn value_version(&mut self) -> Result<i16, RecordError> {
        match self.i16()? {
            version @ 0..=3 => Ok(version),
            actual => Err(RecordError::UnknownValueVersion { actual }),
        }
    }

    fn count(&mut self) -> Result<usize, RecordError> {
        let count = self.i32()?;
        usize::try_from(count).map_err(|_| RecordError::NegativeLength { actual: count })
    }

    fn bytes(&mut self) -> Result<&'a [u8], RecordError> {
        let length = self.count()?;
        self.take(length)
    }

    fn nullable_string(&mut self) -> Result<Option<&'a str>, RecordError> {
        let length = self.i16()?;
        if length == -1 {
            return Ok(None);
        }
        let length = usize::try_from(length)
            .map_err(|_| RecordError::NegativeLength { actual: length.into() })?;
        std::str::from_utf8(self.take(length)?).map(Some).map_err(|_| RecordError::NotUtf8)
    }

    fn string(&mut self) -> Result<&'a str, RecordError> {
        self.nullable_string()?.ok_or(RecordError::NegativeLength { actual: -1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed(expire: Option<i64>) -> CommittedOffset {
        CommittedOffset {
            offset: 42,
            leader_epoch: if expire.is_some() { -1 } else { 7 },
            metadata: "m".to_owned(),
            commit_timestamp: Timestamp::from_millis(1_000),
            expire_timestamp: expire.map(Timestamp::from_millis),
        }
    }

    fn group() -> GroupValue {
        GroupValue {
            protocol_type: "consumer".into(),
            generation: 3,
            protocol: Some("range".into()),
            leader: Some("a".into()),
            current_state_timestamp: Some(Timestamp::from_millis(5)),
            members: vec![MemberValue {
                member_id: "a".into(),
                instance_id: Some("i".into()),
                client_id: "c".to_owned(),
                client_host: "/h".to_owned(),
                rebalance_timeout_ms: 300,
                session_timeout_ms: 100,
                subscription: Bytes::from_static(b"su"),
                assignment: Bytes::from_static(b"as"),
            }],
        }
    }

    #[test]
    fn an_offset_is_laid_out_byte_for_byte_as_kafka_does() {
        let record = offset_record(&"g".into(), &"t".into(), 5, Some(&committed(None)));
        assert_eq!(&record.key[..], b"\0\x01\0\x01g\0\x01t\0\0\0\x05");
        assert_eq!(
            &record.value.expect("not a tombstone")[..],
            b"\0\x03\0\0\0\0\0\0\0\x2a\0\0\0\x07\0\x01m\0\0\0\0\0\0\x03\xe8"
        );
    }

    #[test]
    fn a_group_is_laid_out_byte_for_byte_as_kafka_does() {
        let record = group_record(&"g".into(), Some(&group()));
        assert_eq!(&record.key[..], b"\0\x02\0\x01g");
        assert_eq!(
            &record.value.expect("not a tombstone")[..],
            b"\0\x03\0\x08consumer\0\0\0\x03\0\x05range\0\x01a\0\0\0\0\0\0\0\x05\0\0\0\x01\
              \0\x01a\0\x01i\0\x01c\0\x02/h\0\0\x01\x2c\0\0\0\x64\0\0\0\x02su\0\0\0\x02as"
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        for expire in [None, Some(9_000)] {
            let record = offset_record(&"g".into(), &"t".into(), 5, Some(&committed(expire)));
            assert_eq!(read_offset(&record.value.expect("set")), Ok(committed(expire)));
            let key = Key::Offset { group_id: "g".into(), topic: "t".into(), partition: 5 };
            assert_eq!(read_key(&record.key), Ok(key));
        }
        let record = group_record(&"g".into(), Some(&group()));
        assert_eq!(read_group(&record.value.expect("set")), Ok(group()));
        assert_eq!(read_key(&record.key), Ok(Key::Group { group_id: "g".into() }));
    }

    #[test]
    fn older_versions_are_read() {
        let offset = read_offset(b"\0\0\0\0\0\0\0\0\0\x2a\0\x01m\0\0\0\0\0\0\x03\xe8");
        assert_eq!(offset, Ok(CommittedOffset { leader_epoch: -1, ..committed(None) }));
        let offset = read_offset(b"\0\x02\0\0\0\0\0\0\0\x2a\0\x01m\0\0\0\0\0\0\x03\xe8");
        assert_eq!(offset, Ok(CommittedOffset { leader_epoch: -1, ..committed(None) }));
        let read = read_group(
            b"\0\0\0\x08consumer\0\0\0\x03\0\x05range\0\x01a\0\0\0\x01\
              \0\x01a\0\x01c\0\x02/h\0\0\0\x64\0\0\0\x02su\0\0\0\x02as",
        )
        .expect("version 0");
        assert_eq!(read.current_state_timestamp, None);
        let member = &read.members[0];
        assert_eq!((member.rebalance_timeout_ms, member.session_timeout_ms), (100, 100));
        assert_eq!(member.instance_id, None);
        let read = read_group(
            b"\0\x02\0\x08consumer\0\0\0\x03\xff\xff\xff\xff\0\0\0\0\0\0\0\x05\0\0\0\x01\
              \0\x01a\0\x01c\0\x02/h\0\0\x01\x2c\0\0\0\x64\0\0\0\x02su\0\0\0\x02as",
        )
        .expect("version 2");
        assert_eq!((read.protocol, read.leader), (None, None));
        assert_eq!(read.members[0].rebalance_timeout_ms, 300);
    }

    #[test]
    fn every_cut_of_a_record_is_an_error_and_no_panic() {
        let offset = offset_record(&"g".into(), &"t".into(), 5, Some(&committed(None)));
        let group = group_record(&"g".into(), Some(&group()));
        for record in [offset, group] {
            for end in 0..record.key.len() {
                assert!(read_key(&record.key[..end]).is_err());
            }
            let value = record.value.expect("set");
            for end in 0..value.len() {
                assert!(read_offset(&value[..end]).is_err() || end >= 26);
                assert!(read_group(&value[..end]).is_err());
            }
        }
    }

    #[test]
    fn huge_counts_cost_no_memory() {
        let value = b"\0\x03\0\0\0\0\0\0\xff\xff\xff\xff\0\0\0\0\0\0\0\0\x7f\xff\xff\xff";
        assert!(matches!(read_group(value), Err(RecordError::Truncated { .. })));
        assert_eq!(read_subscribed_topics(b"\0\0\x7f\xff\xff\xff"), None);
        assert_eq!(read_subscribed_topics(b"\0\0\xff\xff\xff\xff"), None);
    }

    #[test]
    fn keys_of_other_versions_are_told_apart_and_other_values_refused() {
        assert_eq!(read_key(b"\0\x03anything"), Ok(Key::Other { version: 3 }));
        let expected = Err(RecordError::UnknownValueVersion { actual: 4 });
        assert_eq!(read_offset(b"\0\x04"), expected);
    }

    #[test]
    fn the_topics_of_a_subscription_are_found_and_garbage_is_not_one() {
        let metadata = b"\0\x01\0\0\0\x02\0\x01a\0\x01b\xff\xff\xff\xff";
        assert_eq!(read_subscribed_topics(metadata), Some(vec!["a".into(), "b".into()]));
        assert_eq!(read_subscribed_topics(b"garbage"), None);
        assert_eq!(read_subscribed_topics(b""), None);
    }
}

//! Fetch version 4 by hand: a template in which only offsets change, and an answer read in place.
//!
//! Version 4 is the oldest that Kafka 4.x serves; its fields have fixed places and it needs no
//! session:
//!
//! ```text
//! length i32 | 1 i16 | 4 i16 | correlation i32 | client | -1 i32 | max wait i32 | min bytes i32
//! | max bytes i32 | 0 i8 | 1 i32 | topic | count i32 | count x (partition i32 | offset i64
//! | max bytes i32)
//! ```

use super::{length, put_head, put_length, put_string, set_correlation, take};
use crate::error::AnswerProblem;

const API_KEY_FETCH: i16 = 1;
const VERSION: i16 = 4;
const PARTITION_BYTES: usize = 16;

/// How long a fetch may wait and how much it may bring.
#[derive(Debug, Clone, Copy)]
pub struct FetchLimits {
    /// How long the server may wait for a first byte, in milliseconds.
    pub wait_ms_max: i32,
    /// Bytes of one partition; a batch that is larger comes whole.
    pub partition_bytes_max: usize,
}

/// A fetch of some partitions of one topic.
#[derive(Debug, Clone)]
pub struct FetchRequest {
    bytes: Vec<u8>,
    /// Where the first partition's offset stands.
    offsets_at: usize,
}

impl FetchRequest {
    /// A fetch of `partitions`, which waits for one byte.
    #[must_use]
    pub fn new(topic: &str, partitions: &[i32], limits: FetchLimits) -> Self {
        let mut bytes = Vec::new();
        put_head(&mut bytes, API_KEY_FETCH, VERSION);
        bytes.extend((-1_i32).to_be_bytes());
        bytes.extend(limits.wait_ms_max.to_be_bytes());
        bytes.extend(1_i32.to_be_bytes());
        bytes.extend(length(limits.partition_bytes_max * partitions.len()).to_be_bytes());
        bytes.push(0);
        bytes.extend(1_i32.to_be_bytes());
        put_string(&mut bytes, topic);
        bytes.extend(length(partitions.len()).to_be_bytes());
        let offsets_at = bytes.len() + 4;
        for partition in partitions {
            bytes.extend(partition.to_be_bytes());
            bytes.extend(0_i64.to_be_bytes());
            bytes.extend(length(limits.partition_bytes_max).to_be_bytes());
        }
        put_length(&mut bytes, 0);
        Self { bytes, offsets_at }
    }

    /// The request's bytes, from the given offsets on, one for each partition.
    pub fn from_offsets(
        &mut self,
        correlation_id: i32,
        offsets: impl IntoIterator<Item = i64>,
    ) -> &[u8] {
        set_correlation(&mut self.bytes, correlation_id);
        let places = (self.offsets_at..).step_by(PARTITION_BYTES);
        for (place, offset) in places.zip(offsets) {
            if let Some(place) = self.bytes.get_mut(place..place + 8) {
                place.copy_from_slice(&offset.to_be_bytes());
            }
        }
        &self.bytes
    }

    /// The request's bytes as they are.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// What a fetch brought of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchedPartition<'a> {
    /// The partition.
    pub partition: i32,
    /// Kafka's error code; 0 for success.
    pub error_code: i16,
    /// Batches one after the other; the last may be cut off.
    pub records: &'a [u8],
}

/// An answer, read as it is walked through.
#[derive(Debug, Clone, Copy)]
pub struct FetchAnswer<'a> {
    /// The request's correlation id.
    pub correlation_id: i32,
    frame_bytes: usize,
    partitions: i32,
    rest: &'a [u8],
}

impl<'a> FetchAnswer<'a> {
    /// Reads the start of a frame without its length.
    ///
    /// # Errors
    ///
    /// [`AnswerProblem::Malformed`].
    pub fn decode(frame: &'a [u8]) -> Result<Self, AnswerProblem> {
        Self::start(frame).ok_or(AnswerProblem::Malformed { frame_bytes: frame.len() })
    }

    fn start(frame: &'a [u8]) -> Option<Self> {
        let mut rest = frame;
        let correlation_id = i32::from_be_bytes(take(&mut rest)?);
        let _throttle_time: [u8; 4] = take(&mut rest)?;
        let topics = i32::from_be_bytes(take(&mut rest)?);
        let frame_bytes = frame.len();
        if topics == 0 {
            return Some(Self { correlation_id, frame_bytes, partitions: 0, rest });
        }
        let name = usize::try_from(i16::from_be_bytes(take(&mut rest)?)).ok()?;
        rest = rest.get(name..)?;
        let partitions = i32::from_be_bytes(take(&mut rest)?);
        (topics == 1).then_some(Self { correlation_id, frame_bytes, partitions, rest })
    }

    /// The next partition; `None` after the last.
    ///
    /// # Errors
    ///
    /// [`AnswerProblem::Malformed`].
    pub fn next_partition(&mut self) -> Result<Option<FetchedPartition<'a>>, AnswerProblem> {
        let malformed = AnswerProblem::Malformed { frame_bytes: self.frame_bytes };
        if self.partitions <= 0 {
            return if self.rest.is_empty() { Ok(None) } else { Err(malformed) };
        }
        self.partitions -= 1;
        self.partition().map(Some).ok_or(malformed)
    }

    fn partition(&mut self) -> Option<FetchedPartition<'a>> {
        let rest = &mut self.rest;
        let partition = i32::from_be_bytes(take(rest)?);
        let error_code = i16::from_be_bytes(take(rest)?);
        let _high_watermark_and_last_stable: [u8; 16] = take(rest)?;
        // A null array has length -1.
        let aborted = usize::try_from(i32::from_be_bytes(take(rest)?)).unwrap_or(0);
        *rest = rest.get(aborted.checked_mul(16)?..)?;
        let bytes = usize::try_from(i32::from_be_bytes(take(rest)?)).unwrap_or(0);
        let (records, after) = rest.split_at_checked(bytes)?;
        *rest = after;
        Some(FetchedPartition { partition, error_code, records })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ringlog_broker::protocol::codec::{Message, Records};
    use ringlog_broker::protocol::messages::{
        FetchRequest as Decoded, FetchResponse, FetchableTopicResponse, PartitionData,
    };
    use ringlog_broker::protocol::{ApiKey, RequestHeader, encode_response};

    use super::*;

    const LIMITS: FetchLimits = FetchLimits { wait_ms_max: 500, partition_bytes_max: 1000 };

    #[test]
    fn the_broker_decodes_what_the_template_says() {
        let mut request = FetchRequest::new("topic", &[3, 7], LIMITS);
        let frame = request.from_offsets(77, [11, 22]).to_vec();
        assert_eq!(frame[..4], length(frame.len() - 4).to_be_bytes());
        let (header, mut reader) =
            RequestHeader::decode(Bytes::copy_from_slice(&frame[4..])).unwrap();
        assert_eq!((header.correlation_id, header.version), (77, 4));
        let decoded = Decoded::decode_body(&mut reader, header.version).unwrap();
        assert_eq!((decoded.max_wait_ms, decoded.min_bytes, decoded.max_bytes), (500, 1, 2000));
        let partitions = &decoded.topics[0].partitions;
        let asked: Vec<_> = partitions.iter().map(|p| (p.partition, p.fetch_offset)).collect();
        assert_eq!(asked, [(3, 11), (7, 22)]);
    }

    #[test]
    fn an_answer_is_walked_through_and_a_cut_one_is_malformed() {
        let partition = |index, records: &'static [u8]| PartitionData {
            partition_index: index,
            records: Some(Records::from(Bytes::from_static(records))),
            ..PartitionData::default()
        };
        let topic = FetchableTopicResponse {
            topic: "topic".into(),
            partitions: vec![partition(3, b"abc"), partition(7, b"")],
            ..FetchableTopicResponse::default()
        };
        let response = FetchResponse { topics: vec![topic], ..FetchResponse::default() };
        let frame = encode_response(ApiKey::Fetch, 4, 77, &response).unwrap().into_bytes();
        let mut answer = FetchAnswer::decode(&frame[4..]).unwrap();
        assert_eq!(answer.correlation_id, 77);
        let first = answer.next_partition().unwrap().unwrap();
        assert_eq!((first.partition, first.error_code, first.records), (3, 0, &b"abc"[..]));
        assert_eq!(answer.next_partition().unwrap().unwrap().partition, 7);
        assert_eq!(answer.next_partition(), Ok(None));

        let mut cut = FetchAnswer::decode(&frame[4..frame.len() - 1]).unwrap();
        cut.next_partition().unwrap();
        assert!(cut.next_partition().is_err());
        assert!(FetchAnswer::decode(&frame[4..10]).is_err());
    }
}

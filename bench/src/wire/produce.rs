//! Produce version 7 by hand: a template that is filled in once, and its short answer.
//!
//! Version 7 is understood by every broker from Kafka 2.1 to 4.x, carries every codec, and its
//! fields have fixed places:
//!
//! ```text
//! length i32 | 0 i16 | 7 i16 | correlation i32 | client | -1 i16 | acks i16 | timeout i32
//! | 1 i32 | topic | 1 i32 | partition i32 | batch length i32 | batch
//! ```

use super::{length, put_head, put_length, put_string, take};
use crate::error::AnswerProblem;

const API_KEY_PRODUCE: i16 = 0;
const VERSION: i16 = 7;
/// How long the server may wait for its replicas.
const TIMEOUT_MS: i32 = 30_000;
/// The longest answer to one partition: a topic name of 249 bytes and some fixed fields.
pub const ANSWER_BYTES_MAX: usize = 1024;

/// Everything before the batch of a request to one partition.
#[derive(Debug, Clone)]
pub struct RequestHead {
    /// The partition written to.
    pub partition: i32,
    /// The bytes, with correlation id 0, and the batch behind them if it differs from send to send.
    pub bytes: Vec<u8>,
    /// Bytes before the batch.
    pub head_bytes: usize,
}

impl RequestHead {
    /// The head for batches of exactly `batch_bytes` bytes.
    #[must_use]
    pub fn new(topic: &str, partition: i32, acks: i16, batch_bytes: usize) -> Self {
        let mut bytes = Vec::new();
        put_head(&mut bytes, API_KEY_PRODUCE, VERSION);
        bytes.extend((-1_i16).to_be_bytes());
        bytes.extend(acks.to_be_bytes());
        bytes.extend(TIMEOUT_MS.to_be_bytes());
        bytes.extend(1_i32.to_be_bytes());
        put_string(&mut bytes, topic);
        bytes.extend(1_i32.to_be_bytes());
        bytes.extend(partition.to_be_bytes());
        bytes.extend(length(batch_bytes).to_be_bytes());
        put_length(&mut bytes, batch_bytes);
        let head_bytes = bytes.len();
        Self { partition, bytes, head_bytes }
    }

    /// The head, with its batch behind it.
    #[must_use]
    pub fn with_batch(mut self, batch: &[u8]) -> Self {
        self.bytes.extend(batch);
        self
    }
}

/// What the server says about one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The request's correlation id.
    pub correlation_id: i32,
    /// The partition written to.
    pub partition: i32,
    /// Kafka's error code; 0 for success.
    pub error_code: i16,
    /// The first record's offset; -1 with an error.
    pub base_offset: i64,
}

impl Answer {
    /// Reads a frame without its length.
    ///
    /// # Errors
    ///
    /// [`AnswerProblem::Malformed`].
    pub fn decode(frame: &[u8]) -> Result<Self, AnswerProblem> {
        let problem = AnswerProblem::Malformed { frame_bytes: frame.len() };
        Self::fields(frame).ok_or(problem)
    }

    fn fields(mut frame: &[u8]) -> Option<Self> {
        let rest = &mut frame;
        let correlation_id = i32::from_be_bytes(take(rest)?);
        let topics = i32::from_be_bytes(take(rest)?);
        let name = usize::try_from(i16::from_be_bytes(take(rest)?)).ok()?;
        *rest = rest.get(name..)?;
        let partitions = i32::from_be_bytes(take(rest)?);
        let partition = i32::from_be_bytes(take(rest)?);
        let error_code = i16::from_be_bytes(take(rest)?);
        let base_offset = i64::from_be_bytes(take(rest)?);
        let _log_append_time: [u8; 8] = take(rest)?;
        let _log_start_offset: [u8; 8] = take(rest)?;
        let _throttle_time: [u8; 4] = take(rest)?;
        let whole = topics == 1 && partitions == 1 && rest.is_empty();
        whole.then_some(Self { correlation_id, partition, error_code, base_offset })
    }
}

/// What a server reads of a produce request before it can answer.
///
/// ```text
/// 0 .. length .. topic .. partition .. batch_start ......... frame_end
/// |<---------- head_bytes ----------->|<------ batch ------>|
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProduceHead {
    /// The request's correlation id.
    pub correlation_id: i32,
    /// The acks that are asked for.
    pub acks: i16,
    /// The topic's name, as it came.
    pub topic: Vec<u8>,
    /// The partition.
    pub partition: i32,
    /// Bytes before the batch, the frame's length included.
    pub head_bytes: usize,
    /// Bytes of the batch.
    pub batch_bytes: usize,
}

impl ProduceHead {
    /// Reads the start of a frame of version 7 with one partition, as [`RequestHead`] makes it;
    /// `None` if there is too little of it yet, or if it is something else.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let rest = &mut rest;
        let _length: [u8; 4] = take(rest)?;
        let _api_and_version: [u8; 4] = take(rest)?;
        let correlation_id = i32::from_be_bytes(take(rest)?);
        let client = usize::try_from(i16::from_be_bytes(take(rest)?)).ok()?;
        *rest = rest.get(client..)?;
        let _transactional_id: [u8; 2] = take(rest)?;
        let acks = i16::from_be_bytes(take(rest)?);
        let _timeout_and_topics: [u8; 8] = take(rest)?;
        let name = usize::try_from(i16::from_be_bytes(take(rest)?)).ok()?;
        let (topic, after) = rest.split_at_checked(name)?;
        *rest = after;
        let _partitions: [u8; 4] = take(rest)?;
        let partition = i32::from_be_bytes(take(rest)?);
        let batch_bytes = usize::try_from(i32::from_be_bytes(take(rest)?)).ok()?;
        let head_bytes = bytes.len() - rest.len();
        let topic = topic.to_vec();
        Some(Self { correlation_id, acks, topic, partition, head_bytes, batch_bytes })
    }

    /// Appends the answer, with its length, to `out`.
    pub fn put_answer(&self, error_code: i16, base_offset: i64, out: &mut Vec<u8>) {
        let body = 4 + 4 + 2 + self.topic.len() + 4 + 4 + 2 + 8 + 8 + 8 + 4;
        out.extend(length(body).to_be_bytes());
        out.extend(self.correlation_id.to_be_bytes());
        out.extend(1_i32.to_be_bytes());
        out.extend(i16::try_from(self.topic.len()).unwrap_or(i16::MAX).to_be_bytes());
        out.extend(&self.topic);
        out.extend(1_i32.to_be_bytes());
        out.extend(self.partition.to_be_bytes());
        out.extend(error_code.to_be_bytes());
        out.extend(base_offset.to_be_bytes());
        // No log append time, and a log that starts at 0.
        out.extend((-1_i64).to_be_bytes());
        out.extend(0_i64.to_be_bytes());
        out.extend(0_i32.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ringlog_broker::protocol::RequestHeader;
    use ringlog_broker::protocol::codec::Message;
    use ringlog_broker::protocol::messages::{ProduceRequest, ProduceResponse};

    use super::*;
    use crate::wire::set_correlation;

    #[test]
    fn the_broker_decodes_what_the_template_says() {
        let head = RequestHead::new("topic", 3, -1, 5);
        let mut frame = head.bytes.clone();
        set_correlation(&mut frame, 77);
        frame.extend(b"batch");
        assert_eq!(&frame[..4], length(frame.len() - 4).to_be_bytes());
        let (header, mut reader) =
            RequestHeader::decode(Bytes::copy_from_slice(&frame[4..])).unwrap();
        assert_eq!((header.correlation_id, header.version), (77, 7));
        let request = ProduceRequest::decode_body(&mut reader, header.version).unwrap();
        assert_eq!(request.acks, -1);
        assert_eq!(request.topics[0].name, "topic");
        assert_eq!(request.topics[0].partitions[0].index, 3);
    }

    #[test]
    fn a_server_reads_the_head_once_it_is_whole_and_its_answer_is_understood() {
        let frame = RequestHead::new("topic", 3, -1, 5).bytes;
        assert_eq!(ProduceHead::read(&frame[..frame.len() - 1]), None);
        let head = ProduceHead::read(&frame).unwrap();
        assert_eq!((head.head_bytes, head.batch_bytes), (frame.len(), 5));
        assert_eq!((head.partition, head.acks), (3, -1));
        let mut answer = Vec::new();
        head.put_answer(0, 42, &mut answer);
        assert_eq!(answer[..4], length(answer.len() - 4).to_be_bytes());
        let expected = Answer { correlation_id: 0, partition: 3, error_code: 0, base_offset: 42 };
        assert_eq!(Answer::decode(&answer[4..]), Ok(expected));
    }

    #[test]
    fn an_empty_or_cut_answer_is_malformed() {
        let whole = ProduceResponse::default().encode(7).unwrap().into_bytes();
        let problem = AnswerProblem::Malformed { frame_bytes: whole.len() };
        assert_eq!(Answer::decode(&whole), Err(problem));
        assert!(Answer::decode(&[]).is_err());
    }
}

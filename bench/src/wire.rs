//! Produce version 7 by hand: a template that is filled in once, and its short answer.
//!
//! Version 7 is understood by every broker from Kafka 2.1 to 4.x, carries every codec, and its
//! fields have fixed places:
//!
//! ```text
//! length i32 | 0 i16 | 7 i16 | correlation i32 | client | -1 i16 | acks i16 | timeout i32
//! | 1 i32 | topic | 1 i32 | partition i32 | batch length i32 | batch
//! ```

use crate::error::AnswerProblem;

const API_KEY_PRODUCE: i16 = 0;
const VERSION: i16 = 7;
const CLIENT_ID: &str = "ringlog-bench";
const CORRELATION_AT: std::ops::Range<usize> = 8..12;
/// How long the server may wait for its replicas.
const TIMEOUT_MS: i32 = 30_000;
/// The longest answer to one partition: a topic name of 249 bytes and some fixed fields.
pub const ANSWER_BYTES_MAX: usize = 1024;

/// Everything before the batch of a request to one partition.
#[derive(Debug, Clone)]
pub struct RequestHead {
    /// The partition written to.
    pub partition: i32,
    /// The bytes, with correlation id 0.
    pub bytes: Vec<u8>,
}

impl RequestHead {
    /// The head for batches of exactly `batch_bytes` bytes.
    #[must_use]
    pub fn new(topic: &str, partition: i32, acks: i16, batch_bytes: usize) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(API_KEY_PRODUCE.to_be_bytes());
        bytes.extend(VERSION.to_be_bytes());
        bytes.extend(0_i32.to_be_bytes());
        put_string(&mut bytes, CLIENT_ID);
        bytes.extend((-1_i16).to_be_bytes());
        bytes.extend(acks.to_be_bytes());
        bytes.extend(TIMEOUT_MS.to_be_bytes());
        bytes.extend(1_i32.to_be_bytes());
        put_string(&mut bytes, topic);
        bytes.extend(1_i32.to_be_bytes());
        bytes.extend(partition.to_be_bytes());
        bytes.extend(length(batch_bytes).to_be_bytes());
        let total = length(bytes.len() - 4 + batch_bytes).to_be_bytes();
        bytes.splice(0..4, total);
        Self { partition, bytes }
    }
}

/// Sets the correlation id of a head's copy.
pub fn set_correlation(head: &mut [u8], correlation_id: i32) {
    if let Some(place) = head.get_mut(CORRELATION_AT) {
        place.copy_from_slice(&correlation_id.to_be_bytes());
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

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    out.extend(i16::try_from(text.len()).unwrap_or(i16::MAX).to_be_bytes());
    out.extend(text.as_bytes());
}

/// A length as the wire writes it; the settings keep batches far below the limit.
fn length(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ringlog_broker::protocol::RequestHeader;
    use ringlog_broker::protocol::codec::Message;
    use ringlog_broker::protocol::messages::{ProduceRequest, ProduceResponse};

    use super::*;

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
    fn an_empty_or_cut_answer_is_malformed() {
        let whole = ProduceResponse::default().encode(7).unwrap().into_bytes();
        let problem = AnswerProblem::Malformed { frame_bytes: whole.len() };
        assert_eq!(Answer::decode(&whole), Err(problem));
        assert!(Answer::decode(&[]).is_err());
    }
}

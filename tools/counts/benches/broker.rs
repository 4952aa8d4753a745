//! What is measured of the broker: its input, made beforehand, and the calls that count.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use ringlog_broker::net::ReceiveBuffer;
use ringlog_broker::protocol::codec::{Gather, Message, Reader, Records, Request, Str};
use ringlog_broker::protocol::messages::{
    FetchResponse, FetchableTopicResponse, HeartbeatRequest, PartitionData, PartitionProduceData,
    ProduceRequest, TopicProduceData,
};
use ringlog_broker::protocol::{ApiKey, RequestHeader, encode_request, encode_response};
use uuid::Uuid;

/// Frames or headers in one run: one alone is so short that a single instruction is a percent.
pub(crate) const REPEATS: usize = 64;

/// The version of Produce that Kafka's clients speak: with topic ids.
const PRODUCE: i16 = 13;

/// The version of Fetch that Kafka's clients speak.
const FETCH: i16 = 17;

const FRAME_BYTES_MAX: usize = 100 * 1024 * 1024;

/// A request's frame, its length included.
fn frame<R: Request>(request: &R, version: i16) -> Bytes {
    let client = Str::from("a client's name");
    encode_request(request, version, 4_711, Some(&client)).unwrap().into_bytes()
}

/// The frame of a heartbeat, the smallest request there is much of.
fn heartbeat() -> Bytes {
    let request = HeartbeatRequest {
        group_id: Str::from("a group"),
        generation_id: 3,
        member_id: Str::from("a member's name, which is rather long"),
        ..HeartbeatRequest::default()
    };
    frame(&request, 4)
}

/// [`REPEATS`] frames, received with one read.
pub(crate) fn received() -> ReceiveBuffer {
    let frame = heartbeat();
    let mut bytes = BytesMut::with_capacity(frame.len() * REPEATS);
    for _ in 0..REPEATS {
        bytes.extend_from_slice(&frame);
    }
    let mut buffer = ReceiveBuffer::new(FRAME_BYTES_MAX, Rc::default());
    let read = bytes.len();
    buffer.take_back(bytes, read);
    buffer
}

/// Cuts all frames off; gives their bytes.
pub(crate) fn cut_frames(buffer: &mut ReceiveBuffer) -> usize {
    let mut bytes = 0;
    while let Some(frame) = buffer.next_frame().unwrap() {
        bytes += frame.len();
    }
    bytes
}

/// A frame without its length.
pub(crate) fn header_frame() -> Bytes {
    heartbeat().slice(4..)
}

/// Decodes the header of one frame [`REPEATS`] times; gives the bytes that follow all of them.
pub(crate) fn decode_headers(frame: &Bytes) -> usize {
    let headers = (0..REPEATS).map(|_| {
        let (header, body) = RequestHeader::decode(frame.clone()).unwrap();
        assert_eq!(header.api, ApiKey::Heartbeat);
        body.remaining()
    });
    headers.sum()
}

/// The body of a request for so many partitions of one topic, with a kilobyte for each.
pub(crate) fn produce_body(partitions: i32) -> Bytes {
    let records = Bytes::from(vec![7; 1024]);
    let partition =
        |index| PartitionProduceData { index, records: Some(Records::from(records.clone())) };
    let topic = TopicProduceData {
        topic_id: Uuid::from_u128(0x4711),
        partitions: (0..partitions).map(partition).collect(),
        ..TopicProduceData::default()
    };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topics: vec![topic],
        ..ProduceRequest::default()
    };
    let frame = frame(&request, PRODUCE).slice(4..);
    let (_, body) = RequestHeader::decode(frame.clone()).unwrap();
    frame.slice(frame.len() - body.remaining()..)
}

/// Decodes the body of a produce request.
pub(crate) fn decode_produce(body: Bytes) -> ProduceRequest {
    ProduceRequest::decode_body(&mut Reader::new(body), PRODUCE).unwrap()
}

/// A response with so many partitions of one topic, with 16 KiB of batches for each.
pub(crate) fn fetch_response(partitions: i32) -> FetchResponse {
    let records = Bytes::from(vec![7; 16 * 1024]);
    let partition = |index| PartitionData {
        partition_index: index,
        high_watermark: 1_000,
        last_stable_offset: 1_000,
        log_start_offset: 0,
        records: Some(Records::from(records.clone())),
        ..PartitionData::default()
    };
    let topic = FetchableTopicResponse {
        topic_id: Uuid::from_u128(0x4711),
        partitions: (0..partitions).map(partition).collect(),
        ..FetchableTopicResponse::default()
    };
    FetchResponse { topics: vec![topic], ..FetchResponse::default() }
}

/// Encodes a response, its length and header included, into slices for one send.
pub(crate) fn encode_fetch(response: &FetchResponse) -> Gather {
    encode_response(ApiKey::Fetch, FETCH, 4_711, response).unwrap()
}

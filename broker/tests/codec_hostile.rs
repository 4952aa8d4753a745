//! Bytes from strangers: whatever they are, decoding ends in a value or a typed error, without a
//! panic and without taking more memory than a small multiple of the frame.

mod codec_support;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use bytes::Bytes;
use codec_support::{for_every_api, sample, seed};
use ringlog_broker::protocol::{
    ApiKey, RequestHeader,
    codec::{
        DECODED_BYTES_BASE, DECODED_BYTES_PER_FRAME_BYTE, DecodeError, DecodeProblem, Message,
        Request, Sampler,
    },
    encode_request, encode_response,
    messages::*,
};

/// Counts what this thread allocates.
struct Counting;

thread_local! {
    static ALLOCATED_BYTES: Cell<usize> = const { Cell::new(0) };
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is handed to the system's allocator as it came; the counters are cells of the
// calling thread with constant initial values, which allocate nothing themselves.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED_BYTES.set(ALLOCATED_BYTES.get() + layout.size());
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What a call returns, and the bytes and the number of the allocations it made.
fn counted<T>(call: impl FnOnce() -> T) -> (T, usize, usize) {
    let (bytes, count) = (ALLOCATED_BYTES.get(), ALLOCATIONS.get());
    let value = call();
    (value, ALLOCATED_BYTES.get() - bytes, ALLOCATIONS.get() - count)
}

/// No element takes more than this many bytes of memory for each of its bytes on the wire.
const BYTES_PER_FRAME_BYTE_MAX: usize = 64;

/// Decodes, and checks what it cost.
fn decode<M: Message>(bytes: Bytes, version: i16) -> Result<M, DecodeError> {
    let length = bytes.len();
    let (decoded, allocated, _) = counted(|| M::decode(bytes, version));
    let bound = length * BYTES_PER_FRAME_BYTE_MAX + 256;
    assert!(allocated <= bound, "{} version {version}: {length} -> {allocated}", M::NAME);
    decoded
}

fn encoded<M: Message>(version: i16, seed: u64) -> Vec<u8> {
    sample::<M>(version, seed).encode(version).expect("a sample encodes").into_bytes().to_vec()
}

/// Calls `check` for requests and responses of every API and version.
macro_rules! for_every_message {
    ($check:ident) => {
        macro_rules! each {
            ($request:ident $response:ident) => {
                for version in <$request as Request>::API.served().iter() {
                    $check::<$request>(version);
                    $check::<$response>(version);
                }
            };
        }
        for_every_api!(each);
    };
}

#[test]
fn every_truncation_is_an_error() {
    fn check<M: Message>(version: i16) {
        for seed in seed()..seed() + 3 {
            let whole = Bytes::from(encoded::<M>(version, seed));
            // All of the shorter ones, and every 37th of those that end in a long blob.
            let step = if whole.len() > 600 { 37 } else { 1 };
            for length in (0..whole.len()).step_by(step) {
                let error = decode::<M>(whole.slice(..length), version);
                assert!(error.is_err(), "{} {version}: {length} of {}", M::NAME, whole.len());
            }
        }
    }
    for_every_message!(check);
}

#[test]
fn trailing_bytes_are_an_error_of_their_own() {
    fn check<M: Message>(version: i16) {
        let mut bytes = encoded::<M>(version, seed());
        bytes.extend_from_slice(&[0, 0, 0]);
        let error = decode::<M>(Bytes::from(bytes), version).expect_err("trailing bytes");
        assert_eq!(error.problem, DecodeProblem::TrailingBytes { remaining: 3 });
        assert_eq!(error.field, M::NAME);
    }
    for_every_message!(check);
}

#[test]
fn extreme_lengths_at_every_position_neither_panic_nor_allocate() {
    const EXTREMES: [&[u8]; 7] = [
        &[0x7f, 0xff, 0xff, 0xff],
        &[0x80, 0, 0, 0],
        &[0xff, 0xff, 0xff, 0xfe],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x80, 0x80, 0x80, 0x80, 0x08],
        &[0x7f, 0xff],
    ];
    fn check<M: Message>(version: i16) {
        let whole = encoded::<M>(version, seed());
        for position in (0..whole.len()).step_by(1 + whole.len() / 300) {
            for extreme in EXTREMES {
                let mut bytes = whole.clone();
                let end = bytes.len().min(position + extreme.len());
                bytes[position..end].copy_from_slice(&extreme[..end - position]);
                // Some of these are legal values; what matters is that it ends, within bounds.
                let _ = decode::<M>(Bytes::from(bytes), version);
            }
        }
    }
    for_every_message!(check);
}

#[test]
fn garbage_ends_in_a_value_or_an_error() {
    fn check<M: Message>(version: i16) {
        let mut sampler = Sampler::new(seed());
        for _ in 0..200 {
            let length = sampler.draw() % 120;
            // Mostly small bytes, so that counts and lengths are plausible and nesting is reached.
            let mask = if sampler.coin() { 0x03 } else { 0xff };
            let bytes: Vec<u8> =
                (0..length).map(|_| sampler.draw().to_le_bytes()[0] & mask).collect();
            let _ = decode::<M>(Bytes::from(bytes), version);
        }
    }
    for_every_message!(check);
}

#[test]
fn garbage_for_a_header_ends_in_a_header_or_an_error() {
    let mut sampler = Sampler::new(seed());
    for api in ApiKey::ALL {
        for version in api.served().iter() {
            for length in 0..40 {
                let mut frame = Vec::from(api.code().to_be_bytes());
                frame.extend_from_slice(&version.to_be_bytes());
                frame.extend((0..length).map(|_| sampler.draw().to_le_bytes()[0]));
                let (_, allocated, _) =
                    counted(|| RequestHeader::decode(Bytes::from(frame)).is_ok());
                assert!(allocated <= 256, "{api} {version}: {allocated} bytes");
            }
        }
    }
}

#[test]
fn counts_that_cannot_be_true_are_refused_before_allocating() {
    // This body makes a naive decoder ask for 150 GB.
    let error = decode::<MetadataRequest>(Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0]), 0);
    let error = error.expect_err("no room for so many topics");
    let expected = DecodeProblem::CountTooLarge { count: 0x7fff_ffff, size_min: 2, remaining: 1 };
    assert_eq!((error.position, error.problem), (4, expected));
    assert_eq!(error.field, "MetadataRequest.topics");

    let compact = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0]);
    let error = decode::<MetadataRequest>(compact, 9).expect_err("no room for so many topics");
    let expected = DecodeProblem::CountTooLarge { count: 0xffff_fffe, size_min: 2, remaining: 1 };
    assert_eq!(error.problem, expected);

    let overflow = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x1f, 0]);
    let error = decode::<MetadataRequest>(overflow, 9).expect_err("33 bits");
    assert_eq!(error.problem, DecodeProblem::VarintTooLong);
}

#[test]
fn negative_lengths_are_refused_and_null_is_told_apart() {
    let error = decode::<MetadataRequest>(Bytes::from_static(&[0xff, 0xff, 0xff, 0xfe]), 1);
    let problem = error.expect_err("a count of -2").problem;
    assert_eq!(problem, DecodeProblem::NegativeLength { length: -2 });

    let error = decode::<MetadataRequest>(Bytes::from_static(&[0xff, 0xff, 0xff, 0xff]), 0);
    assert_eq!(error.expect_err("no null at version 0").problem, DecodeProblem::UnexpectedNull);

    let error = decode::<HeartbeatRequest>(Bytes::from_static(&[0x80, 0, 0, 0]), 0);
    let problem = error.expect_err("a length of -32768").problem;
    assert_eq!(problem, DecodeProblem::NegativeLength { length: -32768 });

    let error = decode::<HeartbeatRequest>(Bytes::from_static(&[0, 2, b'a', 0xff, 0, 0]), 0);
    assert_eq!(error.expect_err("not text").problem, DecodeProblem::NotUtf8 { valid_up_to: 1 });
}

#[test]
fn tagged_fields_are_bounded_and_unknown_ones_passed_over() {
    // An empty ApiVersions request of version 3, then its tagged fields.
    let tagged = |fields: &[u8]| {
        let bytes = [&[1, 1], fields].concat();
        decode::<ApiVersionsRequest>(Bytes::from(bytes), 3).map_err(|error| error.problem)
    };
    assert_eq!(tagged(&[2, 0, 1, 9, 0xff, 0x7f, 2, 8, 8]), Ok(ApiVersionsRequest::default()));
    assert_eq!(
        tagged(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0]),
        Err(DecodeProblem::CountTooLarge { count: 0xffff_ffff, size_min: 2, remaining: 2 })
    );
    assert_eq!(
        tagged(&[1, 0, 0x80, 0x80, 0x80, 0x80, 0x08]),
        Err(DecodeProblem::Truncated { needed: 1 << 31, remaining: 0 })
    );

    // The first known tag of a fetch request, the cluster id, declared one byte too long.
    let mut bytes = FetchRequest::default().encode(12).expect("a request").into_bytes().to_vec();
    bytes.pop();
    bytes.extend_from_slice(&[1, 0, 3, 2, b'x', 0]);
    let error = decode::<FetchRequest>(Bytes::from(bytes), 12).expect_err("a byte too many");
    assert_eq!(error.problem, DecodeProblem::TaggedFieldNotRead { remaining: 1 });
    assert_eq!(error.field, "FetchRequest.cluster_id");
}

#[test]
fn a_large_frame_of_empty_strings_is_refused_before_it_takes_thirty_times_its_size() {
    let count: u32 = 4 << 20;
    let mut bytes = vec![0; 6];
    bytes[..4].copy_from_slice(&count.to_be_bytes());
    bytes.resize(4 + 2 * (4 << 20), 0);
    let frame = Bytes::from(bytes);
    let allowed = DECODED_BYTES_BASE + DECODED_BYTES_PER_FRAME_BYTE * frame.len();
    let (decoded, allocated, _) = counted(|| DescribeGroupsRequest::decode(frame, 0));
    let problem = decoded.expect_err("too much memory").problem;
    assert!(matches!(problem, DecodeProblem::TooMuchMemory { allowed: a, .. } if a == allowed));
    assert!(allocated < 256, "{allocated} bytes");
}

#[test]
fn the_hot_path_allocates_for_arrays_and_small_bytes_only() {
    let partition =
        PartitionProduceData { index: 1, records: Some(Bytes::from(vec![7; 64 << 10]).into()) };
    let topic = TopicProduceData { partitions: vec![partition], ..TopicProduceData::default() };
    let request = ProduceRequest { topics: vec![topic], ..ProduceRequest::default() };
    let frame = encode_request(&request, 12, 1, None).expect("a request").into_bytes().slice(4..);
    let (decoded, bytes, count) = counted(|| {
        let (header, mut body) = RequestHeader::decode(frame).expect("a header");
        ProduceRequest::decode_body(&mut body, header.version).expect("a body")
    });
    assert_eq!(decoded, request);
    assert!(count <= 3 && bytes < 512, "decoding took {count} allocations of {bytes} bytes");

    let data = PartitionData {
        records: decoded.topics[0].partitions[0].records.clone(),
        ..PartitionData::default()
    };
    let topic =
        FetchableTopicResponse { partitions: vec![data], ..FetchableTopicResponse::default() };
    let response = FetchResponse { topics: vec![topic], ..FetchResponse::default() };
    let (parts, bytes, count) = counted(|| {
        encode_response(ApiKey::Fetch, 12, 1, &response).expect("a response").into_parts()
    });
    assert_eq!(parts.len(), 3, "what is before the records, the records, what is after");
    assert!(count <= 3 && bytes < 512, "encoding took {count} allocations of {bytes} bytes");
}

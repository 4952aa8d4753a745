//! How many instructions the hot functions take, as valgrind counts them.
//!
//! `counts.py` runs this, and compares what it says with what is stored.

#![allow(clippy::unwrap_used, reason = "a benchmark may")]
#![allow(missing_docs, reason = "gungraun makes public items")]
#![allow(clippy::disallowed_methods, reason = "gungraun ends its own process")]

mod broker;
mod engine;
#[allow(dead_code, unused_imports, reason = "the shipped file; only the look-up is measured")]
#[path = "../../../engine/src/segment/offset_index.rs"]
mod offset_index;

use std::hint::black_box;

use bytes::Bytes;
use engine::{AppendWork, LookupWork};
use gungraun::{
    Callgrind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
};
use ringlog_broker::net::ReceiveBuffer;
use ringlog_broker::protocol::codec::Gather;
use ringlog_broker::protocol::messages::{FetchResponse, ProduceRequest};
use ringlog_engine::batch::CheckedBatch;
// Where the index looks for it.
use ringlog_engine::offset;

// What a benchmark was given it gives back, so that dropping it is not counted.

#[library_benchmark]
#[bench::pipelined(setup = broker::received)]
fn cut_frames(mut buffer: ReceiveBuffer) -> (ReceiveBuffer, usize) {
    let bytes = black_box(broker::cut_frames(black_box(&mut buffer)));
    (buffer, bytes)
}

#[library_benchmark]
#[bench::heartbeat(setup = broker::header_frame)]
fn decode_header(frame: Bytes) -> (Bytes, usize) {
    let bytes = black_box(broker::decode_headers(black_box(&frame)));
    (frame, bytes)
}

#[library_benchmark]
#[bench::one_partition(args = (1), setup = broker::produce_body)]
#[bench::hundred_partitions(args = (100), setup = broker::produce_body)]
fn decode_produce(body: Bytes) -> ProduceRequest {
    black_box(broker::decode_produce(black_box(body)))
}

#[library_benchmark]
#[bench::one_partition(args = (1), setup = broker::fetch_response)]
#[bench::hundred_partitions(args = (100), setup = broker::fetch_response)]
fn encode_fetch(response: FetchResponse) -> (FetchResponse, Gather) {
    let gather = black_box(broker::encode_fetch(black_box(&response)));
    (response, gather)
}

#[library_benchmark]
#[bench::one_record(args = (1), setup = engine::batch)]
#[bench::hundred_records(args = (100), setup = engine::batch)]
fn check_batch(bytes: Vec<u8>) -> (Vec<u8>, u32) {
    let records = black_box(engine::check_batch(black_box(&bytes)));
    (bytes, records)
}

fn batch_to_append(bytes: Vec<u8>) -> (AppendWork, CheckedBatch<'static>) {
    (AppendWork::new(), CheckedBatch::check(bytes.leak()).unwrap())
}

#[library_benchmark]
#[bench::plain(args = (engine::batch(1)), setup = batch_to_append)]
#[bench::idempotent(args = (engine::idempotent_batch(1)), setup = batch_to_append)]
fn append((work, batch): (AppendWork, CheckedBatch<'static>)) -> (AppendWork, offset::Offset) {
    let end = black_box(work.append(black_box(&batch)));
    (work, end)
}

#[library_benchmark]
#[bench::hundred_bytes(setup = AppendWork::new)]
fn append_frames(work: AppendWork) -> (AppendWork, offset::Offset) {
    let end = black_box(work.append_frames(black_box(&[7; 100])));
    (work, end)
}

#[library_benchmark]
#[bench::gibibyte(setup = LookupWork::new)]
fn look_up_offset(work: LookupWork) -> (LookupWork, u64) {
    let positions = black_box(black_box(&work).look_up());
    (work, positions)
}

library_benchmark_group!(
    name = broker_group,
    benchmarks = [cut_frames, decode_header, decode_produce, encode_fetch]
);

library_benchmark_group!(
    name = engine_group,
    benchmarks = [check_batch, append, append_frames, look_up_offset]
);

main!(
    config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args(["--cache-sim=no"])),
    library_benchmark_groups = [broker_group, engine_group]
);

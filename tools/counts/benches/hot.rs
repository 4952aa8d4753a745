//! How long the hot functions take.

#![allow(clippy::unwrap_used, reason = "a benchmark may")]

mod broker;
mod engine;
#[allow(dead_code, unused_imports, reason = "the shipped file; only the look-up is measured")]
#[path = "../../../engine/src/segment/offset_index.rs"]
mod offset_index;

use std::cell::RefCell;
use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput};
use engine::{AppendWork, LookupWork};
use ringlog_engine::batch::CheckedBatch;
// Where the index looks for it.
use ringlog_engine::offset;

/// How many partitions a request or a response has.
const PARTITIONS: [(&str, i32); 2] = [("one_partition", 1), ("hundred_partitions", 100)];

fn cut_frames(criterion: &mut Criterion) {
    assert_eq!(broker::cut_frames(&mut broker::received()) % broker::REPEATS, 0);
    let mut group = criterion.benchmark_group("cut_frames");
    group.throughput(Throughput::Elements(broker::REPEATS as u64));
    group.bench_function("pipelined", |bencher| {
        bencher.iter_batched_ref(broker::received, broker::cut_frames, BatchSize::SmallInput);
    });
    group.finish();
}

fn decode_header(criterion: &mut Criterion) {
    let frame = broker::header_frame();
    assert_ne!(broker::decode_headers(&frame), 0);
    let mut group = criterion.benchmark_group("decode_header");
    group.throughput(Throughput::Elements(broker::REPEATS as u64));
    group.bench_function("heartbeat", |bencher| {
        bencher.iter(|| broker::decode_headers(black_box(&frame)));
    });
    group.finish();
}

fn decode_produce(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode_produce");
    for (name, partitions) in PARTITIONS {
        let body = broker::produce_body(partitions);
        let request = broker::decode_produce(body.clone());
        assert_eq!(request.topics[0].partitions.len(), usize::try_from(partitions).unwrap());
        group.bench_function(name, |bencher| {
            bencher.iter_with_large_drop(|| broker::decode_produce(black_box(body.clone())));
        });
    }
    group.finish();
}

fn encode_fetch(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode_fetch");
    for (name, partitions) in PARTITIONS {
        let response = broker::fetch_response(partitions);
        let slices = broker::encode_fetch(&response).into_parts();
        assert!(slices.len() > usize::try_from(partitions).unwrap(), "batches are not copied");
        group.bench_function(name, |bencher| {
            bencher.iter_with_large_drop(|| broker::encode_fetch(black_box(&response)));
        });
    }
    group.finish();
}

fn check_batch(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("check_batch");
    for (name, records) in [("one_record", 1), ("hundred_records", 100)] {
        let bytes = engine::batch(records);
        assert_eq!(engine::check_batch(&bytes), records);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| engine::check_batch(black_box(&bytes)));
        });
    }
    group.finish();
}

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append");
    group.throughput(Throughput::Elements(engine::REPEATS as u64));
    let batches = [("plain", engine::batch(1)), ("idempotent", engine::idempotent_batch(1))];
    for (name, bytes) in &batches {
        let batch = CheckedBatch::check(bytes).unwrap();
        bench_append(&mut group, name, |work| work.append(black_box(&batch)));
    }
    bench_append(&mut group, "frames", |work| work.append_frames(black_box(&[7; 100])));
    group.finish();
}

/// Writes what was appended. A log that has grown large makes place for an empty one.
fn settle(work: &mut AppendWork) {
    let end = work.log.offsets().end;
    work.io.run(work.log.durable(end)).unwrap();
    if end.value() > 64 * 1024 {
        *work = AppendWork::new();
    }
}

fn bench_append(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    append: impl Fn(&AppendWork) -> offset::Offset,
) {
    let work = RefCell::new(AppendWork::new());
    group.bench_function(name, |bencher| {
        // Between runs the disk is written to, which takes no part.
        let settle = || settle(&mut work.borrow_mut());
        bencher.iter_batched(settle, |()| append(&work.borrow()), BatchSize::PerIteration);
    });
}

fn look_up_offset(criterion: &mut Criterion) {
    let work = LookupWork::new();
    assert_ne!(work.look_up(), 0);
    let mut group = criterion.benchmark_group("look_up_offset");
    group.throughput(Throughput::Elements(engine::REPEATS as u64));
    group.bench_function("gibibyte", |bencher| bencher.iter(|| black_box(&work).look_up()));
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    cut_frames(&mut criterion);
    decode_header(&mut criterion);
    decode_produce(&mut criterion);
    encode_fetch(&mut criterion);
    check_batch(&mut criterion);
    append(&mut criterion);
    look_up_offset(&mut criterion);
    criterion.final_summary();
}

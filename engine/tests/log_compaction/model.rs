//! A model of Kafka's rules, and what the tests do to a log and to the model alike.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use ringlog_engine::batch::{
    Attributes, BatchBuilder, BatchOptions, CheckedBatch, Compression, HEADER_BYTES, ProducerId,
    RecordIter,
};
use ringlog_engine::compaction::{BatchCodec, CodecError, CompactionReport, CompactionSettings};
use ringlog_engine::io::Io;
use ringlog_engine::io::sim::SimIo;
use ringlog_engine::log::{Log, LogSettings};
use ringlog_engine::offset::{Offset, Timestamp};
use ringlog_engine::producer::Marker;
use ringlog_engine::shard::Shard;

use crate::support::*;

pub(crate) const DIR: &str = "/data/table-0";
pub(crate) const RETENTION: Duration = Duration::from_secs(60);

/// A codec of the test's own under gzip's number: every bit flipped.
pub(crate) struct Flipped;

impl BatchCodec for Flipped {
    fn unpack(&self, codec: Compression, body: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError> {
        if codec != Compression::Gzip {
            return Err(CodecError::Unsupported(codec));
        }
        out.extend(body.iter().map(|byte| !byte));
        Ok(())
    }

    fn pack(
        &self,
        codec: Compression,
        records: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        self.unpack(codec, records, out)
    }
}

/// The batch with its records packed by [`Flipped`].
pub(crate) fn flipped(mut batch: Vec<u8>) -> Vec<u8> {
    batch[22] |= 1;
    batch[HEADER_BYTES..].iter_mut().for_each(|byte| *byte = !*byte);
    let sum = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&sum.to_be_bytes());
    batch
}

pub(crate) fn settings() -> CompactionSettings {
    CompactionSettings {
        min_cleanable_ratio: 0.0,
        delete_retention: RETENTION,
        ..CompactionSettings::default()
    }
}

pub(crate) fn log_settings() -> LogSettings {
    LogSettings { segment_bytes: 6144, batch_bytes_max: 8192, checkpoint_bytes: 4096, ..small() }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Plain,
    Open,
    Committed,
    Aborted,
}

/// A record that was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) time: i64,
    pub(crate) producer: i64,
    /// Number of its transaction; 0 for none.
    pub(crate) transaction: u64,
    pub(crate) outcome: Outcome,
}

/// What was appended, and so what may be there and what must.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    pub(crate) records: BTreeMap<i64, Written>,
    /// Next sequence of each producer.
    pub(crate) sequences: BTreeMap<i64, i32>,
    /// Producers with an open transaction, and its number.
    pub(crate) open: BTreeMap<i64, u64>,
    pub(crate) transactions: u64,
    /// By the time at which it was first cleaned, per tombstone.
    pub(crate) cleaned_at: BTreeMap<i64, i64>,
    pub(crate) next_value: u32,
}

impl Model {
    pub(crate) fn counts(record: &Written) -> bool {
        matches!(record.outcome, Outcome::Plain | Outcome::Committed)
    }

    /// The records below `end` that stay for their keys' sake.
    pub(crate) fn last_of_keys(&self, end: i64) -> BTreeSet<i64> {
        let mut last = BTreeMap::new();
        for (offset, record) in self.records.range(..end).filter(|(_, r)| Self::counts(r)) {
            if let Some(key) = &record.key {
                last.insert(key.clone(), *offset);
            }
        }
        last.into_values().collect()
    }
}

pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// Appends a random batch, or a marker, and has the model know.
pub(crate) async fn step(
    log: &Log<SimIo>,
    model: &mut Model,
    random: &mut Random,
    io: &SimIo,
    packs: bool,
) {
    let now = io.now();
    let start = log.offsets().end.value();
    // Producer 0 is none, 1 and 2 are idempotent, the others have transactions.
    let producer = i64::try_from(random.below(6)).unwrap();
    let transactional = producer > 2;
    if transactional && model.open.contains_key(&producer) && random.below(3) == 0 {
        let commits = random.below(2) == 0;
        append(log, &marker(producer, if commits { Marker::Commit } else { Marker::Abort })).await;
        model.open.remove(&producer);
        let outcome = if commits { Outcome::Committed } else { Outcome::Aborted };
        for record in model.records.values_mut() {
            if record.producer == producer && record.outcome == Outcome::Open {
                record.outcome = outcome;
            }
        }
        return;
    }
    let sequence = *model.sequences.entry(producer).or_default();
    let options = if producer == 0 {
        BatchOptions::default()
    } else {
        BatchOptions {
            attributes: Attributes::default().with_transactional(transactional),
            producer_id: ProducerId::new(producer),
            producer_epoch: 0,
            base_sequence: sequence,
        }
    };
    if transactional && !model.open.contains_key(&producer) {
        model.transactions += 1;
        model.open.insert(producer, model.transactions);
    }
    let transaction = if transactional { model.open[&producer] } else { 0 };
    let mut builder = BatchBuilder::new(options);
    let count = 1 + i64::try_from(random.below(4)).unwrap();
    for index in 0..count {
        model.next_value += 1;
        let key =
            (random.below(20) > 0).then(|| vec![b'k', u8::try_from(random.below(40)).unwrap()]);
        let mut value = model.next_value.to_be_bytes().to_vec();
        value.resize(4 + usize::try_from(random.below(60)).unwrap(), 7);
        let value = (random.below(4) > 0).then_some(value);
        let time = now.millis() - i64::try_from(random.below(5)).unwrap();
        builder.push(ms(time), key.as_deref(), value.as_deref(), &[("h", Some(b"x"))]);
        let outcome = if transactional { Outcome::Open } else { Outcome::Plain };
        let written = Written { key, value, time, producer, transaction, outcome };
        model.records.insert(start + index, written);
    }
    *model.sequences.entry(producer).or_default() += i32::try_from(count).unwrap();
    let batch = builder.finish().unwrap();
    let batch = if packs && random.below(2) == 0 { flipped(batch) } else { batch };
    assert_eq!(append(log, &batch).await.base_offset.value(), start);
}

pub(crate) fn marker(producer: i64, marker: Marker) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        attributes: Attributes::default().with_transactional(true).with_control(true),
        producer_id: ProducerId::new(producer),
        producer_epoch: 0,
        base_sequence: -1,
    });
    let key: &[u8] = if marker == Marker::Abort { &[0, 0, 0, 0] } else { &[0, 0, 0, 1] };
    builder.push(ms(1), Some(key), Some(&[0; 6]), &[]);
    builder.finish().unwrap()
}

/// Whole batches from `from` to the durable end, which follow one another without a gap.
pub(crate) async fn batches<I: Io>(log: &Log<I>, from: Offset) -> Vec<Vec<u8>> {
    let end = log.offsets().durable;
    let mut found: Vec<Vec<u8>> = Vec::new();
    let mut next = from;
    while next < end {
        let slices = log.read(next, end, 3_000, true).await.unwrap();
        assert!(!slices.is_empty(), "nothing at {next}");
        // The first may begin earlier: compaction makes one of several.
        let mut may_begin_earlier = true;
        for piece in slices.iter() {
            let mut rest: &[u8] = piece;
            while !rest.is_empty() {
                let (batch, after) = CheckedBatch::check_first_stored(rest).unwrap();
                let header = batch.header();
                let earlier = std::mem::take(&mut may_begin_earlier);
                let follows = header.base_offset == next.value();
                assert!(follows || (earlier && header.base_offset < next.value()));
                next = header.end_offset().unwrap();
                found.push(batch.bytes().to_vec());
                rest = after;
            }
        }
    }
    found
}

/// The records of a batch, as the model knows them.
pub(crate) fn records(batch: &[u8]) -> Vec<(i64, Written)> {
    let header = header(batch);
    let mut body = batch[HEADER_BYTES..].to_vec();
    if header.attributes.compression() == Ok(Compression::Gzip) {
        body.iter_mut().for_each(|byte| *byte = !*byte);
    }
    let count = u32::try_from(header.record_count).unwrap();
    RecordIter::sparse(&body, count, header.last_offset_delta)
        .map(|record| {
            let record = record.unwrap();
            assert_eq!(record.header_count(), usize::from(!header.attributes.is_control()));
            let written = Written {
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                time: header.base_timestamp.millis() + record.timestamp_delta,
                producer: header.producer_id.value().max(0),
                transaction: 0,
                outcome: Outcome::Plain,
            };
            (header.base_offset + i64::from(record.offset_delta), written)
        })
        .collect()
}

/// What must hold at any time, whatever compaction has done.
pub(crate) async fn check_safety(
    log: &Log<SimIo>,
    model: &Model,
    random: &mut Random,
    replay: &str,
) {
    let offsets = log.offsets();
    let from = Offset::new(
        i64::try_from(random.below(offsets.durable.since(Offset::ZERO).max(1))).unwrap(),
    );
    for from in [Offset::ZERO, from.unwrap()] {
        let mut seen = BTreeSet::new();
        let mut committed = BTreeSet::new();
        let end = offsets.durable;
        // A reader may ask what was aborted before it reads, or after.
        let asks_first = random.below(2) == 0;
        let mut aborted = Vec::new();
        if asks_first {
            aborted = log.aborted_transactions(from, end).await.unwrap();
        }
        let held = batches(log, from).await;
        if !asks_first {
            aborted = log.aborted_transactions(from, end).await.unwrap();
        }
        aborted.sort_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        let mut skipping = BTreeSet::new();
        let mut open: BTreeMap<i64, u64> = BTreeMap::new();
        for batch in held {
            let header = header(&batch);
            // As Kafka's consumer does it.
            while aborted.last().is_some_and(|t| t.first_offset.value() <= header.last_offset()) {
                skipping.insert(aborted.pop().unwrap().producer_id);
            }
            if header.attributes.is_control() {
                open.remove(&header.producer_id.value());
                if Marker::read(&batch) == Some(Marker::Abort) {
                    skipping.remove(&header.producer_id);
                }
                continue;
            }
            let skipped =
                header.attributes.is_transactional() && skipping.contains(&header.producer_id);
            for (offset, record) in records(&batch) {
                let written = model
                    .records
                    .get(&offset)
                    .unwrap_or_else(|| panic!("a record at {offset} that nobody wrote ({replay})"));
                let same = Written { outcome: record.outcome, transaction: 0, ..written.clone() };
                assert_eq!(record, same, "the record at {offset} has changed ({replay})");
                if written.transaction > 0 {
                    let of = *open.entry(written.producer).or_insert(written.transaction);
                    assert_eq!(of, written.transaction, "no marker before {offset} ({replay})");
                }
                seen.insert(offset);
                if !skipped {
                    committed.insert(offset);
                }
            }
        }
        for (producer, transaction) in open {
            let known = model.open.get(&producer);
            assert_eq!(known, Some(&transaction), "no marker for {producer} ({replay})");
        }
        for (offset, record) in model.records.range(from.value()..) {
            let aborted = record.outcome == Outcome::Aborted;
            assert!(
                !(aborted && committed.contains(offset)),
                "the aborted record at {offset} is seen as committed from {from} ({replay})"
            );
            let visible = committed.contains(offset);
            assert!(
                aborted || visible == seen.contains(offset),
                "the record at {offset} is skipped though its transaction was not aborted ({replay})"
            );
        }
        for offset in model.last_of_keys(i64::MAX).range(from.value()..) {
            let record = &model.records[offset];
            assert!(
                seen.contains(offset) || record.value.is_none(),
                "the latest value of {:?} at {offset} is gone ({replay})",
                record.key
            );
        }
    }
}

/// What a finished compaction must have done, whose map did not fill up.
pub(crate) async fn check_compacted(
    log: &Log<SimIo>,
    model: &mut Model,
    end: i64,
    now: i64,
    replay: &str,
) {
    let mut seen = BTreeSet::new();
    for batch in batches(log, Offset::ZERO).await {
        if !header(&batch).attributes.is_control() {
            seen.extend(records(&batch).into_iter().map(|(offset, _)| offset));
        }
    }
    let last = model.last_of_keys(end);
    let retention = i64::try_from(RETENTION.as_millis()).unwrap();
    for (offset, record) in &model.records {
        let stays = if *offset >= end {
            continue;
        } else if !last.contains(offset) {
            false
        } else if record.value.is_none() {
            let cleaned = *model.cleaned_at.entry(*offset).or_insert(now);
            now < cleaned + retention
        } else {
            true
        };
        assert_eq!(
            seen.contains(offset),
            stays,
            "the record at {offset} of a log that is clean to {end}: {record:?} ({replay})"
        );
    }
}

pub(crate) async fn open_log(io: &SimIo, replay: &str) -> Log<SimIo> {
    open_on(io, shard(io), replay).await
}

/// A shard, with a journal for every other seed.
pub(crate) async fn shard_of(io: &SimIo, seed: u64) -> Shard<SimIo> {
    if seed.is_multiple_of(2) { shard(io) } else { journaled_shard(io, 2, 4 << 20).await }
}

pub(crate) async fn open_on(io: &SimIo, shard: Shard<SimIo>, replay: &str) -> Log<SimIo> {
    io.create_dir_all(Path::new("/data")).await.unwrap();
    let opened = Log::open(&shard, Path::new(DIR), log_settings()).await;
    opened.unwrap_or_else(|error| panic!("{error} ({replay})")).0
}

pub(crate) async fn compact(log: &Log<SimIo>, replay: &str) -> CompactionReport {
    let report = log.compact(&settings(), log.offsets().durable, &Flipped).await;
    report.unwrap_or_else(|error| panic!("{error} ({replay})"))
}

pub(crate) fn replay(seed: u64, test: &str) -> String {
    format!("RINGLOG_SEED={seed} cargo test -p ringlog-engine --test log_compaction {test}")
}

pub(crate) fn seeds(count: u64) -> std::ops::Range<u64> {
    match std::env::var("RINGLOG_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => 0..count,
    }
}

/// A disk with a log that has been compacted once and is dirty again.
pub(crate) fn prepared(seed: u64, model: &mut Model, replay: &str) -> SimIo {
    let io = SimIo::new(seed);
    let mut random = Random(seed);
    io.run(async {
        let log = open_log(&io, replay).await;
        io.sync_dir(Path::new("/")).await.unwrap();
        for round in 0..2 {
            for _ in 0..60 {
                step(&log, model, &mut random, &io, true).await;
            }
            log.roll().await.unwrap();
            if round == 0 {
                compact(&log, replay).await;
                io.sleep(RETENTION).await;
            }
        }
        log.close().await.unwrap();
    });
    io
}

/// One record of `key`; a tombstone without `value`.
pub(crate) fn one(key: &str, value: Option<&str>, time: Timestamp) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(time, Some(key.as_bytes()), value.map(str::as_bytes), &[]);
    builder.finish().unwrap()
}

pub(crate) async fn keys<I: Io>(log: &Log<I>) -> Vec<(i64, String)> {
    let mut found = Vec::new();
    for batch in batches(log, log.offsets().start).await {
        let checked = CheckedBatch::check_stored(&batch).unwrap();
        for record in checked.records().unwrap() {
            let record = record.unwrap();
            let offset = checked.header().base_offset + i64::from(record.offset_delta);
            found.push((offset, String::from_utf8(record.key.unwrap().to_vec()).unwrap()));
        }
    }
    found
}

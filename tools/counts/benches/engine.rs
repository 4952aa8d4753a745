//! What is measured of the engine: its input, made beforehand, and the calls that count.

use std::path::Path;

use ringlog_engine::batch::{Attributes, BatchBuilder, BatchOptions, CheckedBatch, ProducerId};
use ringlog_engine::entry::Entry;
use ringlog_engine::frame::Frame;
use ringlog_engine::io::sim::SimIo;
use ringlog_engine::log::{Log, LogSettings, Stamp};
use ringlog_engine::offset::{Offset, Timestamp};
use ringlog_engine::shard::{Shard, ShardSettings};

use crate::offset_index::OffsetIndex;

/// Appends or look-ups in one run: one alone is so short that a single instruction is a percent.
pub(crate) const REPEATS: usize = 64;

/// Bytes of a record's value.
const VALUE_BYTES: usize = 100;

/// A batch of so many records, as a producer without idempotence sends it.
pub(crate) fn batch(records: u32) -> Vec<u8> {
    batch_of(records, BatchOptions::default())
}

/// The same of an idempotent producer, as clients are unless they are told otherwise.
pub(crate) fn idempotent_batch(records: u32) -> Vec<u8> {
    batch_of(
        records,
        BatchOptions {
            attributes: Attributes::default(),
            producer_id: ProducerId::new(4_711),
            producer_epoch: 0,
            base_sequence: 0,
        },
    )
}

fn batch_of(records: u32, options: BatchOptions) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for index in 0..records {
        let time = Timestamp::from_millis(1_704_067_200_000 + i64::from(index));
        builder.push(time, Some(b"a key"), Some(&[b'v'; VALUE_BYTES]), &[]);
    }
    builder.finish().unwrap()
}

/// The check of one batch that came from a client; gives how many records it has.
pub(crate) fn check_batch(bytes: &[u8]) -> u32 {
    CheckedBatch::check(bytes).unwrap().record_count()
}

/// Appends before those that count: enough that buffers of the log's usual size are in use, and the
/// memory that they are cut from is there.
const WARM: usize = 2_000;

/// A log on the simulated disk that has its file, its space and its buffers already.
pub(crate) struct AppendWork {
    pub(crate) io: SimIo,
    pub(crate) log: Log<SimIo>,
}

impl AppendWork {
    pub(crate) fn new() -> Self {
        let io = SimIo::new(1);
        let log = io.run(async {
            let shard = Shard::new(io.clone(), ShardSettings::default());
            let (log, _) =
                Log::open(&shard, Path::new("/log"), LogSettings::default()).await.unwrap();
            let bytes = idempotent_batch(1);
            let batch = CheckedBatch::check(&bytes).unwrap();
            for _ in 0..WARM {
                log.append_durably(&batch, Stamp::default()).await.unwrap();
            }
            log
        });
        Self { io, log }
    }

    /// Makes room for and appends a batch of one record [`REPEATS`] times, and waits for none.
    pub(crate) fn append(&self, batch: &CheckedBatch<'_>) -> Offset {
        self.append_entries(|| *batch)
    }

    /// The same with payloads of its own, each made into a frame first.
    pub(crate) fn append_frames(&self, payload: &[u8]) -> Offset {
        let time = Timestamp::from_millis(1_704_067_200_000);
        self.append_entries(|| Frame::new(time, payload).unwrap())
    }

    fn append_entries<E: Entry>(&self, entry: impl Fn() -> E) -> Offset {
        self.io.run(async {
            for _ in 0..REPEATS {
                let entry = entry();
                let room = self.log.reserve(entry.size_bytes()).await.unwrap();
                self.log.append(room, &entry, Stamp::default()).unwrap();
            }
            self.log.offsets().end
        })
    }
}

/// The base offset of the segment whose index is looked into.
const BASE: i64 = 1_000_000;

/// Entries of a full segment's index: one for each 4 KiB of a gibibyte, 32 records apart.
const INDEX_ENTRIES: u32 = 256 * 1024;

/// The index of one segment, and offsets of it in no order.
pub(crate) struct LookupWork {
    index: OffsetIndex,
    base: Offset,
    sought: Vec<Offset>,
}

impl LookupWork {
    pub(crate) fn new() -> Self {
        let mut index = OffsetIndex::default();
        for entry in 0..INDEX_ENTRIES {
            index.push(entry * 32 + 31, u64::from(entry) * 4096);
        }
        // A multiplier without a factor in common with the range reaches all of it.
        let offsets = INDEX_ENTRIES * 32;
        let sought = (1..=i64::try_from(REPEATS).unwrap())
            .map(|step| Offset::new(BASE + (step * 2_654_435_761) % i64::from(offsets)).unwrap());
        Self { index, base: Offset::new(BASE).unwrap(), sought: sought.collect() }
    }

    /// Finds the places of [`REPEATS`] offsets; gives the sum of their positions.
    pub(crate) fn look_up(&self) -> u64 {
        let positions = self.sought.iter().map(|offset| {
            self.index.lookup(self.base, *offset).map_or(0, |entry| u64::from(entry.position))
        });
        positions.sum()
    }
}

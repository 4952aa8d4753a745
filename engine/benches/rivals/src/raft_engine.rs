//! `raft-engine`: a region a log, all in one log file. A write with `sync` ends with an fdatasync,
//! which the writes of other threads that wait share.
//!
//! Its entries must be protocol buffers with an index. Instead of a code generator for a message of
//! two fields, this takes one that has them and comes with the `protobuf` crate.

use std::sync::atomic::{AtomicU64, Ordering};

use protobuf::descriptor::UninterpretedOption as Entry;
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize};

use crate::cell::{Cell, Failure};
use crate::drive::Rival;

/// Where an entry has its index and its bytes.
struct Indexed;

impl MessageExt for Indexed {
    type Entry = Entry;

    fn index(entry: &Entry) -> u64 {
        entry.get_positive_int_value()
    }
}

pub(crate) struct Log {
    engine: Engine,
    /// The last entry's index, by region. A region is written by one thread at a time.
    indexes: Vec<AtomicU64>,
}

pub(crate) struct Hand {
    entry: Entry,
    batch: LogBatch,
}

impl Rival for Log {
    type Hand = Hand;

    fn open(cell: &Cell) -> Result<Self, Failure> {
        let config = Config {
            dir: cell.dir.to_str().ok_or("the folder's name is not UTF-8")?.to_owned(),
            // Off, as in its own example: nothing is won by compressing noise.
            batch_compression_threshold: ReadableSize(0),
            ..Config::default()
        };
        let indexes = (0..cell.logs).map(|_| AtomicU64::new(0)).collect();
        Ok(Self { engine: Engine::open(config)?, indexes })
    }

    fn hand(&self, payload: &[u8]) -> Result<Hand, Failure> {
        let mut entry = Entry::new();
        entry.set_string_value(payload.to_vec());
        Ok(Hand { entry, batch: LogBatch::default() })
    }

    fn append(&self, hand: &mut Hand, logs: &[usize]) -> Result<(), Failure> {
        for &log in logs {
            let index = self.indexes[log].fetch_add(1, Ordering::Relaxed) + 1;
            hand.entry.set_positive_int_value(index);
            hand.batch.add_entries::<Indexed>(log as u64, std::slice::from_ref(&hand.entry))?;
        }
        self.engine.write(&mut hand.batch, true)?;
        Ok(())
    }
}

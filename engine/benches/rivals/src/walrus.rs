//! `walrus-rust`: a topic a log. With `SyncEach` its files are opened with `O_SYNC` and synced once
//! more after each append.
//!
//! Its folder is in the environment variable `WALRUS_DATA_DIR`, which the benchmark sets.

use walrus_rust::{FsyncSchedule, ReadConsistency, Walrus};

use crate::cell::{Cell, Failure};
use crate::drive::{Rival, counted};

pub(crate) struct Log {
    walrus: Walrus,
    topics: Vec<String>,
}

impl Rival for Log {
    type Hand = Vec<u8>;

    fn open(cell: &Cell) -> Result<Self, Failure> {
        let walrus = Walrus::with_consistency_and_schedule(
            ReadConsistency::StrictlyAtOnce,
            FsyncSchedule::SyncEach,
        )?;
        Ok(Self { walrus, topics: (0..cell.logs).map(|log| format!("log-{log}")).collect() })
    }

    fn hand(&self, payload: &[u8]) -> Result<Vec<u8>, Failure> {
        Ok(payload.to_vec())
    }

    fn append(&self, payload: &mut Vec<u8>, logs: &[usize]) -> Result<(), Failure> {
        for (log, count) in counted(logs) {
            let topic = &self.topics[log];
            match count {
                1 => self.walrus.append_for_topic(topic, payload)?,
                _ => {
                    let batch = vec![payload.as_slice(); count];
                    self.walrus.batch_append_for_topic(topic, &batch)?;
                }
            }
        }
        Ok(())
    }
}

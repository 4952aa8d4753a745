//! `okaywal`: one write-ahead log. Its `commit` returns after an fdatasync, which threads share.
//!
//! It knows no logs within the log, so that each payload is preceded by its log's number in a chunk
//! of its own, as an application would have it.

use okaywal::{Configuration, LogVoid, WriteAheadLog};

use crate::cell::{Cell, Failure};
use crate::drive::Rival;

/// Its files are a megabyte by default, which it recommends to raise: the more there is room for,
/// the fewer the checkpoints.
const FILE_BYTES: u32 = 64 << 20;
const CHECKPOINT_BYTES: u64 = 48 << 20;
/// Room for whole payloads, so that a chunk is one write.
const BUFFER_BYTES: usize = 512 << 10;

pub(crate) struct Log(WriteAheadLog);

impl Rival for Log {
    type Hand = Vec<u8>;

    fn open(cell: &Cell) -> Result<Self, Failure> {
        let configuration = Configuration::default_for(&cell.dir)
            .preallocate_bytes(FILE_BYTES)
            .checkpoint_after_bytes(CHECKPOINT_BYTES)
            .buffer_bytes(BUFFER_BYTES);
        Ok(Self(configuration.open(LogVoid)?))
    }

    fn hand(&self, payload: &[u8]) -> Result<Vec<u8>, Failure> {
        Ok(payload.to_vec())
    }

    fn append(&self, payload: &mut Vec<u8>, logs: &[usize]) -> Result<(), Failure> {
        let mut entry = self.0.begin_entry()?;
        for log in logs {
            entry.write_chunk(&log.to_le_bytes())?;
            entry.write_chunk(payload)?;
        }
        entry.commit()?;
        Ok(())
    }
}

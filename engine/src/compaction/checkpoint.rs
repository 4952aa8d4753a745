//! How far a log is clean, across restarts: the file `cleaner-offset-checkpoint` in its folder.
//!
//! ```text
//! 0         version
//! 4711      the first dirty offset
//! ```
//!
//! One that is lost or wrong costs work: the log counts as dirty from its start. So the file is
//! written after what it speaks of is durable, and lowered before the log is cut below it.

use std::path::Path;

use crate::error::{IoFailure, Operation};
use crate::io::{DirEntry, Io};
use crate::log::Inner;
use crate::offset::{Offset, Timestamp};
use crate::planted::{self, Bug};
use crate::shard::Shard;
use crate::small_file;

/// The checkpoint's file name.
pub(crate) const NAME: &str = "cleaner-offset-checkpoint";

/// What a log remembers of its compactions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CleanerState {
    /// Below this, the log is clean.
    pub(crate) first_dirty: Offset,
    /// Whether a compaction is under way.
    pub(super) running: bool,
    /// Whether the log is being closed, so that none may go on or begin.
    pub(super) stopping: bool,
    /// The earliest known time of the segment that begins at this offset.
    pub(super) since: Option<(Offset, Timestamp)>,
}

pub(crate) fn encode(first_dirty: Offset) -> Vec<u8> {
    format!("0\n{first_dirty}\n").into_bytes()
}

pub(crate) fn decode(bytes: &[u8]) -> Option<Offset> {
    let text = std::str::from_utf8(bytes).ok()?;
    let offset = text.strip_prefix("0\n")?.strip_suffix('\n')?;
    Offset::new(offset.parse().ok()?)
}

/// What opening a log does about compaction before it looks at anything else: finishes a swap that
/// was interrupted, and reads the checkpoint. `entries` is what the folder lists then.
pub(crate) async fn open<I: Io>(
    shard: &Shard<I>,
    dir: &Path,
    entries: &mut Vec<DirEntry>,
) -> Result<CleanerState, IoFailure> {
    if super::swap::finish(shard, dir, entries).await? {
        let listed = shard.io().list_dir(dir).await;
        *entries = listed.map_err(IoFailure::of(Operation::List, dir))?;
    }
    let mut state = CleanerState::default();
    if entries.iter().any(|entry| entry.name == NAME) {
        let bytes = small_file::read(shard, &dir.join(NAME)).await?;
        state.first_dirty = bytes.and_then(|bytes| decode(&bytes)).unwrap_or_default();
    }
    Ok(state)
}

impl<I: Io> Inner<I> {
    /// Notes, durably, that the log is clean below `offset` and not from there on.
    pub(crate) async fn set_first_dirty(&self, offset: Offset) -> Result<(), IoFailure> {
        small_file::replace(&self.shard, &self.dir, NAME, &encode(offset)).await?;
        small_file::sync_dir(&self.shard, &self.dir).await?;
        self.state.borrow_mut().cleaner.first_dirty = offset;
        Ok(())
    }

    /// To be called before the log is cut to `end`: what is appended there later is not clean.
    pub(crate) async fn lower_first_dirty(&self, end: Offset) -> Result<(), IoFailure> {
        if planted::active(Bug::TruncateKeepsCleaner) {
            return Ok(());
        }
        let known = self.state.borrow().cleaner.first_dirty;
        if known > end { self.set_first_dirty(end).await } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_reads_back_and_anything_else_is_none() {
        let offset = Offset::new(4711).unwrap();
        assert_eq!(encode(offset), b"0\n4711\n");
        assert_eq!(decode(&encode(offset)), Some(offset));
        for bad in ["", "0\n", "1\n4711\n", "0\n-1\n", "0\n4711", "0\n4711\n\n"] {
            assert_eq!(decode(bad.as_bytes()), None, "{bad}");
        }
    }
}

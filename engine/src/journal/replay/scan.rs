//! The first reading: every frame that is there.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Found, corrupt};
use crate::error::{Damage, IoFailure, OpenError, Operation};
use crate::io::{Io, OpenMode};
use crate::journal::files::{self, FIRST_POSITION};
use crate::journal::frame::{self, Entry, Frame, FrameHead, NotAFrame};
use crate::limits::{BLOCK, READ_BYTES_MAX};
use crate::offset::Offset;
use crate::segment::window::Window;
use crate::shard::Shard;

/// Where a frame stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sighting {
    /// In which file.
    pub(super) file: usize,
    /// Where in it.
    pub(super) position: u64,
    /// Its length.
    pub(super) bytes: usize,
    /// What it says of itself.
    pub(super) head: FrameHead,
}

impl Sighting {
    /// Where the next frame may begin.
    pub(super) fn end(&self) -> u64 {
        self.position + self.bytes.next_multiple_of(BLOCK) as u64
    }
}

/// A `Settled` entry: when, and below which segment. `None` is above all segments, as
/// [`Offset`]s are below `Some`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settling {
    /// The frame, and the entry in it.
    pub(super) at: (u64, usize),
    pub(super) below: Option<Offset>,
}

/// All that a journal's files hold, but for the bytes.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The journal's number.
    pub(super) journal: Option<u64>,
    /// The valid frames, by sequence.
    pub(super) frames: BTreeMap<u64, Sighting>,
    /// Heads of this journal whose frames are not valid: torn, damaged, or overwritten in part.
    pub(super) suspects: Vec<Sighting>,
    /// The logs' paths.
    pub(super) logs: Vec<String>,
    /// Which of them a generation's number stands for.
    pub(super) names: BTreeMap<(u64, u32), usize>,
    /// What settles what: generation and number, and the settling.
    pub(super) settled: Vec<((u64, u32), Settling)>,
}

impl Scan {
    /// Reads all files from beginning to end.
    pub(super) async fn run<I: Io>(
        shard: &Shard<I>,
        dir: &Path,
        found: &[Found],
    ) -> Result<Self, OpenError> {
        let mut scan = Self::default();
        let mut logs = BTreeMap::new();
        for file in found {
            scan.file(shard, dir, file, &mut logs).await?;
        }
        scan.logs = vec![String::new(); logs.len()];
        for (path, log) in logs {
            scan.logs[log] = path;
        }
        Ok(scan)
    }

    async fn file<I: Io>(
        &mut self,
        shard: &Shard<I>,
        dir: &Path,
        found: &Found,
        logs: &mut BTreeMap<String, usize>,
    ) -> Result<(), OpenError> {
        if found.length < FIRST_POSITION {
            return Err(corrupt(dir, found.index, 0, Damage::JournalFile));
        }
        let path = dir.join(files::name(found.index));
        let file = shard.io().open(&path, OpenMode::ReadDirect).await;
        let file = file.map_err(IoFailure::of(Operation::Open, &path))?;
        let mut window = Window::new(shard, file);
        let mut position = 0;
        while position + BLOCK as u64 <= found.length {
            if window.from(position).len() < BLOCK {
                let loaded = window.load(position, BLOCK, READ_BYTES_MAX).await;
                loaded.map_err(IoFailure::of(Operation::Read, &path))?;
            }
            if position < FIRST_POSITION {
                let journal = files::decode_head(window.from(position));
                let is_other = self.journal.is_some_and(|known| Some(known) != journal);
                if journal.is_none() || is_other {
                    return Err(corrupt(dir, found.index, 0, Damage::JournalFile));
                }
                self.journal = journal;
                position = FIRST_POSITION;
                continue;
            }
            let head = frame::peek(window.from(position));
            let head = head.filter(|(head, _)| Some(head.journal) == self.journal);
            let Some((head, bytes)) = head else {
                position += BLOCK as u64;
                continue;
            };
            if window.from(position).len() < bytes {
                let loaded = window.load(position, bytes, READ_BYTES_MAX).await;
                loaded.map_err(IoFailure::of(Operation::Read, &path))?;
            }
            let sighting = Sighting { file: found.index, position, bytes, head };
            match frame::decode(window.from(position)) {
                Ok(frame) if self.note(&sighting, &frame, logs) => position = sighting.end(),
                Ok(_) | Err(NotAFrame::Entries) => {
                    let damage = Damage::JournalEntries { sequence: head.sequence };
                    return Err(corrupt(dir, found.index, position, damage));
                }
                Err(NotAFrame::Head | NotAFrame::Checksum { .. }) => {
                    self.suspects.push(sighting);
                    position += BLOCK as u64;
                }
            }
        }
        Ok(())
    }

    /// Takes in a valid frame; `false` if it contradicts an earlier one.
    fn note(
        &mut self,
        sighting: &Sighting,
        frame: &Frame<'_>,
        logs: &mut BTreeMap<String, usize>,
    ) -> bool {
        let FrameHead { generation, sequence, .. } = sighting.head;
        for (index, entry) in frame.entries().enumerate() {
            match entry {
                Entry::Name { number, path } => {
                    let log = match logs.get(path) {
                        Some(log) => *log,
                        None => {
                            let log = logs.len();
                            logs.insert(path.to_owned(), log);
                            log
                        }
                    };
                    if *self.names.entry((generation, number)).or_insert(log) != log {
                        return false;
                    }
                }
                Entry::Settled { number, below } => {
                    let settling = Settling { at: (sequence, index), below };
                    self.settled.push(((generation, number), settling));
                }
                Entry::Bytes { .. } => {}
            }
        }
        self.frames.insert(sequence, *sighting).is_none()
    }
}

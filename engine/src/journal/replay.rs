//! What a journal holds after a crash, put into the segments.
//!
//! ```text
//! sequences   ... | floor |  ...  | confirmed | ... | end |     | ...
//!             void, their '----- all must be -----' valid  torn   valid, but
//!             bytes are        there, or it is                    not reached
//!             in segments      damage
//! ```
//!
//! All valid frames of all files are found and put in order. The highest floor among them is where
//! what counts begins; the highest `confirmed` is up to where all had been durable, so that a frame
//! missing before it cannot have been torn. What counts ends at the first frame after it that is
//! missing: nothing from there on was acknowledged, for acknowledgements go in order.
//!
//! A frame that was torn and one that has changed since look alike at the end, where no later frame
//! says how far all was durable. One case is told apart: a frame that one changed bit makes valid is
//! refused as rot. (A torn write leaves that where a sector was to change in a single bit. Sectors
//! of which little belongs to the frame, or that are zeros, are therefore taken for torn.)
//!
//! The redo is physical: an entry's bytes are written to its position in its segment's file, unless
//! a later entry of the same log settles them, or the log is gone, or the segment is gone and a
//! later one exists. It may be repeated as often as crashes interrupt it. The files of the journal
//! are only read: they are void when [`Files::open`](super::files::Files::open) has made its frame
//! durable, not before.

mod redo;
mod scan;

use std::ops::Range;
use std::path::{Path, PathBuf};

use self::redo::Redo;
use self::scan::Scan;
use crate::error::{Damage, IoFailure, OpenError, Operation};
use crate::io::{Io, OpenMode, Rare};
use crate::journal::files::{self, FIRST_POSITION};
use crate::journal::frame;
use crate::limits::{BLOCK, JOURNAL_SEQUENCE_GAP, JOURNAL_WRITE_BYTES_MAX, SECTOR_BYTES};
use crate::planted::{self, Bug};
use crate::segment::window::Window;
use crate::shard::Shard;

/// Bytes that do not agree with a frame by chance.
const TELLING_BYTES: usize = 8;

/// What opening a journal found and did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReplayReport {
    /// Writes of the journal that counted.
    pub writes: u64,
    /// Pieces of logs in them that were written to segments.
    pub entries: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Logs that got some of them.
    pub logs: u64,
    /// Pieces that were not written.
    pub skipped: Skipped,
    /// The write at which the journal ends because a crash tore it, if a trace of it was seen.
    pub torn: Option<TornWrite>,
}

/// Pieces of logs in a journal that an opening did not write to segments, by the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Skipped {
    /// They are in their segments, or were truncated or deleted since.
    pub settled: u64,
    /// The log's folder is gone.
    pub log_gone: u64,
    /// Their segment is gone, and a later one exists.
    pub segment_gone: u64,
}

/// A write of a journal that a crash tore. Nothing in it, or behind it, was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornWrite {
    /// Its sequence: writes of a journal are counted from its first one on.
    pub sequence: u64,
    /// The file in which the first trace of it stands: its own remains, or the write that follows.
    pub path: PathBuf,
    /// Where in that file, in bytes.
    pub position: u64,
    /// Valid writes behind it, which do not count.
    pub later: u64,
}

/// What [`replay`] found: all that [`Files::open`](super::files::Files::open) needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replayed {
    /// What was found and done.
    pub(crate) report: ReplayReport,
    /// The journal's number; `None` if it has no files.
    pub(crate) journal: Option<u64>,
    /// The sequence of the next frame.
    pub(crate) next_sequence: u64,
    /// The generation of the next use of a file.
    pub(crate) next_generation: u64,
    /// The files, in the order of their names.
    pub(crate) found: Vec<Found>,
    /// Names of files whose making was interrupted.
    pub(crate) unfinished: Vec<String>,
}

/// A file of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Which one.
    pub(crate) index: usize,
    /// Its length, in bytes.
    pub(crate) length: u64,
    /// The frames in it that are not below the floor; `None` if there are none.
    pub(crate) counting: Option<Counting>,
}

/// Frames of one file that must not be overwritten yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counting {
    /// All of them lie here.
    pub(crate) positions: Range<u64>,
    /// The last of them.
    pub(crate) last_sequence: u64,
}

/// One log of a journal that is in use: what has to be known of the journal to read it meanwhile.
pub(crate) struct Live<'a> {
    /// The log's path under the root.
    pub(crate) path: &'a str,
    /// All frames up to this one were durable before the replay began; later ones may be found or
    /// not.
    pub(crate) confirmed: u64,
    /// The first frame that counts at the time of the call. What is below may be overwritten
    /// meanwhile, and the log needs none of it.
    pub(crate) floor: &'a dyn Fn() -> u64,
}

/// Writes what the journal in `dir` holds into the segments of the logs under `root`; of a journal
/// that is in use, for one log only. After `Ok` all of it is synced in its segments. A folder that
/// is not there is a journal without frames. Changes nothing in `dir`.
///
/// # Errors
///
/// [`OpenError::Corrupt`], with nothing changed, unless two readings of the journal differ.
/// [`OpenError::Io`]: some of it may have been written; try again.
pub(crate) async fn replay<I: Io>(
    shard: &Shard<I>,
    dir: &Path,
    root: &Path,
    live: Option<&Live<'_>>,
) -> Result<Replayed, OpenError> {
    let mut replayed = Replayed {
        report: ReplayReport::default(),
        journal: None,
        next_sequence: 1,
        next_generation: 1,
        found: Vec::new(),
        unfinished: Vec::new(),
    };
    let entries = match shard.io().list_dir(dir).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(replayed),
        Err(error) => return Err(IoFailure::of(Operation::List, dir)(error).into()),
    };
    for entry in entries.into_iter().filter(|entry| !entry.is_dir) {
        if let Some(index) = files::index_of(&entry.name) {
            replayed.found.push(Found { index, length: entry.length, counting: None });
        } else if files::is_unfinished(&entry.name) {
            replayed.unfinished.push(entry.name);
        }
    }
    let scan = Scan::run(shard, dir, &replayed.found).await?;
    replayed.journal = scan.journal;
    let counts = match live {
        Some(live) => {
            let floor = (live.floor)();
            Some((floor, whole(&scan, floor, live.confirmed)))
        }
        None => what_counts(&scan),
    };
    let counts = counts.map(|(floor, end)| end.map(|end| (floor, end))).transpose();
    let counts = counts.map_err(|missing| {
        shard.io().reached(Rare::FrameMissing);
        missing.damage(dir, &scan)
    })?;
    if live.is_none() {
        refuse_rot(shard, dir, &replayed.found, &scan, counts.map(|(_, end)| end)).await?;
    }
    let Some((floor, end)) = counts else { return Ok(replayed) };
    if scan.frames.range(..floor).next().is_some() {
        shard.io().reached(Rare::FramesOfEarlierUse);
    }
    let mut redo = Redo::new(shard, root, live, &scan, end);
    for sighting in scan.frames.range(floor..end).map(|(_, sighting)| sighting) {
        redo.frame(dir, sighting).await?;
    }
    replayed.report = redo.finish().await?;
    // In use, what follows is being written.
    replayed.report.torn = if live.is_none() { torn(dir, &scan, end) } else { None };
    if let Some(torn) = &replayed.report.torn {
        shard.io().reached(Rare::FrameTorn);
        if torn.later > 0 {
            shard.io().reached(Rare::FramesBehindTorn);
        }
    }
    let heads = || scan.frames.values().map(|sighting| sighting.head);
    replayed.next_generation = heads().map(|head| head.generation).max().unwrap_or(0) + 1;
    let last = heads().map(|head| head.sequence).max().unwrap_or(0);
    replayed.next_sequence = last + JOURNAL_SEQUENCE_GAP;
    for found in &mut replayed.found {
        found.counting = counting(&scan, found.index, floor);
    }
    Ok(replayed)
}

/// The frames of one file that are not below the floor.
fn counting(scan: &Scan, file: usize, floor: u64) -> Option<Counting> {
    let frames = scan.frames.range(floor..).map(|(_, sighting)| sighting);
    frames.filter(|sighting| sighting.file == file).fold(None, |before, sighting| {
        let Counting { positions, .. } = before
            .unwrap_or(Counting { positions: sighting.position..sighting.end(), last_sequence: 0 });
        let start = positions.start.min(sighting.position);
        let end = positions.end.max(sighting.end());
        Some(Counting { positions: start..end, last_sequence: sighting.head.sequence })
    })
}

fn corrupt(dir: &Path, file: usize, position: u64, damage: Damage) -> OpenError {
    OpenError::Corrupt { path: dir.join(files::name(file)), position, damage }
}

/// A frame that is not there although it had been durable.
struct Missing {
    sequence: u64,
    confirmed: u64,
}

impl Missing {
    fn damage(self, dir: &Path, scan: &Scan) -> OpenError {
        let Self { sequence, confirmed } = self;
        let damage = Damage::JournalWrite { sequence, confirmed };
        match scan.suspects.iter().find(|suspect| suspect.head.sequence == sequence) {
            Some(suspect) => corrupt(dir, suspect.file, suspect.position, damage),
            None => OpenError::Corrupt { path: dir.to_owned(), position: 0, damage },
        }
    }
}

/// The first sequence that counts, and the one behind the last; `None` without any frame.
fn what_counts(scan: &Scan) -> Option<(u64, Result<u64, Missing>)> {
    let heads = || scan.frames.values().map(|sighting| sighting.head);
    let mut floor = heads().map(|head| head.floor).max()?;
    if planted::active(Bug::ReplayBelowFloor) {
        floor = heads().map(|head| head.sequence).min()?;
    }
    let confirmed = heads().map(|head| head.confirmed).max()?;
    Some((floor, whole(scan, floor, confirmed)))
}

/// The sequence behind the last frame from `floor` on before which none is missing.
fn whole(scan: &Scan, floor: u64, confirmed: u64) -> Result<u64, Missing> {
    let mut end = floor;
    for sequence in scan.frames.range(floor..).map(|(sequence, _)| *sequence) {
        if sequence != end && !planted::active(Bug::ReplayPastTornFrame) {
            break;
        }
        end = sequence + 1;
    }
    if end <= confirmed { Err(Missing { sequence: end, confirmed }) } else { Ok(end) }
}

fn torn(dir: &Path, scan: &Scan, end: u64) -> Option<TornWrite> {
    let mut later = scan.frames.range(end..).map(|(_, sighting)| sighting).peekable();
    let next = later.peek().map(|sighting| (sighting.file, sighting.position));
    let suspect = scan.suspects.iter().find(|suspect| suspect.head.sequence == end);
    let (file, position) = suspect.map(|suspect| (suspect.file, suspect.position)).or(next)?;
    let path = dir.join(files::name(file));
    Some(TornWrite { sequence: end, path, position, later: later.count() as u64 })
}

/// Refuses a journal whose frame `end`, the first that does not count, was written whole and has
/// changed in one bit since; any frame, if there is no valid one at all.
async fn refuse_rot<I: Io>(
    shard: &Shard<I>,
    dir: &Path,
    found: &[Found],
    scan: &Scan,
    end: Option<u64>,
) -> Result<(), OpenError> {
    // Where the frame can stand: behind the last one, first in a file, in a reserve, or where
    // something says that it is it.
    let last = end.and_then(|end| scan.frames.get(&end.checked_sub(1)?));
    let mut places: Vec<(usize, u64)> =
        last.map(|last| (last.file, last.end())).into_iter().collect();
    for file in found {
        let whole = file.length - file.length % BLOCK as u64;
        places.push((file.index, FIRST_POSITION));
        places.push((file.index, whole.saturating_sub(BLOCK as u64)));
    }
    let suspects = scan.suspects.iter().filter(|suspect| Some(suspect.head.sequence) == end);
    places.extend(suspects.map(|suspect| (suspect.file, suspect.position)));
    places.sort_unstable();
    places.dedup();
    let is_valid = |place: &(usize, u64)| {
        scan.frames.values().any(|sighting| (sighting.file, sighting.position) == *place)
    };
    places.retain(|place| !is_valid(place));
    let mut window: Option<(usize, Window<I>)> = None;
    for (index, position) in places {
        let path = dir.join(files::name(index));
        if window.as_ref().is_none_or(|(open, _)| *open != index) {
            let file = shard.io().open(&path, OpenMode::ReadDirect).await;
            let file = file.map_err(IoFailure::of(Operation::Open, &path))?;
            window = Some((index, Window::new(shard, file)));
        }
        let Some((_, window)) = &mut window else { continue };
        let bytes = JOURNAL_WRITE_BYTES_MAX;
        let loaded = window.load(position, bytes, bytes).await;
        loaded.map_err(IoFailure::of(Operation::Read, &path))?;
        let bytes = window.from(position);
        let Some((head, at)) = frame::one_bit_off(bytes) else { continue };
        let is_missing =
            scan.journal == Some(head.journal) && end.is_none_or(|end| head.sequence == end);
        if is_missing && tells(bytes, at) {
            shard.io().reached(Rare::FrameRotten);
            let damage = Damage::JournalRot { sequence: head.sequence };
            return Err(corrupt(dir, index, position, damage));
        }
    }
    Ok(())
}

/// Whether the sector that holds byte `at` of a frame was written with the frame, rather than left
/// as it was: little of it, or zeros, say nothing.
fn tells(bytes: &[u8], at: usize) -> bool {
    let start = at - at % SECTOR_BYTES;
    let length = frame::peek(bytes).map_or(bytes.len(), |(_, length)| length);
    let sector = bytes.get(start..length.min(start + SECTOR_BYTES)).unwrap_or(&[]);
    let ones = sector.iter().map(|byte| byte.count_ones()).sum::<u32>();
    sector.len() >= TELLING_BYTES && ones > 1
}

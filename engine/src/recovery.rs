//! Opening a log: what is on disk, what of it counts, and what goes.
//!
//! # What a crash can have left
//!
//! - Sealed segments are exact: a segment is cut to length and synced before the next one's file is
//!   made. Anything else in them is damage.
//! - The last segment ends in whatever writes were in flight, torn, then in reserved space.
//! - Files named `.deleted` or `.tmp` are leftovers of a removal or replacement, and go.
//! - Segments wholly below the log start offset are leftovers of a retention, and go.
//!
//! # What is not read
//!
//! Sealed segments that the catalog knows are believed without a look at them (see
//! [`crate::segment::catalog`]); damage in them is found when they are read. The last segment is
//! scanned from where something vouches for it: a clean close, wholly or for the part that was
//! there then, or a checkpoint (see [`crate::checkpoint`]), whichever reaches further. Both also say
//! how far the log was on stable storage, so one that ends earlier is refused.
//!
//! # The end of the last segment
//!
//! ```text
//!                        acknowledged end
//! |  acknowledged batches       |  writes in flight, torn  |  reserved: zeros  |
//! '---- valid prefix ------------------'
//!                                      ^ the first invalid byte is never before the acknowledged
//!                                        end, unless bytes have changed at rest
//! ```
//!
//! The valid prefix counts. It is synced before it counts as durable: a killed process may have
//! left it in the kernel's hands only. And what no sync has covered for sure is written once more
//! before that, because an earlier sync may have failed for it, and the next one would pass it
//! over: the last writes in flight, and all that is scanned if the log was relaxed (see
//! [`relaxed`]). What follows it was torn by the crash, or was acknowledged
//! and has changed since. The faults these two are told apart under:
//!
//! - A sector (512 bytes) is written whole or not at all, and later writes of the same sector carry
//!   the same bytes and more. In its first write it may also become garbage by a loss of power.
//! - Space past the written end never held anything but zeros: files are new, never recycled, and
//!   whatever is cut off is gone from the disk before anything is appended again.
//! - Writes in flight reach at most [`WRITE_BYTES_IN_FLIGHT_MAX`], or one batch, past the first
//!   that did not get there, and only what was written before all of them is acknowledged. Under
//!   [`FlushPolicy::Relaxed`] a loss of power may tear whatever was not synced.
//!
//! So the log is refused, and nothing is changed, if
//!
//! 1. a valid batch follows further away than writes in flight reach (not under
//!    [`FlushPolicy::Relaxed`]): what is invalid had been acknowledged; or
//! 2. the invalid batch was written whole and has changed since, which [`tear`] proves for small
//!    batches from their neighbours in the same sectors, and for all batches if a single bit is
//!    wrong.
//!
//! Everything else may be a torn write, and is cut. It may also be damage: several wrong bits in a
//! batch that fills sectors of its own look like a write torn by a loss of power. So what is cut is
//! copied into a file of its own before it goes (see [`evidence`]), and the report names it.
//!
//! What remains unnoticed: a sector that turned to zeros at the very end of the log, and the leader
//! epoch of a batch, which Kafka's format leaves out of the checksum.

mod evidence;
mod folder;
mod last;
mod rewrite;
mod sealed;
mod tear;

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::path::{Path, PathBuf};

use folder::Folder;

use crate::batch::BatchHeader;
use crate::checkpoint::{self, Checkpoint};
use crate::compaction::checkpoint as cleaner;
use crate::compaction::checkpoint::CleanerState;
use crate::error::{Damage, IoFailure, OpenError, Operation};
use crate::io::{Io, OpenMode, Rare};
use crate::log::epochs::{self, EpochHistory};
use crate::log::relaxed;
use crate::log::tail::Tail;
use crate::log::{FlushPolicy, LogOffsets, LogSettings, State};
use crate::manifest::{self, CleanEnd, Manifest};
use crate::offset::Offset;
use crate::planted::{self, Bug};
use crate::producer::aborted::{self, AbortedIndex};
use crate::producer::{AbortedTransaction, Marker, Producers, snapshot};
use crate::segment::active::{Active, Summary};
use crate::segment::name::{DELETED, Kind};
use crate::segment::offset_index::OffsetIndex;
use crate::segment::scan::{Found, Scanner};
use crate::segment::sealed::{IndexSum, Indexes, Sealed};
use crate::segment::store;
use crate::segment::time_index::TimeIndex;
use crate::shard::Shard;
use crate::small_file;

/// What was cut off the end of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The file.
    pub path: PathBuf,
    /// Where the valid batches end, in bytes.
    pub position: u64,
    /// Bytes cut, zeros of reserved space included.
    pub bytes: u64,
    /// Why the first of them do not count.
    pub damage: Damage,
    /// Offset of the first valid batch among them. A crash leaves one when it tears a write of
    /// several batches; so does damage that cannot be told from a torn write.
    pub later: Option<i64>,
    /// The new file beside the segment that holds what was cut, up to its last byte that is not
    /// zero. It is for people: no open looks at it, and it may be removed at any time.
    pub saved: PathBuf,
}

/// What opening a log found and did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecoveryReport {
    /// Whether the log had been closed cleanly, so that its last segment needed no scan.
    pub clean: bool,
    /// Bytes that were read and checked, batch by batch.
    pub scanned_bytes: u64,
    /// What was cut, if anything but reserved space followed the valid batches.
    pub cut: Option<Cut>,
    /// Bytes that were written once more, in case a sync that failed had lost them: what was scanned
    /// and no checkpoint covers, after every open of a log that was not closed; 4 MiB or one entry
    /// at most, but of a relaxed log all of it.
    pub rewritten_bytes: u64,
    /// Segments whose indexes were missing or wrong and were rebuilt.
    pub rebuilt_indexes: Vec<PathBuf>,
    /// Names in the folder that are not the log's; they were left alone.
    pub ignored: Vec<String>,
}

/// What a walk through a segment found.
pub(crate) struct Walked<I: Io> {
    /// The valid batches.
    pub(crate) summary: Summary,
    /// What stands behind them, unless the file ends there or the visitor stopped.
    pub(crate) damage: Option<Damage>,
    scanner: Scanner<I>,
}

/// Walks the first `length` bytes of a segment, from where `from` ends on. `visit` sees each valid
/// batch, what it says if it is a control batch, and where it begins, and says whether it counts;
/// if not, the walk ends before it.
pub(crate) async fn walk<I: Io>(
    shard: &Shard<I>,
    path: &Path,
    file: I::File,
    length: u64,
    from: Summary,
    index_interval: u64,
    mut visit: impl FnMut(&BatchHeader, Option<Marker>, u64) -> bool,
) -> Result<Walked<I>, IoFailure> {
    let mut scanner = Scanner::new(shard, file, length, from.size, from.end);
    let mut summary = from;
    let damage = loop {
        let found = scanner.next().await.map_err(IoFailure::of(Operation::Read, path))?;
        match found {
            Found::Batch(header, position) => {
                let marker = scanner.marker(&header, position).await;
                let marker = marker.map_err(IoFailure::of(Operation::Read, path))?;
                if !visit(&header, marker, position) {
                    break None;
                }
                let bytes = header.total_bytes().unwrap_or(0);
                summary.add(&header, bytes, index_interval);
            }
            Found::End => break None,
            Found::Invalid(damage) => break Some(damage),
        }
    };
    Ok(Walked { summary, damage, scanner })
}

/// The indexes of a sealed segment, from their files, and those files' checksum, which is for the
/// caller to judge; `None` if they are missing or cannot be right.
pub(crate) async fn read_indexes<I: Io>(
    shard: &Shard<I>,
    dir: &Path,
    base: Offset,
    size: u64,
    end: Offset,
) -> Result<Option<(Indexes, IndexSum)>, IoFailure> {
    let offsets = small_file::read(shard, &Kind::Index.path(dir, base)).await?;
    let times = small_file::read(shard, &Kind::TimeIndex.path(dir, base)).await?;
    let (Some(offsets), Some(times)) = (offsets, times) else { return Ok(None) };
    let sum = IndexSum::of(&offsets, &times);
    let last_relative = end.since(base).saturating_sub(1);
    let offsets = OffsetIndex::decode(&offsets, size);
    let times = TimeIndex::decode(&times, last_relative);
    let fits = |offsets: &OffsetIndex| {
        offsets.last().is_none_or(|last| u64::from(last.relative) <= last_relative)
    };
    let indexes = offsets.filter(fits).zip(times);
    Ok(indexes.map(|(offsets, times)| (Indexes { offsets, times }, sum)))
}

/// A recovered log.
pub(crate) struct Recovered<F> {
    pub(crate) state: State<F>,
    pub(crate) report: RecoveryReport,
    /// Whether the log is marked as relaxed: see [`relaxed`].
    pub(crate) is_marked: bool,
}

/// Opens the log in `dir`: see the module's documentation.
pub(crate) async fn recover<I: Io>(
    shard: &Shard<I>,
    dir: &Path,
    settings: &LogSettings,
) -> Result<Recovered<I::File>, OpenError> {
    let mut entries = match shard.io().list_dir(dir).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let created = shard.io().create_dir_all(dir).await;
            created.map_err(IoFailure::of(Operation::Create, dir))?;
            Vec::new()
        }
        Err(error) => return Err(IoFailure::of(Operation::List, dir)(error).into()),
    };
    let cleaner = cleaner::open(shard, dir, &mut entries).await?;
    let mut folder = Folder::sort(entries);
    if folder.segments.is_empty() && !folder.holds(manifest::NAME) {
        // It is new, or whoever made it was killed, or could not sync its name. The journal's redo
        // takes a log whose folder is gone for deleted.
        small_file::sync_dir_and_parent(shard, dir).await?;
    }
    let manifest = match folder.holds(manifest::NAME) {
        true => load_manifest(shard, dir).await?,
        false => Manifest::default(),
    };
    let mut recovery = Recovery {
        shard,
        dir,
        settings,
        manifest,
        report: RecoveryReport {
            ignored: std::mem::take(&mut folder.ignored),
            ..Default::default()
        },
        doomed: std::mem::take(&mut folder.leftovers),
        evidence: std::mem::take(&mut folder.evidence),
        synced_to: None,
        was_relaxed: folder.holds(relaxed::NAME),
    };
    let is_sure = recovery.is_start_durable(&folder);
    let mut state = recovery.run(folder).await?;
    state.cleaner = cleaner;
    let is_marked = recovery.mark().await?;
    remove_leftovers(shard, dir, &recovery.doomed).await?;
    if !is_sure && recovery.doomed.is_empty() {
        shard.io().reached(Rare::StartSynced);
        small_file::sync_dir(shard, dir).await?;
    }
    if !is_marked && recovery.was_relaxed {
        // What else goes may go for that reason only.
        remove_leftovers(shard, dir, &[relaxed::NAME.to_owned()]).await?;
    }
    Ok(Recovered { state, report: recovery.report, is_marked })
}

async fn remove_leftovers<I: Io>(
    shard: &Shard<I>,
    dir: &Path,
    names: &[String],
) -> Result<(), IoFailure> {
    if names.is_empty() {
        return Ok(());
    }
    // What a removal has left may be large, and its name not durable yet.
    let (doomed, others): (Vec<&String>, _) =
        names.iter().partition(|name| name.ends_with(DELETED));
    for name in others {
        small_file::remove(shard, &dir.join(name)).await?;
    }
    small_file::sync_dir(shard, dir).await?;
    shard.reclaim().add(shard.io(), doomed.into_iter().map(|name| dir.join(name)).collect());
    Ok(())
}

async fn load_manifest<I: Io>(shard: &Shard<I>, dir: &Path) -> Result<Manifest, OpenError> {
    let path = dir.join(manifest::NAME);
    let Some(bytes) = small_file::read(shard, &path).await? else {
        return Ok(Manifest::default());
    };
    Manifest::decode(&bytes).map_err(|_| OpenError::Corrupt {
        path,
        position: 0,
        damage: Damage::Manifest,
    })
}

struct Recovery<'a, I: Io> {
    shard: &'a Shard<I>,
    dir: &'a Path,
    settings: &'a LogSettings,
    manifest: Manifest,
    report: RecoveryReport,
    /// Names to remove once everything is known to be right.
    doomed: Vec<String>,
    /// What earlier recoveries cut off and kept.
    evidence: Vec<String>,
    /// Up to where a checkpoint says the log was synced, above its start.
    synced_to: Option<Offset>,
    /// Whether the log was marked as relaxed.
    was_relaxed: bool,
}

/// State that is rebuilt from batches.
struct Replay {
    producers: Producers,
    /// Batches from here on are not in `producers` yet.
    producers_from: Offset,
    /// Transactions aborted in the last segment, which begins at `last_base`.
    aborted: Vec<AbortedTransaction>,
    last_base: Offset,
    epochs: EpochHistory,
    /// Batches from here on are not in `epochs` yet.
    epochs_from: Offset,
}

impl<I: Io> Recovery<'_, I> {
    async fn run(&mut self, mut folder: Folder) -> Result<State<I::File>, OpenError> {
        let start = self.manifest.start;
        self.drop_below_start(&mut folder, start);
        let Some((last_base, last_length)) = folder.segments.last().copied() else {
            self.load_checkpoint(&folder, None).await?;
            return self.without_segments(folder, start).await;
        };
        let first = folder.segments[0].0;
        if first > start {
            let path = Kind::Log.path(self.dir, first);
            return Err(OpenError::SegmentGap { path, end: start, next: first });
        }
        let sealed = self.check_all_sealed(&folder).await?;
        let path = Kind::Log.path(self.dir, last_base);
        let file = store::open(self.shard, &path, OpenMode::WriteDirect).await?;
        // A clean close vouches for the whole segment, or for the part that was there then.
        let close = self.manifest.clean.filter(|close| close.last_base == last_base);
        let close = close.filter(|close| close.last_length <= last_length);
        let is_whole = close.is_some_and(|close| {
            close.last_length == last_length || planted::active(Bug::TrustIndexPastTornTail)
        });
        let covered = close.map_or(0, |close| close.last_length);
        if !is_whole && covered > 0 {
            self.shard.io().reached(Rare::CleanInPart);
        }
        let checkpoint = match is_whole {
            true => None,
            false => self.load_checkpoint(&folder, Some((&file, covered..last_length + 1))).await?,
        };
        let (mut replay, mut known) = match checkpoint {
            Some(Checkpoint { summary, producers, epochs, aborted }) => {
                let end = summary.end;
                let (producers_from, epochs_from) = (end, end);
                let replay =
                    Replay { producers, producers_from, aborted, last_base, epochs, epochs_from };
                (replay, Some(summary))
            }
            None => (self.begin_replay(&folder, close, last_base).await?, None),
        };
        self.replay_sealed(&sealed, &mut replay).await?;
        if let (None, Some(close)) = (&known, close) {
            known = self.trust(close, &file, &replay).await?;
        }
        let mut active = Active::new(last_base);
        active.allocated = last_length;
        active.checkpointed = known.as_ref().map_or(0, |known| known.size);
        self.report.clean = is_whole && known.is_some();
        let known = known.unwrap_or_else(|| Summary::new(last_base));
        if self.report.clean {
            active.summary = known;
        } else {
            let scanned = self.scan_last(&path, file, last_length, known, &mut replay).await?;
            (active.summary, active.allocated) = scanned;
        }
        // The first batch of a segment syncs its name.
        active.named = active.summary.size > 0;
        let end = active.summary.end;
        if end < start {
            return self.restart_at(folder, start, end).await;
        }
        replay.epochs.truncate(end);
        replay.epochs.cut_before(start);
        replay.epochs.reach_down_to(start);
        self.drop_strays(&folder, end);
        Ok(State {
            offsets: LogOffsets::at_rest(start, end),
            sealed,
            tail: Tail::at_rest(end, active.summary.size),
            active,
            epochs: replay.epochs,
            producers: replay.producers,
            aborted: aborted_index(&folder, last_base, replay.aborted),
            cleaner: CleanerState::default(),
            swapping: None,
            manifest: self.manifest,
            is_manifest_unsure: false,
            changed: !self.report.clean,
            layout: 0,
            truncations: 0,
            truncated_to: Offset::ZERO,
            failure: None,
            closed: false,
        })
    }

    /// Reads the checkpoint, notes what it says was synced, and gives it if it is of the last
    /// segment, whose file and the positions that are of use are given, and fits it. One that is
    /// of no use is to be removed.
    async fn load_checkpoint(
        &mut self,
        folder: &Folder,
        last: Option<(&I::File, Range<u64>)>,
    ) -> Result<Option<Checkpoint>, OpenError> {
        if !folder.holds(checkpoint::NAME) {
            return Ok(None);
        }
        let bytes = small_file::read(self.shard, &self.dir.join(checkpoint::NAME)).await?;
        let last_base = folder.segments.last().map(|(base, _)| *base);
        let read = bytes.and_then(|bytes| checkpoint::decode(&bytes));
        self.synced_to = read.as_ref().map(|read| read.summary.end);
        self.synced_to.take_if(|end| *end <= self.manifest.start);
        let Some(checkpoint) = read.filter(|read| Some(read.summary.base) == last_base) else {
            self.doomed.push(checkpoint::NAME.to_owned());
            return Ok(None);
        };
        match last {
            Some((file, useful))
                if useful.contains(&checkpoint.summary.size)
                    && self.fits(&checkpoint.summary, file).await? =>
            {
                self.shard.io().reached(Rare::CheckpointUsed);
                Ok(Some(checkpoint))
            }
            _ => {
                self.shard.io().reached(Rare::CheckpointPassedOver);
                Ok(None)
            }
        }
    }

    /// Whether everything that was ever acknowledged was on stable storage by then.
    fn is_strict(&self) -> bool {
        self.settings.durability == FlushPolicy::EveryBatch && !self.was_relaxed
    }

    /// Marks a log that is to be relaxed. `false` without a mark, also where there is no room for it.
    async fn mark(&self) -> Result<bool, IoFailure> {
        match self.settings.durability {
            FlushPolicy::EveryBatch => {}
            FlushPolicy::Relaxed { .. } => match relaxed::mark(self.shard, self.dir).await {
                Err(failure) if failure.is_shortage() => {}
                marked => return marked.map(|()| true),
            },
        }
        Ok(false)
    }

    /// Where the log should end at least, if that is after `end`: a clean close or a checkpoint
    /// says that what is missing was synced.
    fn lost(&self, end: Offset) -> Option<Offset> {
        let closed_at = self.manifest.clean.map(|close| close.end);
        closed_at.max(self.synced_to).filter(|expected| *expected > end)
    }

    /// A log whose files are all gone, or that never had any.
    async fn without_segments(
        &mut self,
        folder: Folder,
        start: Offset,
    ) -> Result<State<I::File>, OpenError> {
        if let Some(expected) = self.lost(start) {
            let damage = Damage::EndsEarly { expected, found: start };
            return Err(OpenError::Corrupt { path: self.dir.to_owned(), position: 0, damage });
        }
        // Retention may have taken every segment; what their producers sent is still known.
        let (producers, _) =
            newest_snapshot(self.shard, self.dir, &folder.snapshots, start).await?;
        self.report.clean = true;
        self.drop_strays(&folder, start);
        Ok(State {
            offsets: LogOffsets::at_rest(start, start),
            sealed: VecDeque::new(),
            active: Active::new(start),
            tail: Tail::at_rest(start, 0),
            epochs: EpochHistory::default(),
            producers,
            aborted: AbortedIndex::default(),
            cleaner: CleanerState::default(),
            swapping: None,
            manifest: self.manifest,
            is_manifest_unsure: false,
            changed: false,
            layout: 0,
            truncations: 0,
            truncated_to: Offset::ZERO,
            failure: None,
            closed: false,
        })
    }

    /// A log that lost what its start offset was moved past: possible only where appends were not
    /// synced. It goes on at its start.
    async fn restart_at(
        &mut self,
        mut folder: Folder,
        start: Offset,
        end: Offset,
    ) -> Result<State<I::File>, OpenError> {
        if self.is_strict() {
            let damage = Damage::EndsEarly { expected: start, found: end };
            return Err(OpenError::Corrupt { path: self.dir.to_owned(), position: 0, damage });
        }
        self.doomed.extend(folder.segments.drain(..).map(|(base, _)| Kind::Log.name(base)));
        self.doomed.push(checkpoint::NAME.to_owned());
        self.without_segments(folder, start).await
    }

    /// Whether the manifest that says where the log starts is known to be on stable storage under
    /// its name. A killed process may have left it in the kernel's hands, and then the start would
    /// fall again with the power; but what lies below a start goes only once that is durable.
    fn is_start_durable(&self, folder: &Folder) -> bool {
        folder.segments.first().is_none_or(|(base, _)| *base >= self.manifest.start)
    }

    /// Leaves out the segments that a retention had already given up.
    fn drop_below_start(&mut self, folder: &mut Folder, start: Offset) {
        let keep_from = folder
            .segments
            .windows(2)
            .position(|pair| pair[1].0 > start)
            .unwrap_or(folder.segments.len().saturating_sub(1));
        for (base, _) in folder.segments.drain(..keep_from) {
            self.doomed.push(Kind::Log.name(base));
        }
    }

    /// Files beside segments that are gone, and snapshots of a closed log that goes on. What was
    /// cut off a segment goes only when retention has given that up.
    fn drop_strays(&mut self, folder: &Folder, end: Offset) {
        if let Some((first, _)) = folder.segments.first() {
            let below = |name: &String| evidence::segment_of(name).is_some_and(|at| at < *first);
            self.doomed.extend(self.evidence.extract_if(.., |name| below(name)));
        }
        let known =
            |base: Offset| folder.segments.binary_search_by_key(&base, |pair| pair.0).is_ok();
        for (kind, base, _) in &folder.indexes {
            if !known(*base) {
                self.doomed.push(kind.name(*base));
            }
        }
        // A clean close goes on vouching for what was there then.
        let closed_at = self.manifest.clean.map(|close| close.end);
        for offset in &folder.snapshots {
            if !known(*offset) && *offset != end && Some(*offset) != closed_at {
                self.doomed.push(Kind::Snapshot.name(*offset));
            }
        }
    }

    /// Finds the newest snapshot and the epoch checkpoint to begin with.
    async fn begin_replay(
        &self,
        folder: &Folder,
        close: Option<CleanEnd>,
        last_base: Offset,
    ) -> Result<Replay, OpenError> {
        let first = folder.segments.first().map_or(last_base, |(base, _)| *base);
        // What lay below the start was safe, with its snapshot, before the start was moved there.
        let safe = last_base.max(self.manifest.start);
        let newest = close.map_or(safe, |close| close.end);
        let (producers, producers_from) =
            newest_snapshot(self.shard, self.dir, &folder.snapshots, newest).await?;
        let mut known = None;
        if folder.holds(epochs::NAME) {
            let bytes = small_file::read(self.shard, &self.dir.join(epochs::NAME)).await?;
            known = bytes.and_then(|bytes| EpochHistory::decode(&bytes));
        }
        let (epochs, epochs_from) = match known {
            Some(mut epochs) => {
                // A loss of power may have left an older checkpoint beside the newer mark.
                let is_that = |close: &CleanEnd| epochs.latest() == close.epoch;
                let from = close.filter(is_that).map_or(last_base, |close| close.end);
                epochs.truncate(from);
                (epochs, from)
            }
            None => (EpochHistory::default(), first),
        };
        let producers_from = producers_from.max(first);
        // What the snapshot covers of the last segment stands in the index beside it.
        let aborted = if producers_from > last_base {
            self.read_aborted(folder, last_base, producers_from).await?
        } else {
            Vec::new()
        };
        Ok(Replay { producers, producers_from, aborted, last_base, epochs, epochs_from })
    }

    /// The transactions whose abort markers lie in `base..end` of the last segment.
    async fn read_aborted(
        &self,
        folder: &Folder,
        base: Offset,
        end: Offset,
    ) -> Result<Vec<AbortedTransaction>, OpenError> {
        if !folder.holds_index(Kind::TxnIndex, base) {
            return Ok(Vec::new());
        }
        let bytes = small_file::read(self.shard, &Kind::TxnIndex.path(self.dir, base)).await?;
        let known = bytes.and_then(|bytes| aborted::decode(&bytes, base, end));
        if let Some(entries) = known {
            return Ok(entries);
        }
        let (shard, dir, settings) = (self.shard, self.dir, self.settings);
        let (segments, snapshots) = (&folder.segments, &folder.snapshots);
        Ok(aborted::rebuild(shard, dir, segments, snapshots, base, settings).await?)
    }

    /// Replays sealed segments that the snapshot or the checkpoint does not cover.
    async fn replay_sealed(
        &mut self,
        sealed: &VecDeque<Sealed>,
        replay: &mut Replay,
    ) -> Result<(), OpenError> {
        let from = replay.producers_from.min(replay.epochs_from);
        for segment in sealed.iter().filter(|segment| segment.end > from) {
            let path = Kind::Log.path(self.dir, segment.base);
            let walked = replay_segment(self.shard, &path, segment, self.settings, replay).await?;
            self.report.scanned_bytes += walked.summary.size;
            if let Some(damage) = walked.damage {
                return Err(OpenError::Corrupt { path, position: walked.summary.size, damage });
            }
        }
        Ok(())
    }
}

/// The index of a log whose last segment begins at `last_base` and holds `active`.
fn aborted_index(
    folder: &Folder,
    last_base: Offset,
    active: Vec<AbortedTransaction>,
) -> AbortedIndex {
    let files = folder.indexes.iter().filter(|(kind, ..)| *kind == Kind::TxnIndex);
    let held = |base: &Offset| folder.segments.binary_search_by_key(base, |pair| pair.0).is_ok();
    let mut bases: BTreeSet<Offset> = files.map(|(_, base, _)| *base).filter(held).collect();
    let active_has_file = bases.remove(&last_base);
    AbortedIndex::opened(active, active_has_file, bases)
}

impl Replay {
    fn add(
        &mut self,
        header: &BatchHeader,
        marker: Option<Marker>,
        now: crate::offset::Timestamp,
        expiry: std::time::Duration,
    ) {
        let Some(base_offset) = Offset::new(header.base_offset) else { return };
        if base_offset >= self.producers_from && !planted::active(Bug::SkipProducerReplay) {
            let aborted = self.producers.appended(header, marker, now, expiry);
            self.aborted.extend(aborted.filter(|_| base_offset >= self.last_base));
        }
        if base_offset >= self.epochs_from {
            self.epochs.note(header.leader_epoch, base_offset);
        }
    }
}

async fn replay_segment<I: Io>(
    shard: &Shard<I>,
    path: &Path,
    segment: &Sealed,
    settings: &LogSettings,
    replay: &mut Replay,
) -> Result<Walked<I>, IoFailure> {
    let file = store::open(shard, path, OpenMode::ReadDirect).await?;
    let (now, expiry) = (shard.io().now(), settings.producer_expiry);
    let (from, interval) = (Summary::new(segment.base), settings.index_interval_bytes);
    walk(shard, path, file, segment.size, from, interval, |header, marker, _| {
        replay.add(header, marker, now, expiry);
        true
    })
    .await
}

/// The producers in the newest readable snapshot at or below `newest`, and its offset; none at
/// offset 0 without one.
pub(crate) async fn newest_snapshot<I: Io>(
    shard: &Shard<I>,
    dir: &Path,
    offsets: &[Offset],
    newest: Offset,
) -> Result<(Producers, Offset), IoFailure> {
    for &offset in offsets.iter().rev().filter(|offset| **offset <= newest) {
        let bytes = small_file::read(shard, &Kind::Snapshot.path(dir, offset)).await?;
        if let Some(producers) = bytes.and_then(|bytes| snapshot::decode(&bytes, offset)) {
            return Ok((producers, offset));
        }
    }
    Ok((Producers::default(), Offset::ZERO))
}

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
//! left it in the kernel's hands only. What follows it was torn by the crash, or was acknowledged
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
mod tear;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use crate::batch::{BatchHeader, HEADER_BYTES};
use crate::error::{Damage, IoFailure, OpenError, Operation};
use crate::io::{DirEntry, File, Io, OpenMode};
use crate::limits::WRITE_BYTES_IN_FLIGHT_MAX;
use crate::log::epochs::{self, EpochHistory};
use crate::log::flush::Tail;
use crate::log::{FlushPolicy, LogOffsets, LogSettings, State};
use crate::manifest::{self, CleanEnd, Manifest};
use crate::offset::Offset;
use crate::producer::{Producers, snapshot};
use crate::segment::active::{Active, Summary};
use crate::segment::name::{DELETED, Kind, TEMPORARY};
use crate::segment::offset_index::OffsetIndex;
use crate::segment::scan::{Found, Scanner};
use crate::segment::sealed::{Indexes, Sealed};
use crate::segment::time_index::TimeIndex;
use crate::segment::window::Window;
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
    /// Bytes of the largest batch.
    largest: usize,
    scanner: Scanner<I>,
}

/// Walks the first `length` bytes of a segment from its beginning. `visit` sees each valid batch
/// and where it begins, and says whether it counts; if not, the walk ends before it.
pub(crate) async fn walk<I: Io>(
    shard: &Shard<I>,
    path: &Path,
    file: I::File,
    length: u64,
    base: Offset,
    index_interval: u64,
    mut visit: impl FnMut(&BatchHeader, u64) -> bool,
) -> Result<Walked<I>, IoFailure> {
    let mut scanner = Scanner::new(shard, file, length, 0, base);
    let mut summary = Summary::new(base);
    let mut largest = 0;
    let damage = loop {
        let found = scanner.next().await.map_err(IoFailure::of(Operation::Read, path))?;
        match found {
            Found::Batch(header, position) => {
                if !visit(&header, position) {
                    break None;
                }
                let bytes = header.total_bytes().unwrap_or(0);
                largest = largest.max(bytes);
                summary.add(&header, bytes, index_interval);
            }
            Found::End => break None,
            Found::Invalid(damage) => break Some(damage),
        }
    };
    Ok(Walked { summary, damage, largest, scanner })
}

/// The indexes of a sealed segment, from their files; `None` if they are missing or cannot be
/// right.
pub(crate) async fn read_indexes<I: Io>(
    shard: &Shard<I>,
    dir: &Path,
    base: Offset,
    size: u64,
    end: Offset,
) -> Result<Option<Indexes>, IoFailure> {
    let offsets = small_file::read(shard, &Kind::Index.path(dir, base)).await?;
    let times = small_file::read(shard, &Kind::TimeIndex.path(dir, base)).await?;
    let (Some(offsets), Some(times)) = (offsets, times) else { return Ok(None) };
    let last_relative = end.since(base).saturating_sub(1);
    let offsets = OffsetIndex::decode(&offsets, size);
    let times = TimeIndex::decode(&times, last_relative);
    Ok(offsets.zip(times).map(|(offsets, times)| Indexes { offsets, times }).filter(|indexes| {
        indexes.offsets.last().is_none_or(|last| u64::from(last.relative) <= last_relative)
    }))
}

/// A recovered log.
pub(crate) struct Recovered<F> {
    pub(crate) state: State<F>,
    pub(crate) report: RecoveryReport,
}

/// What the folder holds.
#[derive(Default)]
struct Folder {
    /// Base offset and length of each `.log` file, in order.
    segments: Vec<(Offset, u64)>,
    /// Offsets of the snapshots, in order.
    snapshots: Vec<Offset>,
    /// Index files.
    indexes: Vec<(Kind, Offset)>,
    /// What earlier recoveries cut off and kept.
    evidence: Vec<String>,
    /// Names that are ours to remove.
    leftovers: Vec<String>,
    ignored: Vec<String>,
}

impl Folder {
    fn sort(entries: Vec<DirEntry>) -> Self {
        let mut folder = Self::default();
        for entry in entries {
            let name = entry.name;
            let stem = name.strip_suffix(DELETED).or_else(|| name.strip_suffix(TEMPORARY));
            let ours = |name: &str| {
                Kind::parse(name).is_some()
                    || name == manifest::NAME
                    || name == epochs::NAME
                    || evidence::segment_of(name).is_some()
            };
            match Kind::parse(&name) {
                _ if entry.is_dir => folder.ignored.push(name),
                Some((Kind::Log, base)) => folder.segments.push((base, entry.length)),
                Some((Kind::Snapshot, offset)) => folder.snapshots.push(offset),
                Some((kind, base)) => folder.indexes.push((kind, base)),
                None if stem.is_some_and(ours) => folder.leftovers.push(name),
                None if evidence::segment_of(&name).is_some() => folder.evidence.push(name),
                None if ours(&name) => {}
                None => folder.ignored.push(name),
            }
        }
        folder
    }
}

/// Opens the log in `dir`: see the module's documentation.
pub(crate) async fn recover<I: Io>(
    shard: &Shard<I>,
    dir: &Path,
    settings: &LogSettings,
) -> Result<Recovered<I::File>, OpenError> {
    let entries = match shard.io().list_dir(dir).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let created = shard.io().create_dir_all(dir).await;
            created.map_err(IoFailure::of(Operation::Create, dir))?;
            small_file::sync_dir_and_parent(shard, dir).await?;
            Vec::new()
        }
        Err(error) => return Err(IoFailure::of(Operation::List, dir)(error).into()),
    };
    let mut folder = Folder::sort(entries);
    let manifest = load_manifest(shard, dir).await?;
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
    };
    let state = recovery.run(folder).await?;
    remove_leftovers(shard, dir, &recovery.doomed).await?;
    Ok(Recovered { state, report: recovery.report })
}

async fn remove_leftovers<I: Io>(
    shard: &Shard<I>,
    dir: &Path,
    names: &[String],
) -> Result<(), IoFailure> {
    for name in names {
        let path = dir.join(name);
        match shard.io().remove_file(&path).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(IoFailure::of(Operation::Remove, &path)(error));
            }
            _ => {}
        }
    }
    if names.is_empty() { Ok(()) } else { small_file::sync_dir(shard, dir).await }
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
}

/// State that is rebuilt from batches.
struct Replay {
    producers: Producers,
    /// Batches from here on are not in `producers` yet.
    producers_from: Offset,
    epochs: EpochHistory,
    /// Batches from here on are not in `epochs` yet.
    epochs_from: Offset,
}

impl<I: Io> Recovery<'_, I> {
    async fn run(&mut self, mut folder: Folder) -> Result<State<I::File>, OpenError> {
        let start = self.manifest.start;
        self.drop_below_start(&mut folder, start);
        let Some((last_base, last_length)) = folder.segments.last().copied() else {
            return self.without_segments(folder, start);
        };
        let first = folder.segments[0].0;
        if first > start {
            let path = Kind::Log.path(self.dir, first);
            return Err(OpenError::SegmentGap { path, end: start, next: first });
        }
        let mut sealed = VecDeque::new();
        for pair in folder.segments.windows(2) {
            let (base, length) = pair[0];
            sealed.push_back(self.check_sealed(base, length, pair[1].0).await?);
        }
        let clean = self
            .manifest
            .clean
            .filter(|clean| (clean.last_base, clean.last_length) == (last_base, last_length));
        let mut replay = self.begin_replay(&folder, clean, last_base).await?;
        self.replay_sealed(&sealed, &mut replay).await?;
        let path = Kind::Log.path(self.dir, last_base);
        let file = self.shard.io().open(&path, OpenMode::WriteDirect).await;
        let file = file.map_err(IoFailure::of(Operation::Open, &path))?;
        let trusted = match clean {
            Some(clean) => self.trust(clean, &file, &replay).await?,
            None => None,
        };
        let mut active = Active::new(last_base);
        active.named = true;
        active.file = Some(file.clone());
        active.allocated = last_length;
        self.report.clean = trusted.is_some();
        match trusted {
            Some(summary) => active.summary = summary,
            None => {
                let (summary, keep) = self.scan_last(&path, file, last_length, &mut replay).await?;
                active.allocated = keep;
                active.summary = summary;
            }
        }
        let end = active.summary.end;
        if end < start {
            return self.restart_at(folder, start, end);
        }
        replay.epochs.truncate(end);
        replay.epochs.cut_before(start);
        self.drop_strays(&folder, end);
        Ok(State {
            offsets: LogOffsets::at_rest(start, end),
            sealed,
            active,
            tail: Tail::at_rest(end),
            epochs: replay.epochs,
            producers: replay.producers,
            manifest: self.manifest,
            changed: !self.report.clean,
            layout: 0,
            truncations: 0,
            truncated_to: Offset::ZERO,
            failure: None,
            closed: false,
        })
    }

    /// A log whose files are all gone, or that never had any.
    fn without_segments(
        &mut self,
        folder: Folder,
        start: Offset,
    ) -> Result<State<I::File>, OpenError> {
        if let Some(clean) = self.manifest.clean.filter(|clean| clean.end > start) {
            let damage = Damage::EndsEarly { expected: clean.end, found: start };
            return Err(OpenError::Corrupt { path: self.dir.to_owned(), position: 0, damage });
        }
        self.report.clean = true;
        self.drop_strays(&folder, start);
        Ok(State {
            offsets: LogOffsets::at_rest(start, start),
            sealed: VecDeque::new(),
            active: Active::new(start),
            tail: Tail::at_rest(start),
            epochs: EpochHistory::default(),
            producers: Producers::default(),
            manifest: self.manifest,
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
    fn restart_at(
        &mut self,
        mut folder: Folder,
        start: Offset,
        end: Offset,
    ) -> Result<State<I::File>, OpenError> {
        if self.settings.durability == FlushPolicy::EveryBatch {
            let damage = Damage::EndsEarly { expected: start, found: end };
            return Err(OpenError::Corrupt { path: self.dir.to_owned(), position: 0, damage });
        }
        self.doomed.extend(folder.segments.drain(..).map(|(base, _)| Kind::Log.name(base)));
        self.without_segments(folder, start)
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
        let known = |base: Offset| folder.segments.iter().any(|(other, _)| *other == base);
        for (kind, base) in &folder.indexes {
            if !known(*base) {
                self.doomed.push(kind.name(*base));
            }
        }
        for offset in &folder.snapshots {
            if !known(*offset) && *offset != end {
                self.doomed.push(Kind::Snapshot.name(*offset));
            }
        }
    }

    /// Checks that a sealed segment is whole and ends where the next one begins: by its index and
    /// what follows the last entry, else by reading all of it.
    async fn check_sealed(
        &mut self,
        base: Offset,
        length: u64,
        next: Offset,
    ) -> Result<Sealed<I::File>, OpenError> {
        let path = Kind::Log.path(self.dir, base);
        let file = self.shard.io().open(&path, OpenMode::ReadDirect).await;
        let file = file.map_err(IoFailure::of(Operation::Open, &path))?;
        let indexes = read_indexes(self.shard, self.dir, base, length, next).await?;
        if let Some(indexes) = indexes
            && let Some(end) = self.end_by_index(&path, &file, base, length, &indexes).await?
            && end == next
        {
            let latest =
                indexes.times.last().map(|entry| (entry.timestamp, base.plus(entry.relative)));
            let size = length;
            return Ok(Sealed { base, end, size, file: None, indexes: None, latest });
        }
        let interval = self.settings.index_interval_bytes;
        let walked = walk(self.shard, &path, file, length, base, interval, |_, _| true).await?;
        self.report.scanned_bytes += walked.summary.size;
        if let Some(damage) = walked.damage {
            return Err(OpenError::Corrupt { path, position: walked.summary.size, damage });
        }
        let mut summary = walked.summary;
        let end = summary.end;
        if end > next {
            return Err(OpenError::SegmentsOverlap { path, end, next });
        }
        if end < next {
            return Err(OpenError::SegmentGap { path, end, next });
        }
        summary.add_time_entry();
        let (offsets, times) = (summary.offsets.encode(), summary.times.encode());
        let (index, time_index) = (Kind::Index.name(base), Kind::TimeIndex.name(base));
        small_file::replace(self.shard, self.dir, &index, &offsets).await?;
        small_file::replace(self.shard, self.dir, &time_index, &times).await?;
        self.report.rebuilt_indexes.push(path);
        let mut sealed = Sealed::new(summary, None);
        sealed.indexes = None;
        Ok(sealed)
    }

    /// Where a sealed segment ends, found from its last index entry on; `None` if something there
    /// is not as the index says.
    async fn end_by_index(
        &mut self,
        path: &Path,
        file: &I::File,
        base: Offset,
        length: u64,
        indexes: &Indexes,
    ) -> Result<Option<Offset>, OpenError> {
        let (mut position, mut expected) = (0, base);
        if let Some(entry) = indexes.offsets.last() {
            position = u64::from(entry.position);
            let mut window = Window::new(self.shard, file.clone());
            let loaded = window.load(position, HEADER_BYTES, HEADER_BYTES).await;
            loaded.map_err(IoFailure::of(Operation::Read, path))?;
            let header = BatchHeader::read(window.from(position));
            let right = base.plus(entry.relative).value();
            let Some(header) = header.filter(|header| header.last_offset() == right) else {
                return Ok(None);
            };
            expected = Offset::new(header.base_offset).unwrap_or(base);
        }
        let mut scanner = Scanner::new(self.shard, file.clone(), length, position, expected);
        loop {
            match scanner.next().await.map_err(IoFailure::of(Operation::Read, path))? {
                Found::Batch(header, _) => {
                    self.report.scanned_bytes += header.total_bytes().unwrap_or(0) as u64;
                }
                Found::End => return Ok(Some(scanner.expected())),
                Found::Invalid(_) => return Ok(None),
            }
        }
    }

    /// Finds the newest snapshot and the epoch checkpoint to begin with.
    async fn begin_replay(
        &self,
        folder: &Folder,
        clean: Option<CleanEnd>,
        last_base: Offset,
    ) -> Result<Replay, OpenError> {
        let first = folder.segments.first().map_or(last_base, |(base, _)| *base);
        let newest = clean.map_or(last_base, |clean| clean.end);
        let (producers, producers_from) =
            newest_snapshot(self.shard, self.dir, &folder.snapshots, newest).await?;
        let checkpoint = small_file::read(self.shard, &self.dir.join(epochs::NAME)).await?;
        let known = checkpoint.and_then(|bytes| EpochHistory::decode(&bytes));
        let (epochs, epochs_from) = match known {
            Some(epochs) if clean.is_some() => (epochs, newest),
            Some(mut epochs) => {
                epochs.truncate(last_base);
                (epochs, last_base)
            }
            None => (EpochHistory::default(), first),
        };
        let producers_from = producers_from.max(first);
        Ok(Replay { producers, producers_from, epochs, epochs_from })
    }

    /// Replays sealed segments that the snapshot or the checkpoint does not cover.
    async fn replay_sealed(
        &mut self,
        sealed: &VecDeque<Sealed<I::File>>,
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

    /// The last segment's summary without a scan, if everything a clean close leaves is there.
    async fn trust(
        &self,
        clean: CleanEnd,
        file: &I::File,
        replay: &Replay,
    ) -> Result<Option<Summary>, OpenError> {
        let (base, size, end) = (clean.last_base, clean.last_length, clean.end);
        if replay.producers_from != end || replay.epochs_from != end {
            return Ok(None);
        }
        let mut summary = Summary::new(base);
        if size == 0 {
            return Ok((end == base).then_some(summary));
        }
        let read = read_indexes(self.shard, self.dir, base, size, end).await?;
        let Some(indexes) = read else { return Ok(None) };
        let path = Kind::Log.path(self.dir, base);
        let mut window = Window::new(self.shard, file.clone());
        let loaded = window.load(0, HEADER_BYTES, HEADER_BYTES).await;
        loaded.map_err(IoFailure::of(Operation::Read, &path))?;
        let first = BatchHeader::read(window.from(0));
        let Some(first) = first.filter(|first| first.base_offset == base.value()) else {
            return Ok(None);
        };
        summary.restore(indexes, first.max_timestamp, size, end);
        Ok(Some(summary))
    }

    /// Scans the last segment, and cuts it behind its valid batches. Gives its summary and the
    /// length its file has then.
    async fn scan_last(
        &mut self,
        path: &Path,
        file: I::File,
        length: u64,
        replay: &mut Replay,
    ) -> Result<(Summary, u64), OpenError> {
        let (_, base) = Kind::parse(path.file_name().and_then(|n| n.to_str()).unwrap_or_default())
            .unwrap_or((Kind::Log, Offset::ZERO));
        let interval = self.settings.index_interval_bytes;
        let (now, expiry) = (self.shard.io().now(), self.settings.producer_expiry);
        let visit = |header: &BatchHeader, _| {
            replay.add(header, now, expiry);
            true
        };
        let mut walked =
            walk(self.shard, path, file.clone(), length, base, interval, visit).await?;
        let (position, end) = (walked.summary.size, walked.summary.end);
        self.report.scanned_bytes += position;
        let corrupt = |damage| OpenError::Corrupt { path: path.to_owned(), position, damage };
        if let Some(clean) = self.manifest.clean.filter(|clean| clean.end > end) {
            let early = Damage::EndsEarly { expected: clean.end, found: end };
            return Err(corrupt(walked.damage.unwrap_or(early)));
        }
        let start = self.manifest.start;
        if start > end && self.settings.durability == FlushPolicy::EveryBatch {
            let early = Damage::EndsEarly { expected: start, found: end };
            return Err(corrupt(walked.damage.unwrap_or(early)));
        }
        let mut keep = length;
        if let Some(damage) = walked.damage {
            let content_end = walked.scanner.content_end().await;
            let content_end = content_end.map_err(IoFailure::of(Operation::Read, path))?;
            if content_end > position {
                let batch_max = walked.largest.max(self.settings.batch_bytes_max);
                let scanner = &mut walked.scanner;
                let judged = self.judge(scanner, batch_max, damage).await;
                let (damage, later) = match judged.map_err(IoFailure::of(Operation::Read, path))? {
                    Verdict::Corrupt(damage) => return Err(corrupt(damage)),
                    Verdict::Torn { damage, later } => (damage, later),
                };
                let saved = self.save_and_cut(path, &file, length, base, scanner, content_end);
                let saved = saved.await?;
                keep = position;
                let (path, bytes) = (path.to_owned(), length - position);
                self.report.cut = Some(Cut { path, position, bytes, damage, later, saved });
            }
        }
        // What a killed process wrote may not have reached the disk yet; nor may its name.
        file.sync().await.map_err(IoFailure::of(Operation::Sync, path))?;
        small_file::sync_dir_and_parent(self.shard, self.dir).await?;
        Ok((walked.summary, keep))
    }

    /// Whether a crash can have left what stands at the scanner's position: see the module's
    /// documentation.
    async fn judge(
        &self,
        scanner: &mut Scanner<I>,
        batch_max: usize,
        damage: Damage,
    ) -> std::io::Result<Verdict> {
        let position = scanner.position();
        let later = scanner.find_later(position + 1).await?;
        if self.settings.durability == FlushPolicy::EveryBatch {
            let window = WRITE_BYTES_IN_FLIGHT_MAX.max(batch_max + crate::limits::BLOCK);
            let window_end = position + window as u64;
            let beyond = match later {
                Some((_, at)) if at < window_end => scanner.find_later(window_end).await?,
                other => other,
            };
            if let Some((offset, position)) = beyond {
                return Ok(Verdict::Corrupt(Damage::InTheMiddle { offset, position }));
            }
        }
        if tear::is_rotten(scanner, later.map(|(_, at)| at)).await? {
            return Ok(Verdict::Corrupt(damage));
        }
        Ok(Verdict::Torn { damage, later: later.map(|(offset, _)| offset) })
    }

    /// Cuts a segment at the scanner's position, after what goes is safe in a file of its own,
    /// whose path this gives. The cut is durable with the next sync.
    async fn save_and_cut(
        &self,
        path: &Path,
        file: &I::File,
        length: u64,
        base: Offset,
        scanner: &mut Scanner<I>,
        content_end: u64,
    ) -> Result<PathBuf, IoFailure> {
        let position = scanner.position();
        if content_end < length {
            // Reserved space goes first, so that there is room on a full disk.
            let cut = file.set_length(content_end).await;
            cut.map_err(IoFailure::of(Operation::Cut, path))?;
        }
        let saved =
            evidence::save(self.shard, self.dir, base, scanner, content_end, &self.evidence);
        let saved = saved.await?;
        let cut = file.set_length(position).await;
        cut.map_err(IoFailure::of(Operation::Cut, path))?;
        Ok(saved)
    }
}

/// What invalid bytes behind the last valid batch are.
enum Verdict {
    /// No crash can have left them.
    Corrupt(Damage),
    /// A crash may have.
    Torn { damage: Damage, later: Option<i64> },
}

impl Replay {
    fn add(
        &mut self,
        header: &BatchHeader,
        now: crate::offset::Timestamp,
        expiry: std::time::Duration,
    ) {
        let Some(base_offset) = Offset::new(header.base_offset) else { return };
        if base_offset >= self.producers_from {
            self.producers.appended(header, now, expiry);
        }
        if base_offset >= self.epochs_from {
            self.epochs.note(header.leader_epoch, base_offset);
        }
    }
}

async fn replay_segment<I: Io>(
    shard: &Shard<I>,
    path: &Path,
    segment: &Sealed<I::File>,
    settings: &LogSettings,
    replay: &mut Replay,
) -> Result<Walked<I>, IoFailure> {
    let file = shard.io().open(path, OpenMode::ReadDirect).await;
    let file = file.map_err(IoFailure::of(Operation::Open, path))?;
    let (now, expiry) = (shard.io().now(), settings.producer_expiry);
    let interval = settings.index_interval_bytes;
    walk(shard, path, file, segment.size, segment.base, interval, |header, _| {
        replay.add(header, now, expiry);
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

//! The second reading: the bytes, in order, into the segments.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::scan::{Scan, Settling, Sighting};
use super::{Live, ReplayReport, corrupt};
use crate::batch::BatchHeader;
use crate::entry::Format;
use crate::error::{Damage, IoFailure, OpenError, Operation};
use crate::io::{Durability, File, Io, OpenMode, Rare};
use crate::journal::files;
use crate::journal::frame::{self, Entry};
use crate::limits::{
    BATCH_BYTES_MAX, JOURNAL_REDO_BYTES, JOURNAL_REDO_FILES, READ_BYTES_MAX, SECTOR_BYTES,
};
use crate::offset::Offset;
use crate::planted::{self, Bug};
use crate::segment::name::Kind;
use crate::segment::scan::{MAGIC_AT, sector_end};
use crate::segment::window::Window;
use crate::shard::Shard;
use crate::{small_file, together};

/// A log of the journal.
struct Target {
    dir: PathBuf,
    /// Whether it is one to redo.
    is_wanted: bool,
    /// What settles its entries, in order. `below` is the highest of this one and all that follow.
    settled: Vec<Settling>,
    segments: Segments,
}

enum Segments {
    /// Nobody has looked yet.
    Unknown,
    /// There is no such folder.
    Gone,
    /// The base offsets of the files, those included that are about to be made.
    There {
        /// All of them.
        bases: BTreeSet<Offset>,
        /// The highest that a replay has found.
        newest: Option<Offset>,
    },
}

/// Bytes for one place in a segment.
struct Run {
    position: u64,
    bytes: Vec<u8>,
}

/// Puts frames into segments.
///
/// Runs of bytes are gathered, written, and only at the end synced, each file once. The files are
/// not held open between that: there may be as many as there are logs. A write that fails behind
/// the kernel's back is reported to the next file opened, which is ours.
pub(super) struct Redo<'a, I: Io> {
    shard: &'a Shard<I>,
    live: Option<&'a Live<'a>>,
    names: &'a BTreeMap<(u64, u32), usize>,
    targets: Vec<Target>,
    /// What is to be written, by log and segment, in order.
    runs: BTreeMap<(usize, Offset), Vec<Run>>,
    /// Bytes of those.
    gathered: usize,
    /// Files to make before that.
    missing: BTreeSet<(usize, Offset)>,
    /// What has been written and is to be synced.
    written: BTreeSet<(usize, Offset)>,
    window: Option<(usize, Window<I>)>,
    report: ReplayReport,
}

/// What becomes of an entry.
enum Fate {
    Write,
    Skip(fn(&mut ReplayReport) -> &mut u64),
}

impl<'a, I: Io> Redo<'a, I> {
    /// `end` is the first frame that does not count.
    pub(super) fn new(
        shard: &'a Shard<I>,
        root: &Path,
        live: Option<&'a Live<'a>>,
        scan: &'a Scan,
        end: u64,
    ) -> Self {
        let target = |path: &String| Target {
            dir: root.join(path),
            is_wanted: live.is_none_or(|live| live.path == path),
            settled: Vec::new(),
            segments: Segments::Unknown,
        };
        let mut targets: Vec<Target> = scan.logs.iter().map(target).collect();
        for (name, settling) in scan.settled.iter().filter(|(_, settling)| settling.at.0 < end) {
            // A settling of a log that the same generation does not name settles nothing.
            if let Some(log) = scan.names.get(name) {
                targets[*log].settled.push(*settling);
            }
        }
        for target in &mut targets {
            target.settled.sort_unstable_by_key(|settling| settling.at);
            let mut highest = Some(Offset::ZERO);
            for settling in target.settled.iter_mut().rev() {
                highest = highest.zip(settling.below).map(|(highest, below)| highest.max(below));
                settling.below = highest;
            }
        }
        Self {
            shard,
            live,
            names: &scan.names,
            targets,
            runs: BTreeMap::new(),
            gathered: 0,
            missing: BTreeSet::new(),
            written: BTreeSet::new(),
            window: None,
            report: ReplayReport::default(),
        }
    }

    /// Takes in one frame; the caller gives them in order.
    pub(super) async fn frame(&mut self, dir: &Path, sighting: &Sighting) -> Result<(), OpenError> {
        let Sighting { file, position, bytes, head } = *sighting;
        let path = dir.join(files::name(file));
        let mut window = match self.window.take() {
            Some((open, window)) if open == file => window,
            other => {
                drop(other);
                let opened = self.shard.io().open(&path, OpenMode::ReadDirect).await;
                let opened = opened.map_err(IoFailure::of(Operation::Open, &path))?;
                Window::new(self.shard, opened)
            }
        };
        if window.from(position).len() < bytes {
            let loaded = window.load(position, bytes, READ_BYTES_MAX).await;
            loaded.map_err(IoFailure::of(Operation::Read, &path))?;
        }
        // It was valid when it was found: whatever else is read now is damage, unless the file has
        // been let go meanwhile.
        let changed = || {
            let sequence = head.sequence;
            let damage = Damage::JournalWrite { sequence, confirmed: sequence };
            corrupt(dir, file, position, damage)
        };
        let frame = frame::decode(window.from(position)).ok().filter(|frame| frame.head == head);
        let Some(frame) = frame else {
            let is_void = self.live.is_some_and(|live| head.sequence < (live.floor)());
            return if is_void { Ok(()) } else { Err(changed()) };
        };
        for (index, entry) in frame.entries().enumerate() {
            let Entry::Bytes { number, base, position: at, bytes } = entry else { continue };
            let Some(&log) = self.names.get(&(head.generation, number)) else {
                let damage = Damage::JournalEntries { sequence: head.sequence };
                return Err(corrupt(dir, file, position, damage));
            };
            if !self.targets[log].is_wanted {
                continue;
            }
            match self.fate(log, base, (head.sequence, index)).await? {
                Fate::Write => self.gather(log, base, at, bytes),
                Fate::Skip(counter) => *counter(&mut self.report) += 1,
            }
        }
        self.report.writes += 1;
        if self.gathered >= JOURNAL_REDO_BYTES {
            // Whoever waits for a buffer must not hold one.
            window.release();
            self.write().await?;
        }
        self.window = Some((file, window));
        Ok(())
    }

    async fn fate(
        &mut self,
        log: usize,
        base: Offset,
        at: (u64, usize),
    ) -> Result<Fate, IoFailure> {
        let target = &mut self.targets[log];
        let later = target.settled.partition_point(|settling| settling.at <= at);
        let settling = target.settled.get(later);
        let settling = settling.filter(|_| !planted::active(Bug::ReplaySettled));
        if settling.is_some_and(|settling| settling.below.is_none_or(|below| base < below)) {
            self.shard.io().reached(Rare::RedoPassedVoid);
            return Ok(Fate::Skip(|report| &mut report.skipped.settled));
        }
        if matches!(target.segments, Segments::Unknown) {
            target.segments = look(self.shard, &target.dir).await?;
        }
        let Segments::There { bases, newest } = &mut target.segments else {
            return Ok(Fate::Skip(|report| &mut report.skipped.log_gone));
        };
        if !bases.contains(&base) {
            if newest.is_some_and(|newest| newest > base)
                || planted::active(Bug::ReplaySkipsMissingSegment)
            {
                self.shard.io().reached(Rare::RedoPassedGoneSegment);
                return Ok(Fate::Skip(|report| &mut report.skipped.segment_gone));
            }
            self.shard.io().reached(Rare::RedoMadeSegment);
            bases.insert(base);
            self.missing.insert((log, base));
        }
        Ok(Fate::Write)
    }

    fn gather(&mut self, log: usize, base: Offset, position: u64, bytes: &[u8]) {
        self.report.entries += 1;
        self.report.bytes += bytes.len() as u64;
        self.gathered += bytes.len();
        let runs = self.runs.entry((log, base)).or_default();
        match runs.last_mut() {
            Some(run) if run.position + run.bytes.len() as u64 == position => {
                run.bytes.extend_from_slice(bytes);
            }
            _ => runs.push(Run { position, bytes: bytes.to_vec() }),
        }
    }

    /// Writes what has been gathered.
    async fn write(&mut self) -> Result<(), IoFailure> {
        self.gathered = 0;
        let mut missing: BTreeMap<usize, Vec<Offset>> = BTreeMap::new();
        for (log, base) in std::mem::take(&mut self.missing) {
            missing.entry(log).or_default().push(base);
        }
        let makings = missing
            .into_iter()
            .map(|(log, bases)| make_segments(self.shard, &self.targets[log].dir, bases));
        together::all(JOURNAL_REDO_FILES, makings).await?;
        let runs = std::mem::take(&mut self.runs);
        self.written.extend(runs.keys().copied());
        let writes = runs.into_iter().map(|((log, base), runs)| {
            write_segment(self.shard, Kind::Log.path(&self.targets[log].dir, base), runs)
        });
        together::all(JOURNAL_REDO_FILES, writes).await
    }

    /// Writes what is left, and makes all of it durable, names included: what a killed process
    /// has made is not durable for being there.
    pub(super) async fn finish(mut self) -> Result<ReplayReport, OpenError> {
        self.window = None;
        self.write().await?;
        let (shard, targets) = (self.shard, &self.targets);
        let path = |(log, base): &(usize, Offset)| Kind::Log.path(&targets[*log].dir, *base);
        let syncs = self.written.iter().map(|segment| sync_segment(shard, path(segment)));
        if !planted::active(Bug::ReplayWithoutSync) {
            together::all(JOURNAL_REDO_FILES, syncs).await?;
        }
        let logs: BTreeSet<usize> = self.written.iter().map(|(log, _)| *log).collect();
        let dirs = logs.iter().map(|log| targets[*log].dir.as_path());
        let dirs: BTreeSet<&Path> =
            dirs.flat_map(|dir| dir.parent().into_iter().chain([dir])).collect();
        let syncs = dirs.into_iter().map(|dir| small_file::sync_dir(shard, dir));
        together::all(JOURNAL_REDO_FILES, syncs).await?;
        if !logs.is_empty() {
            shard.io().reached(Rare::RedoWrote);
        }
        self.report.logs = logs.len() as u64;
        Ok(self.report)
    }
}

/// Which segments a log's folder holds.
async fn look<I: Io>(shard: &Shard<I>, dir: &Path) -> Result<Segments, IoFailure> {
    match shard.io().list_dir(dir).await {
        Ok(entries) => {
            let kinds = entries.iter().filter_map(|entry| Kind::parse(&entry.name));
            let bases = kinds.filter(|(kind, _)| *kind == Kind::Log).map(|(_, base)| base);
            let bases: BTreeSet<Offset> = bases.collect();
            let newest = bases.last().copied();
            Ok(Segments::There { bases, newest })
        }
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(Segments::Gone)
        }
        Err(error) => Err(IoFailure::of(Operation::List, dir)(error)),
    }
}

/// Makes the files of one log, from the lowest on, each with its name durable before the next: a
/// crash between them must not make a later opening think that the lower one had been removed.
async fn make_segments<I: Io>(
    shard: &Shard<I>,
    dir: &Path,
    bases: Vec<Offset>,
) -> Result<(), IoFailure> {
    for base in bases {
        let path = Kind::Log.path(dir, base);
        let file = shard.io().open(&path, OpenMode::WriteBuffered).await;
        file.map_err(IoFailure::of(Operation::Create, &path))?;
        small_file::sync_dir(shard, dir).await?;
    }
    Ok(())
}

async fn write_segment<I: Io>(
    shard: &Shard<I>,
    path: PathBuf,
    runs: Vec<Run>,
) -> Result<(), IoFailure> {
    let file = shard.io().open(&path, OpenMode::WriteBuffered).await;
    let file = file.map_err(IoFailure::of(Operation::Open, &path))?;
    for run in runs {
        let mut position = run.position;
        for part in run.bytes.chunks(READ_BYTES_MAX) {
            let mut buffer = shard.acquire(part.len()).await;
            buffer.clear();
            buffer.extend_from_slice(part);
            let written = file.write_at(buffer.freeze(), position, Durability::Written).await;
            written.map_err(IoFailure::of(Operation::Write, &path))?;
            position += part.len() as u64;
        }
        scrub(shard, &file, &path, position, end_offset(&run.bytes)).await?;
    }
    Ok(())
}

/// The offset that must follow the batches of a run.
fn end_offset(bytes: &[u8]) -> Option<Offset> {
    let mut rest = bytes;
    let mut end = None;
    while let Some(header) = BatchHeader::read(rest) {
        end = header.end_offset();
        rest = rest.get(header.total_bytes()?..)?;
    }
    end
}

/// Clears what stands behind redone bytes in their last sector, unless it is the batch that must
/// follow.
///
/// A loss of power may leave anything in a sector that was written and never synced. Half redone,
/// it would look as if all of it had been written whole, and the opening of the log would take the
/// rest for damage. Nothing acknowledged is cleared: that would begin with `expected`, as all of
/// the sector was on stable storage then. One wrong bit in that is for the opening to report.
async fn scrub<I: Io>(
    shard: &Shard<I>,
    file: &I::File,
    path: &Path,
    position: u64,
    expected: Option<Offset>,
) -> Result<(), IoFailure> {
    let length = usize::try_from(sector_end(position) - position).unwrap_or(SECTOR_BYTES);
    let is_partial = length < SECTOR_BYTES && !planted::active(Bug::ReplayWithoutScrub);
    let (Some(expected), true) = (expected, is_partial) else { return Ok(()) };
    let buffer = shard.acquire(length).await;
    let (read, buffer) = file.read_at(buffer, position).await;
    read.map_err(IoFailure::of(Operation::Read, path))?;
    let length = length.min(buffer.len());
    let rest = &buffer[..length];
    if may_follow(rest, expected) || rest.iter().all(|&byte| byte == 0) {
        return Ok(());
    }
    shard.io().reached(Rare::RedoScrubbed);
    let mut zeros = buffer;
    zeros.clear();
    zeros.resize(length, 0);
    let written = file.write_at(zeros.freeze(), position, Durability::Written).await;
    written.map_err(IoFailure::of(Operation::Write, path))
}

/// Where some fields of a batch's header stand; the first is a frame's, too.
const LEADER_EPOCH_AT: usize = 12;
const LAST_OFFSET_DELTA_AT: usize = 23;
const RECORD_COUNT_AT: usize = 57;

/// Whether these bytes, the end of a sector, are how the entry of offset `expected` begins, with one
/// wrong bit at most as far as the fields go that cannot hold just anything. Zeros, and what stands
/// among zeros, are one bit away from every power of two, so the offset alone does not tell; nor do
/// offset, length and magic byte, since a removed snapshot of producers, whose bytes reserved space
/// may hold, has such offsets, followed by times.
fn may_follow(bytes: &[u8], expected: Offset) -> bool {
    let Some((offset, rest)) = bytes.split_first_chunk::<8>() else { return true };
    let mut wrong = (i64::from_be_bytes(*offset) ^ expected.value()).count_ones();
    if let Some(length) = rest.first_chunk::<4>() {
        let length = usize::try_from(i32::from_be_bytes(*length));
        let is_sensible = length.is_ok_and(|length| (1..=BATCH_BYTES_MAX).contains(&length));
        wrong += u32::from(!is_sensible);
    }
    if let Some(&magic) = bytes.get(MAGIC_AT) {
        let magic = magic.cast_signed();
        let near = Format::nearest(magic);
        wrong += near.map_or(2, |near| (near.magic() ^ magic).count_ones());
        let number = |at: usize| bytes.get(at..)?.first_chunk().copied().map(i32::from_be_bytes);
        wrong += u32::from(number(LEADER_EPOCH_AT).is_some_and(|epoch| epoch < -1));
        if let (Some(Format::RecordBatch), Some(delta), Some(count)) =
            (near, number(LAST_OFFSET_DELTA_AT), number(RECORD_COUNT_AT))
        {
            let is_sensible = delta >= 0 && (0..=i64::from(delta) + 1).contains(&i64::from(count));
            wrong += u32::from(!is_sensible);
        }
    }
    wrong <= 1
}

async fn sync_segment<I: Io>(shard: &Shard<I>, path: PathBuf) -> Result<(), IoFailure> {
    let file = shard.io().open(&path, OpenMode::WriteBuffered).await;
    let file = file.map_err(IoFailure::of(Operation::Open, &path))?;
    file.sync().await.map_err(IoFailure::of(Operation::Sync, &path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchBuilder, BatchOptions};
    use crate::offset::Timestamp;

    #[test]
    fn what_stands_among_zeros_is_no_batch_with_one_wrong_bit() {
        let expected = Offset::new(16).unwrap();
        let header = |offset: i64, length: i32, magic: u8| {
            let mut bytes = offset.to_be_bytes().to_vec();
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(&[0, 0, 0, 3, magic, 1, 2]);
            bytes
        };
        // The batch, and the batch with a wrong bit.
        assert!(may_follow(&header(16, 77, 2), expected));
        assert!(may_follow(&header(16, -1, 2), expected));
        assert!(may_follow(&header(16, 77, 6), expected));
        assert!(may_follow(&header(17, 77, 2), expected));
        assert!(may_follow(&header(0, 77, 2), expected));
        assert!(may_follow(&header(0, 77, 2)[..5], expected));
        // Zeros, and garbage that begins with zeros.
        assert!(!may_follow(&[0; 300], expected));
        assert!(!may_follow(&[0; 12], expected));
        assert!(!may_follow(&header(0, 917_504, 15), expected));
        assert!(!may_follow(&header(0, 8151, 0), expected));
        assert!(!may_follow(&header(19, 77, 2), expected));
    }

    #[test]
    fn what_a_removed_snapshot_left_is_no_batch_with_one_wrong_bit() {
        let expected = Offset::new(6).unwrap();
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.push(Timestamp::from_millis(1), Some(b"k"), Some(b"v"), &[]);
        let mut batch = builder.finish().unwrap();
        batch[..8].copy_from_slice(&6_i64.to_be_bytes());
        assert!(may_follow(&batch, expected));
        for byte in 0..batch.len() {
            for bit in 0..8 {
                let mut changed = batch.clone();
                changed[byte] ^= 1 << bit;
                assert!(may_follow(&changed, expected), "bit {bit} of byte {byte}");
            }
        }
        // A last offset, a time, and what follows: the end of one entry and the start of the next.
        for low in [0xc251_f44d_u32, 0x4251_f44d] {
            let mut stale = expected.value().to_be_bytes().to_vec();
            stale.extend_from_slice(&0x018c_u32.to_be_bytes());
            stale.extend_from_slice(&low.to_be_bytes());
            stale.extend_from_slice(&[0, 0, 0, 0, 7, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0]);
            stale.extend_from_slice(&[0, 0, 0, 0, 9, 0, 0, 1, 0x8c, 0xc2, 0x51, 0xf4, 0x2e, 0]);
            stale.extend_from_slice(&[0xda, 0xe3, 0x8c, 0x27, 0, 0, 1, 0x8c, 0xc2, 0x51, 0xf4]);
            assert!(stale.len() == 61 && !may_follow(&stale, expected));
        }
    }
}

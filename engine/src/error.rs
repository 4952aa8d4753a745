//! What can go wrong with a log: one error per operation.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::epoch::LeaderEpoch;
use crate::offset::Offset;

/// What the engine was doing to a file when the system refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Opening a file.
    Open,
    /// Creating a file or folder.
    Create,
    /// Listing a folder.
    List,
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Making writes durable.
    Sync,
    /// Reserving space.
    Allocate,
    /// Cutting to length.
    Cut,
    /// Renaming.
    Rename,
    /// Removing.
    Remove,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Create => "create",
            Self::List => "list",
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Allocate => "reserve space for",
            Self::Cut => "set the length of",
            Self::Rename => "rename",
            Self::Remove => "remove",
        })
    }
}

/// A system call that failed: what, where and how. Cloneable, so that everybody who waited for it
/// gets the same one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("cannot {operation} {}: {}", path.display(), cause(*kind, *os_error))]
pub struct IoFailure {
    /// What was tried.
    pub operation: Operation,
    /// On which file or folder.
    pub path: PathBuf,
    /// The kind of error.
    pub kind: io::ErrorKind,
    /// The system's error number, where there is one.
    pub os_error: Option<i32>,
}

fn cause(kind: io::ErrorKind, os_error: Option<i32>) -> String {
    match os_error {
        Some(number) => io::Error::from_raw_os_error(number).to_string(),
        None => kind.to_string(),
    }
}

impl IoFailure {
    /// For `map_err`: puts an error into words.
    pub(crate) fn of(operation: Operation, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self {
            operation,
            path: path.to_owned(),
            kind: error.kind(),
            os_error: error.raw_os_error(),
        }
    }

    /// Whether space, and nothing else, was missing.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self.kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    /// Whether it may succeed once open files are closed.
    pub(crate) fn wants_fewer_files(&self) -> bool {
        self.is_shortage() && !self.is_disk_full()
    }

    /// Whether space, memory or file descriptors were missing: it may succeed later.
    #[must_use]
    pub fn is_shortage(&self) -> bool {
        /// These have no [`io::ErrorKind`].
        const TOO_MANY_FILES: [i32; 2] = [libc::ENFILE, libc::EMFILE];
        self.is_disk_full()
            || self.kind == io::ErrorKind::OutOfMemory
            || self.os_error.is_some_and(|number| TOO_MANY_FILES.contains(&number))
    }
}

/// What is wrong with bytes that should be a log's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Damage {
    /// The file ends within a batch.
    #[error("a batch of {needed} bytes is cut short at {available} bytes")]
    Incomplete {
        /// Bytes the batch should have.
        needed: u64,
        /// Bytes left in the file.
        available: u64,
    },
    /// Neither a record batch nor a frame begins here.
    #[error("no batch or frame begins here (length field {length}, magic byte {magic})")]
    NotABatch {
        /// What stands where the length should.
        length: i32,
        /// What stands where the magic byte should.
        magic: i8,
    },
    /// The checksum does not match.
    #[error("the batch has checksum {stated:#010x}, but its bytes give {actual:#010x}")]
    Checksum {
        /// What the header says.
        stated: u32,
        /// What the bytes give.
        actual: u32,
    },
    /// A batch of other offsets than the ones that must follow.
    #[error("the batch begins at offset {found}, but {expected} must follow")]
    OffsetGap {
        /// The offset that must follow.
        expected: Offset,
        /// The one found.
        found: i64,
    },
    /// Valid batches follow, further away than a crash can tear.
    #[error(
        "invalid bytes are followed by a valid batch of offset {offset} at byte {position}, \
         further than a crash can tear"
    )]
    InTheMiddle {
        /// Offset of the batch that follows.
        offset: i64,
        /// Where it begins.
        position: u64,
    },
    /// The manifest is no manifest.
    #[error("the manifest does not check; the log start offset is unknown")]
    Manifest,
    /// A file of the journal does not begin as one, or belongs to another journal.
    #[error("no file of this journal begins here")]
    JournalFile,
    /// A write of the journal cannot be read, though it was known to be durable.
    #[error(
        "write {sequence} of the journal is missing or wrong, though all up to {confirmed} had \
         been durable"
    )]
    JournalWrite {
        /// The write's sequence.
        sequence: u64,
        /// The last write that was known to be durable.
        confirmed: u64,
    },
    /// A write of the journal was done whole, and one bit of it has changed since.
    #[error("one bit of write {sequence} of the journal has changed")]
    JournalRot {
        /// The write's sequence.
        sequence: u64,
    },
    /// A write of the journal has a checksum that matches, but its entries make no sense.
    #[error("write {sequence} of the journal holds entries that nobody can have written")]
    JournalEntries {
        /// The write's sequence.
        sequence: u64,
    },
    /// The log ends before what a clean shutdown, a checkpoint or the log's start says was on
    /// stable storage.
    #[error("the log ends at offset {found}, but was on stable storage up to {expected}")]
    EndsEarly {
        /// What was written down.
        expected: Offset,
        /// What the files hold.
        found: Offset,
    },
}

/// Why a log could not be opened. Nothing was changed on disk, unless the error is an I/O error
/// in the middle of a repair, which the next open takes up again.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OpenError {
    /// The system refused.
    #[error(transparent)]
    Io(#[from] IoFailure),
    /// Bytes in a place that no crash can have damaged.
    #[error("{} is damaged at byte {position}: {damage}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in it.
        position: u64,
        /// What is wrong.
        damage: Damage,
    },
    /// Two segments hold the same offsets.
    #[error(
        "{} ends at offset {end} and overlaps the next segment, which begins at {next}",
        path.display()
    )]
    SegmentsOverlap {
        /// The earlier segment.
        path: PathBuf,
        /// Where it ends.
        end: Offset,
        /// Where the next one begins.
        next: Offset,
    },
    /// Offsets are missing between two segments.
    #[error(
        "offsets {end} to {next} are missing: {} ends before the next segment begins",
        path.display()
    )]
    SegmentGap {
        /// The earlier segment.
        path: PathBuf,
        /// Where it ends.
        end: Offset,
        /// Where the next one begins.
        next: Offset,
    },
    /// A setting that this engine or this shard cannot keep.
    #[error("{name} is {actual} {unit}; {min} to {max} {unit} are allowed")]
    Setting {
        /// Which setting.
        name: &'static str,
        /// Its value.
        actual: u64,
        /// The smallest value allowed.
        min: u64,
        /// The largest value allowed.
        max: u64,
        /// What it counts.
        unit: &'static str,
    },
}

/// Why an append, or the wait for its durability, failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AppendError {
    /// An earlier write or sync failed: the log takes no more until it is opened again, which
    /// recovers what is on disk. What was not reported durable may or may not be there.
    #[error("the log is read-only since a failure: {0}")]
    Failed(IoFailure),
    /// There is no space. Nothing has changed; the next try finds freed space.
    #[error("the disk is full: {0}")]
    DiskFull(IoFailure),
    /// The system refused what the batch needs before it can be written: a file, memory. Nothing
    /// has changed, and no write or sync of a batch has failed; try again.
    #[error("the log takes no batch now: {0}")]
    Refused(IoFailure),
    /// The batch is above the log's limit. Nothing has changed.
    #[error("batch of {actual} bytes exceeds the log's limit of {max} bytes")]
    BatchTooLarge {
        /// Bytes of the batch.
        actual: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The reservation was made for less. Nothing has changed.
    #[error("batch of {actual} bytes exceeds the {reserved} bytes reserved for it")]
    ReservedLess {
        /// Bytes of the batch.
        actual: usize,
        /// Bytes reserved.
        reserved: usize,
    },
    /// Leader epochs never fall. Nothing has changed.
    #[error("leader epoch {given} is below the log's epoch {current}")]
    StaleLeaderEpoch {
        /// The epoch of this append.
        given: LeaderEpoch,
        /// The log's newest epoch.
        current: LeaderEpoch,
    },
    /// The last of the 2^63 offsets is taken. Nothing has changed.
    #[error("the log has no offsets left after {end}")]
    OffsetsExhausted {
        /// The log's end.
        end: Offset,
    },
    /// The log was truncated below the offset that was waited for: the records are gone.
    #[error("the log was truncated to {end}")]
    Truncated {
        /// The end it was truncated to.
        end: Offset,
    },
    /// The log was closed or deleted.
    #[error("the log is closed")]
    Closed,
}

/// Why a change to a log's segments failed: rolling, truncating, deleting, closing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MaintainError {
    /// The log takes no more writes; see [`AppendError::Failed`].
    #[error("the log is read-only since a failure: {0}")]
    Failed(IoFailure),
    /// There is no space for the small files this needs. The log is as before; try again.
    #[error("the disk is full: {0}")]
    DiskFull(IoFailure),
    /// The system refused. The log is as before, or the change is half done and taken up again by
    /// the next try or the next open.
    #[error(transparent)]
    Io(IoFailure),
    /// Bytes on disk are damaged.
    #[error("{} is damaged at byte {position}: {damage}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in it.
        position: u64,
        /// What is wrong.
        damage: Damage,
    },
    /// The offset lies outside of the log.
    #[error("offset {offset} is outside of the log, which holds {start} to {end}")]
    OutOfRange {
        /// What was asked for.
        offset: Offset,
        /// The log's start.
        start: Offset,
        /// The log's end.
        end: Offset,
    },
    /// The log was closed or deleted.
    #[error("the log is closed")]
    Closed,
}

/// Why a compaction failed. What it replaced before that stays replaced.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CompactError {
    /// Another compaction of the same log is under way.
    #[error("the log is being compacted already")]
    Running,
    /// Reading or changing the log's segments failed. The log is as it was, unless this is
    /// [`MaintainError::Failed`]: then it is read-only, and the next open finishes what was begun.
    #[error(transparent)]
    Log(#[from] MaintainError),
}

/// Why a read failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReadError {
    /// The log does not hold the offset.
    #[error("offset {from} is outside of the log, which holds {start} to {end}")]
    OutOfRange {
        /// What was asked for.
        from: Offset,
        /// The log's start.
        start: Offset,
        /// The log's durable end.
        end: Offset,
    },
    /// Bytes on disk are damaged; they are not served.
    #[error("{} is damaged at byte {position}: {damage}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in it.
        position: u64,
        /// What is wrong.
        damage: Damage,
    },
    /// The system refused.
    #[error(transparent)]
    Io(#[from] IoFailure),
    /// The log was deleted.
    #[error("the log is closed")]
    Closed,
}

impl From<IoFailure> for MaintainError {
    fn from(failure: IoFailure) -> Self {
        if failure.is_disk_full() { Self::DiskFull(failure) } else { Self::Io(failure) }
    }
}

impl From<ReadError> for MaintainError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::OutOfRange { from, start, end } => {
                Self::OutOfRange { offset: from, start, end }
            }
            ReadError::Corrupt { path, position, damage } => {
                Self::Corrupt { path, position, damage }
            }
            ReadError::Io(failure) => Self::from(failure),
            ReadError::Closed => Self::Closed,
        }
    }
}

impl From<AppendError> for MaintainError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::DiskFull(failure) => Self::DiskFull(failure),
            AppendError::Refused(failure) => Self::Io(failure),
            AppendError::Failed(failure) => Self::Failed(failure),
            // The others are about a batch, and maintenance appends none.
            _ => Self::Closed,
        }
    }
}

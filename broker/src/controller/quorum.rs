//! The seam to what makes metadata last: one node's log now, a consensus of several later.

use std::future::Future;

use ringlog_engine::batch::BatchError;
use ringlog_engine::error::{AppendError, ReadError};

use crate::metadata::{ApplyError, MetadataImage, MetadataRecord, RecordError};

/// The log of metadata records, as the members of the quorum agree on it.
///
/// # Rules an implementer keeps
///
/// - Records have offsets from 0 without gaps; the records of one [`append`](Self::append) follow
///   each other and are committed together or not at all.
/// - A committed record is never lost and never changes.
/// - After an error that leaves open whether records were committed, every later append fails
///   until the quorum is opened again.
///
/// # Snapshots
///
/// The log is kept whole, and [`replay`](Self::replay) reads it from the version of the image that
/// it is given, which is the empty one at a start. A snapshot is that image, written down: it would
/// be what `replay` is given, and what the log could be cut before. No caller would change.
pub trait MetadataQuorum {
    /// Appends records as one batch. At least one.
    ///
    /// After `Ok` they are committed and durable, and the answer is the end of the log: the offset
    /// after the last of them. After `Err` see the rules above;
    /// [`QuorumError::nothing_changed`] tells whether the records may be there all the same. Safe
    /// to drop: the records may then be committed or not, and [`end`](Self::end) tells.
    fn append(&self, records: &[MetadataRecord]) -> impl Future<Output = Result<u64, QuorumError>>;

    /// The offset after the last record that was appended, committed or not.
    fn end(&self) -> u64;

    /// Applies all committed records that an image does not contain yet, once those that were
    /// appended are committed.
    fn replay(
        &self,
        image: MetadataImage,
    ) -> impl Future<Output = Result<MetadataImage, QuorumError>>;
}

/// Why metadata could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum QuorumError {
    /// The log refused the records or failed.
    #[error("cannot append to the metadata log: {0}")]
    Append(#[from] AppendError),
    /// The log cannot be read.
    #[error("cannot read the metadata log at offset {offset}: {source}")]
    Read {
        /// Where.
        offset: u64,
        /// Why.
        source: ReadError,
    },
    /// A batch that is none, or records that make none.
    #[error("a batch of the metadata log at offset {offset} is wrong: {source}")]
    Batch {
        /// Where.
        offset: u64,
        /// What is wrong with it.
        source: BatchError,
    },
    /// The body of a batch cannot be read.
    #[error("the batch of the metadata log at offset {offset} has no readable records")]
    Body {
        /// Where.
        offset: u64,
    },
    /// A batch is not where it must be.
    #[error("the metadata log goes on at offset {found}, and {expected} must follow")]
    Gap {
        /// The offset that must follow.
        expected: u64,
        /// The offset that was found.
        found: i64,
    },
    /// A record that cannot be read or written.
    #[error("a record of the metadata log at offset {offset}: {source}")]
    Record {
        /// Where.
        offset: u64,
        /// What is wrong with it.
        source: RecordError,
    },
    /// A record that does not fit those before it.
    #[error("the records of the metadata log at offset {offset} do not fit: {source}")]
    Apply {
        /// Where.
        offset: u64,
        /// Why.
        source: ApplyError,
    },
}

impl QuorumError {
    /// Whether it is certain that nothing was written, so that the same may be tried again.
    #[must_use]
    pub const fn nothing_changed(&self) -> bool {
        match self {
            Self::Append(error) => !matches!(error, AppendError::Failed(_)),
            Self::Batch { .. } | Self::Record { .. } => true,
            Self::Read { .. } | Self::Body { .. } | Self::Gap { .. } | Self::Apply { .. } => false,
        }
    }
}

//! Known bugs, planted to prove that the simulator finds them.
//!
//! Nothing here exists in a build without the feature `planted`, which is never on by default and
//! which no binary that ships enables: [`active`] is then a constant `false`, and the compiler
//! leaves out what hangs on it. With the feature, one bug at a time is switched on for the thread
//! that asks.

use crate::catalogue::catalogue;

catalogue! {
    /// A bug of the catalogue.
    pub enum Bug;

    /// An append straight to a segment is confirmed once the kernel has its bytes.
    AcknowledgeBeforeSync,
    /// A failed sync is passed over, and the next one believed.
    RetryFailedSync,
    /// The log goes on as if a write had succeeded that failed.
    ForgetFailedWrite,
    /// A write that is done has all earlier ones count as done.
    CountWritesOutOfOrder,
    /// A new folder's or segment's name is not made durable.
    SkipFolderSync,
    /// Small files get their names before their bytes are synced.
    RenameBeforeSync,
    /// The manifest's new name is not made durable.
    SkipManifestFolderSync,
    /// A scan of a segment does not look at checksums.
    SkipChecksumOnScan,
    /// A read from a file does not look at checksums.
    SkipChecksumOnRead,
    /// Reads from memory go on to what is not yet durable.
    ReadPastDurable,
    /// Cutting a torn end takes a part of the last whole batch, too.
    CutOneBatchTooMuch,
    /// What a killed process left in the kernel's hands counts before it is synced.
    RecoverWithoutSync,
    /// What recovery keeps is synced and not written once more, though a sync may have failed for it.
    BelieveFailedSync,
    /// A clean close's indexes are trusted though the file has grown since.
    TrustIndexPastTornTail,
    /// Recovery takes a snapshot of producers for the whole truth.
    SkipProducerReplay,
    /// A segment is sealed while writes to it are on their way.
    SealWithoutDrain,
    /// A sealed segment is not synced.
    SealWithoutSync,
    /// Retention does not make the new start durable.
    RetainWithoutManifest,
    /// Retention by size takes one segment more than it may.
    RetainOneTooFew,
    /// Retention that leaves no segment leaves the log in the journal.
    EmptyWithoutSettling,
    /// A truncation leaves the manifest's mark of a clean end.
    TruncateKeepsCleanMark,
    /// A truncation leaves the checkpoint that vouches for what it cut.
    TruncateKeepsCheckpoint,
    /// A truncation's cut is not synced.
    TruncateWithoutSync,
    /// A truncation leaves what it cut in the tail cache.
    TruncateKeepsCache,
    /// A truncation does not forget the producers' batches that it cut.
    TruncateKeepsProducers,
    /// A truncation does not forget the epochs that it cut.
    TruncateKeepsEpochs,
    /// A truncation leaves the batch that holds the new end.
    TruncateKeepsLastBatch,
    /// A log that is cut, closed or deleted leaves its bytes in the journal.
    KeepJournalOverCut,
    /// A frame of the journal counts once the kernel has its bytes.
    JournalWithoutSync,
    /// A frame of the journal counts before earlier ones are durable.
    ConfirmFramesOutOfOrder,
    /// A file of the journal is let go when its bytes are in segments that are not synced.
    FreeJournalBeforeSync,
    /// The journal's redo takes frames of a file's earlier use.
    ReplayBelowFloor,
    /// The journal's redo goes on behind a torn frame.
    ReplayPastTornFrame,
    /// The journal's redo writes what was cut or deleted since.
    ReplaySettled,
    /// The journal's redo takes a segment for removed whose name a crash took.
    ReplaySkipsMissingSegment,
    /// The journal's redo does not sync the segments before the journal is let go.
    ReplayWithoutSync,
    /// The journal's redo leaves what a crash left behind its last bytes.
    ReplayWithoutScrub,
    /// Compaction does not sync the new segment.
    CompactWithoutSync,
    /// Compaction removes old segments before the new one has its name.
    CompactRemovesBeforeSwap,
    /// Compaction says that the log is clean before it is.
    CompactCheckpointsFirst,
    /// Compaction says that the log is clean though others were in its way.
    CompactPassesOverOvertaken,
    /// Compaction goes on past the first unstable offset.
    CompactPastUnstable,
    /// Compaction looks at no lag.
    CompactWithoutLag,
    /// Compaction takes a key's aborted record for its last one.
    CompactNotesAborted,
    /// Compaction takes a key that its full map does not hold for outdated.
    CompactDropsUnknownKeys,
    /// Compaction goes on as if its map held what did not fit.
    CompactPastFullMap,
    /// Compaction drops tombstones at once.
    CompactDropsTombstones,
    /// Compaction drops markers of transactions of which something is left.
    CompactDropsMarkers,
    /// Compaction drops markers of transactions that a snapshot says are open.
    CompactForgetsSnapshots,
    /// Compaction leaves out batches without covering their offsets.
    CompactLeavesGap,
    /// Compaction gives a rewritten batch the offsets of the records that stay.
    CompactMovesOffsets,
    /// Compaction leaves nothing of a producer that is still active.
    CompactForgetsProducers,
    /// Compaction leaves the aborted transactions of what it joins behind.
    CompactForgetsAborted,
    /// Compaction leaves marks that speak of the old segments.
    CompactKeepsVouchers,
    /// Compaction leaves what the journal holds of the old segments.
    CompactKeepsJournal,
    /// Compaction leaves what memory holds of the old segments.
    CompactKeepsCache,
    /// An open removes the old segments that a swap has named, but leaves the swap undone.
    FinishDropsSwap,
    /// A truncation leaves the cleaner's checkpoint above the new end.
    TruncateKeepsCleaner,
}

#[cfg(feature = "planted")]
mod switch {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        static ACTIVE: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Switches a bug on for this thread, or all off.
    pub fn activate(bug: Option<Bug>) {
        ACTIVE.set(bug);
    }

    /// Whether a bug is switched on for this thread.
    #[must_use]
    pub fn active(bug: Bug) -> bool {
        ACTIVE.get() == Some(bug)
    }
}

#[cfg(feature = "planted")]
pub use switch::{activate, active};

/// Whether a bug is switched on: never, without the feature `planted`.
#[cfg(not(feature = "planted"))]
#[must_use]
#[inline(always)]
pub const fn active(_: Bug) -> bool {
    false
}

//! The rare branches of the engine, so that a simulation can tell which of them it has reached.

use crate::catalogue::catalogue;

catalogue! {
    /// A branch of the engine that few runs take. See [`Io::reached`](super::Io::reached).
    pub enum Rare;

    /// a file of the journal was let go, to be written again
    JournalFileFreed,
    /// the journal was full, and what came had to wait
    JournalFull,
    /// a frame of its own raised the journal's floor
    JournalFloorRaised,
    /// one more file of the journal was made while it was in use
    JournalFileMade,
    /// one more file of the journal could not be made
    JournalFileRefused,
    /// the journal failed, and with it all its logs
    JournalFailed,
    /// what a failed or closed log had in the journal was put into its segments
    LogRescued,
    /// a log was opened again whose journaled batches were in no segment
    LogReplayed,
    /// so much waited that it went past the journal into the segment
    DirectBesideJournal,
    /// what was journaled was asked into the segments, to free memory
    JournalPressed,
    /// an opening put journaled bytes into segments
    RedoWrote,
    /// an opening passed over journaled bytes that were void
    RedoPassedVoid,
    /// an opening passed over journaled bytes of a segment that was gone
    RedoPassedGoneSegment,
    /// an opening made a segment for journaled bytes
    RedoMadeSegment,
    /// an opening cleared what a crash had left behind journaled bytes
    RedoScrubbed,
    /// the journal ended in a torn frame
    FrameTorn,
    /// whole frames stood behind a torn one
    FramesBehindTorn,
    /// the journal's files held frames of an earlier use
    FramesOfEarlierUse,
    /// the journal was refused because a frame was missing
    FrameMissing,
    /// the journal was refused because a frame had changed
    FrameRotten,
    /// all files of the journal counted, so that the opening's frame went into a reserve
    JournalReserveUsed,
    /// a file that nobody needs any more could not be removed, and is left to the next open
    ReclaimFailed,
    /// an append was refused because the disk was full
    DiskFull,
    /// there was no space for a whole step of the segment's file, but for the batch
    LittleSpace,
    /// a log failed and takes nothing until it is opened again
    LogFailed,
    /// the last block had to be read back before an append
    BlockReadBack,
    /// an append waited for a checkpoint
    CheckpointAwaited,
    /// bytes went away under a cold read, which began anew
    ReadBegunAnew,
    /// a read was served from what had been read ahead
    ReadAhead,
    /// a segment's indexes were rebuilt because they pointed elsewhere
    IndexesRebuilt,
    /// a segment's file was closed because too many were open
    FileClosed,
    /// a truncation removed whole segments
    SegmentsTruncated,
    /// a retention left no segment
    EmptiedByRetention,
    /// a torn end was cut off a log
    TailCut,
    /// a valid batch stood behind a torn one
    BatchBehindTorn,
    /// a log was refused because its end had changed
    TailRotten,
    /// a log was refused because it ended before what had been on stable storage
    TailMissing,
    /// a sealed segment was looked into because no catalog knew it
    SealedLookedInto,
    /// an opening began at a checkpoint
    CheckpointUsed,
    /// an opening passed over a checkpoint that did not fit
    CheckpointPassedOver,
    /// a clean close vouched for a part of the last segment
    CleanInPart,
    /// a log's start had been seen and was not known to be durable
    StartSynced,
}

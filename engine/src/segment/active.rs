//! The segment that grows.

use crate::batch::BatchHeader;
use crate::limits::SEGMENT_OFFSETS_MAX;
use crate::offset::{Offset, Timestamp};
use crate::segment::offset_index::{OffsetIndex, relative};
use crate::segment::sealed::Indexes;
use crate::segment::time_index::TimeIndex;

/// What is known of a segment's batches without reading them: both indexes and a summary. The
/// same rules build it from appends and from a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) base: Offset,
    pub(crate) end: Offset,
    /// Bytes of batches.
    pub(crate) size: u64,
    pub(crate) offsets: OffsetIndex,
    pub(crate) times: TimeIndex,
    /// The first batch's largest timestamp: what the segment's age counts from.
    pub(crate) first_timestamp: Option<Timestamp>,
    /// The largest timestamp, and the last offset of the first batch that has it.
    pub(crate) latest: Option<(Timestamp, u32)>,
    /// Bytes of the largest batch, as far as it was seen: a clean close does not write it down.
    pub(crate) largest: u64,
    pub(crate) bytes_since_entry: u64,
}

impl Summary {
    pub(crate) fn new(base: Offset) -> Self {
        Self {
            base,
            end: base,
            size: 0,
            offsets: OffsetIndex::default(),
            times: TimeIndex::default(),
            first_timestamp: None,
            latest: None,
            largest: 0,
            bytes_since_entry: 0,
        }
    }

    /// Takes a batch of `bytes` bytes, with its offset set, into account. Index entries follow
    /// Kafka's rule: one when more than `interval` bytes came since the last.
    pub(crate) fn add(&mut self, header: &BatchHeader, bytes: usize, interval: u64) {
        assert_eq!(header.base_offset, self.end.value(), "log.contiguous");
        let timestamp = header.max_timestamp;
        self.first_timestamp.get_or_insert(timestamp);
        if let Some(relative) = relative(self.base, header.last_offset()) {
            let known = timestamp >= Timestamp::from_millis(0);
            if known && self.latest.is_none_or(|(latest, _)| latest < timestamp) {
                self.latest = Some((timestamp, relative));
            }
            if self.bytes_since_entry > interval {
                self.offsets.push(relative, self.size);
                self.add_time_entry();
                self.bytes_since_entry = 0;
            }
        }
        let bytes = bytes as u64;
        self.bytes_since_entry += bytes;
        self.largest = self.largest.max(bytes);
        self.size += bytes;
        self.end = header.end_offset().unwrap_or(self.end);
    }

    /// Takes over what a clean close has left: as if every batch had been added.
    pub(crate) fn restore(
        &mut self,
        indexes: Indexes,
        first_timestamp: Timestamp,
        size: u64,
        end: Offset,
    ) {
        // The entry's batch was the first to be counted since.
        let counted_from = indexes.offsets.last().map_or(0, |last| u64::from(last.position));
        self.bytes_since_entry = size - counted_from;
        self.latest = indexes.times.last().map(|last| (last.timestamp, last.relative));
        self.offsets = indexes.offsets;
        self.times = indexes.times;
        self.first_timestamp = Some(first_timestamp);
        self.size = size;
        self.end = end;
    }

    /// Adds the time entry of all so far: along with an offset entry, and when the segment ends.
    pub(crate) fn add_time_entry(&mut self) {
        if let Some((timestamp, relative)) = self.latest {
            self.times.push(timestamp, relative);
        }
    }

    /// Whether the segment has so many offsets that the next batch belongs into another.
    pub(crate) fn offsets_are_full(&self) -> bool {
        self.end.since(self.base) >= SEGMENT_OFFSETS_MAX
    }
}

/// The active segment: its file, if a batch ever came, and its summary.
pub(crate) struct Active<F> {
    pub(crate) summary: Summary,
    /// The file, open for writing; it may be closed while the log is at rest.
    pub(crate) file: Option<F>,
    /// Whether the file's name is known to be durable.
    pub(crate) named: bool,
    /// Whether it is being made so.
    pub(crate) naming: bool,
    /// The file's length: space that is reserved.
    pub(crate) allocated: u64,
    /// Bytes that the newest checkpoint covers; 0 without one.
    pub(crate) checkpointed: u64,
    /// Bytes there were when a checkpoint was tried the last time.
    pub(crate) checkpoint_tried: u64,
    /// Set when the segment's time is up; the next reservation rolls it.
    pub(crate) roll_due: bool,
}

impl<F> Active<F> {
    pub(crate) fn new(base: Offset) -> Self {
        Self {
            summary: Summary::new(base),
            file: None,
            named: false,
            naming: false,
            allocated: 0,
            checkpointed: 0,
            checkpoint_tried: 0,
            roll_due: false,
        }
    }

    /// Whether the segment has a file, open or not.
    pub(crate) fn has_file(&self) -> bool {
        self.named || self.file.is_some()
    }
}

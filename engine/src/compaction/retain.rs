//! What of a batch stays: Kafka's rules, batch by batch and record by record.

use std::time::Duration;

use super::codec::BatchCodec;
use super::key_map::KeyMap;
use super::pace::Pace;
use super::transactions::{Pinned, Transactions};
use super::{CompactionReport, CompactionSettings};
use crate::batch::{BatchHeader, Compression, HEADER_BYTES, Record, RecordIter, rewrite};
use crate::entry::Format;
use crate::io::Io;
use crate::offset::{Offset, Timestamp};
use crate::planted::{self, Bug};
use crate::producer::Marker;

/// What becomes of a batch.
pub(super) enum Verdict {
    /// It stays as it is.
    Keep,
    /// It stays, with fewer records or a delete horizon.
    Rewrite(Vec<u8>),
    /// Nothing of it stays but its offsets.
    LeaveOut,
}

/// The records of a batch body, unpacked into `unpacked` if need be; `None` if the codec cannot.
pub(super) fn records_of<'a>(
    header: &BatchHeader,
    batch: &'a [u8],
    codec: &dyn BatchCodec,
    unpacked: &'a mut Vec<u8>,
) -> Option<&'a [u8]> {
    let is_batch = header.format() == Some(Format::RecordBatch);
    let body = batch.get(HEADER_BYTES..).filter(|_| is_batch)?;
    match header.attributes.compression().ok()? {
        Compression::None => Some(body),
        compression => {
            unpacked.clear();
            codec.unpack(compression, body, unpacked).ok()?;
            Some(unpacked)
        }
    }
}

/// The iterator over [`records_of`] a batch.
pub(super) fn iterate<'a>(header: &BatchHeader, records: &'a [u8]) -> RecordIter<'a> {
    let count = u32::try_from(header.record_count).unwrap_or(0);
    RecordIter::sparse(records, count, header.last_offset_delta)
}

/// The offset of a record of a batch.
pub(super) fn offset_of(header: &BatchHeader, record: &Record<'_>) -> Option<Offset> {
    Offset::new(header.base_offset.checked_add(i64::from(record.offset_delta))?)
}

/// Judges the batches of one compaction, in the order of their offsets.
pub(super) struct Retain<'a> {
    pub(super) keys: &'a KeyMap,
    /// From here on everything stays: the keys of what follows are not known.
    pub(super) end: Offset,
    pub(super) transactions: Transactions,
    /// Of the group at hand.
    pub(super) pinned: Pinned,
    pub(super) codec: &'a dyn BatchCodec,
    now: Timestamp,
    delete_retention: Duration,
    unpacked: Vec<u8>,
    /// Of the batch at hand: whether each record stays.
    stays: Vec<bool>,
}

/// What the records of a batch that stay have in common.
#[derive(Default)]
struct Kept {
    count: i32,
    tombstones: bool,
    latest: Option<i64>,
}

impl<'a> Retain<'a> {
    pub(super) fn new(
        keys: &'a KeyMap,
        end: Offset,
        codec: &'a dyn BatchCodec,
        now: Timestamp,
        settings: &CompactionSettings,
    ) -> Self {
        let delete_retention = settings.delete_retention;
        let transactions = Transactions::default();
        let (unpacked, stays) = (Vec::new(), Vec::new());
        let pinned = Pinned::default();
        Self { keys, end, transactions, pinned, codec, now, delete_retention, unpacked, stays }
    }

    /// What becomes of `batch`. `is_producers_last` says that its producer is active and this is the
    /// last that is known of it: then a batch stays, be it without records. A rewritten batch is at
    /// most `room` bytes larger than it was.
    pub(super) async fn judge<I: Io>(
        &mut self,
        header: &BatchHeader,
        batch: &[u8],
        is_producers_last: bool,
        room: u64,
        pace: &mut Pace<I>,
        report: &mut CompactionReport,
    ) -> Verdict {
        let without_records = |header: &BatchHeader| {
            if is_producers_last {
                Verdict::Rewrite(rewrite::emptied(header))
            } else {
                Verdict::LeaveOut
            }
        };
        pace.work(HEADER_BYTES).await;
        let useless = if header.attributes.is_control() {
            let marker = Marker::read(batch);
            let is_pinned = marker.is_some() && self.pinned.take(header);
            let useless = self.transactions.is_useless(header, marker);
            (useless || planted::active(Bug::CompactDropsMarkers)) && !is_pinned
        } else {
            self.transactions.is_aborted(header)
        };
        // A frame has no key that anybody here could read.
        let is_batch = header.format() == Some(Format::RecordBatch);
        if header.base_offset >= self.end.value() || !is_batch {
            return Verdict::Keep;
        }
        if header.record_count == 0 {
            let has_producer = is_producers_last && header.producer_id.is_some();
            return if has_producer { Verdict::Keep } else { Verdict::LeaveOut };
        }
        let records = u64::try_from(header.record_count).unwrap_or(0);
        report.records += records;
        if header.attributes.is_control() {
            let expired = horizon(header).is_some_and(|horizon| horizon <= self.now);
            return match (useless, expired, horizon(header)) {
                (true, true, _) => {
                    report.markers_removed += records;
                    without_records(header)
                }
                (true, false, None) => {
                    let read = records_of(header, batch, self.codec, &mut self.unpacked);
                    if read.is_none() {
                        return Verdict::Keep;
                    }
                    self.stays.clear();
                    self.stays.resize(usize::try_from(records).unwrap_or(0), true);
                    let kept = Kept { count: header.record_count, ..Kept::default() };
                    let kept = Kept { latest: Some(header.max_timestamp.millis()), ..kept };
                    self.rewritten(header, batch, &kept, true, room).unwrap_or(Verdict::Keep)
                }
                _ => Verdict::Keep,
            };
        }
        if useless {
            report.aborted_removed += records;
            return without_records(header);
        }
        let Some(kept) = self.sift(header, batch, pace, report).await else {
            report.unreadable_batches += 1;
            return Verdict::Keep;
        };
        if kept.count == 0 {
            return without_records(header);
        }
        let begins_horizon = kept.tombstones && horizon(header).is_none();
        if kept.count == header.record_count && !begins_horizon {
            return Verdict::Keep;
        }
        self.rewritten(header, batch, &kept, begins_horizon, room).unwrap_or(Verdict::Keep)
    }

    /// Decides for each record whether it stays; `None` if they cannot be read.
    async fn sift<I: Io>(
        &mut self,
        header: &BatchHeader,
        batch: &[u8],
        pace: &mut Pace<I>,
        report: &mut CompactionReport,
    ) -> Option<Kept> {
        let expired = horizon(header).is_some_and(|horizon| horizon <= self.now)
            || planted::active(Bug::CompactDropsTombstones);
        let records = records_of(header, batch, self.codec, &mut self.unpacked)?;
        let mut kept = Kept::default();
        let mut removed = Removed::default();
        self.stays.clear();
        for record in iterate(header, records) {
            let record = record.ok()?;
            let offset = offset_of(header, &record)?;
            pace.work(record.bytes()).await;
            let stays = match record.key {
                _ if offset >= self.end => true,
                None => {
                    removed.keyless += 1;
                    false
                }
                Some(key) if !self.keys.is_last(key, offset) => {
                    removed.outdated += 1;
                    false
                }
                Some(_) if record.value.is_none() && expired => {
                    removed.tombstones += 1;
                    false
                }
                Some(_) => true,
            };
            self.stays.push(stays);
            if stays {
                kept.count += 1;
                kept.tombstones |= record.value.is_none();
                let time = header.base_timestamp.millis().wrapping_add(record.timestamp_delta);
                kept.latest = kept.latest.max(Some(time));
            }
        }
        report.keyless_removed += removed.keyless;
        report.outdated_removed += removed.outdated;
        report.tombstones_removed += removed.tombstones;
        Some(kept)
    }

    /// The batch with the records that stay; `None` if it cannot be made, or has no room. The
    /// records of a compressed one have been unpacked.
    fn rewritten(
        &mut self,
        header: &BatchHeader,
        batch: &[u8],
        kept: &Kept,
        begins_horizon: bool,
        room: u64,
    ) -> Option<Verdict> {
        let compression = header.attributes.compression().ok()?;
        let records = match compression {
            Compression::None => batch.get(HEADER_BYTES..)?,
            _ => &self.unpacked,
        };
        let mut new = BatchHeader { record_count: kept.count, ..*header };
        if planted::active(Bug::CompactMovesOffsets) {
            new.last_offset_delta = kept.count - 1;
        }
        if begins_horizon {
            let retention = i64::try_from(self.delete_retention.as_millis()).unwrap_or(i64::MAX);
            let horizon = self.now.millis().saturating_add(retention);
            new.base_timestamp = Timestamp::from_millis(horizon);
            new.attributes = header.attributes.with_delete_horizon();
        }
        // Under LogAppendTime, the header's time is that of every record.
        if let Some(latest) = kept.latest
            && !header.attributes.is_append_time()
        {
            new.max_timestamp = Timestamp::from_millis(latest);
        }
        let moved = header.base_timestamp.millis().wrapping_sub(new.base_timestamp.millis());
        let mut out = Vec::with_capacity(records.len());
        for (record, stays) in iterate(header, records).zip(&self.stays) {
            let record = record.ok()?;
            let rebased = begins_horizon.then(|| record.timestamp_delta.wrapping_add(moved));
            if *stays {
                rewrite::put_record(&mut out, &record, rebased);
            }
        }
        if compression != Compression::None {
            let mut packed = Vec::new();
            self.codec.pack(compression, &out, &mut packed).ok()?;
            out = packed;
        }
        let bytes = rewrite::seal(&new, &out);
        let growth = bytes.len().saturating_sub(batch.len()) as u64;
        (growth <= room).then_some(Verdict::Rewrite(bytes))
    }
}

/// Records of one batch that do not stay, by reason.
#[derive(Default)]
struct Removed {
    keyless: u64,
    outdated: u64,
    tombstones: u64,
}

/// When the tombstones of a batch, or its marker, may go.
fn horizon(header: &BatchHeader) -> Option<Timestamp> {
    header.attributes.has_delete_horizon().then_some(header.base_timestamp)
}

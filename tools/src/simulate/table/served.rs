//! Judging single batches: each is one that was appended, or what compaction may make of some.

use ringlog_engine::batch::{BatchHeader, CheckedBatch};
use ringlog_engine::producer::Marker;

use super::{Entry, Row, Table};

impl Table {
    /// Checks a batch that the log served: it is one that was appended, or stands for some of which
    /// nothing is gone that has to stay. `is_epoch_sure` says whether damage may have changed its
    /// epoch.
    pub(crate) fn check_served(
        &self,
        batch: &CheckedBatch<'_>,
        now: i64,
        is_epoch_sure: bool,
    ) -> Result<(), String> {
        let judged = check(&self.entries, batch, now, is_epoch_sure);
        let again = || check(&self.removed, batch, now, is_epoch_sure);
        judged.or_else(|what| again().map_err(|_| what))
    }
}

fn check(
    entries: &[Entry],
    batch: &CheckedBatch<'_>,
    now: i64,
    is_epoch_sure: bool,
) -> Result<(), String> {
    let header = batch.header();
    let end = header.end_offset().ok_or("a batch without an end")?.value();
    let first = entries.partition_point(|entry| entry.base < header.base_offset);
    let past = entries.partition_point(|entry| entry.end <= end);
    let covered = entries.get(first..past).unwrap_or_default();
    let (Some(head), Some(tail)) = (covered.first(), covered.last()) else {
        return Err(format!("no batch began or ended where {header:?} does"));
    };
    if (head.base, tail.end) != (header.base_offset, end) {
        return Err(format!("no batch began or ended where {header:?} does"));
    }
    if let Some(other) = covered
        .iter()
        .find(|entry| is_epoch_sure && entry.header.leader_epoch != header.leader_epoch)
    {
        return Err(format!("{header:?} covers {:?} of another epoch", other.header));
    }
    if let [only] = covered
        && (header.record_count > 0 || header.producer_id.is_some())
    {
        return check_remainder(only, batch, now);
    }
    if header.record_count > 0 || header.producer_id.is_some() {
        return Err(format!("{header:?} holds something, but covers several batches"));
    }
    match covered.iter().find(|entry| !entry.may_be_empty(now)) {
        Some(entry) => Err(format!("nothing is left of {entry:?} at {now}")),
        None => Ok(()),
    }
}

/// Checks what is left of one batch.
fn check_remainder(entry: &Entry, batch: &CheckedBatch<'_>, now: i64) -> Result<(), String> {
    let (header, known) = (batch.header(), &entry.header);
    if header.checksum == known.checksum && header.length == known.length {
        return Ok(());
    }
    let of = |header: &BatchHeader| {
        let attributes = header.attributes.without_delete_horizon();
        let producer = (header.producer_id, header.producer_epoch, header.base_sequence);
        (attributes.bits(), producer, header.last_offset_delta)
    };
    if of(header) != of(known) {
        return Err(format!("{known:?} became {header:?}"));
    }
    if header.attributes.has_delete_horizon() {
        check_horizon(entry, header)?;
    }
    if entry.marker.is_some() {
        let is_marker = Marker::read(batch.bytes()) == entry.marker;
        let is_emptied = header.record_count == 0 && entry.may_have_expired(now);
        let fits = is_emptied || (is_marker && header.record_count == known.record_count);
        return fits.then_some(()).ok_or_else(|| format!("the marker {known:?} became {header:?}"));
    }
    let mut left: Vec<Option<Row>> = vec![None; entry.rows.len()];
    for record in batch.records().into_iter().flatten() {
        let record = record.map_err(|error| error.to_string())?;
        let row = Row::new(&record, header.base_timestamp.millis());
        let place = usize::try_from(record.offset_delta).unwrap_or(usize::MAX);
        let known = entry.rows.get(place);
        if !known.is_some_and(|known| known.same(&row)) || record.header_count() > 0 {
            return Err(format!("record {place} of {header:?} is {row:?}, not {known:?}"));
        }
        left[place] = Some(row);
    }
    let gone = entry.rows.iter().zip(&left).filter(|(_, left)| left.is_none());
    for (row, _) in gone {
        if !entry.may_be_gone(row, now) {
            return Err(format!("{row:?} is gone from {header:?} at {now}"));
        }
    }
    let latest = left.iter().flatten().map(|row| row.time).max().unwrap_or(-1);
    if header.max_timestamp.millis() != latest {
        return Err(format!("the latest record of {header:?} is of {latest}"));
    }
    Ok(())
}

/// A delete horizon is for tombstones and markers, and no earlier than they were first seen.
fn check_horizon(entry: &Entry, header: &BatchHeader) -> Result<(), String> {
    let horizon = header.base_timestamp.millis();
    let is_early = entry.horizon.0.is_none_or(|earliest| horizon < earliest);
    let is_late = entry.horizon.1.is_some_and(|latest| horizon > latest);
    let has_tombstone = entry.rows.iter().any(|row| row.value.is_none());
    let has_reason = entry.marker.is_some() || has_tombstone;
    if is_early || is_late || !has_reason {
        return Err(format!("the horizon of {header:?} is {horizon}, not in {:?}", entry.horizon));
    }
    Ok(())
}

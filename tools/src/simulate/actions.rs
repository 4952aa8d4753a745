//! What is done to a log, and what may come of it. Each action is a task of its own that runs
//! beside others, and may be cut short by a crash at any of its waits.

use std::rc::Rc;

use ringlog_engine::batch::{BatchHeader, CheckedBatch};
use ringlog_engine::epoch::LeaderEpoch;
use ringlog_engine::error::{AppendError, MaintainError, ReadError};
use ringlog_engine::io::Io;
use ringlog_engine::io::sim::SimIo;
use ringlog_engine::log::{FlushPolicy, Log, Reservation, Stamp};
use ringlog_engine::offset::{Offset, Timestamp};
use ringlog_engine::producer::{SequenceCheck, SequenceError};

use super::batches::{self, Sequenced, Style};
use super::compaction;
use super::history::Shape;
use super::machine::{Context, Slot};
use super::model::{Batch, describe, producer_id};
use super::open;
use super::table::Table;

/// What an append task does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Appending {
    pub(crate) batches: u32,
    pub(crate) shape: Shape,
    pub(crate) producer: Option<u32>,
    pub(crate) wait: bool,
}

/// An offset of `start..=end`, `at` parts of 255 along.
pub(crate) fn along(start: Offset, end: Offset, at: u8) -> Offset {
    let span = end.since(start) * u64::from(at) / u64::from(u8::MAX);
    start.plus(u32::try_from(span).unwrap_or(u32::MAX))
}

/// Appends batches one after another.
pub(crate) async fn append(cx: Context, slot: Rc<Slot>, log: Log<SimIo>, what: Appending) {
    for _ in 0..what.batches {
        match append_one(&cx, &slot, &log, what).await {
            Ok(()) => {}
            Err(error) => {
                excuse_append(&cx, &slot, &log, &error);
                return;
            }
        }
    }
}

async fn append_one(
    cx: &Context,
    slot: &Rc<Slot>,
    log: &Log<SimIo>,
    what: Appending,
) -> Result<(), AppendError> {
    let number = cx.number();
    let spread = i64::try_from(number.wrapping_mul(0x9e37_79b9) % 50).unwrap_or(0);
    let time = Timestamp::from_millis(cx.io.now().millis() + spread);
    let sequence = |first| Sequenced { id: 0, epoch: 0, first, last: first };
    let placeholder = what.producer.map(|_| sequence(0));
    let style = Style::of(slot.setup.get().table.as_ref(), what.producer);
    let build = |sequenced| {
        batches::build(number, what.shape, time, sequenced, style).expect("a small batch")
    };
    let sized = build(placeholder);
    let reservation = log.reserve(sized.len()).await?;
    // From here to the append nothing waits, so that nobody comes in between.
    let sequenced = what.producer.map(|p| slot.model.borrow().next_sequence(p, what.shape.records));
    let bytes = match sequenced {
        Some(_) => build(sequenced),
        None => sized,
    };
    let batch = CheckedBatch::check(&bytes).expect("a batch that was just built");
    if sequenced.is_some() {
        match log.check_producer(batch.header(), cx.io.now()) {
            Ok(SequenceCheck::New) => {}
            other if slot.model.borrow().unsure_producers => {
                cx.note(|| format!("{}: {other:?} after damage", slot.dir.display()));
                return Ok(());
            }
            other => cx.fail(slot, format!("the next batch of {sequenced:?} is {other:?}")),
        }
    }
    put(cx, slot, log, reservation, &batch, what.wait).await
}

/// Appends a batch, and waits for its durability or not.
pub(crate) async fn put(
    cx: &Context,
    slot: &Rc<Slot>,
    log: &Log<SimIo>,
    reservation: Reservation<SimIo>,
    batch: &CheckedBatch<'_>,
    waits: bool,
) -> Result<(), AppendError> {
    let is_strict = log.settings().durability == FlushPolicy::EveryBatch;
    let epoch = slot.model.borrow().epoch;
    let stamp = Stamp { leader_epoch: LeaderEpoch::new(epoch), ..Stamp::default() };
    let appended = match log.append(reservation, batch, stamp) {
        Err(AppendError::StaleLeaderEpoch { .. }) if slot.model.borrow().unsure_epochs => {
            return Ok(());
        }
        other => other?,
    };
    let (base, end) = (appended.base_offset.value(), appended.end_offset.value());
    let noted = describe(batch.header()).and_then(|mut described| {
        (described.base, described.end, described.epoch) = (base, end, epoch);
        let mut model = slot.model.borrow_mut();
        model.appended(described)?;
        model.table.as_mut().map_or(Ok(()), |table| table.appended(batch, base, epoch))
    });
    cx.demand(slot, noted);
    let checksum = batch.header().checksum;
    if !waits {
        return Ok(());
    }
    log.durable(appended.end_offset).await?;
    let is_strict = is_strict && log.settings().durability == FlushPolicy::EveryBatch;
    let is_there = {
        let model = slot.model.borrow();
        model.chain.iter().any(|known| known.base == base && known.checksum == checksum)
    };
    if !is_there {
        cx.fail(slot, format!("{base}..{end} was confirmed after it was cut off"));
    }
    slot.model.borrow_mut().confirmed(end, is_strict);
    Ok(())
}

pub(crate) fn excuse_append(cx: &Context, slot: &Slot, log: &Log<SimIo>, error: &AppendError) {
    match error {
        AppendError::DiskFull(_) | AppendError::Refused(_) | AppendError::Failed(_) => {
            cx.excuse(slot, error);
        }
        // The handle is an old one.
        AppendError::Closed if !is_current(slot, log) => {}
        AppendError::Truncated { .. } if slot.model.borrow().was_cut => {}
        other => cx.fail(slot, format!("an append failed: {other}")),
    }
}

pub(crate) fn is_current(slot: &Slot, log: &Log<SimIo>) -> bool {
    !slot.is_opening.get()
        && slot.log.borrow().as_ref().is_some_and(|current| std::ptr::eq(current.dir(), log.dir()))
}

/// Whether nothing has taken batches away since `version`.
pub(crate) fn is_quiet(slot: &Slot, version: Option<u64>) -> bool {
    version.is_some() && slot.model.borrow().quiet_version() == version
}

/// Whether an error of maintenance leaves the log as it was; judges it.
pub(crate) fn excuse_maintenance(
    cx: &Context,
    slot: &Slot,
    log: &Log<SimIo>,
    error: &MaintainError,
) -> bool {
    match error {
        MaintainError::Closed if !is_current(slot, log) => true,
        MaintainError::DiskFull(_) => {
            cx.excuse(slot, error);
            true
        }
        MaintainError::Failed(_) | MaintainError::Io(_) => {
            cx.excuse(slot, error);
            false
        }
        MaintainError::Corrupt { .. } if cx.is_damaged(slot) => false,
        other => {
            cx.fail(slot, format!("maintenance failed: {other}"));
            false
        }
    }
}

/// Sends a batch again that the log holds, and one that does not follow.
pub(crate) fn repeat(cx: &Context, slot: &Slot, log: &Log<SimIo>, producer: u32, back: u32) {
    let model = slot.model.borrow();
    let known = model.remembered(producer_id(producer));
    // Compaction may have taken the earlier ones.
    let back = if model.table.is_some() { 0 } else { back };
    let Some(batch) = known.iter().rev().nth(back as usize % known.len().max(1)) else { return };
    let Some(sequenced) = batch.sequenced else { return };
    if model.unsure_producers || model.quiet_version().is_none() || log.failure().is_some() {
        return;
    }
    let records = u32::try_from(batch.end - batch.base).unwrap_or(1);
    let header = |sequenced| {
        let shape = Shape { records, bytes: 1 };
        let built =
            batches::build(0, shape, Timestamp::from_millis(1), Some(sequenced), Style::PLAIN);
        BatchHeader::read(&built.expect("a small batch")).expect("a whole batch")
    };
    let again = log.check_producer(&header(sequenced), cx.io.now());
    let is_right = matches!(again, Ok(SequenceCheck::Duplicate { base_offset, last_offset, .. })
        if base_offset.value() == batch.base && last_offset.value() == batch.end - 1);
    if !is_right {
        cx.fail(slot, format!("{batch:?}, sent again, is {again:?}"));
    }
    let ahead = Sequenced { first: sequenced.first + 1_000, ..sequenced };
    let ahead = log.check_producer(&header(ahead), cx.io.now());
    if !matches!(ahead, Err(SequenceError::OutOfOrder { .. })) {
        cx.fail(slot, format!("a batch a thousand records ahead of {sequenced:?} is {ahead:?}"));
    }
}

/// Reads once.
pub(crate) async fn read(
    cx: Context,
    slot: Rc<Slot>,
    log: Log<SimIo>,
    (at, bytes, at_least_one): (u8, u32, bool),
) {
    let offsets = log.offsets();
    let (start, end) = (offsets.start, offsets.durable);
    let from = along(start, end, at);
    let version = slot.model.borrow().quiet_version();
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    // At times as much as there will be by then.
    let visible = if at & 1 == 0 { end } else { Offset::new(i64::MAX).unwrap_or(end) };
    let result = log.read(from, visible, bytes, at_least_one).await;
    let is_stale = !is_quiet(&slot, version) || !is_current(&slot, &log);
    match result {
        Ok(slices) => {
            let served = slot.model.borrow().served(&slices, from.value(), cx.io.now());
            let batches = match served {
                Ok(batches) => batches,
                // The folder may hold another log by now, and the model with it.
                Err(_) if !is_current(&slot, &log) => return,
                Err(what) => return cx.fail(&slot, what),
            };
            let reached = batches.last().map_or(from.value(), |last| last.end);
            let bound = visible.min(log.offsets().durable).value();
            if is_stale {
                return;
            }
            if reached > bound {
                cx.fail(&slot, format!("a read from {from} gave {reached} of {bound}"));
            }
            if batches.is_empty() && at_least_one && from < end {
                cx.fail(&slot, format!("a read from {from} of {start}..{end} gave nothing"));
            }
            if slices.len() > bytes && !(at_least_one && batches.len() == 1) {
                cx.fail(&slot, format!("{} bytes were read, not {bytes}", slices.len()));
            }
        }
        Err(ReadError::Io(error)) => {
            if !is_stale {
                cx.excuse(&slot, &error);
            }
        }
        Err(error @ ReadError::Corrupt { .. }) => {
            if !cx.is_damaged(&slot) && !is_stale {
                cx.fail(&slot, format!("damage that nobody did: {error}"));
            }
        }
        Err(error) => {
            if !is_stale {
                cx.fail(&slot, format!("a read from {from} of {start}..{end}: {error}"));
            }
        }
    }
}

/// Reads everything and compares.
pub(crate) async fn read_all(cx: Context, slot: Rc<Slot>, log: Log<SimIo>) {
    let offsets = log.offsets();
    if slot.setup.get().table.is_some() {
        let at = cx.number().to_le_bytes()[0];
        let from = along(offsets.start, offsets.durable, at.wrapping_mul(89));
        return compaction::examine(&cx, &slot, &log, from, false).await;
    }
    let version = slot.model.borrow().quiet_version();
    let mut from = offsets.start;
    let mut batches = Vec::new();
    while from < offsets.durable {
        let Ok(slices) = log.read(from, offsets.durable, 50_000, true).await else { return };
        if !is_quiet(&slot, version) || !is_current(&slot, &log) {
            return;
        }
        let served = slot.model.borrow().served(&slices, from.value(), cx.io.now());
        match served {
            Ok(more) if more.is_empty() => break,
            Ok(more) => batches.extend(more),
            Err(what) => return cx.fail(&slot, what),
        }
        let end = batches.last().map_or(0, |last| last.end);
        from = Offset::new(end).unwrap_or(offsets.durable);
    }
    let model = slot.model.borrow();
    let (start, end) = (offsets.start.value(), offsets.durable.value());
    let expected: Vec<_> =
        model.chain.iter().filter(|batch| batch.end > start && batch.end <= end).collect();
    if batches.iter().collect::<Vec<_>>() != expected && !cx.is_damaged(&slot) {
        let (read, wanted) = (batches.len(), expected.len());
        cx.fail(&slot, format!("{read} batches were read of {start}..{end}, not {wanted}"));
    }
}

/// Finds a batch by time, and the latest.
pub(crate) async fn search(cx: Context, slot: Rc<Slot>, log: Log<SimIo>, at: u8) {
    let offsets = log.offsets();
    let (start, end) = (offsets.start.value(), offsets.durable.value());
    let version = slot.model.borrow().quiet_version();
    let (visible, cleanings): (Vec<Batch>, _) = if slot.setup.get().table.is_some() {
        let range = (offsets.start, offsets.durable);
        let Some((dated, version)) = compaction::dated(&cx, &slot, &log, range).await else {
            return;
        };
        (dated, Some(version))
    } else {
        let model = slot.model.borrow();
        let is_visible = |batch: &&Batch| batch.end > start && batch.end <= end;
        (model.chain.iter().filter(is_visible).copied().collect(), None)
    };
    let index = visible.len().saturating_sub(1) * usize::from(at) / usize::from(u8::MAX);
    let Some(time) = visible.get(index).map(|batch| batch.max_timestamp) else { return };
    let found = log.find_timestamp(Timestamp::from_millis(time), offsets.durable).await;
    let latest = log.max_timestamp(offsets.durable).await;
    let is_quiet = is_quiet(&slot, version) && is_current(&slot, &log);
    let cleaned = slot.model.borrow().table.as_ref().and_then(Table::quiet_version);
    if !is_quiet || cleaned != cleanings {
        return;
    }
    let base = |bytes: &[u8]| BatchHeader::read(bytes).map(|header| header.base_offset);
    let first = visible.iter().find(|batch| batch.max_timestamp >= time);
    match found {
        Ok(found) => {
            let found = found.and_then(|bytes| base(&bytes));
            if found != first.map(|batch| batch.base) {
                cx.fail(&slot, format!("time {time} is in {first:?}, not at {found:?}"));
            }
        }
        Err(ReadError::Io(error)) => cx.excuse(&slot, &error),
        Err(_) if cx.is_damaged(&slot) => {}
        Err(error) => cx.fail(&slot, format!("a search failed: {error}")),
    }
    let most = visible.iter().map(|batch| batch.max_timestamp).max();
    let expected = visible.iter().find(|batch| Some(batch.max_timestamp) == most);
    match latest {
        Ok(latest) => {
            let latest = latest.and_then(|(time, bytes)| Some((time.millis(), base(&bytes)?)));
            if latest != expected.map(|batch| (batch.max_timestamp, batch.base)) {
                cx.fail(&slot, format!("the latest is {expected:?}, not {latest:?}"));
            }
        }
        Err(ReadError::Io(error)) => cx.excuse(&slot, &error),
        Err(_) if cx.is_damaged(&slot) => {}
        Err(error) => cx.fail(&slot, format!("a search failed: {error}")),
    }
}

/// Waits until everything is durable.
pub(crate) async fn flush(cx: Context, slot: Rc<Slot>, log: Log<SimIo>) {
    let end = log.offsets().end;
    match log.durable(end).await {
        Ok(()) => {
            let durable = log.offsets().durable;
            if durable < end && !slot.model.borrow().was_cut {
                cx.fail(&slot, format!("{end} was confirmed, but {durable} is durable"));
            }
        }
        Err(error) => excuse_append(&cx, &slot, &log, &error),
    }
}

pub(crate) async fn roll(cx: Context, slot: Rc<Slot>, log: Log<SimIo>) {
    let end = log.offsets().end.value();
    let version = slot.model.borrow().quiet_version();
    match log.roll().await {
        // Everything appended so far is on stable storage.
        Ok(()) if is_quiet(&slot, version) => {
            slot.model.borrow_mut().confirmed(end, true);
        }
        Ok(()) => {}
        Err(error) => drop(excuse_maintenance(&cx, &slot, &log, &error)),
    }
}

fn end_move(slot: &Slot) {
    let mut model = slot.model.borrow_mut();
    model.moves = model.moves.saturating_sub(1);
    model.version += 1;
}

pub(crate) async fn retain(cx: Context, slot: Rc<Slot>, log: Log<SimIo>) {
    let (offsets, now) = (log.offsets(), cx.io.now());
    let is_alone = slot.model.borrow().quiet_version().is_some();
    slot.model.borrow_mut().moving_start(offsets.durable.value());
    let moves = slot.model.borrow().moves_begun;
    let result = log.apply_retention(now, offsets.durable).await;
    end_move(&slot);
    match result {
        Ok(report) => {
            let settings = log.settings();
            let age =
                settings.retention_age_max.and_then(|age| i64::try_from(age.as_millis()).ok());
            let expiry = age.map(|age| now.millis() - age);
            let bytes = settings.retention_bytes;
            let judged = slot.model.borrow().retained(offsets.start, report.start, expiry, bytes);
            let is_alone = is_alone && slot.model.borrow().moves_begun == moves;
            if is_alone && is_current(&slot, &log) {
                cx.demand(&slot, judged);
            }
            slot.model.borrow_mut().start_moved(report.start.value());
        }
        Err(error) => drop(excuse_maintenance(&cx, &slot, &log, &error)),
    }
}

pub(crate) async fn delete_before(cx: Context, slot: Rc<Slot>, log: Log<SimIo>, at: u8) {
    let offsets = log.offsets();
    let start = along(offsets.start, offsets.durable, at);
    slot.model.borrow_mut().moving_start(start.value());
    let result = log.delete_before(start).await;
    end_move(&slot);
    match result {
        Ok(report) => {
            if report.start < start {
                cx.fail(&slot, format!("deleted before {start}, but {report:?}"));
            }
            slot.model.borrow_mut().start_moved(report.start.value());
        }
        Err(MaintainError::OutOfRange { .. }) if slot.model.borrow().was_cut => {}
        Err(error) => drop(excuse_maintenance(&cx, &slot, &log, &error)),
    }
}

pub(crate) async fn truncate(cx: Context, slot: Rc<Slot>, log: Log<SimIo>, at: u8) {
    let offsets = log.offsets();
    let mut to = along(offsets.start, offsets.end, at);
    if let Some(table) = slot.model.borrow().table.as_ref().filter(|_| !at.is_multiple_of(4)) {
        // Mostly, nothing is cut that was replicated: that is what compaction relies on.
        let replicated = Offset::new(table.replicated()).unwrap_or(to);
        to = to.max(replicated).min(offsets.end);
    }
    let number = cx.number();
    slot.model.borrow_mut().truncating(number, to.value());
    let result = log.truncate(to).await;
    let mut model = slot.model.borrow_mut();
    match result {
        Ok(end) => {
            let judged = model.truncated(number, to.value(), end.value());
            drop(model);
            cx.demand(&slot, judged);
        }
        // The start has passed it meanwhile.
        Err(MaintainError::OutOfRange { .. }) => model.not_truncated(number),
        Err(error) => {
            drop(model);
            if excuse_maintenance(&cx, &slot, &log, &error) {
                slot.model.borrow_mut().not_truncated(number);
            }
        }
    }
}

/// Closes the log and opens it again: what was closed without an error is all there.
pub(crate) async fn reopen(cx: Context, slot: Rc<Slot>, log: Log<SimIo>) {
    slot.is_opening.set(true);
    let closed = log.close().await;
    match &closed {
        Ok(()) => {
            let end = log.offsets().end.value();
            slot.model.borrow_mut().confirmed(end, true);
        }
        Err(error) => cx.excuse(&slot, error),
    }
    drop(log);
    slot.give_up();
    open::open(cx, slot).await;
}

/// Removes the log and makes a new one.
pub(crate) async fn recreate(cx: Context, slot: Rc<Slot>, log: Log<SimIo>) {
    slot.is_opening.set(true);
    slot.is_doomed.set(true);
    slot.give_up();
    match log.delete().await {
        Ok(()) => open::start_over(&cx, &slot),
        Err(error) => cx.excuse(&slot, &error),
    }
    open::open(cx, slot).await;
}

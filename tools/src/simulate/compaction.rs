//! What is done to logs that are compacted, beside what is done to all: see [`super::table`].

use std::rc::Rc;

use ringlog_engine::batch::CheckedBatch;
use ringlog_engine::compaction::{CompactionReport, Uncompressed};
use ringlog_engine::error::{AppendError, CompactError, ReadError};
use ringlog_engine::io::Io;
use ringlog_engine::io::sim::SimIo;
use ringlog_engine::log::Log;
use ringlog_engine::offset::{Offset, Timestamp};
use ringlog_engine::producer::Marker;

use super::actions;
use super::batches;
use super::history::Cleaning;
use super::machine::{Context, Slot};
use super::model::{Batch, producer_id};
use super::table::{self, Begun, Content, Ended, Held};

/// How a transaction is ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending {
    pub(crate) producer: u32,
    pub(crate) commits: bool,
    /// The marker has an epoch of its own, which fences the producer's earlier one.
    pub(crate) fences: bool,
}

/// Ends a producer's transaction, if it has one.
pub(crate) async fn end_transaction(cx: Context, slot: Rc<Slot>, log: Log<SimIo>, how: Ending) {
    let is_open = || {
        let model = slot.model.borrow();
        let id = producer_id(how.producer);
        let is_open = model.table.as_ref().is_some_and(|table| table.is_open(id));
        (is_open && !model.unsure_producers).then(|| model.producer_epoch(id)).flatten()
    };
    let Some(epoch) = is_open() else { return };
    let marker = if how.commits { Marker::Commit } else { Marker::Abort };
    let build = |epoch| {
        let time = Timestamp::from_millis(cx.io.now().millis());
        batches::build_marker(producer_id(how.producer), epoch, marker, time)
    };
    let result = async {
        let reservation = log.reserve(build(epoch).expect("a small batch").len()).await?;
        // Somebody else may have ended it meanwhile.
        let Some(known) = is_open() else { return Ok::<(), AppendError>(()) };
        let epoch = if how.fences {
            let mut model = slot.model.borrow_mut();
            let epochs = &mut model.producer_epochs;
            let place = how.producer as usize % epochs.len();
            epochs[place] += 1;
            epochs[place]
        } else {
            known
        };
        let bytes = build(epoch).expect("a small batch");
        let batch = CheckedBatch::check(&bytes).expect("a batch that was just built");
        actions::put(&cx, &slot, &log, reservation, &batch, true).await
    };
    if let Err(error) = result.await {
        actions::excuse_append(&cx, &slot, &log, &error);
    }
}

/// Compacts the log, and looks whether it did what it says.
pub(crate) async fn compact(cx: Context, slot: Rc<Slot>, log: Log<SimIo>, cleaning: Cleaning) {
    let Some(setup) = slot.setup.get().table else { return };
    let generation = slot.generation.get();
    let offsets = log.offsets();
    let retention = i64::try_from(setup.delete_retention_ms).unwrap_or(i64::MAX);
    let up_to = actions::along(offsets.start, offsets.durable, cleaning.up_to);
    let now = cx.io.now().millis();
    let range = (offsets.start.value(), up_to.value());
    let begun = slot.model.borrow_mut().cleaning_begins(&cleaning, range, (now, retention));
    let Some((begun, up_to)) = begun else { return };
    let up_to = Offset::new(up_to).unwrap_or(offsets.start);
    let result = log.compact(&cleaning.settings(&setup), up_to, &Uncompressed).await;
    if slot.generation.get() != generation {
        // The log was opened anew, and its model goes on from there.
        return;
    }
    cx.note(|| format!("{}: below {up_to}: {result:?}", slot.dir.display()));
    let is_well = judge(&cx, &slot, &log, begun, &result, retention);
    if let Some(table) = &mut slot.model.borrow_mut().table {
        table.cleaning_ended();
    }
    if is_well {
        examine(&cx, &slot, &log, log.offsets().start, false).await;
    }
}

/// Whether a compaction ended well, and as it says.
fn judge(
    cx: &Context,
    slot: &Slot,
    log: &Log<SimIo>,
    begun: Begun,
    result: &Result<CompactionReport, CompactError>,
    retention: i64,
) -> bool {
    match result {
        Ok(report) => {
            let ended = Ended {
                dirty_from: report.dirty_from.value(),
                clean_to: report.clean_to.value(),
                now: cx.io.now().millis(),
                overtaken: report.overtaken,
            };
            if cx.is_damaged(slot) {
                return false;
            }
            let judged = slot.model.borrow_mut().cleaned(begun, ended, retention);
            cx.demand(slot, judged);
            if report.unreadable_batches > 0 {
                cx.fail(
                    slot,
                    format!("batches that are not compressed are unreadable: {report:?}"),
                );
            }
            true
        }
        Err(CompactError::Running) => {
            let model = slot.model.borrow();
            if model.table.as_ref().is_none_or(|table| table.running < 2) {
                cx.fail(slot, "no other compaction is under way, but one is refused");
            }
            false
        }
        Err(CompactError::Log(error)) => {
            actions::excuse_maintenance(cx, slot, log, error);
            false
        }
    }
}

/// Reads all from `from` on, as a reader of committed records does, and judges it. `is_new` says
/// that the log is just being opened.
pub(crate) async fn examine(
    cx: &Context,
    slot: &Rc<Slot>,
    log: &Log<SimIo>,
    from: Offset,
    is_new: bool,
) {
    let to = log.offsets().durable;
    let (version, cleanings, stable) = {
        let model = slot.model.borrow();
        let Some(table) = &model.table else { return };
        (model.quiet_version(), table.quiet_version(), table.first_open())
    };
    let is_stale = || {
        let is_current = is_new || actions::is_current(slot, log);
        !is_current || !actions::is_quiet(slot, version) || cx.is_damaged(slot)
    };
    // A reader may ask what was aborted before it reads, or after.
    let asks_first = cx.number() & 1 == 0;
    let mut aborted = Vec::new();
    let mut held: Vec<Held> = Vec::new();
    for reads in [!asks_first, asks_first] {
        let result = if reads {
            read(cx, slot, log, from, to).await.map(|read| held = read)
        } else {
            log.aborted_transactions(from, to).await.map(|found| aborted = found)
        };
        if is_stale() {
            return;
        }
        match result {
            Ok(()) => {}
            Err(ReadError::Io(error)) => return cx.excuse(slot, &error),
            Err(error) => {
                if !cx.is_damaged(slot) {
                    cx.fail(slot, format!("a read of all from {from} on failed: {error}"));
                }
                return;
            }
        }
    }
    let mut model = slot.model.borrow_mut();
    if model.damaged_from.is_some() {
        return;
    }
    let Some(table) = &mut model.table else { return };
    let judged = table.check_content(Content {
        held: &held,
        aborted,
        from: from.value(),
        to: to.value(),
        stable: stable.unwrap_or(i64::MAX).min(to.value()),
        now: cx.io.now().millis(),
        is_quiet: cleanings.is_some() && cleanings == table.quiet_version(),
    });
    drop(model);
    cx.demand(slot, judged);
}

/// Reads whole batches from `from` to `to`.
async fn read(
    cx: &Context,
    slot: &Rc<Slot>,
    log: &Log<SimIo>,
    mut from: Offset,
    to: Offset,
) -> Result<Vec<Held>, ReadError> {
    let mut held: Vec<Held> = Vec::new();
    while from < to {
        let slices = log.read(from, to, 20_000, true).await?;
        let served = slot.model.borrow().served(&slices, from.value(), cx.io.now());
        match served {
            Ok(batches) => {
                let Some(last) = batches.last() else { break };
                from = Offset::new(last.end).unwrap_or(to);
            }
            Err(what) if actions::is_current(slot, log) => {
                cx.fail(slot, what);
                break;
            }
            Err(_) => break,
        }
        held.extend(table::held(&slices));
    }
    Ok(held)
}

/// The batches with records that time may find in `from..to`, and the version of what was
/// compacted by then; `None` if that changes.
pub(crate) async fn dated(
    cx: &Context,
    slot: &Rc<Slot>,
    log: &Log<SimIo>,
    (from, to): (Offset, Offset),
) -> Option<(Vec<Batch>, u64)> {
    let version = || slot.model.borrow().table.as_ref().and_then(table::Table::quiet_version);
    let before = version()?;
    let held = read(cx, slot, log, from, to).await.ok()?;
    let dated = held.iter().filter(|held| held.header.max_timestamp.millis() >= 0);
    let batches = dated.filter_map(|held| super::model::describe(&held.header).ok()).collect();
    (version() == Some(before)).then_some((batches, before))
}

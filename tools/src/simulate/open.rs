//! Opening a log, and judging what it holds then.

use std::path::Path;
use std::rc::Rc;

use ringlog_engine::batch::BatchHeader;
use ringlog_engine::error::{OpenError, ReadError};
use ringlog_engine::io::Io;
use ringlog_engine::io::sim::SimIo;
use ringlog_engine::limits::SECTOR_BYTES;
use ringlog_engine::log::Log;
use ringlog_engine::offset::Offset;
use ringlog_engine::shard::Shard;

use super::compaction;
use super::history::Flip;
use super::machine::{Context, Flipped, JOURNAL, Machine, Slot};
use super::model::{Batch, Model, Opened};

/// How often an opener tries again after an injected error.
const TRIES: usize = 12;

/// Opens the shard, then its logs beside one another.
pub(crate) async fn open_all(cx: Context, slots: Vec<Rc<Slot>>) {
    open_shard(&cx, &slots).await;
    for slot in slots {
        cx.spawn(open(cx.clone(), slot));
    }
}

/// Opens the shard, as often as injected errors want it. A journal that is refused for damage is
/// put right, or, if a misdirected transfer hit it, given up with all logs.
async fn open_shard(cx: &Context, slots: &[Rc<Slot>]) {
    for _ in 0..TRIES {
        let before = cx.misdirected_count();
        let opened = match cx.shard_settings() {
            (settings, None) => Ok(Shard::new(cx.io.clone(), settings)),
            (settings, Some(journal)) => {
                let opened = Shard::open(cx.io.clone(), settings, journal).await;
                opened.map(|(shard, report)| {
                    cx.note(|| format!("{report:?}"));
                    shard
                })
            }
        };
        match opened {
            Ok(shard) => {
                // All that the journal held before is void.
                cx.common.misdirected_before.set(before);
                *cx.common.shard.borrow_mut() = Some(shard);
                if let Some(flipped) = cx.common.flipped.borrow_mut().take() {
                    flipped.restore(&cx.io);
                }
                for slot in slots {
                    // The journal has put into the segments what they lacked.
                    Flipped::look_again(&slot.flipped, &cx.io);
                }
                return;
            }
            Err(error @ OpenError::Io(_)) => {
                cx.note(|| error.to_string());
                if !cx.had_errors() && !cx.is_journal_damaged() {
                    cx.fail_all(format!("the shard: an error that nobody injected: {error}"));
                }
            }
            Err(error) => {
                cx.note(|| error.to_string());
                for slot in slots {
                    cx.is_damaged(slot);
                }
                let flipped = cx.common.flipped.borrow_mut().take();
                match flipped {
                    Some(flipped) => {
                        if !flipped.is_unchanged(&cx.io) {
                            cx.fail_all(format!("a file was changed, but then: {error}"));
                        }
                        flipped.restore(&cx.io);
                    }
                    None if names_journal(&error) && cx.is_journal_damaged() => {
                        give_up_journal(cx, slots).await;
                    }
                    None => cx.fail_all(format!("the shard is refused without damage: {error}")),
                }
            }
        }
    }
}

/// Whether a journal is refused for damage in itself.
fn names_journal(error: &OpenError) -> bool {
    matches!(error, OpenError::Corrupt { path, .. } if path.starts_with(JOURNAL))
}

/// What an operator would do whose journal is beyond repair: begin anew.
async fn give_up_journal(cx: &Context, slots: &[Rc<Slot>]) {
    for slot in slots {
        slot.is_doomed.set(true);
    }
    for entry in cx.io.list_dir(Path::new(JOURNAL)).await.unwrap_or_default() {
        // What cannot be removed now is found again by the next try.
        let _ = cx.io.remove_file(&Path::new(JOURNAL).join(entry.name)).await;
    }
}

/// Opens a log, as often as injected errors want it, and judges what it holds. A log that stays
/// refused for lack of space stays closed.
pub(crate) async fn open(cx: Context, slot: Rc<Slot>) {
    slot.is_opening.set(true);
    for _ in 0..TRIES {
        // Without one there is no log: an injected error was in the way every time.
        let Some(shard) = cx.shard() else { break };
        if slot.is_doomed.get() {
            match Log::remove(&shard, &slot.dir).await {
                Ok(()) => start_over(&cx, &slot),
                Err(error) => {
                    cx.excuse(&slot, &error);
                    continue;
                }
            }
        }
        let settings = slot.setup.get().settings();
        match Log::open(&shard, &slot.dir, settings).await {
            Ok((log, report)) => {
                cx.note(|| {
                    format!("{}: opened, {:?}, {report:?}", slot.dir.display(), log.offsets())
                });
                judge(&cx, &slot, &log).await;
                *slot.log.borrow_mut() = Some(log);
                slot.generation.set(slot.generation.get() + 1);
                break;
            }
            Err(OpenError::Io(failure)) => cx.excuse(&slot, &failure),
            Err(error) => {
                cx.note(|| format!("{}: {error}", slot.dir.display()));
                refused(&cx, &slot, &error);
            }
        }
    }
    slot.is_opening.set(false);
}

/// A new log in the old one's place.
pub(crate) fn start_over(cx: &Context, slot: &Slot) {
    // What hit the old one is of no concern for the new one.
    cx.is_damaged(slot);
    slot.is_doomed.set(false);
    slot.is_damaged.set(false);
    *slot.flipped.borrow_mut() = None;
    *slot.model.borrow_mut() = Model::of(&slot.setup.get());
}

/// The log found damage. That is right if there is some, and then nothing may have changed; once
/// the flipped bit is put right, everything must be there again.
fn refused(cx: &Context, slot: &Slot, error: &OpenError) {
    let flipped = slot.flipped.borrow_mut().take();
    match flipped {
        Some(flipped) => {
            if !flipped.is_unchanged(&cx.io) {
                cx.fail(slot, format!("a file was changed although the log is refused: {error}"));
            }
            restore(cx, slot, &flipped, true);
        }
        None if cx.is_damaged(slot) => slot.is_doomed.set(true),
        None => {
            if let OpenError::Corrupt { path, position, .. } = error {
                cx.note(|| what_stands_at(cx, path, *position));
            }
            cx.fail(slot, format!("refused without damage: {error}"));
        }
    }
}

/// The bytes of a file from a position to the end of its sector, for a trace.
fn what_stands_at(cx: &Context, path: &Path, position: u64) -> String {
    let bytes = cx.io.read_file(path).unwrap_or_default();
    let from = usize::try_from(position).unwrap_or(usize::MAX).min(bytes.len());
    let to = (from + 1).next_multiple_of(SECTOR_BYTES).min(bytes.len());
    format!("{} bytes, there {:02x?}", bytes.len(), &bytes[from..to])
}

/// Puts a flipped bit right, if the file is as it was then.
fn restore(cx: &Context, slot: &Slot, flipped: &Flipped, is_refused: bool) {
    flipped.restore(&cx.io);
    if cx.is_damaged(slot) {
        return;
    }
    let mut model = slot.model.borrow_mut();
    model.damaged_from = None;
    if is_refused {
        (model.unsure_producers, model.unsure_epochs) = flipped.sure;
    }
}

async fn judge(cx: &Context, slot: &Rc<Slot>, log: &Log<SimIo>) {
    let (held, is_unreadable) = contents(cx, slot, log).await;
    cx.is_damaged(slot);
    let producer = |id| log.producer(id);
    let opened = Opened {
        offsets: log.offsets(),
        held,
        is_unreadable,
        epochs: log.epochs(),
        producer: &producer,
        first_open: log.first_unstable_offset(Offset::new(i64::MAX).unwrap_or_default()),
        power: slot.lost_power.get(),
        is_strict: slot.setup.get().is_strict(),
    };
    let judged = slot.model.borrow_mut().reopened(&opened);
    cx.demand(slot, judged);
    slot.lost_power.set(false);
    let flipped = slot.flipped.borrow_mut().take();
    if let Some(flipped) = flipped {
        restore(cx, slot, &flipped, false);
    }
    compaction::examine(cx, slot, log, log.offsets().start, true).await;
}

/// All batches of a log, checked; and whether damage that was injected ended the reading.
pub(crate) async fn contents(
    cx: &Context,
    slot: &Rc<Slot>,
    log: &Log<SimIo>,
) -> (Vec<Batch>, bool) {
    let offsets = log.offsets();
    let mut held: Vec<Batch> = Vec::new();
    let mut from = offsets.start;
    let mut tries = 0;
    while from < offsets.durable {
        match log.read(from, offsets.durable, 64 * 1024, true).await {
            Ok(slices) if slices.is_empty() => {
                if !cx.is_damaged(slot) {
                    cx.fail(slot, format!("nothing to read at {from} of {offsets:?}"));
                }
                return (held, true);
            }
            Ok(slices) => {
                let served = slot.model.borrow().served(&slices, from.value(), cx.io.now());
                match served {
                    Ok(batches) => {
                        held.extend(batches);
                        let end = held.last().map_or(0, |last| last.end);
                        from = Offset::new(end).unwrap_or(offsets.end);
                    }
                    Err(what) => {
                        cx.fail(slot, what);
                        return (held, true);
                    }
                }
            }
            Err(error @ ReadError::Corrupt { .. }) => {
                cx.note(|| format!("{}: {error}", slot.dir.display()));
                let flipped = slot.flipped.borrow_mut().take();
                match flipped {
                    Some(flipped) => restore(cx, slot, &flipped, false),
                    None if cx.is_damaged(slot) => {
                        return (held, true);
                    }
                    None => {
                        cx.fail(slot, format!("damage that nobody did: {error}"));
                        return (held, true);
                    }
                }
            }
            Err(error) => {
                cx.excuse(slot, &error);
                tries += 1;
                if tries > TRIES {
                    return (held, true);
                }
            }
        }
    }
    (held, false)
}

/// Flips a bit of a file at rest while nothing runs, and notes what it may cost.
pub(crate) fn flip(machine: &Machine, slot: &Rc<Slot>, flip: Flip) {
    let cx = &machine.cx;
    if cx.is_damaged(slot)
        || cx.common.flipped.borrow().is_some()
        || slot.flipped.borrow().is_some()
    {
        return;
    }
    let model = slot.model.borrow();
    let sure = (model.unsure_producers, model.unsure_epochs);
    drop(model);
    let dir = if flip.in_journal { Path::new(JOURNAL) } else { &slot.dir };
    let Some((flipped, before)) = flip_in(cx, dir, flip, sure) else { return };
    cx.note(|| format!("flipped a bit of byte {} of {}", flipped.position, flipped.path.display()));
    if flip.in_journal {
        *cx.common.flipped.borrow_mut() = Some(flipped);
        return;
    }
    let mut model = slot.model.borrow_mut();
    match flipped.path.extension().and_then(|extension| extension.to_str()) {
        Some("log") => {
            if let Some((base, at)) = batch_at(&before, flipped.position) {
                model.damaged_from = Some(model.damaged_from.map_or(base, |known| known.min(base)));
                model.unsure_epochs |= (12..16).contains(&(flipped.position - at));
            }
        }
        Some("snapshot") => model.unsure_producers = true,
        None => model.unsure_epochs = true,
        // It has no checksum either.
        Some("txnindex") => {
            if let Some(table) = &mut model.table {
                table.doubt();
            }
        }
        Some(_) => {}
    }
    drop(model);
    *slot.flipped.borrow_mut() = Some(flipped);
}

/// Flips a bit of one of a folder's files. Gives the file as it was, too.
fn flip_in(cx: &Context, dir: &Path, flip: Flip, sure: (bool, bool)) -> Option<(Flipped, Vec<u8>)> {
    let entries = cx.io.run(cx.io.list_dir(dir)).ok()?;
    // What a compaction was about to put in place is renamed, or goes, before it can be put right.
    let is_passing = |name: &str| name.ends_with(".swap") || name.ends_with(".cleaned");
    let files: Vec<_> = entries
        .into_iter()
        .filter(|entry| !entry.is_dir && entry.length > 0 && !is_passing(&entry.name))
        .collect();
    let entry = files.get(flip.file as usize % files.len().max(1))?;
    let path = dir.join(&entry.name);
    let before = cx.io.read_file(&path).ok()?;
    let used = before.iter().rposition(|&byte| byte != 0).map_or(1, |last| last + 1);
    let position = used * usize::from(flip.at) / (usize::from(u16::MAX) + 1);
    cx.io.flip_bit(&path, position as u64).ok()?;
    let content = cx.io.read_file(&path).ok()?;
    let (good, bad) = (before[position], content[position]);
    Some((Flipped { path, position, good, bad, content, sure }, before))
}

/// The base offset of the batch that holds byte `position` of a segment, and where it begins.
fn batch_at(segment: &[u8], position: usize) -> Option<(i64, usize)> {
    let mut at = 0;
    loop {
        let header = BatchHeader::read(segment.get(at..)?)?;
        let end = at + header.total_bytes().filter(|_| header.magic == 2)?;
        if position < end {
            return Some((header.base_offset, at));
        }
        at = end;
    }
}

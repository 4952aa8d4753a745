//! Runs a history from its first step to its last, and then lets the faults end and demands that
//! everything heals.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use ringlog_engine::io::Io;
use ringlog_engine::io::sim::{FaultCounts, ReachedCounts};
use ringlog_engine::log::FlushPolicy;

use super::actions::{self, Appending};
use super::compaction::{self, Ending};
use super::history::{Action, Cleaning, History, LogSetup, Patience, Shape, Step};
use super::machine::{Machine, Slot};
use super::open;
use super::panics;
use super::table::Table;

/// What came of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// What the engine did that it must not.
    pub(crate) failure: Option<String>,
    pub(crate) faults: FaultCounts,
    /// The rare branches that the engine took.
    pub(crate) reached: ReachedCounts,
    pub(crate) operations: u64,
    /// A checksum of all that the disk held at the end, and of the time that had passed.
    pub(crate) fingerprint: u64,
}

/// Runs a history. The same one gives the same outcome, always.
pub(crate) fn run(history: &History, is_traced: bool) -> Outcome {
    let mut machine = Machine::new(history.seed, &history.setup, is_traced);
    let finished = catch_unwind(AssertUnwindSafe(|| play(&mut machine, history)));
    let failure = match finished {
        Ok(()) => machine.failure(),
        Err(_) => Some(format!("a panic: {}", panics::last())),
    };
    let io = &machine.cx.io;
    let elapsed = u64::try_from(io.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let outcome = Outcome {
        failure,
        faults: io.faults(),
        reached: io.reached_counts(),
        operations: io.operations(),
        fingerprint: elapsed.rotate_left(32) ^ u64::from(io.fingerprint()),
    };
    machine.end();
    outcome
}

fn play(machine: &mut Machine, history: &History) {
    open_all(machine, Patience::Done);
    for (number, step) in history.steps.iter().enumerate() {
        if machine.failure().is_some() {
            return;
        }
        machine.cx.note(|| format!("--- step {number}: {step:?}"));
        perform(machine, step);
        observe(machine);
    }
    if machine.failure().is_none() {
        machine.cx.note(|| "--- the faults end".to_owned());
        heal(machine);
    }
}

/// Plays a history until the disk has done `operations`. `false` if it ended before.
pub(crate) fn play_until(machine: &mut Machine, history: &History, operations: u64) -> bool {
    machine.stop_after(operations);
    open_all(machine, Patience::Done);
    for step in &history.steps {
        if machine.is_stopped() || machine.failure().is_some() {
            break;
        }
        perform(machine, step);
        observe(machine);
    }
    machine.is_stopped()
}

/// Opens what a crash has left, judges it, and demands that it goes on.
pub(crate) fn judge_image(machine: &mut Machine) {
    open_all(machine, Patience::Done);
    observe(machine);
    for slot in &machine.slots.clone() {
        if machine.failure().is_none() {
            append_again(machine, slot);
        }
    }
}

/// Looks at what every open log says of itself.
fn observe(machine: &Machine) {
    for slot in &machine.slots {
        machine.cx.is_damaged(slot);
        if let Some(log) = slot.log().filter(|_| !slot.is_opening.get()) {
            let observed = slot.model.borrow_mut().observe(log.offsets());
            machine.cx.demand(slot, observed);
        }
    }
}

fn open_all(machine: &Machine, patience: Patience) {
    for slot in &machine.slots {
        slot.is_opening.set(true);
    }
    machine.spawn(open::open_all(machine.cx.clone(), machine.slots.clone()));
    let opened = |machine: &Machine| machine.slots.iter().all(|slot| !slot.is_opening.get());
    match patience {
        Patience::Done => machine.finish("opening the logs", opened),
        Patience::Operations(count) => drop(machine.run(u64::from(count), opened)),
        Patience::Names(count) => drop(machine.run_names(u64::from(count), opened)),
    }
}

/// Waits until a log is open, opening it if need be. `false` if it cannot be.
fn opened(machine: &Machine, slot: &Rc<Slot>) -> bool {
    if slot.is_opening.get() {
        machine.finish("opening a log", |_| !slot.is_opening.get());
    }
    if slot.log.borrow().is_none() && machine.cx.shard().is_none() {
        open_all(machine, Patience::Done);
    }
    if slot.log.borrow().is_none() {
        slot.is_opening.set(true);
        machine.spawn(open::open(machine.cx.clone(), Rc::clone(slot)));
        machine.finish("opening a log", |_| !slot.is_opening.get());
    }
    slot.log.borrow().is_some() && machine.failure().is_none()
}

fn perform(machine: &mut Machine, step: &Step) {
    let io = &machine.cx.io;
    match step.action {
        Action::Crash { power, flip } => {
            machine.restart(power);
            let slot = Rc::clone(&machine.slots[step.log % machine.slots.len()]);
            if let Some(flip) = flip {
                open::flip(machine, &slot, flip);
            }
            return open_all(machine, step.patience);
        }
        Action::Fail { operation, skip, kind } => {
            return io.fail_once(operation, u64::from(skip), kind);
        }
        Action::Misdirect { operation, skip } => {
            return io.misdirect_once(operation, u64::from(skip));
        }
        Action::Fill { spare } => return io.set_capacity(io.used() + u64::from(spare)),
        Action::Free => return io.set_capacity(u64::MAX),
        _ => {}
    }
    let slot = Rc::clone(&machine.slots[step.log % machine.slots.len()]);
    if !opened(machine, &slot) {
        return;
    }
    let tasks = begin(machine, &slot, step.action);
    let ended = |_: &Machine| tasks.iter().all(|done| done.get());
    match step.patience {
        Patience::Done => machine.finish("an action", ended),
        Patience::Operations(count) => drop(machine.run(u64::from(count), ended)),
        Patience::Names(count) => drop(machine.run_names(u64::from(count), ended)),
    }
}

/// Begins an action on an open log.
fn begin(machine: &Machine, slot: &Rc<Slot>, action: Action) -> Vec<Rc<std::cell::Cell<bool>>> {
    let Some(log) = slot.log() else { return Vec::new() };
    let (cx, of) = (machine.cx.clone(), Rc::clone(slot));
    let task = match action {
        Action::Append { tasks, batches, shape, producer, wait } => {
            let what = Appending { batches, shape, producer, wait };
            let spawn = |_| {
                let task = actions::append(cx.clone(), Rc::clone(&of), log.clone(), what);
                machine.spawn(task)
            };
            return (0..tasks).map(spawn).collect();
        }
        Action::Repeat { producer, back } => {
            actions::repeat(&cx, slot, &log, producer, back);
            return Vec::new();
        }
        Action::Bump { producer } => {
            let mut model = slot.model.borrow_mut();
            let producers = model.producer_epochs.len();
            model.producer_epochs[producer as usize % producers] += 1;
            return Vec::new();
        }
        Action::NewEpoch => {
            slot.model.borrow_mut().epoch += 1;
            return Vec::new();
        }
        Action::Settings { flush, segment_bytes } => {
            change_settings(machine, slot, flush, segment_bytes);
            return Vec::new();
        }
        Action::Read { at, bytes, at_least_one } => {
            machine.spawn(actions::read(cx, of, log, (at, bytes, at_least_one)))
        }
        Action::ReadAll => machine.spawn(actions::read_all(cx, of, log)),
        Action::Search { at } => machine.spawn(actions::search(cx, of, log, at)),
        Action::Flush => machine.spawn(actions::flush(cx, of, log)),
        Action::Roll => machine.spawn(actions::roll(cx, of, log)),
        Action::Retain => machine.spawn(actions::retain(cx, of, log)),
        Action::DeleteBefore { at } => machine.spawn(actions::delete_before(cx, of, log, at)),
        Action::Truncate { at } => machine.spawn(actions::truncate(cx, of, log, at)),
        Action::Compact { cleaning } => machine.spawn(compaction::compact(cx, of, log, cleaning)),
        Action::EndTransaction { producer, commits, fences } => {
            let how = Ending { producer, commits, fences };
            machine.spawn(compaction::end_transaction(cx, of, log, how))
        }
        Action::Pass { ms } => {
            let io = cx.io.clone();
            machine.spawn(async move { io.sleep(Duration::from_millis(ms)).await })
        }
        Action::Reopen => {
            slot.is_opening.set(true);
            machine.spawn(actions::reopen(cx, of, log))
        }
        Action::Recreate => {
            slot.is_opening.set(true);
            machine.spawn(actions::recreate(cx, of, log))
        }
        Action::Fail { .. }
        | Action::Misdirect { .. }
        | Action::Fill { .. }
        | Action::Free
        | Action::Crash { .. } => return Vec::new(),
    };
    vec![task]
}

fn change_settings(machine: &Machine, slot: &Rc<Slot>, flush: FlushPolicy, segment_bytes: u64) {
    let Some(log) = slot.log() else { return };
    let setup = LogSetup { flush, segment_bytes, ..slot.setup.get() };
    slot.setup.set(setup);
    if !setup.is_strict() {
        slot.model.borrow_mut().always_strict = false;
    }
    if let Err(error) = log.update_settings(setup.settings()) {
        machine.cx.fail(slot, format!("good settings are refused: {error}"));
    }
}

/// No more faults: everything that was begun ends, every log takes appends again, closes cleanly,
/// and loses nothing by another loss of power.
fn heal(machine: &mut Machine) {
    machine.cx.io.forget_faults();
    machine.cx.io.set_capacity(u64::MAX);
    machine.settle();
    observe(machine);
    let slots = machine.slots.clone();
    if machine.cx.shard_settings().1.is_some() && machine.cx.had_errors() {
        // A journal that failed serves nobody until its shard is opened anew.
        machine.restart(false);
        open_all(machine, Patience::Done);
    }
    for slot in &slots {
        let failed = slot.log().is_some_and(|log| log.failure().is_some());
        if (failed || machine.cx.is_damaged(slot)) && machine.failure().is_none() {
            machine.cx.note(|| format!("{}: opened anew", slot.dir.display()));
            if let Some(log) = slot.log() {
                slot.is_opening.set(true);
                machine.spawn(actions::reopen(machine.cx.clone(), Rc::clone(slot), log));
            }
            machine.settle();
        }
        if machine.failure().is_some() || machine.cx.is_damaged(slot) {
            continue;
        }
        if !opened(machine, slot) {
            machine.cx.fail(slot, "the log does not open though the faults have ended");
            return;
        }
        append_again(machine, slot);
    }
    observe(machine);
    for slot in &slots {
        clean_again(machine, slot);
    }
    if machine.failure().is_some() {
        return;
    }
    for power in [false, true] {
        for slot in slots.iter().filter(|slot| !machine.cx.is_damaged(slot)) {
            if let Some(log) = slot.log().filter(|_| power) {
                slot.is_opening.set(true);
                machine.spawn(actions::reopen(machine.cx.clone(), Rc::clone(slot), log));
            }
        }
        machine.settle();
        if machine.failure().is_some() {
            return;
        }
        machine.restart(power);
        open_all(machine, Patience::Done);
        observe(machine);
    }
}

fn append_again(machine: &Machine, slot: &Rc<Slot>) {
    let shape = Shape { records: 2, bytes: 10 };
    let before = slot.model.borrow().end();
    let append = Action::Append { tasks: 1, batches: 1, shape, producer: None, wait: true };
    begin(machine, slot, append);
    machine.settle();
    let is_unsure = slot.model.borrow().unsure_epochs;
    if slot.model.borrow().end() == before && !is_unsure && machine.failure().is_none() {
        machine.cx.fail(slot, "the log takes no append though the faults have ended");
    }
}

/// A compacted log can be cleaned up to its active segment, once its transactions have ended, and
/// what was deleted goes when its time has come.
fn clean_again(machine: &Machine, slot: &Rc<Slot>) {
    let Some(table) = slot.setup.get().table else { return };
    let is_unsure = slot.model.borrow().unsure_producers;
    // What is known of producers says how transactions ended, and nothing else.
    let is_in_doubt = machine.cx.is_damaged(slot) || is_unsure && table.has_transactions;
    if is_in_doubt || machine.failure().is_some() {
        return;
    }
    let producers = (0..3).map(|producer| Action::EndTransaction {
        producer,
        commits: producer == 1,
        fences: producer == 2,
    });
    let compact = Action::Compact { cleaning: Cleaning::WHOLE };
    let pass = Action::Pass { ms: table.delete_retention_ms };
    for action in producers.chain([Action::Roll, compact, pass, Action::Roll, compact]) {
        if action == pass {
            // Without anything new, there is nothing to compact.
            append_again(machine, slot);
        }
        let end = slot.model.borrow().end();
        begin(machine, slot, action);
        machine.settle();
        let clean_to = slot.model.borrow().table.as_ref().map_or(0, Table::clean_to);
        let is_short = clean_to != end && !is_unsure;
        if action == compact && is_short && machine.failure().is_none() {
            let text = format!("compacted to {clean_to} of {end} though the faults have ended");
            machine.cx.fail(slot, text);
        }
    }
}

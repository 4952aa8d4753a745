//! The machine that a history runs on: a simulated disk, one shard, and its logs. It outlives
//! crashes; what the engine keeps in memory does not.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::task::{Poll, Waker};

use ringlog_engine::io::Io;
use ringlog_engine::io::sim::{Fault, SimIo};
use ringlog_engine::journal::JournalSettings;
use ringlog_engine::log::Log;
use ringlog_engine::shard::{Shard, ShardSettings};

use super::history::{History, LogSetup, Setup};
use super::model::Model;

/// The folder of all logs.
pub(crate) const DATA: &str = "/data";

/// The journal's folder.
pub(crate) const JOURNAL: &str = "/journal";

/// Operations of the disk after which something that was waited for hangs.
const PATIENCE_MAX: u64 = 1_000_000;

/// Operations of the disk after which a change of names is not waited for any longer.
const NAMES_PATIENCE_MAX: u64 = 2_000;

/// One log: its model lives as long as the history, its handle until the next crash.
pub(crate) struct Slot {
    pub(crate) dir: PathBuf,
    pub(crate) log: RefCell<Option<Log<SimIo>>>,
    pub(crate) model: RefCell<Model>,
    pub(crate) setup: Cell<LogSetup>,
    /// Counts up whenever the log is opened or given up.
    pub(crate) generation: Cell<u64>,
    /// A task opens the log.
    pub(crate) is_opening: Cell<bool>,
    /// The power failed since the log was last open.
    pub(crate) lost_power: Cell<bool>,
    /// The folder is being removed: an opener finishes that first.
    pub(crate) is_doomed: Cell<bool>,
    /// A misdirected transfer hit the log: see [`Context::is_damaged`].
    pub(crate) is_damaged: Cell<bool>,
    /// Misdirected transfers that were looked at for it.
    pub(crate) misdirected_seen: Cell<usize>,
    /// A bit that was flipped while the machine was off.
    pub(crate) flipped: RefCell<Option<Flipped>>,
}

/// What concerns all logs of the machine.
#[derive(Default)]
pub(crate) struct Common {
    /// The shard, once it is open.
    pub(crate) shard: RefCell<Option<Shard<SimIo>>>,
    /// The files of all misdirected transfers.
    pub(crate) misdirected: RefCell<Vec<PathBuf>>,
    /// So many of them cannot have damaged what counts of the journal: it was opened after them.
    pub(crate) misdirected_before: Cell<usize>,
    /// A bit of the journal that was flipped while the machine was off.
    pub(crate) flipped: RefCell<Option<Flipped>>,
}

/// A file with a flipped bit.
pub(crate) struct Flipped {
    pub(crate) path: PathBuf,
    pub(crate) position: usize,
    /// The byte as it was, and as it is.
    pub(crate) good: u8,
    pub(crate) bad: u8,
    /// The whole file since the machine last started.
    pub(crate) content: Vec<u8>,
    /// What was sure before: damage that is put right again leaves it so.
    pub(crate) sure: (bool, bool),
}

impl Flipped {
    /// After something that may have taken the damage with it.
    pub(crate) fn look_again(flipped: &RefCell<Option<Self>>, io: &SimIo) {
        flipped.borrow_mut().take_if(|flipped| {
            let content = io.read_file(&flipped.path).unwrap_or_default();
            let is_gone = content.get(flipped.position) != Some(&flipped.bad);
            flipped.content = content;
            is_gone
        });
    }

    /// Whether the file is as it was when it was last looked at.
    pub(crate) fn is_unchanged(&self, io: &SimIo) -> bool {
        io.read_file(&self.path).is_ok_and(|content| content == self.content)
    }

    /// Puts the bit right, unless something has been written over it.
    pub(crate) fn restore(&self, io: &SimIo) {
        let Ok(mut content) = io.read_file(&self.path) else { return };
        if content.get(self.position) == Some(&self.bad) {
            content[self.position] = self.good;
            // The file is there, so it can be replaced.
            io.write_file(&self.path, &content).expect("a file that was just read");
        }
    }
}

impl Slot {
    fn new(number: usize, setup: LogSetup) -> Self {
        Self {
            dir: Path::new(DATA).join(format!("log-{number}")),
            log: RefCell::new(None),
            model: RefCell::new(Model::of(&setup)),
            setup: Cell::new(setup),
            generation: Cell::new(0),
            is_opening: Cell::new(false),
            lost_power: Cell::new(false),
            is_doomed: Cell::new(false),
            is_damaged: Cell::new(false),
            misdirected_seen: Cell::new(0),
            flipped: RefCell::new(None),
        }
    }

    pub(crate) fn log(&self) -> Option<Log<SimIo>> {
        self.log.borrow().clone()
    }

    /// Lets go of the handle.
    pub(crate) fn give_up(&self) {
        let log = self.log.borrow_mut().take();
        self.generation.set(self.generation.get() + 1);
        drop(log);
    }
}

/// What tasks and the driver share until the next crash.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) io: SimIo,
    pub(crate) common: Rc<Common>,
    shared: Rc<Shared>,
}

struct Shared {
    shard: ShardSettings,
    journal: Option<JournalSettings>,
    failure: RefCell<Option<String>>,
    running: Cell<usize>,
    waiting: RefCell<Option<Waker>>,
    next_number: Cell<u64>,
    is_traced: bool,
    /// Errors that were injected before this start.
    errors_before: Cell<u64>,
}

impl Context {
    /// The shard, if it is open.
    pub(crate) fn shard(&self) -> Option<Shard<SimIo>> {
        self.common.shard.borrow().clone()
    }

    pub(crate) fn shard_settings(&self) -> (ShardSettings, Option<JournalSettings>) {
        (self.shared.shard, self.shared.journal.clone())
    }

    /// A number that nothing else in this history has.
    pub(crate) fn number(&self) -> u64 {
        let number = self.shared.next_number.get();
        self.shared.next_number.set(number + 1);
        number
    }

    /// The engine did what it must not. The first failure counts.
    pub(crate) fn fail(&self, slot: &Slot, what: impl AsRef<str>) {
        self.fail_all(format!("{}: {}", slot.dir.display(), what.as_ref()));
    }

    /// The same, of what concerns no log alone.
    pub(crate) fn fail_all(&self, text: String) {
        self.note(|| format!("FAILED {text}"));
        self.shared.failure.borrow_mut().get_or_insert(text);
        self.wake();
    }

    /// Fails unless `result` is fine.
    pub(crate) fn demand(&self, slot: &Slot, result: Result<(), String>) {
        if let Err(what) = result {
            self.fail(slot, what);
        }
    }

    /// Whether a transfer that went elsewhere hit the log, or the journal that holds its batches:
    /// it may refuse service from now on.
    pub(crate) fn is_damaged(&self, slot: &Slot) -> bool {
        self.note_misdirected();
        let misdirected = self.common.misdirected.borrow();
        let new = misdirected.get(slot.misdirected_seen.get()..).unwrap_or(&[]);
        let is_hit =
            new.iter().any(|path| path.starts_with(JOURNAL) || path.starts_with(&slot.dir));
        slot.misdirected_seen.set(misdirected.len());
        if is_hit && !slot.is_damaged.replace(true) {
            slot.model.borrow_mut().damaged();
        }
        slot.is_damaged.get()
    }

    /// Whether a transfer that went elsewhere hit the journal since its last opening began: it may
    /// be refused when it is opened again.
    pub(crate) fn is_journal_damaged(&self) -> bool {
        self.note_misdirected();
        let before = self.common.misdirected_before.get();
        let misdirected = self.common.misdirected.borrow();
        misdirected.iter().skip(before).any(|path| path.starts_with(JOURNAL))
    }

    /// How many transfers have gone elsewhere.
    pub(crate) fn misdirected_count(&self) -> usize {
        self.note_misdirected();
        self.common.misdirected.borrow().len()
    }

    fn note_misdirected(&self) {
        let mut misdirected = self.common.misdirected.borrow_mut();
        misdirected.extend(self.io.take_misdirected());
    }

    /// Whether the engine may report errors of the system: some were injected since the start.
    pub(crate) fn may_report_errors(&self, slot: &Slot) -> bool {
        self.is_damaged(slot) || self.had_errors()
    }

    /// Whether errors were injected since the start.
    pub(crate) fn had_errors(&self) -> bool {
        errors(&self.io) > self.shared.errors_before.get()
    }

    /// Fails if an error of the system comes though none was injected.
    pub(crate) fn excuse(&self, slot: &Slot, error: &dyn std::fmt::Display) {
        self.note(|| format!("{}: {error}", slot.dir.display()));
        if !self.may_report_errors(slot) {
            self.fail(slot, format!("an error that nobody injected: {error}"));
        }
    }

    pub(crate) fn note(&self, text: impl FnOnce() -> String) {
        if self.shared.is_traced {
            println!("{:>10.3} ms  {}", self.io.elapsed().as_secs_f64() * 1e3, text());
        }
    }

    /// Runs a task beside the others.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) -> Rc<Cell<bool>> {
        let done = Rc::new(Cell::new(false));
        let (cx, flag) = (self.clone(), Rc::clone(&done));
        self.shared.running.set(self.shared.running.get() + 1);
        self.io.spawn(async move {
            task.await;
            flag.set(true);
            cx.shared.running.set(cx.shared.running.get() - 1);
            cx.wake();
        });
        done
    }

    fn wake(&self) {
        if let Some(waker) = self.shared.waiting.borrow_mut().take() {
            waker.wake();
        }
    }
}

fn errors(io: &SimIo) -> u64 {
    let faults = io.faults();
    [Fault::Error, Fault::FailedSync, Fault::DiskFull].map(|fault| faults.of(fault)).iter().sum()
}

/// All of it.
pub(crate) struct Machine {
    pub(crate) cx: Context,
    pub(crate) slots: Vec<Rc<Slot>>,
    operations_max: u64,
}

impl Machine {
    pub(crate) fn new(seed: u64, setup: &Setup, is_traced: bool) -> Self {
        let io = SimIo::new(seed);
        io.run(async {
            // A new disk cannot refuse this.
            let made = io.create_dir_all(Path::new(DATA)).await;
            let made = made.and(io.create_dir_all(Path::new(JOURNAL)).await);
            made.and(io.sync_dir(Path::new("/")).await).expect("an empty simulated disk");
        });
        Self::on(io, setup, is_traced)
    }

    fn on(io: SimIo, setup: &Setup, is_traced: bool) -> Self {
        io.set_latency(
            std::time::Duration::from_micros(10),
            std::time::Duration::from_micros(setup.latency_max_us),
        );
        io.set_slow_operations(setup.slow_one_in);
        io.set_short_transfers(setup.short_one_in);
        if setup.has_unordered_names {
            io.set_unordered_names();
        }
        let slots = setup.logs.iter().enumerate();
        let slots = slots.map(|(number, &setup)| Rc::new(Slot::new(number, setup))).collect();
        let shared = Rc::new(Shared {
            shard: ShardSettings {
                buffer_pool_bytes: setup.pool_bytes,
                cache_bytes: setup.cache_bytes,
                open_files_max: setup.open_files_max,
                index_cache_bytes: setup.index_cache_bytes,
                read_ahead_bytes: setup.read_ahead_bytes,
                ..ShardSettings::default()
            },
            journal: setup.journal.map(|(files, file_bytes)| JournalSettings {
                files,
                file_bytes,
                ..JournalSettings::new(JOURNAL, DATA)
            }),
            failure: RefCell::new(None),
            running: Cell::new(0),
            waiting: RefCell::new(None),
            next_number: Cell::new(1),
            is_traced,
            errors_before: Cell::new(0),
        });
        let cx = Context { common: Rc::default(), io, shared };
        Self { cx, slots, operations_max: u64::MAX }
    }

    pub(crate) fn failure(&self) -> Option<String> {
        self.cx.shared.failure.borrow().clone()
    }

    /// The machine after a loss of power, with the disk that it left, and models of its own.
    pub(crate) fn of_image(&self, io: SimIo, history: &History) -> Self {
        let image = Self::on(io, &history.setup, false);
        for (mine, theirs) in image.slots.iter().zip(&self.slots) {
            *mine.model.borrow_mut() = theirs.model.borrow().clone();
            mine.setup.set(theirs.setup.get());
            mine.lost_power.set(true);
            mine.is_doomed.set(theirs.is_doomed.get());
        }
        image.cx.shared.next_number.set(self.cx.shared.next_number.get());
        image
    }

    /// Has the disk do no more than so many operations.
    pub(crate) fn stop_after(&mut self, operations: u64) {
        let operations = self.cx.io.operations().saturating_add(operations);
        self.cx.io.stop_after(operations);
        self.operations_max = operations;
    }

    /// Whether the disk has done all the operations that it may.
    pub(crate) fn is_stopped(&self) -> bool {
        self.cx.io.operations() >= self.operations_max
    }

    /// Lets go of everything. Tasks hold the disk, which runs them: this ends both. After a panic
    /// they may be in any state.
    pub(crate) fn end(self) {
        let io = self.cx.io.clone();
        let _ = catch_unwind(AssertUnwindSafe(|| {
            for slot in &self.slots {
                slot.give_up();
            }
            drop(self);
            drop(io.kill());
        }));
    }

    /// Stops everything and starts anew, with nothing opened yet.
    pub(crate) fn restart(&mut self, power: bool) {
        for slot in &self.slots {
            self.cx.is_damaged(slot);
        }
        let io = if power { self.cx.io.crash() } else { self.cx.io.kill() };
        for slot in &self.slots {
            slot.give_up();
            slot.is_opening.set(false);
            slot.lost_power.set(slot.lost_power.get() || power);
        }
        drop(self.cx.common.shard.borrow_mut().take());
        self.cx.shared.running.set(0);
        self.cx.shared.errors_before.set(errors(&io));
        self.cx.io = io;
        for slot in &self.slots {
            Flipped::look_again(&slot.flipped, &self.cx.io);
        }
        Flipped::look_again(&self.cx.common.flipped, &self.cx.io);
    }

    /// See [`Context::spawn`].
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) -> Rc<Cell<bool>> {
        self.cx.spawn(task)
    }

    /// Lets the disk complete `operations` at most, or until `done` or a failure.
    pub(crate) fn run(&self, operations: u64, done: impl Fn(&Self) -> bool) -> bool {
        let shared = &self.cx.shared;
        let until = poll_fn(|cx| {
            if done(self) || shared.failure.borrow().is_some() {
                return Poll::Ready(());
            }
            *shared.waiting.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        });
        self.cx.io.run_operations(until, operations).is_some()
    }

    /// Lets the disk complete `changes` of names at most, or until `done` or a failure.
    pub(crate) fn run_names(&self, changes: u64, done: impl Fn(&Self) -> bool) -> bool {
        let io = &self.cx.io;
        let last = io.name_changes().saturating_add(changes);
        let progress = || (io.operations(), io.elapsed());
        // Logs with a timer are never idle, so that nothing else ends this if no change comes.
        for _ in 0..NAMES_PATIENCE_MAX {
            if io.name_changes() >= last {
                return false;
            }
            let before = progress();
            if self.run(1, &done) {
                return true;
            }
            if progress() == before {
                return false;
            }
        }
        false
    }

    /// Runs until `done`; it is a failure if that never comes.
    pub(crate) fn finish(&self, what: &str, done: impl Fn(&Self) -> bool) {
        if !self.run(PATIENCE_MAX, done) && !self.is_stopped() {
            let running = self.cx.shared.running.get();
            let text = format!("stuck: {what} never ends ({running} tasks wait)");
            self.cx.note(|| format!("FAILED {text}"));
            self.cx.shared.failure.borrow_mut().get_or_insert(text);
        }
    }

    /// Runs until all tasks have ended.
    pub(crate) fn settle(&self) {
        self.finish("everything that was begun", |machine| machine.cx.shared.running.get() == 0);
    }
}

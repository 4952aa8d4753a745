//! Round after round: work, crash, report, judge.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use thiserror::Error;

use super::disk::{Disk, Losses};
use super::event::Event;
use super::judge::{Models, Violation};
use super::process::{Ended, Running};
use super::random::Random;
use super::work::Task;

/// What ends a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9`: the process is gone, the kernel goes on.
    Kill,
    /// The power goes: what was not synced is lost in part.
    PowerLoss,
}

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Plan {
    /// A program that has the commands of [`super::Command`].
    pub program: PathBuf,
    /// An empty folder: for the logs, or to mount a disk at.
    pub dir: PathBuf,
    /// How many crashes.
    pub rounds: u64,
    /// What is drawn follows from this; when things happen does not.
    pub seed: u64,
    /// The kind of crash.
    pub fault: Fault,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Crashes survived.
    pub rounds: u64,
    /// Recoveries that were crashed in their turn.
    pub crashed_recoveries: u64,
    /// Batches that were appended.
    pub appended: u64,
    /// Acknowledgements that the working children gave.
    pub acknowledgements: u64,
    /// Records acknowledged and found again in the last round's report.
    pub records_kept: u64,
    /// Batches that were appended, not acknowledged, and are gone.
    pub batches_lost: u64,
    /// What the losses of power took.
    pub losses: Losses,
}

/// Why the rounds ended early.
#[derive(Debug, Error)]
pub enum RoundsError {
    /// A promise was broken.
    #[error("round {round}: {violation}")]
    Broken {
        /// Which round, from 0.
        round: u64,
        /// Which promise.
        violation: Violation,
    },
    /// The working child ended without having been killed.
    #[error("round {round}: the child ended by itself: {complaint}")]
    Ended {
        /// Which round, from 0.
        round: u64,
        /// What it wrote to its standard error.
        complaint: String,
    },
    /// The disk could not be mounted.
    #[error("no disk of our own at {}: {source}", dir.display())]
    Mount {
        /// Where.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A child could not be started or watched, or the disk not be mounted anew.
    #[error("round {round}: {source}")]
    Io {
        /// Which round, from 0.
        round: u64,
        /// Why.
        source: io::Error,
    },
}

/// How long a child works at most before the crash.
const WORK_MILLIS_MAX: u64 = 400;

/// How long a recovery runs at most before it is crashed.
const RECOVERY_MILLIS_MAX: u64 = 30;

/// Synced requests of a child that works before the power goes in the middle of one.
const SYNCS_MAX: u64 = 600;

/// The same of a recovery.
const RECOVERY_SYNCS_MAX: u64 = 12;

/// Runs the plan. After `Ok` every round held what it must.
///
/// # Errors
///
/// [`RoundsError`]; the files are left as they are.
pub fn run(plan: &Plan) -> Result<Summary, RoundsError> {
    let mut rounds = Rounds {
        plan,
        random: Random::new(plan.seed),
        disk: None,
        models: Models::default(),
        summary: Summary::default(),
    };
    if plan.fault == Fault::PowerLoss {
        let mounted = Disk::mount(&plan.dir, plan.seed);
        let dir = plan.dir.clone();
        rounds.disk = Some(mounted.map_err(|source| RoundsError::Mount { dir, source })?);
    }
    let random = &mut rounds.random;
    let task = Task {
        dir: plan.dir.clone(),
        logs: 1 + random.index(4),
        seed: random.next_u64(),
        relaxed: plan.fault == Fault::Kill && random.one_in(2),
        journal: random.one_in(2),
    };
    for round in 0..plan.rounds {
        rounds.round(round, Task { seed: task.seed.wrapping_add(round), ..task.clone() })?;
    }
    rounds.summary.records_kept = rounds.models.acknowledged();
    Ok(rounds.summary)
}

struct Rounds<'a> {
    plan: &'a Plan,
    random: Random,
    disk: Option<Disk>,
    models: Models,
    summary: Summary,
}

impl Rounds<'_> {
    fn round(&mut self, round: u64, task: Task) -> Result<(), RoundsError> {
        let io = |source| RoundsError::Io { round, source };
        let program: &Path = &self.plan.program;
        let mut child = Running::start(program, "real-work", &task).map_err(io)?;
        self.wait(WORK_MILLIS_MAX, SYNCS_MAX);
        // One whose disk went off may give up before it is killed.
        if child.is_over().map_err(io)? && !self.disk.as_ref().is_some_and(Disk::is_off) {
            let complaint = child.finish().map_err(io)?.complaint;
            return Err(RoundsError::Ended { round, complaint });
        }
        for event in self.crash(child).map_err(io)?.events {
            self.summary.appended += u64::from(matches!(event, Event::Appended { .. }));
            self.summary.acknowledgements += u64::from(matches!(event, Event::Durable { .. }));
            self.models.note(event);
        }
        while self.random.one_in(3) {
            let child = Running::start(program, "real-report", &task).map_err(io)?;
            self.wait(RECOVERY_MILLIS_MAX, RECOVERY_SYNCS_MAX);
            self.crash(child).map_err(io)?;
            self.summary.crashed_recoveries += 1;
        }
        let ended = Running::start(program, "real-report", &task).and_then(Running::finish);
        let verdict = self.judge(&ended.map_err(io)?);
        let verdict = verdict.map_err(|violation| RoundsError::Broken { round, violation })?;
        self.summary.batches_lost += verdict.lost;
        self.summary.rounds += 1;
        Ok(())
    }

    /// Waits for some time, or until the power has gone by itself in the middle of a sync.
    fn wait(&mut self, millis_max: u64, syncs_max: u64) {
        let time = Duration::from_micros(self.random.below(millis_max * 1_000));
        let Some(disk) = self.disk.as_ref().filter(|_| !self.random.one_in(3)) else {
            return std::thread::sleep(time);
        };
        disk.cut_power_after(self.random.below(syncs_max));
        let begun = Instant::now();
        while !disk.is_off() && begun.elapsed() < 2 * time {
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Ends a child, and takes from the disk what the fault takes.
    fn crash(&mut self, child: Running) -> io::Result<Ended> {
        let Some(disk) = &mut self.disk else { return child.kill() };
        // In this order: what the child does after the power went changes nothing any more.
        disk.cut_power();
        let ended = child.kill()?;
        self.summary.losses += disk.restore_power()?;
        Ok(ended)
    }

    fn judge(&mut self, report: &Ended) -> Result<super::judge::Verdict, Violation> {
        if report.events.last() != Some(&Event::Finished) {
            let reason = format!("{} ({})", report.complaint.trim(), report.status);
            return Err(Violation::Unreadable { reason });
        }
        self.models.judge(&report.events)
    }
}

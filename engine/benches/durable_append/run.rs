//! Runs the plan: every cell in a process of its own, the contenders in turn.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Serialize;

use crate::cell::{Cell, Failure, Figures, now};
use crate::plan::{CONTENDERS, Contender, Scenario, Timing};

/// What one contender did in one scenario.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    #[serde(serialize_with = "name_of")]
    pub(crate) contender: Contender,
    /// One a round, in order.
    pub(crate) rounds: Vec<Figures>,
    /// Why there are no more rounds.
    pub(crate) failure: Option<String>,
}

/// All of one scenario.
#[derive(Debug, Serialize)]
pub(crate) struct Table {
    pub(crate) scenario: Scenario,
    pub(crate) rows: Vec<Row>,
}

fn name_of<S: serde::Serializer>(contender: &Contender, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(contender.name)
}

/// What is needed to run cells.
pub(crate) struct Runner {
    pub(crate) timing: Timing,
    pub(crate) dir: PathBuf,
    pub(crate) cpu: Option<usize>,
    /// The program with the other crates; `None` leaves them out.
    pub(crate) rivals: Option<PathBuf>,
}

impl Runner {
    /// Runs all rounds of one scenario for those who are wanted.
    pub(crate) fn table(&self, scenario: Scenario, wants: impl Fn(&Contender) -> bool) -> Table {
        let mut rows: Vec<Row> = CONTENDERS
            .into_iter()
            .filter(|one| wants(one) && one.fits(&scenario))
            .filter(|one| one.package.is_none() || self.rivals.is_some())
            .map(|contender| Row { contender, rounds: Vec::new(), failure: None })
            .collect();
        for round in 1..=self.timing.rounds {
            // Who fails once is left out, so that the others' rounds stay in step.
            for row in rows.iter_mut().filter(|row| row.failure.is_none()) {
                let name = row.contender.name;
                let begun = now();
                let turn = self.turn(&row.contender, scenario);
                let (rounds, took) = (self.timing.rounds, begun.elapsed());
                eprintln!("{scenario}: {name}, round {round} of {rounds}: {took:.1?} with set-up");
                match turn {
                    Ok(figures) => row.rounds.push(figures),
                    Err(failure) => {
                        eprintln!("{name} failed: {failure}");
                        row.failure = Some(failure.to_string());
                    }
                }
            }
        }
        Table { scenario, rows }
    }

    /// One cell, in a process and a folder of its own.
    fn turn(&self, contender: &Contender, scenario: Scenario) -> Result<Figures, Failure> {
        fs::create_dir_all(&self.dir)?;
        let folder = tempfile::Builder::new().prefix("durable-append-").tempdir_in(&self.dir)?;
        let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis());
        let cell = Cell {
            contender: contender.name.to_owned(),
            payload_bytes: scenario.payload_bytes,
            logs: scenario.logs,
            in_flight: scenario.in_flight,
            rate: scenario.rate,
            warm_up_ms: millis(self.timing.warm_up)?,
            measure_ms: millis(self.timing.measured)?,
            bytes_max: self.timing.bytes_max,
            dir: folder.path().to_owned(),
            cpu: self.cpu,
        };
        let mut command = match (contender.package, &self.rivals) {
            (Some(_), Some(rivals)) => Command::new(rivals),
            _ => Command::new(std::env::current_exe()?),
        };
        if contender.package.is_none() {
            command.arg("--cell");
        }
        command.arg(serde_json::to_string(&cell)?);
        // The one crate that is configured by its environment.
        command.env("WALRUS_DATA_DIR", folder.path()).env("WALRUS_QUIET", "1");
        let figures = figures_of(command);
        // What was written is gone before the next turn, and so is the work of removing it.
        folder.close()?;
        settle(&self.dir)?;
        figures
    }
}

/// Runs a cell's process. Its last line is the figures.
fn figures_of(mut command: Command) -> Result<Figures, Failure> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(output.status.to_string().into());
    }
    let text = String::from_utf8(output.stdout)?;
    let last = text.lines().last().ok_or("no figures were printed")?;
    Ok(serde_json::from_str(last)?)
}

/// Has the file system finish what the last turn left to it.
fn settle(dir: &Path) -> Result<(), Failure> {
    Ok(rustix::fs::syncfs(fs::File::open(dir)?)?)
}

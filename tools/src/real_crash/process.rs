//! A child and what it tells.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::event::Event;
use super::work::Task;

/// How long a child may take to report: far more than it ever needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running child. It is killed when this is dropped.
pub(super) struct Running {
    child: Child,
    events: Option<JoinHandle<Vec<Event>>>,
    complaint: Option<JoinHandle<String>>,
}

/// What is left of a child.
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) events: Vec<Event>,
    /// What it wrote to its standard error.
    pub(super) complaint: String,
}

impl Running {
    /// Starts `program command`; see [`super::Command`].
    pub(super) fn start(program: &Path, command: &str, task: &Task) -> io::Result<Self> {
        let mut started = Command::new(program);
        started.arg(command).arg("--dir").arg(&task.dir);
        started.args(["--logs", &task.logs.to_string(), "--seed", &task.seed.to_string()]);
        if task.relaxed {
            started.arg("--relaxed");
        }
        if task.journal {
            started.arg("--journal");
        }
        started.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = started.spawn()?;
        // Read all along, or the child would wait for room in the pipe.
        let events = child.stdout.take().map(|out| {
            std::thread::spawn(move || {
                let lines = BufReader::new(out).lines().map_while(Result::ok);
                lines.filter_map(|line| Event::parse(&line)).collect()
            })
        });
        let complaint = child.stderr.take().map(|mut out| {
            std::thread::spawn(move || {
                let mut text = String::new();
                let _ = out.read_to_string(&mut text);
                text
            })
        });
        Ok(Self { child, events, complaint })
    }

    /// Whether the child has ended by itself.
    pub(super) fn is_over(&mut self) -> io::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Kills the child with SIGKILL, at once.
    pub(super) fn kill(mut self) -> io::Result<Ended> {
        self.child.kill()?;
        self.ended()
    }

    /// Waits until the child ends by itself; one that does not is killed.
    pub(super) fn finish(mut self) -> io::Result<Ended> {
        let begun = Instant::now();
        while self.child.try_wait()?.is_none() {
            if begun.elapsed() > PATIENCE {
                self.child.kill()?;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        self.ended()
    }

    fn ended(&mut self) -> io::Result<Ended> {
        let status = self.child.wait()?;
        let events = self.events.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        let complaint =
            self.complaint.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        Ok(Ended { status, events, complaint })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

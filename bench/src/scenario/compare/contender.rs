//! The servers of a comparison: started on an empty folder each, or running already; or the floor
//! that is below all of them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::rival::{RINGLOG, Rival};
use super::{CompareArgs, JVM_WARMUP_S, OWN_WARMUP_S, kafka};
use crate::child::{ReservedPort, ServerChild};
use crate::error::BenchError;
use crate::scenario::Tell;

/// Lines of a server's log that go with the error of one that did not start.
const LOG_LINES: usize = 5;

/// A server of the comparison. One that was started is killed when this is dropped.
#[derive(Debug)]
pub struct Contender {
    /// What people call it.
    pub name: String,
    /// How it is set, in words.
    pub told: String,
    /// What answers.
    pub place: Place,
    /// Seconds of load that it gets before it is measured.
    pub warmup_s: f64,
    _started: Option<(ServerChild, ReservedPort)>,
}

/// What answers a contender's requests.
#[derive(Debug)]
pub enum Place {
    /// A server.
    Server {
        /// Where it listens.
        bootstrap: String,
        /// Its process on this machine.
        pid: Option<u32>,
    },
    /// The floor, which is made anew for each line.
    Floor {
        /// Where its file is.
        folder: PathBuf,
        /// The core that its thread is pinned to.
        cpu: Option<usize>,
    },
}

/// Ringlog, then the rivals, each answering.
///
/// # Errors
///
/// A [`BenchError`] if one cannot be started or does not answer in time. Those that were started
/// before are killed.
pub fn start_all(
    args: &CompareArgs,
    folder: &Folder,
    cpu: Option<usize>,
    tell: Tell<'_>,
) -> Result<Vec<Contender>, BenchError> {
    let starter = Starter { args, folder, cpu };
    tell("starting ringlog", 0.0);
    let synced = "its default: synced before it is acknowledged";
    let mut contenders = vec![starter.ringlog(RINGLOG, synced, &[])?];
    for rival in &args.rival {
        tell(&format!("starting {}", rival.name()), 0.0);
        contenders.push(starter.rival(rival)?);
    }
    Ok(contenders)
}

struct Starter<'a> {
    args: &'a CompareArgs,
    folder: &'a Folder,
    cpu: Option<usize>,
}

impl Starter<'_> {
    fn rival(&self, rival: &Rival) -> Result<Contender, BenchError> {
        let cached = "acknowledged from the kernel's cache";
        let warmup_s = self.args.rival_warmup;
        match rival {
            Rival::Kafka => self.kafka(rival.name(), &format!("its default: {cached}"), &[]),
            Rival::KafkaSynced => {
                let synced = ("log.flush.interval.messages", "1");
                self.kafka(
                    rival.name(),
                    "flush.messages=1: synced before it is acknowledged",
                    &[synced],
                )
            }
            Rival::RinglogRelaxed => {
                let relaxed = format!("log.flush.interval.messages={}", i64::MAX);
                let told = "relaxed: acknowledged before it is synced";
                self.ringlog(rival.name(), told, &["--set", &relaxed])
            }
            Rival::Floor => Ok(Contender {
                name: rival.name().to_owned(),
                told: "no broker: receives, checks, writes synced to prewritten space (unless \
                       --floor-ground says otherwise), answers; produce lines only; CPU time of its \
                       one thread"
                    .into(),
                place: Place::Floor { folder: self.folder.of(rival.name())?, cpu: self.cpu },
                warmup_s: 0.0,
                _started: None,
            }),
            Rival::Running { name, bootstrap, pid } => Ok(Contender {
                name: name.clone(),
                told: "ran before, with its own settings".into(),
                place: Place::Server { bootstrap: bootstrap.clone(), pid: *pid },
                warmup_s,
                _started: None,
            }),
        }
    }

    fn ringlog(&self, name: &str, told: &str, options: &[&str]) -> Result<Contender, BenchError> {
        let program = match &self.args.ringlog {
            Some(program) => program.clone(),
            None => beside_this_program()?,
        };
        let port = ReservedPort::new()?;
        let mut command = Command::new(program);
        command.arg("--listen").arg(port.address().to_string());
        command.arg("--data-dir").arg(self.folder.of(name)?).args(options);
        let warmup_s = self.args.rival_warmup.min(OWN_WARMUP_S);
        self.start(name, told, command, port, warmup_s)
    }

    fn kafka(
        &self,
        name: &str,
        told: &str,
        properties: &[(&str, &str)],
    ) -> Result<Contender, BenchError> {
        let jars = kafka::jars(self.args.kafka_jars.as_deref())?;
        let (port, controller) = (ReservedPort::new()?, ReservedPort::new()?);
        let folder = self.folder.of(name)?;
        let node = kafka::Node { jars: &jars, folder: &folder, cpu: self.cpu };
        let command = node.prepare(port.address(), controller.address(), properties)?;
        self.start(name, told, command, port, self.args.rival_warmup)
    }

    fn start(
        &self,
        name: &str,
        told: &str,
        mut command: Command,
        port: ReservedPort,
        warmup_s: f64,
    ) -> Result<Contender, BenchError> {
        let failed = |source| BenchError::System { what: "make a server's log", source };
        let log = self.folder.0.join(format!("{name}.log"));
        let file = File::create(&log).map_err(failed)?;
        command.stderr(Stdio::from(file.try_clone().map_err(failed)?)).stdout(Stdio::from(file));
        let line = line_of(&command);
        let bootstrap = port.address().to_string();
        let mut child = ServerChild::start(&line, &mut command, self.cpu)?;
        let patience = Duration::from_secs(self.args.patience);
        child.wait_until_it_answers(&bootstrap, "ringlog-bench", patience).map_err(|error| {
            let what = format!("{error}; its log ends with:\n{}", last_lines(&log));
            BenchError::Command { command: line.clone(), what }
        })?;
        Ok(Contender {
            name: name.to_owned(),
            told: told.to_owned(),
            place: Place::Server { bootstrap, pid: Some(child.id()) },
            warmup_s,
            _started: Some((child, port)),
        })
    }
}

fn beside_this_program() -> Result<PathBuf, BenchError> {
    let failed = |source| BenchError::System { what: "find the ringlog program", source };
    Ok(std::env::current_exe().map_err(failed)?.with_file_name("ringlog"))
}

fn line_of(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn last_lines(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

/// The folder that holds the servers' data and logs; removed when this is dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A new folder in `dir`.
    ///
    /// # Errors
    ///
    /// [`BenchError::System`] if it cannot be made or is there.
    pub fn new(dir: &Path) -> Result<Self, BenchError> {
        let failed = |source| BenchError::System { what: "make the servers' folder", source };
        let dir = dir.canonicalize().map_err(failed)?;
        let folder = dir.join(format!("ringlog-bench-compare-{}", std::process::id()));
        fs::create_dir(&folder).map_err(failed)?;
        Ok(Self(folder))
    }

    /// The empty folder of the server `name`.
    fn of(&self, name: &str) -> Result<PathBuf, BenchError> {
        let folder = self.0.join(name);
        fs::create_dir(&folder)
            .map_err(|source| BenchError::System { what: "make a server's folder", source })?;
        Ok(folder)
    }

    /// Waits until what one server has left in the kernel's cache is on the disk, so that the next
    /// one does not pay for it.
    ///
    /// # Errors
    ///
    /// [`BenchError::System`] if the disk fails.
    pub fn settle(&self) -> Result<(), BenchError> {
        let failed = |source| BenchError::System { what: "sync the servers' disk", source };
        let folder = File::open(&self.0).map_err(failed)?;
        rustix::fs::syncfs(&folder).map_err(|error| failed(error.into()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that stays is only in the way of people.
        let _ = fs::remove_dir_all(&self.0);
    }
}

const _: () = assert!(OWN_WARMUP_S < JVM_WARMUP_S);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_folder_goes_with_all_that_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path()).unwrap();
        assert!(folder.of("one").unwrap().starts_with(&folder.0));
        assert!(folder.of("one").is_err(), "a folder that is there is not empty");
        folder.settle().unwrap();
        drop(folder);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_end_of_a_log_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        fs::write(&log, "1\n2\n3\n4\n5\n6\n7").unwrap();
        assert_eq!(last_lines(&log), "3\n4\n5\n6\n7");
        assert_eq!(last_lines(&dir.path().join("none")), "");
    }
}

//! The real binary, which can be killed.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::broker::SETTINGS;
use super::{Client, Folder};

const FREE_PORT: &str = "127.0.0.1:0";

/// A running `ringlog`. Dropping it kills it.
pub struct Process {
    child: Child,
    address: SocketAddr,
    settings: Vec<String>,
    data: PathBuf,
    /// Keeps the data until the broker has ended.
    folder: Folder,
}

fn command(listen: &str, path: &Path, settings: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringlog"));
    command.args(["--listen", listen, "--data-dir"]).arg(path);
    for setting in SETTINGS.iter().chain(settings) {
        command.args(["--set", setting]);
    }
    // What the machine's own broker is told is not for this one.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RINGLOG_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// Starts a broker that must not start; gives its exit status and what it says on stderr.
pub fn start_refused(path: &Path, settings: &[&str]) -> (i32, String) {
    start_refused_at(FREE_PORT, path, settings)
}

/// As [`start_refused`], on an address of the caller's choice.
pub fn start_refused_at(listen: &str, path: &Path, settings: &[&str]) -> (i32, String) {
    let child =
        command(listen, path, settings).stderr(Stdio::piped()).spawn().expect("the binary runs");
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap_or_else(|| panic!("killed by a signal: {text}")), text)
}

impl Process {
    /// Starts on a folder and waits until it serves.
    pub fn start(folder: &Folder, settings: &[&str]) -> Self {
        Self::start_in(folder, folder.path(), settings)
    }

    /// As [`Process::start`], with its data at `data`, somewhere below the folder.
    pub fn start_in(folder: &Folder, data: &Path, settings: &[&str]) -> Self {
        let mut child = command(FREE_PORT, data, settings).spawn().expect("the binary runs");
        let mut said = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        let address = loop {
            line.clear();
            let bytes = said.read_line(&mut line).expect("text");
            assert!(bytes > 0, "the broker ended before it listened");
            if let Some(rest) = line.trim().strip_prefix("listens on") {
                let address = rest.trim().split(',').next().unwrap_or_default();
                break address.parse().expect("an address");
            }
        };
        // Somebody must take the rest of what it says.
        std::thread::spawn(move || said.read_to_end(&mut Vec::new()));
        let settings = settings.iter().map(|one| (*one).to_owned()).collect();
        let (data, folder) = (data.to_owned(), folder.clone());
        Self { child, address, settings, data, folder }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.end();
    }

    /// `kill -9`, and a new process on the same folder.
    pub fn kill_and_restart(mut self) -> Self {
        self.end();
        let settings: Vec<&str> = self.settings.iter().map(String::as_str).collect();
        Self::start_in(&self.folder, &self.data, &settings)
    }

    /// SIGTERM, and the exit status.
    pub fn terminate(mut self) -> Option<i32> {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(id, Signal::TERM).expect("it runs");
        self.child.wait().expect("it ends").code()
    }

    /// Descriptors that the broker has open.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.id())).expect("it runs").count()
    }

    fn end(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

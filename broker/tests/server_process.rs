//! The binary: what it says, how it ends.

mod wire;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, geteuid, kill_process};
use wire::{API_VERSIONS, Client, framed, request};

fn ringlog(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringlog"));
    command.args(["--listen", "127.0.0.1:0", "--shards", "2", "--data-dir"]).arg(data);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null());
    command.env_remove("RINGLOG_LOG").env_remove("RUST_LOG");
    command
}

/// A running broker; killed when dropped.
struct Process {
    child: Child,
    address: SocketAddr,
    banner: String,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    fn start(data: &Path) -> Self {
        Self::spawn(&mut ringlog(data))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("it runs");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut banner = String::new();
        while !banner.contains("Ctrl-C") {
            let read = stdout.read_line(&mut banner).expect("text");
            assert_ne!(read, 0, "it ended before it was ready: {banner}");
        }
        let address = banner
            .lines()
            .find_map(|line| line.trim().strip_prefix("listens on"))
            .and_then(|rest| rest.trim().split(',').next()?.parse().ok())
            .expect("an address in the banner");
        Self { child, address, banner, stdout }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it lives");
    }

    fn exit_code(&mut self) -> Option<i32> {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("text");
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn fails(command: &mut Command, code: i32) -> String {
    let Output { status, stderr, .. } = command.output().expect("it runs");
    let text = String::from_utf8(stderr).expect("text");
    assert_eq!(status.code(), Some(code), "{text}");
    text
}

#[test]
fn it_says_where_it_listens_and_what_to_type_and_stops_cleanly_on_either_signal() {
    let data = tempfile::tempdir().expect("a folder");
    for signal in [Signal::TERM, Signal::INT] {
        let mut process = Process::start(data.path());
        Client::connect(process.address).is_served();
        let port = process.address.port();
        for expected in [
            data.path().to_str().expect("text"),
            "stable storage",
            "shards      2",
            &format!("kcat -b 127.0.0.1:{port}"),
        ] {
            assert!(process.banner.contains(expected), "{expected}: {}", process.banner);
        }
        process.signal(signal);
        assert_eq!(process.exit_code(), Some(0));
    }
}

#[test]
fn a_second_signal_ends_it_at_once_while_it_waits_for_a_client_that_takes_no_answers() {
    let data = tempfile::tempdir().expect("a folder");
    let mut process = Process::start(data.path());
    let mut deaf = Client::connect(process.address);
    deaf.0.set_write_timeout(Some(Duration::from_millis(300))).expect("a timeout");
    let many = framed(&request(API_VERSIONS, 0, 1, &[])).repeat(1000);
    while deaf.0.write_all(&many).is_ok() {}
    process.signal(Signal::TERM);
    let mut log = BufReader::new(process.child.stderr.take().expect("piped"));
    let mut lines = String::new();
    while !lines.contains("stopping") {
        assert_ne!(log.read_line(&mut lines).expect("text"), 0, "it ended too early: {lines}");
    }
    process.signal(Signal::TERM);
    assert_eq!(process.exit_code(), Some(130));
}

#[test]
fn a_broker_with_few_file_descriptors_keeps_some_serves_on_and_takes_clients_again_later() {
    let data = tempfile::tempdir().expect("a folder");
    let mut command = Command::new("sh");
    // Enough to run, and far fewer than there will be clients.
    command.args(["-c", "ulimit -n 120 && exec \"$@\"", "sh", env!("CARGO_BIN_EXE_ringlog")]);
    command.args(["--listen", "127.0.0.1:0", "--shards", "2", "--data-dir"]).arg(data.path());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = Process::spawn(&mut command);
    let mut early = Client::connect(process.address);
    early.is_served();
    let crowd: Vec<Client> = (0..300).map(|_| Client::connect(process.address)).collect();
    early.is_served();
    drop(crowd);
    Client::connect_when_there_is_room(process.address).is_served();
    early.is_served();
    process.signal(Signal::TERM);
    assert_eq!(process.exit_code(), Some(0));
    let mut log = String::new();
    process.child.stderr.take().expect("piped").read_to_string(&mut log).expect("text");
    assert!(log.contains("the limit of open files allow"), "{log}");
}

#[test]
fn a_killed_broker_leaves_a_folder_that_the_next_one_takes() {
    let data = tempfile::tempdir().expect("a folder");
    let mut first = Process::start(data.path());
    first.signal(Signal::KILL);
    assert_eq!(first.exit_code(), None);
    let second = Process::start(data.path());
    Client::connect(second.address).is_served();
}

#[test]
fn a_locked_folder_and_a_port_in_use_end_it_with_status_1_and_the_reason() {
    let data = tempfile::tempdir().expect("a folder");
    let running = Process::start(data.path());
    let text = fails(&mut ringlog(data.path()), 1);
    let owner = format!("locked by another running broker (process {})", running.child.id());
    assert!(text.contains(&owner), "{text}");
    let other = tempfile::tempdir().expect("a folder");
    let address = running.address.to_string();
    let text = fails(ringlog(other.path()).args(["--set", &format!("listeners={address}")]), 2);
    assert!(text.contains("listeners"), "two settings of one key: {text}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringlog"));
    command.args(["--listen", &address, "--data-dir"]).arg(other.path());
    let text = fails(&mut command, 1);
    assert!(text.contains(&format!("cannot listen on {address}")), "{text}");
}

#[test]
fn a_folder_without_permission_ends_it_with_status_1_and_the_reason() {
    let data = tempfile::tempdir().expect("a folder");
    let closed = data.path().join("closed");
    std::fs::create_dir(&closed).expect("made");
    std::fs::set_permissions(data.path(), PermissionsExt::from_mode(0o755)).expect("ours");
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o555)).expect("ours");
    let mut command = ringlog(&closed);
    if geteuid().is_root() {
        // Nothing is forbidden to root.
        command.uid(65_534).gid(65_534);
    }
    let output = match command.output() {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            eprintln!("skipped: an unprivileged user may not run the binary where it lies");
            return;
        }
        other => other.expect("it runs"),
    };
    let text = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("this user may not"), "{text}");
}

#[test]
fn a_wrong_command_line_or_configuration_ends_it_with_status_2() {
    let data = tempfile::tempdir().expect("a folder");
    let text = fails(ringlog(data.path()).arg("--no-such-flag"), 2);
    assert!(text.contains("--no-such-flag"), "{text}");
    let text = fails(ringlog(data.path()).args(["--set", "num.partition=3"]), 2);
    assert!(text.contains("num.partitions"), "a near spelling: {text}");
    let text = fails(ringlog(data.path()).env("RINGLOG_LOG", "ringlog=loudly"), 2);
    assert!(text.contains("RINGLOG_LOG"), "{text}");
}

#[test]
fn help_and_version_end_it_with_status_0() {
    for flag in ["--help", "--version", "--help-config"] {
        let output = Command::new(env!("CARGO_BIN_EXE_ringlog")).arg(flag).output();
        let output = output.expect("it runs");
        assert_eq!(output.status.code(), Some(0));
        assert!(!output.stdout.is_empty() && output.stderr.is_empty());
    }
}

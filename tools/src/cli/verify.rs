//! `verify`: checks a data folder offline.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;

use super::CliError;
use super::error::UsageError;
use super::output::print_json;
use crate::segment::folder;

mod log;

/// The file that a running broker holds locked.
const LOCK: &str = ".lock";

/// What `verify` takes.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The broker's data folder, or the folder of one partition.
    data_dir: PathBuf,
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file.
    pub file: PathBuf,
    /// What is to be said of it.
    pub message: String,
}

/// What a check has found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Logs looked at.
    pub logs: u64,
    /// Segments looked at.
    pub segments: u64,
    /// Batches and frames that are right.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Entries of both kinds of index that are right.
    pub index_entries: u64,
    /// What must not be.
    pub problems: Vec<Finding>,
    /// What may be after a crash.
    pub notes: Vec<Finding>,
}

impl Findings {
    fn problem(&mut self, file: &Path, message: String) {
        self.problems.push(Finding { file: file.to_owned(), message });
    }

    fn note(&mut self, file: &Path, message: String) {
        self.notes.push(Finding { file: file.to_owned(), message });
    }
}

pub(super) fn run(args: &VerifyArgs, json: bool) -> Result<ExitCode, CliError> {
    let findings = check(&args.data_dir)?;
    let mut out = io::stdout().lock();
    if json {
        print_json(&mut out, &findings)?;
    } else {
        for note in &findings.notes {
            writeln!(out, "note: {}: {}", note.file.display(), note.message)?;
        }
        for problem in &findings.problems {
            writeln!(out, "PROBLEM: {}: {}", problem.file.display(), problem.message)?;
        }
        let Findings { logs, segments, batches, records, bytes, index_entries, .. } = findings;
        writeln!(
            out,
            "{logs} logs, {segments} segments, {batches} batches, {records} records, {bytes} \
             bytes, {index_entries} index entries: {}",
            match findings.problems.len() {
                0 => "clean".to_owned(),
                count => format!("{count} problems"),
            }
        )?;
    }
    Ok(if findings.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Checks every log of a folder: batches, checksums, offsets, indexes, and the small files.
///
/// # Errors
///
/// [`CliError::Locked`] if a broker is using the folder; a file or folder that cannot be read.
pub fn check(data_dir: &Path) -> Result<Findings, CliError> {
    if !data_dir.is_dir() {
        return Err(UsageError::Folder { path: data_dir.to_owned() }.into());
    }
    let _lock = lock(data_dir)?;
    let read = |source| CliError::Read { path: data_dir.to_owned(), source };
    let logs = folder::logs(data_dir).map_err(read)?;
    let total = logs.iter().map(log::bytes).sum();
    let progress = progress(total);
    let mut findings = Findings::default();
    for folder in &logs {
        log::check(folder, &mut findings, &progress)?;
    }
    progress.finish_and_clear();
    Ok(findings)
}

/// Keeps a broker from starting while files are looked at. A folder without a lock file has never
/// had one, or is a copy.
fn lock(data_dir: &Path) -> Result<Option<File>, CliError> {
    let path = data_dir.join(LOCK);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(CliError::Read { path, source }),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(CliError::Locked { path }),
        Err(error) => Err(CliError::Read { path, source: error.into() }),
    }
}

fn progress(bytes: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}");
    let bar = ProgressBar::new(bytes);
    style.map_or(bar.clone(), |style| bar.with_style(style))
}

//! Why a command failed.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::client::ClientError;

/// Why a command ended without doing what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The broker cannot be reached, or refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Standard input cannot be read.
    #[error("cannot read standard input: {0}")]
    Input(#[source] io::Error),
    /// Standard output cannot be written.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
    /// Output cannot be written as JSON.
    #[error("cannot write to standard output: {0}")]
    Json(#[from] serde_json::Error),
    /// The arguments do not fit together, or not what is there.
    #[error("{0}")]
    Usage(UsageError),
    /// A broker is using the folder.
    #[error(
        "{} is locked: a broker is using this folder; stop it first, its files change under it",
        path.display()
    )]
    Locked {
        /// The lock's file.
        path: PathBuf,
    },
}

/// Arguments that do not fit together, or not what is there.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// `alter` without anything to alter.
    #[error("nothing to alter: give --config, --delete-config or --partitions")]
    NothingToAlter,
    /// A partition that the topic does not have.
    #[error("topic {topic} has no partition {partition}, only 0..{count}")]
    Partition {
        /// The topic.
        topic: String,
        /// The partition asked for.
        partition: i32,
        /// How many there are.
        count: usize,
    },
    /// A line without the separator between key and value.
    #[error("line {line} has no key separator {separator:?}")]
    Separator {
        /// Which line, from 1.
        line: u64,
        /// What was looked for.
        separator: String,
    },
    /// A file that `dump` cannot read.
    #[error("{} is not a .log, .index or .timeindex file", path.display())]
    FileKind {
        /// The file.
        path: PathBuf,
    },
    /// A folder that does not exist.
    #[error("{} is not a folder", path.display())]
    Folder {
        /// The path.
        path: PathBuf,
    },
}

impl From<UsageError> for CliError {
    fn from(error: UsageError) -> Self {
        Self::Usage(error)
    }
}

impl CliError {
    /// The process's exit status: 1 where the broker refused, 2 otherwise.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Client(ClientError::Connect { .. }) => ExitCode::from(2),
            Self::Client(_) => ExitCode::from(1),
            _ => ExitCode::from(2),
        }
    }
}

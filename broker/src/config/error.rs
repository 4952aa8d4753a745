//! What can be wrong with a configuration, and where it was said.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::listen::ListenError;
use super::properties::PropertiesProblem;
use super::value::ValueError;

/// Where a setting came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A flag of the command line, such as `--set`.
    Flag(&'static str),
    /// An environment variable.
    Variable(String),
    /// A line of the properties file.
    File {
        /// The file.
        path: Arc<Path>,
        /// The line, counted from 1.
        line: u32,
    },
    /// A client's request.
    Request,
    /// The metadata log, which an earlier version of the broker may have written.
    Metadata,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "flag {flag}"),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Request => f.write_str("request"),
            Self::Metadata => f.write_str("metadata log"),
        }
    }
}

/// One thing that is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No key has this name.
    #[error("{origin}: unknown key {key:?}{}", advice(*.nearest, *.hint))]
    UnknownKey {
        /// The name that was given.
        key: String,
        /// Where.
        origin: Origin,
        /// A known name that may have been meant.
        nearest: Option<&'static str>,
        /// What to do about a key that Kafka has and Ringlog lacks.
        hint: Option<&'static str>,
    },
    /// The key's value is none of the allowed ones.
    #[error("{origin}: {key}={value}: {problem}")]
    InvalidValue {
        /// The key.
        key: &'static str,
        /// The value as given.
        value: Box<str>,
        /// Where.
        origin: Origin,
        /// What is allowed.
        problem: ValueError,
    },
    /// An address that is none.
    #[error("{origin}: {key}={value}: {problem}")]
    InvalidAddress {
        /// The key.
        key: &'static str,
        /// The value as given.
        value: String,
        /// Where.
        origin: Origin,
        /// What is wrong with it.
        problem: ListenError,
    },
    /// Not exactly one data folder.
    #[error("{origin}: {key}={value}: must be one folder, and {given} are given")]
    DataFolders {
        /// The key.
        key: &'static str,
        /// The value as given.
        value: String,
        /// Where.
        origin: Origin,
        /// How many were given.
        given: usize,
    },
    /// One key twice in the same place.
    #[error("{again}: {key} is set a second time; {first} has it already")]
    Duplicate {
        /// The key.
        key: String,
        /// Where it is set first.
        first: Origin,
        /// Where it is set again.
        again: Origin,
    },
    /// Two spellings of one key with different values.
    #[error("{again}: {key}={value} contradicts {first_key}={first_value} of {first}")]
    Contradiction {
        /// The key that is set again.
        key: &'static str,
        /// Its value.
        value: String,
        /// Where.
        again: Origin,
        /// The spelling that was set first.
        first_key: &'static str,
        /// Its value.
        first_value: String,
        /// Where.
        first: Box<Origin>,
    },
    /// Values that are each allowed and do not go together.
    #[error("{left}={left_value} and {right}={right_value} do not go together: {rule}")]
    Relation {
        /// One key.
        left: &'static str,
        /// Its value.
        left_value: i64,
        /// The other key.
        right: &'static str,
        /// Its value.
        right_value: i64,
        /// What must hold between them.
        rule: &'static str,
    },
    /// A setting that is not of the form `KEY=VALUE`.
    #[error("{origin}: {text:?} must be KEY=VALUE")]
    NotASetting {
        /// The text as given.
        text: String,
        /// Where.
        origin: Origin,
    },
    /// An environment variable whose value is not UTF-8.
    #[error("{origin}: the value is not UTF-8 text")]
    NotText {
        /// The variable.
        origin: Origin,
    },
    /// A line of the properties file that cannot be read.
    #[error("{origin}: {problem}")]
    Syntax {
        /// The line.
        origin: Origin,
        /// What is wrong with it.
        problem: PropertiesProblem,
    },
    /// The properties file cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    FileUnreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The properties file is no such file.
    #[error(
        "the configuration file {} is of {bytes} bytes, more than the {bytes_max} allowed",
        path.display()
    )]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
        /// The greatest length.
        bytes_max: u64,
    },
    /// A key without a value.
    #[error("{key} has no value")]
    NoValue {
        /// The key.
        key: String,
    },
    /// A key that only lists may be appended to or subtracted from.
    #[error("{key} is not a list: APPEND and SUBTRACT apply to lists only")]
    NotAList {
        /// The key.
        key: String,
    },
    /// A key of the broker that is fixed while it runs.
    #[error("{key} is read when the broker starts and cannot be altered while it runs")]
    ReadOnly {
        /// The key.
        key: String,
    },
}

/// Everything that is wrong with a configuration, one error a line.
#[derive(Debug)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// `Err` with all errors, or `Ok` if there are none.
    pub(super) fn check(errors: Vec<ConfigError>) -> Result<(), Self> {
        if errors.is_empty() { Ok(()) } else { Err(Self(errors)) }
    }

    /// The errors; at least one.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

fn advice(nearest: Option<&'static str>, hint: Option<&'static str>) -> String {
    match (hint, nearest) {
        (Some(hint), _) => format!(": {hint}"),
        (None, Some(nearest)) => format!("; did you mean {nearest}?"),
        (None, None) => String::new(),
    }
}

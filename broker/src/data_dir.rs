//! The data folder: made, checked, and locked against a second broker.
//!
//! ```text
//! data/.lock                    held (flock) by the broker that runs on the folder; its process id
//! data/__cluster_metadata-0/    the metadata log, with the cluster's and this broker's identity
//! data/<topic>-<partition>/     one log each
//! data/.journal/<shard>/        what the shards have made durable and not yet put into those
//! ```
//!
//! The lock is the kernel's and ends with the process, however it ends. The file stays.
//!
//! Only start and stop come here, on a thread that may block.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::shard::journal;

const LOCK_FILE: &str = ".lock";

/// Names that are told of what does not belong into the folder, at most.
const FOREIGN_NAMES_MAX: usize = 5;

/// Why a broker cannot run on a data folder.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The path is something else.
    #[error("the data folder {} is not a folder", path.display())]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// The user may not write there.
    #[error(
        "the data folder {} cannot be {what}: this user may not (chown it, or choose another with \
         --data-dir DIR)",
        path.display()
    )]
    Forbidden {
        /// What was tried: created, locked, ...
        what: &'static str,
        /// The folder.
        path: PathBuf,
    },
    /// Another broker runs on it.
    #[error(
        "the data folder {} is locked by another running broker{}; stop that one, or choose \
         another folder with --data-dir DIR",
        path.display(),
        owner(*process)
    )]
    Locked {
        /// The folder.
        path: PathBuf,
        /// The other broker's process id, if it could be read.
        process: Option<u32>,
    },
    /// Anything else.
    #[error("the data folder {} cannot be {what}: {source}", path.display())]
    Failed {
        /// What was tried: created, locked, ...
        what: &'static str,
        /// The folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

fn owner(process: Option<u32>) -> String {
    process.map_or_else(String::new, |process| format!(" (process {process})"))
}

impl DataDirError {
    fn of(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Forbidden { what, path },
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
                Self::NotAFolder { path }
            }
            _ => Self::Failed { what, path, source },
        }
    }
}

/// A data folder that this broker, and no other, runs on until this is dropped.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    /// Holds the lock.
    _lock: File,
}

impl DataDir {
    /// Makes the folder if it is not there, and locks it. What does not belong into it is left
    /// alone, with a warning.
    ///
    /// # Errors
    ///
    /// [`DataDirError`]; at most an empty folder was made then.
    pub(crate) fn open(path: &Path) -> Result<Self, DataDirError> {
        fs::create_dir_all(path).map_err(DataDirError::of("created", path))?;
        let path = path.canonicalize().map_err(DataDirError::of("opened", path))?;
        let lock = lock(&path)?;
        warn_of_foreign(&path)?;
        Ok(Self { path, _lock: lock })
    }

    /// The folder, as an absolute path without links.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn lock(path: &Path) -> Result<File, DataDirError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = options.open(path.join(LOCK_FILE)).map_err(DataDirError::of("locked", path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            // The error does not depend on what the file says.
            let _ = file.read_to_string(&mut text);
            let process = text.trim().parse().ok();
            return Err(DataDirError::Locked { path: path.to_owned(), process });
        }
        Err(error) => return Err(DataDirError::of("locked", path)(error.into())),
    }
    let write = |file: &mut File| {
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())
    };
    write(&mut file).map_err(DataDirError::of("written to", path))?;
    Ok(file)
}

fn warn_of_foreign(path: &Path) -> Result<(), DataDirError> {
    let mut foreign = Vec::new();
    for entry in fs::read_dir(path).map_err(DataDirError::of("listed", path))? {
        let entry = entry.map_err(DataDirError::of("listed", path))?;
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let name = entry.file_name();
        if !name.to_str().is_some_and(|name| is_ours(name, is_folder)) {
            foreign.push(name.to_string_lossy().into_owned());
        }
    }
    if !foreign.is_empty() {
        foreign.sort();
        let count = foreign.len();
        foreign.truncate(FOREIGN_NAMES_MAX);
        tracing::warn!(
            folder = %path.display(), count, names = foreign.join(", "),
            "the data folder holds what is no broker's; it is left alone"
        );
    }
    Ok(())
}

fn is_ours(name: &str, is_folder: bool) -> bool {
    if !is_folder {
        return name == LOCK_FILE;
    }
    // File systems put the last one into their root.
    let is_partition = |name: &str| {
        name.rsplit_once('-')
            .is_some_and(|(topic, index)| !topic.is_empty() && index.parse::<u32>().is_ok())
    };
    let name = name.strip_suffix(".delete").or(name.strip_suffix(".stray")).unwrap_or(name);
    name == "lost+found" || name == journal::FOLDER || is_partition(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made_and_can_be_opened_again_once_it_was_let_go() {
        let root = tempfile::tempdir().expect("a folder");
        let path = root.path().join("deep/er/data");
        let first = DataDir::open(&path).expect("made");
        assert!(first.path().is_absolute() && path.is_dir());
        drop(first);
        DataDir::open(&path).expect("free again");
    }

    #[test]
    fn a_second_broker_is_told_who_holds_the_folder() {
        let root = tempfile::tempdir().expect("a folder");
        let _first = DataDir::open(root.path()).expect("free");
        let error = DataDir::open(root.path()).expect_err("locked");
        let DataDirError::Locked { process, .. } = &error else { panic!("{error}") };
        assert_eq!(*process, Some(std::process::id()));
        let text = error.to_string();
        assert!(text.contains("locked by another running broker (process "), "{text}");
    }

    #[test]
    fn a_lock_file_that_a_killed_broker_left_does_not_lock() {
        let root = tempfile::tempdir().expect("a folder");
        fs::write(root.path().join(LOCK_FILE), "123456789 and more\n").expect("written");
        DataDir::open(root.path()).expect("nobody holds it");
        let text = fs::read_to_string(root.path().join(LOCK_FILE)).expect("there");
        assert_eq!(text, format!("{}\n", std::process::id()));
    }

    #[test]
    fn a_file_in_place_of_the_folder_or_above_it_is_told() {
        let root = tempfile::tempdir().expect("a folder");
        let file = root.path().join("file");
        fs::write(&file, "").expect("written");
        for path in [file.clone(), file.join("data")] {
            let error = DataDir::open(&path).expect_err("no folder");
            assert!(matches!(error, DataDirError::NotAFolder { .. }), "{error}");
        }
    }

    #[test]
    fn what_is_no_brokers_is_left_alone() {
        let root = tempfile::tempdir().expect("a folder");
        fs::write(root.path().join("holiday.jpg"), "sea").expect("written");
        fs::create_dir(root.path().join("holiday")).expect("made");
        DataDir::open(root.path()).expect("not in the way");
        assert_eq!(fs::read(root.path().join("holiday.jpg")).expect("there"), b"sea");
        assert!(root.path().join("holiday").is_dir());
    }

    #[test]
    fn a_brokers_own_names_are_told_from_others() {
        for name in ["flights-0", "a-b-12", "__cluster_metadata-0", "x-0.delete", "y-1.stray"] {
            assert!(is_ours(name, true) && !is_ours(name, false), "{name}");
        }
        for name in ["flights", "-0", "flights-", "flights-x", "tmp"] {
            assert!(!is_ours(name, true), "{name}");
        }
        assert!(is_ours(".lock", false) && !is_ours(".lock", true));
    }
}

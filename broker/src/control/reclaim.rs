//! Folders of deleted topics, on their way out.
//!
//! A thread empties them, large files step by step with pauses, so that neither the
//! control thread nor who writes to the same disk waits for it (see
//! [`ringlog_engine::limits::RECLAIM_STEP_BYTES`]). What it does not get to goes at the next start.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use ringlog_engine::limits::{RECLAIM_PAUSE, RECLAIM_STEP_BYTES};

/// Takes folders that are to go. The thread that empties them lives while there are any.
#[derive(Default)]
pub(super) struct Reclaim {
    doomed: Option<Sender<PathBuf>>,
    /// How many folders were sent and are not emptied. At zero the thread is at its end.
    left: Arc<AtomicUsize>,
}

impl Reclaim {
    /// Has folders removed whose names are durable, and are nobody else's.
    pub(super) fn add(&mut self, doomed: Vec<PathBuf>) {
        if doomed.is_empty() {
            return;
        }
        if self.left.fetch_add(doomed.len(), Ordering::AcqRel) == 0 {
            // Another count each time: that of a thread which is gone counts for nothing.
            self.left = Arc::new(AtomicUsize::new(doomed.len()));
            self.doomed = start(Arc::clone(&self.left));
        }
        let sent = |dir| self.doomed.as_ref().is_some_and(|thread| thread.send(dir).is_ok());
        if !doomed.into_iter().map(sent).fold(true, |all, sent| all & sent) {
            // They go at the next start, and the next ones get a thread.
            self.left = Arc::default();
        }
    }
}

fn start(left: Arc<AtomicUsize>) -> Option<Sender<PathBuf>> {
    let (doomed, folders) = mpsc::channel();
    thread::Builder::new()
        .name("reclaim".into())
        .spawn(move || empty(&folders, &left))
        .inspect_err(|error| tracing::warn!(%error, "deleted folders stay until the next start"))
        .ok()
        .map(|_| doomed)
}

fn empty(folders: &Receiver<PathBuf>, left: &AtomicUsize) {
    for dir in folders {
        if let Err(error) = remove(&dir) {
            tracing::warn!(folder = %dir.display(), %error, "not removed yet; the next start tries");
        }
        if left.fetch_sub(1, Ordering::AcqRel) == 1 {
            return;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the thread serves nobody")]
fn remove(dir: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let mut length = entry.metadata()?.len();
        if length > RECLAIM_STEP_BYTES && entry.file_type()?.is_file() {
            let file = OpenOptions::new().write(true).open(entry.path())?;
            while length > RECLAIM_STEP_BYTES {
                length -= RECLAIM_STEP_BYTES;
                file.set_len(length)?;
                thread::sleep(RECLAIM_PAUSE);
            }
        }
    }
    fs::remove_dir_all(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test waits for another thread")]
    fn a_folder_goes_with_its_large_files_step_by_step() {
        let data = tempfile::tempdir().expect("a folder");
        let dir = data.path().join("topic-0.delete");
        let file = dir.join("00000000000000000000.log");
        fs::create_dir(&dir).expect("makes");
        fs::write(dir.join("small"), "a little").expect("writes");
        let sparse = fs::File::create(&file).expect("makes");
        sparse.set_len(4 * RECLAIM_STEP_BYTES).expect("extends");
        let mut reclaim = Reclaim::default();
        reclaim.add(vec![data.path().join("not-there"), dir.clone()]);
        let mut lengths = Vec::new();
        for _ in (0..100_000).take_while(|_| dir.exists()) {
            lengths.extend(sparse.metadata().map(|metadata| metadata.len()));
            thread::sleep(RECLAIM_PAUSE / 10);
        }
        assert!(!dir.exists(), "it is still there");
        lengths.dedup();
        assert!(lengths.is_sorted_by(|earlier, later| earlier >= later), "{lengths:?}");
        assert_eq!(lengths.last().map(|last| last % RECLAIM_STEP_BYTES), Some(0));
        let last = sparse.metadata().expect("it is open").len();
        assert_eq!(last, RECLAIM_STEP_BYTES, "the name went with the last step");

        let another = data.path().join("topic-1.delete");
        fs::create_dir(&another).expect("makes");
        reclaim.add(vec![another.clone()]);
        (0..100_000)
            .take_while(|_| another.exists())
            .for_each(|_| thread::sleep(RECLAIM_PAUSE / 10));
        assert!(!another.exists(), "a thread that was done is not replaced");
    }
}

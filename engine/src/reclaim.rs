//! Files that nobody needs any more, on their way out.
//!
//! A file system that frees a gigabyte at once keeps the device busy with it, if that is told of
//! freed space (`discard`): synced writes of others waited for 48 ms where they took 1 at most. So a
//! large file is shortened step by step, with pauses, before its name goes. A shard does that with
//! one file at a time, in a task that no log waits for; what it does not get to goes when the log
//! is opened the next time.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};

use crate::io::{File, Io, OpenMode, Rare};
use crate::limits::{RECLAIM_PAUSE, RECLAIM_STEP_BYTES};
use crate::segment::name::{DELETED, Kind};

/// The files of a shard that are to be removed, each under a name that says so.
#[derive(Default)]
pub(crate) struct Reclaim {
    doomed: RefCell<VecDeque<PathBuf>>,
    current: RefCell<Option<PathBuf>>,
    is_running: Cell<bool>,
}

impl Reclaim {
    /// Has files removed, whose names are known to be durable.
    pub(crate) fn add<I: Io>(self: &Rc<Self>, io: &I, paths: Vec<PathBuf>) {
        if paths.is_empty() {
            return;
        }
        self.doomed.borrow_mut().extend(paths);
        if !self.is_running.replace(true) {
            io.spawn(run(io.clone(), Rc::downgrade(self)));
        }
    }

    /// The name is about to stand for another file, which must not lose any of its bytes before
    /// that is durable.
    pub(crate) fn leave(&self, path: &Path) {
        self.doomed.borrow_mut().retain(|doomed| doomed != path);
        self.current.borrow_mut().take_if(|current| current == path);
    }

    fn next(&self) -> Option<PathBuf> {
        let next = self.doomed.borrow_mut().pop_front();
        self.is_running.set(next.is_some());
        self.current.borrow_mut().clone_from(&next);
        next
    }
}

async fn run<I: Io>(io: I, reclaim: Weak<Reclaim>) {
    let mut remover = Remover::new(&io);
    while let Some(path) = reclaim.upgrade().and_then(|reclaim| reclaim.next()) {
        let is_doomed = || {
            let reclaim = reclaim.upgrade();
            reclaim.is_some_and(|reclaim| reclaim.current.borrow().as_ref() == Some(&path))
        };
        if remover.remove(&path, is_doomed).await.is_err() {
            io.reached(Rare::ReclaimFailed);
        }
    }
}

/// Removes files at a pace that leaves the device to others.
pub(crate) struct Remover<'a, I> {
    io: &'a I,
    /// Bytes since the last pause.
    freed: u64,
}

impl<'a, I: Io> Remover<'a, I> {
    pub(crate) fn new(io: &'a I) -> Self {
        Self { io, freed: 0 }
    }

    /// Removes a file, a segment's in steps, as long as `is_doomed` says so. Fine if the file is
    /// not there.
    pub(crate) async fn remove(
        &mut self,
        path: &Path,
        is_doomed: impl Fn() -> bool,
    ) -> io::Result<()> {
        let mut length = 0;
        if is_log(path)
            && let Ok(file) = self.io.open(path, OpenMode::WriteDirect).await
        {
            // Where that fails, the name goes all the same, and the rest of the file at once.
            length = file.length().await.unwrap_or_default();
            while length > RECLAIM_STEP_BYTES
                && is_doomed()
                && file.set_length(length - RECLAIM_STEP_BYTES).await.is_ok()
            {
                length -= RECLAIM_STEP_BYTES;
                self.pace(RECLAIM_STEP_BYTES).await;
            }
        }
        if !is_doomed() {
            return Ok(());
        }
        let removed = self.io.remove_file(path).await;
        self.pace(length).await;
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    async fn pace(&mut self, bytes: u64) {
        self.freed += bytes;
        if self.freed >= RECLAIM_STEP_BYTES {
            self.freed = 0;
            self.io.sleep(RECLAIM_PAUSE).await;
        }
    }
}

/// Whether a file is a segment, doomed or not: all others are small.
fn is_log(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = name.strip_suffix(DELETED).unwrap_or(name);
    Kind::parse(name).is_some_and(|(kind, _)| kind == Kind::Log)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::sim::SimIo;

    const DOOMED: &str = "/00000000000000000000.log.deleted";

    fn file_of(io: &SimIo, steps: u64) -> PathBuf {
        let length = usize::try_from(steps * RECLAIM_STEP_BYTES).expect("fits");
        io.write_file(Path::new(DOOMED), &vec![1; length]).expect("there is space");
        PathBuf::from(DOOMED)
    }

    fn length(io: &SimIo) -> Option<u64> {
        io.read_file(Path::new(DOOMED)).ok().map(|bytes| bytes.len() as u64)
    }

    #[test]
    fn a_large_file_goes_step_by_step() {
        let io = SimIo::new(1);
        let path = file_of(&io, 3);
        let reclaim = Rc::new(Reclaim::default());
        io.run(async {
            reclaim.add(&io, vec![path]);
            let mut seen = vec![length(&io)];
            while seen.last() != Some(&None) {
                io.sleep(RECLAIM_PAUSE / 4).await;
                let now = length(&io);
                if seen.last() != Some(&now) {
                    seen.push(now);
                }
            }
            let step = RECLAIM_STEP_BYTES;
            assert_eq!(seen, [Some(3 * step), Some(2 * step), Some(step), None]);
        });
    }

    #[test]
    fn a_file_that_took_the_name_meanwhile_stays_as_it_is() {
        let io = SimIo::new(1);
        let path = file_of(&io, 3);
        let reclaim = Rc::new(Reclaim::default());
        io.run(async {
            reclaim.add(&io, vec![path.clone()]);
            io.sleep(RECLAIM_PAUSE / 2).await;
            reclaim.leave(&path);
            io.rename(&path, Path::new("/other")).await.expect("it is there");
            let new = file_of(&io, 2);
            io.sleep(100 * RECLAIM_PAUSE).await;
            assert_eq!(length(&io), Some(2 * RECLAIM_STEP_BYTES));
            reclaim.add(&io, vec![new]);
            io.sleep(100 * RECLAIM_PAUSE).await;
            assert_eq!(length(&io), None);
        });
    }

    #[test]
    fn without_its_shard_nothing_more_is_removed() {
        let io = SimIo::new(1);
        let path = file_of(&io, 3);
        let reclaim = Rc::new(Reclaim::default());
        io.run(async {
            reclaim.add(&io, vec![path]);
            io.sleep(RECLAIM_PAUSE / 2).await;
            drop(reclaim);
            io.sleep(100 * RECLAIM_PAUSE).await;
            assert_eq!(length(&io), Some(2 * RECLAIM_STEP_BYTES));
        });
    }
}

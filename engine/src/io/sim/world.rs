//! Virtual time, operations in flight, and faults.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io::{Error, ErrorKind, Result};
use std::path::PathBuf;
use std::task::Waker;
use std::time::Duration;

use super::disk::{Disk, NodeId};
use super::random::Random;
use super::{Fault, Operation};
use crate::buffer::{Buffer, BufferMut};
use crate::io::{DirEntry, Durability, OpenMode};
use crate::limits::BLOCK;

/// What was asked of the disk.
pub(super) enum Request {
    Open(PathBuf, OpenMode),
    CreateDirAll(PathBuf),
    List(PathBuf),
    Rename(PathBuf, PathBuf),
    RemoveFile(PathBuf),
    RemoveDir(PathBuf),
    SyncDir(PathBuf),
    Write { file: NodeId, is_direct: bool, buffer: Buffer, position: u64, durability: Durability },
    Read { file: NodeId, is_direct: bool, buffer: BufferMut, position: u64 },
    Sync(NodeId),
    Allocate(NodeId, u64, u64),
    SetLength(NodeId, u64),
    Length(NodeId),
    Sleep,
}

/// What came of it.
pub(super) enum Outcome {
    Done(Result<()>),
    Opened(Result<NodeId>),
    Listed(Result<Vec<DirEntry>>),
    Length(Result<u64>),
    Read(Result<()>, BufferMut),
}

impl Request {
    fn operation(&self) -> Option<Operation> {
        Some(match self {
            Self::Open(..) => Operation::Open,
            Self::CreateDirAll(_)
            | Self::List(_)
            | Self::Rename(..)
            | Self::RemoveFile(_)
            | Self::RemoveDir(_) => Operation::Names,
            Self::SyncDir(_) => Operation::SyncDir,
            Self::Write { .. } => Operation::Write,
            Self::Read { .. } => Operation::Read,
            Self::Sync(_) => Operation::Sync,
            Self::Allocate(..) => Operation::Allocate,
            Self::SetLength(..) | Self::Length(_) => Operation::Length,
            Self::Sleep => return None,
        })
    }

    /// The answer to a request that failed before it did anything.
    fn fail(self, error: Error) -> Outcome {
        match self {
            Self::Open(..) => Outcome::Opened(Err(error)),
            Self::List(_) => Outcome::Listed(Err(error)),
            Self::Length(_) => Outcome::Length(Err(error)),
            Self::Read { buffer, .. } => Outcome::Read(Err(error), buffer),
            _ => Outcome::Done(Err(error)),
        }
    }
}

/// A request that someone may be waiting for.
#[derive(Default)]
pub(super) struct Waiting {
    pub(super) waker: Option<Waker>,
    pub(super) outcome: Option<Outcome>,
}

/// All state of a simulation but its tasks.
pub(super) struct World {
    pub(super) disk: Disk,
    pub(super) random: Random,
    pub(super) elapsed: Duration,
    pub(super) faults: Vec<Fault>,
    pub(super) latency: (Duration, Duration),
    /// One operation in so many takes a hundred times as long; 0 for none.
    pub(super) slow_one_in: u64,
    pub(super) operations: u64,
    /// By time, then by number.
    queue: BinaryHeap<Reverse<(Duration, u64)>>,
    requests: BTreeMap<u64, Request>,
    pub(super) waiting: BTreeMap<u64, Waiting>,
    next_number: u64,
    /// Set by a crash: nothing completes any more.
    pub(super) is_dead: bool,
}

impl World {
    pub(super) fn new(disk: Disk, seed: u64, elapsed: Duration) -> Self {
        Self {
            disk,
            random: Random::new(seed),
            elapsed,
            faults: Vec::new(),
            latency: (Duration::from_micros(20), Duration::from_micros(200)),
            slow_one_in: 0,
            operations: 0,
            queue: BinaryHeap::new(),
            requests: BTreeMap::new(),
            waiting: BTreeMap::new(),
            next_number: 0,
            is_dead: false,
        }
    }

    /// Puts a request in flight. Its time is drawn, so that completions come in any order.
    pub(super) fn submit(&mut self, request: Request) -> u64 {
        let (min, max) = self.latency;
        let spread = u64::try_from(max.saturating_sub(min).as_nanos()).unwrap_or(u64::MAX);
        let mut delay = min + Duration::from_nanos(self.random.below(spread.max(1)));
        if self.slow_one_in > 0 && self.random.below(self.slow_one_in) == 0 {
            delay *= 100;
        }
        self.submit_after(delay, request)
    }

    pub(super) fn submit_after(&mut self, delay: Duration, request: Request) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        self.waiting.insert(number, Waiting::default());
        if !self.is_dead {
            self.queue.push(Reverse((self.elapsed.saturating_add(delay), number)));
            self.requests.insert(number, request);
        }
        number
    }

    /// Completes what is due next. `None` if nothing is in flight; then time stands still.
    pub(super) fn step(&mut self) -> Option<Option<Waker>> {
        let Reverse((at, number)) = self.queue.pop()?;
        self.elapsed = at;
        let request = self.requests.remove(&number).expect("what is queued is in flight");
        let outcome = self.complete(request);
        // Nobody is waiting if the future was dropped.
        let waiting = self.waiting.get_mut(&number);
        Some(waiting.and_then(|waiting| {
            waiting.outcome = Some(outcome);
            waiting.waker.take()
        }))
    }

    fn complete(&mut self, request: Request) -> Outcome {
        let Some(operation) = request.operation() else { return Outcome::Done(Ok(())) };
        self.operations += 1;
        if let Some(error) = self.fault(operation) {
            match &request {
                // A part of a failed write may have reached the disk.
                Request::Write { file, is_direct, buffer, position, .. } => {
                    let (disk, random) = (&mut self.disk, &mut self.random);
                    let bytes = if *is_direct { buffer.padded() } else { buffer };
                    if disk.check_space(*file, as_usize(*position) + bytes.len()).is_ok() {
                        let content = disk.content_mut(*file);
                        content.write(as_usize(*position), bytes, false, || random.percent(50));
                    }
                }
                Request::Sync(file) => self.disk.content_mut(*file).fail_sync(),
                _ => {}
            }
            return request.fail(error);
        }
        self.perform(request)
    }

    fn fault(&mut self, operation: Operation) -> Option<Error> {
        let mut kind = None;
        self.faults.retain_mut(|fault| {
            if kind.is_some() || fault.operation.is_some_and(|o| o != operation) {
                return true;
            }
            fault.skip = match fault.skip.checked_sub(1) {
                Some(skip) => skip,
                None => {
                    kind = Some(fault.kind);
                    return false;
                }
            };
            true
        });
        kind.map(|kind| Error::new(kind, format!("injected fault of a simulated {operation:?}")))
    }

    fn perform(&mut self, request: Request) -> Outcome {
        let disk = &mut self.disk;
        match request {
            Request::Open(path, mode) => Outcome::Opened(disk.open(&path, mode)),
            Request::CreateDirAll(path) => Outcome::Done(disk.create_dir_all(&path)),
            Request::List(path) => Outcome::Listed(disk.list(&path)),
            Request::Rename(from, to) => Outcome::Done(disk.rename(&from, &to)),
            Request::RemoveFile(path) => Outcome::Done(disk.remove_file(&path)),
            Request::RemoveDir(path) => Outcome::Done(disk.remove_dir(&path)),
            Request::SyncDir(path) => Outcome::Done(disk.sync_dir(&path)),
            Request::Write { file, is_direct, buffer, position, durability } => {
                Outcome::Done(self.write(file, is_direct, &buffer, position, durability))
            }
            Request::Read { file, is_direct, mut buffer, position } => {
                let result = self.read(file, is_direct, &mut buffer, position);
                Outcome::Read(result, buffer)
            }
            Request::Sync(file) => {
                disk.content_mut(file).sync();
                Outcome::Done(Ok(()))
            }
            Request::Allocate(file, position, length) => {
                let end = as_usize(position).saturating_add(as_usize(length));
                let end = end.max(disk.content(file).length());
                Outcome::Done(disk.check_space(file, end).map(|()| {
                    disk.content_mut(file).set_length(end);
                }))
            }
            Request::SetLength(file, length) => {
                disk.content_mut(file).set_length(as_usize(length));
                Outcome::Done(Ok(()))
            }
            Request::Length(file) => Outcome::Length(Ok(disk.content(file).length() as u64)),
            Request::Sleep => Outcome::Done(Ok(())),
        }
    }

    fn write(
        &mut self,
        file: NodeId,
        is_direct: bool,
        buffer: &Buffer,
        position: u64,
        durability: Durability,
    ) -> Result<()> {
        check_aligned(is_direct, position)?;
        assert!(buffer.padding_is_zero(), "buffer.padding_is_zero");
        let bytes = if is_direct { buffer.padded() } else { buffer };
        let position = as_usize(position);
        self.disk.check_space(file, position + bytes.len())?;
        let synced = durability == Durability::Synced;
        self.disk.content_mut(file).write(position, bytes, synced, || true);
        Ok(())
    }

    fn read(
        &mut self,
        file: NodeId,
        is_direct: bool,
        buffer: &mut BufferMut,
        position: u64,
    ) -> Result<()> {
        check_aligned(is_direct, position)?;
        let data = self.disk.content(file).bytes();
        let start = as_usize(position).min(data.len());
        let end = start.saturating_add(buffer.capacity()).min(data.len());
        buffer.clear();
        buffer.extend_from_slice(&data[start..end]);
        Ok(())
    }

    /// Ends this world: of each write in flight every sector may have reached the disk. Returns the
    /// disk, with its unsynced state.
    pub(super) fn end(&mut self) -> Disk {
        self.is_dead = true;
        self.queue.clear();
        let (disk, random) = (&mut self.disk, &mut self.random);
        for request in std::mem::take(&mut self.requests).into_values() {
            if let Request::Write { file, is_direct, buffer, position, .. } = request {
                let bytes = if is_direct { buffer.padded() } else { &buffer };
                let position = as_usize(position);
                let started = random.percent(50);
                if started && disk.check_space(file, position + bytes.len()).is_ok() {
                    let percent = random.below(101);
                    let content = disk.content_mut(file);
                    content.write(position, bytes, false, || random.percent(percent));
                }
            }
        }
        std::mem::replace(disk, Disk::new())
    }
}

fn as_usize(value: u64) -> usize {
    usize::try_from(value).expect("a simulated file fits into memory")
}

/// As the kernel refuses direct I/O that is not in whole blocks.
fn check_aligned(is_direct: bool, position: u64) -> Result<()> {
    if is_direct && !position.is_multiple_of(BLOCK as u64) {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!("direct I/O at {position}, which is not a multiple of {BLOCK} bytes"),
        ));
    }
    Ok(())
}

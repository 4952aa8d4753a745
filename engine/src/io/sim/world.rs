//! Virtual time, operations in flight, and faults.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io::{Error, ErrorKind, Result};
use std::path::PathBuf;
use std::task::Waker;
use std::time::Duration;

use super::content::SECTOR;
use super::disk::{Disk, NodeId};
use super::faults::{Fault, FaultCounts};
use super::random::Random;
use super::reached::ReachedCounts;
use super::{Operation, Planned, Strike};
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

    /// Whether a crash soon after may find names other than before.
    fn changes_names(&self) -> bool {
        matches!(
            self,
            Self::Rename(..) | Self::RemoveFile(_) | Self::RemoveDir(_) | Self::SyncDir(_)
        )
    }

    /// The answer to a request that failed before it did anything.
    fn fail(self, error: Error) -> Outcome {
        match self {
            Self::Open(..) => Outcome::Opened(Err(error)),
            Self::List(_) => Outcome::Listed(Err(error)),
            Self::Length(_) => Outcome::Length(Err(error)),
            Self::Read { mut buffer, .. } => {
                buffer.clear();
                Outcome::Read(Err(error), buffer)
            }
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

/// Something that is due at a time: a request, or the first part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Duration,
    number: u64,
    is_part: bool,
}

/// How the disk behaves, whatever is asked of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manners {
    pub(super) latency: (Duration, Duration),
    /// One operation in so many takes a hundred times as long; 0 for none.
    pub(super) slow_one_in: u64,
    /// One transfer in so many happens in two parts; 0 for none.
    pub(super) short_one_in: u64,
}

/// All state of a simulation but its tasks.
pub(super) struct World {
    pub(super) disk: Disk,
    pub(super) random: Random,
    pub(super) elapsed: Duration,
    pub(super) planned: Vec<Planned>,
    pub(super) manners: Manners,
    pub(super) counts: FaultCounts,
    pub(super) reached: ReachedCounts,
    /// The files of misdirected transfers.
    pub(super) misdirected: Vec<NodeId>,
    /// Files whose sync failed.
    pub(super) unsynced: Vec<NodeId>,
    pub(super) operations: u64,
    /// How many of them were to change names, or to make such changes durable.
    pub(super) name_changes: u64,
    /// Nothing completes after so many.
    pub(super) operations_max: u64,
    queue: BinaryHeap<Reverse<Due>>,
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
            planned: Vec::new(),
            manners: Manners {
                latency: (Duration::from_micros(20), Duration::from_micros(200)),
                slow_one_in: 0,
                short_one_in: 0,
            },
            counts: FaultCounts::default(),
            reached: ReachedCounts::default(),
            misdirected: Vec::new(),
            unsynced: Vec::new(),
            operations: 0,
            name_changes: 0,
            operations_max: u64::MAX,
            queue: BinaryHeap::new(),
            requests: BTreeMap::new(),
            waiting: BTreeMap::new(),
            next_number: 0,
            is_dead: false,
        }
    }

    fn one_in(&mut self, count: u64) -> bool {
        count > 0 && self.random.below(count) == 0
    }

    /// Puts a request in flight. Its time is drawn, so that completions come in any order.
    pub(super) fn submit(&mut self, mut request: Request) -> u64 {
        let (min, max) = self.manners.latency;
        let spread = u64::try_from(max.saturating_sub(min).as_nanos()).unwrap_or(u64::MAX);
        let mut delay = min + Duration::from_nanos(self.random.below(spread.max(1)));
        if self.one_in(self.manners.slow_one_in) {
            delay *= 100;
            self.counts.add(Fault::Slow);
        }
        let fault = match &mut request {
            Request::Read { buffer, .. } => {
                buffer.clear();
                Some(Fault::ShortRead).filter(|_| buffer.capacity() > SECTOR)
            }
            Request::Write { buffer, .. } => {
                Some(Fault::ShortWrite).filter(|_| buffer.len() > SECTOR)
            }
            _ => None,
        };
        let is_short = fault.is_some() && self.one_in(self.manners.short_one_in);
        let number = self.submit_after(delay, request);
        if let Some(fault) = fault.filter(|_| is_short && !self.is_dead) {
            self.counts.add(fault);
            let at = self.elapsed.saturating_add(delay / 2);
            self.queue.push(Reverse(Due { at, number, is_part: true }));
        }
        number
    }

    pub(super) fn submit_after(&mut self, delay: Duration, request: Request) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        self.waiting.insert(number, Waiting::default());
        if !self.is_dead {
            let at = self.elapsed.saturating_add(delay);
            self.queue.push(Reverse(Due { at, number, is_part: false }));
            self.requests.insert(number, request);
        }
        number
    }

    /// Completes what is due next. `None` if nothing is in flight; then time stands still.
    pub(super) fn step(&mut self) -> Option<Option<Waker>> {
        if self.operations >= self.operations_max {
            return None;
        }
        let Reverse(Due { at, number, is_part }) = self.queue.pop()?;
        self.elapsed = at;
        if is_part {
            self.begin(number);
            return Some(None);
        }
        let request = self.requests.remove(&number).expect("what is queued is in flight");
        let outcome = self.complete(request);
        // Nobody is waiting if the future was dropped.
        let waiting = self.waiting.get_mut(&number);
        Some(waiting.and_then(|waiting| {
            waiting.outcome = Some(outcome);
            waiting.waker.take()
        }))
    }

    /// The first part of a transfer that comes in two. The backend of a real disk goes on with the
    /// rest by itself, so that the engine never sees a short count, only its effects.
    fn begin(&mut self, number: u64) {
        let Some(mut request) = self.requests.remove(&number) else { return };
        match &mut request {
            Request::Write { file, is_direct, buffer, position, .. } => {
                let bytes = if *is_direct { buffer.padded() } else { buffer };
                let part = (1 + self.random.index(bytes.len() / SECTOR)) * SECTOR;
                let bytes = bytes.get(..part).unwrap_or(bytes);
                let position = as_usize(*position);
                if self.disk.check_space(*file, position + bytes.len()).is_ok() {
                    self.disk.content_mut(*file).write_part(position, bytes);
                }
            }
            Request::Read { file, buffer, position, .. } => {
                let data = self.disk.content(*file).bytes();
                let start = as_usize(*position).min(data.len());
                let end = start.saturating_add(buffer.capacity()).min(data.len());
                let part = self.random.index(end - start + 1);
                buffer.extend_from_slice(&data[start..start + part]);
            }
            _ => {}
        }
        self.requests.insert(number, request);
    }

    fn complete(&mut self, mut request: Request) -> Outcome {
        let Some(operation) = request.operation() else { return Outcome::Done(Ok(())) };
        self.operations += 1;
        self.name_changes += u64::from(request.changes_names());
        match self.strike(operation) {
            None => {}
            Some(Strike::Misdirect) => self.misdirect(&mut request),
            Some(Strike::Fail(kind)) => {
                let message = format!("injected fault of a simulated {operation:?}");
                return self.fail(request, Error::new(kind, message));
            }
        }
        self.perform(request)
    }

    fn fail(&mut self, request: Request, error: Error) -> Outcome {
        self.counts.add(match request {
            Request::Sync(_) => Fault::FailedSync,
            _ if error.kind() == ErrorKind::StorageFull => Fault::DiskFull,
            _ => Fault::Error,
        });
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
            Request::Sync(file) => {
                self.disk.content_mut(*file).fail_sync();
                self.unsynced.push(*file);
            }
            _ => {}
        }
        request.fail(error)
    }

    fn strike(&mut self, operation: Operation) -> Option<Strike> {
        let mut strike = None;
        self.planned.retain_mut(|planned| {
            if strike.is_some() || planned.operation.is_some_and(|o| o != operation) {
                return true;
            }
            planned.skip = match planned.skip.checked_sub(1) {
                Some(skip) => skip,
                None => {
                    strike = Some(planned.strike);
                    return false;
                }
            };
            true
        });
        strike
    }

    /// Sends a transfer to another place of its file or of another one. What it overwrites there
    /// lies within the file, and is as durable as what should have been written.
    fn misdirect(&mut self, request: &mut Request) {
        let (file, position, length, fault) = match request {
            Request::Write { file, position, buffer, .. } => {
                (file, position, buffer.padded().len(), Fault::MisdirectedWrite)
            }
            Request::Read { file, position, .. } => (file, position, 1, Fault::MisdirectedRead),
            _ => return,
        };
        // Another log's batches of the same offsets could not be told from the right ones: Kafka's
        // format does not say which log a batch belongs to.
        let room = self.disk.content(*file).length().saturating_sub(length) / BLOCK;
        let block = self.random.index(room + 1);
        let elsewhere = (block * BLOCK) as u64;
        let fits = self.disk.content(*file).length() >= length;
        if fits && elsewhere != *position {
            *position = elsewhere;
            self.misdirected.push(*file);
            self.counts.add(fault);
        }
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
                let space = disk.check_space(file, end);
                match &space {
                    Ok(()) => disk.content_mut(file).set_length(end),
                    Err(_) => self.counts.add(Fault::DiskFull),
                }
                Outcome::Done(space)
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
        if let Err(error) = self.disk.check_space(file, position + bytes.len()) {
            self.counts.add(Fault::DiskFull);
            return Err(error);
        }
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
        // What a first part brought stays, if the file has not ended before it since.
        let start = as_usize(position).saturating_add(buffer.len()).min(data.len());
        let end = start.saturating_add(buffer.spare()).min(data.len());
        buffer.extend_from_slice(&data[start..end]);
        Ok(())
    }

    /// The disk with all writes in flight done and nothing of them synced: what a crash may take
    /// apart.
    pub(super) fn image(&self) -> Disk {
        let mut disk = self.disk.clone();
        for request in self.requests.values() {
            if let Request::Write { file, is_direct, buffer, position, .. } = request {
                let bytes = if *is_direct { buffer.padded() } else { buffer };
                let position = as_usize(*position);
                if disk.check_space(*file, position + bytes.len()).is_ok() {
                    disk.content_mut(*file).write(position, bytes, false, || true);
                }
            }
        }
        disk
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
                disk.content_mut(file).end_parts();
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

//! A deterministic simulated disk and clock.
//!
//! [`SimIo`] implements [`Io`] in memory. Time is virtual: it stands still while tasks run, and
//! leaps to the next completion when all of them wait. Which operation completes when, what a
//! crash leaves and which number is random all follow from the seed, so that a run repeats exactly.
//!
//! # The fault model
//!
//! - **Loss of power** ([`SimIo::crash`]): every [sector](crate::limits::SECTOR_BYTES) written since
//!   the last sync is independently new, an earlier version, or what the last sync left, so that
//!   larger writes tear. One that never held synced bytes may also be zero, garbage, or what a
//!   removed file that was no segment left there. A file's length is the synced one or a later one.
//!   Creations, renames and removals survive as a prefix of their folder's
//!   ([`SimIo::set_unordered_names`]: any of them), unless [`Io::sync_dir`] made them durable.
//!   Syncing a file does not make its name durable.
//! - **Death of the process** ([`SimIo::kill`]): what completed stays, synced or not; of writes in
//!   flight any part.
//! - **Errors** ([`SimIo::fail_once`]): any operation fails once. After a failed sync the sectors it
//!   was for are passed over by later syncs, which report success, as on Linux.
//! - **Short transfers** ([`SimIo::set_short_transfers`]): a write reaches the file in two parts,
//!   and a read sees it at two moments. The backend goes on by itself after a short count, so the
//!   engine sees the effects only.
//! - **Misdirected transfers** ([`SimIo::misdirect_once`]): another place of the file is
//!   written or read.
//! - **No space** ([`SimIo::set_capacity`]), **bit rot** ([`SimIo::flip_bit`]), **slow operations**
//!   ([`SimIo::set_latency`], [`SimIo::set_slow_operations`]), completions in any order.
//!
//! [`SimIo::faults`] counts what was injected.

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

mod content;
mod disk;
mod faults;
mod random;
mod reached;
mod world;

use self::disk::{Disk, NodeId};
pub use self::faults::{Fault, FaultCounts};
pub use self::reached::ReachedCounts;
use self::world::{Outcome, Request, World};
use super::executor::Executor;
use super::{DirEntry, Durability, File, Io, OpenMode, Rare};
use crate::buffer::{Buffer, BufferMut};
use crate::offset::Timestamp;

/// The wall-clock time at which every simulation starts: 2024-01-01 UTC, in milliseconds.
const START_MS: i64 = 1_704_067_200_000;

/// A kind of operation, for [`SimIo::fail_once`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// [`Io::open`].
    Open,
    /// [`Io::create_dir_all`], [`Io::list_dir`], [`Io::rename`], [`Io::remove_file`] and
    /// [`Io::remove_dir`].
    Names,
    /// [`Io::sync_dir`].
    SyncDir,
    /// [`File::write_at`]. Any of a failed write's sectors may have been written.
    Write,
    /// [`File::read_at`].
    Read,
    /// [`File::sync`].
    Sync,
    /// [`File::allocate`].
    Allocate,
    /// [`File::length`] and [`File::set_length`].
    Length,
}

/// A fault to come.
struct Planned {
    operation: Option<Operation>,
    /// Operations of this kind that pass before it strikes.
    skip: u64,
    strike: Strike,
}

/// What a planned fault does.
#[derive(Debug, Clone, Copy)]
enum Strike {
    Fail(ErrorKind),
    Misdirect,
}

/// A simulated disk, clock and executor. Cloning gives another handle to the same.
#[derive(Clone)]
pub struct SimIo {
    world: Rc<RefCell<World>>,
    executor: Executor,
}

impl SimIo {
    /// An empty disk. Everything that happens to it follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_world(World::new(Disk::new(), seed, Duration::ZERO))
    }

    fn with_world(world: World) -> Self {
        Self { world: Rc::new(RefCell::new(world)), executor: Executor::new() }
    }

    /// Runs a future and the tasks it spawns until it resolves. Tasks that are left stay, and go on
    /// with the next run.
    ///
    /// # Panics
    ///
    /// If everything waits and nothing is in flight.
    pub fn run<T>(&self, main: impl Future<Output = T>) -> T {
        self.run_operations(main, u64::MAX).expect("the simulation is deadlocked")
    }

    /// As [`SimIo::run`], but stops (`None`) once `operations` have completed, or when nothing can
    /// happen any more. The place to [crash](SimIo::crash) in the middle of things.
    pub fn run_operations<T>(
        &self,
        main: impl Future<Output = T>,
        mut operations: u64,
    ) -> Option<T> {
        self.executor.block_on(main, |is_idle| {
            if !is_idle {
                return ControlFlow::Continue(());
            }
            if operations == 0 {
                return ControlFlow::Break(());
            }
            operations -= 1;
            let step = self.world.borrow_mut().step();
            match step {
                Some(waker) => {
                    if let Some(waker) = waker {
                        waker.wake();
                    }
                    ControlFlow::Continue(())
                }
                None => ControlFlow::Break(()),
            }
        })
    }

    /// Cuts the power. Returns the disk as the next start finds it, on a clock that went on, with
    /// the same manners; this handle's tasks are dropped and its operations never complete.
    #[must_use]
    pub fn crash(&self) -> Self {
        self.end(Fault::PowerLoss)
    }

    /// Ends the process, as `kill -9` does. Returns the disk as the next start finds it, still with
    /// its unsynced state; this handle's tasks are dropped and its operations never complete.
    #[must_use]
    pub fn kill(&self) -> Self {
        self.end(Fault::Kill)
    }

    fn end(&self, fault: Fault) -> Self {
        let next = {
            let mut guard = self.world.borrow_mut();
            let world = &mut *guard;
            assert!(!world.is_dead, "this simulated machine has crashed already");
            let mut disk = world.end();
            world.counts.add(fault);
            if fault == Fault::PowerLoss {
                disk.crash(&mut world.random, &mut world.counts);
            }
            let mut next = World::new(disk, world.random.next(), world.elapsed);
            next.manners = world.manners;
            next.counts = world.counts;
            next.reached = world.reached;
            next
        };
        // Outside of the borrow: dropping a task drops its operations, which look at the world.
        self.executor.clear();
        Self::with_world(next)
    }

    /// Another disk with the same content, synced and unsynced, on which nothing is in flight. What
    /// happens to it follows from `seed`: the way to many crashes of one state.
    #[must_use]
    pub fn fork(&self, seed: u64) -> Self {
        let world = self.world.borrow();
        Self::with_world(World::new(world.disk.clone(), seed, world.elapsed))
    }

    /// Another disk, after a loss of power that is chosen instead of drawn: `choose` is given how
    /// many ways there are for one thing (a sector, a length, the names), and says which it is. This
    /// one goes on as if nothing had happened: the way to every crash of one state.
    #[must_use]
    pub fn crash_as(&self, choose: &mut dyn FnMut(usize) -> usize) -> Self {
        let world = self.world.borrow();
        let mut disk = world.image();
        disk.crash_as(choose);
        Self::with_world(World::new(disk, 0, world.elapsed))
    }

    /// Has nothing complete any more once `operations` have: the disk as it is at that moment.
    pub fn stop_after(&self, operations: u64) {
        self.world.borrow_mut().operations_max = operations;
    }

    /// Makes one operation fail with `kind`: the one after `skip` more of its kind (of any kind for
    /// `None`) have completed.
    pub fn fail_once(&self, operation: Option<Operation>, skip: u64, kind: ErrorKind) {
        let strike = Strike::Fail(kind);
        self.world.borrow_mut().planned.push(Planned { operation, skip, strike });
    }

    /// Sends one write or read elsewhere in its file: the one after `skip` more of its kind have completed.
    /// Other operations have no place to miss, and are not changed.
    pub fn misdirect_once(&self, operation: Operation, skip: u64) {
        let (operation, strike) = (Some(operation), Strike::Misdirect);
        self.world.borrow_mut().planned.push(Planned { operation, skip, strike });
    }

    /// The files of the misdirected transfers since the last call, in order, as far as they are
    /// still there.
    pub fn take_misdirected(&self) -> Vec<PathBuf> {
        let mut world = self.world.borrow_mut();
        let files = std::mem::take(&mut world.misdirected);
        files.into_iter().filter_map(|file| world.disk.path_of(file)).collect()
    }

    /// The files whose sync failed, as far as they are still there, since this machine's last start:
    /// later syncs report success without what they lost.
    #[must_use]
    pub fn unsynced(&self) -> Vec<PathBuf> {
        let world = self.world.borrow();
        world.unsynced.iter().filter_map(|&file| world.disk.path_of(file)).collect()
    }

    /// How many faults that were asked for have not struck yet.
    #[must_use]
    pub fn faults_to_come(&self) -> usize {
        self.world.borrow().planned.len()
    }

    /// Takes back the faults that have not struck yet.
    pub fn forget_faults(&self) {
        self.world.borrow_mut().planned.clear();
    }

    /// How often each fault was injected since the simulation began, over all crashes.
    #[must_use]
    pub fn faults(&self) -> FaultCounts {
        self.world.borrow().counts
    }

    /// From now on each change of names since the last sync of its folder survives a loss of power or
    /// not, whatever becomes of the others: no journaling file system does that, but none promises
    /// not to.
    pub fn set_unordered_names(&self) {
        self.world.borrow_mut().disk.set_unordered_names();
    }

    /// How often the engine took each of its rare branches since the simulation began, over all
    /// crashes.
    #[must_use]
    pub fn reached_counts(&self) -> ReachedCounts {
        self.world.borrow().reached
    }

    /// Bounds the bytes that all files together may take, counted in whole blocks.
    pub fn set_capacity(&self, bytes: u64) {
        self.world.borrow_mut().disk.set_capacity(bytes);
    }

    /// Bytes that all files together take, counted in whole blocks.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.world.borrow().disk.used()
    }

    /// How many operations have completed.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.world.borrow().operations
    }

    /// How many renames, removals and syncs of folders have completed since this machine's last
    /// start: what a crash is aimed at that is to come in the middle of them.
    #[must_use]
    pub fn name_changes(&self) -> u64 {
        self.world.borrow().name_changes
    }

    /// Sets how long operations take: evenly between `min` and `max`.
    pub fn set_latency(&self, min: Duration, max: Duration) {
        self.world.borrow_mut().manners.latency = (min, max);
    }

    /// Makes one operation in `one_in` take a hundred times as long; 0 for none.
    pub fn set_slow_operations(&self, one_in: u64) {
        self.world.borrow_mut().manners.slow_one_in = one_in;
    }

    /// Makes one transfer in `one_in` happen in two parts, some time apart; 0 for none.
    pub fn set_short_transfers(&self, one_in: u64) {
        self.world.borrow_mut().manners.short_one_in = one_in;
    }

    /// Flips a bit of the byte at `position` of a file at rest.
    ///
    /// # Errors
    ///
    /// If there is no such file, or it ends at `position` or before.
    pub fn flip_bit(&self, path: &Path, position: u64) -> io::Result<()> {
        let mut world = self.world.borrow_mut();
        let bit = u32::try_from(world.random.below(8)).expect("below 8");
        let file = world.disk.file(path)?;
        let content = world.disk.content_mut(file);
        let position = usize::try_from(position).ok().filter(|&p| p < content.length());
        content.flip_bit(position.ok_or(ErrorKind::UnexpectedEof)?, bit);
        world.counts.add(Fault::BitFlip);
        Ok(())
    }

    /// What a reader sees of a file.
    ///
    /// # Errors
    ///
    /// If there is no such file.
    pub fn read_file(&self, path: &Path) -> io::Result<Vec<u8>> {
        let world = self.world.borrow();
        Ok(world.disk.content(world.disk.file(path)?).bytes().to_vec())
    }

    /// Makes or replaces a file; its bytes are durable at once, a new name as usual.
    ///
    /// # Errors
    ///
    /// If its folder does not exist.
    pub fn write_file(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut world = self.world.borrow_mut();
        let file = world.disk.open(path, OpenMode::CreateBuffered)?;
        world.disk.content_mut(file).replace(bytes);
        Ok(())
    }

    /// A checksum of every name and byte that a reader sees: equal for equal runs.
    #[must_use]
    pub fn fingerprint(&self) -> u32 {
        let mut sum = 0;
        self.world.borrow().disk.visit(&mut |bytes| sum = crc32c::crc32c_append(sum, bytes));
        sum
    }

    fn request(&self, request: Request) -> Pendency {
        let number = self.world.borrow_mut().submit(request);
        Pendency { world: Rc::clone(&self.world), number }
    }

    async fn done(&self, request: Request) -> io::Result<()> {
        match self.request(request).await {
            Outcome::Done(result) => result,
            _ => unreachable!("the request is one without a result"),
        }
    }
}

/// Waits for the outcome of a request.
struct Pendency {
    world: Rc<RefCell<World>>,
    number: u64,
}

impl Future for Pendency {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let mut world = self.world.borrow_mut();
        let waiting = world.waiting.get_mut(&self.number).expect("removed on drop only");
        match waiting.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                waiting.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Pendency {
    fn drop(&mut self) {
        let waiting = self.world.borrow_mut().waiting.remove(&self.number);
        drop(waiting);
    }
}

impl Io for SimIo {
    type File = SimFile;

    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<SimFile> {
        let is_direct = match mode {
            OpenMode::ReadDirect | OpenMode::WriteDirect | OpenMode::CreateDirect => true,
            OpenMode::ReadBuffered | OpenMode::CreateBuffered | OpenMode::WriteBuffered => false,
        };
        match self.request(Request::Open(path.to_owned(), mode)).await {
            Outcome::Opened(result) => {
                result.map(|file| SimFile { io: self.clone(), file, is_direct })
            }
            _ => unreachable!("the request is to open"),
        }
    }

    async fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.done(Request::CreateDirAll(path.to_owned())).await
    }

    async fn list_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        match self.request(Request::List(path.to_owned())).await {
            Outcome::Listed(result) => result,
            _ => unreachable!("the request is to list"),
        }
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.done(Request::Rename(from.to_owned(), to.to_owned())).await
    }

    async fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.done(Request::RemoveFile(path.to_owned())).await
    }

    async fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.done(Request::RemoveDir(path.to_owned())).await
    }

    async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.done(Request::SyncDir(path.to_owned())).await
    }

    fn now(&self) -> Timestamp {
        let elapsed_ms = i64::try_from(self.elapsed().as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(START_MS.saturating_add(elapsed_ms))
    }

    fn elapsed(&self) -> Duration {
        self.world.borrow().elapsed
    }

    async fn sleep(&self, duration: Duration) {
        let number = self.world.borrow_mut().submit_after(duration, Request::Sleep);
        Pendency { world: Rc::clone(&self.world), number }.await;
    }

    fn random(&self) -> u64 {
        self.world.borrow_mut().random.next()
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.executor.spawn(task);
    }

    fn reached(&self, branch: Rare) {
        self.world.borrow_mut().reached.add(branch);
    }
}

/// An open file of a [`SimIo`].
#[derive(Clone)]
pub struct SimFile {
    io: SimIo,
    file: NodeId,
    is_direct: bool,
}

impl File for SimFile {
    async fn write_at(
        &self,
        buffer: Buffer,
        position: u64,
        durability: Durability,
    ) -> io::Result<()> {
        let (file, is_direct) = (self.file, self.is_direct);
        self.io.done(Request::Write { file, is_direct, buffer, position, durability }).await
    }

    async fn read_at(&self, buffer: BufferMut, position: u64) -> (io::Result<()>, BufferMut) {
        let (file, is_direct) = (self.file, self.is_direct);
        match self.io.request(Request::Read { file, is_direct, buffer, position }).await {
            Outcome::Read(result, buffer) => (result, buffer),
            _ => unreachable!("the request is to read"),
        }
    }

    async fn sync(&self) -> io::Result<()> {
        self.io.done(Request::Sync(self.file)).await
    }

    async fn allocate(&self, position: u64, length: u64) -> io::Result<()> {
        self.io.done(Request::Allocate(self.file, position, length)).await
    }

    async fn set_length(&self, length: u64) -> io::Result<()> {
        self.io.done(Request::SetLength(self.file, length)).await
    }

    async fn length(&self) -> io::Result<u64> {
        match self.io.request(Request::Length(self.file)).await {
            Outcome::Length(result) => result,
            _ => unreachable!("the request is for the length"),
        }
    }
}

//! The one seam between the engine and the world: files, clocks, randomness, and tasks.
//!
//! Everything the engine does to a disk or asks of a clock goes through [`Io`] and [`File`]. Two
//! backends implement them: [`uring`], which runs on the kernel's io_uring, and [`sim`], a
//! deterministic in-memory disk that loses what was not synced. The code above is the same for
//! both, so what is simulated is what ships.

use std::future::Future;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::buffer::{Buffer, BufferMut};
use crate::offset::Timestamp;

pub(crate) mod executor;
mod rare;
pub mod sim;
pub mod uring;
mod wakes;

#[doc(hidden)]
pub use self::rare::Rare;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, for reading past the page cache. Positions and buffer capacities are
    /// multiples of [`crate::limits::BLOCK`].
    ReadDirect,
    /// An existing file, for reading and for whole-block writes past the page cache.
    WriteDirect,
    /// A file that must not exist yet, otherwise as [`OpenMode::WriteDirect`].
    CreateDirect,
    /// An existing file, for reading through the page cache: any position, any length.
    ReadBuffered,
    /// A new or emptied file, written through the page cache: any position, any length.
    CreateBuffered,
    /// An existing file as it is, or a new one, written through the page cache: any position, any
    /// length.
    WriteBuffered,
}

/// What a finished write promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The bytes, and all metadata needed to find them again, are on stable storage
    /// (`RWF_DSYNC`).
    Synced,
    /// The kernel has taken the bytes: they survive the process, not a loss of power.
    Written,
}

/// One entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The entry's name, without its folder. Names that are not UTF-8 are left out of listings.
    pub name: String,
    /// Whether it is a folder.
    pub is_dir: bool,
    /// Its length in bytes; 0 for folders.
    pub length: u64,
}

/// A backend: files by path, a clock, randomness and a place to run tasks.
///
/// Cloning is cheap and gives another handle to the same backend. A backend belongs to one
/// thread; none of its futures are `Send`.
///
/// # Rules an implementer keeps
///
/// - A future dropped before it resolves may or may not have taken effect, and is memory safe.
/// - Creations, renames and removals are durable only after [`Io::sync_dir`] of their folder.
/// - An error is reported once and never retried inside the backend (`EINTR` and short
///   transfers aside).
pub trait Io: Clone + 'static {
    /// An open file of this backend.
    type File: File;

    /// Opens a file. `ErrorKind::NotFound` and `ErrorKind::AlreadyExists` as the mode says.
    fn open(&self, path: &Path, mode: OpenMode) -> impl Future<Output = io::Result<Self::File>>;
    /// Creates a folder and the folders above it; fine if it is there already.
    fn create_dir_all(&self, path: &Path) -> impl Future<Output = io::Result<()>>;
    /// Lists a folder, sorted by name.
    fn list_dir(&self, path: &Path) -> impl Future<Output = io::Result<Vec<DirEntry>>>;
    /// Renames within one file system, replacing the target.
    fn rename(&self, from: &Path, to: &Path) -> impl Future<Output = io::Result<()>>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> impl Future<Output = io::Result<()>>;
    /// Removes an empty folder.
    fn remove_dir(&self, path: &Path) -> impl Future<Output = io::Result<()>>;
    /// Makes creations, renames and removals in this folder durable.
    fn sync_dir(&self, path: &Path) -> impl Future<Output = io::Result<()>>;

    /// Wall-clock time.
    fn now(&self) -> Timestamp;
    /// Time since some fixed point, never going back.
    fn elapsed(&self) -> Duration;
    /// Resolves after at least `duration`.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()>;
    /// A random number, reproducible in simulation.
    fn random(&self) -> u64;
    /// Runs a task on this thread until it ends.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);

    /// The engine has taken a branch that few runs take. Does nothing, unless a simulation wants to
    /// know which of them it has seen.
    #[doc(hidden)]
    #[inline(always)]
    fn reached(&self, _: Rare) {}
}

/// An open file. Cloning is cheap; the file is closed when the last clone is dropped.
pub trait File: Clone + 'static {
    /// Writes the whole buffer at `position`.
    ///
    /// For a file opened direct, `position` is a multiple of [`crate::limits::BLOCK`] and what is
    /// written is [`Buffer::padded`] (the buffer with zeros up to a whole block). For a buffered
    /// file exactly the buffer's bytes are written.
    fn write_at(
        &self,
        buffer: Buffer,
        position: u64,
        durability: Durability,
    ) -> impl Future<Output = io::Result<()>>;

    /// Reads from `position` until the buffer is full or the file ends, replacing what the buffer
    /// held; its length says how much was read. The buffer comes back also with an error.
    fn read_at(
        &self,
        buffer: BufferMut,
        position: u64,
    ) -> impl Future<Output = (io::Result<()>, BufferMut)>;

    /// Makes all completed writes to this file, and its length, durable.
    fn sync(&self) -> impl Future<Output = io::Result<()>>;

    /// Reserves space for `position..position + length` and extends the file's length to cover
    /// it. New bytes read as zeros. `ErrorKind::StorageFull` when there is no space, and then
    /// nothing has changed.
    fn allocate(&self, position: u64, length: u64) -> impl Future<Output = io::Result<()>>;

    /// Cuts or extends the file to exactly `length` bytes.
    fn set_length(&self, length: u64) -> impl Future<Output = io::Result<()>>;

    /// The file's length in bytes.
    fn length(&self) -> impl Future<Output = io::Result<u64>>;
}

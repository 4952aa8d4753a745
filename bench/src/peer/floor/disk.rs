//! The floor's disk: batches gathered into one aligned buffer, written with one direct and synced
//! write through a bare ring.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use io_uring::{IoUring, opcode, types};
use rustix::fs::{FallocateFlags, OFlags, fallocate};
use rustix::io::ReadWriteFlags;
use serde::Serialize;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of the unit of direct I/O.
pub(in crate::peer) const BLOCK: usize = 4096;
/// Writes in flight, as many as one of Ringlog's logs has.
const WRITES: usize = 4;
/// Bytes at which a write is full, unless one batch is larger.
const WRITE_BYTES: usize = 256 * 1024;
/// Bytes of the file that is written in a circle.
const CIRCLE_BYTES: u64 = 64 * 1024 * 1024;
/// Bytes by which a file of fresh ground grows.
pub(in crate::peer) const FRESH_BYTES: u64 = 1024 * 1024 * 1024;

/// What is written on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Ground {
    /// A file that was written before, in a circle: the best that a device gives.
    Prewritten,
    /// Reserved space that nobody wrote before, as a log that keeps what it is given has.
    Fresh,
}

/// Memory as direct I/O wants it.
#[derive(Clone, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4096))]
pub(in crate::peer) struct Block([u8; BLOCK]);

impl Default for Block {
    fn default() -> Self {
        Self([0; BLOCK])
    }
}

/// A buffer, and those who wait for it to be durable.
struct Write<T> {
    blocks: Vec<Block>,
    used: usize,
    waiting: Vec<T>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    InFlight,
    /// Written, while one that was submitted before is not.
    Written,
}

/// A file, its writes, and a ring. `T` is what a batch's sender is known by.
pub(super) struct Disk<T> {
    ring: IoUring,
    file: File,
    path: PathBuf,
    ground: Ground,
    position: u64,
    length: u64,
    writes: Vec<Write<T>>,
    /// The write that is being filled.
    filling: Option<usize>,
    /// Writes in flight, in the order in which they were submitted: that is the order in which
    /// senders hear of them, as each expects its answers in the order of its requests.
    submitted: VecDeque<usize>,
}

impl<T> Disk<T> {
    /// A file of its own in `folder`, gone when this is dropped.
    pub(super) fn new(folder: &Path, ground: Ground, batch_bytes_max: usize) -> io::Result<Self> {
        let write_bytes = batch_bytes_max.max(WRITE_BYTES).next_multiple_of(BLOCK);
        let write = || Write {
            blocks: vec![Block::default(); write_bytes / BLOCK],
            used: 0,
            waiting: Vec::new(),
            state: State::Free,
        };
        let path = folder.join(format!("ringlog-bench-floor-{}", std::process::id()));
        let direct = i32::try_from(OFlags::DIRECT.bits()).map_err(io::Error::other)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).custom_flags(direct);
        let file = options.open(&path)?;
        let ring = IoUring::new(u32::try_from(2 * WRITES).map_err(io::Error::other)?)?;
        let writes = (0..WRITES).map(|_| write()).collect();
        let (filling, submitted) = (None, VecDeque::new());
        let (position, length) = (0, 0);
        let mut disk =
            Self { ring, file, path, ground, position, length, writes, filling, submitted };
        disk.prepare()?;
        Ok(disk)
    }

    fn prepare(&mut self) -> io::Result<()> {
        match self.ground {
            Ground::Prewritten => {
                let zeros = vec![Block::default(); WRITE_BYTES / BLOCK];
                let zeros = zeros.as_bytes();
                self.length = CIRCLE_BYTES;
                for position in (0..CIRCLE_BYTES).step_by(WRITE_BYTES) {
                    self.file.write_all_at(zeros, position)?;
                }
            }
            Ground::Fresh => self.grow()?,
        }
        self.file.sync_all()
    }

    fn grow(&mut self) -> io::Result<()> {
        fallocate(&self.file, FallocateFlags::empty(), self.length, FRESH_BYTES)?;
        self.length += FRESH_BYTES;
        Ok(())
    }

    /// The ring, for a poller: it can be read when a write is done.
    pub(super) fn ring(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }

    /// Copies a batch to where it will be written from; `false` if every buffer is in use.
    pub(super) fn add(&mut self, batch: &[u8], sender: T) -> io::Result<bool> {
        let full = |write: &Write<T>| write.used + batch.len() > write.blocks.len() * BLOCK;
        if self.filling.is_some_and(|index| full(&self.writes[index])) {
            self.submit()?;
        }
        let is_free = |write: &Write<T>| write.state == State::Free;
        let free = self.filling.or_else(|| self.writes.iter().position(is_free));
        let Some(index) = free else { return Ok(false) };
        let write = &mut self.writes[index];
        if full(write) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let end = write.used + batch.len();
        write.blocks.as_mut_bytes()[write.used..end].copy_from_slice(batch);
        write.used = end;
        write.waiting.push(sender);
        self.filling = Some(index);
        Ok(true)
    }

    /// Hands over the buffer that is being filled.
    pub(super) fn submit(&mut self) -> io::Result<()> {
        if let Some(index) = self.filling.take() {
            self.start(index)?;
            self.submitted.push_back(index);
            self.ring.submit()?;
        }
        Ok(())
    }

    fn start(&mut self, index: usize) -> io::Result<()> {
        let used = self.writes[index].used;
        let padded = used.next_multiple_of(BLOCK);
        let bytes = u64::try_from(padded).map_err(io::Error::other)?;
        if self.position + bytes > self.length {
            match self.ground {
                Ground::Prewritten => self.position = 0,
                Ground::Fresh => self.grow()?,
            }
        }
        let write = &mut self.writes[index];
        write.blocks.as_mut_bytes()[used..padded].fill(0);
        let length = u32::try_from(padded).map_err(io::Error::other)?;
        let flags = i32::try_from(ReadWriteFlags::DSYNC.bits()).map_err(io::Error::other)?;
        let target = types::Fd(self.file.as_raw_fd());
        let entry = opcode::Write::new(target, write.blocks.as_ptr().cast(), length)
            .offset(self.position)
            .rw_flags(flags)
            .build()
            .user_data(u64::try_from(index).map_err(io::Error::other)?);
        write.used = padded;
        write.state = State::InFlight;
        self.position += bytes;
        // SAFETY: the blocks are neither grown, moved nor touched while the write is in flight:
        // only free ones are filled, and dropping the disk waits for the others.
        unsafe { self.ring.submission().push(&entry) }.map_err(io::Error::other)
    }

    /// Takes the writes that are done, and gives who waited for them to `durable`.
    pub(super) fn complete(&mut self, mut durable: impl FnMut(T)) -> io::Result<()> {
        while let Some(entry) = self.ring.completion().next() {
            let index = usize::try_from(entry.user_data()).map_err(io::Error::other)?;
            let write = &mut self.writes[index];
            write.state = State::Written;
            let written = usize::try_from(entry.result());
            let written = written.map_err(|_| io::Error::from_raw_os_error(-entry.result()))?;
            if written != write.used {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        while let Some(&index) = self.submitted.front() {
            let write = &mut self.writes[index];
            if write.state != State::Written {
                break;
            }
            self.submitted.pop_front();
            write.used = 0;
            write.state = State::Free;
            write.waiting.drain(..).for_each(&mut durable);
        }
        Ok(())
    }
}

impl<T> Drop for Disk<T> {
    fn drop(&mut self) {
        while self.writes.iter().any(|write| write.state == State::InFlight) {
            if self.ring.submit_and_wait(1).is_err() {
                // The kernel may still read from the blocks: they must outlive this.
                std::mem::forget(std::mem::take(&mut self.writes));
                break;
            }
            // A write that failed is over as well.
            let _ = self.complete(drop);
        }
        // A file that stays is only in the way of people.
        let _ = fs::remove_file(&self.path);
    }
}

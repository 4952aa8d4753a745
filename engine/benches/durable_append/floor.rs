//! The floor: the least work that acknowledges the same appends at the same durability.
//!
//! One thread and a bare ring. All appends that wait are copied into one buffer, each with its
//! length and CRC-32C, padded to a block, and written with `O_DIRECT` and `RWF_DSYNC`; up to four
//! such writes are in flight. The clients are state machines in the same thread: each waits for its
//! acknowledgement and appends again. There is no index, no recovery, no order between writes, and
//! all logs are one.
//!
//! There are two grounds to write on. A file that was written before and is used in a circle is the
//! best that a device gives, and what a journal writes on. A log that keeps what it is given writes
//! on fresh ground: reserved space that nobody wrote before, whose extents the file system has to
//! turn into written ones with each write.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Error;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::Instant;

use io_uring::{IoUring, cqueue, opcode, types};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::cell::{Cell, Course, Failure, Figures, Pace, Tally, measure, now};

/// Bytes of the unit of direct I/O.
const BLOCK: usize = 4096;
/// Bytes that go before each payload: its length and checksum.
const PREFIX_BYTES: usize = 8;
/// Writes in flight, as many as a Ringlog log has.
const WRITES: usize = 4;
/// Bytes at which a write is full, unless one payload is larger.
const WRITE_BYTES: usize = 256 * 1024;
/// Bytes of the file that is written in a circle.
const CIRCLE_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of each file of fresh ground.
const FRESH_BYTES: usize = 1024 * 1024 * 1024;

/// Memory as direct I/O wants it.
#[derive(Clone, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4096))]
struct Block([u8; BLOCK]);

/// A buffer, and the appends whose bytes it carries.
struct Write {
    blocks: Vec<Block>,
    begun: Vec<Instant>,
    bytes: usize,
    is_free: bool,
}

/// What the floor writes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ground {
    /// One file whose blocks are all written, again and again.
    Circle,
    /// Files with reserved space, each once from front to back.
    Fresh,
}

/// Runs one cell of the floor.
pub(crate) fn run(cell: &Cell, ground: Ground) -> Result<Figures, Failure> {
    measure(cell, 1, |_, course| {
        crate::machine::pin(cell.cpu)?;
        appends(cell, ground, course)
    })
}

/// The files that are written, and where the next write goes.
struct Files<'a> {
    cell: &'a Cell,
    ground: Ground,
    zeros: &'a [Block],
    /// All of them: writes in flight may be of an earlier one.
    open: Vec<File>,
    length: usize,
    position: usize,
}

impl<'a> Files<'a> {
    fn new(cell: &'a Cell, ground: Ground, zeros: &'a [Block]) -> Result<Self, Failure> {
        let length = match ground {
            Ground::Circle => CIRCLE_BYTES,
            Ground::Fresh => FRESH_BYTES,
        };
        let mut files = Self { cell, ground, zeros, open: Vec::new(), length, position: 0 };
        files.begin()?;
        Ok(files)
    }

    /// The next file.
    fn begin(&mut self) -> Result<(), Failure> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).custom_flags(libc::O_DIRECT);
        let file = options.open(self.cell.dir.join(format!("floor-{}", self.open.len())))?;
        match self.ground {
            Ground::Circle => {
                // So that no write has to change the file's extents.
                let zeros = self.zeros.as_bytes();
                for position in (0..self.length).step_by(zeros.len()) {
                    file.write_all_at(zeros, position as u64)?;
                }
            }
            Ground::Fresh => {
                let flags = rustix::fs::FallocateFlags::empty();
                rustix::fs::fallocate(&file, flags, 0, self.length as u64)?;
            }
        }
        file.sync_all()?;
        self.open.push(file);
        self.position = 0;
        Ok(())
    }

    /// The place of the next write.
    fn place(&mut self, bytes: usize) -> Result<(RawFd, usize), Failure> {
        if self.position + bytes > self.length {
            match self.ground {
                Ground::Circle => self.position = 0,
                Ground::Fresh => self.begin()?,
            }
        }
        let file = self.open.last().ok_or("there is always a file")?;
        let position = self.position;
        self.position += bytes;
        Ok((file.as_raw_fd(), position))
    }
}

fn appends(cell: &Cell, ground: Ground, course: &Course) -> Result<Tally, Failure> {
    let payload = cell.payload();
    let entry = PREFIX_BYTES + payload.len();
    let write_bytes = entry.max(WRITE_BYTES).next_multiple_of(BLOCK);
    let blocks = vec![Block([0; BLOCK]); write_bytes / BLOCK];
    let mut writes: Vec<Write> = (0..WRITES)
        .map(|_| Write {
            blocks: blocks.clone(),
            begun: Vec::with_capacity(write_bytes / entry),
            bytes: 0,
            is_free: true,
        })
        .collect();
    let mut files = Files::new(cell, ground, &blocks)?;
    let mut ring = IoUring::builder()
        .setup_single_issuer()
        .setup_coop_taskrun()
        .setup_defer_taskrun()
        .build(2 * u32::try_from(WRITES)?)?;

    let is_fixed = register(&ring, &mut writes);
    let mut tally = Tally::new()?;
    course.ready();
    let mut pace = Pace::of(cell, 0, 1);
    // Clients whose next append is not due yet; without a rate, it always is.
    let mut idle = cell.in_flight;
    let mut waiting = VecDeque::with_capacity(cell.in_flight);
    loop {
        while idle > 0 && !course.is_over() {
            let due = pace.as_mut().map_or_else(|| Some(now()), Pace::take);
            let Some(due) = due else { break };
            waiting.push_back(due);
            idle -= 1;
        }
        for (index, write) in writes.iter_mut().enumerate().filter(|(_, write)| write.is_free) {
            if waiting.is_empty() {
                break;
            }
            gather(write, &mut waiting, &payload);
            let place = files.place(write.bytes)?;
            submit(&mut ring, place, write, index, is_fixed)?;
        }
        if course.is_over() && writes.iter().all(|write| write.is_free) {
            return Ok(tally);
        }
        let due = pace.as_ref().filter(|_| idle > 0 && !course.is_over()).map(Pace::due);
        wait(&ring, due)?;
        let ended = now();
        for done in ring.completion() {
            let write = &mut writes[usize::try_from(done.user_data())?];
            check(&done, write.bytes)?;
            for begun in write.begun.drain(..) {
                tally.count(course, begun, ended);
                idle += 1;
            }
            write.is_free = true;
        }
    }
}

/// Has the kernel map the writes' memory once and for all, if `RLIMIT_MEMLOCK` leaves room for it.
fn register(ring: &IoUring, writes: &mut [Write]) -> bool {
    let memory = writes.iter_mut().map(|write| {
        let bytes = write.blocks.as_mut_bytes();
        libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() }
    });
    let memory: Vec<_> = memory.collect();
    // SAFETY: the memory is not freed before the ring is dropped, and nothing but a write's own
    // operation uses it while that is in flight.
    unsafe { ring.submitter().register_buffers(&memory) }.is_ok()
}

/// Copies what waits into a free write, until that is full.
fn gather(write: &mut Write, waiting: &mut VecDeque<Instant>, payload: &[u8]) {
    let bytes = write.blocks.as_mut_bytes();
    let mut at = 0;
    while at + PREFIX_BYTES + payload.len() <= bytes.len() {
        let Some(begun) = waiting.pop_front() else { break };
        write.begun.push(begun);
        let (prefix, rest) = bytes[at..].split_at_mut(PREFIX_BYTES);
        prefix[..4].copy_from_slice(&u32::try_from(payload.len()).unwrap_or(0).to_le_bytes());
        prefix[4..].copy_from_slice(&crc32c::crc32c(payload).to_le_bytes());
        rest[..payload.len()].copy_from_slice(payload);
        at += PREFIX_BYTES + payload.len();
    }
    write.bytes = at.next_multiple_of(BLOCK);
    bytes[at..write.bytes].fill(0);
}

fn submit(
    ring: &mut IoUring,
    (file, position): (RawFd, usize),
    write: &mut Write,
    index: usize,
    is_fixed: bool,
) -> Result<(), Failure> {
    let target = types::Fd(file);
    let (address, length) = (write.blocks.as_ptr().cast(), u32::try_from(write.bytes)?);
    let (at, flags) = (position as u64, libc::RWF_DSYNC);
    let entry = if is_fixed {
        let slot = u16::try_from(index)?;
        opcode::WriteFixed::new(target, address, length, slot).offset(at).rw_flags(flags).build()
    } else {
        opcode::Write::new(target, address, length).offset(at).rw_flags(flags).build()
    };
    let entry = entry.user_data(index as u64);
    write.is_free = false;
    // SAFETY: the blocks live in a vector that is neither grown nor touched until the completion,
    // and the ring is dropped, which ends its operations, before they are.
    unsafe { ring.submission().push(&entry)? };
    Ok(())
}

/// Submits, and waits for a completion, or until an append is due.
fn wait(ring: &IoUring, due: Option<Instant>) -> Result<(), Failure> {
    let waited = match due {
        None => ring.submit_and_wait(1),
        Some(due) => {
            let time = types::Timespec::from(due.saturating_duration_since(now()));
            let until = types::SubmitArgs::new().timespec(&time);
            ring.submitter().submit_with_args(1, &until)
        }
    };
    match waited {
        Err(error) if error.raw_os_error() != Some(libc::ETIME) => Err(error.into()),
        _ => Ok(()),
    }
}

fn check(done: &cqueue::Entry, bytes: usize) -> Result<(), Failure> {
    match usize::try_from(done.result()) {
        Ok(written) if written == bytes => Ok(()),
        Ok(written) => Err(format!("{written} of {bytes} bytes were written").into()),
        Err(_) => Err(Error::from_raw_os_error(-done.result()).into()),
    }
}

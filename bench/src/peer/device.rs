//! The bare device: direct writes and reads of one size through a bare ring, a fixed number of them
//! in flight, and nothing else.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use io_uring::{IoUring, opcode, types};
use rustix::fs::{FallocateFlags, OFlags, fallocate};
use rustix::io::ReadWriteFlags;
use zerocopy::IntoBytes;

use super::floor::disk::{BLOCK, Block, FRESH_BYTES, Ground};
use crate::affinity::thread_cpu_time;
use crate::histogram::Latencies;

/// Bytes of the file that is written, and read, in a circle.
const CIRCLE_BYTES: u64 = 256 * 1024 * 1024;
/// Bytes of one write while that file is made.
const PREPARE_BYTES: usize = 1024 * 1024;

/// What is done over and over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Write, and with `synced` only count what is on stable storage (`RWF_DSYNC`).
    Write {
        /// Whether each write is synced.
        synced: bool,
        /// What is written on.
        ground: Ground,
    },
    /// Read what was written before.
    Read,
}

/// What came out.
#[derive(Debug, Clone)]
pub struct Found {
    /// Accesses that ended in time.
    pub count: u64,
    /// How long each took.
    pub latencies: Latencies,
    /// How long it was measured.
    pub elapsed: Duration,
    /// What the calling thread has used; what the kernel does in threads of its own is not in it.
    pub cpu: Duration,
}

/// A file of direct I/O; gone when this is dropped.
#[derive(Debug)]
pub struct DeviceFile {
    file: File,
    path: PathBuf,
    length: u64,
    ground: Ground,
}

impl DeviceFile {
    /// A file in `folder`: written before, or only reserved.
    ///
    /// # Errors
    ///
    /// The system's, also where the folder's disk takes no direct writes.
    pub fn new(folder: &Path, ground: Ground) -> io::Result<Self> {
        let name = format!("ringlog-bench-device-{ground:?}-{}", std::process::id());
        let path = folder.join(name);
        let direct = i32::try_from(OFlags::DIRECT.bits()).map_err(io::Error::other)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).custom_flags(direct);
        let file = options.open(&path)?;
        let mut device = Self { file, path, length: 0, ground };
        match ground {
            Ground::Prewritten => {
                let blocks = vec![Block::default(); PREPARE_BYTES / BLOCK];
                for position in (0..CIRCLE_BYTES).step_by(PREPARE_BYTES) {
                    device.file.write_all_at(blocks.as_bytes(), position)?;
                }
                device.length = CIRCLE_BYTES;
            }
            Ground::Fresh => device.grow()?,
        }
        device.file.sync_all()?;
        Ok(device)
    }

    fn grow(&mut self) -> io::Result<()> {
        fallocate(&self.file, FallocateFlags::empty(), self.length, FRESH_BYTES)?;
        self.length += FRESH_BYTES;
        Ok(())
    }

    /// Where the next `bytes` bytes lie, after `position`.
    fn place(&mut self, position: u64, bytes: u64) -> io::Result<u64> {
        if position + bytes <= self.length {
            return Ok(position);
        }
        match self.ground {
            Ground::Prewritten => Ok(0),
            Ground::Fresh => self.grow().map(|()| position),
        }
    }
}

impl Drop for DeviceFile {
    fn drop(&mut self) {
        // A file that stays is only in the way of people.
        let _ = fs::remove_file(&self.path);
    }
}

/// Accesses of `bytes` bytes, one after the other through `device`, `depth` of them in flight, for
/// as long as `duration`. Writes go to the ground that `device` was made with.
///
/// # Errors
///
/// The system's, of any access.
pub fn measure(
    device: &mut DeviceFile,
    access: Access,
    bytes: u32,
    depth: u32,
    duration: Duration,
) -> io::Result<Found> {
    let mut accesses = Accesses::new(access, bytes, depth)?;
    let (begun, cpu_before) = (Instant::now(), thread_cpu_time());
    let mut found =
        Found { count: 0, latencies: Latencies::default(), elapsed: duration, cpu: duration };
    while begun.elapsed() < duration {
        accesses.start_all(device)?;
        accesses.ring.submit_and_wait(1)?;
        accesses.complete(|started| {
            found.count += 1;
            found.latencies.record(started.duration_since(begun), started.elapsed());
        })?;
    }
    found.elapsed = begun.elapsed();
    found.cpu = thread_cpu_time().saturating_sub(cpu_before);
    Ok(found)
}

/// The buffers of all accesses in flight, and a ring.
struct Accesses {
    ring: IoUring,
    access: Access,
    bytes: u32,
    buffers: Vec<Vec<Block>>,
    /// When the access of each buffer was started; `None` while it is free.
    started: Vec<Option<Instant>>,
    position: u64,
}

impl Accesses {
    fn new(access: Access, bytes: u32, depth: u32) -> io::Result<Self> {
        let count = usize::try_from(depth).map_err(io::Error::other)?;
        let blocks = usize::try_from(bytes).map_err(io::Error::other)?.div_ceil(BLOCK);
        Ok(Self {
            ring: IoUring::new(depth.next_power_of_two())?,
            access,
            bytes,
            buffers: vec![vec![Block::default(); blocks]; count],
            started: vec![None; count],
            position: 0,
        })
    }

    fn start_all(&mut self, device: &mut DeviceFile) -> io::Result<()> {
        while let Some(slot) = self.started.iter().position(Option::is_none) {
            self.start(slot, device)?;
        }
        Ok(())
    }

    fn start(&mut self, slot: usize, device: &mut DeviceFile) -> io::Result<()> {
        let position = device.place(self.position, self.bytes.into())?;
        let target = types::Fd(device.file.as_raw_fd());
        let buffer = &mut self.buffers[slot];
        let synced = matches!(self.access, Access::Write { synced: true, .. });
        let flags = if synced { ReadWriteFlags::DSYNC } else { ReadWriteFlags::empty() };
        let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
        let entry = match self.access {
            Access::Write { .. } => opcode::Write::new(target, buffer.as_ptr().cast(), self.bytes)
                .offset(position)
                .rw_flags(flags)
                .build(),
            Access::Read => opcode::Read::new(target, buffer.as_mut_ptr().cast(), self.bytes)
                .offset(position)
                .build(),
        };
        let entry = entry.user_data(u64::try_from(slot).map_err(io::Error::other)?);
        // SAFETY: the buffer is at least `bytes` long, and is neither grown, moved nor touched
        // while its access is in flight: only free ones are started, and dropping waits for all.
        unsafe { self.ring.submission().push(&entry) }.map_err(io::Error::other)?;
        self.position = position + u64::from(self.bytes);
        self.started[slot] = Some(Instant::now());
        Ok(())
    }

    /// Frees the buffers whose access is over, and tells when each was started.
    fn complete(&mut self, mut done: impl FnMut(Instant)) -> io::Result<()> {
        while let Some(entry) = self.ring.completion().next() {
            let slot = usize::try_from(entry.user_data()).map_err(io::Error::other)?;
            let started = self.started[slot].take();
            let moved = u32::try_from(entry.result());
            let moved = moved.map_err(|_| io::Error::from_raw_os_error(-entry.result()))?;
            if moved != self.bytes {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            started.into_iter().for_each(&mut done);
        }
        Ok(())
    }
}

impl Drop for Accesses {
    fn drop(&mut self) {
        while self.started.iter().any(Option::is_some) {
            if self.ring.submit_and_wait(1).is_err() {
                // The kernel may still use the buffers: they must outlive this.
                std::mem::forget(std::mem::take(&mut self.buffers));
                break;
            }
            // An access that failed is over as well.
            let _ = self.complete(drop);
        }
    }
}

//! Open files on the ring.

use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

use io_uring::{opcode, types};

use super::UringIo;
use super::ring::Kept;
use crate::buffer::{Buffer, BufferMut};
use crate::io::{Durability, File};
use crate::limits::BLOCK;

/// Bytes that one operation moves at most; the kernel's own limit is a little less than 2 GiB.
const TRANSFER_BYTES_MAX: usize = 1 << 30;

/// An open file of a [`UringIo`].
#[derive(Clone)]
pub struct UringFile {
    io: UringIo,
    fd: Rc<OwnedFd>,
    is_direct: bool,
}

impl UringFile {
    pub(super) fn new(io: UringIo, fd: OwnedFd, is_direct: bool) -> Self {
        Self { io, fd: Rc::new(fd), is_direct }
    }

    fn target(&self) -> types::Fd {
        types::Fd(self.fd.as_raw_fd())
    }

    /// Runs an operation on this file that points to no memory but what `kept` owns.
    ///
    /// # Safety
    ///
    /// As for [`UringIo::operate`].
    async unsafe fn operate(
        &self,
        entry: io_uring::squeue::Entry,
        kept: Kept,
    ) -> (io::Result<u32>, Kept) {
        // SAFETY: passed on to the caller.
        unsafe { self.io.operate(entry, kept, Some(Rc::clone(&self.fd))) }.await
    }

    async fn write_once(
        &self,
        buffer: &Buffer,
        range: std::ops::Range<usize>,
        position: u64,
        flags: i32,
    ) -> io::Result<u32> {
        let bytes = &buffer.padded()[range];
        let length = transfer_length(bytes.len());
        let (target, address) = (self.target(), bytes.as_ptr());
        let entry = match buffer.fixed_slot(self.io.number()) {
            Some(slot) => opcode::WriteFixed::new(target, address, length, slot)
                .offset(position)
                .rw_flags(flags)
                .build(),
            None => {
                opcode::Write::new(target, address, length).offset(position).rw_flags(flags).build()
            }
        };
        // SAFETY: the entry points into the buffer's memory, which the kept handle keeps.
        unsafe { self.operate(entry, Kept::Write(buffer.clone())) }.await.0
    }

    async fn read_once(
        &self,
        mut buffer: BufferMut,
        start: usize,
        position: u64,
    ) -> (io::Result<u32>, BufferMut) {
        let length = transfer_length(buffer.capacity() - start);
        // SAFETY: `start` lies within the capacity.
        let address = unsafe { buffer.as_mut_ptr().add(start) };
        let target = self.target();
        let entry = match buffer.fixed_slot(self.io.number()) {
            Some(slot) => {
                opcode::ReadFixed::new(target, address, length, slot).offset(position).build()
            }
            None => opcode::Read::new(target, address, length).offset(position).build(),
        };
        // SAFETY: the entry points into the buffer's memory, which moves into the slot.
        match unsafe { self.operate(entry, Kept::Read(buffer)) }.await {
            (result, Kept::Read(buffer)) => (result, buffer),
            _ => unreachable!("what was kept comes back"),
        }
    }
}

impl File for UringFile {
    async fn write_at(
        &self,
        buffer: Buffer,
        position: u64,
        durability: Durability,
    ) -> io::Result<()> {
        debug_assert!(buffer.padding_is_zero(), "buffer.padding_is_zero");
        let total = if self.is_direct { buffer.padded().len() } else { buffer.len() };
        let flags = match durability {
            Durability::Synced => libc::RWF_DSYNC,
            Durability::Written => 0,
        };
        let mut done = 0;
        while done < total {
            let at = position + done as u64;
            match self.write_once(&buffer, done..total, at, flags).await {
                Ok(count) => match self.whole(count) {
                    0 => return Err(ErrorKind::WriteZero.into()),
                    count => done += count,
                },
                Err(error) if is_transient(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn read_at(&self, mut buffer: BufferMut, position: u64) -> (io::Result<()>, BufferMut) {
        buffer.clear();
        let (mut done, mut result) = (0, Ok(()));
        while done < buffer.capacity() {
            let at = position + done as u64;
            let read;
            (read, buffer) = self.read_once(buffer, done, at).await;
            match read {
                Ok(count) => {
                    let count = count as usize;
                    done += count;
                    // Past the page cache, only the file's end is not at a whole block.
                    if count == 0 || (self.is_direct && !count.is_multiple_of(BLOCK)) {
                        break;
                    }
                }
                Err(error) if is_transient(&error) => {}
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        buffer.set_len(done);
        (result, buffer)
    }

    async fn sync(&self) -> io::Result<()> {
        let entry = opcode::Fsync::new(self.target()).flags(types::FsyncFlags::DATASYNC).build();
        // SAFETY: the entry points to no memory. A failed sync is never tried again.
        unsafe { self.operate(entry, Kept::Nothing) }.await.0.map(drop)
    }

    async fn allocate(&self, position: u64, length: u64) -> io::Result<()> {
        let old_length = self.length().await?;
        loop {
            let entry = opcode::Fallocate::new(self.target(), length).offset(position).build();
            // SAFETY: the entry points to no memory.
            match unsafe { self.operate(entry, Kept::Nothing) }.await.0 {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    // A part may have been reserved: nothing is to have changed. The first error
                    // is the one that says why.
                    let _ = self.set_length(old_length).await;
                    return Err(error);
                }
            }
        }
    }

    async fn set_length(&self, length: u64) -> io::Result<()> {
        if self.io.has_ftruncate() {
            let entry = opcode::Ftruncate::new(self.target(), length).build();
            // SAFETY: the entry points to no memory.
            return unsafe { self.operate(entry, Kept::Nothing) }.await.0.map(drop);
        }
        // Kernels before 6.9. It blocks, but only for metadata, when a segment is rolled or cut.
        let length = i64::try_from(length).map_err(|_| ErrorKind::InvalidInput)?;
        // SAFETY: the descriptor is open.
        let result = unsafe { libc::ftruncate(self.fd.as_raw_fd(), length) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    async fn length(&self) -> io::Result<u64> {
        // SAFETY: all zeros is a valid `statx`.
        let mut status: Box<libc::statx> = Box::new(unsafe { std::mem::zeroed() });
        let address: *mut libc::statx = &raw mut *status;
        let entry = opcode::Statx::new(self.target(), c"".as_ptr(), address.cast())
            .flags(libc::AT_EMPTY_PATH)
            .mask(libc::STATX_SIZE)
            .build();
        // SAFETY: the entry points to a constant and into the box, which moves into the slot.
        let (result, kept) = unsafe { self.operate(entry, Kept::Statx(status)) }.await;
        result?;
        match kept {
            Kept::Statx(status) => Ok(status.stx_size),
            _ => unreachable!("what was kept comes back"),
        }
    }
}

impl UringFile {
    /// Bytes of a transfer that count: direct writes go on at a whole block.
    fn whole(&self, count: u32) -> usize {
        let count = count as usize;
        if self.is_direct { count - count % BLOCK } else { count }
    }
}

fn transfer_length(bytes: usize) -> u32 {
    u32::try_from(bytes.min(TRANSFER_BYTES_MAX)).expect("1 GiB fits")
}

/// Errors that say "again" rather than "no".
fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock)
}

//! TCP sockets on the ring.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use io_uring::{opcode, types};

use super::UringIo;
use super::ring::Kept;

/// Bytes that one operation moves at most: more than any socket's buffer takes.
const TRANSFER_BYTES_MAX: usize = 1 << 30;

/// `IORING_RECVSEND_POLL_FIRST`. Linux 5.19.
const RECVSEND_POLL_FIRST: u16 = 1;

/// A socket that clients connect to.
#[derive(Clone)]
pub struct UringListener {
    io: UringIo,
    fd: Rc<OwnedFd>,
}

/// One end of a connection. Cloning gives another handle; it is closed when the last handle and
/// the last operation on it are gone.
///
/// Bytes go in and out by operations of the ring, which take their buffers by value and give them
/// back, also with an error. An operation whose future is dropped goes on: what it receives is
/// lost, and what it sends may have left. So one does not race these futures against others, but
/// [shuts the stream down](UringStream::shutdown), which ends them.
#[derive(Clone)]
pub struct UringStream {
    io: UringIo,
    fd: Rc<OwnedFd>,
    /// The last receive left nothing in the socket.
    is_drained: Rc<Cell<bool>>,
}

impl UringListener {
    /// Puts a listener, which is blocking as the standard library makes it, on this ring.
    #[must_use]
    pub fn new(io: &UringIo, listener: TcpListener) -> Self {
        Self { io: io.clone(), fd: Rc::new(OwnedFd::from(listener)) }
    }

    /// Waits for a client. A client whose turn comes after the future was dropped is closed.
    ///
    /// Costs one operation, one system call for the client's address, and one allocation.
    ///
    /// # Errors
    ///
    /// As `accept(2)`: among them `EINVAL` after the listener was shut down, also for the accept
    /// that waits meanwhile, `EMFILE` and `ENFILE` without descriptors; and `ENOTCONN` for a client
    /// that is gone already.
    pub async fn accept(&self) -> io::Result<(UringStream, SocketAddr)> {
        let nowhere = std::ptr::null_mut();
        loop {
            let entry = opcode::Accept::new(target(&self.fd), nowhere, nowhere.cast())
                .flags(libc::SOCK_CLOEXEC)
                .build();
            let kept = Kept::Accept;
            // SAFETY: the entry points to no memory.
            match unsafe { self.io.operate(entry, kept, Some(Rc::clone(&self.fd))) }.await.0 {
                Ok(fd) => {
                    // SAFETY: the kernel has just given us this descriptor.
                    let stream = unsafe { TcpStream::from_raw_fd(fd.cast_signed()) };
                    let peer = stream.peer_addr()?;
                    return Ok((UringStream::new(&self.io, stream), peer));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl UringStream {
    /// Puts a connection, which is blocking as the standard library makes it, on this ring.
    #[must_use]
    pub fn new(io: &UringIo, stream: TcpStream) -> Self {
        let fd = Rc::new(OwnedFd::from(stream));
        Self { io: io.clone(), fd, is_drained: Rc::new(Cell::new(false)) }
    }

    /// Receives into the room behind what the buffer holds, and says how many bytes were added;
    /// zero is the end of what the peer sends. Waits for one byte, not for a full buffer.
    ///
    /// Costs one operation, and no copy beside the kernel's.
    ///
    /// # Errors
    ///
    /// As `recv(2)`; the buffer is as it was.
    ///
    /// # Panics
    ///
    /// If the buffer has no room, which would look like the end.
    pub async fn receive(&self, mut buffer: BytesMut) -> (io::Result<usize>, BytesMut) {
        assert!(buffer.capacity() > buffer.len(), "a receive needs room in its buffer");
        loop {
            let room = buffer.spare_capacity_mut();
            let length = transfer_length(room.len());
            let address = room.as_mut_ptr().cast();
            // Of a socket that was empty the kernel waits for bytes at once, without a first look.
            let how = if self.is_drained.get() { RECVSEND_POLL_FIRST } else { 0 };
            let entry = opcode::Recv::new(target(&self.fd), address, length).ioprio(how).build();
            let kept = Kept::Receive(buffer, false);
            // SAFETY: the entry points into the buffer's memory, which moves into the slot.
            let (result, kept) = unsafe { self.operate(entry, kept) }.await;
            let Kept::Receive(back, holds_more) = kept else {
                unreachable!("what was kept comes back")
            };
            buffer = back;
            match result {
                Ok(count) => {
                    self.is_drained.set(!holds_more);
                    // SAFETY: the kernel has filled that much of the room.
                    unsafe { buffer.set_len(buffer.len() + count) };
                    return (Ok(count), buffer);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return (Err(error), buffer),
            }
        }
    }

    /// Sends from the start of `bytes`, and says how many bytes the kernel took: perhaps not all.
    ///
    /// Costs one operation, and no copy beside the kernel's.
    ///
    /// # Errors
    ///
    /// As `send(2)`, without a signal; nothing was taken.
    pub async fn send(&self, mut bytes: Bytes) -> (io::Result<usize>, Bytes) {
        loop {
            let length = transfer_length(bytes.len());
            let entry = opcode::Send::new(target(&self.fd), bytes.as_ptr(), length)
                .flags(libc::MSG_NOSIGNAL)
                .build();
            // SAFETY: the entry points into memory that the handle keeps, which moves into the slot.
            let (result, kept) = unsafe { self.operate(entry, Kept::Send(bytes)) }.await;
            let Kept::Send(back) = kept else { unreachable!("what was kept comes back") };
            bytes = back;
            match result {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return (result, bytes),
            }
        }
    }

    /// Sends `parts`, at most 1,024 of them, one after the other as if they were one, and says how
    /// many bytes the kernel took of them together: perhaps not all.
    ///
    /// Costs one operation, no copy beside the kernel's, and no allocation once some sends of as
    /// many parts were made.
    ///
    /// # Errors
    ///
    /// As `sendmsg(2)`, without a signal; nothing was taken. `EMSGSIZE` if there are too many parts.
    pub async fn send_vectored(&self, mut parts: Vec<Bytes>) -> (io::Result<usize>, Vec<Bytes>) {
        loop {
            let mut gather = self.io.inner.ring.borrow_mut().take_gather();
            let message = gather.fill(parts);
            let entry = opcode::SendMsg::new(target(&self.fd), message)
                .flags(libc::MSG_NOSIGNAL.cast_unsigned())
                .build();
            // SAFETY: the entry points into the box and what it keeps, which moves into the slot.
            let (result, kept) = unsafe { self.operate(entry, Kept::SendVectored(gather)) }.await;
            let Kept::SendVectored(mut gather) = kept else {
                unreachable!("what was kept comes back")
            };
            parts = gather.take();
            self.io.inner.ring.borrow_mut().put_gather(gather);
            match result {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return (result, parts),
            }
        }
    }

    /// Ends one direction or both, at once and for all handles: a receive that waits gets what has
    /// come and then the end, a send that waits fails. One system call, which never blocks.
    ///
    /// # Errors
    ///
    /// `ErrorKind::NotConnected` if the peer is gone already.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let how = match how {
            Shutdown::Read => libc::SHUT_RD,
            Shutdown::Write => libc::SHUT_WR,
            Shutdown::Both => libc::SHUT_RDWR,
        };
        // SAFETY: a system call without pointers.
        done(unsafe { libc::shutdown(self.fd.as_raw_fd(), how) })
    }

    /// Whether small sends leave at once rather than wait for more to send (`TCP_NODELAY`). One
    /// system call.
    ///
    /// # Errors
    ///
    /// As `setsockopt(2)`.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        let value = libc::c_int::from(nodelay);
        let length = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: the value outlives the call, which takes as many bytes as it has.
        done(unsafe {
            libc::setsockopt(
                self.fd.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_NODELAY,
                (&raw const value).cast(),
                length,
            )
        })
    }

    /// Runs an operation on this socket whose result is a count of bytes.
    ///
    /// # Safety
    ///
    /// As for [`UringIo::operate`].
    async unsafe fn operate(
        &self,
        entry: io_uring::squeue::Entry,
        kept: Kept,
    ) -> (io::Result<usize>, Kept) {
        // SAFETY: passed on to the caller.
        let (result, kept) =
            unsafe { self.io.operate(entry, kept, Some(Rc::clone(&self.fd))) }.await;
        (result.map(|count| count as usize), kept)
    }
}

/// For what is no operation of the ring: options, addresses.
impl AsFd for UringListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// For what is no operation of the ring: options, addresses.
impl AsFd for UringStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn target(fd: &Rc<OwnedFd>) -> types::Fd {
    types::Fd(fd.as_raw_fd())
}

fn transfer_length(bytes: usize) -> u32 {
    u32::try_from(bytes.min(TRANSFER_BYTES_MAX)).expect("1 GiB fits")
}

fn done(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

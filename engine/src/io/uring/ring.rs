//! The ring itself: operations in flight, what they keep alive, submission and completion.

use std::ffi::CString;
use std::future::Future;
use std::io;
#[cfg(feature = "tokio")]
use std::os::fd::AsRawFd;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use io_uring::squeue::Entry;
use io_uring::types::{CancelBuilder, SubmitArgs, Timespec};
use io_uring::{IoUring, Probe, cqueue};

use super::gather::Gather;
use super::{Inner, clock};
use crate::buffer::{Buffer, BufferMut};
use crate::limits::REGISTERED_REGIONS_MAX;

/// `user_data` of the poll that lets other threads end a wait; no slot has this number.
const WAKE_POLL: u64 = u64::MAX;

/// `IORING_ENTER_GETEVENTS`: also run completion work that is pending in the kernel.
const ENTER_GETEVENTS: u32 = 1;

/// `IORING_ENTER_EXT_ARG`: the argument is one that has a time limit in it. Linux 5.11.
const ENTER_EXT_ARG: u32 = 1 << 3;

/// Completions that there is room for, for each entry of the submission queue. A socket that waits
/// has no entry, and completes when it likes. The kernel keeps what comes beyond.
const COMPLETIONS_PER_ENTRY: u32 = 8;

/// What the kernel takes for a completion queue at most.
const COMPLETIONS_MAX: u32 = 1 << 16;

/// Turns in a row that leave operations in line because tasks are ready. What these put in line
/// leaves by the same system call; but tasks that are always ready must not hold it up for ever.
const TURNS_POSTPONED_MAX: u32 = 4;

/// Memory of vectored sends that is kept for the next ones.
const GATHERS_SPARE_MAX: usize = 16;

/// How long a ring that is dropped waits between two attempts to cancel what is in flight.
const CANCEL_PAUSE: Duration = Duration::from_millis(100);

/// How long a turn may wait for a completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    Not,
    AtMost(Duration),
    Forever,
}

/// Memory that an operation in flight points the kernel to. It moves into the operation's slot,
/// and comes back with the completion; its heap part never moves.
#[allow(dead_code, reason = "most are kept for the kernel to read, and only dropped")]
pub(super) enum Kept {
    Nothing,
    Write(Buffer),
    Read(BufferMut),
    Path(CString),
    Paths(CString, CString),
    /// As `Path`; the result is a descriptor, to be closed if nobody takes it.
    Open(CString),
    /// Nothing; the result is a descriptor, as for `Open`.
    Accept,
    /// The buffer; and, once it is done, whether the socket held more.
    Receive(BytesMut, bool),
    Send(Bytes),
    SendVectored(Box<Gather>),
    Event(Box<u64>),
    Statx(Box<libc::statx>),
    Sleep(Box<Timespec>),
}

enum State {
    Vacant {
        next: Option<u32>,
    },
    InFlight {
        waker: Option<Waker>,
    },
    /// In flight, and nobody waits for it.
    Abandoned,
    Done {
        result: i32,
    },
}

struct Slot {
    state: State,
    kept: Kept,
    /// Open until the completion, so that the kernel never meets another file under its number.
    file: Option<Rc<OwnedFd>>,
}

/// An io_uring and its operations in flight.
pub(super) struct Ring {
    ring: IoUring,
    slots: Vec<Slot>,
    vacant: Option<u32>,
    /// Entries were pushed and not submitted.
    is_dirty: bool,
    /// Turns since the last submission that left them in line.
    postponed: u32,
    is_wake_poll_armed: bool,
    was_woken: bool,
    pub(super) has_ftruncate: bool,
    fixed: FixedTable,
    /// For the next vectored sends.
    #[expect(clippy::vec_box, reason = "a box moves into a slot and back as it is")]
    gathers: Vec<Box<Gather>>,
}

/// The table of fixed buffers.
#[derive(Default)]
struct FixedTable {
    is_made: Option<bool>,
    next: u16,
    free: Vec<u16>,
}

impl Ring {
    pub(super) fn new(entries: u32, defer: bool) -> io::Result<Self> {
        let ring = build(entries, defer)?;
        let mut probe = Probe::new();
        // Without an answer the newest operation counts as missing: there is another way.
        let has_ftruncate = ring.submitter().register_probe(&mut probe).is_ok()
            && probe.is_supported(io_uring::opcode::Ftruncate::CODE);
        Ok(Self {
            ring,
            slots: Vec::with_capacity(entries as usize),
            vacant: None,
            is_dirty: false,
            postponed: 0,
            is_wake_poll_armed: false,
            was_woken: false,
            has_ftruncate,
            fixed: FixedTable::default(),
            gathers: Vec::new(),
        })
    }

    /// Memory for a vectored send, used before if there is any. It holds nothing.
    pub(super) fn take_gather(&mut self) -> Box<Gather> {
        self.gathers.pop().unwrap_or_default()
    }

    /// Gives memory of a send back that has completed.
    pub(super) fn put_gather(&mut self, gather: Box<Gather>) {
        if self.gathers.len() < GATHERS_SPARE_MAX {
            self.gathers.push(gather);
        }
    }

    #[cfg(feature = "tokio")]
    pub(super) fn fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }

    /// Puts an operation in line. Returns its slot, and whether it is the first since the last
    /// submission.
    ///
    /// # Safety
    ///
    /// All memory that `entry` points to is owned by `kept`, at an address that moving `kept` does
    /// not change, and its descriptor by `file`.
    pub(super) unsafe fn push(
        &mut self,
        entry: Entry,
        kept: Kept,
        file: Option<Rc<OwnedFd>>,
    ) -> io::Result<(u32, bool)> {
        let slot = self.vacant.unwrap_or_else(|| {
            self.slots.push(Slot {
                state: State::Vacant { next: None },
                kept: Kept::Nothing,
                file: None,
            });
            u32::try_from(self.slots.len() - 1).expect("fewer operations than the kernel can hold")
        });
        // SAFETY: the memory stays in the slot until the completion, by what the caller promised.
        unsafe { self.push_entry(&entry.user_data(u64::from(slot)))? };
        let place = &mut self.slots[slot as usize];
        let State::Vacant { next } = place.state else { unreachable!("the slot is vacant") };
        self.vacant = next;
        *place = Slot { state: State::InFlight { waker: None }, kept, file };
        let was_dirty = std::mem::replace(&mut self.is_dirty, true);
        Ok((slot, !was_dirty))
    }

    /// # Safety
    ///
    /// As for [`Ring::push`].
    unsafe fn push_entry(&mut self, entry: &Entry) -> io::Result<()> {
        loop {
            // SAFETY: passed on to the caller.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return Ok(());
            }
            self.enter(Wait::Not)?;
            self.drain();
        }
    }

    /// Submits what is in line and takes what is done.
    #[cfg(feature = "tokio")]
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.drain();
        if self.is_dirty || self.wants_enter() {
            self.enter(Wait::Not)?;
            self.drain();
        }
        Ok(())
    }

    /// Takes what is done. If nothing is, submits what is in line and waits, both at once; if tasks
    /// are ready, what is in line may stay there for a few turns.
    pub(super) fn turn(&mut self, wait: Wait) -> io::Result<()> {
        let has_work = self.drain() > 0 || wait == Wait::Not;
        if has_work {
            if !self.is_dirty && !self.wants_enter() {
                return Ok(());
            }
            self.postponed += 1;
            if self.postponed < TURNS_POSTPONED_MAX {
                return Ok(());
            }
        }
        self.enter(if has_work { Wait::Not } else { wait })?;
        self.drain();
        Ok(())
    }

    /// Submits what is in line, and looks for completions without sleeping, until there are any or
    /// that time has come. Says which.
    pub(super) fn spin(&mut self, until: Instant) -> io::Result<bool> {
        loop {
            if self.drain() > 0 {
                return Ok(true);
            }
            if self.is_dirty || self.wants_enter() {
                self.enter(Wait::Not)?;
                if self.drain() > 0 {
                    return Ok(true);
                }
            }
            if clock() >= until {
                return Ok(false);
            }
            // What completes a write may wait for this very core.
            thread::yield_now();
        }
    }

    fn wants_enter(&mut self) -> bool {
        let submission = self.ring.submission();
        submission.taskrun() || submission.cq_overflow()
    }

    /// Submits everything, and waits for a completion as long as it may. It may return sooner.
    fn enter(&mut self, wait: Wait) -> io::Result<()> {
        self.postponed = 0;
        loop {
            let entered = self.enter_once(wait);
            self.is_dirty = !self.ring.submission().is_empty();
            match entered.map_err(|error| (error.raw_os_error(), error)) {
                Ok(_) if self.is_dirty => {}
                Err((Some(libc::EINTR), _)) if self.is_dirty => {}
                Ok(_) | Err((Some(libc::EINTR | libc::ETIME), _)) => return Ok(()),
                // Completions must be taken first; the caller does so and comes again.
                Err((Some(libc::EBUSY | libc::EAGAIN), _)) => return Ok(()),
                Err((_, error)) => return Err(error),
            }
        }
    }

    fn enter_once(&mut self, wait: Wait) -> io::Result<usize> {
        let count = u32::try_from(self.ring.submission().len()).unwrap_or(u32::MAX);
        let submitter = self.ring.submitter();
        let (want, limit) = match wait {
            Wait::Not => (0, None),
            Wait::Forever => (1, None),
            Wait::AtMost(limit) => (1, Some(limit)),
        };
        let Some(limit) = limit else {
            // SAFETY: no argument is passed, and what the entries point to lives in their slots.
            return unsafe {
                submitter.enter::<libc::sigset_t>(count, want, ENTER_GETEVENTS, None)
            };
        };
        let time = Timespec::from(limit);
        let argument = SubmitArgs::new().timespec(&time);
        let flags = ENTER_GETEVENTS | ENTER_EXT_ARG;
        // SAFETY: the argument is what the flag says and lives as long as the call, and what the
        // entries point to lives in their slots.
        unsafe { submitter.enter(count, want, flags, Some(&argument)) }
    }

    /// Takes every completion there is.
    fn drain(&mut self) -> usize {
        let mut count = 0;
        for completion in self.ring.completion() {
            count += 1;
            if completion.user_data() == WAKE_POLL {
                self.is_wake_poll_armed = false;
                self.was_woken = true;
                continue;
            }
            let slot = u32::try_from(completion.user_data()).expect("our own slot numbers");
            let place = &mut self.slots[slot as usize];
            let result = completion.result();
            place.file = None;
            if let Kept::Receive(_, holds_more) = &mut place.kept {
                *holds_more = cqueue::sock_nonempty(completion.flags());
            }
            match std::mem::replace(&mut place.state, State::Done { result }) {
                State::InFlight { waker } => {
                    if let Some(waker) = waker {
                        waker.wake();
                    }
                }
                State::Abandoned => {
                    discard(std::mem::replace(&mut place.kept, Kept::Nothing), result);
                    place.state = State::Vacant { next: self.vacant };
                    self.vacant = Some(slot);
                }
                State::Vacant { .. } | State::Done { .. } => {
                    unreachable!("each operation completes once")
                }
            }
        }
        count
    }

    fn poll(&mut self, slot: u32, context: &mut Context<'_>) -> Poll<(i32, Kept)> {
        let place = &mut self.slots[slot as usize];
        match &mut place.state {
            State::InFlight { waker } => {
                match waker {
                    Some(waker) => waker.clone_from(context.waker()),
                    None => *waker = Some(context.waker().clone()),
                }
                Poll::Pending
            }
            State::Done { result } => {
                let result = *result;
                place.state = State::Vacant { next: self.vacant };
                self.vacant = Some(slot);
                Poll::Ready((result, std::mem::replace(&mut place.kept, Kept::Nothing)))
            }
            State::Vacant { .. } | State::Abandoned => {
                unreachable!("an operation is polled until it is ready")
            }
        }
    }

    /// Nobody waits for this operation any more.
    fn abandon(&mut self, slot: u32) {
        let place = &mut self.slots[slot as usize];
        match place.state {
            State::InFlight { .. } => place.state = State::Abandoned,
            State::Done { result } => {
                discard(std::mem::replace(&mut place.kept, Kept::Nothing), result);
                place.state = State::Vacant { next: self.vacant };
                self.vacant = Some(slot);
            }
            State::Vacant { .. } | State::Abandoned => {
                unreachable!("an operation is abandoned once")
            }
        }
    }

    /// Lets a write to the eventfd `wake` end a wait.
    pub(super) fn arm_wake_poll(&mut self, wake: RawFd) -> io::Result<()> {
        if self.is_wake_poll_armed {
            return Ok(());
        }
        let events = u32::from(libc::POLLIN.unsigned_abs());
        let entry = io_uring::opcode::PollAdd::new(io_uring::types::Fd(wake), events);
        // SAFETY: the entry points to no memory, and the driver's eventfd outlives the ring.
        unsafe { self.push_entry(&entry.build().user_data(WAKE_POLL))? };
        self.is_wake_poll_armed = true;
        self.is_dirty = true;
        Ok(())
    }

    /// Whether the eventfd was written to since the last call, and is to be emptied.
    pub(super) fn take_woken(&mut self) -> bool {
        std::mem::take(&mut self.was_woken)
    }

    /// Registers memory as a fixed buffer; `None` if the kernel or a limit refuses.
    ///
    /// # Safety
    ///
    /// The memory stays mapped until [`Ring::unregister`], or the ring is dropped.
    pub(super) unsafe fn register(&mut self, address: *mut u8, length: usize) -> Option<u16> {
        let submitter = self.ring.submitter();
        let is_made = *self.fixed.is_made.get_or_insert_with(|| {
            submitter.register_buffers_sparse(u32::from(REGISTERED_REGIONS_MAX)).is_ok()
        });
        let slot = self.fixed.free.last().copied().unwrap_or(self.fixed.next);
        if !is_made || slot >= REGISTERED_REGIONS_MAX {
            return None;
        }
        let memory = libc::iovec { iov_base: address.cast(), iov_len: length };
        // SAFETY: the memory is mapped, and stays so, by what the caller promised.
        unsafe { submitter.register_buffers_update(u32::from(slot), &[memory], None) }.ok()?;
        if self.fixed.free.pop().is_none() {
            self.fixed.next += 1;
        }
        Some(slot)
    }

    pub(super) fn unregister(&mut self, slot: u16) {
        let nothing = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        let submitter = self.ring.submitter();
        // SAFETY: an empty entry points to no memory.
        let done = unsafe { submitter.register_buffers_update(u32::from(slot), &[nothing], None) };
        // A slot that could not be cleared keeps its pages pinned, and is never used again.
        if done.is_ok() {
            self.fixed.free.push(slot);
        }
    }

    /// Whether the kernel may still use memory of ours.
    fn is_busy(&self) -> bool {
        self.slots.iter().any(|slot| {
            matches!(slot.state, State::InFlight { .. } | State::Abandoned)
                // A timeout's memory is copied when it is submitted.
                && !matches!(slot.kept, Kept::Sleep(_))
        })
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let mut waited = self.enter(Wait::Not);
        while waited.is_ok() && self.is_busy() {
            // Cancelling is a courtesy that older kernels lack; waiting is what keeps memory safe.
            // Once is not enough for what was between two states just then.
            let _ = self.ring.submitter().register_sync_cancel(None, CancelBuilder::any());
            waited = self.turn(Wait::AtMost(CANCEL_PAUSE));
        }
        if waited.is_err() {
            // The kernel may still write there: better lost than reused.
            std::mem::forget(std::mem::take(&mut self.slots));
        }
    }
}

/// Drops what an operation kept whose result nobody takes.
fn discard(kept: Kept, result: i32) {
    if let (Kept::Open(_) | Kept::Accept, Ok(fd)) = (&kept, u32::try_from(result)) {
        // SAFETY: the kernel has just given us this descriptor, and nobody else knows it.
        drop(unsafe { OwnedFd::from_raw_fd(fd.cast_signed()) });
    }
}

/// Makes a ring with the best setup that this kernel knows.
fn build(entries: u32, defer: bool) -> io::Result<IoUring> {
    let mut best = IoUring::builder();
    best.setup_single_issuer().setup_taskrun_flag();
    if defer {
        best.setup_defer_taskrun()
    } else {
        best.setup_coop_taskrun()
    };
    let mut older = IoUring::builder();
    older.setup_coop_taskrun().setup_taskrun_flag();
    let plain = IoUring::builder();
    let mut last = None;
    let completions = entries.saturating_mul(COMPLETIONS_PER_ENTRY).min(COMPLETIONS_MAX);
    for mut builder in [best, older, plain] {
        match builder.dontfork().setup_cqsize(completions).build(entries) {
            Ok(ring) => return Ok(ring),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => last = Some(error),
            Err(error) => {
                let text = format!("cannot make an io_uring of {entries} entries: {error}");
                return Err(io::Error::new(error.kind(), text));
            }
        }
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::Unsupported.into()))
}

/// An operation on its way. Resolves to its raw result and what it kept.
pub(super) struct Pendency {
    inner: Rc<Inner>,
    /// `None` once it has resolved.
    slot: Option<u32>,
}

impl Pendency {
    pub(super) fn new(inner: Rc<Inner>, slot: u32) -> Self {
        Self { inner, slot: Some(slot) }
    }
}

impl Future for Pendency {
    type Output = (i32, Kept);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<(i32, Kept)> {
        let slot = self.slot.expect("not polled again after it was ready");
        let poll = self.inner.ring.borrow_mut().poll(slot, context);
        if poll.is_ready() {
            self.slot = None;
        }
        poll
    }
}

impl Drop for Pendency {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.inner.ring.borrow_mut().abandon(slot);
        }
    }
}

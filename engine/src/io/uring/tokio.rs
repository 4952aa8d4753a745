//! The driver inside a current-thread tokio runtime.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ::tokio::io::Interest;
use ::tokio::io::unix::AsyncFd;
use ::tokio::task::spawn_local;

use super::{Driver, Inner, UringIo};

#[derive(Default)]
pub(super) struct TokioDriver {
    /// Wakes the task that runs [`UringIo::drive`].
    waker: RefCell<Option<Waker>>,
}

impl TokioDriver {
    /// Queues the driving task behind those that are ready now, so that it submits for all of them.
    pub(super) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    fn set_waker(&self, context: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        match &mut *waker {
            Some(waker) => waker.clone_from(context.waker()),
            None => *waker = Some(context.waker().clone()),
        }
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        drop(spawn_local(task));
    }
}

/// The ring's descriptor, for tokio's reactor. It keeps the ring, which closes it, alive.
struct RingFd {
    inner: Rc<Inner>,
    fd: RawFd,
}

impl AsRawFd for RingFd {
    fn as_raw_fd(&self) -> RawFd {
        self.fd
    }
}

impl UringIo {
    /// A ring inside the current-thread tokio runtime that calls this, with room for `entries`
    /// operations per submission (more may be in flight). Nothing completes unless a task of the
    /// same thread runs [`UringIo::drive`].
    ///
    /// # Errors
    ///
    /// If the kernel has no io_uring, forbids it, or lacks memory or descriptors.
    pub fn tokio(entries: u32) -> io::Result<Self> {
        Self::new(entries, Driver::Tokio(TokioDriver::default()))
    }

    /// Submits and completes this ring's operations, until the runtime ends or the kernel fails
    /// the ring: to be spawned once, with `tokio::task::spawn_local`, on the thread that made the
    /// ring. It keeps the ring alive.
    ///
    /// # Errors
    ///
    /// It resolves only with an error: if tokio's reactor does not take the ring's descriptor, or
    /// `io_uring_enter` fails.
    ///
    /// # Panics
    ///
    /// If polled outside of a tokio runtime with I/O enabled, or if this ring was made with
    /// [`UringIo::plain`].
    pub fn drive(&self) -> impl Future<Output = io::Result<()>> + use<> {
        let inner = Rc::clone(&self.inner);
        async move {
            let fd = inner.ring.borrow().fd();
            // SAFETY: the descriptor is the ring's, which lives and keeps it open as long as the
            // `RingFd` does, and is never another.
            let ready = unsafe {
                AsyncFd::register_with_interest(RingFd { inner, fd }, Interest::READABLE)
            };
            let ready = ready.map_err(io::Error::from)?;
            poll_fn(|context| poll_drive(&ready, context)).await
        }
    }
}

fn poll_drive(ready: &AsyncFd<RingFd>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
    let inner = &ready.get_ref().inner;
    let Driver::Tokio(driver) = &inner.driver else {
        panic!("a plain ring is driven by `block_on`")
    };
    driver.set_waker(context);
    loop {
        inner.ring.borrow_mut().flush()?;
        match ready.poll_read_ready(context)? {
            // Cleared before the next look at the ring, so that a completion after that look
            // makes it ready again.
            Poll::Ready(mut guard) => guard.clear_ready(),
            Poll::Pending => return Poll::Pending,
        }
    }
}

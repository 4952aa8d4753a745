//! The driver for a thread without an async runtime: an executor that sleeps in the ring.

use std::fs::File;
use std::future::Future;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ring::Wait;
use super::spin::Spin;
use super::timers::Timers;
use super::{Driver, UringIo, clock};
use crate::io::executor::Executor;

pub(super) struct PlainDriver {
    executor: Executor,
    /// An eventfd that other threads write to when they wake a task.
    wake: Arc<File>,
    /// Those who sleep. They cost the kernel nothing: the next deadline bounds the wait in the ring.
    pub(super) timers: Timers,
    spin: Spin,
}

impl PlainDriver {
    fn new() -> io::Result<Self> {
        // SAFETY: a system call without pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just given us this descriptor.
        let wake = Arc::new(unsafe { File::from_raw_fd(fd) });
        let remote = Arc::clone(&wake);
        let executor = Executor::with_unpark(move || {
            // It fails only when the counter is full, and then the thread is awake anyway.
            let _ = (&*remote).write(&1u64.to_ne_bytes());
        });
        Ok(Self { executor, wake, timers: Timers::default(), spin: Spin::default() })
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.executor.spawn(task);
    }

    /// Empties the eventfd after its poll has fired.
    fn acknowledge(&self) {
        // It fails only when the counter is zero, which is what is wanted.
        let _ = (&*self.wake).read(&mut [0; 8]);
    }
}

impl UringIo {
    /// A ring for a thread of its own, with room for `entries` operations per submission (more may
    /// be in flight). Run it with [`UringIo::block_on`].
    ///
    /// # Errors
    ///
    /// If the kernel has no io_uring, forbids it, or lacks memory or descriptors.
    pub fn plain(entries: u32) -> io::Result<Self> {
        Self::new(entries, Driver::Plain(PlainDriver::new()?))
    }

    /// Runs a future, and the tasks that are spawned, on this thread until the future resolves.
    /// When nothing is ready, one system call submits what the tasks have put in line and sleeps in
    /// the ring until something completes, a deadline comes, or another thread wakes a task. While
    /// tasks are always ready, operations are submitted every few turns. Tasks that are left stay,
    /// and go on with the next call.
    ///
    /// # Panics
    ///
    /// If this ring was made with [`UringIo::tokio`], if called from one of its own tasks, or if
    /// the kernel fails the ring. A panic in a task comes out of here too; the others are as they
    /// were.
    pub fn block_on<T>(&self, main: impl Future<Output = T>) -> T {
        let driver = self.plain_driver();
        let output = driver.executor.block_on(main, |is_idle| {
            match self.turn(driver, is_idle) {
                Ok(true) => driver.acknowledge(),
                Ok(false) => {}
                Err(error) => panic!("the io_uring failed: {error}"),
            }
            if driver.timers.has_any() {
                driver.timers.fire(clock());
            }
            ControlFlow::Continue(())
        });
        output.expect("the turn never breaks")
    }

    /// Lets the thread look for completions for at most `longest` before it sleeps, which
    /// [`UringIo::block_on`] never does unless this is called. Saves the microseconds that sleeping
    /// and waking take, at the price of a core that is busy. How long it looks follows what has
    /// paid: not at all while waits are longer than `longest` anyway, so an idle thread sleeps.
    /// Between two looks the core is offered to whoever else wants it, among them the kernel's
    /// own workers that complete writes.
    ///
    /// # Panics
    ///
    /// If this ring was made with [`UringIo::tokio`]: the runtime does the waiting.
    pub fn set_spin(&self, longest: Duration) {
        self.plain_driver().spin.set_longest(longest);
    }

    fn plain_driver(&self) -> &PlainDriver {
        match &self.inner.driver {
            Driver::Plain(driver) => driver,
            #[cfg(feature = "tokio")]
            Driver::Tokio(_) => panic!("a ring inside a tokio runtime is driven by `drive`"),
        }
    }

    /// One turn of the ring, which waits if nothing is ready. Says whether another thread ended it.
    fn turn(&self, driver: &PlainDriver, is_idle: bool) -> io::Result<bool> {
        let mut ring = self.inner.ring.borrow_mut();
        if !is_idle {
            ring.turn(Wait::Not)?;
            return Ok(ring.take_woken());
        }
        ring.arm_wake_poll(driver.wake.as_raw_fd())?;
        let deadline = driver.timers.next();
        if driver.spin.is_on() {
            let begun = clock();
            let until = begun + driver.spin.next();
            let until = deadline.map_or(until, |deadline| until.min(deadline));
            if until <= begun || !ring.spin(until)? {
                ring.turn(wait_until(deadline))?;
            }
            driver.spin.learn(clock().duration_since(begun));
        } else {
            ring.turn(wait_until(deadline))?;
        }
        Ok(ring.take_woken())
    }

    /// Drops all tasks of a [plain](UringIo::plain) ring. Tasks that hold a handle to it keep each
    /// other alive for ever otherwise. Those of shards are among them: what their logs are given after
    /// that is never written, and who waits for it to be durable waits for ever. What is in flight may
    /// still reach the disk, so their folders are opened again on another ring, once this one is gone.
    pub fn stop_tasks(&self) {
        #[cfg_attr(not(feature = "tokio"), expect(irrefutable_let_patterns))]
        if let Driver::Plain(driver) = &self.inner.driver {
            driver.executor.clear();
        }
    }
}

fn wait_until(deadline: Option<Instant>) -> Wait {
    match deadline.map(|deadline| deadline.saturating_duration_since(clock())) {
        None => Wait::Forever,
        Some(Duration::ZERO) => Wait::Not,
        Some(left) => Wait::AtMost(left),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::thread;

    use super::*;
    use crate::io::Io;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "another thread is late")]
    fn a_ring_that_looks_on_meets_its_deadlines_and_hears_other_threads() {
        const LONGEST: Duration = Duration::from_millis(20);
        let io = UringIo::plain(8).expect("a ring");
        io.set_spin(LONGEST);
        let slept = Rc::new(Cell::new(0));
        io.block_on(async {
            for micros in [1, 300, 3_000, 30_000, 1] {
                let begun = io.elapsed();
                io.sleep(Duration::from_micros(micros)).await;
                let took = io.elapsed() - begun;
                assert!(
                    took >= Duration::from_micros(micros),
                    "woken after {took:?} of {micros} us"
                );
                slept.set(slept.get() + 1);
            }
            for pause in [Duration::ZERO, LONGEST / 4, LONGEST * 2] {
                let (sender, receiver) = tokio::sync::oneshot::channel();
                let other = thread::spawn(move || {
                    thread::sleep(pause);
                    sender.send(())
                });
                receiver.await.expect("the other thread says so");
                other.join().expect("ends").expect("was heard");
            }
        });
        assert_eq!(slept.get(), 5);
    }
}

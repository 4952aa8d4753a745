//! A small executor for one thread: for the simulation, and for threads without an async runtime.
//!
//! Tasks are polled in the order in which they were woken. Waking from the executor's own thread
//! takes no lock; a wake from another thread goes through a locked list, and the first of them since
//! the owner last looked [unparks](Executor::with_unpark) it.

use std::cell::{Cell, RefCell, UnsafeCell};
use std::collections::VecDeque;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use super::wakes::{Queued, RemoteList};

/// A single-threaded executor. Cloning gives another handle to the same one.
///
/// Dropping the last handle drops the tasks. A task that holds a handle keeps the executor alive:
/// [`Executor::clear`] breaks the circle.
#[derive(Clone)]
pub(crate) struct Executor {
    inner: Rc<Inner>,
}

struct Inner {
    ready: Arc<Ready>,
    tasks: RefCell<Tasks>,
    running: Cell<bool>,
}

#[derive(Default)]
struct Tasks {
    slots: Vec<Option<Task>>,
    vacant: Vec<usize>,
}

struct Task {
    /// Taken out while the task is polled.
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    wakeup: Arc<Wakeup>,
}

/// Marks the future that [`Executor::block_on`] was given.
const MAIN: usize = usize::MAX;

impl Executor {
    /// An executor whose thread is unparked by wakes from other threads.
    pub(crate) fn new() -> Self {
        let owner = thread::current();
        Self::with_unpark(move || owner.unpark())
    }

    /// An executor that calls `unpark` when another thread wakes a task.
    pub(crate) fn with_unpark(unpark: impl Fn() + Send + Sync + 'static) -> Self {
        let ready = Arc::new(Ready {
            owner: thread_number(),
            local: UnsafeCell::new(VecDeque::new()),
            remote: RemoteList::new(),
            is_over: AtomicBool::new(false),
            unpark: Box::new(unpark),
        });
        Self {
            inner: Rc::new(Inner { ready, tasks: RefCell::default(), running: Cell::new(false) }),
        }
    }

    /// Adds a task, to be polled after those that are ready already. One allocation or two.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let mut tasks = self.inner.tasks.borrow_mut();
        let index = tasks.vacant.pop().unwrap_or(tasks.slots.len());
        if index == tasks.slots.len() {
            tasks.slots.push(None);
        }
        let wakeup = self.inner.wakeup(index);
        let future = Some(Box::pin(task) as _);
        tasks.slots[index] = Some(Task { future, wakeup: Arc::clone(&wakeup) });
        drop(tasks);
        wakeup.wake();
    }

    /// Runs `main` and the spawned tasks on this thread, parking it while nothing is ready.
    #[cfg(test)]
    pub(crate) fn run<T>(&self, main: impl Future<Output = T>) -> T {
        let output = self.block_on(main, |is_idle| {
            if is_idle {
                thread::park();
            }
            ControlFlow::Continue(())
        });
        output.expect("the turn never breaks")
    }

    /// Runs `main` and the spawned tasks until `main` ends (`Some`) or `turn` breaks (`None`).
    ///
    /// `turn` is called each time the tasks that were ready have been polled once. Its argument
    /// says whether nothing is ready, so that it may wait for something that wakes a task.
    ///
    /// # Panics
    ///
    /// If called from a task of this executor, or on another thread than the one that made it.
    pub(crate) fn block_on<T>(
        &self,
        main: impl Future<Output = T>,
        mut turn: impl FnMut(bool) -> ControlFlow<()>,
    ) -> Option<T> {
        assert!(!self.inner.running.replace(true), "an executor runs one main future at a time");
        let _running = Running(&self.inner.running);
        let mut main = pin!(main);
        let main_wakeup = self.inner.wakeup(MAIN);
        let main_waker = Waker::from(Arc::clone(&main_wakeup));
        main_waker.wake_by_ref();
        loop {
            for _ in 0..self.inner.ready_len() {
                let Some(wakeup) = self.inner.next() else { break };
                if wakeup.task != MAIN {
                    self.inner.poll_task(wakeup);
                } else if Arc::ptr_eq(&wakeup, &main_wakeup)
                    && let Poll::Ready(output) =
                        main.as_mut().poll(&mut Context::from_waker(&main_waker))
                {
                    return Some(output);
                }
            }
            if turn(self.inner.ready_len() == 0).is_break() {
                return None;
            }
        }
    }

    /// Drops all tasks but the one that is being polled, which is dropped as soon as it suspends.
    pub(crate) fn clear(&self) {
        loop {
            let tasks = std::mem::take(&mut self.inner.tasks.borrow_mut().slots);
            self.inner.tasks.borrow_mut().vacant.clear();
            if tasks.is_empty() {
                return;
            }
            // Dropped outside of the borrow: a task's destructor may spawn.
            drop(tasks);
        }
    }
}

struct Running<'a>(&'a Cell<bool>);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl Inner {
    fn wakeup(&self, task: usize) -> Arc<Wakeup> {
        assert!(self.ready.is_owner(), "an executor belongs to the thread that made it");
        Arc::new(Wakeup { task, queued: Queued::new(), ready: Arc::clone(&self.ready) })
    }

    fn ready_len(&self) -> usize {
        // SAFETY: `Inner` is not `Send`, so this is the owner's thread, and no other reference to
        // the queue is alive: every access is confined to one statement that calls nothing of ours.
        unsafe { self.ready.take_remote() };
        // SAFETY: as above.
        unsafe { (*self.ready.local.get()).len() }
    }

    fn next(&self) -> Option<Arc<Wakeup>> {
        // SAFETY: as in `ready_len`.
        let wakeup = unsafe { (*self.ready.local.get()).pop_front() }?;
        wakeup.queued.leave();
        Some(wakeup)
    }

    fn poll_task(&self, wakeup: Arc<Wakeup>) {
        let (index, number) = (wakeup.task, Arc::as_ptr(&wakeup));
        let is_it = |task: &Task| Arc::as_ptr(&task.wakeup) == number;
        let mut future = {
            let mut tasks = self.tasks.borrow_mut();
            match tasks.slots.get_mut(index).and_then(Option::as_mut) {
                // A wake of a task that ended, whose slot may have a new tenant, is void.
                Some(task) if is_it(task) => match task.future.take() {
                    Some(future) => future,
                    None => return,
                },
                _ => return,
            }
        };
        // It lives until the end of this call, so that no other task's is at its address.
        let waker = Waker::from(wakeup);
        let poll = future.as_mut().poll(&mut Context::from_waker(&waker));
        let mut tasks = self.tasks.borrow_mut();
        let slot = tasks.slots.get_mut(index);
        let Some(slot) = slot.filter(|slot| slot.as_ref().is_some_and(is_it)) else {
            // Cleared meanwhile. The future goes after the borrow.
            drop(tasks);
            return;
        };
        match poll {
            Poll::Pending => {
                if let Some(task) = slot {
                    task.future = Some(future);
                }
            }
            Poll::Ready(()) => {
                *slot = None;
                tasks.vacant.push(index);
                drop(tasks);
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.tasks.borrow_mut().slots.clear();
        // Queued wake-ups hold the queue: the circle ends here, and a waker that somebody has kept
        // begins no other.
        self.ready.is_over.store(true, Ordering::Relaxed);
        self.ready.remote.close();
        while self.next().is_some() {}
    }
}

/// The queue of what is ready to be polled.
struct Ready {
    owner: u64,
    /// Touched on the owner's thread only.
    local: UnsafeCell<VecDeque<Arc<Wakeup>>>,
    /// Tasks woken from other threads.
    remote: RemoteList<Arc<Wakeup>>,
    /// The executor is gone. Touched on the owner's thread only; others find `remote` closed.
    is_over: AtomicBool,
    unpark: Box<dyn Fn() + Send + Sync>,
}

// SAFETY: `local` is touched only where `is_owner` was checked or the type system keeps the caller
// on the owner's thread; thread numbers are never used twice. All else is `Send` and `Sync`.
unsafe impl Send for Ready {}
// SAFETY: as for Send.
unsafe impl Sync for Ready {}

impl Ready {
    fn is_owner(&self) -> bool {
        self.owner == thread_number()
    }

    /// # Safety
    ///
    /// On the owner's thread only, and with no reference into `local` alive.
    unsafe fn take_remote(&self) {
        // SAFETY: as the caller promised; nothing else uses the queue meanwhile.
        self.remote.take(|wakeup| unsafe { (*self.local.get()).push_back(wakeup) });
    }
}

/// What a task's waker points to.
struct Wakeup {
    task: usize,
    queued: Queued,
    ready: Arc<Ready>,
}

impl Wakeup {
    /// Puts a task that is not there yet at the end of its executor's queue.
    fn push(self: Arc<Self>) {
        if self.ready.is_owner() {
            if self.ready.is_over.load(Ordering::Relaxed) {
                return;
            }
            let local = self.ready.local.get();
            // SAFETY: this is the owner's thread, nothing else uses the queue meanwhile, and what is
            // put into it keeps it alive.
            unsafe { (*local).push_back(self) };
        } else {
            let ready = Arc::clone(&self.ready);
            if ready.remote.push(self) {
                (ready.unpark)();
            }
        }
    }
}

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        if self.queued.enter() {
            self.push();
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.queued.enter() {
            Arc::clone(self).push();
        }
    }
}

/// A number for the current thread that no other thread of the process ever has.
fn thread_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        static NUMBER: u64 = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    // While the thread's locals are being destroyed it counts as foreign: that is always correct.
    NUMBER.try_with(|number| *number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    async fn yield_once() {
        let mut yielded = false;
        poll_fn(|context| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    #[test]
    fn tasks_run_in_the_order_in_which_they_were_woken() {
        let executor = Executor::new();
        let seen = Rc::new(RefCell::new(Vec::new()));
        for name in ["a", "b"] {
            let seen = Rc::clone(&seen);
            executor.spawn(async move {
                for step in 0..2 {
                    seen.borrow_mut().push((name, step));
                    yield_once().await;
                }
            });
        }
        executor.run(async {
            for _ in 0..4 {
                yield_once().await;
            }
        });
        assert_eq!(*seen.borrow(), [("a", 0), ("b", 0), ("a", 1), ("b", 1)]);
    }

    #[test]
    fn a_wake_from_another_thread_unparks_the_executor() {
        let executor = Executor::new();
        let flag = Arc::new(AtomicBool::new(false));
        let mut started = false;
        executor.run(poll_fn(|context| {
            if flag.load(Ordering::SeqCst) {
                return Poll::Ready(());
            }
            if !std::mem::replace(&mut started, true) {
                let (flag, waker) = (Arc::clone(&flag), context.waker().clone());
                thread::spawn(move || {
                    flag.store(true, Ordering::SeqCst);
                    waker.wake();
                });
            }
            Poll::Pending
        }));
    }

    #[test]
    fn clearing_drops_tasks_that_hold_the_executor() {
        let executor = Executor::new();
        let witness = Rc::new(());
        let held = (executor.clone(), Rc::clone(&witness));
        executor.spawn(async move {
            std::future::pending::<()>().await;
            drop(held);
        });
        executor.run(yield_once());
        assert_eq!(Rc::strong_count(&witness), 2);
        executor.clear();
        assert_eq!(Rc::strong_count(&witness), 1);
    }

    #[test]
    fn a_wake_after_the_end_leaves_nothing_behind() {
        let witness = Arc::new(());
        for is_remote in [false, true] {
            let held = Arc::clone(&witness);
            let executor = Executor::with_unpark(move || {
                let _ = &held;
            });
            let mut waker = None;
            executor.run(poll_fn(|context| {
                waker = Some(context.waker().clone());
                Poll::Ready(())
            }));
            drop(executor);
            let waker: Waker = waker.expect("it was polled");
            if is_remote {
                thread::spawn(move || waker.wake()).join().expect("wakes");
            } else {
                waker.wake();
            }
            assert_eq!(Arc::strong_count(&witness), 1, "remote: {is_remote}");
        }
    }
}

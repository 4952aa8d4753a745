//! Tasks of a shard whose panic ends the shard.
//!
//! A task's panic is caught, and the executor goes on without the task. For a broker that would be
//! a connection that never answers or a partition that no longer commits, in a process that looks
//! well. So tasks are spawned here: a panic in one of them resolves [`panicked`], which the
//! shard's thread waits for beside its work, and the broker stops.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ringlog_engine::io::Io;
use ringlog_engine::io::uring::UringIo;

thread_local! {
    static ALARM: Alarm = const { Alarm { raised: Cell::new(false), waiting: Cell::new(None) } };
    /// The ring that runs this thread's tasks.
    static RING: RefCell<Option<UringIo>> = const { RefCell::new(None) };
}

struct Alarm {
    raised: Cell<bool>,
    waiting: Cell<Option<Waker>>,
}

fn raise_alarm() {
    ALARM.with(|alarm| {
        alarm.raised.set(true);
        if let Some(waker) = alarm.waiting.take() {
            waker.wake();
        }
    });
}

/// Runs `main` and whatever is [`spawn`]ed meanwhile on this thread and its ring, a plain one,
/// until `main` resolves. Tasks that are left then are dropped.
///
/// # Panics
///
/// If the thread runs a ring already, and as [`UringIo::block_on`].
pub(crate) fn run<T>(ring: &UringIo, main: impl Future<Output = T>) -> T {
    let entered = RING.replace(Some(ring.clone()));
    assert!(entered.is_none(), "a thread runs one ring");
    let _leaving = Leaving;
    ring.block_on(main)
}

/// Takes the ring from the thread, also after a panic.
struct Leaving;

impl Drop for Leaving {
    fn drop(&mut self) {
        // Its tasks hold the ring and the ring holds them: this lets go of both.
        if let Some(ring) = RING.with_borrow(Clone::clone) {
            ring.stop_tasks();
        }
        drop(RING.take());
    }
}

/// Spawns a task on this thread's executor. If it panics, the thread's [`panicked`] resolves.
///
/// # Panics
///
/// Outside [`run`].
pub(crate) fn spawn(task: impl Future<Output = ()> + 'static) {
    spawn_then(task, drop);
}

/// As [`spawn`], for those who wait for the task to end. One allocation more.
pub(crate) fn spawn_joined<T: 'static>(task: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    let ending = Rc::new(Ending { outcome: Cell::new(None), waiting: Cell::new(None) });
    let handle = JoinHandle(Rc::clone(&ending));
    spawn_then(task, move |outcome| {
        ending.outcome.set(Some(outcome));
        if let Some(waker) = ending.waiting.take() {
            waker.wake();
        }
    });
    handle
}

/// Spawns a task, and says at its end how it ended.
fn spawn_then<T: 'static>(
    task: impl Future<Output = T> + 'static,
    ended: impl FnOnce(Result<T, Panicked>) + 'static,
) {
    // In a box of its own: a future that is moved into another takes its place twice.
    let (mut task, mut ended) = (Box::pin(task), Some(ended));
    let guarded = poll_fn(move |cx| {
        // After a panic the task is not polled again, and what it shares with others is not
        // trusted for long: the alarm ends the shard.
        let outcome = match catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(cx))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(_) => {
                raise_alarm();
                Err(Panicked)
            }
        };
        if let Some(ended) = ended.take() {
            ended(outcome);
        }
        Poll::Ready(())
    });
    RING.with_borrow(|ring| {
        ring.as_ref().expect("tasks are spawned on a thread that runs a ring").spawn(guarded);
    });
}

/// The task panicked; what about is on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a task panicked")]
pub(crate) struct Panicked;

struct Ending<T> {
    outcome: Cell<Option<Result<T, Panicked>>>,
    waiting: Cell<Option<Waker>>,
}

/// Resolves when its task has ended. Dropping it leaves the task alone; to be polled by one task at
/// a time, and not again after it has resolved.
pub(crate) struct JoinHandle<T>(Rc<Ending<T>>);

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, Panicked>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(outcome) = self.0.outcome.take() {
            return Poll::Ready(outcome);
        }
        self.0.waiting.set(Some(cx.waker().clone()));
        Poll::Pending
    }
}

/// Resolves once a task that was [`spawn`]ed on this thread has panicked. One waits at a time.
pub(crate) async fn panicked() {
    poll_fn(|cx| {
        ALARM.with(|alarm| {
            if alarm.raised.get() {
                return Poll::Ready(());
            }
            alarm.waiting.set(Some(cx.waker().clone()));
            Poll::Pending
        })
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timer::yield_now;

    fn on_a_thread_of_its_own<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
        let thread = std::thread::spawn(|| run(&UringIo::plain(4).expect("a ring"), test()));
        thread.join().expect("the thread itself does not panic");
    }

    #[test]
    fn a_panic_in_a_task_is_heard_on_its_thread() {
        on_a_thread_of_its_own(|| async {
            let fine = spawn_joined(async { 7 });
            assert_eq!(fine.await, Ok(7));
            let wrong = spawn_joined(async {
                yield_now().await;
                panic!("on purpose");
            });
            panicked().await;
            assert_eq!(wrong.await, Err::<(), _>(Panicked));
            assert_eq!(spawn_joined(async { 8 }).await, Ok(8), "the others go on");
        });
    }

    #[test]
    fn tasks_that_are_left_are_dropped_when_the_main_one_ends() {
        let witness = std::sync::Arc::new(());
        let held = std::sync::Arc::clone(&witness);
        on_a_thread_of_its_own(|| async move {
            spawn(async move {
                std::future::pending::<()>().await;
                drop(held);
            });
            yield_now().await;
        });
        assert_eq!(std::sync::Arc::strong_count(&witness), 1);
    }
}

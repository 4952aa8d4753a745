//! Tasks of a shard whose panic ends the shard.
//!
//! The executor catches a task's panic and goes on without the task. For a broker that would be a
//! connection that never answers or a partition that no longer commits, in a process that looks
//! well. So tasks are spawned here: a panic in one of them resolves [`panicked`], which the
//! shard's thread waits for beside its work, and the broker stops.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::task::{Poll, Waker};

use tokio::task::JoinHandle;

thread_local! {
    static ALARM: Alarm = const { Alarm { raised: Cell::new(false), waiting: Cell::new(None) } };
}

struct Alarm {
    raised: Cell<bool>,
    waiting: Cell<Option<Waker>>,
}

/// Raises the alarm when a panic drops it.
struct Tripwire;

impl Drop for Tripwire {
    fn drop(&mut self) {
        if std::thread::panicking() {
            ALARM.with(|alarm| {
                alarm.raised.set(true);
                if let Some(waker) = alarm.waiting.take() {
                    waker.wake();
                }
            });
        }
    }
}

/// Spawns a task on this thread's executor. If it panics, the thread's [`panicked`] resolves.
///
/// # Panics
///
/// Outside a shard's runtime.
pub(crate) fn spawn<F>(task: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
{
    tokio::task::spawn_local(async move {
        let _tripwire = Tripwire;
        task.await
    })
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

    #[test]
    fn a_panic_in_a_task_is_heard_on_its_thread() {
        let thread = std::thread::spawn(|| {
            tokio_uring::start(async {
                let fine = spawn(async { 7 });
                assert_eq!(fine.await.expect("no panic"), 7);
                let wrong = spawn(async {
                    tokio::task::yield_now().await;
                    panic!("on purpose");
                });
                panicked().await;
                assert!(wrong.await.expect_err("it panicked").is_panic());
            });
        });
        thread.join().expect("the thread itself does not panic");
    }
}

//! Time and turns for the tasks of a shard.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use ringlog_engine::io::Io;

/// What `work` comes to, or `None` if it takes longer than `limit`; it is dropped then. Costs a
/// look at the clock, and an entry among the ring's sleepers if the work is not done at once.
pub(crate) async fn timeout<T>(
    io: &impl Io,
    limit: Duration,
    work: impl Future<Output = T>,
) -> Option<T> {
    let (mut work, mut over) = (pin!(work), pin!(io.sleep(limit)));
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => over.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// Lets the thread's other tasks, and its I/O, have a turn.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use ringlog_engine::io::uring::UringIo;

    use super::*;

    #[test]
    fn work_that_is_done_in_time_is_done_and_other_work_is_dropped() {
        let io = UringIo::plain(4).expect("a ring");
        let second = Duration::from_secs(1);
        let work = async {
            yield_now().await;
            7
        };
        assert_eq!(io.block_on(timeout(&io, 60 * second, work)), Some(7));
        let never = std::future::pending::<()>();
        assert_eq!(io.block_on(timeout(&io, second / 1000, never)), None);
        assert_eq!(io.block_on(timeout(&io, Duration::ZERO, async { 7 })), Some(7));
    }
}

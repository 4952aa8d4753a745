//! Many futures at once, but not too many.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// Runs the futures, at most `limit` at a time, in the order given. After the first error no
/// further one is begun; those under way are waited for, so that nothing goes on behind the
/// caller's back.
///
/// # Errors
///
/// The first error.
pub(crate) async fn all<F, E>(limit: usize, futures: impl IntoIterator<Item = F>) -> Result<(), E>
where
    F: Future<Output = Result<(), E>>,
{
    let mut waiting = futures.into_iter().fuse();
    let mut running: Vec<Pin<Box<F>>> = Vec::with_capacity(limit);
    let mut result = Ok(());
    poll_fn(|context| {
        loop {
            let mut is_stuck = true;
            while result.is_ok() && running.len() < limit {
                let Some(future) = waiting.next() else { break };
                running.push(Box::pin(future));
            }
            running.retain_mut(|future| match future.as_mut().poll(context) {
                Poll::Pending => true,
                Poll::Ready(done) => {
                    is_stuck = false;
                    if result.is_ok() {
                        result = done;
                    }
                    false
                }
            });
            if running.is_empty() && is_stuck {
                return Poll::Ready(());
            }
            if is_stuck {
                return Poll::Pending;
            }
        }
    })
    .await;
    result
}

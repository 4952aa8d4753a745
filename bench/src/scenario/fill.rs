//! A topic with a given amount of data in it.

use super::Tell;
use crate::admin::{self, At};
use crate::args::{Acks, Timing};
use crate::error::BenchError;
use crate::load::payload::Payload;
use crate::load::reader::Cursor;
use crate::load::{Leaders, Outcome, Plan, Reading, run};

/// A run that ends with its work and not with the clock still ends after a day.
pub(super) const UNTIL_DONE: Timing = Timing { duration: 86_400.0, warmup: 0.0 };
const CONNECTIONS: u32 = 4;
const DEPTH: u32 = 5;

/// Produces `requests` requests in a closed loop.
///
/// # Errors
///
/// A [`BenchError`] if the run broke off, or the server refused some of it.
pub fn fill(
    topic: &str,
    leaders: &Leaders,
    payload: &Payload,
    requests: u64,
    cpu: &[usize],
    tell: Tell<'_>,
) -> Result<Outcome, BenchError> {
    let plan = Plan {
        topic,
        leaders,
        payload,
        connections: CONNECTIONS,
        depth: DEPTH,
        acks: Acks::All,
        rate: None,
        timing: UNTIL_DONE,
        threads: 1,
        cpu,
        server: None,
        requests_max: Some(requests),
        reading: Reading::none(),
    };
    let outcome = run(&plan, &mut |over| tell("writing the log", over))?;
    match outcome.tally.errors.first_key_value() {
        None => Ok(outcome),
        Some((&code, _)) => {
            let step = "filling it";
            Err(BenchError::Topic { topic: topic.to_owned(), step, code })
        }
    }
}

/// Where each partition begins and ends now.
///
/// # Errors
///
/// A [`BenchError`] if that cannot be looked up.
pub fn whole(topic: &str, leaders: &Leaders) -> Result<Vec<Cursor>, BenchError> {
    let starts = admin::offsets(topic, leaders, At::Start)?;
    let ends = admin::offsets(topic, leaders, At::End)?;
    let start = |partition| starts.get(partition).copied().unwrap_or(0);
    Ok(ends.iter().map(|(index, end)| Cursor::new(*index, start(index), *end)).collect())
}

/// Records within `cursors`.
#[must_use]
pub fn records(cursors: &[Cursor]) -> u64 {
    let lengths = cursors.iter().map(|cursor| cursor.end - cursor.next);
    lengths.filter_map(|length| u64::try_from(length).ok()).sum()
}

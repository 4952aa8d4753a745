//! The scenarios, a file each, and what they share.

pub mod all;
pub mod catch_up;
pub mod ceiling;
pub mod compare;
pub mod connections;
pub mod device;
pub mod end_to_end;
pub mod fill;
pub mod floor;
pub mod many_partitions;
pub mod produce;
pub mod restart;
pub mod tail;
pub mod tail_fanout;

use std::time::Duration;

use crate::affinity;
use crate::args::Timing;
use crate::error::BenchError;
use crate::load::{Leaders, Outcome, Plan, Reading, run};
use crate::peer::instant::InstantPeer;
use crate::report::measurement::{Ceiling, Measurement, float, ratio};

/// Hears which line of the result is being measured, and how much of its time is over, from 0
/// to 1.
pub type Tell<'a> = &'a mut dyn FnMut(&str, f64);

/// Measures one line of a result: before it, for `ceiling_s` seconds, the generator's ceiling.
///
/// # Errors
///
/// A [`BenchError`] if the run could not be made or broke off.
pub fn measure(
    name: &str,
    plan: &Plan<'_>,
    ceiling_s: f64,
    tell: Tell<'_>,
) -> Result<Measurement, BenchError> {
    let ceiling = if ceiling_s > 0.0 && plan.connections > 0 {
        tell(&format!("{name}: the generator's ceiling"), 0.0);
        // A tenth is enough to open sockets' windows: there is nothing else to warm up.
        let timing = Timing { duration: ceiling_s, warmup: ceiling_s / 10.0 };
        Some(against_instant_peer(plan, timing, &mut |_| ())?)
    } else {
        None
    };
    tell(name, 0.0);
    let outcome = run(plan, &mut |over| tell(name, over))?;
    let mut measurement = Measurement::new(name, plan, &outcome);
    measurement.ceiling = ceiling.map(|against| against.ceiling(plan, &measurement));
    Ok(measurement)
}

/// A run against a peer that answers at once.
#[derive(Debug, Clone)]
pub struct AgainstPeer {
    /// What was found.
    pub outcome: Outcome,
    /// Whether the peer had a core of its own.
    pub peer_has_own_core: bool,
}

/// Runs the producing part of `plan`, as fast as it goes, against a peer that answers at once. The
/// peer gets a core of its own if there is one.
///
/// # Errors
///
/// A [`BenchError`] if the run could not be made or broke off.
pub fn against_instant_peer(
    plan: &Plan<'_>,
    timing: Timing,
    progress: &mut dyn FnMut(f64),
) -> Result<AgainstPeer, BenchError> {
    let core = affinity::other_core(plan.cpu);
    let several = std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
    // An unpinned generator leaves it to the kernel who runs where.
    let pinned = core.filter(|_| !plan.cpu.is_empty());
    let peer = InstantPeer::start(pinned)?;
    let address = peer.address().to_string();
    let leaders: Leaders =
        plan.leaders.keys().map(|&partition| (partition, address.clone())).collect();
    let alone = Plan {
        leaders: &leaders,
        rate: None,
        timing,
        server: None,
        reading: Reading::none(),
        ..plan.clone()
    };
    let outcome = run(&alone, progress)?;
    Ok(AgainstPeer { outcome, peer_has_own_core: several && core.is_some() })
}

impl AgainstPeer {
    /// Produce requests per second.
    #[must_use]
    pub fn requests_per_s(&self) -> f64 {
        let tally = &self.outcome.tally;
        ratio(float(tally.answered), tally.counted.max(Duration::from_millis(1)).as_secs_f64())
    }

    fn ceiling(&self, plan: &Plan<'_>, measured: &Measurement) -> Ceiling {
        let reached = measured.produced.as_ref().map_or(0.0, |flow| flow.requests_per_s);
        let needed = plan.rate.map_or(reached, |rate| rate / f64::from(plan.payload.records));
        let requests_per_s = self.requests_per_s();
        Ceiling {
            requests_per_s,
            headroom: ratio(requests_per_s, needed),
            peer_has_own_core: self.peer_has_own_core,
        }
    }
}

/// A time as people read it.
#[must_use]
pub fn in_words(micros: f64) -> String {
    if micros < 1000.0 {
        format!("{micros:.0} us")
    } else if micros < 1e6 {
        format!("{:.1} ms", micros / 1e3)
    } else {
        format!("{:.1} s", micros / 1e6)
    }
}

/// How long half, and nearly all, of what `measurement` timed took.
#[must_use]
pub fn latency_in_words(measurement: &Measurement) -> String {
    measurement.latency().map_or_else(String::new, |latency| {
        let latency = latency.summary;
        format!(
            "half within {}, 99 of 100 within {}, 999 of 1,000 within {}",
            in_words(latency.p50_us),
            in_words(latency.p99_us),
            in_words(latency.p99_9_us)
        )
    })
}

/// A count as people read it: `10,000`.
#[must_use]
pub fn with_commas(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        assert_eq!(with_commas(999), "999");
        assert_eq!(with_commas(10_000), "10,000");
        assert_eq!(with_commas(1_234_567), "1,234,567");
        assert_eq!(in_words(250.4), "250 us");
        assert_eq!(in_words(12_345.0), "12.3 ms");
        assert_eq!(in_words(2e6), "2.0 s");
    }
}

//! Settings that many scenarios share.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

/// How many copies must have a batch before the server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
pub enum Acks {
    /// No answer at all: latency ends when the socket has taken the request.
    #[value(name = "0")]
    #[serde(rename = "0")]
    None,
    /// The leader.
    #[value(name = "1")]
    #[serde(rename = "1")]
    Leader,
    /// All in-sync replicas.
    #[value(name = "all")]
    #[serde(rename = "all")]
    All,
}

impl Acks {
    /// As a produce request says it.
    #[must_use]
    pub fn wire(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// Which server is measured, and from where.
#[derive(Debug, Clone, Args, Serialize)]
pub struct Target {
    /// Any broker of the cluster.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    pub bootstrap: String,
    /// The topic; created if it is not there.
    #[arg(long, default_value = "ringlog-bench")]
    pub topic: String,
    /// The server's process on this machine, for its CPU time and memory.
    #[arg(long)]
    pub pid: Option<u32>,
    /// Cores that the load threads are pinned to, in turn.
    #[arg(long, value_name = "CORE", value_delimiter = ',')]
    pub cpu: Vec<usize>,
}

/// For how long a measurement runs.
#[derive(Debug, Clone, Copy, Args, Serialize)]
pub struct Timing {
    /// Seconds that count, for each line of the result.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = parse_seconds)]
    pub duration: f64,
    /// Seconds before them that do not.
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = parse_seconds)]
    pub warmup: f64,
}

impl Timing {
    /// The part that counts.
    #[must_use]
    pub fn counted(&self) -> Duration {
        Duration::from_secs_f64(self.duration)
    }

    /// The part before it.
    #[must_use]
    pub fn warmup(&self) -> Duration {
        Duration::from_secs_f64(self.warmup)
    }
}

/// How the generator's own limit is found.
#[derive(Debug, Clone, Copy, Args, Serialize)]
pub struct Headroom {
    /// Seconds for which the generator's own ceiling is measured before each line; 0 leaves it out.
    #[arg(long = "ceiling", value_name = "SECONDS", default_value = "1",
          value_parser = parse_seconds)]
    pub ceiling_s: f64,
}

/// Records per second.
///
/// # Errors
///
/// A text for the command line's user, if this is none or beyond what can be.
pub fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= 1e9 => Ok(rate),
        _ => Err("a rate is a number of records per second, above 0 and up to 1000000000".into()),
    }
}

/// Seconds, with fractions.
///
/// # Errors
///
/// A text for the command line's user.
pub fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("a time is a number of seconds from 0 to 86400".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_that_is_no_rate_is_refused() {
        for rate in ["0", "-1", "x", "inf", "NaN"] {
            assert!(parse_rate(rate).is_err(), "{rate}");
        }
        assert_eq!(parse_rate("2.5"), Ok(2.5));
    }

    #[test]
    fn a_time_may_have_fractions_but_not_be_negative_or_endless() {
        for seconds in ["-1", "inf", "NaN", "1 s"] {
            assert!(parse_seconds(seconds).is_err(), "{seconds}");
        }
        assert_eq!(parse_seconds("0.25"), Ok(0.25));
    }
}

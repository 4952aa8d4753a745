//! Who Ringlog can be compared with, as the command line names them.

use std::fmt;

use serde::{Serialize, Serializer};

/// What the contenders that are started here are called; no running one may be.
pub const RINGLOG: &str = "ringlog";
const KAFKA: &str = "kafka";
const KAFKA_SYNCED: &str = "kafka-synced";
const RINGLOG_RELAXED: &str = "ringlog-relaxed";
const FLOOR: &str = "floor";

/// One rival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rival {
    /// A Kafka node with its defaults: what it has acknowledged is in the page cache.
    Kafka,
    /// A Kafka node with `flush.messages=1`.
    KafkaSynced,
    /// Ringlog that acknowledges before it syncs.
    RinglogRelaxed,
    /// The least server that answers the same produce requests, synced: no broker at all.
    Floor,
    /// A server that runs already.
    Running {
        /// What people call it.
        name: String,
        /// Where it listens.
        bootstrap: String,
        /// Its process on this machine.
        pid: Option<u32>,
    },
}

impl Rival {
    /// Whether it is a Kafka node that is started here.
    #[must_use]
    pub fn is_kafka(&self) -> bool {
        matches!(self, Self::Kafka | Self::KafkaSynced)
    }

    /// What people call it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Kafka => KAFKA,
            Self::KafkaSynced => KAFKA_SYNCED,
            Self::RinglogRelaxed => RINGLOG_RELAXED,
            Self::Floor => FLOOR,
            Self::Running { name, .. } => name,
        }
    }
}

impl fmt::Display for Rival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running { name, bootstrap, pid } => {
                write!(f, "{name}={bootstrap}")?;
                pid.map_or(Ok(()), |pid| write!(f, ",{pid}"))
            }
            other => f.write_str(other.name()),
        }
    }
}

impl Serialize for Rival {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A rival from the command line.
///
/// # Errors
///
/// A text for the command line's user.
pub fn parse_rival(text: &str) -> Result<Rival, String> {
    let known = [Rival::Kafka, Rival::KafkaSynced, Rival::RinglogRelaxed, Rival::Floor];
    if let Some(rival) = known.iter().find(|rival| rival.name() == text) {
        return Ok(rival.clone());
    }
    let shape = "a rival is kafka, kafka-synced, ringlog-relaxed, floor or NAME=HOST:PORT[,PID]";
    let (name, rest) = text.split_once('=').ok_or(shape)?;
    let (bootstrap, pid) = match rest.split_once(',') {
        Some((bootstrap, pid)) => (bootstrap, Some(pid.parse().map_err(|_| shape)?)),
        None => (rest, None),
    };
    if name.is_empty() || !bootstrap.contains(':') {
        return Err(shape.into());
    }
    if name == RINGLOG || known.iter().any(|rival| rival.name() == name) {
        return Err(format!("{name} is the name of one that is started here"));
    }
    Ok(Rival::Running { name: name.to_owned(), bootstrap: bootstrap.to_owned(), pid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rival_is_read_as_it_is_written() {
        let started = ["kafka", "kafka-synced", "ringlog-relaxed", "floor"];
        for text in started.into_iter().chain(["old=here:9092", "old=[::1]:9,7"]) {
            assert_eq!(parse_rival(text).unwrap().to_string(), text);
        }
        let pid = Some(7);
        let (name, bootstrap) = ("old".to_owned(), "here:9092".to_owned());
        assert_eq!(parse_rival("old=here:9092,7"), Ok(Rival::Running { name, bootstrap, pid }));
    }

    #[test]
    fn what_is_no_rival_or_takes_anothers_name_is_refused() {
        for text in ["", "Kafka", "old", "=here:1", "old=here", "old=here:1,x", "floor=here:1"] {
            assert!(parse_rival(text).is_err(), "{text}");
        }
    }
}

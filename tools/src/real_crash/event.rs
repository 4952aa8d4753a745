//! What a child tells: one line an event, written at once.

use std::fmt;
use std::io::Write;

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A batch has its offsets; nothing of it is written yet.
    Appended { log: usize, base: i64, end: i64, hash: u64 },
    /// Everything below is durable, said the engine.
    Durable { log: usize, end: i64 },
    /// A truncation begins: all from here on may go.
    Truncating { log: usize, to: i64 },
    /// It is done.
    Truncated { log: usize, end: i64 },
    /// The log's start may move up to here.
    Starting { log: usize, start: i64 },
    /// A log is open, and this is what it holds.
    Holds { log: usize, start: i64, end: i64 },
    /// A batch of a log, read back.
    Batch { log: usize, base: i64, end: i64, hash: u64 },
    /// All logs were read.
    Finished,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Appended { log, base, end, hash } => {
                write!(f, "appended {log} {base} {end} {hash}")
            }
            Self::Durable { log, end } => write!(f, "durable {log} {end}"),
            Self::Truncating { log, to } => write!(f, "truncating {log} {to}"),
            Self::Truncated { log, end } => write!(f, "truncated {log} {end}"),
            Self::Starting { log, start } => write!(f, "starting {log} {start}"),
            Self::Holds { log, start, end } => write!(f, "holds {log} {start} {end}"),
            Self::Batch { log, base, end, hash } => write!(f, "batch {log} {base} {end} {hash}"),
            Self::Finished => f.write_str("finished"),
        }
    }
}

impl Event {
    /// The event of a line; `None` for a line that was cut short.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let name = words.next()?;
        if name == "finished" {
            return Some(Self::Finished);
        }
        let log = words.next()?.parse().ok()?;
        let first = words.next()?.parse().ok()?;
        let mut second = || words.next()?.parse().ok();
        Some(match name {
            "appended" => {
                let end = second()?;
                Self::Appended { log, base: first, end, hash: words.next()?.parse().ok()? }
            }
            "batch" => {
                let end = second()?;
                Self::Batch { log, base: first, end, hash: words.next()?.parse().ok()? }
            }
            "holds" => Self::Holds { log, start: first, end: second()? },
            "durable" => Self::Durable { log, end: first },
            "truncating" => Self::Truncating { log, to: first },
            "truncated" => Self::Truncated { log, end: first },
            "starting" => Self::Starting { log, start: first },
            _ => return None,
        })
    }

    /// Tells the parent, whole and at once. Without a parent the process has nothing left to do.
    pub(super) fn tell(self) {
        let line = format!("{self}\n");
        let mut out = std::io::stdout().lock();
        if out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_err() {
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_survives_the_pipe() {
        let events = [
            Event::Appended { log: 1, base: 2, end: 5, hash: u64::MAX },
            Event::Durable { log: 0, end: 7 },
            Event::Truncating { log: 0, to: 7 },
            Event::Truncated { log: 0, end: 6 },
            Event::Starting { log: 3, start: 4 },
            Event::Holds { log: 1, start: 0, end: 9 },
            Event::Batch { log: 1, base: 0, end: 9, hash: 0 },
            Event::Finished,
        ];
        for event in events {
            assert_eq!(Event::parse(&event.to_string()), Some(event));
        }
        assert_eq!(Event::parse("durable 0"), None);
    }
}

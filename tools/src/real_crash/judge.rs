//! What a log should hold, and whether it does.

use std::collections::BTreeMap;

use thiserror::Error;

use super::event::Event;

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Violation {
    /// Something acknowledged is gone.
    #[error("log.keeps_acknowledged: log {log} ends at {end}, but {acknowledged} was acknowledged")]
    Lost {
        /// Which log.
        log: usize,
        /// Where it ends.
        end: i64,
        /// Where it must end at least.
        acknowledged: i64,
    },
    /// The log begins later than anybody asked for.
    #[error("log {log} starts at {start}, but nobody moved its start past {asked}")]
    StartMoved {
        /// Which log.
        log: usize,
        /// Where it starts.
        start: i64,
        /// Where it may start at most.
        asked: i64,
    },
    /// Bytes that nobody appended, or at another offset.
    #[error("log.recovers_a_prefix: log {log} holds a batch {base}..{end} that nobody appended")]
    Unknown {
        /// Which log.
        log: usize,
        /// The batch's first offset.
        base: i64,
        /// The offset after its last.
        end: i64,
    },
    /// Offsets without records.
    #[error("log.contiguous: log {log} holds nothing at {expected}, and goes on at {found}")]
    Gap {
        /// Which log.
        log: usize,
        /// The offset that is missing.
        expected: i64,
        /// What comes next.
        found: i64,
    },
    /// A log could not be opened or read, or the child ended before it had told everything.
    #[error("the report ends early: {reason}")]
    Unreadable {
        /// What the child said.
        reason: String,
    },
}

/// What one log should hold.
#[derive(Debug, Default)]
struct Model {
    start: i64,
    /// The batches that were given offsets: the offset after the last, the first, and the bytes'
    /// hash. After a truncation the same offsets may be there twice.
    appended: Vec<(i64, i64, u64)>,
    /// Everything below was acknowledged.
    acknowledged: i64,
    /// Truncations under way: what is acknowledged meanwhile may go.
    truncating: usize,
}

/// Records of a batch at most: so far below its target may a truncation cut.
pub(super) const RECORDS_MAX: i64 = 4;

/// What all logs should hold.
#[derive(Debug, Default)]
pub(super) struct Models {
    logs: BTreeMap<usize, Model>,
}

/// What a judgement counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Verdict {
    /// Batches the logs hold.
    pub(super) held: u64,
    /// Batches that were appended, not acknowledged, and are gone.
    pub(super) lost: u64,
}

impl Models {
    /// Takes what the working child told into account.
    pub(super) fn note(&mut self, event: Event) {
        match event {
            Event::Appended { log, base, end, hash } => {
                self.logs.entry(log).or_default().appended.push((end, base, hash));
            }
            Event::Durable { log, end } => {
                let model = self.logs.entry(log).or_default();
                if model.truncating == 0 {
                    model.acknowledged = model.acknowledged.max(end);
                }
            }
            Event::Truncating { log, to } => {
                let model = self.logs.entry(log).or_default();
                // The batch that holds the new end goes too.
                model.acknowledged = model.acknowledged.min(to - (RECORDS_MAX - 1));
                model.truncating += 1;
            }
            Event::Truncated { log, end } => {
                let model = self.logs.entry(log).or_default();
                model.acknowledged = model.acknowledged.min(end);
                model.truncating = model.truncating.saturating_sub(1);
            }
            Event::Starting { log, start } => {
                let model = self.logs.entry(log).or_default();
                model.start = model.start.max(start);
            }
            Event::Holds { .. } | Event::Batch { .. } | Event::Finished => {}
        }
    }

    /// Everything that was acknowledged, in records.
    pub(super) fn acknowledged(&self) -> u64 {
        self.logs.values().filter_map(|model| u64::try_from(model.acknowledged).ok()).sum()
    }

    /// Judges what the logs hold. What was lost is forgotten: its offsets are given anew.
    ///
    /// # Errors
    ///
    /// The first [`Violation`].
    pub(super) fn judge(&mut self, report: &[Event]) -> Result<Verdict, Violation> {
        let mut verdict = Verdict::default();
        let mut held: BTreeMap<usize, Vec<(i64, i64, u64)>> = BTreeMap::new();
        let mut next: BTreeMap<usize, i64> = BTreeMap::new();
        for event in report {
            match *event {
                Event::Holds { log, start, end } => {
                    let model = self.logs.entry(log).or_default();
                    let acknowledged = model.acknowledged;
                    if end < acknowledged {
                        return Err(Violation::Lost { log, end, acknowledged });
                    }
                    if start > model.start {
                        return Err(Violation::StartMoved { log, start, asked: model.start });
                    }
                    (model.start, model.acknowledged, model.truncating) = (start, end, 0);
                    held.insert(log, Vec::new());
                    next.insert(log, start);
                }
                Event::Batch { log, base, end, hash } => {
                    let model = self.logs.entry(log).or_default();
                    if !model.appended.contains(&(end, base, hash)) {
                        return Err(Violation::Unknown { log, base, end });
                    }
                    let expected = next.entry(log).or_default();
                    // The log's start may lie within its first batch.
                    let is_first = held.get(&log).is_none_or(Vec::is_empty);
                    let follows = if is_first { base <= *expected } else { base == *expected };
                    if !follows {
                        return Err(Violation::Gap { log, expected: *expected, found: base });
                    }
                    *expected = end;
                    held.entry(log).or_default().push((end, base, hash));
                    verdict.held += 1;
                }
                _ => {}
            }
        }
        for (log, kept) in held {
            let model = self.logs.entry(log).or_default();
            let reached = next.get(&log).copied().unwrap_or(0);
            if reached != model.acknowledged {
                let (expected, found) = (reached, model.acknowledged);
                return Err(Violation::Gap { log, expected, found });
            }
            let above = |batch: &&(i64, i64, u64)| batch.0 > model.start;
            let known = model.appended.iter().filter(above).count();
            verdict.lost += known.saturating_sub(kept.len()) as u64;
            model.appended = kept;
        }
        Ok(verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APPENDED: Event = Event::Appended { log: 0, base: 0, end: 2, hash: 7 };
    const HELD: Event = Event::Batch { log: 0, base: 0, end: 2, hash: 7 };

    fn judged(told: &[Event], report: &[Event]) -> Result<Verdict, Violation> {
        let mut models = Models::default();
        told.iter().for_each(|event| models.note(*event));
        models.judge(report)
    }

    #[test]
    fn what_was_acknowledged_must_be_there_and_what_was_not_may_be() {
        let durable = Event::Durable { log: 0, end: 2 };
        let empty = Event::Holds { log: 0, start: 0, end: 0 };
        let full = Event::Holds { log: 0, start: 0, end: 2 };
        assert_eq!(judged(&[APPENDED], &[empty]), Ok(Verdict { held: 0, lost: 1 }));
        assert_eq!(judged(&[APPENDED, durable], &[full, HELD]), Ok(Verdict { held: 1, lost: 0 }));
        let lost = judged(&[APPENDED, durable], &[empty]);
        assert!(matches!(lost, Err(Violation::Lost { acknowledged: 2, .. })));
    }

    #[test]
    fn other_bytes_another_offset_a_gap_and_a_moved_start_are_violations() {
        let full = Event::Holds { log: 0, start: 0, end: 2 };
        let other = Event::Batch { log: 0, base: 0, end: 2, hash: 8 };
        assert!(matches!(judged(&[APPENDED], &[full, other]), Err(Violation::Unknown { .. })));
        let moved = Event::Batch { log: 0, base: 1, end: 3, hash: 7 };
        assert!(matches!(judged(&[APPENDED], &[full, moved]), Err(Violation::Unknown { .. })));
        assert!(matches!(judged(&[APPENDED], &[full]), Err(Violation::Gap { .. })));
        let second = Event::Appended { log: 0, base: 2, end: 3, hash: 9 };
        let late = Event::Batch { log: 0, base: 2, end: 3, hash: 9 };
        let holds = Event::Holds { log: 0, start: 0, end: 3 };
        let gap = judged(&[APPENDED, second], &[holds, late]);
        assert!(matches!(gap, Err(Violation::Gap { expected: 0, found: 2, .. })));
        let start = Event::Holds { log: 0, start: 2, end: 2 };
        assert!(matches!(judged(&[APPENDED], &[start]), Err(Violation::StartMoved { .. })));
    }

    #[test]
    fn a_truncation_may_take_what_was_acknowledged_and_no_more() {
        let durable = Event::Durable { log: 0, end: 2 };
        let cutting = Event::Truncating { log: 0, to: 0 };
        let empty = Event::Holds { log: 0, start: 0, end: 0 };
        assert!(judged(&[APPENDED, durable, cutting], &[empty]).is_ok());
        let later = Event::Truncating { log: 0, to: 5 };
        assert!(judged(&[APPENDED, durable, later], &[empty]).is_err());
    }
}

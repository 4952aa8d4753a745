//! The simulator repeats itself, and its model notices what it must.

use ringlog_engine::io::Rare;
use ringlog_engine::log::EpochStart;
use ringlog_engine::log::LogOffsets;
use ringlog_engine::offset::Offset;

use super::model::{Batch, Model, Opened};
use super::report::{REACHED_SEEDS_MIN, Sum};
use super::run::run;
use super::swarm;

fn at(value: i64) -> Offset {
    Offset::new(value).unwrap()
}

fn batch(base: i64, end: i64) -> Batch {
    let checksum = u32::try_from(base).unwrap();
    Batch { base, end, checksum, bytes: 100, epoch: 0, max_timestamp: base, sequenced: None }
}

/// A model of a log with two batches, of which the first was confirmed.
fn model() -> Model {
    let mut model = Model::new(true);
    model.appended(batch(0, 3)).unwrap();
    model.appended(batch(3, 5)).unwrap();
    model.confirmed(3, true);
    model
}

/// Judges a log that was opened with these batches, and starts and ends there.
fn judge(model: &mut Model, held: Vec<Batch>, start: i64, end: i64) -> Result<(), String> {
    let (start, end) = (at(start), at(end));
    let epochs: Vec<EpochStart> = model
        .epochs(start.value())
        .into_iter()
        .map(|(epoch, start)| EpochStart {
            epoch: ringlog_engine::epoch::LeaderEpoch::new(epoch),
            start: at(start),
        })
        .collect();
    model.reopened(&Opened {
        offsets: LogOffsets { start, durable: end, written: end, end },
        held,
        is_unreadable: false,
        epochs,
        producer: &|_| None,
        first_open: None,
        power: true,
        is_strict: true,
    })
}

#[test]
fn the_same_seed_gives_the_same_history_and_the_same_end() {
    for seed in 0..40 {
        let history = swarm::draw(seed);
        let outcome = run(&history, false);
        assert_eq!(outcome.failure, None, "seed {seed}");
        assert_eq!(outcome, run(&swarm::draw(seed), false), "seed {seed}");
    }
}

#[test]
fn different_seeds_give_different_ends() {
    let ends: std::collections::BTreeSet<u64> =
        (0..20).map(|seed| run(&swarm::draw(seed), false).fingerprint).collect();
    assert_eq!(ends.len(), 20);
}

#[test]
fn a_prefix_with_all_that_was_confirmed_is_fine() {
    assert_eq!(judge(&mut model(), vec![batch(0, 3)], 0, 3), Ok(()));
    assert_eq!(judge(&mut model(), vec![batch(0, 3), batch(3, 5)], 0, 5), Ok(()));
}

#[test]
fn a_log_that_lost_what_was_confirmed_is_noticed() {
    let judged = judge(&mut model(), Vec::new(), 0, 0);
    assert!(judged.unwrap_err().contains("log.keeps_acknowledged"));
}

#[test]
fn a_log_that_ends_within_a_batch_is_noticed() {
    let judged = judge(&mut model(), vec![batch(0, 3)], 0, 4);
    assert!(judged.unwrap_err().contains("log.recovers_a_prefix"));
}

#[test]
fn a_log_that_lacks_a_batch_is_noticed() {
    let judged = judge(&mut model(), vec![batch(3, 5)], 0, 5);
    assert!(judged.unwrap_err().contains("log.recovers_a_prefix"));
}

#[test]
fn a_start_that_moved_by_itself_is_noticed() {
    let judged = judge(&mut model(), vec![batch(3, 5)], 3, 5);
    assert!(judged.unwrap_err().contains("the log starts at 3"));
}

#[test]
fn an_offset_given_twice_is_noticed() {
    let again = model().appended(batch(3, 4));
    assert!(again.unwrap_err().contains("log.contiguous"));
}

#[test]
fn a_durable_end_that_falls_is_noticed() {
    let offsets = LogOffsets { start: at(0), durable: at(2), written: at(5), end: at(5) };
    assert!(model().observe(offsets).unwrap_err().contains("fell"));
}

#[test]
fn a_truncation_that_cuts_too_much_or_too_little_is_noticed() {
    for (end, is_right) in [(0, false), (3, true), (5, false)] {
        let mut model = model();
        model.truncating(1, 4);
        assert_eq!(model.truncated(1, 4, end).is_ok(), is_right, "cut to {end}");
    }
}

#[test]
fn retention_that_takes_too_much_is_noticed() {
    let model = model();
    assert!(model.retained(at(0), at(3), None, Some(100)).is_ok());
    assert!(model.retained(at(0), at(3), None, Some(101)).is_err());
    assert!(model.retained(at(0), at(3), Some(1), None).is_ok());
    assert!(model.retained(at(0), at(3), Some(0), None).is_err());
}

#[test]
fn a_rare_branch_that_no_seed_reached_is_told_once_there_were_many() {
    let mut sum = Sum { seeds: REACHED_SEEDS_MIN - 1, ..Sum::default() };
    assert_eq!(sum.unreached(), Vec::new());
    sum.seeds += 1;
    assert_eq!(sum.unreached(), Rare::ALL);
    // A history that ran is not enough: it has to have got there.
    sum.add(&run(&swarm::draw(1), false));
    assert!(sum.unreached().len() < Rare::ALL.len());
}

//! The leader epoch checkpoint.

use super::{Choices, bounded, keep_seeds};
use crate::epoch::LeaderEpoch;
use crate::log::epochs::EpochHistory;
use crate::offset::Offset;

fn made(choices: &mut Choices<'_>) -> EpochHistory {
    let mut history = EpochHistory::default();
    let (mut epoch, mut start) = (-1, 0);
    for _ in 0..choices.below(12) {
        epoch += 1 + i32::from(choices.byte());
        history.note(LeaderEpoch::new(epoch), Offset::new(start).unwrap());
        start += 1 + i64::from(choices.byte());
    }
    history
}

/// The entries of a checkpoint, by other means than the decoder's.
fn oracle(bytes: &[u8]) -> Option<Vec<(i32, i64)>> {
    let text = String::from_utf8(bytes.to_vec()).ok()?.replace("\r\n", "\n");
    let mut lines: Vec<&str> = text.split('\n').collect();
    if lines.last() == Some(&"") {
        lines.pop();
    }
    let (head, entries) = lines.split_at_checked(2)?;
    let count = head[1].parse::<usize>().ok()?;
    let mut known = Vec::new();
    for entry in entries {
        let words: Vec<&str> = entry.split(' ').collect();
        let [epoch, start] = words[..] else { return None };
        known.push((epoch.parse::<i32>().ok()?.max(-1), start.parse::<i64>().ok()?));
    }
    let increases = known.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1);
    let positive = known.iter().all(|(_, start)| *start >= 0);
    (head[0] == "0" && count == known.len() && increases && positive).then_some(known)
}

#[test]
fn an_epoch_checkpoint_is_read_as_the_slow_oracle_reads_it() {
    let seeds = [
        ("empty", b"\x010\n0\n".to_vec()),
        ("three", b"\x010\n3\n0 0\n3 10\n4 20\n".to_vec()),
        ("windows", b"\x010\r\n1\r\n7 4711\r\n".to_vec()),
        ("count", b"\x010\n99999999999\n0 0\n".to_vec()),
        ("made", vec![0, 0, 4, 1, 9, 2, 9, 3, 9, 4, 9, 0, 0]),
    ];
    keep_seeds("epoch_checkpoint", seeds);
    bolero::check!(name = "epoch_checkpoint").for_each(|given: &[u8]| {
        let mut choices = Choices::new(given);
        let bytes = if choices.flag() {
            choices.rest.to_vec()
        } else {
            let history = made(&mut choices);
            let mut bytes = history.encode();
            assert_eq!(EpochHistory::decode(&bytes), Some(history));
            if choices.flag() {
                choices.damage(&mut bytes);
            }
            bytes
        };
        let decoded = bounded(bytes.len(), 8, || EpochHistory::decode(&bytes));
        let known = oracle(&bytes);
        let entries = decoded.as_ref().map(|history| {
            let entries = history.entries().iter();
            entries.map(|entry| (entry.epoch.value(), entry.start.value())).collect::<Vec<_>>()
        });
        assert_eq!(entries, known);
        let (Some(history), Some(known)) = (decoded, known) else { return };
        assert_eq!(EpochHistory::decode(&history.encode()), Some(history.clone()));
        assert_eq!(history.latest().value(), known.last().map_or(-1, |(epoch, _)| *epoch));
        let end = known.last().map_or(9, |(_, start)| start.saturating_add(9));
        for epoch in known.iter().flat_map(|(epoch, _)| [*epoch, epoch.saturating_add(1)]) {
            let at = known.iter().rposition(|(other, _)| *other <= epoch).unwrap();
            let stop = known.get(at + 1).map_or(end, |(_, start)| *start);
            let found = history.end_offset(LeaderEpoch::new(epoch), Offset::new(end).unwrap());
            let found = found.map(|(epoch, offset)| (epoch.value(), offset.value()));
            assert_eq!(found, Some((known[at].0, stop)));
        }
        let cut = choices.offset();
        let mut truncated = history.clone();
        truncated.truncate(cut);
        assert!(truncated.entries().iter().all(|entry| entry.start < cut));
        assert_eq!(truncated.entries(), &history.entries()[..truncated.entries().len()]);
        let mut moved = history.clone();
        moved.cut_before(cut);
        assert_eq!(moved.latest(), history.latest());
        let starts: Vec<_> = moved.entries().iter().map(|entry| entry.start).collect();
        assert!(starts.is_sorted_by(|one, next| one < next), "epoch.history_increases");
    });
}

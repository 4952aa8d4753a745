//! Reads from what was read ahead.

use super::ReadLimits;
use super::cold::Spot;
use super::gather::{Gathered, gather};
use crate::ahead::{Found, Passed, Place};
use crate::io::{Io, Rare};
use crate::limits::{READ_AHEAD_ACTIVE_BYTES_MIN, READ_BYTES_MAX};
use crate::log::{Log, Slices};
use crate::offset::Offset;

/// What was read ahead for a read.
pub(super) enum Answer {
    /// Nothing is known of the place.
    Unknown,
    /// The batch begins at this position; it has to be read.
    At(u64),
    Slices(Slices),
}

impl<I: Io> Log<I> {
    /// Takes batches from what was read ahead, which may be under way.
    pub(super) async fn take_ahead(&self, spot: &Spot, from: Offset, limits: ReadLimits) -> Answer {
        let (ahead, key) = (self.inner.shard.ahead(), self.inner.key(from));
        loop {
            let now = self.inner.shard.io().elapsed();
            let (position, buffer, start) = match ahead.find(key, spot.base, spot.layout, now) {
                Found::Nothing => return Answer::Unknown,
                Found::At(position) => return Answer::At(position),
                Found::Loading => {
                    ahead.loaded(key).await;
                    continue;
                }
                Found::Ready { position, buffer, start } => (position, buffer, start),
            };
            let lead = usize::try_from(position - start).unwrap_or(usize::MAX);
            let bytes = buffer.get(lead..).unwrap_or(&[]);
            let left = spot.size.saturating_sub(position);
            let gathered = match gather(bytes, left, from.value(), limits) {
                // The batch goes on behind the piece, and should be whole in the next.
                Ok(Gathered { length: 0, ran_out: true, .. }) => {
                    ahead.pass(key);
                    continue;
                }
                Ok(gathered) => gathered,
                // The file has the last word.
                Err(_) => {
                    ahead.give_up(key);
                    return Answer::At(position);
                }
            };
            let mut slices = Slices::default();
            if gathered.length > 0 {
                slices.push(buffer.bytes(lead..lead + gathered.length));
                self.passed(spot, from, position + gathered.length as u64, gathered);
            }
            ahead.count_served();
            self.inner.shard.io().reached(Rare::ReadAhead);
            return Answer::Slices(slices);
        }
    }

    /// Notes how far a read got, and has the next bytes read if it goes on where one ended.
    pub(super) fn passed(&self, spot: &Spot, from: Offset, position: u64, gathered: Gathered) {
        let (inner, ahead) = (&self.inner, self.inner.shard.ahead());
        if inner.state.borrow().layout != spot.layout {
            return;
        }
        let at_end = spot.sealed && position >= spot.size;
        let place = if at_end {
            Place { base: spot.end, position: 0 }
        } else {
            Place { base: spot.base, position }
        };
        let Gathered { end, largest, ran_out, .. } = gathered;
        let passed = Passed { layout: spot.layout, place, largest, ran_out };
        let (from, to) = (inner.key(from), inner.key(end));
        if !ahead.advance(from, to, &passed, inner.shard.io().elapsed()) {
            return;
        }
        while let Some(wanted) = ahead.wanted(to) {
            let Some((mut size, mut sealed)) = inner.placed(wanted.base) else { break };
            let mut place = Place { base: wanted.base, position: wanted.start };
            if wanted.covered >= size {
                let Some(next) = sealed.and_then(|end| Some((end, inner.placed(end)?))) else {
                    break;
                };
                (size, sealed) = next.1;
                place = Place { base: next.0, position: 0 };
            }
            let left = size.saturating_sub(place.position);
            // A few bytes behind the one who appends are not worth a read of their own.
            if left == 0 || (sealed.is_none() && left < READ_AHEAD_ACTIVE_BYTES_MIN) {
                break;
            }
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(READ_BYTES_MAX);
            if !ahead.request(inner, to, place, length) {
                break;
            }
        }
    }
}

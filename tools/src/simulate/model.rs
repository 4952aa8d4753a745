//! What a log should hold: the judge of everything that it says.
//!
//! ```text
//!   start            safe             taken            end
//!     |----------------|----------------|---------------|
//!     survives anything   survives the     may be lost by
//!                         process          any crash
//! ```
//!
//! The chain of batches is what the log gave offsets to and was not told to cut off. A crash may
//! leave any prefix of it that reaches `safe` (or `taken`, if the power stayed on).

use ringlog_engine::batch::{BatchHeader, CheckedBatch, ProducerId};
use ringlog_engine::epoch::LeaderEpoch;
use ringlog_engine::log::{EpochStart, LogOffsets, Slices};
use ringlog_engine::producer::ProducerState;

use ringlog_engine::offset::{Offset, Timestamp};

use super::batches::Sequenced;
use super::history::{Cleaning, LogSetup, RECORDS_MOST};
use super::table::{Begun, Ended, Table};

/// A batch that the log gave offsets to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) base: i64,
    pub(crate) end: i64,
    pub(crate) checksum: u32,
    pub(crate) bytes: usize,
    pub(crate) epoch: i32,
    pub(crate) max_timestamp: i64,
    pub(crate) sequenced: Option<Sequenced>,
}

/// One log's model.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    /// What the log holds, and what retention took from its beginning.
    pub(crate) chain: Vec<Batch>,
    /// Where the chain begins.
    pub(crate) base: i64,
    /// What truncations took since the log was opened: reads under way may still see it.
    pub(crate) removed: Vec<Batch>,
    /// The log may start from here...
    pub(crate) start_low: i64,
    /// ... up to here.
    pub(crate) start_high: i64,
    /// Everything below survives a loss of power.
    pub(crate) safe: i64,
    /// Everything below survives the process.
    pub(crate) taken: i64,
    /// Truncations that have not ended, or ended badly: nothing above the lowest is certain.
    pub(crate) cuts: Vec<(u64, i64)>,
    /// Whether each batch since the log was opened was made durable at once.
    pub(crate) always_strict: bool,
    /// The epoch of the next append.
    pub(crate) epoch: i32,
    /// Each producer's epoch.
    pub(crate) producer_epochs: [i16; 4],
    /// From here on, damage that was injected may have taken batches.
    pub(crate) damaged_from: Option<i64>,
    /// Damage may have changed what is remembered of producers.
    pub(crate) unsure_producers: bool,
    /// Damage may have changed the epochs.
    pub(crate) unsure_epochs: bool,
    /// Counts what takes batches away: truncations, retention, openings.
    pub(crate) version: u64,
    /// Moves of the start that have not ended.
    pub(crate) moves: usize,
    /// Counts truncations and moves of the start.
    pub(crate) moves_begun: u64,
    /// Counts truncations.
    pub(crate) cuts_begun: u64,
    /// The log was cut since it was opened, or is being cut.
    pub(crate) was_cut: bool,
    /// The records of a log that is compacted.
    pub(crate) table: Option<Table>,
}

/// What opening a log gave.
pub(crate) struct Opened<'a> {
    pub(crate) offsets: LogOffsets,
    /// All that could be read, in order, from the batch that holds the start on.
    pub(crate) held: Vec<Batch>,
    /// Whether the reading ended at damage.
    pub(crate) is_unreadable: bool,
    pub(crate) epochs: Vec<EpochStart>,
    pub(crate) producer: &'a dyn Fn(ProducerId) -> Option<ProducerState>,
    /// Where the earliest open transaction begins.
    pub(crate) first_open: Option<Offset>,
    /// Whether the power failed since the log was last open.
    pub(crate) power: bool,
    /// Whether the log's writes wait for the disk.
    pub(crate) is_strict: bool,
}

/// Id of the model's producer `number`.
pub(crate) fn producer_id(number: u32) -> i64 {
    1_000 + i64::from(number)
}

impl Model {
    /// An empty log's.
    pub(crate) fn new(is_strict: bool) -> Self {
        Self { always_strict: is_strict, ..Self::default() }
    }

    /// An empty log's, which is compacted or not.
    pub(crate) fn of(setup: &LogSetup) -> Self {
        let table = setup.table.map(|_| Table::default());
        Self { table, ..Self::new(setup.is_strict()) }
    }

    pub(crate) fn end(&self) -> i64 {
        self.chain.last().map_or(self.base, |batch| batch.end)
    }

    /// Notes an append. The offsets must follow on.
    pub(crate) fn appended(&mut self, batch: Batch) -> Result<(), String> {
        let end = self.end();
        if batch.base != end {
            return Err(format!("log.contiguous: a batch got offset {} after {end}", batch.base));
        }
        self.chain.push(batch);
        Ok(())
    }

    /// Notes that everything below `end` was confirmed, under a policy that waits for the disk or
    /// one that does not.
    pub(crate) fn confirmed(&mut self, end: i64, strict: bool) {
        self.taken = self.taken.max(end);
        if strict {
            self.safe = self.safe.max(end);
        }
    }

    /// Notes what an open log says of itself.
    pub(crate) fn observe(&mut self, offsets: LogOffsets) -> Result<(), String> {
        let LogOffsets { start, durable, written, end } = offsets;
        if !(start <= durable && durable <= written && written <= end) {
            return Err(format!("log.offsets_ordered: {offsets:?}"));
        }
        if durable.value() < self.taken.min(self.cut_floor()) {
            return Err(format!(
                "the durable end fell from {} to {durable} without a truncation",
                self.taken
            ));
        }
        self.confirmed(durable.value(), self.always_strict);
        self.start_moved(start.value());
        Ok(())
    }

    /// A compaction begins of a range that ends at what is replicated, or at what was said to be
    /// before. Gives what it may do, and that end; `None` for a log that is not compacted.
    pub(crate) fn cleaning_begins(
        &mut self,
        cleaning: &Cleaning,
        range: (i64, i64),
        time: (i64, i64),
    ) -> Option<(Begun, i64)> {
        let table = self.table.as_mut()?;
        let cuts = if self.cuts.is_empty() { self.cuts_begun } else { u64::MAX };
        let begun = table.cleaning_begins(cleaning, range, time, cuts);
        for (_, floor) in &mut self.cuts {
            *floor = table.cut_floor(*floor).min(*floor);
            self.start_low = self.start_low.min((*floor).max(0));
        }
        Some((begun, table.replicated()))
    }

    /// A compaction has ended well.
    pub(crate) fn cleaned(
        &mut self,
        begun: Begun,
        ended: Ended,
        retention: i64,
    ) -> Result<(), String> {
        let is_cut = begun.cuts != self.cuts_begun;
        let table = self.table.as_mut();
        table.map_or(Ok(()), |table| table.cleaned(begun, ended, retention, is_cut))
    }

    /// Where a truncation under way may cut at the lowest.
    fn cut_floor(&self) -> i64 {
        self.cuts.iter().map(|(_, floor)| *floor).min().unwrap_or(i64::MAX)
    }

    /// A truncation to `to` begins.
    pub(crate) fn truncating(&mut self, number: u64, to: i64) {
        let floor = to - i64::from(RECORDS_MOST);
        let floor = self.table.as_ref().map_or(floor, |table| table.cut_floor(to).min(floor));
        self.cuts.push((number, floor));
        self.cuts_begun += 1;
        self.moves_begun += 1;
        self.version += 1;
        self.was_cut = true;
        self.start_low = self.start_low.min(floor.max(0));
    }

    /// A truncation to `to` that changed nothing.
    pub(crate) fn not_truncated(&mut self, number: u64) {
        self.cuts.retain(|(other, _)| *other != number);
    }

    /// A truncation to `to` ended and gave `end`.
    pub(crate) fn truncated(&mut self, number: u64, to: i64, end: i64) -> Result<(), String> {
        self.not_truncated(number);
        self.version += 1;
        let old = self.end();
        let expected = match self.chain.iter().find(|batch| batch.end > to) {
            Some(batch) => batch.base,
            None => old,
        };
        let lowest = self.table.as_ref().map_or(expected, |table| table.cut_floor(to));
        let is_end = end == expected || self.chain.iter().any(|batch| batch.base == end);
        if !(lowest.min(expected) <= end && end <= expected && is_end) {
            return Err(format!("a truncation of 0..{old} to {to} gave {end}, not {expected}"));
        }
        let has_producers = self.chain.iter().any(|batch| batch.sequenced.is_some());
        if let Some(table) = &mut self.table {
            if end < table.replicated() && has_producers {
                // What compaction relied on is gone: markers, and what came later of a producer.
                self.unsure_producers = true;
                table.doubt_producers();
            }
            table.cut(end);
        }
        while self.chain.last().is_some_and(|batch| batch.end > end) {
            self.removed.extend(self.chain.pop());
        }
        self.safe = self.safe.min(end);
        self.taken = self.taken.min(end);
        self.start_low = self.start_low.min(end);
        Ok(())
    }

    /// Damage may have taken anything from now on, but no wrong bytes may be served.
    pub(crate) fn damaged(&mut self) {
        self.damaged_from = Some(i64::MIN);
        self.unsure_epochs = true;
        self.unsure_producers = true;
        if let Some(table) = &mut self.table {
            table.doubt();
        }
    }

    /// What the log holds at a moment when nothing takes batches away; `None` while something does.
    pub(crate) fn quiet_version(&self) -> Option<u64> {
        (self.cuts.is_empty() && self.moves == 0).then_some(self.version)
    }

    /// The start may move up to `start` from now on.
    pub(crate) fn moving_start(&mut self, start: i64) {
        self.start_high = self.start_high.max(start);
        self.version += 1;
        self.moves += 1;
        self.moves_begun += 1;
    }

    /// The start has moved to `start`.
    pub(crate) fn start_moved(&mut self, start: i64) {
        self.start_high = self.start_high.max(start);
        // A truncation may still take it down again.
        if self.cuts.is_empty() && self.start_low < start {
            self.start_low = start;
            self.version += 1;
        }
    }

    /// Checks that retention took nothing it may not: what went from `old` to `new` was older than
    /// `expiry`, or there is as much left as `bytes` says.
    pub(crate) fn retained(
        &self,
        old: Offset,
        new: Offset,
        expiry: Option<i64>,
        bytes: Option<u64>,
    ) -> Result<(), String> {
        let (old, new) = (old.value(), new.value());
        let gone = self.chain.iter().filter(|batch| batch.end > old && batch.end <= new);
        let latest = |batch: &Batch| match &self.table {
            Some(table) => table.latest(batch.base),
            None => Some(batch.max_timestamp),
        };
        let is_young = |batch: &&Batch| {
            expiry.is_none_or(|expiry| latest(batch).is_some_and(|latest| latest >= expiry))
        };
        // The youngest that went for its size was the last to do so.
        let Some(young) = gone.rev().find(is_young) else { return Ok(()) };
        let left = self.chain.iter().filter(|batch| batch.base >= young.end);
        let left: u64 = left.map(|batch| batch.bytes as u64).sum();
        if bytes.is_some_and(|kept| left >= kept) {
            return Ok(());
        }
        Err(format!(
            "retention moved the start from {old} to {new} and left {left} bytes of {bytes:?}, \
             though {young:?} is not older than {expiry:?}"
        ))
    }

    /// The next place in a producer's sequence, for a batch of `records` records.
    pub(crate) fn next_sequence(&self, number: u32, records: u32) -> Sequenced {
        let id = producer_id(number);
        let epoch = self.producer_epochs[number as usize % self.producer_epochs.len()];
        let last = self.sequences(id).rfind(|known| known.epoch == epoch);
        let first = last.map_or(0, |last| last.last + 1);
        let last = first + i32::try_from(records).unwrap_or(1) - 1;
        Sequenced { id, epoch, first, last }
    }

    fn sequences(&self, id: i64) -> impl DoubleEndedIterator<Item = Sequenced> + '_ {
        let sequenced = self.chain.iter().filter_map(|batch| batch.sequenced);
        sequenced.filter(move |known| known.id == id && !known.is_marker())
    }

    /// The newest epoch that the log has of a producer.
    pub(crate) fn producer_epoch(&self, id: i64) -> Option<i16> {
        let sequenced = self.chain.iter().filter_map(|batch| batch.sequenced);
        sequenced.filter(|known| known.id == id).map(|known| known.epoch).next_back()
    }

    /// What the log should remember of a producer: its newest epoch's last five batches.
    pub(crate) fn remembered(&self, id: i64) -> Vec<Batch> {
        let mine = |batch: &&Batch| batch.sequenced.is_some_and(|known| known.id == id);
        let Some(last) = self.chain.iter().rev().find(mine) else { return Vec::new() };
        let epoch = last.sequenced.map(|known| known.epoch);
        let mut newest: Vec<Batch> = self
            .chain
            .iter()
            .rev()
            .filter(mine)
            .take_while(|batch| batch.sequenced.map(|known| known.epoch) == epoch)
            .filter(|batch| batch.sequenced.is_some_and(|known| !known.is_marker()))
            .take(ringlog_engine::limits::PRODUCER_BATCHES)
            .copied()
            .collect();
        newest.reverse();
        newest
    }

    /// The epochs of a log that starts at `start`.
    pub(crate) fn epochs(&self, start: i64) -> Vec<(i32, i64)> {
        let mut epochs: Vec<(i32, i64)> = Vec::new();
        for batch in &self.chain {
            if epochs.last().is_none_or(|(epoch, _)| *epoch < batch.epoch) {
                epochs.push((batch.epoch, batch.base));
            }
        }
        let after = epochs.partition_point(|(_, at)| *at <= start);
        if let Some(first) = after.checked_sub(1) {
            epochs.drain(..first);
            epochs[0].1 = start;
        }
        epochs
    }

    /// Checks bytes that a read from `from` gave: whole batches that follow one another, the first
    /// of which holds `from`, each as it was appended. Gives the batches.
    /// It is `now`.
    pub(crate) fn served(
        &self,
        slices: &Slices,
        from: i64,
        now: Timestamp,
    ) -> Result<Vec<Batch>, String> {
        let mut batches: Vec<Batch> = Vec::new();
        for piece in slices.iter() {
            self.take_piece(piece, (from, now), &mut batches)?;
        }
        Ok(batches)
    }

    fn take_piece(
        &self,
        piece: &[u8],
        (from, now): (i64, Timestamp),
        batches: &mut Vec<Batch>,
    ) -> Result<(), String> {
        let mut rest = piece;
        while !rest.is_empty() {
            let checked = match self.table {
                Some(_) => CheckedBatch::check_first_stored(rest),
                None => CheckedBatch::check_first(rest),
            };
            let (checked, after) =
                checked.map_err(|error| format!("a read from {from} served no batch: {error}"))?;
            let batch = describe(checked.header())?;
            match batches.last() {
                Some(last) if last.end != batch.base => {
                    return Err(format!(
                        "log.contiguous: a read from {from} gave offset {} after {}",
                        batch.base, last.end
                    ));
                }
                None if !(batch.base <= from && from < batch.end) => {
                    return Err(format!(
                        "a read from {from} began with the batch {}..{}",
                        batch.base, batch.end
                    ));
                }
                _ => {}
            }
            let is_epoch_sure = !self.unsure_epochs;
            if let Some(table) = &self.table {
                let judged = table.check_served(&checked, now.millis(), is_epoch_sure);
                judged.map_err(|what| format!("a read from {from}: {what}"))?;
            } else if !self.knows(&batch) {
                return Err(format!(
                    "a read from {from} served a batch that nobody appended there: {batch:?}, not \
                     {:?}",
                    self.chain.iter().find(|known| known.base == batch.base)
                ));
            }
            batches.push(batch);
            rest = after;
        }
        Ok(())
    }

    fn knows(&self, batch: &Batch) -> bool {
        let at = self.chain.partition_point(|known| known.base < batch.base);
        let same = |known: &Batch| {
            let epoch = if self.unsure_epochs { known.epoch } else { batch.epoch };
            *known == Batch { epoch, ..*batch }
        };
        self.chain.get(at).is_some_and(same) || self.removed.iter().any(same)
    }

    /// Judges a log that was opened, and goes on from what it holds.
    pub(crate) fn reopened(&mut self, opened: &Opened<'_>) -> Result<(), String> {
        let (start, end) = (opened.offsets.start.value(), opened.offsets.end.value());
        let damage = self.damaged_from.unwrap_or(i64::MAX);
        let floor = if opened.power { self.safe } else { self.taken };
        let floor = floor.min(self.cut_floor()).min(damage);
        if end < floor {
            return Err(format!(
                "log.keeps_acknowledged: the log ends at {end}, but everything below {floor} was \
                 acknowledged"
            ));
        }
        if !(self.start_low <= start && start <= self.start_high.max(self.start_low))
            && self.damaged_from.is_none()
        {
            return Err(format!(
                "the log starts at {start}, not in {}..={}",
                self.start_low, self.start_high
            ));
        }
        let known_end = self.chain.iter().rev().find(|batch| batch.end <= end);
        // All may be gone, down to where the log began.
        let begins = self.chain.first().map(|first| first.base).filter(|base| *base == end);
        let known_end = known_end.map(|batch| batch.end).or(begins).unwrap_or(0);
        // A start that was moved past what a loss of power took: the log goes on there.
        let was_relaxed = !opened.is_strict || !self.always_strict;
        let restarted = start == end && known_end < end && opened.power && was_relaxed;
        if restarted || (start == end && opened.power && was_relaxed) {
            // Its snapshots may be gone with what lay below.
            self.unsure_producers = true;
        }
        let replicated = self.table.as_ref().map_or(0, Table::replicated);
        if !self.cuts.is_empty() && end < replicated {
            // A truncation that was cut short took what compaction relied on, as a whole one does.
            self.unsure_producers = true;
        }
        if restarted {
            self.clear();
        } else if known_end != end && !self.chain.is_empty() && self.damaged_from.is_none() {
            return Err(format!(
                "log.recovers_a_prefix: the log ends at {end}, where no batch ended"
            ));
        }
        self.check_held(opened, start, end)?;
        self.chain.retain(|batch| batch.end <= end);
        if let Some(table) = &mut self.table {
            table.reopened(end);
        }
        self.start_low = start;
        self.start_high = start;
        self.safe = end;
        self.taken = end;
        self.cuts.clear();
        self.removed.clear();
        self.moves = 0;
        self.version += 1;
        self.was_cut = false;
        self.always_strict = opened.is_strict;
        if self.end() != end {
            self.clear();
            self.base = end;
        }
        if let Some(table) = self.table.as_mut().filter(|_| self.unsure_producers) {
            table.doubt_producers();
        }
        self.check_memory(opened, start, end)?;
        self.epoch = self.epoch.max(opened.epochs.last().map_or(0, |last| last.epoch.value()));
        Ok(())
    }

    /// Nothing is known any more of what the log holds.
    fn clear(&mut self) {
        self.chain.clear();
        if let Some(table) = &mut self.table {
            table.clear();
        }
    }

    fn check_held(&self, opened: &Opened<'_>, start: i64, end: i64) -> Result<(), String> {
        if self.table.is_some() {
            // What compaction has left of the batches is judged record by record.
            return Ok(());
        }
        let from = self.chain.partition_point(|batch| batch.end <= start);
        let to = self.chain.partition_point(|batch| batch.end <= end);
        let expected = &self.chain[from.min(to)..to];
        let reached = opened.held.len();
        if reached != expected.len() && !opened.is_unreadable {
            return Err(format!(
                "log.recovers_a_prefix: {reached} batches in {start}..{end}, not {}",
                expected.len()
            ));
        }
        match opened.held.iter().zip(expected).find(|(held, known)| held.base != known.base) {
            Some((held, known)) => Err(format!("held {held:?} where {known:?} was appended")),
            None => Ok(()),
        }
    }

    /// Producers and epochs must be what the batches say.
    fn check_memory(&self, opened: &Opened<'_>, start: i64, end: i64) -> Result<(), String> {
        if !self.unsure_epochs && start < end {
            let entry = |entry: &EpochStart| (entry.epoch.value(), entry.start.value());
            let actual: Vec<(i32, i64)> = opened.epochs.iter().map(entry).collect();
            let expected = self.epochs(start);
            if actual != expected {
                return Err(format!("the epochs are {actual:?}, not {expected:?}"));
            }
        }
        if self.unsure_producers {
            return Ok(());
        }
        let first_open = self.table.as_ref().and_then(Table::first_open);
        if self.table.is_some() && opened.first_open.map(Offset::value) != first_open {
            let actual = opened.first_open;
            return Err(format!(
                "the earliest open transaction begins at {actual:?}, not {first_open:?}"
            ));
        }
        for number in 0..4 {
            let id = producer_id(number);
            let expected = self.remembered(id);
            let state = (opened.producer)(ProducerId::new(id));
            let actual: Vec<(i32, i32, i64)> = state.iter().flat_map(memory).collect();
            let place = |batch: &Batch| batch.sequenced.map(|s| (s.first, s.last, batch.base));
            let wanted: Vec<(i32, i32, i64)> = expected.iter().filter_map(place).collect();
            // Compaction leaves the last batch for sure, and of earlier ones perhaps some.
            let is_left = self.table.is_some()
                && actual.last() == wanted.last()
                && actual
                    .iter()
                    .all(|known| self.chain.iter().filter_map(place).any(|p| p == *known));
            if actual != wanted && !is_left {
                return Err(format!("producer {id} is remembered as {actual:?}, not {wanted:?}"));
            }
        }
        Ok(())
    }
}

fn memory(state: &ProducerState) -> Vec<(i32, i32, i64)> {
    let batch = |batch: &ringlog_engine::producer::ProducerBatch| {
        (batch.first_sequence, batch.last_sequence, batch.base_offset.value())
    };
    state.batches().map(batch).collect()
}

/// A batch as its header tells.
pub(crate) fn describe(header: &BatchHeader) -> Result<Batch, String> {
    let end = header.end_offset().ok_or("a batch without an end")?;
    let sequenced = header.producer_id.is_some().then(|| Sequenced {
        id: header.producer_id.value(),
        epoch: header.producer_epoch,
        first: header.base_sequence,
        last: header.last_sequence(),
    });
    Ok(Batch {
        base: header.base_offset,
        end: end.value(),
        checksum: header.checksum,
        bytes: header.total_bytes().ok_or("a batch of no length")?,
        epoch: LeaderEpoch::value(header.leader_epoch),
        max_timestamp: header.max_timestamp.millis(),
        sequenced,
    })
}

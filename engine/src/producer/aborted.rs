//! Which transactions of a log were aborted: the `.txnindex` files.
//!
//! A segment has an entry for each transaction whose abort marker it holds. An entry is 34 bytes,
//! big endian, as Kafka's:
//!
//! ```text
//! 0         2             10             18            26                   34
//! | version | producer id | first offset | last offset | last stable offset |
//! ```
//!
//! `first offset` is the transaction's first, `last offset` its marker's. `last stable offset` is
//! where the earliest transaction begins that was open when the marker came, or what follows the
//! marker: below it, no entry of a later marker says anything. Entries are in the order of their
//! markers. A segment without entries has no file.
//!
//! The active segment's entries are in memory, and written when it is sealed; those of sealed
//! segments are read when they are needed.

use std::collections::BTreeSet;
use std::path::Path;

use crate::batch::ProducerId;
use crate::error::{IoFailure, Operation, ReadError};
use crate::io::{Io, OpenMode};
use crate::log::{Inner, Log, LogSettings};
use crate::offset::Offset;
use crate::recovery::{newest_snapshot, walk};
use crate::segment::active::Summary;
use crate::segment::name::Kind;
use crate::shard::Shard;
use crate::small_file;

const VERSION: i16 = 0;
const ENTRY_BYTES: usize = 34;

/// A transaction that was aborted: readers of committed data skip the producer's batches from its
/// first offset up to its marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Whose transaction it was.
    pub producer_id: ProducerId,
    /// The offset of its first record.
    pub first_offset: Offset,
    /// The offset of the marker that aborted it.
    pub last_offset: Offset,
    /// What was stable once the marker had come.
    pub last_stable_offset: Offset,
}

/// The aborted transactions of one log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AbortedIndex {
    /// Those whose marker is in the active segment.
    active: Vec<AbortedTransaction>,
    /// Whether the active segment may have a file, whatever it says.
    active_has_file: bool,
    /// Base offsets of the sealed segments that have a file.
    sealed: BTreeSet<Offset>,
}

impl AbortedIndex {
    /// The index of a log that was opened.
    pub(crate) fn opened(
        active: Vec<AbortedTransaction>,
        active_has_file: bool,
        sealed: BTreeSet<Offset>,
    ) -> Self {
        Self { active, active_has_file, sealed }
    }

    /// Those whose marker is in the active segment.
    pub(crate) fn active(&self) -> &[AbortedTransaction] {
        &self.active
    }

    pub(crate) fn note(&mut self, aborted: AbortedTransaction) {
        self.active.push(aborted);
    }

    /// What to write beside the active segment; `None` if nothing is there and nothing needs be.
    pub(crate) fn to_save(&self) -> Option<Vec<u8>> {
        (self.active_has_file || !self.active.is_empty()).then(|| encode(&self.active))
    }

    /// Notes that [`AbortedIndex::to_save`] was written.
    pub(crate) fn saved(&mut self) {
        self.active_has_file = true;
    }

    /// The active segment, which begins at `base`, was sealed.
    pub(crate) fn seal(&mut self, base: Offset) {
        if self.active_has_file {
            self.sealed.insert(base);
        }
        self.active.clear();
        self.active_has_file = false;
    }

    /// The log was cut: the segment at `base` is the active one now, and `active` is in it.
    pub(crate) fn cut_to(&mut self, base: Offset, active: Vec<AbortedTransaction>) {
        let was_active = self.sealed.iter().all(|sealed| *sealed < base);
        self.active_has_file &= was_active;
        self.active_has_file |= self.sealed.contains(&base);
        self.sealed.retain(|sealed| *sealed < base);
        self.active = active;
    }

    /// The segments of the given bases are gone, or were replaced by ones without a file.
    pub(crate) fn remove(&mut self, bases: impl IntoIterator<Item = Offset>) {
        for base in bases {
            self.sealed.remove(&base);
        }
    }

    /// The sealed segment at `base` has a file.
    pub(crate) fn add_sealed(&mut self, base: Offset) {
        self.sealed.insert(base);
    }
}

pub(crate) fn encode(entries: &[AbortedTransaction]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.len() * ENTRY_BYTES);
    for entry in entries {
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        for number in [
            entry.producer_id.value(),
            entry.first_offset.value(),
            entry.last_offset.value(),
            entry.last_stable_offset.value(),
        ] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
    }
    bytes
}

/// The entries of a file of a segment that holds `base..end`; `None` if the bytes cannot be that.
pub(crate) fn decode(bytes: &[u8], base: Offset, end: Offset) -> Option<Vec<AbortedTransaction>> {
    let (chunks, rest) = bytes.as_chunks::<ENTRY_BYTES>();
    if !rest.is_empty() {
        return None;
    }
    let mut entries: Vec<AbortedTransaction> = Vec::with_capacity(chunks.len());
    for chunk in chunks {
        let (version, numbers) = chunk.split_first_chunk::<2>()?;
        let (numbers, _) = numbers.as_chunks::<8>();
        let [producer, first, last, stable] = numbers else { return None };
        let entry = AbortedTransaction {
            producer_id: ProducerId::new(i64::from_be_bytes(*producer)),
            first_offset: Offset::new(i64::from_be_bytes(*first))?,
            last_offset: Offset::new(i64::from_be_bytes(*last))?,
            last_stable_offset: Offset::new(i64::from_be_bytes(*stable))?,
        };
        let increases = entries.last().is_none_or(|last| last.last_offset < entry.last_offset);
        let fits = entry.first_offset < entry.last_offset
            && (base..end).contains(&entry.last_offset)
            && entry.last_stable_offset <= entry.last_offset.plus(1);
        if i16::from_be_bytes(*version) != VERSION || !increases || !fits {
            return None;
        }
        entries.push(entry);
    }
    Some(entries)
}

impl<I: Io> Log<I> {
    /// The aborted transactions that have batches in `from..to`, in the order of their markers: what
    /// a reader of that range skips, if it wants committed data only. A marker itself may lie at
    /// `to` or later. Some that have no batch there may be among them.
    ///
    /// Reads the index files of sealed segments from the one that holds `from` on, as far as they
    /// say something about the range. Safe to drop.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub async fn aborted_transactions(
        &self,
        from: Offset,
        to: Offset,
    ) -> Result<Vec<AbortedTransaction>, ReadError> {
        let inner = &self.inner;
        let (segments, active) = {
            let state = inner.state.borrow();
            let held = state.sealed.iter().filter(|segment| segment.end > from);
            let indexed = held.filter(|segment| state.aborted.sealed.contains(&segment.base));
            let segments: Vec<_> = indexed.map(|segment| (segment.base, segment.end)).collect();
            (segments, state.aborted.active.clone())
        };
        let mut found = Vec::new();
        let mut complete = false;
        let mut take = |entries: Vec<AbortedTransaction>| {
            let stable = entries.iter().any(|entry| entry.last_stable_offset >= to);
            let within =
                |entry: &AbortedTransaction| entry.last_offset >= from && entry.first_offset < to;
            found.extend(entries.into_iter().filter(within));
            stable
        };
        for (base, end) in segments {
            complete = take(inner.sealed_aborted(base, end).await?);
            if complete {
                break;
            }
        }
        if !complete {
            take(active);
        }
        Ok(found)
    }

    /// Where the earliest transaction begins whose outcome is not certain: none of its markers has
    /// come, or only one at `replicated` (the high watermark) or above. Below it, and below
    /// `replicated`, everything is stable. `None` if there is none.
    #[must_use]
    pub fn first_unstable_offset(&self, replicated: Offset) -> Option<Offset> {
        self.inner.state.borrow_mut().producers.first_unstable(replicated)
    }
}

impl<I: Io> Inner<I> {
    /// The entries of a sealed segment; from its batches, should the file be damaged.
    async fn sealed_aborted(
        &self,
        base: Offset,
        end: Offset,
    ) -> Result<Vec<AbortedTransaction>, ReadError> {
        let (shard, dir) = (&self.shard, &self.dir);
        // A file that is gone went with its segment, or with all that its entries were about.
        let bytes = small_file::read(shard, &Kind::TxnIndex.path(dir, base)).await?;
        let Some(bytes) = bytes else { return Ok(Vec::new()) };
        if let Some(entries) = decode(&bytes, base, end) {
            return Ok(entries);
        }
        let segments: Vec<(Offset, u64)> = {
            let state = self.state.borrow();
            let known = state.sealed.iter().take_while(|segment| segment.base <= base);
            known.map(|segment| (segment.base, segment.size)).collect()
        };
        let listed = shard.io().list_dir(dir).await;
        let listed = listed.map_err(IoFailure::of(Operation::List, dir))?;
        let parsed = listed.iter().filter_map(|entry| Kind::parse(&entry.name));
        let snapshots: Vec<Offset> =
            parsed.filter(|(kind, _)| *kind == Kind::Snapshot).map(|(_, offset)| offset).collect();
        let settings = self.settings.borrow().clone();
        let entries = rebuild(shard, dir, &segments, &snapshots, base, &settings).await?;
        small_file::replace(shard, dir, &Kind::TxnIndex.name(base), &encode(&entries)).await?;
        Ok(entries)
    }
}

/// The entries of the segment at `base`, from the batches since the newest snapshot before it.
/// `segments` are bases and lengths, in order, up to the one at `base`; what is damaged counts for
/// as far as it can be read.
pub(crate) async fn rebuild<I: Io>(
    shard: &Shard<I>,
    dir: &Path,
    segments: &[(Offset, u64)],
    snapshots: &[Offset],
    base: Offset,
    settings: &LogSettings,
) -> Result<Vec<AbortedTransaction>, IoFailure> {
    let (mut producers, from) = newest_snapshot(shard, dir, snapshots, base).await?;
    let first = segments.partition_point(|(base, _)| *base <= from).saturating_sub(1);
    let (now, expiry) = (shard.io().now(), settings.producer_expiry);
    let mut entries = Vec::new();
    for &(segment, size) in segments.get(first..).unwrap_or_default() {
        let path = Kind::Log.path(dir, segment);
        let file = shard.io().open(&path, OpenMode::ReadDirect).await;
        let file = file.map_err(IoFailure::of(Operation::Open, &path))?;
        let interval = settings.index_interval_bytes;
        let begin = Summary::new(segment);
        walk(shard, &path, file, size, begin, interval, |header, marker, _| {
            if header.base_offset >= from.value()
                && let Some(aborted) = producers.appended(header, marker, now, expiry)
                && segment == base
            {
                entries.push(aborted);
            }
            true
        })
        .await?;
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(value: i64) -> Offset {
        Offset::new(value).unwrap()
    }

    fn entry(producer: i64, first: i64, last: i64, stable: i64) -> AbortedTransaction {
        AbortedTransaction {
            producer_id: ProducerId::new(producer),
            first_offset: at(first),
            last_offset: at(last),
            last_stable_offset: at(stable),
        }
    }

    #[test]
    fn entries_are_kafkas_34_bytes_and_wrong_ones_are_refused() {
        let entries = [entry(7, 10, 20, 12), entry(8, 12, 30, 31)];
        let bytes = encode(&entries);
        assert_eq!(bytes.len(), 68);
        assert_eq!(bytes[..10], [0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
        assert_eq!(decode(&bytes, at(15), at(31)), Some(entries.to_vec()));
        assert_eq!(decode(&bytes, at(15), at(30)), None);
        assert_eq!(decode(&bytes, at(21), at(31)), None);
        assert_eq!(decode(&bytes[..67], at(15), at(31)), None);
        let mut version = bytes.clone();
        version[1] = 1;
        assert_eq!(decode(&version, at(15), at(31)), None);
        let swapped = encode(&[entries[1], entries[0]]);
        assert_eq!(decode(&swapped, at(15), at(31)), None);
    }

    #[test]
    fn a_sealed_segments_file_is_known_until_the_log_is_cut_below_it() {
        let mut index = AbortedIndex::default();
        assert_eq!(index.to_save(), None);
        index.note(entry(7, 10, 20, 21));
        assert_eq!(index.to_save().unwrap().len(), ENTRY_BYTES);
        index.saved();
        index.seal(at(5));
        assert_eq!(index.to_save(), None);
        index.seal(at(25));
        assert_eq!(index.sealed, BTreeSet::from([at(5)]));
        index.cut_to(at(5), Vec::new());
        // What is written over it says that nothing was aborted.
        assert_eq!(index.to_save(), Some(Vec::new()));
        assert!(index.sealed.is_empty());
    }
}

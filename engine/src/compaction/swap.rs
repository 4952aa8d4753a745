//! Putting a compacted segment in the place of the ones it was made from, so that a crash at any
//! moment leaves the old ones or the new one.
//!
//! ```text
//! 0-99.log  100-199.log                        being read; meanwhile
//! 0.log.cleaned  0.index.cleaned  ...          written and synced
//! 0.log.cleaned  0.index.swap  ...             names durable
//! 0.log.200.swap 0.index.swap  ...             durable: from here on the new segment counts
//!                                              100.log and what belongs to it goes, durably
//! 0-199.log      0.index  ...                  renamed over the old ones, durable
//! ```
//!
//! The swap file's name says where its segment ends, so that finishing a swap after a crash needs
//! no look into it. An open finishes a swap that it finds, and removes what comes before one:
//! [`finish`]. All three files beside the log are written, also where one is empty: so one that has no
//! swap file any more is the new one.

use std::path::Path;
use std::rc::Rc;

use super::cleaned::Cleaned;
use super::plan::Segment;
use crate::error::{IoFailure, MaintainError, Operation};
use crate::io::{DirEntry, Io};
use crate::log::Inner;
use crate::manifest::{CleanEnd, Manifest};
use crate::offset::Offset;
use crate::planted::{self, Bug};
use crate::segment::name::{CLEANED, Kind, SWAP};
use crate::segment::sealed::Sealed;
use crate::shard::Shard;
use crate::small_file;

const BESIDE: [Kind; 3] = [Kind::Index, Kind::TimeIndex, Kind::TxnIndex];

/// The name of a file that is being written.
pub(super) fn cleaned_name(kind: Kind, base: Offset) -> String {
    format!("{}{CLEANED}", kind.name(base))
}

/// The name of a file beside a log file that is about to take its place.
pub(super) fn swap_name(kind: Kind, base: Offset) -> String {
    format!("{}{SWAP}", kind.name(base))
}

/// The name of a log file that counts, in the place of all segments in `base..end`.
pub(super) fn swap_log_name(base: Offset, end: Offset) -> String {
    format!("{}.{:020}{SWAP}", Kind::Log.name(base), end.value())
}

/// The range that a name of [`swap_log_name`] says.
fn parse_swap_log(name: &str) -> Option<(Offset, Offset)> {
    let (log, end) = name.strip_suffix(SWAP)?.rsplit_once('.')?;
    let (kind, base) = Kind::parse(log)?;
    let digits = end.len() == 20 && end.bytes().all(|byte| byte.is_ascii_digit());
    let end = Offset::new(end.parse().ok().filter(|_| digits)?)?;
    (kind == Kind::Log && base < end).then_some((base, end))
}

/// Whether a name is one that only compaction gives.
fn is_compactions(name: &str) -> bool {
    let plain = name.strip_suffix(CLEANED).or_else(|| name.strip_suffix(SWAP));
    let temporary = || name.strip_suffix(crate::segment::name::TEMPORARY)?.strip_suffix(CLEANED);
    plain.or_else(temporary).is_some_and(|name| Kind::parse(name).is_some())
        || parse_swap_log(name).is_some()
}

/// Finishes what a crash has interrupted, given what the folder lists. Whether the folder is other
/// than listed now.
pub(crate) async fn finish<I: Io>(
    shard: &Shard<I>,
    dir: &Path,
    entries: &[DirEntry],
) -> Result<bool, IoFailure> {
    let mut names: Vec<&str> = entries
        .iter()
        .filter(|entry| !entry.is_dir && is_compactions(&entry.name))
        .map(|entry| entry.name.as_str())
        .collect();
    if names.is_empty() {
        return Ok(false);
    }
    for entry in entries {
        let Some((base, end)) = parse_swap_log(&entry.name) else { continue };
        let parsed = entries.iter().filter_map(|entry| Kind::parse(&entry.name));
        let within = parsed.filter(|(_, other)| base < *other && *other < end);
        let doomed = within.map(|(kind, other)| kind.name(other));
        small_file::remove_all(shard, dir, doomed).await?;
        if planted::active(Bug::FinishDropsSwap) {
            continue;
        }
        // What is not there has its final name already.
        let there = |kind: &Kind| entries.iter().any(|e| e.name == swap_name(*kind, base));
        let beside: Vec<Kind> = BESIDE.into_iter().filter(there).collect();
        place(shard, dir, (base, end), &beside).await?;
        names.retain(|name| {
            *name != entry.name && BESIDE.iter().all(|kind| *name != swap_name(*kind, base))
        });
    }
    for name in names {
        small_file::remove(shard, &dir.join(name)).await?;
    }
    small_file::sync_dir(shard, dir).await?;
    Ok(true)
}

/// Renames the new segment's files, those of the kinds `beside` among them, to their final names.
/// Each has the place of one of the old segment at the same base, if that had it.
async fn place<I: Io>(
    shard: &Shard<I>,
    dir: &Path,
    (base, end): (Offset, Offset),
    beside: &[Kind],
) -> Result<(), IoFailure> {
    for &kind in beside {
        rename(shard, dir, &swap_name(kind, base), &kind.name(base)).await?;
    }
    // Once the swap file's name is gone, nothing says any more that this is to be done.
    small_file::sync_dir(shard, dir).await?;
    rename(shard, dir, &swap_log_name(base, end), &Kind::Log.name(base)).await?;
    small_file::sync_dir(shard, dir).await
}

async fn rename<I: Io>(
    shard: &Shard<I>,
    dir: &Path,
    from: &str,
    to: &str,
) -> Result<(), IoFailure> {
    let (from, to) = (dir.join(from), dir.join(to));
    shard.io().rename(&from, &to).await.map_err(IoFailure::of(Operation::Rename, &from))
}

impl<I: Io> Inner<I> {
    /// Puts `cleaned`, which is finished, in the place of the sealed segments `old`. Nothing
    /// happens, and `false` comes back, if they are not all there any
    /// more, or the log was cut meanwhile.
    ///
    /// After an error before the new segment counts, nothing has changed; after a later one the
    /// log is read-only, and the next open finishes the swap.
    pub(super) async fn swap(
        self: &Rc<Self>,
        old: &[Segment],
        cleaned: Cleaned<I>,
        truncations: u64,
    ) -> Result<bool, MaintainError> {
        let _maintenance = self.maintenance.enter().await;
        let _turn = self.turnstile.enter().await;
        self.state.borrow().writable()?;
        let uncut = self.state.borrow().truncations == truncations;
        let there = uncut && old.iter().all(|segment| self.holds(segment));
        let (base, end) = (cleaned.summary.base, cleaned.summary.end);
        if !there {
            cleaned.discard().await;
            return Ok(false);
        }
        if let Err(failure) = self.ready(old, &cleaned).await {
            cleaned.discard().await;
            return Err(failure.into());
        }
        let (shard, dir) = (&self.shard, &self.dir);
        if planted::active(Bug::CompactRemovesBeforeSwap) {
            let doomed = old.iter().skip(1).map(|segment| Kind::Log.name(segment.base));
            small_file::remove_all(shard, dir, doomed).await?;
        }
        let (log, counts) = (cleaned_name(Kind::Log, base), swap_log_name(base, end));
        if let Err(failure) = rename(shard, dir, &log, &counts).await {
            cleaned.discard().await;
            return Err(failure.into());
        }
        // Whether the name got there is not known after a failure: the next open sees.
        let failed = |failure| MaintainError::from(self.fail(failure));
        small_file::sync_dir(shard, dir).await.map_err(failed)?;
        self.put_in_place(old, &cleaned);
        let gone = old.iter().map(|segment| segment.base).filter(|other| *other != base);
        let doomed = gone.flat_map(|base| Kind::ALL.map(|kind| kind.name(base)));
        small_file::remove_all(shard, dir, doomed).await.map_err(failed)?;
        place(shard, dir, (base, end), &BESIDE).await.map_err(failed)?;
        self.end_swap(base);
        // Without it the next open looks into the segment, and the next roll writes it anew.
        let _ = self.save_catalog(None).await;
        Ok(true)
    }

    /// Everything up to the moment at which the new segment counts.
    async fn ready(&self, old: &[Segment], cleaned: &Cleaned<I>) -> Result<(), IoFailure> {
        let (shard, dir, base) = (&self.shard, &self.dir, cleaned.summary.base);
        if !planted::active(Bug::CompactKeepsVouchers) {
            self.withdraw_vouchers(old).await?;
        }
        // Nothing of the old segments may be written again after a crash.
        if !planted::active(Bug::CompactKeepsJournal) {
            shard.settled(dir, Some(cleaned.summary.end)).await?;
        }
        for kind in BESIDE {
            rename(shard, dir, &cleaned_name(kind, base), &swap_name(kind, base)).await?;
        }
        small_file::sync_dir(shard, dir).await
    }

    /// Removes for good what speaks of positions in the old segments: a clean mark, and a
    /// checkpoint, of the time when one of them was the last. After a crash the new one may be.
    async fn withdraw_vouchers(&self, old: &[Segment]) -> Result<(), IoFailure> {
        let (manifest, has_checkpoint) = {
            let state = self.state.borrow();
            (state.manifest, state.active.checkpointed > 0)
        };
        let speaks = |clean: &CleanEnd| old.iter().any(|old| old.base == clean.last_base);
        if manifest.clean.as_ref().is_some_and(speaks) {
            self.save_manifest(Manifest { clean: None, ..manifest }).await?;
        }
        // One of the active segment has taken the place of every earlier one.
        if has_checkpoint { Ok(()) } else { self.remove_checkpoint().await }
    }

    /// Has readers see the new segment from here on, through its open file.
    fn put_in_place(&self, old: &[Segment], cleaned: &Cleaned<I>) {
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        let (base, end) = (cleaned.summary.base, cleaned.summary.end);
        let first = state.sealed.partition_point(|segment| segment.end <= base);
        let until = state.sealed.partition_point(|segment| segment.end <= end);
        assert_eq!(until - first, old.len(), "log.contiguous");
        let new = Sealed::of(&cleaned.summary, cleaned.indexes);
        state.sealed.drain(first..until);
        state.sealed.insert(first, new);
        state.aborted.remove(old.iter().map(|segment| segment.base));
        if !cleaned.aborted.is_empty() {
            state.aborted.add_sealed(base);
        }
        state.swapping = Some((base, cleaned.file()));
        state.layout += 1;
        // The manifest may vouch for the length of one of these, if the active segment has none.
        state.changed = true;
        drop(guard);
        if planted::active(Bug::CompactKeepsCache) {
            return;
        }
        for segment in old {
            self.forget_segment(segment.base);
        }
        self.shard.ahead().forget_log(self.number);
        self.shard.cache().cut_before(&self.chunks, end);
    }

    /// The new segment's files have their names. Whoever opened an old one by its name meanwhile
    /// does not keep it.
    fn end_swap(&self, base: Offset) {
        let swapped = {
            let mut state = self.state.borrow_mut();
            state.layout += 1;
            state.swapping.take()
        };
        self.forget_segment(base);
        if let Some((base, file)) = swapped {
            self.keep_file(base, file, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_files_name_says_what_it_takes_the_place_of() {
        let at = |value| Offset::new(value).unwrap();
        let name = swap_log_name(at(5), at(4711));
        assert_eq!(name, "00000000000000000005.log.00000000000000004711.swap");
        assert_eq!(parse_swap_log(&name), Some((at(5), at(4711))));
        assert_eq!(parse_swap_log(&swap_log_name(at(5), at(5))), None);
        assert_eq!(parse_swap_log("00000000000000000005.log.swap"), None);
        assert_eq!(parse_swap_log("00000000000000000005.log.4711.swap"), None);
        let index = "00000000000000000005.index";
        for suffix in [".cleaned", ".swap", ".cleaned.tmp"] {
            assert!(is_compactions(&format!("{index}{suffix}")), "{suffix}");
        }
        for other in [index, "00000000000000000005.index.tmp", "notes.swap", "notes.cleaned"] {
            assert!(!is_compactions(other), "{other}");
        }
    }
}

//! What a log's folder holds, sorted by what it is for.

use super::evidence;
use crate::checkpoint;
use crate::compaction::checkpoint as cleaner;
use crate::io::DirEntry;
use crate::log::{epochs, relaxed};
use crate::manifest;
use crate::offset::Offset;
use crate::segment::name::{DELETED, Kind, TEMPORARY};
use crate::segment::{catalog, offset_index, time_index};

/// The files that belong to the log as a whole.
const SMALL_FILES: [&str; 6] =
    [manifest::NAME, epochs::NAME, checkpoint::NAME, catalog::NAME, cleaner::NAME, relaxed::NAME];

/// What the folder holds.
#[derive(Default)]
pub(super) struct Folder {
    /// Base offset and length of each `.log` file, in order.
    pub(super) segments: Vec<(Offset, u64)>,
    /// Offsets of the snapshots, in order.
    pub(super) snapshots: Vec<Offset>,
    /// Index files and their lengths, in the order of their bases.
    pub(super) indexes: Vec<(Kind, Offset, u64)>,
    /// What earlier recoveries cut off and kept.
    pub(super) evidence: Vec<String>,
    /// Small files of the log as a whole.
    small_files: Vec<&'static str>,
    /// Names that are ours to remove.
    pub(super) leftovers: Vec<String>,
    pub(super) ignored: Vec<String>,
}

impl Folder {
    pub(super) fn sort(entries: Vec<DirEntry>) -> Self {
        let mut folder = Self::default();
        for entry in entries {
            let name = entry.name;
            let stem = name.strip_suffix(DELETED).or_else(|| name.strip_suffix(TEMPORARY));
            let small = |name: &str| SMALL_FILES.into_iter().find(|small| *small == name);
            let ours = |name: &str| {
                Kind::parse(name).is_some()
                    || small(name).is_some()
                    || evidence::segment_of(name).is_some()
            };
            match Kind::parse(&name) {
                _ if entry.is_dir => folder.ignored.push(name),
                Some((Kind::Log, base)) => folder.segments.push((base, entry.length)),
                Some((Kind::Snapshot, offset)) => folder.snapshots.push(offset),
                Some((kind, base)) => folder.indexes.push((kind, base, entry.length)),
                None if stem.is_some_and(ours) => folder.leftovers.push(name),
                None if evidence::segment_of(&name).is_some() => folder.evidence.push(name),
                None => match small(&name) {
                    Some(name) => folder.small_files.push(name),
                    None => folder.ignored.push(name),
                },
            }
        }
        folder
    }

    /// Whether the log has this small file: what is not there need not be opened.
    pub(super) fn holds(&self, name: &str) -> bool {
        self.small_files.contains(&name)
    }

    /// Whether the segment has an index of this kind.
    pub(super) fn holds_index(&self, kind: Kind, base: Offset) -> bool {
        self.indexes.iter().any(|(other, at, _)| (*other, *at) == (kind, base))
    }

    /// Whether the segment has both indexes, of whole entries.
    pub(super) fn has_indexes(&self, base: Offset) -> bool {
        let first = self.indexes.partition_point(|(_, at, _)| *at < base);
        let whole = |kind: Kind, entry_bytes: u64| {
            let mut here = self.indexes[first..].iter().take_while(|(_, at, _)| *at == base);
            here.any(|(other, _, length)| *other == kind && length.is_multiple_of(entry_bytes))
        };
        whole(Kind::Index, offset_index::ENTRY_BYTES as u64)
            && whole(Kind::TimeIndex, time_index::ENTRY_BYTES as u64)
    }
}

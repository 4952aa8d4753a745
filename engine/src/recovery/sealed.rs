//! Sealed segments at an open: believed by the catalog, or looked into.

use std::collections::VecDeque;
use std::path::Path;

use super::folder::Folder;
use super::{Recovery, read_indexes, walk};
use crate::batch::BatchHeader;
use crate::entry::HEADER_BYTES_MAX;
use crate::error::{IoFailure, OpenError, Operation};
use crate::io::{Io, OpenMode, Rare};
use crate::limits::READ_BYTES_MAX;
use crate::offset::Offset;
use crate::segment::active::Summary;
use crate::segment::catalog::{self, Catalog, Entry};
use crate::segment::name::Kind;
use crate::segment::scan::{Found, Scanner, plausible};
use crate::segment::sealed::{IndexSum, Indexes, Sealed};
use crate::segment::store;
use crate::segment::window::Window;
use crate::small_file;

impl<I: Io> Recovery<'_, I> {
    /// The sealed segments: all but the last, each of which must end where the next one begins.
    /// Those that the catalog knows cost nothing.
    pub(super) async fn check_all_sealed(
        &mut self,
        folder: &Folder,
    ) -> Result<VecDeque<Sealed>, OpenError> {
        let mut catalog = Catalog::default();
        if folder.segments.len() > 1 && folder.holds(catalog::NAME) {
            let bytes = small_file::read(self.shard, &self.dir.join(catalog::NAME)).await?;
            catalog = bytes.and_then(|bytes| Catalog::decode(&bytes)).unwrap_or_default();
        }
        let mut sealed = VecDeque::with_capacity(folder.segments.len());
        for pair in folder.segments.windows(2) {
            let &[(base, length), (next, _)] = pair else { continue };
            let known = catalog.find(base, length, next).filter(|_| folder.has_indexes(base));
            sealed.push_back(match known {
                Some(&Entry { base, end, size, latest, indexes }) => {
                    Sealed::new(base, end, size, latest, indexes)
                }
                None => self.check_sealed(base, length, next).await?,
            });
        }
        Ok(sealed)
    }

    /// Checks that a sealed segment is whole and ends where the next one begins: by its indexes, the
    /// batches of their last entries and what follows those, else by reading all of it.
    async fn check_sealed(
        &mut self,
        base: Offset,
        length: u64,
        next: Offset,
    ) -> Result<Sealed, OpenError> {
        self.shard.io().reached(Rare::SealedLookedInto);
        let path = Kind::Log.path(self.dir, base);
        let file = store::open(self.shard, &path, OpenMode::ReadDirect).await?;
        let indexes = read_indexes(self.shard, self.dir, base, length, next).await?;
        if let Some((indexes, _)) = indexes
            && let Some(end) = self.end_by_index(&path, &file, base, length, &indexes).await?
            && end == next
            && self.has_latest(&path, &file, base, length, &indexes).await?
        {
            let latest =
                indexes.times.last().map(|entry| (entry.timestamp, base.plus(entry.relative)));
            let size = length;
            // Most entries have not been looked at: whoever needs them has the indexes rebuilt.
            return Ok(Sealed::new(base, end, size, latest, None));
        }
        let interval = self.settings.index_interval_bytes;
        let from = Summary::new(base);
        let walked = walk(self.shard, &path, file, length, from, interval, |_, _, _| true).await?;
        self.report.scanned_bytes += walked.summary.size;
        if let Some(damage) = walked.damage {
            return Err(OpenError::Corrupt { path, position: walked.summary.size, damage });
        }
        let mut summary = walked.summary;
        let end = summary.end;
        if end > next {
            return Err(OpenError::SegmentsOverlap { path, end, next });
        }
        if end < next {
            return Err(OpenError::SegmentGap { path, end, next });
        }
        summary.add_time_entry();
        let (offsets, times) = (summary.offsets.encode(), summary.times.encode());
        let (index, time_index) = (Kind::Index.name(base), Kind::TimeIndex.name(base));
        small_file::replace(self.shard, self.dir, &index, &offsets).await?;
        small_file::replace(self.shard, self.dir, &time_index, &times).await?;
        self.report.rebuilt_indexes.push(path);
        Ok(Sealed::of(&summary, Some(IndexSum::of(&offsets, &times))))
    }

    /// Where a sealed segment ends, found from its last index entry on; `None` if something there
    /// is not as the index says.
    async fn end_by_index(
        &mut self,
        path: &Path,
        file: &I::File,
        base: Offset,
        length: u64,
        indexes: &Indexes,
    ) -> Result<Option<Offset>, OpenError> {
        let (mut position, mut expected) = (0, base);
        if let Some(entry) = indexes.offsets.last() {
            position = u64::from(entry.position);
            let mut window = Window::new(self.shard, file.clone());
            let loaded = window.load(position, HEADER_BYTES_MAX, HEADER_BYTES_MAX).await;
            loaded.map_err(IoFailure::of(Operation::Read, path))?;
            let header = BatchHeader::read(window.from(position));
            let right = base.plus(entry.relative).value();
            let Some(header) = header.filter(|header| header.last_offset() == right) else {
                return Ok(None);
            };
            expected = Offset::new(header.base_offset).unwrap_or(base);
        }
        let mut scanner = Scanner::new(self.shard, file.clone(), length, position, expected);
        loop {
            match scanner.next().await.map_err(IoFailure::of(Operation::Read, path))? {
                Found::Batch(header, _) => {
                    self.report.scanned_bytes += header.total_bytes().unwrap_or(0) as u64;
                }
                Found::End => return Ok(Some(scanner.expected())),
                Found::Invalid(_) => return Ok(None),
            }
        }
    }

    /// Whether the last time entry is about a batch that is there: a segment's age follows from it.
    async fn has_latest(
        &self,
        path: &Path,
        file: &I::File,
        base: Offset,
        length: u64,
        indexes: &Indexes,
    ) -> Result<bool, OpenError> {
        let Some(latest) = indexes.times.last() else { return Ok(true) };
        let offset = base.plus(latest.relative);
        let entry = indexes.offsets.lookup(base, offset);
        let mut position = entry.map_or(0, |entry| u64::from(entry.position));
        let mut window = Window::new(self.shard, file.clone());
        while position < length {
            if window.from(position).len() < HEADER_BYTES_MAX {
                let loaded = window.load(position, HEADER_BYTES_MAX, READ_BYTES_MAX).await;
                loaded.map_err(IoFailure::of(Operation::Read, path))?;
            }
            let Some(header) = BatchHeader::read(window.from(position)) else { return Ok(false) };
            if header.last_offset() >= offset.value() {
                let is_it = header.last_offset() == offset.value();
                return Ok(is_it && header.max_timestamp == latest.timestamp);
            }
            let Ok(bytes) = plausible(&header, length - position) else { return Ok(false) };
            position += bytes as u64;
        }
        Ok(false)
    }
}

//! A segment that is complete.

use std::rc::Rc;

use crate::offset::{Offset, Timestamp};
use crate::segment::active::Summary;
use crate::segment::offset_index::OffsetIndex;
use crate::segment::time_index::TimeIndex;

/// Both indexes of a sealed segment.
#[derive(Debug)]
pub(crate) struct Indexes {
    pub(crate) offsets: OffsetIndex,
    pub(crate) times: TimeIndex,
}

/// A sealed segment. Its file and indexes are opened when first needed.
pub(crate) struct Sealed<F> {
    pub(crate) base: Offset,
    pub(crate) end: Offset,
    /// The file's exact length in bytes.
    pub(crate) size: u64,
    pub(crate) file: Option<F>,
    pub(crate) indexes: Option<Rc<Indexes>>,
    /// The largest timestamp and the last offset of the batch with it; unknown while `indexes`
    /// were never loaded.
    pub(crate) latest: Option<(Timestamp, Offset)>,
}

impl<F> Sealed<F> {
    pub(crate) fn new(summary: Summary, file: Option<F>) -> Self {
        let base = summary.base;
        let indexes = Indexes { offsets: summary.offsets, times: summary.times };
        let mut sealed =
            Self { base, end: summary.end, size: summary.size, file, indexes: None, latest: None };
        sealed.set_indexes(Rc::new(indexes));
        sealed
    }

    pub(crate) fn set_indexes(&mut self, indexes: Rc<Indexes>) {
        self.latest =
            indexes.times.last().map(|entry| (entry.timestamp, self.base.plus(entry.relative)));
        self.indexes = Some(indexes);
    }
}

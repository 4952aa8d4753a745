//! What a shard keeps at hand of its logs' segments: open files and loaded indexes.
//!
//! Both are bounded, whatever the number of logs and segments, and what was not used for the
//! longest goes first. A segment costs its log a few numbers ([`Sealed`]) and nothing else.
//!
//! A file that a read is using stays open until the read lets go of it, also if it went from here
//! meanwhile. What is kept of a file that is removed, replaced or cut must be
//! [forgotten](SegmentStore::forget) with it: here nobody looks at names.
//!
//! [`Sealed`]: crate::segment::sealed::Sealed

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;

use crate::error::{IoFailure, Operation};
use crate::io::{Io, OpenMode};
use crate::offset::Offset;
use crate::segment::lru::{Key, Lru};
use crate::segment::sealed::Indexes;
use crate::shard::Shard;

/// What a shard keeps at hand of its segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SegmentStats {
    /// Files that are kept open while nobody uses them.
    pub open_files: usize,
    /// How many may be: [`ShardSettings::open_files_max`](crate::shard::ShardSettings).
    pub open_files_max: usize,
    /// Bytes of memory in loaded indexes of sealed segments.
    pub index_bytes: usize,
    /// How many may be: [`ShardSettings::index_cache_bytes`](crate::shard::ShardSettings).
    pub index_bytes_max: usize,
    /// Files opened for reading so far.
    pub files_opened: u64,
    /// Indexes loaded or rebuilt so far.
    pub indexes_loaded: u64,
}

/// Opens or makes a file. Where the process may open no more, or the system has no memory for it,
/// files of segments that nobody uses are closed first.
pub(crate) async fn open<I: Io>(
    shard: &Shard<I>,
    path: &Path,
    mode: OpenMode,
) -> Result<I::File, IoFailure> {
    let operation = match mode {
        OpenMode::CreateDirect | OpenMode::CreateBuffered => Operation::Create,
        _ => Operation::Open,
    };
    loop {
        let opened = shard.io().open(path, mode).await;
        match opened.map_err(IoFailure::of(operation, path)) {
            Err(failure) if failure.wants_fewer_files() && shard.segments().close_some() => {}
            opened => return opened,
        }
    }
}

/// An open file of a segment.
struct Handle<F> {
    file: F,
    writable: bool,
}

/// The open files and loaded indexes of all logs of a shard.
pub(crate) struct SegmentStore<F> {
    files: RefCell<Lru<Handle<F>>>,
    indexes: RefCell<Lru<Rc<Indexes>>>,
    open_files_max: usize,
    index_bytes_max: usize,
    next_log: Cell<u64>,
    files_opened: Cell<u64>,
    indexes_loaded: Cell<u64>,
}

impl<F: Clone> SegmentStore<F> {
    pub(crate) fn new(open_files_max: usize, index_bytes_max: usize) -> Self {
        Self {
            files: RefCell::default(),
            indexes: RefCell::default(),
            open_files_max,
            index_bytes_max,
            next_log: Cell::new(0),
            files_opened: Cell::new(0),
            indexes_loaded: Cell::new(0),
        }
    }

    /// Files of sealed segments that may be open, and as many of logs at rest.
    pub(crate) fn files_max(&self) -> usize {
        self.open_files_max
    }

    /// A number that no other log of this shard has or had.
    pub(crate) fn number_log(&self) -> u64 {
        let number = self.next_log.get();
        self.next_log.set(number + 1);
        number
    }

    pub(crate) fn stats(&self) -> SegmentStats {
        SegmentStats {
            open_files: self.files.borrow().len(),
            open_files_max: self.open_files_max,
            index_bytes: self.indexes.borrow().cost(),
            index_bytes_max: self.index_bytes_max,
            files_opened: self.files_opened.get(),
            indexes_loaded: self.indexes_loaded.get(),
        }
    }

    /// The file of a segment, for reading, if it is open.
    pub(crate) fn file(&self, key: Key) -> Option<F> {
        self.files.borrow_mut().get(key).map(|handle| handle.file.clone())
    }

    /// Takes the file of a segment out, if one is open for writing.
    pub(crate) fn take_writable(&self, key: Key) -> Option<F> {
        let mut files = self.files.borrow_mut();
        files.peek(key).filter(|handle| handle.writable)?;
        files.remove(key).map(|handle| handle.file)
    }

    /// Counts a file that was opened for reading.
    pub(crate) fn count_opened(&self) {
        self.files_opened.set(self.files_opened.get() + 1);
    }

    /// Keeps a file open for later, at the cost of the one that was not used for the longest.
    pub(crate) fn keep_file(&self, key: Key, file: F, writable: bool) -> bool {
        let replaced = self.files.borrow_mut().insert(key, Handle { file, writable }, 1);
        drop(replaced);
        let mut has_closed = false;
        while self.files.borrow().cost() > self.open_files_max {
            // Outside of the borrow: this closes the file.
            let oldest = self.files.borrow_mut().pop_oldest();
            drop(oldest);
            has_closed = true;
        }
        has_closed
    }

    /// Closes half of the files that nobody uses. `false` if there are none.
    pub(crate) fn close_some(&self) -> bool {
        let count = self.files.borrow().len().div_ceil(2);
        for _ in 0..count {
            let oldest = self.files.borrow_mut().pop_oldest();
            drop(oldest);
        }
        count > 0
    }

    /// The indexes of a sealed segment, if they are in memory.
    pub(crate) fn indexes(&self, key: Key) -> Option<Rc<Indexes>> {
        self.indexes.borrow_mut().get(key).map(|indexes| Rc::clone(indexes))
    }

    /// Counts indexes that were loaded or rebuilt.
    pub(crate) fn count_loaded(&self) {
        self.indexes_loaded.set(self.indexes_loaded.get() + 1);
    }

    /// Keeps indexes for later, at the cost of those that were not used for the longest. The
    /// newest stay, also if they are more than the budget, so that their reader gets on.
    pub(crate) fn keep_indexes(&self, key: Key, kept: Rc<Indexes>) {
        let mut indexes = self.indexes.borrow_mut();
        let bytes = kept.bytes();
        indexes.insert(key, kept, bytes);
        while indexes.cost() > self.index_bytes_max && indexes.len() > 1 {
            indexes.pop_oldest();
        }
    }

    /// Lets go of what is kept of a segment that is removed, replaced or cut.
    pub(crate) fn forget(&self, log: u64, base: Offset) {
        let key = Key { log, offset: base };
        let file = self.files.borrow_mut().remove(key);
        drop(file);
        self.indexes.borrow_mut().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::offset_index::OffsetIndex;
    use crate::segment::time_index::TimeIndex;

    fn key(value: i64) -> Key {
        Key { log: 0, offset: Offset::new(value).unwrap() }
    }

    fn indexes(entries: u32) -> Rc<Indexes> {
        let mut offsets = OffsetIndex::default();
        (1..=entries).for_each(|n| offsets.push(n, u64::from(n)));
        Rc::new(Indexes { offsets, times: TimeIndex::default() })
    }

    #[test]
    fn a_file_is_open_as_long_as_it_is_kept_or_used() {
        let store = SegmentStore::new(2, 0);
        let files: Vec<Rc<i64>> = (0..3).map(Rc::new).collect();
        for (n, file) in (0..).zip(&files) {
            store.keep_file(key(n), Rc::clone(file), false);
        }
        assert_eq!(store.stats().open_files, 2);
        assert_eq!(store.file(key(0)), None);
        let used = store.file(key(1)).unwrap();
        store.forget(0, Offset::new(1).unwrap());
        assert_eq!(Rc::strong_count(&used), 2, "ours and the list's");
        assert_eq!(store.stats().open_files, 1);
    }

    #[test]
    fn only_a_file_for_writing_is_taken_out() {
        let store = SegmentStore::new(2, 0);
        store.keep_file(key(0), 'r', false);
        store.keep_file(key(1), 'w', true);
        assert_eq!([store.take_writable(key(0)), store.take_writable(key(1))], [None, Some('w')]);
        assert_eq!(store.stats().open_files, 1);
    }

    #[test]
    fn indexes_larger_than_the_budget_are_kept_alone() {
        let store: SegmentStore<()> = SegmentStore::new(0, 1_000);
        for n in 0..10 {
            store.keep_indexes(key(n), indexes(10));
            assert!(store.stats().index_bytes <= 1_000);
        }
        assert!(store.indexes(key(0)).is_none());
        store.keep_indexes(key(10), indexes(10_000));
        assert_eq!(store.stats().index_bytes, indexes(10_000).bytes());
        assert!(store.indexes(key(10)).is_some() && store.indexes(key(9)).is_none());
        store.keep_indexes(key(11), indexes(10));
        assert!(store.stats().index_bytes <= 1_000);
    }
}

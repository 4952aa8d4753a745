//! The numbers of a log: offsets and timestamps, as types that do not mix.

use std::fmt;

/// The position of a record in its log, counted in records from 0.
///
/// Ranges of offsets are half-open, `start..end`; an inclusive last offset is always called
/// `last_offset`, as on Kafka's wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset(i64);

impl Offset {
    /// The first offset of every new log.
    pub const ZERO: Self = Self(0);

    /// Above every record's offset.
    pub(crate) const MAX: Self = Self(i64::MAX);

    /// An offset; `None` if `value` is negative.
    #[must_use]
    pub const fn new(value: i64) -> Option<Self> {
        if value < 0 { None } else { Some(Self(value)) }
    }

    /// The offset as the wire and the files write it.
    #[must_use]
    pub const fn value(self) -> i64 {
        self.0
    }

    /// The offset `count` records later; saturates at `i64::MAX`.
    #[must_use]
    pub const fn plus(self, count: u32) -> Self {
        Self(self.0.saturating_add(count as i64))
    }

    /// How many offsets lie in `earlier..self`; 0 if `earlier` is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        if self.0 > earlier.0 { self.0.abs_diff(earlier.0) } else { 0 }
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Milliseconds since 1970-01-01 UTC; -1 means "no timestamp", as on Kafka's wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// No timestamp.
    pub const NONE: Self = Self(-1);

    /// A timestamp in milliseconds.
    #[must_use]
    pub const fn from_millis(value: i64) -> Self {
        Self(value)
    }

    /// Milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

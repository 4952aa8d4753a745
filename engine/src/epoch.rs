//! The leader epoch: which reign of a leader a batch was appended under.

use std::fmt;

/// A leader epoch. Grows by one with each change of leader; stamped into every batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LeaderEpoch(i32);

impl LeaderEpoch {
    /// "No epoch known", as on Kafka's wire.
    pub const NONE: Self = Self(-1);

    /// An epoch; negative values stand for [`LeaderEpoch::NONE`].
    #[must_use]
    pub const fn new(value: i32) -> Self {
        if value < 0 { Self::NONE } else { Self(value) }
    }

    /// The epoch as the wire writes it.
    #[must_use]
    pub const fn value(self) -> i32 {
        self.0
    }
}

impl fmt::Display for LeaderEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

//! The kinds of faults a simulated disk injects, and how often it did.

/// What a simulated disk does to its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(usize)]
pub enum Fault {
    /// The power was cut.
    PowerLoss,
    /// The process was killed.
    Kill,
    /// A sector's newest bytes did not reach the disk: it holds older synced ones, or nothing.
    SectorDropped,
    /// A sector holds a version that was overwritten before any sync.
    SectorOld,
    /// Of the sectors of a file that were not synced, some reached the disk and others did not.
    Torn,
    /// A sector that never held synced bytes holds random ones.
    SectorGarbage,
    /// A sector that never held synced bytes holds those of a removed file.
    SectorStale,
    /// A file's length fell back to an earlier one.
    LengthLost,
    /// A creation, renaming or removal was undone.
    NameLost,
    /// An operation failed (`EIO` and its like).
    Error,
    /// A sync failed, and the next one reports success without the bytes.
    FailedSync,
    /// There was no space.
    DiskFull,
    /// A write reached the file in two parts, some time apart.
    ShortWrite,
    /// A read saw the file at two moments.
    ShortRead,
    /// A write went elsewhere and reported success.
    MisdirectedWrite,
    /// A read came from elsewhere and reported success.
    MisdirectedRead,
    /// A bit at rest changed.
    BitFlip,
    /// An operation took a hundred times as long.
    Slow,
}

impl Fault {
    /// How many kinds there are.
    pub const COUNT: usize = Self::Slow as usize + 1;

    /// All kinds.
    pub const ALL: [Self; Self::COUNT] = [
        Self::PowerLoss,
        Self::Kill,
        Self::SectorDropped,
        Self::SectorOld,
        Self::Torn,
        Self::SectorGarbage,
        Self::SectorStale,
        Self::LengthLost,
        Self::NameLost,
        Self::Error,
        Self::FailedSync,
        Self::DiskFull,
        Self::ShortWrite,
        Self::ShortRead,
        Self::MisdirectedWrite,
        Self::MisdirectedRead,
        Self::BitFlip,
        Self::Slow,
    ];

    /// The fault in words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PowerLoss => "power loss",
            Self::Kill => "kill",
            Self::SectorDropped => "sector dropped",
            Self::SectorOld => "sector old",
            Self::Torn => "torn write",
            Self::SectorGarbage => "sector garbage",
            Self::SectorStale => "sector stale",
            Self::LengthLost => "length lost",
            Self::NameLost => "name lost",
            Self::Error => "operation failed",
            Self::FailedSync => "sync failed, then OK",
            Self::DiskFull => "no space",
            Self::ShortWrite => "short write",
            Self::ShortRead => "short read",
            Self::MisdirectedWrite => "misdirected write",
            Self::MisdirectedRead => "misdirected read",
            Self::BitFlip => "bit flip",
            Self::Slow => "slow operation",
        }
    }
}

/// How often each fault was injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FaultCounts {
    counts: [u64; Fault::COUNT],
}

impl FaultCounts {
    pub(super) fn add(&mut self, fault: Fault) {
        self.counts[fault as usize] += 1;
    }

    /// How often this one was injected.
    #[must_use]
    pub const fn of(&self, fault: Fault) -> u64 {
        self.counts[fault as usize]
    }

    /// Adds another machine's.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
    }
}

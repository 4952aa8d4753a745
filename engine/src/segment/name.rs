//! File names, as Kafka forms them: 20 digits of base offset and a suffix.

use std::path::{Path, PathBuf};

use crate::offset::Offset;

/// The kinds of file a segment consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Log,
    Index,
    TimeIndex,
    Snapshot,
    TxnIndex,
}

/// Appended to the name of a file that is about to be removed.
pub(crate) const DELETED: &str = ".deleted";
/// Appended to the name of a file that is not complete yet.
pub(crate) const TEMPORARY: &str = ".tmp";

/// Appended to the name of a file that compaction is writing.
pub(crate) const CLEANED: &str = ".cleaned";
/// Appended to the name of a compacted file that is about to take the place of others.
pub(crate) const SWAP: &str = ".swap";

const DIGITS: usize = 20;

impl Kind {
    pub(crate) const ALL: [Self; 5] =
        [Self::Log, Self::Index, Self::TimeIndex, Self::Snapshot, Self::TxnIndex];

    const fn suffix(self) -> &'static str {
        match self {
            Self::Log => ".log",
            Self::Index => ".index",
            Self::TimeIndex => ".timeindex",
            Self::Snapshot => ".snapshot",
            Self::TxnIndex => ".txnindex",
        }
    }

    pub(crate) fn name(self, base: Offset) -> String {
        format!("{:020}{}", base.value(), self.suffix())
    }

    pub(crate) fn path(self, dir: &Path, base: Offset) -> PathBuf {
        dir.join(self.name(base))
    }

    /// The kind and base offset a name stands for; `None` for every other name.
    pub(crate) fn parse(name: &str) -> Option<(Self, Offset)> {
        let (digits, suffix) = name.split_at_checked(DIGITS)?;
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let kind = Self::ALL.into_iter().find(|kind| kind.suffix() == suffix)?;
        Some((kind, Offset::new(digits.parse().ok()?)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas_and_read_back() {
        let base = Offset::new(4711).unwrap();
        assert_eq!(Kind::Log.name(base), "00000000000000004711.log");
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(&kind.name(base)), Some((kind, base)));
        }
        for other in ["4711.log", "0000000000000000471x.log", "00000000000000004711.log.deleted"] {
            assert_eq!(Kind::parse(other), None);
        }
        assert_eq!(Kind::parse("99999999999999999999.log"), None);
    }
}

//! Where a journal is, and how large.

use std::path::PathBuf;

use crate::error::OpenError;
use crate::limits::{
    BLOCK, DIRECT_BYTES, JOURNAL_FILE_BYTES_MAX, JOURNAL_FILE_BYTES_MIN, JOURNAL_FILES_MAX,
    JOURNAL_FILES_MIN,
};

/// Where a shard's journal is, for which logs, and how large it may become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalSettings {
    /// The journal's own folder. Nothing else may be in it.
    pub dir: PathBuf,
    /// The folder under which the logs' folders lie. A log elsewhere is not journaled. Logs are
    /// known to the journal by their path from here, so that the whole may be moved.
    pub root: PathBuf,
    /// Files at most. One is made at the start, further ones when they are needed; all are kept.
    pub files: usize,
    /// Bytes of each file, rounded up to whole blocks. All files together bound what may be
    /// acknowledged and not yet be in its segment, and with it how long an opening after a crash
    /// takes.
    pub file_bytes: u64,
    /// Waiting bytes of one log from which they go straight to its segment, since the journal would
    /// write them twice. What does not fit into one write of the journal, or into half of a file,
    /// does so in any case.
    pub direct_bytes: usize,
}

impl JournalSettings {
    /// Up to 8 files of 16 MiB in `dir`, for the logs under `root`, with
    /// [`DIRECT_BYTES`] as the bound between the journal and the segments.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, root: impl Into<PathBuf>) -> Self {
        let (files, file_bytes) = (8, 16 * 1024 * 1024);
        let (dir, root) = (dir.into(), root.into());
        Self { dir, root, files, file_bytes, direct_bytes: DIRECT_BYTES }
    }

    /// The same, if a journal can keep to it.
    ///
    /// # Errors
    ///
    /// [`OpenError::Setting`] names the one that it cannot keep.
    pub(crate) fn checked(self) -> Result<Self, OpenError> {
        let check = |name, actual: u64, min: u64, max: u64, unit| {
            let is_allowed = (min..=max).contains(&actual);
            let error = OpenError::Setting { name, actual, min, max, unit };
            if is_allowed { Ok(()) } else { Err(error) }
        };
        let (min, max) = (JOURNAL_FILES_MIN as u64, JOURNAL_FILES_MAX as u64);
        check("journal files", self.files as u64, min, max, "files")?;
        let (min, max) = (JOURNAL_FILE_BYTES_MIN, JOURNAL_FILE_BYTES_MAX);
        check("journal file size", self.file_bytes, min, max, "bytes")?;
        Ok(Self { file_bytes: self.file_bytes.next_multiple_of(BLOCK as u64), ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_be_kept_are_refused_with_what_is_allowed() {
        let settings = JournalSettings::new("journal", "data");
        assert_eq!(settings.clone().checked(), Ok(settings.clone()));
        let few = JournalSettings { files: 1, ..settings.clone() }.checked().unwrap_err();
        assert_eq!(few.to_string(), "journal files is 1 files; 2 to 256 files are allowed");
        let small = JournalSettings { file_bytes: 65_535, ..settings.clone() }.checked();
        assert!(matches!(small, Err(OpenError::Setting { actual: 65_535, .. })));
        let uneven = JournalSettings { file_bytes: 65_537, ..settings }.checked().unwrap();
        assert_eq!(uneven.file_bytes, 69_632);
    }
}

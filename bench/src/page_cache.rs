//! Makes the kernel forget what it has cached of files, so that the next reader goes to the disk.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::fs::{Advice, fadvise};

use crate::error::BenchError;

/// Drops the clean cached pages of every file in `folder` and below it, after syncing them. Files
/// that vanish meanwhile are passed over.
///
/// # Errors
///
/// [`BenchError::Evict`] if a file cannot be opened or synced.
pub fn evict(folder: &Path) -> Result<(), BenchError> {
    evict_all(folder)
        .map_err(|source| BenchError::Evict { folder: folder.display().to_string(), source })
}

fn evict_all(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            evict_all(&entry.path())?;
        } else if kind.is_file() {
            match File::open(entry.path()) {
                Ok(file) => {
                    // Dirty pages cannot be dropped.
                    file.sync_data()?;
                    fadvise(&file, 0, None, Advice::DontNeed)?;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_files_is_evicted_and_a_missing_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("inner")).unwrap();
        fs::write(folder.path().join("inner/file"), [1; 10_000]).unwrap();
        evict(folder.path()).unwrap();
        assert!(matches!(evict(&folder.path().join("none")), Err(BenchError::Evict { .. })));
    }
}

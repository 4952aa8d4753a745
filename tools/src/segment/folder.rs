//! The files of a data folder: logs, and the segments of each.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// One segment's files.
#[derive(Debug, Clone, Default)]
pub struct SegmentFiles {
    /// The batches.
    pub log: Option<PathBuf>,
    /// From offsets to positions.
    pub index: Option<PathBuf>,
    /// From timestamps to offsets.
    pub time_index: Option<PathBuf>,
    /// Producer state up to the segment's start.
    pub snapshot: Option<PathBuf>,
}

/// The files of one log.
#[derive(Debug, Clone)]
pub struct LogFolder {
    /// The folder.
    pub path: PathBuf,
    /// Its segments by base offset.
    pub segments: BTreeMap<i64, SegmentFiles>,
}

/// The base offset in a segment file's name.
#[must_use]
pub fn base_offset(path: &Path) -> Option<i64> {
    let stem = path.file_stem()?.to_str()?;
    let digits = stem.len() == 20 && stem.bytes().all(|byte| byte.is_ascii_digit());
    if digits { stem.parse().ok() } else { None }
}

/// Every folder below `data_dir` with segment files in it, by name, and `data_dir` itself if it is
/// one.
///
/// # Errors
///
/// A folder cannot be read; the error names it.
pub fn logs(data_dir: &Path) -> io::Result<Vec<LogFolder>> {
    let mut found = Vec::new();
    let mut waiting = vec![data_dir.to_path_buf()];
    while let Some(path) = waiting.pop() {
        let mut log = LogFolder { path: path.clone(), segments: BTreeMap::new() };
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        for entry in fs::read_dir(&path).map_err(named)? {
            let entry = entry.map_err(named)?;
            if entry.file_type().map_err(named)?.is_dir() {
                // What is left of a deleted topic may lack any of its files.
                if entry.path().extension().is_none_or(|extension| extension != "delete") {
                    waiting.push(entry.path());
                }
            } else {
                log.add(entry.path());
            }
        }
        if log.segments.values().any(|segment| segment.log.is_some()) {
            found.push(log);
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

impl LogFolder {
    fn add(&mut self, path: PathBuf) {
        let Some(base) = base_offset(&path) else { return };
        let extension = path.extension().and_then(|extension| extension.to_str());
        let place: fn(&mut SegmentFiles) -> &mut Option<PathBuf> = match extension {
            Some("log") => |segment| &mut segment.log,
            Some("index") => |segment| &mut segment.index,
            Some("timeindex") => |segment| &mut segment.time_index,
            Some("snapshot") => |segment| &mut segment.snapshot,
            _ => return,
        };
        *place(self.segments.entry(base).or_default()) = Some(path);
    }
}

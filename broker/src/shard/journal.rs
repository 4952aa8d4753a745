//! The shards' journals: one folder each, below one folder of the data folder.
//!
//! ```text
//! data/.journal/0/    the journal of shard 0
//! data/.journal/1/    ...
//! ```
//!
//! A partition may belong to another shard than before, if the number of shards has changed. So
//! every journal is emptied into the segments before any shard opens a log: each shard does it for
//! its own as it starts, and for those of shards that are no more.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use ringlog_engine::error::{IoFailure, OpenError, Operation};
use ringlog_engine::journal::{self, JournalSettings, ReplayReport};
use ringlog_engine::shard::{Shard, ShardSettings};

use super::mailbox::ShardId;
use super::storage::Disk;
use crate::config::BrokerConfig;
use crate::limits::{JOURNAL_FILE_BYTES_MAX, JOURNAL_FILE_BYTES_MIN, JOURNAL_FILES};

/// The folder of all journals, in the data folder. No partition's folder can have this name.
pub(crate) const FOLDER: &str = ".journal";

/// Opens a shard's storage, and empties the journals that are its to empty.
pub(super) async fn open(
    disk: &Disk,
    config: &BrokerConfig,
    id: ShardId,
) -> Result<Shard<Disk>, OpenError> {
    let settings = settings(config);
    let plain = Shard::new(disk.clone(), settings);
    for dir in given_up(config, id)? {
        let left = JournalSettings::new(&dir, &config.data_dir);
        let report = journal::retire(&plain, &left).await?;
        tell(&dir, &report);
    }
    let Some(journal) = journal_settings(config, id) else { return Ok(plain) };
    let dir = journal.dir.clone();
    let (shard, report) = Shard::open(disk.clone(), settings, journal).await?;
    tell(&dir, &report);
    Ok(shard)
}

/// What the configuration says of a shard's memory and files.
fn settings(config: &BrokerConfig) -> ShardSettings {
    ShardSettings {
        buffer_pool_bytes: config.shard_buffer_bytes,
        cache_bytes: config.shard_cache_bytes,
        open_files_max: config.shard_open_files_max,
        index_cache_bytes: config.shard_index_cache_bytes,
        read_ahead_bytes: config.shard_read_ahead_bytes,
        ..ShardSettings::default()
    }
}

fn tell(dir: &Path, report: &ReplayReport) {
    if report.entries > 0 || report.torn.is_some() {
        let (bytes, logs) = (report.bytes, report.logs);
        tracing::info!(journal = %dir.display(), bytes, logs, "put into the segments");
    }
}

/// `shard.journal.bytes` as files: how many, and of how many bytes; none for no journal.
fn sizes(config: &BrokerConfig) -> (u64, u64) {
    let bytes = config.shard_journal_bytes;
    let file_bytes = (bytes / JOURNAL_FILES).clamp(JOURNAL_FILE_BYTES_MIN, JOURNAL_FILE_BYTES_MAX);
    let files = if bytes == 0 { 0 } else { (bytes / file_bytes).max(2) };
    (files, file_bytes)
}

/// Files that all shards' journals hold open at most.
pub(crate) fn files(config: &BrokerConfig) -> u64 {
    sizes(config).0.saturating_mul(config.shards as u64)
}

/// What is configured; `None` if there is to be no journal.
fn journal_settings(config: &BrokerConfig, id: ShardId) -> Option<JournalSettings> {
    let (files, file_bytes) = sizes(config);
    if files == 0 {
        return None;
    }
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    let dir = config.data_dir.join(FOLDER).join(id.0.to_string());
    Some(JournalSettings { files, file_bytes, ..JournalSettings::new(dir, &config.data_dir) })
}

/// The folders of journals that no shard goes on with, as far as this shard empties them.
fn given_up(config: &BrokerConfig, id: ShardId) -> Result<Vec<PathBuf>, IoFailure> {
    let folder = config.data_dir.join(FOLDER);
    let failed = |error: std::io::Error| IoFailure {
        operation: Operation::List,
        path: folder.clone(),
        kind: error.kind(),
        os_error: error.raw_os_error(),
    };
    let listing = match fs::read_dir(&folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let kept = if config.shard_journal_bytes == 0 { 0 } else { config.shards };
    let mut dirs = Vec::new();
    for entry in listing {
        let entry = entry.map_err(failed)?;
        let number = entry.file_name().to_str().and_then(|name| name.parse::<usize>().ok());
        if number.is_some_and(|number| number >= kept && number % config.shards == id.0) {
            dirs.push(entry.path());
        }
    }
    Ok(dirs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_configured_of_memory_and_files_reaches_the_engine() {
        let mut config = BrokerConfig::default();
        config.shard_buffer_bytes = 1;
        config.shard_cache_bytes = 2;
        config.shard_open_files_max = 3;
        config.shard_index_cache_bytes = 4;
        config.shard_read_ahead_bytes = 5;
        let expected = ShardSettings {
            buffer_pool_bytes: 1,
            cache_bytes: 2,
            open_files_max: 3,
            index_cache_bytes: 4,
            read_ahead_bytes: 5,
            ..ShardSettings::default()
        };
        assert_eq!(settings(&config), expected);
    }
}

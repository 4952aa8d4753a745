//! The quorum of a broker that runs alone: a log of the engine.

use std::io::ErrorKind;
use std::path::Path;

use ringlog_engine::batch::{BatchBuilder, BatchOptions, CheckedBatch};
use ringlog_engine::epoch::LeaderEpoch;
use ringlog_engine::error::{IoFailure, OpenError, Operation};
use ringlog_engine::io::Io;
use ringlog_engine::log::{FlushPolicy, Log, LogSettings, RecoveryReport, Stamp};
use ringlog_engine::offset::Offset;
use ringlog_engine::shard::Shard;

use super::quorum::{MetadataQuorum, QuorumError};
use crate::limits::METADATA_BATCH_BYTES_MAX;
use crate::metadata::{MetadataImage, MetadataRecord};

/// The folder of the metadata log, within the data folder. Kafka's name for it.
pub const METADATA_FOLDER: &str = "__cluster_metadata-0";

/// Bytes of the metadata log that are read at once.
const READ_BYTES: usize = 1 << 20;

/// A quorum of one: what is durable in its log is committed.
///
/// Belongs to the thread of its backend, like every log of the engine.
pub struct LocalQuorum<I: Io> {
    io: I,
    log: Log<I>,
}

impl<I: Io> LocalQuorum<I> {
    /// Opens the metadata log in `data_dir`, or begins it.
    ///
    /// The folder is made if it is missing. Every append is durable before it resolves, and no record ever goes by age or size: the
    /// topics' settings do not apply here.
    ///
    /// # Errors
    ///
    /// The engine's, if the log is damaged or the disk refuses.
    pub async fn open(
        shard: &Shard<I>,
        data_dir: &Path,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        let settings = LogSettings {
            retention_age_max: None,
            retention_bytes: None,
            batch_bytes_max: METADATA_BATCH_BYTES_MAX,
            durability: FlushPolicy::EveryBatch,
            ..LogSettings::default()
        };
        create_durably(shard.io(), data_dir).await?;
        let (log, report) = Log::open(shard, &data_dir.join(METADATA_FOLDER), settings).await?;
        Ok((Self { io: shard.io().clone(), log }, report))
    }

    /// The log that the records are in, to be closed when the broker stops.
    pub const fn log(&self) -> &Log<I> {
        &self.log
    }
}

impl<I: Io> MetadataQuorum for LocalQuorum<I> {
    async fn append(&self, records: &[MetadataRecord]) -> Result<u64, QuorumError> {
        let offset = self.end();
        let mut builder = BatchBuilder::new(BatchOptions::default());
        let now = self.io.now();
        for record in records {
            let bytes = record.encode().map_err(|source| QuorumError::Record { offset, source })?;
            builder.push(now, None, Some(&bytes), &[]);
        }
        let wrong = |source| QuorumError::Batch { offset, source };
        let bytes = builder.finish().map_err(wrong)?;
        let batch = CheckedBatch::check(&bytes).map_err(wrong)?;
        let stamp = Stamp { leader_epoch: LeaderEpoch::new(0), ..Stamp::default() };
        let appended = self.log.append_durably(&batch, stamp).await?;
        Ok(number(appended.end_offset))
    }

    fn end(&self) -> u64 {
        number(self.log.offsets().end)
    }

    async fn replay(&self, mut image: MetadataImage) -> Result<MetadataImage, QuorumError> {
        let end = self.log.offsets().end;
        self.log.durable(end).await?;
        while image.version() < number(end) {
            let offset = image.version();
            let from = i64::try_from(offset).ok().and_then(Offset::new);
            let from = from.ok_or(QuorumError::Gap { expected: offset, found: -1 })?;
            let slices = self
                .log
                .read(from, end, READ_BYTES, true)
                .await
                .map_err(|source| QuorumError::Read { offset, source })?;
            for slice in slices.iter() {
                image = replay_batches(image, slice)?;
            }
            if image.version() == offset {
                return Err(QuorumError::Gap { expected: offset, found: end.value() });
            }
        }
        Ok(image)
    }
}

/// Makes the data folder, and whatever folders above it are missing, so that they are there after
/// a loss of power: the engine does so for its own folder only.
async fn create_durably<I: Io>(io: &I, data_dir: &Path) -> Result<(), OpenError> {
    let failed = |operation, path: &Path, error: std::io::Error| {
        OpenError::Io(IoFailure {
            operation,
            path: path.to_owned(),
            kind: error.kind(),
            os_error: error.raw_os_error(),
        })
    };
    let mut holders = Vec::new();
    let mut missing = data_dir;
    loop {
        match io.list_dir(missing).await {
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(Operation::List, missing, error)),
        }
        let Some(parent) = missing.parent() else { break };
        if parent.as_os_str().is_empty() {
            holders.push(Path::new("."));
            break;
        }
        holders.push(parent);
        missing = parent;
    }
    if holders.is_empty() {
        return Ok(());
    }
    io.create_dir_all(data_dir).await.map_err(|e| failed(Operation::Create, data_dir, e))?;
    for holder in holders {
        io.sync_dir(holder).await.map_err(|e| failed(Operation::Sync, holder, e))?;
    }
    Ok(())
}

/// Applies batches that follow each other and the image.
fn replay_batches(mut image: MetadataImage, mut rest: &[u8]) -> Result<MetadataImage, QuorumError> {
    while !rest.is_empty() {
        let offset = image.version();
        let (batch, after) = CheckedBatch::check_first(rest)
            .map_err(|source| QuorumError::Batch { offset, source })?;
        rest = after;
        let found = batch.header().base_offset;
        if u64::try_from(found) != Ok(offset) {
            return Err(QuorumError::Gap { expected: offset, found });
        }
        let body = || QuorumError::Body { offset };
        let mut records = Vec::new();
        for record in batch.records().ok_or_else(body)? {
            let value = record.ok().and_then(|record| record.value).ok_or_else(body)?;
            let record = MetadataRecord::decode(value)
                .map_err(|source| QuorumError::Record { offset, source })?;
            records.push(record);
        }
        image =
            image.apply_all(&records).map_err(|source| QuorumError::Apply { offset, source })?;
    }
    Ok(image)
}

/// An offset as a count of records: offsets are never negative.
const fn number(offset: Offset) -> u64 {
    offset.value().unsigned_abs()
}

//! Small files that are replaced as a whole: manifest, snapshots, checkpoints, indexes.

use std::path::{Path, PathBuf};

use crate::error::{IoFailure, Operation};
use crate::io::{Durability, File, Io, OpenMode};
use crate::limits::{READ_BYTES_MAX, SMALL_FILE_BYTES_MAX};
use crate::planted::{self, Bug};
use crate::segment::name::{DELETED, TEMPORARY};
use crate::segment::store;
use crate::shard::Shard;

/// Replaces `dir/name`: after `Ok` its bytes are synced and the new name is in place, durable
/// with the next sync of the folder. Until then, and after `Err`, the old file or the new one is
/// there, never a mixture.
pub(crate) async fn replace<I: Io>(
    shard: &Shard<I>,
    dir: &Path,
    name: &str,
    bytes: &[u8],
) -> Result<(), IoFailure> {
    let temporary = prepare(shard, dir, name, bytes).await?;
    put(shard, dir, name, &temporary).await
}

/// The first half of [`replace`]: the new bytes, synced, in a temporary file, whose path this
/// gives. After `Err` nothing of it counts.
pub(crate) async fn prepare<I: Io>(
    shard: &Shard<I>,
    dir: &Path,
    name: &str,
    bytes: &[u8],
) -> Result<PathBuf, IoFailure> {
    let temporary = dir.join(format!("{name}{TEMPORARY}"));
    if let Err(failure) = write(shard, &temporary, bytes).await {
        // What is left of it is ignored and removed at the next open, should this fail too.
        let _ = shard.io().remove_file(&temporary).await;
        return Err(failure);
    }
    Ok(temporary)
}

/// The second half of [`replace`]: what was prepared takes the place of `dir/name`.
pub(crate) async fn put<I: Io>(
    shard: &Shard<I>,
    dir: &Path,
    name: &str,
    temporary: &Path,
) -> Result<(), IoFailure> {
    let path = dir.join(name);
    let renamed = shard.io().rename(temporary, &path).await;
    renamed.map_err(IoFailure::of(Operation::Rename, &path))
}

async fn write<I: Io>(shard: &Shard<I>, path: &Path, bytes: &[u8]) -> Result<(), IoFailure> {
    let file = store::open(shard, path, OpenMode::CreateBuffered).await?;
    let mut position = 0;
    for part in bytes.chunks(READ_BYTES_MAX) {
        let mut buffer = shard.acquire(part.len()).await;
        buffer.extend_from_slice(part);
        let written = file.write_at(buffer.freeze(), position, Durability::Written).await;
        written.map_err(IoFailure::of(Operation::Write, path))?;
        position += part.len() as u64;
    }
    if planted::active(Bug::RenameBeforeSync) {
        return Ok(());
    }
    file.sync().await.map_err(IoFailure::of(Operation::Sync, path))
}

/// Removes a file. Fine if it is not there.
pub(crate) async fn remove<I: Io>(shard: &Shard<I>, path: &Path) -> Result<(), IoFailure> {
    match shard.io().remove_file(path).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(IoFailure::of(Operation::Remove, path)(error))
        }
        _ => Ok(()),
    }
}

/// Makes the names in a folder durable.
pub(crate) async fn sync_dir<I: Io>(shard: &Shard<I>, dir: &Path) -> Result<(), IoFailure> {
    shard.io().sync_dir(dir).await.map_err(IoFailure::of(Operation::Sync, dir))
}

/// Makes a folder's own name durable, and the names in it.
pub(crate) async fn sync_dir_and_parent<I: Io>(
    shard: &Shard<I>,
    dir: &Path,
) -> Result<(), IoFailure> {
    if planted::active(Bug::SkipFolderSync) {
        return Ok(());
    }
    sync_dir(shard, dir).await?;
    match dir.parent() {
        Some(parent) => sync_dir(shard, parent).await,
        None => Ok(()),
    }
}

/// A whole small file; `None` if there is none, or one too large to be ours.
pub(crate) async fn read<I: Io>(
    shard: &Shard<I>,
    path: &Path,
) -> Result<Option<Vec<u8>>, IoFailure> {
    let file = match store::open(shard, path, OpenMode::ReadBuffered).await {
        Err(failure) if failure.kind == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let length = file.length().await.map_err(IoFailure::of(Operation::Read, path))?;
    if length > SMALL_FILE_BYTES_MAX {
        return Ok(None);
    }
    let length = usize::try_from(length).unwrap_or(0);
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let wanted = (length - bytes.len()).min(READ_BYTES_MAX);
        let buffer = shard.acquire(wanted).await;
        let (result, buffer) = file.read_at(buffer, bytes.len() as u64).await;
        result.map_err(IoFailure::of(Operation::Read, path))?;
        if buffer.is_empty() {
            break;
        }
        bytes.extend_from_slice(&buffer);
    }
    Ok(Some(bytes))
}

/// Removes files for good: first all get another name, which is made durable, so that none comes
/// back half; then the shard is left to [remove](crate::reclaim) them. Files that are not there are
/// skipped.
pub(crate) async fn remove_all<I: Io>(
    shard: &Shard<I>,
    dir: &Path,
    names: impl IntoIterator<Item = String>,
) -> Result<(), IoFailure> {
    let mut doomed: Vec<PathBuf> = Vec::new();
    for name in names {
        let (from, to) = (dir.join(&name), dir.join(format!("{name}{DELETED}")));
        shard.reclaim().leave(&to);
        match shard.io().rename(&from, &to).await {
            Ok(()) => doomed.push(to),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(IoFailure::of(Operation::Rename, &from)(error)),
        }
    }
    if doomed.is_empty() {
        return Ok(());
    }
    sync_dir(shard, dir).await?;
    shard.reclaim().add(shard.io(), doomed);
    Ok(())
}

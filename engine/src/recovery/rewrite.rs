//! Writing once more what a failed sync may have lost.

use std::ops::Range;
use std::path::Path;

use crate::error::{IoFailure, Operation};
use crate::io::{Durability, File, Io};
use crate::limits::{BLOCK, READ_BYTES_MAX};
use crate::shard::Shard;

/// Writes the bytes of `range` to where they are read from, so that the kernel takes them for new:
/// the next sync that succeeds has them on stable storage. What follows them in their last block
/// becomes zeros. Gives the position up to which the file reaches at least.
pub(super) async fn rewrite<I: Io>(
    shard: &Shard<I>,
    path: &Path,
    file: &I::File,
    range: Range<u64>,
) -> Result<u64, IoFailure> {
    let mut position = range.start - range.start % BLOCK as u64;
    while position < range.end {
        let length = usize::try_from(range.end - position).unwrap_or(usize::MAX);
        let length = length.min(READ_BYTES_MAX);
        let buffer = shard.acquire(length.next_multiple_of(BLOCK)).await;
        let (read, mut buffer) = file.read_at(buffer, position).await;
        read.map_err(IoFailure::of(Operation::Read, path))?;
        if buffer.len() < length {
            let ended = std::io::ErrorKind::UnexpectedEof.into();
            return Err(IoFailure::of(Operation::Read, path)(ended));
        }
        buffer.resize(length, 0);
        let written = file.write_at(buffer.freeze(), position, Durability::Written).await;
        written.map_err(IoFailure::of(Operation::Write, path))?;
        position += length as u64;
    }
    Ok(range.end.next_multiple_of(BLOCK as u64))
}

//! What is cut off a log's end is kept in a file of its own.
//!
//! ```text
//! 00000000000000004711.log              valid batches
//! 00000000000000004711.log.cut-81920    what stood behind byte 81920, up to the last byte
//!                                       that was not zero
//! 00000000000000004711.log.cut-81920-2  the same at a later time
//! ```
//!
//! The file holds the bytes as they were, nothing else. Nobody reads it but people; it may be
//! removed at any time, and goes when retention gives up its segment.

use std::path::{Path, PathBuf};

use crate::error::{IoFailure, Operation};
use crate::io::{Durability, File, Io, OpenMode};
use crate::limits::READ_BYTES_MAX;
use crate::offset::Offset;
use crate::segment::name::{Kind, TEMPORARY};
use crate::segment::scan::Scanner;
use crate::segment::store;
use crate::shard::Shard;
use crate::small_file;

/// Between a segment's name and the position.
const CUT: &str = ".cut-";

/// The base offset of the segment that a file with this name was cut off; `None` for the names of
/// all other files.
pub(super) fn segment_of(name: &str) -> Option<Offset> {
    let (segment, position) = name.split_once(CUT)?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match Kind::parse(segment)? {
        (Kind::Log, base) if position.splitn(2, '-').all(is_number) => Some(base),
        _ => None,
    }
}

/// A name for what is cut off segment `base` at `position`, none of those that are taken.
fn free_name(base: Offset, position: u64, taken: &[String]) -> String {
    let first = format!("{}{CUT}{position}", Kind::Log.name(base));
    let more = (2_u64..).map(|number| format!("{first}-{number}"));
    let mut names = std::iter::once(first.clone()).chain(more);
    names.find(|name| !taken.contains(name)).expect("the names do not end")
}

/// Copies what the scanner's file holds from its position to `end` into a file beside it.
///
/// After `Ok` that file and its name are durable. After `Err`, or a crash, it may be there or
/// not, but never in part.
pub(super) async fn save<I: Io>(
    shard: &Shard<I>,
    dir: &Path,
    base: Offset,
    scanner: &mut Scanner<I>,
    end: u64,
    taken: &[String],
) -> Result<PathBuf, IoFailure> {
    let name = free_name(base, scanner.position(), taken);
    let temporary = dir.join(format!("{name}{TEMPORARY}"));
    if let Err(failure) = copy(shard, dir, base, scanner, end, &temporary).await {
        // What is left of it is removed at the next open, should this fail too.
        let _ = shard.io().remove_file(&temporary).await;
        return Err(failure);
    }
    let path = dir.join(name);
    let renamed = shard.io().rename(&temporary, &path).await;
    renamed.map_err(IoFailure::of(Operation::Rename, &path))?;
    small_file::sync_dir(shard, dir).await?;
    Ok(path)
}

async fn copy<I: Io>(
    shard: &Shard<I>,
    dir: &Path,
    base: Offset,
    scanner: &mut Scanner<I>,
    end: u64,
    to: &Path,
) -> Result<(), IoFailure> {
    let file = store::open(shard, to, OpenMode::CreateBuffered).await?;
    let start = scanner.position();
    let mut position = start;
    while position < end {
        let left = usize::try_from(end - position).unwrap_or(usize::MAX).min(READ_BYTES_MAX);
        let from = Kind::Log.path(dir, base);
        let bytes = scanner.at(position, 1).await;
        let bytes = bytes.map_err(IoFailure::of(Operation::Read, &from))?;
        let piece = bytes.iter().take(left).copied().collect::<Vec<u8>>();
        if piece.is_empty() {
            let error = std::io::ErrorKind::UnexpectedEof.into();
            return Err(IoFailure::of(Operation::Read, &from)(error));
        }
        // Whoever waits for a buffer must not hold one.
        scanner.release();
        let mut buffer = shard.acquire(piece.len()).await;
        buffer.extend_from_slice(&piece);
        let written = file.write_at(buffer.freeze(), position - start, Durability::Written).await;
        written.map_err(IoFailure::of(Operation::Write, to))?;
        position += piece.len() as u64;
    }
    file.sync().await.map_err(IoFailure::of(Operation::Sync, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_of_which_segment_and_are_never_given_twice() {
        let base = Offset::new(4711).unwrap();
        let mut taken = Vec::new();
        for suffix in ["81920", "81920-2", "81920-3"] {
            let name = free_name(base, 81_920, &taken);
            assert_eq!(name, format!("00000000000000004711.log.cut-{suffix}"));
            assert_eq!(segment_of(&name), Some(base));
            taken.push(name);
        }
        for other in ["", "-", "1-", "-1", "1-2-3", "x", "1.tmp"] {
            assert_eq!(segment_of(&format!("00000000000000004711.log.cut-{other}")), None);
        }
        assert_eq!(segment_of("00000000000000004711.index.cut-1"), None);
        assert_eq!(segment_of("00000000000000004711.log"), None);
    }
}

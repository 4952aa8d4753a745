//! Walks a segment's batches in order, trusting nothing.

use std::io;

use crate::batch::{BatchHeader, HEADER_BYTES, checksum};
use crate::error::Damage;
use crate::io::Io;
use crate::limits::BATCH_BYTES_MAX;
use crate::offset::Offset;
use crate::segment::window::Window;
use crate::shard::Shard;

/// What stands at the scanner's position.
#[derive(Debug)]
pub(crate) enum Found {
    /// A valid batch, which begins at this position. The scanner has moved past it.
    Batch(BatchHeader, u64),
    /// The file's end, reached exactly.
    End,
    /// Something else. The scanner stays.
    Invalid(Damage),
}

/// Reads a segment front to back: length, format, checksum and offsets of every batch.
pub(crate) struct Scanner<I: Io> {
    window: Window<I>,
    length: u64,
    position: u64,
    expected: Offset,
}

impl<I: Io> Scanner<I> {
    /// A scanner for the first `length` bytes of `file`, from `position` on, where a batch of
    /// offset `expected` should begin.
    pub(crate) fn new(
        shard: &Shard<I>,
        file: I::File,
        length: u64,
        position: u64,
        expected: Offset,
    ) -> Self {
        Self { window: Window::new(shard, file), length, position, expected }
    }

    /// The offset the next batch should have.
    pub(crate) const fn expected(&self) -> Offset {
        self.expected
    }

    /// Checks the next batch and moves past it.
    pub(crate) async fn next(&mut self) -> io::Result<Found> {
        let available = self.length - self.position;
        if available == 0 {
            return Ok(Found::End);
        }
        let header_bytes = HEADER_BYTES as u64;
        if available < header_bytes {
            return Ok(Found::Invalid(Damage::Incomplete { needed: header_bytes, available }));
        }
        let header = match BatchHeader::read(self.at(self.position, HEADER_BYTES).await?) {
            Some(header) => header,
            None => {
                return Ok(Found::Invalid(Damage::Incomplete { needed: header_bytes, available }));
            }
        };
        let total = match plausible(&header, available) {
            Ok(total) => total,
            Err(damage) => return Ok(Found::Invalid(damage)),
        };
        let bytes = self.at(self.position, total).await?;
        if bytes.len() < total {
            let needed = total as u64;
            return Ok(Found::Invalid(Damage::Incomplete { needed, available }));
        }
        let actual = checksum(&bytes[..total]);
        if actual != header.checksum {
            return Ok(Found::Invalid(Damage::Checksum { stated: header.checksum, actual }));
        }
        let expected = self.expected;
        let Some(end) = header.end_offset().filter(|_| header.base_offset == expected.value())
        else {
            let found = header.base_offset;
            return Ok(Found::Invalid(Damage::OffsetGap { expected, found }));
        };
        let position = self.position;
        self.position += total as u64;
        self.expected = end;
        Ok(Found::Batch(header, position))
    }

    /// Whether nothing but zeros follows: space that was reserved and not used.
    pub(crate) async fn rest_is_zero(&mut self) -> io::Result<bool> {
        let mut position = self.position;
        while position < self.length {
            let bytes = self.at(position, 1).await?;
            if bytes.is_empty() {
                break;
            }
            if bytes.iter().any(|&byte| byte != 0) {
                return Ok(false);
            }
            position += bytes.len() as u64;
        }
        Ok(true)
    }

    /// The first valid batch of an offset above the expected one that begins at `from` or later,
    /// at whatever byte: its offset and position.
    pub(crate) async fn find_later(&mut self, from: u64) -> io::Result<Option<(i64, u64)>> {
        let mut position = from;
        while position + (HEADER_BYTES as u64) <= self.length {
            let expected = self.expected.value();
            let bytes = self.at(position, HEADER_BYTES).await?;
            let candidate = bytes.windows(HEADER_BYTES).enumerate().find_map(|(index, bytes)| {
                // The version byte rules most positions out at once.
                if bytes.get(16) != Some(&2) {
                    return None;
                }
                let header = BatchHeader::read(bytes)?;
                (header.base_offset > expected).then_some((index as u64, header))
            });
            let Some((index, header)) = candidate else {
                position += (bytes.len() - (HEADER_BYTES - 1)) as u64;
                continue;
            };
            position += index;
            if let Ok(total) = plausible(&header, self.length - position) {
                let bytes = self.at(position, total).await?;
                if bytes.get(..total).is_some_and(|batch| checksum(batch) == header.checksum) {
                    return Ok(Some((header.base_offset, position)));
                }
            }
            position += 1;
        }
        Ok(None)
    }

    /// The bytes from `position` on, at least `length` if the file has them.
    async fn at(&mut self, position: u64, length: usize) -> io::Result<&[u8]> {
        if self.window.from(position).len() < length {
            let left = usize::try_from(self.length - position).unwrap_or(usize::MAX);
            self.window.load(position, length.min(left), left).await?;
        }
        let bytes = self.window.from(position);
        let left = usize::try_from(self.length - position).unwrap_or(usize::MAX);
        Ok(&bytes[..bytes.len().min(left)])
    }
}

/// The whole length of a batch that may begin a stretch of `available` bytes.
pub(crate) fn plausible(header: &BatchHeader, available: u64) -> Result<usize, Damage> {
    let total = header
        .total_bytes()
        .filter(|&total| total <= BATCH_BYTES_MAX && header.magic == 2)
        .ok_or(Damage::NotABatch { length: header.length, magic: header.magic })?;
    let needed = total as u64;
    if needed > available { Err(Damage::Incomplete { needed, available }) } else { Ok(total) }
}

//! Walks a segment's batches in order, trusting nothing.

use std::io;

use crate::batch::{BatchHeader, CHECKSUMMED_FROM};
use crate::entry::{Format, HEADER_BYTES_MAX, HEADER_BYTES_MIN};
use crate::error::Damage;
use crate::io::Io;
use crate::limits::{BATCH_BYTES_MAX, CONTROL_BATCH_BYTES_MAX, SECTOR_BYTES};
use crate::offset::Offset;
use crate::planted::{self, Bug};
use crate::producer::Marker;
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

    /// Where the next batch should begin.
    pub(crate) const fn position(&self) -> u64 {
        self.position
    }

    /// Bytes of the file from the scanner's position on.
    pub(crate) const fn available(&self) -> u64 {
        self.length - self.position
    }

    /// Lets go of the scanner's buffer, for a caller that needs one of its own.
    pub(crate) fn release(&mut self) {
        self.window.release();
    }

    /// Checks the next batch and moves past it.
    pub(crate) async fn next(&mut self) -> io::Result<Found> {
        let available = self.length - self.position;
        if available == 0 {
            return Ok(Found::End);
        }
        let ahead = self.at(self.position, HEADER_BYTES_MAX).await?;
        let Some(header) = BatchHeader::read(ahead) else {
            let magic = ahead.get(MAGIC_AT).map(|magic| magic.cast_signed());
            let format = magic.and_then(Format::of_magic);
            let needed = format.map_or(HEADER_BYTES_MIN, Format::header_bytes) as u64;
            return Ok(Found::Invalid(Damage::Incomplete { needed, available }));
        };
        let total = match plausible(&header, available) {
            Ok(total) => total,
            Err(damage) => return Ok(Found::Invalid(damage)),
        };
        let Some(actual) = self.checksum(self.position, total).await? else {
            let needed = total as u64;
            return Ok(Found::Invalid(Damage::Incomplete { needed, available }));
        };
        if actual != header.checksum && !planted::active(Bug::SkipChecksumOnScan) {
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

    /// What a control batch that the scanner has just given says.
    pub(crate) async fn marker(
        &mut self,
        header: &BatchHeader,
        position: u64,
    ) -> io::Result<Option<Marker>> {
        let total = header.total_bytes().unwrap_or(usize::MAX);
        if !header.attributes.is_control() || total > CONTROL_BATCH_BYTES_MAX {
            return Ok(None);
        }
        Ok(Marker::read(self.at(position, total).await?))
    }

    /// Where the last byte that is not zero ends: what follows is space that was reserved and not
    /// used. The scanner's own position if nothing but zeros follows.
    pub(crate) async fn content_end(&mut self) -> io::Result<u64> {
        let (mut position, mut end) = (self.position, self.position);
        while position < self.length {
            let bytes = self.at(position, 1).await?;
            if bytes.is_empty() {
                break;
            }
            if let Some(last) = bytes.iter().rposition(|&byte| byte != 0) {
                end = position + last as u64 + 1;
            }
            position += bytes.len() as u64;
        }
        Ok(end)
    }

    /// The first valid batch of an offset above the expected one that begins at `from` or later,
    /// at whatever byte: its offset and position.
    pub(crate) async fn find_later(&mut self, from: u64) -> io::Result<Option<(i64, u64)>> {
        let mut position = from;
        while position + (HEADER_BYTES_MIN as u64) <= self.length {
            let expected = self.expected;
            let bytes = self.at(position, HEADER_BYTES_MAX).await?;
            let candidate =
                bytes.windows(HEADER_BYTES_MIN).enumerate().find_map(|(index, least)| {
                    // The magic byte rules most positions out at once.
                    Format::of_magic(least[MAGIC_AT].cast_signed())?;
                    let header = BatchHeader::read(&bytes[index..])?;
                    follows(&header, expected).then_some((index as u64, header))
                });
            let Some((index, header)) = candidate else {
                if bytes.len() < HEADER_BYTES_MAX {
                    break;
                }
                // A longer header may begin in what is too short for it: that is looked at again,
                // together with what follows.
                position += (bytes.len() - (HEADER_BYTES_MAX - 1)) as u64;
                continue;
            };
            position += index;
            if self.checks(position, &header).await? {
                return Ok(Some((header.base_offset, position)));
            }
            position += 1;
        }
        Ok(None)
    }

    /// Whether a valid batch of an offset above the expected one begins at `position`.
    pub(crate) async fn is_later_batch(&mut self, position: u64) -> io::Result<bool> {
        if position >= self.length {
            return Ok(false);
        }
        let header = BatchHeader::read(self.at(position, HEADER_BYTES_MAX).await?);
        match header.filter(|header| follows(header, self.expected)) {
            Some(header) => self.checks(position, &header).await,
            None => Ok(false),
        }
    }

    /// Whether the bytes at `position` are the batch that `header` begins.
    async fn checks(&mut self, position: u64, header: &BatchHeader) -> io::Result<bool> {
        match plausible(header, self.length - position) {
            Ok(total) => Ok(self.checksum(position, total).await? == Some(header.checksum)),
            Err(_) => Ok(false),
        }
    }

    /// What the checksum of a batch of `total` bytes at `position` should be; `None` if the file
    /// ends earlier. The batch need not fit into memory: nobody knows yet that it is one.
    pub(crate) async fn checksum(
        &mut self,
        position: u64,
        total: usize,
    ) -> io::Result<Option<u32>> {
        let mut from = position + CHECKSUMMED_FROM as u64;
        let end = position + total as u64;
        let mut sum = 0;
        while from < end {
            let bytes = self.at(from, 1).await?;
            let left = usize::try_from(end - from).unwrap_or(usize::MAX);
            let piece = &bytes[..bytes.len().min(left)];
            if piece.is_empty() {
                return Ok(None);
            }
            sum = crc32c::crc32c_append(sum, piece);
            from += piece.len() as u64;
        }
        Ok(Some(sum))
    }

    /// Whether the `total` bytes at `position` are all zero in a sector that holds at least `least`
    /// of them.
    pub(crate) async fn has_hole(
        &mut self,
        position: u64,
        total: usize,
        least: u64,
    ) -> io::Result<bool> {
        let mut from = position;
        let end = (position + total as u64).min(self.length);
        while from < end {
            let part = sector_end(from).min(end) - from;
            let part = usize::try_from(part).unwrap_or(SECTOR_BYTES);
            let bytes = self.at(from, part).await?;
            if part as u64 >= least && bytes.iter().take(part).all(|&byte| byte == 0) {
                return Ok(true);
            }
            from += part as u64;
        }
        Ok(false)
    }

    /// The bytes from `position` on, at least `length` if the file has them.
    pub(crate) async fn at(&mut self, position: u64, length: usize) -> io::Result<&[u8]> {
        if self.window.from(position).len() < length {
            let left = usize::try_from(self.length - position).unwrap_or(usize::MAX);
            self.window.load(position, length.min(left), left).await?;
        }
        let bytes = self.window.from(position);
        let left = usize::try_from(self.length - position).unwrap_or(usize::MAX);
        Ok(&bytes[..bytes.len().min(left)])
    }
}

/// Where an entry's magic byte stands.
pub(crate) const MAGIC_AT: usize = 16;

/// Where the sector that holds the byte at `position` ends.
pub(crate) const fn sector_end(position: u64) -> u64 {
    let sector = SECTOR_BYTES as u64;
    position - position % sector + sector
}

/// Whether a batch may come later in the same segment than one of offset `expected`.
fn follows(header: &BatchHeader, expected: Offset) -> bool {
    // All offsets of a segment lie within 31 bits of its base.
    let ahead = header.base_offset.checked_sub(expected.value());
    header.format().is_some()
        && ahead.is_some_and(|ahead| (1..=i64::from(i32::MAX)).contains(&ahead))
}

/// The whole length of a batch that may begin a stretch of `available` bytes.
pub(crate) fn plausible(header: &BatchHeader, available: u64) -> Result<usize, Damage> {
    let total = header
        .total_bytes()
        .filter(|&total| total <= BATCH_BYTES_MAX && header.format().is_some())
        .ok_or(Damage::NotABatch { length: header.length, magic: header.magic })?;
    let needed = total as u64;
    if needed > available { Err(Damage::Incomplete { needed, available }) } else { Ok(total) }
}

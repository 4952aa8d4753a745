//! Torn or rotten: whether a crash can have made a batch invalid.
//!
//! A crash tears a write at the borders of sectors, so of a torn batch every sector is
//!
//! - *new*: the write got there, and every byte of it is as it was meant;
//! - *old*: zeros from the batch on, because space past the written end never held anything else,
//!   and what stands before the batch in that sector was written before, in the same bytes;
//! - *garbage*, after a loss of power, in a sector that nobody ever wrote and synced.
//!
//! What fits none of these was written whole and has changed since. Two observations prove it:
//!
//! ```text
//! 1. small   |...AAAAAVVVVVV|VVVVBBBBBBBB...|      | borders of sectors
//!                       invalid ^ a valid batch begins where the invalid one says it ends
//!
//! 2. any     |...AAAAAVVVVVV|VVVVVVVVVVVVV|VVV0000...|
//!                                  ^ valid, but for one bit; no sector of it reads as zeros
//! ```
//!
//! 1. The sector in which the invalid bytes begin also holds the end of a valid batch `A`, or the
//!    beginning of one that follows, so it is no garbage. It holds something behind `A`, so it is
//!    not old. So it is new, and what it holds of the invalid batch's header is what was written:
//!    an impossible offset, length or version there is rot, and so is every fault of a batch that
//!    ends in this sector, or in the next one if that is proved new by the batch `B` behind it.
//! 2. Changing one bit makes the batch valid. An old sector does not leave that, for then the
//!    batch's part of it reads as zeros, and such batches are left out (unless that part is
//!    shorter than [`TELLING_BYTES`] and the bit is elsewhere: a batch that begins or ends just
//!    at a border may well have zeros there). Nor does garbage: that many bytes would have to
//!    agree by chance. What remains is a torn batch whose checksum happens to be off in just the
//!    way one bit turns it: one in 2^32 for each bit of the batch.
//!
//! Everything else may be a torn write.

use std::io;

use crate::batch::{BatchHeader, CHECKSUMMED_FROM};
use crate::entry::Format;
use crate::io::Io;
use crate::limits::{BATCH_BYTES_MAX, SECTOR_BYTES};
use crate::offset::Offset;
use crate::segment::scan::{Scanner, plausible, sector_end};
use crate::syndrome::bits_after;

/// Bytes that do not agree with a batch by chance.
const TELLING_BYTES: u64 = 8;

/// Zeros at the beginning of a batch, up to its version, that no few wrong bits make.
const HOLE_BYTES: usize = 17;

/// Whether the bytes at the scanner's position, which begin no valid batch, were written whole
/// and have changed since: no crash can have left them. `later` is where the first valid batch
/// behind them begins, if there is one.
///
/// `false` says nothing: it may be either. Costs a pass over the batch, and in the worst case one
/// for each bit of the length field.
pub(crate) async fn is_rotten<I: Io>(
    scanner: &mut Scanner<I>,
    later: Option<u64>,
) -> io::Result<bool> {
    let position = scanner.position();
    let Some(header) = BatchHeader::read(scanner.at(position, SECTOR_BYTES).await?) else {
        return Ok(false);
    };
    if first_sector_is_new(scanner, later).await? {
        let total = plausible(&header, scanner.available()).ok();
        let followed = match total {
            Some(total) => scanner.is_later_batch(position + total as u64).await?,
            None => false,
        };
        if contradicts(&header, position, scanner.expected(), total, followed) {
            return Ok(true);
        }
    }
    let Some((total, wrong_byte)) = one_bit_off(scanner, &header).await? else {
        return Ok(false);
    };
    let (at, end) = (position + wrong_byte as u64, position + total as u64);
    let part = sector_end(at).min(end) - (sector_end(at) - SECTOR_BYTES as u64).max(position);
    Ok(part >= TELLING_BYTES && !scanner.has_hole(position, total, TELLING_BYTES).await?)
}

/// Whether the sector at the scanner's position is neither old nor garbage.
async fn first_sector_is_new<I: Io>(
    scanner: &mut Scanner<I>,
    later: Option<u64>,
) -> io::Result<bool> {
    let position = scanner.position();
    let end = sector_end(position);
    let lead = position % SECTOR_BYTES as u64;
    let holds_later = later.is_some_and(|later| later + CHECKSUMMED_FROM as u64 <= end);
    if lead < TELLING_BYTES && !holds_later {
        return Ok(false);
    }
    let length = usize::try_from(end - position).unwrap_or(SECTOR_BYTES);
    let bytes = scanner.at(position, length).await?;
    // The redo of a journal puts single batches into a sector. A batch that should stand before
    // them, and was on its way here by itself, has left a hole.
    let is_hole = length >= HOLE_BYTES && bytes.iter().take(HOLE_BYTES).all(|&byte| byte == 0);
    if is_hole {
        return Ok(false);
    }
    // A single bit among zeros is a flipped bit in space that holds nothing.
    Ok(bytes.iter().take(length).map(|byte| byte.count_ones()).sum::<u32>() > 1)
}

/// Whether a header in a new sector, as far as that sector goes, is one that nobody wrote, or
/// begins an invalid batch that lies in new sectors only.
fn contradicts(
    header: &BatchHeader,
    position: u64,
    expected: Offset,
    total: Option<usize>,
    followed: bool,
) -> bool {
    let first_end = sector_end(position);
    let holds = |bytes: u64| position + bytes <= first_end;
    let bad_offset = holds(8) && header.base_offset != expected.value();
    let sensible = header.total_bytes().is_some_and(|total| total <= BATCH_BYTES_MAX);
    let bad_length = holds(12) && !sensible;
    let bad_version = holds(17) && header.format().is_none();
    if bad_offset || bad_length || bad_version {
        return true;
    }
    let Some(end) = total.map(|total| position + total as u64).filter(|_| holds(12)) else {
        return false;
    };
    let second_end = first_end + SECTOR_BYTES as u64;
    // The checksum of the batch behind is what proves its sector.
    let second_is_new = followed && end + CHECKSUMMED_FROM as u64 <= second_end;
    end <= first_end || (end < second_end && second_is_new)
}

/// The one bit that makes the bytes at the scanner's position a valid batch, if there is one: the
/// batch's whole length, and which of its bytes holds the bit.
async fn one_bit_off<I: Io>(
    scanner: &mut Scanner<I>,
    header: &BatchHeader,
) -> io::Result<Option<(usize, usize)>> {
    let (position, available) = (scanner.position(), scanner.available());
    let wrong_offset = header.base_offset ^ scanner.expected().value();
    let Some(format) = Format::nearest(header.magic) else { return Ok(None) };
    let wrong_version = header.magic ^ format.magic();
    let elsewhere = match (wrong_offset.count_ones(), wrong_version.count_ones()) {
        (0, 0) => None,
        (1, 0) => Some(7 - byte_of(wrong_offset.trailing_zeros())),
        (0, 1) => Some(16),
        _ => return Ok(None),
    };
    let right = BatchHeader { magic: format.magic(), ..*header };
    if let Ok(total) = plausible(&right, available)
        && let Some(actual) = scanner.checksum(position, total).await?
    {
        let syndrome = header.checksum ^ actual;
        let wrong = match elsewhere {
            Some(byte) => (syndrome == 0).then_some(byte),
            None if syndrome.count_ones() == 1 => {
                Some(CHECKSUMMED_FROM - 1 - byte_of(syndrome.trailing_zeros()))
            }
            None => bits_after(syndrome, 8 * (total - CHECKSUMMED_FROM))
                .map(|bits| total - 1 - bits / 8),
        };
        if let Some(byte) = wrong {
            return Ok(Some((total, byte)));
        }
    }
    if elsewhere.is_some() {
        return Ok(None);
    }
    for bit in 0..i32::BITS {
        let flipped = BatchHeader { length: header.length ^ (1 << bit), ..*header };
        let Ok(total) = plausible(&flipped, available) else { continue };
        if scanner.checksum(position, total).await? == Some(header.checksum) {
            return Ok(Some((total, 11 - byte_of(bit))));
        }
    }
    Ok(None)
}

/// Which byte of a number holds a bit, from the least significant.
const fn byte_of(bit: u32) -> usize {
    (bit / 8) as usize
}

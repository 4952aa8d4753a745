//! Taking whole, checked batches from bytes of a segment.

use super::ReadLimits;
use crate::batch::{BatchHeader, checksum};
use crate::error::Damage;
use crate::offset::Offset;
use crate::planted::{self, Bug};
use crate::segment::scan::plausible;

/// Batches that a read may give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gathered {
    /// Bytes of all of them; 0 if the first one does not fit.
    pub(super) length: usize,
    /// The offset after them.
    pub(super) end: Offset,
    /// Bytes of the largest one.
    pub(super) largest: usize,
    /// Whether they end because the bytes do: a batch that begins in them is not all there.
    pub(super) ran_out: bool,
}

impl Gathered {
    /// The same from bytes that nobody keeps: there is no piece to have run out.
    pub(super) const fn of_its_own(self) -> Self {
        Self { ran_out: false, ..self }
    }
}

/// The whole batches at the start of `bytes`, as far as the limits go; the first one's base offset
/// is `expected`. `left` are the bytes of the segment from there on, of which `bytes` need not be
/// all, and may be more.
///
/// Each batch is checked, and damage is an error if it is in the first one. Before any other, the
/// batches end: it is for the one who reads on from there.
pub(super) fn gather(
    bytes: &[u8],
    left: u64,
    expected: i64,
    limits: ReadLimits,
) -> Result<Gathered, Damage> {
    let left = usize::try_from(left).unwrap_or(usize::MAX);
    let bytes = &bytes[..bytes.len().min(left)];
    let mut end = Offset::new(expected).unwrap_or_default();
    let (mut length, mut largest, mut ran_out) = (0, 0, false);
    loop {
        let rest = &bytes[length..];
        let Some(header) = BatchHeader::read(rest) else {
            ran_out = true;
            break;
        };
        let total = match check(rest, (left - length) as u64, end, &header) {
            Ok(Some(total)) => total,
            Ok(None) => {
                ran_out = true;
                break;
            }
            Err(damage) if length == 0 => return Err(damage),
            Err(_) => break,
        };
        let is_visible = header.last_offset() < limits.visible_end.value();
        // A damaged header may say that its batch is not visible yet, and a reader that is given
        // nothing would wait for ever.
        let is_empty = !is_visible && length == 0;
        if !is_empty && (!is_visible || !limits.allow(length, total)) {
            break;
        }
        let actual = checksum(&rest[..total]);
        if actual != header.checksum && !planted::active(Bug::SkipChecksumOnRead) {
            if length == 0 {
                return Err(Damage::Checksum { stated: header.checksum, actual });
            }
            break;
        }
        if is_empty {
            break;
        }
        length += total;
        largest = largest.max(total);
        end = header.end_offset().unwrap_or(end);
    }
    Ok(Gathered { length, end, largest, ran_out })
}

/// Bytes of the batch that begins `rest`; `None` if it goes on behind it.
fn check(
    rest: &[u8],
    left: u64,
    expected: Offset,
    header: &BatchHeader,
) -> Result<Option<usize>, Damage> {
    let total = plausible(header, left)?;
    if header.base_offset != expected.value() || header.end_offset().is_none() {
        return Err(Damage::OffsetGap { expected, found: header.base_offset });
    }
    Ok((total <= rest.len()).then_some(total))
}

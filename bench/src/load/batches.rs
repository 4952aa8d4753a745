//! What a reader checks of the batches that it is given.

use crate::error::AnswerProblem;

const HEADER_BYTES: usize = 61;
const LENGTH_FROM: usize = 12;
const CRC_FROM: usize = 21;

/// One batch of a fetched partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchedBatch<'a> {
    /// All its bytes.
    pub bytes: &'a [u8],
    /// Records in it.
    pub records: u64,
    /// The offset after its last.
    pub end: i64,
}

/// The whole batches of a fetched partition, each of which must begin where the one before it
/// ended. A batch that is cut off at the end is left out, as every consumer does.
#[derive(Debug, Clone, Copy)]
pub struct Batches<'a> {
    rest: &'a [u8],
    partition: i32,
    next: i64,
    is_first_of_reader: bool,
    checks_crc: bool,
}

impl<'a> Batches<'a> {
    /// The batches in `records`, fetched from offset `next` on. The first batch that a reader
    /// ever gets may begin before the offset that it asked for.
    #[must_use]
    pub fn new(
        records: &'a [u8],
        partition: i32,
        next: i64,
        is_first_of_reader: bool,
        checks_crc: bool,
    ) -> Self {
        Self { rest: records, partition, next, is_first_of_reader, checks_crc }
    }

    fn split(&mut self) -> Result<Option<FetchedBatch<'a>>, &'static str> {
        let Some(header) = self.rest.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let stated = int(header, 8);
        let bytes = usize::try_from(stated).map_err(|_| "its length is negative")? + LENGTH_FROM;
        let Some((batch, after)) = self.rest.split_at_checked(bytes) else { return Ok(None) };
        let base = long(header, 0);
        let end = base.saturating_add(int(header, 23).into()).saturating_add(1);
        let follows = base == self.next;
        let holds = self.is_first_of_reader && base <= self.next && self.next < end;
        if !(follows || holds) || end <= base {
            return Err("the batch does not begin where the one before it ended");
        }
        let body = batch.get(CRC_FROM..).ok_or("it is shorter than its header")?;
        if self.checks_crc && crc32c::crc32c(body).to_be_bytes() != header[17..21] {
            return Err("the checksum is wrong");
        }
        let records = u64::try_from(int(header, 57)).map_err(|_| "its count is negative")?;
        self.rest = after;
        self.next = end;
        self.is_first_of_reader = false;
        Ok(Some(FetchedBatch { bytes: batch, records, end }))
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<FetchedBatch<'a>, AnswerProblem>;

    fn next(&mut self) -> Option<Self::Item> {
        let (partition, offset) = (self.partition, self.next);
        match self.split() {
            Ok(batch) => batch.map(Ok),
            Err(what) => {
                self.rest = &[];
                Some(Err(AnswerProblem::Batch { partition, offset, what }))
            }
        }
    }
}

fn int(header: &[u8; HEADER_BYTES], at: usize) -> i32 {
    header[at..].first_chunk().map_or(0, |bytes| i32::from_be_bytes(*bytes))
}

fn long(header: &[u8; HEADER_BYTES], at: usize) -> i64 {
    header[at..].first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::payload::Payload;

    fn stored(base: i64) -> Vec<u8> {
        let mut batch = Payload::new(100, 350).unwrap().bytes;
        batch[..8].copy_from_slice(&base.to_be_bytes());
        batch
    }

    fn ends(records: &[u8], next: i64, first: bool) -> Vec<Option<i64>> {
        Batches::new(records, 0, next, first, true).map(|b| b.ok().map(|b| b.end)).collect()
    }

    #[test]
    fn batches_in_a_row_are_given_and_a_cut_one_is_left_out() {
        let count = i64::from(Payload::new(100, 350).unwrap().records);
        assert!(count > 1);
        let mut bytes = stored(5);
        bytes.extend(stored(5 + count));
        assert_eq!(ends(&bytes, 5, false), [Some(5 + count), Some(5 + 2 * count)]);
        assert_eq!(ends(&bytes[..bytes.len() - 1], 5, false), [Some(5 + count)]);
        assert_eq!(ends(&bytes[..20], 5, false), []);
    }

    #[test]
    fn a_gap_and_a_repetition_are_found() {
        let mut bytes = stored(5);
        bytes.extend(stored(5));
        assert_eq!(ends(&bytes, 5, false).last(), Some(&None));
        assert_eq!(ends(&stored(6), 5, false), [None]);
        // Only the first fetch of all may land in the middle of a batch.
        assert!(ends(&stored(5), 6, true)[0].is_some());
        assert_eq!(ends(&stored(5), 6, false), [None]);
    }

    #[test]
    fn a_changed_byte_is_found_unless_that_is_switched_off() {
        let mut bytes = stored(5);
        *bytes.last_mut().unwrap() ^= 1;
        assert_eq!(ends(&bytes, 5, false), [None]);
        assert!(Batches::new(&bytes, 0, 5, false, false).all(|batch| batch.is_ok()));
    }
}

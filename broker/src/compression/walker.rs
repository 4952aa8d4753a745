//! A walk over the records of one batch in steps, whatever their codec.
//!
//! ```text
//! record = length varint, attributes i8, timestamp delta varlong, offset delta varint,
//!          key length varint (-1: null), key, value length varint (-1: null), value,
//!          header count varint, { key length varint, key, value length varint, value }*
//! ```

use ringlog_engine::limits::RECORD_HEADERS_MAX;

use super::{Compression, RecordsReader, WalkError};

/// Bytes of uncompressed records held at a time while a compressed section is walked.
const WINDOW_BYTES: usize = 16 * 1024;
/// The most bytes that the numbers at a record's start take: length 5, attributes 1, timestamp
/// delta 10, offset delta 5, key length 5.
const HEAD_BYTES_MAX: usize = 26;
/// The largest length that a record's format can state.
const RECORD_BYTES_MAX: usize = (1 << 31) - 1;

/// What a walk tells of each record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHead {
    /// The record's index in its batch.
    pub index: u32,
    /// Its offset minus the batch's base offset: its index, unless compaction took records.
    pub offset_delta: u32,
    /// Its timestamp minus the batch's base timestamp, in milliseconds.
    pub timestamp_delta: i64,
    /// Bytes of its key; `None` for a null key.
    pub key_bytes: Option<usize>,
}

/// How far a step came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There is more to walk.
    More,
    /// Every record was seen and nothing follows the last.
    Done,
}

/// Walks over the records of a producer's batch, checking each as it goes: every length, every
/// number, offset deltas of 0, 1, 2 and so on, nothing behind the last record.
///
/// An uncompressed section is read in place, without allocation or copy. A compressed one is
/// decompressed 16 KiB at a time, and keys and values are skipped, never gathered.
///
/// ```
/// use ringlog_broker::compression::{Compression, Progress, RecordWalker};
///
/// // One record: no key, value "v".
/// let body = [16, 0, 0, 0, 1, 4, b'v', b'w', 0];
/// let mut walker = RecordWalker::new(Compression::None, &body, 1, 1024)?;
/// let mut seen = 0;
/// while walker.step(64 * 1024, |_| seen += 1)? == Progress::More {}
/// assert_eq!(seen, 1);
/// # Ok::<(), ringlog_broker::compression::WalkError>(())
/// ```
pub struct RecordWalker<'a> {
    walk: Walk<'a>,
}

enum Walk<'a> {
    Plain(Walker<Plain<'a>>),
    Streamed(Walker<Streamed<'a>>),
}

impl<'a> RecordWalker<'a> {
    /// A walk over `body`, the bytes that follow a batch's header, whose header states `count`
    /// records. The section may have at most `limit_bytes` bytes when uncompressed.
    ///
    /// # Errors
    ///
    /// [`WalkError::Decompress`] if the codec's state cannot be made.
    pub fn new(
        codec: Compression,
        body: &'a [u8],
        count: u32,
        limit_bytes: usize,
    ) -> Result<Self, WalkError> {
        Self::begin(codec, body, count, Deltas::Dense, limit_bytes)
    }

    /// A walk over the records of a batch as a log holds it: compaction may have taken some, so
    /// that offset deltas only increase, up to `last_offset_delta`.
    ///
    /// # Errors
    ///
    /// As [`RecordWalker::new`].
    pub fn stored(
        codec: Compression,
        body: &'a [u8],
        count: u32,
        last_offset_delta: i32,
        limit_bytes: usize,
    ) -> Result<Self, WalkError> {
        let deltas = Deltas::Sparse { min: 0, max: last_offset_delta };
        Self::begin(codec, body, count, deltas, limit_bytes)
    }

    fn begin(
        codec: Compression,
        body: &'a [u8],
        count: u32,
        deltas: Deltas,
        limit_bytes: usize,
    ) -> Result<Self, WalkError> {
        let walk = match codec {
            Compression::None if body.len() <= limit_bytes => {
                Walk::Plain(Walker::new(Plain { rest: body }, count, deltas))
            }
            _ => {
                let reader = RecordsReader::new(codec, body, limit_bytes)?;
                let window = vec![0; WINDOW_BYTES];
                Walk::Streamed(Walker::new(
                    Streamed { reader, window, start: 0, end: 0, ended: false },
                    count,
                    deltas,
                ))
            }
        };
        Ok(Self { walk })
    }

    /// Walks on over about `max_bytes` bytes of uncompressed records (at least one field, and at
    /// most 16 KiB more than asked), calling `visit` for each record whose start it passes. Never
    /// suspends.
    ///
    /// # Errors
    ///
    /// Every [`WalkError`]. After an error or [`Progress::Done`] the walk is over.
    pub fn step(
        &mut self,
        max_bytes: usize,
        mut visit: impl FnMut(RecordHead),
    ) -> Result<Progress, WalkError> {
        match &mut self.walk {
            Walk::Plain(walker) => walker.step(max_bytes, &mut visit),
            Walk::Streamed(walker) => walker.step(max_bytes, &mut visit),
        }
    }
}

/// Where the bytes of the records come from.
trait Source {
    /// The bytes at hand.
    fn window(&self) -> &[u8];
    /// Drops bytes from the window's front; at most as many as it has.
    fn consume(&mut self, count: usize);
    /// Adds to the window, until it has at least `wanted` bytes or the section has ended.
    fn refill(&mut self, wanted: usize) -> Result<(), WalkError>;
}

struct Plain<'a> {
    rest: &'a [u8],
}

impl Source for Plain<'_> {
    #[inline]
    fn window(&self) -> &[u8] {
        self.rest
    }

    #[inline]
    fn consume(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or_default();
    }

    #[inline]
    fn refill(&mut self, _wanted: usize) -> Result<(), WalkError> {
        Ok(())
    }
}

struct Streamed<'a> {
    reader: RecordsReader<'a>,
    window: Vec<u8>,
    start: usize,
    end: usize,
    ended: bool,
}

impl Source for Streamed<'_> {
    fn window(&self) -> &[u8] {
        self.window.get(self.start..self.end).unwrap_or_default()
    }

    fn consume(&mut self, count: usize) {
        self.start = self.end.min(self.start + count);
    }

    fn refill(&mut self, wanted: usize) -> Result<(), WalkError> {
        self.window.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while self.end < wanted && !self.ended {
            let room = self.window.get_mut(self.end..).unwrap_or_default();
            let count = self.reader.read(room)?;
            self.end += count;
            self.ended = count == 0;
        }
        Ok(())
    }
}

/// Which field comes next.
#[derive(Debug, Clone, Copy)]
enum Field {
    Head,
    ValueLength,
    HeaderCount,
    HeaderKeyLength { headers_left: u32 },
    HeaderValueLength { headers_left: u32 },
}

/// Which offset deltas the records may have.
#[derive(Debug, Clone, Copy)]
enum Deltas {
    /// Each its record's index.
    Dense,
    /// Increasing ones: `min` is the smallest that may come next.
    Sparse { min: i32, max: i32 },
}

impl Deltas {
    /// Whether `found` may be the offset delta of the record at `index`.
    fn allow(self, index: u32, found: i32) -> bool {
        match self {
            Self::Dense => u32::try_from(found) == Ok(index),
            Self::Sparse { min, max } => (min..=max).contains(&found),
        }
    }
}

struct Walker<S> {
    source: S,
    field: Field,
    count: u32,
    deltas: Deltas,
    index: u32,
    /// Bytes of a key or value still to be passed over.
    skip: usize,
    /// Bytes of the current record after what was read, those to be skipped included.
    record_left: usize,
}

impl<S: Source> Walker<S> {
    fn new(source: S, count: u32, deltas: Deltas) -> Self {
        Self { source, field: Field::Head, count, deltas, index: 0, skip: 0, record_left: 0 }
    }

    fn step(
        &mut self,
        max_bytes: usize,
        visit: &mut impl FnMut(RecordHead),
    ) -> Result<Progress, WalkError> {
        let mut budget = max_bytes;
        loop {
            if self.skip > 0 {
                let passed = self.pass_over()?;
                budget = budget.saturating_sub(passed);
            } else if self.index == self.count {
                return self.finish();
            } else {
                let taken = self.take_field(visit)?;
                budget = budget.saturating_sub(taken);
            }
            if budget == 0 {
                return Ok(Progress::More);
            }
        }
    }

    fn finish(&mut self) -> Result<Progress, WalkError> {
        self.source.refill(1)?;
        if self.source.window().is_empty() {
            Ok(Progress::Done)
        } else {
            Err(WalkError::TrailingBytes { count: self.count })
        }
    }

    fn pass_over(&mut self) -> Result<usize, WalkError> {
        if self.source.window().is_empty() {
            self.source.refill(1)?;
        }
        let passed = self.skip.min(self.source.window().len());
        if passed == 0 {
            return Err(self.truncated());
        }
        self.source.consume(passed);
        self.skip -= passed;
        self.record_left -= passed;
        Ok(passed)
    }

    /// Reads the next field, and gives the bytes it took.
    fn take_field(&mut self, visit: &mut impl FnMut(RecordHead)) -> Result<usize, WalkError> {
        if self.source.window().len() < HEAD_BYTES_MAX {
            self.source.refill(HEAD_BYTES_MAX)?;
        }
        let index = self.index;
        let mut cursor = Cursor { rest: self.source.window(), record: index, count: self.count };
        let before = cursor.rest.len();
        let (next, skip, record_left) = match self.field {
            Field::Head => {
                let (head, left) = cursor.head(self.deltas)?;
                if let Deltas::Sparse { min, .. } = &mut self.deltas {
                    *min = i32::try_from(head.offset_delta).unwrap_or(i32::MAX).saturating_add(1);
                }
                visit(head);
                (Field::ValueLength, head.key_bytes.unwrap_or(0), left)
            }
            Field::ValueLength => {
                let (bytes, left) = cursor.bytes("value length", -1, self.record_left)?;
                (Field::HeaderCount, bytes.unwrap_or(0), left)
            }
            Field::HeaderCount => {
                let (headers_left, left) = cursor.header_count(self.record_left)?;
                (Field::HeaderKeyLength { headers_left }, 0, left)
            }
            Field::HeaderKeyLength { headers_left } => {
                let (bytes, left) = cursor.bytes("header key length", 0, self.record_left)?;
                (Field::HeaderValueLength { headers_left }, bytes.unwrap_or(0), left)
            }
            Field::HeaderValueLength { headers_left } => {
                let (bytes, left) = cursor.bytes("header value length", -1, self.record_left)?;
                let headers_left = headers_left - 1;
                (Field::HeaderKeyLength { headers_left }, bytes.unwrap_or(0), left)
            }
        };
        let taken = before - cursor.rest.len();
        self.source.consume(taken);
        (self.field, self.skip, self.record_left) = (next, skip, record_left);
        if matches!(next, Field::HeaderKeyLength { headers_left: 0 }) {
            if record_left != skip {
                return Err(WalkError::RecordLength { record: index, left: record_left - skip });
            }
            self.field = Field::Head;
            self.index += 1;
        }
        Ok(taken)
    }

    fn truncated(&self) -> WalkError {
        // The last value of a record is skipped after the index has moved on.
        let record = if matches!(self.field, Field::Head) { self.index - 1 } else { self.index };
        WalkError::Truncated { record, count: self.count }
    }
}

/// Reads numbers off the window's front.
struct Cursor<'a> {
    rest: &'a [u8],
    record: u32,
    count: u32,
}

impl Cursor<'_> {
    /// The numbers up to the key, and the bytes of the record after them.
    #[inline]
    fn head(&mut self, deltas: Deltas) -> Result<(RecordHead, usize), WalkError> {
        let record = self.record;
        let length = self.varint("length")?;
        let left = usize::try_from(length).map_err(|_| WalkError::Length {
            record,
            field: "length",
            length,
            minimum: 0,
            left: RECORD_BYTES_MAX,
        })?;
        let start = self.rest.len();
        let Some((_attributes, rest)) = self.rest.split_first() else {
            return Err(self.truncated());
        };
        self.rest = rest;
        let timestamp_delta = self.varlong("timestamp delta")?;
        let found = self.varint("offset delta")?;
        let offset_delta = u32::try_from(found)
            .ok()
            .filter(|_| deltas.allow(record, found))
            .ok_or(WalkError::OffsetDelta { record, found })?;
        let left = self.spend(left, start - self.rest.len(), "length", length)?;
        let (key_bytes, left) = self.bytes("key length", -1, left)?;
        Ok((RecordHead { index: record, offset_delta, timestamp_delta, key_bytes }, left))
    }

    /// A length that may be -1 for null where `minimum` says so, and what it leaves of the record
    /// (the bytes that it announces are still among those left).
    #[inline]
    fn bytes(
        &mut self,
        field: &'static str,
        minimum: i32,
        left: usize,
    ) -> Result<(Option<usize>, usize), WalkError> {
        let before = self.rest.len();
        let length = self.varint(field)?;
        let left = self.spend(left, before - self.rest.len(), field, length)?;
        if length == -1 && minimum == -1 {
            return Ok((None, left));
        }
        match usize::try_from(length) {
            Ok(bytes) if bytes <= left => Ok((Some(bytes), left)),
            _ => Err(WalkError::Length { record: self.record, field, length, minimum, left }),
        }
    }

    #[inline]
    fn header_count(&mut self, left: usize) -> Result<(u32, usize), WalkError> {
        let field = "header count";
        let before = self.rest.len();
        let length = self.varint(field)?;
        let left = self.spend(left, before - self.rest.len(), field, length)?;
        match u32::try_from(length) {
            // A header takes two bytes at least.
            Ok(count) if length_within(count, left / 2) => Ok((count, left)),
            _ => Err(WalkError::Length {
                record: self.record,
                field,
                length,
                minimum: 0,
                left: RECORD_HEADERS_MAX.min(left / 2),
            }),
        }
    }

    #[inline]
    fn spend(
        &self,
        left: usize,
        taken: usize,
        field: &'static str,
        length: i32,
    ) -> Result<usize, WalkError> {
        left.checked_sub(taken).ok_or(WalkError::Length {
            record: self.record,
            field,
            length,
            minimum: 0,
            left,
        })
    }

    #[inline]
    fn varint(&mut self, field: &'static str) -> Result<i32, WalkError> {
        // Most numbers of a record fit one byte.
        if let Some((&byte, rest)) = self.rest.split_first()
            && byte < 0x80
        {
            self.rest = rest;
            return Ok(i32::from(byte >> 1) ^ -i32::from(byte & 1));
        }
        let value = self.varlong(field)?;
        i32::try_from(value).map_err(|_| WalkError::Varint { record: self.record, field })
    }

    #[inline]
    fn varlong(&mut self, field: &'static str) -> Result<i64, WalkError> {
        let mut bits = 0_u64;
        for shift in (0..70).step_by(7) {
            let Some((&byte, rest)) = self.rest.split_first() else {
                return Err(self.truncated());
            };
            self.rest = rest;
            if shift == 63 && byte > 1 {
                break;
            }
            bits |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((bits >> 1).cast_signed() ^ -(bits & 1).cast_signed());
            }
        }
        Err(WalkError::Varint { record: self.record, field })
    }

    fn truncated(&self) -> WalkError {
        WalkError::Truncated { record: self.record, count: self.count }
    }
}

fn length_within(count: u32, most: usize) -> bool {
    usize::try_from(count).is_ok_and(|count| count <= most.min(RECORD_HEADERS_MAX))
}

//! The catalog: what the sealed segments are, so that opening a log need not look into them.
//!
//! The file `ringlog.segments` is replaced as a whole whenever a segment is sealed:
//!
//! ```text
//! 0       4         8       12
//! | magic | version | count | segments ... | crc |
//! segment: base i64 · end i64 · size u64 · latest known u8 · latest i64 · relative u32 · indexes u32
//! ```
//!
//! All numbers are big endian. `latest` is the largest timestamp, and the last offset of the batch
//! with it minus the base. `indexes` is a checksum over the files of both indexes, which have none
//! themselves; 0 if it is not known.
//!
//! An entry is believed if the segment's file has just that size and the next segment begins just
//! where it ends. The catalog is written while the segment it adds is complete and before the next
//! one's file is made, so an entry of a segment that has a successor is never older than the
//! segment. One that is missing or does not fit costs a look into the segment, nothing else; so a
//! catalog that does not check is no error.

use crate::decode::take;
use crate::offset::{Offset, Timestamp};
use crate::segment::active::Summary;
use crate::segment::sealed::{IndexSum, Sealed};

/// The catalog's file name.
pub(crate) const NAME: &str = "ringlog.segments";

const MAGIC: u32 = 0x524c_5347;
const VERSION: u32 = 2;

/// What the catalog says of one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) base: Offset,
    pub(crate) end: Offset,
    /// The file's exact length in bytes.
    pub(crate) size: u64,
    /// The largest timestamp and the last offset of the batch with it.
    pub(crate) latest: Option<(Timestamp, Offset)>,
    /// What its indexes' files should hold, if that is known.
    pub(crate) indexes: Option<IndexSum>,
}

impl Entry {
    pub(crate) fn of_sealed(segment: &Sealed) -> Self {
        let &Sealed { base, end, size, indexes, .. } = segment;
        let latest = segment.latest();
        Self { base, end, size, latest, indexes }
    }

    pub(crate) fn of_summary(summary: &Summary, indexes: Option<IndexSum>) -> Self {
        let &Summary { base, end, size, latest, .. } = summary;
        let latest = latest.map(|(time, at)| (time, base.plus(at)));
        Self { base, end, size, latest, indexes }
    }
}

/// What the catalog's file holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Catalog {
    entries: Vec<Entry>,
}

impl FromIterator<Entry> for Catalog {
    fn from_iter<T: IntoIterator<Item = Entry>>(entries: T) -> Self {
        Self { entries: entries.into_iter().collect() }
    }
}

impl Catalog {
    /// What is known of the segment that begins at `base` and has `size` bytes, if the next one
    /// begins at `next`.
    pub(crate) fn find(&self, base: Offset, size: u64, next: Offset) -> Option<&Entry> {
        let at = self.entries.binary_search_by_key(&base, |entry| entry.base).ok()?;
        self.entries.get(at).filter(|entry| entry.size == size && entry.end == next)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&MAGIC.to_be_bytes());
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        // Each is a file of the folder, so their number fits.
        let count = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&count.to_be_bytes());
        for entry in &self.entries {
            bytes.extend_from_slice(&entry.base.value().to_be_bytes());
            bytes.extend_from_slice(&entry.end.value().to_be_bytes());
            bytes.extend_from_slice(&entry.size.to_be_bytes());
            bytes.push(u8::from(entry.latest.is_some()));
            let (time, at) = entry.latest.map_or((0, entry.base), |(time, at)| (time.millis(), at));
            bytes.extend_from_slice(&time.to_be_bytes());
            // All offsets of a segment lie within 31 bits of its base.
            let relative = u32::try_from(at.since(entry.base)).unwrap_or(0);
            bytes.extend_from_slice(&relative.to_be_bytes());
            bytes.extend_from_slice(&IndexSum::number(entry.indexes).to_be_bytes());
        }
        let sum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// The catalog in a file's bytes; `None` if they are none.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (content, sum) = bytes.split_last_chunk::<4>()?;
        if crc32c::crc32c(content) != u32::from_be_bytes(*sum) {
            return None;
        }
        let mut rest = content;
        let magic = u32::from_be_bytes(take(&mut rest)?);
        let version = u32::from_be_bytes(take(&mut rest)?);
        if (magic, version) != (MAGIC, VERSION) {
            return None;
        }
        let count = u32::from_be_bytes(take(&mut rest)?);
        let mut entries: Vec<Entry> = Vec::new();
        for _ in 0..count {
            let base = Offset::new(i64::from_be_bytes(take(&mut rest)?))?;
            let end = Offset::new(i64::from_be_bytes(take(&mut rest)?))?;
            let size = u64::from_be_bytes(take(&mut rest)?);
            let [known] = take(&mut rest)?;
            let time = Timestamp::from_millis(i64::from_be_bytes(take(&mut rest)?));
            let relative = u32::from_be_bytes(take(&mut rest)?);
            let indexes = IndexSum::from_number(u32::from_be_bytes(take(&mut rest)?));
            let follows = entries.last().is_none_or(|last| last.end <= base);
            if end <= base || !follows {
                return None;
            }
            let latest = (known == 1).then(|| (time, base.plus(relative)));
            entries.push(Entry { base, end, size, latest, indexes });
        }
        rest.is_empty().then_some(Self { entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catalog_survives_the_trip_and_every_flipped_bit_is_noticed() {
        let at = |value| Offset::new(value).unwrap();
        let latest = Some((Timestamp::from_millis(77), at(15)));
        let indexes = Some(IndexSum::of(b"offsets", b"times"));
        let catalog = Catalog::from_iter([
            Entry { base: at(10), end: at(20), size: 4_000, latest, indexes },
            Entry { base: at(20), end: at(25), size: 300, latest: None, indexes: None },
        ]);
        let bytes = catalog.encode();
        let read = Catalog::decode(&bytes).unwrap();
        assert_eq!(read, catalog);
        assert_eq!(read.find(at(10), 4_000, at(20)).unwrap().latest, latest);
        assert_eq!(read.find(at(10), 4_001, at(20)), None);
        assert_eq!(read.find(at(10), 4_000, at(21)), None);
        assert_eq!(read.find(at(11), 4_000, at(20)), None);
        for at in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[at] ^= 1;
            assert_eq!(Catalog::decode(&broken), None);
            assert_eq!(Catalog::decode(&bytes[..at]), None);
        }
    }
}

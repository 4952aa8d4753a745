//! What a transaction coordinator writes into a log to end a transaction.

use crate::batch::{BatchHeader, HEADER_BYTES, RecordIter};

/// How a transaction ended: the content of a control batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marker {
    /// Its records do not count.
    Abort,
    /// Its records count.
    Commit,
}

impl Marker {
    /// The marker in a whole batch; `None` if the batch holds none: because it is no control
    /// batch, is one of another kind, or compaction has emptied it.
    ///
    /// The key of a control record is a version and a type, both 16-bit numbers.
    #[must_use]
    pub fn read(batch: &[u8]) -> Option<Self> {
        let header = BatchHeader::read(batch)?;
        if !header.attributes.is_control() {
            return None;
        }
        let count = u32::try_from(header.record_count).ok()?;
        let body = batch.get(HEADER_BYTES..header.total_bytes()?)?;
        let record = RecordIter::sparse(body, count, header.last_offset_delta).next()?.ok()?;
        match *record.key? {
            [_, _, 0, 0, ..] => Some(Self::Abort),
            [_, _, 0, 1, ..] => Some(Self::Commit),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Attributes, BatchBuilder, BatchOptions, ProducerId};
    use crate::offset::Timestamp;

    fn control(is_control: bool, key: &[u8]) -> Vec<u8> {
        let attributes = Attributes::default().with_transactional(true).with_control(is_control);
        let mut builder = BatchBuilder::new(BatchOptions {
            attributes,
            producer_id: ProducerId::new(7),
            producer_epoch: 0,
            base_sequence: -1,
        });
        builder.push(Timestamp::from_millis(1), Some(key), Some(&[0, 0, 0, 0, 0, 0]), &[]);
        builder.finish().unwrap()
    }

    #[test]
    fn the_type_in_a_control_records_key_is_read_and_others_are_not_markers() {
        assert_eq!(Marker::read(&control(true, &[0, 0, 0, 0])), Some(Marker::Abort));
        assert_eq!(Marker::read(&control(true, &[0, 0, 0, 1])), Some(Marker::Commit));
        assert_eq!(Marker::read(&control(true, &[0, 0, 0, 2])), None);
        assert_eq!(Marker::read(&control(true, &[0, 0])), None);
        assert_eq!(Marker::read(&control(false, &[0, 0, 0, 1])), None);
        assert_eq!(Marker::read(&control(true, &[0, 0, 0, 1])[..70]), None);
    }
}

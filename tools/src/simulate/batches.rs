//! The batches that a simulation appends: small to describe, each unlike all others.

use std::sync::LazyLock;

use ringlog_engine::batch::{Attributes, BatchBuilder, BatchError, BatchOptions, ProducerId};
use ringlog_engine::offset::Timestamp;
use ringlog_engine::producer::Marker;

use super::history::{Shape, TableSetup};
use super::random::Random;

/// Bytes that values are cut from.
static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut random = Random::new(0x004e_4f49_5345);
    (0..8 * 1024).flat_map(|_| random.next().to_le_bytes()).collect()
});

/// What the records of a log are like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    keys: u64,
    tombstone_percent: u64,
    keyless_percent: u64,
    /// How far the times of a batch's records lie apart.
    spread_ms: u64,
    is_transactional: bool,
}

impl Style {
    /// Records of a log that is not compacted.
    pub(crate) const PLAIN: Self = Self {
        keys: 8,
        tombstone_percent: 0,
        keyless_percent: 0,
        spread_ms: 0,
        is_transactional: false,
    };

    pub(crate) fn of(table: Option<&TableSetup>, producer: Option<u32>) -> Self {
        table.map_or(Self::PLAIN, |table| Self {
            keys: table.keys,
            tombstone_percent: table.tombstone_percent,
            keyless_percent: table.keyless_percent,
            spread_ms: 20,
            is_transactional: table.has_transactions && producer.is_some_and(|number| number > 0),
        })
    }
}

/// A producer's place in its sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sequenced {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
    pub(crate) first: i32,
    pub(crate) last: i32,
}

impl Sequenced {
    /// Whether it is of a marker, which has no place in the sequence.
    pub(crate) const fn is_marker(self) -> bool {
        self.first < 0
    }
}

/// A batch's bytes. Their number depends on `number`, `shape` and `style` alone.
pub(crate) fn build(
    number: u64,
    shape: Shape,
    time: Timestamp,
    sequenced: Option<Sequenced>,
    style: Style,
) -> Result<Vec<u8>, BatchError> {
    let options = sequenced.map_or_else(BatchOptions::default, |sequenced| BatchOptions {
        attributes: Attributes::default().with_transactional(style.is_transactional),
        producer_id: ProducerId::new(sequenced.id),
        producer_epoch: sequenced.epoch,
        base_sequence: sequenced.first,
    });
    let mut builder = BatchBuilder::new(options);
    let mut value = Vec::new();
    for index in 0..u64::from(shape.records) {
        let mut chance = Random::new(number * 64 + index);
        let random = chance.next();
        value.clear();
        value.extend_from_slice(&number.to_be_bytes());
        let length = usize::try_from(shape.bytes).unwrap_or(0).min(NOISE.len() / 2);
        let from = usize::try_from(random % (NOISE.len() as u64 / 2)).unwrap_or(0);
        value.extend_from_slice(&NOISE[from..from + length]);
        let key = (random % style.keys).to_be_bytes();
        let key = (!chance.percent(style.keyless_percent)).then_some(key);
        let value = (!chance.percent(style.tombstone_percent)).then_some(&value);
        let later = i64::try_from(chance.below(style.spread_ms)).unwrap_or(0);
        let time = Timestamp::from_millis(time.millis() + later);
        builder.push(time, key.as_ref().map(<[u8; 8]>::as_slice), value.map(Vec::as_slice), &[]);
    }
    builder.finish()
}

/// A marker's bytes, as a transaction's coordinator writes them.
pub(crate) fn build_marker(
    id: i64,
    epoch: i16,
    marker: Marker,
    time: Timestamp,
) -> Result<Vec<u8>, BatchError> {
    let mut builder = BatchBuilder::new(BatchOptions {
        attributes: Attributes::default().with_transactional(true).with_control(true),
        producer_id: ProducerId::new(id),
        producer_epoch: epoch,
        base_sequence: -1,
    });
    let key = match marker {
        Marker::Abort => [0, 0, 0, 0],
        Marker::Commit => [0, 0, 0, 1],
    };
    // A version, and the coordinator's epoch.
    builder.push(time, Some(&key), Some(&[0; 6]), &[]);
    builder.finish()
}

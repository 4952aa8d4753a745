//! Fuzz targets for everything the engine decodes from a disk.
//!
//! Each target is an ordinary test that also runs under a coverage-guided fuzzer:
//!
//! ```text
//! cargo test -p ringlog-engine fuzz                         a second of random inputs a target
//! BOLERO_RANDOM_TEST_TIME_MS=60000 cargo test ... fuzz      a minute a target
//! bash .ci/fuzz journal_frame 60                            libFuzzer on one target, by coverage
//! ```
//!
//! The inputs in `__fuzz__/<target>/corpus` are tried first. An input is either a file as it is
//! found on disk, or a list of [`Choices`] from which a valid file is made and then damaged: random
//! bytes alone would not get past the first checksum.
//!
//! A target holds more than "no panic": decoders agree with a slow oracle that was written apart
//! from them, what is decoded encodes to the same bytes again, and no input makes a decoder allocate
//! out of proportion to its length ([`bounded`]).

mod batch;
mod epochs;
mod folder;
mod frame;
mod indexes;
mod journal;
mod manifest;
mod meter;
mod names;
mod scan;
mod snapshot;
mod state;

use crate::batch::{Attributes, BatchBuilder, BatchOptions, ProducerId};
use crate::offset::{Offset, Timestamp};

/// Decisions read off an input, byte by byte; zeros once it is used up.
struct Choices<'a> {
    rest: &'a [u8],
}

impl<'a> Choices<'a> {
    fn new(input: &'a [u8]) -> Self {
        Self { rest: input }
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *first
    }

    fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    fn u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        bytes.fill_with(|| self.byte());
        u64::from_be_bytes(bytes)
    }

    /// A number from 0 up to, but not including, `bound`.
    fn below(&mut self, bound: usize) -> usize {
        let value = u64::from(self.byte()) << 8 | u64::from(self.byte());
        usize::try_from(value).unwrap() % bound.max(1)
    }

    /// Any number, more often a small or an extreme one.
    fn i64(&mut self) -> i64 {
        match self.byte() {
            0..=127 => i64::from(self.byte()),
            128..=191 => i64::from(self.byte().cast_signed()),
            192..=199 => i64::MAX,
            200..=207 => i64::MIN,
            208..=215 => i64::from(i32::MAX),
            _ => self.u64().cast_signed(),
        }
    }

    fn i32(&mut self) -> i32 {
        self.i64().clamp(i64::from(i32::MIN), i64::from(i32::MAX)).try_into().unwrap()
    }

    fn bytes(&mut self, most: usize) -> &'a [u8] {
        let length = self.below(most + 1).min(self.rest.len());
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    fn offset(&mut self) -> Offset {
        Offset::new(self.i64() & i64::MAX).unwrap()
    }

    fn timestamp(&mut self) -> Timestamp {
        Timestamp::from_millis(self.i64())
    }

    /// A batch that passes every check, of up to four records.
    fn batch(&mut self) -> Vec<u8> {
        let producer = self.flag();
        let mut builder = BatchBuilder::new(BatchOptions {
            attributes: Attributes::default().with_transactional(self.flag()),
            producer_id: if producer {
                ProducerId::new(self.i64() & i64::MAX)
            } else {
                ProducerId::NONE
            },
            producer_epoch: if producer { i16::from(self.byte()) } else { -1 },
            base_sequence: if producer { self.i32() & i32::MAX } else { -1 },
        });
        for _ in 0..=self.below(4) {
            let (key, value) = (self.flag(), self.flag());
            let key = key.then(|| self.bytes(40));
            let value = value.then(|| self.bytes(900));
            let header = self.bytes(8);
            let headers = [("name", Some(header)), ("none", None)];
            let count = self.below(3);
            builder.push(self.timestamp(), key, value, &headers[..count]);
        }
        builder.finish().unwrap()
    }

    /// Changes up to four places of `bytes`: bits, bytes, numbers, cuts, growth, moved pieces.
    /// Says whether anything is different now.
    fn damage(&mut self, bytes: &mut Vec<u8>) -> bool {
        let before = bytes.clone();
        for _ in 0..=self.below(4) {
            let at = self.place(bytes.len());
            match self.byte() % 8 {
                0 => return *bytes != before,
                1 => {
                    let bit = self.byte() % 8;
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << bit;
                    }
                }
                2 => {
                    let value = self.byte();
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = value;
                    }
                }
                3 => {
                    let value = self.i64().to_be_bytes();
                    let width = [1, 2, 4, 8][self.below(4)];
                    let end = (at + width).min(bytes.len());
                    let part = &value[8 - width..][..end - at];
                    bytes[at..end].copy_from_slice(part);
                }
                4 => bytes.truncate(at),
                5 => bytes.extend_from_slice(self.bytes(64)),
                6 => {
                    let end = (at + self.place(512)).min(bytes.len());
                    bytes[at..end].fill(0);
                }
                _ => {
                    let from = self.place(bytes.len());
                    let length = self.place(512).min(bytes.len() - at.max(from));
                    bytes.copy_within(from..from + length, at);
                }
            }
        }
        *bytes != before
    }

    /// A place below `length`, or 0.
    fn place(&mut self, length: usize) -> usize {
        let value = usize::try_from(self.u64() >> 32).unwrap();
        value % length.max(1)
    }
}

/// Runs `decode` and holds it to memory in proportion to its input: at most `factor` bytes for each
/// of the input's, and a page.
fn bounded<T>(input: usize, factor: usize, decode: impl FnOnce() -> T) -> T {
    let (value, peak) = meter::peak(decode);
    let most = input * factor + 4096;
    assert!(peak <= most, "{peak} bytes allocated for an input of {input}; {most} are allowed");
    value
}

/// CRC-32C, bit by bit.
fn slow_crc32c(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for &byte in bytes {
        sum ^= u32::from(byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ 0x82f6_3b78 } else { sum >> 1 };
        }
    }
    !sum
}

/// Replaces the last four bytes by the checksum of what stands before them.
fn seal(bytes: &mut [u8]) {
    if let Some((content, sum)) = bytes.split_last_chunk_mut::<4>() {
        *sum = slow_crc32c(content).to_be_bytes();
    }
}

/// Where a target's corpus lies.
fn corpus(target: &str) -> std::path::PathBuf {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("src/fuzz/__fuzz__").join(target).join("corpus")
}

/// `RINGLOG_WRITE_CORPUS=1 cargo test -p ringlog-engine fuzz` writes the seeds that follow from the
/// formats; what a fuzzer finds is added by hand.
fn keep_seeds(target: &str, seeds: impl IntoIterator<Item = (&'static str, Vec<u8>)>) {
    if std::env::var_os("RINGLOG_WRITE_CORPUS").is_none() {
        return;
    }
    let folder = corpus(target);
    std::fs::create_dir_all(&folder).unwrap();
    for (name, bytes) in seeds {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
}

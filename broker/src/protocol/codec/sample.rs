//! Values at random, derived from the tables: what the tests send through the codec.
//!
//! Public so that tests of other crates' messages can use it, hidden because it is no part of the
//! protocol.

use bytes::Bytes;

/// A seeded source of random values. The same seed gives the same values on every machine.
#[derive(Debug, Clone)]
pub struct Sampler {
    state: u64,
}

impl Sampler {
    /// Starts the sequence of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits (SplitMix64, of Steele, Lea and Flood 2014).
    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Yes or no.
    pub fn coin(&mut self) -> bool {
        self.draw() & 1 == 1
    }

    /// Eight bytes, of which every second draw is a value at an edge: zero, one, minus one, the
    /// least or the greatest. Integers take as many of the first as they need.
    pub(super) fn integer_bytes(&mut self) -> [u8; 8] {
        if self.coin() {
            return self.draw().to_be_bytes();
        }
        match self.draw() % 5 {
            0 => [0; 8],
            1 => [0, 0, 0, 0, 0, 0, 0, 1],
            2 => [0xff; 8],
            3 => [0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            _ => [0x80, 0, 0, 0, 0, 0, 0, 0],
        }
    }

    /// Elements of an array: few, so that nested arrays stay small.
    pub(super) fn count(&mut self) -> u64 {
        self.draw() % 4
    }

    /// A string of up to 140 characters, so that compact lengths take one byte or two.
    pub(super) fn text(&mut self) -> String {
        let length = if self.draw().is_multiple_of(8) { 140 } else { self.draw() % 12 };
        (0..length)
            .map(|_| match self.draw() % 8 {
                0 => 'ß',
                1 => '→',
                2 => '🦀',
                n => char::from(b'a' + n.to_le_bytes()[0]),
            })
            .collect()
    }

    /// A blob of up to a few kilobytes, so that some are copied and some handed on.
    pub(super) fn blob(&mut self) -> Bytes {
        let length = if self.draw().is_multiple_of(8) {
            1000 + self.draw() % 2000
        } else {
            self.draw() % 200
        };
        (0..length).map(|_| self.draw().to_le_bytes()[0]).collect()
    }
}

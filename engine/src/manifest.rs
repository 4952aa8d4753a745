//! The manifest: the little a log knows beyond its segments.
//!
//! ```text
//! 0       4         8                  16      17          25            33           41      45        49
//! | magic | version | log start offset | clean | last base | last length | end offset | epoch | indexes | crc |
//! ```
//!
//! All numbers are big endian. The file is replaced as a whole. `clean` is 1 after a clean
//! shutdown; the five fields after it then say where the last segment begins, its exact length,
//! where the log ended, the newest leader epoch and a checksum over the last segment's index files
//! (0 if there are none), and are 0 otherwise. A clean mark stays valid when appends follow, because
//! they only move the end up: it vouches for the last file only as long as that has exactly the
//! recorded length. Before the end moves down, the mark is removed.

use std::path::Path;

use thiserror::Error;

use crate::decode::take;
use crate::epoch::LeaderEpoch;
use crate::error::IoFailure;
use crate::io::Io;
use crate::offset::Offset;
use crate::planted::{self, Bug};
use crate::segment::sealed::IndexSum;
use crate::shard::Shard;
use crate::small_file;

/// The manifest's file name.
pub(crate) const NAME: &str = "ringlog.manifest";

const MAGIC: u32 = 0x524c_4d46;
const VERSION: u32 = 2;
const BYTES: usize = 53;

/// What a clean shutdown wrote down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CleanEnd {
    pub(crate) last_base: Offset,
    pub(crate) last_length: u64,
    pub(crate) end: Offset,
    pub(crate) epoch: LeaderEpoch,
    /// What the last segment's index files hold.
    pub(crate) indexes: Option<IndexSum>,
}

/// The manifest's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Manifest {
    pub(crate) start: Offset,
    pub(crate) clean: Option<CleanEnd>,
}

/// Why bytes are not a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a manifest of version {VERSION}")]
pub(crate) struct NotAManifest;

impl Manifest {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let zero = CleanEnd {
            last_base: Offset::ZERO,
            last_length: 0,
            end: Offset::ZERO,
            epoch: LeaderEpoch::new(0),
            indexes: None,
        };
        let end = self.clean.unwrap_or(zero);
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend_from_slice(&MAGIC.to_be_bytes());
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        bytes.extend_from_slice(&self.start.value().to_be_bytes());
        bytes.push(u8::from(self.clean.is_some()));
        bytes.extend_from_slice(&end.last_base.value().to_be_bytes());
        bytes.extend_from_slice(&end.last_length.to_be_bytes());
        bytes.extend_from_slice(&end.end.value().to_be_bytes());
        bytes.extend_from_slice(&end.epoch.value().to_be_bytes());
        bytes.extend_from_slice(&IndexSum::number(end.indexes).to_be_bytes());
        let sum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&sum.to_be_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, NotAManifest> {
        let (content, sum) = bytes.split_last_chunk::<4>().ok_or(NotAManifest)?;
        if bytes.len() != BYTES || crc32c::crc32c(content) != u32::from_be_bytes(*sum) {
            return Err(NotAManifest);
        }
        Self::of_fields(content).ok_or(NotAManifest)
    }

    fn of_fields(mut rest: &[u8]) -> Option<Self> {
        let magic = u32::from_be_bytes(take(&mut rest)?);
        let version = u32::from_be_bytes(take(&mut rest)?);
        if (magic, version) != (MAGIC, VERSION) {
            return None;
        }
        let start = offset(&mut rest)?;
        let [clean] = take(&mut rest)?;
        let end = CleanEnd {
            last_base: offset(&mut rest)?,
            last_length: u64::from_be_bytes(take(&mut rest)?),
            end: offset(&mut rest)?,
            epoch: LeaderEpoch::new(i32::from_be_bytes(take(&mut rest)?)),
            indexes: IndexSum::from_number(u32::from_be_bytes(take(&mut rest)?)),
        };
        Some(Self { start, clean: (clean == 1).then_some(end) })
    }

    /// Replaces the manifest on disk, durably.
    pub(crate) async fn save<I: Io>(&self, shard: &Shard<I>, dir: &Path) -> Result<(), IoFailure> {
        small_file::replace(shard, dir, NAME, &self.encode()).await?;
        if planted::active(Bug::SkipManifestFolderSync) {
            return Ok(());
        }
        small_file::sync_dir(shard, dir).await
    }
}

fn offset(rest: &mut &[u8]) -> Option<Offset> {
    Offset::new(i64::from_be_bytes(take(rest)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_survives_the_trip_and_every_flipped_bit_is_noticed() {
        let manifest = Manifest {
            start: Offset::new(7).unwrap(),
            clean: Some(CleanEnd {
                last_base: Offset::new(5).unwrap(),
                last_length: 4711,
                end: Offset::new(99).unwrap(),
                epoch: LeaderEpoch::new(3),
                indexes: Some(IndexSum::of(b"offsets", b"times")),
            }),
        };
        let bytes = manifest.encode();
        assert_eq!(bytes.len(), BYTES);
        assert_eq!(Manifest::decode(&bytes), Ok(manifest));
        for at in 0..BYTES {
            let mut broken = bytes.clone();
            broken[at] ^= 1;
            assert_eq!(Manifest::decode(&broken), Err(NotAManifest));
            assert_eq!(Manifest::decode(&bytes[..at]), Err(NotAManifest));
        }
        let unclean = Manifest { clean: None, ..manifest };
        assert_eq!(Manifest::decode(&unclean.encode()), Ok(unclean));
    }
}

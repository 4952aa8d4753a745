//! The small files beside the segments: the manifest, and producer snapshots.
//!
//! ```text
//! ringlog.manifest  magic u32, version u32, log start i64, clean u8, last base i64,
//!                   last length u64, end offset i64, epoch i32, CRC-32C of the last segment's
//!                   indexes u32, CRC-32C u32                                     53 bytes
//! N.snapshot        magic u32, version u32, offset i64, ..., CRC-32C u32
//! ```
//!
//! The engine reads these files too, and keeps how to itself: they are no part of what it promises
//! to others. Here they are read a second time on purpose: a checker that decodes with the code that
//! encodes agrees with its mistakes, and people want to be told what is wrong with a file, where the
//! engine only has to know that it does not count.

/// The manifest's file name.
pub const MANIFEST: &str = "ringlog.manifest";

const MANIFEST_MAGIC: u32 = 0x524c_4d46;
const MANIFEST_BYTES: usize = 53;
const SNAPSHOT_MAGIC: u32 = 0x524c_5053;
const MANIFEST_VERSION: u32 = 2;
/// Version 1 has no transactions.
const SNAPSHOT_VERSIONS: [u32; 2] = [1, 2];

/// Why a small file is not what its name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Too short, or of a wrong length.
    #[error("{actual} bytes are not a file of this kind")]
    Length {
        /// Bytes there are.
        actual: usize,
    },
    /// The checksum does not match.
    #[error("checksum is {stated:#010x}, the bytes give {actual:#010x}")]
    Checksum {
        /// What the file says.
        stated: u32,
        /// What its bytes give.
        actual: u32,
    },
    /// Another kind of file, or another version of it.
    #[error("magic number {magic:#010x} and version {version} are not known")]
    Kind {
        /// The magic number found.
        magic: u32,
        /// The version found.
        version: u32,
    },
    /// A snapshot for another offset than its name says.
    #[error("it is for offset {stated}")]
    Offset {
        /// The offset found.
        stated: i64,
    },
}

/// What a log knows beyond its segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manifest {
    /// The first offset that may be read.
    pub log_start: i64,
    /// What a clean shutdown wrote down.
    pub clean: Option<CleanEnd>,
}

/// Where a log ended when it was closed cleanly. It vouches for the last segment only while that
/// has exactly the recorded length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanEnd {
    /// The last segment's base offset.
    pub last_base: i64,
    /// Its length in bytes.
    pub last_length: u64,
    /// The offset after the last record.
    pub end: i64,
}

/// Reads a manifest.
///
/// # Errors
///
/// A [`StateError`].
pub fn manifest(bytes: &[u8]) -> Result<Manifest, StateError> {
    let length = StateError::Length { actual: bytes.len() };
    if bytes.len() != MANIFEST_BYTES {
        return Err(length);
    }
    manifest_fields(checked(bytes, MANIFEST_MAGIC, &[MANIFEST_VERSION])?).ok_or(length)
}

fn manifest_fields(mut rest: &[u8]) -> Option<Manifest> {
    let log_start = i64::from_be_bytes(take(&mut rest)?);
    let [clean] = take(&mut rest)?;
    let end = CleanEnd {
        last_base: i64::from_be_bytes(take(&mut rest)?),
        last_length: u64::from_be_bytes(take(&mut rest)?),
        end: i64::from_be_bytes(take(&mut rest)?),
    };
    Some(Manifest { log_start, clean: (clean == 1).then_some(end) })
}

/// Checks the snapshot that is named for `offset`.
///
/// # Errors
///
/// A [`StateError`].
pub fn check_snapshot(bytes: &[u8], offset: i64) -> Result<(), StateError> {
    let mut rest = checked(bytes, SNAPSHOT_MAGIC, &SNAPSHOT_VERSIONS)?;
    let stated = take(&mut rest).map(i64::from_be_bytes);
    match stated {
        Some(stated) if stated == offset => Ok(()),
        Some(stated) => Err(StateError::Offset { stated }),
        None => Err(StateError::Length { actual: bytes.len() }),
    }
}

/// What stands between the version and the checksum.
fn checked<'a>(
    bytes: &'a [u8],
    magic_expected: u32,
    versions: &[u32],
) -> Result<&'a [u8], StateError> {
    let length = StateError::Length { actual: bytes.len() };
    let (content, sum) = bytes.split_last_chunk::<4>().ok_or(length)?;
    let (stated, actual) = (u32::from_be_bytes(*sum), crc32c::crc32c(content));
    if stated != actual {
        return Err(StateError::Checksum { stated, actual });
    }
    let mut rest = content;
    let magic = u32::from_be_bytes(take(&mut rest).ok_or(length)?);
    let version = u32::from_be_bytes(take(&mut rest).ok_or(length)?);
    if magic != magic_expected || !versions.contains(&version) {
        return Err(StateError::Kind { magic, version });
    }
    Ok(rest)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}

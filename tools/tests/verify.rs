//! `verify` against folders made for the test: clean ones, torn ones, and broken ones.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use ringlog_engine::batch::{BatchBuilder, BatchOptions};
use ringlog_engine::frame::Frame;
use ringlog_engine::offset::Timestamp;
use ringlog_tools::cli::CliError;
use ringlog_tools::cli::verify::{Findings, check};

/// A data folder with one log of two segments of three batches of two records each.
struct Folder {
    dir: tempfile::TempDir,
    batch_bytes: usize,
}

fn batch(base_offset: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for offset in [base_offset, base_offset + 1] {
        builder.push(Timestamp::from_millis(1000 + offset), None, Some(b"value"), &[]);
    }
    let mut bytes = builder.finish().unwrap();
    // The checksum does not cover the offset.
    bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
    bytes
}

impl Folder {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let batch_bytes = batch(0).len();
        let folder = Self { dir, batch_bytes };
        fs::create_dir(folder.log()).unwrap();
        for base in [0, 6] {
            let batches: Vec<u8> = (0..3).flat_map(|n| batch(base + 2 * n)).collect();
            fs::write(folder.file(base, "log"), batches).unwrap();
            // The second batch: its last offset, where it begins, its largest timestamp.
            let position = u32::try_from(batch_bytes).unwrap();
            let index = [3_u32.to_be_bytes(), position.to_be_bytes()].concat();
            fs::write(folder.file(base, "index"), index).unwrap();
            let timestamp = 1000 + base + 3;
            let time = [timestamp.to_be_bytes().as_slice(), &3_u32.to_be_bytes()].concat();
            fs::write(folder.file(base, "timeindex"), time).unwrap();
        }
        folder
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("topic-0")
    }

    fn file(&self, base: i64, kind: &str) -> PathBuf {
        self.log().join(format!("{base:020}.{kind}"))
    }

    fn change(&self, base: i64, kind: &str, change: impl FnOnce(&mut Vec<u8>)) -> &Self {
        let path = self.file(base, kind);
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::write(path, bytes).unwrap();
        self
    }

    fn check(&self) -> Findings {
        check(self.dir.path()).unwrap()
    }
}

/// A frame of this offset.
fn frame(offset: i64) -> Vec<u8> {
    let frame = Frame::new(Timestamp::from_millis(1000 + offset), b"payload").unwrap();
    let mut bytes = frame.to_vec();
    bytes[..8].copy_from_slice(&offset.to_be_bytes());
    bytes
}

/// The one problem there is.
fn problem(findings: &Findings) -> &str {
    assert_eq!(findings.problems.len(), 1, "{findings:?}");
    &findings.problems[0].message
}

#[test]
fn frames_are_checked_as_batches_are() {
    let folder = Folder::new();
    let add = |bytes: &mut Vec<u8>| bytes.extend([frame(12), frame(13)].concat());
    let findings = folder.change(6, "log", add).check();
    assert!(findings.problems.is_empty() && findings.notes.is_empty(), "{findings:?}");
    assert_eq!((findings.batches, findings.records), (8, 14));
    let flip = |bytes: &mut Vec<u8>| {
        let first_frame = bytes.len() - 2 * frame(12).len();
        bytes[first_frame + 30] ^= 1;
    };
    let findings = folder.change(6, "log", flip).check();
    assert!(problem(&findings).contains("frame has checksum"), "{findings:?}");
}

#[test]
fn a_good_folder_is_clean() {
    let findings = Folder::new().check();
    assert!(findings.problems.is_empty() && findings.notes.is_empty(), "{findings:?}");
    assert_eq!((findings.logs, findings.segments, findings.batches), (1, 2, 6));
    assert_eq!((findings.records, findings.index_entries), (12, 4));
}

#[test]
fn a_flipped_byte_is_found_in_every_segment() {
    for base in [0, 6] {
        let folder = Folder::new();
        let findings = folder.change(base, "log", |bytes| bytes[70] ^= 1).check();
        assert!(findings.problems[0].message.contains("checksum"), "{findings:?}");
    }
}

#[test]
fn a_torn_end_of_the_last_segment_is_a_note() {
    let folder = Folder::new();
    let zeros = folder.change(6, "log", |bytes| bytes.extend([0; 4096])).check();
    assert!(zeros.problems.is_empty(), "{zeros:?}");
    assert!(zeros.notes[0].message.contains("4096 zeros"), "{zeros:?}");

    let cut = Folder::new();
    let findings = cut.change(6, "log", |bytes| bytes.truncate(bytes.len() - 7)).check();
    assert!(findings.problems.is_empty(), "{findings:?}");
    assert!(findings.notes[0].message.contains("torn end"), "{findings:?}");
}

#[test]
fn a_torn_end_of_an_earlier_segment_is_a_problem() {
    let folder = Folder::new();
    let findings = folder.change(0, "log", |bytes| bytes.extend([0; 512])).check();
    assert!(problem(&findings).contains("512 zeros"), "{findings:?}");
}

#[test]
fn missing_offsets_are_found_within_and_between_segments() {
    let folder = Folder::new();
    let batch_bytes = folder.batch_bytes;
    let within = folder
        .change(6, "log", |bytes| drop(bytes.drain(..batch_bytes)))
        .change(6, "index", Vec::clear)
        .change(6, "timeindex", Vec::clear)
        .check();
    assert!(problem(&within).contains("base offset 8, expected 6"), "{within:?}");

    let folder = Folder::new();
    fs::remove_file(folder.file(0, "log")).unwrap();
    let late = folder.file(12, "log");
    fs::write(late, batch(13)).unwrap();
    assert!(problem(&folder.check()).contains("base offset 13, expected 12"));
}

#[test]
fn index_entries_that_lie_are_found() {
    let folder = Folder::new();
    let position = folder.change(0, "index", |bytes| bytes[7] += 1).check();
    assert!(problem(&position).contains("where no batch begins"), "{position:?}");

    let early = Folder::new();
    let findings = early.change(0, "index", |bytes| bytes[3] = 1).check();
    assert!(problem(&findings).contains("where offset 2 begins"), "{findings:?}");

    let time = Folder::new();
    let findings = time.change(6, "timeindex", |bytes| bytes[7] += 1).check();
    assert!(problem(&findings).contains("the largest timestamp is 1009"), "{findings:?}");

    let beyond = Folder::new();
    let findings = beyond.change(6, "timeindex", |bytes| bytes[11] = 99).check();
    assert!(problem(&findings).contains("which no batch has"), "{findings:?}");

    let ragged = Folder::new();
    let findings = ragged.change(6, "index", |bytes| bytes.push(1)).check();
    assert!(problem(&findings).contains("no whole entry"), "{findings:?}");
}

#[test]
fn a_manifest_or_snapshot_that_does_not_check_is_found() {
    for name in ["ringlog.manifest", "00000000000000000006.snapshot"] {
        let folder = Folder::new();
        fs::write(folder.log().join(name), [7; 53]).unwrap();
        assert!(problem(&folder.check()).contains("checksum"), "{name}");
    }
}

#[test]
fn a_folder_in_use_is_refused() {
    let folder = Folder::new();
    let lock = File::create(folder.dir.path().join(".lock")).unwrap();
    lock.lock().unwrap();
    let error = check(folder.dir.path()).unwrap_err();
    assert!(matches!(error, CliError::Locked { .. }), "{error}");
    lock.unlock().unwrap();
    assert!(check(folder.dir.path()).is_ok());
}

#[test]
fn a_path_that_is_no_folder_is_refused() {
    let error = check(Path::new("Cargo.toml")).unwrap_err();
    assert!(error.to_string().contains("is not a folder"), "{error}");
}

//! The named invariants: each stands in ARCHITECTURE.md, in an assertion where it is made or relied
//! on, and in a test.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use ringlog_engine::batch::CheckedBatch;
use ringlog_engine::error::AppendError;
use ringlog_engine::io::Io;
use ringlog_engine::io::sim::{Operation, SimIo};
use support::*;

/// What the engine's invariants are about; the others are the broker's.
const SUBJECTS: [&str; 7] = ["log", "segment", "index", "buffer", "epoch", "journal", "producer"];

/// The invariants of the engine that ARCHITECTURE.md lists.
fn listed() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("../ARCHITECTURE.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    rows.map(|(name, _)| name.to_owned()).filter(|name| is_ours(name)).collect()
}

fn is_ours(name: &str) -> bool {
    name.split_once('.').is_some_and(|(subject, rest)| {
        let is_word = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        SUBJECTS.contains(&subject) && is_word(rest) && rest.contains('_') | (rest == "contiguous")
    })
}

/// All Rust files under a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The names that stand at the beginning of a text in the code, or whole lines of it, comments left
/// out: in the engine's code, and in its tests.
fn named() -> (BTreeSet<String>, BTreeSet<String>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut code, mut tests) = (BTreeSet::new(), BTreeSet::new());
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    sources(&root.join("tests"), &mut files);
    // The models of the test ladder, which judge what the engine does.
    sources(&root.join("../tools/src/simulate"), &mut files);
    sources(&root.join("../tools/src/real_crash"), &mut files);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let relative = file.strip_prefix(root).unwrap();
        let mut in_test = relative.components().any(|part| part.as_os_str() == "tests")
            || relative.starts_with("src/fuzz")
            || relative.starts_with("../tools")
            || relative.starts_with("src/journal/tests")
            || relative.ends_with("tests.rs");
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            in_test |= line.trim() == "#[cfg(test)]";
            let texts = line.split('"').skip(1).step_by(2);
            let names = texts.filter_map(|text| text.split([':', ' ']).next());
            let names = names.filter(|name| is_ours(name)).map(str::to_owned);
            if in_test { tests.extend(names) } else { code.extend(names) }
        }
    }
    (code, tests)
}

#[test]
fn every_invariant_is_listed_asserted_and_tested() {
    let listed = listed();
    let (asserted, tested) = named();
    assert!(listed.len() >= 10, "the table was not found: {listed:?}");
    let missing: Vec<_> = listed.difference(&asserted).collect();
    assert!(missing.is_empty(), "listed, and asserted nowhere: {missing:?}");
    let missing: Vec<_> = listed.difference(&tested).collect();
    assert!(missing.is_empty(), "listed, and named by no test: {missing:?}");
    let unknown: Vec<_> = asserted.union(&tested).filter(|name| !listed.contains(*name)).collect();
    assert!(unknown.is_empty(), "not in the table of ARCHITECTURE.md: {unknown:?}");
}

#[test]
fn the_offsets_stay_in_order_whatever_is_done() {
    for seed in 0..20 {
        let io = SimIo::new(seed);
        io.run(async {
            io.create_dir_all(Path::new("/data")).await.unwrap();
            let log = open(&shard(&io), Path::new("/data/log"), small()).await;
            for step in 0..60 {
                match io.random() % 8 {
                    0 => drop(log.roll().await),
                    1 => {
                        let durable = log.offsets().durable;
                        drop(log.delete_before(durable).await);
                    }
                    2 => drop(log.truncate(log.offsets().start).await),
                    3 => drop(append(&log, &batch(2, 900, step, 1)).await),
                    _ => drop(append_only(&log, &batch(3, 300, step, 1)).await),
                }
                let offsets = log.offsets();
                let order = [offsets.start, offsets.durable, offsets.written, offsets.end];
                assert!(order.is_sorted(), "log.offsets_ordered: {offsets:?} (seed {seed})");
            }
        });
    }
}

#[test]
fn after_a_failed_write_nothing_more_counts_as_durable() {
    let io = SimIo::new(1);
    io.run(async {
        io.create_dir_all(Path::new("/data")).await.unwrap();
        let log = open(&shard(&io), Path::new("/data/log"), small()).await;
        let first = append(&log, &batch(1, 100, 1, 1)).await;
        io.fail_once(Some(Operation::Write), 0, ErrorKind::Other);
        let bytes = batch(1, 100, 2, 1);
        let lost = append_only(&log, &bytes).await;
        let failure = log.durable(lost.end_offset).await.unwrap_err();
        assert!(matches!(failure, AppendError::Failed(_)), "{failure}");
        // The disk is well again, but the log has no way to know what it holds.
        let again = log.append_durably(&CheckedBatch::check(&bytes).unwrap(), STAMP).await;
        assert_eq!(again.unwrap_err().to_string(), failure.to_string(), "log.no_fsync_retry");
        assert!(log.roll().await.is_err() && log.truncate(at(0)).await.is_err());
        assert_eq!(log.offsets().durable, first.end_offset, "log.no_fsync_retry");
    });
}

#[test]
fn a_sealed_segment_keeps_its_bytes_whatever_follows() {
    let io = SimIo::new(1);
    let sealed = Path::new("/data/log/00000000000000000000.log");
    io.run(async {
        io.create_dir_all(Path::new("/data")).await.unwrap();
        let dir = Path::new("/data/log");
        let log = open(&shard(&io), dir, small()).await;
        for step in 0..20 {
            append(&log, &batch(1, 100, step, 1)).await;
        }
        log.roll().await.unwrap();
        let before = io.read_file(sealed).unwrap();
        for step in 0..20 {
            append(&log, &batch(2, 3_000, step, 1)).await;
        }
        log.truncate(at(24)).await.unwrap();
        append(&log, &batch(1, 100, 3, 1)).await;
        log.delete_before(at(10)).await.unwrap();
        log.close().await.unwrap();
        let log = open(&shard(&io), dir, small()).await;
        append(&log, &batch(1, 100, 4, 1)).await;
        assert!(io.read_file(sealed).unwrap() == before, "segment.sealed_never_changes");
    });
}

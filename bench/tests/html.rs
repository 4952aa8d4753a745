//! The page that the program writes beside what it prints.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Runs the program on a load that needs no server.
fn ceiling(html: &Path) -> Output {
    let line = "ceiling --duration 0.2 --warmup 0 --record-size 100 --connections 1,2";
    let mut program = Command::new(env!("CARGO_BIN_EXE_ringlog-bench"));
    program.args(line.split_whitespace()).arg("--html").arg(html).output().unwrap()
}

#[test]
fn a_page_is_written_beside_the_text_and_has_the_same_lines() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("page.html");
    let output = ceiling(&file);
    assert!(output.status.success(), "{output:?}");
    let (page, text) = (fs::read_to_string(file).unwrap(), String::from_utf8_lossy(&output.stdout));
    for line in ["1 connection x 5 in flight", "2 connections x 5 in flight"] {
        assert!(page.contains(line) && text.contains(line), "{line}: {text}");
    }
    assert!(page.contains("latency by percentile") && page.contains("latency by second"));
    assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"));
}

#[test]
fn a_page_that_cannot_be_written_is_told_before_anything_is_measured() {
    let output = ceiling(Path::new("/none/such/page.html"));
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
}

//! Tells the tool of which commit it is, so that its reports can.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=../.git/logs/HEAD");
    let mut describe = Command::new("git");
    describe.args(["describe", "--always", "--dirty", "--abbrev=12"]);
    let commit = output(&mut describe).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=RINGLOG_BENCH_COMMIT={commit}");
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

//! The program that holds the other crates: a package with a lock file of its own, so that nobody
//! who builds the workspace builds them too.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cell::Failure;

const BINARY: &str = "ringlog-append-rivals";

fn package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/rivals")
}

/// Builds the program and returns its path.
pub(crate) fn build() -> Result<PathBuf, Failure> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rivals");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    eprintln!("building the other crates; --no-rivals leaves them out");
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--release", "--locked", "--manifest-path"])
        .arg(package().join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .stdin(Stdio::null())
        .status()?;
    if !status.success() {
        return Err(format!("the other crates did not build: {status}").into());
    }
    Ok(target.join("release").join(BINARY))
}

/// The version of a crate, by the lock file of the program.
pub(crate) fn version(package_name: &str) -> Option<String> {
    let lock = std::fs::read_to_string(package().join("Cargo.lock")).ok()?;
    let wanted = format!("name = \"{package_name}\"");
    let mut lines = lock.lines().skip_while(|line| *line != wanted);
    lines.nth(1)?.strip_prefix("version = \"")?.strip_suffix('"').map(str::to_owned)
}

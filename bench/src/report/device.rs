//! What a bare device does, as a table: a row for each kind, size and depth.

use std::fmt;

use serde::Serialize;

use super::comparison::text::in_digits;
use crate::histogram::LatencySummary;

/// The headings of the table.
pub const DEVICE_HEADINGS: [&str; 8] =
    ["access", "bytes", "depth", "MB/s", "per s", "p50 us", "p99 us", "CPU us each"];

/// All cells that were measured.
#[derive(Debug, Clone, Serialize)]
pub struct DeviceReport {
    /// In the order in which they were measured.
    pub cells: Vec<DeviceCell>,
}

/// One cell.
#[derive(Debug, Clone, Serialize)]
pub struct DeviceCell {
    /// What was done, in words.
    pub access: &'static str,
    /// Bytes of each access.
    pub bytes: u32,
    /// Accesses in flight.
    pub depth: u32,
    /// MB (10^6 bytes) per second.
    pub mb_per_s: f64,
    /// Accesses per second.
    pub per_s: f64,
    /// How long each took.
    pub latency: LatencySummary,
    /// Microseconds of CPU time of the thread that asked, for each access.
    pub cpu_us: f64,
}

impl DeviceCell {
    /// The cell as a row of the table.
    #[must_use]
    pub fn texts(&self) -> [String; DEVICE_HEADINGS.len()] {
        [
            self.access.to_owned(),
            self.bytes.to_string(),
            self.depth.to_string(),
            in_digits(self.mb_per_s),
            in_digits(self.per_s),
            in_digits(self.latency.p50_us),
            in_digits(self.latency.p99_us),
            in_digits(self.cpu_us),
        ]
    }
}

impl fmt::Display for DeviceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        row(f, &DEVICE_HEADINGS.map(str::to_owned))?;
        for cell in &self.cells {
            row(f, &cell.texts())?;
        }
        Ok(())
    }
}

fn row(f: &mut fmt::Formatter<'_>, texts: &[String]) -> fmt::Result {
    for (place, text) in texts.iter().enumerate() {
        if place == 0 {
            write!(f, "{text:<34}")?;
        } else {
            write!(f, " {text:>11}")?;
        }
    }
    writeln!(f)
}

//! Readers at the tail of a log, beside what produces: shared by scenarios that measure from the
//! moment of sending to the arrival at a consumer.

use clap::Args;
use serde::Serialize;

use super::produce::bytes;
use crate::admin::{self, At};
use crate::error::BenchError;
use crate::load::reader::Cursor;
use crate::load::{Leaders, Reading};
use crate::wire::fetch::FetchLimits;

/// How consumers read.
#[derive(Debug, Clone, Copy, Args, Serialize)]
pub struct ReadArgs {
    /// Do not check the checksums of fetched batches. That each begins where the one before it
    /// ended is always checked.
    #[arg(long)]
    pub no_checksums: bool,
    /// How long a fetch waits for something to come.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 500,
          value_parser = clap::value_parser!(i32).range(0..=60_000))]
    pub fetch_wait: i32,
    /// Bytes that a fetch brings of each partition, at most.
    #[arg(long, value_name = "BYTES", default_value_t = 1024 * 1024,
          value_parser = clap::value_parser!(u32).range(1..=64 * 1024 * 1024))]
    pub fetch_bytes: u32,
}

impl ReadArgs {
    /// Readers of the given partitions.
    #[must_use]
    pub fn reading(&self, readers: Vec<Vec<Cursor>>, until_read: bool) -> Reading {
        let partition_bytes_max = bytes(self.fetch_bytes);
        let limits = FetchLimits { wait_ms_max: self.fetch_wait, partition_bytes_max };
        Reading { readers, limits, checks_crc: !self.no_checksums, until_read }
    }

    /// `count` readers, each at the present end of every partition.
    ///
    /// # Errors
    ///
    /// A [`BenchError`] if the ends cannot be looked up.
    pub fn at_the_tail(
        &self,
        topic: &str,
        leaders: &Leaders,
        count: u32,
    ) -> Result<Reading, BenchError> {
        let ends = admin::offsets(topic, leaders, At::End)?;
        let tails = ends.into_iter().map(|(partition, end)| Cursor::new(partition, end, i64::MAX));
        let tails: Vec<Cursor> = tails.collect();
        let readers = (0..count).map(|_| tails.clone()).collect();
        Ok(self.reading(readers, false))
    }
}

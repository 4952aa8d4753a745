//! A log inside a current-thread tokio runtime: tasks that write, and one that follows.
//!
//! ```text
//! cargo run --example tokio_runtime -- FOLDER
//! ```
//!
//! The log's futures are tokio's like any other, but not `Send`: they run on one thread, with
//! `spawn_local`.

use std::path::PathBuf;

use ringlog_engine::frame::{Frame, frames};
use ringlog_engine::io::Io;
use ringlog_engine::io::uring::UringIo;
use ringlog_engine::log::{Log, LogSettings, Stamp};
use ringlog_engine::offset::Offset;
use ringlog_engine::shard::{Shard, ShardSettings};

type Error = Box<dyn std::error::Error>;

const WRITERS: usize = 8;
const PAYLOADS: usize = 50;

/// Appends payloads one after the other, each when the one before is safe.
async fn write(io: UringIo, log: Log<UringIo>, writer: usize) -> Result<(), String> {
    for number in 0..PAYLOADS {
        let payload = format!("payload {number} of writer {writer}");
        let frame = Frame::new(io.now(), payload.as_bytes()).map_err(|error| error.to_string())?;
        let appended = log.append_durably(&frame, Stamp::default()).await;
        appended.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Reads what becomes durable, as it does, until `count` frames were seen.
async fn follow(log: &Log<UringIo>, mut from: Offset, count: usize) -> Result<usize, Error> {
    let mut bytes = 0;
    for _ in 0..count {
        log.advanced(from).await?;
        let slices = log.read(from, log.offsets().durable, 1, true).await?;
        for frame in slices.iter().flat_map(|piece| frames(piece)) {
            let frame = frame?;
            bytes += frame.payload().len();
            from = frame.offset().plus(1);
        }
    }
    Ok(bytes)
}

async fn run(dir: PathBuf) -> Result<(), Error> {
    let io = UringIo::tokio(64)?;
    let driver = tokio::task::spawn_local(io.drive());
    let shard = Shard::new(io.clone(), ShardSettings::default());
    let (log, _) = Log::open(&shard, &dir, LogSettings::default()).await?;
    let from = log.offsets().end;
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::task::spawn_local(write(io.clone(), log.clone(), writer)))
        .collect();
    let bytes = follow(&log, from, WRITERS * PAYLOADS).await?;
    for writer in writers {
        writer.await??;
    }
    log.close().await?;
    driver.abort();
    println!("{} payloads of {bytes} bytes were followed", WRITERS * PAYLOADS);
    Ok(())
}

fn main() -> Result<(), Error> {
    let dir = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: tokio_runtime FOLDER")?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, Box::pin(run(dir)))
}

//! A log inside tokio-uring: a file is read with tokio-uring's ring and stored with the log's.
//!
//! ```text
//! cargo run --example tokio_uring -- FOLDER FILE
//! ```
//!
//! tokio-uring runs on a current-thread tokio runtime, so this is [the tokio
//! example](tokio_runtime.rs) with another way to start. The two rings know nothing of each other.

use std::path::{Path, PathBuf};

use ringlog_engine::frame::{Frame, frames};
use ringlog_engine::io::Io;
use ringlog_engine::io::uring::UringIo;
use ringlog_engine::limits::READ_BYTES_MAX;
use ringlog_engine::log::{Log, LogSettings, Stamp};
use ringlog_engine::shard::{Shard, ShardSettings};

type Error = Box<dyn std::error::Error>;

const PIECE_BYTES: usize = 16 * 1024;

/// Appends the file piece by piece, and waits for all of it at the end.
async fn store(io: &UringIo, log: &Log<UringIo>, path: &Path) -> Result<u64, Error> {
    let file = tokio_uring::fs::File::open(path).await?;
    let mut position = 0;
    loop {
        let (read, piece) = file.read_at(vec![0; PIECE_BYTES], position).await;
        let read = read?;
        if read == 0 {
            break;
        }
        let frame = Frame::new(io.now(), &piece[..read])?;
        let reservation = log.reserve(frame.size_bytes()).await?;
        log.append(reservation, &frame, Stamp::default())?;
        position += read as u64;
    }
    file.close().await?;
    log.durable(log.offsets().end).await?;
    Ok(position)
}

async fn run(dir: PathBuf, path: PathBuf) -> Result<(), Error> {
    let io = UringIo::tokio(64)?;
    let driver = tokio::task::spawn_local(io.drive());
    let shard = Shard::new(io.clone(), ShardSettings::default());
    let (log, _) = Log::open(&shard, &dir, LogSettings::default()).await?;
    let mut from = log.offsets().end;
    let stored = store(&io, &log, &path).await?;
    let mut read_back = Vec::new();
    while from < log.offsets().durable {
        let slices = log.read(from, log.offsets().durable, READ_BYTES_MAX, true).await?;
        for frame in slices.iter().flat_map(|piece| frames(piece)) {
            let frame = frame?;
            read_back.extend_from_slice(frame.payload());
            from = frame.offset().plus(1);
        }
    }
    assert_eq!(read_back, std::fs::read(&path)?, "the log holds the file");
    log.close().await?;
    driver.abort();
    println!("{stored} bytes are stored, up to offset {from}");
    Ok(())
}

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(dir), Some(path)) = (arguments.next(), arguments.next()) else {
        return Err("usage: tokio_uring FOLDER FILE".into());
    };
    tokio_uring::start(Box::pin(run(dir, path)))
}

//! A log on a thread of its own, with no async runtime: other threads send it what to write.
//!
//! ```text
//! cargo run --example plain_thread -- FOLDER
//! ```
//!
//! A log belongs to one thread, so this is how a program that has many uses one: a channel in front
//! of it. What the threads send while a write is under way goes into the next one together.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread;

use ringlog_engine::error::AppendError;
use ringlog_engine::frame::Frame;
use ringlog_engine::io::Io;
use ringlog_engine::io::uring::UringIo;
use ringlog_engine::log::{Log, LogSettings, Stamp};
use ringlog_engine::offset::Offset;
use ringlog_engine::shard::{Shard, ShardSettings};

type Error = Box<dyn std::error::Error + Send + Sync>;

const WRITERS: usize = 4;
const PAYLOADS: usize = 100;

/// A payload, and where to say at which offset it is safe.
struct Request {
    payload: Vec<u8>,
    answer: SyncSender<Result<Offset, AppendError>>,
}

/// Serves requests until no thread can send any more. Gives the log's end.
async fn serve(io: UringIo, dir: &Path, requests: Receiver<Request>) -> Result<Offset, Error> {
    let shard = Shard::new(io.clone(), ShardSettings::default());
    let (log, _) = Log::open(&shard, dir, LogSettings::default()).await?;
    // Waiting here holds up the thread; no write is under way then.
    while let Ok(first) = requests.recv() {
        let mut appended = Vec::new();
        for request in std::iter::once(first).chain(requests.try_iter().take(1_000)) {
            let frame = Frame::new(io.now(), &request.payload)?;
            let reservation = log.reserve(frame.size_bytes()).await?;
            let placed = log.append(reservation, &frame, Stamp::default())?;
            appended.push((placed, request.answer));
        }
        for (placed, answer) in appended {
            let durable = log.durable(placed.end_offset).await;
            // Nobody minds a writer that is gone.
            let _ = answer.send(durable.map(|()| placed.base_offset));
        }
    }
    log.close().await?;
    Ok(log.offsets().end)
}

fn main() -> Result<(), Error> {
    let dir = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: plain_thread FOLDER")?);
    let (sender, requests) = channel();
    let server = thread::spawn(move || {
        let io = UringIo::plain(64)?;
        let served = io.block_on(Box::pin(serve(io.clone(), &dir, requests)));
        io.stop_tasks();
        served
    });
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let sender = sender.clone();
            thread::spawn(move || -> Result<Offset, Error> {
                let mut last = Offset::ZERO;
                for number in 0..PAYLOADS {
                    let (answer, answered) = sync_channel(1);
                    let payload = format!("payload {number} of writer {writer}").into_bytes();
                    sender.send(Request { payload, answer })?;
                    let offset = answered.recv()??;
                    assert!(number == 0 || offset > last, "each writer's payloads stay in order");
                    last = offset;
                }
                Ok(last)
            })
        })
        .collect();
    drop(sender);
    for writer in writers {
        writer.join().expect("a writer does not panic")?;
    }
    let end = server.join().expect("the log's thread does not panic")?;
    println!("{} payloads are safe, the log ends at {end}", WRITERS * PAYLOADS);
    Ok(())
}

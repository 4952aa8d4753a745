//! A key-value store whose write-ahead log and recovery are the engine.
//!
//! ```text
//! cargo run --example key_value -- FOLDER
//! ```
//!
//! The folder must be there. The program reads commands from its input, one a line, and answers each
//! with one line:
//!
//! ```text
//! put KEY VALUE      ok                       VALUE is the rest of the line
//! get KEY            value VALUE, or none
//! delete KEY         ok
//! scan PREFIX        KEY=VALUE KEY=VALUE ...
//! snapshot           ok
//! stat               keys 2 bytes 1064 start 0 end 12
//! ```
//!
//! Whatever it answered with `ok` is on stable storage. The map is in memory; the log holds every
//! change of it, one frame each:
//!
//! ```text
//! log:      put a 1 | put b 2 | delete a | put b 3 | ...
//!           ^ start                                  ^ end: opening the store reads all of it
//! ```
//!
//! So that the log does not grow for ever, a snapshot writes the whole map again, at the log's end,
//! and then moves the log's start to where it began. A crash in between leaves the old start, and
//! the changes that were written twice give the same map.
//!
//! ```text
//! log:      ... | put b 3 || put b 3 | put c 9 | ... the changes after the snapshot
//!               goes       ^ start
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use ringlog_engine::frame::{Frame, frames};
use ringlog_engine::io::Io;
use ringlog_engine::io::uring::UringIo;
use ringlog_engine::limits::READ_BYTES_MAX;
use ringlog_engine::log::{Log, LogSettings, Stamp};
use ringlog_engine::offset::Offset;
use ringlog_engine::shard::{Shard, ShardSettings};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A snapshot is due when the log has this many bytes more than twice what the map needs.
const SLACK_BYTES: u64 = 1024 * 1024;

/// A change of the map, as the log holds it.
///
/// ```text
/// 0      1                5
/// | kind | length of key  | key | value ...
/// ```
enum Change<'a> {
    Put { key: &'a [u8], value: &'a [u8] },
    Delete { key: &'a [u8] },
}

impl<'a> Change<'a> {
    const PUT: u8 = 1;
    const DELETE: u8 = 2;

    fn encode(&self) -> Result<Vec<u8>> {
        let (kind, key, value): (_, _, &[u8]) = match self {
            Self::Put { key, value } => (Self::PUT, key, value),
            Self::Delete { key } => (Self::DELETE, key, &[]),
        };
        let length = u32::try_from(key.len())?.to_be_bytes();
        Ok([&[kind], length.as_slice(), key, value].concat())
    }

    /// `None` for bytes that no [`Change::encode`] gave.
    fn decode(payload: &'a [u8]) -> Option<Self> {
        let (&kind, rest) = payload.split_first()?;
        let (length, rest) = rest.split_first_chunk()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (key, value) = rest.split_at_checked(length)?;
        match kind {
            Self::PUT => Some(Self::Put { key, value }),
            Self::DELETE => Some(Self::Delete { key }),
            _ => None,
        }
    }
}

/// The store: the map, and the log that it can be made from at any time.
struct Store<I: Io> {
    io: I,
    log: Log<I>,
    map: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Bytes of all keys and values.
    live_bytes: u64,
}

impl<I: Io> Store<I> {
    /// Opens the log, which repairs what a crash has left, and makes the map from it.
    async fn open(io: &I, dir: &Path) -> Result<Self> {
        let shard = Shard::new(io.clone(), ShardSettings::default());
        let settings = LogSettings { segment_bytes: 16 * 1024 * 1024, ..LogSettings::default() };
        let (log, report) = Log::open(&shard, dir, settings).await?;
        if let Some(cut) = report.cut {
            // Of what had been confirmed nothing is ever cut: this was on its way in the crash.
            eprintln!("{} torn bytes were cut and kept in {}", cut.bytes, cut.saved.display());
        }
        let mut store = Self { io: io.clone(), log, map: BTreeMap::new(), live_bytes: 0 };
        let offsets = store.log.offsets();
        let mut from = offsets.start;
        while from < offsets.durable {
            let slices = store.log.read(from, offsets.durable, READ_BYTES_MAX, true).await?;
            for frame in slices.iter().flat_map(|piece| frames(piece)) {
                let frame = frame?;
                let change = Change::decode(frame.payload()).ok_or("this is another log")?;
                store.apply(&change);
                from = frame.offset().plus(1);
            }
        }
        Ok(store)
    }

    fn apply(&mut self, change: &Change<'_>) {
        let (key, old) = match change {
            Change::Put { key, value } => {
                self.live_bytes += (key.len() + value.len()) as u64;
                (key, self.map.insert(key.to_vec(), value.to_vec()))
            }
            Change::Delete { key } => (key, self.map.remove(*key)),
        };
        if let Some(old) = old {
            self.live_bytes -= (key.len() + old.len()) as u64;
        }
    }

    /// Writes a change to the log, but does not wait until it is safe.
    async fn append(&self, change: &Change<'_>) -> Result<Offset> {
        let payload = change.encode()?;
        let frame = Frame::new(self.io.now(), &payload)?;
        let reservation = self.log.reserve(frame.size_bytes()).await?;
        Ok(self.log.append(reservation, &frame, Stamp::default())?.end_offset)
    }

    /// The log first, then the map: what the log refuses has not happened. Nobody may be told of
    /// it before [`Store::settle`].
    async fn change(&mut self, change: Change<'_>) -> Result<()> {
        self.append(&change).await?;
        self.apply(&change);
        Ok(())
    }

    /// Waits until every change is on stable storage.
    async fn settle(&self) -> Result<()> {
        Ok(self.log.durable(self.log.offsets().end).await?)
    }

    /// Writes the map as it is now to the log's end, and lets go of everything before it.
    async fn snapshot(&mut self) -> Result<()> {
        // The log gives up whole segments, so the snapshot begins with one of its own.
        self.log.roll().await?;
        let start = self.log.offsets().end;
        for (key, value) in &self.map {
            self.append(&Change::Put { key, value }).await?;
        }
        self.settle().await?;
        self.log.delete_before(start).await?;
        Ok(())
    }

    fn snapshot_is_due(&self) -> bool {
        self.log.size_bytes() > 2 * self.live_bytes + SLACK_BYTES
    }

    /// Runs one command and gives its answer.
    async fn run(&mut self, line: &str) -> Result<String> {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
        let key = first.as_bytes();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(match command {
            "put" => {
                self.change(Change::Put { key, value: second.as_bytes() }).await?;
                "ok".to_owned()
            }
            "delete" => {
                self.change(Change::Delete { key }).await?;
                "ok".to_owned()
            }
            "get" => match self.map.get(key) {
                Some(value) => format!("value {}", text(value)),
                None => "none".to_owned(),
            },
            "scan" => {
                let from_prefix = self.map.range(key.to_vec()..);
                let found = from_prefix.take_while(|(other, _)| other.starts_with(key));
                let found = found.map(|(key, value)| format!("{}={}", text(key), text(value)));
                found.collect::<Vec<_>>().join(" ")
            }
            "snapshot" => {
                self.snapshot().await?;
                "ok".to_owned()
            }
            "stat" => {
                let (keys, bytes) = (self.map.len(), self.log.size_bytes());
                let offsets = self.log.offsets();
                format!("keys {keys} bytes {bytes} start {} end {}", offsets.start, offsets.end)
            }
            other => format!("unknown command {other:?}"),
        })
    }
}

/// Waits for a line, and takes along all others that are there by then.
fn next_lines(input: &mut BufReader<impl std::io::Read>) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Ok(lines);
        }
        lines.push(line.trim_end_matches('\n').to_owned());
        if !input.buffer().contains(&b'\n') {
            return Ok(lines);
        }
    }
}

async fn serve(io: UringIo, dir: PathBuf) -> Result<()> {
    let mut store = Store::open(&io, &dir.join("log")).await?;
    let mut input = BufReader::new(std::io::stdin().lock());
    let mut output = std::io::stdout().lock();
    loop {
        // Waiting for input holds up this thread, and with it the log: nothing is under way then.
        let lines = next_lines(&mut input)?;
        if lines.is_empty() {
            break;
        }
        let mut answers = String::new();
        for line in &lines {
            answers.push_str(&store.run(line).await?);
            answers.push('\n');
        }
        // One wait for all of them, and only then the answers.
        store.settle().await?;
        output.write_all(answers.as_bytes())?;
        output.flush()?;
        if store.snapshot_is_due() {
            store.snapshot().await?;
        }
    }
    store.log.close().await?;
    Ok(())
}

fn main() -> Result<()> {
    let dir = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: key_value FOLDER")?);
    // A folder belongs to one open log, and it is for us to keep a second process out.
    let lock = File::create(dir.join("lock"))?;
    lock.try_lock()?;
    let io = UringIo::plain(64)?;
    let served = io.block_on(Box::pin(serve(io.clone(), dir)));
    io.stop_tasks();
    served
}

#[cfg(test)]
mod tests {
    use ringlog_engine::io::sim::SimIo;

    use super::*;

    /// Opens the store after a crash and goes on changing it until the next one. `sure` is what it
    /// had confirmed; `unsure` the commands after that.
    async fn live(io: &SimIo, sure: &mut BTreeMap<String, String>, unsure: &mut Vec<String>) {
        let mut store = Store::open(io, Path::new("/log")).await.unwrap();
        let held = store.run("scan").await.unwrap();
        let scan = |map: &BTreeMap<String, String>| {
            map.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
        };
        let mut left = unsure.drain(..);
        while held != scan(sure) {
            let command = left.next().unwrap_or_else(|| panic!("{held}, but confirmed {sure:?}"));
            change(sure, &command);
        }
        drop(left);
        loop {
            let key = io.random() % 9;
            let command = match io.random() % 20 {
                0 => "snapshot".to_owned(),
                1..5 => format!("delete key{key}"),
                _ => format!("put key{key} {}", "x".repeat(1 << (io.random() % 11))),
            };
            store.run(&command).await.unwrap();
            unsure.push(command);
            if io.random().is_multiple_of(3) {
                store.settle().await.unwrap();
                unsure.drain(..).for_each(|command| change(sure, &command));
            }
        }
    }

    fn change(map: &mut BTreeMap<String, String>, command: &str) {
        let words: Vec<&str> = command.split(' ').collect();
        match words.as_slice() {
            ["put", key, value] => drop(map.insert((*key).to_owned(), (*value).to_owned())),
            ["delete", key] => drop(map.remove(*key)),
            _ => {}
        }
    }

    #[test]
    fn what_was_confirmed_survives_a_loss_of_power_at_any_moment() {
        for seed in 0..80 {
            let mut io = SimIo::new(seed);
            let (mut sure, mut unsure) = (BTreeMap::new(), Vec::new());
            for _ in 0..4 {
                io.set_slow_operations(4);
                let operations = io.random() % 250;
                let life = Box::pin(live(&io, &mut sure, &mut unsure));
                assert!(io.run_operations(life, operations).is_none());
                io = io.crash();
            }
        }
    }
}

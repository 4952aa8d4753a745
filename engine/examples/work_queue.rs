//! A durable work queue: many topics, acknowledgements, redelivery after a timeout or a crash.
//!
//! ```text
//! cargo run --example work_queue -- FOLDER [LEASE_MS]
//! ```
//!
//! The folder must be there. The program reads commands from its input, one a line, and answers each
//! with one line:
//!
//! ```text
//! put TOPIC TEXT     put 17                   17 is the message's number; TEXT is the rest
//! take TOPIC         message 17 TEXT, or empty
//! ack TOPIC 17       acked 17, or unknown 17
//! stat TOPIC         ready 2 leased 1 start 15 end 22
//! ```
//!
//! - What was answered with `put` is delivered until it is acknowledged, across crashes.
//! - What was answered with `message` is leased: nobody else gets it for LEASE_MS milliseconds
//!   (30,000 unless told), or until a restart. Then it is ready again, before newer ones.
//! - What was answered with `acked` is never delivered again.
//!
//! Each topic is a log in a folder of its own, with two kinds of frames in it. A message's number is
//! its frame's offset:
//!
//! ```text
//! offset   15        16     17        18        19       20
//!          message | ack 9 | message | message | ack 15 | message ...
//!                            ^ the oldest that is not acknowledged: the log's start moves here
//! ```
//!
//! In memory there are only numbers; a message's text is read from the log when it is taken. Leases
//! are not written down, so that a restart redelivers what was leased.
//!
//! The topics share a journal, so that however many of them have something to write, one write makes
//! all of it safe.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringlog_engine::frame::{CheckedFrame, Frame, frames};
use ringlog_engine::io::Io;
use ringlog_engine::io::uring::UringIo;
use ringlog_engine::journal::JournalSettings;
use ringlog_engine::limits::READ_BYTES_MAX;
use ringlog_engine::log::{Appended, Log, LogSettings, Stamp};
use ringlog_engine::offset::Offset;
use ringlog_engine::shard::{Shard, ShardSettings};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A log's start is moved when this many offsets can go: it costs a small file and a sync.
const TRIM_OFFSETS: u64 = if cfg!(test) { 20 } else { 1_000 };

/// What a frame of a topic holds.
///
/// ```text
/// | 1 | text ...          a message
/// | 2 | offset (8 bytes)  the acknowledgement of the message with this offset
/// ```
enum Entry<'a> {
    Message(&'a [u8]),
    Ack(Offset),
}

impl<'a> Entry<'a> {
    const MESSAGE: u8 = 1;
    const ACK: u8 = 2;

    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Message(text) => [&[Self::MESSAGE], *text].concat(),
            Self::Ack(offset) => [&[Self::ACK], offset.value().to_be_bytes().as_slice()].concat(),
        }
    }

    /// `None` for bytes that no [`Entry::encode`] gave.
    fn decode(payload: &'a [u8]) -> Option<Self> {
        match payload.split_first()? {
            (&Self::MESSAGE, text) => Some(Self::Message(text)),
            (&Self::ACK, offset) => {
                Offset::new(i64::from_be_bytes(offset.try_into().ok()?)).map(Self::Ack)
            }
            _ => None,
        }
    }
}

/// One topic: its log, and which of its messages wait for what.
struct Topic<I: Io> {
    io: I,
    log: Log<I>,
    ready: BTreeSet<Offset>,
    /// When each leased message is ready again, by [`Io::elapsed`].
    leased: BTreeMap<Offset, Duration>,
}

impl<I: Io> Topic<I> {
    async fn open(shard: &Shard<I>, dir: &Path) -> Result<Self> {
        let settings = LogSettings { segment_bytes: 16 * 1024 * 1024, ..LogSettings::default() };
        let (log, _) = Log::open(shard, dir, settings).await?;
        let mut ready = BTreeSet::new();
        let offsets = log.offsets();
        let mut from = offsets.start;
        while from < offsets.durable {
            let slices = log.read(from, offsets.durable, READ_BYTES_MAX, true).await?;
            for frame in slices.iter().flat_map(|piece| frames(piece)) {
                let frame = frame?;
                match Entry::decode(frame.payload()).ok_or("this is another log")? {
                    Entry::Message(_) => ready.insert(frame.offset()),
                    Entry::Ack(offset) => ready.remove(&offset),
                };
                from = frame.offset().plus(1);
            }
        }
        Ok(Self { io: shard.io().clone(), log, ready, leased: BTreeMap::new() })
    }

    async fn append(&self, entry: Entry<'_>) -> Result<Appended> {
        let payload = entry.encode();
        let frame = Frame::new(self.io.now(), &payload)?;
        let reservation = self.log.reserve(frame.size_bytes()).await?;
        Ok(self.log.append(reservation, &frame, Stamp::default())?)
    }

    async fn put(&mut self, text: &str) -> Result<Offset> {
        let offset = self.append(Entry::Message(text.as_bytes())).await?.base_offset;
        self.ready.insert(offset);
        Ok(offset)
    }

    /// The oldest message that is ready, leased from now on.
    async fn take(&mut self, lease: Duration) -> Result<Option<(Offset, String)>> {
        let now = self.io.elapsed();
        self.ready.extend(self.leased.extract_if(.., |_, until| *until <= now).map(|(id, _)| id));
        let Some(&offset) = self.ready.first() else { return Ok(None) };
        // Readers see what is durable. Nobody takes what may yet be lost.
        self.log.durable(offset.plus(1)).await?;
        let slices = self.log.read(offset, self.log.offsets().durable, 1, true).await?;
        let bytes = slices.to_vec();
        let frame = CheckedFrame::check(&bytes)?;
        let Some(Entry::Message(text)) = Entry::decode(frame.payload()) else {
            return Err("this is another log".into());
        };
        self.ready.remove(&offset);
        self.leased.insert(offset, now + lease);
        Ok(Some((offset, String::from_utf8_lossy(text).into_owned())))
    }

    /// Whether there was something to acknowledge.
    async fn ack(&mut self, offset: Offset) -> Result<bool> {
        if !self.leased.contains_key(&offset) && !self.ready.contains(&offset) {
            return Ok(false);
        }
        self.append(Entry::Ack(offset)).await?;
        self.leased.remove(&offset);
        self.ready.remove(&offset);
        Ok(true)
    }

    /// Waits until everything so far is on stable storage, and lets go of what nobody needs.
    async fn settle(&self) -> Result<()> {
        let offsets = self.log.offsets();
        self.log.durable(offsets.end).await?;
        let oldest = self.ready.first().into_iter().chain(self.leased.keys().next()).min();
        let needed = oldest.copied().unwrap_or(offsets.end);
        if needed.since(offsets.start) >= TRIM_OFFSETS {
            self.log.delete_before(needed).await?;
        }
        Ok(())
    }
}

/// The shard of a queue. This puts what a crash has left in the journal into the topics' logs, so it
/// comes before any of them is opened.
async fn open_shard<I: Io>(io: &I, dir: &Path) -> Result<Shard<I>> {
    let topics = dir.join("topics");
    // A log makes its own folder durable, but it is for us to do so with the ones above.
    io.create_dir_all(&topics).await?;
    io.sync_dir(dir).await?;
    let journal = JournalSettings::new(dir.join("journal"), topics);
    let (shard, _) = Shard::open(io.clone(), ShardSettings::default(), journal).await?;
    Ok(shard)
}

/// All topics of a folder.
struct Queue<I: Io> {
    shard: Shard<I>,
    dir: PathBuf,
    lease: Duration,
    topics: BTreeMap<String, Topic<I>>,
}

impl<I: Io> Queue<I> {
    /// `dir` holds the folders `topics` and `journal`.
    async fn open(io: &I, dir: &Path, lease: Duration) -> Result<Self> {
        let shard = open_shard(io, dir).await?;
        let dir = dir.join("topics");
        let mut topics = BTreeMap::new();
        for entry in std::fs::read_dir(&dir)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                topics.insert(name, Topic::open(&shard, &entry.path()).await?);
            }
        }
        Ok(Self { shard, dir, lease, topics })
    }

    /// A topic that is there.
    fn topic(&mut self, name: &str) -> Result<&mut Topic<I>> {
        Ok(self.topics.get_mut(name).ok_or_else(|| format!("no topic {name:?}"))?)
    }

    /// Runs one command and gives its answer.
    async fn run(&mut self, line: &str) -> Result<String> {
        let mut words = line.splitn(3, ' ');
        let mut word = || words.next().unwrap_or("");
        let (command, name, rest) = (word(), word(), word());
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Ok("a topic is named by letters and digits".to_owned());
        }
        if !self.topics.contains_key(name) {
            let topic = Topic::open(&self.shard, &self.dir.join(name)).await?;
            self.topics.insert(name.to_owned(), topic);
        }
        let lease = self.lease;
        let topic = self.topic(name)?;
        Ok(match command {
            "put" => format!("put {}", topic.put(rest).await?),
            "take" => match topic.take(lease).await? {
                Some((offset, text)) => format!("message {offset} {text}"),
                None => "empty".to_owned(),
            },
            "ack" => match rest.parse().ok().and_then(Offset::new) {
                Some(offset) if topic.ack(offset).await? => format!("acked {offset}"),
                _ => format!("unknown {rest}"),
            },
            "stat" => {
                let (ready, leased) = (topic.ready.len(), topic.leased.len());
                let offsets = topic.log.offsets();
                let (start, end) = (offsets.start, offsets.end);
                format!("ready {ready} leased {leased} start {start} end {end}")
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

async fn serve(io: UringIo, dir: PathBuf, lease: Duration) -> Result<()> {
    let mut queue = Queue::open(&io, &dir, lease).await?;
    let mut input = BufReader::new(std::io::stdin().lock());
    let mut output = std::io::stdout().lock();
    loop {
        // Waiting for input holds up this thread, and with it the logs: nothing is under way then.
        let lines = next_lines(&mut input)?;
        if lines.is_empty() {
            break;
        }
        let mut answers = String::new();
        for line in &lines {
            answers.push_str(&queue.run(line).await?);
            answers.push('\n');
        }
        // One write for all topics, or a few: these waits overlap. Only then the answers.
        for topic in queue.topics.values() {
            topic.settle().await?;
        }
        output.write_all(answers.as_bytes())?;
        output.flush()?;
    }
    for topic in queue.topics.values() {
        topic.log.close().await?;
    }
    Ok(())
}

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let dir = PathBuf::from(arguments.next().ok_or("usage: work_queue FOLDER [LEASE_MS]")?);
    let lease = arguments.next().map_or(Ok(30_000), |ms| ms.to_string_lossy().parse())?;
    // A folder belongs to one open log, and it is for us to keep a second process out.
    let lock = File::create(dir.join("lock"))?;
    lock.try_lock()?;
    let io = UringIo::plain(64)?;
    let served = io.block_on(Box::pin(serve(io.clone(), dir, Duration::from_millis(lease))));
    io.stop_tasks();
    served
}

#[cfg(test)]
mod tests {
    use ringlog_engine::io::sim::SimIo;

    use super::*;

    const NEVER: Duration = Duration::from_secs(1_000_000);

    /// What was confirmed of each message, by its text: put, or acknowledged. `None` from a command
    /// on until it is confirmed.
    type Known = BTreeMap<String, Option<State>>;

    #[derive(Clone, Copy, PartialEq, Eq)]
    enum State {
        Put,
        Acked,
    }

    /// Opens a topic after a crash, takes everything, and goes on until the next crash.
    async fn live(io: &SimIo, known: &mut Known, next: &mut u64) {
        let shard = open_shard(io, Path::new("/")).await.unwrap();
        let mut topic = Topic::open(&shard, Path::new("/topics/only")).await.unwrap();
        let mut taken = BTreeMap::new();
        while let Some((offset, text)) = topic.take(NEVER).await.unwrap() {
            assert!(taken.insert(text, offset).is_none(), "delivered twice");
        }
        for (text, state) in known.iter() {
            match state {
                Some(State::Put) => assert!(taken.contains_key(text), "{text} is lost"),
                Some(State::Acked) => assert!(!taken.contains_key(text), "{text} was done"),
                None => {}
            }
        }
        known.extend(taken.keys().map(|text| (text.clone(), Some(State::Put))));
        known.retain(|text, state| *state == Some(State::Acked) || taken.contains_key(text));
        loop {
            let mut asked = Vec::new();
            for _ in 0..1 + io.random() % 8 {
                let (text, state) = match taken.pop_first() {
                    Some((text, offset)) if io.random().is_multiple_of(2) => {
                        known.insert(text.clone(), None);
                        assert!(topic.ack(offset).await.unwrap());
                        (text, State::Acked)
                    }
                    not_now => {
                        taken.extend(not_now);
                        *next += 1;
                        let text = format!("message{next}");
                        known.insert(text.clone(), None);
                        topic.put(&text).await.unwrap();
                        (text, State::Put)
                    }
                };
                asked.push((text, Some(state)));
            }
            topic.settle().await.unwrap();
            known.extend(asked);
            while let Some((offset, text)) = topic.take(NEVER).await.unwrap() {
                taken.insert(text, offset);
            }
        }
    }

    #[test]
    fn no_message_is_lost_or_done_twice_by_a_loss_of_power_at_any_moment() {
        for seed in 0..15 {
            let mut io = SimIo::new(seed);
            let (mut known, mut next) = (Known::new(), 0);
            for _ in 0..4 {
                io.set_latency(Duration::from_micros(10), Duration::from_millis(5));
                let operations = io.random() % 250;
                let life = Box::pin(live(&io, &mut known, &mut next));
                assert!(io.run_operations(life, operations).is_none());
                io = io.crash();
            }
        }
    }
}

//! Files and replay on the simulated disk.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use super::files::{self, FIRST_POSITION, Files};
use super::frame::{FrameHead, FrameWriter};
use super::replay::{Live, ReplayReport, Replayed, replay};
use super::settings::JournalSettings;
use crate::error::{IoFailure, OpenError};
use crate::io::sim::SimIo;
use crate::io::{Durability, File, Io, OpenMode};
use crate::limits::BLOCK;
use crate::offset::Offset;
use crate::segment::name::Kind;
use crate::shard::{Shard, ShardSettings};

mod crashes;
mod pinning;
mod recycling;
mod redo;
mod scrub;

const LOG: &str = "a-0";
const FILE_BYTES: u64 = 64 * 1024;
/// Frames of one block that a file takes: all its blocks but the head and the reserve.
const FRAMES: usize = 14;

/// A machine with a disk, and a shard on it.
struct Rig {
    io: SimIo,
    shard: Shard<SimIo>,
    settings: JournalSettings,
}

impl Rig {
    fn new(seed: u64) -> Self {
        let rig = Self::on(SimIo::new(seed));
        rig.io.run(async {
            rig.io.create_dir_all(&rig.settings.root.join(LOG)).await.unwrap();
            rig.io.sync_dir(Path::new("")).await.unwrap();
            rig.io.sync_dir(&rig.settings.root).await.unwrap();
        });
        rig
    }

    fn on(io: SimIo) -> Self {
        let memory = ShardSettings {
            buffer_pool_bytes: 4 << 20,
            cache_bytes: 0,
            ..ShardSettings::default()
        };
        let shard = Shard::new(io.clone(), memory);
        let mut settings = JournalSettings::new("data/journal", "data").checked().unwrap();
        (settings.files, settings.file_bytes) = (3, FILE_BYTES);
        Self { io, shard, settings }
    }

    /// What starts after the process was killed.
    fn killed(&self) -> Self {
        Self::on(self.io.kill())
    }

    async fn replay(&self) -> Result<Replayed, OpenError> {
        replay(&self.shard, &self.settings.dir, &self.settings.root, None).await
    }

    /// Replays one log while the journal is in use.
    async fn replay_live(
        &self,
        files: &RefCell<Files<SimIo>>,
        path: &str,
    ) -> Result<Replayed, OpenError> {
        let confirmed = files.borrow().confirmed();
        let live = Live { path, confirmed, floor: &|| files.borrow().floor() };
        replay(&self.shard, &self.settings.dir, &self.settings.root, Some(&live)).await
    }

    async fn open(&self) -> Result<(Files<SimIo>, ReplayReport), OpenError> {
        let replayed = self.replay().await?;
        let files = Files::open(&self.shard, &self.settings, &replayed).await?;
        Ok((files, replayed.report))
    }

    /// Builds a frame, without writing it.
    async fn build(
        &self,
        files: &mut Files<SimIo>,
        fill: impl FnOnce(&mut FrameWriter),
    ) -> (FrameHead, Written) {
        let head = files.head();
        let buffer = self.shard.acquire(files.room()).await;
        let mut writer = FrameWriter::begin(buffer, &head, files.room());
        fill(&mut writer);
        let frame = writer.finish();
        let place = files.allot(&head, frame.len()).expect("there is room");
        (head, Written { place, frame: frame.freeze() })
    }

    /// Writes a frame durably.
    async fn write(
        &self,
        files: &mut Files<SimIo>,
        fill: impl FnOnce(&mut FrameWriter),
    ) -> FrameHead {
        let (head, written) = self.build(files, fill).await;
        written.write().await.unwrap();
        files.durable(&head);
        head
    }

    /// Writes frames that name the log and then hold one byte of it each, from `from` on.
    async fn fill(&self, files: &mut Files<SimIo>, from: u8, count: usize) {
        for number in (from..).take(count) {
            self.write(files, |frame| piece(frame, 0, number)).await;
        }
    }

    fn journal(&self, index: usize) -> PathBuf {
        self.settings.dir.join(files::name(index))
    }

    /// Changes a journal's file at rest.
    fn change(&self, index: usize, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.io.read_file(&self.journal(index)).unwrap();
        change(&mut bytes);
        self.io.write_file(&self.journal(index), &bytes).unwrap();
    }

    fn segment(&self, base: i64) -> Option<Vec<u8>> {
        let dir = self.settings.root.join(LOG);
        self.io.read_file(&Kind::Log.path(&dir, offset(base))).ok()
    }
}

/// A frame that has its place.
struct Written {
    place: files::Place<<SimIo as Io>::File>,
    frame: crate::buffer::Buffer,
}

impl Written {
    async fn write(self) -> Result<(), IoFailure> {
        let Self { place, frame } = self;
        let written = place.file.write_at(frame, place.position, Durability::Synced).await;
        written.map_err(IoFailure::of(crate::error::Operation::Write, &place.path))
    }
}

fn offset(value: i64) -> Offset {
    Offset::new(value).unwrap()
}

/// One byte of the log, at the position of the same number.
fn piece(frame: &mut FrameWriter, base: i64, number: u8) {
    frame.name(1, LOG);
    put(frame, 1, offset(base), u64::from(number), &[&[number]]);
}

fn put(frame: &mut FrameWriter, number: u32, base: Offset, position: u64, parts: &[&[u8]]) {
    let total = parts.iter().map(|part| part.len()).sum();
    frame.bytes(number, base, position, total, parts.iter().copied());
}

/// The bytes `1..=last`, as [`piece`] puts them into a segment.
fn counted(last: u8) -> Vec<u8> {
    (0..=last).collect()
}

/// Where the frames of one block stand: `number` 0 is the first in the file.
fn at(number: usize) -> usize {
    usize::try_from(FIRST_POSITION).unwrap() + number * BLOCK
}

async fn make_segment(rig: &Rig, log: &str, base: i64) {
    let path = Kind::Log.path(&rig.settings.root.join(log), offset(base));
    drop(rig.io.open(&path, OpenMode::CreateDirect).await.unwrap());
}

async fn make(files: &mut Files<SimIo>) {
    let making = files.begin_making().unwrap();
    assert!(files.begin_making().is_none(), "one at a time");
    let opened = making.run().await.unwrap();
    files.made(&making, Some(opened));
}

//! The ring of files that a journal is written to.
//!
//! ```text
//!            0       1 block                                   length - 1 block
//! file       | head  | frame | frame   | frame | ...           | reserve |
//!
//! in time    absent -> made -> free -> current -> held -> released -> free -> current -> ...
//! ```
//!
//! A file is written with zeros and synced when it is made, under another name until that is done,
//! so that later writes meet allocated, written space. Its head names the journal and never
//! changes. One file is current and takes the frames, in order; the others in use are *held* until
//! every log has all its bytes of them in synced segments, and then *released*.
//!
//! **Invariant `journal.floor_before_reuse`**: a released file becomes free, to be written again,
//! only once a durable frame has a floor above all its sequences. Otherwise a crash might find the
//! file half overwritten and nothing that says that it did not count.
//!
//! The last block of a file is kept in reserve, for a frame without entries: there is always a
//! place for the frame that raises the floor when no file is free, and for the one with which an
//! opening makes all that came before void. That one goes, in this order, to a file that holds
//! nothing that counts; to a new file; to the reserve.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::buffer::Buffer;
use crate::error::{IoFailure, OpenError, Operation};
use crate::io::{Durability, File, Io, OpenMode, Rare};
use crate::journal::frame::{FrameHead, FrameWriter};
use crate::journal::replay::{Found, Replayed};
use crate::journal::settings::JournalSettings;
use crate::limits::{BLOCK, JOURNAL_FILE_BYTES_MIN, JOURNAL_WRITE_BYTES_MAX};
use crate::segment::name::TEMPORARY;
use crate::shard::Shard;
use crate::small_file;

/// Where the frames of a file begin.
pub(crate) const FIRST_POSITION: u64 = BLOCK as u64;

const SUFFIX: &str = ".journal";
const MAGIC: u32 = 0x524c_4a48;
const VERSION: u32 = 1;
const HEAD_BYTES: usize = 20;
/// Bytes in one write of zeros, if there is memory for them.
const ZEROS_BYTES: [usize; 2] = [1 << 20, 64 << 10];

/// The name of a journal's file.
pub(crate) fn name(index: usize) -> String {
    format!("{index:05}{SUFFIX}")
}

/// Which of a journal's files a name stands for; `None` for all other names.
pub(crate) fn index_of(name: &str) -> Option<usize> {
    let digits = name.strip_suffix(SUFFIX)?;
    let is_ours = digits.len() == 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_ours { digits.parse().ok() } else { None }
}

/// Whether a name is that of a file whose making was interrupted.
pub(crate) fn is_unfinished(name: &str) -> bool {
    name.strip_suffix(TEMPORARY).and_then(index_of).is_some()
}

fn encode_head(journal: u64) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[4..8].copy_from_slice(&MAGIC.to_be_bytes());
    head[8..12].copy_from_slice(&VERSION.to_be_bytes());
    head[12..].copy_from_slice(&journal.to_be_bytes());
    let sum = crc32c::crc32c(&head[4..]);
    head[..4].copy_from_slice(&sum.to_be_bytes());
    head
}

/// The number of the journal that the head of a file names; `None` if it is no such head.
pub(crate) fn decode_head(bytes: &[u8]) -> Option<u64> {
    let head = bytes.first_chunk::<HEAD_BYTES>()?;
    let journal = u64::from_be_bytes(*head.last_chunk::<8>()?);
    (*head == encode_head(journal)).then_some(journal)
}

/// Where a frame goes.
#[derive(Clone)]
pub(crate) struct Place<F> {
    /// The file.
    pub(crate) file: F,
    /// Its path, for messages.
    pub(crate) path: Rc<Path>,
    /// Where in it.
    pub(crate) position: u64,
}

/// A file that has been made and is open.
#[derive(Clone)]
pub(crate) struct Opened<F> {
    file: F,
    path: Rc<Path>,
    length: u64,
}

/// What a file is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// It has not been made.
    Absent,
    /// It is being made.
    Making,
    /// Nothing in it counts.
    Free,
    /// It is current, or was, and is needed.
    Held(Held),
    /// Nobody needs it, but it is not known to be void yet.
    Released {
        /// The last sequence in it.
        last: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    generation: u64,
    first_sequence: u64,
    last_sequence: u64,
    /// Where the next frame goes.
    next: u64,
}

struct Slot<F> {
    opened: Option<Opened<F>>,
    role: Use,
}

/// The files of one journal, and which sequence comes next.
///
/// For each frame the writer calls, in this order: [`Files::room`] and, if that is too little,
/// [`Files::advance`]; [`Files::head`]; and once the frame is built, [`Files::allot`]. When the
/// frame and all before it are durable, [`Files::durable`].
pub(crate) struct Files<I: Io> {
    shard: Shard<I>,
    settings: JournalSettings,
    journal: u64,
    slots: Vec<Slot<I::File>>,
    current: usize,
    next_sequence: u64,
    next_generation: u64,
    /// All up to this sequence are durable.
    confirmed: u64,
    /// The highest floor of a durable frame.
    confirmed_floor: u64,
}

impl<I: Io> Files<I> {
    /// Opens the files that a replay has found, or makes the first one. After `Ok` a durable frame
    /// makes all that came before void, and the files it stands in is current.
    ///
    /// # Errors
    ///
    /// [`OpenError::Io`]. Nothing that counts has been overwritten: replay and open again.
    pub(crate) async fn open(
        shard: &Shard<I>,
        settings: &JournalSettings,
        replayed: &Replayed,
    ) -> Result<Self, OpenError> {
        let dir = &settings.dir;
        let created = shard.io().create_dir_all(dir).await;
        created.map_err(IoFailure::of(Operation::Create, dir))?;
        for name in &replayed.unfinished {
            let path = dir.join(name);
            let removed = shard.io().remove_file(&path).await;
            removed.map_err(IoFailure::of(Operation::Remove, &path))?;
        }
        small_file::sync_dir_and_parent(shard, dir).await?;
        let count = replayed.found.iter().map(|found| found.index + 1).max().unwrap_or(0);
        let count = count.max(settings.files);
        let mut files = Self {
            shard: shard.clone(),
            settings: settings.clone(),
            journal: replayed.journal.unwrap_or_else(|| shard.io().random()),
            slots: (0..count).map(|_| Slot { opened: None, role: Use::Absent }).collect(),
            current: 0,
            next_sequence: replayed.next_sequence,
            next_generation: replayed.next_generation,
            confirmed: replayed.next_sequence - 1,
            confirmed_floor: 0,
        };
        for found in &replayed.found {
            let path = dir.join(name(found.index));
            let file = shard.io().open(&path, OpenMode::WriteDirect).await;
            let file = file.map_err(IoFailure::of(Operation::Open, &path))?;
            let length = found.length - found.length % BLOCK as u64;
            let opened = Some(Opened { file, path: path.into(), length });
            files.slots[found.index] = Slot { opened, role: Use::Free };
        }
        let (index, position) = files.place_for_fresh(&replayed.found).await?;
        files.write_fresh(index, position).await?;
        files.remove_misfits().await?;
        Ok(files)
    }

    /// Removes the files that a replay has found, and the folder. First a durable frame makes all
    /// that came before void, and its file goes last: what is left by a crash in between is never
    /// put into segments again.
    pub(crate) async fn retire(
        shard: &Shard<I>,
        settings: &JournalSettings,
        replayed: &Replayed,
    ) -> Result<(), OpenError> {
        let io = shard.io();
        if !replayed.found.is_empty() {
            let files = Self::open(shard, settings, replayed).await?;
            let current = files.current;
            let others = (0..files.slots.len()).filter(|index| *index != current);
            for indexes in [others.collect(), vec![current]] {
                for index in indexes {
                    let path = settings.dir.join(name(index));
                    match io.remove_file(&path).await {
                        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                            return Err(IoFailure::of(Operation::Remove, &path)(error).into());
                        }
                        _ => {}
                    }
                }
                small_file::sync_dir(shard, &settings.dir).await?;
            }
        }
        match io.remove_dir(&settings.dir).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(IoFailure::of(Operation::Remove, &settings.dir)(error).into())
            }
            _ => Ok(()),
        }
    }

    /// Where the frame goes that makes all others void: it must overwrite none that counts, for a
    /// crash may tear it.
    async fn place_for_fresh(&mut self, found: &[Found]) -> Result<(usize, u64), IoFailure> {
        let void = found
            .iter()
            .filter(|file| file.counting.is_none() && file.length >= JOURNAL_FILE_BYTES_MIN);
        // One that is going to be kept, if there is one.
        if let Some(file) = void.max_by_key(|file| self.fits(file.index, file.length)) {
            return Ok((file.index, FIRST_POSITION));
        }
        let absent = self.slots.iter().position(|slot| slot.role == Use::Absent);
        let failure = match absent {
            Some(index) => match self.make_now(index).await {
                Ok(()) => return Ok((index, FIRST_POSITION)),
                Err(failure) => Some(failure),
            },
            None => None,
        };
        let newest = found.iter().filter_map(|file| Some((file, file.counting.as_ref()?)));
        if let Some((file, counting)) = newest.max_by_key(|(_, counting)| counting.last_sequence) {
            let reserve = file.length - file.length % BLOCK as u64 - BLOCK as u64;
            if counting.positions.end <= reserve {
                self.shard.io().reached(Rare::JournalReserveUsed);
                return Ok((file.index, reserve));
            }
            if counting.positions.start >= FIRST_POSITION + BLOCK as u64 {
                return Ok((file.index, FIRST_POSITION));
            }
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        // Fewer files are allowed than there were. It goes when it is free.
        let index = self.slots.len();
        self.slots.push(Slot { opened: None, role: Use::Absent });
        self.make_now(index).await?;
        Ok((index, FIRST_POSITION))
    }

    async fn make_now(&mut self, index: usize) -> Result<(), IoFailure> {
        let opened = self.making(index).run().await?;
        self.slots[index] = Slot { opened: Some(opened), role: Use::Free };
        Ok(())
    }

    async fn write_fresh(&mut self, index: usize, position: u64) -> Result<(), IoFailure> {
        let (sequence, generation) = (self.next_sequence, self.next_generation);
        let head = FrameHead {
            journal: self.journal,
            generation,
            sequence,
            floor: sequence,
            confirmed: self.confirmed,
        };
        let buffer = self.shard.acquire(BLOCK).await;
        let frame = FrameWriter::begin(buffer, &head, BLOCK).finish().freeze();
        let opened = self.slots[index].opened.as_ref().expect("a place is in an open file");
        let written = opened.file.write_at(frame, position, Durability::Synced).await;
        written.map_err(IoFailure::of(Operation::Write, &opened.path))?;
        self.slots[index].role = Use::Held(Held {
            generation,
            first_sequence: sequence,
            last_sequence: sequence,
            next: position + BLOCK as u64,
        });
        self.current = index;
        self.next_sequence += 1;
        self.next_generation += 1;
        self.confirmed = sequence;
        self.confirmed_floor = sequence;
        Ok(())
    }

    fn fits(&self, index: usize, length: u64) -> bool {
        index < self.settings.files && length == self.settings.file_bytes
    }

    /// Removes free files that earlier settings asked for.
    async fn remove_misfits(&mut self) -> Result<(), IoFailure> {
        let mut has_removed = false;
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            let Some(opened) = slot.opened.as_ref().filter(|_| slot.role == Use::Free) else {
                continue;
            };
            if !self.fits(index, opened.length) {
                let removed = self.shard.io().remove_file(&opened.path).await;
                removed.map_err(IoFailure::of(Operation::Remove, &opened.path))?;
                self.slots[index] = Slot { opened: None, role: Use::Absent };
                has_removed = true;
            }
        }
        let unused = |slot: &Slot<I::File>| slot.role == Use::Absent;
        while self.slots.len() > self.settings.files && self.slots.last().is_some_and(unused) {
            self.slots.pop();
        }
        if has_removed {
            small_file::sync_dir(&self.shard, &self.settings.dir).await
        } else {
            Ok(())
        }
    }

    fn held(&self) -> impl Iterator<Item = &Held> {
        self.slots.iter().filter_map(|slot| match &slot.role {
            Use::Held(held) => Some(held),
            _ => None,
        })
    }

    fn current(&self) -> &Held {
        match &self.slots[self.current].role {
            Use::Held(held) => held,
            _ => unreachable!("the current file is held"),
        }
    }

    /// The generation of the current file.
    pub(crate) fn generation(&self) -> u64 {
        self.current().generation
    }

    /// The first sequence that still counts.
    pub(crate) fn floor(&self) -> u64 {
        self.held().map(|held| held.first_sequence).min().expect("the current file is held")
    }

    /// The last sequence of which this and all before are durable.
    pub(crate) fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// How many files are in use, or not known to be void yet.
    pub(crate) fn used(&self) -> usize {
        let is_used = |role: &Use| matches!(role, Use::Held(_) | Use::Released { .. });
        self.slots.iter().filter(|slot| is_used(&slot.role)).count()
    }

    /// How many files are ready to become current.
    pub(crate) fn free(&self) -> usize {
        self.slots.iter().filter(|slot| slot.role == Use::Free).count()
    }

    /// Bytes that frames may still have before every file is in use, those that can be made
    /// included if `can_make`; and bytes of all files.
    pub(crate) fn spare_bytes(&self, can_make: bool) -> (u64, u64) {
        let made = |slot: &&Slot<I::File>| match slot.role {
            Use::Free => true,
            Use::Absent | Use::Making => can_make,
            Use::Held(_) | Use::Released { .. } => false,
        };
        let spare = self.slots.iter().take(self.settings.files).filter(made).count() as u64;
        let room = self.reserve().saturating_sub(self.current().next);
        let file = self.settings.file_bytes;
        (room + spare * file, self.settings.files as u64 * file)
    }

    /// Bytes that the next frame may have in the current file, its head included; 0 when the file
    /// is full.
    pub(crate) fn room(&self) -> usize {
        let left = self.reserve().saturating_sub(self.current().next);
        usize::try_from(left).unwrap_or(usize::MAX).min(JOURNAL_WRITE_BYTES_MAX)
    }

    /// Where the current file's reserve begins.
    fn reserve(&self) -> u64 {
        let opened = self.slots[self.current].opened.as_ref();
        opened.expect("the current file is open").length - BLOCK as u64
    }

    /// The head of the next frame. Valid until the next call of [`Files::allot`],
    /// [`Files::allot_reserve`] or [`Files::advance`].
    pub(crate) fn head(&self) -> FrameHead {
        FrameHead {
            journal: self.journal,
            generation: self.generation(),
            sequence: self.next_sequence,
            floor: self.floor(),
            confirmed: self.confirmed,
        }
    }

    /// Gives the frame with this head its place; `None` if it does not fit into the current file.
    ///
    /// # Panics
    ///
    /// If the head is not the next one.
    pub(crate) fn allot(&mut self, head: &FrameHead, bytes: usize) -> Option<Place<I::File>> {
        if bytes > self.room() { None } else { Some(self.take(head, self.current().next, bytes)) }
    }

    /// The place of a frame without entries in the current file's reserve; `None` if that is used.
    /// For when [`Files::awaits_floor`] and [`Files::advance`] found no free file.
    ///
    /// # Panics
    ///
    /// If the head is not the next one.
    pub(crate) fn allot_reserve(&mut self, head: &FrameHead) -> Option<Place<I::File>> {
        let reserve = self.reserve();
        if self.current().next > reserve { None } else { Some(self.take(head, reserve, BLOCK)) }
    }

    fn take(&mut self, head: &FrameHead, position: u64, bytes: usize) -> Place<I::File> {
        let expected = (self.generation(), self.next_sequence);
        assert_eq!((head.generation, head.sequence), expected, "journal.sequence_contiguous");
        let Slot { opened: Some(opened), role: Use::Held(held) } = &mut self.slots[self.current]
        else {
            unreachable!("the current file is open and held");
        };
        held.last_sequence = head.sequence;
        held.next = position + bytes.next_multiple_of(BLOCK) as u64;
        assert!(held.next <= opened.length, "a frame lies within its file");
        self.next_sequence += 1;
        Place { file: opened.file.clone(), path: Rc::clone(&opened.path), position }
    }

    /// Makes a free file the current one; `false` if there is none.
    pub(crate) fn advance(&mut self) -> bool {
        let Some(free) = self.slots.iter().position(|slot| slot.role == Use::Free) else {
            return false;
        };
        self.slots[free].role = Use::Held(Held {
            generation: self.next_generation,
            first_sequence: self.next_sequence,
            last_sequence: self.next_sequence - 1,
            next: FIRST_POSITION,
        });
        self.current = free;
        self.next_generation += 1;
        true
    }

    /// The frame with this head, and all before it, are durable. Called once for each frame, in the
    /// order of their sequences.
    ///
    /// # Panics
    ///
    /// If it is called in another order.
    pub(crate) fn durable(&mut self, head: &FrameHead) {
        assert_eq!(head.sequence, self.confirmed + 1, "journal.confirmed_in_order");
        self.confirmed = head.sequence;
        self.confirmed_floor = self.confirmed_floor.max(head.floor);
        for slot in &mut self.slots {
            if let Use::Released { last } = slot.role
                && last < self.confirmed_floor
            {
                self.shard.io().reached(Rare::JournalFileFreed);
                slot.role = Use::Free;
            }
        }
    }

    /// Every log has all its bytes of this generation in synced segments, or does not need them any
    /// more. The file becomes free with the next durable frame whose floor is above it.
    ///
    /// # Panics
    ///
    /// If the generation is the current one, or is not held.
    pub(crate) fn release(&mut self, generation: u64) {
        assert_ne!(generation, self.generation(), "the current file takes frames");
        let slot = self.slots.iter_mut().find_map(|slot| match slot.role {
            Use::Held(held) if held.generation == generation => Some((held, &mut slot.role)),
            _ => None,
        });
        let (held, role) = slot.expect("a generation is released once");
        *role = Use::Released { last: held.last_sequence };
    }

    /// Whether a durable frame built from now on would make a released file free.
    pub(crate) fn awaits_floor(&self) -> bool {
        let floor = self.floor();
        self.slots.iter().any(|slot| matches!(slot.role, Use::Released { last } if last < floor))
    }

    fn making(&self, index: usize) -> Making<I> {
        Making {
            shard: self.shard.clone(),
            dir: self.settings.dir.clone(),
            index,
            journal: self.journal,
            bytes: self.settings.file_bytes,
        }
    }

    /// The making of one more file, to be run beside everything else and then handed to
    /// [`Files::made`]; `None` if there are as many as allowed, or one is being made.
    pub(crate) fn begin_making(&mut self) -> Option<Making<I>> {
        if self.slots.iter().any(|slot| slot.role == Use::Making) {
            return None;
        }
        let allowed = self.slots.iter().take(self.settings.files);
        let index = allowed.into_iter().position(|slot| slot.role == Use::Absent)?;
        self.slots[index].role = Use::Making;
        Some(self.making(index))
    }

    /// Takes what came of a making: a free file, or nothing, so that it can be tried again.
    pub(crate) fn made(&mut self, making: &Making<I>, opened: Option<Opened<I::File>>) {
        let role = if opened.is_some() { Use::Free } else { Use::Absent };
        self.slots[making.index] = Slot { opened, role };
    }
}

/// The making of one file.
pub(crate) struct Making<I: Io> {
    shard: Shard<I>,
    dir: PathBuf,
    index: usize,
    journal: u64,
    bytes: u64,
}

impl<I: Io> Making<I> {
    /// Makes the file: after `Ok` it is full of zeros but for its head, synced, and its name is
    /// durable. After `Err` it is not there, or goes at the next opening.
    pub(crate) async fn run(&self) -> Result<Opened<I::File>, IoFailure> {
        let io = self.shard.io();
        let path = self.dir.join(name(self.index));
        let temporary = self.dir.join(format!("{}{TEMPORARY}", name(self.index)));
        if let Err(failure) = self.fill(&temporary).await {
            // What is left of it goes at the next opening, should this fail too.
            let _ = io.remove_file(&temporary).await;
            return Err(failure);
        }
        let renamed = io.rename(&temporary, &path).await;
        renamed.map_err(IoFailure::of(Operation::Rename, &path))?;
        small_file::sync_dir(&self.shard, &self.dir).await?;
        let file = io.open(&path, OpenMode::WriteDirect).await;
        let file = file.map_err(IoFailure::of(Operation::Open, &path))?;
        Ok(Opened { file, path: path.into(), length: self.bytes })
    }

    async fn fill(&self, path: &Path) -> Result<(), IoFailure> {
        let io = self.shard.io();
        let removed = io.remove_file(path).await;
        if let Err(error) = removed
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(IoFailure::of(Operation::Remove, path)(error));
        }
        let file = io.open(path, OpenMode::CreateDirect).await;
        let file = file.map_err(IoFailure::of(Operation::Create, path))?;
        // A full disk says so here, before the long part.
        let allocated = file.allocate(0, self.bytes).await;
        allocated.map_err(IoFailure::of(Operation::Allocate, path))?;
        self.write_zeros(&file, path).await?;
        let mut head = self.shard.acquire(BLOCK).await;
        head.clear();
        head.extend_from_slice(&encode_head(self.journal));
        let written = file.write_at(head.freeze(), 0, Durability::Written).await;
        written.map_err(IoFailure::of(Operation::Write, path))?;
        file.sync().await.map_err(IoFailure::of(Operation::Sync, path))
    }

    async fn write_zeros(&self, file: &I::File, path: &Path) -> Result<(), IoFailure> {
        let mut position = 0;
        while position < self.bytes {
            let left = usize::try_from(self.bytes - position).unwrap_or(usize::MAX);
            let zeros = self.zeros(left).await;
            while self.bytes - position >= zeros.len() as u64 {
                let written = file.write_at(zeros.clone(), position, Durability::Written).await;
                written.map_err(IoFailure::of(Operation::Write, path))?;
                position += zeros.len() as u64;
            }
        }
        Ok(())
    }

    /// Zeros, at most `bytes` of them: as many as there is memory for now.
    async fn zeros(&self, bytes: usize) -> Buffer {
        let pool = self.shard.pool();
        let sizes = ZEROS_BYTES.into_iter().filter(|size| *size <= bytes);
        let buffer = sizes.into_iter().find_map(|size| pool.try_acquire(size));
        let mut buffer = match buffer {
            Some(buffer) => buffer,
            None => self.shard.acquire(BLOCK).await,
        };
        buffer.clear();
        buffer.resize(buffer.capacity(), 0);
        buffer.freeze()
    }
}

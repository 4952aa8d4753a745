//! What every backend of [`Io`] promises, run against all of them; and what only the simulated disk
//! does: crashes.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::cell::RefCell;
use std::future::Future;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ringlog_engine::buffer::{Buffer, BufferPool};
use ringlog_engine::io::sim::{Operation, SimIo};
use ringlog_engine::io::uring::UringIo;
use ringlog_engine::io::{DirEntry, Durability, File, Io, OpenMode};
use ringlog_engine::limits::{BLOCK, SECTOR_BYTES};

use Durability::{Synced, Written};

const BLOCK_LENGTH: u64 = BLOCK as u64;

fn frozen(pool: &BufferPool, bytes: &[u8]) -> Buffer {
    let mut buffer = pool.try_acquire(bytes.len()).expect("the pool is large enough");
    buffer.extend_from_slice(bytes);
    buffer.freeze()
}

async fn read<F: File>(pool: &BufferPool, file: &F, position: u64, length: usize) -> Vec<u8> {
    let (result, buffer) = file.read_at(pool.acquire(length).await, position).await;
    result.unwrap();
    buffer.to_vec()
}

fn kind<T>(result: std::io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// The promises of `Io` and `File`, in one folder that exists and is empty.
async fn conforms<I: Io>(io: I, pool: BufferPool, root: PathBuf) {
    direct_files(&io, &pool, &root).await;
    buffered_files(&io, &pool, &root).await;
    lengths_and_space(&io, &pool, &root).await;
    names(&io, &root).await;
    many_at_once(&io, &pool, &root).await;
    dropped_in_flight(&io, &pool, &root).await;
    clocks_and_tasks(&io).await;
}

async fn direct_files<I: Io>(io: &I, pool: &BufferPool, root: &Path) {
    let path = root.join("direct");
    assert_eq!(kind(io.open(&path, OpenMode::WriteDirect).await), Some(ErrorKind::NotFound));
    assert_eq!(kind(io.open(&path, OpenMode::ReadDirect).await), Some(ErrorKind::NotFound));
    let file = io.open(&path, OpenMode::CreateDirect).await.unwrap();
    assert_eq!(kind(io.open(&path, OpenMode::CreateDirect).await), Some(ErrorKind::AlreadyExists));

    file.write_at(frozen(pool, b"first"), 0, Synced).await.unwrap();
    assert_eq!(file.length().await.unwrap(), BLOCK_LENGTH, "a direct write is padded");
    let big: Vec<u8> = (0..3 * BLOCK + 5).map(|i| i.to_le_bytes()[0]).collect();
    file.write_at(frozen(pool, &big), BLOCK_LENGTH, Written).await.unwrap();
    file.sync().await.unwrap();
    assert_eq!(file.length().await.unwrap(), 5 * BLOCK_LENGTH);

    let reader = io.open(&path, OpenMode::ReadDirect).await.unwrap();
    let first = read(pool, &reader, 0, BLOCK).await;
    assert_eq!(&first[..5], b"first");
    assert!(first[5..].iter().all(|&byte| byte == 0));
    // Past the end there is nothing, and a read that reaches past it is cut short.
    let rest = read(pool, &reader, BLOCK_LENGTH, 16 * BLOCK).await;
    assert_eq!(rest.len(), 4 * BLOCK);
    assert_eq!(rest[..big.len()], big);
    assert!(read(pool, &reader, 5 * BLOCK_LENGTH, BLOCK).await.is_empty());

    // Overwriting replaces whole blocks and nothing else.
    let writer = io.open(&path, OpenMode::WriteDirect).await.unwrap();
    writer.write_at(frozen(pool, b"again"), BLOCK_LENGTH, Synced).await.unwrap();
    let all = read(pool, &writer, 0, 5 * BLOCK).await;
    assert_eq!((&all[..5], &all[BLOCK..BLOCK + 5]), (&b"first"[..], &b"again"[..]));
    assert_eq!(all[2 * BLOCK..BLOCK + big.len()], big[BLOCK..]);
}

async fn buffered_files<I: Io>(io: &I, pool: &BufferPool, root: &Path) {
    let path = root.join("buffered");
    assert_eq!(kind(io.open(&path, OpenMode::ReadBuffered).await), Some(ErrorKind::NotFound));
    let file = io.open(&path, OpenMode::CreateBuffered).await.unwrap();
    file.write_at(frozen(pool, b"0123456789"), 0, Written).await.unwrap();
    file.write_at(frozen(pool, b"abc"), 4, Synced).await.unwrap();
    file.write_at(frozen(pool, b"end"), 7, Written).await.unwrap();
    file.sync().await.unwrap();
    let reader = io.open(&path, OpenMode::ReadBuffered).await.unwrap();
    assert_eq!(reader.length().await.unwrap(), 10);
    assert_eq!(read(pool, &reader, 0, 100).await, b"0123abcend");
    assert_eq!(read(pool, &reader, 3, 100).await, b"3abcend");
    let writer = io.open(&path, OpenMode::WriteBuffered).await.unwrap();
    writer.write_at(frozen(pool, b"in"), 1, Written).await.unwrap();
    writer.write_at(frozen(pool, b"behind"), 12, Synced).await.unwrap();
    let expected = b"0in3abcend\0\0behind";
    assert_eq!(read(pool, &reader, 0, 100).await, expected, "what is there stays");
    drop(io.open(&path, OpenMode::CreateBuffered).await.unwrap());
    assert_eq!(reader.length().await.unwrap(), 0, "opening to create empties");

    let new = root.join("buffered-new");
    let writer = io.open(&new, OpenMode::WriteBuffered).await.unwrap();
    writer.write_at(frozen(pool, b"new"), 0, Written).await.unwrap();
    writer.sync().await.unwrap();
    let reader = io.open(&new, OpenMode::ReadBuffered).await.unwrap();
    assert_eq!(read(pool, &reader, 0, 100).await, b"new");
}

async fn lengths_and_space<I: Io>(io: &I, pool: &BufferPool, root: &Path) {
    let file = io.open(&root.join("space"), OpenMode::CreateDirect).await.unwrap();
    file.allocate(0, 4 * BLOCK_LENGTH).await.unwrap();
    assert_eq!(file.length().await.unwrap(), 4 * BLOCK_LENGTH);
    assert!(read(pool, &file, 0, 4 * BLOCK).await.iter().all(|&byte| byte == 0));
    file.write_at(frozen(pool, &[7; 2 * BLOCK]), BLOCK_LENGTH, Synced).await.unwrap();
    file.allocate(0, BLOCK_LENGTH).await.unwrap();
    assert_eq!(file.length().await.unwrap(), 4 * BLOCK_LENGTH, "allocating never cuts");
    file.set_length(2 * BLOCK_LENGTH).await.unwrap();
    file.set_length(3 * BLOCK_LENGTH).await.unwrap();
    let bytes = read(pool, &file, 0, 4 * BLOCK).await;
    assert_eq!(bytes.len(), 3 * BLOCK);
    assert_eq!(bytes[BLOCK..2 * BLOCK], [7; BLOCK]);
    assert!(bytes[2 * BLOCK..].iter().all(|&byte| byte == 0), "what was cut does not come back");
}

async fn names<I: Io>(io: &I, root: &Path) {
    let root = root.join("names/deep/er");
    assert_eq!(kind(io.list_dir(&root).await), Some(ErrorKind::NotFound));
    io.create_dir_all(&root).await.unwrap();
    io.create_dir_all(&root).await.unwrap();
    assert_eq!(io.list_dir(&root).await.unwrap(), []);
    for name in ["b", "a"] {
        drop(io.open(&root.join(name), OpenMode::CreateDirect).await.unwrap());
    }
    io.create_dir_all(&root.join("c")).await.unwrap();
    let through_a_file = io.create_dir_all(&root.join("a/d")).await;
    assert_eq!(kind(through_a_file), Some(ErrorKind::NotADirectory));
    assert_eq!(kind(io.create_dir_all(&root.join("a")).await), Some(ErrorKind::NotADirectory));
    io.sync_dir(&root).await.unwrap();
    let entry = |name: &str, is_dir| DirEntry { name: name.to_owned(), is_dir, length: 0 };
    let listed = io.list_dir(&root).await.unwrap();
    assert_eq!(listed, [entry("a", false), entry("b", false), entry("c", true)]);

    io.rename(&root.join("a"), &root.join("b")).await.unwrap();
    io.rename(&root.join("c"), &root.join("d")).await.unwrap();
    let missing = io.rename(&root.join("a"), &root.join("e")).await;
    assert_eq!(kind(missing), Some(ErrorKind::NotFound));
    let listed = io.list_dir(&root).await.unwrap();
    assert_eq!(listed, [entry("b", false), entry("d", true)]);

    drop(io.open(&root.join("d/inside"), OpenMode::CreateBuffered).await.unwrap());
    let full = io.remove_dir(&root.join("d")).await;
    assert_eq!(kind(full), Some(ErrorKind::DirectoryNotEmpty));
    io.remove_file(&root.join("d/inside")).await.unwrap();
    io.remove_dir(&root.join("d")).await.unwrap();
    io.remove_file(&root.join("b")).await.unwrap();
    assert_eq!(kind(io.remove_file(&root.join("b")).await), Some(ErrorKind::NotFound));
    assert_eq!(kind(io.remove_dir(&root.join("d")).await), Some(ErrorKind::NotFound));
    assert_eq!(io.list_dir(&root).await.unwrap(), []);
}

async fn many_at_once<I: Io>(io: &I, pool: &BufferPool, root: &Path) {
    let file = io.open(&root.join("many"), OpenMode::CreateDirect).await.unwrap();
    // More than the rings below have entries.
    let count = 100u8;
    let (sender, mut done) = counter(usize::from(count));
    for number in 0..count {
        let (file, sender) = (file.clone(), sender.clone());
        let buffer = frozen(pool, &[number; BLOCK]);
        io.spawn(async move {
            let position = u64::from(number) * BLOCK_LENGTH;
            file.write_at(buffer, position, Synced).await.unwrap();
            sender();
        });
    }
    done.as_mut().await;
    let bytes = read(pool, &file, 0, usize::from(count) * BLOCK).await;
    for (number, block) in (0..count).zip(bytes.chunks(BLOCK)) {
        assert_eq!(block, [number; BLOCK]);
    }
}

/// A callback, and a future that resolves once it was called `count` times.
fn counter(count: usize) -> (impl Fn() + Clone, std::pin::Pin<Box<dyn Future<Output = ()>>>) {
    let state = Rc::new(RefCell::new((count, None::<std::task::Waker>)));
    let waiting = Rc::clone(&state);
    let called = move || {
        let mut state = state.borrow_mut();
        state.0 -= 1;
        if let Some(waker) = state.1.take() {
            waker.wake();
        }
    };
    let future = std::future::poll_fn(move |context| {
        let mut state = waiting.borrow_mut();
        if state.0 == 0 {
            return Poll::Ready(());
        }
        state.1 = Some(context.waker().clone());
        Poll::Pending
    });
    (called, Box::pin(future))
}

async fn dropped_in_flight<I: Io>(io: &I, pool: &BufferPool, root: &Path) {
    let path = root.join("dropped");
    let file = io.open(&path, OpenMode::CreateDirect).await.unwrap();
    file.write_at(frozen(pool, &[1; BLOCK]), 0, Synced).await.unwrap();
    for round in 0..50u8 {
        let writer = io.open(&path, OpenMode::WriteDirect).await.unwrap();
        poll_and_drop(writer.write_at(frozen(pool, &[round; BLOCK]), BLOCK_LENGTH, Synced)).await;
        poll_and_drop(writer.read_at(pool.acquire(BLOCK).await, 0)).await;
        // The descriptor is closed only when the kernel is done, so no other file is hit.
        drop(writer);
        poll_and_drop(io.open(&path, OpenMode::ReadDirect)).await;
        poll_and_drop(io.sleep(Duration::from_secs(3600))).await;
        assert_eq!(read(pool, &file, 0, BLOCK).await, [1; BLOCK]);
    }
}

async fn poll_and_drop<T>(future: impl Future<Output = T>) {
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        let _ = future.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
}

async fn clocks_and_tasks<I: Io>(io: &I) {
    let (elapsed, now) = (io.elapsed(), io.now());
    io.sleep(Duration::from_millis(5)).await;
    assert!(io.elapsed() - elapsed >= Duration::from_millis(5));
    assert!(io.now().millis() - now.millis() >= 4);
    assert_ne!(io.random(), io.random());
    let (called, done) = counter(1);
    let inner = io.clone();
    io.spawn(async move {
        inner.sleep(Duration::from_micros(1)).await;
        called();
    });
    done.await;
}

const ENTRIES: u32 = 16;

fn pool() -> BufferPool {
    BufferPool::new(32 << 20)
}

#[test]
fn the_simulated_disk_conforms() {
    for seed in 0..20 {
        let io = SimIo::new(seed);
        let root = PathBuf::from("/data");
        io.run(async {
            io.create_dir_all(&root).await.unwrap();
            conforms(io.clone(), pool(), root).await;
        });
    }
}

#[test]
fn the_ring_conforms_on_a_plain_thread() {
    let folder = tempfile::tempdir().unwrap();
    let (io, pool) = (UringIo::plain(ENTRIES).unwrap(), pool());
    io.register_buffers(&pool);
    io.block_on(conforms(io.clone(), pool, folder.path().to_owned()));
    io.stop_tasks();
}

#[test]
fn the_ring_conforms_without_registered_buffers() {
    let folder = tempfile::tempdir().unwrap();
    let io = UringIo::plain(ENTRIES).unwrap();
    io.block_on(conforms(io.clone(), pool(), folder.path().to_owned()));
}

#[test]
fn the_ring_conforms_where_nothing_is_written_past_the_page_cache() {
    let Ok(folder) = tempfile::tempdir_in("/dev/shm") else { return };
    let io = UringIo::plain(ENTRIES).unwrap();
    io.block_on(conforms(io.clone(), pool(), folder.path().to_owned()));
}

#[test]
fn a_wake_from_another_thread_ends_the_rings_sleep() {
    let io = UringIo::plain(ENTRIES).unwrap();
    let pool = BufferPool::new(1 << 20);
    io.block_on(async {
        for _ in 0..20 {
            let view = {
                let mut buffer = pool.acquire(1 << 20).await;
                buffer.extend_from_slice(b"view");
                buffer.freeze().bytes(0..4)
            };
            let other = std::thread::spawn(move || drop(view));
            drop(pool.acquire(1 << 20).await);
            other.join().unwrap();
        }
    });
}

#[test]
fn a_ring_that_is_dropped_waits_for_what_is_in_flight() {
    let folder = tempfile::tempdir().unwrap();
    let pool = pool();
    for _ in 0..20 {
        let io = UringIo::plain(ENTRIES).unwrap();
        io.register_buffers(&pool);
        io.block_on(async {
            let path = folder.path().join("file");
            let file = io.open(&path, OpenMode::CreateBuffered).await.unwrap();
            for number in 0..40u8 {
                let buffer = frozen(&pool, &[number; BLOCK]);
                poll_and_drop(file.write_at(buffer, 0, Written)).await;
            }
            poll_and_drop(file.read_at(pool.acquire(BLOCK).await, 0)).await;
            poll_and_drop(io.sleep(Duration::from_secs(3600))).await;
        });
        drop(io);
        assert_eq!(pool.used(), 0);
    }
}

#[test]
fn a_ring_goes_on_when_what_it_abandoned_was_the_last_of_a_pools_memory() {
    let folder = tempfile::tempdir().unwrap();
    let io = UringIo::plain(ENTRIES).unwrap();
    io.block_on(async {
        let path = folder.path().join("file");
        let file = io.open(&path, OpenMode::CreateBuffered).await.unwrap();
        for _ in 0..3 {
            let pool = pool();
            io.register_buffers(&pool);
            poll_and_drop(file.write_at(frozen(&pool, &[1; BLOCK]), 0, Written)).await;
            drop(pool);
            file.sync().await.unwrap();
            io.sleep(Duration::from_millis(1)).await;
        }
    });
}

#[cfg(feature = "tokio")]
mod inside_tokio {
    use super::*;

    #[test]
    fn the_ring_conforms_inside_a_tokio_runtime() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let root = folder.path().to_owned();
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, drive_and_check(root));
    }

    #[test]
    fn the_ring_conforms_inside_tokio_uring() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_owned();
        tokio_uring::start(drive_and_check(root));
    }

    async fn drive_and_check(root: PathBuf) {
        let (io, pool) = (UringIo::tokio(ENTRIES).unwrap(), pool());
        io.register_buffers(&pool);
        let driver = tokio::task::spawn_local(io.drive());
        conforms(io, pool, root).await;
        assert!(!driver.is_finished());
        driver.abort();
    }
}

/// One file of four sectors a block, on a simulated disk.
struct Machine {
    io: SimIo,
    pool: BufferPool,
}

impl Machine {
    fn new(seed: u64) -> Self {
        let machine = Self { io: SimIo::new(seed), pool: pool() };
        machine.io.run(async {
            machine.io.create_dir_all(Path::new("d")).await.unwrap();
            machine.io.sync_dir(Path::new("")).await.unwrap();
        });
        machine
    }

    fn after(&self, io: SimIo) -> Self {
        Self { io, pool: self.pool.clone() }
    }

    async fn create(&self, name: &str) -> <SimIo as Io>::File {
        let file = self.io.open(&Path::new("d").join(name), OpenMode::CreateDirect).await.unwrap();
        self.io.sync_dir(Path::new("d")).await.unwrap();
        file
    }

    async fn open(&self, name: &str) -> <SimIo as Io>::File {
        self.io.open(&Path::new("d").join(name), OpenMode::WriteDirect).await.unwrap()
    }

    fn content(&self, name: &str) -> std::io::Result<Vec<u8>> {
        self.io.read_file(&Path::new("d").join(name))
    }
}

/// The distinct bytes that the first byte of each sector was found to hold.
fn sectors(bytes: &[u8]) -> Vec<u8> {
    bytes.chunks(SECTOR_BYTES).map(|sector| sector[0]).collect()
}

#[test]
fn synced_writes_survive_every_crash_and_written_ones_tear() {
    let (mut all, mut none, mut torn) = (0, 0, 0);
    for seed in 0..300 {
        let before = Machine::new(seed);
        before.io.run(async {
            let file = before.create("f").await;
            file.write_at(frozen(&before.pool, &[1; 2 * BLOCK]), 0, Synced).await.unwrap();
            file.write_at(frozen(&before.pool, &[2; BLOCK]), BLOCK_LENGTH, Written).await.unwrap();
        });
        let after = before.after(before.io.crash());
        let bytes = after.content("f").unwrap();
        assert_eq!(bytes.len(), 2 * BLOCK, "seed {seed}");
        assert_eq!(bytes[..BLOCK], [1; BLOCK], "seed {seed}");
        let second = sectors(&bytes[BLOCK..]);
        assert!(second.iter().all(|&byte| byte == 1 || byte == 2), "seed {seed}: {second:?}");
        match second.iter().filter(|&&byte| byte == 2).count() {
            0 => none += 1,
            8 => all += 1,
            _ => torn += 1,
        }
    }
    assert!(all > 10 && none > 10 && torn > 10, "{all} whole, {none} lost, {torn} torn");
}

#[test]
fn a_sync_makes_completed_writes_durable_and_a_failed_one_loses_them_for_good() {
    let mut lost = 0;
    for seed in 0..200 {
        let before = Machine::new(seed);
        let fails = seed % 2 == 1;
        before.io.run(async {
            let file = before.create("f").await;
            file.write_at(frozen(&before.pool, &[1; BLOCK]), 0, Synced).await.unwrap();
            file.write_at(frozen(&before.pool, &[2; BLOCK]), 0, Written).await.unwrap();
            if fails {
                before.io.fail_once(Some(Operation::Sync), 0, ErrorKind::Other);
                assert!(file.sync().await.is_err());
            }
            file.sync().await.unwrap();
        });
        let bytes = before.after(before.io.crash()).content("f").unwrap();
        assert!(fails || bytes == [2; BLOCK], "seed {seed}");
        lost += u32::from(bytes != [2; BLOCK]);
    }
    assert!(lost > 10, "a failed sync that then says OK loses bytes: {lost}");
}

#[test]
fn a_killed_process_loses_nothing_that_completed() {
    for seed in 0..50 {
        let before = Machine::new(seed);
        before.io.run(async {
            let file = before.io.open(Path::new("d/f"), OpenMode::CreateDirect).await.unwrap();
            file.write_at(frozen(&before.pool, &[3; BLOCK]), 0, Written).await.unwrap();
        });
        let killed = before.after(before.io.kill());
        assert_eq!(killed.content("f").unwrap(), [3; BLOCK]);
        killed.io.run(async {
            let file = killed.open("f").await;
            file.write_at(frozen(&killed.pool, &[4; BLOCK]), BLOCK_LENGTH, Written).await.unwrap();
        });
    }
}

#[test]
fn names_are_durable_only_after_their_folder_is_synced() {
    let (mut kept, mut lost) = (0, 0);
    for seed in 0..200 {
        let before = Machine::new(seed);
        before.io.run(async {
            drop(before.create("old").await);
            let file = before.io.open(Path::new("d/new"), OpenMode::CreateDirect).await.unwrap();
            file.write_at(frozen(&before.pool, &[5; BLOCK]), 0, Synced).await.unwrap();
            before.io.rename(Path::new("d/old"), Path::new("d/older")).await.unwrap();
        });
        let after = before.after(before.io.crash());
        let names: Vec<_> = after.io.run(after.io.list_dir(Path::new("d"))).unwrap();
        let names: Vec<_> = names.into_iter().map(|entry| entry.name).collect();
        match &names.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["new", "old" | "older"] => kept += 1,
            ["old"] => lost += 1,
            names => panic!("seed {seed}: changes survive in order, but here are {names:?}"),
        }
        if let Ok(bytes) = after.content("new") {
            assert_eq!(bytes, [5; BLOCK]);
        }
    }
    assert!(kept > 10 && lost > 10, "{kept} kept, {lost} lost");
}

#[test]
fn a_crash_in_the_middle_leaves_any_part_of_the_writes_in_flight() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let before = Machine::new(seed);
        let file = before.io.run(async {
            let file = before.create("f").await;
            file.write_at(frozen(&before.pool, &[1; BLOCK]), 0, Synced).await.unwrap();
            file
        });
        let buffer = frozen(&before.pool, &[2; BLOCK]);
        assert!(before.io.run_operations(file.write_at(buffer, 0, Synced), 0).is_none());
        drop(file);
        let bytes = before.after(before.io.crash()).content("f").unwrap();
        seen.insert(sectors(&bytes).iter().filter(|&&byte| byte == 2).count());
        assert_eq!(before.pool.used(), 0);
    }
    assert!(seen.len() > 5, "{seen:?}");
}

#[test]
fn garbage_appears_only_where_nothing_was_ever_synced() {
    let mut garbage = 0;
    for seed in 0..200 {
        let before = Machine::new(seed);
        before.io.run(async {
            let file = before.create("f").await;
            file.allocate(0, 2 * BLOCK_LENGTH).await.unwrap();
            file.sync().await.unwrap();
            file.allocate(0, 4 * BLOCK_LENGTH).await.unwrap();
        });
        let bytes = before.after(before.io.crash()).content("f").unwrap();
        assert!(bytes[..2 * BLOCK].iter().all(|&byte| byte == 0), "seed {seed}");
        assert!(bytes.len() == 2 * BLOCK || bytes.len() == 4 * BLOCK, "seed {seed}");
        garbage += u32::from(bytes.iter().any(|&byte| byte != 0));
    }
    assert!(garbage > 10, "{garbage}");
}

#[test]
fn a_full_disk_refuses_and_changes_nothing() {
    let machine = Machine::new(1);
    machine.io.set_capacity(4 * BLOCK_LENGTH);
    machine.io.run(async {
        let file = machine.create("f").await;
        file.allocate(0, 3 * BLOCK_LENGTH).await.unwrap();
        assert_eq!(kind(file.allocate(0, 5 * BLOCK_LENGTH).await), Some(ErrorKind::StorageFull));
        assert_eq!(file.length().await.unwrap(), 3 * BLOCK_LENGTH);
        let buffer = frozen(&machine.pool, &[1; 2 * BLOCK]);
        let full = file.write_at(buffer.clone(), 3 * BLOCK_LENGTH, Synced).await;
        assert_eq!(kind(full), Some(ErrorKind::StorageFull));
        file.write_at(buffer, BLOCK_LENGTH, Synced).await.unwrap();
        assert_eq!(machine.io.used(), 3 * BLOCK_LENGTH);
        machine.io.remove_file(Path::new("d/f")).await.unwrap();
        assert_eq!(machine.io.used(), 0, "space returns");
    });
}

#[test]
fn faults_strike_once_and_where_they_were_meant_to() {
    let machine = Machine::new(1);
    machine.io.run(async {
        let file = machine.create("f").await;
        machine.io.fail_once(Some(Operation::Write), 1, ErrorKind::Other);
        let buffer = frozen(&machine.pool, &[1; BLOCK]);
        file.write_at(buffer.clone(), 0, Synced).await.unwrap();
        assert_eq!(kind(file.write_at(buffer.clone(), 0, Synced).await), Some(ErrorKind::Other));
        file.write_at(buffer, 0, Synced).await.unwrap();
        machine.io.fail_once(None, 0, ErrorKind::PermissionDenied);
        let (result, buffer) = file.read_at(machine.pool.acquire(BLOCK).await, 0).await;
        assert_eq!((kind(result), buffer.len()), (Some(ErrorKind::PermissionDenied), 0));
    });
    machine.io.flip_bit(Path::new("d/f"), 100).unwrap();
    let bytes = machine.content("f").unwrap();
    let flipped: Vec<_> = (0..BLOCK).filter(|&i| bytes[i] != 1).collect();
    assert_eq!(flipped, [100]);
    let past = machine.io.flip_bit(Path::new("d/f"), BLOCK_LENGTH);
    assert_eq!(kind(past), Some(ErrorKind::UnexpectedEof));
}

#[test]
fn a_run_repeats_exactly_from_its_seed() {
    let run = |seed| {
        let io = SimIo::new(seed);
        io.run(async {
            io.create_dir_all(Path::new("d")).await.unwrap();
            conforms(io.clone(), pool(), PathBuf::from("d")).await;
        });
        let (elapsed, random) = (io.elapsed(), io.random());
        (elapsed, random, io.crash().fingerprint())
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7).0, run(8).0);
}

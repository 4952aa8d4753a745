//! Crashes at any time, once and again.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use super::*;

/// A disk on which a journal has more than one file in use, and a torn end.
fn full_of_frames(seed: u64) -> Rig {
    let rig = Rig::new(seed);
    rig.io.run(async {
        let (mut files, _) = rig.open().await.unwrap();
        make(&mut files).await;
        rig.fill(&mut files, 1, FRAMES - 1).await;
        assert!(files.advance());
        rig.fill(&mut files, 14, 5).await;
        for number in 19..=22 {
            rig.write(&mut files, |frame| {
                piece(frame, 0, number);
                put(frame, 1, offset(100), u64::from(number - 19), &[&[number]]);
            })
            .await;
        }
        // One that nobody waits for.
        let (_, frame) = rig.build(&mut files, |frame| piece(frame, 0, 23)).await;
        rig.io.spawn(async move {
            let _ = frame.write().await;
        });
        rig.io.sleep(Duration::from_micros(seed % 100)).await;
    });
    rig
}

#[test]
fn an_opening_that_is_interrupted_anywhere_can_be_repeated() {
    for seed in 0..12 {
        let mut operations = 0;
        loop {
            let before = full_of_frames(seed);
            let rig = Rig::on(before.io.crash());
            let opened = rig.io.run_operations(rig.open(), operations);
            let is_done = opened.is_some_and(|opened| opened.is_ok());
            // A crash in the opening, then one more in the middle of the next.
            let rig = Rig::on(if seed % 3 == 0 { rig.io.kill() } else { rig.io.crash() });
            let opened = rig.io.run_operations(rig.open(), operations / 2);
            drop(opened);
            let rig = Rig::on(rig.io.crash());
            rig.io.run(async {
                let opened = rig.open().await;
                let (_, report) = opened.unwrap_or_else(|error| {
                    panic!("seed {seed}, {operations} operations: {error}")
                });
                let segment = rig.segment(0).unwrap();
                let expected = counted(22);
                // The first byte is nobody's, in a sector that a crash may fill with anything.
                assert_eq!(segment[1..23], expected[1..], "seed {seed}, {operations} operations");
                assert_eq!(rig.segment(100).unwrap(), [19, 20, 21, 22]);
                assert_eq!(report.torn, None);
            });
            if is_done {
                break;
            }
            operations += 1;
        }
    }
}

#[test]
fn a_segment_whose_name_a_killed_process_left_unsynced_is_kept() {
    for seed in 0..20 {
        let rig = Rig::new(seed);
        rig.io.run(async {
            let (mut files, _) = rig.open().await.unwrap();
            make_segment(&rig, LOG, 0).await;
            rig.fill(&mut files, 1, 3).await;
        });
        let rig = rig.killed();
        rig.io.run(async { drop(rig.open().await.unwrap()) });
        let rig = Rig::on(rig.io.crash());
        assert_eq!(rig.segment(0).map(|bytes| bytes.len()), Some(4), "seed {seed}");
    }
}

/// What a log of numbers has been given, and what of it was acknowledged.
#[derive(Default)]
struct Model {
    /// All numbers, in order, written or only tried.
    cells: RefCell<Vec<u64>>,
    /// As many of them are acknowledged.
    acknowledged: Cell<usize>,
}

const CELL: usize = 8;

/// One life of a journal with a few frames in flight, until the machine dies under it.
async fn live(rig: Rig, mut files: Files<SimIo>, model: Rc<Model>, numbers: Rc<Cell<u64>>) {
    let mut in_flight: VecDeque<(FrameHead, usize, Rc<Cell<bool>>)> = VecDeque::new();
    // Generations, and up to which cell they hold.
    let mut held: VecDeque<(u64, usize)> = VecDeque::new();
    let mut named = 0;
    loop {
        while files.room() == 0 {
            let end = model.cells.borrow().len();
            let generation = files.generation();
            if files.advance() {
                held.push_back((generation, end));
                continue;
            }
            if let Some(making) = files.begin_making() {
                let opened = making.run().await.unwrap();
                files.made(&making, Some(opened));
                continue;
            }
            acknowledge(&rig, &mut files, &mut in_flight, &model, 0).await;
            if files.awaits_floor() && files.free() == 0 {
                let head = files.head();
                let place = files.allot_reserve(&head).expect("once is enough");
                let buffer = rig.shard.acquire(BLOCK).await;
                let frame = FrameWriter::begin(buffer, &head, BLOCK).finish();
                Written { place, frame: frame.freeze() }.write().await.unwrap();
                files.durable(&head);
                continue;
            }
            if files.free() == 0 {
                // Everything so far goes to the segment, synced.
                let (oldest, upto) = held.pop_front().expect("a full ring holds old files");
                settle(&rig, &model, upto).await;
                files.release(oldest);
            }
        }
        let generation = files.generation();
        let count = usize::try_from(1 + rig.io.random() % 600).unwrap();
        let from = model.cells.borrow().len();
        let head = files.head();
        let buffer = rig.shard.acquire(files.room()).await;
        let mut writer = FrameWriter::begin(buffer, &head, files.room());
        if named != generation {
            writer.name(7, LOG);
            named = generation;
        }
        let count = count.min((writer.room() - 25) / CELL);
        let cells: Vec<u64> = (0..count).map(|_| numbers.replace(numbers.get() + 1)).collect();
        let bytes: Vec<u8> = cells.iter().flat_map(|cell| cell.to_be_bytes()).collect();
        let (first, second) = bytes.split_at(bytes.len() / 3);
        put(&mut writer, 7, offset(0), (from * CELL) as u64, &[first, second]);
        model.cells.borrow_mut().extend(cells);
        let frame = writer.finish();
        let place = files.allot(&head, frame.len()).unwrap();
        let done = Rc::new(Cell::new(false));
        in_flight.push_back((head, from + count, Rc::clone(&done)));
        let written = Written { place, frame: frame.freeze() };
        rig.io.spawn(async move {
            written.write().await.unwrap();
            done.set(true);
        });
        let most = usize::try_from(rig.io.random() % 4).unwrap();
        acknowledge(&rig, &mut files, &mut in_flight, &model, most).await;
    }
}

/// Waits until at most `most` frames are in flight, and acknowledges in order.
async fn acknowledge(
    rig: &Rig,
    files: &mut Files<SimIo>,
    in_flight: &mut VecDeque<(FrameHead, usize, Rc<Cell<bool>>)>,
    model: &Model,
    most: usize,
) {
    loop {
        while in_flight.front().is_some_and(|(_, _, done)| done.get()) {
            let (head, end, _) = in_flight.pop_front().unwrap();
            files.durable(&head);
            model.acknowledged.set(end);
        }
        if in_flight.len() <= most {
            break;
        }
        rig.io.sleep(Duration::from_micros(10)).await;
    }
}

async fn settle(rig: &Rig, model: &Model, upto: usize) {
    let path = Kind::Log.path(&rig.settings.root.join(LOG), offset(0));
    let file = rig.io.open(&path, OpenMode::WriteBuffered).await.unwrap();
    let bytes: Vec<u8> =
        model.cells.borrow()[..upto].iter().flat_map(|cell| cell.to_be_bytes()).collect();
    let mut position = 0;
    for part in bytes.chunks(1 << 20) {
        let mut buffer = rig.shard.acquire(part.len()).await;
        buffer.extend_from_slice(part);
        file.write_at(buffer.freeze(), position, Durability::Written).await.unwrap();
        position += part.len() as u64;
    }
    file.sync().await.unwrap();
    rig.io.sync_dir(&rig.settings.root.join(LOG)).await.unwrap();
}

/// Opens the journal and takes what the segment holds for what is true from now on: all that was
/// acknowledged, and perhaps a part of what was tried after it.
async fn recover(rig: &Rig, model: &Model, seed: u64) -> Files<SimIo> {
    let (files, _) = rig.open().await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let bytes = rig.segment(0).unwrap_or_default();
    let found = bytes.chunks_exact(CELL).map(|cell| u64::from_be_bytes(cell.try_into().unwrap()));
    let recovered =
        found.zip(&*model.cells.borrow()).take_while(|(found, cell)| found == *cell).count();
    let acknowledged = model.acknowledged.get();
    assert!(recovered >= acknowledged, "seed {seed}: {recovered} of {acknowledged} recovered");
    model.cells.borrow_mut().truncate(recovered);
    model.acknowledged.set(recovered);
    if !bytes.is_empty() {
        let path = Kind::Log.path(&rig.settings.root.join(LOG), offset(0));
        let file = rig.io.open(&path, OpenMode::WriteDirect).await.unwrap();
        file.set_length((recovered * CELL) as u64).await.unwrap();
        file.sync().await.unwrap();
    }
    files
}

#[test]
fn what_was_acknowledged_survives_any_number_of_crashes() {
    let (mut torn, mut recycled) = (0, 0);
    for seed in 0..150 {
        let (model, numbers) = (Rc::new(Model::default()), Rc::new(Cell::new(1)));
        let mut io = Rig::new(seed).io;
        for _ in 0..6 {
            let rig = Rig::on(io.clone());
            let draw = io.random();
            if draw.is_multiple_of(3) {
                // It dies in the opening already.
                drop(io.run_operations(rig.open(), draw / 3 % 60));
            } else {
                let (model, numbers) = (Rc::clone(&model), Rc::clone(&numbers));
                let replayed = io.run(rig.replay()).unwrap();
                torn += u64::from(replayed.report.torn.is_some());
                let files = io.run(recover(&rig, &model, seed));
                recycled += u64::from(replayed.next_generation > 4);
                let _ = io.run_operations(live(rig, files, model, numbers), draw / 3 % 400);
            }
            io = if (draw >> 32).is_multiple_of(2) { io.crash() } else { io.kill() };
        }
        let rig = Rig::on(io.crash());
        drop(rig.io.clone().run(recover(&rig, &model, seed)));
    }
    assert!(torn > 20 && recycled > 20, "{torn} torn ends, {recycled} recycled files");
}

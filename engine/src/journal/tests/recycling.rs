//! Files: made, filled, released, written again.

use std::io::ErrorKind;

use super::*;
use crate::error::Damage;
use crate::io::sim::Operation;

#[test]
fn a_file_is_full_of_zeros_when_it_is_made() {
    let rig = Rig::new(1);
    rig.io.run(async {
        let (mut files, _) = rig.open().await.unwrap();
        make(&mut files).await;
        let bytes = rig.io.read_file(&rig.journal(1)).unwrap();
        assert_eq!(bytes.len() as u64, FILE_BYTES);
        assert!(files::decode_head(&bytes).is_some());
        assert!(bytes[BLOCK..].iter().all(|&byte| byte == 0));
        let names = rig.io.list_dir(&rig.settings.dir).await.unwrap();
        let names: Vec<&str> = names.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["00000.journal", "00001.journal"]);
    });
}

#[test]
fn a_released_file_is_free_only_after_a_durable_frame_says_that_it_is_void() {
    let rig = Rig::new(2);
    rig.io.run(async {
        let (mut files, _) = rig.open().await.unwrap();
        make(&mut files).await;
        let first = files.generation();
        rig.fill(&mut files, 1, FRAMES - 1).await;
        assert_eq!(files.room(), 0);
        assert!(files.advance());
        // One that was built before the release says nothing about it.
        let (early, frame) = rig.build(&mut files, |frame| piece(frame, 0, 20)).await;
        files.release(first);
        assert_eq!((files.free(), files.used(), files.awaits_floor()), (0, 2, true));
        frame.write().await.unwrap();
        files.durable(&early);
        assert_eq!((files.free(), files.awaits_floor()), (0, true));
        rig.write(&mut files, |frame| piece(frame, 0, 21)).await;
        assert_eq!((files.free(), files.used(), files.awaits_floor()), (1, 1, false));
    });
}

#[test]
fn the_reserve_holds_the_frame_that_frees_a_file() {
    let rig = Rig::new(3);
    rig.io.run(async {
        let (mut files, _) = rig.open().await.unwrap();
        make(&mut files).await;
        let first = files.generation();
        rig.fill(&mut files, 1, FRAMES - 1).await;
        assert!(files.advance());
        rig.fill(&mut files, 101, FRAMES).await;
        assert!(files.room() == 0 && !files.advance());
        files.release(first);
        assert!(!files.advance() && files.awaits_floor());
        let head = files.head();
        let place = files.allot_reserve(&head).unwrap();
        assert_eq!(place.position, FILE_BYTES - BLOCK as u64);
        let frame = FrameWriter::begin(rig.shard.acquire(BLOCK).await, &head, BLOCK).finish();
        Written { place, frame: frame.freeze() }.write().await.unwrap();
        assert!(files.allot_reserve(&files.head()).is_none());
        files.durable(&head);
        assert!(files.advance());
    });
    // The recycled file is found first, and its old frames are void.
    let next = rig.killed();
    next.io.run(async {
        let (_, report) = next.open().await.unwrap();
        assert_eq!((report.writes, report.torn), (FRAMES as u64 + 1, None));
        let segment = next.segment(0).unwrap();
        assert!(segment[..101].iter().all(|&byte| byte == 0), "the first file's bytes are void");
        assert_eq!(segment[101..], counted(114)[101..]);
    });
}

#[test]
fn a_recycled_files_old_frames_are_never_taken_for_new_ones() {
    let rig = Rig::new(4);
    rig.io.run(async {
        let (mut files, _) = rig.open().await.unwrap();
        make(&mut files).await;
        for round in 0..5_u8 {
            let generation = files.generation();
            let room = files.room() / BLOCK;
            rig.fill(&mut files, 20 * round, room).await;
            assert!(files.advance());
            files.release(generation);
            rig.fill(&mut files, 200, 1).await;
        }
        rig.write(&mut files, |frame| piece(frame, 0, 201)).await;
        let report = rig.replay().await.unwrap().report;
        assert_eq!((report.writes, report.entries), (2, 2));
        let segment = rig.segment(0).unwrap();
        assert_eq!((segment.len(), &segment[200..]), (202, &[200, 201][..]));
        assert!(segment[..200].iter().all(|&byte| byte == 0));
    });
}

#[test]
fn a_file_that_is_missing_although_it_counts_is_damage() {
    let rig = Rig::new(5);
    rig.io.run(async {
        let (mut files, _) = rig.open().await.unwrap();
        make(&mut files).await;
        rig.fill(&mut files, 1, FRAMES - 1).await;
        assert!(files.advance());
        rig.fill(&mut files, 101, 3).await;
        rig.io.remove_file(&rig.journal(0)).await.unwrap();
        let error = rig.replay().await.unwrap_err();
        let damage = Damage::JournalWrite {
            sequence: files.head().floor,
            confirmed: files.head().sequence - 2,
        };
        let path = rig.settings.dir.clone();
        assert_eq!(error, OpenError::Corrupt { path, position: 0, damage });
    });
}

#[test]
fn a_full_disk_refuses_a_file_and_the_next_try_finds_freed_space() {
    let rig = Rig::new(6);
    rig.io.run(async {
        rig.io.set_capacity(FILE_BYTES - 1);
        let Err(OpenError::Io(failure)) = rig.open().await else { panic!("there is no space") };
        assert!(failure.is_disk_full(), "{failure}");
        assert_eq!(rig.io.used(), 0);
        rig.io.set_capacity(2 * FILE_BYTES - 1);
        let (mut files, _) = rig.open().await.unwrap();
        let making = files.begin_making().unwrap();
        assert!(making.run().await.is_err_and(|failure| failure.is_disk_full()));
        files.made(&making, None);
        assert_eq!((files.free(), rig.io.used()), (0, FILE_BYTES));
        // What there is goes on working, and is opened again without another file.
        rig.fill(&mut files, 1, FRAMES - 1).await;
        let (mut files, report) = rig.open().await.unwrap();
        assert_eq!((report.writes, files.room()), (FRAMES as u64, 0));
        let (mut files, report) = {
            assert!(files.allot_reserve(&files.head()).is_none());
            rig.open().await.unwrap()
        };
        assert_eq!((report.writes, files.room() / BLOCK), (1, FRAMES - 1));
        rig.io.set_capacity(u64::MAX);
        make(&mut files).await;
        assert_eq!(files.free(), 1);
    });
}

#[test]
fn a_file_whose_making_failed_anywhere_can_be_made_again() {
    for seed in 0..60 {
        let rig = Rig::new(seed);
        rig.io.run(async {
            let (mut files, _) = rig.open().await.unwrap();
            rig.fill(&mut files, 1, 1).await;
            let (operation, skip) = [
                (Operation::Names, 0),
                (Operation::Open, 0),
                (Operation::Allocate, 0),
                (Operation::Write, 0),
                (Operation::Write, 1),
                (Operation::Sync, 0),
                (Operation::Names, 1),
                (Operation::SyncDir, 0),
                (Operation::Open, 1),
            ][usize::try_from(seed % 9).unwrap()];
            rig.io.fail_once(Some(operation), skip, ErrorKind::Other);
            let making = files.begin_making().unwrap();
            let opened = making.run().await;
            assert!(opened.is_err(), "seed {seed}");
            files.made(&making, None);
            make(&mut files).await;
            assert!(files.advance());
            rig.fill(&mut files, 2, 1).await;
        });
        let next = Rig::on(rig.io.crash());
        next.io.run(async {
            next.open().await.unwrap();
            assert_eq!(next.segment(0), Some(counted(2)), "seed {seed}");
        });
    }
}

#[test]
fn other_settings_take_hold_at_the_next_opening() {
    let mut rig = Rig::new(7);
    rig.settings.files = 4;
    rig.io.run(async {
        let (mut files, _) = rig.open().await.unwrap();
        for _ in 0..3 {
            make(&mut files).await;
        }
        assert!(files.begin_making().is_none(), "four are allowed");
        rig.fill(&mut files, 1, 3).await;
    });
    rig.settings.files = 2;
    let lengths = |rig: &Rig| {
        let entries = rig.io.run(rig.io.list_dir(&rig.settings.dir)).unwrap();
        entries.into_iter().map(|entry| (entry.name, entry.length)).collect::<Vec<_>>()
    };
    let file = |index, length| (files::name(index), length);
    rig.io.run(async { rig.open().await.unwrap() });
    assert_eq!(lengths(&rig), [file(0, FILE_BYTES), file(1, FILE_BYTES)]);
    assert_eq!(rig.segment(0), Some(counted(3)));
    rig.settings.file_bytes = 2 * FILE_BYTES;
    for _ in 0..3 {
        rig.io.run(async {
            let (mut files, _) = rig.open().await.unwrap();
            if let Some(making) = files.begin_making() {
                let opened = making.run().await.unwrap();
                files.made(&making, Some(opened));
            }
        });
    }
    assert_eq!(lengths(&rig), [file(0, 2 * FILE_BYTES), file(1, 2 * FILE_BYTES)]);
}

#[test]
fn a_frame_that_arrives_after_the_journal_was_opened_again_is_void() {
    let rig = Rig::new(8);
    let late = rig.io.run(async {
        let (mut files, _) = rig.open().await.unwrap();
        rig.fill(&mut files, 1, 3).await;
        rig.build(&mut files, |frame| piece(frame, 0, 4)).await.1
    });
    let next = rig.killed();
    next.io.run(async {
        let (mut files, _) = next.open().await.unwrap();
        next.fill(&mut files, 10, 2).await;
        // What the killed process had in flight reaches the disk only now.
        let path = next.journal(0);
        let position = usize::try_from(late.place.position).unwrap();
        let mut bytes = next.io.read_file(&path).unwrap();
        bytes[position..position + late.frame.padded().len()].copy_from_slice(late.frame.padded());
        next.io.write_file(&path, &bytes).unwrap();
        let report = next.replay().await.unwrap().report;
        assert_eq!((report.writes, report.entries, report.torn), (3, 2, None));
        assert_eq!(next.segment(0).unwrap()[4], 0);
    });
}

#[test]
#[should_panic(expected = "journal.sequence_contiguous")]
fn a_frame_with_another_sequence_than_the_next_gets_no_place() {
    let rig = Rig::new(11);
    rig.io.run(async {
        let (mut files, _) = rig.open().await.unwrap();
        let head = files.head();
        let _ = files.allot(&FrameHead { sequence: head.sequence + 1, ..head }, BLOCK);
    });
}

#[test]
#[should_panic(expected = "journal.confirmed_in_order")]
fn frames_are_counted_as_durable_in_the_order_of_their_sequences() {
    let rig = Rig::new(12);
    rig.io.run(async {
        let (mut files, _) = rig.open().await.unwrap();
        let _first = rig.build(&mut files, |frame| piece(frame, 0, 1)).await;
        let (second, _) = rig.build(&mut files, |frame| piece(frame, 0, 2)).await;
        files.durable(&second);
    });
}

#[test]
#[should_panic(expected = "journal.floor_counts")]
fn a_frame_with_a_floor_above_itself_is_none() {
    let rig = Rig::new(13);
    rig.io.run(async {
        let (files, _) = rig.open().await.unwrap();
        let head = FrameHead { floor: u64::MAX, ..files.head() };
        let _ = FrameWriter::begin(rig.shard.acquire(BLOCK).await, &head, BLOCK);
    });
}

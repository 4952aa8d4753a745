//! What counts, and what becomes of it.

use std::cell::Cell;
use std::pin::Pin;
use std::time::Duration;

use super::*;
use crate::error::Damage;
use crate::journal::replay::Skipped;
use crate::together;

#[test]
fn what_was_written_is_in_the_segments_after_a_crash() {
    let rig = Rig::new(1);
    rig.io.run(async {
        let (mut files, report) = rig.open().await.unwrap();
        assert_eq!(report, ReplayReport::default());
        rig.fill(&mut files, 1, 5).await;
        rig.write(&mut files, |frame| {
            frame.name(1, LOG);
            put(frame, 1, offset(0), 6, &[&[6], &[7, 8]]);
            put(frame, 1, offset(100), 0, &[b"next"]);
        })
        .await;
    });
    let next = Rig::on(rig.io.crash());
    next.io.run(async {
        let (_, report) = next.open().await.unwrap();
        let counts = (report.writes, report.entries, report.bytes, report.logs, report.torn);
        assert_eq!(counts, (7, 7, 12, 1, None));
        assert_eq!(next.segment(0), Some(counted(8)));
        assert_eq!(next.segment(100), Some(b"next".to_vec()));
    });
    // All of it is durable, and void in the journal.
    let last = Rig::on(next.io.crash());
    last.io.run(async {
        assert_eq!(last.segment(0), Some(counted(8)));
        let (_, report) = last.open().await.unwrap();
        assert_eq!((report.writes, report.entries), (1, 0));
    });
}

#[test]
fn a_torn_frame_ends_the_journal() {
    let rig = Rig::new(2);
    rig.io.run(async {
        let (mut files, _) = rig.open().await.unwrap();
        rig.fill(&mut files, 1, 3).await;
        // Three are in flight; the first of them is torn, the others get there.
        let mut frames = Vec::new();
        for number in 4..=6 {
            let many = [number; 2000];
            frames.push(
                rig.build(&mut files, |frame| {
                    piece(frame, 0, number);
                    put(frame, 1, offset(100), 0, &[&many]);
                })
                .await,
            );
        }
        let torn = frames[0].0.sequence;
        for (_, frame) in frames {
            frame.write().await.unwrap();
        }
        rig.change(0, |bytes| bytes[at(4) + 512..at(4) + 1536].fill(0));
        let replayed = rig.replay().await.unwrap();
        let report = replayed.report;
        let found = report.torn.unwrap();
        assert_eq!((found.sequence, found.later), (torn, 2));
        assert_eq!((found.path, found.position), (rig.journal(0), at(4) as u64));
        assert_eq!((report.writes, rig.segment(0)), (4, Some(counted(3))));
        assert_eq!(rig.segment(100), None);
        assert!(replayed.next_sequence > torn + 2);
    });
}

#[test]
fn a_frame_that_is_lost_before_a_confirmed_one_is_damage() {
    let rig = Rig::new(3);
    rig.io.run(async {
        let (mut files, _) = rig.open().await.unwrap();
        rig.fill(&mut files, 1, 5).await;
        let (sequence, confirmed) = (files.head().sequence - 3, files.head().sequence - 2);
        rig.change(0, |bytes| bytes[at(3) + 4..at(3) + 600].fill(0));
        let damage = Damage::JournalWrite { sequence, confirmed };
        let error = rig.replay().await.unwrap_err();
        let path = rig.settings.dir.clone();
        assert_eq!(error, OpenError::Corrupt { path, position: 0, damage });
        assert_eq!(rig.segment(0), None);
    });
}

#[test]
fn a_bit_that_changed_in_the_last_frame_is_damage() {
    let rig = Rig::new(4);
    rig.io.run(async {
        let (mut files, _) = rig.open().await.unwrap();
        rig.fill(&mut files, 1, 2).await;
        let last = rig.write(&mut files, |frame| piece(frame, 0, 3)).await;
        let length = 56 + 7 + LOG.len() + 25 + 1;
        for byte in 0..length {
            rig.change(0, |bytes| bytes[at(3) + byte] ^= 0x10);
            let damage = Damage::JournalRot { sequence: last.sequence };
            let (path, position) = (rig.journal(0), at(3) as u64);
            let error = rig.replay().await.unwrap_err();
            assert_eq!(error, OpenError::Corrupt { path, position, damage }, "byte {byte}");
            rig.change(0, |bytes| bytes[at(3) + byte] ^= 0x10);
        }
        assert_eq!(rig.replay().await.unwrap().report.writes, 4);
    });
}

#[test]
fn a_sector_that_was_to_change_in_one_bit_only_is_torn() {
    let rig = Rig::new(5);
    rig.io.run(async {
        let (mut files, _) = rig.open().await.unwrap();
        rig.fill(&mut files, 1, 2).await;
        rig.write(&mut files, |frame| {
            piece(frame, 0, 3);
            let mut zeros = [0; 1500];
            zeros[1000] = 1;
            put(frame, 1, offset(100), 0, &[&zeros]);
        })
        .await;
        rig.change(0, |bytes| bytes[at(3) + 1024..at(3) + 1536].fill(0));
        let report = rig.replay().await.unwrap().report;
        assert_eq!((report.writes, report.torn.is_some()), (3, true));
    });
}

#[test]
fn what_is_settled_is_not_written_again() {
    let rig = Rig::new(6);
    rig.io.run(async {
        let (mut files, _) = rig.open().await.unwrap();
        rig.write(&mut files, |frame| {
            piece(frame, 0, 1);
            put(frame, 1, offset(50), 0, &[b"fifty"]);
            frame.name(2, "b-0");
        })
        .await;
        rig.write(&mut files, |frame| frame.settled(1, Some(offset(50)))).await;
        // Entries behind a settlement count, also in the same frame.
        rig.write(&mut files, |frame| {
            put(frame, 1, offset(0), 0, &[b"after"]);
            put(frame, 2, offset(0), 0, &[b"gone"]);
            frame.settled(2, None);
        })
        .await;
        let report = rig.replay().await.unwrap().report;
        assert_eq!(report.skipped, Skipped { settled: 2, ..Skipped::default() });
        assert_eq!(rig.segment(0), Some(b"after".to_vec()));
        assert_eq!(rig.segment(50), Some(b"fifty".to_vec()));

        rig.write(&mut files, |frame| frame.settled(1, None)).await;
        let report = rig.replay().await.unwrap().report;
        assert_eq!((report.skipped.settled, report.entries), (4, 0));
    });
}

#[test]
fn what_is_gone_does_not_come_back() {
    let rig = Rig::new(7);
    rig.io.run(async {
        let (mut files, _) = rig.open().await.unwrap();
        make_segment(&rig, LOG, 100).await;
        rig.write(&mut files, |frame| {
            piece(frame, 0, 1);
            put(frame, 1, offset(100), 0, &[b"there"]);
            put(frame, 1, offset(200), 0, &[b"new"]);
            frame.name(2, "deleted-0");
            put(frame, 2, offset(0), 0, &[b"deleted"]);
        })
        .await;
        let report = rig.replay().await.unwrap().report;
        assert_eq!(report.skipped, Skipped { settled: 0, log_gone: 1, segment_gone: 1 });
        assert_eq!((report.entries, report.logs), (2, 1));
        assert_eq!(rig.segment(0), None);
        assert_eq!(rig.segment(100), Some(b"there".to_vec()));
        assert_eq!(rig.segment(200), Some(b"new".to_vec()));
        assert!(rig.io.list_dir(Path::new("data/deleted-0")).await.is_err());
    });
}

#[test]
fn one_log_can_be_replayed_alone() {
    let rig = Rig::new(8);
    rig.io.run(async {
        rig.io.create_dir_all(Path::new("data/b-0")).await.unwrap();
        let (mut files, _) = rig.open().await.unwrap();
        rig.write(&mut files, |frame| {
            piece(frame, 0, 0);
            frame.name(2, "b-0");
            put(frame, 2, offset(0), 0, &[b"other"]);
        })
        .await;
        let report = rig.replay_live(&RefCell::new(files), "b-0").await.unwrap().report;
        assert_eq!((report.entries, report.logs), (1, 1));
        assert_eq!(rig.segment(0), None);
        let other = Kind::Log.path(Path::new("data/b-0"), offset(0));
        assert_eq!(rig.io.read_file(&other).unwrap(), b"other");
    });
}

/// One of two things that go on at once.
type Lane<'a> = Pin<Box<dyn Future<Output = Result<(), OpenError>> + 'a>>;

#[test]
fn one_log_can_be_replayed_while_the_journal_is_written_and_recycled() {
    for seed in 0..200 {
        let rig = Rig::new(seed);
        rig.io.run(async {
            rig.io.create_dir_all(Path::new("data/b-0")).await.unwrap();
            let (mut files, _) = rig.open().await.unwrap();
            make(&mut files).await;
            let first = files.generation();
            rig.fill(&mut files, 1, FRAMES - 1).await;
            assert!(files.advance());
            for number in 0..4 {
                rig.write(&mut files, |frame| {
                    frame.name(2, "b-0");
                    put(frame, 2, offset(0), u64::from(number), &[&[number]]);
                })
                .await;
            }
            rig.fill(&mut files, 20, FRAMES - 5).await;
            // The next file is one that is read before the current one, or after it.
            let is_before = seed % 2 == 0;
            if !is_before {
                files.release(first);
            }
            rig.fill(&mut files, 40, 1).await;
            if is_before {
                make(&mut files).await;
            }
            assert!(files.advance());
            rig.fill(&mut files, 60, FRAMES - 1).await;
            if !is_before {
                make(&mut files).await;
            }
            let files = RefCell::new(files);
            let is_read = Cell::new(false);
            let write = async {
                rig.io.sleep(Duration::from_micros(rig.io.random() % 1000)).await;
                if is_before {
                    files.borrow_mut().release(first);
                }
                while !is_read.get() && (files.borrow().room() > 0 || files.borrow_mut().advance())
                {
                    let buffer = rig.shard.acquire(BLOCK).await;
                    let head = files.borrow().head();
                    let mut frame = FrameWriter::begin(buffer, &head, BLOCK);
                    piece(&mut frame, 0, 50);
                    let frame = frame.finish();
                    let place = files.borrow_mut().allot(&head, frame.len()).unwrap();
                    Written { place, frame: frame.freeze() }.write().await.unwrap();
                    files.borrow_mut().durable(&head);
                }
                Ok(())
            };
            let read = async {
                rig.replay_live(&files, "b-0").await?;
                is_read.set(true);
                Ok(())
            };
            let both: [Lane<'_>; 2] = [Box::pin(write), Box::pin(read)];
            let done = together::all(2, both).await;
            assert_eq!(done, Ok(()), "seed {seed}");
            let other = Kind::Log.path(Path::new("data/b-0"), offset(0));
            assert_eq!(rig.io.read_file(&other).unwrap(), [0, 1, 2, 3], "seed {seed}");
            assert_eq!(rig.segment(0), None);
        });
    }
}

#[test]
fn a_clients_bytes_are_never_taken_for_a_frame() {
    let rig = Rig::new(9);
    rig.io.run(async {
        let (mut files, _) = rig.open().await.unwrap();
        rig.fill(&mut files, 1, 2).await;
        // A client knows all but the journal's number.
        let head = files.head();
        let forged = FrameHead { journal: head.journal ^ 1, sequence: head.sequence, ..head };
        let mut forged = FrameWriter::begin(rig.shard.acquire(BLOCK).await, &forged, BLOCK);
        piece(&mut forged, 0, 9);
        let forged = forged.finish();
        rig.write(&mut files, |frame| {
            frame.name(1, LOG);
            let used = (BLOCK - frame.room() % BLOCK) % BLOCK;
            let lead = BLOCK - used - 25;
            put(frame, 1, offset(100), 0, &[&vec![1; lead], &forged]);
        })
        .await;
        // Its frame is torn, but for the block with the forged one.
        rig.change(0, |bytes| {
            let aligned =
                (at(3)..at(5)).step_by(BLOCK).find(|&at| bytes[at..].starts_with(&forged));
            assert_eq!(aligned, Some(at(4)));
            bytes[at(3) + 512..at(4)].fill(0);
        });
        let report = rig.replay().await.unwrap().report;
        assert_eq!((report.writes, rig.segment(0)), (3, Some(counted(2))));
    });
}

#[test]
fn files_of_no_or_another_journal_are_refused() {
    let rig = Rig::new(10);
    rig.io.run(async {
        let (mut files, _) = rig.open().await.unwrap();
        make(&mut files).await;
        for byte in [0, 5, 9, 15] {
            rig.change(1, |bytes| bytes[byte] ^= 1);
            let (path, damage) = (rig.journal(1), Damage::JournalFile);
            let error = rig.replay().await.unwrap_err();
            assert_eq!(error, OpenError::Corrupt { path, position: 0, damage });
            rig.change(1, |bytes| bytes[byte] ^= 1);
        }
        let other = Rig::new(11);
        let foreign = other.io.run(async {
            other.open().await.unwrap();
            other.io.read_file(&other.journal(0)).unwrap()
        });
        rig.change(1, |bytes| *bytes = foreign);
        assert!(matches!(rig.replay().await, Err(OpenError::Corrupt { position: 0, .. })));
        rig.change(1, |bytes| bytes.truncate(100));
        assert!(matches!(rig.replay().await, Err(OpenError::Corrupt { position: 0, .. })));
    });
}

#[test]
fn bytes_of_a_log_that_has_no_name_are_damage() {
    let rig = Rig::new(12);
    rig.io.run(async {
        let (mut files, _) = rig.open().await.unwrap();
        let head = rig.write(&mut files, |frame| put(frame, 1, offset(0), 0, &[b"?"])).await;
        let damage = Damage::JournalEntries { sequence: head.sequence };
        let (path, position) = (rig.journal(0), at(1) as u64);
        assert_eq!(rig.replay().await, Err(OpenError::Corrupt { path, position, damage }));
    });
}

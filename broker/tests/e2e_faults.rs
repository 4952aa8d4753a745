//! Faults of the machine: killed brokers, damaged files, full disks, folders and ports that are
//! not to be had. Each ends in a clear error, and what was acknowledged stays.

mod e2e_support;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::net::TcpListener;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;

use e2e_support::*;

/// A segment's first and only log file.
fn first_segment(folder: &Folder, topic: &str, partition: i32) -> PathBuf {
    folder.partition(topic, partition).join("00000000000000000000.log")
}

fn flip(path: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("the segment");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("a byte");
    file.write_all_at(&[byte[0] ^ 0x40], at).expect("written");
}

#[test]
fn nothing_acknowledged_is_lost_or_moved_when_the_broker_is_killed_under_load() {
    const WRITERS: i32 = 4;
    const ROUNDS: usize = 3;
    const ACKNOWLEDGED_PER_ROUND: usize = 150;
    let mut broker = Process::start(&Folder::new(), &["shards=2"]);
    let topic = create_topic(&mut broker.client(), "load", WRITERS, &[("segment.bytes", "65536")]);
    let mut told: BTreeMap<(i32, i64), String> = BTreeMap::new();
    for round in 0..ROUNDS {
        let (acknowledged, heard) = mpsc::channel();
        for partition in 0..WRITERS {
            let (mut client, topic) = (broker.client(), topic.clone());
            let acknowledged = acknowledged.clone();
            std::thread::spawn(move || {
                for at in 0.. {
                    let value = format!("{round}/{partition}/{at}/{}", "x".repeat(at % 3000));
                    let codec = CODECS[at % CODECS.len()];
                    let batch = compress_batch(codec, &batch(&[&value])).expect("compresses");
                    let request = produce_request(&topic, -1, &[(partition, Some(&batch))]);
                    let Some(answer) = client.try_ask(&request, 9) else { return };
                    let answer = &answer.topics[0].partitions[0];
                    let message = answer.error_message.clone();
                    assert_eq!(code(answer.error_code), ErrorCode::None, "{message:?}");
                    if acknowledged.send((partition, answer.base_offset, value)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(acknowledged);
        let mut note = |(partition, offset, value): (i32, i64, String)| {
            let before = told.insert((partition, offset), value);
            assert_eq!(before, None, "offset {offset} of {partition} was given twice");
        };
        heard.iter().take(ACKNOWLEDGED_PER_ROUND).for_each(&mut note);
        broker = broker.kill_and_restart();
        // What was acknowledged while the broker was being killed counts as well.
        heard.iter().for_each(&mut note);
        let mut client = broker.client();
        for partition in 0..WRITERS {
            let stored = read_all(&mut client, &topic, partition);
            assert!((0..).zip(&stored).all(|(expected, (offset, _))| expected == *offset));
            let stored: BTreeMap<_, _> = stored.into_iter().collect();
            for ((_, offset), value) in told.range((partition, 0)..=(partition, i64::MAX)) {
                assert_eq!(stored.get(offset), Some(value), "offset {offset} of {partition}");
            }
        }
    }
    assert!(told.len() >= ROUNDS * ACKNOWLEDGED_PER_ROUND);
}

#[test]
fn an_idempotent_producer_that_retries_over_kills_writes_every_batch_once() {
    const BATCHES: i32 = 400;
    let mut broker = Process::start(&Folder::new(), &["shards=2"]);
    let mut client = broker.client();
    let topic = create_topic(&mut client, "retried", 1, &[]);
    let id = producer_id(&mut client);
    let batch_of = |sequence: i32| sequenced(id, 0, sequence, 1);
    let mut acknowledged = 0;
    for kill_after in [60, 130, 290, BATCHES] {
        // Five in flight, as a real producer has: at the kill, nobody knows what became of them.
        let mut sent = acknowledged;
        while acknowledged < kill_after {
            while sent < BATCHES.min(acknowledged + 5) {
                let request = produce_request(&topic, -1, &[(0, Some(&batch_of(sent)))]);
                client.send(&request, 9);
                sent += 1;
            }
            let answer = client.receive::<ProduceRequest>(9).1;
            let answer = &answer.topics[0].partitions[0];
            assert_eq!(code(answer.error_code), ErrorCode::None);
            assert_eq!(answer.base_offset, i64::from(acknowledged), "told the same offset again");
            acknowledged += 1;
        }
        broker = broker.kill_and_restart();
        client = broker.client();
    }
    assert_eq!(end_offset(&mut client, &topic, 0), i64::from(BATCHES));
    let stored = split(&fetch(&mut client, &topic, 0, 0));
    assert_eq!(stored.len(), usize::try_from(BATCHES).expect("small"));
    for (stored, sequence) in stored.iter().zip(0..) {
        assert_stored(stored, &batch_of(sequence), i64::from(sequence));
    }
}

#[test]
fn a_broker_told_to_stop_answers_what_it_has_taken_and_keeps_it() {
    let folder = Folder::new();
    let broker = Process::start(&folder, &["shards=2"]);
    let mut client = broker.client();
    let topic = create_topic(&mut client, "stopped", 2, &[]);
    let mut told = Vec::new();
    for at in 0..200 {
        let request = produce_request(&topic, -1, &[(at % 2, Some(&batch(&["value"])))]);
        client.send(&request, 9);
        if at % 2 == 1 {
            told.push(client.receive::<ProduceRequest>(9).1);
        }
    }
    assert_eq!(broker.terminate(), Some(0));
    while let Some(frame) = client.try_receive_frame() {
        told.push(answer::<ProduceRequest>(frame, 9).1);
    }
    let broker = Process::start(&folder, &["shards=2"]);
    let mut client = broker.client();
    let mut ends = [0, 0];
    for answer in told {
        let answer = &answer.topics[0].partitions[0];
        assert_eq!(code(answer.error_code), ErrorCode::None);
        let end = &mut ends[usize::try_from(answer.index).expect("an index")];
        assert_eq!(answer.base_offset, *end);
        *end += 1;
    }
    for (partition, end) in (0..).zip(ends) {
        assert!(end_offset(&mut client, &topic, partition) >= end);
    }
}

#[test]
fn an_unfinished_end_is_cut_and_everything_before_it_stays() {
    let folder = Folder::new();
    let broker = Process::start(&folder, &["shards=1"]);
    let mut client = broker.client();
    let topic = create_topic(&mut client, "torn", 1, &[]);
    let sent = batch(&["whole", "batch"]);
    for _ in 0..10 {
        produce(&mut client, &topic, 0, &sent);
    }
    broker.kill();
    // Half a batch, as a write that the crash has torn.
    let file = OpenOptions::new().write(true).open(first_segment(&folder, "torn", 0));
    let end = u64::try_from(10 * sent.len()).expect("small");
    let next = changed(&sent, |batch| batch[..8].copy_from_slice(&20_i64.to_be_bytes()));
    file.expect("the segment").write_all_at(&next[..next.len() / 2], end).expect("written");
    let broker = Process::start(&folder, &["shards=1"]);
    let mut client = broker.client();
    assert_eq!(end_offset(&mut client, &topic, 0), 20);
    assert_eq!(produce(&mut client, &topic, 0, &sent), 20);
    // What was found on disk, and what came since: one fetch gives one of them.
    let mut stored = split(&fetch(&mut client, &topic, 0, 0));
    assert_eq!(stored.len(), 10);
    stored.extend(split(&fetch(&mut client, &topic, 0, 20)));
    assert_eq!(stored.len(), 11);
    for (stored, base_offset) in stored.iter().zip((0..).step_by(2)) {
        assert_stored(stored, &sent, base_offset);
    }
}

#[test]
fn a_partition_with_a_flipped_byte_amid_acknowledged_records_stays_offline_and_others_are_served() {
    let folder = Folder::new();
    let broker = Process::start(&folder, &["shards=1"]);
    let mut client = broker.client();
    let topic = create_topic(&mut client, "flipped", 2, &[]);
    // More than a crash can have left in flight.
    let sent = large(900_000);
    for partition in 0..2 {
        for _ in 0..8 {
            produce(&mut client, &topic, partition, &sent);
        }
    }
    broker.kill();
    flip(&first_segment(&folder, "flipped", 0), 1_000_000);
    let length = fs::metadata(first_segment(&folder, "flipped", 0)).expect("there").len();
    let broker = Process::start(&folder, &["shards=1"]);
    let mut client = broker.client();
    let part = fetch_at(&mut client, 12, &topic, 0, 0);
    assert_eq!(code(part.error_code), ErrorCode::KafkaStorageError);
    let answer = produce_at(&mut client, 12, &topic, 0, &sent);
    assert_eq!(code(answer.error_code), ErrorCode::KafkaStorageError);
    let answer = list_offset(&mut client, 7, &topic, 0, -1);
    assert_eq!(code(answer.error_code), ErrorCode::KafkaStorageError);
    assert_eq!(produce(&mut client, &topic, 1, &sent), 8);
    assert_stored(&split(&fetch(&mut client, &topic, 1, 8))[0], &sent, 8);
    let after = fs::metadata(first_segment(&folder, "flipped", 0)).expect("there").len();
    assert_eq!(after, length, "nothing was cut: somebody may still save it");
}

#[test]
fn a_flipped_byte_in_a_cleanly_closed_log_is_reported_and_never_served() {
    let broker = Broker::with(&["shards=1"]);
    let mut client = broker.client();
    let topic = create_topic(&mut client, "rotten", 2, &[]);
    let sent = large(1_000);
    for partition in 0..2 {
        for _ in 0..6 {
            produce(&mut client, &topic, partition, &sent);
        }
    }
    let folder = broker.stop();
    let third = u64::try_from(3 * sent.len() + 500).expect("small");
    flip(&first_segment(&folder, "rotten", 0), third);
    let broker = Broker::on(folder, &["shards=1"]);
    let mut client = broker.client();
    let mut served = 0;
    let error = loop {
        let part = fetch_at(&mut client, 12, &topic, 0, served);
        if part.error_code != 0 {
            break code(part.error_code);
        }
        let batches = split(&records(&part));
        assert!(!batches.is_empty(), "the fault at offset 3 is not passed over in silence");
        for batch in &batches {
            assert_stored(batch, &sent, served);
            served += 1;
        }
        assert!(served <= 3, "the damaged batch is not served");
    };
    assert!(matches!(error, ErrorCode::CorruptMessage | ErrorCode::KafkaStorageError), "{error:?}");
    assert_eq!(split(&fetch(&mut client, &topic, 1, 0)).len(), 6);
}

#[test]
fn a_folder_locked_by_a_running_broker_is_left_alone() {
    let broker = Broker::start();
    let mut client = broker.client();
    let topic = create_topic(&mut client, "owned", 1, &[]);
    let (status, said) = start_refused(broker.folder().path(), &[]);
    assert_eq!(status, 1, "{said}");
    let expected = format!("locked by another running broker (process {})", std::process::id());
    assert!(said.contains(&expected), "{said}");
    assert_eq!(produce(&mut client, &topic, 0, &batch(&["undisturbed"])), 0);
}

#[test]
fn a_port_in_use_is_told_whoever_holds_it() {
    let stranger = TcpListener::bind("127.0.0.1:0").expect("a port");
    let broker = Process::start(&Folder::new(), &["shards=2"]);
    for taken in [stranger.local_addr().expect("an address"), broker.address()] {
        let folder = Folder::new();
        let (status, said) = start_refused_at(&taken.to_string(), folder.path(), &["shards=2"]);
        assert_eq!(status, 1, "{said}");
        assert!(
            said.contains(&taken.to_string()) && said.contains("another process does already"),
            "{said}"
        );
    }
    let mut client = broker.client();
    let topic = create_topic(&mut client, "undisturbed", 1, &[]);
    assert_eq!(produce(&mut client, &topic, 0, &batch(&["value"])), 0);
}

#[test]
fn a_folder_that_may_not_be_written_to_is_told() {
    if rustix::process::geteuid().is_root() {
        eprintln!("skipped: root may write everywhere");
        return;
    }
    let folder = Folder::new();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o500)).expect("set");
    let (status, said) = start_refused(folder.path(), &[]);
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("this user may not"), "{said}");
}

#[test]
fn a_foreign_file_in_the_data_folder_is_left_alone() {
    let folder = Folder::new();
    fs::write(folder.path().join("notes.txt"), "mine").expect("written");
    fs::create_dir(folder.path().join("holiday-2024")).expect("made");
    fs::write(folder.path().join("holiday-2024/photo"), "sea").expect("written");
    let broker = Broker::on(folder, &["shards=1"]);
    create_topic(&mut broker.client(), "topic", 1, &[]);
    let folder = broker.restart().stop();
    assert_eq!(fs::read(folder.path().join("notes.txt")).expect("there"), b"mine");
    assert_eq!(fs::read(folder.path().join("holiday-2024/photo")).expect("there"), b"sea");
}

/// A small file system of its own, in a file.
struct SmallDisk {
    folder: Folder,
    mounted: PathBuf,
}

impl SmallDisk {
    /// `None`, with a message, where this user or machine cannot mount one.
    fn mount(bytes: u64) -> Option<Self> {
        let folder = Folder::new();
        let image = folder.path().join("image");
        File::create(&image).and_then(|file| file.set_len(bytes)).expect("an image");
        let mounted = folder.path().join("disk");
        fs::create_dir(&mounted).expect("a folder");
        let run = |program: &str, arguments: &[&str]| {
            Command::new(program)
                .args(arguments)
                .output()
                .map_err(|error| error.to_string())
                .and_then(|output| match output.status.success() {
                    true => Ok(()),
                    false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
                })
        };
        let (image, target) = (image.display().to_string(), mounted.display().to_string());
        let made = run("mkfs.ext4", &["-q", "-F", "-m", "0", &image])
            .and_then(|()| run("mount", &["-o", "loop", &image, &target]));
        if let Err(error) = made {
            eprintln!("skipped: no small file system can be mounted here: {error}");
            return None;
        }
        Some(Self { folder, mounted })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazy, because a failed test may leave files open.
        let _ = Command::new("umount").arg("-l").arg(&self.mounted).output();
    }
}

#[test]
fn a_full_disk_refuses_records_serves_reads_and_takes_records_again_when_there_is_room() {
    let Some(disk) = SmallDisk::mount(96 << 20) else { return };
    let data = disk.mounted.join("data");
    let ballast = disk.mounted.join("ballast");
    rustix::fs::fallocate(
        File::create(&ballast).expect("a file"),
        rustix::fs::FallocateFlags::empty(),
        0,
        40 << 20,
    )
    .expect("room for ballast");
    let settings = ["shards=1", "log.segment.bytes=4194304"];
    let broker = Process::start_in(&disk.folder, &data, &settings);
    let mut client = broker.client();
    let topic = create_topic(&mut client, "filling", 2, &[]);
    let sent = large(900_000);
    let mut stored = 0;
    let full = loop {
        let answer = produce_at(&mut client, 12, &topic, 0, &sent);
        if answer.error_code != 0 {
            break answer;
        }
        assert_eq!(answer.base_offset, stored);
        stored += 1;
        assert!(stored < 200, "the disk does not fill");
    };
    assert_eq!(code(full.error_code), ErrorCode::KafkaStorageError, "{:?}", full.error_message);
    assert!(stored > 5, "{stored} batches were taken");
    for offset in [0, stored / 2, stored - 1] {
        assert_stored(&split(&fetch(&mut client, &topic, 0, offset))[0], &sent, offset);
    }
    assert_eq!(end_offset(&mut client, &topic, 0), stored);
    let again = refused(&mut client, &topic, 0, &sent);
    assert_eq!(again, ErrorCode::KafkaStorageError);
    fs::remove_file(&ballast).expect("removed");
    assert_eq!(produce(&mut client, &topic, 0, &sent), stored, "without a restart");
    assert_eq!(produce(&mut client, &topic, 1, &sent), 0);
    let broker = broker.kill_and_restart();
    let mut client = broker.client();
    assert_eq!(end_offset(&mut client, &topic, 0), stored + 1);
    assert_stored(&split(&fetch(&mut client, &topic, 0, stored))[0], &sent, stored);
    drop(broker);
}

#[test]
fn a_thousand_idle_connections_do_not_stand_in_the_way_and_are_let_go() {
    let broker = Process::start(&Folder::new(), &["shards=2"]);
    let mut client = broker.client();
    let topic = create_topic(&mut client, "busy", 1, &[]);
    let before = broker.descriptors();
    let idle: Vec<Client> = (0..1_000).map(|_| broker.client()).collect();
    assert_eq!(produce(&mut client, &topic, 0, &batch(&["served"])), 0);
    drop(idle);
    // Ends when the broker has noticed. Serving has opened a few files meanwhile.
    while broker.descriptors() > before + 100 {
        assert!(!metadata(&mut client, &[], false).brokers.is_empty());
    }
}

#[test]
fn a_client_that_never_reads_its_answers_costs_others_nothing() {
    let broker = Broker::start();
    let mut client = broker.client();
    let topic = create_topic(&mut client, "ignored", 1, &[]);
    let sent = large(1_000_000);
    produce(&mut client, &topic, 0, &sent);
    let mut deaf = broker.client();
    let request = fetch_request(&topic, &[(0, 0)]);
    // A hundred megabytes of answers, which no socket buffer holds.
    for _ in 0..100 {
        deaf.send(&request, 12);
    }
    for offset in 1..20 {
        assert_eq!(produce(&mut client, &topic, 0, &batch(&["served"])), offset);
    }
    let mut answers = 0;
    for _ in 0..100 {
        let (_, answer) = deaf.receive::<FetchRequest>(12);
        answers += usize::from(!records(&parts(answer)[0]).is_empty());
    }
    assert_eq!(answers, 100, "and it is answered once it does read");
}

//! The engine on real files, under `kill -9` and losses of power; and the disk that loses it.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::fs::{self, File};
use std::io::{IoSlice, Write};
use std::path::Path;

use ringlog_tools::real_crash::disk::Disk;
use ringlog_tools::real_crash::{Fault, Plan, RoundsError, Summary, run};
use rustix::io::ReadWriteFlags;

/// A disk of our own, or nothing, said aloud, where this process may not mount one.
fn disk(at: &Path, seed: u64) -> Option<Disk> {
    match Disk::mount(at, seed) {
        Ok(disk) => Some(disk),
        Err(error) => {
            eprintln!("skipped: no FUSE file system can be mounted here: {error}");
            None
        }
    }
}

/// Writes a file under its own name, durable but for what the caller leaves out.
fn write(path: &Path, bytes: &[u8], synced: bool) {
    let mut file = File::create(path).unwrap();
    file.write_all(bytes).unwrap();
    if synced {
        file.sync_all().unwrap();
    }
}

fn sync_folder(path: &Path) {
    File::open(path).unwrap().sync_all().unwrap();
}

#[test]
fn the_disk_keeps_what_was_synced_and_loses_what_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let (mut losses, mut survivors) = (0, 0);
    for seed in 0..20 {
        let Some(mut disk) = disk(root, seed) else { return };
        let at = |name: &str| root.join(name);
        write(&at("synced"), &[1; 5000], true);
        write(&at("unsynced"), &[2; 5000], false);
        sync_folder(root);
        write(&at("nameless"), &[3; 5000], true);
        fs::rename(at("synced"), at("renamed")).unwrap();
        assert_eq!(fs::read(at("unsynced")).unwrap(), [2; 5000]);
        let lost = disk.lose_power().unwrap();
        losses += lost.sectors_lost + lost.names_lost + lost.lengths_lost;
        let synced = fs::read(at("synced")).or_else(|_| fs::read(at("renamed"))).unwrap();
        assert_eq!(synced, [1; 5000], "seed {seed}");
        let unsynced = fs::read(at("unsynced")).unwrap();
        survivors += u64::from(unsynced == [2; 5000]);
        if let Ok(bytes) = fs::read(at("nameless")) {
            assert_eq!(bytes, [3; 5000], "seed {seed}");
        }
    }
    assert!(losses > 0, "nothing was ever lost");
    assert!(survivors < 20, "what was not synced was there each time");
}

#[test]
fn a_write_that_syncs_itself_is_kept_and_its_neighbour_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut neighbour_lost = false;
    for seed in 0..20 {
        let Some(mut disk) = disk(folder.path(), seed) else { return };
        let path = folder.path().join("file");
        write(&path, &[0; 8192], true);
        sync_folder(folder.path());
        let file = File::options().write(true).open(&path).unwrap();
        let put = |byte: u8, at: u64, flags| {
            let bytes = [byte; 4096];
            assert_eq!(
                rustix::io::pwritev2(&file, &[IoSlice::new(&bytes)], at, flags).unwrap(),
                4096
            );
        };
        put(7, 0, ReadWriteFlags::DSYNC);
        put(8, 4096, ReadWriteFlags::empty());
        drop(file);
        disk.lose_power().unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes[..4096], [7; 4096], "seed {seed}");
        neighbour_lost |= bytes[4096..] != [8; 4096];
    }
    assert!(neighbour_lost, "what was not synced was there each time");
}

fn rounds(fault: Fault, seed: u64, rounds: u64) -> Option<Summary> {
    let folder = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_simulate").into();
    let dir = folder.path().to_owned();
    let name = if fault == Fault::Kill { "kill" } else { "power" };
    match run(&Plan { program, dir, rounds, seed, fault }) {
        Ok(summary) => Some(summary),
        Err(RoundsError::Mount { source, .. }) => {
            eprintln!("skipped: no FUSE file system can be mounted here: {source}");
            None
        }
        Err(error) => panic!(
            "{error}\nsimulate real --rounds {rounds} --seed {seed} --fault {name} --dir DIR"
        ),
    }
}

#[test]
fn what_was_acknowledged_survives_kill_9_of_the_real_process() {
    let mut acknowledgements = 0;
    for seed in 1..=4 {
        let summary = rounds(Fault::Kill, seed, 5).unwrap();
        assert_eq!(summary.rounds, 5);
        acknowledgements += summary.acknowledgements;
    }
    assert!(acknowledgements > 0, "no child came to acknowledge anything");
}

#[test]
fn what_was_acknowledged_survives_a_loss_of_power_of_a_real_file_system() {
    let (mut acknowledgements, mut lost) = (0, 0);
    for seed in 1..=4 {
        let Some(summary) = rounds(Fault::PowerLoss, seed, 5) else { return };
        acknowledgements += summary.acknowledgements;
        lost += summary.losses.sectors_lost;
    }
    assert!(acknowledgements > 0, "no child came to acknowledge anything");
    assert!(lost > 0, "no loss of power ever took anything");
}

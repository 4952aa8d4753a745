//! A file system of our own that loses what was not synced.
//!
//! ```text
//!   engine ── io_uring ── kernel ── FUSE ── [ Disk: what is, and what is durable ]
//!                                                       │ lose_power
//!                                    a random part of what was not synced is gone
//! ```
//!
//! It keeps all files in memory, twice: as they are, and as a device would hold them. What makes
//! the one into the other is what the kernel promises it of: `fsync` and `fdatasync` for a file's
//! bytes and length, `O_DSYNC` and `RWF_DSYNC` for the bytes of one write and the length, `fsync` of
//! a folder for its names. Nothing else does: not time, not closing, not unmounting.
//!
//! [`Disk::lose_power`] keeps of the rest what it draws: each 512-byte sector in any version it had
//! since it was last synced or in none, each length, each change of a name. What may not be torn
//! stays whole: a sector, a rename.

mod file;
mod folder;
mod fuse;
mod tree;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use fuser::{BackgroundSession, Config, MountOption};
use rustix::mount::{UnmountFlags, unmount};

use self::fuse::Lossy;
use self::tree::Tree;
use super::random::Random;

/// Bytes that a device writes whole or not at all.
const SECTOR: usize = 512;

/// Requests that are served at once, so that one may be cut off in the middle of others.
const THREADS: usize = 4;

/// How long the files of a killed process may stay open.
const PATIENCE: Duration = Duration::from_secs(20);

#[expect(clippy::disallowed_types, reason = "a test's file system, which no shard ever touches")]
type Mutex<T> = std::sync::Mutex<T>;

/// What the mounted file system and its owner share.
#[derive(Debug)]
struct State {
    tree: Tree,
    /// Every request fails: the power is gone.
    is_off: bool,
    /// Synced requests that still begin before the power goes by itself, in the middle of the last.
    left: Option<u64>,
    random: Random,
}

/// A mounted file system. Dropping it unmounts it and forgets its files.
pub struct Disk {
    state: Arc<Mutex<State>>,
    mount_point: PathBuf,
    session: Option<BackgroundSession>,
}

impl Disk {
    /// Mounts an empty disk at `mount_point`, a folder that exists. What it loses follows from
    /// `seed` and from the requests it gets.
    ///
    /// # Errors
    ///
    /// Where this process may not mount: it takes `/dev/fuse` and root, or `fusermount3`.
    pub fn mount(mount_point: &Path, seed: u64) -> io::Result<Self> {
        let random = Random::new(seed);
        let state = State { tree: Tree::new(), is_off: false, left: None, random };
        let mut disk = Self {
            state: Arc::new(Mutex::new(state)),
            mount_point: mount_point.to_owned(),
            session: None,
        };
        disk.mount_again()?;
        Ok(disk)
    }

    fn mount_again(&mut self) -> io::Result<()> {
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("ringlog-lossy".to_owned())];
        config.n_threads = Some(THREADS);
        let files = Lossy::new(Arc::clone(&self.state));
        self.session = Some(fuser::spawn_mount(files, &self.mount_point, &config)?);
        Ok(())
    }

    /// The moment at which the power goes: from here on, every request fails, and what is not
    /// durable by now may be lost. Whoever uses the files is to be ended next.
    pub fn cut_power(&self) {
        self.locked(|state| state.is_off = true);
    }

    /// As [`Disk::cut_power`], in the middle of a request that is to make something durable: the
    /// one after `requests` more. What it wrote may be lost, kept or torn.
    pub fn cut_power_after(&self, requests: u64) {
        self.locked(|state| state.left = Some(requests));
    }

    /// Whether the power is gone.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.locked(|state| state.is_off)
    }

    /// Gives the disk back as it is found when the power is back: mounted anew, with what was
    /// durable and a random part of the rest. Nobody may have a file of it open.
    ///
    /// # Errors
    ///
    /// If it cannot be unmounted or mounted.
    pub fn restore_power(&mut self) -> io::Result<Losses> {
        self.unmount()?;
        let losses = self.locked(|state| {
            (state.is_off, state.left) = (false, None);
            state.tree.lose_power(&mut state.random)
        });
        self.mount_again()?;
        Ok(losses)
    }

    /// Unmounts, once the kernel has let go of what a killed process had open: its ring ends some
    /// time after the process does.
    fn unmount(&mut self) -> io::Result<()> {
        let Some(session) = self.session.take() else { return Ok(()) };
        let begun = Instant::now();
        while let Err(error) = unmount(&self.mount_point, UnmountFlags::empty()) {
            if error != rustix::io::Errno::BUSY || begun.elapsed() > PATIENCE {
                self.session = Some(session);
                return Err(error.into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        match session.join() {
            // A thread that had just taken a request in when the disk went, and could not keep it.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => Ok(()),
            ended => ended,
        }
    }

    /// [`Disk::cut_power`] and [`Disk::restore_power`], when nobody uses the files.
    ///
    /// # Errors
    ///
    /// As [`Disk::restore_power`].
    pub fn lose_power(&mut self) -> io::Result<Losses> {
        self.cut_power();
        self.restore_power()
    }

    fn locked<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.session.is_some() {
            // Whatever is open: nobody can use it any more.
            self.cut_power();
            let _ = unmount(&self.mount_point, UnmountFlags::DETACH);
        }
    }
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk").field("mount_point", &self.mount_point).finish()
    }
}

/// What a loss of power took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Losses {
    /// Sectors that went back to an earlier version.
    pub sectors_lost: u64,
    /// Sectors that had not been synced and stayed.
    pub sectors_kept: u64,
    /// Sectors that hold what nobody wrote.
    pub sectors_garbled: u64,
    /// Lengths of files that went back.
    pub lengths_lost: u64,
    /// Creations, renames and removals that never happened.
    pub names_lost: u64,
}

impl std::ops::AddAssign for Losses {
    fn add_assign(&mut self, other: Self) {
        self.sectors_lost += other.sectors_lost;
        self.sectors_kept += other.sectors_kept;
        self.sectors_garbled += other.sectors_garbled;
        self.lengths_lost += other.lengths_lost;
        self.names_lost += other.names_lost;
    }
}

//! The real backend: files, timers and sockets on a ring of the kernel's io_uring.
//!
//! A [`UringIo`] belongs to one thread. It has a ring of its own, on which every read, write, sync
//! and open is an operation. Operations are gathered: they are put in line as tasks run,
//! and one `io_uring_enter` per turn of the loop submits them all. There are two drivers:
//!
//! - [`UringIo::plain`] brings its own executor, and [`UringIo::block_on`] sleeps in the ring;
//! - [`UringIo::tokio`] lives inside a current-thread tokio runtime (tokio-uring's too): a task
//!   that runs [`UringIo::drive`] submits and completes.
//!
//! A log needs no network. But a server around one does, and if it has one ring a thread, then one
//! system call takes its requests in, sends its answers, writes its log and waits for more of all
//! of it. So the ring has sockets as well: [`UringListener`] and [`UringStream`].
//!
//! An operation whose future is dropped goes on. What it points to (buffers, paths, the open file)
//! stays in the operation's slot until the kernel is done with it.

use std::cell::{Cell, RefCell};
use std::ffi::CString;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::NonNull;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use io_uring::squeue::Entry;
use io_uring::{opcode, types};

mod file;
mod gather;
mod plain;
mod ring;
mod socket;
mod spin;
mod timers;
#[cfg(feature = "tokio")]
mod tokio;

pub use self::file::UringFile;
use self::plain::PlainDriver;
use self::ring::{Kept, Pendency, Ring};
pub use self::socket::{UringListener, UringStream};
use super::{DirEntry, Io, OpenMode};
use crate::buffer::{BufferPool, FixedSlot, Registrar};
use crate::offset::Timestamp;

/// Permissions of new files, before the process's mask.
const FILE_MODE: libc::mode_t = 0o644;
/// Permissions of new folders, before the process's mask.
const FOLDER_MODE: libc::mode_t = 0o755;

/// Files, timers, sockets and tasks on an io_uring. Cloning gives another handle to the same ring.
///
/// When the last handle, file and future of it is gone, the ring waits for what is in flight and
/// is closed.
#[derive(Clone)]
pub struct UringIo {
    inner: Rc<Inner>,
}

struct Inner {
    // The ring is dropped before the driver, whose eventfd it polls.
    ring: RefCell<Ring>,
    /// Fixed buffers whose memory went in the middle of the ring's own work.
    leaving: RefCell<Vec<u16>>,
    driver: Driver,
    /// Tells this ring from all others of the process.
    number: u32,
    has_ftruncate: bool,
    start: Instant,
    random: Cell<u64>,
}

enum Driver {
    Plain(PlainDriver),
    #[cfg(feature = "tokio")]
    Tokio(self::tokio::TokioDriver),
}

impl UringIo {
    fn new(entries: u32, driver: Driver) -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let ring = Ring::new(entries, matches!(driver, Driver::Plain(_)))?;
        let inner = Inner {
            has_ftruncate: ring.has_ftruncate,
            ring: RefCell::new(ring),
            leaving: RefCell::default(),
            driver,
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            start: clock(),
            // Never zero, where the generator would stay.
            random: Cell::new(RandomState::new().hash_one(0u8) | 1),
        };
        Ok(Self { inner: Rc::new(inner) })
    }

    /// Lets the ring use this pool's regions as fixed buffers, those to come included. From the
    /// first one that the kernel or `RLIMIT_MEMLOCK` refuses, further regions are used as plain
    /// memory, which costs the kernel some work per operation and nothing else.
    pub fn register_buffers(&self, pool: &BufferPool) {
        pool.set_registrar(Rc::new(Rc::downgrade(&self.inner)));
    }

    fn number(&self) -> u32 {
        self.inner.number
    }

    fn has_ftruncate(&self) -> bool {
        self.inner.has_ftruncate
    }

    /// Puts an operation in line when first polled, and resolves to its result and what it kept.
    ///
    /// # Safety
    ///
    /// All memory that `entry` points to is constant or owned by `kept`, at an address that
    /// moving `kept` does not change; its descriptor is owned by `file`.
    async unsafe fn operate(
        &self,
        entry: Entry,
        kept: Kept,
        file: Option<Rc<OwnedFd>>,
    ) -> (io::Result<u32>, Kept) {
        // SAFETY: passed on to the caller.
        let pushed = unsafe { self.inner.ring.borrow_mut().push(entry, kept, file) };
        let (slot, is_first) = match pushed {
            Ok(pushed) => pushed,
            // The ring itself failed, which no operation can cause: nothing can go on without it.
            Err(error) => panic!("the io_uring takes no operations any more: {error}"),
        };
        if is_first {
            self.inner.driver.submit_soon();
        }
        let (raw, kept) = Pendency::new(Rc::clone(&self.inner), slot).await;
        (check(raw), kept)
    }

    /// Waits until the eventfd `event` counts more than zero, and takes the count, which is zero
    /// after. For threads that wake each other without a lock and know of nothing else to wait for.
    ///
    /// Costs one operation of the ring and one small allocation. If the future is dropped, a later
    /// count may be taken and lost.
    ///
    /// # Errors
    ///
    /// The kernel's: `ErrorKind::WouldBlock` if the eventfd was made non-blocking.
    pub async fn wait_event(&self, event: &Rc<OwnedFd>) -> io::Result<u64> {
        loop {
            let mut count = Box::new(0u64);
            let (target, bytes) = (types::Fd(event.as_raw_fd()), &raw mut *count);
            let entry = opcode::Read::new(target, bytes.cast(), size_of::<u64>() as u32)
                .offset(u64::MAX)
                .build();
            let kept = Kept::Event(count);
            // SAFETY: the entry points into the box, which moves into the slot.
            match unsafe { self.operate(entry, kept, Some(Rc::clone(event))) }.await {
                (Ok(_), Kept::Event(count)) => return Ok(*count),
                (Err(error), _) if error.kind() == ErrorKind::Interrupted => {}
                (Err(error), _) => return Err(error),
                (Ok(_), _) => unreachable!("what was kept comes back"),
            }
        }
    }

    /// Sleeps by an operation of its own: nobody passes a deadline to the wait in the ring.
    #[cfg(feature = "tokio")]
    async fn sleep_in_the_kernel(&self, duration: Duration) {
        let time = Box::new(types::Timespec::from(duration));
        let entry = opcode::Timeout::new(&raw const *time).build();
        // SAFETY: the entry points into the box, which moves into the slot.
        let (result, _) = unsafe { self.operate(entry, Kept::Sleep(time), None) }.await;
        // A timeout that expires says ETIME; there is no other end that matters to a sleeper.
        drop(result);
    }

    /// Opens with the given flags; the result is a descriptor.
    async fn open_at(&self, path: &CString, flags: i32) -> io::Result<OwnedFd> {
        loop {
            let path = path.clone();
            let entry = opcode::OpenAt::new(types::Fd(libc::AT_FDCWD), path.as_ptr())
                .flags(flags | libc::O_CLOEXEC)
                .mode(FILE_MODE)
                .build();
            // SAFETY: the path's bytes are on the heap and move into the slot by their owner.
            match unsafe { self.operate(entry, Kept::Open(path), None) }.await.0 {
                // SAFETY: the kernel has just given us this descriptor.
                Ok(fd) => return Ok(unsafe { OwnedFd::from_raw_fd(fd.cast_signed()) }),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Runs an operation on one path.
    async fn on_path(&self, path: &Path, entry: impl FnOnce(&CString) -> Entry) -> io::Result<()> {
        let path = c_path(path)?;
        let entry = entry(&path);
        // SAFETY: the path's bytes are on the heap and move into the slot by their owner.
        unsafe { self.operate(entry, Kept::Path(path), None) }.await.0.map(drop)
    }

    async fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.on_path(path, |path| {
            let here = types::Fd(libc::AT_FDCWD);
            opcode::MkDirAt::new(here, path.as_ptr()).mode(FOLDER_MODE).build()
        })
        .await
    }

    async fn unlink(&self, path: &Path, flags: i32) -> io::Result<()> {
        self.on_path(path, |path| {
            opcode::UnlinkAt::new(types::Fd(libc::AT_FDCWD), path.as_ptr()).flags(flags).build()
        })
        .await
    }
}

impl Driver {
    /// Operations are in line: see that they are submitted after the tasks that are ready now.
    fn submit_soon(&self) {
        match self {
            // Its loop looks after each turn.
            Self::Plain(_) => {}
            #[cfg(feature = "tokio")]
            Self::Tokio(driver) => driver.wake(),
        }
    }
}

impl Registrar for Weak<Inner> {
    fn register(&self, address: NonNull<u8>, length: usize) -> Option<FixedSlot> {
        let inner = self.upgrade()?;
        for slot in inner.leaving.take() {
            inner.ring.borrow_mut().unregister(slot);
        }
        // SAFETY: a pool unregisters its regions before it unmaps them.
        let slot = unsafe { inner.ring.borrow_mut().register(address.as_ptr(), length) }?;
        Some(FixedSlot { ring: inner.number, slot })
    }

    fn unregister(&self, fixed: FixedSlot) {
        let Some(inner) = self.upgrade().filter(|inner| inner.number == fixed.ring) else { return };
        match inner.ring.try_borrow_mut() {
            Ok(mut ring) => ring.unregister(fixed.slot),
            // The last of a pool's memory was with an operation that nobody waited for. The kernel
            // has its pages until the next region is registered.
            Err(_) => inner.leaving.borrow_mut().push(fixed.slot),
        }
    }
}

impl Io for UringIo {
    type File = UringFile;

    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<UringFile> {
        let path = c_path(path)?;
        let (flags, is_direct) = match mode {
            OpenMode::ReadDirect => (libc::O_RDONLY, true),
            OpenMode::WriteDirect => (libc::O_RDWR, true),
            OpenMode::CreateDirect => (libc::O_RDWR | libc::O_CREAT | libc::O_EXCL, true),
            OpenMode::ReadBuffered => (libc::O_RDONLY, false),
            OpenMode::CreateBuffered => (libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC, false),
            OpenMode::WriteBuffered => (libc::O_RDWR | libc::O_CREAT, false),
        };
        let opened = if is_direct {
            match self.open_at(&path, flags | libc::O_DIRECT).await {
                // The file system knows no direct I/O, which it says after it has created the
                // file. Through the page cache the same positions and lengths work.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                    self.open_at(&path, flags & !libc::O_EXCL).await
                }
                opened => opened,
            }
        } else {
            self.open_at(&path, flags).await
        };
        opened.map(|fd| UringFile::new(self.clone(), fd, is_direct))
    }

    async fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        // Upwards until one can be made or is there, then down again.
        let mut missing = Vec::new();
        let mut next = Some(path).filter(|path| !path.as_os_str().is_empty());
        while let Some(folder) = next {
            match self.make_dir(folder).await {
                Ok(()) => break,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    // A file of that name is no folder: opening it as one says so.
                    let flags = libc::O_RDONLY | libc::O_DIRECTORY;
                    self.open_at(&c_path(folder)?, flags).await?;
                    break;
                }
                Err(error) if error.kind() == ErrorKind::NotFound => missing.push(folder),
                Err(error) => return Err(error),
            }
            next = folder.parent().filter(|path| !path.as_os_str().is_empty());
        }
        for folder in missing.into_iter().rev() {
            match self.make_dir(folder).await {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                made => made?,
            }
        }
        Ok(())
    }

    /// Blocks the thread while it lists: io_uring has no operation for it. For start-up and the
    /// control path.
    async fn list_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            // It may have been removed since it was listed.
            let metadata = match entry.metadata() {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            let is_dir = metadata.is_dir();
            entries.push(DirEntry {
                name,
                is_dir,
                length: if is_dir { 0 } else { metadata.len() },
            });
        }
        entries.sort_unstable();
        Ok(entries)
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (c_path(from)?, c_path(to)?);
        let here = types::Fd(libc::AT_FDCWD);
        let entry = opcode::RenameAt::new(here, from.as_ptr(), here, to.as_ptr()).build();
        // SAFETY: the paths' bytes are on the heap and move into the slot by their owners.
        unsafe { self.operate(entry, Kept::Paths(from, to), None) }.await.0.map(drop)
    }

    async fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.unlink(path, 0).await
    }

    async fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.unlink(path, libc::AT_REMOVEDIR).await
    }

    async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = libc::O_RDONLY | libc::O_DIRECTORY;
        let folder = Rc::new(self.open_at(&c_path(path)?, flags).await?);
        let entry = opcode::Fsync::new(types::Fd(folder.as_raw_fd()));
        // SAFETY: the entry points to no memory.
        unsafe { self.operate(entry.build(), Kept::Nothing, Some(folder)) }.await.0.map(drop)
    }

    #[expect(clippy::disallowed_methods, reason = "the seam through which all clocks are read")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn elapsed(&self) -> Duration {
        clock().duration_since(self.inner.start)
    }

    async fn sleep(&self, duration: Duration) {
        match &self.inner.driver {
            Driver::Plain(driver) => driver.timers.sleep(duration).await,
            #[cfg(feature = "tokio")]
            Driver::Tokio(_) => self.sleep_in_the_kernel(duration).await,
        }
    }

    fn random(&self) -> u64 {
        // xorshift64*: unpredictable enough to spread load, which is all that is asked of it.
        let mut x = self.inner.random.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.inner.random.set(x);
        x.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        match &self.inner.driver {
            Driver::Plain(driver) => driver.spawn(task),
            #[cfg(feature = "tokio")]
            Driver::Tokio(driver) => driver.spawn(task),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the seam through which all clocks are read")]
fn clock() -> Instant {
    Instant::now()
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| {
        io::Error::new(ErrorKind::InvalidInput, format!("a zero byte in the path {path:?}"))
    })
}

/// An operation's raw result: a count, or an error number made negative.
fn check(raw: i32) -> io::Result<u32> {
    u32::try_from(raw).map_err(|_| io::Error::from_raw_os_error(raw.saturating_neg()))
}

//! The kernel's requests.

use std::ffi::OsStr;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use super::file::FileData;
use super::folder::FolderData;
use super::tree::{Node, ROOT, Tree};
use super::{Mutex, State};

/// The kernel is to ask again each time: what it remembers would outlive a loss of power.
const NEVER_CACHED: Duration = Duration::ZERO;

/// Not `FOPEN_DIRECT_IO`: with it, Linux 6.18 reads the same place again when a read of io_uring
/// meets the end of a file. Without it, reads and writes of files that were opened `O_DIRECT` come
/// here as they are, and other writes are written through the page cache before they return.
const OPEN: FopenFlags = FopenFlags::empty();

const GENERATION: Generation = Generation(0);
const HANDLE: FileHandle = FileHandle(0);

/// The flag of a write that is to be durable when it returns, as the kernel passes it on for
/// `O_DSYNC`, `O_SYNC` and `RWF_DSYNC`.
const O_DSYNC: i32 = 0o10_000;

/// How many microseconds a synced write or a sync takes at most; one in eight takes ten times as
/// long, so that others come and go meanwhile.
const LATENCY_MAX: u64 = 200;

/// The mounted side of a disk.
pub(super) struct Lossy {
    state: Arc<Mutex<State>>,
}

impl Lossy {
    pub(super) fn new(state: Arc<Mutex<State>>) -> Self {
        Self { state }
    }

    /// Runs one request, unless the power is off.
    fn with<T>(&self, request: impl FnOnce(&mut Tree) -> Result<T, Errno>) -> Result<T, Errno> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_off { Err(Errno::EIO) } else { request(&mut state.tree) }
    }

    /// Takes the time that a device takes; the power may go meanwhile.
    fn wait(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(left) = state.left {
            state.left = left.checked_sub(1);
            state.is_off |= left == 0;
        }
        let slow = if state.random.one_in(8) { 10 } else { 1 };
        let micros = state.random.below(LATENCY_MAX * slow);
        drop(state);
        std::thread::sleep(Duration::from_micros(micros));
    }

    fn attributes(&self, number: INodeNo) -> Result<FileAttr, Errno> {
        self.with(|tree| tree.node(number.0).map(|node| attributes(number, node)))
    }
}

fn attributes(ino: INodeNo, node: &Node) -> FileAttr {
    let (kind, size, perm) = match node {
        Node::File(file) => (FileType::RegularFile, file.length() as u64, 0o600),
        Node::Folder(_) => (FileType::Directory, 0, 0o700),
    };
    let time = SystemTime::UNIX_EPOCH;
    FileAttr {
        ino,
        size,
        blocks: size.div_ceil(512),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind,
        perm,
        nlink: 1,
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

fn text(name: &OsStr) -> Result<&str, Errno> {
    name.to_str().ok_or(Errno::EINVAL)
}

/// A place in a file, as memory counts it.
fn place(position: u64) -> Result<usize, Errno> {
    usize::try_from(position).map_err(|_| Errno::EFBIG)
}

fn finish(reply: ReplyEmpty, result: Result<(), Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

fn enter(reply: ReplyEntry, result: Result<FileAttr, Errno>) {
    match result {
        Ok(attributes) => reply.entry(&NEVER_CACHED, &attributes, GENERATION),
        Err(error) => reply.error(error),
    }
}

impl Filesystem for Lossy {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = text(name).and_then(|name| self.with(|tree| tree.lookup(parent.0, name)));
        enter(reply, found.and_then(|number| self.attributes(INodeNo(number))));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(ino) {
            Ok(attributes) => reply.attr(&NEVER_CACHED, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let cut = size.map_or(Ok(()), |size| {
            let length = place(size)?;
            self.with(|tree| tree.file(ino.0).map(|file| file.set_length(length)))
        });
        match cut.and_then(|()| self.attributes(ino)) {
            Ok(attributes) => reply.attr(&NEVER_CACHED, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        let node = Node::Folder(FolderData::default());
        let made = text(name).and_then(|name| self.with(|tree| tree.create(parent.0, name, node)));
        enter(reply, made.and_then(|number| self.attributes(INodeNo(number))));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        finish(reply, text(name).and_then(|name| self.with(|tree| tree.remove(parent.0, name))));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        finish(reply, text(name).and_then(|name| self.with(|tree| tree.remove(parent.0, name))));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let renamed = text(name).and_then(|from| {
            let to = text(newname)?;
            if parent == newparent {
                self.with(|tree| tree.rename(parent.0, from, to))
            } else {
                Err(Errno::EXDEV)
            }
        });
        finish(reply, renamed);
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.with(|tree| tree.file(ino.0).map(drop)) {
            Ok(()) => reply.opened(HANDLE, OPEN),
            Err(error) => reply.error(error),
        }
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let node = Node::File(FileData::default());
        let made = text(name).and_then(|name| self.with(|tree| tree.create(parent.0, name, node)));
        match made.and_then(|number| self.attributes(INodeNo(number))) {
            Ok(attributes) => reply.created(&NEVER_CACHED, &attributes, GENERATION, HANDLE, OPEN),
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = place(offset).and_then(|position| {
            let length = place(u64::from(size))?;
            self.with(|tree| tree.file(ino.0).map(|file| file.read(position, length).to_vec()))
        });
        match read {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = place(offset).and_then(|position| {
            self.with(|tree| tree.file(ino.0).map(|file| file.write(position, data)))?;
            if flags.0 & O_DSYNC != 0 {
                self.wait();
                let range = position..position + data.len();
                self.with(|tree| tree.file(ino.0).map(|file| file.sync_range(range)))?;
            }
            u32::try_from(data.len()).map_err(|_| Errno::EFBIG)
        });
        match written {
            Ok(count) => reply.written(count),
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // Closing a file makes nothing durable.
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.wait();
        finish(reply, self.with(|tree| tree.file(ino.0).map(FileData::sync)));
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let listed = self.with(|tree| {
            let names = tree.folder(ino.0)?.now.clone();
            let own = [(".".to_owned(), ino.0), ("..".to_owned(), ROOT)];
            let entries = own.into_iter().chain(names).map(|(name, number)| {
                let kind = match tree.node(number) {
                    Ok(Node::Folder(_)) => FileType::Directory,
                    _ => FileType::RegularFile,
                };
                (name, number, kind)
            });
            Ok(entries.collect::<Vec<_>>())
        });
        match listed {
            Ok(entries) => {
                for ((name, number, kind), next) in
                    entries.into_iter().zip(1..).skip(usize::try_from(offset).unwrap_or(usize::MAX))
                {
                    if reply.add(INodeNo(number), next, kind, name) {
                        break;
                    }
                }
                reply.ok();
            }
            Err(error) => reply.error(error),
        }
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.wait();
        finish(reply, self.with(|tree| tree.folder(ino.0).map(FolderData::sync)));
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let reserved = place(offset.saturating_add(length)).and_then(|end| {
            if mode != 0 {
                return Err(Errno::EOPNOTSUPP);
            }
            self.with(|tree| {
                let file = tree.file(ino.0)?;
                if end > file.length() {
                    file.set_length(end);
                }
                Ok(())
            })
        });
        finish(reply, reserved);
    }
}

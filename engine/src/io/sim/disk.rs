//! The simulated file system: folders, files, and the changes of names that a crash may undo.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};
use std::path::{Component, Path, PathBuf};

use super::content::{Content, Crash};
use super::faults::{Fault, FaultCounts};
use super::random::Random;
use crate::io::{DirEntry, OpenMode};
use crate::limits::BLOCK;

/// The number of a file or folder.
pub(super) type NodeId = usize;

/// The folder that every path starts from, whether it is absolute or relative.
const ROOT: NodeId = 0;

#[derive(Debug, Clone)]
enum Node {
    File { content: Content, is_linked: bool },
    Folder(Folder),
}

#[derive(Debug, Clone, Default)]
struct Folder {
    entries: BTreeMap<String, NodeId>,
    /// The entries as of the last sync.
    durable: BTreeMap<String, NodeId>,
}

/// A change of names that no sync has made durable yet.
#[derive(Debug, Clone)]
enum Change {
    Link { folder: NodeId, name: String, node: NodeId },
    Unlink { folder: NodeId, name: String },
    Rename { from: NodeId, old: String, to: NodeId, new: String },
}

impl Change {
    fn folders(&self) -> [NodeId; 2] {
        match *self {
            Self::Link { folder, .. } | Self::Unlink { folder, .. } => [folder, folder],
            Self::Rename { from, to, .. } => [from, to],
        }
    }
}

/// All of it. Cloning makes an image.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    nodes: Vec<Node>,
    /// In the order in which they were made.
    pending: Vec<Change>,
    /// Bytes that all files together may take, in whole blocks.
    capacity: u64,
    /// Whether a crash may undo a change of names and keep a later one.
    is_unordered: bool,
    /// Bytes of removed files, which space that is reserved anew may still hold.
    stale: Vec<u8>,
}

/// Bytes of removed files that are remembered.
const STALE_BYTES_MAX: usize = 64 * 1024;

impl Disk {
    pub(super) fn new() -> Self {
        Self {
            nodes: vec![Node::Folder(Folder::default())],
            pending: Vec::new(),
            capacity: u64::MAX,
            is_unordered: false,
            stale: Vec::new(),
        }
    }

    pub(super) fn set_unordered_names(&mut self) {
        self.is_unordered = true;
    }

    pub(super) fn set_capacity(&mut self, bytes: u64) {
        self.capacity = bytes;
    }

    /// Bytes that all files take, in whole blocks.
    pub(super) fn used(&self) -> u64 {
        let files = self.nodes.iter().filter_map(|node| match node {
            Node::File { content, is_linked: true } => Some(content.length()),
            _ => None,
        });
        files.map(|length| length.next_multiple_of(BLOCK) as u64).sum()
    }

    /// Whether a file may grow to `length` bytes.
    pub(super) fn check_space(&self, file: NodeId, length: usize) -> Result<()> {
        if self.capacity == u64::MAX {
            return Ok(());
        }
        let old = self.content(file).length().next_multiple_of(BLOCK);
        let more = length.next_multiple_of(BLOCK).saturating_sub(old) as u64;
        if more > 0 && self.used().saturating_add(more) > self.capacity {
            return Err(Error::new(ErrorKind::StorageFull, "the simulated disk is full"));
        }
        Ok(())
    }

    fn folder(&self, id: NodeId) -> Result<&Folder> {
        match &self.nodes[id] {
            Node::Folder(folder) => Ok(folder),
            Node::File { .. } => Err(ErrorKind::NotADirectory.into()),
        }
    }

    fn folder_mut(&mut self, id: NodeId) -> Result<&mut Folder> {
        match &mut self.nodes[id] {
            Node::Folder(folder) => Ok(folder),
            Node::File { .. } => Err(ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn content(&self, id: NodeId) -> &Content {
        match &self.nodes[id] {
            Node::File { content, .. } => content,
            Node::Folder(_) => unreachable!("only files are opened"),
        }
    }

    pub(super) fn content_mut(&mut self, id: NodeId) -> &mut Content {
        match &mut self.nodes[id] {
            Node::File { content, .. } => content,
            Node::Folder(_) => unreachable!("only files are opened"),
        }
    }

    fn find(&self, path: &Path) -> Result<NodeId> {
        names(path).try_fold(ROOT, |id, name| {
            self.folder(id)?.entries.get(name?).copied().ok_or_else(|| not_found(path))
        })
    }

    /// The path of a file, as long as it has one.
    pub(super) fn path_of(&self, file: NodeId) -> Option<PathBuf> {
        let mut next = vec![(ROOT, PathBuf::from("/"))];
        while let Some((id, path)) = next.pop() {
            if id == file {
                return Some(path);
            }
            if let Node::Folder(folder) = &self.nodes[id] {
                next.extend(folder.entries.iter().map(|(name, &id)| (id, path.join(name))));
            }
        }
        None
    }

    /// The number of an existing file.
    pub(super) fn file(&self, path: &Path) -> Result<NodeId> {
        let id = self.find(path)?;
        match self.nodes[id] {
            Node::File { .. } => Ok(id),
            Node::Folder(_) => Err(ErrorKind::IsADirectory.into()),
        }
    }

    /// The folder that holds the path's last name, and that name.
    fn parent(&self, path: &Path) -> Result<(NodeId, String)> {
        let name = names(path).last().ok_or(ErrorKind::InvalidInput)??.to_owned();
        let parent = path.parent().unwrap_or(Path::new(""));
        let id = self.find(parent)?;
        self.folder(id)?;
        Ok((id, name))
    }

    fn link(&mut self, folder: NodeId, name: String, node: Node) -> Result<NodeId> {
        let id = self.nodes.len();
        self.nodes.push(node);
        self.folder_mut(folder)?.entries.insert(name.clone(), id);
        self.pending.push(Change::Link { folder, name, node: id });
        Ok(id)
    }

    pub(super) fn open(&mut self, path: &Path, mode: OpenMode) -> Result<NodeId> {
        let existing = self.file(path);
        match (mode, existing) {
            (OpenMode::CreateDirect, Ok(_)) => Err(ErrorKind::AlreadyExists.into()),
            (
                OpenMode::CreateDirect | OpenMode::CreateBuffered | OpenMode::WriteBuffered,
                Err(error),
            ) if error.kind() == ErrorKind::NotFound => {
                let (folder, name) = self.parent(path)?;
                let node = Node::File { content: Content::default(), is_linked: true };
                self.link(folder, name, node)
            }
            (OpenMode::CreateBuffered, Ok(id)) => {
                self.content_mut(id).set_length(0);
                Ok(id)
            }
            (_, existing) => existing,
        }
    }

    pub(super) fn create_dir_all(&mut self, path: &Path) -> Result<()> {
        let mut id = ROOT;
        for name in names(path) {
            let name = name?;
            id = match self.folder(id)?.entries.get(name) {
                Some(&next) => next,
                None => self.link(id, name.to_owned(), Node::Folder(Folder::default()))?,
            };
        }
        self.folder(id).map(drop)
    }

    pub(super) fn list(&self, path: &Path) -> Result<Vec<DirEntry>> {
        let folder = self.folder(self.find(path)?)?;
        let entry = |(name, &id): (&String, &NodeId)| match &self.nodes[id] {
            Node::File { content, .. } => {
                DirEntry { name: name.clone(), is_dir: false, length: content.length() as u64 }
            }
            Node::Folder(_) => DirEntry { name: name.clone(), is_dir: true, length: 0 },
        };
        Ok(folder.entries.iter().map(entry).collect())
    }

    pub(super) fn rename(&mut self, old_path: &Path, new_path: &Path) -> Result<()> {
        let (from, old) = self.parent(old_path)?;
        let (to, new) = self.parent(new_path)?;
        let node = *self.folder(from)?.entries.get(&old).ok_or_else(|| not_found(old_path))?;
        let target = self.folder(to)?.entries.get(&new).copied();
        if target == Some(node) {
            return Ok(());
        }
        match target.map(|id| (id, &self.nodes[id], &self.nodes[node])) {
            None => {}
            Some((id, Node::File { .. }, Node::File { .. })) => self.unlinked(id, &new),
            Some((_, Node::Folder(target), Node::Folder(_))) if target.entries.is_empty() => {}
            Some((_, Node::Folder(_), Node::Folder(_))) => {
                return Err(ErrorKind::DirectoryNotEmpty.into());
            }
            Some((_, Node::Folder(_), _)) => return Err(ErrorKind::IsADirectory.into()),
            Some(_) => return Err(ErrorKind::NotADirectory.into()),
        }
        self.folder_mut(from)?.entries.remove(&old);
        self.folder_mut(to)?.entries.insert(new.clone(), node);
        self.pending.push(Change::Rename { from, old, to, new });
        Ok(())
    }

    /// Lets go of a file that lost its name. What it held may turn up elsewhere, unless it is a
    /// segment: whole batches of another log in the right place are beyond what checksums tell,
    /// and no file system shows one file's bytes in another.
    fn unlinked(&mut self, id: NodeId, name: &str) {
        if let Node::File { content, is_linked } = &mut self.nodes[id] {
            *is_linked = false;
            if name.contains(".log") {
                return;
            }
            let room = STALE_BYTES_MAX.saturating_sub(self.stale.len());
            let left = content.bytes().get(..content.length().min(room)).unwrap_or(&[]);
            self.stale.extend_from_slice(left);
        }
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> Result<()> {
        let id = self.file(path)?;
        let (folder, name) = self.parent(path)?;
        self.folder_mut(folder)?.entries.remove(&name);
        self.unlinked(id, &name);
        self.pending.push(Change::Unlink { folder, name });
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, path: &Path) -> Result<()> {
        if !self.folder(self.find(path)?)?.entries.is_empty() {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        let (folder, name) = self.parent(path)?;
        self.folder_mut(folder)?.entries.remove(&name);
        self.pending.push(Change::Unlink { folder, name });
        Ok(())
    }

    /// Makes the changes in one folder durable, and with them the earlier changes of folders that
    /// they share a rename with.
    pub(super) fn sync_dir(&mut self, path: &Path) -> Result<()> {
        let id = self.find(path)?;
        self.folder(id)?;
        let mut folders = vec![id];
        let (mut synced, mut left) = (Vec::new(), Vec::new());
        for change in std::mem::take(&mut self.pending).into_iter().rev() {
            if change.folders().iter().any(|folder| folders.contains(folder)) {
                folders.extend(change.folders());
                synced.push(change);
            } else {
                left.push(change);
            }
        }
        self.pending = left.into_iter().rev().collect();
        synced.into_iter().rev().for_each(|change| self.settle(change));
        Ok(())
    }

    /// Makes one change part of the durable names.
    fn settle(&mut self, change: Change) {
        let mut durable = |id: NodeId, name: String, node: Option<NodeId>| -> Option<NodeId> {
            match (&mut self.nodes[id], node) {
                (Node::Folder(folder), Some(node)) => folder.durable.insert(name, node),
                (Node::Folder(folder), None) => folder.durable.remove(&name),
                (Node::File { .. }, _) => None,
            }
        };
        match change {
            Change::Link { folder, name, node } => drop(durable(folder, name, Some(node))),
            Change::Unlink { folder, name } => drop(durable(folder, name, None)),
            Change::Rename { from, old, to, new } => {
                if let Some(node) = durable(from, old, None) {
                    durable(to, new, Some(node));
                }
            }
        }
    }

    /// What a loss of power leaves. Of each folder's pending changes a prefix survives, or any of
    /// them; of each file what [`Content::crash`] says.
    pub(super) fn crash(&mut self, random: &mut Random, counts: &mut FaultCounts) {
        // Swarm: some crashes lose all that was unsynced, some nothing, most a part of it.
        let kept_percent = match random.below(4) {
            0 => 0,
            1 => 100,
            _ => random.below(101),
        };
        let mut stopped = Vec::new();
        for change in std::mem::take(&mut self.pending) {
            let folders = change.folders();
            let is_stopped =
                !self.is_unordered && folders.iter().any(|folder| stopped.contains(folder));
            if is_stopped || !random.percent(kept_percent) {
                stopped.extend(folders);
                counts.add(Fault::NameLost);
            } else {
                self.settle(change);
            }
        }
        let stale = std::mem::take(&mut self.stale);
        let mut crash = Crash { random, counts, kept_percent, stale: &stale };
        for node in &mut self.nodes {
            if let Node::Folder(folder) = node {
                folder.entries.clone_from(&folder.durable);
            }
        }
        self.forget_unreachable();
        for node in &mut self.nodes {
            if let Node::File { content, is_linked: true } = node {
                content.crash(&mut crash);
            }
        }
        self.stale = stale;
    }

    /// What a loss of power leaves, chosen: so many of the pending changes of names, in order, or
    /// any of them, and of each file what [`Content::crash_as`] says.
    pub(super) fn crash_as(&mut self, choose: &mut dyn FnMut(usize) -> usize) {
        let pending = std::mem::take(&mut self.pending);
        if self.is_unordered {
            let kept = pending.into_iter().filter(|_| choose(2) == 1);
            kept.for_each(|change| self.settle(change));
        } else {
            let kept = choose(pending.len() + 1);
            pending.into_iter().take(kept).for_each(|change| self.settle(change));
        }
        for node in &mut self.nodes {
            if let Node::Folder(folder) = node {
                folder.entries.clone_from(&folder.durable);
            }
        }
        self.forget_unreachable();
        for node in &mut self.nodes {
            if let Node::File { content, is_linked: true } = node {
                content.crash_as(choose);
            }
        }
    }

    fn forget_unreachable(&mut self) {
        let mut reachable = vec![false; self.nodes.len()];
        let mut next = vec![ROOT];
        while let Some(id) = next.pop() {
            reachable[id] = true;
            if let Node::Folder(folder) = &self.nodes[id] {
                next.extend(folder.entries.values());
            }
        }
        for (node, is_reachable) in self.nodes.iter_mut().zip(reachable) {
            match node {
                Node::File { is_linked, .. } if is_reachable => *is_linked = true,
                _ if is_reachable => {}
                _ => *node = Node::File { content: Content::default(), is_linked: false },
            }
        }
    }

    /// Feeds every name and byte that a reader sees to `feed`, in a fixed order.
    pub(super) fn visit(&self, feed: &mut impl FnMut(&[u8])) {
        self.visit_folder(ROOT, feed);
    }

    fn visit_folder(&self, id: NodeId, feed: &mut impl FnMut(&[u8])) {
        match &self.nodes[id] {
            Node::File { content, .. } => {
                feed(&(content.length() as u64).to_le_bytes());
                feed(content.bytes());
            }
            Node::Folder(folder) => {
                feed(&(folder.entries.len() as u64).to_le_bytes());
                for (name, &child) in &folder.entries {
                    feed(name.as_bytes());
                    self.visit_folder(child, feed);
                }
            }
        }
    }
}

fn not_found(path: &Path) -> Error {
    Error::new(ErrorKind::NotFound, format!("no {} on the simulated disk", path.display()))
}

/// The names of a path, one by one, without allocating.
fn names(path: &Path) -> impl Iterator<Item = Result<&str>> {
    path.components().filter_map(|component| match component {
        Component::RootDir | Component::CurDir => None,
        Component::Normal(name) => Some(name.to_str().ok_or(ErrorKind::InvalidInput.into())),
        Component::ParentDir | Component::Prefix(_) => Some(Err(ErrorKind::InvalidInput.into())),
    })
}

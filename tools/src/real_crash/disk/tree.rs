//! All files and folders, by number.

use std::collections::{BTreeMap, BTreeSet};

use fuser::Errno;

use super::Losses;
use super::file::FileData;
use super::folder::{Change, FolderData, Number};
use crate::real_crash::random::Random;

/// The number of the folder that is mounted.
pub(super) const ROOT: Number = 1;

/// A file or a folder.
#[derive(Debug)]
pub(super) enum Node {
    File(FileData),
    Folder(FolderData),
}

/// Everything on the disk. Files without a name stay until the next loss of power: somebody may
/// have them open, or their names may come back.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: BTreeMap<Number, Node>,
    next: Number,
}

impl Tree {
    pub(super) fn new() -> Self {
        let root = Node::Folder(FolderData::default());
        Self { nodes: BTreeMap::from([(ROOT, root)]), next: ROOT + 1 }
    }

    pub(super) fn node(&self, number: Number) -> Result<&Node, Errno> {
        self.nodes.get(&number).ok_or(Errno::ENOENT)
    }

    pub(super) fn file(&mut self, number: Number) -> Result<&mut FileData, Errno> {
        match self.nodes.get_mut(&number) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Folder(_)) => Err(Errno::EISDIR),
            None => Err(Errno::ENOENT),
        }
    }

    pub(super) fn folder(&mut self, number: Number) -> Result<&mut FolderData, Errno> {
        match self.nodes.get_mut(&number) {
            Some(Node::Folder(folder)) => Ok(folder),
            Some(Node::File(_)) => Err(Errno::ENOTDIR),
            None => Err(Errno::ENOENT),
        }
    }

    pub(super) fn lookup(&mut self, folder: Number, name: &str) -> Result<Number, Errno> {
        self.folder(folder)?.now.get(name).copied().ok_or(Errno::ENOENT)
    }

    pub(super) fn create(
        &mut self,
        folder: Number,
        name: &str,
        node: Node,
    ) -> Result<Number, Errno> {
        let number = self.next;
        let parent = self.folder(folder)?;
        if parent.now.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        parent.change(Change::Set(name.to_owned(), number));
        self.next += 1;
        self.nodes.insert(number, node);
        Ok(number)
    }

    pub(super) fn remove(&mut self, folder: Number, name: &str) -> Result<(), Errno> {
        let number = self.lookup(folder, name)?;
        if let Some(Node::Folder(doomed)) = self.nodes.get(&number)
            && !doomed.now.is_empty()
        {
            return Err(Errno::ENOTEMPTY);
        }
        self.folder(folder)?.change(Change::Remove(name.to_owned()));
        Ok(())
    }

    /// Renames within one folder, which is all that the engine ever does.
    pub(super) fn rename(&mut self, folder: Number, from: &str, to: &str) -> Result<(), Errno> {
        let number = self.lookup(folder, from)?;
        let (from, to) = (from.to_owned(), to.to_owned());
        self.folder(folder)?.change(Change::Move { from, to, number });
        Ok(())
    }

    /// Forgets what was not synced, but for what is drawn, and everything that has no name then.
    pub(super) fn lose_power(&mut self, random: &mut Random) -> Losses {
        // Of four parts: now and then everything stays, or nothing does.
        let keep = random.below(5);
        let mut losses = Losses::default();
        for node in self.nodes.values_mut() {
            match node {
                Node::File(file) => file.lose_power(keep, random, &mut losses),
                Node::Folder(folder) => folder.lose_power(keep, random, &mut losses),
            }
        }
        let mut reached = BTreeSet::from([ROOT]);
        let mut todo = vec![ROOT];
        while let Some(number) = todo.pop() {
            if let Some(Node::Folder(folder)) = self.nodes.get(&number) {
                todo.extend(folder.now.values().filter(|number| reached.insert(**number)));
            }
        }
        self.nodes.retain(|number, _| reached.contains(number));
        losses
    }
}

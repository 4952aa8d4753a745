//! The partitions' folders in the data folder: made before a topic is, moved away when it goes.
//!
//! ```text
//! data/flights-0/partition.metadata      says which topic the folder belongs to, as Kafka's does
//! data/<topic id>-0.delete               of a deleted topic: removed in the background
//! data/<topic id>-0.stray                of a topic that the metadata does not know: left alone
//! ```
//!
//! The control thread may block, and this is its file work.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::reclaim::Reclaim;
use crate::metadata::{MetadataImage, MetadataRecord, PartitionId, Topic, TopicId};

const IDENTITY_FILE: &str = "partition.metadata";
const DELETED: &str = ".delete";
const STRAY: &str = ".stray";
/// Folders that are made durable one by one.
const SYNCED_ONE_BY_ONE_MAX: usize = 16;

/// A folder could not be made, moved or read.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {}: {source}", path.display())]
pub struct FolderError {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl FolderError {
    fn of<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self { what, path: path.to_owned(), source }
    }
}

fn folder(data_dir: &Path, topic: &str, partition: PartitionId) -> PathBuf {
    data_dir.join(format!("{topic}-{partition}"))
}

/// Makes the folders of the partitions that `records` bring into being, durably.
pub(super) fn create(
    data_dir: &Path,
    image: &MetadataImage,
    records: &[MetadataRecord],
) -> Result<(), FolderError> {
    let mut names = std::collections::BTreeMap::new();
    let mut making = Making::begin(data_dir)?;
    for record in records {
        match record {
            MetadataRecord::Topic(topic) => {
                names.insert(topic.topic_id, topic.name.clone());
            }
            MetadataRecord::Partition(partition) => {
                let known = image.topic_by_id(partition.topic_id).map(|topic| topic.name.clone());
                if let Some(name) = names.get(&partition.topic_id).cloned().or(known) {
                    let dir = folder(data_dir, &name, partition.partition);
                    making.make(dir, partition.topic_id)?;
                }
            }
            _ => {}
        }
    }
    making.end()
}

/// Folders that are being made and are not durable yet.
struct Making<'a> {
    data_dir: &'a Path,
    /// Open since before the first was made: from then on it hears of what went wrong.
    file_system: File,
    made: Vec<(PathBuf, TopicId)>,
}

impl<'a> Making<'a> {
    fn begin(data_dir: &'a Path) -> Result<Self, FolderError> {
        let file_system = File::open(data_dir).map_err(FolderError::of("open", data_dir))?;
        Ok(Self { data_dir, file_system, made: Vec::new() })
    }

    fn make(&mut self, dir: PathBuf, topic: TopicId) -> Result<(), FolderError> {
        // A folder that another topic has left behind must not lend its records to this one.
        if let Some(other) = identity(&dir).filter(|id| *id != topic.to_string()) {
            let aside = dir.with_file_name(format!(
                "{other}-{}{STRAY}",
                dir.file_name()
                    .and_then(|name| parse(name.to_str()?))
                    .map_or(0, |(_, index)| index.0)
            ));
            fs::rename(&dir, &aside).map_err(FolderError::of("rename", &dir))?;
            tracing::warn!(folder = %dir.display(), moved_to = %aside.display(), "moved aside");
        }
        fs::create_dir_all(&dir).map_err(FolderError::of("create", &dir))?;
        self.made.push((dir, topic));
        Ok(())
    }

    /// Says in each of them which topic it belongs to, and makes all durable. Many take one sync of
    /// the whole file system instead of two each. That, and that no file is made before the last
    /// folder, made 10,000 on ext4 in 0.7 s and not in 10.
    fn end(mut self) -> Result<(), FolderError> {
        for (dir, topic) in &self.made {
            let path = dir.join(IDENTITY_FILE);
            let text = format!("version: 0\ntopic_id: {topic}\n");
            fs::write(&path, text).map_err(FolderError::of("write", &path))?;
        }
        match &self.made[..] {
            [] => return Ok(()),
            made if made.len() <= SYNCED_ONE_BY_ONE_MAX => {
                for (dir, _) in made {
                    sync(&dir.join(IDENTITY_FILE))?;
                    sync(dir)?;
                }
            }
            _ => rustix::fs::syncfs(&self.file_system)
                .map_err(|error| FolderError::of("sync", self.data_dir)(error.into()))?,
        }
        sync(self.data_dir)?;
        self.made.clear();
        Ok(())
    }
}

/// Those that do not say yet whose they are go again; no later start would know them for strays.
impl Drop for Making<'_> {
    fn drop(&mut self) {
        for (dir, _) in &self.made {
            // It fails for those that hold anything.
            let _ = fs::remove_dir(dir);
        }
    }
}

fn sync(path: &Path) -> Result<(), FolderError> {
    let sync = || File::open(path)?.sync_all();
    sync().map_err(FolderError::of("sync", path))
}

/// Moves a deleted topic's folders out of the way, durably, to be [removed](Reclaim). What cannot be
/// moved is an error, after all others were moved.
pub(super) fn remove(
    data_dir: &Path,
    topic: &Topic,
    reclaim: &mut Reclaim,
) -> Result<(), FolderError> {
    let mut moved = Vec::new();
    let mut failed = None;
    for index in 0..topic.partition_count() {
        let partition = PartitionId(index);
        let from = folder(data_dir, &topic.name, partition);
        let to = data_dir.join(format!("{}-{partition}{DELETED}", topic.id));
        match fs::rename(&from, &to) {
            Ok(()) => moved.push(to),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => failed = Some(FolderError::of("rename", &from)(error)),
        }
    }
    sync(data_dir)?;
    reclaim.add(moved);
    failed.map_or(Ok(()), Err)
}

/// Brings the data folder in line with the metadata at start: finishes deletions, makes folders
/// that are missing, and moves those aside that belong to no topic.
pub(super) fn tidy(
    data_dir: &Path,
    image: &MetadataImage,
    reclaim: &mut Reclaim,
) -> Result<(), FolderError> {
    let mut doomed = Vec::new();
    let listing = fs::read_dir(data_dir).map_err(FolderError::of("list", data_dir))?;
    for entry in listing {
        let entry = entry.map_err(FolderError::of("list", data_dir))?;
        let path = entry.path();
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        if name.ends_with(DELETED) {
            doomed.push(path);
        } else if let Some((topic, partition)) = parse(&name) {
            let Some(id) = identity(&path) else { continue };
            let known = image.topic(topic).filter(|topic| topic.id.to_string() == id);
            if known.is_none_or(|topic| topic.partition(partition).is_none()) {
                let aside = data_dir.join(format!("{id}-{partition}{STRAY}"));
                fs::rename(&path, &aside).map_err(FolderError::of("rename", &path))?;
                tracing::warn!(
                    folder = %path.display(), moved_to = %aside.display(),
                    "the folder belongs to no topic"
                );
            }
        }
    }
    let mut making = Making::begin(data_dir)?;
    for topic in image.topics() {
        for index in 0..topic.partition_count() {
            let dir = folder(data_dir, &topic.name, PartitionId(index));
            if !dir.join(IDENTITY_FILE).exists() {
                making.make(dir, topic.id)?;
            }
        }
    }
    making.end()?;
    sync(data_dir)?;
    reclaim.add(doomed);
    Ok(())
}

fn parse(name: &str) -> Option<(&str, PartitionId)> {
    let (topic, partition) = name.rsplit_once('-')?;
    Some((topic, PartitionId(partition.parse().ok()?)))
}

/// The topic id that a folder says it belongs to. A folder without one is not a partition's.
fn identity(dir: &Path) -> Option<String> {
    let text = fs::read_to_string(dir.join(IDENTITY_FILE)).ok()?;
    let id = text.lines().find_map(|line| line.strip_prefix("topic_id: "))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (id.len() == 22 && id.chars().all(plain)).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_folder_that_another_topic_left_behind_is_moved_aside_and_not_taken_over() {
        let data = tempfile::tempdir().expect("a folder");
        let (old, new) = (Uuid::from_u128(7 << 64), Uuid::from_u128(8 << 64));
        let [old, new] = [old, new].map(|id| TopicId::new(id).expect("not reserved"));
        let dir = folder(data.path(), "flights", PartitionId(3));
        let make = |topic| {
            let mut making = Making::begin(data.path()).expect("opens");
            making.make(dir.clone(), topic).expect("makes");
            making.end().expect("syncs");
        };
        make(old);
        fs::write(dir.join("00000000000000000000.log"), "old records").expect("writes");
        make(new);
        assert_eq!(identity(&dir), Some(new.to_string()));
        assert!(!dir.join("00000000000000000000.log").exists());
        assert!(data.path().join(format!("{old}-3.stray/00000000000000000000.log")).exists());
    }
}

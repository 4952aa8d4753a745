//! `mrecordlog`: a queue a log, all in one series of files, one writer.
//!
//! What waits is appended under a policy that does not sync by itself, and then `sync` is called
//! once: its way to commit a group. In 0.4.0 `sync` empties a buffer into the page cache and syncs
//! nothing, under the policy `OnAppend` too, so that its appends are not durable when they are
//! acknowledged. What they would cost if they were is seen by syncing its files for it. It also
//! keeps all records in memory.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mrecordlog::{MultiRecordLog, SyncPolicy};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Mutex;

use crate::cell::{Cell, Failure};
use crate::drive::{Rival, counted};

/// Longer than any run: only `sync` syncs.
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// With `SYNCED`, its files are synced by us after its own `sync`.
pub(crate) struct Log<const SYNCED: bool> {
    runtime: Runtime,
    /// Never contended: there is one worker.
    inner: Mutex<Inner>,
    queues: Vec<String>,
}

struct Inner {
    log: MultiRecordLog,
    files: Files,
}

impl<const SYNCED: bool> Rival for Log<SYNCED> {
    type Hand = Vec<u8>;

    fn open(cell: &Cell) -> Result<Self, Failure> {
        let runtime = Builder::new_current_thread().build()?;
        let queues: Vec<String> = (0..cell.logs).map(|log| format!("log-{log}")).collect();
        let log = runtime.block_on(async {
            let policy = SyncPolicy::OnDelay(NEVER);
            let mut log = MultiRecordLog::open_with_prefs(&cell.dir, policy).await?;
            for queue in &queues {
                log.create_queue(queue).await?;
            }
            Ok::<_, Failure>(log)
        })?;
        let inner = Mutex::new(Inner { log, files: Files::open(&cell.dir)? });
        Ok(Self { runtime, inner, queues })
    }

    fn hand(&self, payload: &[u8]) -> Result<Vec<u8>, Failure> {
        Ok(payload.to_vec())
    }

    fn append(&self, payload: &mut Vec<u8>, logs: &[usize]) -> Result<(), Failure> {
        self.runtime.block_on(async {
            let Inner { log, files } = &mut *self.inner.lock().await;
            for (queue, count) in counted(logs) {
                let payloads = std::iter::repeat_n(payload.as_slice(), count);
                log.append_records(&self.queues[queue], None, payloads).await?;
            }
            log.sync().await?;
            if SYNCED { files.sync() } else { Ok(()) }
        })
    }
}

/// Its files, named by numbers without gaps, seen from outside.
struct Files {
    dir: PathBuf,
    number: u64,
    newest: File,
}

impl Files {
    fn open(dir: &Path) -> Result<Self, Failure> {
        let number = std::fs::read_dir(dir)?
            .filter_map(|entry| {
                entry.ok()?.file_name().to_str()?.strip_prefix("wal-")?.parse().ok()
            })
            .max()
            .ok_or("mrecordlog has made no file")?;
        Ok(Self { dir: dir.to_owned(), number, newest: File::open(path(dir, number))? })
    }

    /// Syncs what was written since the last time: the newest file, and any that came after it.
    fn sync(&mut self) -> Result<(), Failure> {
        loop {
            self.newest.sync_data()?;
            match File::open(path(&self.dir, self.number + 1)) {
                Ok(newer) => (self.number, self.newest) = (self.number + 1, newer),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("wal-{number:020}"))
}

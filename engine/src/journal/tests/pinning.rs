//! Who stands in the lists of those that need a file.

use std::time::Duration;

use crate::batch::{BatchBuilder, BatchOptions, CheckedBatch};
use crate::io::Io;
use crate::io::sim::SimIo;
use crate::journal::JournalSettings;
use crate::log::{Log, LogSettings, Stamp};
use crate::offset::Timestamp;
use crate::shard::{Shard, ShardSettings};

#[test]
fn a_log_that_settles_again_and_again_stands_in_the_list_once() {
    let io = SimIo::new(1);
    io.run(async {
        let journal = JournalSettings::new("/data/journal", "/data");
        let (shard, _) = Shard::open(io.clone(), ShardSettings::default(), journal).await.unwrap();
        let (log, _) =
            Log::open(&shard, "/data/a-0".as_ref(), LogSettings::default()).await.unwrap();
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.push(Timestamp::from_millis(1), None, Some(b"value"), &[]);
        let bytes = builder.finish().unwrap();
        let journal = shard.journal().unwrap();
        for round in 0..20 {
            let batch = CheckedBatch::check(&bytes).unwrap();
            log.append_durably(&batch, Stamp::default()).await.unwrap();
            let (generation, unasked) = journal.pins.borrow().unasked_oldest(true).unwrap();
            assert_eq!((generation, unasked), (journal.files.borrow().generation(), 1), "{round}");
            journal.ease(&shard.downgrade(), 1);
            let holds = || log.inner.trace.as_ref().unwrap().borrow().generations().count();
            while holds() > 0 {
                io.sleep(Duration::from_micros(10)).await;
            }
        }
    });
}

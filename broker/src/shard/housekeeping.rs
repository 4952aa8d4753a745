//! What a shard does on the side: old segments go.

use std::rc::Rc;

use crate::partition::Partition;
use crate::timer::yield_now;

use super::Shard;

impl Shard {
    /// Every `log.retention.check.interval.ms`, lets go of what the topics' retention says.
    pub(super) async fn keep_house(self: Rc<Self>) {
        while !self.is_stopping() {
            self.clock.sleep(self.config.log_retention_check_interval).await;
            let partitions: Vec<Rc<Partition>> =
                self.partitions.borrow().values().cloned().collect();
            for partition in partitions {
                if self.is_stopping() {
                    return;
                }
                partition.apply_retention().await;
                // One partition at a time, the shard's connections in between.
                yield_now().await;
            }
        }
    }
}

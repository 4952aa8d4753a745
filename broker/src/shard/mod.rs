//! A shard: one core, one thread, and everything that lives on it.
//!
//! A shard owns its partitions, their coordinators, its ring and the connections that it has
//! accepted. It shares nothing with other shards; what it wants from them it asks through the
//! [`mailbox`]. What it knows of the cluster is an immutable image, replaced whole when the
//! control thread publishes a newer one.

pub mod clock;
pub mod fetch;
pub mod groups;
pub mod mailbox;
pub mod message;
pub mod storage;

mod assign;
mod cleaner;
mod housekeeping;
pub(crate) mod journal;
mod lent;
mod run;
mod rung;
mod serve;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use crate::config::BrokerConfig;
use crate::control::{ControlError, ControlHandle};
use crate::controller::{OFFSETS_TOPIC, shard_of};
use crate::group;
use crate::metadata::{MetadataImage, PartitionId};
use crate::partition::{Accepted, Partition, PartitionKey, ProduceError};

use clock::Clock;
use groups::{GroupShell, Unavailable};
use lent::Lent;
use mailbox::{Router, ShardId};
use message::{Append, Call, Reply};
use storage::Disk;

pub use run::{ShardCommand, ShardError, ShardStart, run};

/// One shard, on its thread.
pub struct Shard {
    id: ShardId,
    shards: usize,
    config: Arc<BrokerConfig>,
    storage: ringlog_engine::shard::Shard<Disk>,
    lent: Lent,
    clock: Clock,
    router: Router<Call, Reply>,
    control: ControlHandle,
    image: RefCell<Arc<MetadataImage>>,
    partitions: RefCell<Partitions>,
    /// Partitions whose log does not open; an operator has been told why.
    offline: RefCell<BTreeSet<PartitionKey>>,
    coordinators: RefCell<BTreeMap<i32, Rc<GroupShell>>>,
    stopping: Cell<bool>,
    /// Producer ids that were allocated to this shard and not yet given out.
    producer_ids: RefCell<Range<i64>>,
}

type Partitions = HashMap<PartitionKey, Rc<Partition>, BuildHasherDefault<KeyHasher>>;

/// Mixes a partition's key. Topic ids are random and the broker's own, so nobody outside can
/// choose keys that collide.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Shard {
    /// Which shard this is.
    #[must_use]
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// The broker's configuration.
    #[must_use]
    pub fn config(&self) -> &Arc<BrokerConfig> {
        &self.config
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Where changes of the cluster's metadata are asked for.
    #[must_use]
    pub fn control(&self) -> &ControlHandle {
        &self.control
    }

    /// The cluster as this shard knows it now.
    #[must_use]
    pub fn image(&self) -> Arc<MetadataImage> {
        Arc::clone(&self.image.borrow())
    }

    /// Whether the broker is stopping.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// The shard that owns a partition.
    #[must_use]
    pub fn owner(&self, key: PartitionKey) -> ShardId {
        ShardId(shard_of(key.topic, key.index, self.shards))
    }

    fn router(&self) -> &Router<Call, Reply> {
        &self.router
    }

    /// Whether a partition of this shard has a log that does not open.
    fn is_offline(&self, key: PartitionKey) -> bool {
        self.offline.borrow().contains(&key)
    }

    /// A partition of this shard.
    fn partition(&self, key: PartitionKey) -> Option<Rc<Partition>> {
        self.partitions.borrow().get(&key).cloned()
    }

    /// Appends to a partition wherever it is. When this resolves, the batch has its place behind
    /// all batches given to the same partition before; [`Appending::committed`] waits for the
    /// rest.
    pub async fn append_anywhere(&self, append: Append) -> Appending {
        let owner = self.owner(append.key);
        if owner == self.id {
            match self.append(&append).await {
                Ok((partition, accepted)) => Appending::Here(partition, accepted),
                Err(error) => Appending::Refused(error),
            }
        } else {
            Appending::Elsewhere(self.router.call(owner, Call::Append(append)).await)
        }
    }

    /// A producer id that nobody else is ever given.
    ///
    /// # Errors
    ///
    /// [`ControlError`], when no more can be allocated now.
    pub async fn producer_id(&self) -> Result<i64, ControlError> {
        loop {
            if let Some(id) = self.producer_ids.borrow_mut().next() {
                return Ok(id);
            }
            let block = self.control.producer_ids().await?;
            // Another request may have come back with a block meanwhile: the rest of it is
            // skipped, and no id is given twice.
            self.producer_ids.replace(block);
        }
    }

    /// Asks the owner of a partition for an offset.
    ///
    /// # Errors
    ///
    /// [`message::PartitionError`].
    pub async fn find_offset_anywhere(
        &self,
        find: message::FindOffset,
    ) -> Result<Option<message::FoundOffset>, message::PartitionError> {
        let owner = self.owner(find.key);
        if owner == self.id {
            return self.find_offset(find).await;
        }
        match self.router.call(owner, Call::FindOffset(find)).await.await {
            Reply::FindOffset(found) => found,
            other => unreachable!("an offset is answered by an offset, not {other:?}"),
        }
    }

    /// Asks the coordinator on a partition of `__consumer_offsets`, wherever it is.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    pub async fn group_anywhere(
        &self,
        partition: i32,
        request: group::Request,
    ) -> Result<group::Response, Unavailable> {
        let image = self.image();
        let Some(topic) = image.topic(OFFSETS_TOPIC) else {
            return Err(Unavailable::NotCoordinator);
        };
        let owner = ShardId(shard_of(topic.id, PartitionId(partition), self.shards));
        if owner == self.id {
            return self.group(partition, request).await;
        }
        match self.router.wait(owner, Call::Group(partition, request)).await {
            Ok(Reply::Group(answer)) => answer,
            Err(_) => Err(Unavailable::NotCoordinator),
            Ok(other) => unreachable!("a group is answered by a group, not {other:?}"),
        }
    }

    async fn group(
        &self,
        partition: i32,
        request: group::Request,
    ) -> Result<group::Response, Unavailable> {
        let coordinator = self.coordinators.borrow().get(&partition).cloned();
        coordinator.ok_or(Unavailable::NotCoordinator)?.call(request).await
    }
}

/// A batch on its way to being committed.
pub enum Appending {
    /// In the log of this shard.
    Here(Rc<Partition>, Accepted),
    /// With another shard.
    Elsewhere(mailbox::Call<Call, Reply>),
    /// Not taken.
    Refused(ProduceError),
}

impl Appending {
    /// Waits until the batch is committed.
    ///
    /// # Errors
    ///
    /// [`ProduceError`].
    pub async fn committed(self) -> Result<Accepted, ProduceError> {
        match self {
            Self::Here(partition, accepted) => {
                partition.committed(accepted.end).await?;
                Ok(accepted)
            }
            Self::Elsewhere(call) => match call.await {
                Reply::Append(answer) => answer,
                other => unreachable!("an append is answered by an append, not {other:?}"),
            },
            Self::Refused(error) => Err(error),
        }
    }
}

//! A fetch over partitions of any shards, which waits until there is enough to answer.
//!
//! Nothing polls: a fetch that finds too little leaves a watch at each shard concerned and looks
//! again when one of them fires, or when its time is up.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use ringlog_engine::offset::Offset;
use tokio::sync::oneshot;

use crate::partition::{Isolation, Watcher};

use super::Shard;
use super::mailbox::ShardId;
use super::message::{Call, Fetched, PartRead, Read, ReadPart, Reply, WatchPoint};

/// What a reader asks for.
#[derive(Debug)]
pub struct Fetch {
    /// The partitions, in the order in which they are served.
    pub parts: Vec<ReadPart>,
    /// What the reader may see.
    pub isolation: Isolation,
    /// Bytes to wait for.
    pub bytes_min: usize,
    /// Bytes for all partitions together; the first batch may go above it.
    pub bytes_max: usize,
    /// How long to wait for `bytes_min`.
    pub wait: Duration,
}

/// The parts of a fetch that one shard owns, by their index in the fetch.
type Share = (ShardId, Vec<usize>);

impl Shard {
    /// Reads from partitions wherever they are: one result for each part, in order.
    ///
    /// Resolves when there are `bytes_min` bytes, when a part has failed, when the time is up, or
    /// when the broker stops.
    pub async fn fetch(self: &Rc<Self>, fetch: Fetch) -> Vec<PartRead> {
        let shares = self.shares(&fetch.parts);
        let deadline = self.clock().elapsed() + fetch.wait;
        let mut time_is_up = pin!(self.clock().sleep(fetch.wait));
        loop {
            let results = self.read_shares(&fetch, &shares).await;
            let over = self.clock().elapsed() >= deadline || self.is_stopping();
            if over || enough(&results, fetch.bytes_min) {
                return results;
            }
            let news = self.watch_shares(&fetch, &shares, &results);
            news.or(time_is_up.as_mut()).await;
        }
    }

    fn shares(&self, parts: &[ReadPart]) -> Vec<Share> {
        let mut shares: Vec<Share> = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let owner = self.owner(part.key);
            match shares.iter_mut().find(|(shard, _)| *shard == owner) {
                Some((_, indexes)) => indexes.push(index),
                None => shares.push((owner, vec![index])),
            }
        }
        shares
    }

    /// Reads each shard's share in turn, so that the limit of bytes holds over all of them.
    async fn read_shares(&self, fetch: &Fetch, shares: &[Share]) -> Vec<PartRead> {
        let mut results: Vec<Option<PartRead>> = fetch.parts.iter().map(|_| None).collect();
        let mut left = fetch.bytes_max;
        let mut at_least_one = true;
        for (shard, indexes) in shares {
            let read = Read {
                parts: indexes.iter().map(|&index| fetch.parts[index]).collect(),
                isolation: fetch.isolation,
                bytes_max: left,
                at_least_one,
            };
            let found = if *shard == self.id() {
                self.read(&read).await
            } else {
                match self.router().call(*shard, Call::Read(read)).await.await {
                    Reply::Read(found) => found,
                    other => unreachable!("a read is answered by a read, not {other:?}"),
                }
            };
            for (&index, part) in indexes.iter().zip(found) {
                let bytes = bytes_of(&part);
                left = left.saturating_sub(bytes);
                at_least_one &= bytes == 0;
                results[index] = Some(part);
            }
        }
        results.into_iter().flatten().collect()
    }

    /// Leaves a watch at each shard, for anything past what was just seen.
    fn watch_shares(&self, fetch: &Fetch, shares: &[Share], seen: &[PartRead]) -> News {
        let mut news = News { here: Rc::default(), elsewhere: Vec::new() };
        for (shard, indexes) in shares {
            let points: Vec<WatchPoint> = indexes
                .iter()
                .map(|&index| {
                    let part = &fetch.parts[index];
                    let end = match fetch.isolation {
                        Isolation::ReadUncommitted => seen[index].high_watermark,
                        Isolation::ReadCommitted => seen[index].last_stable_offset,
                    };
                    let from = Offset::new(end).map_or(part.from, |end| end.max(part.from));
                    WatchPoint { key: part.key, from, isolation: fetch.isolation }
                })
                .collect();
            if *shard == self.id() {
                self.watch(&points, &news.here);
            } else {
                news.elsewhere.push(self.router().wait(*shard, Call::Watch(points)));
            }
        }
        news
    }
}

/// The watches of one waiting fetch. Dropping it cancels them.
struct News {
    here: Rc<Watcher>,
    elsewhere: Vec<oneshot::Receiver<Reply>>,
}

impl News {
    /// Resolves when one of the watches fires, or with `time_is_up`.
    async fn or(mut self, mut time_is_up: Pin<&mut impl Future<Output = ()>>) {
        let mut here = pin!(self.here.fired());
        poll_fn(|cx| {
            let fired = here.as_mut().poll(cx).is_ready()
                || time_is_up.as_mut().poll(cx).is_ready()
                || self.elsewhere.iter_mut().any(|call| Pin::new(call).poll(cx).is_ready());
            if fired { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

fn bytes_of(part: &PartRead) -> usize {
    match &part.records {
        Ok(Fetched::Batches(batches)) => batches.iter().map(Bytes::len).sum(),
        _ => 0,
    }
}

fn enough(results: &[PartRead], bytes_min: usize) -> bool {
    let final_already = |part: &PartRead| !matches!(&part.records, Ok(Fetched::Batches(_)));
    results.is_empty()
        || results.iter().any(final_already)
        || results.iter().map(bytes_of).sum::<usize>() >= bytes_min
}

//! Which shard of a broker a partition lives on.

use crate::metadata::{PartitionId, TopicId};

/// The index of the shard that owns a partition, in `0..shards`.
///
/// A pure function: every shard and every restart with as many shards gives the same answer, and
/// nothing is stored. The partitions of one topic go round the shards, so that their counts differ
/// by one at most; where the round begins depends on the topic's id, so that many topics of one
/// partition spread as well. With another number of shards partitions change their places, which
/// needs no copying: all shards of a broker share its data folder.
///
/// `shards` is at least 1; 0 counts as 1.
#[must_use]
pub fn shard_of(topic: TopicId, partition: PartitionId, shards: usize) -> usize {
    let bits = topic.uuid().as_u128();
    // Ids are random, but those of a simulation may differ in few bits: mix all of them.
    let mixed = (bits ^ (bits >> 64)).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let start = mixed >> 96;
    let round = start + u128::from(partition.0.unsigned_abs());
    let shards = u128::try_from(shards.max(1)).unwrap_or(1);
    usize::try_from(round % shards).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn topic(number: u128) -> TopicId {
        TopicId::new(Uuid::from_u128(number + 2)).expect("not reserved")
    }

    #[test]
    fn the_partitions_of_a_topic_go_round_all_shards() {
        for shards in 1..9 {
            let mut counts = vec![0_usize; shards];
            for partition in 0..50 {
                counts[shard_of(topic(7), PartitionId(partition), shards)] += 1;
            }
            let (least, most) = (counts.iter().min(), counts.iter().max());
            assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1), "{counts:?}");
        }
    }

    #[test]
    fn many_topics_of_one_partition_spread_over_all_shards() {
        let mut counts = [0_usize; 4];
        for number in 0..1000 {
            counts[shard_of(topic(number), PartitionId(0), 4)] += 1;
        }
        assert!(counts.iter().all(|count| (150..350).contains(count)), "{counts:?}");
    }

    #[test]
    fn placement_never_changes_between_versions() {
        let places: Vec<usize> =
            (0..8).map(|number| shard_of(topic(number), PartitionId(3), 5)).collect();
        assert_eq!(places, [0, 0, 3, 2, 1, 0, 4, 3]);
    }
}

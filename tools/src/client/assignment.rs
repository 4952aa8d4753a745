//! What the members of a consumer group tell each other, and the range assignor.
//!
//! ```text
//! subscription = version i16, topics [string], user data bytes
//! assignment   = version i16, [ topic string, partitions [i32] ], user data bytes
//! ```

use std::collections::BTreeMap;

use bytes::Bytes;

/// The only version that has no fields beyond topics and partitions.
const VERSION: i16 = 0;

/// Partitions by topic.
pub type Assignment = BTreeMap<String, Vec<i32>>;

/// A member's subscription, for the group's leader.
#[must_use]
pub fn encode_subscription(topics: &[&str]) -> Bytes {
    let mut out = VERSION.to_be_bytes().to_vec();
    put_count(&mut out, topics.len());
    for topic in topics {
        put_string(&mut out, topic);
    }
    out.extend((-1_i32).to_be_bytes());
    out.into()
}

/// The topics of a subscription of any version; `None` if it is broken.
#[must_use]
pub fn decode_subscription(mut bytes: &[u8]) -> Option<Vec<String>> {
    let rest = &mut bytes;
    let _version = i16::from_be_bytes(take(rest)?);
    let count = take_count(rest)?;
    (0..count).map(|_| take_string(rest)).collect()
}

/// An assignment, for a member.
#[must_use]
pub fn encode_assignment(assignment: &Assignment) -> Bytes {
    let mut out = VERSION.to_be_bytes().to_vec();
    put_count(&mut out, assignment.len());
    for (topic, partitions) in assignment {
        put_string(&mut out, topic);
        put_count(&mut out, partitions.len());
        for partition in partitions {
            out.extend(partition.to_be_bytes());
        }
    }
    out.extend((-1_i32).to_be_bytes());
    out.into()
}

/// The partitions of an assignment of any version; empty bytes are no partitions. `None` if it is
/// broken.
#[must_use]
pub fn decode_assignment(mut bytes: &[u8]) -> Option<Assignment> {
    if bytes.is_empty() {
        return Some(Assignment::new());
    }
    let rest = &mut bytes;
    let _version = i16::from_be_bytes(take(rest)?);
    let topics = take_count(rest)?;
    let mut assignment = Assignment::new();
    for _ in 0..topics {
        let topic = take_string(rest)?;
        let count = take_count(rest)?;
        let partitions: Option<Vec<i32>> =
            (0..count).map(|_| Some(i32::from_be_bytes(take(rest)?))).collect();
        assignment.insert(topic, partitions?);
    }
    Some(assignment)
}

/// Kafka's `range` assignor: topic by topic, the members that want it, in order of their ids, get
/// ranges of its partitions, the first ones one more where it does not come out even.
#[must_use]
pub fn assign_ranges(
    members: &BTreeMap<String, Vec<String>>,
    partitions: &BTreeMap<String, Vec<i32>>,
) -> BTreeMap<String, Assignment> {
    let mut assigned: BTreeMap<String, Assignment> =
        members.keys().map(|member| (member.clone(), Assignment::new())).collect();
    for (topic, partitions) in partitions {
        let wanting: Vec<&String> = members
            .iter()
            .filter(|(_, topics)| topics.contains(topic))
            .map(|(member, _)| member)
            .collect();
        if wanting.is_empty() {
            continue;
        }
        let (each, more) = (partitions.len() / wanting.len(), partitions.len() % wanting.len());
        let mut rest = partitions.as_slice();
        for (index, member) in wanting.into_iter().enumerate() {
            let (own, others) = rest.split_at(each + usize::from(index < more));
            rest = others;
            if let Some(assignment) = assigned.get_mut(member).filter(|_| !own.is_empty()) {
                assignment.insert(topic.clone(), own.to_vec());
            }
        }
    }
    assigned
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend(i32::try_from(count).unwrap_or(i32::MAX).to_be_bytes());
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    out.extend(i16::try_from(text.len()).unwrap_or(i16::MAX).to_be_bytes());
    out.extend(text.as_bytes());
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}

/// A count that the bytes left can hold.
fn take_count(rest: &mut &[u8]) -> Option<usize> {
    let count = usize::try_from(i32::from_be_bytes(take(rest)?)).ok()?;
    (count <= rest.len()).then_some(count)
}

fn take_string(rest: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(i16::from_be_bytes(take(rest)?)).ok()?;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_and_assignments_survive_the_trip() {
        let topics = decode_subscription(&encode_subscription(&["a", "b"]));
        assert_eq!(topics, Some(vec!["a".to_owned(), "b".to_owned()]));
        let assignment = Assignment::from([("a".to_owned(), vec![0, 2]), ("b".to_owned(), vec![])]);
        assert_eq!(decode_assignment(&encode_assignment(&assignment)), Some(assignment));
        assert_eq!(decode_assignment(&[]), Some(Assignment::new()));
    }

    #[test]
    fn broken_bytes_are_refused_wherever_they_are_cut() {
        let whole = encode_assignment(&Assignment::from([("a".to_owned(), vec![0, 2])]));
        // The last four bytes are user data, which is not read.
        for end in 1..whole.len() - 4 {
            assert_eq!(decode_assignment(&whole[..end]), None, "{end}");
        }
        assert_eq!(decode_subscription(&[0, 0, 0x7f, 0xff, 0xff, 0xff]), None);
    }

    #[test]
    fn ranges_give_the_first_members_one_more() {
        let topic = || vec!["t".to_owned()];
        let members = ["a", "b", "c"].map(|member| (member.to_owned(), topic())).into();
        let partitions = BTreeMap::from([("t".to_owned(), (0..8).collect())]);
        let assigned = assign_ranges(&members, &partitions);
        let of = |member: &str| assigned[member]["t"].clone();
        assert_eq!((of("a"), of("b"), of("c")), (vec![0, 1, 2], vec![3, 4, 5], vec![6, 7]));
    }

    #[test]
    fn a_member_beyond_the_partitions_gets_nothing() {
        let members: BTreeMap<_, _> =
            ["a", "b"].map(|member| (member.to_owned(), vec!["t".to_owned()])).into();
        let partitions = BTreeMap::from([("t".to_owned(), vec![0])]);
        let assigned = assign_ranges(&members, &partitions);
        assert!(assigned["b"].is_empty());
        assert_eq!(assigned["a"]["t"], [0]);
    }
}

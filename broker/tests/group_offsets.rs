//! Committed offsets: who may commit, when they show, when they go, and how groups are looked at.

mod group_support;

use std::time::Duration;

use group_support::*;
use ringlog_broker::group::*;
use ringlog_engine::offset::{Offset, Timestamp};

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;

#[test]
fn a_consumer_in_no_group_commits_and_gets_back_all_it_stored() {
    let mut driver = Driver::prompt();
    driver.commit("t", 42);
    let topics = driver.fetch_all(GROUP);
    assert_eq!(topics.len(), 1);
    let (partition, committed) = topics[0].partitions[0].clone();
    let committed = committed.expect("it is committed");
    assert_eq!((partition, committed.offset, committed.leader_epoch), (0, 42, 5));
    assert_eq!(committed.metadata, "text");
    assert_eq!(committed.commit_timestamp, Timestamp::from_millis(WALL_START_MS));
    assert_eq!(committed.expire_timestamp, None);
}

#[test]
fn an_offset_shows_when_it_is_durable_and_not_before() {
    let mut driver = Driver::prompt();
    driver.commit("t", 1);
    driver.slow_log = true;
    let token = driver.send(commit("t", 2));
    assert!(driver.is_parked(token));
    assert_eq!(driver.fetch("t"), Some(1));
    driver.store();
    assert_eq!(driver.commit_results(token), Ok(vec![(0, Ok(()))]));
    assert_eq!(driver.fetch("t"), Some(2));
}

#[test]
fn a_commit_that_is_not_stored_never_shows() {
    for (failure, error) in [
        (AppendFailure::Unavailable, GroupError::NotAvailable),
        (AppendFailure::NotLeader, GroupError::NotCoordinator),
        (AppendFailure::TooLarge, GroupError::InvalidCommitOffsetSize),
    ] {
        let mut driver = Driver::prompt();
        driver.slow_log = true;
        let token = driver.send(commit("t", 2));
        driver.fail(failure);
        assert_eq!(driver.commit_results(token), Ok(vec![(0, Err(error))]));
        assert_eq!(driver.fetch("t"), None);
        assert_eq!(driver.list(&[], &[]), []);
    }
}

#[test]
fn commits_take_effect_in_log_order_however_their_outcomes_arrive() {
    let mut driver = Driver::prompt();
    driver.slow_log = true;
    let first = driver.send(commit("t", 1));
    let second = driver.send(commit("t", 2));
    driver.waiting.reverse();
    let (late, _) = driver.waiting.remove(0);
    let now = driver.now();
    assert_eq!(driver.coordinator.persisted(now, late, Ok(())), []);
    assert!(driver.is_parked(second), "what stands before it in the log has not been reported");
    driver.store();
    assert_eq!(driver.commit_results(first), Ok(vec![(0, Ok(()))]));
    assert_eq!(driver.fetch("t"), Some(2));
    assert_eq!(driver.coordinator.persisted(now, late, Ok(())), [], "reported twice: ignored");
}

#[test]
fn a_member_commits_in_its_generation_only() {
    let mut driver = Driver::prompt();
    let a = driver.stable(&["a"]).remove(0);
    let token = driver.send(commit_by(&a, "t", 7));
    assert_eq!(driver.commit_results(token), Ok(vec![(0, Ok(()))]));
    let old = Joined { generation: 0, ..a.clone() };
    let token = driver.send(commit_by(&old, "t", 8));
    let expected = GroupError::IllegalGeneration { actual: 0, expected: 1 };
    assert_eq!(driver.commit_results(token), Err(expected));
    let stranger = Joined { member_id: "x".into(), ..a };
    let token = driver.send(commit_by(&stranger, "t", 9));
    assert!(matches!(driver.commit_results(token), Err(GroupError::UnknownMemberId { .. })));
    assert_eq!(driver.fetch("t"), Some(7));
}

#[test]
fn a_consumer_in_no_group_cannot_commit_for_one_that_has_members() {
    let mut driver = Driver::prompt();
    driver.stable(&["a"]);
    let token = driver.send(commit("t", 1));
    assert!(matches!(driver.commit_results(token), Err(GroupError::UnknownMemberId { .. })));
    driver.leave("a-1", None);
    driver.commit("t", 1);
}

#[test]
fn a_member_commits_while_others_join_but_not_before_it_has_its_assignment() {
    let mut driver = Driver::prompt();
    let a = driver.stable(&["a"]).remove(0);
    let b = driver.send(join("b"));
    let token = driver.send(commit_by(&a, "t", 1));
    assert_eq!(driver.commit_results(token), Ok(vec![(0, Ok(()))]));
    driver.send(rejoin("a", &a));
    let b = driver.joined(b);
    let token = driver.send(commit_by(&b, "t", 2));
    assert_eq!(driver.commit_results(token), Err(GroupError::RebalanceInProgress));
}

#[test]
fn a_fenced_instance_cannot_commit() {
    let mut driver = Driver::prompt();
    let old = driver.stable(&["static-a"]).remove(0);
    let again = JoinRequest { member_id_suffix: "2".to_owned(), ..join_named("static-a") };
    driver.send(Request::Join(again));
    let token = driver.send(Request::Commit(CommitRequest {
        member_id: old.member_id.clone(),
        generation: old.generation,
        instance_id: Some("static-a".into()),
        ..commit_request("t", 1)
    }));
    assert!(matches!(driver.commit_results(token), Err(GroupError::FencedInstanceId { .. })));
}

#[test]
fn a_member_of_a_group_that_is_gone_is_told_that_its_generation_is() {
    let mut driver = Driver::prompt();
    let request = CommitRequest { generation: 3, ..commit_request("t", 1) };
    let token = driver.send(Request::Commit(request));
    let expected = GroupError::IllegalGeneration { actual: 3, expected: -1 };
    assert_eq!(driver.commit_results(token), Err(expected));
}

#[test]
fn metadata_that_is_too_long_is_refused_for_its_partition_alone() {
    let mut driver = Driver::prompt();
    let mut request = commit_request("t", 1);
    for (partition, metadata) in
        [(1, "x".repeat(4_096)), (2, "x".repeat(4_097)), (3, "\u{65e5}".repeat(4_096))]
    {
        request.topics[0].partitions.push(CommitPartition {
            partition,
            offset: 1,
            leader_epoch: -1,
            metadata: Some(metadata),
        });
    }
    let token = driver.send(Request::Commit(request));
    let refused = GroupError::OffsetMetadataTooLarge { actual: 4_097, allowed: 4_096 };
    let expected = vec![(0, Ok(())), (1, Ok(())), (2, Err(refused)), (3, Ok(()))];
    assert_eq!(driver.commit_results(token), Ok(expected));
    assert_eq!(driver.fetch_all(GROUP)[0].partitions.len(), 3);
}

#[test]
fn listed_partitions_are_answered_in_the_order_asked_and_none_is_left_out() {
    let mut driver = Driver::prompt();
    driver.commit("t", 1);
    let topics = vec![("u".into(), vec![3]), ("t".into(), vec![1, 0])];
    let request = FetchRequest { group_id: GROUP.into(), topics: Some(topics) };
    let token = driver.send(Request::Fetch(request));
    let Response::Fetch(Ok(topics)) = driver.reply(token) else { panic!("not fetched") };
    let found: Vec<_> = topics
        .iter()
        .flat_map(|topic| {
            topic.partitions.iter().map(|p| (topic.topic.as_str(), p.0, p.1.is_some()))
        })
        .collect();
    assert_eq!(found, [("u", 3, false), ("t", 1, false), ("t", 0, true)]);
    assert_eq!(driver.fetch_all("nobody"), []);
}

#[test]
fn offsets_expire_a_retention_time_after_their_group_became_empty() {
    let mut driver = Driver::prompt();
    let a = driver.stable(&["a"]).remove(0);
    driver.send(commit_by(&a, "t", 1));
    for _ in 0..(9 * DAY_MS / (5 * MINUTE_MS)) {
        driver.advance(9_000);
        // Time passes in long steps, yet the member stays: its sessions are short.
        assert_eq!(driver.heartbeat(&a), Ok(()));
    }
    driver.leave("a-1", None);
    driver.advance(7 * DAY_MS - MINUTE_MS);
    assert_eq!(driver.fetch("t"), Some(1));
    driver.advance(12 * MINUTE_MS);
    assert_eq!(driver.fetch("t"), None);
    assert_eq!(driver.state(), State::Dead, "the group goes with the last of its offsets");
    assert_eq!(driver.successor().list(&[], &[]), [], "and leaves nothing in the log");
}

#[test]
fn offsets_of_a_consumer_in_no_group_expire_one_by_one() {
    let mut driver = Driver::prompt();
    driver.commit("old", 1);
    driver.advance(4 * DAY_MS);
    driver.commit("new", 2);
    driver.advance(4 * DAY_MS);
    assert_eq!((driver.fetch("old"), driver.fetch("new")), (None, Some(2)));
    driver.advance(4 * DAY_MS);
    assert_eq!(driver.fetch("new"), None);
    assert_eq!(driver.list(&[], &[]), []);
}

#[test]
fn offsets_of_topics_that_a_stable_consumer_group_reads_do_not_expire() {
    let settings = Settings {
        offsets_retention: Duration::from_secs(60),
        offsets_retention_check_interval: Duration::from_secs(1),
        initial_rebalance_delay: Duration::ZERO,
        ..Settings::default()
    };
    for (protocol_type, metadata, expires) in [
        ("consumer", subscription(&["read"]), true),
        ("consumer", b"garbage".as_slice().into(), false),
        ("connect", subscription(&["read"]), false),
    ] {
        let mut driver = Driver::new(settings.clone());
        let token = driver.send(Request::Join(JoinRequest {
            protocol_type: protocol_type.into(),
            protocols: vec![Protocol { name: "range".into(), metadata }],
            session_timeout_ms: 1_000_000,
            ..join_named("a")
        }));
        driver.advance(1);
        let a = driver.joined(token);
        driver.send(sync(&a, vec![]));
        driver.send(commit_by(&a, "read", 1));
        driver.send(commit_by(&a, "unread", 2));
        driver.advance(62_000);
        assert_eq!(driver.fetch("read"), Some(1));
        assert_eq!(driver.fetch("unread"), if expires { None } else { Some(2) });
        assert_eq!(driver.state(), State::Stable);
    }
}

#[test]
fn a_client_may_ask_for_a_retention_time_of_its_own() {
    let mut driver = Driver::prompt();
    let request = CommitRequest { retention_ms: Some(60_000), ..commit_request("t", 1) };
    driver.send(Request::Commit(request));
    let expires = driver.fetch_all(GROUP)[0].partitions[0].1.clone().expect("it is there");
    let expected = Timestamp::from_millis(WALL_START_MS + 60_000);
    assert_eq!(expires.expire_timestamp, Some(expected));
    assert_eq!(driver.successor().fetch("t"), Some(1));
    driver.advance(11 * MINUTE_MS);
    assert_eq!(driver.fetch("t"), None);
}

#[test]
fn an_offset_does_not_expire_under_a_commit_that_is_on_its_way() {
    let mut driver = Driver::prompt();
    driver.commit("t", 1);
    driver.advance(7 * DAY_MS - 5 * MINUTE_MS);
    driver.slow_log = true;
    driver.send(commit("t", 2));
    driver.advance(10 * MINUTE_MS);
    driver.store();
    assert_eq!(driver.fetch("t"), Some(2));
    assert_eq!(driver.successor().fetch("t"), Some(2));
}

#[test]
fn the_offsets_of_a_deleted_topic_go_and_the_others_stay() {
    let mut driver = Driver::prompt();
    driver.commit("kept", 1);
    driver.commit("gone", 2);
    driver.topic_deleted("gone");
    assert_eq!((driver.fetch("kept"), driver.fetch("gone")), (Some(1), None));
    let mut successor = driver.successor();
    assert_eq!((successor.fetch("kept"), successor.fetch("gone")), (Some(1), None));
}

#[test]
fn an_empty_group_is_deleted_with_its_offsets_when_that_is_durable() {
    let mut driver = Driver::prompt();
    driver.stable(&["a"]);
    driver.leave("a-1", None);
    driver.commit("t", 1);
    driver.slow_log = true;
    let token = driver.send(Request::Delete { group_id: GROUP.into() });
    assert!(driver.is_parked(token));
    assert_eq!(driver.fetch("t"), Some(1));
    let early = driver.send(commit("t", 9));
    assert_eq!(driver.commit_results(early), Err(GroupError::NotAvailable));
    let early = driver.send(join("a"));
    assert_eq!(driver.refused(early).error, GroupError::NotAvailable);
    driver.store();
    assert_eq!(driver.reply(token), Response::Delete(Ok(())));
    assert_eq!(driver.fetch("t"), None);
    driver.slow_log = false;
    assert_eq!(driver.delete(), Err(GroupError::GroupIdNotFound { group_id: GROUP.into() }));
    assert_eq!(driver.successor().list(&[], &[]), []);
    driver.commit("t", 3);
    assert_eq!(driver.fetch("t"), Some(3));
}

#[test]
fn a_deletion_that_is_not_stored_leaves_the_group_as_it_was() {
    let mut driver = Driver::prompt();
    driver.commit("t", 1);
    driver.slow_log = true;
    let token = driver.send(Request::Delete { group_id: GROUP.into() });
    driver.fail(AppendFailure::Unavailable);
    assert_eq!(driver.reply(token), Response::Delete(Err(GroupError::NotAvailable)));
    assert_eq!((driver.fetch("t"), driver.state()), (Some(1), State::Empty));
}

#[test]
fn a_group_with_members_is_not_deleted() {
    let mut driver = Driver::prompt();
    driver.stable(&["a"]);
    let expected = GroupError::NonEmptyGroup { group_id: GROUP.into(), members: 1 };
    assert_eq!(driver.delete(), Err(expected));
}

#[test]
fn a_group_with_many_offsets_is_deleted_in_batches() {
    let mut driver = Driver::prompt();
    let count = i32::try_from(2 * TOMBSTONES_PER_APPEND).expect("small") + 1;
    let mut request = commit_request("t", 1);
    let template = request.topics[0].partitions.remove(0);
    let partitions = (0..count).map(|partition| CommitPartition { partition, ..template.clone() });
    request.topics[0].partitions = partitions.collect();
    driver.send(Request::Commit(request));
    driver.slow_log = true;
    let token = driver.send(Request::Delete { group_id: GROUP.into() });
    let sizes: Vec<usize> = driver.waiting.iter().map(|(_, records)| records.len()).collect();
    assert_eq!(sizes, [TOMBSTONES_PER_APPEND, TOMBSTONES_PER_APPEND, 2]);
    // If the first batch is not stored, the group is still there with the offsets in it.
    driver.fail(AppendFailure::Unavailable);
    driver.store();
    assert_eq!(driver.reply(token), Response::Delete(Err(GroupError::NotAvailable)));
    assert_eq!(driver.fetch_all(GROUP)[0].partitions.len(), TOMBSTONES_PER_APPEND);
    assert_eq!(driver.successor().fetch_all(GROUP), driver.fetch_all(GROUP));
}

#[test]
fn groups_are_listed_by_state_and_type() {
    let mut driver = Driver::prompt();
    driver.stable(&["a"]);
    let other = CommitRequest { group_id: "other".into(), ..commit_request("t", 1) };
    driver.send(Request::Commit(other));
    let group = ListedGroup {
        group_id: GROUP.into(),
        protocol_type: Some("consumer".into()),
        state: State::Stable,
    };
    let other = ListedGroup { group_id: "other".into(), protocol_type: None, state: State::Empty };
    assert_eq!(driver.list(&[], &[]), [group.clone(), other.clone()]);
    assert_eq!(driver.list(&["stable"], &["Classic"]), std::slice::from_ref(&group));
    assert_eq!(driver.list(&["Empty", "Dead"], &[]), [other]);
    assert_eq!(driver.list(&[], &["consumer"]), []);
    let described = driver.describe().expect("it is there");
    assert_eq!(described.protocol, Some("range".into()));
    let member = &described.members[0];
    assert_eq!((member.client_id.as_str(), member.client_host.as_str()), ("a", "/127.0.0.1"));
    assert_eq!((&member.metadata[..], &member.assignment[..]), (&b"a"[..], &b"a-a"[..]));
}

#[test]
fn a_successor_has_the_offsets_and_the_generation() {
    let mut driver = Driver::prompt();
    let a = driver.stable(&["a"]).remove(0);
    driver.send(commit_by(&a, "t", 5));
    driver.leave("a-1", None);
    let mut successor = driver.successor();
    assert_eq!(successor.fetch_all(GROUP), driver.fetch_all(GROUP));
    assert_eq!(successor.describe(), driver.describe());
    assert_eq!(successor.stable(&["a"])[0].generation, 3);
}

#[test]
fn broken_and_foreign_records_are_told_apart_and_do_no_harm() {
    let mut coordinator = Coordinator::new(Settings::default());
    let offset = Offset::new(7).expect("not negative");
    let skipped = coordinator.replay(Some(b"\0\x03whatever"), None, offset);
    assert_eq!(skipped, Ok(Replayed::Skipped { key_version: 3 }));
    let error = coordinator.replay(Some(b"\0\x02\0\x09g"), None, offset).expect_err("broken");
    assert_eq!(error.offset, offset);
    assert!(matches!(error.source, RecordError::Truncated { needed: 9, remaining: 1 }));
    let error = coordinator.replay(None, Some(b""), offset).expect_err("no key");
    assert_eq!(error.source, RecordError::NoKey);
}

#[test]
fn a_tombstone_of_a_group_keeps_offsets_that_have_none() {
    let mut driver = Driver::prompt();
    driver.stable(&["a"]);
    driver.leave("a-1", None);
    driver.commit("t", 1);
    let mut log = driver.log.clone();
    log.push(Record { key: b"\0\x02\0\x05group".as_slice().into(), value: None });
    let mut successor = Driver::over(driver.settings.clone(), log, 0);
    assert_eq!(successor.fetch("t"), Some(1));
}

#[test]
fn a_full_coordinator_refuses_new_groups_and_serves_those_it_has() {
    let mut driver = Driver::prompt();
    let request = |group: usize| {
        let group_id = group.to_string().into();
        Request::Commit(CommitRequest { group_id, ..commit_request("t", 1) })
    };
    for group in 0..GROUPS_MAX {
        driver.send(request(group));
    }
    let token = driver.send(request(GROUPS_MAX));
    let expected = GroupError::TooManyGroups { allowed: GROUPS_MAX };
    assert_eq!(driver.commit_results(token), Err(expected));
    let token = driver.send(request(0));
    assert_eq!(driver.commit_results(token), Ok(vec![(0, Ok(()))]));
}

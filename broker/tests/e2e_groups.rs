//! Consumer groups of raw members: joining, rebalancing, committing, leaving.

mod e2e_support;

use bytes::Bytes;
use e2e_support::*;

const GROUP: &str = "readers";

/// Makes the offsets topic, and tells whether the coordinator is this broker.
fn find_coordinator(client: &mut Client, port: u16) {
    let request = FindCoordinatorRequest { key: GROUP.into(), ..Default::default() };
    let answer = client.ask(&request, 3);
    assert_eq!((answer.error_code, answer.port), (0, i32::from(port)), "{answer:?}");
}

fn join_request(member: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: GROUP.into(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
        member_id: member.into(),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: Bytes::from_static(b"subscription"),
        }],
        ..JoinGroupRequest::default()
    }
}

/// The id that a new member is given.
fn new_member(client: &mut Client) -> String {
    let answer = client.ask(&join_request(""), 5);
    assert_eq!(code(answer.error_code), ErrorCode::MemberIdRequired);
    answer.member_id.to_string()
}

fn sync_request(generation: i32, member: &str, assigned: &[(&str, &str)]) -> SyncGroupRequest {
    SyncGroupRequest {
        group_id: GROUP.into(),
        generation_id: generation,
        member_id: member.into(),
        assignments: assigned
            .iter()
            .map(|(member, assignment)| SyncGroupRequestAssignment {
                member_id: (*member).into(),
                assignment: Bytes::copy_from_slice(assignment.as_bytes()),
            })
            .collect(),
        ..SyncGroupRequest::default()
    }
}

fn heartbeat(client: &mut Client, generation: i32, member: &str) -> ErrorCode {
    let request = HeartbeatRequest {
        group_id: GROUP.into(),
        generation_id: generation,
        member_id: member.into(),
        ..HeartbeatRequest::default()
    };
    code(client.ask(&request, 3).error_code)
}

fn commit(
    client: &mut Client,
    (generation, member): (i32, &str),
    topic: &Topic,
    offsets: &[(i32, i64)],
) -> Vec<ErrorCode> {
    let partitions = offsets
        .iter()
        .map(|(partition_index, committed_offset)| OffsetCommitRequestPartition {
            partition_index: *partition_index,
            committed_offset: *committed_offset,
            committed_leader_epoch: 0,
            committed_metadata: Some(format!("at {committed_offset}").into()),
        })
        .collect();
    let request = OffsetCommitRequest {
        group_id: GROUP.into(),
        generation_id_or_member_epoch: generation,
        member_id: member.into(),
        topics: vec![OffsetCommitRequestTopic { name: topic.name.clone(), partitions }],
        ..OffsetCommitRequest::default()
    };
    let answer = client.ask(&request, 8);
    answer.topics[0].partitions.iter().map(|one| code(one.error_code)).collect()
}

/// The committed offsets of partitions, with what was stored beside them.
fn committed(client: &mut Client, topic: &Topic, partitions: &[i32]) -> Vec<(i64, String)> {
    let group = OffsetFetchRequestGroup {
        group_id: GROUP.into(),
        topics: Some(vec![OffsetFetchRequestTopics {
            name: topic.name.clone(),
            partition_indexes: partitions.to_vec(),
        }]),
        ..OffsetFetchRequestGroup::default()
    };
    let request = OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() };
    let answer = loop {
        let answer = client.ask(&request, 8).groups.remove(0);
        // A coordinator that has just started says so until it has read its partition.
        if code(answer.error_code) != ErrorCode::CoordinatorLoadInProgress {
            break answer;
        }
    };
    assert_eq!(code(answer.error_code), ErrorCode::None);
    answer.topics[0]
        .partitions
        .iter()
        .map(|one| {
            assert_eq!(one.error_code, 0);
            let metadata = one.metadata.as_ref().map(|text| text.to_string());
            (one.committed_offset, metadata.unwrap_or_default())
        })
        .collect()
}

fn leave(client: &mut Client, members: &[&str]) -> LeaveGroupResponse {
    let members = members
        .iter()
        .map(|member| MemberIdentity { member_id: (*member).into(), ..Default::default() })
        .collect();
    let request =
        LeaveGroupRequest { group_id: GROUP.into(), members, ..LeaveGroupRequest::default() };
    client.ask(&request, 4)
}

fn describe(client: &mut Client) -> DescribedGroup {
    let request =
        DescribeGroupsRequest { groups: vec![GROUP.into()], ..DescribeGroupsRequest::default() };
    client.ask(&request, 5).groups.remove(0)
}

/// One member alone in the group; gives its id and generation.
fn settle(client: &mut Client) -> (i32, String) {
    let id = new_member(client);
    let joined = client.ask(&join_request(&id), 5);
    assert_eq!(code(joined.error_code), ErrorCode::None);
    assert_eq!((joined.leader.as_str(), joined.members.len()), (id.as_str(), 1));
    let synced = client.ask(&sync_request(joined.generation_id, &id, &[(&id, "all")]), 3);
    assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"all"[..]));
    (joined.generation_id, id)
}

#[test]
fn two_members_share_a_group_and_one_takes_over_when_the_other_leaves() {
    let broker = Broker::with(&["shards=2"]);
    let (mut first, mut second) = (broker.client(), broker.client());
    find_coordinator(&mut first, broker.address().port());
    let (generation, first_id) = settle(&mut first);
    assert_eq!(heartbeat(&mut first, generation, &first_id), ErrorCode::None);

    // The second member's join waits for the first to come again.
    let second_id = new_member(&mut second);
    second.send(&join_request(&second_id), 5);
    while heartbeat(&mut first, generation, &first_id) != ErrorCode::RebalanceInProgress {}
    let rejoined = first.ask(&join_request(&first_id), 5);
    let joined = second.receive::<JoinGroupRequest>(5).1;
    assert_eq!((rejoined.error_code, joined.error_code), (0, 0));
    assert_eq!(rejoined.generation_id, generation + 1);
    assert_eq!(joined.generation_id, generation + 1);
    assert_eq!(rejoined.leader, joined.leader);
    assert_eq!(rejoined.leader, first_id.as_str());
    assert_eq!(rejoined.members.len(), 2, "the leader sees all");
    assert!(joined.members.is_empty(), "others see none");
    assert!(rejoined.members.iter().all(|one| &one.metadata[..] == b"subscription"));

    // The follower's sync waits for the leader's assignment.
    second.send(&sync_request(generation + 1, &second_id, &[]), 3);
    let assigned = [(first_id.as_str(), "0,1"), (second_id.as_str(), "2,3")];
    let first_part = first.ask(&sync_request(generation + 1, &first_id, &assigned), 3);
    let second_part = second.receive::<SyncGroupRequest>(3).1;
    assert_eq!(&first_part.assignment[..], b"0,1");
    assert_eq!(&second_part.assignment[..], b"2,3");
    assert_eq!(heartbeat(&mut second, generation + 1, &second_id), ErrorCode::None);
    assert_eq!(heartbeat(&mut second, generation, &second_id), ErrorCode::IllegalGeneration);
    let stranger = heartbeat(&mut second, generation + 1, "stranger");
    assert_eq!(stranger, ErrorCode::UnknownMemberId);

    let described = describe(&mut first);
    assert_eq!((described.error_code, described.group_state.as_str()), (0, "Stable"));
    assert_eq!(described.protocol_data, "range");
    let mut parts: Vec<_> =
        described.members.iter().map(|one| one.member_assignment.clone()).collect();
    parts.sort();
    assert_eq!(parts, ["0,1", "2,3"].map(Bytes::from));

    assert_eq!(leave(&mut first, &[&first_id]).error_code, 0);
    while heartbeat(&mut second, generation + 1, &second_id) != ErrorCode::RebalanceInProgress {}
    let alone = second.ask(&join_request(&second_id), 5);
    assert_eq!((alone.error_code, alone.generation_id), (0, generation + 2));
    assert_eq!((alone.leader, alone.members.len()), (second_id.as_str().into(), 1));
}

#[test]
fn offsets_are_committed_by_members_and_read_by_anyone() {
    let broker = Broker::with(&["shards=2"]);
    let mut client = broker.client();
    find_coordinator(&mut client, broker.address().port());
    let topic = create_topic(&mut client, "read", 3, &[]);
    let (generation, id) = settle(&mut client);
    let none = committed(&mut client, &topic, &[0, 1]);
    assert_eq!(none, [(-1, String::new()), (-1, String::new())]);
    let codes = commit(&mut client, (generation, &id), &topic, &[(0, 11), (2, 22), (9, 1)]);
    use ErrorCode::{None, UnknownTopicOrPartition};
    assert_eq!(codes, [None, None, UnknownTopicOrPartition]);
    let expected = [(11, "at 11".to_owned()), (-1, String::new()), (22, "at 22".to_owned())];
    assert_eq!(committed(&mut client, &topic, &[0, 1, 2]), expected);

    let wrong = [
        ((generation - 1, id.as_str()), ErrorCode::IllegalGeneration),
        ((generation, "stranger"), ErrorCode::UnknownMemberId),
        ((-1, ""), ErrorCode::UnknownMemberId),
    ];
    for (member, expected) in wrong {
        assert_eq!(commit(&mut client, member, &topic, &[(0, 99)]), [expected], "{member:?}");
    }
    assert_eq!(committed(&mut client, &topic, &[0])[0].0, 11);

    // An empty group takes offsets from outside: that is how tools reset them.
    leave(&mut client, &[&id]);
    assert_eq!(commit(&mut client, (-1, ""), &topic, &[(0, 5)]), [None]);
    assert_eq!(committed(&mut client, &topic, &[0])[0].0, 5);
}

#[test]
fn committed_offsets_survive_a_kill() {
    let broker = Process::start(&Folder::new(), &["shards=2"]);
    let mut client = broker.client();
    find_coordinator(&mut client, broker.address().port());
    let topic = create_topic(&mut client, "read", 2, &[]);
    let (generation, id) = settle(&mut client);
    for offset in 0..20 {
        let codes = commit(&mut client, (generation, &id), &topic, &[(0, offset), (1, 2 * offset)]);
        assert_eq!(codes, [ErrorCode::None, ErrorCode::None]);
    }
    let broker = broker.kill_and_restart();
    let mut client = broker.client();
    find_coordinator(&mut client, broker.address().port());
    let expected = [(19, "at 19".to_owned()), (38, "at 38".to_owned())];
    assert_eq!(committed(&mut client, &topic, &[0, 1]), expected);
    // The member is still known: it goes on where it was.
    assert_eq!(heartbeat(&mut client, generation, &id), ErrorCode::None);
    assert_eq!(commit(&mut client, (generation, &id), &topic, &[(0, 20)]), [ErrorCode::None]);
}

#[test]
fn groups_are_listed_described_and_deleted() {
    let broker = Broker::with(&["shards=2"]);
    let mut client = broker.client();
    find_coordinator(&mut client, broker.address().port());
    let topic = create_topic(&mut client, "read", 1, &[]);
    let list = |client: &mut Client| {
        // Other coordinators than the one that was found may be loading.
        let loaded = |_| {
            let answer = client.ask(&ListGroupsRequest::default(), 4);
            (code(answer.error_code) != ErrorCode::CoordinatorLoadInProgress).then_some(answer)
        };
        let answer = (0..100_000).find_map(loaded).expect("loaded at some time");
        assert_eq!(answer.error_code, 0);
        let found = answer.groups.into_iter();
        found.map(|one| (one.group_id.to_string(), one.group_state.to_string())).collect::<Vec<_>>()
    };
    let delete = |client: &mut Client| {
        let request = DeleteGroupsRequest { groups_names: vec![GROUP.into()] };
        code(client.ask(&request, 2).results[0].error_code)
    };
    assert!(list(&mut client).is_empty());
    assert_eq!(delete(&mut client), ErrorCode::GroupIdNotFound);
    assert_eq!(describe(&mut client).group_state, "Dead");
    let (generation, id) = settle(&mut client);
    commit(&mut client, (generation, &id), &topic, &[(0, 3)]);
    assert_eq!(list(&mut client), [(GROUP.to_owned(), "Stable".to_owned())]);
    assert_eq!(delete(&mut client), ErrorCode::NonEmptyGroup);
    leave(&mut client, &[&id]);
    assert_eq!(list(&mut client), [(GROUP.to_owned(), "Empty".to_owned())]);
    assert_eq!(delete(&mut client), ErrorCode::None);
    assert!(list(&mut client).is_empty());
    assert_eq!(committed(&mut client, &topic, &[0])[0].0, -1);
    let broker = broker.restart();
    let mut client = broker.client();
    find_coordinator(&mut client, broker.address().port());
    assert!(list(&mut client).is_empty(), "a deleted group stays deleted");
}

#[test]
fn a_member_whose_session_ends_makes_room_for_the_others() {
    let broker = Broker::with(&["shards=1", "group.min.session.timeout.ms=1"]);
    let mut client = broker.client();
    find_coordinator(&mut client, broker.address().port());
    let short = JoinGroupRequest { session_timeout_ms: 200, ..join_request("") };
    let id = client.ask(&short, 5).member_id;
    let joined = client.ask(&JoinGroupRequest { member_id: id.clone(), ..short }, 5);
    assert_eq!(joined.error_code, 0);
    client.ask(&sync_request(joined.generation_id, &id, &[(&id, "all")]), 3);
    // It says nothing more. Another one's join waits for it no longer than its session.
    let mut other = broker.client();
    let other_id = new_member(&mut other);
    let answer = other.ask(&join_request(&other_id), 5);
    assert_eq!((answer.error_code, answer.members.len()), (0, 1));
    assert_eq!(heartbeat(&mut client, joined.generation_id, &id), ErrorCode::UnknownMemberId);
}

#[test]
fn commits_survive_the_compaction_of_the_topic_that_holds_them() {
    let settings = ["shards=1", "offsets.topic.segment.bytes=16384", "log.cleaner.backoff.ms=10"];
    let broker = Broker::with(&settings);
    let mut client = broker.client();
    find_coordinator(&mut client, broker.address().port());
    let topic = create_topic(&mut client, "read", 1, &[]);
    let bytes = || -> u64 {
        let folders = std::fs::read_dir(broker.folder().path()).expect("a folder");
        let folders = folders.map(|folder| folder.expect("an entry").path());
        let offsets =
            folders.filter(|path| path.display().to_string().contains("__consumer_offsets"));
        offsets
            .flat_map(|path| std::fs::read_dir(path).expect("a folder"))
            .map(|file| file.expect("an entry"))
            .filter(|file| file.file_name().to_string_lossy().ends_with("0000.log"))
            .map(|file| file.metadata().map_or(0, |metadata| metadata.len()))
            .sum()
    };
    #[expect(clippy::disallowed_methods, reason = "the test waits for what runs in real time")]
    let began = std::time::Instant::now();
    let mut last = 0;
    // Of the first segment, once it is sealed, next to nothing stays.
    loop {
        for _ in 0..50 {
            last += 1;
            let errors = commit(&mut client, (-1, ""), &topic, &[(0, last)]);
            assert_eq!(errors, [ErrorCode::None]);
        }
        if bytes() < 2_000 {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{} bytes after {last}", bytes());
    }
    let expected = [(last, format!("at {last}"))];
    assert_eq!(committed(&mut client, &topic, &[0]), expected);
    let broker = broker.restart();
    let mut client = broker.client();
    find_coordinator(&mut client, broker.address().port());
    assert_eq!(committed(&mut client, &topic, &[0]), expected);
}

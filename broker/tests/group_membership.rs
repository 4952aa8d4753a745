//! Members of a group: how they join, synchronise, live, leave and are missed.

mod group_support;

use std::time::Duration;

use bytes::Bytes;
use group_support::*;
use ringlog_broker::group::*;

fn unknown(member_id: &str) -> GroupError {
    GroupError::UnknownMemberId { member_id: member_id.into() }
}

#[test]
fn a_new_member_is_given_an_id_first_and_joins_with_it() {
    let mut driver = Driver::prompt();
    let first = JoinRequest { requires_known_member_id: true, ..join_named("a") };
    let token = driver.send(Request::Join(first.clone()));
    let refused = driver.refused(token);
    assert_eq!(refused.member_id, "a-1".into());
    assert!(matches!(refused.error, GroupError::MemberIdRequired { .. }));
    let token = driver.send(Request::Join(JoinRequest { member_id: refused.member_id, ..first }));
    driver.advance(1);
    let joined = driver.joined(token);
    assert_eq!((joined.generation, joined.leader.as_str()), (1, "a-1"));
    assert_eq!(joined.members.len(), 1);
    assert_eq!(joined.protocol, Some("range".into()));
}

#[test]
fn an_id_that_nobody_comes_back_with_is_forgotten_with_its_group() {
    let mut driver = Driver::prompt();
    let request = JoinRequest { requires_known_member_id: true, ..join_named("a") };
    driver.send(Request::Join(request.clone()));
    assert_eq!(driver.state(), State::Empty);
    driver.advance(10_000);
    assert_eq!(driver.describe(), Err(GroupError::GroupIdNotFound { group_id: GROUP.into() }));
    let token = driver.send(Request::Join(JoinRequest { member_id: "a-1".into(), ..request }));
    assert_eq!(driver.refused(token).error, unknown("a-1"));
}

#[test]
fn a_rebalance_waits_for_members_that_were_only_given_an_id() {
    let mut driver = Driver::prompt();
    let a = driver.stable(&["a"]).remove(0);
    let request = JoinRequest { requires_known_member_id: true, ..join_named("b") };
    driver.send(Request::Join(request.clone()));
    let token = driver.send(rejoin("a", &a));
    assert!(driver.is_parked(token));
    let other = driver.send(Request::Join(JoinRequest { member_id: "b-1".into(), ..request }));
    assert_eq!(driver.joined(token).generation, driver.joined(other).generation);
}

#[test]
fn an_empty_group_waits_for_more_members_and_longer_while_they_come() {
    let mut driver = Driver::new(Settings::default());
    let a = driver.send(join("a"));
    driver.advance(2_900);
    let b = driver.send(join("b"));
    driver.advance(3_000);
    assert!(driver.is_parked(a), "the arrival of a member extends the delay");
    driver.advance(200);
    assert_eq!(driver.joined(a).members.len() + driver.joined(b).members.len(), 2);
}

#[test]
fn the_initial_delay_ends_with_the_rebalance_timeout_however_many_come() {
    let mut driver = Driver::new(Settings::default());
    let request =
        |name: &str| Request::Join(JoinRequest { rebalance_timeout_ms: 7_000, ..join_named(name) });
    let first = driver.send(request("a"));
    for index in 0..6 {
        driver.advance(1_000);
        driver.send(request(&format!("b{index}")));
    }
    assert!(driver.is_parked(first));
    driver.advance(1_000);
    assert_eq!(driver.joined(first).generation, 1);
}

#[test]
fn the_leader_sees_everybody_and_the_followers_nobody() {
    let mut driver = Driver::new(Settings::default());
    let members = driver.stable(&["a", "b", "c"]);
    let leader = members.iter().find(|m| m.member_id == m.leader).expect("one leads");
    let seen: Vec<_> = leader.members.iter().map(|m| m.metadata.clone()).collect();
    assert_eq!(seen, [Bytes::from("a"), Bytes::from("b"), Bytes::from("c")]);
    assert!(members.iter().filter(|m| m.member_id != m.leader).all(|m| m.members.is_empty()));
}

#[test]
fn the_protocol_is_voted_for_among_those_all_members_offer() {
    let mut driver = Driver::new(Settings::default());
    let offers = |name: &str, protocols: &[&str]| {
        let protocols = protocols.iter().map(|offered| protocol(offered, name)).collect();
        Request::Join(JoinRequest { protocols, ..join_named(name) })
    };
    let a = driver.send(offers("a", &["sticky", "range", "robin"]));
    driver.send(offers("b", &["robin", "range"]));
    driver.send(offers("c", &["range", "robin"]));
    let stranger = driver.send(offers("d", &["sticky"]));
    assert_eq!(driver.refused(stranger).error, GroupError::InconsistentGroupProtocol);
    driver.advance(10_000);
    assert_eq!(driver.joined(a).protocol, Some("range".into()));
}

#[test]
fn a_member_of_another_kind_is_refused_and_an_empty_offer_too() {
    let mut driver = Driver::prompt();
    let token = driver.send(Request::Join(JoinRequest { protocols: vec![], ..join_named("a") }));
    assert_eq!(driver.refused(token).error, GroupError::InconsistentGroupProtocol);
    assert_eq!(driver.state(), State::Dead, "nothing stays of a group that nobody joined");
    driver.stable(&["a"]);
    let connect = JoinRequest { protocol_type: "connect".into(), ..join_named("b") };
    let token = driver.send(Request::Join(connect));
    assert_eq!(driver.refused(token).error, GroupError::InconsistentGroupProtocol);
}

#[test]
fn a_session_timeout_out_of_bounds_is_refused_with_the_bounds() {
    let mut driver = Driver::prompt();
    for actual_ms in [-1, 5_999, 1_800_001] {
        let request = JoinRequest { session_timeout_ms: actual_ms, ..join_named("a") };
        let token = driver.send(Request::Join(request));
        let (min_ms, max_ms) = (6_000, 1_800_000);
        let expected = GroupError::InvalidSessionTimeout { actual_ms, min_ms, max_ms };
        assert_eq!(driver.refused(token).error, expected);
    }
}

#[test]
fn a_group_without_a_name_takes_no_members() {
    let mut driver = Driver::prompt();
    let request = JoinRequest { group_id: "".into(), ..join_named("a") };
    let token = driver.send(Request::Join(request));
    assert_eq!(driver.refused(token).error, GroupError::InvalidGroupId);
}

#[test]
fn a_full_group_refuses_members_and_keeps_those_it_has() {
    let settings = Settings {
        group_size_max: 2,
        initial_rebalance_delay: Duration::ZERO,
        ..Settings::default()
    };
    let mut driver = Driver::new(settings);
    let members = driver.stable(&["a", "b"]);
    let token = driver.send(join("c"));
    assert_eq!(driver.refused(token).error, GroupError::GroupMaxSizeReached { allowed: 2 });
    assert_eq!(driver.heartbeat(&members[1]), Ok(()));
}

#[test]
fn names_and_metadata_that_are_too_large_are_refused() {
    let mut driver = Driver::prompt();
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    let big = "x".repeat(MEMBER_METADATA_BYTES_MAX + 1);
    let requests = [
        JoinRequest { group_id: long.clone().into(), ..join_named("a") },
        JoinRequest { client_id: long.clone(), ..join_named("a") },
        JoinRequest { protocols: vec![protocol(&long, "")], ..join_named("a") },
        JoinRequest { protocols: vec![protocol("range", &big)], ..join_named("a") },
    ];
    for request in requests {
        let token = driver.send(Request::Join(request));
        assert!(matches!(driver.refused(token).error, GroupError::TooLarge { .. }));
    }
}

#[test]
fn a_new_member_brings_the_others_to_rebalance() {
    let mut driver = Driver::prompt();
    let a = driver.stable(&["a"]).remove(0);
    let b = driver.send(join("b"));
    assert_eq!(driver.state(), State::PreparingRebalance);
    assert_eq!(driver.heartbeat(&a), Err(GroupError::RebalanceInProgress));
    assert!(driver.is_parked(b));
    let again = driver.send(rejoin("a", &a));
    assert_eq!((driver.joined(again).generation, driver.joined(b).generation), (2, 2));
    assert_eq!(driver.heartbeat(&a), Err(GroupError::IllegalGeneration { actual: 1, expected: 2 }));
}

#[test]
fn members_that_do_not_join_in_time_are_out() {
    let mut driver = Driver::prompt();
    let members = driver.stable(&["a", "b"]);
    let patient = JoinRequest { rebalance_timeout_ms: 90_000, ..join_named("c") };
    let c = driver.send(Request::Join(patient));
    // One of them lives, but does not join.
    for _ in 0..8 {
        driver.advance(5_000);
        assert_eq!(driver.heartbeat(&members[0]), Err(GroupError::RebalanceInProgress));
    }
    assert!(driver.is_parked(c));
    for _ in 0..10 {
        driver.advance(5_000);
        let _ = driver.heartbeat(&members[0]);
    }
    let joined = driver.joined(c);
    assert_eq!(joined.members.len(), 1);
    assert_eq!(joined.leader, joined.member_id, "a new leader stands in for one that is out");
}

#[test]
fn a_follower_with_the_same_metadata_joins_again_without_a_rebalance() {
    let mut driver = Driver::prompt();
    let members = driver.stable(&["a", "b"]);
    let follower = members.iter().position(|m| m.member_id != m.leader).expect("one follows");
    let name = ["a", "b"][follower];
    let token = driver.send(rejoin(name, &members[follower]));
    assert_eq!(driver.joined(token), Joined { members: vec![], ..members[follower].clone() });
    assert_eq!(driver.state(), State::Stable);
    let changed = JoinRequest {
        member_id: members[follower].member_id.clone(),
        protocols: vec![protocol("range", "other")],
        ..join_named(name)
    };
    let token = driver.send(Request::Join(changed));
    assert!(driver.is_parked(token));
    assert_eq!(driver.state(), State::PreparingRebalance);
}

#[test]
fn a_leader_that_joins_again_brings_a_rebalance() {
    let mut driver = Driver::prompt();
    let a = driver.stable(&["a"]).remove(0);
    let token = driver.send(rejoin("a", &a));
    assert_eq!(driver.joined(token).generation, 2);
}

#[test]
fn a_member_that_missed_the_answer_to_its_join_is_told_again() {
    let mut driver = Driver::prompt();
    let token = driver.send(join("a"));
    driver.advance(1);
    let joined = driver.joined(token);
    assert_eq!(driver.state(), State::CompletingRebalance);
    let token = driver.send(rejoin("a", &joined));
    assert_eq!(driver.joined(token), joined);
}

#[test]
fn a_join_that_is_repeated_ends_the_first() {
    let mut driver = Driver::prompt();
    let members = driver.stable(&["a", "b"]);
    let first = driver.send(rejoin("a", &members[0]));
    let changed = JoinRequest {
        member_id: members[0].member_id.clone(),
        protocols: vec![protocol("range", "x")],
        ..join_named("a")
    };
    let second = driver.send(Request::Join(changed));
    assert_eq!(driver.refused(first).error, GroupError::RebalanceInProgress);
    driver.send(rejoin("b", &members[1]));
    assert_eq!(driver.joined(second).generation, 2);
}

#[test]
fn followers_wait_for_the_assignment_and_get_it_when_it_is_durable() {
    let mut driver = Driver::new(Settings::default());
    let a = driver.send(join("a"));
    let b = driver.send(join("b"));
    driver.advance(10_000);
    let (a, b) = (driver.joined(a), driver.joined(b));
    let (leader, follower) = if a.leader == a.member_id { (a, b) } else { (b, a) };
    let waits = driver.send(sync(&follower, vec![]));
    assert!(driver.is_parked(waits));
    driver.slow_log = true;
    let mine = (leader.member_id.clone(), Bytes::from("mine"));
    let stranger = (MemberId::from("stranger"), Bytes::from("x"));
    let leads = driver.send(sync(&leader, vec![mine, stranger]));
    assert!(driver.is_parked(leads) && driver.is_parked(waits));
    driver.store();
    assert_eq!(driver.synced(leads).expect("synced").assignment, "mine");
    assert_eq!(driver.synced(waits).expect("synced").assignment, "", "nothing was assigned to it");
    assert_eq!(driver.state(), State::Stable);
    let again = driver.send(sync(&leader, vec![]));
    assert_eq!(driver.synced(again).expect("synced").assignment, "mine");
}

#[test]
fn an_assignment_that_is_not_stored_is_not_handed_out_and_the_group_rebalances() {
    for (failure, error) in [
        (AppendFailure::Unavailable, GroupError::NotAvailable),
        (AppendFailure::NotLeader, GroupError::NotCoordinator),
        (AppendFailure::TooLarge, GroupError::GroupMetadataTooLarge),
    ] {
        let mut driver = Driver::prompt();
        let token = driver.send(join("a"));
        driver.advance(1);
        let a = driver.joined(token);
        driver.slow_log = true;
        let token = driver.send(sync(&a, vec![(a.member_id.clone(), Bytes::from("x"))]));
        driver.fail(failure);
        assert_eq!(driver.synced(token), Err(error));
        assert_eq!(driver.state(), State::PreparingRebalance);
    }
}

#[test]
fn a_sync_is_checked_for_member_generation_and_protocol() {
    let mut driver = Driver::prompt();
    let a = driver.stable(&["a"]).remove(0);
    let stranger = driver.send(sync(&Joined { member_id: "x".into(), ..a.clone() }, vec![]));
    assert_eq!(driver.synced(stranger), Err(unknown("x")));
    let old = driver.send(sync(&Joined { generation: 0, ..a.clone() }, vec![]));
    assert_eq!(driver.synced(old), Err(GroupError::IllegalGeneration { actual: 0, expected: 1 }));
    for wrong in [
        Joined { protocol: Some("robin".into()), ..a.clone() },
        Joined { protocol_type: Some("connect".into()), ..a.clone() },
    ] {
        let token = driver.send(sync(&wrong, vec![]));
        assert_eq!(driver.synced(token), Err(GroupError::InconsistentGroupProtocol));
    }
    let unsaid = Joined { protocol: None, protocol_type: None, ..a };
    let token = driver.send(sync(&unsaid, vec![]));
    assert_eq!(driver.synced(token).expect("synced").protocol, Some("range".into()));
}

#[test]
fn a_parked_sync_ends_when_the_group_rebalances() {
    let mut driver = Driver::new(Settings::default());
    let tokens = [driver.send(join("a")), driver.send(join("b"))];
    driver.advance(10_000);
    let members = tokens.map(|token| driver.joined(token));
    let follower = members.iter().find(|m| m.member_id != m.leader).expect("one follows");
    let parked = driver.send(sync(follower, vec![]));
    driver.send(join("c"));
    assert_eq!(driver.synced(parked), Err(GroupError::RebalanceInProgress));
    let late = driver.send(sync(follower, vec![]));
    assert_eq!(driver.synced(late), Err(GroupError::RebalanceInProgress));
}

#[test]
fn a_parked_sync_of_a_member_that_leaves_is_answered() {
    let mut driver = Driver::new(Settings::default());
    let tokens = [driver.send(join("a")), driver.send(join("b"))];
    driver.advance(10_000);
    let members = tokens.map(|token| driver.joined(token));
    let follower = members.iter().find(|m| m.member_id != m.leader).expect("one follows");
    let parked = driver.send(sync(follower, vec![]));
    driver.leave(follower.member_id.as_str(), None);
    assert_eq!(driver.synced(parked), Err(unknown(follower.member_id.as_str())));
}

#[test]
fn members_that_never_ask_for_their_assignment_are_out() {
    let mut driver = Driver::new(Settings::default());
    let request =
        |name: &str| Request::Join(JoinRequest { session_timeout_ms: 300_000, ..join_named(name) });
    let tokens = [driver.send(request("a")), driver.send(request("b"))];
    driver.advance(10_000);
    let members = tokens.map(|token| driver.joined(token));
    let leader = members.iter().find(|m| m.member_id == m.leader).expect("one leads");
    driver.send(sync(leader, vec![]));
    assert_eq!(driver.state(), State::Stable);
    driver.advance(60_000);
    let group = driver.describe().expect("it is there");
    assert_eq!((group.state, group.members.len()), (State::PreparingRebalance, 1));
}

#[test]
fn a_member_that_is_silent_for_its_session_is_out_and_the_rest_rebalance() {
    let mut driver = Driver::prompt();
    let members = driver.stable(&["a", "b"]);
    driver.advance(9_000);
    assert_eq!(driver.heartbeat(&members[0]), Ok(()));
    driver.advance(2_000);
    assert_eq!(driver.heartbeat(&members[0]), Err(GroupError::RebalanceInProgress));
    assert_eq!(driver.heartbeat(&members[1]), Err(unknown("b-1")));
    let token = driver.send(rejoin("a", &members[0]));
    assert_eq!(driver.joined(token).generation, members[0].generation + 1);
}

#[test]
fn a_group_whose_members_are_all_silent_becomes_empty_in_a_new_generation() {
    let mut driver = Driver::prompt();
    let a = driver.stable(&["a"]).remove(0);
    driver.advance(10_000);
    let group = driver.describe().expect("it is there");
    assert_eq!((group.state, group.generation), (State::Empty, 2));
    assert_eq!(driver.heartbeat(&a), Err(unknown("a-1")));
    let token = driver.send(rejoin("a", &a));
    assert_eq!(driver.refused(token).error, unknown("a-1"));
}

#[test]
fn a_commit_keeps_a_session_alive() {
    let mut driver = Driver::prompt();
    let a = driver.stable(&["a"]).remove(0);
    for offset in 0..5 {
        driver.advance(9_000);
        driver.send(commit_by(&a, "t", offset));
    }
    assert_eq!(driver.heartbeat(&a), Ok(()));
}

#[test]
fn a_new_member_whose_join_stays_parked_for_ever_is_given_up() {
    let mut driver = Driver::prompt();
    let a = driver.stable(&["a"]).remove(0);
    let request = JoinRequest { rebalance_timeout_ms: i32::MAX, ..join_named("b") };
    let b = driver.send(Request::Join(request));
    for _ in 0..59 {
        driver.advance(5_000);
        let _ = driver.heartbeat(&a);
    }
    assert!(driver.is_parked(b));
    driver.advance(5_000);
    assert!(matches!(driver.refused(b).error, GroupError::UnknownMemberId { .. }));
}

#[test]
fn a_member_that_leaves_brings_the_rest_to_rebalance_and_the_last_empties_the_group() {
    let mut driver = Driver::prompt();
    let members = driver.stable(&["a", "b"]);
    let left = driver.leave("a-1", None);
    assert_eq!(left[0].result, Ok(()));
    assert_eq!(driver.state(), State::PreparingRebalance);
    let token = driver.send(rejoin("b", &members[1]));
    assert_eq!(driver.joined(token).leader, "b-1".into());
    driver.leave("b-1", None);
    assert_eq!(driver.state(), State::Empty);
    assert_eq!(driver.leave("b-1", None)[0].result, Err(unknown("b-1")));
}

#[test]
fn a_leave_that_empties_the_group_is_answered_when_that_is_durable() {
    let mut driver = Driver::prompt();
    driver.stable(&["a"]);
    driver.slow_log = true;
    let token = driver.send(leave(vec![("a-1", None)]));
    assert!(driver.is_parked(token));
    driver.store();
    assert!(matches!(driver.reply(token), Response::Leave(Ok(_))));
}

#[test]
fn several_members_leave_at_once_and_each_has_its_result() {
    let mut driver = Driver::prompt();
    driver.stable(&["a", "static-b", "c"]);
    let request = leave(vec![
        ("a-1", None),
        ("", Some("static-b")),
        ("nobody", None),
        ("c-1", Some("static-b")),
        ("", Some("static-x")),
    ]);
    let token = driver.send(request);
    let Response::Leave(Ok(left)) = driver.reply(token) else { panic!("not left") };
    let results: Vec<_> = left.into_iter().map(|left| left.result).collect();
    let expected = [Ok(()), Ok(()), Err(unknown("nobody")), Err(unknown("c-1")), Err(unknown(""))];
    assert_eq!(results, expected);
}

#[test]
fn a_group_that_nobody_knows_knows_no_members() {
    let mut driver = Driver::prompt();
    let token = driver.send(leave(vec![("a", None)]));
    assert_eq!(driver.reply(token), Response::Leave(Err(unknown("a"))));
    let nobody = Joined {
        member_id: "a".into(),
        generation: 1,
        protocol_type: None,
        protocol: None,
        leader: "a".into(),
        skip_assignment: false,
        members: vec![],
    };
    assert_eq!(driver.heartbeat(&nobody), Err(unknown("a")));
    let token = driver.send(sync(&nobody, vec![]));
    assert_eq!(driver.synced(token), Err(unknown("a")));
    let token = driver.send(rejoin("a", &nobody));
    assert_eq!(driver.refused(token).error, unknown("a"));
}

#[test]
fn a_static_member_comes_back_without_a_rebalance_and_fences_its_old_self() {
    let mut driver = Driver::prompt();
    let members = driver.stable(&["a", "static-b"]);
    let old = &members[1];
    let again = JoinRequest { member_id_suffix: "2".to_owned(), ..join_named("static-b") };
    driver.slow_log = true;
    let token = driver.send(Request::Join(again));
    assert!(driver.is_parked(token), "its new id has to be durable first");
    driver.store();
    let new = driver.joined(token);
    assert_eq!((new.generation, new.member_id.as_str()), (old.generation, "static-b-2"));
    assert_eq!(driver.state(), State::Stable);
    let fenced = driver.heartbeat_as(old, Some("static-b"));
    assert!(matches!(fenced, Err(GroupError::FencedInstanceId { .. })));
    let token = driver.send(sync(&new, vec![]));
    assert_eq!(driver.synced(token).expect("synced").assignment, "a-static-b");
    assert_eq!(driver.heartbeat_as(&new, Some("static-b")), Ok(()));
}

#[test]
fn a_static_leader_that_comes_back_skips_the_assignment_or_follows_if_it_cannot() {
    for supports_skipping_assignment in [true, false] {
        let mut driver = Driver::prompt();
        let old = driver.stable(&["static-a"]).remove(0);
        let token = driver.send(Request::Join(JoinRequest {
            member_id_suffix: "2".to_owned(),
            supports_skipping_assignment,
            ..join_named("static-a")
        }));
        let new = driver.joined(token);
        assert_eq!(new.skip_assignment, supports_skipping_assignment);
        if supports_skipping_assignment {
            assert_eq!((&new.leader, new.members.len()), (&new.member_id, 1));
        } else {
            assert_eq!((&new.leader, new.members.len()), (&old.member_id, 0));
        }
    }
}

#[test]
fn a_static_member_whose_return_is_not_stored_stays_what_it_was() {
    let mut driver = Driver::prompt();
    let old = driver.stable(&["static-a"]).remove(0);
    driver.slow_log = true;
    let again = JoinRequest { member_id_suffix: "2".to_owned(), ..join_named("static-a") };
    let token = driver.send(Request::Join(again));
    driver.fail(AppendFailure::Unavailable);
    assert_eq!(driver.refused(token).error, GroupError::NotAvailable);
    assert_eq!(driver.heartbeat_as(&old, Some("static-a")), Ok(()));
}

#[test]
fn a_static_member_that_changes_the_vote_brings_a_rebalance() {
    let mut driver = Driver::prompt();
    driver.stable(&["static-a"]);
    let again = JoinRequest {
        member_id_suffix: "2".to_owned(),
        protocols: vec![protocol("robin", "x"), protocol("range", "x")],
        ..join_named("static-a")
    };
    let token = driver.send(Request::Join(again));
    assert_eq!(
        (driver.joined(token).generation, driver.joined(token).protocol),
        (2, Some("robin".into()))
    );
}

#[test]
fn a_static_member_that_comes_back_before_the_assignment_brings_a_rebalance() {
    let mut driver = Driver::prompt();
    driver.send(join("static-a"));
    driver.advance(1);
    assert_eq!(driver.state(), State::CompletingRebalance);
    let again = JoinRequest { member_id_suffix: "2".to_owned(), ..join_named("static-a") };
    let token = driver.send(Request::Join(again));
    assert_eq!(driver.joined(token).generation, 2);
}

#[test]
fn the_parked_join_of_a_fenced_instance_is_answered() {
    let mut driver = Driver::new(Settings::default());
    let first = driver.send(join("static-a"));
    let again = JoinRequest { member_id_suffix: "2".to_owned(), ..join_named("static-a") };
    let second = driver.send(Request::Join(again));
    assert!(matches!(driver.refused(first).error, GroupError::FencedInstanceId { .. }));
    driver.advance(10_000);
    assert_eq!(driver.joined(second).member_id, "static-a-2".into());
}

#[test]
fn a_static_member_that_is_away_survives_a_rebalance_but_not_its_session() {
    let mut driver = Driver::prompt();
    let long = |name: &str| JoinRequest {
        session_timeout_ms: 120_000,
        rebalance_timeout_ms: 20_000,
        ..join_named(name)
    };
    let token = driver.send(Request::Join(long("static-a")));
    driver.advance(1);
    let a = driver.joined(token);
    driver.send(sync(&a, vec![]));
    let b = driver.send(Request::Join(long("b")));
    driver.advance(20_000);
    let joined = driver.joined(b);
    assert_eq!(joined.leader, joined.member_id, "the one that is away does not lead");
    assert_eq!(joined.members.len(), 2);
}

#[test]
fn a_group_of_static_members_that_are_all_away_waits_for_their_sessions() {
    let mut driver = Driver::prompt();
    let request = |name: &str| JoinRequest {
        session_timeout_ms: 100_000,
        rebalance_timeout_ms: 10_000,
        ..join_named(name)
    };
    let token = driver.send(Request::Join(request("static-a")));
    driver.advance(1);
    let a = driver.joined(token);
    driver.send(sync(&a, vec![]));
    let b = driver.send(Request::Join(request("b")));
    assert!(driver.is_parked(b));
    driver.leave("b-1", None);
    assert!(matches!(driver.refused(b).error, GroupError::UnknownMemberId { .. }));
    driver.advance(50_000);
    assert_eq!(driver.state(), State::PreparingRebalance);
    driver.advance(60_000);
    assert_eq!(driver.state(), State::Empty);
}

#[test]
fn any_kind_of_group_works_and_its_bytes_are_left_alone() {
    let mut driver = Driver::prompt();
    let garbage = Bytes::from_static(b"\xff\x00\xff");
    let token = driver.send(Request::Join(JoinRequest {
        protocol_type: "connect".into(),
        protocols: vec![Protocol { name: "sessioned".into(), metadata: garbage.clone() }],
        ..join_named("worker")
    }));
    driver.advance(1);
    let worker = driver.joined(token);
    assert_eq!(worker.members[0].metadata, garbage);
    let token = driver.send(sync(&worker, vec![(worker.member_id.clone(), garbage.clone())]));
    assert_eq!(driver.synced(token).expect("synced").assignment, garbage);
    let group = driver.describe().expect("it is there");
    assert_eq!(group.protocol_type, Some("connect".into()));
    assert_eq!((&group.members[0].metadata, &group.members[0].assignment), (&garbage, &garbage));
}

#[test]
fn a_successor_goes_on_with_the_members_and_starts_their_sessions_anew() {
    let mut driver = Driver::prompt();
    let members = driver.stable(&["a", "static-b"]);
    driver.advance(9_000);
    let mut successor = driver.successor();
    assert_eq!(successor.describe(), driver.describe());
    successor.advance(9_000);
    assert_eq!(successor.heartbeat(&members[0]), Ok(()));
    assert_eq!(successor.heartbeat_as(&members[1], Some("static-b")), Ok(()));
    successor.advance(10_000);
    assert_eq!(successor.state(), State::Empty);
}

#[test]
fn members_of_a_rebalance_that_was_cut_off_find_out_by_their_generation() {
    let mut driver = Driver::prompt();
    let a = driver.stable(&["a"]).remove(0);
    let token = driver.send(rejoin("a", &a));
    let newer = driver.joined(token);
    let mut successor = driver.successor();
    assert_eq!(
        successor.heartbeat(&newer),
        Err(GroupError::IllegalGeneration { actual: 2, expected: 1 })
    );
    let token = successor.send(rejoin("a", &newer));
    assert_eq!(successor.joined(token).generation, 2);
}

#[test]
fn a_group_that_became_too_large_for_its_successor_rebalances() {
    let mut driver = Driver::prompt();
    let members = driver.stable(&["a", "b"]);
    let settings = Settings { group_size_max: 1, ..driver.settings.clone() };
    let mut successor = Driver::over(settings, driver.log.clone(), driver.elapsed_ms);
    assert_eq!(successor.state(), State::PreparingRebalance);
    let first = successor.send(rejoin("b", &members[1]));
    let second = successor.send(rejoin("a", &members[0]));
    assert!(matches!(successor.refused(second).error, GroupError::GroupMaxSizeReached { .. }));
    assert_eq!(successor.joined(first).members.len(), 1);
}

#[test]
fn a_coordinator_that_loads_or_has_resigned_refuses_everything() {
    let mut coordinator = Coordinator::new(Settings::default());
    let now = Driver::prompt().now();
    let effects = coordinator.handle(now, join("a"), ReplyToken(1));
    let [Effect::Reply { response: Response::Join(Err(refused)), .. }] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(refused.error, GroupError::LoadInProgress);
    let mut driver = Driver::new(Settings::default());
    let parked = driver.send(join("a"));
    driver.slow_log = true;
    let stored = driver.send(Request::Commit(CommitRequest {
        group_id: "other".into(),
        ..commit_request("t", 1)
    }));
    driver.resign();
    assert_eq!(driver.refused(parked).error, GroupError::NotCoordinator);
    assert_eq!(driver.commit_results(stored), Ok(vec![(0, Err(GroupError::NotCoordinator))]));
    let late = driver.send(join("a"));
    assert_eq!(driver.refused(late).error, GroupError::NotCoordinator);
    assert_eq!(driver.coordinator.next_deadline(), None);
}

#[test]
fn a_static_member_that_restarts_during_a_long_join_phase_keeps_its_place() {
    let mut driver = Driver::prompt();
    let a = driver.stable(&["a"]).remove(0);
    driver.send(join("static-b"));
    let again = JoinRequest { member_id_suffix: "2".to_owned(), ..join_named("static-b") };
    let token = driver.send(Request::Join(again));
    for _ in 0..5 {
        driver.advance(9_000);
        assert_eq!(driver.heartbeat(&a), Err(GroupError::RebalanceInProgress));
    }
    driver.send(rejoin("a", &a));
    assert_eq!(driver.joined(token).generation, 2);
}

//! Random clients against one coordinator, under a log that is slow and fails at times: what must
//! hold whatever they do.

mod group_support;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use group_support::*;
use ringlog_broker::group::*;

const NAMES: [&str; 5] = ["a", "b", "c", "static-d", "static-e"];
const TOPICS: [&str; 3] = ["t", "u", "v"];

/// A small generator (splitmix64): the same numbers for the same seed, everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        let sides = u64::try_from(choices.len()).expect("few");
        choices[usize::try_from(self.roll(sides)).expect("few")]
    }
}

/// What a client knows of its membership.
#[derive(Default, Clone)]
struct Client {
    joining: Option<ReplyToken>,
    member: Option<Joined>,
    /// The id it was told to come back with.
    given: Option<MemberId>,
}

struct Run {
    seed: u64,
    dice: Dice,
    driver: Driver,
    clients: BTreeMap<&'static str, Client>,
    commits: Vec<(ReplyToken, &'static str, i64)>,
    /// What the model says is committed.
    expected: BTreeMap<&'static str, i64>,
    generation: i32,
    next_suffix: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let settings = Settings {
            initial_rebalance_delay: Duration::from_millis(dice.one_of(&[0, 100, 3_000])),
            group_size_max: dice.one_of(&[2, 4, 100]),
            ..Settings::default()
        };
        Self {
            seed,
            dice,
            driver: Driver::new(settings),
            clients: NAMES.map(|name| (name, Client::default())).into(),
            commits: Vec::new(),
            expected: BTreeMap::new(),
            generation: 0,
            next_suffix: 0,
        }
    }

    fn step(&mut self) {
        let name = self.dice.one_of(&NAMES);
        match self.dice.roll(16) {
            0..=4 => self.join(name),
            5..=6 => self.sync(name),
            7 => {
                if let Some(member) = self.clients[name].member.clone() {
                    let _ = self.driver.heartbeat(&member);
                }
            }
            8 => self.leave(name),
            9..=10 => self.commit(name),
            11 => self.driver.slow_log = self.dice.roll(2) == 0,
            12 => self.driver.store(),
            13 if !self.driver.waiting.is_empty() => self.fail(),
            14 => {
                let ms = self.dice.one_of(&[10, 1_000, 4_000, 70_000]);
                self.driver.advance(ms);
            }
            _ => self.driver.advance(50),
        }
        self.learn();
    }

    fn join(&mut self, name: &'static str) {
        self.next_suffix += 1;
        let client = &self.clients[name];
        let known = client.member.as_ref().map(|member| member.member_id.clone());
        let member_id = known.or_else(|| client.given.clone()).unwrap_or_default();
        // Static members restart at times, and come without their id then.
        let forgets = name.starts_with("static") && self.dice.roll(2) == 0;
        let request = JoinRequest {
            member_id: if forgets { MemberId::default() } else { member_id },
            member_id_suffix: self.next_suffix.to_string(),
            requires_known_member_id: self.dice.roll(3) > 0 && !name.starts_with("static"),
            supports_skipping_assignment: self.dice.roll(2) == 0,
            rebalance_timeout_ms: self.dice.one_of(&[1_000, 20_000]),
            protocols: match self.dice.roll(4) {
                0 => vec![protocol("robin", name), protocol("range", name)],
                1 => vec![protocol("range", "changed")],
                _ => vec![protocol("range", name)],
            },
            ..join_named(name)
        };
        let token = self.driver.send(Request::Join(request));
        self.clients.get_mut(name).expect("a client").joining = Some(token);
    }

    fn sync(&mut self, name: &str) {
        if let Some(member) = self.clients[name].member.clone() {
            let given = member.members.iter();
            let given = given.map(|m| (m.member_id.clone(), Bytes::from(m.member_id.to_string())));
            self.driver.send(sync(&member, given.collect()));
        }
    }

    fn leave(&mut self, name: &str) {
        if let Some(member) = &self.clients[name].member {
            let instance_id = name.starts_with("static").then_some(name);
            let member_id = member.member_id.to_string();
            self.driver.send(leave(vec![(&member_id, instance_id)]));
        }
    }

    fn commit(&mut self, name: &str) {
        let topic = self.dice.one_of(&TOPICS);
        let offset = i64::try_from(self.dice.roll(1_000)).expect("small");
        let request = match &self.clients[name].member {
            Some(member) => commit_by(member, topic, offset),
            None => commit(topic, offset),
        };
        let token = self.driver.send(request);
        self.commits.push((token, topic, offset));
    }

    fn fail(&mut self) {
        let failure = self.dice.one_of(&[AppendFailure::Unavailable, AppendFailure::TooLarge]);
        self.driver.fail(failure);
    }

    /// Takes note of answers, and checks what must hold at every moment.
    fn learn(&mut self) {
        for client in self.clients.values_mut() {
            let Some(token) = client.joining.filter(|token| !self.driver.is_parked(*token)) else {
                continue;
            };
            client.joining = None;
            match self.driver.reply(token) {
                Response::Join(Ok(joined)) => client.member = Some(joined),
                Response::Join(Err(refused)) => {
                    client.member = None;
                    let given = matches!(refused.error, GroupError::MemberIdRequired { .. });
                    client.given = given.then_some(refused.member_id);
                }
                other => panic!("not an answer to a join: {other:?}"),
            }
        }
        // Commits of one log are answered in the order in which they were sent.
        let waiting = |driver: &Driver, token| driver.is_parked(token);
        let mut still_waiting = Vec::new();
        for (token, topic, offset) in std::mem::take(&mut self.commits) {
            if waiting(&self.driver, token) {
                still_waiting.push((token, topic, offset));
            } else if let Ok(results) = self.driver.commit_results(token)
                && results[0].1.is_ok()
            {
                self.expected.insert(topic, offset);
            }
        }
        self.commits = still_waiting;
        for topic in TOPICS {
            let expected = self.expected.get(topic).copied();
            assert_eq!(self.driver.fetch(topic), expected, "offset of {topic}, {self}");
        }
        if let Ok(group) = self.driver.describe() {
            let generation = group.generation;
            assert!(generation >= self.generation, "generation falls to {generation}, {self}");
            self.generation = generation;
        }
    }

    /// Lets time pass without clients until nothing can be waited for any more.
    fn finish(mut self) -> State {
        self.driver.slow_log = false;
        self.driver.store();
        self.check_successor();
        self.driver.advance(20 * 60_000);
        self.learn();
        assert_eq!(self.driver.unanswered(), 0, "requests are parked for ever, {self}");
        let state = self.driver.state();
        assert!(matches!(state, State::Empty | State::Dead), "{state} without clients, {self}");
        self.check_successor();
        state
    }

    /// A coordinator that is made from the log is like this one, wherever this one's state is
    /// in the log: in a rebalance it is that of the generation before.
    fn check_successor(&mut self) {
        let mut successor = self.driver.successor();
        let offsets = |driver: &mut Driver| driver.fetch_all(GROUP);
        assert_eq!(offsets(&mut successor), offsets(&mut self.driver), "offsets, {self}");
        if self.driver.log_is_behind {
            return;
        }
        let (Ok(group), replayed) = (self.driver.describe(), successor.describe()) else { return };
        if matches!(group.state, State::Stable | State::Empty) && group.generation > 0 {
            let replayed = replayed.unwrap_or_else(|error| panic!("{error}, {self}"));
            let size = |group: &DescribedGroup| group.members.len();
            if size(&group) <= self.driver.settings.group_size_max {
                assert_eq!(replayed, group, "replayed, {self}");
            }
        }
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seed = self.seed;
        write!(
            f,
            "again with: RINGLOG_SEED={seed} cargo test -p ringlog-broker --test group_random"
        )
    }
}

#[test]
fn whatever_clients_do_every_request_is_answered_once_and_nothing_committed_changes() {
    let seeds = match std::env::var("RINGLOG_SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("RINGLOG_SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..1_000,
    };
    let mut stable_seen = 0;
    let single = seeds.end - seeds.start == 1;
    for seed in seeds {
        let mut run = Run::new(seed);
        for _ in 0..150 {
            run.step();
            stable_seen += u32::from(run.driver.state() == State::Stable);
        }
        run.finish();
    }
    assert!(
        single || stable_seen > 1_000,
        "only {stable_seen} steps in a stable group: a weak test"
    );
}

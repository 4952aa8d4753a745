//! The examples are run, and the two large ones are killed in the middle of their work.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

/// Where the examples are, built now if they are not.
fn example(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        // This test's own program is in `<target>/<profile>/deps`, the examples beside that.
        let own = std::env::current_exe().unwrap();
        let profile_folder = own.parent().unwrap().parent().unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--offline", "--examples", "--package", "ringlog-engine"]);
        cargo.arg("--target-dir").arg(profile_folder.parent().unwrap());
        if profile_folder.ends_with("release") {
            cargo.arg("--release");
        }
        if !cfg!(feature = "tokio") {
            cargo.arg("--no-default-features");
        }
        let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap();
        assert!(built.success(), "the examples build");
        profile_folder.join("examples")
    });
    folder.join(name)
}

fn folder() -> tempfile::TempDir {
    // Beside the build, because a temporary folder may be in memory, where there is no direct I/O.
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// A running example that takes commands.
struct Program {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Program {
    fn start(name: &str, dir: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(example(name));
        command.arg(dir).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    fn send(&mut self, commands: &str) {
        self.input.write_all(commands.as_bytes()).unwrap();
    }

    /// The next answer; `None` if the program is gone.
    fn answer(&mut self) -> Option<String> {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        // An answer counts when it is whole.
        line.strip_suffix('\n').map(str::to_owned)
    }

    fn ask(&mut self, command: &str) -> String {
        self.send(&format!("{command}\n"));
        self.answer().unwrap()
    }

    /// Sends all commands at once, then waits for all answers.
    fn ask_all(&mut self, commands: impl Iterator<Item = String>) -> Vec<String> {
        let commands: Vec<String> = commands.collect();
        self.send(&commands.concat());
        commands.iter().map(|_| self.answer().unwrap()).collect()
    }

    /// Kills the program as `kill -9` does. Gives the answers that had got out before.
    fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::iter::from_fn(|| self.answer()).collect()
    }

    /// Ends the input, on which the program closes its logs.
    fn end(self) {
        let Self { mut child, input, .. } = self;
        drop(input);
        assert!(child.wait().unwrap().success());
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// The seed of a test's draws, and the line that draws them again.
fn seed(test: &str) -> (Random, String) {
    let set = std::env::var("RINGLOG_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = set.unwrap_or(u64::from(std::process::id()));
    let replay = format!("RINGLOG_SEED={seed} cargo test -p ringlog-engine --test examples {test}");
    (Random(seed), replay)
}

type Map = BTreeMap<String, String>;

fn change(map: &mut Map, command: &str) {
    let mut words = command.split(' ');
    match (words.next(), words.next(), words.next()) {
        (Some("put"), Some(key), Some(value)) => {
            map.insert(key.to_owned(), value.to_owned());
        }
        (Some("delete"), Some(key), None) => {
            map.remove(key);
        }
        _ => {}
    }
}

fn scan(map: &Map) -> String {
    map.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_killed_key_value_store_keeps_what_it_confirmed_and_a_prefix_of_the_rest() {
    let (mut random, replay) = seed("key_value");
    let folder = folder();
    let mut map = Map::new();
    let mut unanswered: VecDeque<String> = VecDeque::new();
    for round in 0..6 {
        let mut store = Program::start("key_value", folder.path(), &[]);
        let held = store.ask("scan");
        // What was answered is there, and then come none, some or all of the others, in order.
        let mut found = held == scan(&map);
        while !found && let Some(command) = unanswered.pop_front() {
            change(&mut map, &command);
            found = held == scan(&map);
        }
        assert!(found, "round {round}: {held} ({replay})");
        unanswered.clear();
        for _ in 0..random.below(50) {
            let mut commands = String::new();
            for _ in 0..1 + random.below(8) {
                let key = random.below(40);
                let command = match random.below(50) {
                    0 => "snapshot".to_owned(),
                    1..10 => format!("delete key{key}"),
                    _ => {
                        let length = usize::try_from(1 << random.below(13)).unwrap();
                        format!("put key{key} {}", "x".repeat(length) + &round.to_string())
                    }
                };
                commands.push_str(&command);
                commands.push('\n');
                unanswered.push_back(command);
            }
            store.send(&commands);
            for _ in 0..random.below(unanswered.len() as u64 + 1) {
                assert_eq!(store.answer().unwrap(), "ok", "{replay}");
                change(&mut map, &unanswered.pop_front().unwrap());
            }
        }
        for answer in store.kill() {
            assert_eq!(answer, "ok", "{replay}");
            change(&mut map, &unanswered.pop_front().unwrap());
        }
    }
}

#[test]
fn a_key_value_store_gives_up_what_a_snapshot_covers() {
    let folder = folder();
    let mut store = Program::start("key_value", folder.path(), &[]);
    let value = "v".repeat(4_000);
    for hundred in 0..7 {
        let commands =
            (0..100).map(|n| format!("put key{} {}{value}\n", n % 10, hundred * 100 + n));
        assert!(store.ask_all(commands).iter().all(|answer| answer == "ok"));
    }
    assert_eq!(store.ask("delete key3"), "ok");
    let stat = store.ask("stat");
    let number = |name: &str| -> u64 {
        let mut words = stat.split(' ').skip_while(|word| *word != name);
        words.nth(1).unwrap().parse().unwrap()
    };
    assert!(number("start") > 0 && number("keys") == 9, "{stat}");
    assert!(number("bytes") < 2_000_000, "2.8 MB were put, but the log holds less: {stat}");
    store.end();
    let mut store = Program::start("key_value", folder.path(), &[]);
    assert_eq!(store.ask("get key3"), "none");
    assert_eq!(store.ask("get key9"), format!("value 699{value}"));
    // One folder, one owner.
    let mut second = Command::new(example("key_value"));
    let second = second.arg(folder.path()).stdin(Stdio::null()).stderr(Stdio::null()).status();
    assert!(!second.unwrap().success());
}

/// What a queue's user knows about the messages of all topics, by their text.
#[derive(Default)]
struct Known {
    /// Their `put` was answered, and no acknowledgement was asked for.
    waiting: BTreeSet<String>,
    /// Their `put` or `ack` was not answered: they may be there or not.
    unsure: BTreeSet<String>,
    /// Their `ack` was answered.
    gone: BTreeSet<String>,
}

enum Asked {
    Put { text: String },
    Ack { text: String },
}

impl Known {
    fn asked(&mut self, asked: &Asked) {
        let (Asked::Put { text } | Asked::Ack { text }) = asked;
        self.waiting.remove(text);
        self.unsure.insert(text.clone());
    }

    fn answered(&mut self, asked: Asked, answer: &str) {
        match asked {
            Asked::Put { text } => {
                assert!(answer.starts_with("put "), "{answer}");
                self.unsure.remove(&text);
                self.waiting.insert(text);
            }
            Asked::Ack { text } => {
                assert!(answer.starts_with("acked "), "{answer}");
                self.unsure.remove(&text);
                self.gone.insert(text);
            }
        }
    }
}

const TOPICS: u64 = 6;

/// Takes everything there is: offset and text of each message, by topic.
fn take_all(queue: &mut Program) -> Vec<(u64, String, String)> {
    let mut taken = Vec::new();
    for topic in 0..TOPICS {
        loop {
            let answer = queue.ask(&format!("take topic{topic}"));
            if answer == "empty" {
                break;
            }
            let mut words = answer.split(' ').skip(1).map(str::to_owned);
            taken.push((topic, words.next().unwrap(), words.next().unwrap()));
        }
    }
    taken
}

#[test]
fn a_killed_work_queue_loses_no_message_and_redelivers_none_that_is_done() {
    let (mut random, replay) = seed("work_queue");
    let folder = folder();
    let mut known = Known::default();
    let mut next = 0;
    for round in 0..6 {
        let mut queue = Program::start("work_queue", folder.path(), &[]);
        let mut taken = take_all(&mut queue);
        let mut seen = BTreeSet::new();
        for (topic, offset, text) in &taken {
            let what = format!("{text} at {offset} of topic {topic}, round {round} ({replay})");
            assert!(!known.gone.contains(text), "redelivered though acknowledged: {what}");
            let expected = known.waiting.contains(text) || known.unsure.contains(text);
            assert!(expected, "nobody put this: {what}");
            assert!(seen.insert(text.clone()), "delivered twice: {what}");
        }
        let lost: Vec<_> = known.waiting.difference(&seen).collect();
        assert!(lost.is_empty(), "lost {lost:?}, round {round} ({replay})");
        // What was unsure is known now.
        known.gone.extend(known.unsure.difference(&seen).cloned());
        known.unsure.clear();
        known.waiting = seen;
        let mut asked: VecDeque<Asked> = VecDeque::new();
        for _ in 0..random.below(50) {
            let mut commands = String::new();
            for _ in 0..1 + random.below(16) {
                let done = (random.below(2) == 0).then(|| taken.pop()).flatten();
                let (command, ask) = match done {
                    Some((topic, offset, text)) => {
                        (format!("ack topic{topic} {offset}\n"), Asked::Ack { text })
                    }
                    None => {
                        next += 1;
                        let text = format!("message{next}");
                        (format!("put topic{} {text}\n", random.below(TOPICS)), Asked::Put { text })
                    }
                };
                commands.push_str(&command);
                known.asked(&ask);
                asked.push_back(ask);
            }
            queue.send(&commands);
            for _ in 0..random.below(asked.len() as u64 + 1) {
                known.answered(asked.pop_front().unwrap(), &queue.answer().unwrap());
            }
        }
        for answer in queue.kill() {
            known.answered(asked.pop_front().unwrap(), &answer);
        }
    }
}

#[test]
fn a_work_queue_redelivers_after_the_lease_and_gives_up_what_is_done() {
    let folder = folder();
    let mut queue = Program::start("work_queue", folder.path(), &["40"]);
    assert_eq!(queue.ask("put mail first"), "put 0");
    assert_eq!(queue.ask("put mail second"), "put 1");
    assert_eq!(queue.ask("put jobs other words than one"), "put 0");
    assert_eq!(queue.ask("take jobs"), "message 0 other words than one");
    assert_eq!(queue.ask("take mail"), "message 0 first");
    assert_eq!(queue.ask("ack mail 1"), "acked 1");
    // Nothing else is there, so sooner or later this is the first one again.
    let again = std::iter::repeat_with(|| queue.ask("take mail")).find(|answer| answer != "empty");
    assert_eq!(again.unwrap(), "message 0 first");
    assert_eq!(queue.ask("ack mail 0"), "acked 0");
    assert_eq!(queue.ask("ack mail 0"), "unknown 0");
    let puts = queue.ask_all((0..600).map(|_| "put mail more\n".to_owned()));
    let acks = puts.iter().map(|put| format!("ack mail {}\n", put.strip_prefix("put ").unwrap()));
    assert!(queue.ask_all(acks).iter().all(|answer| answer.starts_with("acked ")));
    let stat = queue.ask("stat mail");
    assert!(stat.starts_with("ready 0 leased 0 start 12"), "{stat}");
    queue.end();
    let mut queue = Program::start("work_queue", folder.path(), &["100000"]);
    assert_eq!(queue.ask("take mail"), "empty");
    assert_eq!(queue.ask("take jobs"), "message 0 other words than one");
    assert_eq!(queue.ask("take jobs"), "empty", "it is leased");
    queue.end();
}

/// Runs an example to its end and gives what it printed.
fn run(name: &str, arguments: &[&Path]) -> String {
    let output = Command::new(example(name)).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn threads_without_a_runtime_share_a_log() {
    let folder = folder();
    for end in [400, 800] {
        let printed = run("plain_thread", &[&folder.path().join("log")]);
        assert_eq!(printed, format!("400 payloads are safe, the log ends at {end}\n"));
    }
}

#[cfg(feature = "tokio")]
#[test]
fn a_log_lives_inside_tokio_and_tokio_uring() {
    let folder = folder();
    let printed = run("tokio_runtime", &[&folder.path().join("tokio")]);
    assert!(printed.starts_with("400 payloads of "), "{printed}");
    let file = folder.path().join("file");
    std::fs::write(&file, b"some text ".repeat(10_000)).unwrap();
    for end in [7, 14] {
        let printed = run("tokio_uring", &[&folder.path().join("log"), &file]);
        assert_eq!(printed, format!("100000 bytes are stored, up to offset {end}\n"));
    }
}

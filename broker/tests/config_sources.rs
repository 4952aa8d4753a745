//! Where the broker's configuration comes from, which source wins, and what errors say.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use ringlog_broker::config::{
    BrokerConfig, Cli, ConfigError, ConfigErrors, ConfigSource, Endpoint, Machine, load,
};

fn machine() -> Machine {
    Machine { cores: 6, host_name: "box".to_owned() }
}

struct Sources {
    folder: tempfile::TempDir,
    flags: Vec<String>,
    variables: Vec<(OsString, OsString)>,
}

impl Sources {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder, flags: vec!["ringlog".to_owned()], variables: Vec::new() }
    }

    fn flags(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(|&flag| flag.to_owned()));
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("server.properties")
    }

    fn file(mut self, text: &str) -> Self {
        std::fs::write(self.path(), text).expect("the file is written");
        self.flags.push("--config".to_owned());
        self.flags.push(self.path().display().to_string());
        self
    }

    fn load(&self) -> Result<BrokerConfig, ConfigErrors> {
        let cli = Cli::try_parse_from(&self.flags).expect("flags");
        load(&cli, self.variables.clone().into_iter(), machine())
    }

    fn config(&self) -> BrokerConfig {
        self.load().unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn errors(&self) -> ConfigErrors {
        self.load().expect_err("a wrong configuration")
    }

    /// The only error, as text, the test's folder left out.
    fn error(&self) -> String {
        let errors = self.errors();
        assert_eq!(errors.iter().count(), 1, "{errors}");
        errors.to_string().replace(&format!("{}/", self.folder.path().display()), "")
    }
}

#[test]
fn without_any_setting_a_broker_for_development_results() {
    let config = Sources::new().config();
    assert_eq!(config.listener, Endpoint { host: "127.0.0.1".to_owned(), port: 9092 });
    assert_eq!(config.advertised_listener, config.listener);
    assert_eq!(config.data_dir, PathBuf::from("./data"));
    assert_eq!(config.shards, 6);
    assert_eq!(config.num_partitions, 1);
    assert!(config.auto_create_topics_enable);
    assert_eq!(config.offsets_topic_num_partitions, 50);
    assert_eq!(config.group_initial_rebalance_delay, Duration::from_secs(3));
    assert_eq!(config.group_max_size, 2_147_483_647);
    let topic = config.topic_defaults.config();
    assert!(topic.flushes_every_batch());
    assert_eq!(topic.retention_ms, Some(604_800_000));
    assert_eq!(topic.retention_bytes, None);
    assert_eq!(topic.max_message_bytes, 1_048_588);
    assert_eq!(topic.segment_bytes, 1 << 30);
}

#[test]
fn the_default_configuration_needs_no_source_at_all() {
    let config = BrokerConfig::default();
    assert_eq!(config.listener.port, 9092);
    assert!(config.shards >= 1);
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let sources = Sources::new()
        .file("num.partitions=3\nfetch.max.bytes=3000\ngroup.max.size=3\n")
        .variable("RINGLOG_NUM_PARTITIONS", "2")
        .variable("RINGLOG_FETCH_MAX_BYTES", "2000")
        .flags(&["--set", "num.partitions=1"]);
    let config = sources.config();
    assert_eq!(config.num_partitions, 1);
    assert_eq!(config.fetch_max_bytes, 2000);
    assert_eq!(config.group_max_size, 3);
}

#[test]
fn each_flag_has_its_variable_and_its_key() {
    let by_flag =
        Sources::new().flags(&["--listen", "[::1]:7", "--data-dir", "/d", "--shards", "2"]);
    let by_variable = Sources::new()
        .variable("RINGLOG_LISTEN", "[::1]:7")
        .variable("RINGLOG_DATA_DIR", "/d")
        .variable("RINGLOG_SHARDS", "2");
    let by_key = Sources::new().file("listeners=PLAINTEXT://[::1]:7\nlog.dirs=/d\nshards=2");
    for config in [by_flag.config(), by_variable.config(), by_key.config()] {
        assert_eq!(config.listener.to_string(), "[::1]:7");
        assert_eq!(config.data_dir, PathBuf::from("/d"));
        assert_eq!(config.shards, 2);
    }
}

#[test]
fn the_environment_may_name_the_file() {
    let sources = Sources::new();
    std::fs::write(sources.path(), "num.partitions=9").expect("the file is written");
    let path = sources.path().display().to_string();
    let config = sources.variable("RINGLOG_CONFIG", &path).config();
    assert_eq!(config.num_partitions, 9);
}

#[test]
fn milliseconds_win_over_minutes_and_minutes_over_hours_within_one_source() {
    let retention =
        |sources: Sources| sources.config().topic_defaults.config().retention_ms.expect("a limit");
    let all = "log.retention.hours=1\nlog.retention.ms=5\nlog.retention.minutes=1";
    assert_eq!(retention(Sources::new().file(all)), 5);
    let two = "log.retention.hours=1\nlog.retention.minutes=1";
    assert_eq!(retention(Sources::new().file(two)), 60_000);
    let over = Sources::new().file(all).flags(&["--set", "log.retention.hours=2"]);
    assert_eq!(retention(over), 7_200_000, "a stronger source wins in whatever unit");
}

#[test]
fn the_file_is_read_as_java_reads_it() {
    let text = "# a comment\n  num.partitions : 4\nlog.dirs \\\n   /a\\u0062\ngroup.max.size 7\n";
    let config = Sources::new().file(text).config();
    assert_eq!(config.num_partitions, 4);
    assert_eq!(config.data_dir, PathBuf::from("/ab"));
    assert_eq!(config.group_max_size, 7);
}

#[test]
fn every_error_is_reported_at_once_with_its_place() {
    let sources = Sources::new()
        .file("num.partitions=0\n=x\nnum.partitons=3\n")
        .variable("RINGLOG_FETCH_MAX_BYTES", "lots")
        .flags(&["--set", "nonsense", "--listen", "nowhere"]);
    let errors = sources.errors();
    let text = errors.to_string();
    assert_eq!(errors.iter().count(), 6, "{text}");
    for expected in [
        "flag --set: \"nonsense\" must be KEY=VALUE",
        "flag --listen: listeners=nowhere: must be PLAINTEXT://HOST:PORT",
        "environment variable RINGLOG_FETCH_MAX_BYTES: fetch.max.bytes=lots: must be a whole",
        "server.properties:1: num.partitions=0: must be in 1..=10000 partitions",
        "server.properties:2: there is no key before the separator",
        "server.properties:3: unknown key \"num.partitons\"; did you mean num.partitions?",
    ] {
        assert!(text.contains(expected), "{expected:?} is missing in:\n{text}");
    }
    assert_eq!(text.lines().count(), 6, "one error a line:\n{text}");
}

#[test]
fn a_topic_key_at_broker_level_is_answered_with_the_broker_key() {
    let error = Sources::new().flags(&["--set", "retention.ms=1"]).error();
    assert!(error.contains("did you mean log.retention.ms?"), "{error}");
}

#[test]
fn a_key_that_only_kafka_has_is_answered_with_what_to_do() {
    let error = Sources::new().file("zookeeper.connect=localhost:2181").error();
    assert!(error.contains("server.properties:1"), "{error}");
    assert!(error.contains("there is no ZooKeeper; remove it"), "{error}");
}

#[test]
fn an_unknown_variable_of_ours_is_an_error_and_others_are_none_of_our_business() {
    let error = Sources::new().variable("RINGLOG_NUM_PARTITION", "1").error();
    assert!(error.contains("environment variable RINGLOG_NUM_PARTITION"), "{error}");
    assert!(error.contains("did you mean num.partitions?"), "{error}");
    Sources::new().variable("PATH", "/bin").variable("RINGLOG_LOG", "debug").config();
}

#[test]
fn a_suffix_is_refused_in_words() {
    let error = Sources::new().flags(&["--set", "log.segment.bytes=1GB"]).error();
    assert!(error.contains("suffixes such as k, MB or h are not read"), "{error}");
}

#[test]
fn a_key_twice_in_one_source_is_reported_with_both_places() {
    let error = Sources::new().file("group.max.size=1\n\ngroup.max.size=1").error();
    assert_eq!(
        error,
        "server.properties:3: group.max.size is set a second time; server.properties:1 has it \
         already"
    );
    let error = Sources::new().flags(&["--shards", "1", "--set", "shards=2"]).error();
    assert!(error.contains("flag --set: shards is set a second time; flag --shards"), "{error}");
}

#[test]
fn two_names_of_one_key_may_agree_and_must_not_contradict() {
    Sources::new().file("broker.id=4\nnode.id=4").config();
    let error = Sources::new().file("broker.id=4\nnode.id=5").error();
    assert!(error.contains("broker.id=4 contradicts node.id=5"), "{error}");
    let errors = Sources::new().file("log.flush.interval.messages=2\nflush.messages=3").errors();
    assert!(matches!(errors.iter().next(), Some(ConfigError::Contradiction { .. })), "{errors}");
}

#[test]
fn values_that_do_not_go_together_are_refused_with_the_rule() {
    let error = Sources::new().flags(&["--set", "shard.buffer.bytes=100000000"]).errors();
    let text = error.to_string();
    assert!(
        text.contains("shard.buffer.bytes=100000000 and shard.cache.bytes=134217728"),
        "{text}"
    );
    assert!(text.contains("socket.request.max.bytes=104857600"), "{text}");
    let error = Sources::new().flags(&["--set", "group.max.session.timeout.ms=5999"]).error();
    assert!(error.contains("group.min.session.timeout.ms=6000"), "{error}");
}

#[test]
fn what_a_shard_keeps_at_hand_can_be_set_within_its_range() {
    let config = Sources::new().config();
    assert_eq!(config.shard_index_cache_bytes, 16 << 20);
    assert_eq!(config.shard_read_ahead_bytes, 32 << 20);
    assert_eq!(config.shard_open_files_max, 1024);

    let config = Sources::new()
        .file("shard.index.cache.bytes=0\nshard.read.ahead.bytes=0\nshard.open.files.max=7")
        .variable("RINGLOG_SHARD_OPEN_FILES_MAX", "1")
        .config();
    assert_eq!(config.shard_index_cache_bytes, 0);
    assert_eq!(config.shard_read_ahead_bytes, 0);
    assert_eq!(config.shard_open_files_max, 1);

    for (wrong, allowed) in [
        ("shard.index.cache.bytes=-1", "must be in 0..=1099511627776 bytes"),
        ("shard.read.ahead.bytes=1099511627777", "must be in 0..=1099511627776 bytes"),
        ("shard.read.ahead.bytes=32MB", "suffixes such as k, MB or h are not read"),
        ("shard.open.files.max=0", "must be in 1..=1000000 files"),
        ("shard.open.files.max=1000001", "must be in 1..=1000000 files"),
        ("shard.open.file.max=1", "did you mean shard.open.files.max?"),
    ] {
        let error = Sources::new().flags(&["--set", wrong]).error();
        assert!(error.contains(allowed), "{wrong}: {error}");
    }
}

#[test]
fn data_lies_in_one_folder() {
    let error = Sources::new().file("log.dirs=/a,/b").error();
    assert!(error.contains("must be one folder, and 2 are given"), "{error}");
    let error = Sources::new().file("log.dir=").error();
    assert!(error.contains("must be one folder, and 0 are given"), "{error}");
}

#[test]
fn a_file_that_is_missing_a_folder_or_too_large_is_an_error_that_names_it() {
    let error = Sources::new().flags(&["--config", "/nowhere/at.all"]).error();
    assert!(error.starts_with("cannot read the configuration file /nowhere/at.all"), "{error}");
    let sources = Sources::new();
    let folder = sources.folder.path().display().to_string();
    let error = sources.flags(&["--config", &folder]).error();
    assert!(error.starts_with("cannot read the configuration file"), "{error}");
    let error = Sources::new().file(&"#\n".repeat(600_000)).error();
    assert!(error.contains("1200000 bytes, more than the 1048576 allowed"), "{error}");
}

#[test]
fn every_interface_is_advertised_by_the_machines_name() {
    let config = Sources::new().flags(&["--listen", "0.0.0.0:0"]).config();
    assert_eq!(config.advertised_on(4711).to_string(), "box:4711");
    let set = Sources::new().flags(&[
        "--listen",
        ":9092",
        "--set",
        "advertised.listeners=PLAINTEXT://kafka.local:1",
    ]);
    assert_eq!(set.config().advertised_on(9092).to_string(), "kafka.local:1");
    let wrong = Sources::new().flags(&["--set", "advertised.listeners=[::]:9092"]).error();
    assert!(wrong.contains(":: is every interface, and no address to connect to"), "{wrong}");
}

#[test]
fn relaxed_flushing_is_set_by_either_name() {
    for key in ["flush.messages", "log.flush.interval.messages"] {
        let config = Sources::new().flags(&["--set", &format!("{key}=100")]).config();
        let topic = config.topic_defaults.config();
        assert_eq!(topic.flush_messages, 100);
        assert_eq!(topic.flush_interval, None);
        assert!(!topic.flushes_every_batch());
    }
    let both = Sources::new().file("flush.messages=100\nflush.ms=0").config();
    assert!(both.topic_defaults.config().flushes_every_batch());
    let timed = Sources::new().file("flush.messages=100\nflush.ms=50").config();
    let interval = timed.topic_defaults.config().flush_interval;
    assert_eq!(interval, Some(Duration::from_millis(50)));
}

#[test]
fn the_broker_describes_every_key_with_its_source() {
    let config = Sources::new().file("log.retention.hours=2\nbroker.id=3").config();
    let described = config.describe();
    let find = |name: &str| described.iter().find(|config| config.name == name).expect(name);
    let retention = find("log.retention.ms");
    assert_eq!(retention.value.as_deref(), Some("7200000"));
    assert_eq!(retention.source, ConfigSource::StaticBroker);
    assert_eq!(retention.synonyms[0].name, "log.retention.hours");
    assert_eq!(retention.synonyms[1].source, ConfigSource::Default);
    assert!(retention.read_only);
    assert_eq!(find("log.retention.hours").value.as_deref(), Some("2"));
    assert_eq!(find("log.retention.minutes").value, None);
    assert_eq!(find("node.id").value.as_deref(), Some("3"));
    assert_eq!(find("shards").value.as_deref(), Some("6"));
    let advertised = find("advertised.listeners");
    assert_eq!(advertised.value.as_deref(), Some("PLAINTEXT://127.0.0.1:9092"));
    assert!(advertised.is_default());
}

#[test]
fn no_key_of_the_broker_can_be_altered_while_it_runs() {
    let error = BrokerConfig::refuse_alteration("num.partitions").to_string();
    assert!(error.contains("cannot be altered while it runs"), "{error}");
    let error = BrokerConfig::refuse_alteration("num.partitons").to_string();
    assert!(error.contains("did you mean num.partitions?"), "{error}");
}

#[test]
fn a_logs_largest_batch_is_what_the_topic_allows_and_what_can_arrive() {
    let settings = ["--set", "socket.request.max.bytes=5000", "--set", "message.max.bytes=9000"];
    let config = Sources::new().flags(&settings).config();
    assert_eq!(config.batch_bytes_max(config.topic_defaults.config()), 5000);
    let config = Sources::new().flags(&["--set", "message.max.bytes=0"]).config();
    assert_eq!(config.batch_bytes_max(config.topic_defaults.config()), 1);
}

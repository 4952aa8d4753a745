//! A broker in the test's own process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use ringlog_broker::config::{BrokerConfig, Cli, Machine, load};
use ringlog_broker::server::{RunningServer, Server, StartError};

use super::Client;

/// Settings of every broker under test: groups without a pause, and few partitions for offsets.
pub(super) const SETTINGS: &[&str] =
    &["group.initial.rebalance.delay.ms=0", "offsets.topic.num.partitions=3"];

/// A data folder that outlives the brokers that run on it, one after the other.
#[derive(Clone)]
pub struct Folder(Rc<tempfile::TempDir>);

impl Folder {
    pub fn new() -> Self {
        Self(Rc::new(tempfile::tempdir().expect("a folder")))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The folder of one partition's log.
    pub fn partition(&self, topic: &str, index: i32) -> PathBuf {
        self.path().join(format!("{topic}-{index}"))
    }
}

/// A configuration with a free port on this machine, data in `path` and `KEY=VALUE` settings.
pub fn config(path: &Path, settings: &[&str]) -> BrokerConfig {
    let set = SETTINGS.iter().chain(settings).map(|one| (*one).to_owned()).collect();
    let cli = Cli {
        listen: Some("127.0.0.1:0".to_owned()),
        data_dir: Some(path.display().to_string()),
        set,
        ..Cli::default()
    };
    load(&cli, std::iter::empty(), Machine::detect()).expect("the settings are valid")
}

/// A running broker and its folder.
pub struct Broker {
    server: RunningServer,
    folder: Folder,
    settings: Vec<String>,
}

impl Broker {
    /// One shard, a fresh folder.
    pub fn start() -> Self {
        Self::with(&["shards=1"])
    }

    /// A fresh folder and `KEY=VALUE` settings.
    pub fn with(settings: &[&str]) -> Self {
        Self::on(Folder::new(), settings)
    }

    /// On a folder that may have data.
    pub fn on(folder: Folder, settings: &[&str]) -> Self {
        Self::try_on(folder, settings).expect("the broker starts")
    }

    pub fn try_on(folder: Folder, settings: &[&str]) -> Result<Self, StartError> {
        let server = Server::start(config(folder.path(), settings))?;
        let settings = settings.iter().map(|one| (*one).to_owned()).collect();
        Ok(Self { server, folder, settings })
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address())
    }

    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Stops cleanly and gives the folder back.
    pub fn stop(self) -> Folder {
        self.server.stop().expect("a clean stop");
        self.folder
    }

    /// Stops cleanly and starts again on the same folder with the same settings.
    pub fn restart(self) -> Self {
        let settings = self.settings.clone();
        let folder = self.stop();
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        Self::on(folder, &settings)
    }
}

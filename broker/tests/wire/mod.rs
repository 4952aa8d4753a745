//! A broker in this process on a folder and port of its own, and a client that writes raw bytes.

#![allow(dead_code, reason = "each test file uses its part")]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use ringlog_broker::config::{BrokerConfig, Endpoint};
use ringlog_broker::server::{RunningServer, Server};
use tempfile::TempDir;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// `ApiVersions`.
pub(crate) const API_VERSIONS: i16 = 18;
/// `Metadata`.
pub(crate) const METADATA: i16 = 3;

/// A configuration for a broker of two shards on a free port.
pub(crate) fn config(data: &TempDir) -> BrokerConfig {
    let any_port = Endpoint { host: "127.0.0.1".to_owned(), port: 0 };
    let mut config = BrokerConfig::default();
    config.listener = any_port.clone();
    config.advertised_listener = any_port;
    config.data_dir = data.path().join("data");
    config.shards = 2;
    config.shard_buffer_bytes = 32 << 20;
    config.shard_cache_bytes = 8 << 20;
    config.socket_request_max_bytes = 8 << 20;
    config
}

/// A broker with a data folder that goes with it.
pub(crate) struct Broker {
    pub(crate) server: RunningServer,
    _data: TempDir,
}

impl Broker {
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {})
    }

    pub(crate) fn start_with(change: impl FnOnce(&mut BrokerConfig)) -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let mut config = config(&data);
        change(&mut config);
        let server = Server::start(config).expect("it starts");
        Self { server, _data: data }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.server.address())
    }

    /// Checks that a client that comes now is served.
    pub(crate) fn serves_others(&self) {
        self.client().is_served();
    }

    pub(crate) fn stop(self) {
        self.server.stop().expect("it stops cleanly");
    }
}

/// One request without its length: header version 1, then the body.
pub(crate) fn request(api: i16, version: i16, correlation_id: i32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(api.to_be_bytes());
    bytes.extend(version.to_be_bytes());
    bytes.extend(correlation_id.to_be_bytes());
    bytes.extend(4_i16.to_be_bytes());
    bytes.extend(b"test");
    bytes.extend(body);
    bytes
}

/// The length of a frame, then the frame.
pub(crate) fn framed(frame: &[u8]) -> Vec<u8> {
    let length = i32::try_from(frame.len()).expect("small");
    [&length.to_be_bytes(), frame].concat()
}

/// A connection.
pub(crate) struct Client(pub(crate) TcpStream);

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("accepted");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        Self(stream)
    }

    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("sent");
    }

    pub(crate) fn send(&mut self, frame: &[u8]) {
        self.send_raw(&framed(frame));
    }

    pub(crate) fn try_receive(&mut self) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).expect("positive")];
        self.0.read_exact(&mut frame)?;
        Ok(frame)
    }

    /// Asks for the versions and wants them.
    pub(crate) fn is_served(&mut self) {
        self.send(&request(API_VERSIONS, 0, 77, &[]));
        let answer = self.try_receive().expect("an answer");
        assert_eq!(answer[..4], 77_i32.to_be_bytes(), "the correlation id");
        assert_eq!(answer[4..6], [0, 0], "no error");
    }

    /// Connects until there is a place: the broker learns of connections that went when it gets to
    /// them, and closes one that comes before that.
    pub(crate) fn connect_when_there_is_room(address: SocketAddr) -> Self {
        let try_one = |_| {
            let mut client = Self::connect(address);
            let sent = client.0.write_all(&framed(&request(API_VERSIONS, 0, 77, &[])));
            sent.and_then(|()| client.try_receive()).is_ok().then_some(client)
        };
        (0..10_000).find_map(try_one).expect("room at some time")
    }

    /// Waits for the end of the connection and wants nothing before it.
    pub(crate) fn is_closed(&mut self) {
        match self.0.read(&mut [0; 16]) {
            Ok(0) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            other => panic!("the connection should be closed: {other:?}"),
        }
    }
}

/// Bytes of memory that this process, broker included, has at most had in use.
pub(crate) fn memory_peak() -> usize {
    memory("VmHWM:")
}

/// Bytes of memory that this process, broker included, has in use.
pub(crate) fn memory_now() -> usize {
    memory("VmRSS:")
}

fn memory(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("in every kernel");
    let kib: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}

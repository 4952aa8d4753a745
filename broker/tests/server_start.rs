//! Starting and stopping: what a broker needs, what it says when it does not get it.

mod wire;

use std::net::TcpListener;

use ringlog_broker::config::Endpoint;
use ringlog_broker::net::BindError;
use ringlog_broker::server::{DataDirError, Server, StartError};
use wire::{Broker, Client, config};

#[test]
fn a_broker_starts_again_on_the_folder_that_it_left() {
    let data = tempfile::tempdir().expect("a folder");
    for _ in 0..3 {
        let server = Server::start(config(&data)).expect("it starts");
        assert_ne!(server.address().port(), 0);
        assert_eq!(server.advertised().port, server.address().port());
        Client::connect(server.address()).is_served();
        server.stop().expect("it stops cleanly");
    }
}

#[test]
fn a_folder_that_another_broker_runs_on_is_refused() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(config(&data)).expect("it starts");
    let error = Server::start(config(&data)).expect_err("locked");
    assert!(matches!(error, StartError::DataDir(DataDirError::Locked { .. })), "{error}");
    assert!(error.to_string().contains("locked by another running broker"), "{error}");
    Client::connect(server.address()).is_served();
    server.stop().expect("it stops cleanly");
    Server::start(config(&data)).expect("free again").stop().expect("it stops cleanly");
}

#[test]
fn a_port_in_use_is_refused_whoever_uses_it() {
    let broker = Broker::start();
    let other = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    for address in [broker.server.address(), other.local_addr().expect("bound")] {
        let data = tempfile::tempdir().expect("a folder");
        let mut config = config(&data);
        config.listener.port = address.port();
        let error = Server::start(config).expect_err("in use");
        assert!(matches!(error, StartError::Bind(BindError::InUse { .. })), "{error}");
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
    broker.serves_others();
    broker.stop();
}

#[test]
fn a_host_that_nobody_knows_is_named() {
    let data = tempfile::tempdir().expect("a folder");
    let mut config = config(&data);
    config.listener = Endpoint { host: "no-such-host.invalid".to_owned(), port: 0 };
    let error = Server::start(config).expect_err("unknown");
    assert!(matches!(error, StartError::UnknownHost { .. }), "{error}");
    assert!(error.to_string().contains("no-such-host.invalid"), "{error}");
}

#[test]
fn a_foreign_file_in_the_data_folder_is_left_alone() {
    let data = tempfile::tempdir().expect("a folder");
    let config = config(&data);
    std::fs::create_dir_all(&config.data_dir).expect("made");
    let file = config.data_dir.join("holiday.jpg");
    std::fs::write(&file, "sea").expect("written");
    let server = Server::start(config).expect("it starts");
    Client::connect(server.address()).is_served();
    server.stop().expect("it stops cleanly");
    assert_eq!(std::fs::read(&file).expect("there"), b"sea");
}

#[test]
fn a_start_that_fails_leaves_nothing_locked() {
    let data = tempfile::tempdir().expect("a folder");
    let other = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let mut taken = config(&data);
    taken.listener.port = other.local_addr().expect("bound").port();
    Server::start(taken).expect_err("in use");
    Server::start(config(&data)).expect("it starts").stop().expect("it stops cleanly");
}

#[test]
fn a_broker_that_is_dropped_stops() {
    let data = tempfile::tempdir().expect("a folder");
    drop(Server::start(config(&data)).expect("it starts"));
    drop(Server::start(config(&data)).expect("free again"));
}

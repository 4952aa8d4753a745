//! Many connections at once.

mod wire;

use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use wire::{Broker, Client, memory_now};

const IDLE: usize = 5_000;

/// Memory that one idle connection may cost this process, in which its client is as well.
const BYTES_PER_CONNECTION_MAX: usize = 32 * 1024;

#[test]
fn five_thousand_idle_connections_cost_little_and_others_are_served() {
    // Each connection has both of its ends in this process.
    let needed = u64::try_from(2 * IDLE + 500).expect("small");
    if let Some(hard) = getrlimit(Resource::Nofile).maximum
        && hard < needed
    {
        eprintln!("skipped: needs {needed} open files, and the hard limit is {hard}");
        return;
    }
    let broker = Broker::start();
    broker.serves_others();
    let before = memory_now();
    let mut idle: Vec<Client> = (0..IDLE).map(|_| broker.client()).collect();
    // The last is served, so all before it on its shard have been accepted; half of the others
    // have sent a request once.
    for client in idle.iter_mut().step_by(2) {
        client.is_served();
    }
    broker.serves_others();
    let added = memory_now().saturating_sub(before);
    assert!(added < IDLE * BYTES_PER_CONNECTION_MAX, "{} bytes each", added / IDLE);
    for client in idle.iter_mut().skip(1).step_by(500) {
        client.is_served();
    }
    drop(idle);
    broker.serves_others();
    broker.stop();
}

#[test]
fn connections_above_the_limit_are_closed_and_those_within_it_are_served() {
    let broker = Broker::start_with(|config| config.max_connections = 3);
    let mut within: Vec<Client> = (0..3).map(|_| broker.client()).collect();
    for client in &mut within {
        client.is_served();
    }
    broker.client().is_closed();
    for client in &mut within {
        client.is_served();
    }
    broker.stop();
}

#[test]
fn silent_connections_are_closed_after_their_time() {
    let broker = Broker::start_with(|config| {
        config.connections_max_idle = Some(Duration::from_millis(100));
    });
    let mut silent = broker.client();
    silent.is_served();
    silent.is_closed();
    broker.serves_others();
    broker.stop();
}

#[test]
fn a_client_that_resets_its_connection_harms_nobody() {
    let broker = Broker::start();
    for _ in 0..50 {
        let mut client = broker.client();
        client.send(&wire::request(wire::API_VERSIONS, 0, 1, &[]));
        // Unread bytes make the close a reset.
        drop(client);
    }
    broker.serves_others();
    broker.stop();
}

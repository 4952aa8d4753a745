//! Whatever a client sends, it harms nobody but itself: it is answered or closed, memory stays
//! bounded, and others are served.

mod wire;

use std::io::Write;
use std::net::Shutdown;
use std::time::Duration;

use wire::{API_VERSIONS, Broker, METADATA, framed, memory_peak, request};

/// Memory that a whole test of hostile clients may add.
const MEMORY_MAX: usize = 96 << 20;

#[test]
fn lengths_below_zero_and_of_two_gibibytes_close_the_connection() {
    let broker = Broker::start();
    let before = memory_peak();
    for length in [-1, i32::MIN, i32::MAX, (8 << 20) + 1] {
        let mut client = broker.client();
        client.is_served();
        client.send_raw(&length.to_be_bytes());
        client.is_closed();
        broker.serves_others();
    }
    assert!(memory_peak() - before < MEMORY_MAX);
    broker.stop();
}

#[test]
fn announced_requests_that_do_not_come_cost_next_to_nothing() {
    let broker = Broker::start();
    let before = memory_peak();
    let clients: Vec<_> = (0..500)
        .map(|_| {
            let mut client = broker.client();
            client.send_raw(&(8_i32 << 20).to_be_bytes());
            client.send_raw(b"and no more than this");
            client
        })
        .collect();
    broker.serves_others();
    let added = memory_peak() - before;
    assert!(added < MEMORY_MAX, "{added} bytes for {} announcements", clients.len());
    drop(clients);
    broker.serves_others();
    broker.stop();
}

#[test]
fn truncated_requests_end_with_their_connection() {
    let broker = Broker::start();
    let whole = framed(&request(API_VERSIONS, 0, 1, &[]));
    for cut in 0..whole.len() {
        let mut client = broker.client();
        client.send_raw(&whole[..cut]);
        client.0.shutdown(Shutdown::Write).expect("half closed");
        client.is_closed();
    }
    broker.serves_others();
    broker.stop();
}

#[test]
fn garbage_closes_the_connection() {
    let broker = Broker::start();
    let mut noise = Vec::new();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..8192 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        noise.push(state.to_be_bytes()[0]);
    }
    let cases: [Vec<u8>; 6] = [
        b"GET / HTTP/1.1\r\nHost: ringlog\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        framed(b""),
        framed(b"\0"),
        framed(&noise),
        framed(&[0xff; 64]),
    ];
    for bytes in cases {
        let mut client = broker.client();
        client.send_raw(&bytes);
        client.0.shutdown(Shutdown::Write).expect("half closed");
        client.is_closed();
        broker.serves_others();
    }
    broker.stop();
}

#[test]
fn unknown_apis_and_versions_close_the_connection() {
    let broker = Broker::start();
    for (api, version) in [(9999, 0), (-1, 0), (METADATA, 99), (METADATA, -1), (4, 0)] {
        let mut client = broker.client();
        client.is_served();
        client.send(&request(api, version, 5, &[]));
        client.is_closed();
        broker.serves_others();
    }
    broker.stop();
}

#[test]
fn an_unknown_version_of_api_versions_is_answered_with_those_that_are_known() {
    let broker = Broker::start();
    let mut client = broker.client();
    client.send(&request(API_VERSIONS, 99, 5, &[]));
    let answer = client.try_receive().expect("an answer");
    assert_eq!(answer[..4], 5_i32.to_be_bytes());
    assert_eq!(answer[4..6], 35_i16.to_be_bytes(), "UNSUPPORTED_VERSION");
    client.is_served();
    broker.stop();
}

#[test]
fn counts_and_lengths_of_two_billion_close_the_connection_and_allocate_nothing() {
    let broker = Broker::start();
    let before = memory_peak();
    let most = i32::MAX.to_be_bytes();
    let compact_most = [0xff, 0xff, 0xff, 0xff, 0x07];
    let long = i16::MAX.to_be_bytes();
    let fetch_start = [&[0xff; 4][..], &[0; 12], &[0]].concat();
    let produce_start = [&[0xff; 2][..], &[0, 1], &[0; 4]].concat();
    let cases: [(i16, i16, Vec<u8>); 12] = [
        (METADATA, 1, most.to_vec()),
        (METADATA, 1, [&1_i32.to_be_bytes()[..], &long].concat()),
        (METADATA, 9, [&[0][..], &compact_most].concat()),
        (METADATA, 9, [&[0][..], &[1, 0, 0, 0], &compact_most].concat()),
        // The header's tagged fields.
        (METADATA, 9, compact_most.to_vec()),
        (0, 3, [&produce_start[..], &most].concat()),
        (1, 4, [&fetch_start[..], &most].concat()),
        (2, 1, [&[0xff; 4][..], &most].concat()),
        (9, 1, [&[0, 1, b'g'][..], &most].concat()),
        (19, 2, most.to_vec()),
        (20, 1, most.to_vec()),
        (API_VERSIONS, 3, [&[0][..], &compact_most].concat()),
    ];
    for (api, version, body) in cases {
        let mut client = broker.client();
        client.send(&request(api, version, 5, &body));
        client.is_closed();
        broker.serves_others();
    }
    let added = memory_peak() - before;
    assert!(added < MEMORY_MAX, "{added} bytes");
    broker.stop();
}

#[test]
fn a_request_that_comes_byte_by_byte_is_answered_and_holds_nobody_up() {
    let broker = Broker::start();
    let mut slow = broker.client();
    slow.0.set_nodelay(true).expect("an option");
    for byte in framed(&request(API_VERSIONS, 0, 8, &[])) {
        slow.send_raw(&[byte]);
        broker.serves_others();
    }
    assert_eq!(slow.try_receive().expect("an answer")[..4], 8_i32.to_be_bytes());
    broker.stop();
}

#[test]
fn a_request_that_is_never_finished_is_closed_when_it_has_been_silent_for_too_long() {
    let broker = Broker::start_with(|config| {
        config.connections_max_idle = Some(Duration::from_millis(200));
    });
    let mut half_sent = broker.client();
    half_sent.send_raw(&framed(&request(API_VERSIONS, 0, 8, &[]))[..7]);
    half_sent.is_closed();
    broker.serves_others();
    broker.stop();
}

#[test]
fn a_client_that_pipelines_and_never_reads_stops_itself_alone() {
    let broker = Broker::start();
    let before = memory_peak();
    let mut deaf = broker.client();
    deaf.0.set_write_timeout(Some(Duration::from_millis(500))).expect("a timeout");
    let many: Vec<u8> = framed(&request(API_VERSIONS, 0, 1, &[])).repeat(1000);
    let taken = (0..10_000).take_while(|_| deaf.0.write_all(&many).is_ok()).count();
    assert!(taken < 10_000, "the client was never stopped");
    broker.serves_others();
    let added = memory_peak() - before;
    assert!(added < MEMORY_MAX, "{added} bytes");
    drop(deaf);
    broker.serves_others();
    broker.stop();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let broker = Broker::start();
    let mut client = broker.client();
    let mut sender = client.0.try_clone().expect("a second handle");
    let sending = std::thread::spawn(move || {
        for id in 0..2000 {
            let (api, body): (i16, &[u8]) =
                if id % 3 == 0 { (METADATA, &[0, 0, 0, 0]) } else { (API_VERSIONS, &[]) };
            let version = i16::from(api == METADATA);
            sender.write_all(&framed(&request(api, version, id, body))).expect("sent");
        }
    });
    for id in 0..2000_i32 {
        assert_eq!(client.try_receive().expect("an answer")[..4], id.to_be_bytes());
    }
    sending.join().expect("no panic");
    broker.stop();
}

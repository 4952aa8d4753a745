//! What a broker in this process leaves behind when it has stopped. Alone in its file: it counts
//! all that the process has open.

mod e2e_support;

use std::fs;

use e2e_support::*;

/// What the process has open now, by what it is.
fn open() -> Vec<String> {
    let mut open: Vec<String> = fs::read_dir("/proc/self/fd")
        .expect("the kernel says")
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .map(|target| target.display().to_string())
        .filter(|target| !target.ends_with("/fd"))
        .collect();
    open.sort_unstable();
    open
}

#[test]
fn a_stopped_broker_leaves_no_ring_no_socket_and_no_file_open() {
    // What the process opens once, tokio's pair of sockets for signals, is there after the first.
    drop(Broker::start().stop());
    let before = open();
    assert!(!before.iter().any(|open| open.contains("io_uring")), "{before:?}");
    for shards in ["shards=1", "shards=3"] {
        let broker = Broker::with(&[shards]);
        let mut client = broker.client();
        let topic = create_topic(&mut client, "t", 6, &[]);
        for partition in 0..6 {
            produce(&mut client, &topic, partition, &batch(&["a"]));
        }
        // One client waits for records that do not come, one is idle, one has left.
        let mut waiting = broker.client();
        waiting.send(&fetch_request(&topic, &[(0, 1), (1, 1)]), 12);
        let idle = broker.client();
        drop(client);
        drop(broker.stop());
        drop((waiting, idle));
        assert_eq!(open(), before, "{shards}");
    }
}

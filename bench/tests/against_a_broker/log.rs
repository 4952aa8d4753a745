//! Scenarios that read a whole log, or open many partitions or connections.

use super::support::{Broker, latencies};

#[test]
fn a_log_is_written_once_and_read_from_its_beginning() {
    let broker = Broker::start();
    let line = "catch-up --size-mib 2 --warm-mib 1 --readers 1,3 --rate 500 --batch-bytes 4000 \
                --record-size 500";
    let report = broker.run(line).unwrap();
    assert!(report.is_clean(), "{report}");
    let records = |index: usize| {
        let one = &report.measurements[index];
        one.fetched.as_ref().map_or(0.0, |flow| flow.records_per_s * one.counted_s)
    };
    // Warm, 1 and 3 readers, the producer alone, 1 and 3 readers beside it.
    assert_eq!(report.measurements.len(), 6, "{report}");
    let whole = records(1);
    assert!(whole * 500.0 > 1.8e6, "{report}");
    assert!(records(0) > 0.0 && records(0) < whole, "{report}");
    for index in [2, 4, 5] {
        // All of the same log each time; a last fetch may bring some of what was appended since.
        assert!(records(index) > whole - 0.5, "{report}");
    }
    assert!(latencies(&report.measurements[3]) > 0, "{report}");
    let again = broker.run(line).unwrap();
    let one = &again.measurements[1];
    let grown = one.fetched.as_ref().unwrap().records_per_s * one.counted_s;
    assert!(grown < 1.5 * whole, "the log was written a second time: {again}");
}

#[test]
fn fresh_topics_with_more_and_more_partitions_come_and_go() {
    let broker = Broker::start();
    let pid = std::process::id();
    let line = format!(
        "many-partitions --partitions 1,20 --record-size 50 --batch-bytes 500 --depth 2 --pid {pid}"
    );
    let report = broker.run(&line).unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.measurements.len(), 2, "{report}");
    for one in &report.measurements {
        assert!(latencies(one) > 0, "{report}");
        let names: Vec<_> = one.figures.iter().map(|figure| figure.name).collect();
        assert_eq!(names, ["created", "idle", "1st second", "1st second"]);
    }
    // Each topic is gone after its line, so the same can be run again.
    assert!(broker.run(&line).unwrap().is_clean());
}

#[test]
fn idle_connections_are_still_served_at_the_end() {
    let broker = Broker::start();
    let report = broker
        .run(&format!("connections --idle 50 --connections 4 --pid {}", std::process::id()))
        .unwrap();
    assert!(report.is_clean(), "{report}");
    let [alone, beside] = &report.measurements[..] else { panic!("{report}") };
    assert!(latencies(alone) > 0 && latencies(beside) > 0, "{report}");
    assert!(beside.name.ends_with("beside 50 idle"), "{report}");
    assert_eq!(beside.figures.len(), 1, "{report}");
}

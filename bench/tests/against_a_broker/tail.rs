//! Scenarios with readers at the tail.

use super::support::{Broker, latencies};

#[test]
fn every_record_reaches_the_consumer_and_carries_its_time() {
    let broker = Broker::start();
    let report = broker.run("end-to-end --rate 200,1000 --partitions 2").unwrap();
    assert!(report.is_clean(), "{report}");
    let [slow, fast] = &report.measurements[..] else { panic!("{report}") };
    for (one, rate) in [(slow, 200), (fast, 1000)] {
        let (produced, fetched) = (one.produced.as_ref().unwrap(), one.fetched.as_ref().unwrap());
        // What was due in the window and sent has arrived, no more and no less.
        assert_eq!(latencies(one), produced.latency.as_ref().unwrap().summary.count, "{report}");
        assert_eq!(latencies(one) + one.rate.unwrap().unsent, rate / 2, "{report}");
        assert!(fetched.latency.as_ref().unwrap().summary.max_us > 0.0, "{report}");
        assert_eq!(one.checksums_checked, Some(true));
    }
}

#[test]
fn every_consumer_at_the_tail_gets_everything() {
    let broker = Broker::start();
    let line = "tail-fanout --readers 1,3 --rate 2000 --record-size 100 --batch-bytes 1000 \
                --no-checksums";
    let report = broker.run(line).unwrap();
    assert!(report.is_clean(), "{report}");
    for (one, readers) in report.measurements.iter().zip([1, 3]) {
        let produced = one.produced.as_ref().unwrap().latency.as_ref().unwrap().summary.count;
        assert!(produced > 0, "{report}");
        assert_eq!(latencies(one), readers * produced, "{report}");
        assert_eq!(one.checksums_checked, Some(false));
    }
    assert!(report.to_string().contains("NOT CHECKED"), "{report}");
}

//! All scenarios in one go, and the floor beside a broker.

use super::support::Broker;

#[test]
fn all_scenarios_run_one_after_the_other_and_each_reports() {
    let broker = Broker::start();
    let reports = broker
        .reports("all --duration 0.2 --size-mib 1 --idle 20 --partitions 1,5 --ceiling 0.1")
        .unwrap();
    let names: Vec<_> = reports.iter().map(|report| report.scenario).collect();
    let expected = [
        "produce",
        "produce-large",
        "produce-small",
        "end-to-end",
        "tail-fanout",
        "connections",
        "many-partitions",
        "catch-up",
    ];
    assert_eq!(names, expected);
    for report in reports {
        assert!(report.is_clean() && !report.measurements.is_empty(), "{report}");
    }
}

#[test]
fn the_floor_stands_beside_the_brokers_line_and_gives_the_share() {
    let broker = Broker::start();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let line = format!("produce-small --connections 2 --floor {}", folder.path().display());
    let report = broker.run(&line).unwrap();
    assert!(report.is_clean(), "{report}");
    let [floor, one] = &report.measurements[..] else { panic!("{report}") };
    assert!(floor.name.ends_with("the floor on prewritten space"), "{report}");
    let share = one.figures.iter().find(|figure| figure.name == "floor").unwrap();
    let mb = |one: &ringlog_bench::report::measurement::Measurement| {
        one.produced.as_ref().unwrap().mb_per_s
    };
    assert!((share.value - 100.0 * mb(one) / mb(floor)).abs() < 1e-6, "{report}");
}

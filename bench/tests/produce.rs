//! The produce scenarios against a server made for the test, which speaks just enough Kafka and
//! can misbehave.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;

use bytes::Bytes;
use ringlog_bench::cli::Cli;
use ringlog_bench::error::BenchError;
use ringlog_bench::report::Report;
use ringlog_bench::report::measurement::Measurement;
use ringlog_broker::protocol::codec::{Message, Str};
use ringlog_broker::protocol::messages::{
    CreateTopicsResponse, MetadataRequest, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic, PartitionProduceResponse, ProduceRequest,
    ProduceResponse, TopicProduceResponse,
};
use ringlog_broker::protocol::{ApiKey, RequestHeader, encode_response};
use ringlog_engine::batch::CheckedBatch;

const PARTITIONS: usize = 3;

/// How the server gives out offsets.
#[derive(Clone, Copy)]
enum Behaviour {
    Honest,
    RepeatsOffsets,
    Refuses,
}

struct FakeServer {
    address: SocketAddr,
    behaviour: Behaviour,
    next_offsets: [AtomicI64; PARTITIONS],
}

impl FakeServer {
    fn start(behaviour: Behaviour) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let next_offsets = std::array::from_fn(|_| AtomicI64::new(0));
        let server = Arc::new(Self { address, behaviour, next_offsets });
        let shared = Arc::clone(&server);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let server = Arc::clone(&shared);
                thread::spawn(move || server.serve(stream.unwrap()));
            }
        });
        server
    }

    fn serve(&self, mut stream: TcpStream) -> Option<()> {
        loop {
            let mut length = [0; 4];
            stream.read_exact(&mut length).ok()?;
            let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
            stream.read_exact(&mut frame).ok()?;
            if let Some(answer) = self.answer(Bytes::from(frame)) {
                stream.write_all(&answer).ok()?;
            }
        }
    }

    fn answer(&self, frame: Bytes) -> Option<Bytes> {
        let (header, mut body) = RequestHeader::decode(frame).unwrap();
        let (api, version, id) = (header.api, header.version, header.correlation_id);
        let gather = match api {
            ApiKey::Metadata => {
                let request = MetadataRequest::decode_body(&mut body, version).unwrap();
                let name = request.topics.unwrap()[0].name.clone();
                encode_response(api, version, id, &self.metadata(name))
            }
            ApiKey::CreateTopics => {
                encode_response(api, version, id, &CreateTopicsResponse::default())
            }
            ApiKey::Produce => {
                let request = ProduceRequest::decode_body(&mut body, version).unwrap();
                let response = self.produce(&request);
                if request.acks == 0 {
                    return None;
                }
                encode_response(api, version, id, &response)
            }
            other => panic!("{other:?} was not expected"),
        };
        Some(gather.unwrap().into_bytes())
    }

    fn metadata(&self, name: Option<Str>) -> MetadataResponse {
        let partition = |index| MetadataResponsePartition {
            partition_index: index,
            leader_id: 1,
            ..MetadataResponsePartition::default()
        };
        MetadataResponse {
            brokers: vec![MetadataResponseBroker {
                node_id: 1,
                host: Str::from(self.address.ip().to_string()),
                port: self.address.port().into(),
                ..MetadataResponseBroker::default()
            }],
            topics: vec![MetadataResponseTopic {
                name,
                partitions: (0..i32::try_from(PARTITIONS).unwrap()).map(partition).collect(),
                ..MetadataResponseTopic::default()
            }],
            ..MetadataResponse::default()
        }
    }

    fn produce(&self, request: &ProduceRequest) -> ProduceResponse {
        let topic = &request.topics[0];
        let partition = &topic.partitions[0];
        let records = partition.records.as_ref().unwrap().to_bytes();
        let count = CheckedBatch::check(&records).unwrap().record_count();
        let next = &self.next_offsets[usize::try_from(partition.index).unwrap()];
        let (error_code, base_offset) = match self.behaviour {
            Behaviour::Honest => (0, next.fetch_add(count.into(), Ordering::Relaxed)),
            Behaviour::RepeatsOffsets => (0, 0),
            Behaviour::Refuses => (19, -1),
        };
        let answer = PartitionProduceResponse {
            index: partition.index,
            error_code,
            base_offset,
            ..PartitionProduceResponse::default()
        };
        let topic = TopicProduceResponse {
            name: topic.name.clone(),
            partitions: vec![answer],
            ..TopicProduceResponse::default()
        };
        ProduceResponse { topics: vec![topic], ..ProduceResponse::default() }
    }

    fn run(&self, line: &str) -> Result<Report, BenchError> {
        let bootstrap = self.address.to_string();
        let (scenario, rest) = line.split_once(' ').unwrap();
        let fixed = ["bench", scenario, "--bootstrap", &bootstrap, "--duration", "0.5"];
        let ceiling = if rest.contains("--ceiling") { "" } else { "--ceiling 0" };
        let rest = rest.split_whitespace().chain(ceiling.split_whitespace());
        let cli = Cli::read(fixed.into_iter().chain(["--warmup", "0"]).chain(rest)).unwrap();
        cli.scenario.reports().map(|mut reports| reports.remove(0))
    }
}

fn only(report: &Report) -> &Measurement {
    assert_eq!(report.measurements.len(), 1, "{report}");
    &report.measurements[0]
}

fn latencies(one: &Measurement) -> u64 {
    one.latency().unwrap().summary.count
}

#[test]
fn a_closed_loop_keeps_the_server_busy_and_finds_it_honest() {
    let server = FakeServer::start(Behaviour::Honest);
    let line = "produce --connections 4 --threads 2 --depth 3 --partitions 3 --record-size 100 \
                --batch-bytes 1000";
    let report = server.run(line).unwrap();
    assert!(report.is_clean(), "{report}");
    let one = only(&report);
    assert!(one.records_per_batch > 5, "{report}");
    assert!(one.produced.as_ref().unwrap().requests_per_s > 10.0, "{report}");
    let written: i64 = server.next_offsets.iter().map(|o| o.load(Ordering::Relaxed)).sum();
    assert!(u64::try_from(written).unwrap() >= latencies(one), "{report}");
    assert!(server.next_offsets.iter().all(|offset| offset.load(Ordering::Relaxed) > 0));
}

#[test]
fn an_open_loop_keeps_to_its_rate() {
    let server = FakeServer::start(Behaviour::Honest);
    let line = "produce --connections 2 --partitions 1 --record-size 10 --batch-bytes 1 --rate 500";
    let report = server.run(line).unwrap();
    assert!(report.is_clean(), "{report}");
    let rate = only(&report).rate.unwrap();
    assert_eq!(latencies(only(&report)) + rate.unsent, 250, "{report}");
    assert!(rate.achieved <= 1.01, "{report}");
}

#[test]
fn requests_without_answers_are_counted_when_they_are_written() {
    let server = FakeServer::start(Behaviour::Honest);
    let line = "produce --connections 1 --partitions 1 --record-size 10 --acks 0 --rate 200";
    let report = server.run(line).unwrap();
    assert!(report.is_clean() && latencies(only(&report)) > 0, "{report}");
}

#[test]
fn small_requests_are_measured_over_one_connection_and_over_many() {
    let server = FakeServer::start(Behaviour::Honest);
    let report = server.run("produce-small --partitions 3 --connections 1,8").unwrap();
    assert!(report.is_clean(), "{report}");
    let [one, many] = &report.measurements[..] else { panic!("{report}") };
    assert_eq!((one.records_per_batch, many.records_per_batch), (1, 1));
    assert!(one.name.starts_with("1 connection x 1 ") && many.name.starts_with("8 "), "{report}");
    assert!(latencies(one) > 0 && latencies(many) > 0, "{report}");
    assert_eq!(report.scenario, "produce-small");
}

#[test]
fn repeated_offsets_and_error_codes_are_found() {
    let server = FakeServer::start(Behaviour::RepeatsOffsets);
    let line = "produce --rate 100 --record-size 10 --batch-bytes 1 --partitions 3";
    let report = server.run(line).unwrap();
    assert!(!report.is_clean() && only(&report).problems.repeated_offsets > 0, "{report}");

    let server = FakeServer::start(Behaviour::Refuses);
    let report = server.run(&format!("{line} --pid {}", std::process::id())).unwrap();
    let one = only(&report);
    assert!(one.server.is_some_and(|server| server.resident_bytes > 0));
    let refused = 50 - one.rate.unwrap().unsent;
    assert_eq!(BTreeMap::from([(19, refused)]), one.problems.produce_errors);
    assert!(!report.is_clean() && report.to_string().contains("error code 19"), "{report}");
}

#[test]
fn a_topic_with_too_few_partitions_is_an_error() {
    let server = FakeServer::start(Behaviour::Honest);
    let error = server.run("produce --partitions 4").unwrap_err();
    assert!(error.to_string().contains("has 3 partitions, 4 are asked for"), "{error}");
}

#[test]
fn the_generators_ceiling_needs_no_server_and_stands_in_every_report() {
    let line = "bench ceiling --duration 0.2 --warmup 0 --record-size 100 --connections 2";
    let report = Cli::read(line.split_whitespace()).unwrap().scenario.reports().unwrap().remove(0);
    assert!(report.is_clean(), "{report}");
    assert!(only(&report).produced.as_ref().unwrap().requests_per_s > 0.0, "{report}");

    let server = FakeServer::start(Behaviour::Honest);
    let report = server.run("produce-large --ceiling 0.2 --partitions 3 --rate 2000").unwrap();
    let ceiling = only(&report).ceiling.unwrap();
    assert!(ceiling.requests_per_s > 0.0 && ceiling.headroom > 0.0, "{report}");
    // With a rate, the headroom is over what was asked, whatever the server made of it.
    let asked = 2000.0 / f64::from(only(&report).records_per_batch);
    assert!((ceiling.headroom * asked / ceiling.requests_per_s - 1.0).abs() < 1e-6, "{report}");
}

#[test]
fn a_report_in_json_has_the_machine_and_the_whole_histogram() {
    let server = FakeServer::start(Behaviour::Honest);
    let report = server.run("produce --partitions 3 --rate 100 --batch-bytes 1").unwrap();
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["settings"]["batch_bytes"], 1);
    for key in ["processor", "cores", "kernel", "commit"] {
        assert!(!json["environment"][key].is_null(), "{key}");
    }
    let latency = &json["measurements"][0]["produced"]["latency"];
    let buckets = latency["histogram_us"].as_array().unwrap();
    let counted: u64 = buckets.iter().map(|bucket| bucket[1].as_u64().unwrap()).sum();
    assert_eq!(Some(counted), latency["count"].as_u64());
}

//! The produce scenario against a server made for the test, which speaks just enough Kafka.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;

use bytes::Bytes;
use clap::Parser;
use ringlog_bench::produce::{ProduceArgs, run};
use ringlog_broker::protocol::codec::{Message, Str};
use ringlog_broker::protocol::messages::{
    CreateTopicsResponse, MetadataRequest, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic, PartitionProduceResponse, ProduceRequest,
    ProduceResponse, TopicProduceResponse,
};
use ringlog_broker::protocol::{ApiKey, RequestHeader, encode_response};
use ringlog_engine::batch::CheckedBatch;

const PARTITIONS: usize = 3;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    produce: ProduceArgs,
}

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

    fn args(&self, line: &str) -> ProduceArgs {
        let bootstrap = self.address.to_string();
        let fixed = ["bench", "--bootstrap", &bootstrap, "--duration", "1", "--warmup", "0"];
        Cli::parse_from(fixed.into_iter().chain(line.split_whitespace())).produce
    }
}

#[test]
fn a_closed_loop_keeps_the_server_busy_and_finds_it_honest() {
    let server = FakeServer::start(Behaviour::Honest);
    let line = "--connections 4 --threads 2 --depth 3 --partitions 3 --record-size 100 \
                --batch-bytes 1000";
    let report = run(&server.args(line), |_| ()).unwrap();
    assert!(report.is_clean(), "{report}");
    assert!(report.records_per_batch > 5 && report.requests_per_s > 10.0, "{report}");
    let written: i64 = server.next_offsets.iter().map(|o| o.load(Ordering::Relaxed)).sum();
    assert!(u64::try_from(written).unwrap() >= report.latency.count, "{report}");
    assert!(server.next_offsets.iter().all(|offset| offset.load(Ordering::Relaxed) > 0));
}

#[test]
fn an_open_loop_keeps_to_its_rate() {
    let server = FakeServer::start(Behaviour::Honest);
    let line = "--connections 2 --partitions 1 --record-size 10 --batch-bytes 1 --rate 500";
    let report = run(&server.args(line), |_| ()).unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.latency.count + report.unsent, 500, "{report}");
    assert!(report.achieved.is_some_and(|achieved| achieved <= 1.01), "{report}");
}

#[test]
fn requests_without_answers_are_counted_when_they_are_written() {
    let server = FakeServer::start(Behaviour::Honest);
    let line = "--connections 1 --partitions 1 --record-size 10 --acks 0 --rate 200";
    let report = run(&server.args(line), |_| ()).unwrap();
    assert!(report.is_clean() && report.latency.count > 0, "{report}");
}

#[test]
fn repeated_offsets_and_error_codes_are_found() {
    let server = FakeServer::start(Behaviour::RepeatsOffsets);
    let report =
        run(&server.args("--rate 100 --record-size 10 --batch-bytes 1 --partitions 3"), |_| ())
            .unwrap();
    assert!(!report.is_clean() && report.repeated_offsets > 0, "{report}");

    let server = FakeServer::start(Behaviour::Refuses);
    let line = "--rate 100 --record-size 10 --batch-bytes 1 --partitions 3 --pid 1";
    let mut args = server.args(line);
    args.pid = Some(std::process::id());
    let report = run(&args, |_| ()).unwrap();
    assert_eq!(report.errors.keys().collect::<Vec<_>>(), [&19]);
    assert!(report.server_cpu.is_some());
    assert_eq!(BTreeMap::from([(19, 100 - report.unsent)]), report.errors);
}

#[test]
fn a_topic_with_too_few_partitions_is_an_error() {
    let server = FakeServer::start(Behaviour::Honest);
    let error = run(&server.args("--partitions 4"), |_| ()).unwrap_err();
    assert!(error.to_string().contains("has 3 partitions, 4 are asked for"), "{error}");
}

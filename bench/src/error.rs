//! Why a measurement cannot be made or counted.

use std::io;

/// Why a run ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A server cannot be reached.
    #[error("cannot connect to {address}")]
    Connect {
        /// The address.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// A connection broke in the middle of the run.
    #[error("connection {connection} to {address} broke after {answered} answers")]
    Broken {
        /// Which of the run's connections, from 0.
        connection: usize,
        /// The address.
        address: String,
        /// Requests answered before.
        answered: u64,
        /// What the system said.
        source: io::Error,
    },
    /// An answer that is not the one expected next.
    #[error("answer from {address}: {problem}")]
    Answer {
        /// The address.
        address: String,
        /// What is wrong with it.
        problem: AnswerProblem,
    },
    /// The topic cannot be created or looked up.
    #[error("topic {topic}: {step} failed with error code {code}")]
    Topic {
        /// The topic.
        topic: String,
        /// What was tried.
        step: &'static str,
        /// Kafka's error code.
        code: i16,
    },
    /// The topic has fewer partitions than asked.
    #[error("topic {topic} has {actual} partitions, {asked} are asked for")]
    Partitions {
        /// The topic.
        topic: String,
        /// Partitions there are.
        actual: usize,
        /// Partitions asked for.
        asked: u32,
    },
    /// A request could not be encoded.
    #[error("cannot encode a request")]
    Encode(#[from] ringlog_broker::protocol::codec::EncodeError),
    /// An administrative answer could not be decoded.
    #[error("cannot decode an answer from {address}")]
    Decode {
        /// The address.
        address: String,
        /// What is wrong with it.
        source: Box<ringlog_broker::protocol::codec::DecodeError>,
    },
    /// The batch to be sent cannot be built.
    #[error("cannot build a batch of {batch_bytes} bytes with records of {record_bytes} bytes")]
    Batch {
        /// Bytes asked for.
        batch_bytes: usize,
        /// Bytes of a record's value.
        record_bytes: usize,
        /// What the format refuses.
        source: ringlog_engine::batch::BatchError,
    },
    /// A record has no room for the time at which it should be sent.
    #[error(
        "a record of {record_bytes} bytes has no room for its time: {least_bytes} bytes are needed"
    )]
    StampRoom {
        /// Bytes of a record's value.
        record_bytes: usize,
        /// The least that it needs.
        least_bytes: usize,
    },
    /// The process whose CPU time and memory are asked for cannot be read.
    #[error("cannot read what process {pid} uses")]
    ServerProcess {
        /// The process id.
        pid: u32,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel's cache cannot be emptied of a folder's files.
    #[error("cannot evict the files of {folder} from the kernel's cache")]
    Evict {
        /// The folder.
        folder: String,
        /// What the system said.
        source: io::Error,
    },
    /// More connections are asked for than this process may have.
    #[error("{asked} connections need as many open files, and this process may have {limit}")]
    OpenFiles {
        /// Files needed.
        asked: u64,
        /// Files allowed.
        limit: u64,
    },
    /// A broker's process cannot be started or has ended by itself.
    #[error("the server that `{command}` starts: {what}")]
    Command {
        /// The command line.
        command: String,
        /// What happened.
        what: String,
    },
    /// Kafka's jars cannot be found.
    #[error("cannot find Kafka's jars: {what}")]
    Jars {
        /// What is missing.
        what: String,
    },
    /// A scenario needs no server, or starts one itself.
    #[error(
        "`{scenario}` cannot be compared: it is not run against a server that is there already"
    )]
    NotCompared {
        /// The scenario, as it was asked for.
        scenario: String,
    },
    /// What was acknowledged is not there any more.
    #[error("partition {partition} of {topic} has lost {lost} acknowledged records")]
    Lost {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Records that are missing.
        lost: i64,
    },
    /// A scenario's command line, which another scenario has made, cannot be read.
    #[error("cannot set a scenario up")]
    Line {
        /// What is wrong with its command line.
        source: clap::Error,
    },
    /// A thread cannot be pinned, or its poller not made.
    #[error("cannot {what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Fetches are answered with errors again and again.
    #[error(
        "{count} fetches from {address} failed, the last of partition {partition} with error code {code}"
    )]
    Fetches {
        /// The address.
        address: String,
        /// The partition.
        partition: i32,
        /// Kafka's error code.
        code: i16,
        /// Answers with an error so far.
        count: u64,
    },
    /// A plot of the HTML page cannot be drawn.
    #[error("cannot draw the plot {title}: {what}")]
    Plot {
        /// What it is called.
        title: String,
        /// What the plotting library says.
        what: String,
    },
    /// A worker thread ended without a result.
    #[error("a load thread panicked")]
    Worker,
    /// The answers did not all come in time after the end.
    #[error(
        "{missing} answers and {unread} acknowledged records did not come within {waited_s} s \
         after the end of the run"
    )]
    Drain {
        /// Answers to produce requests still missing.
        missing: usize,
        /// Acknowledged records that a reader has not seen.
        unread: u64,
        /// Seconds waited.
        waited_s: u64,
    },
}

/// What is wrong with an answer to a produce or fetch request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerProblem {
    /// It ends before its fields do, or has partitions that were not asked for.
    #[error("{frame_bytes} bytes are not an answer to the request")]
    Malformed {
        /// Bytes of the frame.
        frame_bytes: usize,
    },
    /// Its frame is longer than any answer to this request.
    #[error("a frame of {frame_bytes} bytes, at most {limit_bytes} are expected")]
    TooLong {
        /// Bytes the frame states.
        frame_bytes: i64,
        /// Bytes allowed.
        limit_bytes: usize,
    },
    /// It answers another request than the next in order.
    #[error("correlation id {found}, expected {expected}: answers must keep the requests' order")]
    OutOfOrder {
        /// The id that should come next.
        expected: i32,
        /// The id found.
        found: i32,
    },
    /// Batches that are not whole, do not follow each other, or whose checksum is wrong.
    #[error("partition {partition} at offset {offset}: {what}")]
    Batch {
        /// The partition.
        partition: i32,
        /// The offset at which a batch was expected.
        offset: i64,
        /// What is wrong.
        what: &'static str,
    },
    /// It names another partition than the request.
    #[error("partition {found}, expected {expected}")]
    Partition {
        /// The partition written to.
        expected: i32,
        /// The partition found.
        found: i32,
    },
}

//! The command line: a subcommand for each scenario.

use std::path::PathBuf;

use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::error::BenchError;
use crate::report::Report;
use crate::scenario::Tell;
use crate::scenario::all::{self, AllArgs};
use crate::scenario::catch_up::{self, CatchUpArgs};
use crate::scenario::ceiling::{self, CeilingArgs};
use crate::scenario::compare::{self, CompareArgs};
use crate::scenario::connections::{self, ConnectionsArgs};
use crate::scenario::device::{self, DeviceArgs};
use crate::scenario::end_to_end::{self, EndToEndArgs};
use crate::scenario::floor::{self, FloorArgs};
use crate::scenario::many_partitions::{self, ManyPartitionsArgs};
use crate::scenario::produce::{self, ProduceArgs};
use crate::scenario::restart::{self, RestartArgs};
use crate::scenario::tail_fanout::{self, TailFanoutArgs};

/// Measures any Kafka-protocol broker: throughput, latency, and the server's CPU time.
#[derive(Debug, Parser)]
#[command(name = "ringlog-bench", version)]
pub struct Cli {
    /// What is measured.
    #[command(subcommand)]
    pub scenario: Scenario,
    /// Print one JSON object instead of text: settings, machine, all figures, full histograms.
    #[arg(long, global = true)]
    pub json: bool,
    /// Write a page with tables and plots to this file as well. It holds all it needs: it loads
    /// nothing and runs no script.
    #[arg(long, global = true, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// What can be measured.
#[derive(Debug, Clone, Subcommand)]
pub enum Scenario {
    /// Produce batches of one size, in a closed loop or at a fixed rate.
    ///
    /// Measures throughput, the time from request to answer, and the server's CPU time. Without
    /// --rate the loop is closed: every connection keeps --depth requests in flight, and the figure
    /// to look at is throughput. With --rate it is open: requests are due on a fixed schedule, and
    /// latency counts from the moment a request was due, whether or not the server let it be sent.
    /// Every answer's error code is counted, and an offset that is given twice is reported.
    ///
    /// Does not measure when consumers get the records (end-to-end does), nor what a client library
    /// costs: requests are built beforehand, and every request carries the same batch.
    Produce(ProduceArgs),
    /// Produce with batches of 1 MiB.
    ///
    /// The same as `produce`, with other defaults: what the server does with large writes.
    ProduceLarge(ProduceArgs),
    /// Produce one record of 100 bytes a request: 1 connection, then 64, each with one in flight.
    ///
    /// The same as `produce`, with other defaults: what one small request costs, and how well the
    /// server makes many of them durable together.
    ProduceSmall(ProduceArgs),
    /// Send single records at fixed rates, and measure when they arrive at a consumer.
    ///
    /// One producer sends each record in a request of its own when it is due, and one consumer
    /// waits at the tail with long fetches. Each record carries the time at which it should have
    /// been sent, and the latency is from then to its arrival. Every acknowledged record must
    /// arrive: each batch must begin where the one before it ended, and its checksum must be right.
    ///
    /// Producer and consumer share one thread and one clock. It does not sleep where a record is
    /// due soon, so that the kernel's timers are not measured; neither is a client library.
    EndToEnd(EndToEndArgs),
    /// One producer at a fixed rate, and 4, then 8 consumers at the tail that each read it all.
    ///
    /// Measures what the server needs for each MB that it gives out, and how long batches take from
    /// the moment at which they should have been sent to each consumer. Does not measure how fast a
    /// consumer can be: if the load thread is busy all the time, use fewer readers.
    TailFanout(TailFanoutArgs),
    /// Read a log from its beginning, alone and beside a producer.
    ///
    /// The log is written first, unless the topic has as much already. Then come, a line each: its
    /// end read for the second time; all of it, by each number of readers that share out its
    /// partitions; a producer alone; and the readers again beside that producer, for its p99. Every
    /// batch is checked.
    ///
    /// Whether reads are cold depends on the log being larger than the server's memory, or on
    /// --evict, which empties the kernel's cache of the server's files; what a server keeps in
    /// memory of its own stays. Readers share one thread, which may be the limit: see how busy it
    /// was.
    CatchUp(CatchUpArgs),
    /// The same load over 1, 100, 1,000 and 10,000 partitions, from each topic's first second on.
    ///
    /// For each number a fresh topic is created, written to, and deleted. Each request carries one
    /// batch for one partition, and goes to the next partition each time. There is no warm-up:
    /// opening a partition for the first time counts, and the first second is told by itself. The
    /// memory of a partition is what the server's process grew by while they were created.
    ManyPartitions(ManyPartitionsArgs),
    /// 64 active connections, alone and beside 10,000 idle ones.
    ///
    /// Measures the active ones' latency and, with --pid, the server's memory for each idle
    /// connection. Idle ones have asked for metadata once; after the run each is asked again, and
    /// the run fails if one is dead. Does not measure TLS, nor the kernel's memory for sockets.
    Connections(ConnectionsArgs),
    /// Start a broker, fill its log, kill it, start it again: how long until it serves.
    ///
    /// Measures from the start of the process to the first answer, and after the kill to the first
    /// produce request acknowledged and to the first fetch of what was acknowledged last, tried
    /// every millisecond side by side. Everything acknowledged before the kill must be there. This
    /// is a kill of the process, not of the machine: the kernel's cache stays warm.
    Restart(RestartArgs),
    /// Run the scenarios that need nothing but a running server, one after the other.
    ///
    /// That is produce, produce-large, produce-small, end-to-end, tail-fanout, connections,
    /// many-partitions and catch-up, each with its own defaults but for the options given here.
    /// Takes some minutes, and some disk: see --size-mib. `restart` and `compare` start brokers of
    /// their own, and `floor`, `device` and `ceiling` need none, so they are not among them. With
    /// --json there is one line for each scenario.
    All(AllArgs),
    /// Compare Ringlog with Kafka or any other broker: the same load on each, by turns.
    ///
    /// Starts Ringlog and its rivals, each on an empty folder of the same disk and pinned to the
    /// same core, and puts load on one at a time while the others are idle. Rivals get minutes of
    /// load first. Then every line of every scenario is measured in each round against one server
    /// after the other, with a topic of its own that is deleted afterwards, and with the disk
    /// synced in between. Each pair of a round has its ratio; the median is told with the lowest
    /// and the highest, beside the servers' CPU time and memory. Servers that were started are
    /// killed at the end, however this program ends.
    ///
    /// Does not measure a cluster, a network, TLS, client libraries, or more than one core of a
    /// server. A server that ran before keeps its own core, disk and settings: whether that is fair
    /// is up to you. An idle JVM still uses a little of its core, which is there for all alike.
    Compare(CompareArgs),
    /// The least server that takes the same load with the same durability, on this machine.
    ///
    /// No broker is measured. A thread of this process receives, checks checksums, writes all that
    /// waits with one direct and synced write, up to four at a time, and answers: what this machine
    /// could do if being a broker cost nothing. Its files are in --dir; fresh space is as a log
    /// that keeps what it gets has it, and takes as much of the disk as is written meanwhile.
    ///
    /// The floor's CPU time is its thread's; what the kernel does for it in other threads is not
    /// counted. Run it with the same options as `produce`, and compare. `device` measures the disk
    /// alone.
    Floor(FloorArgs),
    /// What the disk does by itself: writes and reads of several sizes, some of them in flight.
    ///
    /// Neither a broker nor a network is measured. Writes and reads are direct, go through a bare
    /// ring from one thread, and follow each other in one file, which is a prewritten circle or
    /// fresh space as a log has it. Synced writes are on stable storage when they are counted, as
    /// far as the device tells the truth. What a host beneath a virtual machine keeps in its own
    /// cache is read from there; neither random access nor the kernel's cache is measured. A figure
    /// of a single second is rough: repeat it with a longer --duration if it matters.
    Device(DeviceArgs),
    /// Measure the load generator itself, against a peer that answers at once.
    ///
    /// No server is measured. The peer is a thread of this process, on a core of its own if there
    /// is one; it reads the requests and answers them without looking at the batches. What comes
    /// out is the most that any server could be seen to do with this load on this machine. Every
    /// other scenario measures its own ceiling for a second beforehand and prints the ratio, the
    /// headroom; where that is near 1, the generator is measured and not the server.
    Ceiling(CeilingArgs),
}

/// The defaults that make a scenario out of another one: the command, the argument, its value.
const PRESETS: &[(&str, &str, &str)] = &[
    ("produce-large", "batch_bytes", "1048576"),
    ("produce-small", "record_size", "100"),
    ("produce-small", "batch_bytes", "1"),
    ("produce-small", "connections", "1,64"),
    ("produce-small", "depth", "1"),
    ("catch-up", "topic", "ringlog-bench-catch-up"),
    // It needs one partition only, and `produce` shall find a topic with more.
    ("end-to-end", "topic", "ringlog-bench-end-to-end"),
    ("many-partitions", "warmup", "0"),
    ("connections", "record_size", "100"),
    ("connections", "batch_bytes", "1"),
    ("connections", "connections", "64"),
    ("connections", "depth", "1"),
];

impl Cli {
    /// The command with each preset's defaults.
    #[must_use]
    pub fn with_presets() -> Command {
        PRESETS.iter().fold(Self::command(), |command, (name, argument, value)| {
            command.mut_subcommand(*name, |preset| {
                preset.mut_arg(*argument, |argument| argument.default_value(*value))
            })
        })
    }

    /// Reads a command line, the program's name first.
    ///
    /// # Errors
    ///
    /// clap's, which tells the user what is wrong; also when help is asked for.
    pub fn read<I, T>(line: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item = T>,
        T: Into<std::ffi::OsString> + Clone,
    {
        Self::from_arg_matches(&Self::with_presets().try_get_matches_from(line)?)
    }
}

impl Scenario {
    /// Runs it, and tells the report when it is finished; `all` has one for each scenario.
    ///
    /// # Errors
    ///
    /// A [`BenchError`] if a run could not be made or broke off. Reports told before still hold.
    pub fn run(&self, tell: Tell<'_>, finished: &mut dyn FnMut(&Report)) -> Result<(), BenchError> {
        let report = match self {
            Self::All(args) => return all::run(args, tell, finished),
            Self::Compare(args) => compare::run(args, tell),
            Self::Produce(args) => produce::run("produce", args, tell),
            Self::ProduceLarge(args) => produce::run("produce-large", args, tell),
            Self::ProduceSmall(args) => produce::run("produce-small", args, tell),
            Self::EndToEnd(args) => end_to_end::run(args, tell),
            Self::TailFanout(args) => tail_fanout::run(args, tell),
            Self::CatchUp(args) => catch_up::run(args, tell),
            Self::ManyPartitions(args) => many_partitions::run(args, tell),
            Self::Connections(args) => connections::run(args, tell),
            Self::Restart(args) => restart::run(args, tell),
            Self::Floor(args) => floor::run(args, tell),
            Self::Device(args) => device::run(args, tell),
            Self::Ceiling(args) => ceiling::run(args, tell),
        }?;
        finished(&report);
        Ok(())
    }

    /// Runs it, and gives the report; of `all`, the reports of all scenarios.
    ///
    /// # Errors
    ///
    /// A [`BenchError`] if a run could not be made or broke off.
    pub fn reports(&self) -> Result<Vec<Report>, BenchError> {
        let mut reports = Vec::new();
        self.run(&mut |_, _| (), &mut |report| reports.push(report.clone()))?;
        Ok(reports)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::with_presets().debug_assert();
    }

    #[test]
    fn a_preset_changes_defaults_only() {
        let read = |line: &str| Cli::read(line.split_whitespace()).unwrap().scenario;
        let Scenario::ProduceSmall(small) = read("bench produce-small --depth 7") else { panic!() };
        assert_eq!((small.shape.record_size, small.shape.depth), (100, 7));
        assert_eq!(small.shape.connections, [1, 64]);
        let Scenario::Produce(plain) = read("bench produce") else { panic!() };
        assert_eq!((plain.shape.record_size, plain.shape.batch_bytes), (1024, 65_536));
        // A topic that one scenario creates with one partition is in no other's way.
        let Scenario::EndToEnd(single) = read("bench end-to-end") else { panic!() };
        assert_ne!(single.target.topic, plain.target.topic);
    }
}

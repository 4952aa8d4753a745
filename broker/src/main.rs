//! `ringlog`: the broker as a process.
//!
//! Exit status: 0 after a clean stop, 1 when the broker cannot start or fails, 2 for a command
//! line or a configuration that is wrong.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use ringlog_broker::config::{self, BrokerConfig, Cli, LOG_VARIABLE, Machine};
use ringlog_broker::server::{Failure, RunningServer, Server};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// What is logged unless `RINGLOG_LOG` or `RUST_LOG` says otherwise: what an operator cares about
/// of the broker itself, and what is wrong with anything else.
const LOG_DEFAULT: &str = "warn,ringlog=info,ringlog_broker=info,ringlog_engine=info";

/// Exit status after a signal that was not waited out, as shells count it: 128 and SIGINT's 2.
const EXIT_INTERRUPTED: i32 = 130;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors, and go to stdout.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    if cli.help_config {
        // A reader that has seen enough is no error.
        let _ = io::stdout().write_all(config::help_config().as_bytes());
        return ExitCode::SUCCESS;
    }
    if let Err(error) = log_to_stderr() {
        eprintln!("ringlog: {LOG_VARIABLE} or RUST_LOG: {error}");
        return ExitCode::from(2);
    }
    let config = match config::load(&cli, std::env::vars_os(), Machine::detect()) {
        Ok(config) => config,
        Err(errors) => {
            for error in errors.iter() {
                eprintln!("ringlog: {error}");
            }
            eprintln!("ringlog: `ringlog --help` and `ringlog --help-config` tell what is allowed");
            return ExitCode::from(2);
        }
    };
    run(config)
}

fn log_to_stderr() -> Result<(), tracing_subscriber::filter::ParseError> {
    let chosen = [LOG_VARIABLE, "RUST_LOG"].into_iter().find_map(|name| std::env::var(name).ok());
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::WARN.into())
        .parse(chosen.as_deref().unwrap_or(LOG_DEFAULT))?;
    let ansi = io::IsTerminal::is_terminal(&io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(ansi)
        .with_writer(io::stderr)
        .init();
    Ok(())
}

fn run(config: BrokerConfig) -> ExitCode {
    // Signals are listened for before anything starts, so that none ends it halfway.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (runtime, mut signals) = match runtime.and_then(|runtime| {
        let signals = runtime.block_on(async { Signals::listen() })?;
        Ok((runtime, signals))
    }) {
        Ok(ready) => ready,
        Err(error) => {
            eprintln!("ringlog: cannot listen for signals: {error}");
            return ExitCode::FAILURE;
        }
    };
    let server = match Server::start(config) {
        Ok(server) => server,
        Err(error) => {
            eprintln!("ringlog: {error}");
            return ExitCode::FAILURE;
        }
    };
    // Whoever started it may not read what it says.
    let _ = io::stdout().write_all(banner(&server).as_bytes());
    let stopped = runtime.block_on(async {
        tokio::select! {
            name = signals.next() => tracing::info!(signal = name, "stopping"),
            failure = server.failed() => tracing::error!(%failure, "stopping"),
        }
        stop(server, &mut signals).await
    });
    match stopped {
        Ok(()) => {
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("ringlog: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Stops the broker on a thread of its own, so that a second signal is heard meanwhile.
async fn stop(server: RunningServer, signals: &mut Signals) -> Result<(), Arc<Failure>> {
    let (done, stopped) = oneshot::channel();
    std::thread::spawn(move || {
        // The receiver is there until this is sent or the process ends.
        let _ = done.send(server.stop());
    });
    tokio::select! {
        stopped = stopped => stopped.unwrap_or(Ok(())),
        name = signals.next() => {
            tracing::warn!(signal = name, "ended at once; the next start has more to check");
            #[expect(clippy::disallowed_methods, reason = "the second signal means now")]
            std::process::exit(EXIT_INTERRUPTED);
        }
    }
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

fn banner(server: &RunningServer) -> String {
    let config = server.config();
    let durable = if config.topic_defaults.config().flushes_every_batch() {
        "every batch is on stable storage before it is acknowledged"
    } else {
        "an acknowledged batch survives the process, not the machine (log.flush.*)"
    };
    let clients = server.advertised();
    format!(
        "ringlog {version} is ready\n\
         \x20 listens on  {address}, clients are told {clients}\n\
         \x20 data in     {data}\n\
         \x20 durability  {durable}\n\
         \x20 shards      {shards}\n\
         \n\
         try it:\n\
         \x20 echo hello | kcat -b {clients} -t greetings -P\n\
         \x20 kcat -b {clients} -t greetings -C -e\n\
         \n\
         Ctrl-C stops it.\n",
        version = env!("CARGO_PKG_VERSION"),
        address = server.address(),
        data = server.data_dir().display(),
        shards = config.shards,
    )
}

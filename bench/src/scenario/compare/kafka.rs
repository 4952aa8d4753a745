//! How a Kafka node is started: broker and controller in one process, with the heap and the
//! collector that Kafka's own start script gives it.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::child::pinned;
use crate::error::BenchError;

/// What `kafka-server-start.sh` gives the JVM.
const JVM_OPTIONS: &[&str] = &[
    "-Xms1g",
    "-Xmx1g",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-Djava.awt.headless=true",
    // Whichever of the two is on the class path.
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.apache.logging.log4j.level=WARN",
];
/// Any 16 bytes in base64.
const CLUSTER_ID: &str = "cmluZ2xvZy1iZW5jaC0wMQ";

/// The folder with Kafka's jars: `named`, or the `libs` of `KAFKA_HOME`.
///
/// # Errors
///
/// [`BenchError::Jars`] if neither is named, or there is no jar of a Kafka broker in it.
pub fn jars(named: Option<&Path>) -> Result<PathBuf, BenchError> {
    let home = || std::env::var_os("KAFKA_HOME").map(|home| Path::new(&home).join("libs"));
    let folder = named.map(Path::to_path_buf).or_else(home);
    let failed = |what: String| BenchError::Jars { what };
    let folder = folder
        .ok_or_else(|| failed("name them with --kafka-jars, or Kafka with KAFKA_HOME".into()))?;
    let entries =
        fs::read_dir(&folder).map_err(|error| failed(format!("{}: {error}", folder.display())))?;
    let is_broker = |name: &str| name.starts_with("kafka_2.") && name.ends_with(".jar");
    let mut names = entries.flatten().map(|entry| entry.file_name());
    if names.any(|name| is_broker(&name.to_string_lossy())) {
        Ok(folder)
    } else {
        Err(failed(format!("{} has no kafka_2.*.jar", folder.display())))
    }
}

/// A node that is not started yet.
#[derive(Debug)]
pub struct Node<'a> {
    /// Where the jars are.
    pub jars: &'a Path,
    /// Its empty folder.
    pub folder: &'a Path,
    /// The core that it is pinned to.
    pub cpu: Option<usize>,
}

impl Node<'_> {
    /// Writes its properties and formats its folder; gives the command that starts it.
    ///
    /// # Errors
    ///
    /// [`BenchError::Command`] if the folder cannot be formatted.
    pub fn prepare(
        &self,
        listen: SocketAddr,
        controller: SocketAddr,
        properties: &[(&str, &str)],
    ) -> Result<Command, BenchError> {
        let file = self.folder.join("server.properties");
        let failed = |what: String| BenchError::Command { command: "java".into(), what };
        fs::write(&file, text(self.folder, listen, controller, properties))
            .map_err(|error| failed(format!("{}: {error}", file.display())))?;
        let mut format = self.java(&["-Xmx256m", "-XX:TieredStopAtLevel=1"]);
        format.arg("kafka.tools.StorageTool").args(["format", "--cluster-id", CLUSTER_ID]);
        format.arg("--config").arg(&file);
        let output: io::Result<_> = pinned(self.cpu, move || format.output())?;
        let output = output.map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(failed(format!("formatting Kafka's folder: {}", said.trim())));
        }
        let mut command = self.java(JVM_OPTIONS);
        command.arg("kafka.Kafka").arg(&file);
        Ok(command)
    }

    fn java(&self, options: &[&str]) -> Command {
        let mut java = Command::new("java");
        java.args(options).arg("-cp").arg(self.jars.join("*"));
        java
    }
}

/// Defaults, but for what one node alone needs, and for deleted topics, which go at once: the disk
/// is to have the same room in every round.
fn text(
    folder: &Path,
    listen: SocketAddr,
    controller: SocketAddr,
    properties: &[(&str, &str)],
) -> String {
    let logs = folder.join("log");
    let mut text = format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@{controller}\n\
         controller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://{listen},CONTROLLER://{controller}\n\
         advertised.listeners=PLAINTEXT://{listen}\n\
         log.dirs={}\n\
         offsets.topic.replication.factor=1\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n\
         log.segment.delete.delay.ms=0\n",
        logs.display()
    );
    for (key, value) in properties {
        text.push_str(&format!("{key}={value}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_taken_for_kafkas_only_with_a_brokers_jar_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let error = jars(Some(folder.path())).unwrap_err();
        assert!(error.to_string().contains("has no kafka_2"), "{error}");
        fs::write(folder.path().join("kafka_2.13-4.3.0.jar"), "").unwrap();
        assert_eq!(jars(Some(folder.path())).unwrap(), folder.path());
        assert!(jars(Some(&folder.path().join("none"))).is_err());
    }

    #[test]
    fn properties_that_were_asked_for_come_last_and_so_win() {
        let address = "127.0.0.1:1".parse().unwrap();
        let asked = [("log.flush.interval.messages", "1")];
        let text = text(Path::new("/data"), address, address, &asked);
        assert!(text.ends_with("\nlog.flush.interval.messages=1\n"), "{text}");
        assert!(text.contains("\nlog.dirs=/data/log\n"), "{text}");
    }
}

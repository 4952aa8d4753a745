"""The console tools of Kafka 4, as a person at a terminal runs them."""

import re
from collections.abc import Callable

from clients.base import Client, GroupRun
from clients.confluent import eventually, expect
from clients.processes import ProcessGroup, run_tool
from support.paths import java
from support.records import Read, Record

PRODUCER = "org.apache.kafka.tools.ConsoleProducer"
CONSUMER = "org.apache.kafka.tools.consumer.ConsoleConsumer"
TOPICS = "org.apache.kafka.tools.TopicCommand"
GROUPS = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
OFFSETS = "org.apache.kafka.tools.GetOffsetShell"
CONFIGS = "kafka.admin.ConfigCommand"

# Marks that no drawn record holds, so that any byte may stand between them.
KEY_MARK = "<~key~>"
NULL_MARK = "<~null~>"
END_MARK = "<~end~>"
PLACE = re.compile(rb"CreateTime:(-?\d+)<~key~>Partition:(\d+)<~key~>Offset:(\d+)<~key~>")


def parse(output: bytes) -> list[Read]:
    """The whole records at the start of what ConsoleConsumer printed."""
    reads: list[Read] = []
    for text in output.split(END_MARK.encode())[:-1]:
        head = PLACE.match(text)
        if head is None:
            raise ValueError(f"not a record: {text[:80]!r}")
        key, value = text[head.end():].split(KEY_MARK.encode(), 1)
        record = Record(_null(key), _null(value))
        reads.append(Read(int(head[2]), int(head[3]), int(head[1]), record))
    return reads


def _null(value: bytes) -> bytes | None:
    return None if value == NULL_MARK.encode() else value


class Console(Client):
    name = "console"
    binary = False
    exact_headers = False

    def _run(self, tool: str, *arguments: str, stdin: bytes = b"") -> str:
        command = java(tool, "--bootstrap-server", self.bootstrap, *arguments)
        return run_tool(command, stdin, timeout_s=90).decode(errors="replace")

    def create_topic(self, topic: str, partitions: int, configs: dict[str, str]) -> None:
        arguments = ["--create", "--topic", topic, "--partitions", str(partitions)]
        for key, value in configs.items():
            arguments += ["--config", f"{key}={value}"]
        self._run(TOPICS, *arguments)

    def produce(self, topic: str, records: list[Record], compression: str) -> None:
        lines = []
        with_headers = any(record.headers for record in records)
        for record in records:
            parts = []
            if with_headers:
                pairs = (f"{n}:{NULL_MARK if v is None else v.decode()}" for n, v in record.headers)
                parts.append(",".join(pairs) or NULL_MARK)
            parts += [NULL_MARK if part is None else part.decode() for part in (record.key, record.value)]
            lines.append(KEY_MARK.join(parts))
        properties = {
            "parse.key": "true",
            "parse.headers": str(with_headers).lower(),
            "key.separator": KEY_MARK,
            "headers.delimiter": KEY_MARK,
            "null.marker": NULL_MARK,
        }
        arguments = ["--topic", topic, "--compression-codec", compression, "--timeout", "5",
                     "--command-property", "max.request.size=1048576"]
        for key, value in properties.items():
            arguments += ["--reader-property", f"{key}={value}"]
        self._run(PRODUCER, *arguments, stdin="".join(f"{line}\n" for line in lines).encode())

    def _consumer(self, topic: str, *arguments: str) -> list[str]:
        command = java(CONSUMER, "--bootstrap-server", self.bootstrap, "--topic", topic,
                       "--from-beginning", *arguments)
        properties = {
            "print.timestamp": "true",
            "print.partition": "true",
            "print.offset": "true",
            "print.key": "true",
            "key.separator": KEY_MARK,
            "line.separator": END_MARK,
            "null.literal": NULL_MARK,
        }
        for key, value in properties.items():
            command += ["--formatter-property", f"{key}={value}"]
        return command

    def read_all(self, topic: str, partitions: int, count: int) -> list[Read]:
        command = self._consumer(topic, "--max-messages", str(count), "--timeout-ms", "30000")
        return parse(run_tool(command, timeout_s=90))

    def start_group(self, topic: str, group: str, members: int) -> GroupRun:
        return ProcessGroup([self._consumer(topic, "--group", group)] * members, parse)

    def admin_checks(self, prefix: str) -> dict[str, Callable[[], None]]:
        topic, group = f"{prefix}-admin", f"{prefix}-admin-group"

        def listed(tool: str) -> list[str]:
            return self._run(tool, "--list").split()

        def describe_topic() -> None:
            self.create_topic(topic, 3, {"retention.ms": "123456789"})
            expect(topic in listed(TOPICS), "the topic in the list")
            said = self._run(TOPICS, "--describe", "--topic", topic)
            expect("PartitionCount: 3" in said, f"PartitionCount: 3, got {said}")
            expect("retention.ms=123456789" in said, f"retention.ms=123456789, got {said}")

        def describe_configs() -> None:
            said = self._run(CONFIGS, "--describe", "--entity-type", "topics", "--entity-name", topic)
            expect("retention.ms=123456789" in said, f"retention.ms=123456789, got {said}")

        def alter_config() -> None:
            entity = ("--entity-type", "topics", "--entity-name", topic)
            self._run(CONFIGS, "--alter", *entity, "--add-config", "max.message.bytes=2000000")
            eventually(lambda: "max.message.bytes=2000000" in self._run(CONFIGS, "--describe", *entity),
                       "altered value")

        def create_partitions() -> None:
            self._run(TOPICS, "--alter", "--topic", topic, "--partitions", "5")
            eventually(lambda: "PartitionCount: 5" in self._run(TOPICS, "--describe", "--topic", topic),
                       "5 partitions")

        def list_offsets() -> None:
            one = f"{prefix}-offsets"
            self.create_topic(one, 1, {})
            self.produce(one, [Record(None, b"one"), Record(b"key", b"two"), Record(None, b"three")], "none")
            for time, wanted in (("earliest", 0), ("latest", 3), ("max-timestamp", None), ("1000", 0)):
                said = self._run(OFFSETS, "--topic", one, "--time", time).split()[-1]
                offset = int(said.rsplit(":", 1)[1])
                holds = 0 <= offset <= 2 if wanted is None else offset == wanted
                expect(holds, f"offset {wanted} for {time}, got {said}")

        def groups() -> None:
            one = f"{prefix}-offsets"
            run = self.start_group(one, group, 1)
            run.wait_for(3)
            expect(group in listed(GROUPS), "the group in the list")
            said = self._run(GROUPS, "--describe", "--group", group, "--state")
            expect("Stable" in said, f"Stable, got {said}")
            said = self._run(GROUPS, "--describe", "--group", group, "--members")
            expect(re.search(rf"^{re.escape(group)} .* 1\s*$", said, re.MULTILINE) is not None,
                   f"a member with one partition, got {said}")
            run.stop()
            said = self._run(GROUPS, "--describe", "--group", group)
            expect(re.search(rf"{re.escape(one)}\s+0\s+3\s+3\s+0", said) is not None,
                   f"offset 3 of 3 and lag 0, got {said}")

        def reset_offsets() -> None:
            said = self._run(GROUPS, "--reset-offsets", "--group", group, "--topic", f"{prefix}-offsets",
                             "--to-earliest", "--execute")
            expect(re.search(rf"{re.escape(prefix)}-offsets\s+0\s+0", said) is not None,
                   f"offset 0, got {said}")

        def delete_group() -> None:
            self._run(GROUPS, "--delete", "--group", group)
            expect(group not in listed(GROUPS), "no such group")

        def delete_topic() -> None:
            self._run(TOPICS, "--delete", "--topic", topic)
            eventually(lambda: topic not in listed(TOPICS), "no such topic")

        return {
            "describe topic": describe_topic,
            "describe configs": describe_configs,
            "alter config": alter_config,
            "create partitions": create_partitions,
            "list offsets": list_offsets,
            "list, describe groups": groups,
            "alter group offsets": reset_offsets,
            "delete group": delete_group,
            "delete topic": delete_topic,
        }

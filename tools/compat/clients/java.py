"""Kafka's own Java clients, through the small driver under java/."""

import itertools
import queue
import subprocess
import threading
from base64 import b64decode, b64encode
from collections.abc import Callable

from clients.base import READ_TIMEOUT_S, Client, GroupRun
from support.paths import java
from support.process import spawn
from support.records import Read, Record
from support.report import Failed

ANSWER_TIMEOUT_S = READ_TIMEOUT_S + 45

ADMIN_CHECKS = (
    "describe cluster",
    "describe configs",
    "alter config",
    "create partitions",
    "list offsets",
    "list, describe groups",
    "alter group offsets",
    "delete group",
    "delete topic",
)


def word(value: bytes | None) -> str:
    return "-" if value is None else b64encode(value).decode()


def value(text: str) -> bytes | None:
    return None if text == "-" else b64decode(text)


def parse(line: str) -> Read:
    partition, offset, timestamp, key, content, *rest = line.split("\t")
    headers = tuple((rest[i], value(rest[i + 1])) for i in range(0, len(rest), 2))
    record = Record(value(key), value(content), headers)
    return Read(int(partition), int(offset), int(timestamp), record)


class Java(Client):
    name = "java"

    def __init__(self, bootstrap: str):
        super().__init__(bootstrap)
        self._process: subprocess.Popen | None = None
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._members = itertools.count()

    def _start(self) -> subprocess.Popen:
        if self._process is None:
            self._process = spawn(java("Driver", self.bootstrap), stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            threading.Thread(target=self._read_lines, args=(self._process.stdout,), daemon=True).start()
        return self._process

    def _read_lines(self, stream) -> None:
        for line in stream:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def ask(self, *words: str, payload: list[str] | None = None) -> list[str]:
        """Sends one command and returns the lines of its answer."""
        process = self._start()
        process.stdin.write("\n".join(["\t".join(words), *(payload or [])]) + "\n")
        process.stdin.flush()
        answer = []
        while True:
            try:
                line = self._lines.get(timeout=ANSWER_TIMEOUT_S)
            except queue.Empty:
                raise Failed(f"no answer to {words[0]} within {ANSWER_TIMEOUT_S} s") from None
            if line is None:
                raise Failed("the Java driver ended")
            if line == "ok":
                return answer
            if line.startswith("error\t"):
                raise Failed(line.removeprefix("error\t"))
            answer.append(line)

    def create_topic(self, topic: str, partitions: int, configs: dict[str, str]) -> None:
        pairs = ",".join(f"{key}={setting}" for key, setting in configs.items())
        self.ask("create", topic, str(partitions), pairs)

    def produce(self, topic: str, records: list[Record], compression: str) -> None:
        payload = [
            "\t".join([
                word(record.key),
                word(record.value),
                *(part for name, content in record.headers for part in (name, word(content))),
            ])
            for record in records
        ]
        self.ask("produce", topic, compression, str(len(payload)), payload=payload)

    def read_all(self, topic: str, partitions: int, count: int) -> list[Read]:
        return [parse(line) for line in self.ask("read", topic, str(partitions), str(count))]

    def start_group(self, topic: str, group: str, members: int) -> GroupRun:
        return JavaGroup(self, topic, group, [f"member-{next(self._members)}" for _ in range(members)])

    def admin_checks(self, prefix: str) -> dict[str, Callable[[], None]]:
        return {name: lambda name=name: self._admin(name, prefix) for name in ADMIN_CHECKS}

    def _admin(self, name: str, prefix: str) -> None:
        self.ask("admin", name, prefix)

    def close(self) -> None:
        if self._process is not None:
            self._process.stdin.close()
            self._process.wait(30)


class JavaGroup(GroupRun):
    """Members are threads of the driver, by name."""

    def __init__(self, driver: Java, topic: str, group: str, names: list[str]):
        self._driver = driver
        self._reads: dict[str, list[Read]] = {name: [] for name in names}
        for name in names:
            driver.ask("join", name, topic, group)

    def reads(self) -> list[list[Read]]:
        for name, reads in self._reads.items():
            reads.extend(parse(line) for line in self._driver.ask("poll", name))
        return [list(reads) for reads in self._reads.values()]

    def stop(self) -> None:
        for name in self._reads:
            self._driver.ask("leave", name)

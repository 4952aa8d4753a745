"""kcat 1.7.1, Debian's: an old librdkafka, as many machines have it."""

import re
import subprocess

from clients.base import Client, GroupRun
from clients.processes import ProcessGroup, run_tool
from support.records import Read, Record

# Lengths come before the bytes, so that no byte of a key or value can be taken for a separator.
# Headers stand in the first line as name=value pairs with commas: exact for plain ASCII only.
FORMAT = r"%p %o %T %K %S %h\n%k%s\n"
HEAD = re.compile(rb"(\d+) (\d+) (-?\d+) (-?\d+) (-?\d+) ([^\n]*)\n")
KEY_MARK = b"<~key~>"
END_MARK = b"<~end~>\n"


def parse(output: bytes) -> list[Read]:
    """The whole records at the start of what kcat printed in FORMAT."""
    reads: list[Read] = []
    at = 0
    while head := HEAD.match(output, at):
        partition, offset, timestamp, key_length, value_length = (int(head[i]) for i in range(1, 6))
        start = head.end()
        key_end = start + max(key_length, 0)
        value_end = key_end + max(value_length, 0)
        if value_end + 1 > len(output):
            break
        key = None if key_length < 0 else output[start:key_end]
        value = None if value_length < 0 else output[key_end:value_end]
        reads.append(Read(partition, offset, timestamp, Record(key, value)))
        at = value_end + 1
    return reads


class Kcat(Client):
    name = "kcat"
    exact_headers = False
    binary_headers = False
    null_headers = False

    def _command(self, *arguments: str) -> list[str]:
        return ["kcat", "-b", self.bootstrap, *arguments]

    def produce(self, topic: str, records: list[Record], compression: str) -> None:
        # Headers and the meaning of an empty value are options of a whole kcat run.
        runs: dict[tuple, list[Record]] = {}
        for record in records:
            kind = (record.headers, record.key is None, record.value is None)
            runs.setdefault(kind, []).append(record)
        for (headers, keyless, null), batch in runs.items():
            command = self._command("-P", "-t", topic, "-z", compression, "-D", END_MARK.decode(),
                                    "-X", "enable.idempotence=true")
            for name, value in headers:
                command += ["-H", f"{name}={value.decode()}"]
            if not keyless:
                command += ["-K", KEY_MARK.decode()]
            if null:
                command.append("-Z")
            text = b"".join(
                (b"" if keyless else record.key + KEY_MARK) + (record.value or b"") + END_MARK
                for record in batch
            )
            run_tool(command, text)

    def read_all(self, topic: str, partitions: int, count: int) -> list[Read]:
        output = run_tool(self._command("-C", "-t", topic, "-o", "beginning", "-e", "-q", "-f", FORMAT))
        return parse(output)

    def start_group(self, topic: str, group: str, members: int) -> GroupRun:
        # Leaving on SIGTERM commits what was read.
        command = self._command("-u", "-q", "-f", FORMAT, "-X", "auto.offset.reset=earliest",
                                "-G", group, topic)
        return ProcessGroup([command] * members, parse)

    def version(self) -> str:
        return subprocess.run(["kcat", "-V"], capture_output=True, text=True).stdout

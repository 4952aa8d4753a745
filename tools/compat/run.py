#!/usr/bin/env python3
"""Runs every foreign client against a broker and checks that all agree on every byte."""

import argparse
import secrets
import sys
import time
from collections.abc import Callable

from support.paths import enter_venv

enter_venv()

from clients.aiokafka_client import AioKafka
from clients.base import Client
from clients.confluent import ConfluentKafka, eventually
from clients.console import Console
from clients.java import Java
from clients.kafka_python import KafkaPython
from clients.kcat import Kcat
from support.records import COMPRESSIONS, Draw, Read, Record, difference, without_header_bytes
from support.report import Failed, NotOffered, Report

PARTITIONS = 3
RECORDS_PER_COMPRESSION = 30
CLIENTS: dict[str, type[Client]] = {
    client.name: client for client in (Kcat, ConfluentKafka, KafkaPython, AioKafka, Java, Console)
}


class Suite:
    """One run over all clients, with topic names of its own so that it can be repeated."""

    def __init__(self, bootstrap: str, names: list[str], seed: str):
        self.seed = seed
        self.observer = ConfluentKafka(bootstrap)
        self.clients = [CLIENTS[name](bootstrap) for name in names]
        self.report = Report()
        #: What each client wrote, by client name.
        self.written: dict[str, list[Record]] = {}
        #: What every reader saw of a topic: (timestamp, record) by place must be the same for all.
        self.seen: dict[str, dict[tuple[int, int], tuple[str, Read]]] = {}

    def topic(self, client: Client, kind: str = "data") -> str:
        return f"compat-{self.seed}-{client.name}-{kind}"

    def run(self) -> int:
        for client in self.clients:
            self.writes(client)
            self.group(client)
            for name, body in client.admin_checks(f"compat-{self.seed}-{client.name}").items():
                self.report.check(client.name, f"admin: {name}", body)
        for writer in self.clients:
            for reader in self.clients:
                self.report.check(reader.name, f"reads what {writer.name} wrote",
                                  lambda r=reader, w=writer: self.cross_read(r, w))
        for client in self.clients:
            client.close()
        return self.report.finish()

    def writes(self, client: Client) -> None:
        """Creation, automatic creation, and every kind of record."""
        topic = self.topic(client)

        def check(name: str, body: Callable[[], None]) -> bool:
            return self.report.check(client.name, name, body)

        def create() -> None:
            client.create_topic(topic, PARTITIONS, {"retention.ms": "3600000"})

        check("creates a topic", create)
        if self.observer.partition_count(topic) == 0:
            # A client without an admin API writes to a topic that another one made.
            self.observer.create_topic(topic, PARTITIONS, {})
        check("all see its partitions", lambda: eventually(
            lambda: self.observer.partition_count(topic) == PARTITIONS, f"{PARTITIONS} partitions"))

        draw = Draw(f"{self.seed}/{client.name}", text=not client.binary)
        check("topic by auto-creation", lambda: self.auto_create(client, draw))
        written = self.written[client.name] = []
        for compression in COMPRESSIONS:
            for keyed in (False, True):
                records = draw.plain(RECORDS_PER_COMPRESSION, keyed)
                name = f"produces {compression}, {'with' if keyed else 'without'} keys"
                if check(name, lambda r=records, c=compression: client.produce(topic, r, c)):
                    written += records
        for name, records in draw.special().items():
            def body(name: str = name, records: list[Record] = records) -> None:
                if name == "binary headers" and not client.binary_headers:
                    raise NotOffered("headers are text")
                if name == "null headers" and not client.null_headers:
                    raise NotOffered("headers have a value")
                client.produce(topic, records, "none")
            if check(f"produces {name}", body):
                written += records

    def auto_create(self, client: Client, draw: Draw) -> None:
        topic = self.topic(client, "auto")
        records = draw.plain(5, keyed=True)
        client.produce(topic, records, "none")
        partitions = self.observer.partition_count(topic)
        reads = client.read_all(topic, partitions, len(records))
        same(records, [read.record for read in reads])

    def group(self, client: Client) -> None:
        """Two members share a topic, commit, leave; a third goes on where they stopped."""
        topic, group = self.topic(client, "group"), f"compat-{self.seed}-{client.name}"
        draw = Draw(f"{self.seed}/{client.name}/group", text=True)
        partitions = 4
        first, second = draw.plain(200, keyed=True), draw.plain(40, keyed=True)
        state: dict[str, bool] = {}

        def shared() -> None:
            self.observer.create_topic(topic, partitions, {})
            run = client.start_group(topic, group, 2)
            try:
                eventually(lambda: self.stable(group, 2, partitions),
                           "a stable group of two members that share 4 partitions", 45)
                self.observer.produce(topic, first, "none")
                members = run.wait_for(len(first))
            finally:
                run.stop()
            if not all(members):
                raise Failed("one of the two members read nothing")
            same(first, [read.record for reads in members for read in reads])
            state["read"] = True

        def committed() -> None:
            if "read" not in state:
                raise Failed("the group did not read")
            ends = self.observer.ends(topic, partitions)
            got = self.observer.committed(group, topic, partitions)
            # A partition without records needs no commit.
            if [max(offset, 0) for offset in got] != ends:
                raise Failed(f"committed {got}, the ends are {ends}")
            state["committed"] = True

        def resumed() -> None:
            if "committed" not in state:
                raise Failed("nothing was committed")
            self.observer.produce(topic, second, "none")
            run = client.start_group(topic, group, 1)
            try:
                reads = run.wait_for(len(second))[0]
            finally:
                run.stop()
            same(second, [read.record for read in reads])

        self.report.check(client.name, "group of two members", shared)
        self.report.check(client.name, "commits", committed)
        self.report.check(client.name, "resumes from commits", resumed)

    def stable(self, group: str, members: int, partitions: int) -> bool:
        try:
            state, counts = self.observer.group_members(group)
        except Exception:  # not known yet: its coordinator has not seen a member
            return False
        return state == "STABLE" and len(counts) == members and all(counts) and sum(counts) == partitions

    def cross_read(self, reader: Client, writer: Client) -> None:
        topic, written = self.topic(writer), self.written[writer.name]
        reads = reader.read_all(topic, PARTITIONS, len(written))
        view: Callable[[Record], Record] = (
            (lambda record: record) if reader.exact_headers else without_header_bytes
        )
        same(list(map(view, written)), [view(read.record) for read in reads])
        seen = self.seen.setdefault(topic, {})
        for read in reads:
            other, before = seen.setdefault(read.place, (reader.name, read))
            shown = None not in (before.timestamp, read.timestamp)
            if shown and before.timestamp != read.timestamp:
                raise Failed(f"{read.place}: timestamp {read.timestamp}, {other} saw {before.timestamp}")
            if without_header_bytes(before.record) != without_header_bytes(read.record):
                raise Failed(f"{read.place}: {read.record}, {other} saw {before.record}")


def same(expected: list[Record], got: list[Record]) -> None:
    wrong = difference(expected, got)
    if wrong:
        raise Failed(wrong)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", required=True, metavar="HOST:PORT")
    parser.add_argument("--seed", default=secrets.token_hex(3), help="names topics and draws records")
    parser.add_argument("clients", nargs="*", metavar="CLIENT", help=f"of {', '.join(CLIENTS)}")
    options = parser.parse_args()
    unknown = sorted(set(options.clients) - set(CLIENTS))
    if unknown:
        parser.error(f"unknown client {unknown[0]!r}, there are {', '.join(CLIENTS)}")
    begun = time.monotonic()
    status = Suite(options.bootstrap, options.clients or list(CLIENTS), options.seed).run()
    if status:
        names = " ".join(options.clients)
        print(f"again: run.py --bootstrap {options.bootstrap} --seed {options.seed} {names}")
    print(f"{time.monotonic() - begun:.0f} s", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())

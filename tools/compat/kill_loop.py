#!/usr/bin/env python3
"""kill -9 in a loop, at random moments under load: nothing acknowledged is lost, no offset is reused.

Producers (idempotent and plain, acks=all) write into several partitions and a group commits while the
broker is killed and started again. After every round the whole log is read and held against all that
producers and consumers were ever told.
"""

import argparse
import random
import secrets
import sys
import tempfile
import threading
import time
from hashlib import blake2b
from pathlib import Path

from support.paths import enter_venv

enter_venv()

from confluent_kafka import Message, Producer

from support.history import History
from support.process import Broker, BrokerFailed
from support.report import Verdicts
from support.watch import RECONNECT, CommitWatch, Member, create_topic, read_log

TOPIC = "kills"
GROUP = "kills-readers"
PARTITIONS = 6
#: The smallest that Kafka takes: the rounds cross many rolls of a segment.
SEGMENT_BYTES = 1 << 20
MOMENT_S = (0.2, 2.0)
RECORDS_PER_BURST = 40
BURST_PAUSE_S = 0.02
IN_FLIGHT_MAX = 2_000


def identity(message: Message) -> bytes:
    """A hash over key and value: any changed byte makes another value."""
    return blake2b(message.key() + b"/" + message.value(), digest_size=12).digest()


class Load:
    """One producer in a thread, as long as it is told to."""

    def __init__(self, broker: Broker, name: str, idempotent: bool, seed: int, history: History):
        self._random = random.Random(f"{seed}/{name}")
        self._name = name
        self._history = history
        self.idempotent = idempotent
        self.refused: list[str] = []
        #: All that this producer ever sent.
        self.sent: set[bytes] = set()
        self._pause = threading.Event()
        self._producer = Producer({
            "bootstrap.servers": broker.bootstrap,
            "enable.idempotence": idempotent,
            "acks": "all",
            "linger.ms": self._random.choice((0, 1, 10)),
            "compression.type": self._random.choice(("none", "gzip", "snappy", "lz4", "zstd")),
            "delivery.timeout.ms": 120_000,
            **RECONNECT,
        })
        self._sequence = 0
        self._thread: threading.Thread | None = None

    def _delivered(self, error, message: Message) -> None:
        if error is not None:
            self.refused.append(str(error))
        else:
            self._history.acknowledge(identity(message), message.partition(), message.offset())

    def resume(self) -> None:
        self._pause.clear()
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def _send(self) -> None:
        draw = self._random
        while not self._pause.is_set():
            for _ in range(RECORDS_PER_BURST if len(self._producer) < IN_FLIGHT_MAX else 0):
                self._sequence += 1
                key = f"{self._name}-{self._sequence}".encode()
                value = draw.randbytes(draw.choice((10, 100, 100, 100, 1000)))
                self.sent.add(blake2b(key + b"/" + value, digest_size=12).digest())
                self._producer.produce(TOPIC, value, key, partition=draw.randrange(PARTITIONS),
                                       on_delivery=self._delivered)
            self._producer.poll(0)
            time.sleep(BURST_PAUSE_S)

    def settle(self) -> None:
        """Stops sending and waits until the outcome of every record is known."""
        self._pause.set()
        self._thread.join(30)
        left = self._producer.flush(130)
        if left:
            raise TimeoutError(f"producer {self._name}: {left} records without an outcome after 130 s")


class Loop:
    """The rounds."""

    def __init__(self, broker: Broker, seed: int):
        self.broker = broker
        self.random = random.Random(seed)
        self.history = History()
        self.loads = [
            Load(broker, name, idempotent, seed, self.history)
            for name, idempotent in (("idempotent-0", True), ("idempotent-1", True), ("plain-0", False))
        ]

    def note(self, message: Message) -> None:
        self.history.observe(message.partition(), message.offset(), identity(message))

    def round(self, number: int) -> list[str]:
        for load in self.loads:
            load.resume()
        moment = self.random.uniform(*MOMENT_S)
        # The kill must fall into the load at a moment that only the seed knows.
        time.sleep(moment)
        acknowledged = len(self.history.acknowledged)
        self.broker.kill()
        back = self.broker.start()
        for load in self.loads:
            load.settle()
        log = read_log(self.broker.bootstrap, TOPIC, PARTITIONS, identity)
        once = set().union(*(load.sent for load in self.loads if load.idempotent))
        anomalies = self.history.check_log(log, exactly_once=once)
        strange = set(log.values()) - set().union(*(load.sent for load in self.loads))
        if strange:
            anomalies.append(f"{len(strange)} records in the log that nobody sent")
        print(
            f"round {number}: killed after {moment:.3f} s at {acknowledged} acknowledged, back after"
            f" {back:.2f} s, {len(log)} in the log, {len(self.history.acknowledged)} acknowledged,"
            f" {len(anomalies)} anomalies",
            flush=True,
        )
        return anomalies

    def run(self, rounds: int, verdicts: Verdicts) -> None:
        """Runs the rounds until one fails. `verdicts` gets one entry for each, and the group's."""
        create_topic(self.broker.bootstrap, TOPIC, PARTITIONS, {"segment.bytes": str(SEGMENT_BYTES)})
        members = [Member(self.broker.bootstrap, GROUP, TOPIC, self.note) for _ in range(2)]
        watch = CommitWatch(self.broker.bootstrap, GROUP, TOPIC, PARTITIONS, self.history)
        for number in range(1, rounds + 1):
            verdicts.broken(f"round {number}", *self.round(number))
            if not verdicts.all_hold:
                break
        group = "the group read and committed through all of it"
        verdicts.broken(group)
        for member in members:
            member.leave()
            if member.failure is not None:
                verdicts.broken(group, f"a member failed: {member.failure!r}")
        watch.stop()
        watch.look(20)
        if verdicts.all_hold:
            verdicts.broken(group, *self.history.anomalies)
        if not any(offset > 0 for offset in self.history.committed.values()):
            verdicts.broken(group, "it never committed an offset")
        print(
            f"the group read {sum(m.read for m in members)} records in {sum(m.commits for m in members)}"
            f" commits, looked at {watch.looks} times;"
            f" {sum(len(load.refused) for load in self.loads)} records refused"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker-cmd", required=True, help="with {data} and {port} in it")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    parser.add_argument("--data-dir", type=Path, help="keep the data here (default: a temporary folder)")
    options = parser.parse_args()
    print(f"seed {options.seed}")
    with tempfile.TemporaryDirectory(prefix="ringlog-kills-") as temporary:
        data = options.data_dir or Path(temporary) / "data"
        data.parent.mkdir(parents=True, exist_ok=True)
        broker = Broker(options.broker_cmd, data)
        verdicts = Verdicts()
        try:
            broker.start()
            Loop(broker, options.seed).run(options.rounds, verdicts)
            broker.stop()
        except (BrokerFailed, TimeoutError) as error:
            verdicts.broken("the broker starts, answers in time and stops cleanly", str(error))
        if not verdicts.all_hold:
            print(broker.log_tail())
    status = verdicts.finish()
    if status:
        print(f"again: tools/compat/kill_loop.py --seed {options.seed} --rounds {options.rounds}"
              f" --broker-cmd '{options.broker_cmd}'")
    return status


if __name__ == "__main__":
    sys.exit(main())

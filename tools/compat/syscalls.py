#!/usr/bin/env python3
"""Counts a running broker's system calls under load, thread by thread, and checks who does the I/O.

One record per produce request, each awaited before the next is sent, so that no batching can hide a
call per request; a consumer fetches them meanwhile and again from the start. Data-path reads, writes,
syncs and socket traffic must go through io_uring_enter. Threads must be pinned, one per shard, and wait in
their rings alone.
"""

import argparse
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path

from support.paths import enter_venv

enter_venv()

from confluent_kafka import Consumer, Producer, TopicPartition

from support.process import Broker, spawn
from support.report import Verdicts
from support.watch import create_topic

TOPIC = "syscalls"
PARTITIONS = 4

FILE_CALLS = {
    "write", "pwrite64", "writev", "pwritev", "pwritev2",
    "read", "pread64", "readv", "preadv", "preadv2",
    "fsync", "fdatasync", "sync_file_range", "sync", "syncfs", "msync",
    "sendfile", "splice", "copy_file_range",
}
SOCKET_CALLS = {"sendto", "recvfrom", "sendmsg", "recvmsg", "sendmmsg", "recvmmsg"}
# Other places for a thread to wait than its ring.
WAIT_CALLS = {
    "epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "select", "pselect6",
    "nanosleep", "clock_nanosleep",
}
# Data calls that are nobody's request: a segment rolled, an index opened, a log line written, a
# metadata record. They may not grow with the load, so that one per fifty requests already fails.
REQUESTS_PER_STRAY_CALL = 50

LINE = re.compile(r"^(?:\d+\.\d+ )?(\w+)\((.*)$")
EVENT_FD = re.compile(r"^\d+<anon_inode:\[?eventfd")


def count_calls(trace: Path) -> Counter:
    """Calls of one thread. Reads and writes of an eventfd, which is how a ring or another shard wakes
    a thread, have names of their own."""
    calls: Counter = Counter()
    for line in trace.read_text(errors="replace").splitlines():
        match = LINE.match(line)
        if match is None:
            continue  # the second half of a call that was already counted, or a signal
        name, arguments = match.groups()
        if name in ("read", "write") and EVENT_FD.match(arguments):
            name = f"{name} (eventfd)"
        calls[name] += 1
    return calls


def threads(pid: int) -> dict[int, tuple[str, list[int]]]:
    """(name, CPUs it may run on) of each thread, without the kernel's io_uring workers."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            status = (task / "status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        name = re.search(r"^Name:\s*(.*)$", status, re.MULTILINE)[1]
        if name.startswith("iou-"):
            continue
        cpus = re.search(r"^Cpus_allowed_list:\s*(.*)$", status, re.MULTILINE)[1]
        found[int(task.name)] = (name, cpu_list(cpus))
    return found


def cpu_list(text: str) -> list[int]:
    cpus: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        cpus += range(int(first), int(last or first) + 1)
    return cpus


def load(bootstrap: str, requests: int) -> tuple[int, int]:
    """Returns the produce requests sent and the records fetched."""
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 0})
    reader = Reader(bootstrap)
    for i in range(requests):
        producer.produce(TOPIC, b"x" * 200, str(i).encode(), partition=i % PARTITIONS)
        if producer.flush(60):
            raise TimeoutError(f"record {i} not acknowledged within 60 s")
    reader.wait_for(requests)
    again = Reader(bootstrap)
    again.wait_for(requests)
    return requests, reader.read + again.read


class Reader:
    """A consumer in a thread, over all partitions from the start."""

    def __init__(self, bootstrap: str):
        self.read = 0
        self._stop = threading.Event()
        self._consumer = Consumer({
            "bootstrap.servers": bootstrap,
            "group.id": "unused",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 200,
        })
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._consumer.assign([TopicPartition(TOPIC, p, 0) for p in range(PARTITIONS)])
        while not self._stop.is_set():
            self.read += sum(1 for m in self._consumer.consume(200, 0.2) if m.error() is None)
        self._consumer.close()

    def wait_for(self, count: int) -> None:
        deadline = time.monotonic() + 60
        while self.read < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.read} of {count} records read within 60 s")
            time.sleep(0.02)
        self._stop.set()
        self._thread.join(20)


def trace(pid: int, folder: Path, work) -> None:
    """Runs the work while strace writes every thread's calls to a file of its own."""
    strace = spawn(["strace", "-ff", "-y", "-s", "0", "-o", str(folder / "calls"), "-p", str(pid)],
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    attached = strace.stderr.readline()
    if "attached" not in attached:
        raise RuntimeError(f"strace: {attached.strip()}")
    threading.Thread(target=strace.stderr.read, daemon=True).start()
    try:
        work()
    finally:
        strace.send_signal(signal.SIGINT)
        strace.wait(30)


def print_table(names: dict[int, str], calls: dict[int, Counter]) -> None:
    columns = sorted(calls, key=lambda tid: -calls[tid].total())
    # A thread that made next to no call says nothing: a JVM has dozens.
    columns = [tid for tid in columns if calls[tid].total() >= 20][:10]
    total = sum(calls.values(), Counter())
    print(f"{'':22}{'total':>9}" + "".join(f"{names.get(t, '?')[:14]:>15}" for t in columns))
    for name, count in total.most_common(30):
        print(f"{name:22}{count:>9}" + "".join(f"{calls[t][name]:>15}" for t in columns))


def check_calls(calls: dict[int, Counter], requests: int, verdicts: Verdicts) -> None:
    total = sum(calls.values(), Counter())
    allowed = requests // REQUESTS_PER_STRAY_CALL
    for kind, names in (("file", FILE_CALLS), ("socket", SOCKET_CALLS)):
        found = {name: total[name] for name in sorted(names) if total[name]}
        reasons = [f"{found}, {allowed} allowed"] if sum(found.values()) > allowed else []
        verdicts.broken(f"{kind} traffic of {requests} requests goes through the ring", *reasons)
    rings = total["io_uring_enter"]
    reasons = [f"{rings} io_uring_enter"] if rings < requests // 2 else []
    verdicts.broken(f"the ring was entered for {requests} requests", *reasons)
    # A wake-up is at most one write and one read per turn of a loop, and a turn ends in one of these.
    turns = rings + total["epoll_wait"] + total["epoll_pwait"]
    wakes = total["read (eventfd)"] + total["write (eventfd)"]
    reasons = [f"{wakes} eventfd calls in {turns} turns"] if wakes > 2 * turns else []
    verdicts.broken("threads wake each other at most once a turn", *reasons)


def check_waits(
    found: dict[int, tuple[str, list[int]]], calls: dict[int, Counter], verdicts: Verdicts
) -> None:
    pinned = [tid for tid, entry in found.items() if len(entry[1]) == 1]
    total = sum((calls[tid] for tid in pinned), Counter())
    waits = {name: total[name] for name in sorted(WAIT_CALLS) if total[name]}
    verdicts.broken("pinned threads wait in their rings alone", *([str(waits)] if waits else []))


def check_threads(
    found: dict[int, tuple[str, list[int]]], shards: int, others_max: int, verdicts: Verdicts
) -> None:
    pinned = {tid: entry for tid, entry in found.items() if len(entry[1]) == 1}
    cpus = sorted(entry[1][0] for entry in pinned.values())
    right = len(pinned) == shards == len(set(cpus))
    reasons = [] if right else [f"{len(pinned)} pinned threads on CPUs {cpus}"]
    verdicts.broken(f"{shards} threads are pinned, each to a CPU of its own", *reasons)
    others = [entry[0] for tid, entry in found.items() if tid not in pinned]
    reasons = [] if 1 <= len(others) <= others_max else [f"{len(others)}: {others[:12]}"]
    verdicts.broken(f"1 to {others_max} threads stand beside the shards", *reasons)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker-cmd", required=True, help="with {data} and {port} in it")
    parser.add_argument("--shards", type=int, required=True, help="shards that the broker runs")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--other-threads-max", type=int, default=2,
                        help="threads that may stand beside the shards (main and control; default 2)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ringlog-syscalls-") as temporary:
        folder = Path(temporary)
        broker = Broker(options.broker_cmd, folder / "data")
        broker.start()
        create_topic(broker.bootstrap, TOPIC, PARTITIONS, {})
        load(broker.bootstrap, 50)  # opens files and connections, so that the count is the steady state
        found = threads(broker.pid)
        done: list[tuple[int, int]] = []
        trace(broker.pid, folder, lambda: done.append(load(broker.bootstrap, options.requests)))
        broker.stop()
        calls: dict[int, Counter] = defaultdict(Counter)
        for file in folder.glob("calls.*"):
            calls[int(file.suffix[1:])] = count_calls(file)
    requests, fetched = done[0]
    print(f"{requests} produce requests, {fetched} records fetched")
    print_table({tid: entry[0] for tid, entry in found.items()}, calls)
    for tid, (name, cpus) in sorted(found.items())[:12]:
        print(f"thread {tid} {name}: CPUs {','.join(map(str, cpus))}")
    verdicts = Verdicts()
    check_calls(calls, requests, verdicts)
    check_waits(found, calls, verdicts)
    check_threads(found, options.shards, options.other_threads_max, verdicts)
    return verdicts.finish()


if __name__ == "__main__":
    sys.exit(main())

"""Processes that the suite starts, and a broker among them that it may kill and start again."""

import atexit
import ctypes
import os
import shlex
import signal
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)
_started: list[subprocess.Popen] = []


def free_port() -> int:
    """A port of the loopback interface that nobody listened on a moment ago.

    It lies below those that the kernel gives to clients: a client that tries to reach a broker
    that is down could otherwise be given the broker's own port, and talk to itself on it.
    """
    candidates = random.sample(range(20_000, 32_000), 100)
    for port in candidates:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no port is free between 20000 and 32000")


def _die_with_parent() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def spawn(command: list[str], **options) -> subprocess.Popen:
    """Starts a process that never outlives this one, however this one ends."""
    process = subprocess.Popen(command, preexec_fn=_die_with_parent, **options)
    _started.append(process)
    return process


@atexit.register
def _end_all() -> None:
    for process in _started:
        if process.poll() is None:
            process.kill()
            process.wait()


# SIGTERM unwinds like any other end, so that temporary folders go and processes are ended.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


class BrokerFailed(Exception):
    """The broker did not start, did not answer or did not stop in time."""


class Broker:
    """A broker started from a command with the places {data} and {port}.

    The port stays the same over restarts, so that clients find it again.
    """

    def __init__(self, command: str, data: Path, port: int | None = None, start_timeout_s: float = 60):
        self.command = command
        self.data = data
        self.port = port or free_port()
        self.log = data.parent / f"{data.name}.broker.log"
        self.start_timeout_s = start_timeout_s
        self.process: subprocess.Popen | None = None
        self.starts = 0

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None, "the broker was started"
        return self.process.pid

    def start(self) -> float:
        """Starts the broker and returns the seconds until it answered an ApiVersions request."""
        command = shlex.split(self.command.format(data=self.data, port=self.port))
        begun = time.monotonic()
        with self.log.open("ab") as log:
            self.process = spawn(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.starts += 1
        while not answers(self.port):
            if self.process.poll() is not None:
                raise BrokerFailed(f"exited with {self.process.returncode}: {self.log_tail()}")
            if time.monotonic() - begun > self.start_timeout_s:
                raise BrokerFailed(f"no answer within {self.start_timeout_s} s: {self.log_tail()}")
            time.sleep(0.02)
        return time.monotonic() - begun

    def kill(self) -> None:
        """kill -9, and waits until the process is gone."""
        os.kill(self.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self, timeout_s: float = 60) -> None:
        """SIGTERM, and fails unless the broker ends by itself with status 0 (or Java's 143)."""
        if self.process.poll() is None:
            os.kill(self.pid, signal.SIGTERM)
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise BrokerFailed(f"still ran {timeout_s} s after SIGTERM: {self.log_tail()}") from None
        if status not in (0, 143):
            raise BrokerFailed(f"ended with status {status} after SIGTERM: {self.log_tail()}")

    def log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]


def answers(port: int) -> bool:
    """Whether a Kafka broker on the port answers ApiVersions version 0 right now."""
    body = struct.pack(">hhih", 18, 0, 7, -1)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(struct.pack(">i", len(body)) + body)
            head = connection.recv(8, socket.MSG_WAITALL)
            return len(head) == 8 and struct.unpack(">ii", head)[1] == 7
    except OSError:
        return False

"""The interface through which the suite drives every client."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from support.records import Read, Record
from support.report import NotOffered

READ_TIMEOUT_S = 60.0


class GroupRun(ABC):
    """Members of one consumer group at work."""

    @abstractmethod
    def reads(self) -> list[list[Read]]:
        """What each member has read so far."""

    @abstractmethod
    def stop(self) -> None:
        """Lets every member commit what it read and leave the group."""

    def wait_for(self, count: int, timeout_s: float = READ_TIMEOUT_S) -> list[list[Read]]:
        """Waits until the members together have read `count` records or the time is up."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            reads = self.reads()
            if sum(map(len, reads)) >= count:
                return reads
            time.sleep(0.05)
        return self.reads()


class Client(ABC):
    """A foreign client."""

    name: str
    #: Whether keys and values may be any bytes (else: one line of ASCII text each).
    binary = True
    #: Whether a reader shows headers exactly (else they are left out of its comparisons).
    exact_headers = True
    #: Whether it can write a header whose value is any bytes.
    binary_headers = True
    #: Whether it can write a header whose value is null.
    null_headers = True

    def __init__(self, bootstrap: str):
        self.bootstrap = bootstrap

    def create_topic(self, topic: str, partitions: int, configs: dict[str, str]) -> None:
        """Creates a topic through the client's own admin API."""
        raise NotOffered("the client has no admin API")

    @abstractmethod
    def produce(self, topic: str, records: list[Record], compression: str) -> None:
        """Writes records with acks=all, idempotent where the client can; all are acknowledged."""

    @abstractmethod
    def read_all(self, topic: str, partitions: int, count: int) -> list[Read]:
        """Reads `count` records from the start of all partitions, outside of any group."""

    @abstractmethod
    def start_group(self, topic: str, group: str, members: int) -> GroupRun:
        """Starts members of a group that begin at the earliest offset where none is committed."""

    def admin_checks(self, prefix: str) -> dict[str, Callable[[], None]]:
        """Named checks of the admin API, run in order on topics that start with `prefix`."""
        return {}

    def close(self) -> None:
        """Ends what the client keeps open between checks."""

"""Reading whole topics and watching a group's committed offsets from outside."""

import threading
import time
from collections.abc import Callable, Hashable

from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic

from support.history import History, Log

READ_TIMEOUT_S = 120.0

# After a kill -9 a client should be back at once, not after a growing pause; and refused connections
# are what these scripts bring about, so that librdkafka need not report each.
RECONNECT = {"reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 250, "log_level": 2}


def create_topic(bootstrap: str, topic: str, partitions: int, configs: dict[str, str]) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    new = NewTopic(topic, num_partitions=partitions, replication_factor=1, config=configs)
    admin.create_topics([new])[topic].result(30)
    deadline = time.monotonic() + 20
    while topic not in admin.list_topics(timeout=10).topics:
        if time.monotonic() > deadline:
            raise TimeoutError(f"topic {topic} is not shown 20 s after its creation")
        time.sleep(0.05)


def read_log(bootstrap: str, topic: str, partitions: int, identity: Callable[[Message], Hashable]) -> Log:
    """Reads every partition from its start to the end offset it has now."""
    consumer = Consumer({
        "bootstrap.servers": bootstrap,
        "group.id": "unused",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "error",
        "fetch.wait.max.ms": 50,
        **RECONNECT,
    })
    try:
        ends = {}
        for partition in range(partitions):
            where = TopicPartition(topic, partition)
            start, end = _watermarks(consumer, where)
            if end > start:
                ends[partition] = end
        consumer.assign([TopicPartition(topic, partition, 0) for partition in ends])
        log: Log = {}
        deadline = time.monotonic() + READ_TIMEOUT_S
        while ends:
            if time.monotonic() > deadline:
                raise TimeoutError(f"log not read within {READ_TIMEOUT_S} s, left: {ends}")
            for message in consumer.consume(2000, 0.5):
                error = message.error()
                if error is None:
                    log[(message.partition(), message.offset())] = identity(message)
                    at = message.offset() + 1
                elif error.code() == KafkaError._PARTITION_EOF:
                    at = message.offset()
                elif error.fatal() or error.code() == KafkaError._AUTO_OFFSET_RESET:
                    raise KafkaException(error)
                else:
                    continue
                if at >= ends.get(message.partition(), at + 1):
                    del ends[message.partition()]
        return log
    finally:
        consumer.close()


def _watermarks(consumer: Consumer, where: TopicPartition) -> tuple[int, int]:
    """Start and end offset; a broker that has just come back may need a moment to answer."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return consumer.get_watermark_offsets(where, timeout=5, cached=False)
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


class CommitWatch:
    """Reads a group's committed offsets again and again, in a thread, and notes each in the history.

    Whatever OffsetFetch once showed must survive every restart: it may never go back. (Not through the
    admin client: that of librdkafka 2.16 crashes the process when the broker dies under this request.)
    """

    def __init__(self, bootstrap: str, group: str, topic: str, partitions: int, history: History):
        # Never subscribes, so that it is no member of the group it asks about.
        self._consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, **RECONNECT})
        self._asked = [TopicPartition(topic, partition) for partition in range(partitions)]
        self._history = history
        self._stop = threading.Event()
        self.looks = 0
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            self.look()

    def look(self, timeout_s: float = 3) -> bool:
        """Asks once. False when the broker could not say."""
        try:
            found = self._consumer.committed(self._asked, timeout=timeout_s)
        except KafkaException:
            return False
        for where in found:
            if where.error is not None:
                continue
            # None committed counts as offset -1: after a commit that is a step back too.
            offset = -1 if where.offset == OFFSET_INVALID else where.offset
            self._history.commit_seen(where.partition, offset)
        self.looks += 1
        return True

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)


class Member:
    """A member of a consumer group in a thread: reads, notes what it saw, commits, and leaves when told.

    Errors while the broker is away are expected, and every one is tried again.
    """

    def __init__(self, bootstrap: str, group: str, topic: str, note: Callable[[Message], None]):
        self.read = 0
        self.commits = 0
        self._note = note
        self._topic = topic
        self._leave = threading.Event()
        self._consumer = Consumer({
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 500,
            "fetch.wait.max.ms": 100,
            **RECONNECT,
        })
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._consumer.subscribe([self._topic])
            while not self._leave.is_set():
                got = False
                for message in self._consumer.consume(500, 0.2):
                    if message.error() is None:
                        self._note(message)
                        self.read += 1
                        got = True
                    elif message.error().fatal():
                        raise KafkaException(message.error())
                if got:
                    self._commit()
            self._consumer.close()
        except BaseException as error:  # shown by the script's main thread
            self.failure = error

    def _commit(self) -> None:
        try:
            self._consumer.commit(asynchronous=False)
            self.commits += 1
        except KafkaException:
            pass  # the broker is away or the group rebalances; the next commit covers this one

    def leave(self) -> None:
        self._leave.set()
        self._thread.join(60)
        if self._thread.is_alive():
            raise TimeoutError("a member did not leave within 60 s")

"""confluent-kafka: librdkafka through Python."""

import time
from collections.abc import Callable

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from clients.base import READ_TIMEOUT_S, Client, GroupRun
from clients.threads import ThreadedGroup
from support.records import Read, Record
from support.report import Failed

ADMIN_TIMEOUT_S = 30


def to_read(message: Message) -> Read:
    headers = tuple((name, value) for name, value in message.headers() or ())
    record = Record(message.key(), message.value(), headers)
    return Read(message.partition(), message.offset(), message.timestamp()[1], record)


class ConfluentKafka(Client):
    name = "confluent"

    def __init__(self, bootstrap: str):
        super().__init__(bootstrap)
        self.admin = AdminClient({"bootstrap.servers": bootstrap})

    def create_topic(self, topic: str, partitions: int, configs: dict[str, str]) -> None:
        new = NewTopic(topic, num_partitions=partitions, replication_factor=1, config=configs)
        self.admin.create_topics([new])[topic].result(ADMIN_TIMEOUT_S)

    def produce(self, topic: str, records: list[Record], compression: str) -> None:
        failures: list[str] = []
        producer = Producer({
            "bootstrap.servers": self.bootstrap,
            "enable.idempotence": True,
            "compression.type": compression,
            "linger.ms": 5,
            "delivery.timeout.ms": 30_000,
        })

        def delivered(error, _message) -> None:
            if error is not None:
                failures.append(str(error))

        for record in records:
            producer.produce(topic, record.value, record.key, headers=list(record.headers),
                             on_delivery=delivered)
        left = producer.flush(40)
        if failures or left:
            raise Failed(f"{len(failures)} not delivered, {left} in flight: {failures[:1]}")

    def read_all(self, topic: str, partitions: int, count: int) -> list[Read]:
        consumer = Consumer({
            "bootstrap.servers": self.bootstrap,
            "group.id": "unused",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        })
        consumer.assign([TopicPartition(topic, p, 0) for p in range(partitions)])
        reads: list[Read] = []
        deadline = time.monotonic() + READ_TIMEOUT_S
        while len(reads) < count and time.monotonic() < deadline:
            for message in consumer.consume(500, 0.5):
                if message.error():
                    raise KafkaException(message.error())
                reads.append(to_read(message))
        consumer.close()
        return reads

    def start_group(self, topic: str, group: str, members: int) -> GroupRun:
        def member(keep_going: Callable[[], bool], note: Callable[[Read], None]) -> None:
            consumer = Consumer({
                "bootstrap.servers": self.bootstrap,
                "group.id": group,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
            })
            consumer.subscribe([topic])
            read_any = False
            while keep_going():
                for message in consumer.consume(100, 0.2):
                    if message.error():
                        raise KafkaException(message.error())
                    note(to_read(message))
                    read_any = True
            if read_any:
                consumer.commit(asynchronous=False)
            consumer.close()

        return ThreadedGroup(member, members)

    # What the suite itself asks, whatever client is under test.

    def group_members(self, group: str) -> tuple[str, list[int]]:
        """The group's state and how many partitions each member has."""
        future = self.admin.describe_consumer_groups([group], request_timeout=10)[group]
        described = future.result(ADMIN_TIMEOUT_S)
        counts = [len(m.assignment.topic_partitions) if m.assignment else 0 for m in described.members]
        return described.state.name, counts

    def committed(self, group: str, topic: str, partitions: int) -> list[int]:
        """The committed offset of each partition, negative where none is."""
        asked = [TopicPartition(topic, p) for p in range(partitions)]
        request = [ConsumerGroupTopicPartitions(group, asked)]
        answer = self.admin.list_consumer_group_offsets(request)[group].result(ADMIN_TIMEOUT_S)
        offsets = [-1] * partitions
        for found in answer.topic_partitions:
            offsets[found.partition] = found.offset
        return offsets

    def ends(self, topic: str, partitions: int) -> list[int]:
        """The end offset of each partition."""
        return [self.list_offset(topic, p, OffsetSpec.latest()) for p in range(partitions)]

    def list_offset(self, topic: str, partition: int, spec: OffsetSpec) -> int:
        where = TopicPartition(topic, partition)
        futures = self.admin.list_offsets({where: spec},
                                          isolation_level=IsolationLevel.READ_UNCOMMITTED)
        return futures[where].result(ADMIN_TIMEOUT_S).offset

    def config(self, topic: str, key: str) -> str:
        resource = ConfigResource(ResourceType.TOPIC, topic)
        return self.admin.describe_configs([resource])[resource].result(ADMIN_TIMEOUT_S)[key].value

    def partition_count(self, topic: str) -> int:
        """The partitions of a topic, 0 when there is none of that name. Never creates it."""
        found = self.admin.list_topics(timeout=ADMIN_TIMEOUT_S).topics.get(topic)
        return len(found.partitions) if found and not found.error else 0

    def admin_checks(self, prefix: str) -> dict[str, Callable[[], None]]:
        topic, group = f"{prefix}-admin", f"{prefix}-admin-group"

        def describe_cluster() -> None:
            cluster = self.admin.describe_cluster().result(ADMIN_TIMEOUT_S)
            expect(len(cluster.nodes) >= 1, f"{len(cluster.nodes)} nodes")
            expect(bool(cluster.cluster_id), "a cluster id")

        def describe_configs() -> None:
            self.create_topic(topic, 3, {"retention.ms": "123456789"})
            expect(self.config(topic, "retention.ms") == "123456789", "retention.ms as created")
            nodes = self.admin.describe_cluster().result(ADMIN_TIMEOUT_S).nodes
            resource = ConfigResource(ResourceType.BROKER, str(nodes[0].id))
            broker = self.admin.describe_configs([resource])[resource].result(ADMIN_TIMEOUT_S)
            expect("log.retention.ms" in broker or "log.segment.bytes" in broker, "broker configs")

        def alter_config() -> None:
            entry = ConfigEntry("max.message.bytes", "2000000",
                                incremental_operation=AlterConfigOpType.SET)
            resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
            self.admin.incremental_alter_configs([resource])[resource].result(ADMIN_TIMEOUT_S)
            eventually(lambda: self.config(topic, "max.message.bytes") == "2000000", "altered value")
            expect(self.config(topic, "retention.ms") == "123456789", "the other value kept")

        def create_partitions() -> None:
            self.admin.create_partitions([NewPartitions(topic, 5)])[topic].result(ADMIN_TIMEOUT_S)
            eventually(lambda: self.partition_count(topic) == 5, "5 partitions")

        def list_offsets() -> None:
            one = f"{prefix}-offsets"
            self.create_topic(one, 1, {})
            producer = Producer({"bootstrap.servers": self.bootstrap, "enable.idempotence": True})
            for i, stamp in enumerate((1_000_000, 3_000_000, 2_000_000)):
                producer.produce(one, str(i).encode(), partition=0, timestamp=stamp)
                expect(producer.flush(30) == 0, "record delivered")
            found = {
                "earliest": self.list_offset(one, 0, OffsetSpec.earliest()),
                "latest": self.list_offset(one, 0, OffsetSpec.latest()),
                "max timestamp": self.list_offset(one, 0, OffsetSpec.max_timestamp()),
                "at 1000001": self.list_offset(one, 0, OffsetSpec.for_timestamp(1_000_001)),
                "past the last": self.list_offset(one, 0, OffsetSpec.for_timestamp(4_000_000)),
            }
            wanted = {"earliest": 0, "latest": 3, "max timestamp": 1, "at 1000001": 1,
                      "past the last": -1}
            expect(found == wanted, f"{wanted}, got {found}")

        def groups() -> None:
            run = self.start_group(f"{prefix}-offsets", group, 1)
            run.wait_for(3)
            listed = self.admin.list_consumer_groups().result(ADMIN_TIMEOUT_S).valid
            expect(group in [g.group_id for g in listed], "the group in the list")
            state, counts = self.group_members(group)
            expect((state, counts) == ("STABLE", [1]), f"STABLE with one member, got {state} {counts}")
            run.stop()
            eventually(lambda: self.group_members(group)[0] == "EMPTY", "EMPTY after the member left")
            expect(self.committed(group, f"{prefix}-offsets", 1) == [3], "committed offset 3")

        def alter_group_offsets() -> None:
            request = ConsumerGroupTopicPartitions(group, [TopicPartition(f"{prefix}-offsets", 0, 1)])
            futures = self.admin.alter_consumer_group_offsets([request])
            futures[group].result(ADMIN_TIMEOUT_S)
            expect(self.committed(group, f"{prefix}-offsets", 1) == [1], "committed offset 1")

        def delete_group() -> None:
            self.admin.delete_consumer_groups([group])[group].result(ADMIN_TIMEOUT_S)
            expect(self.committed(group, f"{prefix}-offsets", 1)[0] < 0, "no committed offset left")

        def delete_topic() -> None:
            self.admin.delete_topics([topic])[topic].result(ADMIN_TIMEOUT_S)
            eventually(lambda: self.partition_count(topic) == 0, "no such topic")

        return {
            "describe cluster": describe_cluster,
            "describe configs": describe_configs,
            "alter config": alter_config,
            "create partitions": create_partitions,
            "list offsets": list_offsets,
            "list, describe groups": groups,
            "alter group offsets": alter_group_offsets,
            "delete group": delete_group,
            "delete topic": delete_topic,
        }


def expect(holds: bool, what: str) -> None:
    """Fails with what was expected unless it holds."""
    if not holds:
        raise Failed(f"expected {what}")


def eventually(holds: Callable[[], bool], what: str, timeout_s: float = 20) -> None:
    """Fails unless it holds within the time: for what a broker may take a moment to show."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            raise Failed(f"expected {what} within {timeout_s} s")
        time.sleep(0.05)

"""kafka-python 3: pure Python, with a codec generated from Kafka's own schemas."""

import time
from collections.abc import Callable

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec

from clients.base import READ_TIMEOUT_S, Client, GroupRun
from clients.confluent import eventually, expect
from clients.threads import ThreadedGroup
from support.records import Read, Record


def to_read(message) -> Read:
    headers = tuple((name, None if value is None else bytes(value)) for name, value in message.headers)
    record = Record(message.key, message.value, headers)
    return Read(message.partition, message.offset, message.timestamp, record)


class KafkaPython(Client):
    name = "kafka-python"
    null_headers = False

    def __init__(self, bootstrap: str):
        super().__init__(bootstrap)
        self._admin: KafkaAdminClient | None = None

    @property
    def admin(self) -> KafkaAdminClient:
        if self._admin is None:
            self._admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        return self._admin

    def close(self) -> None:
        if self._admin is not None:
            self._admin.close()

    def create_topic(self, topic: str, partitions: int, configs: dict[str, str]) -> None:
        wanted = {"num_partitions": partitions, "replication_factor": 1, "configs": configs}
        self.admin.create_topics({topic: wanted}, wait_for_metadata=True)

    def produce(self, topic: str, records: list[Record], compression: str) -> None:
        producer = KafkaProducer(
            bootstrap_servers=self.bootstrap,
            acks="all",
            enable_idempotence=True,
            compression_type=None if compression == "none" else compression,
            linger_ms=5,
        )
        try:
            futures = [
                producer.send(topic, record.value, record.key, headers=list(record.headers))
                for record in records
            ]
            producer.flush(40)
            for future in futures:
                future.get(10)
        finally:
            producer.close(10)

    def read_all(self, topic: str, partitions: int, count: int) -> list[Read]:
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap, enable_auto_commit=False)
        where = [TopicPartition(topic, p) for p in range(partitions)]
        consumer.assign(where)
        consumer.seek_to_beginning(*where)
        reads: list[Read] = []
        deadline = time.monotonic() + READ_TIMEOUT_S
        while len(reads) < count and time.monotonic() < deadline:
            for messages in consumer.poll(timeout_ms=500).values():
                reads.extend(map(to_read, messages))
        consumer.close()
        return reads

    def start_group(self, topic: str, group: str, members: int) -> GroupRun:
        def member(keep_going: Callable[[], bool], note: Callable[[Read], None]) -> None:
            consumer = KafkaConsumer(
                topic,
                bootstrap_servers=self.bootstrap,
                group_id=group,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
            )
            while keep_going():
                for messages in consumer.poll(timeout_ms=200).values():
                    for message in messages:
                        note(to_read(message))
            consumer.commit()
            consumer.close()

        return ThreadedGroup(member, members)

    def _config(self, topic: str, key: str) -> str:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        return self.admin.describe_configs([resource], config_filter="all")["topic"][topic][key]["value"]

    def _partitions(self, topic: str) -> int:
        return len(self.admin.describe_topics([topic])[0]["partitions"])

    def admin_checks(self, prefix: str) -> dict[str, Callable[[], None]]:
        topic, group = f"{prefix}-admin", f"{prefix}-admin-group"
        where = TopicPartition(f"{prefix}-offsets", 0)

        def describe_cluster() -> None:
            expect(len(self.admin.describe_cluster()["brokers"]) >= 1, "a broker")

        def describe_configs() -> None:
            self.create_topic(topic, 3, {"retention.ms": "123456789"})
            expect(str(self._config(topic, "retention.ms")) == "123456789", "retention.ms as created")

        def alter_config() -> None:
            change = {"max.message.bytes": "2000000"}
            resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs=change)
            answer = self.admin.alter_configs([resource])
            expect(answer["topic"][topic] == "OK", f"OK, got {answer}")
            eventually(lambda: str(self._config(topic, "max.message.bytes")) == "2000000",
                       "altered value")

        def create_partitions() -> None:
            self.admin.create_partitions({topic: 5})
            eventually(lambda: self._partitions(topic) == 5, "5 partitions")

        def list_offsets() -> None:
            self.create_topic(where.topic, 1, {})
            producer = KafkaProducer(bootstrap_servers=self.bootstrap, acks="all")
            for i, stamp in enumerate((1_000_000, 3_000_000, 2_000_000)):
                sent = producer.send(where.topic, str(i).encode(), partition=0, timestamp_ms=stamp)
                sent.get(30)
            producer.close(10)

            def ask(spec) -> int:
                return self.admin.list_partition_offsets({where: spec})[where].offset

            found = [ask(OffsetSpec.EARLIEST), ask(OffsetSpec.LATEST), ask(OffsetSpec.MAX_TIMESTAMP),
                     ask(1_000_001), ask(4_000_000)]
            expect(found == [0, 3, 1, 1, -1], f"0, 3, 1, 1, -1, got {found}")

        def groups() -> None:
            run = self.start_group(where.topic, group, 1)
            run.wait_for(3)
            listed = [g["group_id"] for g in self.admin.list_groups()]
            expect(group in listed, f"the group in the list, got {listed}")
            described = self.admin.describe_groups([group])[group]
            expect(described["group_state"] == "Stable", f"Stable, got {described['group_state']}")
            expect(len(described["members"]) == 1, "one member")
            run.stop()
            offsets = self.admin.list_group_offsets({group: [where]})[group]
            expect(offsets[where].offset == 3, f"committed offset 3, got {offsets}")

        def delete_group() -> None:
            answer = self.admin.delete_groups([group])
            expect(answer[group] == "OK", f"OK, got {answer}")

        def delete_topic() -> None:
            self.admin.delete_topics([topic])
            eventually(lambda: topic not in self.admin.list_topics(), "no such topic")

        return {
            "describe cluster": describe_cluster,
            "describe configs": describe_configs,
            "alter config": alter_config,
            "create partitions": create_partitions,
            "list offsets": list_offsets,
            "list, describe groups": groups,
            "delete group": delete_group,
            "delete topic": delete_topic,
        }

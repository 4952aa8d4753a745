"""aiokafka: asyncio, with its own codec and older versions of the requests."""

import asyncio
import time
from collections.abc import Callable

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from clients.base import READ_TIMEOUT_S, Client, GroupRun
from clients.confluent import expect
from clients.threads import ThreadedGroup
from support.records import Read, Record


def to_read(message) -> Read:
    headers = tuple((name, None if value is None else bytes(value)) for name, value in message.headers)
    record = Record(message.key, message.value, headers)
    return Read(message.partition, message.offset, message.timestamp, record)


class AioKafka(Client):
    name = "aiokafka"

    def create_topic(self, topic: str, partitions: int, configs: dict[str, str]) -> None:
        asyncio.run(self._create_topic(topic, partitions, configs))

    async def _create_topic(self, topic: str, partitions: int, configs: dict[str, str]) -> None:
        async with _Admin(self.bootstrap) as admin:
            new = NewTopic(topic, partitions, 1, topic_configs=configs)
            answer = await admin.create_topics([new])
            errors = [code for _, code, *_ in answer.topic_errors]
            expect(errors == [0], f"error 0, got {answer.topic_errors}")

    def produce(self, topic: str, records: list[Record], compression: str) -> None:
        asyncio.run(self._produce(topic, records, compression))

    async def _produce(self, topic: str, records: list[Record], compression: str) -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=self.bootstrap,
            acks="all",
            enable_idempotence=True,
            compression_type=None if compression == "none" else compression,
            linger_ms=5,
        )
        await producer.start()
        try:
            sent = [
                await producer.send(topic, record.value, record.key, headers=list(record.headers))
                for record in records
            ]
            await asyncio.wait_for(asyncio.gather(*sent), 40)
        finally:
            await producer.stop()

    def read_all(self, topic: str, partitions: int, count: int) -> list[Read]:
        return asyncio.run(self._read_all(topic, partitions, count))

    async def _read_all(self, topic: str, partitions: int, count: int) -> list[Read]:
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, enable_auto_commit=False,
                                    group_id=None)
        await consumer.start()
        try:
            where = [TopicPartition(topic, p) for p in range(partitions)]
            consumer.assign(where)
            await consumer.seek_to_beginning(*where)
            reads: list[Read] = []
            deadline = time.monotonic() + READ_TIMEOUT_S
            while len(reads) < count and time.monotonic() < deadline:
                for messages in (await consumer.getmany(timeout_ms=500)).values():
                    reads.extend(map(to_read, messages))
            return reads
        finally:
            await consumer.stop()

    def start_group(self, topic: str, group: str, members: int) -> GroupRun:
        async def member(keep_going: Callable[[], bool], note: Callable[[Read], None]) -> None:
            consumer = AIOKafkaConsumer(
                topic,
                bootstrap_servers=self.bootstrap,
                group_id=group,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                metadata_max_age_ms=5_000,
            )
            await consumer.start()
            try:
                read_any = False
                while keep_going():
                    for messages in (await consumer.getmany(timeout_ms=200)).values():
                        read_any = True
                        for message in messages:
                            note(to_read(message))
                if read_any:
                    await consumer.commit()
            finally:
                await consumer.stop()

        return ThreadedGroup(lambda keep_going, note: asyncio.run(member(keep_going, note)), members)

    def admin_checks(self, prefix: str) -> dict[str, Callable[[], None]]:
        topic, group = f"{prefix}-admin", f"{prefix}-admin-group"

        def check(body) -> Callable[[], None]:
            async def run() -> None:
                async with _Admin(self.bootstrap) as admin:
                    await body(admin)
            return lambda: asyncio.run(asyncio.wait_for(run(), 60))

        async def describe_cluster(admin: AIOKafkaAdminClient) -> None:
            expect(len((await admin.describe_cluster())["brokers"]) >= 1, "a broker")

        async def describe_configs(admin: AIOKafkaAdminClient) -> None:
            await self._create_topic(topic, 3, {"retention.ms": "123456789"})
            resource = ConfigResource(ConfigResourceType.TOPIC, topic)
            answers = await admin.describe_configs([resource])
            entries = {entry[0]: entry[1] for entry in answers[0].resources[0][4]}
            expect(entries.get("retention.ms") == "123456789", "retention.ms as created")

        async def create_partitions(admin: AIOKafkaAdminClient) -> None:
            await admin.create_partitions({topic: NewPartitions(5)})
            described = await admin.describe_topics([topic])
            expect(len(described[0]["partitions"]) == 5, "5 partitions")

        async def groups(admin: AIOKafkaAdminClient) -> None:
            records = [Record(None, b"one"), Record(None, b"two")]
            await self._produce(topic, records, "none")
            run = self.start_group(topic, group, 1)
            await asyncio.to_thread(run.wait_for, 2)
            listed = [listed[0] for listed in await admin.list_consumer_groups()]
            expect(group in listed, f"the group in the list, got {listed}")
            described = (await admin.describe_consumer_groups([group]))[0].groups[0]
            expect(described[2] == "Stable", f"Stable, got {described}")
            await asyncio.to_thread(run.stop)
            offsets = await admin.list_consumer_group_offsets(group)
            committed = sum(found.offset for found in offsets.values())
            expect(committed == 2, f"committed offsets that sum up to 2, got {offsets}")

        async def delete_topic(admin: AIOKafkaAdminClient) -> None:
            await admin.delete_topics([topic])
            expect(topic not in await admin.list_topics(), "no such topic")

        return {
            "describe cluster": check(describe_cluster),
            "describe configs": check(describe_configs),
            "create partitions": check(create_partitions),
            "list, describe groups": check(groups),
            "delete topic": check(delete_topic),
        }


class _Admin:
    """An admin client that is started and closed around a block."""

    def __init__(self, bootstrap: str):
        self._bootstrap = bootstrap

    async def __aenter__(self) -> AIOKafkaAdminClient:
        self._client = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        await self._client.start()
        return self._client

    async def __aexit__(self, *_) -> None:
        await self._client.close()

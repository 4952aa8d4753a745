import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.HashMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** The checks of Kafka's Java admin client. Each throws unless what it asks for is so. */
final class AdminChecks {
    private final String bootstrap;

    AdminChecks(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    private Admin admin() {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("request.timeout.ms", "20000");
        config.put("default.api.timeout.ms", "40000");
        return Admin.create(config);
    }

    private static <T> T wait(KafkaFuture<T> future) throws Exception {
        return future.get(45, TimeUnit.SECONDS);
    }

    private static void expect(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError("expected " + what);
        }
    }

    private static void eventually(Callable<Boolean> holds, String what) throws Exception {
        long deadline = System.nanoTime() + Duration.ofSeconds(20).toNanos();
        while (!holds.call()) {
            expect(System.nanoTime() < deadline, what + " within 20 s");
            Thread.sleep(50);
        }
    }

    void create(String topic, int partitions, String configs) throws Exception {
        Map<String, String> wanted = new HashMap<>();
        for (String pair : configs.isEmpty() ? new String[0] : configs.split(",")) {
            wanted.put(pair.substring(0, pair.indexOf('=')), pair.substring(pair.indexOf('=') + 1));
        }
        try (Admin admin = admin()) {
            NewTopic topicToMake = new NewTopic(topic, partitions, (short) 1).configs(wanted);
            wait(admin.createTopics(List.of(topicToMake)).all());
        }
    }

    void run(String check, String prefix) throws Exception {
        String topic = prefix + "-admin";
        String group = prefix + "-admin-group";
        TopicPartition where = new TopicPartition(prefix + "-offsets", 0);
        try (Admin admin = admin()) {
            switch (check) {
                case "describe cluster" -> describeCluster(admin);
                case "describe configs" -> describeConfigs(admin, topic);
                case "alter config" -> alterConfig(admin, topic);
                case "create partitions" -> createPartitions(admin, topic);
                case "list offsets" -> listOffsets(admin, where);
                case "list, describe groups" -> groups(admin, where, group);
                case "alter group offsets" -> alterGroupOffsets(admin, where, group);
                case "delete group" -> deleteGroup(admin, group);
                case "delete topic" -> deleteTopic(admin, topic);
                default -> throw new IllegalArgumentException("unknown check " + check);
            }
        }
    }

    private static void describeCluster(Admin admin) throws Exception {
        var cluster = admin.describeCluster();
        expect(!wait(cluster.nodes()).isEmpty(), "a node");
        expect(!wait(cluster.clusterId()).isEmpty(), "a cluster id");
        expect(wait(cluster.controller()) != null, "a controller");
    }

    private static String config(Admin admin, String topic, String key) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        Map<ConfigResource, Config> found = wait(admin.describeConfigs(List.of(resource)).all());
        return found.get(resource).get(key).value();
    }

    private void describeConfigs(Admin admin, String topic) throws Exception {
        create(topic, 3, "retention.ms=123456789");
        expect("123456789".equals(config(admin, topic, "retention.ms")), "retention.ms as created");
        int node = wait(admin.describeCluster().nodes()).iterator().next().id();
        ConfigResource broker = new ConfigResource(ConfigResource.Type.BROKER, String.valueOf(node));
        Config found = wait(admin.describeConfigs(List.of(broker)).all()).get(broker);
        expect(!found.entries().isEmpty(), "configs of the broker");
    }

    private static void alterConfig(Admin admin, String topic) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        var change = new AlterConfigOp(
            new ConfigEntry("max.message.bytes", "2000000"), AlterConfigOp.OpType.SET);
        wait(admin.incrementalAlterConfigs(Map.of(resource, List.of(change))).all());
        eventually(() -> "2000000".equals(config(admin, topic, "max.message.bytes")), "altered value");
        expect("123456789".equals(config(admin, topic, "retention.ms")), "the other value kept");
    }

    private static int partitions(Admin admin, String topic) throws Exception {
        return wait(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic).partitions().size();
    }

    private static void createPartitions(Admin admin, String topic) throws Exception {
        wait(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(5))).all());
        eventually(() -> partitions(admin, topic) == 5, "5 partitions");
    }

    private static long offset(Admin admin, TopicPartition where, OffsetSpec spec) throws Exception {
        return wait(admin.listOffsets(Map.of(where, spec)).all()).get(where).offset();
    }

    private void listOffsets(Admin admin, TopicPartition where) throws Exception {
        create(where.topic(), 1, "");
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("key.serializer", StringSerializer.class.getName());
        config.put("value.serializer", StringSerializer.class.getName());
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(config)) {
            for (long timestamp : new long[] {1_000_000, 3_000_000, 2_000_000}) {
                producer.send(new ProducerRecord<>(where.topic(), 0, timestamp, null, "value")).get();
            }
        }
        List<Long> found = List.of(
            offset(admin, where, OffsetSpec.earliest()),
            offset(admin, where, OffsetSpec.latest()),
            offset(admin, where, OffsetSpec.maxTimestamp()),
            offset(admin, where, OffsetSpec.forTimestamp(1_000_001)),
            offset(admin, where, OffsetSpec.forTimestamp(4_000_000)));
        expect(found.equals(List.of(0L, 3L, 1L, 1L, -1L)), "0, 3, 1, 1, -1, got " + found);
    }

    private void groups(Admin admin, TopicPartition where, String group) throws Exception {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("group.id", group);
        config.put("auto.offset.reset", "earliest");
        config.put("enable.auto.commit", "false");
        config.put("key.deserializer", StringDeserializer.class.getName());
        config.put("value.deserializer", StringDeserializer.class.getName());
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(config)) {
            consumer.subscribe(List.of(where.topic()));
            int[] read = {0};
            eventually(() -> (read[0] += consumer.poll(Duration.ofMillis(200)).count()) == 3, "3 records");
            var listed = wait(admin.listGroups().all()).stream().map(GroupListing::groupId).toList();
            expect(listed.contains(group), "the group in the list, got " + listed);
            var described = wait(admin.describeConsumerGroups(List.of(group)).all()).get(group);
            expect(described.groupState().toString().equals("Stable"), "Stable, got " + described);
            expect(described.members().size() == 1, "one member");
            expect(described.members().iterator().next().assignment().topicPartitions()
                .equals(Set.of(where)), "its assignment");
            consumer.commitSync();
        }
        expect(committed(admin, where, group) == 3, "committed offset 3");
    }

    private static long committed(Admin admin, TopicPartition where, String group) throws Exception {
        var offsets = wait(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata());
        OffsetAndMetadata found = offsets.get(where);
        return found == null ? -1 : found.offset();
    }

    private static void alterGroupOffsets(Admin admin, TopicPartition where, String group)
            throws Exception {
        var change = Map.of(where, new OffsetAndMetadata(1, "set by hand"));
        wait(admin.alterConsumerGroupOffsets(group, change).all());
        var offsets = wait(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata());
        expect(offsets.get(where).offset() == 1, "committed offset 1");
        expect("set by hand".equals(offsets.get(where).metadata()), "the commit's metadata");
    }

    private static void deleteGroup(Admin admin, String group) throws Exception {
        wait(admin.deleteConsumerGroups(List.of(group)).all());
        var listed = wait(admin.listGroups().all()).stream().map(GroupListing::groupId).toList();
        expect(!listed.contains(group), "the group gone from the list");
    }

    private static void deleteTopic(Admin admin, String topic) throws Exception {
        wait(admin.deleteTopics(List.of(topic)).all());
        eventually(() -> !wait(admin.listTopics().names()).contains(topic), "no such topic");
        try {
            partitions(admin, topic);
            throw new AssertionError("expected an error for a deleted topic");
        } catch (ExecutionException error) {
            expect(error.getCause() instanceof UnknownTopicOrPartitionException,
                "UnknownTopicOrPartition, got " + error.getCause());
        }
    }
}

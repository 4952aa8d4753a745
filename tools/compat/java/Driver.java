import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Runs Kafka's own Java clients on behalf of the suite: one command per line on standard input, its
 * words separated by tabs; answers are lines that end with "ok" or "error" and a message. Bytes
 * travel as base64, null as "-".
 */
public final class Driver {
    private final String bootstrap;
    private final BufferedReader input;
    private final PrintStream output;
    private final Map<String, Member> members = new HashMap<>();

    private Driver(String bootstrap) {
        this.bootstrap = bootstrap;
        this.input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        this.output = new PrintStream(System.out, false, StandardCharsets.UTF_8);
    }

    public static void main(String[] arguments) throws Exception {
        new Driver(arguments[0]).serve();
        System.exit(0);
    }

    private void serve() throws Exception {
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            try {
                run(line.split("\t", -1));
                output.println("ok");
            } catch (Exception | AssertionError error) {
                Throwable cause = error.getCause() == null ? error : error.getCause();
                output.println("error\t" + cause.toString().replaceAll("\\s+", " "));
            }
            output.flush();
        }
    }

    private void run(String[] words) throws Exception {
        switch (words[0]) {
            case "produce" -> produce(words[1], words[2], Integer.parseInt(words[3]));
            case "read" -> read(words[1], Integer.parseInt(words[2]), Integer.parseInt(words[3]));
            case "join" -> members.put(words[1], new Member(config(words[3]), words[2]));
            case "poll" -> members.get(words[1]).drain().forEach(record -> output.println(text(record)));
            case "leave" -> members.remove(words[1]).leave();
            case "create" ->
                new AdminChecks(bootstrap).create(words[1], Integer.parseInt(words[2]), words[3]);
            case "admin" -> new AdminChecks(bootstrap).run(words[1], words[2]);
            default -> throw new IllegalArgumentException("unknown command " + words[0]);
        }
    }

    private Properties config(String group) {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("enable.auto.commit", "false");
        config.put("auto.offset.reset", "earliest");
        config.put("key.deserializer", ByteArrayDeserializer.class.getName());
        config.put("value.deserializer", ByteArrayDeserializer.class.getName());
        if (group != null) {
            config.put("group.id", group);
        }
        return config;
    }

    private void produce(String topic, String compression, int count) throws Exception {
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            String[] words = input.readLine().split("\t", -1);
            var record = new ProducerRecord<>(topic, bytes(words[0]), bytes(words[1]));
            for (int at = 2; at + 1 < words.length; at += 2) {
                record.headers().add(words[at], bytes(words[at + 1]));
            }
            records.add(record);
        }
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("compression.type", compression);
        config.put("delivery.timeout.ms", "40000");
        config.put("request.timeout.ms", "20000");
        config.put("key.serializer", ByteArraySerializer.class.getName());
        config.put("value.serializer", ByteArraySerializer.class.getName());
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(config)) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (var record : records) {
                sent.add(producer.send(record));
            }
            for (var future : sent) {
                future.get();
            }
        }
    }

    private void read(String topic, int partitions, int count) {
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(config(null))) {
            Collection<TopicPartition> all = IntStream.range(0, partitions)
                .mapToObj(partition -> new TopicPartition(topic, partition))
                .collect(Collectors.toList());
            consumer.assign(all);
            consumer.seekToBeginning(all);
            long deadline = System.nanoTime() + Duration.ofSeconds(60).toNanos();
            for (int got = 0; got < count && System.nanoTime() < deadline; ) {
                for (var record : consumer.poll(Duration.ofMillis(500))) {
                    output.println(text(record));
                    got++;
                }
            }
        }
    }

    private static byte[] bytes(String word) {
        return word.equals("-") ? null : Base64.getDecoder().decode(word);
    }

    private static String word(byte[] bytes) {
        return bytes == null ? "-" : Base64.getEncoder().encodeToString(bytes);
    }

    private static String text(ConsumerRecord<byte[], byte[]> record) {
        StringBuilder text = new StringBuilder();
        text.append(record.partition()).append('\t').append(record.offset()).append('\t');
        text.append(record.timestamp()).append('\t');
        text.append(word(record.key())).append('\t').append(word(record.value()));
        for (Header header : record.headers()) {
            text.append('\t').append(header.key()).append('\t').append(word(header.value()));
        }
        return text.toString();
    }

    /** One member of a group: polls in a thread of its own, since a consumer belongs to one thread. */
    private static final class Member {
        private final Thread thread;
        private final List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        private volatile boolean leaving;
        private volatile RuntimeException failure;

        Member(Properties config, String topic) {
            thread = new Thread(() -> work(config, topic));
            thread.setDaemon(true);
            thread.start();
        }

        private void work(Properties config, String topic) {
            try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(config)) {
                consumer.subscribe(List.of(topic));
                while (!leaving) {
                    for (var record : consumer.poll(Duration.ofMillis(200))) {
                        synchronized (records) {
                            records.add(record);
                        }
                    }
                }
                consumer.commitSync();
            } catch (RuntimeException error) {
                failure = error;
            }
        }

        List<ConsumerRecord<byte[], byte[]>> drain() {
            if (failure != null) {
                throw failure;
            }
            synchronized (records) {
                List<ConsumerRecord<byte[], byte[]>> taken = new ArrayList<>(records);
                records.clear();
                return taken;
            }
        }

        void leave() throws InterruptedException {
            leaving = true;
            thread.join(60_000);
            if (thread.isAlive()) {
                throw new IllegalStateException("the member did not leave within 60 s");
            }
            if (failure != null) {
                throw failure;
            }
        }
    }
}

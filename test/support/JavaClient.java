// Kafka's own client, for what only it writes (snappy in xerial's framing) and for a group's member that is not ours.
//   produce BROKERS TOPIC PARTITION COUNT CODECS   sends COUNT values with each of the codecs (a,b,c) in turn
//   read BROKERS TOPIC   writes what the topic holds now: partition, offset, timestamp, key, value, name, value, ... (hex or -)
//   hash KEY...   writes murmur2 of each key (hex), and the partitions of 1, 3 and 12 that the client chooses for it
//   join BROKERS TOPIC GROUP PROTOCOL   is a member of GROUP until its input ends; says what it is assigned and reads
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.utils.Utils;

public class JavaClient {
  public static void main(String[] args) throws Exception {
    if (args[0].equals("produce")) produce(args[1], args[2], Integer.parseInt(args[3]), Integer.parseInt(args[4]), args[5].split(","));
    else if (args[0].equals("read")) read(args[1], args[2]);
    else if (args[0].equals("hash")) hash(Arrays.copyOfRange(args, 1, args.length));
    else join(args[1], args[2], args[3], args[4]);
  }

  static void produce(String brokers, String topic, int partition, int count, String[] codecs) throws Exception {
    for (String codec : codecs) {
      Properties properties = new Properties();
      properties.put("bootstrap.servers", brokers);
      properties.put("compression.type", codec);
      properties.put("linger.ms", "50");
      properties.put("key.serializer", "org.apache.kafka.common.serialization.StringSerializer");
      properties.put("value.serializer", "org.apache.kafka.common.serialization.StringSerializer");
      try (KafkaProducer<String, String> producer = new KafkaProducer<>(properties)) {
        List<Future<?>> sent = new ArrayList<>();
        for (int n = 0; n < count; n++) {
          String value = String.format("%s %06d %s", codec, n, "x".repeat(n % 200));
          sent.add(producer.send(new ProducerRecord<>(topic, partition, null, value)));
        }
        producer.flush();
        for (Future<?> each : sent) each.get();
      }
    }
  }

  static void read(String brokers, String topic) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", brokers);
    properties.put("isolation.level", "read_committed");
    properties.put("key.deserializer", "org.apache.kafka.common.serialization.ByteArrayDeserializer");
    properties.put("value.deserializer", "org.apache.kafka.common.serialization.ByteArrayDeserializer");
    try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(properties)) {
      List<TopicPartition> partitions = new ArrayList<>();
      consumer.partitionsFor(topic).forEach(info -> partitions.add(new TopicPartition(topic, info.partition())));
      consumer.assign(partitions);
      consumer.seekToBeginning(partitions);
      Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
      while (partitions.stream().anyMatch(partition -> consumer.position(partition) < ends.get(partition))) {
        StringBuilder out = new StringBuilder();
        for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
          out.append("record ").append(record.partition()).append(' ').append(record.offset()).append(' ').append(record.timestamp());
          out.append(' ').append(hex(record.key())).append(' ').append(hex(record.value()));
          for (Header header : record.headers()) {
            out.append(' ').append(hex(header.key().getBytes(StandardCharsets.UTF_8))).append(' ').append(hex(header.value()));
          }
          out.append('\n');
        }
        System.out.print(out);
      }
      System.out.println("end");
    }
  }

  static void hash(String[] keys) {
    for (String text : keys) {
      byte[] key = text.equals("-") ? new byte[0] : HexFormat.of().parseHex(text);
      System.out.println(text + " " + Utils.murmur2(key) + " " + BuiltInPartitioner.partitionForKey(key, 1) + " "
          + BuiltInPartitioner.partitionForKey(key, 3) + " " + BuiltInPartitioner.partitionForKey(key, 12));
    }
  }

  static String hex(byte[] bytes) {
    return bytes == null ? "-" : "x" + HexFormat.of().formatHex(bytes);
  }

  static void join(String brokers, String topic, String group, String protocol) throws Exception {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", brokers);
    properties.put("group.id", group);
    properties.put("group.protocol", protocol.equals("consumer") ? "consumer" : "classic");
    if (!protocol.equals("consumer")) {
      properties.put("partition.assignment.strategy", "org.apache.kafka.clients.consumer." + protocol);
      properties.put("session.timeout.ms", "2000");
      properties.put("heartbeat.interval.ms", "300");
    }
    properties.put("auto.offset.reset", "earliest");
    properties.put("auto.commit.interval.ms", "100");
    properties.put("key.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
    properties.put("value.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
    try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(properties)) {
      consumer.subscribe(List.of(topic), new ConsumerRebalanceListener() {
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {}

        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
          System.out.println("assigned " + partitions.size());
        }
      });
      while (System.in.available() == 0) {
        for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(100))) {
          System.out.println("read " + record.partition() + " " + record.offset());
        }
      }
    }
  }
}

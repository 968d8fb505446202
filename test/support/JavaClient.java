// Kafka's own client, for what only it writes (snappy in xerial's framing) and for a group's member that is not ours.
//   produce BROKERS TOPIC PARTITION COUNT CODECS   sends COUNT values with each of the codecs (a,b,c) in turn
//   join BROKERS TOPIC GROUP PROTOCOL   is a member of GROUP until its input ends; says what it is assigned and reads
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

public class JavaClient {
  public static void main(String[] args) throws Exception {
    if (args[0].equals("produce")) produce(args[1], args[2], Integer.parseInt(args[3]), Integer.parseInt(args[4]), args[5].split(","));
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

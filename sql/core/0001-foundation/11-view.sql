-- Views for people. A view reads the tables with its owner's rights, past row-level security, so all of them start
-- from visible_consumer, which keeps what the current role may see; security barriers, so that no function of the
-- reader's runs before that filter.

CREATE VIEW millrace.visible_consumer WITH (security_barrier = true) AS
SELECT * FROM millrace.consumer
WHERE pg_has_role(owner::oid, 'USAGE') OR (SELECT millrace.is_admin());
COMMENT ON VIEW millrace.visible_consumer IS 'The rows of millrace.consumer that the current role may see. For other views.';

-- What the daemons that live say about a consumer, the most worrying state first. A daemon lives when it was seen
-- in the last 15 seconds.
CREATE VIEW millrace.live_report WITH (security_barrier = true) AS
SELECT DISTINCT ON (r.consumer_id)
  r.consumer_id, r.state, r.code, r.detail, r.reported_at,
  sum(r.rows_per_second) OVER (PARTITION BY r.consumer_id) AS rows_per_second
FROM millrace.report AS r JOIN millrace.daemon AS d ON d.id = r.daemon
WHERE d.seen_at > statement_timestamp() - interval '15 seconds'
ORDER BY r.consumer_id,
  array_position(ARRAY['retrying', 'waiting-for-topic', 'locating', 'starting', 'running'], r.state),
  r.reported_at DESC;
COMMENT ON VIEW millrace.live_report IS 'One report for each consumer: the worst of the live daemons'' reports. For millrace.consumers.';

CREATE VIEW millrace.consumers WITH (security_barrier = true) AS
SELECT
  c.id,
  c.cluster,
  c.topic,
  format('%I.%I', c.target_schema, c.target_name) AS target,
  c.owner,
  c.group_id, c.format, c.delimiter, c.quote, c.escape, c.encoding,
  c.batchsize, c.maxbytes, c.parallelism, c.timeout, c.on_error, c.start_offset,
  CASE
    WHEN c.wanted = 'stopped' THEN 'stopped'
    WHEN f.code IS NOT NULL THEN 'failed'
    WHEN NOT alive.any_daemon THEN 'no-daemon'
    ELSE coalesce(r.state, 'starting')
  END AS state,
  coalesce(p.partitions, 0)::integer AS partitions,
  coalesce(p.messages, 0)::bigint AS messages,
  coalesce(p.skipped, 0)::bigint AS skipped,
  coalesce(p.bytes, 0)::bigint AS bytes,
  p.lag::bigint AS lag,
  CASE WHEN c.wanted = 'running' AND f.code IS NULL THEN r.rows_per_second END AS rows_per_second,
  p.moved_at,
  coalesce(f.code, reported.code) AS error_code,
  coalesce(f.message, reported.detail) AS error_message,
  f.sqlstate AS error_sqlstate,
  f.partition AS error_partition,
  f."offset" AS error_offset,
  coalesce(f.failed_at, reported.reported_at) AS error_at,
  c.warning,
  c.created_at,
  c.changed_at
FROM millrace.visible_consumer AS c
LEFT JOIN millrace.failure AS f ON f.consumer_id = c.id AND f.version = c.version
LEFT JOIN millrace.live_report AS r ON r.consumer_id = c.id
LEFT JOIN millrace.live_report AS reported
  ON reported.consumer_id = c.id AND reported.code IS NOT NULL AND f.code IS NULL AND c.wanted = 'running'
LEFT JOIN LATERAL (
  SELECT count(*) AS partitions, sum(o.messages) AS messages, sum(o.skipped) AS skipped, sum(o.bytes) AS bytes,
    sum(CASE WHEN w.high > o.next_offset THEN w.high - o.next_offset WHEN w.high IS NOT NULL THEN 0 END) AS lag, max(o.moved_at) AS moved_at
  FROM millrace.position AS o
  LEFT JOIN millrace.watermark AS w ON w.cluster = c.cluster AND w.topic = c.topic AND w.partition = o.partition
  WHERE o.consumer_id = c.id
) AS p ON true
CROSS JOIN (
  SELECT EXISTS (
    SELECT FROM millrace.daemon WHERE seen_at > statement_timestamp() - interval '15 seconds') AS any_daemon
) AS alive;

COMMENT ON VIEW millrace.consumers IS 'Every consumer that the current role may see: what it should do, what it does, and its last error.';
COMMENT ON COLUMN millrace.consumers.id IS 'Number of the consumer.';
COMMENT ON COLUMN millrace.consumers.cluster IS 'Kafka cluster that is read.';
COMMENT ON COLUMN millrace.consumers.topic IS 'Topic that is read.';
COMMENT ON COLUMN millrace.consumers.target IS 'Relation that is loaded, with its schema, quoted where SQL needs it.';
COMMENT ON COLUMN millrace.consumers.owner IS 'Role under which the relation is loaded.';
COMMENT ON COLUMN millrace.consumers.group_id IS 'Consumer group that was asked for; NULL: one of this installation''s own.';
COMMENT ON COLUMN millrace.consumers.format IS 'text, csv or json.';
COMMENT ON COLUMN millrace.consumers.delimiter IS 'As for COPY.';
COMMENT ON COLUMN millrace.consumers.quote IS 'As for COPY; NULL: COPY''s default.';
COMMENT ON COLUMN millrace.consumers.escape IS 'As for COPY; NULL: COPY''s default.';
COMMENT ON COLUMN millrace.consumers.encoding IS 'Encoding of the messages; NULL: the database''s.';
COMMENT ON COLUMN millrace.consumers.batchsize IS 'Buffered messages from which a commit happens.';
COMMENT ON COLUMN millrace.consumers.maxbytes IS 'Buffered bytes from which a commit happens.';
COMMENT ON COLUMN millrace.consumers.parallelism IS 'COPY streams per daemon.';
COMMENT ON COLUMN millrace.consumers.timeout IS 'Milliseconds a fetch waits for messages.';
COMMENT ON COLUMN millrace.consumers.on_error IS 'What happens to a message that cannot be loaded: stop.';
COMMENT ON COLUMN millrace.consumers.start_offset IS 'The start_offset of the last call that started the consumer.';
COMMENT ON COLUMN millrace.consumers.state IS
  'stopped, failed, no-daemon, or what the daemons do: retrying, waiting-for-topic, locating, starting, running.';
COMMENT ON COLUMN millrace.consumers.partitions IS 'Partitions that have a position.';
COMMENT ON COLUMN millrace.consumers.messages IS 'Messages loaded so far.';
COMMENT ON COLUMN millrace.consumers.skipped IS 'Messages passed over so far: tombstones and empty ones.';
COMMENT ON COLUMN millrace.consumers.bytes IS 'Bytes of the messages loaded so far.';
COMMENT ON COLUMN millrace.consumers.lag IS 'Messages not loaded yet, by the last reported high watermarks; NULL: none was reported.';
COMMENT ON COLUMN millrace.consumers.rows_per_second IS 'Recent speed, all daemons together.';
COMMENT ON COLUMN millrace.consumers.moved_at IS 'When the last batch was committed.';
COMMENT ON COLUMN millrace.consumers.error_code IS 'Code of what stopped the consumer or hinders it now (docs/errors.md).';
COMMENT ON COLUMN millrace.consumers.error_message IS 'What stopped the consumer or hinders it now.';
COMMENT ON COLUMN millrace.consumers.error_sqlstate IS 'PostgreSQL''s code for what stopped the consumer.';
COMMENT ON COLUMN millrace.consumers.error_partition IS 'Partition of the message that stopped the consumer.';
COMMENT ON COLUMN millrace.consumers.error_offset IS 'Offset of the message that stopped the consumer.';
COMMENT ON COLUMN millrace.consumers.error_at IS 'When the consumer stopped, or the hindrance was last reported.';
COMMENT ON COLUMN millrace.consumers.warning IS 'What was done other than asked, for example a start_offset moved into what the partition holds.';
COMMENT ON COLUMN millrace.consumers.created_at IS 'When the consumer was first begun.';
COMMENT ON COLUMN millrace.consumers.changed_at IS 'When it was last begun, changed or ended.';

CREATE VIEW millrace.lag WITH (security_barrier = true) AS
SELECT
  c.id AS consumer_id,
  c.topic,
  format('%I.%I', c.target_schema, c.target_name) AS target,
  p.partition,
  p.next_offset,
  w.low AS low_watermark,
  w.high AS high_watermark,
  -- A position is newer than the report when a batch was just committed: that is no lag below zero.
  CASE WHEN w.high > p.next_offset THEN w.high - p.next_offset WHEN w.high IS NOT NULL THEN 0 END AS lag,
  p.moved_at,
  w.reported_at,
  statement_timestamp() - w.reported_at AS age
FROM millrace.visible_consumer AS c
JOIN millrace.position AS p ON p.consumer_id = c.id
LEFT JOIN millrace.watermark AS w ON w.cluster = c.cluster AND w.topic = c.topic AND w.partition = p.partition;

COMMENT ON VIEW millrace.lag IS 'Every partition of every consumer that the current role may see: where it stands and how far that is from the end.';
COMMENT ON COLUMN millrace.lag.consumer_id IS 'Number of the consumer in millrace.consumers.';
COMMENT ON COLUMN millrace.lag.topic IS 'Topic that is read.';
COMMENT ON COLUMN millrace.lag.target IS 'Relation that is loaded.';
COMMENT ON COLUMN millrace.lag.partition IS 'Partition of the topic.';
COMMENT ON COLUMN millrace.lag.next_offset IS 'Offset of the next message to load; everything before it is in the relation.';
COMMENT ON COLUMN millrace.lag.low_watermark IS 'First offset that the partition still held when a daemon last looked.';
COMMENT ON COLUMN millrace.lag.high_watermark IS 'Offset after the last message when a daemon last looked.';
COMMENT ON COLUMN millrace.lag.lag IS 'Offsets between the two; NULL: nothing was reported yet.';
COMMENT ON COLUMN millrace.lag.moved_at IS 'When the position last moved.';
COMMENT ON COLUMN millrace.lag.reported_at IS 'When a daemon last looked.';
COMMENT ON COLUMN millrace.lag.age IS 'How long ago that was.';

GRANT SELECT ON millrace.visible_consumer, millrace.consumers, millrace.lag TO PUBLIC;

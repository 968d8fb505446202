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

-- Of a consumer whose keys name the relations, the schema in which they are looked up.
CREATE FUNCTION millrace.target_shown(target_schema text, target_name text) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT concat_ws('.', quote_ident(target_schema), coalesce(quote_ident(target_name), '*'))
$$;

CREATE VIEW millrace.consumers WITH (security_barrier = true) AS
SELECT
  c.id,
  c.cluster,
  c.topic,
  millrace.target_shown(c.target_schema, c.target_name) AS target,
  c.owner,
  c.topic_pattern, c.parent_id, c.route_by_key,
  c.group_id, c.format, c.delimiter, c.quote, c.escape, c.encoding,
  c.json_path, c.columns, c.rest_column, c.unknown_keys, c.missing_keys, c.metadata,
  c.mode, c.key_columns, c.tombstone, c.transform,
  c.on_error, c.dead_letter_limit, c.dead_letter_max_age, c.on_offset_gap,
  c.batchsize, c.maxbytes, c.parallelism, c.timeout, c.start_offset, c.start_time, c.start_partitions,
  c.way, c.way_reason,
  CASE
    WHEN c.wanted = 'stopped' THEN 'stopped'
    WHEN f.code IS NOT NULL THEN 'failed'
    WHEN NOT alive.any_daemon THEN 'no-daemon'
    WHEN c.topic_pattern IS NOT NULL THEN coalesce(r.state, 'watching')
    ELSE coalesce(r.state, 'starting')
  END AS state,
  coalesce(p.partitions, 0)::integer AS partitions,
  coalesce(p.messages, 0)::bigint AS messages,
  coalesce(p.skipped, 0)::bigint AS skipped,
  coalesce(p.bytes, 0)::bigint AS bytes,
  coalesce(p.transaction_ids, 0)::bigint AS transaction_ids,
  coalesce(d.dead_letters, 0)::bigint AS dead_letters,
  coalesce(p.dead_letters, 0)::bigint AS dead_letters_written,
  c.dead_letters_expired,
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
    sum(o.dead_letters) AS dead_letters, sum(o.transaction_ids) AS transaction_ids,
    sum(CASE WHEN w.high > o.next_offset THEN w.high - o.next_offset WHEN w.high IS NOT NULL THEN 0 END) AS lag, max(o.moved_at) AS moved_at
  FROM millrace.position AS o
  LEFT JOIN millrace.watermark AS w ON w.cluster = c.cluster AND w.topic = c.topic AND w.partition = o.partition
  WHERE o.consumer_id = c.id
) AS p ON true
LEFT JOIN LATERAL (SELECT count(*) AS dead_letters FROM millrace.dead_letter AS l WHERE l.consumer_id = c.id) AS d ON true
CROSS JOIN (
  SELECT EXISTS (
    SELECT FROM millrace.daemon WHERE seen_at > statement_timestamp() - interval '15 seconds') AS any_daemon
) AS alive;

COMMENT ON VIEW millrace.consumers IS 'Every consumer that the current role may see: what it should do, what it does, and its last error.';
COMMENT ON COLUMN millrace.consumers.id IS 'Number of the consumer.';
COMMENT ON COLUMN millrace.consumers.cluster IS 'Kafka cluster that is read.';
COMMENT ON COLUMN millrace.consumers.topic IS 'Topic that is read; NULL: those that match topic_pattern.';
COMMENT ON COLUMN millrace.consumers.target IS
  'Relation that is loaded, with its schema, quoted where SQL needs it; schema.*: those that the message keys name.';
COMMENT ON COLUMN millrace.consumers.owner IS 'Role under which the relation is loaded.';
COMMENT ON COLUMN millrace.consumers.topic_pattern IS 'Regular expression; every topic whose whole name matches is read, by a consumer of its own.';
COMMENT ON COLUMN millrace.consumers.parent_id IS 'The consumer with the topic_pattern that this one was made for.';
COMMENT ON COLUMN millrace.consumers.route_by_key IS 'Whether the message keys name the relations.';
COMMENT ON COLUMN millrace.consumers.group_id IS 'Consumer group that was asked for; NULL: one of this installation''s own.';
COMMENT ON COLUMN millrace.consumers.format IS 'text, csv or json.';
COMMENT ON COLUMN millrace.consumers.delimiter IS 'As for COPY.';
COMMENT ON COLUMN millrace.consumers.quote IS 'As for COPY; NULL: COPY''s default.';
COMMENT ON COLUMN millrace.consumers.escape IS 'As for COPY; NULL: COPY''s default.';
COMMENT ON COLUMN millrace.consumers.encoding IS 'Encoding of the messages; NULL: the database''s.';
COMMENT ON COLUMN millrace.consumers.json_path IS 'Where in a message its rows are.';
COMMENT ON COLUMN millrace.consumers.columns IS
  'Columns that a message fills, NULL: all; with a transform, the columns of its batch.';
COMMENT ON COLUMN millrace.consumers.rest_column IS 'Column for the keys that match no column.';
COMMENT ON COLUMN millrace.consumers.unknown_keys IS 'What a key that matches no column is: ignore, error.';
COMMENT ON COLUMN millrace.consumers.missing_keys IS 'What a column without a key gets: its default, or error.';
COMMENT ON COLUMN millrace.consumers.metadata IS 'Columns for key, topic, partition, offset, timestamp and headers of a message.';
COMMENT ON COLUMN millrace.consumers.mode IS 'insert, upsert, or changes (a Debezium envelope).';
COMMENT ON COLUMN millrace.consumers.key_columns IS 'Columns that tell rows apart in upsert and changes; NULL: the primary key.';
COMMENT ON COLUMN millrace.consumers.tombstone IS
  'What happens to a message without value: skip, row, delete; NULL: skip in insert, delete in upsert and changes.';
COMMENT ON COLUMN millrace.consumers.transform IS 'Query over the relation batch whose result is inserted.';
COMMENT ON COLUMN millrace.consumers.dead_letter_limit IS 'Dead letters that may be stored; the consumer stops before there are more.';
COMMENT ON COLUMN millrace.consumers.dead_letter_max_age IS 'Age at which a dead letter is removed; NULL: never.';
COMMENT ON COLUMN millrace.consumers.on_offset_gap IS
  'What happens when the next message is gone: stop, or earliest (go on with the oldest there is, and record the gap).';
COMMENT ON COLUMN millrace.consumers.batchsize IS 'Buffered messages from which a commit happens.';
COMMENT ON COLUMN millrace.consumers.maxbytes IS 'Buffered bytes from which a commit happens.';
COMMENT ON COLUMN millrace.consumers.parallelism IS 'COPY streams per daemon.';
COMMENT ON COLUMN millrace.consumers.timeout IS 'Milliseconds a fetch waits for messages.';
COMMENT ON COLUMN millrace.consumers.on_error IS 'What happens to a message that cannot be loaded: stop, dead_letter, skip.';
COMMENT ON COLUMN millrace.consumers.start_offset IS 'The start_offset of the last call that started the consumer.';
COMMENT ON COLUMN millrace.consumers.start_time IS 'The time from which the last call that started the consumer had it read.';
COMMENT ON COLUMN millrace.consumers.start_partitions IS 'The offsets of single partitions to which the consumer was last moved.';
COMMENT ON COLUMN millrace.consumers.way IS 'How the relation is loaded: direct (COPY into it), or staged (by way of a temporary table).';
COMMENT ON COLUMN millrace.consumers.way_reason IS 'Code and words of what keeps the relation from being loaded directly; NULL: nothing, or an option.';
COMMENT ON COLUMN millrace.consumers.state IS
  'stopped, failed, no-daemon, or what the daemons do: retrying, waiting-for-topic, locating, starting, running; watching: a topic_pattern.';
COMMENT ON COLUMN millrace.consumers.partitions IS 'Partitions that have a position.';
COMMENT ON COLUMN millrace.consumers.messages IS 'Messages loaded so far.';
COMMENT ON COLUMN millrace.consumers.skipped IS 'Messages passed over so far: tombstones that neither delete nor become a row, and empty ones.';
COMMENT ON COLUMN millrace.consumers.bytes IS 'Bytes of the messages loaded so far.';
COMMENT ON COLUMN millrace.consumers.transaction_ids IS
  'Transaction ids that messages that could not be loaded have taken so far, at most; those of the batches apart.';
COMMENT ON COLUMN millrace.consumers.dead_letters IS 'Dead letters that are stored now.';
COMMENT ON COLUMN millrace.consumers.dead_letters_written IS 'Dead letters that were written so far; also messages that on_error skips.';
COMMENT ON COLUMN millrace.consumers.dead_letters_expired IS 'Dead letters that were removed because of their age.';
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
  millrace.target_shown(c.target_schema, c.target_name) AS target,
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


-- NULL where bytes are no text of this database's encoding.
CREATE FUNCTION millrace.readable(bytes bytea) RETURNS text
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN convert_from(bytes, 'UTF8');
EXCEPTION WHEN OTHERS THEN
  RETURN NULL;
END
$$;

-- headers: name, value, name, value, ...; of a name that comes twice, the last value. NULL where a name is no text.
CREATE FUNCTION millrace.readable_headers(headers bytea[]) RETURNS jsonb
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  shown jsonb := '{}';
BEGIN
  FOR i IN 1 .. cardinality(headers) BY 2 LOOP
    IF millrace.readable(headers[i]) IS NULL THEN
      RETURN NULL;
    END IF;
    shown := shown || jsonb_build_object(millrace.readable(headers[i]), millrace.readable(headers[i + 1]));
  END LOOP;
  RETURN shown;
END
$$;

CREATE VIEW millrace.dead_letters WITH (security_barrier = true) AS
SELECT
  d.id,
  d.consumer_id,
  d.cluster,
  d.topic,
  millrace.target_shown(c.target_schema, c.target_name) AS target,
  d.partition,
  d."offset",
  d."timestamp",
  d.key,
  d.value,
  d.headers,
  millrace.readable(d.key) AS key_text,
  millrace.readable(d.value) AS value_text,
  millrace.readable_headers(d.headers) AS headers_json,
  d.code,
  d.sqlstate,
  d.message,
  d.failed_at,
  d.attempts,
  d.replay_id
FROM millrace.visible_consumer AS c JOIN millrace.dead_letter AS d ON d.consumer_id = c.id;

COMMENT ON VIEW millrace.dead_letters IS 'Messages that could not be loaded, of every consumer that the current role may see.';
COMMENT ON COLUMN millrace.dead_letters.id IS 'Number of the dead letter.';
COMMENT ON COLUMN millrace.dead_letters.consumer_id IS 'Number of the consumer in millrace.consumers.';
COMMENT ON COLUMN millrace.dead_letters.cluster IS 'Kafka cluster that it came from.';
COMMENT ON COLUMN millrace.dead_letters.topic IS 'Topic that it came from.';
COMMENT ON COLUMN millrace.dead_letters.target IS 'Relation that it was to go to.';
COMMENT ON COLUMN millrace.dead_letters.partition IS 'Partition of the topic.';
COMMENT ON COLUMN millrace.dead_letters."offset" IS 'Offset of the message.';
COMMENT ON COLUMN millrace.dead_letters."timestamp" IS 'Timestamp of the message.';
COMMENT ON COLUMN millrace.dead_letters.key IS 'Key, as it was; NULL: none.';
COMMENT ON COLUMN millrace.dead_letters.value IS 'Value, as it was; NULL: a tombstone.';
COMMENT ON COLUMN millrace.dead_letters.headers IS 'Headers, as they were: name, value, name, value, ...';
COMMENT ON COLUMN millrace.dead_letters.key_text IS 'Key as text; NULL where it is not UTF-8.';
COMMENT ON COLUMN millrace.dead_letters.value_text IS 'Value as text; NULL where it is not UTF-8.';
COMMENT ON COLUMN millrace.dead_letters.headers_json IS 'Headers as an object, the last one of each name; a value that is not UTF-8 is null.';
COMMENT ON COLUMN millrace.dead_letters.code IS 'Why it could not be loaded (docs/errors.md).';
COMMENT ON COLUMN millrace.dead_letters.sqlstate IS 'PostgreSQL''s code for that.';
COMMENT ON COLUMN millrace.dead_letters.message IS 'The same in words.';
COMMENT ON COLUMN millrace.dead_letters.failed_at IS 'When it was last tried.';
COMMENT ON COLUMN millrace.dead_letters.attempts IS 'How often it was tried.';
COMMENT ON COLUMN millrace.dead_letters.replay_id IS 'The request in millrace.request that wants it loaded again.';

CREATE VIEW millrace.batches WITH (security_barrier = true) AS
SELECT
  b.consumer_id,
  c.topic,
  millrace.target_shown(c.target_schema, c.target_name) AS target,
  b.partition,
  b.id,
  b.kind,
  b.from_offset,
  b.to_offset,
  b.messages,
  b.skipped,
  b.dead_letters,
  b.bytes,
  b.transaction_ids,
  b.xid,
  b.commits,
  b.committed_at
FROM millrace.visible_consumer AS c JOIN millrace.batch AS b ON b.consumer_id = c.id;

COMMENT ON VIEW millrace.batches IS
  'What the commits of every consumer moved that the current role may see: offsets, counts, transaction. As they age, those that follow each other become one.';
COMMENT ON COLUMN millrace.batches.consumer_id IS 'Number of the consumer in millrace.consumers.';
COMMENT ON COLUMN millrace.batches.topic IS 'Topic that is read.';
COMMENT ON COLUMN millrace.batches.target IS 'Relation that is loaded.';
COMMENT ON COLUMN millrace.batches.partition IS 'Partition of the topic.';
COMMENT ON COLUMN millrace.batches.id IS 'Ascends in the order of the commits of a partition.';
COMMENT ON COLUMN millrace.batches.kind IS
  'load: the offsets were read; start: reading began; seek: the position was moved by a call; gap: messages were gone, and it went on after them.';
COMMENT ON COLUMN millrace.batches.from_offset IS 'First offset of the range; of a seek or gap, where the position stood.';
COMMENT ON COLUMN millrace.batches.to_offset IS 'Offset after the range: where the position then stood.';
COMMENT ON COLUMN millrace.batches.messages IS 'Messages loaded.';
COMMENT ON COLUMN millrace.batches.skipped IS 'Messages passed over.';
COMMENT ON COLUMN millrace.batches.dead_letters IS 'Dead letters written; also messages that on_error skips.';
COMMENT ON COLUMN millrace.batches.bytes IS 'Bytes of the messages loaded.';
COMMENT ON COLUMN millrace.batches.transaction_ids IS
  'Transaction ids that messages that could not be loaded have taken at most, xid apart; of all partitions of a transaction in the row of one.';
COMMENT ON COLUMN millrace.batches.xid IS 'Transaction that did it; of several, the last.';
COMMENT ON COLUMN millrace.batches.commits IS 'Commits that are merged in this row.';
COMMENT ON COLUMN millrace.batches.committed_at IS 'When it was done; of several, the last.';

GRANT SELECT ON millrace.visible_consumer, millrace.consumers, millrace.lag, millrace.dead_letters, millrace.batches TO PUBLIC;

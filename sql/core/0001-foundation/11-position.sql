-- A position moves in the transaction that loads the rows before it, by the daemon and nobody else.

CREATE TABLE millrace.position (
  consumer_id bigint NOT NULL REFERENCES millrace.consumer ON DELETE CASCADE,
  partition integer NOT NULL,
  next_offset bigint NOT NULL,
  cluster_id text,
  topic_id uuid,
  leader_epoch integer NOT NULL DEFAULT -1,
  config_version bigint NOT NULL,
  owner_epoch bigint NOT NULL DEFAULT 0,
  owner uuid,
  owner_pid integer,
  owner_started timestamptz,
  messages bigint NOT NULL DEFAULT 0,
  skipped bigint NOT NULL DEFAULT 0,
  dead_letters bigint NOT NULL DEFAULT 0,
  bytes bigint NOT NULL DEFAULT 0,
  transaction_ids bigint NOT NULL DEFAULT 0,
  moved_at timestamptz,
  PRIMARY KEY (consumer_id, partition)
) WITH (fillfactor = 50);
COMMENT ON TABLE millrace.position IS
  'The next offset of every consumer in every partition, and who moves it. Written by the daemon.';

ALTER TABLE millrace.position ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON millrace.position FOR SELECT USING (consumer_id IN (SELECT id FROM millrace.consumer));
GRANT SELECT ON millrace.position TO PUBLIC;

-- What each commit moved: what verify() proves from. A row is written after the position has moved, in the same transaction, so
-- that the position's lock makes the ids of a partition ascend as the commits do. No foreign key: it would lock the
-- consumer's row in every batch. Millrace removes what a dropped consumer leaves (sweep).
CREATE TABLE millrace.batch (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  consumer_id bigint NOT NULL,
  partition integer NOT NULL,
  from_offset bigint NOT NULL,
  to_offset bigint NOT NULL,
  kind text NOT NULL DEFAULT 'load' CHECK (kind IN ('load', 'start', 'seek', 'gap')),
  messages bigint NOT NULL DEFAULT 0,
  skipped bigint NOT NULL DEFAULT 0,
  dead_letters bigint NOT NULL DEFAULT 0,
  bytes bigint NOT NULL DEFAULT 0,
  transaction_ids bigint NOT NULL DEFAULT 0,
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  commits integer NOT NULL DEFAULT 1,
  committed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CHECK (kind = 'seek' OR to_offset >= from_offset)
);
COMMENT ON TABLE millrace.batch IS 'What each commit of a consumer moved in a partition. Written by the daemon; read millrace.batches instead.';
CREATE INDEX batch_partition ON millrace.batch (consumer_id, partition, id);

ALTER TABLE millrace.batch ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON millrace.batch FOR SELECT USING (consumer_id IN (SELECT id FROM millrace.consumer));
GRANT SELECT ON millrace.batch TO PUBLIC;

-- Moves the positions of a batch by compare-and-set and notes the batch, or raises ML001 and nothing has happened. It
-- compares the offset, the owner's epoch, the configuration's version and the identity of cluster and topic. Arrays
-- have an element for each partition.
CREATE FUNCTION millrace.move_positions(
  consumer bigint, version bigint, cluster text, topic uuid, partitions integer[], expected bigint[], next bigint[],
  leader_epochs integer[], owner_epochs bigint[], messages bigint[], skipped bigint[], bytes bigint[]
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  noted bigint;
BEGIN
  WITH v AS (
    SELECT * FROM unnest(partitions, expected, next, leader_epochs, owner_epochs, messages, skipped, bytes)
      AS v (partition, expected, next, leader_epoch, owner_epoch, messages, skipped, bytes)
  ), moved AS (
    UPDATE millrace.position AS p
    SET next_offset = v.next, leader_epoch = v.leader_epoch, messages = p.messages + v.messages,
      skipped = p.skipped + v.skipped, bytes = p.bytes + v.bytes, moved_at = clock_timestamp()
    FROM v
    WHERE p.consumer_id = consumer AND p.partition = v.partition AND p.next_offset = v.expected
      AND p.owner_epoch = v.owner_epoch AND p.config_version = move_positions.version
      AND p.cluster_id = cluster AND p.topic_id = topic
      AND EXISTS (SELECT FROM millrace.consumer AS c
        WHERE c.id = consumer AND c.version = move_positions.version AND c.wanted = 'running')
      AND NOT EXISTS (SELECT FROM millrace.failure AS f
        WHERE f.consumer_id = consumer AND f.version = move_positions.version)
    RETURNING p.partition
  )
  INSERT INTO millrace.batch (consumer_id, partition, from_offset, to_offset, kind, messages, skipped, bytes)
  SELECT consumer, v.partition, v.expected, v.next, 'load', v.messages, v.skipped, v.bytes
  FROM v JOIN moved ON moved.partition = v.partition;
  GET DIAGNOSTICS noted = ROW_COUNT;
  IF noted <> cardinality(partitions) THEN
    RAISE EXCEPTION 'another daemon moves these positions now, or the consumer was changed' USING ERRCODE = 'ML001';
  END IF;
END
$$;

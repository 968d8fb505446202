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

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
  bytes bigint NOT NULL DEFAULT 0,
  moved_at timestamptz,
  PRIMARY KEY (consumer_id, partition)
) WITH (fillfactor = 50);
COMMENT ON TABLE millrace.position IS
  'The next offset of every consumer in every partition, and who moves it. Written by the daemon.';

ALTER TABLE millrace.position ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON millrace.position FOR SELECT USING (consumer_id IN (SELECT id FROM millrace.consumer));
GRANT SELECT ON millrace.position TO PUBLIC;

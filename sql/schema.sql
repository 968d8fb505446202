-- Made by scripts/dump-schema.ts from a database with the schema installed. Nothing reads it but people.

CREATE SEQUENCE millrace.outbox_id AS bigint START 1 INCREMENT 1 CACHE 1;
GRANT USAGE ON SEQUENCE millrace.outbox_id TO PUBLIC;
COMMENT ON SEQUENCE millrace.outbox_id IS 'Numbers of the rows of the outbox.';

CREATE SEQUENCE millrace.outbox_segment AS smallint START 0 INCREMENT 1 CACHE 1;
GRANT SELECT ON SEQUENCE millrace.outbox_segment TO PUBLIC;
COMMENT ON SEQUENCE millrace.outbox_segment IS 'Copy of millrace.outbox_writing for triggers.';

CREATE SEQUENCE millrace.snapshot_id AS bigint START 1 INCREMENT 1 CACHE 1;
GRANT USAGE ON SEQUENCE millrace.snapshot_id TO PUBLIC;
COMMENT ON SEQUENCE millrace.snapshot_id IS 'Numbers of snapshots.';

CREATE TABLE millrace.batch (
  id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  consumer_id bigint NOT NULL,
  partition integer NOT NULL,
  from_offset bigint NOT NULL,
  to_offset bigint NOT NULL,
  kind text DEFAULT 'load'::text NOT NULL,
  messages bigint DEFAULT 0 NOT NULL,
  skipped bigint DEFAULT 0 NOT NULL,
  dead_letters bigint DEFAULT 0 NOT NULL,
  bytes bigint DEFAULT 0 NOT NULL,
  transaction_ids bigint DEFAULT 0 NOT NULL,
  xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
  commits integer DEFAULT 1 NOT NULL,
  committed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  CHECK (((kind = 'seek'::text) OR (to_offset >= from_offset))),
  CHECK ((kind = ANY (ARRAY['load'::text, 'start'::text, 'seek'::text, 'gap'::text]))),
  PRIMARY KEY (id)
);
CREATE INDEX batch_partition ON millrace.batch USING btree (consumer_id, partition, id);
ALTER TABLE millrace.batch ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON millrace.batch FOR SELECT
  USING ((consumer_id IN ( SELECT consumer.id
   FROM millrace.consumer)));
GRANT SELECT ON TABLE millrace.batch TO PUBLIC;
COMMENT ON TABLE millrace.batch IS 'What each commit of a consumer moved in a partition. Written by the daemon; read millrace.batches instead.';

CREATE TABLE millrace.broker (
  cluster text DEFAULT 'default'::text NOT NULL,
  host text NOT NULL,
  FOREIGN KEY (cluster) REFERENCES millrace.cluster(name),
  PRIMARY KEY (cluster, host)
);
CREATE TRIGGER check_broker BEFORE INSERT OR UPDATE ON millrace.broker FOR EACH ROW EXECUTE FUNCTION millrace.check_broker();
CREATE TRIGGER notify_daemon AFTER INSERT OR DELETE OR UPDATE ON millrace.broker FOR EACH STATEMENT EXECUTE FUNCTION millrace.notify_daemon();
ALTER TABLE millrace.broker ENABLE ROW LEVEL SECURITY;
CREATE POLICY administer ON millrace.broker FOR ALL
  USING (( SELECT millrace.is_admin() AS is_admin))
  WITH CHECK (( SELECT millrace.is_admin() AS is_admin));
CREATE POLICY read ON millrace.broker FOR SELECT
  USING (true);
GRANT INSERT, SELECT ON TABLE millrace.broker TO PUBLIC;
GRANT DELETE ON TABLE millrace.broker TO millrace_admin;
COMMENT ON TABLE millrace.broker IS 'Brokers through which a cluster is first reached, as host or host:port.';

CREATE TABLE millrace.cluster (
  name text NOT NULL,
  created_at timestamp with time zone DEFAULT now() NOT NULL,
  delivery text DEFAULT 'at_least_once'::text NOT NULL,
  unsent text,
  on_refused text DEFAULT 'wait'::text NOT NULL,
  PRIMARY KEY (name)
);
CREATE TRIGGER begin_cluster AFTER INSERT ON millrace.cluster FOR EACH ROW EXECUTE FUNCTION millrace.begin_cluster();
CREATE TRIGGER check_cluster BEFORE INSERT OR UPDATE ON millrace.cluster FOR EACH ROW EXECUTE FUNCTION millrace.check_cluster();
ALTER TABLE millrace.cluster ENABLE ROW LEVEL SECURITY;
CREATE POLICY administer ON millrace.cluster FOR ALL
  USING (( SELECT millrace.is_admin() AS is_admin))
  WITH CHECK (( SELECT millrace.is_admin() AS is_admin));
CREATE POLICY read ON millrace.cluster FOR SELECT
  USING (true);
GRANT SELECT ON TABLE millrace.cluster TO PUBLIC;
GRANT DELETE ON TABLE millrace.cluster TO millrace_admin;
GRANT INSERT (name, delivery) ON TABLE millrace.cluster TO PUBLIC;
GRANT UPDATE (delivery, unsent, on_refused) ON TABLE millrace.cluster TO PUBLIC;
COMMENT ON TABLE millrace.cluster IS 'Kafka clusters.';
COMMENT ON COLUMN millrace.cluster.delivery IS 'Of messages that are sent: at_least_once, or exactly_once (in Kafka transactions).';
COMMENT ON COLUMN millrace.cluster.unsent IS 'Where Kafka and this database disagree about how far the outbox is sent: send what the database holds for unsent, or skip it. NULL: the daemon waits until somebody says.';
COMMENT ON COLUMN millrace.cluster.on_refused IS 'What becomes of messages that Kafka does not take: they wait, with their key, or become dead letters (dead_letter).';

CREATE TABLE millrace.consumer (
  id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  cluster text DEFAULT 'default'::text NOT NULL,
  topic text,
  topic_pattern text,
  parent_id bigint,
  target_schema text NOT NULL,
  target_name text,
  route_by_key boolean DEFAULT false NOT NULL,
  owner regrole DEFAULT (quote_ident((CURRENT_USER)::text))::regrole NOT NULL,
  group_id text,
  format text DEFAULT 'text'::text NOT NULL,
  delimiter text,
  quote text,
  escape text,
  encoding text,
  json_path text,
  columns text[],
  rest_column text,
  unknown_keys text DEFAULT 'ignore'::text NOT NULL,
  missing_keys text DEFAULT 'default'::text NOT NULL,
  metadata jsonb,
  mode text DEFAULT 'insert'::text NOT NULL,
  key_columns text[],
  tombstone text,
  transform text,
  on_error text DEFAULT 'stop'::text NOT NULL,
  dead_letter_limit bigint DEFAULT 1000000 NOT NULL,
  dead_letter_max_age interval,
  on_offset_gap text DEFAULT 'stop'::text NOT NULL,
  batchsize integer DEFAULT 1000 NOT NULL,
  maxbytes integer DEFAULT 32000000 NOT NULL,
  parallelism integer DEFAULT 1 NOT NULL,
  timeout integer DEFAULT 250 NOT NULL,
  wanted text DEFAULT 'running'::text NOT NULL,
  version bigint DEFAULT 1 NOT NULL,
  start_offset bigint,
  start_time timestamp with time zone,
  start_partitions jsonb,
  start_pending boolean DEFAULT true NOT NULL,
  located_at timestamp with time zone,
  way text,
  way_reason text,
  warning text,
  dead_letters_expired bigint DEFAULT 0 NOT NULL,
  created_at timestamp with time zone DEFAULT now() NOT NULL,
  changed_at timestamp with time zone DEFAULT now() NOT NULL,
  CHECK (((target_name IS NULL) = route_by_key)),
  CHECK (((topic IS NULL) = (topic_pattern IS NOT NULL))),
  CHECK ((wanted = ANY (ARRAY['running'::text, 'stopped'::text]))),
  FOREIGN KEY (cluster) REFERENCES millrace.cluster(name),
  FOREIGN KEY (parent_id) REFERENCES millrace.consumer(id) ON DELETE CASCADE,
  PRIMARY KEY (id),
  UNIQUE (cluster, topic, target_schema, target_name)
);
CREATE UNIQUE INDEX consumer_group ON millrace.consumer USING btree (cluster, topic, group_id) WHERE (group_id IS NOT NULL);
CREATE INDEX consumer_parent ON millrace.consumer USING btree (parent_id) WHERE (parent_id IS NOT NULL);
CREATE UNIQUE INDEX consumer_pattern ON millrace.consumer USING btree (cluster, topic_pattern, target_schema, COALESCE(target_name, ''::text)) WHERE (topic_pattern IS NOT NULL);
CREATE UNIQUE INDEX consumer_route ON millrace.consumer USING btree (cluster, topic, target_schema) WHERE ((target_name IS NULL) AND (topic IS NOT NULL));
CREATE TRIGGER check_consumer BEFORE INSERT OR UPDATE OF cluster, topic, topic_pattern, parent_id, target_schema, target_name, route_by_key, owner, group_id, format, delimiter, quote, escape, encoding, json_path, columns, rest_column, unknown_keys, missing_keys, metadata, mode, key_columns, tombstone, transform, on_error, dead_letter_limit, dead_letter_max_age, on_offset_gap, batchsize, maxbytes, parallelism, timeout, wanted, start_offset, start_time, start_partitions ON millrace.consumer FOR EACH ROW EXECUTE FUNCTION millrace.check_consumer();
CREATE TRIGGER notify_daemon AFTER INSERT OR DELETE OR UPDATE OF cluster, topic, topic_pattern, parent_id, target_schema, target_name, route_by_key, owner, group_id, format, delimiter, quote, escape, encoding, json_path, columns, rest_column, unknown_keys, missing_keys, metadata, mode, key_columns, tombstone, transform, on_error, dead_letter_limit, dead_letter_max_age, on_offset_gap, batchsize, maxbytes, parallelism, timeout, wanted, start_offset, start_time, start_partitions ON millrace.consumer FOR EACH STATEMENT EXECUTE FUNCTION millrace.notify_daemon();
CREATE TRIGGER pass_to_children AFTER UPDATE ON millrace.consumer FOR EACH ROW WHEN (((new.topic_pattern IS NOT NULL) AND ((new.version <> old.version) OR (new.wanted <> old.wanted) OR (((new.start_offset IS DISTINCT FROM old.start_offset) OR (new.start_time IS DISTINCT FROM old.start_time)) OR (new.start_partitions IS DISTINCT FROM old.start_partitions))))) EXECUTE FUNCTION millrace.pass_to_children();
CREATE TRIGGER set_start_pending BEFORE UPDATE OF start_offset, start_time, start_partitions ON millrace.consumer FOR EACH ROW EXECUTE FUNCTION millrace.set_start_pending();
ALTER TABLE millrace.consumer ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON millrace.consumer FOR ALL
  USING ((pg_has_role((owner)::oid, 'USAGE'::text) OR ( SELECT millrace.is_admin() AS is_admin)))
  WITH CHECK ((pg_has_role((owner)::oid, 'USAGE'::text) OR ( SELECT millrace.is_admin() AS is_admin)));
GRANT SELECT ON TABLE millrace.consumer TO PUBLIC;
GRANT INSERT (cluster, topic, topic_pattern, target_schema, target_name, route_by_key, group_id, format, delimiter, quote, escape, encoding, json_path, columns, rest_column, unknown_keys, missing_keys, metadata, mode, key_columns, tombstone, transform, on_error, dead_letter_limit, dead_letter_max_age, on_offset_gap, batchsize, maxbytes, parallelism, timeout, wanted, start_offset, start_time, start_partitions) ON TABLE millrace.consumer TO PUBLIC;
GRANT UPDATE (group_id, format, delimiter, quote, escape, encoding, json_path, columns, rest_column, unknown_keys, missing_keys, metadata, mode, key_columns, tombstone, transform, on_error, dead_letter_limit, dead_letter_max_age, on_offset_gap, batchsize, maxbytes, parallelism, timeout, wanted, start_offset, start_time, start_partitions) ON TABLE millrace.consumer TO PUBLIC;
COMMENT ON TABLE millrace.consumer IS 'Topics to load into relations, as they are wanted. Read millrace.consumers instead.';

CREATE TABLE millrace.daemon (
  id uuid NOT NULL,
  host text,
  pid integer,
  version text,
  backend_pid integer,
  started_at timestamp with time zone DEFAULT now() NOT NULL,
  seen_at timestamp with time zone DEFAULT now() NOT NULL,
  PRIMARY KEY (id)
);
ALTER TABLE millrace.daemon ENABLE ROW LEVEL SECURITY;
CREATE POLICY administer ON millrace.daemon FOR SELECT
  USING (( SELECT millrace.is_admin() AS is_admin));
GRANT SELECT ON TABLE millrace.daemon TO PUBLIC;
COMMENT ON TABLE millrace.daemon IS 'Daemons of this database and when they were last seen.';

CREATE TABLE millrace.dead_letter (
  id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  consumer_id bigint NOT NULL,
  cluster text NOT NULL,
  topic text NOT NULL,
  partition integer NOT NULL,
  "offset" bigint NOT NULL,
  "timestamp" timestamp with time zone,
  key bytea,
  value bytea,
  headers bytea[],
  code text NOT NULL,
  sqlstate text,
  message text NOT NULL,
  failed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  attempts integer DEFAULT 1 NOT NULL,
  replay_id bigint,
  PRIMARY KEY (id)
);
CREATE INDEX dead_letter_age ON millrace.dead_letter USING brin (failed_at) WITH (autosummarize='on');
CREATE INDEX dead_letter_consumer ON millrace.dead_letter USING btree (consumer_id, id);
CREATE INDEX dead_letter_replay ON millrace.dead_letter USING btree (replay_id, id) WHERE (replay_id IS NOT NULL);
ALTER TABLE millrace.dead_letter ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON millrace.dead_letter FOR SELECT
  USING ((consumer_id IN ( SELECT consumer.id
   FROM millrace.consumer)));
CREATE POLICY replay ON millrace.dead_letter FOR UPDATE
  USING ((consumer_id IN ( SELECT consumer.id
   FROM millrace.consumer)))
  WITH CHECK ((replay_id IN ( SELECT r.id
   FROM millrace.request r
  WHERE ((r.kind = 'replay'::text) AND (r.state = 'pending'::text)))));
GRANT SELECT ON TABLE millrace.dead_letter TO PUBLIC;
GRANT UPDATE (replay_id) ON TABLE millrace.dead_letter TO PUBLIC;
COMMENT ON TABLE millrace.dead_letter IS 'Messages that could not be loaded. Written by the daemon; read millrace.dead_letters instead.';

CREATE TABLE millrace.failure (
  consumer_id bigint NOT NULL,
  version bigint NOT NULL,
  code text NOT NULL,
  message text NOT NULL,
  sqlstate text,
  partition integer,
  "offset" bigint,
  failed_at timestamp with time zone DEFAULT now() NOT NULL,
  FOREIGN KEY (consumer_id) REFERENCES millrace.consumer(id) ON DELETE CASCADE,
  PRIMARY KEY (consumer_id)
);
ALTER TABLE millrace.failure ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON millrace.failure FOR SELECT
  USING ((consumer_id IN ( SELECT consumer.id
   FROM millrace.consumer)));
GRANT SELECT ON TABLE millrace.failure TO PUBLIC;
COMMENT ON TABLE millrace.failure IS 'What stopped a consumer; in force while its version is the consumer''s. Written by the daemon.';

CREATE TABLE millrace.identity_history (
  id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  recorded_at timestamp with time zone DEFAULT now() NOT NULL,
  reason text NOT NULL,
  installation_id uuid NOT NULL,
  system_identifier text,
  timeline integer,
  database text,
  database_oid oid,
  CHECK ((reason = ANY (ARRAY['installed'::text, 'found'::text, 'moved'::text, 'clone'::text]))),
  PRIMARY KEY (id)
);
COMMENT ON TABLE millrace.identity_history IS 'Each time the identity of this database was recorded: installed, found (by a daemon, such as a new timeline after a failover), moved or clone (by millrace adopt).';

CREATE TABLE millrace.installation (
  singleton boolean DEFAULT true NOT NULL,
  id uuid DEFAULT gen_random_uuid() NOT NULL,
  system_identifier text,
  timeline integer,
  database text,
  database_oid oid,
  installed_at timestamp with time zone DEFAULT now() NOT NULL,
  CHECK (singleton),
  PRIMARY KEY (singleton)
);
GRANT SELECT (system_identifier, timeline, database, database_oid) ON TABLE millrace.installation TO PUBLIC;
COMMENT ON TABLE millrace.installation IS 'What this database is, so that a clone or a restored copy of it is noticed.';

CREATE TABLE millrace.lease (
  name text NOT NULL,
  epoch bigint DEFAULT 0 NOT NULL,
  daemon uuid,
  backend_pid integer,
  backend_started timestamp with time zone,
  backend_role oid,
  renewed_at timestamp with time zone,
  PRIMARY KEY (name)
);
ALTER TABLE millrace.lease ENABLE ROW LEVEL SECURITY;
COMMENT ON TABLE millrace.lease IS 'Which daemon does the work that only one may do, and when it last said so.';

CREATE TABLE millrace.life (
  singleton boolean DEFAULT true NOT NULL,
  written_by bigint NOT NULL,
  CHECK (singleton),
  PRIMARY KEY (singleton)
);
GRANT SELECT ON TABLE millrace.life TO PUBLIC;
COMMENT ON TABLE millrace.life IS 'The transaction that wrote this row, in 32 bits: another one, if it was loaded from a dump.';

CREATE TABLE millrace.migration (
  version integer NOT NULL,
  name text NOT NULL,
  applied_at timestamp with time zone DEFAULT now() NOT NULL,
  PRIMARY KEY (version)
);
GRANT SELECT ON TABLE millrace.migration TO PUBLIC;
COMMENT ON TABLE millrace.migration IS 'Steps of this schema that have been applied.';

CREATE TABLE millrace.outbox_0 (
  id bigint DEFAULT nextval('millrace.outbox_id'::regclass) NOT NULL,
  xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
  "timestamp" timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  owner regrole DEFAULT (quote_ident((CURRENT_USER)::text))::regrole NOT NULL,
  partition integer,
  cluster text NOT NULL,
  topic text NOT NULL,
  key bytea,
  value bytea,
  headers bytea[],
  source text
) WITH (autovacuum_vacuum_insert_threshold=-1);
CREATE INDEX outbox_0_xid_id_idx ON millrace.outbox_0 USING btree (xid, id);
ALTER TABLE millrace.outbox_0 ENABLE ROW LEVEL SECURITY;
CREATE POLICY produce ON millrace.outbox_0 FOR INSERT
  WITH CHECK ((((owner)::oid = (( SELECT (quote_ident((CURRENT_USER)::text))::regrole AS quote_ident))::oid) AND
CASE
    WHEN ((((cluster || ' '::text) || topic) = ANY (ARRAY( SELECT t.name
       FROM millrace.produced_topic t))) AND (partition IS NULL) AND (headers IS NULL) AND ("timestamp" >= '1970-01-01 00:00:00+00'::timestamp with time zone) AND ("timestamp" < 'infinity'::timestamp with time zone)) THEN true
    ELSE millrace.admit_message(cluster, topic, partition, headers, "timestamp")
END));
GRANT INSERT ("timestamp", owner, partition, cluster, topic, key, value, headers, source) ON TABLE millrace.outbox_0 TO PUBLIC;
COMMENT ON TABLE millrace.outbox_0 IS 'A segment of the outbox: messages that transactions produced. Read by the daemon.';
COMMENT ON COLUMN millrace.outbox_0.id IS 'In the order of writing: after the lock on the row that the message is about.';
COMMENT ON COLUMN millrace.outbox_0.xid IS 'Transaction that produced it.';
COMMENT ON COLUMN millrace.outbox_0."timestamp" IS 'Timestamp of the message.';
COMMENT ON COLUMN millrace.outbox_0.owner IS 'Role that produced it.';
COMMENT ON COLUMN millrace.outbox_0.partition IS 'NULL: the key decides.';
COMMENT ON COLUMN millrace.outbox_0.value IS 'NULL: a tombstone.';
COMMENT ON COLUMN millrace.outbox_0.headers IS 'name, value, name, value, ...';
COMMENT ON COLUMN millrace.outbox_0.source IS 'Relation whose trigger produced it, if one did.';

CREATE TABLE millrace.outbox_1 (
  id bigint DEFAULT nextval('millrace.outbox_id'::regclass) NOT NULL,
  xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
  "timestamp" timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  owner regrole DEFAULT (quote_ident((CURRENT_USER)::text))::regrole NOT NULL,
  partition integer,
  cluster text NOT NULL,
  topic text NOT NULL,
  key bytea,
  value bytea,
  headers bytea[],
  source text
) WITH (autovacuum_vacuum_insert_threshold=-1);
CREATE INDEX outbox_1_xid_id_idx ON millrace.outbox_1 USING btree (xid, id);
ALTER TABLE millrace.outbox_1 ENABLE ROW LEVEL SECURITY;
CREATE POLICY produce ON millrace.outbox_1 FOR INSERT
  WITH CHECK ((((owner)::oid = (( SELECT (quote_ident((CURRENT_USER)::text))::regrole AS quote_ident))::oid) AND
CASE
    WHEN ((((cluster || ' '::text) || topic) = ANY (ARRAY( SELECT t.name
       FROM millrace.produced_topic t))) AND (partition IS NULL) AND (headers IS NULL) AND ("timestamp" >= '1970-01-01 00:00:00+00'::timestamp with time zone) AND ("timestamp" < 'infinity'::timestamp with time zone)) THEN true
    ELSE millrace.admit_message(cluster, topic, partition, headers, "timestamp")
END));
GRANT INSERT ("timestamp", owner, partition, cluster, topic, key, value, headers, source) ON TABLE millrace.outbox_1 TO PUBLIC;
COMMENT ON TABLE millrace.outbox_1 IS 'A segment of the outbox: messages that transactions produced. Read by the daemon.';
COMMENT ON COLUMN millrace.outbox_1.id IS 'In the order of writing: after the lock on the row that the message is about.';
COMMENT ON COLUMN millrace.outbox_1.xid IS 'Transaction that produced it.';
COMMENT ON COLUMN millrace.outbox_1."timestamp" IS 'Timestamp of the message.';
COMMENT ON COLUMN millrace.outbox_1.owner IS 'Role that produced it.';
COMMENT ON COLUMN millrace.outbox_1.partition IS 'NULL: the key decides.';
COMMENT ON COLUMN millrace.outbox_1.value IS 'NULL: a tombstone.';
COMMENT ON COLUMN millrace.outbox_1.headers IS 'name, value, name, value, ...';
COMMENT ON COLUMN millrace.outbox_1.source IS 'Relation whose trigger produced it, if one did.';

CREATE TABLE millrace.outbox_2 (
  id bigint DEFAULT nextval('millrace.outbox_id'::regclass) NOT NULL,
  xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
  "timestamp" timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  owner regrole DEFAULT (quote_ident((CURRENT_USER)::text))::regrole NOT NULL,
  partition integer,
  cluster text NOT NULL,
  topic text NOT NULL,
  key bytea,
  value bytea,
  headers bytea[],
  source text
) WITH (autovacuum_vacuum_insert_threshold=-1);
CREATE INDEX outbox_2_xid_id_idx ON millrace.outbox_2 USING btree (xid, id);
ALTER TABLE millrace.outbox_2 ENABLE ROW LEVEL SECURITY;
CREATE POLICY produce ON millrace.outbox_2 FOR INSERT
  WITH CHECK ((((owner)::oid = (( SELECT (quote_ident((CURRENT_USER)::text))::regrole AS quote_ident))::oid) AND
CASE
    WHEN ((((cluster || ' '::text) || topic) = ANY (ARRAY( SELECT t.name
       FROM millrace.produced_topic t))) AND (partition IS NULL) AND (headers IS NULL) AND ("timestamp" >= '1970-01-01 00:00:00+00'::timestamp with time zone) AND ("timestamp" < 'infinity'::timestamp with time zone)) THEN true
    ELSE millrace.admit_message(cluster, topic, partition, headers, "timestamp")
END));
GRANT INSERT ("timestamp", owner, partition, cluster, topic, key, value, headers, source) ON TABLE millrace.outbox_2 TO PUBLIC;
COMMENT ON TABLE millrace.outbox_2 IS 'A segment of the outbox: messages that transactions produced. Read by the daemon.';
COMMENT ON COLUMN millrace.outbox_2.id IS 'In the order of writing: after the lock on the row that the message is about.';
COMMENT ON COLUMN millrace.outbox_2.xid IS 'Transaction that produced it.';
COMMENT ON COLUMN millrace.outbox_2."timestamp" IS 'Timestamp of the message.';
COMMENT ON COLUMN millrace.outbox_2.owner IS 'Role that produced it.';
COMMENT ON COLUMN millrace.outbox_2.partition IS 'NULL: the key decides.';
COMMENT ON COLUMN millrace.outbox_2.value IS 'NULL: a tombstone.';
COMMENT ON COLUMN millrace.outbox_2.headers IS 'name, value, name, value, ...';
COMMENT ON COLUMN millrace.outbox_2.source IS 'Relation whose trigger produced it, if one did.';

CREATE TABLE millrace.outbox_3 (
  id bigint DEFAULT nextval('millrace.outbox_id'::regclass) NOT NULL,
  xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
  "timestamp" timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  owner regrole DEFAULT (quote_ident((CURRENT_USER)::text))::regrole NOT NULL,
  partition integer,
  cluster text NOT NULL,
  topic text NOT NULL,
  key bytea,
  value bytea,
  headers bytea[],
  source text
) WITH (autovacuum_vacuum_insert_threshold=-1);
CREATE INDEX outbox_3_xid_id_idx ON millrace.outbox_3 USING btree (xid, id);
ALTER TABLE millrace.outbox_3 ENABLE ROW LEVEL SECURITY;
CREATE POLICY produce ON millrace.outbox_3 FOR INSERT
  WITH CHECK ((((owner)::oid = (( SELECT (quote_ident((CURRENT_USER)::text))::regrole AS quote_ident))::oid) AND
CASE
    WHEN ((((cluster || ' '::text) || topic) = ANY (ARRAY( SELECT t.name
       FROM millrace.produced_topic t))) AND (partition IS NULL) AND (headers IS NULL) AND ("timestamp" >= '1970-01-01 00:00:00+00'::timestamp with time zone) AND ("timestamp" < 'infinity'::timestamp with time zone)) THEN true
    ELSE millrace.admit_message(cluster, topic, partition, headers, "timestamp")
END));
GRANT INSERT ("timestamp", owner, partition, cluster, topic, key, value, headers, source) ON TABLE millrace.outbox_3 TO PUBLIC;
COMMENT ON TABLE millrace.outbox_3 IS 'A segment of the outbox: messages that transactions produced. Read by the daemon.';
COMMENT ON COLUMN millrace.outbox_3.id IS 'In the order of writing: after the lock on the row that the message is about.';
COMMENT ON COLUMN millrace.outbox_3.xid IS 'Transaction that produced it.';
COMMENT ON COLUMN millrace.outbox_3."timestamp" IS 'Timestamp of the message.';
COMMENT ON COLUMN millrace.outbox_3.owner IS 'Role that produced it.';
COMMENT ON COLUMN millrace.outbox_3.partition IS 'NULL: the key decides.';
COMMENT ON COLUMN millrace.outbox_3.value IS 'NULL: a tombstone.';
COMMENT ON COLUMN millrace.outbox_3.headers IS 'name, value, name, value, ...';
COMMENT ON COLUMN millrace.outbox_3.source IS 'Relation whose trigger produced it, if one did.';

CREATE TABLE millrace.outbox_dead_letter (
  id bigint NOT NULL,
  xid xid8 NOT NULL,
  "timestamp" timestamp with time zone NOT NULL,
  owner regrole NOT NULL,
  partition integer,
  cluster text NOT NULL,
  topic text NOT NULL,
  key bytea,
  value bytea,
  headers bytea[],
  source text,
  code text NOT NULL,
  message text NOT NULL,
  failed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  FOREIGN KEY (cluster) REFERENCES millrace.cluster(name) ON DELETE CASCADE,
  PRIMARY KEY (id)
);
ALTER TABLE millrace.outbox_dead_letter ENABLE ROW LEVEL SECURITY;
CREATE POLICY administer ON millrace.outbox_dead_letter FOR ALL
  USING (( SELECT millrace.is_admin() AS is_admin));
GRANT DELETE, SELECT ON TABLE millrace.outbox_dead_letter TO millrace_admin;
COMMENT ON TABLE millrace.outbox_dead_letter IS 'Messages that Kafka did not take and that nothing waits for. Written by the daemon; read millrace.outbox_dead_letters.';

CREATE TABLE millrace.outbox_progress (
  cluster text NOT NULL,
  epoch bigint NOT NULL,
  sent pg_snapshot DEFAULT '1:1:'::pg_snapshot NOT NULL,
  batch pg_snapshot,
  last_id bigint DEFAULT 0 NOT NULL,
  ids_until bigint DEFAULT 0 NOT NULL,
  number bigint DEFAULT 0 NOT NULL,
  token uuid,
  kafka_number bigint,
  kafka_id bigint,
  kafka_line integer,
  transaction_line integer DEFAULT 1 NOT NULL,
  fenced_line integer DEFAULT 0 NOT NULL,
  transactional boolean DEFAULT false NOT NULL,
  error_code text,
  error_message text,
  error_at timestamp with time zone,
  FOREIGN KEY (cluster) REFERENCES millrace.cluster(name) ON DELETE CASCADE,
  PRIMARY KEY (cluster)
) WITH (fillfactor=50);
ALTER TABLE millrace.outbox_progress ENABLE ROW LEVEL SECURITY;
CREATE POLICY begin ON millrace.outbox_progress FOR INSERT
  WITH CHECK (((epoch = 0) AND ( SELECT millrace.is_admin() AS is_admin)));
GRANT INSERT (cluster, epoch, sent) ON TABLE millrace.outbox_progress TO PUBLIC;
COMMENT ON TABLE millrace.outbox_progress IS 'How much of the outbox is sent to each cluster. Written by the daemon.';
COMMENT ON COLUMN millrace.outbox_progress.ids_until IS 'No row that the last of the two snapshots sees has a higher id.';
COMMENT ON COLUMN millrace.outbox_progress.number IS 'Of the batch, or of the last one.';
COMMENT ON COLUMN millrace.outbox_progress.token IS 'Of the batch, or of the last one: no other batch of any database has it.';
COMMENT ON COLUMN millrace.outbox_progress.kafka_number IS 'Exactly once: the batch up to which Kafka has committed, as far as this is known here.';
COMMENT ON COLUMN millrace.outbox_progress.kafka_id IS 'Exactly once: the last id of that batch that Kafka has committed.';
COMMENT ON COLUMN millrace.outbox_progress.kafka_line IS 'Exactly once: the line under which Kafka''s position was committed, as far as this is known here. No later position has a lower one.';
COMMENT ON COLUMN millrace.outbox_progress.transaction_line IS 'Exactly once: of the transactional id. The next one is taken where Kafka cannot end a transaction of the former one.';
COMMENT ON COLUMN millrace.outbox_progress.fenced_line IS 'Exactly once: up to this line nobody can send any more who did before.';
COMMENT ON COLUMN millrace.outbox_progress.transactional IS 'Whether the last messages were sent in Kafka transactions.';

CREATE TABLE millrace.outbox_waiting (
  id bigint NOT NULL,
  xid xid8 NOT NULL,
  "timestamp" timestamp with time zone NOT NULL,
  owner regrole NOT NULL,
  partition integer,
  cluster text NOT NULL,
  topic text NOT NULL,
  key bytea,
  value bytea,
  headers bytea[],
  source text,
  whole_topic boolean NOT NULL,
  code text,
  message text,
  waiting_since timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  attempts integer DEFAULT 0 NOT NULL,
  FOREIGN KEY (cluster) REFERENCES millrace.cluster(name) ON DELETE CASCADE,
  PRIMARY KEY (id)
);
CREATE INDEX outbox_waiting_order ON millrace.outbox_waiting USING btree (cluster, topic, id);
ALTER TABLE millrace.outbox_waiting ENABLE ROW LEVEL SECURITY;
COMMENT ON TABLE millrace.outbox_waiting IS 'Messages that Kafka does not take as they or their topic are, and those behind them. Written by the daemon; read millrace.outbox_status.';

CREATE TABLE millrace.outbox_writing (
  singleton boolean DEFAULT true NOT NULL,
  segment smallint NOT NULL,
  CHECK (((segment >= 0) AND (segment <= 3))),
  CHECK (singleton),
  PRIMARY KEY (singleton)
);
CREATE TRIGGER copy_outbox_writing AFTER INSERT OR UPDATE ON millrace.outbox_writing FOR EACH ROW EXECUTE FUNCTION millrace.copy_outbox_writing();
GRANT SELECT ON TABLE millrace.outbox_writing TO PUBLIC;
COMMENT ON TABLE millrace.outbox_writing IS 'The segment of the outbox that is written into now.';

CREATE TABLE millrace."position" (
  consumer_id bigint NOT NULL,
  partition integer NOT NULL,
  next_offset bigint NOT NULL,
  cluster_id text,
  topic_id uuid,
  leader_epoch integer DEFAULT '-1'::integer NOT NULL,
  config_version bigint NOT NULL,
  owner_epoch bigint DEFAULT 0 NOT NULL,
  owner uuid,
  owner_pid integer,
  owner_started timestamp with time zone,
  messages bigint DEFAULT 0 NOT NULL,
  skipped bigint DEFAULT 0 NOT NULL,
  dead_letters bigint DEFAULT 0 NOT NULL,
  bytes bigint DEFAULT 0 NOT NULL,
  transaction_ids bigint DEFAULT 0 NOT NULL,
  moved_at timestamp with time zone,
  FOREIGN KEY (consumer_id) REFERENCES millrace.consumer(id) ON DELETE CASCADE,
  PRIMARY KEY (consumer_id, partition)
) WITH (fillfactor=50);
ALTER TABLE millrace."position" ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON millrace."position" FOR SELECT
  USING ((consumer_id IN ( SELECT consumer.id
   FROM millrace.consumer)));
GRANT SELECT ON TABLE millrace."position" TO PUBLIC;
COMMENT ON TABLE millrace."position" IS 'The next offset of every consumer in every partition, and who moves it. Written by the daemon.';

CREATE TABLE millrace.publication (
  id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  relation regclass NOT NULL,
  name text NOT NULL,
  owner regrole NOT NULL,
  cluster text NOT NULL,
  topic text NOT NULL,
  key_columns text[] NOT NULL,
  columns text[],
  filter text,
  filter_columns text[] NOT NULL,
  column_numbers jsonb NOT NULL,
  envelope text NOT NULL,
  with_schema boolean NOT NULL,
  truncate text NOT NULL,
  capture text NOT NULL,
  snapshot bigint,
  created_at timestamp with time zone DEFAULT now() NOT NULL,
  FOREIGN KEY (cluster) REFERENCES millrace.cluster(name),
  PRIMARY KEY (id)
);
ALTER TABLE millrace.publication ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON millrace.publication FOR ALL
  USING ((pg_has_role((owner)::oid, 'USAGE'::text) OR ( SELECT millrace.is_admin() AS is_admin)))
  WITH CHECK (pg_has_role((owner)::oid, 'USAGE'::text));
GRANT INSERT, SELECT ON TABLE millrace.publication TO PUBLIC;
GRANT UPDATE (snapshot) ON TABLE millrace.publication TO PUBLIC;
COMMENT ON TABLE millrace.publication IS 'Tables whose changes go to a topic. Read millrace.publications.';
COMMENT ON COLUMN millrace.publication.name IS 'The relation''s, when it was published.';
COMMENT ON COLUMN millrace.publication.owner IS 'Role that the triggers'' function belongs to and runs as.';
COMMENT ON COLUMN millrace.publication.key_columns IS 'Columns of the message''s key; empty: messages have none.';
COMMENT ON COLUMN millrace.publication.columns IS 'Columns that are sent; NULL: all that the table has at the time.';
COMMENT ON COLUMN millrace.publication.column_numbers IS 'Number of each column that is named here, as it was when the table was published: see column_numbers().';
COMMENT ON COLUMN millrace.publication.capture IS 'statement or row: how often the triggers fire.';
COMMENT ON COLUMN millrace.publication.snapshot IS 'Number of its snapshot, if it has one.';

CREATE TABLE millrace.report (
  consumer_id bigint NOT NULL,
  daemon uuid NOT NULL,
  state text NOT NULL,
  code text,
  detail text,
  rows_per_second double precision,
  reported_at timestamp with time zone DEFAULT now() NOT NULL,
  FOREIGN KEY (consumer_id) REFERENCES millrace.consumer(id) ON DELETE CASCADE,
  FOREIGN KEY (daemon) REFERENCES millrace.daemon(id) ON DELETE CASCADE,
  PRIMARY KEY (consumer_id, daemon)
);
CREATE INDEX report_daemon ON millrace.report USING btree (daemon);
ALTER TABLE millrace.report ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON millrace.report FOR SELECT
  USING ((consumer_id IN ( SELECT consumer.id
   FROM millrace.consumer)));
GRANT SELECT ON TABLE millrace.report TO PUBLIC;
COMMENT ON TABLE millrace.report IS 'What each daemon does for each consumer.';

CREATE TABLE millrace.request (
  id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  kind text NOT NULL,
  owner regrole NOT NULL,
  consumer_id bigint,
  arguments jsonb DEFAULT '{}'::jsonb NOT NULL,
  state text DEFAULT 'pending'::text NOT NULL,
  asked_count bigint DEFAULT 0 NOT NULL,
  done_count bigint DEFAULT 0 NOT NULL,
  failed_count bigint DEFAULT 0 NOT NULL,
  result jsonb,
  error_code text,
  error_message text,
  daemon uuid,
  backend_pid integer,
  backend_started timestamp with time zone,
  asked_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  started_at timestamp with time zone,
  finished_at timestamp with time zone,
  CHECK ((state = ANY (ARRAY['pending'::text, 'running'::text, 'done'::text, 'failed'::text]))),
  PRIMARY KEY (id)
);
CREATE INDEX request_open ON millrace.request USING btree (id) WHERE (state = ANY (ARRAY['pending'::text, 'running'::text]));
CREATE TRIGGER check_request BEFORE INSERT ON millrace.request FOR EACH ROW EXECUTE FUNCTION millrace.check_request();
CREATE TRIGGER notify_daemon AFTER INSERT ON millrace.request FOR EACH STATEMENT EXECUTE FUNCTION millrace.notify_daemon();
ALTER TABLE millrace.request ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON millrace.request FOR ALL
  USING ((pg_has_role((owner)::oid, 'USAGE'::text) OR ( SELECT millrace.is_admin() AS is_admin)))
  WITH CHECK (pg_has_role((owner)::oid, 'USAGE'::text));
GRANT SELECT ON TABLE millrace.request TO PUBLIC;
GRANT INSERT (kind, consumer_id, arguments, asked_count) ON TABLE millrace.request TO PUBLIC;
COMMENT ON TABLE millrace.request IS 'What was asked of the daemon, how far it is, and what came of it.';

CREATE TABLE millrace.snapshot (
  snapshot_id bigint NOT NULL,
  root regclass NOT NULL,
  name text NOT NULL,
  relation regclass NOT NULL,
  owner regrole NOT NULL,
  writer text NOT NULL,
  drop_writer boolean DEFAULT false NOT NULL,
  wanted boolean DEFAULT true NOT NULL,
  filenode oid NOT NULL,
  first_block bigint NOT NULL,
  next_block bigint NOT NULL,
  end_block bigint NOT NULL,
  to_end boolean NOT NULL,
  skipped tid[] DEFAULT '{}'::tid[] NOT NULL,
  written bigint DEFAULT 0 NOT NULL,
  chunks bigint DEFAULT 0 NOT NULL,
  chunk_blocks integer DEFAULT 16 NOT NULL,
  attempts integer DEFAULT 0 NOT NULL,
  not_before timestamp with time zone DEFAULT to_timestamp((0)::double precision) NOT NULL,
  waits_for text,
  error_code text,
  error_message text,
  begun_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  changed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  finished_at timestamp with time zone,
  ended boolean DEFAULT false NOT NULL,
  settled boolean DEFAULT false NOT NULL,
  PRIMARY KEY (snapshot_id, relation, first_block)
) WITH (fillfactor=50);
CREATE INDEX snapshot_unfinished ON millrace.snapshot USING btree (relation) WHERE (finished_at IS NULL);
CREATE INDEX snapshot_unsettled ON millrace.snapshot USING btree (owner) WHERE (NOT settled);
CREATE TRIGGER check_snapshot BEFORE INSERT ON millrace.snapshot FOR EACH ROW EXECUTE FUNCTION millrace.check_snapshot();
CREATE TRIGGER notify_daemon AFTER INSERT ON millrace.snapshot FOR EACH STATEMENT EXECUTE FUNCTION millrace.notify_daemon();
ALTER TABLE millrace.snapshot ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON millrace.snapshot FOR ALL
  USING ((pg_has_role((owner)::oid, 'USAGE'::text) OR ( SELECT millrace.is_admin() AS is_admin)))
  WITH CHECK ((pg_has_role((owner)::oid, 'USAGE'::text) OR ( SELECT millrace.is_admin() AS is_admin)));
GRANT SELECT ON TABLE millrace.snapshot TO PUBLIC;
GRANT INSERT (snapshot_id, root, relation, writer, drop_writer, first_block, end_block, to_end) ON TABLE millrace.snapshot TO PUBLIC;
GRANT UPDATE (wanted) ON TABLE millrace.snapshot TO PUBLIC;
COMMENT ON TABLE millrace.snapshot IS 'How far the snapshots of tables are. Written with each chunk, in its transaction; read millrace.snapshots.';
COMMENT ON COLUMN millrace.snapshot.root IS 'The table whose snapshot it is a part of; relation, or what that is a partition or a child of.';
COMMENT ON COLUMN millrace.snapshot.writer IS 'Function that writes a chunk, with its schema and the types of its arguments.';
COMMENT ON COLUMN millrace.snapshot.wanted IS 'false: millrace.end_snapshot() ended it.';
COMMENT ON COLUMN millrace.snapshot.filenode IS 'Another one means that the table was rewritten: the range begins anew.';
COMMENT ON COLUMN millrace.snapshot.end_block IS 'Rows in blocks that were added since it began are captured as they come.';
COMMENT ON COLUMN millrace.snapshot.to_end IS 'It is the table''s last range.';
COMMENT ON COLUMN millrace.snapshot.skipped IS 'Rows that others had locked; they are tried again.';
COMMENT ON COLUMN millrace.snapshot.chunk_blocks IS 'So many blocks are the next chunk: it is to take 50 ms.';
COMMENT ON COLUMN millrace.snapshot.ended IS 'It was finished before its end: it, the table or the writer was not wanted any more.';
COMMENT ON COLUMN millrace.snapshot.settled IS 'Nothing is left to do for it.';

CREATE TABLE millrace.topic_grant (
  cluster text DEFAULT 'default'::text NOT NULL,
  topic text NOT NULL,
  grantee regrole NOT NULL,
  action text DEFAULT 'consume'::text NOT NULL,
  FOREIGN KEY (cluster) REFERENCES millrace.cluster(name),
  PRIMARY KEY (cluster, topic, grantee, action)
);
CREATE TRIGGER check_topic_grant BEFORE INSERT OR UPDATE ON millrace.topic_grant FOR EACH ROW EXECUTE FUNCTION millrace.check_topic_grant();
ALTER TABLE millrace.topic_grant ENABLE ROW LEVEL SECURITY;
CREATE POLICY administer ON millrace.topic_grant FOR ALL
  USING (( SELECT millrace.is_admin() AS is_admin))
  WITH CHECK (( SELECT millrace.is_admin() AS is_admin));
CREATE POLICY own ON millrace.topic_grant FOR SELECT
  USING ((((grantee)::oid = (0)::oid) OR pg_has_role((grantee)::oid, 'USAGE'::text)));
GRANT INSERT, SELECT ON TABLE millrace.topic_grant TO PUBLIC;
GRANT DELETE ON TABLE millrace.topic_grant TO millrace_admin;
COMMENT ON TABLE millrace.topic_grant IS 'Which roles may consume or produce a topic; grantee 0 is every role, topic * every topic.';

CREATE TABLE millrace.watched_topic (
  cluster text DEFAULT 'default'::text NOT NULL,
  topic text NOT NULL,
  asked_at timestamp with time zone DEFAULT now() NOT NULL,
  PRIMARY KEY (cluster, topic)
);
CREATE TRIGGER check_watched_topic BEFORE INSERT OR UPDATE ON millrace.watched_topic FOR EACH ROW EXECUTE FUNCTION millrace.check_watched_topic();
CREATE TRIGGER notify_daemon AFTER INSERT OR UPDATE ON millrace.watched_topic FOR EACH STATEMENT EXECUTE FUNCTION millrace.notify_daemon();
ALTER TABLE millrace.watched_topic ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON millrace.watched_topic FOR ALL
  USING ((( SELECT millrace.is_admin() AS is_admin) OR millrace.may_consume(cluster, topic)))
  WITH CHECK ((( SELECT millrace.is_admin() AS is_admin) OR millrace.may_consume(cluster, topic)));
GRANT INSERT, SELECT ON TABLE millrace.watched_topic TO PUBLIC;
GRANT UPDATE (asked_at) ON TABLE millrace.watched_topic TO PUBLIC;
COMMENT ON TABLE millrace.watched_topic IS 'Topics whose watermarks somebody asked for.';

CREATE TABLE millrace.watermark (
  cluster text NOT NULL,
  topic text NOT NULL,
  partition integer NOT NULL,
  low bigint NOT NULL,
  high bigint NOT NULL,
  last_stable bigint,
  reported_at timestamp with time zone DEFAULT now() NOT NULL,
  PRIMARY KEY (cluster, topic, partition)
);
ALTER TABLE millrace.watermark ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON millrace.watermark FOR SELECT
  USING ((( SELECT millrace.is_admin() AS is_admin) OR ((cluster, topic) IN ( SELECT c.cluster,
    c.topic
   FROM millrace.consumer c)) OR millrace.may_consume(cluster, topic)));
GRANT SELECT ON TABLE millrace.watermark TO PUBLIC;
COMMENT ON TABLE millrace.watermark IS 'What Kafka holds of a partition, as a daemon last saw it.';

CREATE VIEW millrace.batches WITH (security_barrier=true) AS
 SELECT b.consumer_id,
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
   FROM millrace.visible_consumer c
     JOIN millrace.batch b ON b.consumer_id = c.id;
GRANT SELECT ON TABLE millrace.batches TO PUBLIC;
COMMENT ON VIEW millrace.batches IS 'What the commits of every consumer moved that the current role may see: offsets, counts, transaction. As they age, those that follow each other become one.';
COMMENT ON COLUMN millrace.batches.consumer_id IS 'Number of the consumer in millrace.consumers.';
COMMENT ON COLUMN millrace.batches.topic IS 'Topic that is read.';
COMMENT ON COLUMN millrace.batches.target IS 'Relation that is loaded.';
COMMENT ON COLUMN millrace.batches.partition IS 'Partition of the topic.';
COMMENT ON COLUMN millrace.batches.id IS 'Ascends in the order of the commits of a partition.';
COMMENT ON COLUMN millrace.batches.kind IS 'load: the offsets were read; start: reading began; seek: the position was moved by a call; gap: messages were gone, and it went on after them.';
COMMENT ON COLUMN millrace.batches.from_offset IS 'First offset of the range; of a seek or gap, where the position stood.';
COMMENT ON COLUMN millrace.batches.to_offset IS 'Offset after the range: where the position then stood.';
COMMENT ON COLUMN millrace.batches.messages IS 'Messages loaded.';
COMMENT ON COLUMN millrace.batches.skipped IS 'Messages passed over.';
COMMENT ON COLUMN millrace.batches.dead_letters IS 'Dead letters written; also messages that on_error skips.';
COMMENT ON COLUMN millrace.batches.bytes IS 'Bytes of the messages loaded.';
COMMENT ON COLUMN millrace.batches.transaction_ids IS 'Transaction ids that messages that could not be loaded have taken at most, xid apart; of all partitions of a transaction in the row of one.';
COMMENT ON COLUMN millrace.batches.xid IS 'Transaction that did it; of several, the last.';
COMMENT ON COLUMN millrace.batches.commits IS 'Commits that are merged in this row.';
COMMENT ON COLUMN millrace.batches.committed_at IS 'When it was done; of several, the last.';

CREATE VIEW millrace.consumers WITH (security_barrier=true) AS
 SELECT c.id,
    c.cluster,
    c.topic,
    millrace.target_shown(c.target_schema, c.target_name) AS target,
    c.owner,
    c.topic_pattern,
    c.parent_id,
    c.route_by_key,
    c.group_id,
    c.format,
    c.delimiter,
    c.quote,
    c.escape,
    c.encoding,
    c.json_path,
    c.columns,
    c.rest_column,
    c.unknown_keys,
    c.missing_keys,
    c.metadata,
    c.mode,
    c.key_columns,
    c.tombstone,
    c.transform,
    c.on_error,
    c.dead_letter_limit,
    c.dead_letter_max_age,
    c.on_offset_gap,
    c.batchsize,
    c.maxbytes,
    c.parallelism,
    c.timeout,
    c.start_offset,
    c.start_time,
    c.start_partitions,
    c.way,
    c.way_reason,
        CASE
            WHEN c.wanted = 'stopped'::text THEN 'stopped'::text
            WHEN f.code IS NOT NULL THEN 'failed'::text
            WHEN NOT alive.any_daemon THEN 'no-daemon'::text
            WHEN c.topic_pattern IS NOT NULL THEN COALESCE(r.state, 'watching'::text)
            ELSE COALESCE(r.state, 'starting'::text)
        END AS state,
    COALESCE(p.partitions, 0::bigint)::integer AS partitions,
    COALESCE(p.messages, 0::numeric)::bigint AS messages,
    COALESCE(p.skipped, 0::numeric)::bigint AS skipped,
    COALESCE(p.bytes, 0::numeric)::bigint AS bytes,
    COALESCE(p.transaction_ids, 0::numeric)::bigint AS transaction_ids,
    COALESCE(d.dead_letters, 0::bigint) AS dead_letters,
    COALESCE(p.dead_letters, 0::numeric)::bigint AS dead_letters_written,
    c.dead_letters_expired,
    p.lag::bigint AS lag,
        CASE
            WHEN c.wanted = 'running'::text AND f.code IS NULL THEN r.rows_per_second
            ELSE NULL::double precision
        END AS rows_per_second,
    p.moved_at,
    COALESCE(f.code, reported.code) AS error_code,
    COALESCE(f.message, reported.detail) AS error_message,
    f.sqlstate AS error_sqlstate,
    f.partition AS error_partition,
    f."offset" AS error_offset,
    COALESCE(f.failed_at, reported.reported_at) AS error_at,
    c.warning,
    c.created_at,
    c.changed_at
   FROM millrace.visible_consumer c
     LEFT JOIN millrace.failure f ON f.consumer_id = c.id AND f.version = c.version
     LEFT JOIN millrace.live_report r ON r.consumer_id = c.id
     LEFT JOIN millrace.live_report reported ON reported.consumer_id = c.id AND reported.code IS NOT NULL AND f.code IS NULL AND c.wanted = 'running'::text
     LEFT JOIN LATERAL ( SELECT count(*) AS partitions,
            sum(o.messages) AS messages,
            sum(o.skipped) AS skipped,
            sum(o.bytes) AS bytes,
            sum(o.dead_letters) AS dead_letters,
            sum(o.transaction_ids) AS transaction_ids,
            sum(
                CASE
                    WHEN w.high > o.next_offset THEN w.high - o.next_offset
                    WHEN w.high IS NOT NULL THEN 0::bigint
                    ELSE NULL::bigint
                END) AS lag,
            max(o.moved_at) AS moved_at
           FROM millrace."position" o
             LEFT JOIN millrace.watermark w ON w.cluster = c.cluster AND w.topic = c.topic AND w.partition = o.partition
          WHERE o.consumer_id = c.id) p ON true
     LEFT JOIN LATERAL ( SELECT count(*) AS dead_letters
           FROM millrace.dead_letter l
          WHERE l.consumer_id = c.id) d ON true
     CROSS JOIN ( SELECT (EXISTS ( SELECT
                   FROM millrace.daemon
                  WHERE daemon.seen_at > (statement_timestamp() - '00:00:15'::interval))) AS any_daemon) alive;
GRANT SELECT ON TABLE millrace.consumers TO PUBLIC;
COMMENT ON VIEW millrace.consumers IS 'Every consumer that the current role may see: what it should do, what it does, and its last error.';
COMMENT ON COLUMN millrace.consumers.id IS 'Number of the consumer.';
COMMENT ON COLUMN millrace.consumers.cluster IS 'Kafka cluster that is read.';
COMMENT ON COLUMN millrace.consumers.topic IS 'Topic that is read; NULL: those that match topic_pattern.';
COMMENT ON COLUMN millrace.consumers.target IS 'Relation that is loaded, with its schema, quoted where SQL needs it; schema.*: those that the message keys name.';
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
COMMENT ON COLUMN millrace.consumers.columns IS 'Columns that a message fills, NULL: all; with a transform, the columns of its batch.';
COMMENT ON COLUMN millrace.consumers.rest_column IS 'Column for the keys that match no column.';
COMMENT ON COLUMN millrace.consumers.unknown_keys IS 'What a key that matches no column is: ignore, error.';
COMMENT ON COLUMN millrace.consumers.missing_keys IS 'What a column without a key gets: its default, or error.';
COMMENT ON COLUMN millrace.consumers.metadata IS 'Columns for key, topic, partition, offset, timestamp and headers of a message.';
COMMENT ON COLUMN millrace.consumers.mode IS 'insert, upsert, or changes (a Debezium envelope).';
COMMENT ON COLUMN millrace.consumers.key_columns IS 'Columns that tell rows apart in upsert and changes; NULL: the primary key.';
COMMENT ON COLUMN millrace.consumers.tombstone IS 'What happens to a message without value: skip, row, delete; NULL: skip in insert, delete in upsert and changes.';
COMMENT ON COLUMN millrace.consumers.transform IS 'Query over the relation batch whose result is inserted.';
COMMENT ON COLUMN millrace.consumers.on_error IS 'What happens to a message that cannot be loaded: stop, dead_letter, skip.';
COMMENT ON COLUMN millrace.consumers.dead_letter_limit IS 'Dead letters that may be stored; the consumer stops before there are more.';
COMMENT ON COLUMN millrace.consumers.dead_letter_max_age IS 'Age at which a dead letter is removed; NULL: never.';
COMMENT ON COLUMN millrace.consumers.on_offset_gap IS 'What happens when the next message is gone: stop, or earliest (go on with the oldest there is, and record the gap).';
COMMENT ON COLUMN millrace.consumers.batchsize IS 'Buffered messages from which a commit happens.';
COMMENT ON COLUMN millrace.consumers.maxbytes IS 'Buffered bytes from which a commit happens.';
COMMENT ON COLUMN millrace.consumers.parallelism IS 'COPY streams per daemon.';
COMMENT ON COLUMN millrace.consumers.timeout IS 'Milliseconds a fetch waits for messages.';
COMMENT ON COLUMN millrace.consumers.start_offset IS 'The start_offset of the last call that started the consumer.';
COMMENT ON COLUMN millrace.consumers.start_time IS 'The time from which the last call that started the consumer had it read.';
COMMENT ON COLUMN millrace.consumers.start_partitions IS 'The offsets of single partitions to which the consumer was last moved.';
COMMENT ON COLUMN millrace.consumers.way IS 'How the relation is loaded: direct (COPY into it), or staged (by way of a temporary table).';
COMMENT ON COLUMN millrace.consumers.way_reason IS 'Code and words of what keeps the relation from being loaded directly; NULL: nothing, or an option.';
COMMENT ON COLUMN millrace.consumers.state IS 'stopped, failed, no-daemon, or what the daemons do: retrying, waiting-for-topic, locating, starting, running; watching: a topic_pattern.';
COMMENT ON COLUMN millrace.consumers.partitions IS 'Partitions that have a position.';
COMMENT ON COLUMN millrace.consumers.messages IS 'Messages loaded so far.';
COMMENT ON COLUMN millrace.consumers.skipped IS 'Messages passed over so far: tombstones that neither delete nor become a row, and empty ones.';
COMMENT ON COLUMN millrace.consumers.bytes IS 'Bytes of the messages loaded so far.';
COMMENT ON COLUMN millrace.consumers.transaction_ids IS 'Transaction ids that messages that could not be loaded have taken so far, at most; those of the batches apart.';
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

CREATE VIEW millrace.dead_letters WITH (security_barrier=true) AS
 SELECT d.id,
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
   FROM millrace.visible_consumer c
     JOIN millrace.dead_letter d ON d.consumer_id = c.id;
GRANT SELECT ON TABLE millrace.dead_letters TO PUBLIC;
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

CREATE VIEW millrace.lag WITH (security_barrier=true) AS
 SELECT c.id AS consumer_id,
    c.topic,
    millrace.target_shown(c.target_schema, c.target_name) AS target,
    p.partition,
    p.next_offset,
    w.low AS low_watermark,
    w.high AS high_watermark,
        CASE
            WHEN w.high > p.next_offset THEN w.high - p.next_offset
            WHEN w.high IS NOT NULL THEN 0::bigint
            ELSE NULL::bigint
        END AS lag,
    p.moved_at,
    w.reported_at,
    statement_timestamp() - w.reported_at AS age
   FROM millrace.visible_consumer c
     JOIN millrace."position" p ON p.consumer_id = c.id
     LEFT JOIN millrace.watermark w ON w.cluster = c.cluster AND w.topic = c.topic AND w.partition = p.partition;
GRANT SELECT ON TABLE millrace.lag TO PUBLIC;
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

CREATE VIEW millrace.live_report WITH (security_barrier=true) AS
 SELECT DISTINCT ON (r.consumer_id) r.consumer_id,
    r.state,
    r.code,
    r.detail,
    r.reported_at,
    sum(r.rows_per_second) OVER (PARTITION BY r.consumer_id) AS rows_per_second
   FROM millrace.report r
     JOIN millrace.daemon d ON d.id = r.daemon
  WHERE d.seen_at > (statement_timestamp() - '00:00:15'::interval)
  ORDER BY r.consumer_id, (array_position(ARRAY['retrying'::text, 'waiting-for-topic'::text, 'locating'::text, 'starting'::text, 'running'::text], r.state)), r.reported_at DESC;
COMMENT ON VIEW millrace.live_report IS 'One report for each consumer: the worst of the live daemons'' reports. For millrace.consumers.';

CREATE VIEW millrace.outbox WITH (security_barrier=false) AS
 SELECT 0::smallint AS segment,
    outbox_0.id,
    outbox_0.xid,
    outbox_0."timestamp",
    outbox_0.owner,
    outbox_0.partition,
    outbox_0.cluster,
    outbox_0.topic,
    outbox_0.key,
    outbox_0.value,
    outbox_0.headers,
    outbox_0.source
   FROM millrace.outbox_0
UNION ALL
 SELECT 1 AS segment,
    outbox_1.id,
    outbox_1.xid,
    outbox_1."timestamp",
    outbox_1.owner,
    outbox_1.partition,
    outbox_1.cluster,
    outbox_1.topic,
    outbox_1.key,
    outbox_1.value,
    outbox_1.headers,
    outbox_1.source
   FROM millrace.outbox_1
UNION ALL
 SELECT 2 AS segment,
    outbox_2.id,
    outbox_2.xid,
    outbox_2."timestamp",
    outbox_2.owner,
    outbox_2.partition,
    outbox_2.cluster,
    outbox_2.topic,
    outbox_2.key,
    outbox_2.value,
    outbox_2.headers,
    outbox_2.source
   FROM millrace.outbox_2
UNION ALL
 SELECT 3 AS segment,
    outbox_3.id,
    outbox_3.xid,
    outbox_3."timestamp",
    outbox_3.owner,
    outbox_3.partition,
    outbox_3.cluster,
    outbox_3.topic,
    outbox_3.key,
    outbox_3.value,
    outbox_3.headers,
    outbox_3.source
   FROM millrace.outbox_3;
COMMENT ON VIEW millrace.outbox IS 'All segments of the outbox. Rows that were sent stay until their segment is truncated. For the role that owns the schema.';

CREATE VIEW millrace.outbox_dead_letters WITH (security_barrier=true) AS
 SELECT id,
    cluster,
    topic,
    partition,
    "timestamp",
    key,
    value,
    headers,
    millrace.readable(key) AS key_text,
    millrace.readable(value) AS value_text,
    millrace.readable_headers(headers) AS headers_json,
    owner,
    source,
    code,
    message,
    failed_at
   FROM millrace.outbox_dead_letter d
  WHERE ( SELECT millrace.is_admin() AS is_admin) OR pg_has_role(owner::oid, 'USAGE'::text);
GRANT SELECT ON TABLE millrace.outbox_dead_letters TO PUBLIC;
COMMENT ON VIEW millrace.outbox_dead_letters IS 'Messages that Kafka did not take, of the current role; administrators see all of them.';
COMMENT ON COLUMN millrace.outbox_dead_letters.id IS 'Number that it had in the outbox.';
COMMENT ON COLUMN millrace.outbox_dead_letters.partition IS 'That was asked for; NULL: the key decides.';
COMMENT ON COLUMN millrace.outbox_dead_letters.value IS 'NULL: a tombstone.';
COMMENT ON COLUMN millrace.outbox_dead_letters.headers IS 'name, value, name, value, ...';
COMMENT ON COLUMN millrace.outbox_dead_letters.key_text IS 'The key, where it is UTF-8.';
COMMENT ON COLUMN millrace.outbox_dead_letters.value_text IS 'The value, where it is UTF-8.';
COMMENT ON COLUMN millrace.outbox_dead_letters.headers_json IS 'Headers as an object, the last one of each name; a value that is not UTF-8 is null.';
COMMENT ON COLUMN millrace.outbox_dead_letters.owner IS 'Role that produced it.';
COMMENT ON COLUMN millrace.outbox_dead_letters.source IS 'Relation whose trigger produced it, if one did.';
COMMENT ON COLUMN millrace.outbox_dead_letters.code IS 'Why it was not taken (docs/errors.md).';

CREATE VIEW millrace.outbox_message_0 WITH (check_option=cascaded) AS
 SELECT "timestamp",
    owner,
    partition,
    cluster,
    topic,
    key,
    value,
    headers,
    source
   FROM millrace.outbox_0 o
  WHERE owner::text = quote_ident(CURRENT_USER::text) AND
        CASE
            WHEN partition IS NULL AND headers IS NULL AND "timestamp" >= '1970-01-01 00:00:00+00'::timestamp with time zone AND "timestamp" < 'infinity'::timestamp with time zone AND (EXISTS ( SELECT
               FROM millrace.topic_grant g
              WHERE g.cluster = o.cluster AND g.action = 'produce'::text AND
                    CASE g.topic
                        WHEN '*'::text THEN o.topic ~ '^[a-zA-Z0-9._-]+$'::text AND length(o.topic) <= 249 AND (o.topic <> ALL (ARRAY['.'::text, '..'::text]))
                        ELSE g.topic = o.topic
                    END AND (g.grantee::oid = 0::oid OR pg_has_role(g.grantee::oid, 'USAGE'::text)))) THEN true
            WHEN has_schema_privilege('millrace'::text, 'CREATE WITH GRANT OPTION'::text) THEN true
            ELSE millrace.admit_message(cluster, topic, partition, headers, "timestamp")
        END;
GRANT INSERT ("timestamp", owner, partition, cluster, topic, key, value, headers, source) ON TABLE millrace.outbox_message_0 TO PUBLIC;

CREATE VIEW millrace.outbox_message_1 WITH (check_option=cascaded) AS
 SELECT "timestamp",
    owner,
    partition,
    cluster,
    topic,
    key,
    value,
    headers,
    source
   FROM millrace.outbox_1 o
  WHERE owner::text = quote_ident(CURRENT_USER::text) AND
        CASE
            WHEN partition IS NULL AND headers IS NULL AND "timestamp" >= '1970-01-01 00:00:00+00'::timestamp with time zone AND "timestamp" < 'infinity'::timestamp with time zone AND (EXISTS ( SELECT
               FROM millrace.topic_grant g
              WHERE g.cluster = o.cluster AND g.action = 'produce'::text AND
                    CASE g.topic
                        WHEN '*'::text THEN o.topic ~ '^[a-zA-Z0-9._-]+$'::text AND length(o.topic) <= 249 AND (o.topic <> ALL (ARRAY['.'::text, '..'::text]))
                        ELSE g.topic = o.topic
                    END AND (g.grantee::oid = 0::oid OR pg_has_role(g.grantee::oid, 'USAGE'::text)))) THEN true
            WHEN has_schema_privilege('millrace'::text, 'CREATE WITH GRANT OPTION'::text) THEN true
            ELSE millrace.admit_message(cluster, topic, partition, headers, "timestamp")
        END;
GRANT INSERT ("timestamp", owner, partition, cluster, topic, key, value, headers, source) ON TABLE millrace.outbox_message_1 TO PUBLIC;

CREATE VIEW millrace.outbox_message_2 WITH (check_option=cascaded) AS
 SELECT "timestamp",
    owner,
    partition,
    cluster,
    topic,
    key,
    value,
    headers,
    source
   FROM millrace.outbox_2 o
  WHERE owner::text = quote_ident(CURRENT_USER::text) AND
        CASE
            WHEN partition IS NULL AND headers IS NULL AND "timestamp" >= '1970-01-01 00:00:00+00'::timestamp with time zone AND "timestamp" < 'infinity'::timestamp with time zone AND (EXISTS ( SELECT
               FROM millrace.topic_grant g
              WHERE g.cluster = o.cluster AND g.action = 'produce'::text AND
                    CASE g.topic
                        WHEN '*'::text THEN o.topic ~ '^[a-zA-Z0-9._-]+$'::text AND length(o.topic) <= 249 AND (o.topic <> ALL (ARRAY['.'::text, '..'::text]))
                        ELSE g.topic = o.topic
                    END AND (g.grantee::oid = 0::oid OR pg_has_role(g.grantee::oid, 'USAGE'::text)))) THEN true
            WHEN has_schema_privilege('millrace'::text, 'CREATE WITH GRANT OPTION'::text) THEN true
            ELSE millrace.admit_message(cluster, topic, partition, headers, "timestamp")
        END;
GRANT INSERT ("timestamp", owner, partition, cluster, topic, key, value, headers, source) ON TABLE millrace.outbox_message_2 TO PUBLIC;

CREATE VIEW millrace.outbox_message_3 WITH (check_option=cascaded) AS
 SELECT "timestamp",
    owner,
    partition,
    cluster,
    topic,
    key,
    value,
    headers,
    source
   FROM millrace.outbox_3 o
  WHERE owner::text = quote_ident(CURRENT_USER::text) AND
        CASE
            WHEN partition IS NULL AND headers IS NULL AND "timestamp" >= '1970-01-01 00:00:00+00'::timestamp with time zone AND "timestamp" < 'infinity'::timestamp with time zone AND (EXISTS ( SELECT
               FROM millrace.topic_grant g
              WHERE g.cluster = o.cluster AND g.action = 'produce'::text AND
                    CASE g.topic
                        WHEN '*'::text THEN o.topic ~ '^[a-zA-Z0-9._-]+$'::text AND length(o.topic) <= 249 AND (o.topic <> ALL (ARRAY['.'::text, '..'::text]))
                        ELSE g.topic = o.topic
                    END AND (g.grantee::oid = 0::oid OR pg_has_role(g.grantee::oid, 'USAGE'::text)))) THEN true
            WHEN has_schema_privilege('millrace'::text, 'CREATE WITH GRANT OPTION'::text) THEN true
            ELSE millrace.admit_message(cluster, topic, partition, headers, "timestamp")
        END;
GRANT INSERT ("timestamp", owner, partition, cluster, topic, key, value, headers, source) ON TABLE millrace.outbox_message_3 TO PUBLIC;

CREATE VIEW millrace.outbox_status WITH (security_barrier=true) AS
 SELECT c.name AS cluster,
    COALESCE(backlog.messages, 0::bigint) AS backlog,
    backlog.oldest AS oldest_unsent,
    COALESCE(waiting.messages, 0::bigint) AS waiting,
    COALESCE(waiting.keys, 0::bigint) AS waiting_keys,
    dead.letters AS dead_letters,
    first_waiting.id AS waiting_id,
    first_waiting.topic AS waiting_topic,
    first_waiting.code AS waiting_code,
    first_waiting.message AS waiting_message,
    p.error_code,
    p.error_message,
    p.error_at,
    l.daemon,
    l.renewed_at,
    c.delivery
   FROM millrace.cluster c
     LEFT JOIN millrace.outbox_progress p ON p.cluster = c.name
     LEFT JOIN millrace.lease l ON l.name = 'outbox'::text
     CROSS JOIN LATERAL ( SELECT count(*) AS messages,
            min(o."timestamp") AS oldest
           FROM millrace.outbox o
          WHERE o.cluster = c.name AND (p.sent IS NULL OR NOT pg_visible_in_snapshot(o.xid, p.sent)) AND NOT COALESCE(o.id <= p.last_id AND pg_visible_in_snapshot(o.xid, p.batch), false)) backlog
     CROSS JOIN LATERAL ( SELECT count(*) AS messages,
            count(DISTINCT ROW(w.topic, w.key,
                CASE
                    WHEN w.key IS NULL THEN COALESCE((- w.partition)::bigint, w.id)
                    ELSE NULL::bigint
                END)) AS keys
           FROM millrace.outbox_waiting w
          WHERE w.cluster = c.name) waiting
     CROSS JOIN LATERAL ( SELECT count(*) AS letters
           FROM millrace.outbox_dead_letter d
          WHERE d.cluster = c.name) dead
     LEFT JOIN LATERAL ( SELECT w.id,
            w.topic,
            w.code,
            w.message
           FROM millrace.outbox_waiting w
          WHERE w.cluster = c.name AND w.code IS NOT NULL
          ORDER BY w.id
         LIMIT 1) first_waiting ON true
  WHERE ( SELECT millrace.is_admin() AS is_admin);
GRANT SELECT ON TABLE millrace.outbox_status TO PUBLIC;
COMMENT ON VIEW millrace.outbox_status IS 'For administrators: what of the outbox is not sent yet, what waits and why, what the relay met last, and which daemon it is.';

CREATE VIEW millrace.produced_topic WITH (security_barrier=true) AS
 SELECT (g.cluster || ' '::text) || t.topic AS name
   FROM millrace.topic_grant g
     CROSS JOIN LATERAL unnest(
        CASE g.topic
            WHEN '*'::text THEN millrace.published_topics(g.cluster)
            ELSE ARRAY[g.topic]
        END) t(topic)
  WHERE g.action = 'produce'::text AND (g.grantee::oid = 0::oid OR pg_has_role(g.grantee::oid, 'USAGE'::text));
GRANT SELECT ON TABLE millrace.produced_topic TO PUBLIC;
COMMENT ON VIEW millrace.produced_topic IS 'Topics that the current role may produce to, for the policies of the outbox.';

CREATE VIEW millrace.publications WITH (security_barrier=true) AS
 SELECT id,
    COALESCE(( SELECT format('%I.%I'::text, n.nspname, c.relname) AS format
           FROM pg_class c
             JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE c.oid = p.relation::oid), name) AS relation,
    cluster,
    topic,
    key_columns AS key,
    columns,
    filter,
    envelope,
    with_schema,
    truncate,
    capture,
    snapshot,
    pg_get_userbyid(owner::oid) AS owner,
    created_at,
    millrace.publication_problem(p.*) AS problem
   FROM millrace.publication p
  WHERE pg_has_role(owner::oid, 'USAGE'::text) OR ( SELECT millrace.is_admin() AS is_admin);
GRANT SELECT ON TABLE millrace.publications TO PUBLIC;
COMMENT ON VIEW millrace.publications IS 'Your published tables, and what keeps a change of one from being sent (docs/publishing.md).';

CREATE VIEW millrace.removal WITH (security_barrier=true) AS
 SELECT NULL::bigint AS consumer_id
  WHERE false;
CREATE RULE remove AS
    ON INSERT TO millrace.removal DO INSTEAD ( DELETE FROM millrace.dead_letter d
  WHERE (d.consumer_id IN ( SELECT c.id
           FROM millrace.visible_consumer c
          WHERE ((c.parent_id = new.consumer_id) OR ((c.id = new.consumer_id) AND (c.parent_id IS NULL)))));
 DELETE FROM millrace.batch b
  WHERE (b.consumer_id IN ( SELECT c.id
           FROM millrace.visible_consumer c
          WHERE ((c.parent_id = new.consumer_id) OR ((c.id = new.consumer_id) AND (c.parent_id IS NULL)))));
 DELETE FROM millrace.consumer c
  WHERE ((c.id = new.consumer_id) AND (c.parent_id IS NULL) AND (c.id IN ( SELECT v.id
           FROM millrace.visible_consumer v)));
);
GRANT INSERT ON TABLE millrace.removal TO PUBLIC;
COMMENT ON VIEW millrace.removal IS 'Takes the number of a consumer that is to be removed. For other views.';

CREATE VIEW millrace.snapshots WITH (security_barrier=true) AS
 SELECT snapshot_id AS id,
    name AS relation,
        CASE
            WHEN bool_and(finished_at IS NOT NULL) THEN
            CASE
                WHEN bool_and(ended) THEN 'ended'::text
                ELSE 'done'::text
            END
            WHEN count(error_code) > 0 THEN 'failing'::text
            WHEN count(waits_for) > 0 THEN 'waiting'::text
            WHEN sum(chunks) > 0::numeric THEN 'running'::text
            ELSE 'pending'::text
        END AS state,
    sum(written)::bigint AS rows,
    sum(
        CASE
            WHEN finished_at IS NULL THEN next_block
            ELSE end_block
        END - first_block)::bigint AS blocks_done,
    sum(end_block - first_block)::bigint AS blocks,
    sum(cardinality(skipped)) AS locked_rows,
    min(waits_for) AS waits_for,
    min(error_code) AS error_code,
    min(error_message) AS error_message,
    pg_get_userbyid(owner::oid) AS owner,
    min(begun_at) AS begun_at,
    max(changed_at) AS changed_at,
        CASE
            WHEN bool_and(finished_at IS NOT NULL) THEN max(finished_at)
            ELSE NULL::timestamp with time zone
        END AS finished_at
   FROM millrace.snapshot s
  WHERE pg_has_role(owner::oid, 'USAGE'::text) OR ( SELECT millrace.is_admin() AS is_admin)
  GROUP BY snapshot_id, name, owner;
GRANT SELECT ON TABLE millrace.snapshots TO PUBLIC;
COMMENT ON VIEW millrace.snapshots IS 'Snapshots of your tables, how far they are and what they wait for; those that are done for a day.';

CREATE VIEW millrace.visible_consumer WITH (security_barrier=true) AS
 SELECT id,
    cluster,
    topic,
    topic_pattern,
    parent_id,
    target_schema,
    target_name,
    route_by_key,
    owner,
    group_id,
    format,
    delimiter,
    quote,
    escape,
    encoding,
    json_path,
    columns,
    rest_column,
    unknown_keys,
    missing_keys,
    metadata,
    mode,
    key_columns,
    tombstone,
    transform,
    on_error,
    dead_letter_limit,
    dead_letter_max_age,
    on_offset_gap,
    batchsize,
    maxbytes,
    parallelism,
    timeout,
    wanted,
    version,
    start_offset,
    start_time,
    start_partitions,
    start_pending,
    located_at,
    way,
    way_reason,
    warning,
    dead_letters_expired,
    created_at,
    changed_at
   FROM millrace.consumer
  WHERE pg_has_role(owner::oid, 'USAGE'::text) OR ( SELECT millrace.is_admin() AS is_admin);
GRANT SELECT ON TABLE millrace.visible_consumer TO PUBLIC;
COMMENT ON VIEW millrace.visible_consumer IS 'The rows of millrace.consumer that the current role may see. For other views.';

CREATE OR REPLACE FUNCTION millrace.add_broker(host text, cluster text DEFAULT 'default'::text)
 RETURNS void
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  INSERT INTO millrace.broker (cluster, host) VALUES (add_broker.cluster, add_broker.host)
$function$
;
GRANT EXECUTE ON FUNCTION millrace.add_broker(text,text) TO PUBLIC;
COMMENT ON FUNCTION millrace.add_broker(text,text) IS 'Adds a broker, host or host:port, to a cluster. For administrators.';

CREATE OR REPLACE FUNCTION millrace.add_children(parent bigint, topics text[])
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  pattern millrace.consumer;
  expression text;
  found_topic text;
  problem text;
  why text;
  warnings text[] := '{}';
  added bigint := 0;
  copied constant text := (SELECT string_agg(quote_ident(o), ', ') FROM unnest(
    ARRAY['cluster', 'target_schema', 'target_name', 'route_by_key', 'owner', 'wanted'] || millrace.consumer_options()) AS o);
BEGIN
  SELECT * INTO pattern FROM millrace.consumer AS c WHERE c.id = parent AND c.wanted = 'running' FOR NO KEY UPDATE;
  IF pattern.topic_pattern IS NULL THEN
    RETURN 0;
  END IF;
  expression := millrace.topic_expression(pattern.topic_pattern);
  FOR found_topic IN
    SELECT t FROM unnest(topics) AS t WHERE t ~ expression AND NOT EXISTS (
      SELECT FROM millrace.consumer AS c WHERE c.cluster = pattern.cluster AND c.topic = t
        AND c.target_schema = pattern.target_schema AND c.target_name IS NOT DISTINCT FROM pattern.target_name)
    ORDER BY 1
  LOOP
    BEGIN
      EXECUTE format('INSERT INTO millrace.consumer (topic, parent_id, start_offset, start_time, %1$s)
        SELECT $2, ($1).id, CASE WHEN ($1).located_at IS NULL THEN ($1).start_offset ELSE -2 END,
          CASE WHEN ($1).located_at IS NULL THEN ($1).start_time END, %1$s FROM (SELECT ($1).*) AS parent', copied)
        USING pattern, found_topic;
      added := added + 1;
    EXCEPTION WHEN raise_exception OR insufficient_privilege OR undefined_table OR wrong_object_type OR feature_not_supported
      OR object_not_in_prerequisite_state OR invalid_parameter_value OR unique_violation OR invalid_column_reference
      OR undefined_column
    THEN
      GET STACKED DIAGNOSTICS problem = PG_EXCEPTION_DETAIL, why = MESSAGE_TEXT;
      warnings := warnings || concat_ws(': ', substring(problem FROM '^code: (.*)$'), why);
    END;
  END LOOP;
  UPDATE millrace.consumer AS c SET warning = left(array_to_string(warnings, '; '), 2000), located_at = coalesce(c.located_at, clock_timestamp()),
    start_pending = false
  WHERE c.id = pattern.id AND (c.located_at IS NULL OR c.start_pending OR c.warning IS DISTINCT FROM left(array_to_string(warnings, '; '), 2000));
  IF added > 0 THEN
    PERFORM pg_notify('millrace', '');
  END IF;
  RETURN added;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.add_children(bigint,text[]) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.add_cluster(name text, brokers text, delivery text DEFAULT 'at_least_once'::text)
 RETURNS void
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT millrace.add_cluster(name, string_to_array(brokers, ','), delivery)
$function$
;
GRANT EXECUTE ON FUNCTION millrace.add_cluster(text,text,text) TO PUBLIC;
COMMENT ON FUNCTION millrace.add_cluster(text,text,text) IS 'Adds a Kafka cluster with its brokers, separated by commas. For administrators.';

CREATE OR REPLACE FUNCTION millrace.add_cluster(name text, brokers text[], delivery text DEFAULT 'at_least_once'::text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  host text;
BEGIN
  IF NOT millrace.is_admin() THEN
    PERFORM millrace.refuse('admin-required', format('role %I may not add clusters', current_user));
  END IF;
  IF EXISTS (SELECT FROM millrace.broker AS b WHERE b.cluster = name) THEN
    PERFORM millrace.refuse('cluster-exists', format('cluster %L has brokers already', name));
  END IF;
  IF coalesce(cardinality(brokers), 0) = 0 THEN
    PERFORM millrace.refuse('broker-invalid', 'a cluster needs at least one broker');
  END IF;
  INSERT INTO millrace.cluster (name, delivery) VALUES (add_cluster.name, add_cluster.delivery)
  ON CONFLICT ON CONSTRAINT cluster_pkey DO UPDATE SET delivery = excluded.delivery;
  FOREACH host IN ARRAY brokers LOOP
    PERFORM millrace.add_broker(btrim(host), name);
  END LOOP;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.add_cluster(text,text[],text) TO PUBLIC;
COMMENT ON FUNCTION millrace.add_cluster(text,text[],text) IS 'Adds a Kafka cluster with its brokers, host or host:port. For administrators.';

CREATE OR REPLACE FUNCTION millrace.admit_message(cluster text, topic text, partition integer, headers bytea[], "timestamp" timestamp with time zone)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  -- as many as the daemon reads, and none with a name that is the daemon's
  headers_fit constant boolean := headers IS NULL OR headers = '{}'
    OR (array_ndims(headers) = 1 AND array_lower(headers, 1) = 1 AND cardinality(headers) % 2 = 0 AND cardinality(headers) <= 20000
      AND NOT EXISTS (SELECT FROM unnest(headers) WITH ORDINALITY AS h (part, place)
        WHERE h.place % 2 = 1 AND (h.part = 'millrace-id'::bytea OR h.part IS NULL)));
BEGIN
  IF topic ~ '^[a-zA-Z0-9._-]+$' AND length(topic) <= 249 AND topic NOT IN ('.', '..') AND coalesce(partition, 0) >= 0
    AND isfinite("timestamp") AND "timestamp" >= to_timestamp(0) AND headers_fit
  THEN
    PERFORM FROM millrace.topic_grant AS g
    WHERE g.cluster = admit_message.cluster AND g.topic IN (admit_message.topic, '*') AND g.action = 'produce'
      AND (g.grantee::oid = 0 OR pg_has_role(g.grantee::oid, 'USAGE'));
    IF FOUND THEN
      RETURN true;
    END IF;
  END IF;
  PERFORM millrace.check_message(topic, partition, "timestamp");
  IF NOT headers_fit THEN
    PERFORM millrace.refuse('headers-invalid',
      'headers are name, value, name, value, ..., at most 10,000 of them; millrace-id is the daemon''s');
  ELSIF NOT millrace.may_produce(cluster, topic) THEN
    PERFORM millrace.refuse('topic-not-granted',
      format('topic %s is not granted to role %I for producing', topic, current_user));
  END IF;
  RETURN true;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.admit_message(text,text,integer,bytea[],timestamp with time zone) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.adopt(is_clone boolean, keep_running boolean DEFAULT false)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF is_clone THEN
    UPDATE millrace.installation SET id = gen_random_uuid();
    IF NOT keep_running THEN
      UPDATE millrace.consumer SET wanted = 'stopped' WHERE wanted <> 'stopped';
      UPDATE millrace.snapshot SET wanted = false WHERE finished_at IS NULL;
    END IF;
  END IF;
  PERFORM millrace.adopt_outbox(is_clone);
  UPDATE millrace.life SET written_by = 0;
  UPDATE millrace.life SET written_by = xmin::text::bigint;
  PERFORM millrace.record_identity(CASE WHEN is_clone THEN 'clone' ELSE 'moved' END);
  -- Daemons of the database that this one was copied from.
  DELETE FROM millrace.daemon AS d WHERE NOT EXISTS (
    SELECT FROM pg_stat_activity AS a WHERE a.pid = d.backend_pid AND a.datname = current_database());
  PERFORM pg_notify('millrace', '');
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.adopt(boolean,boolean) TO PUBLIC;
COMMENT ON FUNCTION millrace.adopt(boolean,boolean) IS 'What millrace adopt calls. A clone gets an installation id of its own, and its consumers are stopped and its snapshots ended, unless they are to keep running; otherwise this database goes on as the one that was recorded. For the role that owns the schema.';

CREATE OR REPLACE FUNCTION millrace.adopt_outbox(is_clone boolean)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  segment integer;
  put_aside text;
BEGIN
  IF is_clone THEN
    TRUNCATE millrace.outbox_0, millrace.outbox_1, millrace.outbox_2, millrace.outbox_3, millrace.outbox_waiting,
      millrace.outbox_dead_letter;
    DELETE FROM millrace.outbox_progress;
    RETURN;
  ELSIF NOT millrace.is_loaded() THEN
    RETURN;
  END IF;
  LOCK TABLE millrace.outbox_0, millrace.outbox_1, millrace.outbox_2, millrace.outbox_3 IN SHARE ROW EXCLUSIVE MODE;
  FOR segment IN 0..3 LOOP
    EXECUTE format($sql$
      DELETE FROM millrace.outbox_%s AS o USING millrace.outbox_progress AS p
      WHERE p.cluster = o.cluster AND o.id <= p.ids_until
        AND (pg_visible_in_snapshot(o.xid, p.sent) OR o.id <= p.last_id AND pg_visible_in_snapshot(o.xid, p.batch))
      $sql$, segment);
    EXECUTE format($sql$
      UPDATE millrace.outbox_%s AS o SET xid = CASE WHEN EXISTS (
          SELECT FROM millrace.outbox_progress AS p
          WHERE p.cluster = o.cluster AND o.id <= p.ids_until AND pg_visible_in_snapshot(o.xid, p.batch))
        THEN '3'::xid8 ELSE pg_current_xact_id() END
      $sql$, segment);
  END LOOP;
  FOREACH put_aside IN ARRAY ARRAY['outbox_waiting', 'outbox_dead_letter'] LOOP
    EXECUTE format($sql$
      UPDATE millrace.%I AS w SET xid = CASE WHEN EXISTS (
          SELECT FROM millrace.outbox_progress AS p
          WHERE p.cluster = w.cluster AND pg_visible_in_snapshot(w.xid, p.batch) AND NOT pg_visible_in_snapshot(w.xid, p.sent))
        THEN '3'::xid8 ELSE '1'::xid8 END
      $sql$, put_aside);
  END LOOP;
  UPDATE millrace.outbox_progress AS p
  SET sent = '2:2:',
    batch = CASE WHEN p.batch IS NOT NULL THEN format('%1$s:%1$s:', pg_current_xact_id())::pg_snapshot END;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.adopt_outbox(boolean) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.advance_outbox(busy text[], epoch bigint)
 RETURNS void
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  UPDATE millrace.outbox_progress AS p
  SET sent = pg_current_snapshot(), ids_until = (SELECT i.last_value FROM millrace.outbox_id AS i)
  WHERE p.cluster <> ALL (busy) AND p.epoch = advance_outbox.epoch AND p.batch IS NULL
    AND EXISTS (SELECT FROM millrace.outbox AS o WHERE o.xid >= pg_snapshot_xmax(p.sent))
    AND millrace.outbox_news(p.cluster, p.sent) = '{}'
$function$
;
GRANT EXECUTE ON FUNCTION millrace.advance_outbox(text[],bigint) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.alter_cluster(name text, delivery text DEFAULT NULL::text, on_refused text DEFAULT NULL::text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF alter_cluster.delivery IS NULL AND alter_cluster.on_refused IS NULL THEN
    PERFORM millrace.refuse('delivery-invalid', 'a cluster needs a delivery');
  END IF;
  PERFORM millrace.change_cluster(name, 'change', alter_cluster.delivery, NULL, alter_cluster.on_refused);
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.alter_cluster(text,text,text) TO PUBLIC;
COMMENT ON FUNCTION millrace.alter_cluster(text,text,text) IS 'How messages are sent to the cluster from now on, at_least_once or exactly_once, and what becomes of those that it does not take, wait or dead_letter. For administrators.';

CREATE OR REPLACE FUNCTION millrace.alter_consumer(consumer bigint, format text DEFAULT NULL::text, delimiter text DEFAULT NULL::text, quote text DEFAULT NULL::text, escape text DEFAULT NULL::text, encoding text DEFAULT NULL::text, json_path text DEFAULT NULL::text, columns text[] DEFAULT NULL::text[], rest_column text DEFAULT NULL::text, unknown_keys text DEFAULT NULL::text, missing_keys text DEFAULT NULL::text, metadata jsonb DEFAULT NULL::jsonb, mode text DEFAULT NULL::text, key_columns text[] DEFAULT NULL::text[], tombstone text DEFAULT NULL::text, transform text DEFAULT NULL::text, on_error text DEFAULT NULL::text, dead_letter_limit bigint DEFAULT NULL::bigint, dead_letter_max_age interval DEFAULT NULL::interval, on_offset_gap text DEFAULT NULL::text, batchsize integer DEFAULT NULL::integer, maxbytes integer DEFAULT NULL::integer, parallelism integer DEFAULT NULL::integer, timeout integer DEFAULT NULL::integer, group_id text DEFAULT NULL::text, reset text[] DEFAULT NULL::text[])
 RETURNS void
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT millrace.change_consumer(consumer, jsonb_build_object(
    'format', lower(format), 'delimiter', delimiter, 'quote', quote, 'escape', escape, 'encoding', encoding,
    'json_path', json_path, 'columns', columns, 'rest_column', rest_column, 'unknown_keys', unknown_keys,
    'missing_keys', missing_keys, 'metadata', metadata, 'mode', mode, 'key_columns', key_columns,
    'tombstone', tombstone, 'transform', transform, 'on_error', on_error, 'dead_letter_limit', dead_letter_limit,
    'dead_letter_max_age', dead_letter_max_age, 'on_offset_gap', on_offset_gap, 'batchsize', batchsize,
    'maxbytes', maxbytes, 'parallelism', parallelism, 'timeout', timeout, 'group_id', group_id), reset)
$function$
;
GRANT EXECUTE ON FUNCTION millrace.alter_consumer(bigint,text,text,text,text,text,text,text[],text,text,text,jsonb,text,text[],text,text,text,bigint,interval,text,integer,integer,integer,integer,text,text[]) TO PUBLIC;
COMMENT ON FUNCTION millrace.alter_consumer(bigint,text,text,text,text,text,text,text[],text,text,text,jsonb,text,text[],text,text,text,bigint,interval,text,integer,integer,integer,integer,text,text[]) IS 'Changes options of a consumer. What is left out or NULL stays as it is; reset names those that go back to their default.';

CREATE OR REPLACE FUNCTION millrace.ask_replay(consumer bigint DEFAULT NULL::bigint, ids bigint[] DEFAULT NULL::bigint[], "where" text DEFAULT NULL::text)
 RETURNS bigint
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT asked FROM millrace.request_replay(consumer, ids, "where")
$function$
;
GRANT EXECUTE ON FUNCTION millrace.ask_replay(bigint,bigint[],text) TO PUBLIC;
COMMENT ON FUNCTION millrace.ask_replay(bigint,bigint[],text) IS 'Asks for dead letters to be loaded again: all, those of a consumer, by number, by a condition; returns how many were asked for.';

CREATE OR REPLACE FUNCTION millrace.ask_try(target regclass, "into" text, cluster text, options jsonb)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_variable
DECLARE
  relation record;
  request bigint;
BEGIN
  SELECT * INTO relation FROM millrace.check_relation(target, "into");
  INSERT INTO millrace.request (kind, arguments) VALUES ('try', options || jsonb_build_object(
    'cluster', millrace.given_cluster(cluster), 'target_schema', relation.target_schema, 'target_name', relation.target_name,
    'route_by_key', false, 'format', lower(options ->> 'format'), 'dead_letter_limit', 1, 'on_offset_gap', 'stop'))
  RETURNING id INTO request;
  PERFORM millrace.warn_without_daemon();
  RETURN request;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.ask_try(regclass,text,text,jsonb) TO PUBLIC;

CREATE OR REPLACE PROCEDURE millrace.await(IN request bigint, INOUT finished boolean DEFAULT NULL::boolean)
 LANGUAGE plpgsql
AS $procedure$
DECLARE
  progress pg_catalog.record;
  told pg_catalog.text;
  patience pg_catalog.int4 := 100;
BEGIN
  BEGIN
    COMMIT;
  EXCEPTION WHEN invalid_transaction_termination THEN
    finished := SQLERRM OPERATOR(pg_catalog.<>) millrace.commit_refusal();
  END;
  IF NOT finished THEN
    PERFORM millrace.notice_waiting(request);
    RETURN;
  END IF;
  finished := false;
  COMMIT;
  LOOP
    SELECT * INTO progress FROM millrace.request_progress(request);
    finished := NOT progress.open;
    EXIT WHEN finished;
    IF progress.shown OPERATOR(pg_catalog.<>) COALESCE(told, '') THEN
      told := progress.shown;
      RAISE NOTICE '%', told;
    END IF;
    patience := CASE WHEN progress.daemon THEN 100 ELSE patience OPERATOR(pg_catalog.-) 1 END;
    EXIT WHEN patience OPERATOR(pg_catalog.<) 0;
    COMMIT;
    PERFORM pg_catalog.pg_sleep(0.1);
  END LOOP;
  IF finished THEN
    PERFORM millrace.check_outcome(request);
  ELSE
    PERFORM millrace.warn_without_daemon();
  END IF;
END
$procedure$
;
GRANT EXECUTE ON FUNCTION millrace.await(bigint,boolean) TO PUBLIC;
COMMENT ON FUNCTION millrace.await(bigint,boolean) IS 'Waits for the outcome of a request; finished: whether there is one.';

CREATE OR REPLACE FUNCTION millrace.begin_cluster()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  own constant xid8 := pg_current_xact_id();
  seen constant pg_snapshot := pg_current_snapshot();
  -- this transaction may produce, too
  under_way constant text := (SELECT string_agg(x.xid::text, ',' ORDER BY x.xid)
    FROM (SELECT pg_snapshot_xip(seen) AS xid UNION SELECT own WHERE own < pg_snapshot_xmax(seen)) AS x);
BEGIN
  INSERT INTO millrace.outbox_progress (cluster, epoch, sent, ids_until)
  SELECT NEW.name, 0, format('%s:%s:%s', least(pg_snapshot_xmin(seen), own), pg_snapshot_xmax(seen), under_way)::pg_snapshot,
    i.last_value
  FROM millrace.outbox_id AS i;
  RETURN NULL;
END
$function$
;

CREATE OR REPLACE FUNCTION millrace.begin_consumer(cluster text, topic text, topic_pattern text, target_schema text, target_name text, options jsonb)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_column
DECLARE
  given text := (SELECT string_agg(quote_ident(o), ', ') FROM jsonb_object_keys(options) AS o
    WHERE o = ANY (millrace.consumer_options() || ARRAY['start_offset', 'start_time', 'start_partitions']));
  consumer record;
  broken text;
BEGIN
  IF begin_consumer.topic_pattern IS NULL THEN
    PERFORM millrace.check_topic(begin_consumer.topic);
  END IF;
  LOOP
    SELECT c.id, c.wanted, c AS stored, EXISTS (
      SELECT FROM millrace.failure AS f WHERE f.consumer_id = c.id AND f.version = c.version) AS failed
    INTO consumer FROM millrace.consumer AS c
    WHERE c.cluster = begin_consumer.cluster AND c.topic IS NOT DISTINCT FROM begin_consumer.topic
      AND c.topic_pattern IS NOT DISTINCT FROM begin_consumer.topic_pattern
      AND c.target_schema = begin_consumer.target_schema AND c.target_name IS NOT DISTINCT FROM begin_consumer.target_name
    FOR NO KEY UPDATE;
    IF FOUND AND consumer.wanted = 'running' AND NOT consumer.failed THEN
      PERFORM millrace.check_given(consumer.stored, options);
      RAISE WARNING 'topic % is already being consumed into %', coalesce(begin_consumer.topic, begin_consumer.topic_pattern),
        millrace.target_shown(begin_consumer.target_schema, begin_consumer.target_name)
        USING DETAIL = 'code: already-running', HINT = 'Nothing was changed. End it first to change its options.';
      RETURN consumer.id;
    END IF;

    BEGIN
      IF FOUND THEN
        -- so that the same start as the last time is a change, which goes to the consumers of its topics
        UPDATE millrace.consumer AS c SET start_offset = NULL, start_time = NULL, start_partitions = NULL
        WHERE c.id = consumer.id AND c.topic_pattern IS NOT NULL;
        EXECUTE pg_catalog.format('UPDATE millrace.consumer AS c SET wanted = %L, (%2$s) = (
          SELECT %2$s FROM jsonb_populate_record(NULL::millrace.consumer, $2)) WHERE c.id = $1', 'running', given)
          USING consumer.id, options;
      ELSE
        EXECUTE pg_catalog.format('INSERT INTO millrace.consumer AS c
          (cluster, topic, topic_pattern, target_schema, target_name, route_by_key, wanted, %2$s)
          SELECT $1, $2, $3, $4, $5, $5 IS NULL, %1$L, %2$s FROM jsonb_populate_record(NULL::millrace.consumer, $6)
          RETURNING c.id', 'running', given)
          USING begin_consumer.cluster, begin_consumer.topic, begin_consumer.topic_pattern, begin_consumer.target_schema,
            begin_consumer.target_name, options INTO consumer;
      END IF;
      EXIT;
    EXCEPTION WHEN unique_violation THEN
      GET STACKED DIAGNOSTICS broken = CONSTRAINT_NAME;
      IF broken = 'consumer_group' THEN
        PERFORM millrace.refuse('group-taken',
          pg_catalog.format('another consumer of topic %s is in group %L', begin_consumer.topic, options ->> 'group_id'));
      END IF;
      -- Somebody else began it at the same moment, or it is of a role whose consumers are not shown to this one.
      PERFORM FROM millrace.consumer AS c
      WHERE c.cluster = begin_consumer.cluster AND c.topic IS NOT DISTINCT FROM begin_consumer.topic
        AND c.topic_pattern IS NOT DISTINCT FROM begin_consumer.topic_pattern
        AND c.target_schema = begin_consumer.target_schema AND c.target_name IS NOT DISTINCT FROM begin_consumer.target_name;
      IF NOT FOUND THEN
        PERFORM millrace.refuse('consumer-not-yours', pg_catalog.format('topic %s is already being consumed into %s by another role',
          coalesce(begin_consumer.topic, begin_consumer.topic_pattern),
          millrace.target_shown(begin_consumer.target_schema, begin_consumer.target_name)));
      END IF;
    END;
  END LOOP;
  PERFORM millrace.notice_foreign(begin_consumer.target_schema, begin_consumer.target_name);
  PERFORM millrace.warn_without_daemon();
  RETURN consumer.id;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.begin_consumer(text,text,text,text,text,jsonb) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.begin_relay(epoch bigint)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  INSERT INTO millrace.outbox_progress AS p (cluster, epoch)
  SELECT c.name, begin_relay.epoch FROM millrace.cluster AS c
  ON CONFLICT (cluster) DO UPDATE
    SET epoch = excluded.epoch, error_code = NULL, error_message = NULL, error_at = NULL WHERE p.epoch < excluded.epoch;
  PERFORM set_config('synchronous_commit', 'on', true);
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.begin_relay(bigint) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.begin_snapshot(relation regclass, writer regprocedure, drop_writer boolean DEFAULT false, children boolean DEFAULT true)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  snapshot constant bigint := nextval('millrace.snapshot_id');
BEGIN
  -- the ranges of a table have one size in common: none is left out between them
  INSERT INTO millrace.snapshot (snapshot_id, root, relation, writer, drop_writer, first_block, end_block, to_end)
  SELECT snapshot, begin_snapshot.relation, r.relation, begin_snapshot.writer, begin_snapshot.drop_writer,
    r.blocks * part / r.parts, r.blocks * (part + 1) / r.parts, part + 1 = r.parts
  FROM (
    SELECT f.relation, f.blocks, greatest(1, least(4, f.blocks / 1024)) AS parts
    FROM (SELECT m AS relation, millrace.snapshot_blocks(m) AS blocks
      FROM millrace.snapshot_relations(begin_snapshot.relation, begin_snapshot.children) AS m OFFSET 0) AS f
  ) AS r CROSS JOIN LATERAL generate_series(0, r.parts - 1) AS part;
  PERFORM millrace.warn_without_daemon();
  RETURN snapshot;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.begin_snapshot(regclass,regprocedure,boolean,boolean) TO PUBLIC;
COMMENT ON FUNCTION millrace.begin_snapshot(regclass,regprocedure,boolean,boolean) IS 'Has the rows of a table sent by the daemon, by a writer (docs/sql.md); returns the snapshot''s number. To be called after the triggers were made that capture changes. drop_writer: the writer is dropped when all is sent; children: also the tables that inherit from it.';

CREATE OR REPLACE FUNCTION millrace.broker_address(host text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT lower(host) || CASE WHEN host ~ ':[0-9]+$' THEN '' ELSE ':9092' END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.broker_address(text) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.bury(ids bigint[])
 RETURNS void
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  WITH moved AS (DELETE FROM millrace.outbox_waiting AS o WHERE o.id = ANY (ids) RETURNING o.*)
  INSERT INTO millrace.outbox_dead_letter
  SELECT id, xid, "timestamp", owner, partition, cluster, topic, key, value, headers, source, code, message FROM moved
  ON CONFLICT DO NOTHING
$function$
;
GRANT EXECUTE ON FUNCTION millrace.bury(bigint[]) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.bury_topic(cluster text, epoch bigint, topic text, code text, message text)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  ids bigint[];
BEGIN
  PERFORM FROM millrace.outbox_progress AS p
  WHERE p.cluster = bury_topic.cluster AND p.epoch = bury_topic.epoch FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  WITH told AS (
    UPDATE millrace.outbox_waiting AS o SET code = bury_topic.code, message = bury_topic.message
    WHERE o.cluster = bury_topic.cluster AND o.topic = bury_topic.topic RETURNING o.id)
  SELECT array_agg(t.id) INTO ids FROM told AS t;
  PERFORM millrace.bury(ids);
  RETURN coalesce(cardinality(ids), 0);
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.bury_topic(text,bigint,text,text,text) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.called_functions(expressions text[])
 RETURNS SETOF oid
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT m[1]::oid FROM unnest(expressions) AS e,
    regexp_matches(e, ':[a-z]*(?:func|fn)(?:id|oid) (\d+)', 'g') AS m WHERE m[1] <> '0'
  UNION
  SELECT o.oprcode::oid FROM unnest(expressions) AS e,
    regexp_matches(e, ':opnos? (?:\(o )?([\d ]+)', 'g') AS m,
    regexp_split_to_table(trim(m[1]), ' +') AS id JOIN pg_operator AS o ON o.oid = id::oid
$function$
;
GRANT EXECUTE ON FUNCTION millrace.called_functions(text[]) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.can_act_as(actor oid, role oid)
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT pg_has_role(actor, role, CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END)
$function$
;
GRANT EXECUTE ON FUNCTION millrace.can_act_as(oid,oid) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.capture_body(p millrace.publication)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  by_row constant boolean := p.capture = 'row';
  names constant text[] := millrace.names_in_order(p);
  -- negative, where columns were renamed since, or are virtual
  -- any segment is read: a restore may have left out which one is written
  segment constant text := format('(SELECT %s FROM (SELECT coalesce((SELECT o.segment FROM millrace.outbox_writing AS o), 0) AS segment) AS w)',
    CASE WHEN names = '{}' AND current_setting('server_version_num')::integer < 180000 THEN 'w.segment'
      ELSE format('CASE WHEN %s = %L::text[] THEN w.segment ELSE -1 - w.segment END', format(millrace.names_now(), 'TG_RELID', names), names) END);
  -- a new owner could have what is called here act as the former one
  owner_check constant text := format($body$EXISTS (SELECT FROM pg_class AS c WHERE c.oid IN (TG_RELID, pg_partition_root(TG_RELID))
    AND c.relowner <> me AND NOT c.relispartition AND millrace.has_capture(c.oid, %s) AND millrace.rows_run_code(c.oid)) THEN
    PERFORM millrace.refuse('table-owner-changed', format('%%s belongs to another role than its publication, %%s', TG_RELID::regclass, me));
$body$, p.id);
  other_ways constant text := format($body$  ELSIF TG_OP = 'TRUNCATE' THEN
    PERFORM millrace.capture_truncate(%1$s, TG_RELID, TG_NAME, greatest(segment, -1 - segment), me);
  ELSIF segment < 0 THEN
    FOREACH statement IN ARRAY millrace.renamed_statements(%1$s, TG_OP, TG_RELID, -1 - segment) LOOP
      EXECUTE statement USING NEW, OLD, me, open;
    END LOOP;
$body$, p.id);
  open constant text := CASE p.envelope WHEN 'pg2kafka' THEN 'millrace.snapshot_open(TG_RELID, TG_NAME)' ELSE 'false' END;
  wake constant text := E'  IF millrace.outbox_wake() IS NULL THEN\n    NULL;\n  END IF;\n';
BEGIN
  IF by_row THEN
    RETURN format($body$
#variable_conflict use_column
DECLARE
  me constant regrole := quote_ident(CURRENT_USER::text)::regrole;
  segment integer := coalesce(pg_sequence_last_value('millrace.outbox_segment'), 0);
  open boolean;
  statement text;
  ends boolean := false;
  begins boolean := false;
  same boolean;
  old_key text;
  new_key text;
  old_data text;
  new_data text;
  changed text;
  message_key bytea;
  message bytea;
BEGIN
  IF (TG_OP = 'TRUNCATE' OR millrace.shape(%9$s, %1$L::regclass, %2$L) = 0) THEN
    segment := %3$s;
    open := TG_OP <> 'TRUNCATE' AND %4$s;
  END IF;
  -- for each row only where it has to be
  IF (TG_OP = 'TRUNCATE' OR millrace.shape(%9$s, %1$L::regclass, %2$L) < 2) THEN
    IF %5$s%6$s  END IF;
  END IF;
  IF TG_OP <> 'TRUNCATE' AND segment < 0 IS NOT TRUE THEN
%7$s  END IF;
%8$s  RETURN NULL;
END
$body$, p.relation::oid, names, segment, open, owner_check, other_ways, millrace.capture_row(p), wake, p.id);
  END IF;
  RETURN format($body$
#variable_conflict use_column
DECLARE
  me constant regrole := quote_ident(CURRENT_USER::text)::regrole;
  segment integer := %s;
  open constant boolean := %s;
  statement text;
BEGIN
  IF %s  ELSIF TG_LEVEL = 'ROW' THEN
    RETURN NULL;
%s%s  END IF;
%s  RETURN NULL;
END
$body$, segment, open, owner_check, other_ways, millrace.capture_branches(p), wake);
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.capture_body(millrace.publication) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.capture_branches(p millrace.publication)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT string_agg(format(E'  ELSIF TG_OP = %L THEN\n    CASE segment\n%s    END CASE;\n', o.op, (
    SELECT string_agg(format(E'      WHEN %s THEN\n%s', s, coalesce((
        SELECT string_agg('        ' || c || E';\n', '' ORDER BY place)
        FROM unnest(millrace.capture_statements(p, o.op, s, 'new_rows', 'old_rows', 'me', 'open')) WITH ORDINALITY AS c (c, place)),
      E'        NULL;\n')), '' ORDER BY s) FROM generate_series(0, 3) AS s)), '' ORDER BY o.place)
  FROM unnest(ARRAY['INSERT', 'UPDATE', 'DELETE']) WITH ORDINALITY AS o (op, place)
$function$
;
GRANT EXECUTE ON FUNCTION millrace.capture_branches(millrace.publication) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.capture_name(publication bigint)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$ SELECT 'publication ' || publication $function$
;
GRANT EXECUTE ON FUNCTION millrace.capture_name(bigint) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.capture_row(p millrace.publication)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  keyed constant boolean := p.key_columns <> '{}';
  names constant text[] := ARRAY(SELECT jsonb_object_keys(p.column_numbers) ORDER BY 1);
  pg2kafka constant boolean := p.envelope = 'pg2kafka';
  row_name text;
  matches text;
  code text := '';
BEGIN
  FOREACH row_name IN ARRAY ARRAY['OLD', 'NEW'] LOOP
    matches := coalesce(format('coalesce((SELECT (%s%s) FROM (SELECT %s) AS n), false)', p.filter, E'\n',
      (SELECT string_agg(format('%1$s.%2$I AS %2$I', row_name, c), ', ') FROM unnest(names) AS c)), 'true');
    code := code || format(E'  IF TG_OP <> %L THEN\n    %s_key := %s;\n    %s := %s;\n%s  END IF;\n',
      CASE row_name WHEN 'OLD' THEN 'INSERT' ELSE 'DELETE' END, lower(row_name), millrace.key_expression(p, row_name),
      CASE row_name WHEN 'OLD' THEN 'ends' ELSE 'begins' END, CASE WHEN p.filter IS NULL THEN 'true' ELSE matches END,
      CASE WHEN row_name = 'NEW' OR p.envelope <> 'row'
        THEN format(E'    %s_data := %s;\n', lower(row_name), millrace.trigger_row_expression(p, row_name)) END);
  END LOOP;
  code := code || E'  same := ends AND begins AND old_key IS NOT DISTINCT FROM new_key;\n'
    || format(E'  ends := ends AND NOT same%s;\n',
      CASE WHEN p.envelope = 'row' THEN CASE WHEN keyed THEN ' AND old_key IS NOT NULL' ELSE ' AND false' END END);
  IF pg2kafka THEN
    code := code || $code$  IF same THEN
    changed := (SELECT '{' || string_agg(to_json(c.key)::text || ':' || c.value::text, ',' ORDER BY c.place) || '}'
      FROM json_each(new_data::json) WITH ORDINALITY AS c (key, value, place)
      WHERE c.value::text IS DISTINCT FROM (old_data::json -> c.key)::text);
    begins := changed IS NOT NULL;
  END IF;
$code$;
  END IF;
  RETURN code || format($code$  FOR turn IN 1..%s LOOP
    IF turn = 1 AND ends THEN
      message_key := convert_to(old_key, 'UTF8');
      message := %s;
    ELSIF turn = 2 AND ends AND %s THEN
      message := NULL;
    ELSIF turn = 3 AND begins THEN
      message_key := convert_to(new_key, 'UTF8');
      message := convert_to(%s, 'UTF8');
%s    ELSE
      CONTINUE;
    END IF;
    CASE segment
%s    END CASE;
  END LOOP;
$code$,
    CASE WHEN pg2kafka THEN 4 ELSE 3 END,
    CASE p.envelope WHEN 'row' THEN 'NULL' ELSE format('convert_to(%s, ''UTF8'')', millrace.value_expression(p,
      CASE WHEN pg2kafka THEN '''DELETE''' ELSE '''d''' END, 'old_key', 'old_data', CASE WHEN pg2kafka THEN '''{}''' ELSE 'NULL' END)) END,
    CASE WHEN keyed AND p.envelope = 'debezium' THEN 'true' ELSE 'false' END,
    millrace.value_expression(p,
      CASE WHEN pg2kafka THEN 'CASE WHEN same THEN ''UPDATE'' ELSE ''INSERT'' END' ELSE 'CASE WHEN same THEN ''u'' ELSE ''c'' END' END,
      'new_key', 'CASE WHEN same THEN old_data END', CASE WHEN pg2kafka THEN 'CASE WHEN same THEN changed ELSE new_data END' ELSE 'new_data' END),
    CASE WHEN pg2kafka THEN format(E'    ELSIF turn = 4 AND same AND millrace.snapshot_open(TG_RELID, TG_NAME) THEN
      message_key := convert_to(new_key, ''UTF8'');\n      message := convert_to(%s, ''UTF8'');\n',
      millrace.value_expression(p, '''SNAPSHOT''', 'new_key', 'NULL', 'new_data')) END,
    (SELECT string_agg(format($code$      WHEN %s THEN
        INSERT INTO millrace.outbox_message_%1$s (owner, "timestamp", cluster, topic, source, key, value)
        VALUES (me, clock_timestamp(), %L, %L, %L, message_key, message);
$code$, s, p.cluster, p.topic, 'publication ' || p.id), '' ORDER BY s) FROM generate_series(0, 3) AS s));
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.capture_row(millrace.publication) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.capture_statements(p millrace.publication, op text, segment integer, new_rows text, old_rows text, role text, open text DEFAULT 'false'::text)
 RETURNS text[]
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  head constant text := format('INSERT INTO millrace.outbox_%s (owner, "timestamp", cluster, topic, source, key, value) SELECT %s, clock_timestamp(), %L, %L, %L, ',
    segment, role, p.cluster, p.topic, 'publication ' || p.id);
  key constant text := millrace.key_expression(p, 'n');
  made constant text := millrace.row_expression(p, 'n');
  condition constant text := coalesce(' WHERE (' || p.filter || E'\n)', '');
  -- Both sides are filled in the same order. A full join is never a nested loop, whatever the plan's estimate was.
  side constant text := '(SELECT row_number() OVER () AS place, %s AS key, %s AS data, coalesce((%s), false) AS matches FROM %s AS n)';
  kept constant text := coalesce(p.filter || E'\n', 'true');
  pairs constant text := format(side, key, made, kept, old_rows) || ' AS o FULL JOIN '
    || format(side, key, made, kept, new_rows) || ' AS n ON n.place = o.place';
  gone constant text := format('SELECT %1$s AS key FROM %2$s AS n%4$s EXCEPT ALL SELECT %1$s FROM %3$s AS n%4$s', key, old_rows, new_rows, condition);
  same constant text := 'coalesce(o.matches AND o.key IS NOT DISTINCT FROM n.key, false)';
  bytes constant text := 'convert_to(%s, ''UTF8'')';
  tombstone constant text := CASE WHEN p.key_columns <> '{}' AND p.envelope = 'debezium' THEN ', (NULL::bytea)' ELSE '' END;
  create_op constant text := CASE p.envelope WHEN 'pg2kafka' THEN '''INSERT''' ELSE '''c''' END;
  delete_op constant text := CASE p.envelope WHEN 'pg2kafka' THEN '''DELETE''' ELSE '''d''' END;
  created constant text := head || format(bytes, key) || ', '
    || format(bytes, millrace.value_expression(p, create_op, key, 'NULL', made)) || ' FROM ' || new_rows || ' AS n' || condition;
BEGIN
  IF op = 'INSERT' THEN
    RETURN ARRAY[created];
  ELSIF op = 'DELETE' AND p.envelope = 'row' THEN
    RETURN CASE WHEN p.key_columns = '{}' THEN '{}'::text[] ELSE ARRAY[head || format('convert_to(g.key, ''UTF8''), NULL::bytea FROM (SELECT %s AS key FROM %s AS n%s) AS g WHERE g.key IS NOT NULL',
      key, old_rows, condition)] END;
  ELSIF op = 'DELETE' THEN
    RETURN ARRAY[head || format('convert_to(%s, ''UTF8''), m.value FROM %s AS n CROSS JOIN LATERAL (VALUES (convert_to(%s, ''UTF8''))%s) AS m (value)%s',
      key, old_rows, millrace.value_expression(p, delete_op, key, made, CASE p.envelope WHEN 'pg2kafka' THEN '''{}''' ELSE 'NULL' END), tombstone, condition)];
  ELSIF p.envelope = 'row' THEN
    RETURN CASE WHEN p.key_columns = '{}' THEN '{}'::text[]
      ELSE ARRAY[head || format('convert_to(g.key, ''UTF8''), NULL::bytea FROM (%s) AS g WHERE g.key IS NOT NULL', gone)] END || created;
  END IF;
  -- of an UPDATE: the keys that end, where one does; then what there is
  RETURN ARRAY[
    head || format('convert_to(o.key, ''UTF8''), m.value FROM %s CROSS JOIN LATERAL (VALUES (convert_to(%s, ''UTF8''))%s) AS m (value)
      WHERE EXISTS (%s) AND o.matches AND NOT (n.matches AND %s)',
      pairs, millrace.value_expression(p, delete_op, 'o.key', 'o.data', CASE p.envelope WHEN 'pg2kafka' THEN '''{}''' ELSE 'NULL' END),
      tombstone, CASE WHEN p.key_columns = '{}' THEN 'SELECT' ELSE gone END, same)]
  || CASE p.envelope WHEN 'pg2kafka' THEN ARRAY[
    head || format($sql$convert_to(n.key, 'UTF8'), convert_to(%s, 'UTF8') FROM %s CROSS JOIN LATERAL (
        SELECT '{' || string_agg(to_json(c.key)::text || ':' || c.value::text, ',' ORDER BY c.place) || '}' AS changed
        FROM json_each(n.data) WITH ORDINALITY AS c (key, value, place) WHERE NOT %s OR c.value::text IS DISTINCT FROM (o.data -> c.key)::text
      ) AS d WHERE n.matches AND d.changed IS NOT NULL$sql$,
      millrace.value_expression(p, format('CASE WHEN %s THEN ''UPDATE'' ELSE ''INSERT'' END', same), 'n.key', 'NULL', 'd.changed'), pairs, same),
    head || format('convert_to(n.key, ''UTF8''), convert_to(%s, ''UTF8'') FROM %s WHERE %s AND n.matches AND %s',
      millrace.value_expression(p, '''SNAPSHOT''', 'n.key', 'NULL', 'n.data'), pairs, open, same)]
  ELSE ARRAY[
    head || format('convert_to(n.key, ''UTF8''), convert_to(%s, ''UTF8'') FROM %s WHERE n.matches',
      millrace.value_expression(p, format('CASE WHEN %s THEN ''u'' ELSE ''c'' END', same), 'n.key', format('CASE WHEN %s THEN o.data END', same), 'n.data'),
      pairs)] END;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.capture_statements(millrace.publication,text,integer,text,text,text,text) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.capture_truncate(publication bigint, truncated oid, trigger_name name, segment integer, role regrole)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  p millrace.publication;
  part oid;
  statement text;
  columns text;
BEGIN
  SELECT o.* INTO p FROM millrace.publication AS o WHERE o.id = publication;
  IF p.truncate = 'skip' THEN
    RETURN;
  ELSIF p.truncate = 'event' AND truncated = p.relation::oid THEN
    EXECUTE format('INSERT INTO millrace.outbox_%s (owner, "timestamp", cluster, topic, source, value)
      VALUES ($1, clock_timestamp(), %L, %L, %L, convert_to(%s, ''UTF8''))', segment, p.cluster, p.topic, 'publication ' || p.id,
      millrace.value_expression(p, '''t''', 'NULL', 'NULL', 'NULL')) USING role;
    RETURN;
  END IF;
  FOR part IN
    SELECT c.oid FROM pg_class AS c
    WHERE c.oid IN (SELECT truncated UNION SELECT t.relid::oid FROM pg_partition_tree(truncated) AS t) AND c.relkind <> 'p'
      AND (c.oid = truncated OR NOT EXISTS (SELECT FROM pg_trigger AS g WHERE g.tgrelid = c.oid AND g.tgname = trigger_name))
    ORDER BY c.oid
  LOOP
    columns := millrace.renamed_columns(p, part);
    FOREACH statement IN ARRAY millrace.capture_statements(p, 'DELETE', segment, '',
      format('(SELECT %s FROM ONLY %s)', coalesce(columns, '*'), part::regclass), '$1')
    LOOP
      EXECUTE statement USING role;
    END LOOP;
  END LOOP;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.capture_truncate(bigint,oid,name,integer,regrole) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.change_cluster(name text, what text, delivery text, unsent text, on_refused text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF NOT millrace.is_admin() THEN
    PERFORM millrace.refuse('admin-required', format('role %I may not %s clusters', current_user, what));
  END IF;
  UPDATE millrace.cluster AS c
  SET delivery = coalesce(change_cluster.delivery, c.delivery), unsent = coalesce(change_cluster.unsent, c.unsent),
    on_refused = coalesce(change_cluster.on_refused, c.on_refused)
  WHERE c.name = change_cluster.name;
  IF NOT FOUND THEN
    PERFORM millrace.refuse('cluster-missing', format('there is no cluster %L', left(name, 64)));
  END IF;
  PERFORM pg_notify('millrace', '');
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.change_cluster(text,text,text,text,text) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.change_consumer(consumer bigint, options jsonb, reset text[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  found_consumer millrace.consumer := millrace.own_consumer(consumer);
  changed text[];
  unknown text;
  assignments text;
BEGIN
  IF found_consumer.parent_id IS NOT NULL THEN
    PERFORM millrace.refuse('consumer-of-pattern', format('consumer %s belongs to the pattern of consumer %s', consumer, found_consumer.parent_id));
  END IF;
  SELECT r INTO unknown FROM unnest(reset) AS r WHERE r IS NULL OR r <> ALL (millrace.consumer_options()) LIMIT 1;
  IF FOUND THEN
    PERFORM millrace.refuse('option-unknown', format('%L is no option', left(unknown, 64)));
  END IF;
  changed := ARRAY(SELECT o FROM unnest(millrace.consumer_options()) AS o WHERE jsonb_typeof(options -> o) <> 'null');
  IF changed && reset THEN
    PERFORM millrace.refuse('option-conflict', 'an option is either given or reset');
  END IF;
  assignments := (
    SELECT string_agg(format('%1$I = %2$s', o, CASE WHEN o = ANY (changed) THEN 'given.' || quote_ident(o) ELSE 'DEFAULT' END), ', ')
    FROM unnest(changed || reset) AS o);
  IF assignments IS NULL THEN
    RETURN;
  END IF;
  EXECUTE format('UPDATE millrace.consumer AS c SET %s FROM jsonb_populate_record(NULL::millrace.consumer, $2) AS given WHERE c.id = $1',
    assignments) USING consumer, options;
  PERFORM millrace.warn_without_daemon();
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.change_consumer(bigint,jsonb,text[]) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_action(action text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF action IS NULL OR action NOT IN ('consume', 'produce') THEN
    PERFORM millrace.refuse('action-invalid', format('%L is nothing that can be done with a topic', left(action, 64)));
  END IF;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_action(text) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_broker()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF NOT millrace.is_admin() THEN
    PERFORM millrace.refuse('admin-required',
      format('role %I may not change the brokers of cluster %L', current_user, NEW.cluster));
  END IF;
  IF NOT EXISTS (SELECT FROM millrace.cluster WHERE name = NEW.cluster) THEN
    PERFORM millrace.refuse('cluster-missing', format('there is no cluster %L', NEW.cluster));
  END IF;
  -- What does not look like an address may hold a password, so it is not repeated.
  IF NEW.host IS NULL OR length(NEW.host) > 261
    OR NEW.host !~ '^([A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?|\[[0-9A-Fa-f:.]+(%[A-Za-z0-9_.-]+)?\])(:[0-9]{1,5})?$'
    OR NOT coalesce(substring(NEW.host FROM ':([0-9]+)$')::integer, 9092) BETWEEN 1 AND 65535
  THEN
    PERFORM millrace.refuse('broker-invalid', 'the broker is not of the form host or host:port');
  END IF;
  IF EXISTS (
    SELECT FROM millrace.broker AS other
    WHERE other.cluster = NEW.cluster
      AND millrace.broker_address(other.host) = millrace.broker_address(NEW.host)
      AND NOT (TG_OP = 'UPDATE' AND other.cluster = OLD.cluster AND other.host = OLD.host)
  ) THEN
    PERFORM millrace.refuse('broker-exists', format('broker "%s" already exists', NEW.host));
  END IF;
  RETURN NEW;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_broker() TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_cluster()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF NOT millrace.is_admin() THEN
    PERFORM millrace.refuse('admin-required', format('role %I may not add clusters', current_user));
  END IF;
  IF NEW.name IS NULL OR NEW.name !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$' THEN
    PERFORM millrace.refuse('cluster-invalid', format('%L cannot be the name of a cluster', left(NEW.name, 64)));
  ELSIF NEW.delivery IN ('at_least_once', 'exactly_once') IS NOT TRUE THEN
    PERFORM millrace.refuse('delivery-invalid', format('there is no delivery %L', left(NEW.delivery, 64)));
  ELSIF NEW.unsent NOT IN ('send', 'skip') THEN
    PERFORM millrace.refuse('unsent-invalid', format('unsent messages cannot be treated as %L', left(NEW.unsent, 64)));
  ELSIF NEW.on_refused IN ('wait', 'dead_letter') IS NOT TRUE THEN
    PERFORM millrace.refuse('on-refused-invalid', format('on_refused cannot be %L', left(NEW.on_refused, 64)));
  END IF;
  RETURN NEW;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_cluster() TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_columns(c millrace.consumer, target oid)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  shown text := format('%I.%I', c.target_schema, c.target_name);
  kind "char" := (SELECT relkind FROM pg_class WHERE oid = target);
  named text[] := c.rest_column || coalesce(CASE WHEN c.transform IS NULL THEN c.columns END, '{}')
    || CASE WHEN c.transform IS NULL THEN ARRAY(SELECT m.value FROM jsonb_each_text(c.metadata) AS m) ELSE '{}' END;
  problem text;
  definition record;
  needed text;
BEGIN
  named := array_remove(named, NULL);
  IF c.transform IS NOT NULL THEN
    SELECT d.place INTO definition FROM ROWS FROM (millrace.column_definitions(c.columns)) WITH ORDINALITY AS d (name, type, place)
    WHERE d.type IS NULL LIMIT 1;
    IF FOUND THEN
      PERFORM millrace.refuse('columns-invalid', format('%L is no name and type of a column of the batch',
        left(c.columns[definition.place], 100)));
    END IF;
    named := '{}';
  END IF;
  SELECT n INTO problem FROM unnest(named || c.key_columns) AS n
  WHERE NOT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = target AND a.attname = n AND a.attnum > 0
    AND NOT a.attisdropped AND a.attgenerated = '') LIMIT 1;
  IF FOUND THEN
    PERFORM millrace.refuse('column-missing', format('relation %s has no column %I that can be filled', shown, problem));
  END IF;
  SELECT n INTO problem FROM unnest(named) AS n GROUP BY n HAVING count(*) > 1 LIMIT 1;
  IF FOUND THEN
    PERFORM millrace.refuse('option-conflict', format('column %I would be filled twice', problem));
  END IF;
  IF c.rest_column IS NOT NULL AND c.transform IS NULL AND NOT EXISTS (
    SELECT FROM pg_attribute AS a WHERE a.attrelid = target AND a.attname = c.rest_column
      AND a.atttypid IN ('json'::regtype, 'jsonb'::regtype, 'text'::regtype))
  THEN
    PERFORM millrace.refuse('rest-column-invalid', format('column %I of %s is not of type json, jsonb or text', c.rest_column, shown));
  END IF;

  IF c.mode <> 'insert' THEN
    IF kind IN ('v', 'f') OR millrace.key_columns(target, c.key_columns) IS NULL THEN
      PERFORM millrace.refuse('key-missing', CASE
        WHEN kind IN ('v', 'f') THEN format('%s is no table, so it has no unique index', shown)
        WHEN c.key_columns IS NULL THEN format('%s has no primary key (that is not deferrable)', shown)
        ELSE format('%s has no unique index on just these columns: %s', shown, array_to_string(c.key_columns, ', ')) END);
    END IF;
    SELECT r INTO needed FROM unnest(ARRAY['SELECT', 'UPDATE', 'DELETE']) AS r
    WHERE NOT has_table_privilege(c.owner::oid, target, r)
      AND NOT (r = 'DELETE' AND c.mode = 'upsert' AND c.tombstone IS NOT DISTINCT FROM 'skip') LIMIT 1;
    IF FOUND THEN
      PERFORM millrace.refuse('write-denied', format('role %I has no right to %s %s, which mode %s needs',
        pg_get_userbyid(c.owner::oid), needed, shown, c.mode));
    END IF;
  END IF;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_columns(millrace.consumer,oid) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_columns(relation regclass, names text[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  absent text;
BEGIN
  SELECT coalesce(n.name, 'NULL') INTO absent FROM unnest(names) AS n (name)
  WHERE NOT EXISTS (SELECT FROM pg_attribute AS a
    WHERE a.attrelid = relation AND a.attname = n.name AND a.attnum > 0 AND NOT a.attisdropped) LIMIT 1;
  IF FOUND THEN
    PERFORM millrace.refuse('column-missing', format('%s has no column %I', relation, absent));
  ELSIF (SELECT count(DISTINCT n) <> count(*) FROM unnest(names) AS n) THEN
    PERFORM millrace.refuse('columns-invalid', 'a column is named twice');
  END IF;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_columns(regclass,text[]) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_consumer()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  unversioned constant text[] := ARRAY['wanted', 'version', 'start_pending', 'located_at', 'way', 'way_reason', 'warning',
    'dead_letters_expired', 'created_at', 'changed_at'];
BEGIN
  NEW.delimiter := millrace.delimiter_of(NEW);
  IF NEW.topic_pattern IS NULL THEN
    PERFORM millrace.check_topic(NEW.topic);
  ELSIF NEW.topic IS NOT NULL THEN
    PERFORM millrace.refuse('option-conflict', 'topic and topic_pattern exclude each other');
  ELSIF millrace.topic_expression(NEW.topic_pattern) IS NULL THEN
    PERFORM millrace.refuse('pattern-invalid', format('topic_pattern cannot be %L', left(NEW.topic_pattern, 100)));
  END IF;
  PERFORM millrace.check_options(NEW);
  NEW.changed_at := now();
  -- A member of somebody else's group would take partitions away from it.
  IF NEW.group_id IS NOT NULL AND (TG_OP = 'INSERT' OR NEW.group_id IS DISTINCT FROM OLD.group_id) AND NOT millrace.is_admin() THEN
    PERFORM millrace.refuse('group-denied', format('role %I may not choose the consumer group', current_user));
  END IF;

  IF TG_OP = 'UPDATE' THEN
    -- A start that was asked for and not found yet is still asked for.
    IF OLD.start_pending AND num_nonnulls(NEW.start_offset, NEW.start_time, NEW.start_partitions) = 0 THEN
      NEW.start_offset := OLD.start_offset;
      NEW.start_time := OLD.start_time;
      NEW.start_partitions := OLD.start_partitions;
    END IF;
    IF NEW.wanted = 'running' AND (OLD.wanted <> 'running'
      OR EXISTS (SELECT FROM millrace.failure AS f WHERE f.consumer_id = OLD.id AND f.version = OLD.version)
      OR to_jsonb(NEW) - unversioned IS DISTINCT FROM to_jsonb(OLD) - unversioned)
    THEN
      NEW.version := OLD.version + 1;
      NEW.warning := NULL;
    ELSE
      RETURN NEW;
    END IF;
  END IF;

  -- Also a new row that is to stay stopped: it keeps others from consuming into the relation.
  IF NEW.wanted = 'running' OR TG_OP = 'INSERT' THEN
    SELECT w.way, w.reason INTO NEW.way, NEW.way_reason FROM millrace.check_wanted(NEW) AS w;
  END IF;
  RETURN NEW;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_consumer() TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_failing(c millrace.consumer)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF c.on_error IS NULL OR c.on_error NOT IN ('stop', 'dead_letter', 'skip') THEN
    PERFORM millrace.refuse('on-error-invalid', format('on_error cannot be %L', left(c.on_error, 64)));
  END IF;
  IF c.on_offset_gap IS NULL OR c.on_offset_gap NOT IN ('stop', 'earliest') THEN
    PERFORM millrace.refuse('offset-gap-invalid', format('on_offset_gap cannot be %L', left(c.on_offset_gap, 64)));
  END IF;
  IF NOT coalesce(c.dead_letter_limit, 0) >= 1 THEN
    PERFORM millrace.refuse('dead-letter-limit-invalid', format('dead_letter_limit cannot be %L', c.dead_letter_limit));
  END IF;
  IF c.dead_letter_max_age <= interval '0' THEN
    PERFORM millrace.refuse('dead-letter-limit-invalid', format('dead_letter_max_age cannot be %L', c.dead_letter_max_age));
  END IF;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_failing(millrace.consumer) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_given(c millrace.consumer, options jsonb)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  given millrace.consumer := jsonb_populate_record(c, options);
BEGIN
  given.delimiter := millrace.delimiter_of(given);
  PERFORM millrace.check_options(given);
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_given(millrace.consumer,jsonb) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_insert(target_schema text, target_name text, owner regrole)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  target oid;
  schema_id oid;
BEGIN
  SELECT c.oid, n.oid INTO target, schema_id FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
  WHERE n.nspname = target_schema AND c.relname = target_name AND c.relkind IN ('r', 'p', 'f', 'v');
  -- Of the whole table: LOCK TABLE asks for no less.
  IF FOUND AND NOT (has_schema_privilege(owner::oid, schema_id, 'USAGE') AND has_table_privilege(owner::oid, target, 'INSERT'))
  THEN
    PERFORM millrace.refuse('insert-denied', format('role %I may not insert into %I.%I',
      pg_get_userbyid(owner::oid), target_schema, target_name));
  END IF;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_insert(text,text,regrole) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_message(topic text, partition integer, "timestamp" timestamp with time zone)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  PERFORM millrace.check_topic(topic);
  IF partition < 0 THEN
    PERFORM millrace.refuse('partition-invalid', format('there is no partition %s', partition));
  END IF;
  IF "timestamp" < to_timestamp(0) OR NOT isfinite("timestamp") THEN
    PERFORM millrace.refuse('timestamp-invalid', format('a message cannot have the timestamp %s', "timestamp"));
  END IF;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_message(text,integer,timestamp with time zone) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_options(c millrace.consumer)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF c.format IS NULL OR c.format NOT IN ('text', 'csv', 'json') THEN
    PERFORM millrace.refuse('format-unknown', format('format %L is not known', left(c.format, 64)));
  END IF;
  IF c.delimiter IS NOT NULL AND (NOT millrace.is_ascii_character(c.delimiter)
    OR c.format = 'text' AND c.delimiter ~ '[\\.a-z0-9N]'
    OR c.format = 'csv' AND c.delimiter = coalesce(c.quote, '"'))
  THEN
    PERFORM millrace.refuse('delimiter-invalid', format('%L cannot be the delimiter of %s', left(c.delimiter, 16), c.format));
  END IF;
  IF c.quote IS NOT NULL AND (c.format <> 'csv' OR NOT millrace.is_ascii_character(c.quote)) THEN
    PERFORM millrace.refuse('quote-invalid', format('%L cannot be the quote of %s', left(c.quote, 16), c.format));
  END IF;
  IF c.escape IS NOT NULL AND (c.format <> 'csv' OR NOT millrace.is_ascii_character(c.escape)) THEN
    PERFORM millrace.refuse('escape-invalid', format('%L cannot be the escape of %s', left(c.escape, 16), c.format));
  END IF;
  IF pg_char_to_encoding(c.encoding) < 0 THEN
    PERFORM millrace.refuse('encoding-unknown', format('encoding %L is not known', left(c.encoding, 64)));
  END IF;
  IF NOT coalesce(c.batchsize, 0) >= 1 THEN
    PERFORM millrace.refuse('batchsize-invalid', format('batchsize cannot be %L', c.batchsize));
  END IF;
  IF NOT coalesce(c.maxbytes, 0) >= 1 THEN
    PERFORM millrace.refuse('maxbytes-invalid', format('maxbytes cannot be %L', c.maxbytes));
  END IF;
  IF NOT coalesce(c.parallelism, 0) BETWEEN 1 AND 1000 THEN
    PERFORM millrace.refuse('parallelism-invalid', format('parallelism cannot be %L', c.parallelism));
  END IF;
  IF NOT coalesce(c.timeout, 0) BETWEEN 1 AND 600000 THEN
    PERFORM millrace.refuse('timeout-invalid', format('timeout cannot be %L', c.timeout));
  END IF;
  -- The groups that consumers are in by themselves are called millrace.<installation>.<consumer>.
  IF c.group_id IS NOT NULL AND (c.group_id !~ '^.{1,255}$' OR c.group_id ~ '[\x01-\x1f\x7f]' OR c.group_id ~ '^millrace\.') THEN
    PERFORM millrace.refuse('group-invalid', format('%L cannot be the consumer group', left(c.group_id, 64)));
  END IF;
  PERFORM millrace.check_start(c);
  PERFORM millrace.check_failing(c);
  PERFORM millrace.check_rows(c);
  PERFORM millrace.check_together(c);
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_options(millrace.consumer) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_outbox_position(cluster text, epoch bigint, number bigint, token uuid, id bigint, line integer)
 RETURNS TABLE(problem text, own text)
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT CASE WHEN c.unsent IS NULL THEN
      millrace.outbox_position_problem(p, check_outbox_position.number, check_outbox_position.token, check_outbox_position.id,
        check_outbox_position.line)
    END,
    concat_ws(', ', format('batch %s', p.number),
      format('batch %s and id %s in Kafka, line %s', p.kafka_number, p.kafka_id, coalesce(p.kafka_line, 1)))
  FROM millrace.outbox_progress AS p JOIN millrace.cluster AS c ON c.name = p.cluster
  WHERE p.cluster = check_outbox_position.cluster AND p.epoch = check_outbox_position.epoch
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_outbox_position(text,bigint,bigint,uuid,bigint,integer) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_outcome(request bigint)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  found_request record;
BEGIN
  SELECT * INTO found_request FROM millrace.request AS r WHERE r.id = request;
  IF found_request.state = 'failed' THEN
    PERFORM millrace.refuse('request-failed',
      format('request %s failed: %s: %s', request, found_request.error_code, found_request.error_message));
  END IF;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_outcome(bigint) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_publish_options(envelope text, with_schema boolean, capture text, truncate text, key text[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF envelope IS NULL OR envelope NOT IN ('row', 'debezium', 'pg2kafka') THEN
    PERFORM millrace.refuse('envelope-invalid', format('%L is no envelope', left(envelope, 64)));
  ELSIF with_schema IS NULL OR with_schema AND envelope = 'pg2kafka' THEN
    PERFORM millrace.refuse('option-conflict', 'events of pg2kafka have no schema');
  ELSIF envelope = 'pg2kafka' AND cardinality(key) > 1 THEN
    PERFORM millrace.refuse('option-conflict', 'events of pg2kafka have one column as external_id');
  ELSIF capture IS NULL OR capture NOT IN ('auto', 'statement', 'row') THEN
    PERFORM millrace.refuse('capture-invalid', format('%L is no way to capture', left(capture, 64)));
  ELSIF truncate NOT IN ('delete', 'event', 'skip') OR truncate = 'event' AND envelope <> 'debezium' THEN
    PERFORM millrace.refuse('truncate-invalid', format('%L is not what envelope %s can do with TRUNCATE', left(truncate, 64), envelope));
  END IF;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_publish_options(text,boolean,text,text,text[]) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_publishable(target oid)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  c record;
BEGIN
  SELECT k.*, n.nspname, format('%I.%I', n.nspname, k.relname) AS shown INTO c
  FROM pg_class AS k JOIN pg_namespace AS n ON n.oid = k.relnamespace WHERE k.oid = target;
  IF NOT FOUND THEN
    PERFORM millrace.refuse('relation-missing', 'a table is needed, not NULL');
  ELSIF c.relkind NOT IN ('r', 'p') THEN
    PERFORM millrace.refuse('relation-not-published', format('%s is no table', c.shown));
  ELSIF c.nspname IN ('pg_catalog', 'information_schema', 'pg_toast', 'millrace') THEN
    PERFORM millrace.refuse('relation-catalog', format('%s belongs to a catalog', c.shown));
  ELSIF c.relpersistence = 't' THEN
    PERFORM millrace.refuse('relation-temporary', format('%s is temporary', c.shown));
  ELSIF NOT pg_has_role(c.relowner, 'USAGE') THEN
    PERFORM millrace.refuse('relation-not-yours', format('%s belongs to role %I', c.shown, pg_get_userbyid(c.relowner)));
  ELSIF c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhparent = c.oid) THEN
    PERFORM millrace.refuse('relation-inherited', format('tables inherit from %s', c.shown));
  ELSIF NOT millrace.can_act_as(millrace.daemon_role()::oid, c.relowner) THEN
    PERFORM millrace.refuse('role-not-served', format('the daemon''s role %s cannot act as role %I',
      millrace.daemon_role(), pg_get_userbyid(c.relowner)));
  END IF;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_publishable(oid) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_relation(target regclass, target_text text, OUT target_schema text, OUT target_name text)
 RETURNS record
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  SELECT n.nspname, c.relname INTO target_schema, target_name
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = target;
  IF NOT FOUND THEN
    PERFORM millrace.refuse('relation-missing', CASE WHEN target_text IS NULL THEN 'a relation is needed, not NULL'
      ELSE format('relation %L does not exist', left(target_text, 256)) END);
  END IF;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_relation(regclass,text) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_request()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  NEW.owner := (SELECT oid FROM pg_roles WHERE rolname = current_user);
  IF NEW.kind = 'try' AND NEW.consumer_id IS NULL AND jsonb_typeof(NEW.arguments) = 'object' THEN
    NEW.arguments := millrace.try_arguments(NEW.arguments);
    NEW.asked_count := (NEW.arguments ->> 'messages')::bigint;
  ELSIF NEW.kind = 'replay' AND jsonb_typeof(NEW.arguments) = 'object' AND NEW.asked_count >= 0 THEN
    IF NEW.consumer_id IS NOT NULL AND NOT EXISTS (SELECT FROM millrace.visible_consumer AS c WHERE c.id = NEW.consumer_id) THEN
      PERFORM millrace.refuse('consumer-missing', format('there is no consumer %s', NEW.consumer_id));
    END IF;
  ELSE
    PERFORM millrace.refuse('request-invalid', format('%L is no request, or its arguments are no object', left(NEW.kind, 64)));
  END IF;
  RETURN NEW;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_request() TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_routing(c millrace.consumer)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF to_regnamespace(quote_ident(c.target_schema)) IS NULL THEN
    PERFORM millrace.refuse('schema-absent', format('schema %I does not exist', c.target_schema));
  ELSIF c.target_schema IN ('pg_catalog', 'information_schema', 'pg_toast', 'millrace') THEN
    PERFORM millrace.refuse('relation-catalog', format('schema %I is a catalog', c.target_schema));
  ELSIF NOT has_schema_privilege(c.owner::oid, to_regnamespace(quote_ident(c.target_schema)), 'USAGE') THEN
    PERFORM millrace.refuse('insert-denied', format('role %I may not use schema %I', pg_get_userbyid(c.owner::oid), c.target_schema));
  END IF;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_routing(millrace.consumer) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_rows(c millrace.consumer)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF c.mode IS NULL OR c.mode NOT IN ('insert', 'upsert', 'changes') THEN
    PERFORM millrace.refuse('mode-invalid', format('mode cannot be %L', left(c.mode, 64)));
  END IF;
  IF c.tombstone NOT IN ('skip', 'row', 'delete') THEN
    PERFORM millrace.refuse('tombstone-invalid', format('tombstone cannot be %L', left(c.tombstone, 64)));
  END IF;
  IF c.unknown_keys IS NULL OR c.unknown_keys NOT IN ('ignore', 'error') THEN
    PERFORM millrace.refuse('unknown-keys-invalid', format('unknown_keys cannot be %L', left(c.unknown_keys, 64)));
  END IF;
  IF c.missing_keys IS NULL OR c.missing_keys NOT IN ('default', 'error') THEN
    PERFORM millrace.refuse('missing-keys-invalid', format('missing_keys cannot be %L', left(c.missing_keys, 64)));
  END IF;
  IF NOT millrace.is_json_path(c.json_path) THEN
    PERFORM millrace.refuse('json-path-invalid', format('json_path cannot be %L', left(c.json_path, 100)));
  END IF;
  IF c.metadata IS NOT NULL AND (jsonb_typeof(c.metadata) <> 'object' OR EXISTS (
    SELECT FROM jsonb_each(CASE jsonb_typeof(c.metadata) WHEN 'object' THEN c.metadata ELSE '{}' END) AS m
    WHERE m.key NOT IN ('key', 'topic', 'partition', 'offset', 'timestamp', 'headers')
      OR jsonb_typeof(m.value) <> 'string' OR m.value = '""'
    ) OR (SELECT count(*) <> count(DISTINCT m.value)
          FROM jsonb_each(CASE jsonb_typeof(c.metadata) WHEN 'object' THEN c.metadata ELSE '{}' END) AS m))
  THEN
    PERFORM millrace.refuse('metadata-invalid', format('metadata cannot be %s', left(c.metadata::text, 200)));
  END IF;
  IF c.columns IS NOT NULL AND (cardinality(c.columns) = 0 OR array_ndims(c.columns) > 1 OR '' = ANY (c.columns)
    OR array_position(c.columns, NULL) IS NOT NULL)
  THEN
    PERFORM millrace.refuse('columns-invalid', 'columns needs at least one name, and each has to have a character');
  END IF;
  IF c.key_columns IS NOT NULL AND (cardinality(c.key_columns) = 0 OR array_ndims(c.key_columns) > 1
    OR array_position(c.key_columns, NULL) IS NOT NULL
    OR (SELECT count(*) <> count(DISTINCT k) FROM unnest(c.key_columns) AS k))
  THEN
    PERFORM millrace.refuse('columns-invalid', 'key_columns needs at least one name, and each of them once');
  END IF;
  IF c.transform !~* '^\s*(select|with|values|table|\()' THEN
    PERFORM millrace.refuse('transform-invalid', 'the transform does not begin with SELECT, WITH, VALUES or TABLE');
  END IF;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_rows(millrace.consumer) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_snapshot()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  target record;
  owner_name name;
  daemon constant regrole := millrace.daemon_role();
BEGIN
  SELECT r.relowner, c.relkind, c.relpersistence, c.relrowsecurity AND (c.relforcerowsecurity OR c.relowner <> r.relowner) AS hides_rows,
    coalesce(m.amname, 'heap') AS method, format('%I.%I', n.nspname, c.relname) AS shown, format('%I.%I', o.nspname, r.relname) AS name
  INTO target
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace LEFT JOIN pg_am AS m ON m.oid = c.relam
  JOIN pg_class AS r ON r.oid = NEW.root::oid JOIN pg_namespace AS o ON o.oid = r.relnamespace WHERE c.oid = NEW.relation::oid;
  IF NOT FOUND OR to_regprocedure(NEW.writer) IS NULL THEN
    PERFORM millrace.refuse('relation-missing', 'a table and a writer are needed, not NULL');
  END IF;
  owner_name := pg_get_userbyid(target.relowner);
  IF NOT pg_has_role(target.relowner, 'USAGE') THEN
    PERFORM millrace.refuse('relation-not-yours', format('%s belongs to role %I', target.name, owner_name));
  ELSIF target.relkind NOT IN ('r', 'm') OR target.relpersistence = 't' OR target.method <> 'heap' THEN
    PERFORM millrace.refuse('snapshot-unreadable', format('%s cannot be read in ranges of blocks', target.shown));
  ELSIF target.hides_rows AND NOT (SELECT r.rolsuper OR r.rolbypassrls FROM pg_roles AS r WHERE r.oid = target.relowner) THEN
    PERFORM millrace.refuse('snapshot-row-security', format('row-level security would hide rows of %s from role %I', target.shown, owner_name));
  ELSIF NOT (has_table_privilege(target.relowner, NEW.relation, 'SELECT') AND has_table_privilege(target.relowner, NEW.relation, 'UPDATE')) THEN
    PERFORM millrace.refuse('snapshot-denied', format('role %I may not SELECT and UPDATE %s', owner_name, target.shown));
  ELSIF NOT millrace.can_act_as(daemon::oid, target.relowner) THEN
    PERFORM millrace.refuse('role-not-served', format('the daemon''s role %s cannot act as role %I', daemon, owner_name));
  ELSIF NOT has_database_privilege(target.relowner, current_database(), 'TEMPORARY') THEN
    PERFORM millrace.refuse('owner-needs-temp', format('role %I may not create temporary tables in this database', owner_name));
  END IF;
  NEW.owner := target.relowner;
  NEW.name := target.name;
  NEW.filenode := pg_relation_filenode(NEW.relation);
  NEW.next_block := NEW.first_block;
  RETURN NEW;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_snapshot() TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_start(c millrace.consumer)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF c.start_offset < -2 THEN
    PERFORM millrace.refuse('start-offset-invalid', format('start_offset cannot be %s', c.start_offset));
  END IF;
  IF NOT isfinite(c.start_time) THEN
    PERFORM millrace.refuse('start-offset-invalid', format('start_time cannot be %s', c.start_time));
  END IF;
  -- start_partitions with one of them: where these partitions start, and where the others do.
  IF num_nonnulls(c.start_offset, c.start_time) > 1 THEN
    PERFORM millrace.refuse('start-offset-invalid', 'start_offset and start_time exclude each other');
  END IF;
  IF c.start_partitions IS NOT NULL AND (jsonb_typeof(c.start_partitions) <> 'object' OR c.start_partitions = '{}' OR EXISTS (
    SELECT FROM jsonb_each(CASE jsonb_typeof(c.start_partitions) WHEN 'object' THEN c.start_partitions ELSE '{}' END) AS p
    WHERE p.key !~ '^(0|[1-9][0-9]{0,8})$' OR jsonb_typeof(p.value) <> 'number' OR p.value::text !~ '^(-[12]|[0-9]{1,18})$'))
  THEN
    PERFORM millrace.refuse('start-offset-invalid',
      format('start_partitions cannot be %s', left(c.start_partitions::text, 100)));
  END IF;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_start(millrace.consumer) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_target(c millrace.consumer, OUT way text, OUT reason text)
 RETURNS record
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  found_way record;
BEGIN
  IF c.route_by_key THEN
    PERFORM millrace.check_routing(c);
    way := 'staged';
  ELSE
    SELECT * INTO found_way FROM millrace.loading_way(c.target_schema, c.target_name, c.owner::oid, millrace.staged_by_options(c));
    IF found_way.way = 'refused' THEN
      PERFORM millrace.refuse(found_way.code, found_way.message);
    END IF;
    PERFORM millrace.check_columns(c, (SELECT r.oid FROM pg_class AS r JOIN pg_namespace AS n ON n.oid = r.relnamespace
      WHERE n.nspname = c.target_schema AND r.relname = c.target_name));
    way := found_way.way;
    reason := found_way.code || ': ' || found_way.message;
  END IF;
  -- Messages that cannot be loaded are told from the others in a staging table.
  IF (way = 'staged' OR c.on_error <> 'stop') AND NOT has_database_privilege(c.owner::oid, current_database(), 'TEMPORARY') THEN
    PERFORM millrace.refuse('owner-needs-temp',
      format('role %I may not create temporary tables in this database', pg_get_userbyid(c.owner::oid)));
  END IF;
  IF NOT millrace.can_act_as(millrace.daemon_role()::oid, c.owner::oid) THEN
    PERFORM millrace.refuse('role-not-served', format('the daemon''s role %s cannot act as role %I',
      millrace.daemon_role(), pg_get_userbyid(c.owner::oid)));
  END IF;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_target(millrace.consumer) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_together(c millrace.consumer)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  problem text;
BEGIN
  problem := CASE
    WHEN c.format <> 'json' AND c.mode = 'changes' THEN 'mode changes needs format json'
    WHEN c.format <> 'json' AND c.json_path IS NOT NULL THEN 'json_path needs format json'
    WHEN c.format <> 'json' AND c.rest_column IS NOT NULL THEN 'rest_column needs format json'
    WHEN c.format <> 'json' AND c.unknown_keys <> 'ignore' THEN 'unknown_keys needs format json'
    WHEN c.format <> 'json' AND c.missing_keys <> 'default' THEN 'missing_keys needs format json'
    WHEN c.mode = 'changes' AND c.json_path IS NOT NULL THEN 'json_path and mode changes exclude each other'
    WHEN c.mode = 'insert' AND c.key_columns IS NOT NULL THEN 'key_columns needs mode upsert or changes'
    WHEN c.mode = 'insert' AND c.tombstone = 'delete' THEN 'tombstone delete needs mode upsert or changes'
    WHEN c.mode <> 'insert' AND c.tombstone = 'row' THEN 'tombstone row needs mode insert'
    WHEN c.transform IS NOT NULL AND c.mode <> 'insert' THEN 'a transform needs mode insert: it has its own ON CONFLICT'
    WHEN c.transform IS NOT NULL AND c.route_by_key THEN 'a transform and route_by_key exclude each other'
    WHEN c.unknown_keys = 'error' AND c.rest_column IS NOT NULL THEN
      'unknown_keys error and rest_column exclude each other: no key is unknown that rest_column takes'
  END;
  IF problem IS NOT NULL THEN
    PERFORM millrace.refuse('option-conflict', problem);
  END IF;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_together(millrace.consumer) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_topic(topic text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF topic IS NULL THEN
    PERFORM millrace.refuse('topic-invalid', 'a topic is needed, not NULL');
  -- Without {1,249}, which is a large automaton.
  ELSIF topic ~ '[^a-zA-Z0-9._-]' OR length(topic) NOT BETWEEN 1 AND 249 OR topic IN ('.', '..') THEN
    PERFORM millrace.refuse('topic-invalid', format('%L is no name of a Kafka topic', left(topic, 249)));
  END IF;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_topic(text) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_topic_grant()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF NOT millrace.is_admin() THEN
    PERFORM millrace.refuse('admin-required', format('role %I may not grant topics', current_user));
  END IF;
  IF NEW.topic IS DISTINCT FROM '*' THEN
    PERFORM millrace.check_topic(NEW.topic);
  END IF;
  PERFORM millrace.check_action(NEW.action);
  IF NOT EXISTS (SELECT FROM millrace.cluster WHERE name = NEW.cluster) THEN
    PERFORM millrace.refuse('cluster-missing', format('there is no cluster %L', NEW.cluster));
  END IF;
  RETURN NEW;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_topic_grant() TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_unchanged(target_schema text, target_name text, owner oid, seen text, direct boolean)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  planned constant text := CASE WHEN direct THEN 'direct' ELSE 'staged' END;
  current record;
BEGIN
  IF millrace.fingerprint(target_schema, target_name) IS DISTINCT FROM seen THEN
    RAISE EXCEPTION 'the relation was altered' USING ERRCODE = 'ML002';
  ELSIF (direct OR owner = ANY (millrace.trusted_roles())) AND millrace.needs_check(target_schema, target_name, owner) THEN
    EXECUTE format('SET LOCAL ROLE %I', pg_get_userbyid(owner));
    PERFORM millrace.lock_target(target_schema, target_name);
    RESET ROLE;
    SELECT way, message INTO current FROM millrace.loading_way(target_schema, target_name, owner, NOT direct);
    IF current.way IS DISTINCT FROM planned THEN
      RAISE EXCEPTION '%', coalesce(current.message, 'the relation is gone') USING ERRCODE = 'ML002';
    END IF;
  END IF;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_unchanged(text,text,oid,text,boolean) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_wanted(c millrace.consumer, OUT way text, OUT reason text)
 RETURNS record
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF NOT EXISTS (SELECT FROM millrace.cluster WHERE name = c.cluster) THEN
    PERFORM millrace.refuse('cluster-missing', format('there is no cluster %L', c.cluster));
  END IF;
  IF NOT EXISTS (SELECT FROM millrace.broker WHERE cluster = c.cluster) THEN
    PERFORM millrace.refuse('no-broker', format('cluster %L has no broker', c.cluster));
  END IF;
  PERFORM millrace.check_insert(c.target_schema, c.target_name, c.owner);
  -- The owner's grant, also when an administrator begins it again. Of a pattern, each topic that it finds is asked for.
  IF c.topic IS NOT NULL AND NOT millrace.may_consume(c.cluster, c.topic, c.owner::oid) THEN
    PERFORM millrace.refuse('topic-not-granted',
      format('topic %s is not granted to role %I', c.topic, pg_get_userbyid(c.owner::oid)));
  END IF;
  SELECT t.way, t.reason INTO way, reason FROM millrace.check_target(c) AS t;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_wanted(millrace.consumer) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_watched_topic()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  PERFORM millrace.check_topic(NEW.topic);
  IF NOT EXISTS (SELECT FROM millrace.cluster WHERE name = NEW.cluster) THEN
    PERFORM millrace.refuse('cluster-missing', format('there is no cluster %L', NEW.cluster));
  END IF;
  IF NOT millrace.may_consume(NEW.cluster, NEW.topic) THEN
    PERFORM millrace.refuse('topic-not-granted', format('topic %s is not granted to role %I', NEW.topic, current_user));
  END IF;
  NEW.asked_at := now();
  RETURN NEW;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_watched_topic() TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.column_definitions(columns text[])
 RETURNS TABLE(name text, type text)
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  definition text;
  parts text[];
  identifiers text[];
  modifiers text;
  found_type regtype;
BEGIN
  FOREACH definition IN ARRAY coalesce(columns, '{}') LOOP
    name := NULL;
    type := NULL;
    parts := regexp_match(definition, '^\s*("(?:[^"]|"")+"|[^\s"(),;]+)\s+(\S.*?)\s*$');
    IF parts IS NOT NULL AND parts[2] !~ '--|/\*|[;\x01-\x1f]' THEN
      BEGIN
        identifiers := parse_ident(parts[1]);
        found_type := to_regtype(parts[2]);
      EXCEPTION WHEN OTHERS THEN
        identifiers := NULL;
        found_type := NULL;
      END;
      IF cardinality(identifiers) = 1
        AND (found_type = 'text'::regtype OR millrace.staging_type(found_type, -1) <> 'text')
      THEN
        name := identifiers[1];
        modifiers := substring(parts[2] FROM '\([^()]*\)');
        type := parts[2];
        IF modifiers IS NULL THEN
          type := format_type(found_type, -1);
        END IF;
      END IF;
    END IF;
    RETURN NEXT;
  END LOOP;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.column_definitions(text[]) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.column_numbers(p millrace.publication)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  WITH named AS (
    SELECT n.key AS name, row_number() OVER (ORDER BY n.value::smallint) AS place FROM jsonb_each_text(p.column_numbers) AS n
  ), followed AS (
    SELECT d.refobjsubid AS number, row_number() OVER (ORDER BY d.refobjsubid) AS place
    FROM (
      SELECT DISTINCT d.refobjsubid FROM pg_trigger AS t JOIN pg_depend AS d ON d.classid = 'pg_trigger'::regclass AND d.objid = t.oid
      WHERE t.tgrelid = p.relation AND t.tgname = format('!millrace %s insert', p.id)
        AND d.refclassid = 'pg_class'::regclass AND d.refobjid = p.relation AND d.refobjsubid > 0
    ) AS d
  )
  -- while the triggers are made the numbers are new
  SELECT CASE WHEN (SELECT count(*) FROM named) = (SELECT count(*) FROM followed)
    THEN (SELECT coalesce(jsonb_object_agg(n.name, f.number), '{}') FROM named AS n JOIN followed AS f ON f.place = n.place)
    ELSE p.column_numbers END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.column_numbers(millrace.publication) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.columns_of_filter(relation regclass, filter text)
 RETURNS text[]
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  names constant text[] := ARRAY(SELECT a.attname::text FROM pg_attribute AS a
    WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum);
  used text[] := '{}';
  column_name text;
  others text;
BEGIN
  BEGIN
    EXECUTE format('SELECT FROM (SELECT * FROM %s) AS "a row" WHERE (%s%s) IS TRUE LIMIT 0', relation, filter, E'\n');
  EXCEPTION WHEN OTHERS THEN
    PERFORM millrace.refuse('filter-invalid', format('the filter: %s', SQLERRM));
  END;
  FOREACH column_name IN ARRAY names LOOP
    CONTINUE WHEN position(lower(column_name) IN lower(filter)) = 0;
    others := (SELECT string_agg(quote_ident(o), ', ') FROM unnest(names) AS o WHERE o <> column_name);
    BEGIN
      EXECUTE format('SELECT FROM (SELECT %s FROM %s) AS "a row" WHERE (%s%s) IS TRUE LIMIT 0', others, relation, filter, E'\n');
    EXCEPTION WHEN OTHERS THEN
      used := used || column_name;
    END;
  END LOOP;
  RETURN used;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.columns_of_filter(regclass,text) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.commit_refusal()
 RETURNS text
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  BEGIN
    COMMIT;
  EXCEPTION WHEN invalid_transaction_termination THEN
    RETURN SQLERRM;
  END;
  RETURN NULL;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.commit_refusal() TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.connect_struct(p millrace.publication, names text[], required boolean, name text, field text DEFAULT NULL::text)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT format('{"type":"struct","fields":[%s],"optional":%s,"name":%s%s}',
    string_agg(format('{%s,"optional":%s,"field":%s}', millrace.connect_type(millrace.published_type(p, n.name)), to_json(NOT required),
      to_json(n.name)), ',' ORDER BY n.place),
    to_json(field IS NOT NULL), to_json(connect_struct.name), ',"field":' || to_json(field)::text)
  FROM unnest(names) WITH ORDINALITY AS n (name, place)
$function$
;
GRANT EXECUTE ON FUNCTION millrace.connect_struct(millrace.publication,text[],boolean,text,text) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.connect_type(type oid)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT CASE type
    WHEN 'int2'::regtype THEN '"type":"int16"' WHEN 'int4'::regtype THEN '"type":"int32"' WHEN 'int8'::regtype THEN '"type":"int64"'
    WHEN 'float4'::regtype THEN '"type":"float"' WHEN 'float8'::regtype THEN '"type":"double"'
    WHEN 'bool'::regtype THEN '"type":"boolean"' WHEN 'bytea'::regtype THEN '"type":"bytes"'
    WHEN 'json'::regtype THEN '"type":"string","name":"io.debezium.data.Json","version":1'
    WHEN 'jsonb'::regtype THEN '"type":"string","name":"io.debezium.data.Json","version":1'
    WHEN 'uuid'::regtype THEN '"type":"string","name":"io.debezium.data.Uuid","version":1'
    WHEN 'timestamptz'::regtype THEN '"type":"string","name":"io.debezium.time.ZonedTimestamp","version":1'
    ELSE '"type":"string"' END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.connect_type(oid) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.connect_value(type oid, expression text)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT format(CASE
    WHEN type IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'float4'::regtype, 'float8'::regtype, 'bool'::regtype,
      'timestamptz'::regtype) THEN 'to_json(%s)::text'
    WHEN type = 'bytea'::regtype THEN 'to_json(translate(encode(%s, ''base64''), E''\n'', ''''))::text'
    ELSE 'to_json((%s)::text)::text' END, expression)
$function$
;
GRANT EXECUTE ON FUNCTION millrace.connect_value(oid,text) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.consume(topic text DEFAULT NULL::text, "into" text DEFAULT NULL::text, format text DEFAULT 'json'::text, delimiter text DEFAULT NULL::text, quote text DEFAULT NULL::text, escape text DEFAULT NULL::text, encoding text DEFAULT NULL::text, json_path text DEFAULT NULL::text, columns text[] DEFAULT NULL::text[], rest_column text DEFAULT NULL::text, unknown_keys text DEFAULT 'ignore'::text, missing_keys text DEFAULT 'default'::text, metadata jsonb DEFAULT NULL::jsonb, mode text DEFAULT 'insert'::text, key_columns text[] DEFAULT NULL::text[], tombstone text DEFAULT NULL::text, transform text DEFAULT NULL::text, on_error text DEFAULT 'stop'::text, dead_letter_limit bigint DEFAULT 1000000, dead_letter_max_age interval DEFAULT NULL::interval, on_offset_gap text DEFAULT 'stop'::text, batchsize integer DEFAULT 1000, maxbytes integer DEFAULT 32000000, parallelism integer DEFAULT 1, timeout integer DEFAULT 250, group_id text DEFAULT NULL::text, start_offset bigint DEFAULT NULL::bigint, start_time timestamp with time zone DEFAULT NULL::timestamp with time zone, start_partitions jsonb DEFAULT NULL::jsonb, topic_pattern text DEFAULT NULL::text, route_by_key boolean DEFAULT false, cluster text DEFAULT NULL::text)
 RETURNS bigint
 LANGUAGE sql
AS $function$
  SELECT millrace.start_given(cluster, topic, topic_pattern, "into", millrace.relation("into"), route_by_key,
    pg_catalog.current_schemas(false), pg_catalog.jsonb_build_object(
    'format', format, 'delimiter', delimiter, 'quote', quote, 'escape', escape, 'encoding', encoding,
    'json_path', json_path, 'columns', columns, 'rest_column', rest_column, 'unknown_keys', unknown_keys,
    'missing_keys', missing_keys, 'metadata', metadata, 'mode', mode, 'key_columns', key_columns,
    'tombstone', tombstone, 'transform', transform, 'on_error', on_error, 'dead_letter_limit', dead_letter_limit,
    'dead_letter_max_age', dead_letter_max_age, 'on_offset_gap', on_offset_gap, 'batchsize', batchsize,
    'maxbytes', maxbytes, 'parallelism', parallelism, 'timeout', timeout, 'group_id', group_id,
    'start_offset', start_offset, 'start_time', start_time, 'start_partitions', start_partitions))
$function$
;
GRANT EXECUTE ON FUNCTION millrace.consume(text,text,text,text,text,text,text,text,text[],text,text,text,jsonb,text,text[],text,text,text,bigint,interval,text,integer,integer,integer,integer,text,bigint,timestamp with time zone,jsonb,text,boolean,text) TO PUBLIC;
COMMENT ON FUNCTION millrace.consume(text,text,text,text,text,text,text,text,text[],text,text,text,jsonb,text,text[],text,text,text,bigint,interval,text,integer,integer,integer,integer,text,bigint,timestamp with time zone,jsonb,text,boolean,text) IS 'Begins to load a topic into a relation, or begins again; returns the number of the consumer.';

CREATE OR REPLACE FUNCTION millrace.consumer_id(topic text, "into" text, cluster text DEFAULT NULL::text)
 RETURNS bigint
 LANGUAGE sql
 STABLE
AS $function$
  SELECT millrace.find_consumer(topic, millrace.relation("into"), "into", pg_catalog.current_schemas(false),
    millrace.given_cluster(cluster))
$function$
;
GRANT EXECUTE ON FUNCTION millrace.consumer_id(text,text,text) TO PUBLIC;
COMMENT ON FUNCTION millrace.consumer_id(text,text,text) IS 'The number of the consumer that loads a topic into a relation.';

CREATE OR REPLACE FUNCTION millrace.consumer_options()
 RETURNS text[]
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT ARRAY['group_id', 'format', 'delimiter', 'quote', 'escape', 'encoding', 'json_path', 'columns', 'rest_column',
    'unknown_keys', 'missing_keys', 'metadata', 'mode', 'key_columns', 'tombstone', 'transform', 'on_error',
    'dead_letter_limit', 'dead_letter_max_age', 'on_offset_gap', 'batchsize', 'maxbytes', 'parallelism', 'timeout']
$function$
;
GRANT EXECUTE ON FUNCTION millrace.consumer_options() TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.contained_types(types oid[])
 RETURNS SETOF oid
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  WITH RECURSIVE walk (type) AS (
    SELECT unnest(types)
    UNION
    SELECT part.type FROM walk JOIN pg_type AS t ON t.oid = walk.type CROSS JOIN LATERAL (
      SELECT t.typbasetype UNION ALL
      SELECT t.typelem UNION ALL
      SELECT a.atttypid FROM pg_attribute AS a
        WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped UNION ALL
      SELECT r.rngsubtype FROM pg_range AS r WHERE t.typtype = 'r' AND r.rngtypid = t.oid UNION ALL
      -- PostgreSQL 13 has no multiranges, and no such column
      SELECT r.rngsubtype FROM pg_range AS r WHERE t.typtype = 'm' AND (to_jsonb(r) ->> 'rngmultitypid')::oid = t.oid
    ) AS part (type) WHERE part.type >= 16384
  )
  SELECT type FROM walk
$function$
;
GRANT EXECUTE ON FUNCTION millrace.contained_types(oid[]) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.copy_outbox_writing()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  PERFORM setval('millrace.outbox_segment', NEW.segment);
  RETURN NULL;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.copy_outbox_writing() TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.daemon_connected()
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND classid = 1298756723 AND objid = 1 AND objsubid = 2 AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
$function$
;
GRANT EXECUTE ON FUNCTION millrace.daemon_connected() TO PUBLIC;
COMMENT ON FUNCTION millrace.daemon_connected() IS 'Whether a daemon is connected to this database now.';

CREATE OR REPLACE FUNCTION millrace.daemon_role()
 RETURNS regrole
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'millrace'
$function$
;
GRANT EXECUTE ON FUNCTION millrace.daemon_role() TO PUBLIC;
COMMENT ON FUNCTION millrace.daemon_role() IS 'The role that the daemon works as: the owner of schema millrace.';

CREATE OR REPLACE FUNCTION millrace.dangerous_functions(functions oid[])
 RETURNS SETOF oid
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT p.oid FROM pg_proc AS p
  WHERE p.oid = ANY (functions) AND NOT (p.oid < 16384 AND p.pronamespace = 'pg_catalog'::regnamespace AND (
    p.provolatile = 'i'
    OR p.proname = ANY (ARRAY[
      'nextval', 'currval', 'lastval', 'gen_random_uuid', 'uuidv4', 'uuidv7', 'random', 'random_normal',
      'now', 'statement_timestamp', 'transaction_timestamp', 'clock_timestamp', 'timeofday',
      'txid_current', 'pg_current_xact_id', 'pg_current_wal_lsn', 'pg_backend_pid',
      'inet_client_addr', 'inet_client_port', 'current_setting', 'current_database', 'current_schema', 'version',
      'age', 'date_add', 'date_part', 'date_subtract', 'date_trunc', 'extract', 'make_timestamptz', 'timezone',
      'to_char', 'to_date', 'to_number', 'to_timestamp', 'timestamptz', 'convert', 'convert_from', 'convert_to',
      'concat', 'concat_ws', 'format', 'array_to_string', 'num_nulls', 'num_nonnulls', 'pg_typeof',
      'jsonb_path_exists_tz', 'jsonb_path_match_tz', 'to_tsvector', 'to_tsquery', 'plainto_tsquery',
      'phraseto_tsquery', 'websearch_to_tsquery',
      'tsvector_update_trigger', 'tsvector_update_trigger_column', 'unique_key_recheck',
      'RI_FKey_check_ins', 'RI_FKey_check_upd'])
    OR p.provolatile = 's'
      AND (EXISTS (SELECT FROM pg_operator WHERE oprcode = p.oid) OR EXISTS (SELECT FROM pg_cast WHERE castfunc = p.oid))
      AND NOT EXISTS (
        SELECT FROM unnest(p.proargtypes) AS a (type) JOIN pg_type AS t ON t.oid = a.type WHERE t.typtype = 'p')))
$function$
;
GRANT EXECUTE ON FUNCTION millrace.dangerous_functions(oid[]) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.dead_letter_room(consumer bigint, needed bigint DEFAULT NULL::bigint)
 RETURNS bigint
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT CASE WHEN needed <= c.dead_letter_limit - coalesce(
      (SELECT d.id FROM millrace.dead_letter AS d WHERE d.consumer_id = c.id ORDER BY d.id DESC LIMIT 1)
      - (SELECT d.id FROM millrace.dead_letter AS d WHERE d.consumer_id = c.id ORDER BY d.id LIMIT 1) + 1, 0)
    THEN needed
    ELSE greatest(c.dead_letter_limit - (
      SELECT count(*) FROM (
        SELECT FROM millrace.dead_letter AS d WHERE d.consumer_id = c.id LIMIT c.dead_letter_limit) AS stored), 0)
    END
  FROM millrace.consumer AS c WHERE c.id = consumer
$function$
;
GRANT EXECUTE ON FUNCTION millrace.dead_letter_room(bigint,bigint) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.deferred_code(owner oid)
 RETURNS TABLE(code text, message text)
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  problem text;
BEGIN
  IF owner = ANY (millrace.trusted_roles()) THEN
    RETURN;
  END IF;
  problem := millrace.deferring_code(ARRAY(
    SELECT l.relation FROM pg_locks AS l
    WHERE l.locktype = 'relation' AND l.pid = pg_backend_pid() AND l.granted
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.mode NOT IN ('AccessShareLock', 'RowShareLock')), owner);
  IF problem IS NOT NULL THEN
    RETURN QUERY SELECT 'relation-defers-code', 'what was loaded ' || problem;
  END IF;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.deferred_code(oid) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.deferring_code(relations oid[], owner oid)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  trusted constant oid[] := millrace.trusted_roles();
  found_code record;
BEGIN
  SELECT t.tgname AS name, t.tgrelid::regclass AS relation INTO found_code
  FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid JOIN pg_class AS c ON c.oid = t.tgrelid
  WHERE t.tgrelid = ANY (relations) AND t.tgdeferrable AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
    AND NOT ARRAY[owner, p.proowner, c.relowner] <@ trusted
  UNION ALL
  SELECT k.conname, k.conrelid::regclass FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid
    JOIN pg_index AS i ON i.indexrelid = k.conindid
  WHERE k.conrelid = ANY (relations) AND k.contype IN ('x', 'u', 'p') AND k.condeferrable
    AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL
      OR EXISTS (SELECT FROM unnest(k.conexclop) AS o (id) WHERE o.id >= 16384)
      OR EXISTS (SELECT FROM unnest(i.indclass) AS o (id) WHERE o.id >= 16384))
    AND NOT ARRAY[owner, c.relowner] <@ trusted
  UNION ALL
  SELECT k.conname, k.conrelid::regclass FROM pg_constraint AS k
    CROSS JOIN LATERAL unnest(k.conkey, k.confkey) AS pair (near, far)
    JOIN pg_attribute AS n ON n.attrelid = k.conrelid AND n.attnum = pair.near
    JOIN pg_attribute AS f ON f.attrelid = k.confrelid AND f.attnum = pair.far
  WHERE (k.conrelid = ANY (relations) OR k.confrelid = ANY (relations)) AND k.contype = 'f' AND k.condeferrable
    AND n.atttypid <> f.atttypid AND greatest(n.atttypid, f.atttypid) >= 16384
  LIMIT 1;
  RETURN CASE WHEN FOUND THEN
    format('has the deferrable %s of %s, which would run at COMMIT as the daemon', quote_ident(found_code.name), found_code.relation) END;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.deferring_code(oid[],oid) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.delimiter_of(c millrace.consumer)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT CASE WHEN c.format = 'json' THEN NULL WHEN c.delimiter = '\t' THEN E'\t' ELSE c.delimiter END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.delimiter_of(millrace.consumer) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.dialect_options(format text, delimiter text, quote text, escape text, batchsize integer, maxbytes integer, parallelism integer, start_offset bigint, group_id text, timeout integer)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT jsonb_build_object('delimiter', delimiter, 'quote', quote, 'escape', escape, 'start_offset', start_offset,
      'start_time', NULL, 'start_partitions', NULL, 'group_id', group_id)
    || jsonb_strip_nulls(jsonb_build_object('format', lower(format), 'batchsize', batchsize, 'maxbytes', maxbytes,
      'parallelism', parallelism, 'timeout', timeout))
$function$
;
GRANT EXECUTE ON FUNCTION millrace.dialect_options(text,text,text,text,integer,integer,integer,bigint,text,integer) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.discard_dead_letters(ids bigint[] DEFAULT NULL::bigint[], topic text DEFAULT NULL::text, cluster text DEFAULT NULL::text)
 RETURNS bigint
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT count(*) FROM millrace.take_dead_letters(ids, topic, cluster)
$function$
;
GRANT EXECUTE ON FUNCTION millrace.discard_dead_letters(bigint[],text,text) TO PUBLIC;
COMMENT ON FUNCTION millrace.discard_dead_letters(bigint[],text,text) IS 'Removes dead letters of sending for ever; returns how many. For administrators.';

CREATE OR REPLACE FUNCTION millrace.drop_cluster(name text, force boolean DEFAULT false)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  unsent text;
BEGIN
  IF NOT millrace.is_admin() THEN
    PERFORM millrace.refuse('admin-required', format('role %I may not drop clusters', current_user));
  END IF;
  IF EXISTS (SELECT FROM millrace.consumer AS c WHERE c.cluster = name) THEN
    PERFORM millrace.refuse('cluster-used', format('consumers read from cluster %L', name));
  END IF;
  -- no message is written for it from here on
  DELETE FROM millrace.broker AS b WHERE b.cluster = name;
  IF NOT force THEN
    SELECT format('for cluster %L %s messages are not sent, %s wait and %s are dead letters', name, s.backlog, s.waiting, s.dead_letters)
    INTO unsent FROM millrace.outbox_status AS s
    WHERE s.cluster = drop_cluster.name AND (s.backlog > 0 OR s.waiting > 0 OR s.dead_letters > 0);
    IF FOUND THEN
      PERFORM millrace.refuse('cluster-unsent', unsent);
    END IF;
  END IF;
  DELETE FROM millrace.topic_grant AS g WHERE g.cluster = name;
  DELETE FROM millrace.cluster AS c WHERE c.name = drop_cluster.name;
  IF NOT FOUND THEN
    PERFORM millrace.refuse('cluster-missing', format('there is no cluster %L', name));
  END IF;
EXCEPTION WHEN foreign_key_violation THEN
  PERFORM millrace.refuse('cluster-used', format('consumers read from cluster %L', name));
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.drop_cluster(text,boolean) TO PUBLIC;
COMMENT ON FUNCTION millrace.drop_cluster(text,boolean) IS 'Removes a cluster that no consumer uses and whose messages are sent, or with force with those that are not, with its brokers and the grants of its topics. For administrators.';

CREATE OR REPLACE FUNCTION millrace.drop_consumer(consumer bigint)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  found_consumer millrace.consumer := millrace.own_consumer(consumer);
  letters bigint;
BEGIN
  IF found_consumer.parent_id IS NOT NULL THEN
    PERFORM millrace.refuse('consumer-of-pattern', format('consumer %s belongs to the pattern of consumer %s', consumer, found_consumer.parent_id));
  END IF;
  letters := (SELECT count(*) FROM millrace.dead_letter AS d WHERE d.consumer_id IN (
    SELECT c.id FROM millrace.consumer AS c WHERE consumer IN (c.id, c.parent_id)));
  INSERT INTO millrace.removal VALUES (consumer);
  PERFORM pg_notify('millrace', '');
  RETURN letters;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.drop_consumer(bigint) TO PUBLIC;
COMMENT ON FUNCTION millrace.drop_consumer(bigint) IS 'Removes a consumer with its positions, batches and dead letters; returns how many dead letters went with it.';

CREATE OR REPLACE FUNCTION millrace.drop_publication(publication bigint)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  p millrace.publication;
  made text;
BEGIN
  SELECT o.* INTO p FROM millrace.publication AS o WHERE o.id = publication;
  IF NOT FOUND THEN
    PERFORM millrace.refuse('publication-missing', format('there is no publication %s of yours', coalesce(publication::text, 'NULL')));
  ELSIF NOT pg_has_role(p.owner::oid, 'USAGE') THEN
    PERFORM millrace.refuse('relation-not-yours', format('publication %s belongs to role %s', p.id, p.owner));
  END IF;
  PERFORM millrace.end_snapshot(p.snapshot);
  PERFORM millrace.drop_triggers(p);
  FOR made IN
    SELECT f.oid::regprocedure::text FROM pg_proc AS f
    WHERE f.pronamespace = 'millrace'::regnamespace AND f.proname IN (millrace.capture_name(p.id), millrace.capture_name(p.id) || ' snapshot')
  LOOP
    EXECUTE format('DROP FUNCTION %s', made);
  END LOOP;
  PERFORM millrace.forget_publication(p.id);
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.drop_publication(bigint) TO PUBLIC;
COMMENT ON FUNCTION millrace.drop_publication(bigint) IS 'Ends a publication by its number, also one whose table is gone: its triggers go; what they wrote is still sent.';

CREATE OR REPLACE FUNCTION millrace.drop_triggers(p millrace.publication)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  made record;
BEGIN
  FOR made IN
    SELECT t.tgname, t.tgrelid::regclass AS relation FROM pg_trigger AS t
    WHERE t.tgfoid = to_regprocedure(format('millrace.%I()', millrace.capture_name(p.id))) AND t.tgparentid = 0
  LOOP
    EXECUTE format('DROP TRIGGER %I ON %s', made.tgname, made.relation);
  END LOOP;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.drop_triggers(millrace.publication) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.end_snapshot(snapshot bigint)
 RETURNS void
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  UPDATE millrace.snapshot AS s SET wanted = false WHERE s.snapshot_id = end_snapshot.snapshot AND s.finished_at IS NULL
$function$
;
GRANT EXECUTE ON FUNCTION millrace.end_snapshot(bigint) TO PUBLIC;
COMMENT ON FUNCTION millrace.end_snapshot(bigint) IS 'Ends a snapshot; what is written of it is sent. Waits for a chunk that is being written.';

CREATE OR REPLACE FUNCTION millrace.envelope_schema(p millrace.publication)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT CASE p.envelope WHEN 'row' THEN millrace.connect_struct(p, p.columns, false, p.topic || '.Value')
    ELSE format('{"type":"struct","fields":[%s,%s,{"type":"struct","fields":[%s],"optional":false,'
      '"name":"io.debezium.connector.postgresql.Source","field":"source"},{"type":"string","optional":false,"field":"op"},'
      '{"type":"int64","optional":true,"field":"ts_ms"}],"optional":false,"name":%s,"version":1}',
      millrace.connect_struct(p, p.columns, false, p.topic || '.Value', 'before'),
      millrace.connect_struct(p, p.columns, false, p.topic || '.Value', 'after'),
      (SELECT string_agg(format('{"type":"%s","optional":%s,"field":"%s"}', f[2], to_json(f[1] IN ('sequence', 'txId', 'lsn', 'xmin')), f[1]), ',')
        FROM regexp_matches('version string connector string name string ts_ms int64 snapshot string db string sequence string '
          'schema string table string txId int64 lsn int64 xmin int64', '(\w+) (\w+)', 'g') AS f),
      to_json(p.topic || '.Envelope'))
    END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.envelope_schema(millrace.publication) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.expire_dead_letters()
 RETURNS bigint
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  WITH expired AS (
    DELETE FROM millrace.dead_letter AS d USING millrace.consumer AS c
    WHERE c.id = d.consumer_id AND d.failed_at < clock_timestamp() - c.dead_letter_max_age AND d.replay_id IS NULL
    RETURNING d.consumer_id
  ), counted AS (
    UPDATE millrace.consumer AS c SET dead_letters_expired = c.dead_letters_expired + e.count
    FROM (SELECT consumer_id, count(*) FROM expired GROUP BY 1) AS e WHERE c.id = e.consumer_id
  )
  SELECT count(*) FROM expired
$function$
;
GRANT EXECUTE ON FUNCTION millrace.expire_dead_letters() TO PUBLIC;
COMMENT ON FUNCTION millrace.expire_dead_letters() IS 'Removes dead letters older than their consumer''s dead_letter_max_age; returns how many. The daemon calls it.';

CREATE OR REPLACE FUNCTION millrace.fail_chunk(snapshot_id bigint, relation oid, range_block bigint, waits_for text, code text, message text, too_long boolean)
 RETURNS void
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  UPDATE millrace.snapshot AS s SET
    attempts = s.attempts + (code IS NOT NULL)::integer,
    not_before = clock_timestamp() + CASE WHEN code IS NULL THEN interval '100 ms'
      ELSE least(interval '30 s', interval '200 ms' * power(2, least(s.attempts, 10))) END,
    chunk_blocks = CASE WHEN too_long THEN greatest(1, s.chunk_blocks / 8) ELSE s.chunk_blocks END,
    waits_for = fail_chunk.waits_for, error_code = code, error_message = message, changed_at = clock_timestamp()
  WHERE (s.snapshot_id, s.relation, s.first_block) = (fail_chunk.snapshot_id, fail_chunk.relation, fail_chunk.range_block)
    AND s.finished_at IS NULL
$function$
;
GRANT EXECUTE ON FUNCTION millrace.fail_chunk(bigint,oid,bigint,text,text,text,boolean) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.fenced_line(cluster text, epoch bigint, up_to integer)
 RETURNS integer
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  UPDATE millrace.outbox_progress AS p SET fenced_line = greatest(p.fenced_line, up_to)
  WHERE p.cluster = fenced_line.cluster AND p.epoch = fenced_line.epoch RETURNING p.fenced_line
$function$
;
GRANT EXECUTE ON FUNCTION millrace.fenced_line(text,bigint,integer) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.find_consumer(topic text, target regclass, target_text text, schemas name[], cluster text DEFAULT 'default'::text)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_column
DECLARE
  parts text[];
  ids bigint[];
BEGIN
  ids := ARRAY(
    SELECT c.id FROM millrace.consumer AS c
    JOIN pg_namespace AS n ON n.nspname = c.target_schema
    JOIN pg_class AS r ON r.relnamespace = n.oid AND r.relname = c.target_name
    WHERE c.cluster = find_consumer.cluster AND c.topic = find_consumer.topic AND r.oid = find_consumer.target);
  IF cardinality(ids) = 0 THEN
    BEGIN
      parts := parse_ident(target_text);
    EXCEPTION WHEN invalid_parameter_value THEN
      parts := '{}';
    END;
    -- The first schema of the path that has one, as the name would have been resolved; else wherever it was.
    ids := ARRAY(
      SELECT c.id FROM millrace.consumer AS c
      WHERE c.cluster = find_consumer.cluster AND c.topic = find_consumer.topic
        AND c.target_name = parts[cardinality(parts)]
        AND (cardinality(parts) = 1 OR cardinality(parts) = 2 AND c.target_schema = parts[1])
        AND NOT EXISTS (
          SELECT FROM pg_class AS r JOIN pg_namespace AS n ON n.oid = r.relnamespace
          WHERE n.nspname = c.target_schema AND r.relname = c.target_name)
      ORDER BY array_position(schemas, c.target_schema::name));
    IF cardinality(ids) > 1 THEN
      PERFORM FROM millrace.consumer AS c WHERE c.id = ids[1] AND c.target_schema = ANY (schemas);
      IF NOT FOUND THEN
        PERFORM millrace.refuse('consumer-ambiguous',
          format('topic %s is consumed into several relations that were called %L', topic, left(target_text, 256)));
      END IF;
    END IF;
  END IF;
  IF cardinality(ids) = 0 THEN
    PERFORM millrace.refuse('consumer-missing',
      format('no consumer loads topic %L into relation %L', left(topic, 249), left(target_text, 256)));
  END IF;
  RETURN ids[1];
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.find_consumer(text,regclass,text,name[],text) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.fingerprint(target_schema text, target_name text)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT concat(c.oid, '/', string_agg(a.xmin::text, ',' ORDER BY a.attnum))
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
  WHERE n.nspname = target_schema AND c.relname = target_name GROUP BY c.oid
$function$
;
GRANT EXECUTE ON FUNCTION millrace.fingerprint(text,text) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.foreign_code(target oid, consumer_owner oid)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
DECLARE
  trusted constant oid[] := millrace.trusted_roles();
  kind "char" := (SELECT relkind FROM pg_class WHERE oid = target);
  relations oid[] := ARRAY[target];
  ancestors oid[];
  referenced oid[];
  all_trusted boolean;
  expressions text[];
  domain_expressions text[] := '{}';
  types oid[];
  mentioned oid[];
  functions oid[];
  offender oid;
  node text;
BEGIN
  IF kind = 'p' THEN
    relations := ARRAY(SELECT relid::oid FROM pg_partition_tree(target));
  END IF;
  -- A row that goes to a partition by its own name passes the partition keys of all that it is a partition of.
  ancestors := ARRAY(SELECT relid::oid FROM pg_partition_ancestors(target));
  referenced := ARRAY(SELECT confrelid FROM pg_constraint WHERE conrelid = ANY (relations) AND contype = 'f');
  IF referenced <> '{}' THEN
    referenced := referenced || ARRAY(SELECT t.relid::oid FROM unnest(referenced) AS r, pg_partition_tree(r) AS t);
  END IF;

  -- No lock keeps these as they are: a partition with a trigger is attached beside a load, and LOCK TABLE takes no
  -- foreign table, and of a view what it reads.
  IF kind <> 'r' THEN
    SELECT relowner INTO offender FROM pg_class WHERE oid = ANY (relations) AND relowner <> ALL (trusted) LIMIT 1;
    IF FOUND THEN
      RETURN format('is a %s of role %I, who can change what it runs during a load',
        CASE kind WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view' ELSE 'foreign table' END, pg_get_userbyid(offender));
    END IF;
  END IF;
  IF kind IN ('v', 'f') THEN
    SELECT a.grantee INTO offender FROM pg_class AS c, aclexplode(c.relacl) AS a
    WHERE c.oid = target AND a.privilege_type = 'TRIGGER' AND a.grantee <> ALL (trusted) LIMIT 1;
    IF FOUND THEN
      RETURN format('takes triggers of role %s during a load',
        CASE offender WHEN 0 THEN 'public' ELSE quote_ident(pg_get_userbyid(offender)) END);
    END IF;
  END IF;
  IF kind = 'f' AND consumer_owner <> ALL (trusted) THEN
    RETURN format('is a foreign table, whose wrapper is code that would run for role %I', pg_get_userbyid(consumer_owner));
  END IF;
  -- The query that looks a key up is planned with the indexes and statistics that the other table has by then, which
  -- runs the constant parts of their expressions.
  SELECT oid INTO offender FROM pg_class WHERE oid = ANY (referenced) AND relowner <> ALL (trusted) LIMIT 1;
  IF FOUND THEN
    RETURN format('refers to %s of role %I, who can change what it runs during a load', offender::regclass,
      pg_get_userbyid((SELECT relowner FROM pg_class WHERE oid = offender)));
  END IF;

  all_trusted := consumer_owner = ANY (trusted) AND NOT EXISTS (
    SELECT FROM pg_class WHERE oid = ANY (relations || ancestors) AND relowner <> ALL (trusted));

  expressions := ARRAY(
    SELECT adbin::text FROM pg_attrdef WHERE adrelid = ANY (relations)
    UNION ALL
    SELECT conbin::text FROM pg_constraint WHERE conrelid = ANY (relations || referenced) AND conbin IS NOT NULL
    UNION ALL
    SELECT concat(indexprs::text, ' ', indpred::text) FROM pg_index
      WHERE indrelid = ANY (relations || referenced) AND (indexprs IS NOT NULL OR indpred IS NOT NULL)
    UNION ALL
    SELECT partexprs::text FROM pg_partitioned_table
      WHERE partrelid = ANY (relations || ancestors || referenced) AND partexprs IS NOT NULL
    UNION ALL
    -- statistics on expressions are there from 14 on
    SELECT to_jsonb(s) ->> 'stxexprs' FROM pg_statistic_ext AS s
      WHERE stxrelid = ANY (referenced) AND to_jsonb(s) ->> 'stxexprs' IS NOT NULL
    UNION ALL
    SELECT tgqual::text FROM pg_trigger
      WHERE tgrelid = ANY (relations) AND tgqual IS NOT NULL AND tgtype & 4 <> 0 AND tgenabled IN ('O', 'A'));

  types := ARRAY(
    SELECT DISTINCT atttypid FROM pg_attribute
    WHERE attrelid = ANY (relations) AND attnum > 0 AND NOT attisdropped AND atttypid >= 16384);
  mentioned := ARRAY(SELECT millrace.mentioned_types(expressions));
  -- A domain's own expressions may mention further types, and so on.
  WHILE types <> '{}' OR mentioned <> '{}' LOOP
    types := ARRAY(SELECT millrace.contained_types(types || mentioned));
    domain_expressions := ARRAY(
      SELECT conbin::text FROM pg_constraint WHERE contypid = ANY (types) AND conbin IS NOT NULL
      UNION ALL
      SELECT typdefaultbin::text FROM pg_type WHERE oid = ANY (types) AND typdefaultbin IS NOT NULL);
    mentioned := ARRAY(SELECT millrace.mentioned_types(domain_expressions));
    EXIT WHEN mentioned <@ types;
  END LOOP;

  -- ALTER DOMAIN ... ADD CHECK waits for no lock of a load that runs; a composite type can get such a domain.
  SELECT oid INTO offender FROM pg_type
  WHERE oid = ANY (types) AND typtype IN ('d', 'c') AND typowner <> ALL (trusted) LIMIT 1;
  IF FOUND THEN
    RETURN format('uses type %s of role %I, who can change its checks during a load',
      offender::regtype, pg_get_userbyid((SELECT typowner FROM pg_type WHERE oid = offender)));
  END IF;

  -- Where the two sides of a foreign key have different types, a cast makes them one when a row comes.
  SELECT t.oid INTO offender FROM pg_constraint AS c
    CROSS JOIN LATERAL unnest(c.conkey, c.confkey) AS k (near, far)
    JOIN pg_attribute AS n ON n.attrelid = c.conrelid AND n.attnum = k.near
    JOIN pg_attribute AS f ON f.attrelid = c.confrelid AND f.attnum = k.far
    JOIN pg_type AS t ON t.oid IN (n.atttypid, f.atttypid)
  WHERE c.conrelid = ANY (relations) AND c.contype = 'f' AND n.atttypid <> f.atttypid
    AND (t.typowner <> ALL (trusted) OR t.oid >= 16384 AND NOT all_trusted) LIMIT 1;
  IF FOUND THEN
    RETURN format('has a foreign key that casts type %s of role %I',
      offender::regtype, pg_get_userbyid((SELECT typowner FROM pg_type WHERE oid = offender)));
  END IF;

  -- What is looked up at run time is a cast, which takes the owner of one of its two types to make.
  SELECT n INTO node FROM millrace.unknown_nodes(expressions || domain_expressions) AS n
  WHERE NOT all_trusted OR EXISTS (SELECT FROM pg_type WHERE oid = ANY (types) AND typowner <> ALL (trusted)) LIMIT 1;
  IF FOUND THEN
    RETURN format('has an expression with %s, which may call casts of other roles', node);
  END IF;

  functions := ARRAY(
    SELECT tgfoid FROM pg_trigger
      WHERE tgrelid = ANY (relations) AND tgtype & 4 <> 0 AND tgenabled IN ('O', 'A')
    UNION
    SELECT o.oprcode::oid FROM pg_constraint AS c, unnest(c.conexclop) AS id JOIN pg_operator AS o ON o.oid = id
      WHERE c.conrelid = ANY (relations) AND c.contype = 'x'
    UNION
    SELECT unnest(ARRAY[rngcanonical::oid, rngsubdiff::oid]) FROM pg_range WHERE rngtypid = ANY (types)
    UNION
    SELECT millrace.support_functions(ARRAY(
      SELECT unnest(indclass) FROM pg_index WHERE indrelid = ANY (relations || referenced)
      UNION ALL
      SELECT unnest(partclass) FROM pg_partitioned_table WHERE partrelid = ANY (relations || ancestors || referenced)
      UNION ALL
      SELECT rngsubopc FROM pg_range WHERE rngtypid = ANY (types)))
    UNION
    SELECT millrace.called_functions(expressions || domain_expressions));
  IF all_trusted THEN
    SELECT oid INTO offender FROM pg_proc
    WHERE oid = ANY (functions) AND oid >= 16384 AND proowner <> ALL (trusted) LIMIT 1;
  ELSE
    SELECT f INTO offender FROM millrace.dangerous_functions(functions) AS f LIMIT 1;
  END IF;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  RETURN format('calls function %s of role %I%s', offender::regprocedure,
    pg_get_userbyid((SELECT proowner FROM pg_proc WHERE oid = offender)),
    CASE WHEN all_trusted THEN '' ELSE format(', and the relation or its consumer belongs to role %s', (
      SELECT string_agg(DISTINCT quote_ident(pg_get_userbyid(role)), ', ') FROM (
        SELECT relowner FROM pg_class WHERE oid = ANY (relations || ancestors) UNION ALL SELECT consumer_owner
      ) AS owners (role) WHERE role <> ALL (trusted))) END);
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.foreign_code(oid,oid) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.forget_publication(publication bigint)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  DELETE FROM millrace.publication AS p
  WHERE p.id = publication AND to_regprocedure(format('millrace.%I()', millrace.capture_name(p.id))) IS NULL;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.forget_publication(bigint) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.given_cluster(cluster text)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  names text[];
BEGIN
  IF cluster IS NOT NULL THEN
    RETURN cluster;
  END IF;
  names := ARRAY(SELECT DISTINCT b.cluster FROM millrace.broker AS b ORDER BY 1);
  IF cardinality(names) > 1 THEN
    PERFORM millrace.refuse('cluster-ambiguous', format('there are several clusters: %s', array_to_string(names, ', ')));
  ELSIF cardinality(names) = 0 THEN
    PERFORM millrace.refuse('no-broker', 'no cluster has a broker');
  END IF;
  RETURN names[1];
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.given_cluster(text) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.grant_admin()
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  GRANT DELETE ON millrace.cluster, millrace.broker, millrace.topic_grant, millrace.outbox_dead_letter TO millrace_admin;
  GRANT SELECT ON millrace.outbox_dead_letter TO millrace_admin;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.grant_admin() TO PUBLIC;
COMMENT ON FUNCTION millrace.grant_admin() IS 'Gives role millrace_admin its rights, where it was made after the installation. For the role that owns the schema.';

CREATE OR REPLACE FUNCTION millrace.grant_topic(topic text, role text, cluster text DEFAULT 'default'::text, action text DEFAULT 'consume'::text)
 RETURNS void
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  INSERT INTO millrace.topic_grant (cluster, topic, grantee, action)
  VALUES (grant_topic.cluster, grant_topic.topic, millrace.grantee(grant_topic.role), grant_topic.action)
  ON CONFLICT DO NOTHING
$function$
;
GRANT EXECUTE ON FUNCTION millrace.grant_topic(text,text,text,text) TO PUBLIC;
COMMENT ON FUNCTION millrace.grant_topic(text,text,text,text) IS 'Lets a role (or public) consume or produce a topic (or * for all). For administrators.';

CREATE OR REPLACE FUNCTION millrace.grantee(role text)
 RETURNS regrole
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  found_role oid;
BEGIN
  IF role = 'public' THEN
    RETURN 0::oid::regrole;
  END IF;
  SELECT oid INTO found_role FROM pg_roles WHERE rolname = role;
  IF found_role IS NULL THEN
    PERFORM millrace.refuse('role-missing', format('role %L does not exist', role));
  END IF;
  RETURN found_role::regrole;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.grantee(text) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.has_capture(relation oid, publication bigint)
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = relation
    AND t.tgfoid = to_regprocedure(format('millrace.%I()', millrace.capture_name(publication))))
$function$
;
GRANT EXECUTE ON FUNCTION millrace.has_capture(oid,bigint) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.header_bytes(item jsonb, text_member text, hex_member text)
 RETURNS bytea
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  member text := CASE WHEN item ? hex_member THEN hex_member ELSE text_member END;
BEGIN
  IF jsonb_typeof(item -> member) IN ('object', 'array') THEN
    PERFORM millrace.refuse('headers-invalid', format('%s of a header is an %s', member, jsonb_typeof(item -> member)));
  ELSIF member = text_member THEN
    RETURN convert_to(item ->> member, 'UTF8');
  ELSIF item ->> member !~ '^([0-9A-Fa-f]{2})*$' THEN
    PERFORM millrace.refuse('headers-invalid', format('%s of a header is no hexadecimal number', member));
  END IF;
  RETURN decode(item ->> member, 'hex');
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.header_bytes(jsonb,text,text) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.header_list(headers jsonb)
 RETURNS bytea[]
 LANGUAGE plpgsql
 STABLE STRICT
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  items jsonb;
  item jsonb;
  name bytea;
  list bytea[] := '{}';
BEGIN
  IF jsonb_typeof(headers) = 'object' THEN
    items := coalesce((SELECT jsonb_agg(jsonb_build_object('name', h.key, 'value', h.value)) FROM jsonb_each(headers) AS h), '[]');
  ELSIF jsonb_typeof(headers) = 'array' THEN
    items := headers;
  ELSE
    PERFORM millrace.refuse('headers-invalid', format('headers are an object or an array, not a %s', jsonb_typeof(headers)));
  END IF;
  FOR item IN SELECT e.value FROM jsonb_array_elements(items) AS e LOOP
    IF jsonb_typeof(item) <> 'object' OR (item ? 'name') = (item ? 'name_hex') OR (item ? 'value') = (item ? 'hex')
      OR item - '{name,name_hex,value,hex}'::text[] <> '{}'
    THEN
      PERFORM millrace.refuse('headers-invalid', 'a header of an array needs a name and a value');
    END IF;
    name := millrace.header_bytes(item, 'name', 'name_hex');
    IF name IS NULL THEN
      PERFORM millrace.refuse('headers-invalid', 'the name of a header is null');
    ELSIF name = 'millrace-id'::bytea THEN
      PERFORM millrace.refuse('headers-invalid', 'the header millrace-id is the daemon''s');
    END IF;
    list := list || name || millrace.header_bytes(item, 'value', 'hex');
  END LOOP;
  RETURN nullif(list, '{}');
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.header_list(jsonb) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.identity(OUT system_identifier text, OUT timeline integer, OUT database text, OUT database_oid oid)
 RETURNS record
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  SELECT d.datname, d.oid INTO database, database_oid FROM pg_database AS d WHERE d.datname = current_database();
  BEGIN
    SELECT c.system_identifier::text INTO system_identifier FROM pg_control_system() AS c;
  EXCEPTION WHEN OTHERS THEN
    NULL;
  END;
  BEGIN
    IF NOT pg_is_in_recovery() THEN
      timeline := ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer;
    END IF;
  EXCEPTION WHEN OTHERS THEN
    NULL;
  END;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.identity() TO PUBLIC;
COMMENT ON FUNCTION millrace.identity() IS 'What tells this database from others, as far as this role may see it.';

CREATE OR REPLACE FUNCTION millrace.identity_difference()
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT nullif(concat_ws('; ',
      CASE WHEN i.system_identifier <> coalesce(f.system_identifier, '') THEN
        format('the system identifier was %s and is %s', i.system_identifier, coalesce(f.system_identifier, 'not shown'))
      END,
      CASE WHEN i.database <> f.database THEN format('the database was called %I and is called %I', i.database, f.database) END,
      CASE WHEN i.database_oid <> f.database_oid THEN
        format('the database had the oid %s and has %s', i.database_oid, f.database_oid)
      END,
      CASE WHEN millrace.is_loaded() THEN 'it was loaded from a dump' END), '')
  FROM millrace.installation AS i, millrace.identity() AS f
$function$
;
GRANT EXECUTE ON FUNCTION millrace.identity_difference() TO PUBLIC;
COMMENT ON FUNCTION millrace.identity_difference() IS 'What differs from the identity that was recorded, in words; NULL: nothing, this is the database that it was.';

CREATE OR REPLACE FUNCTION millrace.in_snapshot(root oid, relation oid)
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  WITH RECURSIVE ancestor (relation) AS (
    SELECT c.oid FROM pg_class AS c WHERE c.oid = in_snapshot.relation
    UNION
    SELECT i.inhparent FROM ancestor AS a JOIN pg_inherits AS i ON i.inhrelid = a.relation
  )
  SELECT EXISTS (SELECT FROM ancestor AS a WHERE a.relation = in_snapshot.root)
$function$
;
GRANT EXECUTE ON FUNCTION millrace.in_snapshot(oid,oid) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.is_admin()
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT millrace.is_admin((SELECT oid FROM pg_roles WHERE rolname = current_user))
$function$
;
GRANT EXECUTE ON FUNCTION millrace.is_admin() TO PUBLIC;
COMMENT ON FUNCTION millrace.is_admin() IS 'Whether the current role may add brokers and grant topics: superusers, and members of millrace_admin or of the daemon''s role.';

CREATE OR REPLACE FUNCTION millrace.is_admin(role oid)
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT pg_has_role(role, millrace.daemon_role()::oid, 'USAGE')
    OR EXISTS (SELECT FROM pg_roles WHERE rolname = 'millrace_admin' AND pg_has_role(role, oid, 'USAGE'))
$function$
;
GRANT EXECUTE ON FUNCTION millrace.is_admin(oid) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.is_ascii_character(value text)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT length(value) = 1 AND ascii(value) < 128 AND value NOT IN (E'\n', E'\r')
$function$
;
GRANT EXECUTE ON FUNCTION millrace.is_ascii_character(text) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.is_json_path(path text)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT path ~ concat('^\s*(\$|', letter, other, '*)(\.', other, '+|\.?\[\s*(''([^''\\]|\\.)*''|"([^"\\]|\\.)*")\s*\])*(\.?\[\s*\*\s*\]|\s*)$')
  FROM (VALUES ('[^\x01-\x2c\x2e\x2f\x3a-\x40\x5b-\x5e\x60\x7b-\x7f]', '[^\x01-\x23\x25-\x2c\x2e\x2f\x3a-\x40\x5b-\x5e\x60\x7b-\x7f]'))
    AS name (letter, other)
$function$
;
GRANT EXECUTE ON FUNCTION millrace.is_json_path(text) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.is_loaded()
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT l.xmin::text::bigint <> l.written_by FROM millrace.life AS l
$function$
;
GRANT EXECUTE ON FUNCTION millrace.is_loaded() TO PUBLIC;
COMMENT ON FUNCTION millrace.is_loaded() IS 'Whether this database was loaded from a dump and not adopted since.';

CREATE OR REPLACE FUNCTION millrace.json_object_of(names text[], expressions text[])
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT format('concat(%s, ''}'')', coalesce(string_agg(
    format('%L, coalesce(%s, ''null'')', CASE n.place WHEN 1 THEN '{' ELSE ',' END || to_json(n.name)::text || ':', n.expression),
    ', ' ORDER BY n.place), '''{'''))
  FROM unnest(names, expressions) WITH ORDINALITY AS n (name, expression, place)
$function$
;
GRANT EXECUTE ON FUNCTION millrace.json_object_of(text[],text[]) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.key_columns(target oid, asked text[])
 RETURNS text[]
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT k.columns FROM pg_index AS i CROSS JOIN LATERAL (
    SELECT array_agg(a.attname::text ORDER BY n.place) AS columns
    FROM unnest(i.indkey::smallint[]) WITH ORDINALITY AS n (attnum, place)
    JOIN pg_attribute AS a ON a.attrelid = target AND a.attnum = n.attnum
    WHERE n.place <= i.indnkeyatts
  ) AS k
  WHERE i.indrelid = target AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
    AND CASE WHEN asked IS NULL THEN i.indisprimary ELSE k.columns @> asked AND asked @> k.columns END
  ORDER BY i.indisprimary DESC, i.indexrelid LIMIT 1
$function$
;
GRANT EXECUTE ON FUNCTION millrace.key_columns(oid,text[]) TO PUBLIC;
COMMENT ON FUNCTION millrace.key_columns(oid,text[]) IS 'The columns by which upsert and changes find a row of a relation: those given, or its primary key; NULL: no unique index is fit for it.';

CREATE OR REPLACE FUNCTION millrace.key_expression(p millrace.publication, row_name text)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  values_ text[];
BEGIN
  IF p.key_columns = '{}' THEN
    RETURN 'NULL::text';
  ELSIF p.with_schema THEN
    RETURN format('concat(%L, %s, ''}'')',
      '{"schema":' || millrace.connect_struct(p, p.key_columns, true, p.topic || '.Key') || ',"payload":',
      millrace.json_object_of(p.key_columns, ARRAY(
        SELECT millrace.connect_value(millrace.published_type(p, k.name), format('%s.%I', row_name, k.name))
        FROM unnest(p.key_columns) WITH ORDINALITY AS k (name, place) ORDER BY k.place)));
  ELSIF cardinality(p.key_columns) > 1 OR p.envelope = 'debezium' THEN
    RETURN millrace.json_object_of(p.key_columns, ARRAY(SELECT format('to_json(%s.%I)::text', row_name, k.name)
      FROM unnest(p.key_columns) WITH ORDINALITY AS k (name, place) ORDER BY k.place));
  -- whose JSON is their text
  ELSIF millrace.published_type(p, p.key_columns[1]) IN
    ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'text'::regtype, 'varchar'::regtype, 'uuid'::regtype)
  THEN
    RETURN format('%s.%I::text', row_name, p.key_columns[1]);
  END IF;
  RETURN format('(to_json(%s.%I) #>> ''{}'')', row_name, p.key_columns[1]);
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.key_expression(millrace.publication,text) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.loading_way(target_schema text, target_name text, owner oid, staged boolean DEFAULT false)
 RETURNS TABLE(way text, code text, message text)
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  problem record;
  target oid;
  relations oid[];
  defers text;
  shown text;
BEGIN
  IF target_schema IS NULL OR target_name IS NULL THEN
    PERFORM millrace.refuse('relation-missing', 'the schema and the name of the relation cannot be NULL');
  ELSIF NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.oid = owner) THEN
    PERFORM millrace.refuse('role-missing', format('there is no role with oid %s', coalesce(owner::text, 'NULL')));
  END IF;
  shown := format('%I.%I', target_schema, target_name);
  staged := coalesce(staged, false);
  SELECT p.code, p.message INTO problem FROM millrace.target_problem(target_schema, target_name, owner) AS p LIMIT 1;
  target := (SELECT c.oid FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = target_schema AND c.relname = target_name);
  IF problem.code IS NULL AND NOT staged THEN
    RETURN QUERY SELECT 'direct', NULL::text, NULL::text;
    RETURN;
  ELSIF problem.code NOT IN ('relation-row-security', 'relation-runs-code', 'relation-schema', 'lock-denied', 'view-without-trigger')
    OR problem.code = 'view-without-trigger' AND pg_relation_is_updatable(target, false) & 8 = 0
  THEN
    RETURN QUERY SELECT 'refused', problem.code, problem.message;
    RETURN;
  END IF;

  relations := ARRAY(SELECT millrace.written_relations(target));
  -- Staging is a boundary between the daemon and the consumer's owner. Where these are as good as one, there is none.
  IF owner = ANY (millrace.trusted_roles()) THEN
    IF problem.code = 'view-without-trigger' THEN
      SELECT 'relation-runs-code' AS code, format('%s writes to %s of role %I, which %s', shown, c.oid::regclass,
          pg_get_userbyid(c.relowner), coalesce(millrace.foreign_code(c.oid, owner), 'can change what it runs')) AS message INTO problem
      FROM pg_class AS c WHERE c.oid = ANY (relations) AND c.oid <> target
        AND (c.relowner <> ALL (millrace.trusted_roles()) OR millrace.foreign_code(c.oid, owner) IS NOT NULL) LIMIT 1;
    END IF;
    IF problem.code IS NOT NULL THEN
      RETURN QUERY SELECT 'refused', problem.code, problem.message;
      RETURN;
    END IF;
  END IF;
  IF problem.code = 'view-without-trigger'
    AND EXISTS (SELECT FROM pg_class WHERE oid = ANY (relations) AND relpersistence = 'u')
  THEN
    RETURN QUERY SELECT 'refused', 'relation-unlogged', format('%s is a view of an unlogged table', shown);
    RETURN;
  END IF;
  defers := millrace.deferring_code(relations, owner);
  IF defers IS NOT NULL THEN
    RETURN QUERY SELECT 'refused', 'relation-defers-code', format('%s %s', shown, defers);
    RETURN;
  END IF;
  IF NOT has_database_privilege(owner, current_database(), 'TEMPORARY') THEN
    RETURN QUERY SELECT 'refused', 'owner-needs-temp', format('role %I may not create temporary tables in this database%s',
      pg_get_userbyid(owner), coalesce(', and ' || problem.message, ''));
    RETURN;
  END IF;
  RETURN QUERY SELECT 'staged', problem.code, problem.message;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.loading_way(text,text,oid,boolean) TO PUBLIC;
COMMENT ON FUNCTION millrace.loading_way(text,text,oid,boolean) IS 'How a relation is loaded for a role: direct; staged, with what keeps it from being loaded directly; or refused, with the reason.';

CREATE OR REPLACE FUNCTION millrace.lock_target(target_schema text, target_name text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  target record;
  held text := '';
  needed text;
BEGIN
  LOOP
    SELECT c.relkind, c.relowner INTO target FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = target_schema AND c.relname = target_name;
    -- Their owners are trusted. LOCK TABLE takes no foreign table, and of a view what it reads.
    EXIT WHEN target.relkind IN ('v', 'f');
    needed := CASE WHEN target.relkind = 'r' AND target.relowner <> ALL (millrace.trusted_roles())
      THEN 'SHARE UPDATE EXCLUSIVE' ELSE 'ROW EXCLUSIVE' END;
    EXIT WHEN needed = held;
    EXECUTE format('LOCK TABLE %I.%I IN %s MODE', target_schema, target_name, needed);
    held := needed;
    -- and look again: the owner may have changed while this waited for the lock
  END LOOP;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.lock_target(text,text) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.look_at_shape(publication bigint, relation regclass, names text[])
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  names_now text[];
BEGIN
  EXECUTE format('SELECT ' || millrace.names_now(), relation::oid, names) INTO names_now;
  IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable')
    OR NOT EXISTS (SELECT FROM millrace.publication AS p WHERE p.id = publication AND p.relation = look_at_shape.relation)
    OR names <> names_now
  THEN
    RETURN 0;
  ELSIF millrace.rows_run_code(relation) AND NOT EXISTS (
    SELECT FROM pg_class AS c WHERE c.oid = look_at_shape.relation AND c.relkind = 'r'
      AND c.relowner = quote_ident(CURRENT_USER::text)::regrole)
  THEN
    RETURN 1;
  END IF;
  RETURN 2;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.look_at_shape(bigint,regclass,text[]) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.make_capture(publication bigint)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET check_function_bodies TO 'off'
AS $function$
DECLARE
  settings constant text := 'SET search_path = pg_catalog, pg_temp SET timezone = ''UTC'' SET datestyle = ''ISO, YMD'' '
    'SET intervalstyle = ''postgres'' SET bytea_output = ''hex'' SET extra_float_digits = 1';
  p millrace.publication;
  names text[];
  made text;
BEGIN
  SELECT o.* INTO p FROM millrace.publication AS o WHERE o.id = publication;
  IF NOT FOUND OR to_regprocedure(format('millrace.%I()', millrace.capture_name(publication))) IS NOT NULL THEN
    RETURN;
  END IF;
  names := ARRAY[format('millrace.%I()', millrace.capture_name(publication)),
    format('millrace.%I(oid, bigint, bigint, tid[])', millrace.capture_name(publication) || ' snapshot')];
  EXECUTE format('CREATE FUNCTION %s RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER %s AS %L', names[1], settings,
    millrace.capture_body(p));
  EXECUTE format('CREATE FUNCTION millrace.%I(relation oid, first_block bigint, end_block bigint, again tid[])
    RETURNS TABLE (written bigint, skipped tid[]) LANGUAGE plpgsql SECURITY DEFINER %s AS %L',
    millrace.capture_name(publication) || ' snapshot', settings, format($body$
BEGIN
  RETURN QUERY SELECT c.written, c.skipped FROM millrace.snapshot_parts(%s, relation) AS s
    CROSS JOIN LATERAL millrace.write_chunk(relation, first_block, end_block, again, s.message, s.filter) AS c
    WHERE s.message IS NOT NULL;
  IF NOT FOUND THEN
    RETURN QUERY SELECT 0::bigint, '{}'::tid[];
  END IF;
END
$body$, p.id));
  -- whoever else does the same waits, where it would fail
  PERFORM pg_advisory_xact_lock(1298756723, 8);
  FOREACH made IN ARRAY names LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', made);
    IF p.owner::oid <> (SELECT r.oid FROM pg_roles AS r WHERE r.rolname = current_user) THEN
      EXECUTE format('GRANT CREATE ON SCHEMA millrace TO %s', p.owner);
      EXECUTE format('ALTER FUNCTION %s OWNER TO %s', made, p.owner);
      EXECUTE format('REVOKE CREATE ON SCHEMA millrace FROM %s', p.owner);
    END IF;
  END LOOP;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.make_capture(bigint) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.make_triggers(p millrace.publication, always boolean)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  names constant text[] := ARRAY(SELECT jsonb_object_keys(p.column_numbers) ORDER BY 1);
  condition constant text := CASE WHEN names <> '{}' THEN format(' WHEN (%s OR true)', (
    SELECT string_agg(format('(NULL::%s).%I IS NULL', p.relation, n), ' OR ') FROM unnest(names) AS n)) ELSE '' END;
  run constant text := format(' EXECUTE FUNCTION millrace.%I()', millrace.capture_name(p.id));
  prefix constant text := format('!millrace %s ', p.id);
  op text;
  part regclass;
BEGIN
  FOREACH op IN ARRAY ARRAY['insert', 'update', 'delete'] LOOP
    EXECUTE format('CREATE TRIGGER %I AFTER %s ON %s %s FOR EACH %s%s%s', prefix || op, op, p.relation,
      CASE WHEN p.capture = 'statement' THEN 'REFERENCING'
        || CASE WHEN op <> 'delete' THEN ' NEW TABLE AS new_rows' ELSE '' END
        || CASE WHEN op <> 'insert' THEN ' OLD TABLE AS old_rows' ELSE '' END ELSE '' END,
      p.capture, condition, run);
  END LOOP;
  -- The partitions' own, too: nothing tells them of a TRUNCATE of one of them.
  FOR part IN SELECT p.relation UNION SELECT t.relid FROM pg_partition_tree(p.relation) AS t LOOP
    EXECUTE format('CREATE TRIGGER %I BEFORE TRUNCATE ON %s FOR EACH STATEMENT%s%s', prefix || 'truncate', part, condition, run);
  END LOOP;
  IF p.capture = 'statement' THEN
    -- PostgreSQL attaches no table with such a trigger to another one, where statements would be told to that one only.
    EXECUTE format('CREATE TRIGGER %I AFTER INSERT ON %s REFERENCING NEW TABLE AS new_rows FOR EACH ROW%s',
      prefix || 'is captured by statements', p.relation, run);
    EXECUTE format('ALTER TABLE %s DISABLE TRIGGER %I', p.relation, prefix || 'is captured by statements');
  ELSIF always THEN
    FOREACH op IN ARRAY ARRAY['insert', 'update', 'delete', 'truncate'] LOOP
      EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', p.relation, prefix || op);
    END LOOP;
  END IF;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.make_triggers(millrace.publication,boolean) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.may_consume(cluster text, topic text)
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT millrace.may_consume(cluster, topic, (SELECT oid FROM pg_roles WHERE rolname = current_user))
$function$
;
GRANT EXECUTE ON FUNCTION millrace.may_consume(text,text) TO PUBLIC;
COMMENT ON FUNCTION millrace.may_consume(text,text) IS 'Whether the current role may consume the topic of the cluster.';

CREATE OR REPLACE FUNCTION millrace.may_consume(cluster text, topic text, role oid)
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT millrace.may_use(cluster, topic, 'consume', role)
$function$
;
GRANT EXECUTE ON FUNCTION millrace.may_consume(text,text,oid) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.may_produce(cluster text, topic text)
 RETURNS boolean
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  RETURN EXISTS (
    SELECT FROM millrace.topic_grant AS g
    WHERE g.cluster = may_produce.cluster AND g.topic IN (may_produce.topic, '*') AND g.action = 'produce'
      AND (g.grantee::oid = 0 OR pg_has_role(g.grantee::oid, 'USAGE'))
  ) OR millrace.is_admin();
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.may_produce(text,text) TO PUBLIC;
COMMENT ON FUNCTION millrace.may_produce(text,text) IS 'Whether the current role may produce to the topic of the cluster.';

CREATE OR REPLACE FUNCTION millrace.may_produce(cluster text, topic text, role oid)
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT millrace.may_use(cluster, topic, 'produce', role)
$function$
;
GRANT EXECUTE ON FUNCTION millrace.may_produce(text,text,oid) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.may_use(cluster text, topic text, action text, role oid)
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT millrace.is_admin(role) OR EXISTS (
    SELECT FROM millrace.topic_grant AS g
    WHERE g.cluster = may_use.cluster AND g.topic IN (may_use.topic, '*') AND g.action = may_use.action
      AND (g.grantee::oid = 0 OR pg_has_role(role, g.grantee::oid, 'USAGE')))
$function$
;
GRANT EXECUTE ON FUNCTION millrace.may_use(text,text,text,oid) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.mentioned_types(expressions text[])
 RETURNS SETOF oid
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT DISTINCT m[1]::oid FROM unnest(expressions) AS e,
    regexp_matches(e, ':[a-z_]*typ(?:e|id|eid) (\d+)', 'gi') AS m
  WHERE length(m[1]) >= 5 AND m[1]::bigint BETWEEN 16384 AND 4294967295
$function$
;
GRANT EXECUTE ON FUNCTION millrace.mentioned_types(text[]) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.merge_batches(older_than interval DEFAULT '01:00:00'::interval)
 RETURNS bigint
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  WITH placed AS (
    SELECT b.*, lag(b.to_offset) OVER w AS before, lag(b.kind) OVER w AS kind_before,
      b.committed_at < clock_timestamp() - interval '30 days'
        OR (b.committed_at AT TIME ZONE 'UTC')::date = (lag(b.committed_at) OVER w AT TIME ZONE 'UTC')::date AS together
    FROM millrace.batch AS b WHERE b.committed_at < clock_timestamp() - older_than
    WINDOW w AS (PARTITION BY b.consumer_id, b.partition ORDER BY b.id)
  ), numbered AS (
    SELECT p.*, count(*) FILTER (WHERE NOT (p.kind = 'load' AND p.kind_before = 'load' AND p.before = p.from_offset AND p.together)
      IS TRUE) OVER (PARTITION BY p.consumer_id, p.partition ORDER BY p.id) AS run
    FROM placed AS p
  ), merged AS (
    SELECT min(id) AS id, max(to_offset) AS to_offset, sum(messages) AS messages, sum(skipped) AS skipped,
      sum(dead_letters) AS dead_letters, sum(bytes) AS bytes, sum(transaction_ids) AS transaction_ids,
      sum(commits)::integer AS commits, max(committed_at) AS committed_at,
      (array_agg(xid ORDER BY id DESC))[1] AS xid, array_agg(id) AS ids
    FROM numbered GROUP BY consumer_id, partition, run HAVING count(*) > 1
  ), gone AS (
    DELETE FROM millrace.batch AS b USING merged AS m WHERE b.id = ANY (m.ids) AND b.id <> m.id RETURNING b.id
  ), kept AS (
    UPDATE millrace.batch AS b SET to_offset = m.to_offset, messages = m.messages, skipped = m.skipped,
      dead_letters = m.dead_letters, bytes = m.bytes, transaction_ids = m.transaction_ids, commits = m.commits,
      committed_at = m.committed_at, xid = m.xid
    FROM merged AS m WHERE b.id = m.id
  )
  SELECT count(*) FROM gone
$function$
;
GRANT EXECUTE ON FUNCTION millrace.merge_batches(interval) TO PUBLIC;
COMMENT ON FUNCTION millrace.merge_batches(interval) IS 'Merges batches of a partition that follow each other; returns how many rows went. The daemon calls it.';

CREATE OR REPLACE FUNCTION millrace.move_consumer(consumer bigint, start_offset bigint, start_time timestamp with time zone, partition integer)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_variable
DECLARE
  found_consumer millrace.consumer := millrace.own_consumer(consumer);
  moves jsonb;
  last_partition integer;
BEGIN
  IF num_nonnulls(start_offset, start_time) <> 1 OR start_offset < -2 OR partition < 0 OR NOT isfinite(start_time)
    OR partition IS NOT NULL AND start_time IS NOT NULL
  THEN
    PERFORM millrace.refuse('seek-invalid', format('consumer %s cannot be moved there', consumer));
  END IF;
  IF partition IS NOT NULL THEN
    -- Where none was found yet, the daemon that looks warns of it: start-partition-missing.
    SELECT max(known.partition) INTO last_partition FROM (
      SELECT p.partition FROM millrace.position AS p WHERE p.consumer_id = consumer
      UNION ALL
      SELECT w.partition FROM millrace.watermark AS w WHERE w.cluster = found_consumer.cluster AND w.topic = found_consumer.topic
    ) AS known;
    IF partition > last_partition THEN
      PERFORM millrace.refuse('partition-missing', format('topic %s has no partition %s: the last that is known is %s',
        found_consumer.topic, partition, last_partition));
    END IF;
    -- Moves of several partitions, one after the other, that no daemon has made yet, go together; so they do with a
    -- start of all partitions, which the others still make.
    moves := CASE WHEN found_consumer.start_pending THEN coalesce(found_consumer.start_partitions, '{}') ELSE '{}' END
      || jsonb_build_object(partition::text, start_offset);
    start_offset := CASE WHEN found_consumer.start_pending THEN found_consumer.start_offset END;
    start_time := CASE WHEN found_consumer.start_pending THEN found_consumer.start_time END;
  END IF;
  UPDATE millrace.consumer AS c SET start_offset = NULL, start_time = NULL, start_partitions = NULL WHERE c.id = consumer;
  UPDATE millrace.consumer AS c SET start_offset = start_offset, start_time = start_time, start_partitions = moves
  WHERE c.id = consumer;
  PERFORM millrace.warn_without_daemon();
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.move_consumer(bigint,bigint,timestamp with time zone,integer) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.move_positions(consumer bigint, version bigint, cluster text, topic uuid, partitions integer[], expected bigint[], next bigint[], leader_epochs integer[], owner_epochs bigint[], messages bigint[], skipped bigint[], bytes bigint[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
$function$
;
GRANT EXECUTE ON FUNCTION millrace.move_positions(bigint,bigint,text,uuid,integer[],bigint[],bigint[],integer[],bigint[],bigint[],bigint[],bigint[]) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.names_in_order(p millrace.publication)
 RETURNS text[]
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$ SELECT ARRAY(SELECT n.key FROM jsonb_each_text(p.column_numbers) AS n ORDER BY n.value::smallint) $function$
;
GRANT EXECUTE ON FUNCTION millrace.names_in_order(millrace.publication) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.names_now()
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT $sql$ARRAY(SELECT CASE a.attgenerated WHEN 'v' THEN '' ELSE a.attname::text END FROM pg_attribute AS a
    WHERE a.attrelid = %s AND NOT a.attisdropped AND (a.attname = ANY (%L::name[]) OR a.attgenerated = 'v') ORDER BY a.attnum)$sql$
$function$
;
GRANT EXECUTE ON FUNCTION millrace.names_now() TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.needs_check(target_schema text, target_name text, owner oid)
 RETURNS boolean
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  daemon constant oid := (SELECT nspowner FROM pg_namespace WHERE nspname = 'millrace');
  target record;
BEGIN
  SELECT c.oid, c.relowner, c.relkind, c.relhastriggers, c.relchecks, c.relispartition, c.relpersistence,
    c.relrowsecurity, c.relacl, n.nspowner INTO target
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
  WHERE n.nspname = target_schema AND c.relname = target_name;
  IF NOT FOUND OR target.relowner <> daemon OR target.relkind <> 'r' OR target.relhastriggers OR target.relchecks > 0
    OR target.relispartition OR target.relpersistence <> 'p' OR target.relrowsecurity
  THEN
    RETURN true;
  ELSIF (owner <> daemon OR target.nspowner <> daemon) AND NOT ARRAY[owner, target.nspowner] <@ millrace.trusted_roles() THEN
    RETURN true;
  END IF;
  RETURN EXISTS (
      SELECT FROM aclexplode(target.relacl) AS a WHERE a.privilege_type = 'TRIGGER' AND a.grantee <> daemon)
    OR EXISTS (
      SELECT FROM pg_attribute AS a WHERE a.attrelid = target.oid AND a.attnum > 0 AND a.atttypid >= 16384)
    OR EXISTS (
      SELECT FROM pg_index AS i WHERE i.indrelid = target.oid AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL
        OR i.indisexclusion OR EXISTS (SELECT FROM unnest(i.indclass) AS c (class) WHERE c.class >= 16384)))
    -- Functions and types of pg_catalog are not recorded. OFFSET keeps this from beginning with all defaults there are.
    OR EXISTS (
      SELECT FROM pg_attrdef AS d, LATERAL (
        SELECT FROM pg_depend AS p
        WHERE p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid AND p.refclassid <> 'pg_class'::regclass OFFSET 0) AS p
      WHERE d.adrelid = target.oid);
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.needs_check(text,text,oid) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.needs_row_capture(target oid)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT CASE
    WHEN c.relkind = 'p' THEN 'partitioned'
    WHEN c.relkind = 'f' THEN 'foreign'
    WHEN EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhrelid = c.oid) THEN 'inherits'
    WHEN EXISTS (SELECT FROM pg_subscription_rel AS s WHERE s.srrelid = c.oid) THEN 'subscribed'
    WHEN EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled <> 'D'
      AND t.tgtype & 1 <> 0 AND t.tgtype & 66 = 0 AND t.tgname NOT LIKE '!millrace %') THEN 'row-trigger'
    WHEN EXISTS (SELECT FROM pg_constraint AS k WHERE k.conrelid = c.oid AND k.confrelid = c.oid AND k.contype = 'f'
      AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd'))) THEN 'refers-to-itself'
  END
  FROM pg_class AS c WHERE c.oid = target
$function$
;
GRANT EXECUTE ON FUNCTION millrace.needs_row_capture(oid) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.next_outbox_batch(cluster text, epoch bigint, finished boolean, exactly_once boolean DEFAULT false, kafka_id bigint DEFAULT NULL::bigint)
 RETURNS TABLE(sent text, batch text, last_id bigint, segments integer[], number bigint, token uuid)
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  progress millrace.outbox_progress;
  seen pg_snapshot;
  fresh pg_snapshot;
  seen_until pg_lsn;
BEGIN
  SELECT p.* INTO progress FROM millrace.outbox_progress AS p
  WHERE p.cluster = next_outbox_batch.cluster AND p.epoch = next_outbox_batch.epoch;
  IF NOT FOUND THEN
    RETURN;
  ELSIF progress.batch IS NOT NULL AND NOT finished THEN
    RETURN QUERY SELECT progress.sent::text, progress.batch::text, progress.last_id, '{0,1,2,3}'::integer[],
      progress.number, progress.token;
    RETURN;
  END IF;
  seen := coalesce(progress.batch, progress.sent);
  IF cardinality(millrace.outbox_news(next_outbox_batch.cluster, seen)) > 0 THEN
    -- whatever the statement's snapshot sees has its commit in the WAL before the end of it now
    SELECT pg_current_snapshot(), pg_current_wal_insert_lsn() INTO fresh, seen_until;
    IF pg_current_wal_flush_lsn() < seen_until OR current_setting('synchronous_standby_names') <> '' THEN
      PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    -- looked again for the segments: the batch's snapshot is a later one
    RETURN QUERY UPDATE millrace.outbox_progress AS p
      SET sent = seen, batch = fresh, last_id = 0, ids_until = (SELECT i.last_value FROM millrace.outbox_id AS i),
        number = p.number + 1,
        token = CASE WHEN next_outbox_batch.exactly_once THEN gen_random_uuid() END,
        kafka_number = CASE WHEN next_outbox_batch.kafka_id IS NULL THEN p.kafka_number ELSE p.number END,
        kafka_id = coalesce(next_outbox_batch.kafka_id, p.kafka_id)
      WHERE p.cluster = next_outbox_batch.cluster AND p.epoch = next_outbox_batch.epoch
      RETURNING p.sent::text, p.batch::text, p.last_id, millrace.outbox_news(next_outbox_batch.cluster, seen),
        p.number, p.token;
  ELSIF progress.batch IS NOT NULL THEN
    RETURN QUERY UPDATE millrace.outbox_progress AS p
      SET sent = seen, batch = NULL, last_id = 0,
        kafka_number = CASE WHEN next_outbox_batch.kafka_id IS NULL THEN p.kafka_number ELSE p.number END,
        kafka_id = coalesce(next_outbox_batch.kafka_id, p.kafka_id)
      WHERE p.cluster = next_outbox_batch.cluster AND p.epoch = next_outbox_batch.epoch
      RETURNING p.sent::text, p.batch::text, p.last_id, '{}'::integer[], p.number, p.token;
  ELSE
    RETURN QUERY SELECT progress.sent::text, NULL::text, 0::bigint, '{}'::integer[], progress.number, progress.token;
  END IF;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.next_outbox_batch(text,bigint,boolean,boolean,bigint) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.notice_foreign(target_schema text, target_name text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF EXISTS (SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = target_schema AND c.relname = target_name AND c.relkind = 'f')
  THEN
    RAISE NOTICE '% is a foreign table: a message may arrive there more than once', format('%I.%I', target_schema, target_name)
      USING DETAIL = 'code: foreign-at-least-once', HINT = 'Rows and position cannot be committed in one transaction.';
  END IF;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.notice_foreign(text,text) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.notice_waiting(request bigint)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  RAISE NOTICE 'the outcome of request % cannot be waited for inside a transaction block', request USING
    DETAIL = 'code: request-waiting',
    HINT = 'The daemon sees it after COMMIT: SELECT state, done_count, failed_count, result FROM millrace.request WHERE id = ' || request;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.notice_waiting(bigint) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.notify_daemon()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  PERFORM pg_notify('millrace', '');
  RETURN NULL;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.notify_daemon() TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.outbox_exceeds(most_bytes bigint)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  sizes constant bigint[] := ARRAY(SELECT pg_table_size(format('millrace.outbox_%s', i)::regclass) FROM generate_series(0, 3) AS i);
BEGIN
  IF (SELECT sum(size) FROM unnest(sizes) AS size) <= most_bytes THEN
    RETURN false;
  END IF;
  RETURN (SELECT coalesce(sum(sizes[i + 1]), 0) > most_bytes FROM generate_series(0, 3) AS i WHERE NOT millrace.segment_is_sent(i));
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.outbox_exceeds(bigint) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.outbox_news(cluster text, seen pg_snapshot)
 RETURNS integer[]
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  -- whoever is not in the snapshot began after it, or was under way
  later xid8 := pg_snapshot_xmax(seen);
  late xid8[] := ARRAY(SELECT pg_snapshot_xip(seen));
  any_late boolean := cardinality(late) > 0;
  found integer[] := '{}';
BEGIN
  IF EXISTS (SELECT FROM millrace.outbox_0 AS o WHERE o.xid >= later AND o.cluster = outbox_news.cluster)
    OR any_late AND EXISTS (SELECT FROM millrace.outbox_0 AS o WHERE o.xid = ANY (late) AND o.cluster = outbox_news.cluster) THEN
    found := found || 0;
  END IF;
  IF EXISTS (SELECT FROM millrace.outbox_1 AS o WHERE o.xid >= later AND o.cluster = outbox_news.cluster)
    OR any_late AND EXISTS (SELECT FROM millrace.outbox_1 AS o WHERE o.xid = ANY (late) AND o.cluster = outbox_news.cluster) THEN
    found := found || 1;
  END IF;
  IF EXISTS (SELECT FROM millrace.outbox_2 AS o WHERE o.xid >= later AND o.cluster = outbox_news.cluster)
    OR any_late AND EXISTS (SELECT FROM millrace.outbox_2 AS o WHERE o.xid = ANY (late) AND o.cluster = outbox_news.cluster) THEN
    found := found || 2;
  END IF;
  IF EXISTS (SELECT FROM millrace.outbox_3 AS o WHERE o.xid >= later AND o.cluster = outbox_news.cluster)
    OR any_late AND EXISTS (SELECT FROM millrace.outbox_3 AS o WHERE o.xid = ANY (late) AND o.cluster = outbox_news.cluster) THEN
    found := found || 3;
  END IF;
  RETURN found;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.outbox_news(text,pg_snapshot) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.outbox_position_problem(progress millrace.outbox_progress, number bigint, token uuid, id bigint, line integer)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT CASE
    WHEN number > progress.number OR number = progress.number AND token IS DISTINCT FROM progress.token THEN 'ahead'
    WHEN progress.kafka_number IS NOT NULL
      AND (number IS NULL OR number < progress.kafka_number OR number = progress.kafka_number AND id < progress.kafka_id
        OR line < progress.kafka_line)
    THEN 'missing'
  END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.outbox_position_problem(millrace.outbox_progress,bigint,uuid,bigint,integer) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.outbox_sleep()
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  -- a transaction that has notified cannot be prepared, so where there may be such ones nobody has to
  IF current_setting('max_prepared_transactions')::integer > 0 OR NOT pg_try_advisory_lock(1298756723, 5) THEN
    RETURN false;
  END IF;
  IF EXISTS (
    SELECT FROM pg_locks AS l
    WHERE l.locktype = 'relation' AND l.mode = 'RowExclusiveLock'
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.relation IN ('millrace.outbox_0'::regclass, 'millrace.outbox_1'::regclass, 'millrace.outbox_2'::regclass,
        'millrace.outbox_3'::regclass)
  ) THEN
    PERFORM pg_advisory_unlock(1298756723, 5);
    RETURN false;
  END IF;
  RETURN true;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.outbox_sleep() TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.outbox_wake()
 RETURNS boolean
 LANGUAGE sql
AS $function$
  SELECT CASE WHEN pg_catalog.pg_try_advisory_lock_shared(1298756723, 5) THEN pg_catalog.pg_advisory_unlock_shared(1298756723, 5)
    ELSE pg_catalog.pg_notify('millrace_outbox', '') IS NULL END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.outbox_wake() TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.overrule_kafka(progress millrace.outbox_progress, number bigint, skip boolean)
 RETURNS millrace.outbox_progress
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  progress.number := greatest(progress.number, coalesce(number, 0)) + 1;
  progress.token := NULL;
  progress.kafka_number := NULL;
  progress.kafka_id := NULL;
  progress.kafka_line := NULL;
  IF skip THEN
    progress.sent := pg_current_snapshot();
    progress.batch := NULL;
    progress.last_id := 0;
    progress.ids_until := (SELECT i.last_value FROM millrace.outbox_id AS i);
  END IF;
  RETURN progress;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.overrule_kafka(millrace.outbox_progress,bigint,boolean) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.own_consumer(consumer bigint)
 RETURNS millrace.consumer
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  found_consumer millrace.consumer;
BEGIN
  SELECT * INTO found_consumer FROM millrace.consumer AS c WHERE c.id = consumer FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    PERFORM millrace.refuse('consumer-missing', format('there is no consumer %s', coalesce(consumer::text, 'NULL')));
  END IF;
  RETURN found_consumer;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.own_consumer(bigint) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.pass_to_children()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  passed text[] := millrace.consumer_options();
BEGIN
  IF NEW.wanted <> OLD.wanted THEN
    passed := passed || text 'wanted';
  END IF;
  IF (NEW.start_offset, NEW.start_time, NEW.start_partitions) IS DISTINCT FROM (OLD.start_offset, OLD.start_time, OLD.start_partitions) THEN
    passed := passed || ARRAY['start_offset', 'start_time', 'start_partitions'];
  END IF;
  EXECUTE format('UPDATE millrace.consumer SET (%1$s) = (SELECT %1$s FROM (SELECT ($1).*) AS parent) WHERE parent_id = ($1).id',
    (SELECT string_agg(quote_ident(o), ', ') FROM unnest(passed) AS o)) USING NEW;
  RETURN NULL;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.pass_to_children() TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.pause(consumer bigint)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF (millrace.own_consumer(consumer)).wanted = 'stopped' THEN
    PERFORM millrace.refuse('consumer-not-running', format('consumer %s is not running', consumer));
  END IF;
  UPDATE millrace.consumer AS c SET wanted = 'stopped' WHERE c.id = consumer;
  PERFORM millrace.warn_without_daemon();
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.pause(bigint) TO PUBLIC;
COMMENT ON FUNCTION millrace.pause(bigint) IS 'Stops a consumer; its position is kept.';

CREATE OR REPLACE FUNCTION millrace.places(first_block bigint, end_block bigint)
 RETURNS tid[]
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT array_agg(format('(%s,%s)', b, i)::tid)
  FROM generate_series(first_block, end_block - 1) AS b, generate_series(1, current_setting('block_size')::integer / 28) AS i
$function$
;
GRANT EXECUTE ON FUNCTION millrace.places(bigint,bigint) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.primary_key(relation oid)
 RETURNS text[]
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT ARRAY(SELECT a.attname::text FROM pg_index AS i
    CROSS JOIN LATERAL unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (number, place)
    JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.number
    WHERE i.indrelid = relation AND i.indisprimary ORDER BY k.place)
$function$
;
GRANT EXECUTE ON FUNCTION millrace.primary_key(oid) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.produce(topic text, value bytea, key bytea DEFAULT NULL::bytea, partition integer DEFAULT NULL::integer, headers jsonb DEFAULT NULL::jsonb, cluster text DEFAULT NULL::text, "timestamp" timestamp with time zone DEFAULT NULL::timestamp with time zone)
 RETURNS bigint
 LANGUAGE sql
AS $function$
  SELECT millrace.write_message(topic, value, key, partition, millrace.header_list(headers), cluster, "timestamp", NULL)
$function$
;
GRANT EXECUTE ON FUNCTION millrace.produce(text,bytea,bytea,integer,jsonb,text,timestamp with time zone) TO PUBLIC;
COMMENT ON FUNCTION millrace.produce(text,bytea,bytea,integer,jsonb,text,timestamp with time zone) IS 'Sends a message to a topic when the transaction commits; returns its number in the outbox.';

CREATE OR REPLACE FUNCTION millrace.produce(topic text, value bytea, key text, partition integer DEFAULT NULL::integer, headers jsonb DEFAULT NULL::jsonb, cluster text DEFAULT NULL::text, "timestamp" timestamp with time zone DEFAULT NULL::timestamp with time zone)
 RETURNS bigint
 LANGUAGE sql
AS $function$
  SELECT millrace.write_message(topic, value, pg_catalog.convert_to(key, 'UTF8'), partition,
    millrace.header_list(headers), cluster, "timestamp", NULL)
$function$
;
GRANT EXECUTE ON FUNCTION millrace.produce(text,bytea,text,integer,jsonb,text,timestamp with time zone) TO PUBLIC;
COMMENT ON FUNCTION millrace.produce(text,bytea,text,integer,jsonb,text,timestamp with time zone) IS 'Sends a message to a topic when the transaction commits; returns its number in the outbox.';

CREATE OR REPLACE FUNCTION millrace.produce(topic text, value text, key bytea, partition integer DEFAULT NULL::integer, headers jsonb DEFAULT NULL::jsonb, cluster text DEFAULT NULL::text, "timestamp" timestamp with time zone DEFAULT NULL::timestamp with time zone)
 RETURNS bigint
 LANGUAGE sql
AS $function$
  SELECT millrace.write_message(topic, pg_catalog.convert_to(value, 'UTF8'), key, partition,
    millrace.header_list(headers), cluster, "timestamp", NULL)
$function$
;
GRANT EXECUTE ON FUNCTION millrace.produce(text,text,bytea,integer,jsonb,text,timestamp with time zone) TO PUBLIC;
COMMENT ON FUNCTION millrace.produce(text,text,bytea,integer,jsonb,text,timestamp with time zone) IS 'Sends a message to a topic when the transaction commits; returns its number in the outbox.';

CREATE OR REPLACE FUNCTION millrace.produce(topic text, value text, key text DEFAULT NULL::text, partition integer DEFAULT NULL::integer, headers jsonb DEFAULT NULL::jsonb, cluster text DEFAULT NULL::text, "timestamp" timestamp with time zone DEFAULT NULL::timestamp with time zone)
 RETURNS bigint
 LANGUAGE sql
AS $function$
  SELECT millrace.write_message(topic, pg_catalog.convert_to(value, 'UTF8'), pg_catalog.convert_to(key, 'UTF8'),
    partition, millrace.header_list(headers), cluster, "timestamp", NULL)
$function$
;
GRANT EXECUTE ON FUNCTION millrace.produce(text,text,text,integer,jsonb,text,timestamp with time zone) TO PUBLIC;
COMMENT ON FUNCTION millrace.produce(text,text,text,integer,jsonb,text,timestamp with time zone) IS 'Sends a message to a topic when the transaction commits; returns its number in the outbox.';

CREATE OR REPLACE FUNCTION millrace.publication_problem(p millrace.publication)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  prefix constant text := format('!millrace %s ', p.id);
  function constant oid := to_regprocedure(format('millrace.%I()', millrace.capture_name(p.id)));
  owner_now oid := (SELECT c.relowner FROM pg_class AS c WHERE c.oid = p.relation);
  needs_rows text;
BEGIN
  IF owner_now IS NULL THEN
    RETURN 'relation-missing';
  ELSIF function IS NULL OR (SELECT count(*) FROM pg_trigger AS t WHERE t.tgrelid = p.relation AND t.tgfoid = function
    AND t.tgname IN (prefix || 'insert', prefix || 'update', prefix || 'delete', prefix || 'truncate')) < 4
  THEN
    RETURN 'trigger-missing';
  ELSIF EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgfoid = function AND t.tgenabled IN ('D', 'R')
    AND t.tgname <> prefix || 'is captured by statements')
  THEN
    RETURN 'trigger-disabled';
  ELSIF owner_now <> p.owner::oid THEN
    RETURN 'owner-changed';
  ELSIF NOT millrace.may_produce(p.cluster, p.topic, p.owner::oid) THEN
    RETURN 'topic-not-granted';
  ELSIF EXISTS (SELECT FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhparent WHERE c.oid = p.relation AND c.relkind = 'r') THEN
    RETURN 'relation-inherited';
  END IF;
  needs_rows := millrace.needs_row_capture(p.relation::oid);
  IF p.capture = 'statement' AND needs_rows IS NOT NULL THEN
    RETURN needs_rows;
  ELSIF needs_rows = 'subscribed' AND EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = p.relation AND t.tgfoid = function
    AND t.tgenabled <> 'A')
  THEN
    RETURN 'subscribed';
  ELSIF EXISTS (SELECT FROM pg_partition_tree(p.relation) AS m
    WHERE NOT EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = m.relid AND t.tgname = prefix || 'truncate'))
    AND p.truncate <> 'skip'
  THEN
    RETURN 'partition-truncate';
  ELSIF p.columns IS NOT NULL AND p.with_schema AND EXISTS (SELECT FROM pg_attribute AS a
    WHERE a.attrelid = p.relation AND a.attnum > (SELECT max(n.value::smallint) FROM jsonb_each_text(millrace.column_numbers(p)) AS n)
      AND NOT a.attisdropped)
  THEN
    RETURN 'column-added';
  END IF;
  RETURN NULL;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.publication_problem(millrace.publication) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.publish(relation regclass, topic text DEFAULT '{schema}.{table}'::text, key text[] DEFAULT NULL::text[], columns text[] DEFAULT NULL::text[], filter text DEFAULT NULL::text, envelope text DEFAULT 'row'::text, with_schema boolean DEFAULT false, snapshot boolean DEFAULT true, cluster text DEFAULT NULL::text, capture text DEFAULT 'auto'::text, truncate text DEFAULT NULL::text)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  p millrace.publication;
  target record;
  needs_rows text;
  sent_columns text[] := columns;
BEGIN
  PERFORM millrace.check_publishable(relation::oid);
  p.truncate := coalesce(truncate, CASE envelope WHEN 'debezium' THEN 'event' ELSE 'delete' END);
  PERFORM millrace.check_publish_options(envelope, with_schema, capture, p.truncate, key);
  SELECT c.oid, c.relowner, n.nspname, c.relname, format('%I.%I', n.nspname, c.relname) AS shown INTO target
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = relation;

  p.cluster := coalesce(cluster, millrace.given_cluster(NULL));
  IF NOT EXISTS (SELECT FROM millrace.cluster AS c WHERE c.name = p.cluster) THEN
    PERFORM millrace.refuse('cluster-missing', format('there is no cluster %L', left(p.cluster, 64)));
  END IF;
  p.topic := millrace.topic_of(coalesce(topic, '{schema}.{table}'), target.nspname, target.relname);
  PERFORM millrace.check_topic(p.topic);
  IF NOT millrace.may_produce(p.cluster, p.topic, target.relowner) THEN
    PERFORM millrace.refuse('topic-not-granted',
      format('topic %s is not granted to role %I for producing', p.topic, pg_get_userbyid(target.relowner)));
  ELSIF EXISTS (SELECT FROM millrace.publication AS o
    WHERE o.relation = publish.relation AND o.cluster = p.cluster AND o.topic = p.topic) THEN
    PERFORM millrace.refuse('already-published', format('%s is published to topic %s already', target.shown, p.topic));
  END IF;

  IF with_schema AND columns IS NULL THEN
    sent_columns := ARRAY(SELECT a.attname::text FROM pg_attribute AS a
      WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum);
  END IF;
  p.key_columns := coalesce(key, millrace.primary_key(relation::oid));
  IF key IS NULL AND p.key_columns = '{}' THEN
    PERFORM millrace.refuse('publish-key-missing', format('%s has no primary key', target.shown));
  ELSIF key IS NULL AND EXISTS (
    SELECT FROM pg_index AS i WHERE i.indrelid = publish.relation AND i.indisprimary AND NOT i.indimmediate)
  THEN
    PERFORM millrace.refuse('publish-key-deferrable',
      format('two rows of %s can have one primary key for a while: it is deferrable', target.shown));
  END IF;
  PERFORM millrace.check_columns(relation, p.key_columns);
  PERFORM millrace.check_columns(relation, sent_columns);
  IF filter IS NOT NULL THEN
    p.filter_columns := millrace.columns_of_filter(relation, filter);
  END IF;

  needs_rows := millrace.needs_row_capture(relation::oid);
  IF capture = 'statement' AND needs_rows IS NOT NULL THEN
    PERFORM millrace.refuse('capture-needs-rows', format('statements would not tell all changes of %s: %s', target.shown, needs_rows));
  END IF;
  INSERT INTO millrace.publication (relation, name, owner, cluster, topic, key_columns, columns, filter, filter_columns,
    column_numbers, envelope, with_schema, truncate, capture)
  VALUES (relation, target.shown, target.relowner::regrole, p.cluster, p.topic, p.key_columns, sent_columns, filter,
    coalesce(p.filter_columns, '{}'),
    coalesce((SELECT jsonb_object_agg(a.attname, a.attnum) FROM pg_attribute AS a WHERE a.attrelid = publish.relation AND a.attnum > 0
      AND a.attname = ANY (p.key_columns || coalesce(sent_columns, '{}') || coalesce(p.filter_columns, '{}'))), '{}'),
    envelope, with_schema, p.truncate, CASE WHEN capture = 'row' OR needs_rows IS NOT NULL THEN 'row' ELSE 'statement' END)
  RETURNING * INTO p;
  PERFORM millrace.make_capture(p.id);
  PERFORM millrace.make_triggers(p, needs_rows IS NOT DISTINCT FROM 'subscribed');
  IF snapshot THEN
    PERFORM millrace.send_snapshot(p);
  END IF;
  RETURN p.id;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.publish(regclass,text,text[],text[],text,text,boolean,boolean,text,text,text) TO PUBLIC;
COMMENT ON FUNCTION millrace.publish(regclass,text,text[],text[],text,text,boolean,boolean,text,text,text) IS 'Sends the rows of a table and from then on every change of it to a topic; returns the publication''s number. For the table''s owner.';

CREATE OR REPLACE FUNCTION millrace.published_topics(cluster text)
 RETURNS text[]
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  RETURN ARRAY(
    SELECT DISTINCT p.topic FROM millrace.publication AS p
    WHERE p.cluster = published_topics.cluster AND p.topic ~ '^[a-zA-Z0-9._-]+$' AND length(p.topic) <= 249
      AND p.topic NOT IN ('.', '..'));
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.published_topics(text) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.published_type(p millrace.publication, column_name text)
 RETURNS oid
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  WITH RECURSIVE walk (type) AS (
    SELECT a.atttypid FROM pg_attribute AS a
    WHERE a.attrelid = p.relation AND a.attnum = (millrace.column_numbers(p) ->> column_name)::smallint
    UNION ALL
    SELECT t.typbasetype FROM walk AS w JOIN pg_type AS t ON t.oid = w.type WHERE t.typtype = 'd'
  )
  SELECT w.type FROM walk AS w JOIN pg_type AS t ON t.oid = w.type WHERE t.typtype <> 'd'
$function$
;
GRANT EXECUTE ON FUNCTION millrace.published_type(millrace.publication,text) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.readable(bytes bytea)
 RETURNS text
 LANGUAGE plpgsql
 STABLE STRICT
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  RETURN convert_from(bytes, 'UTF8');
EXCEPTION WHEN OTHERS THEN
  RETURN NULL;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.readable(bytea) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.readable_headers(headers bytea[])
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE STRICT
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
$function$
;
GRANT EXECUTE ON FUNCTION millrace.readable_headers(bytea[]) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.record_chunk(snapshot_id bigint, relation oid, range_block bigint, end_block bigint, again integer, written bigint, skipped tid[], took double precision)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  taken millrace.snapshot;
  left_over tid[];
  goal constant double precision := 50;
BEGIN
  SELECT s.* INTO taken FROM millrace.snapshot AS s
  WHERE (s.snapshot_id, s.relation, s.first_block) = (record_chunk.snapshot_id, record_chunk.relation, record_chunk.range_block);
  IF taken.filenode IS DISTINCT FROM pg_relation_filenode(relation) OR NOT millrace.in_snapshot(taken.root, relation) THEN
    RAISE EXCEPTION 'the table was rewritten' USING ERRCODE = 'ML003';
  END IF;
  left_over := taken.skipped[again + 1:] || record_chunk.skipped;
  UPDATE millrace.snapshot AS s SET
    next_block = record_chunk.end_block,
    skipped = left_over,
    written = s.written + record_chunk.written,
    chunks = s.chunks + 1,
    chunk_blocks = CASE WHEN again > 0 THEN s.chunk_blocks
      ELSE greatest(1, least(CASE WHEN current_setting('server_version_num')::integer < 140000 THEN 256 ELSE 2048 END,
        s.chunk_blocks * greatest(0.25, least(2, goal / greatest(1, took))))) END,
    waits_for = CASE WHEN again > 0 AND record_chunk.written = 0 AND cardinality(record_chunk.skipped) >= again
      THEN 'rows that others have locked' END,
    not_before = CASE WHEN again > 0 AND record_chunk.written = 0 AND cardinality(record_chunk.skipped) >= again
      THEN clock_timestamp() + '300 ms' ELSE to_timestamp(0) END,
    attempts = 0, error_code = NULL, error_message = NULL, changed_at = clock_timestamp(),
    finished_at = CASE WHEN record_chunk.end_block >= s.end_block AND left_over = '{}' THEN clock_timestamp() END
  WHERE (s.snapshot_id, s.relation, s.first_block) = (record_chunk.snapshot_id, record_chunk.relation, record_chunk.range_block);
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.record_chunk(bigint,oid,bigint,bigint,integer,bigint,tid[],double precision) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.record_identity(reason text)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  PERFORM FROM millrace.installation FOR UPDATE;
  UPDATE millrace.installation AS i
  SET system_identifier = f.system_identifier, timeline = coalesce(f.timeline, i.timeline), database = f.database,
    database_oid = f.database_oid
  FROM millrace.identity() AS f
  WHERE reason = 'clone' OR (i.system_identifier, i.timeline, i.database, i.database_oid)
    IS DISTINCT FROM (f.system_identifier, coalesce(f.timeline, i.timeline), f.database, f.database_oid);
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  INSERT INTO millrace.identity_history (reason, installation_id, system_identifier, timeline, database, database_oid)
  SELECT record_identity.reason, i.id, i.system_identifier, i.timeline, i.database, i.database_oid
  FROM millrace.installation AS i;
  RETURN true;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.record_identity(text) TO PUBLIC;
COMMENT ON FUNCTION millrace.record_identity(text) IS 'Records what this database is now; false when that was recorded already. For the role that owns the schema.';

CREATE OR REPLACE FUNCTION millrace.record_outbox(cluster text, epoch bigint, last_id bigint, xids xid8[], ids bigint[], whole_topic boolean[], dead boolean[], codes text[], messages text[], in_kafka boolean DEFAULT false)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF last_id IS NULL THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;
  UPDATE millrace.outbox_progress AS p
  SET last_id = coalesce(record_outbox.last_id, p.last_id),
    kafka_number = CASE WHEN in_kafka THEN p.number ELSE p.kafka_number END,
    kafka_id = CASE WHEN in_kafka THEN record_outbox.last_id ELSE p.kafka_id END
  WHERE p.cluster = record_outbox.cluster AND p.epoch = record_outbox.epoch;
  IF NOT FOUND THEN
    RETURN false;
  ELSIF cardinality(ids) > 0 THEN
    WITH told AS (
      SELECT o AS letter, w.whole_topic, w.dead, w.code, w.message
      FROM unnest(ids, record_outbox.whole_topic, record_outbox.dead, codes, messages) AS w (id, whole_topic, dead, code, message)
      JOIN (
        SELECT * FROM millrace.outbox_0 UNION ALL SELECT * FROM millrace.outbox_1
        UNION ALL SELECT * FROM millrace.outbox_2 UNION ALL SELECT * FROM millrace.outbox_3
      ) AS o ON o.id = w.id
      WHERE o.xid = ANY (xids) AND o.id = ANY (ids)
    ), waits AS (
      INSERT INTO millrace.outbox_waiting
      SELECT (letter).*, t.whole_topic, t.code, t.message FROM told AS t WHERE NOT t.dead
      ON CONFLICT DO NOTHING
    )
    INSERT INTO millrace.outbox_dead_letter
    SELECT (letter).*, t.code, t.message FROM told AS t WHERE t.dead
    ON CONFLICT DO NOTHING;
  END IF;
  RETURN true;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.record_outbox(text,bigint,bigint,xid8[],bigint[],boolean[],boolean[],text[],text[],boolean) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.record_waiting(cluster text, epoch bigint, sent bigint[], ids bigint[], whole_topic boolean[], dead boolean[], codes text[], messages text[], exactly_once boolean DEFAULT false)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF exactly_once THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;
  PERFORM FROM millrace.outbox_progress AS p
  WHERE p.cluster = record_waiting.cluster AND p.epoch = record_waiting.epoch FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  DELETE FROM millrace.outbox_waiting AS o WHERE o.id = ANY (record_waiting.sent);
  UPDATE millrace.outbox_waiting AS o
  SET whole_topic = w.whole_topic, code = w.code, message = w.message,
    attempts = o.attempts + (w.code IS NOT NULL)::integer
  FROM unnest(ids, record_waiting.whole_topic, codes, messages) AS w (id, whole_topic, code, message)
  WHERE o.id = w.id;
  PERFORM millrace.bury(ARRAY(SELECT w.id FROM unnest(ids, record_waiting.dead) AS w (id, dead) WHERE w.dead));
  RETURN true;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.record_waiting(text,bigint,bigint[],bigint[],boolean[],boolean[],text[],text[],boolean) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.refuse(problem text, message text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  entry record;
BEGIN
  SELECT * INTO STRICT entry FROM (VALUES
    ('code: topic-invalid', '22023',
      'Kafka allows 1 to 249 of these: letters, digits, ".", "_" and "-"; not "." or "..".'),
    ('code: topic-not-granted', '42501',
      'An administrator can run: SELECT millrace.grant_topic(topic, role), for producing with action := ''produce''.'),
    ('code: action-invalid', '22023',
      'consume or produce.'),
    ('code: partition-invalid', '22023',
      'A partition has a number from 0. Without one, the key decides: NULL, in arguments of a trigger ''-1''.'),
    ('code: headers-invalid', '22023',
      'An object {"name": "value"}, or an array of {"name": ..., "value": ...}, where name_hex and hex stand for bytes. millrace-id is no name for a header of yours.'),
    ('code: timestamp-invalid', '22023',
      'A time from 1970 on; NULL: now.'),
    ('code: trigger-misused', '39P01',
      'CREATE TRIGGER ... AFTER INSERT OR UPDATE ON ... FOR EACH ROW EXECUTE FUNCTION pipeline_kafka.emit_tuple(''topic'', ''partition'', ''key''); partition and key may be left out, -1 is no partition.'),
    ('code: admin-required', '42501',
      'Superusers may do this, and members of role millrace_admin or of the role that owns schema millrace.'),
    ('code: role-missing', '42704',
      'Give the name of the role as pg_roles shows it, or public for every role.'),
    ('code: cluster-missing', '42704',
      'SELECT name FROM millrace.cluster shows the clusters.'),
    ('code: broker-invalid', '22023',
      'A broker is written host or host:port, an IPv6 address [address]:port. Add one broker per call; credentials belong in the daemon''s configuration.'),
    ('code: broker-exists', '42710',
      'Nothing has to be done. A port that is left out is 9092.'),
    ('code: broker-missing', '42704',
      'SELECT host FROM millrace.broker shows the brokers, as they were added.'),
    ('code: no-broker', '55000',
      'Add at least one first, for example: SELECT pipeline_kafka.add_broker(''localhost:9092'').'),
    ('code: relation-missing', '42P01',
      'Create it first. A name without schema is looked up along the search_path; a name with capitals or special characters needs double quotes inside the string.'),
    ('code: relation-kind', '42809',
      'Consume into a table, a partitioned table, a foreign table, a view that updates its one table, or a view with an INSTEAD OF INSERT trigger.'),
    ('code: relation-catalog', '42809',
      'Consume into a table of your own.'),
    ('code: relation-temporary', '42809',
      'It would be gone, or invisible to the daemon, while the position stays. Use a permanent table.'),
    ('code: relation-unlogged', '42809',
      'A crash would empty it and keep the position. ALTER TABLE ... SET LOGGED makes it permanent.'),
    ('code: relation-row-security', '0A000',
      'COPY cannot load it for this role, so it is loaded by way of a staging table, as the consumer''s owner.'),
    ('code: relation-runs-code', '42501',
      'Code of other roles would run in the daemon''s session, so it is loaded by way of a staging table, where it runs as the consumer''s owner.'),
    ('code: relation-schema', '42501',
      'Whoever owns a schema can put another relation in the place of the one that was checked, so it is loaded by way of a staging table, as the consumer''s owner.'),
    ('code: view-without-trigger', '0A000',
      'A view that is no simple one of a single table needs an INSTEAD OF INSERT trigger.'),
    ('code: insert-denied', '42501',
      'GRANT INSERT on the whole relation (not on columns), and USAGE on its schema, to the role.'),
    ('code: lock-denied', '42501',
      'It belongs to an ordinary role, who could change what it runs during a load, and LOCK TABLE asks for UPDATE or DELETE, so it is loaded by way of a staging table, as the consumer''s owner.'),
    ('code: role-not-served', '42501',
      'GRANT the role to the daemon''s role, on PostgreSQL 16 and later WITH SET TRUE.'),
    ('code: format-unknown', '22023',
      'The formats are text, csv and json.'),
    ('code: delimiter-invalid', '22023',
      'One ASCII character as in COPY: no line end; in text no backslash, dot, digit, lower-case letter or N; in csv not the quote. \t means the tab.'),
    ('code: quote-invalid', '22023',
      'One ASCII character as in COPY: no line end, not the delimiter. Only csv has a quote.'),
    ('code: escape-invalid', '22023',
      'One ASCII character as in COPY: no line end. Only csv has an escape.'),
    ('code: encoding-unknown', '22023',
      'Give the name of an encoding that PostgreSQL knows, for example LATIN1.'),
    ('code: batchsize-invalid', '22023', 'Give a number of messages from 1.'),
    ('code: maxbytes-invalid', '22023', 'Give a number of bytes from 1.'),
    ('code: parallelism-invalid', '22023', 'Give a number of COPY streams from 1 to 1000.'),
    ('code: timeout-invalid', '22023', 'Give milliseconds from 1 to 600000.'),
    ('code: start-offset-invalid', '22023',
      'NULL: where it stopped; -1: the end; -2: the beginning; from 0: that offset in every partition.'),
    ('code: group-invalid', '22023',
      'A consumer group has 1 to 255 characters, none of them a control character, and does not begin with millrace. (those are given to consumers without a group_id).'),
    ('code: group-denied', '42501',
      'Leave group_id out: the consumer then has a group of its own. An administrator may choose one.'),
    ('code: group-taken', '23505',
      'Members of one group share a topic''s partitions, so each would get only a part. Give every consumer of the topic its own group_id, or none.'),
    ('code: cluster-ambiguous', '42725',
      'Say which: cluster := name. SELECT name FROM millrace.cluster shows them.'),
    ('code: cluster-invalid', '22023',
      'A name has 1 to 63 letters, digits, ".", "_" and "-", and begins with a letter or digit.'),
    ('code: cluster-exists', '42710',
      'millrace.add_broker(host, cluster) adds a broker to it.'),
    ('code: cluster-used', '2BP01',
      'Drop its consumers first: millrace.drop_consumer(id).'),
    ('code: delivery-invalid', '22023',
      'delivery is at_least_once or exactly_once.'),
    ('code: unsent-invalid', '22023',
      'What this database holds for unsent is sent (''send''), or it counts as sent (''skip'').'),
    ('code: outbox-not-stopped', '55000',
      'There is nothing to decide: see millrace.outbox_status.error_code.'),
    ('code: cluster-unsent', '55000',
      'millrace.outbox_status shows them. They are lost with force := true.'),
    ('code: on-refused-invalid', '22023',
      'on_refused is wait or dead_letter.'),
    ('code: choice-missing', '22023',
      'Give ids, a topic or a cluster; millrace.outbox_dead_letters shows them.'),
    ('code: pattern-invalid', '22023',
      'A regular expression of PostgreSQL that the whole name of a topic matches, without back references and without (?...) or ***= at its beginning.'),
    ('code: schema-absent', '3F000',
      'Create it, or name another one.'),
    ('code: relation-defers-code', '42501',
      'Make it not deferrable, or let the daemon''s role own the relation, the function and the consumer. From PostgreSQL 18 on such code runs as the role that it belongs to.'),
    ('code: owner-needs-temp', '42501',
      'GRANT TEMPORARY ON DATABASE ... TO the owner of the consumer, or of the table whose rows are to be sent.'),
    ('code: key-missing', '42P10',
      'Give the relation a primary key, or name in key_columns the columns of a unique index that is neither deferrable nor partial.'),
    ('code: write-denied', '42501',
      'GRANT SELECT, UPDATE and DELETE on the relation to the consumer''s owner. With tombstone skip, upsert needs no DELETE.'),
    ('code: column-missing', '42703',
      'Options name columns exactly as the relation has them, capitals included. Generated columns cannot be filled.'),
    ('code: on-error-invalid', '22023',
      'stop, dead_letter or skip.'),
    ('code: offset-gap-invalid', '22023',
      'stop or earliest.'),
    ('code: dead-letter-limit-invalid', '22023',
      'dead_letter_limit is a number from 1; dead_letter_max_age an interval above 0, or NULL.'),
    ('code: mode-invalid', '22023',
      'insert, upsert or changes.'),
    ('code: tombstone-invalid', '22023',
      'skip, row or delete; NULL: skip in insert, delete in upsert and changes.'),
    ('code: unknown-keys-invalid', '22023',
      'ignore or error.'),
    ('code: missing-keys-invalid', '22023',
      'default or error.'),
    ('code: json-path-invalid', '22023',
      'Write member names: $.a.b, a.b or $[''a b''], and [*] at most at the end.'),
    ('code: metadata-invalid', '22023',
      'An object that gives each of key, topic, partition, offset, timestamp, headers (or some) its own column, for example {"offset": "kafka_offset"}.'),
    ('code: columns-invalid', '22023',
      'Names of columns, each once. With a transform: name and type, for example {"id bigint","at timestamptz"}; types of users with their schema, and no domains or composite types.'),
    ('code: rest-column-invalid', '42804',
      'A column of type json, jsonb or text.'),
    ('code: transform-invalid', '22023',
      'The query that follows INSERT INTO: SELECT ... FROM batch, WITH ..., also with ON CONFLICT after it.'),
    ('code: option-conflict', '22023',
      'Leave out one of the two.'),
    ('code: consumer-of-pattern', '55000',
      'Change or drop the consumer with the topic_pattern: what it says goes to all of its topics.'),
    ('code: consumer-running', '55000',
      'millrace.pause(consumer) stops it.'),
    ('code: consumer-failed', '55000',
      'millrace.consumers shows what stopped it; millrace.resume(consumer) begins again.'),
    ('code: option-unknown', '42703',
      'reset takes names of options: the arguments of millrace.alter_consumer.'),
    ('code: seek-invalid', '22023',
      'beginning, end, an offset from 0, or a timestamp; a partition number from 0, or NULL for all. A timestamp goes for all partitions.'),
    ('code: partition-missing', '22023',
      'millrace.lag shows the partitions that are known. One that was added since is found within kafka.metadataInterval; try again then.'),
    ('code: messages-invalid', '22023',
      'A number from 1 to 99999.'),
    ('code: wait-invalid', '22023',
      'A partition number from 0 and an offset from 0, neither of them NULL.'),
    ('code: relation-not-yours', '42501',
      'Its owner or a member of that role does this.'),
    ('code: topic-taken', '42710',
      'Rename one of the tables: what Kafka does not take in a topic''s name is replaced by an underscore.'),
    ('code: setup-isolation', '25001',
      'Call it in READ COMMITTED, which is the default.'),
    ('code: snapshot-unreadable', '0A000',
      'The daemon reads tables of PostgreSQL''s own storage (heap) that are not temporary, and no foreign tables.'),
    ('code: snapshot-row-security', '0A000',
      'ALTER TABLE ... NO FORCE ROW LEVEL SECURITY, or ALTER ROLE ... BYPASSRLS for the role that owns the table.'),
    ('code: snapshot-denied', '42501',
      'GRANT SELECT and UPDATE on each partition and child to the role that owns the table: rows are locked while they are read.'),
    ('code: relation-not-published', '42809',
      'Publish a table or a partitioned table.'),
    ('code: relation-inherited', '0A000',
      'A table with the tables that inherit from it is not one that can be followed: publish those, or make it a partitioned table.'),
    ('code: topic-template-invalid', '22023',
      'A topic''s name, in which {database}, {schema} and {table} may stand.'),
    ('code: filter-invalid', '22023',
      'A condition over the columns of one row, as SQL would have it after WHERE; functions and types of yours with their schema.'),
    ('code: envelope-invalid', '22023',
      'row, debezium or pg2kafka.'),
    ('code: capture-invalid', '22023',
      'auto, statement or row.'),
    ('code: truncate-invalid', '22023',
      'delete (of every row), event (debezium only) or skip.'),
    ('code: already-published', '42710',
      'Nothing has to be done. To change a publication: millrace.unpublish(relation, topic), then millrace.publish(..., snapshot := false).'),
    ('code: table-owner-changed', '42501',
      'Its triggers would act as the former owner. End what sends its changes (millrace.unpublish, or drop the trigger), and begin it again as the new owner.'),
    ('code: publish-key-missing', '42P10',
      'Give it a primary key, or name columns: key := ''{...}''. With key := ''{}'' messages have no key, and so no order.'),
    ('code: publish-key-deferrable', '42P10',
      'Name a key that is unique at any moment, or say that you mean this one: key := ''{...}''. docs/publishing.md tells what may come of it.'),
    ('code: capture-needs-rows', '0A000',
      'Leave capture out, or say row: docs/publishing.md explains which tables need it.'),
    ('code: publication-missing', '42704',
      'SELECT id, relation, topic FROM millrace.publications shows those that you may see.'),
    ('code: wait-timeout', '55000',
      'Look at millrace.consumers and millrace.lag, or wait longer: timeout := interval.'),
    ('code: wait-isolation', '25001',
      'Call it in READ COMMITTED, which is the default.'),
    ('code: where-invalid', '22023',
      'A condition over the columns of millrace.dead_letters, as SQL would have it after WHERE; functions and types of yours with their schema.'),
    ('code: request-invalid', '22023',
      'Use millrace.ask_replay and millrace.try.'),
    ('code: request-failed', '55000',
      'docs/errors.md says more about the code in the message.'),
    ('code: consumer-missing', '42704',
      'SELECT topic, target FROM millrace.consumers shows the consumers you may see.'),
    ('code: consumer-ambiguous', '42725',
      'Give the relation with its schema.'),
    ('code: consumer-not-running', '55000',
      'It was stopped already; consume_begin starts it again.'),
    ('code: consumer-not-yours', '42501',
      'Its owner, a member of that role or an administrator can start and stop it.')
  ) AS known (code, sqlstate, hint) WHERE known.code = 'code: ' || problem;
  RAISE EXCEPTION USING
    MESSAGE = message, DETAIL = entry.code, HINT = entry.hint, ERRCODE = entry.sqlstate;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.refuse(text,text) TO PUBLIC;
COMMENT ON FUNCTION millrace.refuse(text,text) IS 'Raises an error with a code, its SQLSTATE and its hint.';

CREATE OR REPLACE FUNCTION millrace.relation(name text)
 RETURNS regclass
 LANGUAGE plpgsql
 STABLE
AS $function$
BEGIN
  RETURN pg_catalog.to_regclass(name);
EXCEPTION
  -- not a name at all; a name of another database; too many dots (before 16: later versions answer NULL)
  WHEN invalid_name OR feature_not_supported OR syntax_error THEN
    RETURN NULL;
  WHEN insufficient_privilege THEN
    PERFORM millrace.refuse('insert-denied', pg_catalog.format('relation %L: %s', name, SQLERRM));
    RETURN NULL;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.relation(text) TO PUBLIC;
COMMENT ON FUNCTION millrace.relation(text) IS 'The relation that a name means along the caller''s search_path, or NULL.';

CREATE OR REPLACE FUNCTION millrace.release_lease(name text, epoch bigint)
 RETURNS void
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  UPDATE millrace.lease AS l SET daemon = NULL, backend_pid = NULL, backend_started = NULL, backend_role = NULL
  WHERE l.name = release_lease.name AND l.epoch = release_lease.epoch
$function$
;
GRANT EXECUTE ON FUNCTION millrace.release_lease(text,bigint) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.remove_broker(host text, cluster text DEFAULT 'default'::text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF NOT millrace.is_admin() THEN
    PERFORM millrace.refuse('admin-required',
      format('role %I may not change the brokers of cluster %L', current_user, remove_broker.cluster));
  END IF;
  DELETE FROM millrace.broker AS b WHERE b.cluster = remove_broker.cluster AND b.host = remove_broker.host;
  IF NOT FOUND THEN
    PERFORM millrace.refuse('broker-missing', format('broker %L does not exist', remove_broker.host));
  END IF;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.remove_broker(text,text) TO PUBLIC;
COMMENT ON FUNCTION millrace.remove_broker(text,text) IS 'Removes a broker from a cluster. For administrators.';

CREATE OR REPLACE FUNCTION millrace.renamed_columns(p millrace.publication, relation oid)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  WITH numbers AS MATERIALIZED (
    SELECT n.key, n.value FROM jsonb_each_text(millrace.column_numbers(p)) AS n
  ), named AS (
    SELECT a.attnum, a.attname, coalesce((SELECT n.key FROM numbers AS n
        WHERE n.value::smallint = (SELECT o.attnum FROM pg_attribute AS o WHERE o.attrelid = p.relation AND o.attname = a.attname
          AND o.attnum > 0)), a.attname) AS name,
      CASE a.attgenerated WHEN 'v' THEN pg_get_expr(d.adbin, d.adrelid) END AS expression
    FROM pg_attribute AS a LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
  )
  SELECT CASE WHEN bool_or(n.name <> n.attname OR n.expression IS NOT NULL) THEN
    string_agg(format('%s AS %I', coalesce('(' || n.expression || ')', quote_ident(n.attname)), n.name), ', ' ORDER BY n.attnum) END
  FROM named AS n
$function$
;
GRANT EXECUTE ON FUNCTION millrace.renamed_columns(millrace.publication,oid) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.renamed_statements(publication bigint, op text, relation oid, segment integer)
 RETURNS text[]
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  p millrace.publication;
  columns text;
BEGIN
  SELECT o.* INTO p FROM millrace.publication AS o WHERE o.id = publication;
  columns := coalesce(millrace.renamed_columns(p, relation), '*');
  RETURN millrace.capture_statements(p, op, segment,
    format('(SELECT %s FROM %s AS t)', columns, CASE p.capture WHEN 'row' THEN '(SELECT ($1).*)' ELSE 'new_rows' END),
    format('(SELECT %s FROM %s AS t)', columns, CASE p.capture WHEN 'row' THEN '(SELECT ($2).*)' ELSE 'old_rows' END),
    '$3', '$4');
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.renamed_statements(bigint,text,oid,integer) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.renew_lease(name text, epoch bigint)
 RETURNS boolean
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  WITH renewed AS (
    UPDATE millrace.lease AS l SET renewed_at = clock_timestamp()
    WHERE l.name = renew_lease.name AND l.epoch = renew_lease.epoch RETURNING 1)
  SELECT EXISTS (SELECT FROM renewed)
$function$
;
GRANT EXECUTE ON FUNCTION millrace.renew_lease(text,bigint) TO PUBLIC;

CREATE OR REPLACE PROCEDURE millrace.replay(IN consumer bigint DEFAULT NULL::bigint, IN ids bigint[] DEFAULT NULL::bigint[], IN "where" text DEFAULT NULL::text, INOUT asked bigint DEFAULT NULL::bigint, INOUT loaded bigint DEFAULT NULL::bigint, INOUT failed bigint DEFAULT NULL::bigint, INOUT request bigint DEFAULT NULL::bigint)
 LANGUAGE plpgsql
AS $procedure$
DECLARE
  finished pg_catalog.bool;
BEGIN
  SELECT a.asked, a.request INTO asked, request FROM millrace.request_replay(consumer, ids, "where") AS a;
  loaded := NULL;
  failed := NULL;
  IF request IS NOT NULL THEN
    CALL millrace.await(request, finished);
    IF finished THEN
      SELECT o.loaded, o.failed INTO loaded, failed FROM millrace.replay_outcome(request) AS o;
    END IF;
  END IF;
END
$procedure$
;
GRANT EXECUTE ON FUNCTION millrace.replay(bigint,bigint[],text,bigint,bigint,bigint,bigint) TO PUBLIC;
COMMENT ON FUNCTION millrace.replay(bigint,bigint[],text,bigint,bigint,bigint,bigint) IS 'Loads dead letters again, each deleted in the transaction that loads it, and waits until it is done.';

CREATE OR REPLACE FUNCTION millrace.replay_outcome(request bigint, OUT loaded bigint, OUT failed bigint)
 RETURNS record
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT r.done_count, r.failed_count FROM millrace.request AS r WHERE r.id = request
$function$
;
GRANT EXECUTE ON FUNCTION millrace.replay_outcome(bigint) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.request_progress(request bigint, OUT open boolean, OUT shown text, OUT daemon boolean)
 RETURNS record
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT r.state IN ('pending', 'running'), format('%s of %s, %s failed', r.done_count + r.failed_count, r.asked_count, r.failed_count),
    millrace.daemon_connected()
  FROM millrace.request AS r WHERE r.id = request
$function$
;
GRANT EXECUTE ON FUNCTION millrace.request_progress(bigint) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.request_replay(consumer bigint, ids bigint[], "where" text, OUT asked bigint, OUT request bigint)
 RETURNS record
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  chosen bigint[];
BEGIN
  IF consumer IS NOT NULL AND NOT EXISTS (SELECT FROM millrace.visible_consumer AS c WHERE c.id = consumer) THEN
    PERFORM millrace.refuse('consumer-missing', format('there is no consumer %s', consumer));
  END IF;
  -- Evaluated with the rights of whoever calls, over what it may see. What an unfinished request wants already is left to that.
  BEGIN
    EXECUTE format('SELECT coalesce(array_agg(d.id), ''{}'') FROM millrace.dead_letters AS d WHERE ($1 IS NULL OR d.consumer_id = $1)
      AND ($2 IS NULL OR d.id = ANY ($2)) AND (%s
      ) AND NOT EXISTS (SELECT FROM millrace.request AS r WHERE r.id = d.replay_id AND r.state IN (''pending'', ''running''))',
      coalesce("where", 'true')) INTO chosen USING consumer, ids;
  EXCEPTION WHEN syntax_error_or_access_rule_violation OR data_exception OR cardinality_violation OR feature_not_supported
    OR invalid_schema_name OR invalid_catalog_name OR program_limit_exceeded OR plpgsql_error OR external_routine_exception THEN
    PERFORM millrace.refuse('where-invalid', format('the condition cannot be used: %s', SQLERRM));
  END;
  asked := cardinality(chosen);
  IF asked > 0 THEN
    INSERT INTO millrace.request (kind, consumer_id, arguments, asked_count)
    VALUES ('replay', consumer, jsonb_strip_nulls(jsonb_build_object('where', "where")), asked) RETURNING id INTO request;
    UPDATE millrace.dead_letter SET replay_id = request WHERE id = ANY (chosen);
    PERFORM millrace.warn_without_daemon();
  END IF;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.request_replay(bigint,bigint[],text) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.resend_dead_letters(ids bigint[] DEFAULT NULL::bigint[], topic text DEFAULT NULL::text, cluster text DEFAULT NULL::text)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  letter millrace.outbox_dead_letter;
  sent bigint := 0;
BEGIN
  FOR letter IN SELECT l.* FROM millrace.take_dead_letters(ids, topic, cluster) AS l ORDER BY l.id LOOP
    PERFORM millrace.write_message(letter.topic, letter.value, letter.key, letter.partition, letter.headers, letter.cluster,
      letter."timestamp", letter.source);
    sent := sent + 1;
  END LOOP;
  RETURN sent;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.resend_dead_letters(bigint[],text,text) TO PUBLIC;
COMMENT ON FUNCTION millrace.resend_dead_letters(bigint[],text,text) IS 'Produces dead letters of sending again, as new messages in their old order; returns how many. For administrators.';

CREATE OR REPLACE FUNCTION millrace.resume(consumer bigint)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  found_consumer millrace.consumer := millrace.own_consumer(consumer);
BEGIN
  IF found_consumer.wanted = 'running' AND NOT EXISTS (
    SELECT FROM millrace.failure AS f WHERE f.consumer_id = consumer AND f.version = found_consumer.version)
  THEN
    PERFORM millrace.refuse('consumer-running', format('consumer %s is running', consumer));
  END IF;
  UPDATE millrace.consumer AS c SET wanted = 'running', start_offset = NULL, start_time = NULL, start_partitions = NULL
  WHERE c.id = consumer;
  PERFORM millrace.warn_without_daemon();
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.resume(bigint) TO PUBLIC;
COMMENT ON FUNCTION millrace.resume(bigint) IS 'Starts a consumer that stopped or failed, from where it stands.';

CREATE OR REPLACE FUNCTION millrace.resume_from_kafka(cluster text, epoch bigint, kafka_number bigint, kafka_token uuid, kafka_id bigint, kafka_line integer, retried bigint[], exactly_once boolean)
 RETURNS TABLE(problem text, own text, number bigint, token uuid, id bigint)
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  progress millrace.outbox_progress;
  decision text := (SELECT c.unsent FROM millrace.cluster AS c WHERE c.name = resume_from_kafka.cluster);
BEGIN
  PERFORM set_config('synchronous_commit', 'on', true);
  SELECT p.* INTO progress FROM millrace.outbox_progress AS p
  WHERE p.cluster = resume_from_kafka.cluster AND p.epoch = resume_from_kafka.epoch FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  SELECT c.problem, c.own INTO problem, own
  FROM millrace.check_outbox_position(cluster, epoch, kafka_number, kafka_token, kafka_id, kafka_line) AS c;
  IF problem IS NOT NULL THEN
    RETURN NEXT;
    RETURN;
  ELSIF millrace.outbox_position_problem(progress, kafka_number, kafka_token, kafka_id, kafka_line) IS NOT NULL THEN
    progress := millrace.overrule_kafka(progress, kafka_number, decision = 'skip');
  ELSIF kafka_number IS NOT NULL THEN
    progress.kafka_number := resume_from_kafka.kafka_number;
    progress.kafka_id := resume_from_kafka.kafka_id;
    progress.kafka_line := resume_from_kafka.kafka_line;
    IF kafka_number = progress.number AND progress.batch IS NOT NULL THEN
      progress.last_id := greatest(progress.last_id, kafka_id);
    END IF;
    DELETE FROM millrace.outbox_waiting AS w WHERE w.cluster = progress.cluster AND w.id = ANY (retried);
  END IF;
  progress.token := coalesce(progress.token, gen_random_uuid());
  UPDATE millrace.outbox_progress AS p
  SET sent = progress.sent, batch = progress.batch, last_id = progress.last_id, ids_until = progress.ids_until,
    number = progress.number, token = progress.token, kafka_number = progress.kafka_number, kafka_id = progress.kafka_id,
    kafka_line = progress.kafka_line, transactional = exactly_once
  WHERE p.cluster = progress.cluster;
  DELETE FROM millrace.outbox_waiting AS w
  WHERE w.cluster = progress.cluster AND w.id > progress.last_id
    AND pg_visible_in_snapshot(w.xid, progress.batch) AND NOT pg_visible_in_snapshot(w.xid, progress.sent);
  DELETE FROM millrace.outbox_dead_letter AS d
  WHERE d.cluster = progress.cluster AND d.id > progress.last_id
    AND pg_visible_in_snapshot(d.xid, progress.batch) AND NOT pg_visible_in_snapshot(d.xid, progress.sent);
  UPDATE millrace.cluster AS c SET unsent = NULL WHERE c.name = progress.cluster AND c.unsent IS NOT NULL;
  number := progress.number;
  token := progress.token;
  id := CASE WHEN progress.kafka_number = progress.number THEN progress.kafka_id ELSE 0 END;
  RETURN NEXT;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.resume_from_kafka(text,bigint,bigint,uuid,bigint,integer,bigint[],boolean) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.resume_outbox(cluster text, unsent text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF resume_outbox.unsent IS NULL THEN
    PERFORM millrace.refuse('unsent-invalid', 'it has to be said what happens to unsent messages');
  ELSIF millrace.is_admin() AND NOT EXISTS (
    SELECT FROM millrace.outbox_status AS s WHERE s.cluster = resume_outbox.cluster AND s.error_code LIKE 'outbox-position-%'
  ) THEN
    PERFORM millrace.refuse('outbox-not-stopped', format('the outbox of cluster %L is not stopped', left(cluster, 64)));
  END IF;
  PERFORM millrace.change_cluster(cluster, 'resume the outbox of', NULL, resume_outbox.unsent, NULL);
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.resume_outbox(text,text) TO PUBLIC;
COMMENT ON FUNCTION millrace.resume_outbox(text,text) IS 'Where Kafka and this database disagree about how far the outbox is sent: whether what the database holds for unsent is sent (send) or counts as sent (skip). For administrators.';

CREATE OR REPLACE FUNCTION millrace.revoke_topic(topic text, role text, cluster text DEFAULT 'default'::text, action text DEFAULT NULL::text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF NOT millrace.is_admin() THEN
    PERFORM millrace.refuse('admin-required', format('role %I may not revoke topics', current_user));
  END IF;
  IF action IS NOT NULL THEN
    PERFORM millrace.check_action(action);
  END IF;
  DELETE FROM millrace.topic_grant AS g
  WHERE g.cluster = revoke_topic.cluster AND g.topic = revoke_topic.topic
    AND g.grantee = millrace.grantee(revoke_topic.role) AND g.action = coalesce(revoke_topic.action, g.action);
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.revoke_topic(text,text,text,text) TO PUBLIC;
COMMENT ON FUNCTION millrace.revoke_topic(text,text,text,text) IS 'Takes grants back, of one action or of all; consumers that run go on until they are stopped. For administrators.';

CREATE OR REPLACE FUNCTION millrace.rotate_outbox(large bigint DEFAULT 33554432)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  current_segment smallint;
  next_segment smallint;
BEGIN
  SELECT w.segment INTO current_segment FROM millrace.outbox_writing AS w;
  IF NOT FOUND THEN
    -- a restore may have left it out, and writers do without it meanwhile
    INSERT INTO millrace.outbox_writing (segment) VALUES (coalesce(pg_sequence_last_value('millrace.outbox_segment'), 0))
    RETURNING segment INTO current_segment;
  END IF;
  -- After a change that was rolled back, or a restore, triggers would go on with a segment whose size nobody looks at.
  IF pg_sequence_last_value('millrace.outbox_segment') IS DISTINCT FROM current_segment THEN
    PERFORM setval('millrace.outbox_segment', current_segment);
  END IF;
  FOR i IN 0..3 LOOP
    IF i = current_segment THEN
      CONTINUE;
    END IF;
    IF pg_relation_size(format('millrace.outbox_%s', i)::regclass) > 0 THEN
      CONTINUE WHEN NOT millrace.segment_is_sent(i);
      BEGIN
        EXECUTE format('LOCK TABLE millrace.outbox_%s IN ACCESS EXCLUSIVE MODE NOWAIT', i);
      EXCEPTION WHEN lock_not_available THEN
        CONTINUE;
      END;
      -- asked again under the lock: now it sees everything that was ever written there
      CONTINUE WHEN NOT millrace.segment_is_sent(i);
      EXECUTE format('TRUNCATE millrace.outbox_%s', i);
    END IF;
    next_segment := coalesce(next_segment, i);
  END LOOP;
  IF next_segment IS NOT NULL AND pg_total_relation_size(format('millrace.outbox_%s', current_segment)::regclass) >= large THEN
    UPDATE millrace.outbox_writing SET segment = next_segment;
  END IF;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.rotate_outbox(bigint) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.route(key text, target_schema text)
 RETURNS TABLE(schema text, name text)
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  parts text[];
BEGIN
  BEGIN
    parts := parse_ident(key);
  EXCEPTION WHEN invalid_parameter_value THEN
    RETURN;
  END;
  IF cardinality(parts) = 1 THEN
    parts := target_schema || parts;
  END IF;
  RETURN QUERY SELECT n.nspname::text, c.relname::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE cardinality(parts) = 2 AND n.nspname = parts[1] AND c.relname = parts[2] AND c.relkind IN ('r', 'p', 'v', 'f');
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.route(text,text) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.row_expression(p millrace.publication, row_name text)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT CASE
    WHEN p.with_schema THEN millrace.json_object_of(p.columns, ARRAY(
      SELECT millrace.connect_value(millrace.published_type(p, c.name), format('%s.%I', row_name, c.name))
      FROM unnest(p.columns) WITH ORDINALITY AS c (name, place) ORDER BY c.place)) || '::json'
    WHEN p.columns IS NULL THEN format('row_to_json(%s.*)', row_name)
    ELSE format('row_to_json((SELECT r FROM (SELECT %s) AS r))',
      (SELECT string_agg(format('%s.%I', row_name, c.name), ', ' ORDER BY c.place) FROM unnest(p.columns) WITH ORDINALITY AS c (name, place)))
  END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.row_expression(millrace.publication,text) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.row_query(relation oid)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = relation AND a.attnum > 0 AND a.attgenerated = 'v') THEN
    RETURN NULL;
  END IF;
  RETURN (
    SELECT format('SELECT row_to_json(r) FROM (SELECT %s FROM (SELECT ($1::%s).*) AS t) AS r',
      string_agg(CASE WHEN a.attgenerated = 'v' THEN format('%s AS %I', pg_get_expr(d.adbin, d.adrelid), a.attname)
        ELSE quote_ident(a.attname) END, ', ' ORDER BY a.attnum), relation::regclass)
    FROM pg_attribute AS a LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped);
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.row_query(oid) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.rows_run_code(relation oid)
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT EXISTS (SELECT FROM pg_attribute AS a
    WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped AND (a.atttypid >= 16384 OR a.attgenerated = 'v'))
$function$
;
GRANT EXECUTE ON FUNCTION millrace.rows_run_code(oid) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.seek(consumer bigint, "offset" bigint, partition integer DEFAULT NULL::integer)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF NOT coalesce("offset" >= 0, false) THEN
    PERFORM millrace.refuse('seek-invalid', format('%s is no offset', coalesce("offset"::text, 'NULL')));
  END IF;
  PERFORM millrace.move_consumer(consumer, "offset", NULL, partition);
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.seek(bigint,bigint,integer) TO PUBLIC;
COMMENT ON FUNCTION millrace.seek(bigint,bigint,integer) IS 'Moves a consumer to an offset, in one partition or in all of them.';

CREATE OR REPLACE FUNCTION millrace.seek(consumer bigint, "to" text, partition integer DEFAULT NULL::integer)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  to_time timestamptz;
BEGIN
  IF "to" IN ('beginning', 'end') THEN
    PERFORM millrace.move_consumer(consumer, CASE "to" WHEN 'end' THEN -1 ELSE -2 END, NULL, partition);
  ELSIF "to" ~ '^[0-9]{1,18}$' THEN
    PERFORM millrace.move_consumer(consumer, "to"::bigint, NULL, partition);
  ELSE
    BEGIN
      to_time := "to"::timestamptz;
    EXCEPTION WHEN data_exception THEN
      to_time := NULL;
    END;
    IF to_time IS NULL THEN
      PERFORM millrace.refuse('seek-invalid', format('%L is nothing that a consumer can be moved to', left("to", 64)));
    END IF;
    PERFORM millrace.move_consumer(consumer, NULL, to_time, partition);
  END IF;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.seek(bigint,text,integer) TO PUBLIC;
COMMENT ON FUNCTION millrace.seek(bigint,text,integer) IS 'Moves a consumer to the beginning, the end, an offset or a time, in one partition or in all of them.';

CREATE OR REPLACE FUNCTION millrace.seek(consumer bigint, "time" timestamp with time zone)
 RETURNS void
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT millrace.move_consumer(consumer, NULL, "time", NULL)
$function$
;
GRANT EXECUTE ON FUNCTION millrace.seek(bigint,timestamp with time zone) TO PUBLIC;
COMMENT ON FUNCTION millrace.seek(bigint,timestamp with time zone) IS 'Moves a consumer to the first messages that are not older than a time, else to the end.';

CREATE OR REPLACE FUNCTION millrace.segment_is_sent(segment integer)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  progress millrace.outbox_progress;
  unsent boolean;
BEGIN
  FOR progress IN SELECT p.* FROM millrace.outbox_progress AS p LOOP
    EXECUTE format('SELECT EXISTS (SELECT FROM millrace.outbox_%1$s AS o WHERE o.xid >= $1 AND o.cluster = $3)
        OR cardinality($2) > 0 AND EXISTS (SELECT FROM millrace.outbox_%1$s AS o WHERE o.xid = ANY ($2) AND o.cluster = $3)', segment)
      INTO unsent
      USING pg_snapshot_xmax(progress.sent), ARRAY(SELECT pg_snapshot_xip(progress.sent)), progress.cluster;
    IF unsent THEN
      RETURN false;
    END IF;
  END LOOP;
  -- of a cluster that was just added nothing is sent
  RETURN NOT EXISTS (SELECT FROM millrace.cluster AS c
    WHERE NOT EXISTS (SELECT FROM millrace.outbox_progress AS p WHERE p.cluster = c.name));
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.segment_is_sent(integer) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.send_snapshot(p millrace.publication)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  writer constant text := format('millrace.%I(oid, bigint, bigint, tid[])', millrace.capture_name(p.id) || ' snapshot');
  -- so many blocks are read in the transaction of the call
  small constant bigint := 1000;
  part oid;
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    PERFORM millrace.refuse('setup-isolation', 'what others committed since this transaction began would be missed');
  END IF;
  IF (SELECT sum(millrace.snapshot_blocks(r)) FROM millrace.snapshot_relations(p.relation::oid, children := false) AS r) >= small THEN
    UPDATE millrace.publication AS o SET snapshot = millrace.begin_snapshot(p.relation, writer::regprocedure, children := false)
    WHERE o.id = p.id;
    RETURN;
  END IF;
  FOR part IN SELECT r FROM millrace.snapshot_relations(p.relation::oid, children := false) AS r LOOP
    EXECUTE format('SELECT written FROM millrace.%I($1, 0, $2, ''{}'')', millrace.capture_name(p.id) || ' snapshot')
    USING part, millrace.snapshot_blocks(part);
  END LOOP;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.send_snapshot(millrace.publication) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.set_start_pending()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF NEW.version <> OLD.version THEN
    NEW.start_pending := num_nonnulls(NEW.start_offset, NEW.start_time, NEW.start_partitions) > 0 OR NEW.located_at IS NULL;
  ELSIF NEW.wanted = 'stopped' AND OLD.wanted = 'stopped'
    AND num_nonnulls(NEW.start_offset, NEW.start_time, NEW.start_partitions) > 0
    AND (NEW.start_offset, NEW.start_time, NEW.start_partitions)
      IS DISTINCT FROM (OLD.start_offset, OLD.start_time, OLD.start_partitions)
  THEN
    NEW.start_pending := true;
  END IF;
  -- Nothing of a pattern is located but the topics that it finds; those that it has are told at once.
  IF NEW.topic_pattern IS NOT NULL AND NEW.located_at IS NOT NULL THEN
    NEW.start_pending := false;
  END IF;
  RETURN NEW;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.set_start_pending() TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.settle_snapshots(owner oid)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  finished record;
  function oid;
BEGIN
  FOR finished IN
    SELECT s.snapshot_id, min(s.writer) AS writer, bool_and(s.drop_writer) AS drop_writer FROM millrace.snapshot AS s
    WHERE s.owner = settle_snapshots.owner AND NOT s.settled GROUP BY s.snapshot_id HAVING bool_and(s.finished_at IS NOT NULL)
  LOOP
    function := to_regprocedure(finished.writer);
    IF finished.drop_writer AND EXISTS (
      SELECT FROM pg_proc AS p WHERE p.oid = function AND p.proowner = settle_snapshots.owner) THEN
      BEGIN
        EXECUTE format('DROP FUNCTION %s', function::regprocedure);
      EXCEPTION WHEN OTHERS THEN
        NULL;
      END;
    END IF;
    UPDATE millrace.snapshot AS s SET settled = true WHERE s.snapshot_id = finished.snapshot_id;
  END LOOP;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.settle_snapshots(oid) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.shape(publication bigint, relation regclass, names text[])
 RETURNS integer
 LANGUAGE plpgsql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  RETURN coalesce(millrace.look_at_shape(publication, relation, names), 0);
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.shape(bigint,regclass,text[]) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.snapshot_blocks(relation oid)
 RETURNS bigint
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT coalesce(pg_relation_size(relation, 'main'), 0) / current_setting('block_size')::bigint
$function$
;
GRANT EXECUTE ON FUNCTION millrace.snapshot_blocks(oid) TO PUBLIC;
COMMENT ON FUNCTION millrace.snapshot_blocks(oid) IS 'Blocks that a table has now, without its indexes.';

CREATE OR REPLACE FUNCTION millrace.snapshot_open(relation oid, trigger_name name)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  RETURN EXISTS (SELECT FROM millrace.snapshot AS s WHERE s.relation = snapshot_open.relation AND s.finished_at IS NULL)
    OR current_setting('transaction_isolation') <> 'read committed' AND NOT EXISTS (
      SELECT FROM pg_trigger AS t WHERE t.tgrelid = snapshot_open.relation AND t.tgname = trigger_name);
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.snapshot_open(oid,name) TO PUBLIC;
COMMENT ON FUNCTION millrace.snapshot_open(oid,name) IS 'Whether rows that a table had before this trigger of it was made may still have to be sent.';

CREATE OR REPLACE FUNCTION millrace.snapshot_parts(publication bigint, relation oid, OUT message text, OUT filter text)
 RETURNS record
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  p millrace.publication;
  columns text;
  row_name text := 't';
  around text[] := ARRAY['', ''];
BEGIN
  SELECT o.* INTO p FROM millrace.publication AS o WHERE o.id = publication;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  IF EXISTS (SELECT FROM jsonb_each_text(millrace.column_numbers(p)) AS n WHERE NOT EXISTS (
    SELECT FROM pg_attribute AS a WHERE a.attrelid = p.relation AND a.attname = n.key AND a.attnum = n.value::smallint))
  THEN
    SELECT string_agg(format('t.%I AS %I', a.attname, coalesce((SELECT n.key FROM jsonb_each_text(millrace.column_numbers(p)) AS n
        JOIN pg_attribute AS o ON o.attrelid = p.relation AND o.attnum = n.value::smallint WHERE o.attname = a.attname), a.attname)),
        ', ' ORDER BY a.attnum) INTO columns
    FROM pg_attribute AS a WHERE a.attrelid = snapshot_parts.relation AND a.attnum > 0 AND NOT a.attisdropped;
    row_name := 'n';
    around := ARRAY['(SELECT ', ' FROM (SELECT ' || columns || ') AS n)'];
  END IF;
  message := format('%L, %L, NULL::integer, %s, %s, NULL::bytea[], NULL::timestamptz, %L', p.cluster, p.topic,
    around[1] || format('convert_to(%s, ''UTF8'')', millrace.key_expression(p, row_name)) || around[2],
    around[1] || format('convert_to(%s, ''UTF8'')', millrace.value_expression(p,
      CASE p.envelope WHEN 'pg2kafka' THEN '''SNAPSHOT''' ELSE '''r''' END, millrace.key_expression(p, row_name), 'NULL',
      millrace.row_expression(p, row_name), true)) || around[2],
    'publication ' || p.id);
  filter := around[1] || '(' || p.filter || E'\n)' || around[2];
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.snapshot_parts(bigint,oid) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.snapshot_relations(relation oid, children boolean DEFAULT true)
 RETURNS SETOF oid
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  WITH RECURSIVE family (member) AS (
    SELECT relation
    UNION
    SELECT i.inhrelid FROM family AS f JOIN pg_inherits AS i ON i.inhparent = f.member JOIN pg_class AS c ON c.oid = i.inhrelid
    WHERE children OR c.relispartition
  )
  SELECT f.member FROM family AS f JOIN pg_class AS c ON c.oid = f.member WHERE c.relkind <> 'p' ORDER BY f.member
$function$
;
GRANT EXECUTE ON FUNCTION millrace.snapshot_relations(oid,boolean) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.staged_by_options(c millrace.consumer)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT c.mode <> 'insert' OR c.transform IS NOT NULL OR c.route_by_key
$function$
;
GRANT EXECUTE ON FUNCTION millrace.staged_by_options(millrace.consumer) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.staging_type(type oid, typmod integer)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  base oid := type;
  modifier integer := typmod;
  found_type record;
BEGIN
  LOOP
    SELECT t.typtype, t.typbasetype, t.typtypmod INTO found_type FROM pg_type AS t WHERE t.oid = base;
    EXIT WHEN found_type.typtype IS DISTINCT FROM 'd';
    modifier := greatest(modifier, found_type.typtypmod);
    base := found_type.typbasetype;
  END LOOP;
  IF found_type.typtype IS NULL OR found_type.typtype = 'p' OR EXISTS (
    SELECT FROM pg_type AS t WHERE t.oid IN (SELECT millrace.contained_types(ARRAY[base])) AND t.oid >= 16384 AND t.typtype IN ('d', 'c'))
  THEN
    RETURN 'text';
  END IF;
  RETURN format_type(base, modifier);
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.staging_type(oid,integer) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.start_consumer(topic text, target regclass, target_text text, format text, delimiter text, quote text, escape text, batchsize integer, maxbytes integer, parallelism integer, start_offset bigint, group_id text, timeout integer, cluster text DEFAULT 'default'::text)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  relation record;
BEGIN
  PERFORM millrace.check_topic(topic);
  SELECT * INTO relation FROM millrace.check_relation(target, target_text);
  RETURN millrace.begin_consumer(cluster, topic, NULL, relation.target_schema, relation.target_name,
    millrace.dialect_options(format, delimiter, quote, escape, batchsize, maxbytes, parallelism, start_offset, group_id, timeout));
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.start_consumer(text,regclass,text,text,text,text,text,integer,integer,integer,bigint,text,integer,text) TO PUBLIC;
COMMENT ON FUNCTION millrace.start_consumer(text,regclass,text,text,text,text,text,integer,integer,integer,bigint,text,integer,text) IS 'Begins to consume a topic into a relation, or begins again. What the dialects call.';

CREATE OR REPLACE FUNCTION millrace.start_consumers(parallelism integer DEFAULT NULL::integer, format text DEFAULT NULL::text, delimiter text DEFAULT NULL::text, cluster text DEFAULT 'default'::text)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_column
DECLARE
  consumer record;
  started bigint := 0;
  running bigint := 0;
  problem text;
  why text;
  advice text;
BEGIN
  PERFORM millrace.check_given(jsonb_populate_record(NULL::millrace.consumer, '{"batchsize": 1, "maxbytes": 1, "parallelism": 1,
      "timeout": 1, "on_error": "stop", "on_offset_gap": "stop", "dead_letter_limit": 1, "mode": "insert", "unknown_keys": "ignore",
      "missing_keys": "default"}'),
    -- Without a format, one and a quote that leave the most delimiters.
    jsonb_build_object('format', lower(coalesce(format, 'csv')), 'delimiter', delimiter,
        'quote', CASE WHEN delimiter = '"' AND lower(coalesce(format, 'csv')) = 'csv' THEN '''' END)
      || jsonb_strip_nulls(jsonb_build_object('parallelism', parallelism)));
  IF num_nonnulls(parallelism, format, delimiter) > 0 THEN
    SELECT count(*) INTO running FROM millrace.consumer AS c
    WHERE c.cluster = start_consumers.cluster AND c.wanted = 'running' AND c.parent_id IS NULL AND NOT EXISTS (
      SELECT FROM millrace.failure AS f WHERE f.consumer_id = c.id AND f.version = c.version);
  END IF;
  IF running > 0 THEN
    RAISE WARNING 'consumers that are running already: %', running
      USING DETAIL = 'code: already-running', HINT = 'Nothing was changed of them. End them first to change their options.';
  END IF;
  FOR consumer IN
    SELECT c.id, coalesce(c.topic, c.topic_pattern) AS topic, c.target_schema, c.target_name FROM millrace.consumer AS c
    WHERE c.cluster = start_consumers.cluster AND (c.wanted = 'stopped' OR EXISTS (
      SELECT FROM millrace.failure AS f WHERE f.consumer_id = c.id AND f.version = c.version))
    ORDER BY c.id FOR NO KEY UPDATE
  LOOP
    BEGIN
      UPDATE millrace.consumer AS c SET
        parallelism = coalesce(start_consumers.parallelism, c.parallelism),
        format = coalesce(lower(start_consumers.format), c.format),
        delimiter = coalesce(start_consumers.delimiter, c.delimiter),
        start_offset = NULL,
        start_time = NULL,
        start_partitions = NULL,
        wanted = 'running'
      WHERE c.id = consumer.id;
      started := started + 1;
    EXCEPTION WHEN raise_exception OR insufficient_privilege OR undefined_table OR wrong_object_type
      OR feature_not_supported OR object_not_in_prerequisite_state OR invalid_parameter_value
    THEN
      GET STACKED DIAGNOSTICS why = MESSAGE_TEXT, problem = PG_EXCEPTION_DETAIL, advice = PG_EXCEPTION_HINT;
      RAISE WARNING 'topic % into % was not started: %', consumer.topic,
        millrace.target_shown(consumer.target_schema, consumer.target_name), why
        USING DETAIL = problem, HINT = advice;
    END;
  END LOOP;
  IF started > 0 THEN
    PERFORM millrace.warn_without_daemon();
  END IF;
  RETURN started;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.start_consumers(integer,text,text,text) TO PUBLIC;
COMMENT ON FUNCTION millrace.start_consumers(integer,text,text,text) IS 'Begins every consumer again that the current role may start; returns how many. What the dialects call.';

CREATE OR REPLACE FUNCTION millrace.start_given(cluster text, topic text, topic_pattern text, "into" text, target regclass, route_by_key boolean, schemas name[], options jsonb)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  relation record;
BEGIN
  IF topic IS NOT NULL AND topic_pattern IS NOT NULL THEN
    PERFORM millrace.refuse('option-conflict', 'topic and topic_pattern exclude each other');
  END IF;
  IF coalesce(route_by_key, false) THEN
    BEGIN
      SELECT CASE WHEN "into" IS NULL THEN schemas[1]::text WHEN cardinality(parse_ident("into")) = 1 THEN (parse_ident("into"))[1] END
        AS target_schema, NULL::text AS target_name INTO relation;
    EXCEPTION WHEN invalid_parameter_value THEN
      SELECT NULL::text AS target_schema, NULL::text AS target_name INTO relation;
    END;
    IF relation.target_schema IS NULL THEN
      PERFORM millrace.refuse('schema-absent', 'with route_by_key, "into" names the schema of relations that keys name without one');
    END IF;
  ELSE
    SELECT * INTO relation FROM millrace.check_relation(target, "into");
  END IF;
  RETURN millrace.begin_consumer(millrace.given_cluster(cluster), topic, topic_pattern, relation.target_schema, relation.target_name,
    options || jsonb_build_object('format', lower(options ->> 'format')));
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.start_given(text,text,text,text,regclass,boolean,name[],jsonb) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.start_routed(topic text, schemas name[], format text, delimiter text, quote text, escape text, batchsize integer, maxbytes integer, parallelism integer, start_offset bigint, group_id text, timeout integer, cluster text DEFAULT 'default'::text)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  PERFORM millrace.check_topic(topic);
  IF schemas[1] IS NULL THEN
    PERFORM millrace.refuse('schema-absent', 'no schema of the search_path exists');
  END IF;
  RETURN millrace.begin_consumer(cluster, topic, NULL, schemas[1]::text, NULL,
    millrace.dialect_options(format, delimiter, quote, escape, batchsize, maxbytes, parallelism, start_offset, group_id, timeout));
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.start_routed(text,name[],text,text,text,text,integer,integer,integer,bigint,text,integer,text) TO PUBLIC;
COMMENT ON FUNCTION millrace.start_routed(text,name[],text,text,text,text,integer,integer,integer,bigint,text,integer,text) IS 'Begins to consume a topic into the relations that the message keys name. What the dialects call.';

CREATE OR REPLACE FUNCTION millrace.stop_consumer(topic text, target regclass, target_text text, schemas name[], cluster text DEFAULT 'default'::text)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  found_id bigint := millrace.find_consumer(topic, target, target_text, schemas, cluster);
BEGIN
  UPDATE millrace.consumer SET wanted = 'stopped' WHERE id = found_id AND wanted <> 'stopped';
  IF NOT FOUND THEN
    PERFORM millrace.refuse('consumer-not-running', format('the consumer of topic %s into relation %s is not running',
      topic, target_text));
  END IF;
  PERFORM millrace.warn_without_daemon();
  RETURN found_id;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.stop_consumer(text,regclass,text,name[],text) TO PUBLIC;
COMMENT ON FUNCTION millrace.stop_consumer(text,regclass,text,name[],text) IS 'Ends consuming a topic into a relation; its position is kept. What the dialects call.';

CREATE OR REPLACE FUNCTION millrace.stop_consumers(cluster text DEFAULT 'default'::text)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  stopped bigint;
BEGIN
  UPDATE millrace.consumer AS c SET wanted = 'stopped'
  WHERE c.cluster = stop_consumers.cluster AND c.wanted <> 'stopped';
  GET DIAGNOSTICS stopped = ROW_COUNT;
  IF stopped > 0 THEN
    PERFORM millrace.warn_without_daemon();
  END IF;
  RETURN stopped;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.stop_consumers(text) TO PUBLIC;
COMMENT ON FUNCTION millrace.stop_consumers(text) IS 'Ends every consumer that the current role may end; returns how many. What the dialects call.';

CREATE OR REPLACE FUNCTION millrace.stop_routed(topic text, schemas name[], cluster text DEFAULT 'default'::text)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  found_id bigint := (
    SELECT c.id FROM millrace.consumer AS c
    WHERE c.cluster = stop_routed.cluster AND c.topic = stop_routed.topic AND c.route_by_key
    ORDER BY array_position(schemas, c.target_schema::name), c.wanted = 'stopped', c.id LIMIT 1);
BEGIN
  IF found_id IS NULL THEN
    PERFORM millrace.refuse('consumer-missing',
      format('no consumer loads topic %L into the relations that its keys name', left(topic, 249)));
  END IF;
  UPDATE millrace.consumer SET wanted = 'stopped' WHERE id = found_id AND wanted <> 'stopped';
  IF NOT FOUND THEN
    PERFORM millrace.refuse('consumer-not-running', format('the consumer of topic %s is not running', topic));
  END IF;
  PERFORM millrace.warn_without_daemon();
  RETURN found_id;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.stop_routed(text,name[],text) TO PUBLIC;
COMMENT ON FUNCTION millrace.stop_routed(text,name[],text) IS 'Ends consuming a topic into the relations that the message keys name. What the dialects call.';

CREATE OR REPLACE FUNCTION millrace.support_functions(classes oid[])
 RETURNS SETOF oid
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT p.oid FROM pg_opclass AS o
  JOIN pg_amproc AS a ON a.amprocfamily = o.opcfamily JOIN pg_proc AS p ON p.oid = a.amproc
  WHERE o.oid = ANY (classes) AND o.oid >= 16384
    AND p.prolang <> ALL (ARRAY(SELECT oid FROM pg_language WHERE lanname IN ('c', 'internal')))
$function$
;
GRANT EXECUTE ON FUNCTION millrace.support_functions(oid[]) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.sweep()
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  swept bigint;
  total bigint := 0;
BEGIN
  DELETE FROM millrace.dead_letter AS d WHERE NOT EXISTS (SELECT FROM millrace.consumer AS c WHERE c.id = d.consumer_id);
  GET DIAGNOSTICS swept = ROW_COUNT;
  total := total + swept;
  DELETE FROM millrace.batch AS b WHERE NOT EXISTS (SELECT FROM millrace.consumer AS c WHERE c.id = b.consumer_id);
  GET DIAGNOSTICS swept = ROW_COUNT;
  total := total + swept;
  DELETE FROM millrace.request AS r WHERE r.finished_at < clock_timestamp() - interval '1 day';
  GET DIAGNOSTICS swept = ROW_COUNT;
  total := total + swept;
  DELETE FROM millrace.snapshot AS s WHERE s.settled AND s.changed_at < clock_timestamp() - interval '1 day';
  GET DIAGNOSTICS swept = ROW_COUNT;
  RETURN total + swept;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.sweep() TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.take_chunk(owner oid, most_bytes bigint, OUT pause interval, OUT snapshot_id bigint, OUT relation oid, OUT range_block bigint, OUT writer text, OUT first_block bigint, OUT end_block bigint, OUT again tid[])
 RETURNS record
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_column
DECLARE
  most_skipped constant integer := 10000;
  taken millrace.snapshot;
  function oid;
BEGIN
  LOOP
    SELECT s.* INTO taken FROM millrace.snapshot AS s
    WHERE s.owner = take_chunk.owner AND NOT s.settled AND s.finished_at IS NULL AND s.not_before <= clock_timestamp()
    ORDER BY s.changed_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
    EXIT WHEN NOT FOUND;
    function := to_regprocedure(taken.writer);
    IF NOT taken.wanted OR function IS NULL OR NOT millrace.in_snapshot(taken.root, taken.relation) THEN
      UPDATE millrace.snapshot AS s SET finished_at = clock_timestamp(), ended = true, skipped = '{}', waits_for = NULL
      WHERE (s.snapshot_id, s.relation, s.first_block) = (taken.snapshot_id, taken.relation, taken.first_block);
      CONTINUE;
    ELSIF taken.filenode <> pg_relation_filenode(taken.relation) THEN
      UPDATE millrace.snapshot AS s SET filenode = pg_relation_filenode(s.relation), next_block = s.first_block, skipped = '{}',
        end_block = CASE WHEN s.to_end THEN greatest(s.first_block, millrace.snapshot_blocks(s.relation)) ELSE s.end_block END
      WHERE (s.snapshot_id, s.relation, s.first_block) = (taken.snapshot_id, taken.relation, taken.first_block)
      RETURNING s.* INTO taken;
    END IF;
    IF taken.next_block >= taken.end_block AND taken.skipped = '{}' THEN
      UPDATE millrace.snapshot AS s SET finished_at = clock_timestamp(), waits_for = NULL
      WHERE (s.snapshot_id, s.relation, s.first_block) = (taken.snapshot_id, taken.relation, taken.first_block);
      CONTINUE;
    ELSIF millrace.outbox_exceeds(most_bytes) THEN
      UPDATE millrace.snapshot AS s SET waits_for = 'the outbox to be sent'
      WHERE (s.snapshot_id, s.relation, s.first_block) = (taken.snapshot_id, taken.relation, taken.first_block)
        AND s.waits_for IS DISTINCT FROM 'the outbox to be sent';
      pause := '200 ms';
      RETURN;
    END IF;
    snapshot_id := taken.snapshot_id;
    relation := taken.relation;
    range_block := taken.first_block;
    writer := (SELECT format('%I.%I', n.nspname, p.proname)
      FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace WHERE p.oid = function);
    first_block := taken.next_block;
    IF first_block < taken.end_block AND cardinality(taken.skipped) < most_skipped THEN
      end_block := least(first_block + taken.chunk_blocks, taken.end_block);
      again := '{}';
    ELSE
      end_block := first_block;
      again := taken.skipped[1:1000];
    END IF;
    RETURN;
  END LOOP;
  pause := (SELECT CASE WHEN count(*) > 0 THEN greatest(min(s.not_before) - clock_timestamp(), '100 ms') END FROM millrace.snapshot AS s
    WHERE s.owner = take_chunk.owner AND NOT s.settled AND s.finished_at IS NULL);
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.take_chunk(oid,bigint) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.take_dead_letters(ids bigint[], topic text, cluster text)
 RETURNS SETOF millrace.outbox_dead_letter
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF NOT millrace.is_admin() THEN
    PERFORM millrace.refuse('admin-required', format('role %I may not decide about dead letters of sending', current_user));
  ELSIF ids IS NULL AND topic IS NULL AND cluster IS NULL THEN
    PERFORM millrace.refuse('choice-missing', 'it is not said which dead letters');
  END IF;
  RETURN QUERY DELETE FROM millrace.outbox_dead_letter AS d
    WHERE (take_dead_letters.ids IS NULL OR d.id = ANY (take_dead_letters.ids))
      AND (take_dead_letters.topic IS NULL OR d.topic = take_dead_letters.topic)
      AND (take_dead_letters.cluster IS NULL OR d.cluster = take_dead_letters.cluster)
    RETURNING d.*;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.take_dead_letters(bigint[],text,text) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.take_lease(name text, daemon uuid, backend_started timestamp with time zone, timeout interval)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  me constant oid := quote_ident(CURRENT_USER::text)::regrole;
  held millrace.lease;
  new_epoch bigint;
BEGIN
  SELECT l.* INTO held FROM millrace.lease AS l WHERE l.name = take_lease.name FOR NO KEY UPDATE;
  -- numbers of processes come again; when a session of another role began is not to be seen
  IF held.backend_pid <> pg_backend_pid() AND EXISTS (
    SELECT FROM pg_stat_activity AS a
    WHERE a.pid = held.backend_pid AND a.usesysid = held.backend_role
      AND coalesce(a.backend_start = held.backend_started, held.backend_role <> me)
  ) THEN
    IF held.renewed_at < clock_timestamp() - timeout THEN
      PERFORM pg_terminate_backend(held.backend_pid);
    END IF;
    RETURN NULL;
  END IF;
  UPDATE millrace.lease AS l
  SET epoch = l.epoch + 1, daemon = take_lease.daemon, backend_pid = pg_backend_pid(),
    backend_started = take_lease.backend_started, backend_role = me, renewed_at = clock_timestamp()
  WHERE l.name = take_lease.name RETURNING l.epoch INTO new_epoch;
  RETURN new_epoch;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.take_lease(text,uuid,timestamp with time zone,interval) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.target_problem(target_schema text, target_name text, owner oid)
 RETURNS TABLE(code text, message text)
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
DECLARE
  target record;
  relations oid[];
  schema_owner oid;
  trusted constant oid[] := millrace.trusted_roles();
  shown text := format('%I.%I', target_schema, target_name);
  kind text;
  foreign_code text;
BEGIN
  SELECT c.* INTO target FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
  WHERE n.nspname = target_schema AND c.relname = target_name;
  IF NOT FOUND THEN
    RETURN QUERY SELECT 'relation-missing', format('relation %s does not exist', shown);
    RETURN;
  END IF;

  kind := CASE target.relkind
    WHEN 'm' THEN 'a materialized view' WHEN 'S' THEN 'a sequence' WHEN 'i' THEN 'an index'
    WHEN 'I' THEN 'an index' WHEN 'c' THEN 'a composite type' WHEN 't' THEN 'a TOAST table' END;
  IF kind IS NOT NULL OR target.relkind NOT IN ('r', 'p', 'f', 'v') THEN
    RETURN QUERY SELECT 'relation-kind', format('%s is %s', shown, coalesce(kind, 'no table'));
    RETURN;
  ELSIF target_schema IN ('pg_catalog', 'information_schema', 'pg_toast', 'millrace') THEN
    RETURN QUERY SELECT 'relation-catalog', format('%s belongs to a catalog', shown);
    RETURN;
  -- such as those of the dialects, which write what the daemon goes by
  ELSIF target.relkind = 'v' AND EXISTS (SELECT FROM pg_class AS c
    WHERE c.oid IN (SELECT millrace.written_relations(target.oid)) AND c.relnamespace = 'millrace'::regnamespace)
  THEN
    RETURN QUERY SELECT 'relation-catalog', format('%s is a view of schema millrace', shown);
    RETURN;
  ELSIF target.relpersistence = 't' THEN
    RETURN QUERY SELECT 'relation-temporary', format('%s is temporary', shown);
    RETURN;
  END IF;

  relations := ARRAY[target.oid];
  IF target.relkind = 'p' THEN
    relations := ARRAY(SELECT relid::oid FROM pg_partition_tree(target.oid));
  END IF;
  IF EXISTS (SELECT FROM pg_class WHERE oid = ANY (relations) AND relpersistence = 'u') THEN
    RETURN QUERY SELECT 'relation-unlogged', format('%s is unlogged%s', shown,
      CASE WHEN target.relkind = 'p' THEN ', or one of its partitions is' ELSE '' END);
    RETURN;
  END IF;

  IF target.relkind = 'v' AND NOT EXISTS (
    SELECT FROM pg_trigger
    WHERE tgrelid = target.oid AND tgtype & 4 <> 0 AND tgtype & 64 <> 0 AND tgenabled IN ('O', 'A')
  ) THEN
    RETURN QUERY SELECT 'view-without-trigger', format('view %s has no INSTEAD OF INSERT trigger', shown);
    RETURN;
  END IF;

  -- The name is looked up by LOCK TABLE, here, and by COPY. No lock keeps two schemas from exchanging their names.
  schema_owner := (SELECT nspowner FROM pg_namespace WHERE oid = target.relnamespace);
  IF schema_owner <> ALL (trusted) THEN
    RETURN QUERY SELECT 'relation-schema', format('schema %I of %s belongs to role %I, who can rename it during a load',
      target_schema, shown, pg_get_userbyid(schema_owner));
    RETURN;
  END IF;

  IF target.relkind = 'r' AND target.relowner <> ALL (trusted)
    AND NOT has_table_privilege(owner, target.oid, 'UPDATE, DELETE, TRUNCATE')
  THEN
    RETURN QUERY SELECT 'lock-denied', format('role %I may not lock %s against changes of its owner, role %I',
      pg_get_userbyid(owner), shown, pg_get_userbyid(target.relowner));
    RETURN;
  END IF;

  IF target.relrowsecurity
    AND NOT EXISTS (SELECT FROM pg_roles WHERE oid = owner AND (rolsuper OR rolbypassrls))
    AND (target.relforcerowsecurity OR NOT pg_has_role(owner, target.relowner, 'USAGE'))
  THEN
    RETURN QUERY SELECT 'relation-row-security',
      format('%s is under row-level security for role %I', shown, pg_get_userbyid(owner));
    RETURN;
  END IF;

  foreign_code := millrace.foreign_code(target.oid, owner);
  IF foreign_code IS NOT NULL THEN
    RETURN QUERY SELECT 'relation-runs-code', format('%s %s', shown, foreign_code);
  END IF;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.target_problem(text,text,oid) TO PUBLIC;
COMMENT ON FUNCTION millrace.target_problem(text,text,oid) IS 'Why the daemon may not COPY into a relation under its owner''s role; no row when it may. Hold a lock on it while this counts.';

CREATE OR REPLACE FUNCTION millrace.target_shown(target_schema text, target_name text)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT concat_ws('.', quote_ident(target_schema), coalesce(quote_ident(target_name), '*'))
$function$
;
GRANT EXECUTE ON FUNCTION millrace.target_shown(text,text) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.topic_expression(pattern text)
 RETURNS text
 LANGUAGE plpgsql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF pattern = '' OR length(pattern) > 1000 OR pattern ~ '\\[0-9]' THEN
    RETURN NULL;
  END IF;
  PERFORM '' ~ pattern, '' ~ ('^(?:' || pattern || ')$');
  RETURN '^(?:' || pattern || ')$';
EXCEPTION WHEN invalid_regular_expression THEN
  RETURN NULL;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.topic_expression(text) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.topic_of(template text, schema_name name, table_name name)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  parts text[] := regexp_split_to_array(template, '[{}]');
  topic text := '';
BEGIN
  FOR i IN 1..cardinality(parts) LOOP
    IF i % 2 = 1 THEN
      topic := topic || parts[i];
      CONTINUE;
    END IF;
    IF i = cardinality(parts) OR parts[i] NOT IN ('database', 'schema', 'table') THEN
      PERFORM millrace.refuse('topic-template-invalid', format('%L is no template of a topic', left(template, 249)));
    END IF;
    topic := topic || regexp_replace(
      CASE parts[i] WHEN 'database' THEN current_database()::text WHEN 'schema' THEN schema_name::text ELSE table_name::text END,
      '[^a-zA-Z0-9._-]', '_', 'g');
  END LOOP;
  RETURN topic;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.topic_of(text,name,name) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.topic_watermarks(topic text, partition integer DEFAULT NULL::integer, cluster text DEFAULT 'default'::text)
 RETURNS TABLE(partition_id integer, low_watermark bigint, high_watermark bigint, reported_at timestamp with time zone)
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_column
DECLARE
  reported timestamptz;
BEGIN
  PERFORM millrace.check_topic(topic);
  SELECT max(w.reported_at) INTO reported FROM millrace.watermark AS w
  WHERE w.cluster = topic_watermarks.cluster AND w.topic = topic_watermarks.topic;
  IF reported IS NULL OR reported < now() - interval '30 seconds' THEN
    IF NOT current_setting('transaction_read_only')::boolean THEN
      INSERT INTO millrace.watched_topic AS t (cluster, topic)
      VALUES (topic_watermarks.cluster, topic_watermarks.topic)
      ON CONFLICT (cluster, topic) DO UPDATE SET asked_at = now();
    END IF;
    IF reported IS NULL THEN
      RAISE WARNING 'nothing is known about topic % yet', topic USING DETAIL = 'code: topic-unreported',
        HINT = 'The daemon has been asked to look, which happens after this transaction. Call again in a moment.';
    ELSE
      RAISE NOTICE 'the last report about topic % is from %', topic, reported USING DETAIL = 'code: report-old';
    END IF;
    PERFORM millrace.warn_without_daemon();
  END IF;
  RETURN QUERY SELECT w.partition, w.low, w.high, w.reported_at FROM millrace.watermark AS w
    WHERE w.cluster = topic_watermarks.cluster AND w.topic = topic_watermarks.topic
      AND (topic_watermarks.partition IS NULL OR w.partition = topic_watermarks.partition)
    ORDER BY w.partition;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.topic_watermarks(text,integer,text) TO PUBLIC;
COMMENT ON FUNCTION millrace.topic_watermarks(text,integer,text) IS 'First offset and the offset after the last message of a partition, or of all, as a daemon last saw them.';

CREATE OR REPLACE FUNCTION millrace.transaction_line(cluster text, epoch bigint, at_least integer)
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  line integer;
BEGIN
  PERFORM set_config('synchronous_commit', 'on', true);
  UPDATE millrace.outbox_progress AS p SET transaction_line = greatest(p.transaction_line, at_least)
  WHERE p.cluster = transaction_line.cluster AND p.epoch = transaction_line.epoch RETURNING p.transaction_line INTO line;
  RETURN line;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.transaction_line(text,bigint,integer) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.trigger_row_expression(p millrace.publication, row_name text)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT CASE WHEN p.columns IS NULL THEN format('row_to_json(%s)::text', row_name)
    ELSE millrace.json_object_of(p.columns, ARRAY(
      SELECT CASE WHEN p.with_schema
        THEN millrace.connect_value(millrace.published_type(p, c.name), format('%s.%I', row_name, c.name))
        ELSE format('to_json(%s.%I)::text', row_name, c.name) END
      FROM unnest(p.columns) WITH ORDINALITY AS c (name, place) ORDER BY c.place)) END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.trigger_row_expression(millrace.publication,text) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.trusted_roles()
 RETURNS oid[]
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  WITH trusted (role) AS (
    SELECT oid FROM pg_roles WHERE rolsuper
    UNION
    SELECT nspowner FROM pg_namespace WHERE nspname = 'millrace'
  )
  SELECT ARRAY(
    SELECT role FROM trusted
    UNION ALL
    -- from 14 on; its one member is whoever owns the database
    SELECT r.oid FROM pg_roles AS r, pg_database AS d
    WHERE r.rolname = 'pg_database_owner' AND d.datname = current_database() AND d.datdba IN (SELECT role FROM trusted))
$function$
;
GRANT EXECUTE ON FUNCTION millrace.trusted_roles() TO PUBLIC;

CREATE OR REPLACE PROCEDURE millrace.try(IN topic text, IN "into" text, IN messages integer DEFAULT 100, IN format text DEFAULT 'json'::text, IN delimiter text DEFAULT NULL::text, IN quote text DEFAULT NULL::text, IN escape text DEFAULT NULL::text, IN encoding text DEFAULT NULL::text, IN json_path text DEFAULT NULL::text, IN columns text[] DEFAULT NULL::text[], IN rest_column text DEFAULT NULL::text, IN unknown_keys text DEFAULT 'ignore'::text, IN missing_keys text DEFAULT 'default'::text, IN metadata jsonb DEFAULT NULL::jsonb, IN mode text DEFAULT 'insert'::text, IN key_columns text[] DEFAULT NULL::text[], IN tombstone text DEFAULT NULL::text, IN transform text DEFAULT NULL::text, IN on_error text DEFAULT 'stop'::text, IN cluster text DEFAULT NULL::text, INOUT loaded bigint DEFAULT NULL::bigint, INOUT failed bigint DEFAULT NULL::bigint, INOUT reasons jsonb DEFAULT NULL::jsonb, INOUT request bigint DEFAULT NULL::bigint)
 LANGUAGE plpgsql
AS $procedure$
DECLARE
  finished pg_catalog.bool;
BEGIN
  request := millrace.ask_try(millrace.relation("into"), "into", cluster, pg_catalog.jsonb_build_object(
    'topic', topic, 'messages', messages, 'format', format, 'delimiter', delimiter, 'quote', quote,
    'escape', escape, 'encoding', encoding, 'json_path', json_path, 'columns', columns, 'rest_column', rest_column,
    'unknown_keys', unknown_keys, 'missing_keys', missing_keys, 'metadata', metadata, 'mode', mode,
    'key_columns', key_columns, 'tombstone', tombstone, 'transform', transform, 'on_error', on_error,
    'batchsize', 1000, 'maxbytes', 32000000, 'parallelism', 1, 'timeout', 250));
  loaded := NULL;
  failed := NULL;
  reasons := NULL;
  CALL millrace.await(request, finished);
  IF finished THEN
    SELECT o.loaded, o.failed, o.reasons INTO loaded, failed, reasons FROM millrace.try_outcome(request) AS o;
  END IF;
END
$procedure$
;
GRANT EXECUTE ON FUNCTION millrace.try(text,text,integer,text,text,text,text,text,text,text[],text,text,text,jsonb,text,text[],text,text,text,text,bigint,bigint,jsonb,bigint) TO PUBLIC;
COMMENT ON FUNCTION millrace.try(text,text,integer,text,text,text,text,text,text,text[],text,text,text,jsonb,text,text[],text,text,text,text,bigint,bigint,jsonb,bigint) IS 'Loads the last messages of a topic into a relation, takes that back, and reports what would have failed and why.';

CREATE OR REPLACE FUNCTION millrace.try_arguments(arguments jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  wanted millrace.consumer;
  messages bigint;
BEGIN
  wanted := jsonb_populate_record(NULL::millrace.consumer, arguments - 'messages');
  wanted.id := 0;
  wanted.version := 0;
  wanted.owner := (SELECT oid FROM pg_roles WHERE rolname = current_user);
  wanted.wanted := 'running';
  wanted.group_id := NULL;
  wanted.parent_id := NULL;
  wanted.delimiter := CASE WHEN wanted.format = 'json' THEN NULL WHEN wanted.delimiter = '\t' THEN E'\t' ELSE wanted.delimiter END;
  IF wanted.topic_pattern IS NOT NULL OR coalesce(wanted.route_by_key, true) OR wanted.target_name IS NULL THEN
    PERFORM millrace.refuse('option-conflict', 'a try takes one topic and one relation');
  END IF;
  IF jsonb_typeof(arguments -> 'messages') <> 'number' OR arguments ->> 'messages' !~ '^[1-9][0-9]{0,4}$' THEN
    PERFORM millrace.refuse('messages-invalid', format('messages cannot be %s', left(arguments ->> 'messages', 20)));
  END IF;
  messages := (arguments ->> 'messages')::bigint;
  IF messages IS NULL THEN
    PERFORM millrace.refuse('messages-invalid', 'messages cannot be NULL');
  END IF;
  PERFORM millrace.check_topic(wanted.topic);
  PERFORM millrace.check_options(wanted);
  SELECT w.way, w.reason INTO wanted.way, wanted.way_reason FROM millrace.check_wanted(wanted) AS w;
  RETURN to_jsonb(wanted) || jsonb_build_object('messages', messages);
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.try_arguments(jsonb) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.try_outcome(request bigint, OUT loaded bigint, OUT failed bigint, OUT reasons jsonb)
 RETURNS record
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT (r.result ->> 'loaded')::bigint, (r.result ->> 'failed')::bigint, r.result -> 'reasons' FROM millrace.request AS r WHERE r.id = request
$function$
;
GRANT EXECUTE ON FUNCTION millrace.try_outcome(bigint) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.unknown_nodes(expressions text[])
 RETURNS SETOF text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT DISTINCT m[1] FROM unnest(expressions) AS e, regexp_matches(e, '(?:^|[^\\])\{([^ }]*)', 'g') AS m
  WHERE m[1] <> ALL (ARRAY[
    'VAR', 'CONST', 'FUNCEXPR', 'NAMEDARGEXPR', 'OPEXPR', 'DISTINCTEXPR', 'NULLIFEXPR', 'SCALARARRAYOPEXPR', 'BOOLEXPR',
    'FIELDSELECT', 'SUBSCRIPTINGREF', 'RELABELTYPE', 'COERCEVIAIO', 'ARRAYCOERCEEXPR', 'COERCETODOMAIN',
    'COERCETODOMAINVALUE', 'COLLATEEXPR', 'COLLATE', 'CASEEXPR', 'CASE', 'CASEWHEN', 'WHEN', 'CASETESTEXPR', 'ARRAYEXPR',
    'ARRAY', 'ROWEXPR', 'ROW', 'ROWCOMPAREEXPR', 'ROWCOMPARE', 'COALESCEEXPR', 'COALESCE', 'MINMAXEXPR', 'MINMAX',
    'NULLTEST', 'BOOLEANTEST', 'SQLVALUEFUNCTION', 'JSONISPREDICATE', 'JSONFORMAT'])
$function$
;
GRANT EXECUTE ON FUNCTION millrace.unknown_nodes(text[]) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.unpublish(relation regclass, topic text DEFAULT NULL::text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  PERFORM millrace.drop_publication(p.id) FROM millrace.publication AS p
  WHERE p.relation = unpublish.relation AND p.topic = coalesce(unpublish.topic, p.topic);
  IF NOT FOUND THEN
    PERFORM millrace.refuse('publication-missing', format('%s is not published%s', coalesce(relation::text, 'NULL'), ' to topic ' || topic));
  END IF;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.unpublish(regclass,text) TO PUBLIC;
COMMENT ON FUNCTION millrace.unpublish(regclass,text) IS 'Ends the publications of a table, or the one to a topic.';

CREATE OR REPLACE FUNCTION millrace.value_expression(p millrace.publication, op text, key text, before_row text, after_row text, snapshot boolean DEFAULT false)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT CASE p.envelope
    WHEN 'row' THEN CASE WHEN p.with_schema
      THEN format('concat(%L, %s, ''}'')', '{"schema":' || millrace.envelope_schema(p) || ',"payload":', after_row)
      ELSE after_row || '::text' END
    WHEN 'pg2kafka' THEN format($sql$concat('{"uuid":"', gen_random_uuid(), '","external_id":', coalesce(to_json(%s)::text, 'null'),
      ',"statement":"', %s, '","data":', %s, ',"created_at":"', rtrim(rtrim(to_char(clock_timestamp() AT TIME ZONE 'UTC',
      'YYYY-MM-DD"T"HH24:MI:SS.US'), '0'), '.'), 'Z"}')$sql$, key, op, after_row)
    ELSE format($sql$concat(%L, coalesce(%s::text, 'null'), ',"after":', coalesce(%s::text, 'null'), %L,
      (extract(epoch FROM transaction_timestamp()) * 1000)::bigint, %L, pg_current_xact_id(), ',"lsn":null,"xmin":null},"op":"', %s,
      '","ts_ms":', (extract(epoch FROM clock_timestamp()) * 1000)::bigint, %L)$sql$,
      CASE WHEN p.with_schema THEN '{"schema":' || millrace.envelope_schema(p) || ',"payload":' ELSE '' END || '{"before":',
      before_row, after_row,
      format(',"source":{"version":"1","connector":"millrace","name":%s,"ts_ms":', to_json(p.cluster)),
      format(',"snapshot":"%s","db":%s,"sequence":null,"schema":%s,"table":%s,"txId":', to_json(snapshot), to_json(current_database()),
        to_json((parse_ident(p.name))[1]), to_json((parse_ident(p.name))[2])),
      op, CASE WHEN p.with_schema THEN '}}' ELSE '}' END)
  END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.value_expression(millrace.publication,text,text,text,text,boolean) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.verify(consumer bigint)
 RETURNS TABLE(partition integer, finding text, problem boolean, from_offset bigint, to_offset bigint, found_at timestamp with time zone)
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF NOT EXISTS (SELECT FROM millrace.visible_consumer AS c WHERE c.id = consumer) THEN
    PERFORM millrace.refuse('consumer-missing', format('there is no consumer %s', coalesce(consumer::text, 'NULL')));
  END IF;
  RETURN QUERY
  WITH steps AS (
    SELECT b.partition AS part, b.id AS place, b.kind, b.from_offset AS begins, b.to_offset AS ends, b.committed_at
    FROM millrace.batch AS b WHERE b.consumer_id = consumer
    UNION ALL
    SELECT p.partition, NULL, 'position', p.next_offset, p.next_offset, p.moved_at
    FROM millrace.position AS p WHERE p.consumer_id = consumer
  ), numbered AS (
    SELECT s.*, s.kind IN ('start', 'seek', 'gap') AS jumps,
      (s.kind = 'load' AND lag(s.kind) OVER w = 'load' AND lag(s.ends) OVER w = s.begins) IS NOT TRUE AS anew
    FROM steps AS s WINDOW w AS (PARTITION BY s.part ORDER BY s.place NULLS LAST)
  ), placed AS (
    SELECT n.*, count(*) FILTER (WHERE n.anew) OVER w AS run, count(*) FILTER (WHERE n.jumps) OVER w AS stretch
    FROM numbered AS n WINDOW w AS (PARTITION BY n.part ORDER BY n.place NULLS LAST)
  ), runs AS (
    -- loads that join are one, as they are once they have been merged
    SELECT p.part, p.run, p.stretch, p.kind, p.jumps, min(p.begins) AS begins, max(p.ends) AS ends, max(p.committed_at) AS committed_at
    FROM placed AS p GROUP BY 1, 2, 3, 4, 5
  ), reached AS (
    SELECT r.*, CASE WHEN r.jumps THEN r.ends ELSE max(r.ends) OVER (PARTITION BY r.part, r.stretch ORDER BY r.run) END AS reach FROM runs AS r
  ), joined AS (
    -- before: how far it had come since it last jumped
    SELECT r.*, lag(r.reach) OVER (PARTITION BY r.part ORDER BY r.run) AS before FROM reached AS r
  )
  SELECT j.part, f.finding, f.problem, f.begins, f.ends, j.committed_at FROM joined AS j CROSS JOIN LATERAL (
    SELECT 'missing', true, j.before, j.begins, 1 WHERE j.begins > j.before AND j.kind <> 'start'
    UNION ALL
    SELECT 'doubled', true, j.begins, CASE j.kind WHEN 'load' THEN least(j.before, j.ends) ELSE j.before END, 1
      WHERE j.begins < j.before AND NOT j.jumps
    UNION ALL
    SELECT j.kind, false, j.begins, j.ends, 2 WHERE j.jumps
  ) AS f (finding, problem, begins, ends, number)
  ORDER BY j.part, j.run, f.number;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.verify(bigint) TO PUBLIC;
COMMENT ON FUNCTION millrace.verify(bigint) IS 'Proves from the batches of a consumer that no offset was passed over or loaded twice: problem is true for each range where that is not so. Jumps that were wanted are listed, too.';

CREATE OR REPLACE FUNCTION millrace.wait_for(topic text, partition integer, "offset" bigint, timeout interval DEFAULT '00:00:10'::interval, consumer bigint DEFAULT NULL::bigint, flushed boolean DEFAULT false)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_variable
DECLARE
  until timestamptz := clock_timestamp() + timeout;
  behind record;
  pause double precision := 0.002;
BEGIN
  IF NOT coalesce(partition >= 0 AND "offset" >= 0, false) THEN
    PERFORM millrace.refuse('wait-invalid', format('there is no offset %s of partition %s', coalesce("offset"::text, 'NULL'),
      coalesce(partition::text, 'NULL')));
  END IF;
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    PERFORM millrace.refuse('wait-isolation', 'waiting sees nothing new in this transaction');
  END IF;
  IF NOT EXISTS (SELECT FROM millrace.visible_consumer AS c WHERE c.topic = wait_for.topic AND (consumer IS NULL OR c.id = consumer)) THEN
    PERFORM millrace.refuse('consumer-missing', format('no consumer%s loads topic %L',
      coalesce(' ' || consumer::text, ''), left(topic, 249)));
  END IF;
  LOOP
    -- a statement of its own each time, so that it sees what was committed meanwhile
    SELECT c.id, c.wanted, f.code, f.message, p.next_offset INTO behind
    FROM millrace.visible_consumer AS c
    LEFT JOIN millrace.position AS p ON p.consumer_id = c.id AND p.partition = wait_for.partition
    LEFT JOIN millrace.failure AS f ON f.consumer_id = c.id AND f.version = c.version
    WHERE c.topic = wait_for.topic AND (consumer IS NULL OR c.id = consumer)
      AND NOT coalesce(p.next_offset > "offset" AND NOT c.start_pending, false)
    ORDER BY c.wanted = 'running' AND f.code IS NULL, c.id LIMIT 1;
    EXIT WHEN NOT FOUND;
    IF behind.wanted <> 'running' THEN
      PERFORM millrace.refuse('consumer-not-running', format('consumer %s is stopped, at offset %s of partition %s', behind.id,
        coalesce(behind.next_offset::text, 'NULL'), partition));
    ELSIF behind.code IS NOT NULL THEN
      PERFORM millrace.refuse('consumer-failed', format('consumer %s failed, at offset %s of partition %s: %s: %s', behind.id,
        coalesce(behind.next_offset::text, 'NULL'), partition, behind.code, behind.message));
    ELSIF NOT coalesce(clock_timestamp() < until, true) THEN
      PERFORM millrace.refuse('wait-timeout', format('consumer %s is at offset %s of partition %s, not past %s, after %s', behind.id,
        coalesce(behind.next_offset::text, 'NULL'), partition, coalesce("offset"::text, 'NULL'), timeout));
    END IF;
    PERFORM pg_sleep(pause);
    pause := least(pause * 1.5, 0.1);
  END LOOP;
  IF flushed AND NOT millrace.wait_for_flush(until) THEN
    PERFORM millrace.refuse('wait-timeout', format('what was loaded is not flushed to disk after %s', timeout));
  END IF;
  RETURN true;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.wait_for(text,integer,bigint,interval,bigint,boolean) TO PUBLIC;
COMMENT ON FUNCTION millrace.wait_for(text,integer,bigint,interval,bigint,boolean) IS 'Returns when the position of the topic''s consumers (or of one) in a partition has passed an offset, so that the message is in the relation.';

CREATE OR REPLACE FUNCTION millrace.wait_for_flush(until timestamp with time zone)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  needed pg_lsn;
BEGIN
  IF pg_is_in_recovery() THEN
    RETURN true; -- what a standby shows was flushed there before
  END IF;
  needed := pg_current_wal_insert_lsn();
  IF pg_current_wal_flush_lsn() < needed THEN
    IF current_setting('server_version_num')::integer >= 170000 THEN
      EXECUTE 'SELECT pg_logical_emit_message(false, ''millrace'', '''', true)';
    ELSE
      PERFORM pg_logical_emit_message(false, 'millrace', repeat(' ', 16384)); -- whole pages are flushed before long
    END IF;
  END IF;
  LOOP
    IF pg_current_wal_flush_lsn() >= needed THEN
      RETURN true;
    ELSIF clock_timestamp() >= until THEN
      RETURN false;
    END IF;
    PERFORM pg_sleep(0.01);
  END LOOP;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.wait_for_flush(timestamp with time zone) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.warn_without_daemon()
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF NOT millrace.daemon_connected() THEN
    RAISE WARNING 'no daemon is connected to this database' USING
      DETAIL = 'code: no-daemon', HINT = 'What was asked for happens when one runs: millrace run --database URL';
  END IF;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.warn_without_daemon() TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.write_chunk(relation oid, first_block bigint, end_block bigint, again tid[], message text, filter text DEFAULT NULL::text, OUT written bigint, OUT skipped tid[])
 RETURNS record
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET work_mem TO '32MB'
AS $function$
DECLARE
  me constant regrole := quote_ident(CURRENT_USER::text)::regrole;
  segment constant smallint := coalesce((SELECT w.segment FROM millrace.outbox_writing AS w), 0);
  -- before version 14 a range of places is looked for in the whole table
  ranges constant boolean := current_setting('server_version_num')::integer >= 140000;
  places text;
  found_written bigint;
  found_skipped tid[];
BEGIN
  written := 0;
  skipped := '{}';
  FOREACH places IN ARRAY array_remove(ARRAY[
    CASE WHEN end_block > first_block THEN
      CASE WHEN ranges THEN format('t.ctid >= ''(%s,0)'' AND t.ctid < ''(%s,0)''', first_block, end_block)
        ELSE format('t.ctid = ANY (millrace.places(%s, %s))', first_block, end_block) END END,
    CASE WHEN cardinality(again) > 0 THEN 't.ctid = ANY ($1)' END], NULL)
  LOOP
    EXECUTE format(
      'WITH locked (tid, cluster, topic, partition, key, value, headers, "timestamp", source) AS MATERIALIZED (
         SELECT t.ctid, %4$s FROM ONLY %1$s AS t WHERE %2$s AND (%5$s) FOR SHARE OF t SKIP LOCKED
       ), sent AS (
         INSERT INTO millrace.outbox_%3$s (owner, cluster, topic, partition, key, value, headers, "timestamp", source)
         SELECT $2, l.cluster, l.topic, l.partition, l.key, l.value, l.headers, coalesce(l."timestamp", clock_timestamp()), l.source
         FROM locked AS l)
       SELECT (SELECT count(*) FROM locked),
         CASE WHEN (SELECT count(*) FROM locked) <> (SELECT count(*) FROM ONLY %1$s AS t WHERE %2$s AND (%5$s)) THEN
           ARRAY(SELECT t.ctid FROM ONLY %1$s AS t WHERE %2$s AND (%5$s)
             EXCEPT SELECT l.tid FROM locked AS l) END',
      relation::regclass, places, segment, message, coalesce(filter, 'true'))
    INTO found_written, found_skipped USING again, me;
    written := written + found_written;
    skipped := skipped || found_skipped;
  END LOOP;
  IF written > 0 AND millrace.outbox_wake() IS NULL THEN
    NULL;
  END IF;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.write_chunk(oid,bigint,bigint,tid[],text,text) TO PUBLIC;
COMMENT ON FUNCTION millrace.write_chunk(oid,bigint,bigint,tid[],text,text) IS 'Called in the writer of a snapshot: writes the rows of a chunk into the outbox. message: expressions over the row t, separated by commas: cluster, topic, partition, key, value, headers, timestamp, source; filter: a condition over t.';

CREATE OR REPLACE FUNCTION millrace.write_message(topic text, value bytea, key bytea, partition integer, headers bytea[], cluster text, "timestamp" timestamp with time zone, source text)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  at timestamptz := coalesce("timestamp", clock_timestamp());
  into_cluster text := cluster;
  another text;
BEGIN
  -- Said here already, because a call takes longer than the question.
  IF topic ~ '^[a-zA-Z0-9._-]+$' IS NOT TRUE OR length(topic) > 249 OR topic IN ('.', '..') OR partition < 0
    OR at < to_timestamp(0) OR NOT isfinite(at)
  THEN
    PERFORM millrace.check_message(topic, partition, at);
  END IF;
  IF cluster IS NULL THEN
    SELECT min(b.cluster), max(b.cluster) INTO into_cluster, another FROM millrace.broker AS b;
    IF into_cluster = another IS NOT TRUE THEN
      PERFORM millrace.given_cluster(NULL);
    END IF;
  ELSIF NOT EXISTS (SELECT FROM millrace.broker AS b WHERE b.cluster = into_cluster) THEN
    IF NOT EXISTS (SELECT FROM millrace.cluster AS c WHERE c.name = into_cluster) THEN
      PERFORM millrace.refuse('cluster-missing', format('there is no cluster %L', left(into_cluster, 64)));
    ELSIF source IS NULL THEN
      PERFORM millrace.refuse('no-broker', format('cluster %L has no broker', into_cluster));
    END IF;
    -- whoever writes to a table with a trigger has nothing to do with brokers: the message waits for one
  END IF;
  -- a restore may have left the sequence out; any segment is read
  CASE coalesce(pg_sequence_last_value('millrace.outbox_segment'), 0)
    WHEN 0 THEN
      INSERT INTO millrace.outbox_message_0 ("timestamp", partition, cluster, topic, key, value, headers, source)
      VALUES (at, write_message.partition, into_cluster, write_message.topic, write_message.key, write_message.value,
        write_message.headers, write_message.source);
    WHEN 1 THEN
      INSERT INTO millrace.outbox_message_1 ("timestamp", partition, cluster, topic, key, value, headers, source)
      VALUES (at, write_message.partition, into_cluster, write_message.topic, write_message.key, write_message.value,
        write_message.headers, write_message.source);
    WHEN 2 THEN
      INSERT INTO millrace.outbox_message_2 ("timestamp", partition, cluster, topic, key, value, headers, source)
      VALUES (at, write_message.partition, into_cluster, write_message.topic, write_message.key, write_message.value,
        write_message.headers, write_message.source);
    WHEN 3 THEN
      INSERT INTO millrace.outbox_message_3 ("timestamp", partition, cluster, topic, key, value, headers, source)
      VALUES (at, write_message.partition, into_cluster, write_message.topic, write_message.key, write_message.value,
        write_message.headers, write_message.source);
  END CASE;
  -- An expression is evaluated at once, where PERFORM would run a query.
  IF millrace.outbox_wake() IS NULL THEN
    NULL;
  END IF;
  -- Of this session, so the number that the row took; RETURNING would need the right to read rows.
  RETURN currval('millrace.outbox_id');
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.write_message(text,bytea,bytea,integer,bytea[],text,timestamp with time zone,text) TO PUBLIC;
COMMENT ON FUNCTION millrace.write_message(text,bytea,bytea,integer,bytea[],text,timestamp with time zone,text) IS 'What the dialects call.';

CREATE OR REPLACE FUNCTION millrace.written_relations(target oid)
 RETURNS SETOF oid
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  WITH RECURSIVE written (relation) AS (
    SELECT target
    UNION
    SELECT part.relation FROM written CROSS JOIN LATERAL (
      SELECT t.relid::oid FROM pg_class AS c CROSS JOIN LATERAL pg_partition_tree(c.oid) AS t
        WHERE c.oid = written.relation AND c.relkind = 'p'
      UNION ALL
      -- not only what it writes to but all that it reads: which of them is which only the view's query tells
      SELECT d.refobjid FROM pg_class AS c JOIN pg_rewrite AS r ON r.ev_class = c.oid AND r.ev_type = '1'
        JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
        WHERE c.oid = written.relation AND c.relkind = 'v'
    ) AS part (relation)
  )
  SELECT relation FROM written
$function$
;
GRANT EXECUTE ON FUNCTION millrace.written_relations(oid) TO PUBLIC;

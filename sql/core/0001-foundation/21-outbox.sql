-- What a transaction produced is a row of that transaction: it leaves exactly when the transaction commits.
-- No row is deleted. Writers write into one of four segments; when every row of another one is sent, it is truncated, and
-- becomes the next to be written. A transaction that began before that change may still write into the older one, so who
-- reads the outbox reads all four.

-- Without a cache, numbers ascend in the order in which they are taken, across sessions: one who waited for a row's lock
-- takes a higher number than the one that held it.
CREATE SEQUENCE millrace.outbox_id AS bigint CACHE 1;
COMMENT ON SEQUENCE millrace.outbox_id IS 'Numbers of the rows of the outbox.';

-- An ordinary role may give neither id nor xid, and of owners only itself: once for a statement that is cheaper than the default
-- for each row. There are no CHECK constraints, because each statement would read them
-- anew; what they would say is in millrace.admit_message.
CREATE TABLE millrace.outbox_0 (
  id bigint NOT NULL DEFAULT nextval('millrace.outbox_id'),
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  "timestamp" timestamptz NOT NULL DEFAULT clock_timestamp(),
  owner regrole NOT NULL DEFAULT quote_ident(CURRENT_USER::text)::regrole,
  partition integer,
  cluster text NOT NULL,
  topic text NOT NULL,
  key bytea,
  value bytea,
  headers bytea[],
  source text
) WITH (autovacuum_vacuum_insert_threshold = -1, toast.autovacuum_vacuum_insert_threshold = -1);
COMMENT ON COLUMN millrace.outbox_0.id IS 'In the order of writing: after the lock on the row that the message is about.';
COMMENT ON COLUMN millrace.outbox_0.xid IS 'Transaction that produced it.';
COMMENT ON COLUMN millrace.outbox_0."timestamp" IS 'Timestamp of the message.';
COMMENT ON COLUMN millrace.outbox_0.owner IS 'Role that produced it.';
COMMENT ON COLUMN millrace.outbox_0.partition IS 'NULL: the key decides.';
COMMENT ON COLUMN millrace.outbox_0.value IS 'NULL: a tombstone.';
COMMENT ON COLUMN millrace.outbox_0.headers IS 'name, value, name, value, ...';
COMMENT ON COLUMN millrace.outbox_0.source IS 'Relation whose trigger produced it, if one did.';
CREATE INDEX ON millrace.outbox_0 (xid, id);

CREATE TABLE millrace.outbox_1 (LIKE millrace.outbox_0 INCLUDING ALL)
  WITH (autovacuum_vacuum_insert_threshold = -1, toast.autovacuum_vacuum_insert_threshold = -1);
CREATE TABLE millrace.outbox_2 (LIKE millrace.outbox_0 INCLUDING ALL)
  WITH (autovacuum_vacuum_insert_threshold = -1, toast.autovacuum_vacuum_insert_threshold = -1);
CREATE TABLE millrace.outbox_3 (LIKE millrace.outbox_0 INCLUDING ALL)
  WITH (autovacuum_vacuum_insert_threshold = -1, toast.autovacuum_vacuum_insert_threshold = -1);

CREATE TABLE millrace.outbox_writing (
  singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  segment smallint NOT NULL CHECK (segment BETWEEN 0 AND 3)
);
COMMENT ON TABLE millrace.outbox_writing IS 'The segment of the outbox that is written into now.';

-- The same number, where a trigger reads it for each row: that takes no query. It changes when the row does, not when that commits, and stays
-- when it is rolled back. No harm is done: who truncates a segment locks it first, and looks what is in it.
CREATE SEQUENCE millrace.outbox_segment AS smallint MINVALUE 0 MAXVALUE 3;
COMMENT ON SEQUENCE millrace.outbox_segment IS 'Copy of millrace.outbox_writing for triggers.';

CREATE FUNCTION millrace.copy_outbox_writing() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM setval('millrace.outbox_segment', NEW.segment);
  RETURN NULL;
END
$$;
CREATE TRIGGER copy_outbox_writing AFTER INSERT OR UPDATE ON millrace.outbox_writing
  FOR EACH ROW EXECUTE FUNCTION millrace.copy_outbox_writing();

INSERT INTO millrace.outbox_writing (segment) VALUES (0);

CREATE VIEW millrace.outbox WITH (security_barrier = false) AS
SELECT 0::smallint AS segment, * FROM millrace.outbox_0
UNION ALL SELECT 1, * FROM millrace.outbox_1
UNION ALL SELECT 2, * FROM millrace.outbox_2
UNION ALL SELECT 3, * FROM millrace.outbox_3;
COMMENT ON VIEW millrace.outbox IS 'All segments of the outbox. Rows that were sent stay until their segment is truncated. For the role that owns the schema.';

-- What could never be sent.
CREATE FUNCTION millrace.check_message(topic text, partition integer, "timestamp" timestamptz) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM millrace.check_topic(topic);
  IF partition < 0 THEN
    PERFORM millrace.refuse('partition-invalid', format('there is no partition %s', partition));
  END IF;
  IF "timestamp" < to_timestamp(0) OR NOT isfinite("timestamp") THEN
    PERFORM millrace.refuse('timestamp-invalid', format('a message cannot have the timestamp %s', "timestamp"));
  END IF;
END
$$;

-- Called after writing, in the writer's transaction. A relay that sleeps holds this lock, and a writer that cannot share it
-- wakes it. While the relay is awake, or none is there, nobody notifies anybody: those who notify commit one after the other.
-- It pins no search_path and has everything qualified, so that it becomes part of what calls it: a trigger may call it for each row.
CREATE FUNCTION millrace.outbox_wake() RETURNS boolean
LANGUAGE sql
AS $$
  SELECT CASE WHEN pg_catalog.pg_try_advisory_lock_shared(1298756723, 5) THEN pg_catalog.pg_advisory_unlock_shared(1298756723, 5)
    ELSE pg_catalog.pg_notify('millrace_outbox', '') IS NULL END
$$;

-- Asked for every row of an ordinary role, however it writes it: true, or an error. What is mostly so comes first, with one
-- query and no call; the rest is for administrators, and says what is wrong.
CREATE FUNCTION millrace.admit_message(
  cluster text, topic text, partition integer, headers bytea[], "timestamp" timestamptz
) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;

-- Nobody but the daemon's role reads. The rights are to columns, so they allow no LOCK TABLE.
DO $outer$
DECLARE
  segment text;
BEGIN
  FOREACH segment IN ARRAY ARRAY['outbox_0', 'outbox_1', 'outbox_2', 'outbox_3'] LOOP
    EXECUTE format($$
      COMMENT ON TABLE millrace.%1$I IS 'A segment of the outbox: messages that transactions produced. Read by the daemon.';
      ALTER TABLE millrace.%1$I ENABLE ROW LEVEL SECURITY;
      CREATE POLICY produce ON millrace.%1$I FOR INSERT WITH CHECK (
        owner = (SELECT quote_ident(CURRENT_USER::text)::regrole)
        AND millrace.admit_message(cluster, topic, partition, headers, "timestamp"));
      GRANT INSERT ("timestamp", owner, partition, cluster, topic, key, value, headers, source) ON millrace.%1$I TO PUBLIC
    $$, segment);
  END LOOP;
END
$outer$;
GRANT USAGE ON SEQUENCE millrace.outbox_id TO PUBLIC;
GRANT SELECT ON millrace.outbox_writing, millrace.outbox_segment TO PUBLIC;

-- Another door to the same segments, with the same conditions, for statements that write one message: those cannot spread the cost of
-- preparing the policy's queries over many rows. The views read and write as their owner, past the policies; who owns the schema, and
-- superusers, for whom there are no policies, are known by the right to grant it.
CREATE VIEW millrace.outbox_message_0 AS SELECT "timestamp", owner, partition, cluster, topic, key, value, headers, source FROM millrace.outbox_0;
CREATE VIEW millrace.outbox_message_1 AS SELECT "timestamp", owner, partition, cluster, topic, key, value, headers, source FROM millrace.outbox_1;
CREATE VIEW millrace.outbox_message_2 AS SELECT "timestamp", owner, partition, cluster, topic, key, value, headers, source FROM millrace.outbox_2;
CREATE VIEW millrace.outbox_message_3 AS SELECT "timestamp", owner, partition, cluster, topic, key, value, headers, source FROM millrace.outbox_3;
DO $outer$
BEGIN
  FOR segment IN 0..3 LOOP
    EXECUTE format($$
      CREATE OR REPLACE VIEW millrace.outbox_message_%1$s AS
      SELECT o."timestamp", o.owner, o.partition, o.cluster, o.topic, o.key, o.value, o.headers, o.source FROM millrace.outbox_%1$s AS o
      WHERE o.owner::text = pg_catalog.quote_ident(CURRENT_USER::text)
        AND CASE WHEN o.partition IS NULL AND o.headers IS NULL
            AND o."timestamp" >= timestamptz '1970-01-01 00:00:00+00' AND o."timestamp" < timestamptz 'infinity'
            AND EXISTS (SELECT FROM millrace.topic_grant AS g
              WHERE g.cluster = o.cluster AND g.action = 'produce'
                AND CASE g.topic WHEN '*' THEN o.topic ~ '^[a-zA-Z0-9._-]+$' AND length(o.topic) <= 249 AND o.topic NOT IN ('.', '..')
                  ELSE g.topic = o.topic END
                AND (g.grantee::oid = 0 OR pg_catalog.pg_has_role(g.grantee::oid, 'USAGE')))
          THEN true
          WHEN pg_catalog.has_schema_privilege('millrace', 'CREATE WITH GRANT OPTION') THEN true
          ELSE millrace.admit_message(o.cluster, o.topic, o.partition, o.headers, o."timestamp") END
      WITH CHECK OPTION;
      GRANT INSERT ("timestamp", owner, partition, cluster, topic, key, value, headers, source) ON millrace.outbox_message_%1$s TO PUBLIC
    $$, segment);
  END LOOP;
END
$outer$;

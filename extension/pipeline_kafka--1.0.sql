-- Made by scripts/build-extension.ts from sql/dialects.
\echo Use "CREATE EXTENSION pipeline_kafka" to load this file. \quit

-- What comes before every dialect, over a connection and in an extension's script alike: the core is there, and
-- whatever already has one of the names is the dialect itself, of a role that is trusted to have made it. Inside
-- CREATE EXTENSION such objects become the extension's, so an installation over a connection can be turned into an
-- extension; nothing is dropped, so views and grants of users stay.
-- Only catalogs and one plain table are read: a schema millrace that somebody else made is not given a chance to run.

SET LOCAL search_path = pg_catalog, pg_temp;

DO $core$
DECLARE
  needed constant integer := 1;
  installed integer;
BEGIN
  IF NOT EXISTS (
    SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_attribute AS a ON a.attrelid = c.oid
    WHERE n.nspname = 'millrace' AND c.relname = 'migration' AND c.relkind = 'r' AND c.relowner = n.nspowner
      AND a.attname = 'version' AND a.atttypid = 'integer'::regtype AND a.attgenerated = '')
  THEN
    RAISE EXCEPTION 'the schema millrace is not installed in this database' USING ERRCODE = '55000',
      DETAIL = 'code: schema-missing', HINT = 'Install it first, from a shell: millrace install --database URL';
  END IF;
  EXECUTE 'SELECT max(version) FROM millrace.migration' INTO installed;
  IF installed IS NULL OR installed < needed THEN
    RAISE EXCEPTION 'the schema millrace is at version %, pipeline_kafka needs version %', installed, needed
      USING ERRCODE = '55000', DETAIL = 'code: schema-older',
      HINT = 'Upgrade it first, from a shell: millrace install --database URL';
  END IF;
END
$core$;

DO $names$
DECLARE
  -- Of the schema and of the extension.
  dialect constant name := 'pipeline_kafka';
  objects constant text[] := ARRAY[
    'FUNCTION pipeline_kafka.add_broker(text)',
    'FUNCTION pipeline_kafka.remove_broker(text)',
    'FUNCTION pipeline_kafka.consume_begin(text, text, text, text, text, text, integer, integer, integer, bigint, text, integer)',
    'FUNCTION pipeline_kafka.consume_begin()',
    'FUNCTION pipeline_kafka.consume_end(text, text)',
    'FUNCTION pipeline_kafka.consume_end()',
    'FUNCTION pipeline_kafka.consume_begin_stream_partitioned(text, text, text, text, text, integer, integer, integer, bigint, text, integer)',
    'FUNCTION pipeline_kafka.consume_end_stream_partitioned(text)',
    'FUNCTION pipeline_kafka.topic_watermarks(text, integer)',
    'FUNCTION pipeline_kafka.produce_message(text, bytea, integer, bytea)',
    'FUNCTION pipeline_kafka.emit_tuple()',
    'FUNCTION pipeline_kafka.change_broker()',
    'VIEW pipeline_kafka.consumers',
    'VIEW pipeline_kafka.brokers',
    'VIEW pipeline_kafka.offsets',
    'VIEW pipeline_kafka.consumer_lag',
    'FUNCTION public.kafka_consume_begin(text, text, integer, text, text)',
    'FUNCTION public.kafka_consume_begin(integer, text, text)',
    'FUNCTION public.kafka_consume_end(text, text)',
    'FUNCTION public.kafka_consume_end()',
    'VIEW public.pipeline_kafka_consumers',
    'VIEW public.pipeline_kafka_brokers',
    'VIEW public.pipeline_kafka_offsets'];
  object text;
  found_owner oid;
BEGIN
  IF to_regnamespace(quote_ident(dialect)) IS NULL THEN
    EXECUTE format('CREATE SCHEMA %I', dialect);
  END IF;
  FOREACH object IN ARRAY ('SCHEMA ' || quote_ident(dialect)) || objects LOOP
    found_owner := CASE split_part(object, ' ', 1)
      WHEN 'FUNCTION' THEN (SELECT proowner FROM pg_proc WHERE oid = to_regprocedure(substr(object, 10)))
      WHEN 'VIEW' THEN (SELECT relowner FROM pg_class WHERE oid = to_regclass(substr(object, 6)))
      WHEN 'SCHEMA' THEN (SELECT nspowner FROM pg_namespace WHERE oid = to_regnamespace(substr(object, 8)))
    END;
    CONTINUE WHEN found_owner IS NULL;
    IF split_part(object, ' ', 1) = 'VIEW' AND (SELECT relkind FROM pg_class WHERE oid = to_regclass(substr(object, 6))) <> 'v' THEN
      RAISE EXCEPTION '% exists already and is no view', substr(object, 6)
        USING ERRCODE = '42710', DETAIL = 'code: dialect-name-taken',
        HINT = 'It may be what this dialect takes the place of: docs/migrating-from-... say how to come from there.';
    END IF;
    IF NOT (found_owner = (SELECT nspowner FROM pg_namespace WHERE nspname = 'millrace') OR (SELECT oid = found_owner FROM pg_roles WHERE rolname = current_user)
      OR (SELECT rolsuper FROM pg_roles WHERE oid = found_owner))
    THEN
      RAISE EXCEPTION '% exists already and belongs to role %', object, quote_ident(pg_get_userbyid(found_owner))
        USING ERRCODE = '42710', DETAIL = 'code: dialect-name-taken',
        HINT = 'The dialect needs that name. Drop or rename what has it, or let the owner of schema millrace own it.';
    END IF;
    IF split_part(object, ' ', 1) <> 'SCHEMA' AND EXISTS (SELECT FROM pg_extension WHERE extname = dialect) THEN
      EXECUTE format('ALTER EXTENSION %I ADD %s', dialect, object);
    END IF;
  END LOOP;
END
$names$;

-- pipeline_kafka as its users wrote it: 0.9 in the schema pipeline_kafka, 0.8 in public. A thin layer without
-- tables of its own over the schema millrace, which can be run again over what it made. What it makes is listed in
-- pipeline_kafka.json.

-- Functions that take the name of a relation pin no search_path, because the caller's decides what the name means.
-- They do nothing but call, with everything qualified, no operator and exact types.

CREATE OR REPLACE FUNCTION pipeline_kafka.add_broker(host text) RETURNS text
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT millrace.add_broker(host);
  SELECT text 'success';
$$;
COMMENT ON FUNCTION pipeline_kafka.add_broker(text) IS 'Adds a Kafka broker, host or host:port.';

CREATE OR REPLACE FUNCTION pipeline_kafka.remove_broker(host text) RETURNS text
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT millrace.remove_broker(host);
  SELECT text 'success';
$$;
COMMENT ON FUNCTION pipeline_kafka.remove_broker(text) IS 'Removes a Kafka broker.';

CREATE OR REPLACE FUNCTION pipeline_kafka.consume_begin(
  topic text,
  stream text,
  format text DEFAULT 'text',
  delimiter text DEFAULT E'\t',
  quote text DEFAULT NULL,
  escape text DEFAULT NULL,
  batchsize integer DEFAULT 1000,
  maxbytes integer DEFAULT 32000000,
  parallelism integer DEFAULT 1,
  start_offset bigint DEFAULT NULL,
  group_id text DEFAULT NULL,
  timeout integer DEFAULT 250
) RETURNS text
LANGUAGE sql
AS $$
  SELECT millrace.start_consumer(topic, millrace.relation(stream), stream, format, delimiter, quote, escape,
    batchsize, maxbytes, parallelism, start_offset, group_id, timeout);
  SELECT 'success'::pg_catalog.text;
$$;
COMMENT ON FUNCTION pipeline_kafka.consume_begin(text, text, text, text, text, text, integer, integer, integer, bigint, text, integer) IS
  'Begins to load the messages of a topic into a relation.';

CREATE OR REPLACE FUNCTION pipeline_kafka.consume_begin() RETURNS text
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT millrace.start_consumers();
  SELECT text 'success';
$$;
COMMENT ON FUNCTION pipeline_kafka.consume_begin() IS 'Begins every consumer again that was begun before.';

CREATE OR REPLACE FUNCTION pipeline_kafka.consume_end(topic text, stream text) RETURNS text
LANGUAGE sql
AS $$
  SELECT millrace.stop_consumer(topic, millrace.relation(stream), stream, pg_catalog.current_schemas(false));
  SELECT 'success'::pg_catalog.text;
$$;
COMMENT ON FUNCTION pipeline_kafka.consume_end(text, text) IS
  'Ends loading a topic into a relation. Where it stopped is kept.';

CREATE OR REPLACE FUNCTION pipeline_kafka.consume_end() RETURNS text
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT millrace.stop_consumers();
  SELECT text 'success';
$$;
COMMENT ON FUNCTION pipeline_kafka.consume_end() IS 'Ends every consumer.';

CREATE OR REPLACE FUNCTION pipeline_kafka.consume_begin_stream_partitioned(
  topic text,
  format text DEFAULT 'text',
  delimiter text DEFAULT E'\t',
  quote text DEFAULT NULL,
  escape text DEFAULT NULL,
  batchsize integer DEFAULT 1000,
  maxbytes integer DEFAULT 32000000,
  parallelism integer DEFAULT 1,
  start_offset bigint DEFAULT NULL,
  group_id text DEFAULT NULL,
  timeout integer DEFAULT 250
) RETURNS text
LANGUAGE sql
AS $$
  SELECT millrace.start_routed(topic, pg_catalog.current_schemas(false), format, delimiter, quote, escape,
    batchsize, maxbytes, parallelism, start_offset, group_id, timeout);
  SELECT 'success'::pg_catalog.text;
$$;
COMMENT ON FUNCTION pipeline_kafka.consume_begin_stream_partitioned(text, text, text, text, text, integer, integer, integer, bigint, text, integer) IS
  'Begins to load the messages of a topic into the relations that their keys name.';

CREATE OR REPLACE FUNCTION pipeline_kafka.consume_end_stream_partitioned(topic text) RETURNS text
LANGUAGE sql
AS $$
  SELECT millrace.stop_routed(topic, pg_catalog.current_schemas(false));
  SELECT 'success'::pg_catalog.text;
$$;
COMMENT ON FUNCTION pipeline_kafka.consume_end_stream_partitioned(text) IS
  'Ends loading a topic into the relations that its keys name. Where it stopped is kept.';

CREATE OR REPLACE FUNCTION pipeline_kafka.topic_watermarks(topic text, partition integer)
RETURNS TABLE (partition integer, low_watermark bigint, high_watermark bigint)
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT w.partition_id, w.low_watermark, w.high_watermark FROM millrace.topic_watermarks($1, $2) AS w
$$;
COMMENT ON FUNCTION pipeline_kafka.topic_watermarks(text, integer) IS
  'First offset and the offset after the last message of a partition (NULL: of each), as a daemon last saw them.';

CREATE OR REPLACE FUNCTION pipeline_kafka.produce_message(
  topic text, message bytea, partition integer DEFAULT NULL, key bytea DEFAULT NULL
) RETURNS text
LANGUAGE sql
AS $$
  SELECT CASE WHEN millrace.write_message(topic, message, key, partition, NULL, 'default', NULL, NULL) IS NOT NULL
    THEN 'success'::pg_catalog.text END
$$;
COMMENT ON FUNCTION pipeline_kafka.produce_message(text, bytea, integer, bytea) IS
  'Sends a message to a topic when the transaction commits.';

-- Runs as the role that writes the row: what a row looks like as JSON can be code of whoever made its types.
CREATE OR REPLACE FUNCTION pipeline_kafka.emit_tuple() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  tuple json;
  partition integer;
  query text;
BEGIN
  IF TG_WHEN <> 'AFTER' OR TG_LEVEL <> 'ROW' OR TG_OP NOT IN ('INSERT', 'UPDATE') THEN
    PERFORM millrace.refuse('trigger-misused',
      format('emit_tuple is for AFTER INSERT OR UPDATE triggers FOR EACH ROW; trigger %I is %s %s FOR EACH %s',
        TG_NAME, TG_WHEN, TG_OP, TG_LEVEL));
  ELSIF TG_NARGS NOT BETWEEN 1 AND 3 THEN
    PERFORM millrace.refuse('trigger-misused',
      format('emit_tuple takes a topic, a partition and a key column, of which one to three are given; trigger %I gives %s arguments',
        TG_NAME, TG_NARGS));
  END IF;
  IF TG_NARGS > 1 AND TG_ARGV[1] <> '-1' THEN
    IF TG_ARGV[1] !~ '^[0-9]{1,10}$' OR TG_ARGV[1]::bigint > 2147483647 THEN
      PERFORM millrace.refuse('partition-invalid', format('there is no partition %L', left(TG_ARGV[1], 64)));
    END IF;
    partition := TG_ARGV[1];
  END IF;
  tuple := row_to_json(NEW);
  -- So stands a virtual generated column there, whatever its value is.
  IF position(':null' IN tuple::text) > 0 THEN
    query := millrace.row_query(TG_RELID);
    IF query IS NOT NULL THEN
      EXECUTE query INTO tuple USING NEW;
    END IF;
  END IF;
  IF TG_NARGS > 2 AND tuple -> TG_ARGV[2] IS NULL THEN
    PERFORM millrace.refuse('column-missing',
      format('%I.%I has no column %I for the key', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_ARGV[2]));
  END IF;
  -- An expression is evaluated at once, where PERFORM would run a query.
  IF millrace.write_message(TG_ARGV[0], convert_to(tuple::text, 'UTF8'),
    CASE WHEN TG_NARGS > 2 THEN convert_to(tuple ->> TG_ARGV[2], 'UTF8') END,
    partition, NULL, 'default', NULL, format('%I.%I', TG_TABLE_SCHEMA, TG_TABLE_NAME)) IS NULL
  THEN
    NULL;
  END IF;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION pipeline_kafka.emit_tuple() IS
  'Trigger function (topic, partition, key): sends each new row as JSON. AFTER INSERT OR UPDATE, FOR EACH ROW.';

-- The name of a relation is shown as the reader's search_path needs it, which is mostly as it was given.
CREATE OR REPLACE VIEW pipeline_kafka.consumers WITH (security_barrier = true) AS
SELECT c.id, c.topic, CASE WHEN NOT c.route_by_key THEN
    coalesce(r.oid::regclass::text, format('%I.%I', c.target_schema, c.target_name)) END AS relation,
  c.group_id, c.format, c.delimiter, c.quote, c.escape, c.batchsize, c.maxbytes, c.parallelism, c.timeout
FROM millrace.visible_consumer AS c
LEFT JOIN pg_namespace AS n ON n.nspname = c.target_schema
LEFT JOIN pg_class AS r ON r.relnamespace = n.oid AND r.relname = c.target_name
WHERE c.cluster = 'default' AND c.topic IS NOT NULL;
COMMENT ON VIEW pipeline_kafka.consumers IS 'Consumers that were begun, running or not.';
COMMENT ON COLUMN pipeline_kafka.consumers.id IS 'Number of the consumer.';
COMMENT ON COLUMN pipeline_kafka.consumers.topic IS 'Topic that is read.';
COMMENT ON COLUMN pipeline_kafka.consumers.relation IS 'Relation that is loaded; NULL: those that the message keys name.';
COMMENT ON COLUMN pipeline_kafka.consumers.group_id IS 'Consumer group that was asked for.';
COMMENT ON COLUMN pipeline_kafka.consumers.format IS 'text, csv or json.';
COMMENT ON COLUMN pipeline_kafka.consumers.delimiter IS 'As for COPY.';
COMMENT ON COLUMN pipeline_kafka.consumers.quote IS 'As for COPY.';
COMMENT ON COLUMN pipeline_kafka.consumers.escape IS 'As for COPY.';
COMMENT ON COLUMN pipeline_kafka.consumers.batchsize IS 'Buffered messages from which a commit happens.';
COMMENT ON COLUMN pipeline_kafka.consumers.maxbytes IS 'Buffered bytes from which a commit happens.';
COMMENT ON COLUMN pipeline_kafka.consumers.parallelism IS 'COPY streams per daemon.';
COMMENT ON COLUMN pipeline_kafka.consumers.timeout IS 'Milliseconds a fetch waits for messages.';

CREATE OR REPLACE VIEW pipeline_kafka.brokers AS
SELECT host FROM millrace.broker WHERE cluster = 'default';
COMMENT ON VIEW pipeline_kafka.brokers IS 'Brokers that were added; INSERT adds one, DELETE removes one.';
COMMENT ON COLUMN pipeline_kafka.brokers.host IS 'host or host:port.';

CREATE OR REPLACE VIEW pipeline_kafka.offsets WITH (security_barrier = true) AS
SELECT l.consumer_id, l.partition, l.next_offset - 1 AS "offset"
FROM millrace.lag AS l JOIN pipeline_kafka.consumers AS c ON c.id = l.consumer_id;
COMMENT ON VIEW pipeline_kafka.offsets IS 'The last offset of each partition that was read and committed.';
COMMENT ON COLUMN pipeline_kafka.offsets.consumer_id IS 'Number of the consumer.';
COMMENT ON COLUMN pipeline_kafka.offsets.partition IS 'Partition of its topic.';
COMMENT ON COLUMN pipeline_kafka.offsets."offset" IS 'The last offset that was read and committed.';

CREATE OR REPLACE VIEW pipeline_kafka.consumer_lag WITH (security_barrier = true) AS
SELECT l.consumer_id, c.group_id, c.topic, l.partition, l.next_offset AS "offset", l.high_watermark, l.lag, l.age
FROM millrace.lag AS l JOIN pipeline_kafka.consumers AS c ON c.id = l.consumer_id;
COMMENT ON VIEW pipeline_kafka.consumer_lag IS 'How far each consumer is behind in each partition, by the daemon''s last report.';
COMMENT ON COLUMN pipeline_kafka.consumer_lag.consumer_id IS 'Number of the consumer.';
COMMENT ON COLUMN pipeline_kafka.consumer_lag.group_id IS 'Consumer group that was asked for.';
COMMENT ON COLUMN pipeline_kafka.consumer_lag.topic IS 'Topic that is read.';
COMMENT ON COLUMN pipeline_kafka.consumer_lag.partition IS 'Partition of the topic.';
COMMENT ON COLUMN pipeline_kafka.consumer_lag."offset" IS 'Offset of the next message to read.';
COMMENT ON COLUMN pipeline_kafka.consumer_lag.high_watermark IS 'Offset after the last message; NULL: not reported yet.';
COMMENT ON COLUMN pipeline_kafka.consumer_lag.lag IS 'Messages not read yet; NULL: not reported yet.';
COMMENT ON COLUMN pipeline_kafka.consumer_lag.age IS 'How long ago a daemon last looked.';

CREATE OR REPLACE FUNCTION pipeline_kafka.change_broker() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF TG_OP <> 'INSERT' THEN
    PERFORM millrace.remove_broker(OLD.host);
  END IF;
  IF TG_OP <> 'DELETE' THEN
    PERFORM millrace.add_broker(NEW.host);
    RETURN NEW;
  END IF;
  RETURN OLD;
END
$$;

-- 0.8

CREATE OR REPLACE FUNCTION public.kafka_consume_begin(
  stream text, topic text, parallelism integer DEFAULT 1, format text DEFAULT 'text', delimiter text DEFAULT E'\t'
) RETURNS text
LANGUAGE sql
AS $$
  SELECT millrace.start_consumer(topic, millrace.relation(stream), stream, format, delimiter, NULL, NULL,
    NULL, NULL, parallelism, NULL, NULL, NULL);
  SELECT 'success'::pg_catalog.text;
$$;
COMMENT ON FUNCTION public.kafka_consume_begin(text, text, integer, text, text) IS
  'Begins to load the messages of a topic into a relation.';

-- The document prints the defaults of the form above; what is left out is as it was for each consumer.
CREATE OR REPLACE FUNCTION public.kafka_consume_begin(
  parallelism integer DEFAULT NULL, format text DEFAULT NULL, delimiter text DEFAULT NULL
) RETURNS text
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT millrace.start_consumers(parallelism, format, delimiter);
  SELECT text 'success';
$$;
COMMENT ON FUNCTION public.kafka_consume_begin(integer, text, text) IS
  'Begins every consumer again that was begun before; options that are left out stay as they were.';

CREATE OR REPLACE FUNCTION public.kafka_consume_end(stream text, topic text) RETURNS text
LANGUAGE sql
AS $$
  SELECT millrace.stop_consumer(topic, millrace.relation(stream), stream, pg_catalog.current_schemas(false));
  SELECT 'success'::pg_catalog.text;
$$;
COMMENT ON FUNCTION public.kafka_consume_end(text, text) IS
  'Ends loading a topic into a relation. Where it stopped is kept.';

CREATE OR REPLACE FUNCTION public.kafka_consume_end() RETURNS text
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT millrace.stop_consumers();
  SELECT text 'success';
$$;
COMMENT ON FUNCTION public.kafka_consume_end() IS 'Ends every consumer.';

CREATE OR REPLACE VIEW public.pipeline_kafka_consumers WITH (security_barrier = true) AS
SELECT id, relation, topic, format, delimiter, quote, escape, batchsize, parallelism FROM pipeline_kafka.consumers;
COMMENT ON VIEW public.pipeline_kafka_consumers IS 'Consumers that were begun, running or not.';
COMMENT ON COLUMN public.pipeline_kafka_consumers.id IS 'Number of the consumer.';
COMMENT ON COLUMN public.pipeline_kafka_consumers.relation IS 'Relation that is loaded.';
COMMENT ON COLUMN public.pipeline_kafka_consumers.topic IS 'Topic that is read.';
COMMENT ON COLUMN public.pipeline_kafka_consumers.format IS 'text, csv or json.';
COMMENT ON COLUMN public.pipeline_kafka_consumers.delimiter IS 'As for COPY.';
COMMENT ON COLUMN public.pipeline_kafka_consumers.quote IS 'As for COPY.';
COMMENT ON COLUMN public.pipeline_kafka_consumers.escape IS 'As for COPY.';
COMMENT ON COLUMN public.pipeline_kafka_consumers.batchsize IS 'Buffered messages from which a commit happens.';
COMMENT ON COLUMN public.pipeline_kafka_consumers.parallelism IS 'COPY streams per daemon.';

CREATE OR REPLACE VIEW public.pipeline_kafka_brokers AS SELECT host FROM pipeline_kafka.brokers;
COMMENT ON VIEW public.pipeline_kafka_brokers IS 'Brokers; INSERT adds one, DELETE removes one.';
COMMENT ON COLUMN public.pipeline_kafka_brokers.host IS 'host or host:port.';

CREATE OR REPLACE VIEW public.pipeline_kafka_offsets WITH (security_barrier = true) AS
SELECT consumer_id, partition, "offset" FROM pipeline_kafka.offsets;
COMMENT ON VIEW public.pipeline_kafka_offsets IS 'The last offset of each partition that was read and committed.';
COMMENT ON COLUMN public.pipeline_kafka_offsets.consumer_id IS 'Number of the consumer.';
COMMENT ON COLUMN public.pipeline_kafka_offsets.partition IS 'Partition of its topic.';
COMMENT ON COLUMN public.pipeline_kafka_offsets."offset" IS 'The last offset that was read and committed.';

DROP TRIGGER IF EXISTS change_broker ON pipeline_kafka.brokers;
CREATE TRIGGER change_broker INSTEAD OF INSERT OR UPDATE OR DELETE ON pipeline_kafka.brokers
  FOR EACH ROW EXECUTE FUNCTION pipeline_kafka.change_broker();
DROP TRIGGER IF EXISTS change_broker ON public.pipeline_kafka_brokers;
CREATE TRIGGER change_broker INSTEAD OF INSERT OR UPDATE OR DELETE ON public.pipeline_kafka_brokers
  FOR EACH ROW EXECUTE FUNCTION pipeline_kafka.change_broker();

GRANT USAGE ON SCHEMA pipeline_kafka TO PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA pipeline_kafka TO PUBLIC;
GRANT EXECUTE ON FUNCTION public.kafka_consume_begin(text, text, integer, text, text),
  public.kafka_consume_begin(integer, text, text), public.kafka_consume_end(text, text),
  public.kafka_consume_end() TO PUBLIC;
GRANT SELECT ON pipeline_kafka.consumers, pipeline_kafka.offsets, pipeline_kafka.consumer_lag,
  public.pipeline_kafka_consumers, public.pipeline_kafka_offsets TO PUBLIC;
-- LOCK TABLE on a view locks its tables with the rights of the view's owner, so nobody else gets more than these two.
GRANT SELECT, INSERT ON pipeline_kafka.brokers, public.pipeline_kafka_brokers TO PUBLIC;
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'millrace_admin') THEN
    GRANT UPDATE, DELETE ON pipeline_kafka.brokers, public.pipeline_kafka_brokers TO millrace_admin;
  END IF;
END
$$;

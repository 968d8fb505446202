-- Starting and stopping consumers, as the role that calls. The relation arrives resolved (by millrace.relation,
-- along the caller's search_path); what is stored is its schema and name.

-- What is asked of a consumer that runs already changes nothing, and has to make sense all the same.
CREATE FUNCTION millrace.check_given(c millrace.consumer, options jsonb) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  given millrace.consumer := jsonb_populate_record(c, options);
BEGIN
  given.delimiter := millrace.delimiter_of(given);
  PERFORM millrace.check_options(given);
END
$$;

-- Begins, or begins again, as the options say that are given: keys are columns of millrace.consumer. Of a consumer that is there,
-- the others stay as they were; of a new one, they take their defaults.
CREATE FUNCTION millrace.begin_consumer(
  cluster text, topic text, topic_pattern text, target_schema text, target_name text, options jsonb
) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;

CREATE FUNCTION millrace.notice_foreign(target_schema text, target_name text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF EXISTS (SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = target_schema AND c.relname = target_name AND c.relkind = 'f')
  THEN
    RAISE NOTICE '% is a foreign table: a message may arrive there more than once', format('%I.%I', target_schema, target_name)
      USING DETAIL = 'code: foreign-at-least-once', HINT = 'Rows and position cannot be committed in one transaction.';
  END IF;
END
$$;

-- Schema and name of a relation that was looked up along the caller's search_path.
CREATE FUNCTION millrace.check_relation(target regclass, target_text text, OUT target_schema text, OUT target_name text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  SELECT n.nspname, c.relname INTO target_schema, target_name
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = target;
  IF NOT FOUND THEN
    PERFORM millrace.refuse('relation-missing', CASE WHEN target_text IS NULL THEN 'a relation is needed, not NULL'
      ELSE format('relation %L does not exist', left(target_text, 256)) END);
  END IF;
END
$$;

-- NULL options take the value they had, or their default.
CREATE FUNCTION millrace.start_consumer(
  topic text, target regclass, target_text text, format text, delimiter text, quote text, escape text,
  batchsize integer, maxbytes integer, parallelism integer, start_offset bigint, group_id text, timeout integer,
  cluster text DEFAULT 'default'
) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  relation record;
BEGIN
  PERFORM millrace.check_topic(topic);
  SELECT * INTO relation FROM millrace.check_relation(target, target_text);
  RETURN millrace.begin_consumer(cluster, topic, NULL, relation.target_schema, relation.target_name,
    millrace.dialect_options(format, delimiter, quote, escape, batchsize, maxbytes, parallelism, start_offset, group_id, timeout));
END
$$;
COMMENT ON FUNCTION millrace.start_consumer(text, regclass, text, text, text, text, text, integer, integer, integer, bigint, text, integer, text) IS
  'Begins to consume a topic into a relation, or begins again. What the dialects call.';

CREATE FUNCTION millrace.dialect_options(
  format text, delimiter text, quote text, escape text, batchsize integer, maxbytes integer, parallelism integer,
  start_offset bigint, group_id text, timeout integer
) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT jsonb_build_object('delimiter', delimiter, 'quote', quote, 'escape', escape, 'start_offset', start_offset,
      'start_time', NULL, 'start_partitions', NULL, 'group_id', group_id)
    || jsonb_strip_nulls(jsonb_build_object('format', lower(format), 'batchsize', batchsize, 'maxbytes', maxbytes,
      'parallelism', parallelism, 'timeout', timeout))
$$;

-- The key of each message names the relation; a name without schema is looked up in the first schema of the caller's path.
CREATE FUNCTION millrace.start_routed(
  topic text, schemas name[], format text, delimiter text, quote text, escape text,
  batchsize integer, maxbytes integer, parallelism integer, start_offset bigint, group_id text, timeout integer,
  cluster text DEFAULT 'default'
) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM millrace.check_topic(topic);
  IF schemas[1] IS NULL THEN
    PERFORM millrace.refuse('schema-absent', 'no schema of the search_path exists');
  END IF;
  RETURN millrace.begin_consumer(cluster, topic, NULL, schemas[1]::text, NULL,
    millrace.dialect_options(format, delimiter, quote, escape, batchsize, maxbytes, parallelism, start_offset, group_id, timeout));
END
$$;
COMMENT ON FUNCTION millrace.start_routed(text, name[], text, text, text, text, integer, integer, integer, bigint, text, integer, text) IS
  'Begins to consume a topic into the relations that the message keys name. What the dialects call.';

CREATE FUNCTION millrace.stop_routed(topic text, schemas name[], cluster text DEFAULT 'default') RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;
COMMENT ON FUNCTION millrace.stop_routed(text, name[], text) IS
  'Ends consuming a topic into the relations that the message keys name. What the dialects call.';

-- A consumer by topic and relation; also when the relation was dropped or renamed since, by the name recorded.
CREATE FUNCTION millrace.find_consumer(
  topic text, target regclass, target_text text, schemas name[], cluster text DEFAULT 'default'
) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;

CREATE FUNCTION millrace.stop_consumer(
  topic text, target regclass, target_text text, schemas name[], cluster text DEFAULT 'default'
) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;
COMMENT ON FUNCTION millrace.stop_consumer(text, regclass, text, name[], text) IS
  'Ends consuming a topic into a relation; its position is kept. What the dialects call.';

-- NULL options stay as they are. What no consumer could have is an error; one that cannot start for another reason does
-- not keep the others from starting.
CREATE FUNCTION millrace.start_consumers(
  parallelism integer DEFAULT NULL, format text DEFAULT NULL, delimiter text DEFAULT NULL, cluster text DEFAULT 'default'
) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;
COMMENT ON FUNCTION millrace.start_consumers(integer, text, text, text) IS
  'Begins every consumer again that the current role may start; returns how many. What the dialects call.';

CREATE FUNCTION millrace.stop_consumers(cluster text DEFAULT 'default') RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;
COMMENT ON FUNCTION millrace.stop_consumers(text) IS
  'Ends every consumer that the current role may end; returns how many. What the dialects call.';

-- No database can ask Kafka inside a function, so this is the daemon's last report. A topic nobody reports on is
-- noted for the daemon to look at.
CREATE FUNCTION millrace.topic_watermarks(topic text, partition integer DEFAULT NULL, cluster text DEFAULT 'default')
RETURNS TABLE (partition_id integer, low_watermark bigint, high_watermark bigint, reported_at timestamptz)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;
COMMENT ON FUNCTION millrace.topic_watermarks(text, integer, text) IS
  'First offset and the offset after the last message of a partition, or of all, as a daemon last saw them.';

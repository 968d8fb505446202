-- Starting and stopping consumers, as the role that calls. The relation arrives resolved (by millrace.relation,
-- along the caller's search_path); what is stored is its schema and name.

-- NULL options take the value they had, or their default.
CREATE FUNCTION millrace.start_consumer(
  topic text, target regclass, target_text text, format text, delimiter text, quote text, escape text,
  batchsize integer, maxbytes integer, parallelism integer, start_offset bigint, group_id text, timeout integer,
  cluster text DEFAULT 'default'
) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
<<given>>
DECLARE
  relation record;
  consumer record;
  broken text;
BEGIN
  PERFORM millrace.check_topic(topic);
  SELECT n.nspname AS schema, c.relname AS name, c.relkind AS kind INTO relation
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = start_consumer.target;
  IF NOT FOUND THEN
    PERFORM millrace.refuse('relation-missing',
      CASE WHEN target_text IS NULL THEN 'a relation is needed, not NULL'
        ELSE pg_catalog.format('relation %L does not exist', left(target_text, 256)) END);
  END IF;

  LOOP
    SELECT c.id, c.wanted, EXISTS (
      SELECT FROM millrace.failure AS f WHERE f.consumer_id = c.id AND f.version = c.version) AS failed
    INTO consumer FROM millrace.consumer AS c
    WHERE c.cluster = start_consumer.cluster AND c.topic = start_consumer.topic
      AND c.target_schema = relation.schema AND c.target_name = relation.name
    FOR NO KEY UPDATE;
    IF FOUND AND consumer.wanted = 'running' AND NOT consumer.failed THEN
      RAISE WARNING 'topic % is already being consumed into %', topic,
        pg_catalog.format('%I.%I', relation.schema, relation.name)
        USING DETAIL = 'code: already-running', HINT = 'Nothing was changed. End it first to change its options.';
      RETURN consumer.id;
    END IF;

    BEGIN
      IF FOUND THEN
        UPDATE millrace.consumer AS c SET
          group_id = start_consumer.group_id,
          format = lower(coalesce(start_consumer.format, c.format)),
          delimiter = start_consumer.delimiter,
          quote = start_consumer.quote,
          escape = start_consumer.escape,
          batchsize = coalesce(start_consumer.batchsize, c.batchsize),
          maxbytes = coalesce(start_consumer.maxbytes, c.maxbytes),
          parallelism = coalesce(start_consumer.parallelism, c.parallelism),
          timeout = coalesce(start_consumer.timeout, c.timeout),
          start_offset = start_consumer.start_offset,
          wanted = 'running'
        WHERE c.id = consumer.id;
      ELSE
        INSERT INTO millrace.consumer AS c (cluster, topic, target_schema, target_name, group_id, format, delimiter,
          quote, escape, batchsize, maxbytes, parallelism, timeout, start_offset, wanted)
        VALUES (start_consumer.cluster, start_consumer.topic, relation.schema, relation.name, start_consumer.group_id,
          lower(coalesce(start_consumer.format, 'text')), start_consumer.delimiter, start_consumer.quote,
          start_consumer.escape, coalesce(start_consumer.batchsize, 1000), coalesce(start_consumer.maxbytes, 32000000),
          coalesce(start_consumer.parallelism, 1), coalesce(start_consumer.timeout, 250), start_consumer.start_offset,
          'running')
        RETURNING c.id INTO consumer;
      END IF;
      EXIT;
    EXCEPTION WHEN unique_violation THEN
      GET STACKED DIAGNOSTICS broken = CONSTRAINT_NAME;
      IF broken = 'consumer_group' THEN
        PERFORM millrace.refuse('group-taken',
          pg_catalog.format('another consumer of topic %s is in group %L', topic, group_id));
      END IF;
      -- Somebody else began it at the same moment, or it is of a role whose consumers are not shown to this one.
      PERFORM FROM millrace.consumer AS c
      WHERE c.cluster = start_consumer.cluster AND c.topic = start_consumer.topic
        AND c.target_schema = relation.schema AND c.target_name = relation.name;
      IF NOT FOUND THEN
        PERFORM millrace.refuse('consumer-not-yours', pg_catalog.format(
          'topic %s is already being consumed into %I.%I by another role', topic, relation.schema, relation.name));
      END IF;
    END;
  END LOOP;

  IF relation.kind = 'f' THEN
    RAISE NOTICE '% is a foreign table: a message may arrive there more than once',
      pg_catalog.format('%I.%I', relation.schema, relation.name)
      USING DETAIL = 'code: foreign-at-least-once', HINT = 'Rows and position cannot be committed in one transaction.';
  END IF;
  PERFORM millrace.warn_without_daemon();
  RETURN consumer.id;
END
$$;
COMMENT ON FUNCTION millrace.start_consumer(text, regclass, text, text, text, text, text, integer, integer, integer, bigint, text, integer, text) IS
  'Begins to consume a topic into a relation, or begins again. What the dialects call.';

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

-- NULL options stay as they are. One that cannot start does not keep the others from starting.
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
  problem text;
  why text;
  advice text;
BEGIN
  FOR consumer IN
    SELECT c.id, c.topic, c.target_schema, c.target_name FROM millrace.consumer AS c
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
        wanted = 'running'
      WHERE c.id = consumer.id;
      started := started + 1;
    EXCEPTION WHEN raise_exception OR insufficient_privilege OR undefined_table OR wrong_object_type
      OR feature_not_supported OR object_not_in_prerequisite_state OR invalid_parameter_value
    THEN
      GET STACKED DIAGNOSTICS why = MESSAGE_TEXT, problem = PG_EXCEPTION_DETAIL, advice = PG_EXCEPTION_HINT;
      RAISE WARNING 'topic % into %.% was not started: %', consumer.topic,
        quote_ident(consumer.target_schema), quote_ident(consumer.target_name), why
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

-- The interface of the core's own: consumers with everything that they can do, by named arguments. A consumer is named by
-- its number, which consume() returns and consumer_id() finds.
-- Functions that take the name of a relation pin no search_path, because the caller's decides what the name means.
-- They do nothing but call, with everything qualified, no operator and exact types.

-- The one cluster that has brokers, where none is named.
CREATE FUNCTION millrace.given_cluster(cluster text) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;

CREATE FUNCTION millrace.add_cluster(name text, brokers text[], delivery text DEFAULT 'at_least_once') RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;
COMMENT ON FUNCTION millrace.add_cluster(text, text[], text) IS 'Adds a Kafka cluster with its brokers, host or host:port. For administrators.';

CREATE FUNCTION millrace.add_cluster(name text, brokers text, delivery text DEFAULT 'at_least_once') RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT millrace.add_cluster(name, string_to_array(brokers, ','), delivery)
$$;
COMMENT ON FUNCTION millrace.add_cluster(text, text, text) IS 'Adds a Kafka cluster with its brokers, separated by commas. For administrators.';

CREATE FUNCTION millrace.alter_cluster(name text, delivery text DEFAULT NULL, on_refused text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF alter_cluster.delivery IS NULL AND alter_cluster.on_refused IS NULL THEN
    PERFORM millrace.refuse('delivery-invalid', 'a cluster needs a delivery');
  END IF;
  PERFORM millrace.change_cluster(name, 'change', alter_cluster.delivery, NULL, alter_cluster.on_refused);
END
$$;
COMMENT ON FUNCTION millrace.alter_cluster(text, text, text) IS
  'How messages are sent to the cluster from now on, at_least_once or exactly_once, and what becomes of those that it does not take, wait or dead_letter. For administrators.';

CREATE FUNCTION millrace.resume_outbox(cluster text, unsent text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;
COMMENT ON FUNCTION millrace.resume_outbox(text, text) IS
  'Where Kafka and this database disagree about how far the outbox is sent: whether what the database holds for unsent is sent (send) or counts as sent (skip). For administrators.';

CREATE FUNCTION millrace.change_cluster(name text, what text, delivery text, unsent text, on_refused text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;

CREATE FUNCTION millrace.drop_cluster(name text, force boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;
COMMENT ON FUNCTION millrace.drop_cluster(text, boolean) IS
  'Removes a cluster that no consumer uses and whose messages are sent, or with force with those that are not, with its brokers and the grants of its topics. For administrators.';

-- options: columns of millrace.consumer. target is the relation that "into" names along the caller's search_path.
CREATE FUNCTION millrace.start_given(
  cluster text, topic text, topic_pattern text, "into" text, target regclass, route_by_key boolean, schemas name[], options jsonb
) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;

CREATE FUNCTION millrace.consume(
  topic text DEFAULT NULL, "into" text DEFAULT NULL,
  format text DEFAULT 'json', delimiter text DEFAULT NULL, quote text DEFAULT NULL, escape text DEFAULT NULL,
  encoding text DEFAULT NULL, json_path text DEFAULT NULL, columns text[] DEFAULT NULL,
  rest_column text DEFAULT NULL, unknown_keys text DEFAULT 'ignore', missing_keys text DEFAULT 'default',
  metadata jsonb DEFAULT NULL, mode text DEFAULT 'insert', key_columns text[] DEFAULT NULL,
  tombstone text DEFAULT NULL, transform text DEFAULT NULL, on_error text DEFAULT 'stop',
  dead_letter_limit bigint DEFAULT 1000000, dead_letter_max_age interval DEFAULT NULL,
  on_offset_gap text DEFAULT 'stop', batchsize integer DEFAULT 1000, maxbytes integer DEFAULT 32000000,
  parallelism integer DEFAULT 1, timeout integer DEFAULT 250, group_id text DEFAULT NULL,
  start_offset bigint DEFAULT NULL, start_time timestamptz DEFAULT NULL, start_partitions jsonb DEFAULT NULL,
  topic_pattern text DEFAULT NULL, route_by_key boolean DEFAULT false, cluster text DEFAULT NULL
) RETURNS bigint
LANGUAGE sql
AS $$
  SELECT millrace.start_given(cluster, topic, topic_pattern, "into", millrace.relation("into"), route_by_key,
    pg_catalog.current_schemas(false), pg_catalog.jsonb_build_object(
    'format', format, 'delimiter', delimiter, 'quote', quote, 'escape', escape, 'encoding', encoding,
    'json_path', json_path, 'columns', columns, 'rest_column', rest_column, 'unknown_keys', unknown_keys,
    'missing_keys', missing_keys, 'metadata', metadata, 'mode', mode, 'key_columns', key_columns,
    'tombstone', tombstone, 'transform', transform, 'on_error', on_error, 'dead_letter_limit', dead_letter_limit,
    'dead_letter_max_age', dead_letter_max_age, 'on_offset_gap', on_offset_gap, 'batchsize', batchsize,
    'maxbytes', maxbytes, 'parallelism', parallelism, 'timeout', timeout, 'group_id', group_id,
    'start_offset', start_offset, 'start_time', start_time, 'start_partitions', start_partitions))
$$;
COMMENT ON FUNCTION millrace.consume(text, text, text, text, text, text, text, text, text[], text, text, text, jsonb, text, text[], text, text, text, bigint, interval, text, integer, integer, integer, integer, text, bigint, timestamp with time zone, jsonb, text, boolean, text) IS
  'Begins to load a topic into a relation, or begins again; returns the number of the consumer.';

-- Of an unqualified name, the relation that the caller's search_path finds; also when it was dropped or renamed since.
CREATE FUNCTION millrace.consumer_id(topic text, "into" text, cluster text DEFAULT NULL) RETURNS bigint
LANGUAGE sql STABLE
AS $$
  SELECT millrace.find_consumer(topic, millrace.relation("into"), "into", pg_catalog.current_schemas(false),
    millrace.given_cluster(cluster))
$$;
COMMENT ON FUNCTION millrace.consumer_id(text, text, text) IS 'The number of the consumer that loads a topic into a relation.';

-- Locks a consumer that the caller may change.
CREATE FUNCTION millrace.own_consumer(consumer bigint) RETURNS millrace.consumer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  found_consumer millrace.consumer;
BEGIN
  SELECT * INTO found_consumer FROM millrace.consumer AS c WHERE c.id = consumer FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    PERFORM millrace.refuse('consumer-missing', format('there is no consumer %s', coalesce(consumer::text, 'NULL')));
  END IF;
  RETURN found_consumer;
END
$$;

CREATE FUNCTION millrace.pause(consumer bigint) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF (millrace.own_consumer(consumer)).wanted = 'stopped' THEN
    PERFORM millrace.refuse('consumer-not-running', format('consumer %s is not running', consumer));
  END IF;
  UPDATE millrace.consumer AS c SET wanted = 'stopped' WHERE c.id = consumer;
  PERFORM millrace.warn_without_daemon();
END
$$;
COMMENT ON FUNCTION millrace.pause(bigint) IS 'Stops a consumer; its position is kept.';

CREATE FUNCTION millrace.resume(consumer bigint) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;
COMMENT ON FUNCTION millrace.resume(bigint) IS 'Starts a consumer that stopped or failed, from where it stands.';

-- Deleting needs a right that would let everybody lock the table. A rule runs with the rights of the view's owner, and what may
-- be deleted stands in its conditions, which are asked of whoever inserts.
CREATE VIEW millrace.removal WITH (security_barrier = true) AS SELECT NULL::bigint AS consumer_id WHERE false;
COMMENT ON VIEW millrace.removal IS 'Takes the number of a consumer that is to be removed. For other views.';
CREATE RULE remove AS ON INSERT TO millrace.removal DO INSTEAD (
  DELETE FROM millrace.dead_letter AS d WHERE d.consumer_id IN (
    SELECT c.id FROM millrace.visible_consumer AS c WHERE c.parent_id = NEW.consumer_id OR c.id = NEW.consumer_id AND c.parent_id IS NULL);
  DELETE FROM millrace.batch AS b WHERE b.consumer_id IN (
    SELECT c.id FROM millrace.visible_consumer AS c WHERE c.parent_id = NEW.consumer_id OR c.id = NEW.consumer_id AND c.parent_id IS NULL);
  DELETE FROM millrace.consumer AS c WHERE c.id = NEW.consumer_id AND c.parent_id IS NULL
    AND c.id IN (SELECT v.id FROM millrace.visible_consumer AS v)
);
GRANT INSERT ON millrace.removal TO PUBLIC;

CREATE FUNCTION millrace.drop_consumer(consumer bigint) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;
COMMENT ON FUNCTION millrace.drop_consumer(bigint) IS
  'Removes a consumer with its positions, batches and dead letters; returns how many dead letters went with it.';

CREATE FUNCTION millrace.change_consumer(consumer bigint, options jsonb, reset text[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;

CREATE FUNCTION millrace.alter_consumer(
  consumer bigint,
  format text DEFAULT NULL, delimiter text DEFAULT NULL, quote text DEFAULT NULL, escape text DEFAULT NULL,
  encoding text DEFAULT NULL, json_path text DEFAULT NULL, columns text[] DEFAULT NULL,
  rest_column text DEFAULT NULL, unknown_keys text DEFAULT NULL, missing_keys text DEFAULT NULL,
  metadata jsonb DEFAULT NULL, mode text DEFAULT NULL, key_columns text[] DEFAULT NULL, tombstone text DEFAULT NULL,
  transform text DEFAULT NULL, on_error text DEFAULT NULL, dead_letter_limit bigint DEFAULT NULL,
  dead_letter_max_age interval DEFAULT NULL, on_offset_gap text DEFAULT NULL, batchsize integer DEFAULT NULL,
  maxbytes integer DEFAULT NULL, parallelism integer DEFAULT NULL, timeout integer DEFAULT NULL,
  group_id text DEFAULT NULL,
  reset text[] DEFAULT NULL
) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT millrace.change_consumer(consumer, jsonb_build_object(
    'format', lower(format), 'delimiter', delimiter, 'quote', quote, 'escape', escape, 'encoding', encoding,
    'json_path', json_path, 'columns', columns, 'rest_column', rest_column, 'unknown_keys', unknown_keys,
    'missing_keys', missing_keys, 'metadata', metadata, 'mode', mode, 'key_columns', key_columns,
    'tombstone', tombstone, 'transform', transform, 'on_error', on_error, 'dead_letter_limit', dead_letter_limit,
    'dead_letter_max_age', dead_letter_max_age, 'on_offset_gap', on_offset_gap, 'batchsize', batchsize,
    'maxbytes', maxbytes, 'parallelism', parallelism, 'timeout', timeout, 'group_id', group_id), reset)
$$;
COMMENT ON FUNCTION millrace.alter_consumer(bigint, text, text, text, text, text, text, text[], text, text, text, jsonb, text, text[], text, text, text, bigint, interval, text, integer, integer, integer, integer, text, text[]) IS
  'Changes options of a consumer. What is left out or NULL stays as it is; reset names those that go back to their default.';

-- Twice, so that the same start as the last time is asked for anew.
CREATE FUNCTION millrace.move_consumer(consumer bigint, start_offset bigint, start_time timestamptz, partition integer) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;

CREATE FUNCTION millrace.seek(consumer bigint, "offset" bigint, partition integer DEFAULT NULL) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF NOT coalesce("offset" >= 0, false) THEN
    PERFORM millrace.refuse('seek-invalid', format('%s is no offset', coalesce("offset"::text, 'NULL')));
  END IF;
  PERFORM millrace.move_consumer(consumer, "offset", NULL, partition);
END
$$;
COMMENT ON FUNCTION millrace.seek(bigint, bigint, integer) IS 'Moves a consumer to an offset, in one partition or in all of them.';

CREATE FUNCTION millrace.seek(consumer bigint, "time" timestamptz) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT millrace.move_consumer(consumer, NULL, "time", NULL)
$$;
COMMENT ON FUNCTION millrace.seek(bigint, timestamptz) IS
  'Moves a consumer to the first messages that are not older than a time, else to the end.';

CREATE FUNCTION millrace.seek(consumer bigint, "to" text, partition integer DEFAULT NULL) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;
COMMENT ON FUNCTION millrace.seek(bigint, text, integer) IS
  'Moves a consumer to the beginning, the end, an offset or a time, in one partition or in all of them.';

-- What a consumer with a pattern is made to be, the consumers of its topics are as well. Where they start is passed on only when it
-- is asked for: they have gone on from there long since.
CREATE FUNCTION millrace.pass_to_children() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;

CREATE TRIGGER pass_to_children AFTER UPDATE ON millrace.consumer
  FOR EACH ROW WHEN (NEW.topic_pattern IS NOT NULL AND (NEW.version <> OLD.version OR NEW.wanted <> OLD.wanted
    OR (NEW.start_offset, NEW.start_time, NEW.start_partitions) IS DISTINCT FROM (OLD.start_offset, OLD.start_time, OLD.start_partitions)))
  EXECUTE FUNCTION millrace.pass_to_children();

-- Called by the daemon with the topics of the cluster. A topic that was there when the pattern was begun is read from where that
-- says; one that came later, from its beginning.
CREATE FUNCTION millrace.add_children(parent bigint, topics text[]) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;

-- The relation that the key of a message names, as SQL would write it; without a schema, in the one given. No row: there is none.
CREATE FUNCTION millrace.route(key text, target_schema text) RETURNS TABLE (schema text, name text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;

-- What dropped consumers have left, because a load was under way then, and requests and snapshots that nobody will ask about any
-- more.
CREATE FUNCTION millrace.sweep() RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;

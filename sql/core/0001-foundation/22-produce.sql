-- A message is written as the role that calls: row-level security of the outbox asks whether that role may produce to
-- the topic, also where a trigger calls. What could never be sent is refused here, while somebody is there to be told.

-- name, value, name, value, ... of {"name": "value"}, or of what millrace loads as headers: an array of
-- {"name": ..., "value": ...}, with name_hex and hex where bytes are no text.
CREATE FUNCTION millrace.header_list(headers jsonb) RETURNS bytea[]
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;

CREATE FUNCTION millrace.header_bytes(item jsonb, text_member text, hex_member text) RETURNS bytea
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;

-- What every way to produce calls.
CREATE FUNCTION millrace.write_message(
  topic text, value bytea, key bytea, partition integer, headers bytea[], cluster text, "timestamp" timestamptz, source text
) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;
COMMENT ON FUNCTION millrace.write_message(text, bytea, bytea, integer, bytea[], text, timestamptz, text) IS 'What the dialects call.';

-- The four forms of produce() pin no search_path, so that they become part of the statement that calls them. They do
-- nothing but call, with everything qualified, no operator and exact types.
CREATE FUNCTION millrace.produce(
  topic text, value text, key text DEFAULT NULL, partition integer DEFAULT NULL, headers jsonb DEFAULT NULL,
  cluster text DEFAULT NULL, "timestamp" timestamptz DEFAULT NULL
) RETURNS bigint
LANGUAGE sql
AS $$
  SELECT millrace.write_message(topic, pg_catalog.convert_to(value, 'UTF8'), pg_catalog.convert_to(key, 'UTF8'),
    partition, millrace.header_list(headers), cluster, "timestamp", NULL)
$$;
COMMENT ON FUNCTION millrace.produce(text, text, text, integer, jsonb, text, timestamptz) IS
  'Sends a message to a topic when the transaction commits; returns its number in the outbox.';

CREATE FUNCTION millrace.produce(
  topic text, value bytea, key bytea DEFAULT NULL, partition integer DEFAULT NULL, headers jsonb DEFAULT NULL,
  cluster text DEFAULT NULL, "timestamp" timestamptz DEFAULT NULL
) RETURNS bigint
LANGUAGE sql
AS $$
  SELECT millrace.write_message(topic, value, key, partition, millrace.header_list(headers), cluster, "timestamp", NULL)
$$;
COMMENT ON FUNCTION millrace.produce(text, bytea, bytea, integer, jsonb, text, timestamptz) IS
  'Sends a message to a topic when the transaction commits; returns its number in the outbox.';

CREATE FUNCTION millrace.produce(
  topic text, value text, key bytea, partition integer DEFAULT NULL, headers jsonb DEFAULT NULL,
  cluster text DEFAULT NULL, "timestamp" timestamptz DEFAULT NULL
) RETURNS bigint
LANGUAGE sql
AS $$
  SELECT millrace.write_message(topic, pg_catalog.convert_to(value, 'UTF8'), key, partition,
    millrace.header_list(headers), cluster, "timestamp", NULL)
$$;
COMMENT ON FUNCTION millrace.produce(text, text, bytea, integer, jsonb, text, timestamptz) IS
  'Sends a message to a topic when the transaction commits; returns its number in the outbox.';

CREATE FUNCTION millrace.produce(
  topic text, value bytea, key text, partition integer DEFAULT NULL, headers jsonb DEFAULT NULL,
  cluster text DEFAULT NULL, "timestamp" timestamptz DEFAULT NULL
) RETURNS bigint
LANGUAGE sql
AS $$
  SELECT millrace.write_message(topic, value, pg_catalog.convert_to(key, 'UTF8'), partition,
    millrace.header_list(headers), cluster, "timestamp", NULL)
$$;
COMMENT ON FUNCTION millrace.produce(text, bytea, text, integer, jsonb, text, timestamptz) IS
  'Sends a message to a topic when the transaction commits; returns its number in the outbox.';

-- Whether turning a row of the relation into JSON may call what users made: casts of types that are not PostgreSQL's own, expressions
-- of virtual columns.
CREATE FUNCTION millrace.rows_run_code(relation oid) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT EXISTS (SELECT FROM pg_attribute AS a
    WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped AND (a.atttypid >= 16384 OR a.attgenerated = 'v'))
$$;

-- The query that makes JSON of a trigger's row, $1; NULL: row_to_json does. A trigger is handed NULL in the place of a
-- virtual generated column. What such an expression calls is PostgreSQL's own.
CREATE FUNCTION millrace.row_query(relation oid) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;

-- pg2kafka as its users wrote it. The queue is the outbox of millrace, so there is no table here and nothing to purge.
-- What it makes is listed in pg2kafka.json; setup() adds, for each role that owns tables, a function for triggers, in this
-- schema too: DROP SCHEMA pg2kafka CASCADE takes the triggers with it.

-- Replaced by set_namespace().
DO $$
BEGIN
  IF to_regprocedure('pg2kafka.namespace()') IS NULL THEN
    CREATE FUNCTION pg2kafka.namespace() RETURNS text LANGUAGE sql SET search_path = pg_catalog, pg_temp AS 'SELECT NULL::text';
    COMMENT ON FUNCTION pg2kafka.namespace() IS 'Part of each topic''s name, or NULL.';
  END IF;
END
$$;

-- What Kafka does not take in a name becomes an underscore.
CREATE OR REPLACE FUNCTION pg2kafka.topic(table_part text) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT regexp_replace(concat_ws('.', 'pg2kafka', nullif(pg2kafka.namespace(), ''), current_database(), table_part),
    '[^a-zA-Z0-9._-]', '_', 'g')
$$;
COMMENT ON FUNCTION pg2kafka.topic(text) IS 'Name of the topic of a table: pg2kafka[.namespace].database.[schema.]table.';

-- The tables that are set up, each with its part of the topic's name.
CREATE OR REPLACE FUNCTION pg2kafka.tables() RETURNS TABLE (relation oid, table_part text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT DISTINCT ON (t.tgrelid) t.tgrelid,
    convert_from(substring(t.tgargs FROM 1 FOR position('\x00'::bytea IN t.tgargs) - 1), getdatabaseencoding())
  FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
  WHERE p.pronamespace = to_regnamespace('pg2kafka') AND t.tgnargs = 2 AND NOT t.tgisinternal AND t.tgparentid = 0
$$;
COMMENT ON FUNCTION pg2kafka.tables() IS 'The tables whose changes are sent.';

-- A table whose topic could not be written to any more could not be written to itself, so that is found out first.
CREATE OR REPLACE FUNCTION pg2kafka.set_namespace(name text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  target record;
BEGIN
  IF nullif(name, '') IS NOT DISTINCT FROM nullif(pg2kafka.namespace(), '') THEN
    RETURN;
  END IF;
  EXECUTE format('CREATE OR REPLACE FUNCTION pg2kafka.namespace() RETURNS text LANGUAGE sql SET search_path = pg_catalog, pg_temp AS %L',
    format('SELECT %L::text', nullif(name, '')));
  FOR target IN
    SELECT pg2kafka.topic(t.table_part) AS topic, c.relowner FROM pg2kafka.tables() AS t JOIN pg_class AS c ON c.oid = t.relation
  LOOP
    PERFORM millrace.check_topic(target.topic);
    IF NOT millrace.may_produce('default', target.topic, target.relowner) THEN
      PERFORM millrace.refuse('topic-not-granted',
        format('topic %s is not granted to role %I for producing', target.topic, pg_get_userbyid(target.relowner)));
    END IF;
  END LOOP;
END
$$;
COMMENT ON FUNCTION pg2kafka.set_namespace(text) IS
  'Makes a namespace, or NULL, part of each topic''s name from now on. For the role that owns the schema.';

-- Called as the role that owns the table: that one has to be allowed to produce to the topic.
CREATE OR REPLACE FUNCTION pg2kafka.send(relation oid, table_part text, external_id text, statement text, data json) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  at timestamptz := clock_timestamp();
  written text := to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US');
BEGIN
  PERFORM millrace.write_message(
    pg2kafka.topic(table_part),
    convert_to(format('{"uuid":"%s","external_id":%s,"statement":"%s","data":%s,"created_at":"%sZ"}', gen_random_uuid(),
      coalesce(to_json(external_id)::text, 'null'), statement, data, rtrim(rtrim(written, '0'), '.')), 'UTF8'),
    convert_to(external_id, 'UTF8'), NULL, NULL, 'default', at,
    'pg2kafka ' || (SELECT format('%I.%I', n.nspname, c.relname)
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = relation));
END
$$;
COMMENT ON FUNCTION pg2kafka.send(oid, text, text, text, json) IS 'Writes an event into the outbox.';

-- An UPDATE carries what changed. One that changes the id is the end of the old one and the beginning of the new one:
-- each has a key of its own. While the rows that a table had are still being sent, an UPDATE may take its row out of their way:
-- so the row follows.
CREATE OR REPLACE FUNCTION pg2kafka.record_change(op text, relation oid, table_part text, id_column text, old_row json, new_row json)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  old_id text := old_row ->> id_column;
  new_id text := new_row ->> id_column;
  changed text;
BEGIN
  IF op = 'UPDATE' AND old_id IS NOT DISTINCT FROM new_id THEN
    SELECT string_agg(to_json(n.key)::text || ':' || n.value::text, ',' ORDER BY n.place) INTO changed
    FROM json_each(new_row) WITH ORDINALITY AS n (key, value, place)
    WHERE n.value::text IS DISTINCT FROM (old_row -> n.key)::text;
    IF changed IS NOT NULL THEN
      PERFORM pg2kafka.send(relation, table_part, new_id, 'UPDATE', ('{' || changed || '}')::json);
    END IF;
    IF millrace.snapshot_open(relation, '!pg2kafka') THEN
      PERFORM pg2kafka.send(relation, table_part, new_id, 'SNAPSHOT', new_row);
    END IF;
    RETURN;
  END IF;
  IF old_row IS NOT NULL THEN
    PERFORM pg2kafka.send(relation, table_part, old_id, 'DELETE', '{}');
  END IF;
  IF new_row IS NOT NULL THEN
    PERFORM pg2kafka.send(relation, table_part, new_id, 'INSERT', new_row);
  END IF;
END
$$;
COMMENT ON FUNCTION pg2kafka.record_change(text, oid, text, text, json, json) IS 'Writes the events of a changed row.';

-- Who follows a topic knows of no TRUNCATE, so it is a DELETE of every row.
CREATE OR REPLACE FUNCTION pg2kafka.record_truncate(relation oid, table_part text, id_column text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  EXECUTE format('SELECT pg2kafka.send($1, $2, row_to_json(t) ->> $3, ''DELETE'', ''{}'') FROM %s AS t', relation::regclass)
  USING relation, table_part, id_column;
END
$$;
COMMENT ON FUNCTION pg2kafka.record_truncate(oid, text, text) IS 'Writes the events of a TRUNCATE.';

-- To a role that may not make functions here. For the role that owns the schema.
CREATE OR REPLACE FUNCTION pg2kafka.give(function text, role regrole) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', function);
  IF role::oid <> (SELECT r.oid FROM pg_roles AS r WHERE r.rolname = current_user) THEN
    EXECUTE format('GRANT CREATE ON SCHEMA pg2kafka TO %s', role);
    EXECUTE format('ALTER FUNCTION %s OWNER TO %s', function, role);
    EXECUTE format('REVOKE CREATE ON SCHEMA pg2kafka FROM %s', role);
  END IF;
  IF EXISTS (SELECT FROM pg_extension WHERE extname = 'pg2kafka') THEN
    EXECUTE format('ALTER FUNCTION %s DEPENDS ON EXTENSION pg2kafka', function);
  END IF;
END
$$;
COMMENT ON FUNCTION pg2kafka.give(text, regrole) IS 'Makes a function a role''s. For the role that owns the schema.';

-- Whether the function is there and the role's. Where it is not, it can be made, or an error says why not.
CREATE OR REPLACE FUNCTION pg2kafka.is_made(name text, role regrole) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF EXISTS (SELECT FROM pg_proc AS p WHERE p.oid = to_regprocedure(name) AND p.proowner = role::oid) THEN
    RETURN true;
  ELSIF NOT millrace.can_act_as((SELECT r.oid FROM pg_roles AS r WHERE r.rolname = current_user), role::oid) THEN
    PERFORM millrace.refuse('role-not-served', format('role %I cannot act as role %s', current_user, role));
  END IF;
  RETURN false;
END
$$;

-- A trigger runs as whoever writes to the table, who may have no right to any of this. So its function is the table owner's
-- and runs as that role; nobody else may make a trigger with it.
CREATE OR REPLACE FUNCTION pg2kafka.writer(role regrole) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  name constant text := format('pg2kafka.%I()', 'events of ' || role::oid);
BEGIN
  IF pg2kafka.is_made(name, role) THEN
    RETURN name;
  END IF;
  EXECUTE format($sql$
    CREATE OR REPLACE FUNCTION %s RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET bytea_output = 'hex' SET intervalstyle = 'postgres' SET extra_float_digits = 1
    AS $body$
    DECLARE
      query text;
      old_row json;
      new_row json;
    BEGIN
      -- a new owner could have what is called here act as the former one
      IF EXISTS (SELECT FROM pg_class AS c
        WHERE c.oid = TG_RELID AND c.relowner <> quote_ident(CURRENT_USER::text)::regrole AND NOT c.relispartition
          AND millrace.rows_run_code(c.oid))
      THEN
        PERFORM millrace.refuse('table-owner-changed',
          format('%%s belongs to another role than what sends its changes, %%I', TG_RELID::regclass, current_user));
      END IF;
      IF TG_OP = 'TRUNCATE' THEN
        PERFORM pg2kafka.record_truncate(TG_RELID, TG_ARGV[0], TG_ARGV[1]);
        RETURN NULL;
      END IF;
      query := millrace.row_query(TG_RELID);
      IF query IS NULL THEN
        old_row := row_to_json(OLD);
        new_row := row_to_json(NEW);
      ELSE
        IF TG_OP <> 'INSERT' THEN
          EXECUTE query INTO old_row USING OLD;
        END IF;
        IF TG_OP <> 'DELETE' THEN
          EXECUTE query INTO new_row USING NEW;
        END IF;
      END IF;
      PERFORM pg2kafka.record_change(TG_OP, TG_RELID, TG_ARGV[0], TG_ARGV[1], old_row, new_row);
      RETURN NULL;
    END
    $body$
  $sql$, name);
  PERFORM pg2kafka.give(name, role);
  RETURN name;
END
$$;
COMMENT ON FUNCTION pg2kafka.writer(regrole) IS 'The trigger function of a role''s tables; makes it where there is none.';

-- What a table was set up with: its part of the topic's name, and the column of the id.
CREATE OR REPLACE FUNCTION pg2kafka.arguments(relation oid) RETURNS text[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT ARRAY[convert_from(substring(t.tgargs FROM 1 FOR e.first_end - 1), getdatabaseencoding()),
    convert_from(substring(t.tgargs FROM e.first_end + 1 FOR length(t.tgargs) - e.first_end - 1), getdatabaseencoding())]
  FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
  CROSS JOIN LATERAL (SELECT position('\x00'::bytea IN t.tgargs) AS first_end) AS e
  WHERE t.tgrelid = arguments.relation AND t.tgname = '!pg2kafka' AND p.pronamespace = to_regnamespace('pg2kafka') AND t.tgnargs = 2
$$;
COMMENT ON FUNCTION pg2kafka.arguments(oid) IS 'What setup() was given for a table; NULL: it is not set up.';

-- NULL: the table is not set up (any more).
CREATE OR REPLACE FUNCTION pg2kafka.snapshot_message(relation oid) RETURNS text
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT format($sql$
    'default', %L, NULL::integer,
    convert_to(to_json(t.%2$I) #>> '{}', 'UTF8'),
    convert_to('{"uuid":"' || gen_random_uuid() || '","external_id":' || coalesce(to_json(to_json(t.%2$I) #>> '{}')::text, 'null')
      || ',"statement":"SNAPSHOT","data":' || row_to_json(t)::text || %3$L, 'UTF8'),
    NULL::bytea[], %4$L::timestamptz, %5$L$sql$,
    pg2kafka.topic(a.args[1]), a.args[2],
    format(',"created_at":"%sZ"}', rtrim(rtrim(to_char(now.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), '0'), '.')), now.at,
    'pg2kafka ' || (SELECT format('%I.%I', n.nspname, c.relname)
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = relation))
  FROM pg2kafka.arguments(relation) AS a (args), clock_timestamp() AS now (at)
$$;
COMMENT ON FUNCTION pg2kafka.snapshot_message(oid) IS 'The SQL by which millrace.write_chunk() makes events of a table''s rows.';

-- What the rows of a table are written with that is too large to be read in one transaction: as send() does it, but without a
-- call for each row. Which table it is and what its id is the trigger tells.
CREATE OR REPLACE FUNCTION pg2kafka.snapshot_writer(role regrole) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  name constant text := format('pg2kafka.%I(oid, bigint, bigint, tid[])', 'snapshots of ' || role::oid);
BEGIN
  IF pg2kafka.is_made(name, role) THEN
    RETURN name;
  END IF;
  EXECUTE format($sql$
    CREATE OR REPLACE FUNCTION pg2kafka.%I(relation oid, first_block bigint, end_block bigint, again tid[])
    RETURNS TABLE (written bigint, skipped tid[])
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET bytea_output = 'hex' SET intervalstyle = 'postgres' SET extra_float_digits = 1
    AS $body$
    BEGIN
      RETURN QUERY SELECT c.written, c.skipped
        FROM pg2kafka.snapshot_message(relation) AS m (message)
        CROSS JOIN LATERAL millrace.write_chunk(relation, first_block, end_block, again, m.message) AS c
        WHERE m.message IS NOT NULL;
      IF NOT FOUND THEN
        RETURN QUERY SELECT 0::bigint, '{}'::tid[];
      END IF;
    END
    $body$
  $sql$, 'snapshots of ' || role::oid);
  PERFORM pg2kafka.give(name, role);
  RETURN name;
END
$$;
COMMENT ON FUNCTION pg2kafka.snapshot_writer(regrole) IS
  'The function that writes the rows of a role''s large tables; makes it where there is none.';

CREATE OR REPLACE FUNCTION pg2kafka.setup(table_name_ref regclass, external_id_name text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET bytea_output = 'hex' SET intervalstyle = 'postgres' SET extra_float_digits = 1
AS $$
DECLARE
  former name;
  target record;
  part text;
  topic text;
  arguments text;
  function_name text;
  taken text;
  -- so many are read in the transaction of the call
  small constant bigint := 1000;
BEGIN
  SELECT c.oid, c.relkind, c.relpersistence, c.relowner, n.nspname, c.relname, format('%I.%I', n.nspname, c.relname) AS shown INTO target
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = table_name_ref;
  IF NOT FOUND THEN
    PERFORM millrace.refuse('relation-missing', 'a table is needed, not NULL');
  ELSIF target.relkind NOT IN ('r', 'p') THEN
    PERFORM millrace.refuse('relation-kind', format('%s is no table', target.shown));
  ELSIF target.relpersistence = 't' THEN
    PERFORM millrace.refuse('relation-temporary', format('%s is a temporary table', target.shown));
  ELSIF NOT EXISTS (SELECT FROM pg_attribute AS a
    WHERE a.attrelid = target.oid AND a.attname = external_id_name AND a.attnum > 0 AND NOT a.attisdropped)
  THEN
    PERFORM millrace.refuse('column-missing', format('%s has no column %I', target.shown, coalesce(external_id_name, 'NULL')));
  ELSIF NOT pg_has_role(target.relowner, 'USAGE') THEN
    PERFORM millrace.refuse('relation-not-yours', format('%s belongs to role %I', target.shown, pg_get_userbyid(target.relowner)));
  END IF;
  IF EXISTS (SELECT FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
    WHERE t.tgrelid = target.oid AND p.pronamespace = to_regnamespace('pg2kafka') AND p.proowner = target.relowner)
  THEN
    RAISE WARNING '% is set up already', target.shown USING DETAIL = 'code: already-set-up', HINT = 'Nothing was changed.';
    RETURN;
  END IF;
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    PERFORM millrace.refuse('setup-isolation', 'what others committed since this transaction began would be missed');
  END IF;

  part := CASE WHEN target.nspname = 'public' THEN '' ELSE target.nspname || '.' END || target.relname;
  topic := pg2kafka.topic(part);
  PERFORM millrace.check_topic(topic);
  SELECT t.relation::regclass::text INTO taken FROM pg2kafka.tables() AS t WHERE pg2kafka.topic(t.table_part) = topic AND t.relation <> target.oid LIMIT 1;
  IF taken IS NOT NULL THEN
    PERFORM millrace.refuse('topic-taken', format('the changes of %s go to topic %s', taken, topic));
  END IF;
  IF NOT millrace.may_produce('default', topic, target.relowner) THEN
    PERFORM millrace.refuse('topic-not-granted', format('topic %s is not granted to role %I for producing', topic, pg_get_userbyid(target.relowner)));
  END IF;

  FOR former IN
    SELECT t.tgname FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
    WHERE t.tgrelid = target.oid AND p.pronamespace = to_regnamespace('pg2kafka') AND t.tgparentid = 0
  LOOP
    EXECUTE format('DROP TRIGGER %I ON %s', former, target.shown);
  END LOOP;
  -- The name sorts before others': what another trigger changes again comes after.
  function_name := pg2kafka.writer(target.relowner::regrole);
  arguments := format('%L, %L', part, external_id_name);
  EXECUTE format('CREATE TRIGGER "!pg2kafka" AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION %s',
    target.shown, replace(function_name, '()', format('(%s)', arguments)));
  EXECUTE format('CREATE TRIGGER "!pg2kafka truncate" BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION %s',
    target.shown, replace(function_name, '()', format('(%s)', arguments)));
  -- Nobody writes to the table from here to the end of this transaction. Tables that inherit from it have no triggers of it.
  IF (SELECT sum(millrace.snapshot_blocks(r)) FROM millrace.snapshot_relations(target.oid, children := false) AS r) >= small THEN
    PERFORM millrace.begin_snapshot(target.oid::regclass, pg2kafka.snapshot_writer(target.relowner::regrole)::regprocedure,
      children := false);
  ELSE
    EXECUTE format('SELECT count(pg2kafka.send($1, $2, j.row_data ->> $3, ''SNAPSHOT'', j.row_data))
      FROM %s %s AS t CROSS JOIN LATERAL (SELECT row_to_json(t) AS row_data OFFSET 0) AS j',
      CASE target.relkind WHEN 'r' THEN 'ONLY' END, target.shown)
    USING target.oid, part, external_id_name;
  END IF;
END
$$;
COMMENT ON FUNCTION pg2kafka.setup(regclass, text) IS
  'Sends all rows of a table and from then on every change of it; the column is the message''s key.';

-- What setup() made, for whoever removes the dialect. The triggers go with their functions.
CREATE OR REPLACE FUNCTION pg2kafka.remove() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET client_min_messages = warning
AS $$
DECLARE
  writer text;
BEGIN
  FOR writer IN
    SELECT p.oid::regprocedure::text FROM pg_proc AS p
    WHERE p.pronamespace = to_regnamespace('pg2kafka') AND p.proname ~ '^(events|snapshots) of '
  LOOP
    EXECUTE format('DROP FUNCTION %s CASCADE', writer);
  END LOOP;
END
$$;
COMMENT ON FUNCTION pg2kafka.remove() IS 'Removes every trigger that setup() made. For the role that owns the schema.';

-- Whoever may write into the outbox can say that a row is from here.
CREATE OR REPLACE FUNCTION pg2kafka.event(value bytea) RETURNS json
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  event json;
BEGIN
  event := convert_from(value, 'UTF8');
  RETURN CASE WHEN json_typeof(event) = 'object' AND (event ->> 'uuid')::uuid IS NOT NULL
    AND (event ->> 'created_at')::timestamptz IS NOT NULL AND (event -> 'data')::jsonb IS NOT NULL THEN event END;
EXCEPTION WHEN OTHERS THEN
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION pg2kafka.event(bytea) IS 'The event that a message is; NULL: it is none.';

CREATE OR REPLACE VIEW pg2kafka.outbound_event_queue WITH (security_barrier = true) AS
SELECT o.id, (e.event ->> 'uuid')::uuid AS uuid, e.event ->> 'external_id' AS external_id, substr(o.source, 10) AS table_name,
  e.event ->> 'statement' AS statement, (e.event -> 'data')::jsonb AS data, (e.event ->> 'created_at')::timestamptz AS created_at
FROM millrace.outbox AS o CROSS JOIN LATERAL (SELECT pg2kafka.event(o.value) AS event) AS e
WHERE e.event IS NOT NULL AND o.source LIKE 'pg2kafka %' AND (millrace.is_admin() OR pg_has_role(o.owner::oid, 'USAGE'));
COMMENT ON VIEW pg2kafka.outbound_event_queue IS 'Events of your tables that are in the outbox; one that was sent leaves it some time later.';
COMMENT ON COLUMN pg2kafka.outbound_event_queue.id IS 'Number in the outbox.';
COMMENT ON COLUMN pg2kafka.outbound_event_queue.uuid IS 'Of the event.';
COMMENT ON COLUMN pg2kafka.outbound_event_queue.external_id IS 'Of the row; the message''s key.';
COMMENT ON COLUMN pg2kafka.outbound_event_queue.table_name IS 'Table, with its schema.';
COMMENT ON COLUMN pg2kafka.outbound_event_queue.statement IS 'SNAPSHOT, INSERT, UPDATE or DELETE.';
COMMENT ON COLUMN pg2kafka.outbound_event_queue.data IS 'The row; of an UPDATE what changed; of a DELETE nothing.';
COMMENT ON COLUMN pg2kafka.outbound_event_queue.created_at IS 'When it happened.';

GRANT USAGE ON SCHEMA pg2kafka TO PUBLIC;
GRANT EXECUTE ON FUNCTION pg2kafka.namespace(), pg2kafka.topic(text), pg2kafka.tables(), pg2kafka.event(bytea),
  pg2kafka.send(oid, text, text, text, json), pg2kafka.record_change(text, oid, text, text, json, json),
  pg2kafka.record_truncate(oid, text, text), pg2kafka.writer(regrole), pg2kafka.snapshot_writer(regrole),
  pg2kafka.snapshot_message(oid), pg2kafka.arguments(oid), pg2kafka.setup(regclass, text) TO PUBLIC;
REVOKE ALL ON FUNCTION pg2kafka.remove(), pg2kafka.set_namespace(text), pg2kafka.give(text, regrole),
  pg2kafka.is_made(text, regrole) FROM PUBLIC;
GRANT SELECT ON pg2kafka.outbound_event_queue TO PUBLIC;

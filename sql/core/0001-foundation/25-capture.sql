-- What the triggers of a publication run. One function for each publication, made from its row: an INSERT ... SELECT into the outbox
-- for each statement (or row), whose numbers are taken in the order in which readers have to see the messages: what a key
-- ends comes before what a key begins, so a chain of changed keys (SET id = id + 1) ends as the table does.
--
-- The text is made by the role that owns the schema, without running anything in it, and given to the table's owner: only that role
-- can run it. All that is a user's in it (filter, names, topic) is quoted, or is an expression of the table's owner.

CREATE FUNCTION millrace.capture_name(publication bigint) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT 'publication ' || publication $$;

-- Concatenation of texts and expressions, as an expression that is never NULL.
CREATE FUNCTION millrace.json_object_of(names text[], expressions text[]) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT format('concat(%s, ''}'')', coalesce(string_agg(
    format('%L, coalesce(%s, ''null'')', CASE n.place WHEN 1 THEN '{' ELSE ',' END || to_json(n.name)::text || ':', n.expression),
    ', ' ORDER BY n.place), '''{'''))
  FROM unnest(names, expressions) WITH ORDINALITY AS n (name, expression, place)
$$;

-- Type of a published column, domains taken away; NULL: there is none of this number.
CREATE FUNCTION millrace.published_type(p millrace.publication, column_name text) RETURNS oid
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  WITH RECURSIVE walk (type) AS (
    SELECT a.atttypid FROM pg_attribute AS a
    WHERE a.attrelid = p.relation AND a.attnum = (millrace.column_numbers(p) ->> column_name)::smallint
    UNION ALL
    SELECT t.typbasetype FROM walk AS w JOIN pg_type AS t ON t.oid = w.type WHERE t.typtype = 'd'
  )
  SELECT w.type FROM walk AS w JOIN pg_type AS t ON t.oid = w.type WHERE t.typtype <> 'd'
$$;

-- Kafka Connect's schema of a column, and the JSON that fits it: what Connect has no type for is text.
CREATE FUNCTION millrace.connect_type(type oid) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE type
    WHEN 'int2'::regtype THEN '"type":"int16"' WHEN 'int4'::regtype THEN '"type":"int32"' WHEN 'int8'::regtype THEN '"type":"int64"'
    WHEN 'float4'::regtype THEN '"type":"float"' WHEN 'float8'::regtype THEN '"type":"double"'
    WHEN 'bool'::regtype THEN '"type":"boolean"' WHEN 'bytea'::regtype THEN '"type":"bytes"'
    WHEN 'json'::regtype THEN '"type":"string","name":"io.debezium.data.Json","version":1'
    WHEN 'jsonb'::regtype THEN '"type":"string","name":"io.debezium.data.Json","version":1'
    WHEN 'uuid'::regtype THEN '"type":"string","name":"io.debezium.data.Uuid","version":1'
    WHEN 'timestamptz'::regtype THEN '"type":"string","name":"io.debezium.time.ZonedTimestamp","version":1'
    ELSE '"type":"string"' END
$$;

CREATE FUNCTION millrace.connect_value(type oid, expression text) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT format(CASE
    WHEN type IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'float4'::regtype, 'float8'::regtype, 'bool'::regtype,
      'timestamptz'::regtype) THEN 'to_json(%s)::text'
    WHEN type = 'bytea'::regtype THEN 'to_json(translate(encode(%s, ''base64''), E''\n'', ''''))::text'
    ELSE 'to_json((%s)::text)::text' END, expression)
$$;

CREATE FUNCTION millrace.connect_struct(p millrace.publication, names text[], required boolean, name text, field text DEFAULT NULL)
RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT format('{"type":"struct","fields":[%s],"optional":%s,"name":%s%s}',
    string_agg(format('{%s,"optional":%s,"field":%s}', millrace.connect_type(millrace.published_type(p, n.name)), to_json(NOT required),
      to_json(n.name)), ',' ORDER BY n.place),
    to_json(field IS NOT NULL), to_json(connect_struct.name), ',"field":' || to_json(field)::text)
  FROM unnest(names) WITH ORDINALITY AS n (name, place)
$$;

CREATE FUNCTION millrace.envelope_schema(p millrace.publication) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;

-- The message's key as text. row: an alias whose columns have the names of the publication.
CREATE FUNCTION millrace.key_expression(p millrace.publication, row_name text) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;

-- The row as JSON.
CREATE FUNCTION millrace.row_expression(p millrace.publication, row_name text) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE
    WHEN p.with_schema THEN millrace.json_object_of(p.columns, ARRAY(
      SELECT millrace.connect_value(millrace.published_type(p, c.name), format('%s.%I', row_name, c.name))
      FROM unnest(p.columns) WITH ORDINALITY AS c (name, place) ORDER BY c.place)) || '::json'
    WHEN p.columns IS NULL THEN format('row_to_json(%s.*)', row_name)
    ELSE format('row_to_json((SELECT r FROM (SELECT %s) AS r))',
      (SELECT string_agg(format('%s.%I', row_name, c.name), ', ' ORDER BY c.place) FROM unnest(p.columns) WITH ORDINALITY AS c (name, place)))
  END
$$;

-- The message's value, as text. op: an expression, as before and after are, which are NULL where there is none.
CREATE FUNCTION millrace.value_expression(
  p millrace.publication, op text, key text, before_row text, after_row text, snapshot boolean DEFAULT false
) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;

-- What the table's columns are called now, under the names of the publication, and with virtual generated columns, which a trigger is
-- handed as NULL; NULL: as they come.
CREATE FUNCTION millrace.renamed_columns(p millrace.publication, relation oid) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;

-- The statements that write the messages of an INSERT, UPDATE or DELETE into a segment of the outbox, in their order. new_rows and
-- old_rows are what stands in FROM; role and open are expressions.
CREATE FUNCTION millrace.capture_statements(
  p millrace.publication, op text, segment integer, new_rows text, old_rows text, role text, open text DEFAULT 'false'
) RETURNS text[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;

-- A TRUNCATE, which triggers are told of before it happens. A partition that has a trigger of its own is its own affair.
CREATE FUNCTION millrace.capture_truncate(publication bigint, truncated oid, trigger_name name, segment integer, role regrole) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;

-- Whether triggers of a publication are on a table. No oid stands in what they run: another database has others.
CREATE FUNCTION millrace.has_capture(relation oid, publication bigint) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = relation
    AND t.tgfoid = to_regprocedure(format('millrace.%I()', millrace.capture_name(publication))))
$$;

-- The columns that a publication names. Two whose names were exchanged are in another order; after a dump and restore they are in the
-- same one, although their numbers may be others.
CREATE FUNCTION millrace.names_in_order(p millrace.publication) RETURNS text[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT ARRAY(SELECT n.key FROM jsonb_each_text(p.column_numbers) AS n ORDER BY n.value::smallint) $$;

-- A format of the expression that gives those as they are now, of a relation; a virtual column makes it another one.
CREATE FUNCTION millrace.names_now() RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT $sql$ARRAY(SELECT CASE a.attgenerated WHEN 'v' THEN '' ELSE a.attname::text END FROM pg_attribute AS a
    WHERE a.attrelid = %s AND NOT a.attisdropped AND (a.attname = ANY (%L::name[]) OR a.attgenerated = 'v') ORDER BY a.attnum)$sql$
$$;

-- A branch for each operation; in it one for each segment, so that all statements are there to be planned once.
CREATE FUNCTION millrace.capture_branches(p millrace.publication) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT string_agg(format(E'  ELSIF TG_OP = %L THEN\n    CASE segment\n%s    END CASE;\n', o.op, (
    SELECT string_agg(format(E'      WHEN %s THEN\n%s', s, coalesce((
        SELECT string_agg('        ' || c || E';\n', '' ORDER BY place)
        FROM unnest(millrace.capture_statements(p, o.op, s, 'new_rows', 'old_rows', 'me', 'open')) WITH ORDINALITY AS c (c, place)),
      E'        NULL;\n')), '' ORDER BY s) FROM generate_series(0, 3) AS s)), '' ORDER BY o.place)
  FROM unnest(ARRAY['INSERT', 'UPDATE', 'DELETE']) WITH ORDINALITY AS o (op, place)
$$;

-- Of both kinds. What has to be asked each time comes first; by row that is nothing, mostly.
CREATE FUNCTION millrace.capture_body(p millrace.publication) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;

CREATE FUNCTION millrace.renamed_statements(publication bigint, op text, relation oid, segment integer) RETURNS text[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;

-- What millrace.write_chunk() is given for the snapshot of a publication; no row: there is none any more.
CREATE FUNCTION millrace.snapshot_parts(publication bigint, relation oid, OUT message text, OUT filter text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;

-- The functions of a publication, which belong to the table's owner. Nothing of them runs here: not even their syntax is looked at,
-- because that, too, would be done as the role that owns the schema.
CREATE FUNCTION millrace.make_capture(publication bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET check_function_bodies = off
AS $$
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
$$;

-- Their names sort before others': what another trigger changes again comes after. The condition is always true; for its sake
-- PostgreSQL refuses to drop a column that the publication names, and DROP ... CASCADE takes the triggers along.
CREATE FUNCTION millrace.make_triggers(p millrace.publication, always boolean) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;

CREATE FUNCTION millrace.drop_triggers(p millrace.publication) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;

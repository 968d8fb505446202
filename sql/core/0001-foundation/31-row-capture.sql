-- What the trigger of a publication runs for each row, where statements would not tell everything. It says the same as capture_statements(),
-- but as expressions, which PL/pgSQL evaluates without a query, and one INSERT for each message; what may have changed since the table
-- was published it asks when PostgreSQL says that the table was altered, not for each row.

-- A row's JSON as text, of a trigger's NEW or OLD. Each is one expression: PL/pgSQL evaluates those without running a query, which would take
-- longer than all of it. NEW.* would be what it was when it was planned, also after ALTER TABLE; NEW alone is not, nor are columns
-- that are named.
CREATE FUNCTION millrace.trigger_row_expression(p millrace.publication, row_name text) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE WHEN p.columns IS NULL THEN format('row_to_json(%s)::text', row_name)
    ELSE millrace.json_object_of(p.columns, ARRAY(
      SELECT CASE WHEN p.with_schema
        THEN millrace.connect_value(millrace.published_type(p, c.name), format('%s.%I', row_name, c.name))
        ELSE format('to_json(%s.%I)::text', row_name, c.name) END
      FROM unnest(p.columns) WITH ORDINALITY AS c (name, place) ORDER BY c.place)) END
$$;

-- What one row is about to say, as capture_statements() has it for many. In turn: the end of what the row was, the tombstone after it, what
-- the row is, and that again where a snapshot may have missed the row.
CREATE FUNCTION millrace.capture_row(p millrace.publication) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;

-- What has to be asked for each row of a relation: 2 nothing, its columns have these names and nothing in it runs a user's code, or only
-- the publication's own owner could make it do so; 1 whose it is; 0 everything.
-- In a transaction whose snapshot may be older than the table is, nothing is known; nor where the database was restored from a dump since: the
-- oid that stands in the trigger's function is another table's now, or nobody's.
CREATE FUNCTION millrace.look_at_shape(publication bigint, relation regclass, names text[]) RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;

-- The same, asked once for each plan and not for each row: PostgreSQL evaluates it when it makes the plan, because it is said to be
-- immutable, and makes the plan anew when the relation, whose constant is in it, is altered. Whoever writes to a table holds a lock on
-- it that keeps others from altering it. A partitioned table may change its owner while there are writers to its partitions, so
-- 2 does not rest on the owner there; types and names of its columns do not change without a lock on each partition.
-- What is called is volatile: it sees what is committed by then, not what the statement sees that writes.
CREATE FUNCTION millrace.shape(publication bigint, relation regclass, names text[]) RETURNS integer
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN coalesce(millrace.look_at_shape(publication, relation, names), 0);
END
$$;

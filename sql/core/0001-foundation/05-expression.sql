-- What the expressions stored with a relation can run: defaults, generated columns, checks, indexes, partition keys,
-- conditions of triggers. pg_depend does not record functions of pg_catalog, and "DEFAULT set_config('role', ...)" or
-- "DEFAULT table_to_xml(...)" are as good as a trigger, so calls are read out of the expressions themselves
-- (pg_node_tree as text). What these functions cannot read is named by unknown_nodes, so nothing passes unseen.

-- Kinds of nodes whose functions, operators and types are all written down in them. Others look a conversion up when
-- they run (JSON_OBJECT calls whatever cast to json there is by then) or are not known here; each is looked at before
-- it is added. Names of PostgreSQL 13 and 14 where they differ from later ones: CASE, ARRAY, ROW and so on.
CREATE FUNCTION millrace.unknown_nodes(expressions text[]) RETURNS SETOF text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT DISTINCT m[1] FROM unnest(expressions) AS e, regexp_matches(e, '(?:^|[^\\])\{([^ }]*)', 'g') AS m
  WHERE m[1] <> ALL (ARRAY[
    'VAR', 'CONST', 'FUNCEXPR', 'NAMEDARGEXPR', 'OPEXPR', 'DISTINCTEXPR', 'NULLIFEXPR', 'SCALARARRAYOPEXPR', 'BOOLEXPR',
    'FIELDSELECT', 'SUBSCRIPTINGREF', 'RELABELTYPE', 'COERCEVIAIO', 'ARRAYCOERCEEXPR', 'COERCETODOMAIN',
    'COERCETODOMAINVALUE', 'COLLATEEXPR', 'COLLATE', 'CASEEXPR', 'CASE', 'CASEWHEN', 'WHEN', 'CASETESTEXPR', 'ARRAYEXPR',
    'ARRAY', 'ROWEXPR', 'ROW', 'ROWCOMPAREEXPR', 'ROWCOMPARE', 'COALESCEEXPR', 'COALESCE', 'MINMAXEXPR', 'MINMAX',
    'NULLTEST', 'BOOLEANTEST', 'SQLVALUEFUNCTION', 'JSONISPREDICATE', 'JSONFORMAT'])
$$;

-- Functions that expressions call: by name, and through operators, whose function is not always filled in.
CREATE FUNCTION millrace.called_functions(expressions text[]) RETURNS SETOF oid
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT m[1]::oid FROM unnest(expressions) AS e,
    regexp_matches(e, ':[a-z]*(?:func|fn)(?:id|oid) (\d+)', 'g') AS m WHERE m[1] <> '0'
  UNION
  SELECT o.oprcode::oid FROM unnest(expressions) AS e,
    regexp_matches(e, ':opnos? (?:\(o )?([\d ]+)', 'g') AS m,
    regexp_split_to_table(trim(m[1]), ' +') AS id JOIN pg_operator AS o ON o.oid = id::oid
$$;

-- Types (of users) that expressions mention in any way: a value can be converted to each, which runs its checks.
CREATE FUNCTION millrace.mentioned_types(expressions text[]) RETURNS SETOF oid
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT DISTINCT m[1]::oid FROM unnest(expressions) AS e,
    regexp_matches(e, ':[a-z_]*typ(?:e|id|eid) (\d+)', 'gi') AS m
  WHERE length(m[1]) >= 5 AND m[1]::bigint BETWEEN 16384 AND 4294967295
$$;

-- The types given and those they are made of: elements, attributes, base and sub types.
CREATE FUNCTION millrace.contained_types(types oid[]) RETURNS SETOF oid
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;

-- All but the functions of pg_catalog that run nothing but themselves. Those are the immutable ones; of the others
-- the ones behind operators and casts, unless they take any type (text || anything would run a user's cast), and
-- names that are used in defaults and checks. Among the rest are ways to run SQL (query_to_xml) and to convert to a
-- type that is named by a text (pg_input_is_valid), so a name has to be looked at before it is added.
CREATE FUNCTION millrace.dangerous_functions(functions oid[]) RETURNS SETOF oid
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;

-- What a COPY into a relation would run in the daemon's session. SET ROLE is no boundary there: code can RESET
-- ROLE and act as the daemon. So a relation is loaded directly only when all that it runs is trusted:
--   * relation, domains and functions belong to the daemon's role or to a superuser, or
--   * it calls nothing but functions of pg_catalog that cannot run SQL of somebody else's choosing. pg_depend does
--     not record those, and "DEFAULT set_config('role', ...)" or "DEFAULT table_to_xml(...)" are as good as a
--     trigger, so the calls are read out of the stored expressions (pg_node_tree) themselves.

CREATE FUNCTION millrace.is_trusted(role oid) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT role = millrace.daemon_role()::oid OR EXISTS (SELECT FROM pg_roles WHERE oid = role AND rolsuper)
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

-- NULL, or what stands in the way, as the end of a sentence about the relation.
-- relations: the relation and all its partitions.
CREATE FUNCTION millrace.foreign_code(relations oid[]) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  trusted boolean;
  expressions text[];
  domain_expressions text[];
  types oid[];
  mentioned oid[];
  functions oid[];
  offender oid;
BEGIN
  SELECT bool_and(millrace.is_trusted(owner)) INTO trusted
  FROM (SELECT DISTINCT relowner AS owner FROM pg_class WHERE oid = ANY (relations)) AS owners;

  SELECT array_agg(expression) INTO expressions FROM (
    SELECT adbin::text FROM pg_attrdef WHERE adrelid = ANY (relations)
    UNION ALL
    SELECT conbin::text FROM pg_constraint WHERE conrelid = ANY (relations) AND conbin IS NOT NULL
    UNION ALL
    SELECT concat(indexprs::text, ' ', indpred::text) FROM pg_index
      WHERE indrelid = ANY (relations) AND (indexprs IS NOT NULL OR indpred IS NOT NULL)
    UNION ALL
    SELECT partexprs::text FROM pg_partitioned_table WHERE partrelid = ANY (relations) AND partexprs IS NOT NULL
    UNION ALL
    SELECT tgqual::text FROM pg_trigger
      WHERE tgrelid = ANY (relations) AND tgqual IS NOT NULL AND tgtype & 4 <> 0 AND tgenabled IN ('O', 'A')
  ) AS stored (expression);

  SELECT array_agg(DISTINCT atttypid) INTO types FROM pg_attribute
  WHERE attrelid = ANY (relations) AND attnum > 0 AND NOT attisdropped AND atttypid >= 16384;
  mentioned := ARRAY(SELECT millrace.mentioned_types(expressions));

  -- A domain's own expressions may mention further types, and so on.
  WHILE types IS NOT NULL OR mentioned <> '{}' LOOP
    types := ARRAY(SELECT millrace.contained_types(types || mentioned));
    domain_expressions := ARRAY(
      SELECT conbin::text FROM pg_constraint WHERE contypid = ANY (types) AND conbin IS NOT NULL
      UNION ALL
      SELECT typdefaultbin::text FROM pg_type WHERE oid = ANY (types) AND typdefaultbin IS NOT NULL);
    mentioned := ARRAY(SELECT millrace.mentioned_types(domain_expressions));
    EXIT WHEN mentioned <@ types;
  END LOOP;

  -- ALTER DOMAIN ... ADD CHECK waits for no lock of a load that runs, so a domain's owner has to be trusted as well.
  SELECT oid INTO offender FROM pg_type
  WHERE oid = ANY (types) AND typtype = 'd' AND NOT millrace.is_trusted(typowner) LIMIT 1;
  IF FOUND THEN
    RETURN format('uses domain %s, whose checks are those of role %I',
      offender::regtype, pg_get_userbyid((SELECT typowner FROM pg_type WHERE oid = offender)));
  END IF;

  functions := ARRAY(
    SELECT tgfoid FROM pg_trigger
      WHERE tgrelid = ANY (relations) AND tgtype & 4 <> 0 AND tgenabled IN ('O', 'A')
    UNION
    SELECT o.oprcode::oid FROM pg_constraint AS c, unnest(c.conexclop) AS id JOIN pg_operator AS o ON o.oid = id
      WHERE c.conrelid = ANY (relations) AND c.contype = 'x'
    UNION
    SELECT unnest(ARRAY[rngcanonical::oid, rngsubdiff::oid]) FROM pg_range WHERE rngtypid = ANY (types)
    UNION
    SELECT millrace.called_functions(expressions));
  IF NOT trusted THEN
    SELECT f INTO offender FROM millrace.dangerous_functions(functions) AS f LIMIT 1;
    functions := '{}';
  END IF;
  IF offender IS NULL THEN
    SELECT p.oid INTO offender FROM pg_proc AS p
    WHERE p.oid = ANY (functions || ARRAY(SELECT millrace.called_functions(domain_expressions)))
      AND p.oid >= 16384 AND NOT millrace.is_trusted(p.proowner)
    LIMIT 1;
  END IF;
  IF offender IS NULL THEN
    RETURN NULL;
  END IF;
  RETURN format('calls function %s of role %I%s', offender::regprocedure,
    pg_get_userbyid((SELECT proowner FROM pg_proc WHERE oid = offender)),
    CASE WHEN trusted THEN '' ELSE format(' and belongs to role %s',
      (SELECT string_agg(DISTINCT quote_ident(pg_get_userbyid(relowner)), ', ') FROM pg_class WHERE oid = ANY (relations))) END);
END
$$;

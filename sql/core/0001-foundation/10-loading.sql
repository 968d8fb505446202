-- How a consumer is loaded: directly, by a COPY into the relation; or staged, by a COPY into a temporary table of
-- the daemon's, from which a SECURITY DEFINER function of the consumer's owner inserts. Nothing of a user's runs as
-- the daemon then, so what stands in the way of a COPY is mostly no obstacle.

-- Whether the options ask for more than a COPY into the relation can do.
CREATE FUNCTION millrace.staged_by_options(c millrace.consumer) RETURNS boolean
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT c.mode <> 'insert' OR c.transform IS NOT NULL OR c.route_by_key
$$;

-- The relation, its partitions, and the tables that an updatable view writes to.
CREATE FUNCTION millrace.written_relations(target oid) RETURNS SETOF oid
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  WITH RECURSIVE written (relation) AS (
    SELECT target
    UNION
    SELECT part.relation FROM written CROSS JOIN LATERAL (
      SELECT t.relid::oid FROM pg_class AS c CROSS JOIN LATERAL pg_partition_tree(c.oid) AS t
        WHERE c.oid = written.relation AND c.relkind = 'p'
      UNION ALL
      -- not only what it writes to but all that it reads: which of them is which only the view's query tells
      SELECT d.refobjid FROM pg_class AS c JOIN pg_rewrite AS r ON r.ev_class = c.oid AND r.ev_type = '1'
        JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
        WHERE c.oid = written.relation AND c.relkind = 'v'
    ) AS part (relation)
  )
  SELECT relation FROM written
$$;

-- What of another role's would run at COMMIT, when the role is the daemon's again: deferred triggers, deferred constraints
-- with expressions or operators of users, and casts between the two sides of a deferred foreign key. From PostgreSQL 18 on
-- a deferred trigger runs as the role for which it was queued; but there, too, it can leave a cursor WITH HOLD, which COMMIT
-- then fills as the daemon.
CREATE FUNCTION millrace.deferring_code(relations oid[], owner oid) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  trusted constant oid[] := millrace.trusted_roles();
  found_code record;
BEGIN
  SELECT t.tgname AS name, t.tgrelid::regclass AS relation INTO found_code
  FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid JOIN pg_class AS c ON c.oid = t.tgrelid
  WHERE t.tgrelid = ANY (relations) AND t.tgdeferrable AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
    AND NOT ARRAY[owner, p.proowner, c.relowner] <@ trusted
  UNION ALL
  SELECT k.conname, k.conrelid::regclass FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid
    JOIN pg_index AS i ON i.indexrelid = k.conindid
  WHERE k.conrelid = ANY (relations) AND k.contype IN ('x', 'u', 'p') AND k.condeferrable
    AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL
      OR EXISTS (SELECT FROM unnest(k.conexclop) AS o (id) WHERE o.id >= 16384)
      OR EXISTS (SELECT FROM unnest(i.indclass) AS o (id) WHERE o.id >= 16384))
    AND NOT ARRAY[owner, c.relowner] <@ trusted
  UNION ALL
  SELECT k.conname, k.conrelid::regclass FROM pg_constraint AS k
    CROSS JOIN LATERAL unnest(k.conkey, k.confkey) AS pair (near, far)
    JOIN pg_attribute AS n ON n.attrelid = k.conrelid AND n.attnum = pair.near
    JOIN pg_attribute AS f ON f.attrelid = k.confrelid AND f.attnum = pair.far
  WHERE (k.conrelid = ANY (relations) OR k.confrelid = ANY (relations)) AND k.contype = 'f' AND k.condeferrable
    AND n.atttypid <> f.atttypid AND greatest(n.atttypid, f.atttypid) >= 16384
  LIMIT 1;
  RETURN CASE WHEN FOUND THEN
    format('has the deferrable %s of %s, which would run at COMMIT as the daemon', quote_ident(found_code.name), found_code.relation) END;
END
$$;

-- The same about everything that this transaction has written to: before the COMMIT of a staged load. Only what was written
-- has something deferred, and it stays locked until the end; neither a trigger nor a table with pending events can be dropped.
CREATE FUNCTION millrace.deferred_code(owner oid) RETURNS TABLE (code text, message text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  problem text;
BEGIN
  IF owner = ANY (millrace.trusted_roles()) THEN
    RETURN;
  END IF;
  problem := millrace.deferring_code(ARRAY(
    SELECT l.relation FROM pg_locks AS l
    WHERE l.locktype = 'relation' AND l.pid = pg_backend_pid() AND l.granted
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.mode NOT IN ('AccessShareLock', 'RowShareLock')), owner);
  IF problem IS NOT NULL THEN
    RETURN QUERY SELECT 'relation-defers-code', 'what was loaded ' || problem;
  END IF;
END
$$;

-- One row: direct; or staged, with what keeps it from being loaded directly; or refused, with the reason.
CREATE FUNCTION millrace.loading_way(target_schema text, target_name text, owner oid, staged boolean DEFAULT false)
RETURNS TABLE (way text, code text, message text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  problem record;
  target oid;
  relations oid[];
  defers text;
  shown text;
BEGIN
  IF target_schema IS NULL OR target_name IS NULL THEN
    PERFORM millrace.refuse('relation-missing', 'the schema and the name of the relation cannot be NULL');
  ELSIF NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.oid = owner) THEN
    PERFORM millrace.refuse('role-missing', format('there is no role with oid %s', coalesce(owner::text, 'NULL')));
  END IF;
  shown := format('%I.%I', target_schema, target_name);
  staged := coalesce(staged, false);
  SELECT p.code, p.message INTO problem FROM millrace.target_problem(target_schema, target_name, owner) AS p LIMIT 1;
  target := (SELECT c.oid FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = target_schema AND c.relname = target_name);
  IF problem.code IS NULL AND NOT staged THEN
    RETURN QUERY SELECT 'direct', NULL::text, NULL::text;
    RETURN;
  ELSIF problem.code NOT IN ('relation-row-security', 'relation-runs-code', 'relation-schema', 'lock-denied', 'view-without-trigger')
    OR problem.code = 'view-without-trigger' AND pg_relation_is_updatable(target, false) & 8 = 0
  THEN
    RETURN QUERY SELECT 'refused', problem.code, problem.message;
    RETURN;
  END IF;

  relations := ARRAY(SELECT millrace.written_relations(target));
  -- Staging is a boundary between the daemon and the consumer's owner. Where these are as good as one, there is none.
  IF owner = ANY (millrace.trusted_roles()) THEN
    IF problem.code = 'view-without-trigger' THEN
      SELECT 'relation-runs-code' AS code, format('%s writes to %s of role %I, which %s', shown, c.oid::regclass,
          pg_get_userbyid(c.relowner), coalesce(millrace.foreign_code(c.oid, owner), 'can change what it runs')) AS message INTO problem
      FROM pg_class AS c WHERE c.oid = ANY (relations) AND c.oid <> target
        AND (c.relowner <> ALL (millrace.trusted_roles()) OR millrace.foreign_code(c.oid, owner) IS NOT NULL) LIMIT 1;
    END IF;
    IF problem.code IS NOT NULL THEN
      RETURN QUERY SELECT 'refused', problem.code, problem.message;
      RETURN;
    END IF;
  END IF;
  IF problem.code = 'view-without-trigger'
    AND EXISTS (SELECT FROM pg_class WHERE oid = ANY (relations) AND relpersistence = 'u')
  THEN
    RETURN QUERY SELECT 'refused', 'relation-unlogged', format('%s is a view of an unlogged table', shown);
    RETURN;
  END IF;
  defers := millrace.deferring_code(relations, owner);
  IF defers IS NOT NULL THEN
    RETURN QUERY SELECT 'refused', 'relation-defers-code', format('%s %s', shown, defers);
    RETURN;
  END IF;
  IF NOT has_database_privilege(owner, current_database(), 'TEMPORARY') THEN
    RETURN QUERY SELECT 'refused', 'owner-needs-temp', format('role %I may not create temporary tables in this database%s',
      pg_get_userbyid(owner), coalesce(', and ' || problem.message, ''));
    RETURN;
  END IF;
  RETURN QUERY SELECT 'staged', problem.code, problem.message;
END
$$;
COMMENT ON FUNCTION millrace.loading_way(text, text, oid, boolean) IS
  'How a relation is loaded for a role: direct; staged, with what keeps it from being loaded directly; or refused, with the reason.';

-- Another value: the relation or one of its columns was altered since. NULL: it is gone.
CREATE FUNCTION millrace.fingerprint(target_schema text, target_name text) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT concat(c.oid, '/', string_agg(a.xmin::text, ',' ORDER BY a.attnum))
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
  WHERE n.nspname = target_schema AND c.relname = target_name GROUP BY c.oid
$$;

-- Raises ML002 where a relation is not, or may be no longer, what it was when it was decided how to load it: at the beginning
-- of each batch. Where something may be in other hands than then, it is checked anew, under a lock, so that what is found
-- holds until the end; the lock is taken as whoever may insert.
CREATE FUNCTION millrace.check_unchanged(target_schema text, target_name text, owner oid, seen text, direct boolean) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  planned constant text := CASE WHEN direct THEN 'direct' ELSE 'staged' END;
  current record;
BEGIN
  IF millrace.fingerprint(target_schema, target_name) IS DISTINCT FROM seen THEN
    RAISE EXCEPTION 'the relation was altered' USING ERRCODE = 'ML002';
  ELSIF (direct OR owner = ANY (millrace.trusted_roles())) AND millrace.needs_check(target_schema, target_name, owner) THEN
    EXECUTE format('SET LOCAL ROLE %I', pg_get_userbyid(owner));
    PERFORM millrace.lock_target(target_schema, target_name);
    RESET ROLE;
    SELECT way, message INTO current FROM millrace.loading_way(target_schema, target_name, owner, NOT direct);
    IF current.way IS DISTINCT FROM planned THEN
      RAISE EXCEPTION '%', coalesce(current.message, 'the relation is gone') USING ERRCODE = 'ML002';
    END IF;
  END IF;
END
$$;
-- The columns that tell rows apart in upsert and changes: those asked for, when a unique index has just these, else the primary
-- key. NULL: there is no such key. ON CONFLICT takes no deferrable constraint and no index with a condition.
CREATE FUNCTION millrace.key_columns(target oid, asked text[]) RETURNS text[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT k.columns FROM pg_index AS i CROSS JOIN LATERAL (
    SELECT array_agg(a.attname::text ORDER BY n.place) AS columns
    FROM unnest(i.indkey::smallint[]) WITH ORDINALITY AS n (attnum, place)
    JOIN pg_attribute AS a ON a.attrelid = target AND a.attnum = n.attnum
    WHERE n.place <= i.indnkeyatts
  ) AS k
  WHERE i.indrelid = target AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
    AND CASE WHEN asked IS NULL THEN i.indisprimary ELSE k.columns @> asked AND asked @> k.columns END
  ORDER BY i.indisprimary DESC, i.indexrelid LIMIT 1
$$;
COMMENT ON FUNCTION millrace.key_columns(oid, text[]) IS
  'The columns by which upsert and changes find a row of a relation: those given, or its primary key; NULL: no unique index is fit for it.';

-- What has to be so while a consumer runs. The rights that count are those of its owner.
CREATE FUNCTION millrace.check_insert(target_schema text, target_name text, owner regrole) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  target oid;
  schema_id oid;
BEGIN
  SELECT c.oid, n.oid INTO target, schema_id FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
  WHERE n.nspname = target_schema AND c.relname = target_name AND c.relkind IN ('r', 'p', 'f', 'v');
  -- Of the whole table: LOCK TABLE asks for no less.
  IF FOUND AND NOT (has_schema_privilege(owner::oid, schema_id, 'USAGE') AND has_table_privilege(owner::oid, target, 'INSERT'))
  THEN
    PERFORM millrace.refuse('insert-denied', format('role %I may not insert into %I.%I',
      pg_get_userbyid(owner::oid), target_schema, target_name));
  END IF;
END
$$;

-- Columns that the options name are there and can be filled; upsert and changes have a key and the rights they need.
CREATE FUNCTION millrace.check_columns(c millrace.consumer, target oid) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  shown text := format('%I.%I', c.target_schema, c.target_name);
  kind "char" := (SELECT relkind FROM pg_class WHERE oid = target);
  named text[] := c.rest_column || coalesce(CASE WHEN c.transform IS NULL THEN c.columns END, '{}')
    || CASE WHEN c.transform IS NULL THEN ARRAY(SELECT m.value FROM jsonb_each_text(c.metadata) AS m) ELSE '{}' END;
  problem text;
  definition record;
  needed text;
BEGIN
  named := array_remove(named, NULL);
  IF c.transform IS NOT NULL THEN
    SELECT d.place INTO definition FROM ROWS FROM (millrace.column_definitions(c.columns)) WITH ORDINALITY AS d (name, type, place)
    WHERE d.type IS NULL LIMIT 1;
    IF FOUND THEN
      PERFORM millrace.refuse('columns-invalid', format('%L is no name and type of a column of the batch',
        left(c.columns[definition.place], 100)));
    END IF;
    named := '{}';
  END IF;
  SELECT n INTO problem FROM unnest(named || c.key_columns) AS n
  WHERE NOT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = target AND a.attname = n AND a.attnum > 0
    AND NOT a.attisdropped AND a.attgenerated = '') LIMIT 1;
  IF FOUND THEN
    PERFORM millrace.refuse('column-missing', format('relation %s has no column %I that can be filled', shown, problem));
  END IF;
  SELECT n INTO problem FROM unnest(named) AS n GROUP BY n HAVING count(*) > 1 LIMIT 1;
  IF FOUND THEN
    PERFORM millrace.refuse('option-conflict', format('column %I would be filled twice', problem));
  END IF;
  IF c.rest_column IS NOT NULL AND c.transform IS NULL AND NOT EXISTS (
    SELECT FROM pg_attribute AS a WHERE a.attrelid = target AND a.attname = c.rest_column
      AND a.atttypid IN ('json'::regtype, 'jsonb'::regtype, 'text'::regtype))
  THEN
    PERFORM millrace.refuse('rest-column-invalid', format('column %I of %s is not of type json, jsonb or text', c.rest_column, shown));
  END IF;

  IF c.mode <> 'insert' THEN
    IF kind IN ('v', 'f') OR millrace.key_columns(target, c.key_columns) IS NULL THEN
      PERFORM millrace.refuse('key-missing', CASE
        WHEN kind IN ('v', 'f') THEN format('%s is no table, so it has no unique index', shown)
        WHEN c.key_columns IS NULL THEN format('%s has no primary key (that is not deferrable)', shown)
        ELSE format('%s has no unique index on just these columns: %s', shown, array_to_string(c.key_columns, ', ')) END);
    END IF;
    SELECT r INTO needed FROM unnest(ARRAY['SELECT', 'UPDATE', 'DELETE']) AS r
    WHERE NOT has_table_privilege(c.owner::oid, target, r)
      AND NOT (r = 'DELETE' AND c.mode = 'upsert' AND c.tombstone IS NOT DISTINCT FROM 'skip') LIMIT 1;
    IF FOUND THEN
      PERFORM millrace.refuse('write-denied', format('role %I has no right to %s %s, which mode %s needs',
        pg_get_userbyid(c.owner::oid), needed, shown, c.mode));
    END IF;
  END IF;
END
$$;

-- Where messages are routed by their key, what they name is checked when they come.
CREATE FUNCTION millrace.check_routing(c millrace.consumer) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF to_regnamespace(quote_ident(c.target_schema)) IS NULL THEN
    PERFORM millrace.refuse('schema-absent', format('schema %I does not exist', c.target_schema));
  ELSIF c.target_schema IN ('pg_catalog', 'information_schema', 'pg_toast', 'millrace') THEN
    PERFORM millrace.refuse('relation-catalog', format('schema %I is a catalog', c.target_schema));
  ELSIF NOT has_schema_privilege(c.owner::oid, to_regnamespace(quote_ident(c.target_schema)), 'USAGE') THEN
    PERFORM millrace.refuse('insert-denied', format('role %I may not use schema %I', pg_get_userbyid(c.owner::oid), c.target_schema));
  END IF;
END
$$;

-- Whether a role may SET ROLE to another: from 16 on that is an option of a membership.
CREATE FUNCTION millrace.can_act_as(actor oid, role oid) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT pg_has_role(actor, role, CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END)
$$;

-- Returns how the relation is loaded, and why not directly.
CREATE FUNCTION millrace.check_target(c millrace.consumer, OUT way text, OUT reason text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  found_way record;
BEGIN
  IF c.route_by_key THEN
    PERFORM millrace.check_routing(c);
    way := 'staged';
  ELSE
    SELECT * INTO found_way FROM millrace.loading_way(c.target_schema, c.target_name, c.owner::oid, millrace.staged_by_options(c));
    IF found_way.way = 'refused' THEN
      PERFORM millrace.refuse(found_way.code, found_way.message);
    END IF;
    PERFORM millrace.check_columns(c, (SELECT r.oid FROM pg_class AS r JOIN pg_namespace AS n ON n.oid = r.relnamespace
      WHERE n.nspname = c.target_schema AND r.relname = c.target_name));
    way := found_way.way;
    reason := found_way.code || ': ' || found_way.message;
  END IF;
  -- Messages that cannot be loaded are told from the others in a staging table.
  IF (way = 'staged' OR c.on_error <> 'stop') AND NOT has_database_privilege(c.owner::oid, current_database(), 'TEMPORARY') THEN
    PERFORM millrace.refuse('owner-needs-temp',
      format('role %I may not create temporary tables in this database', pg_get_userbyid(c.owner::oid)));
  END IF;
  IF NOT millrace.can_act_as(millrace.daemon_role()::oid, c.owner::oid) THEN
    PERFORM millrace.refuse('role-not-served', format('the daemon''s role %s cannot act as role %I',
      millrace.daemon_role(), pg_get_userbyid(c.owner::oid)));
  END IF;
END
$$;

-- Everything that is checked of a consumer that is to run; the way in which it is loaded.
CREATE FUNCTION millrace.check_wanted(c millrace.consumer, OUT way text, OUT reason text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM millrace.cluster WHERE name = c.cluster) THEN
    PERFORM millrace.refuse('cluster-missing', format('there is no cluster %L', c.cluster));
  END IF;
  IF NOT EXISTS (SELECT FROM millrace.broker WHERE cluster = c.cluster) THEN
    PERFORM millrace.refuse('no-broker', format('cluster %L has no broker', c.cluster));
  END IF;
  PERFORM millrace.check_insert(c.target_schema, c.target_name, c.owner);
  -- The owner's grant, also when an administrator begins it again. Of a pattern, each topic that it finds is asked for.
  IF c.topic IS NOT NULL AND NOT millrace.may_consume(c.cluster, c.topic, c.owner::oid) THEN
    PERFORM millrace.refuse('topic-not-granted',
      format('topic %s is not granted to role %I', c.topic, pg_get_userbyid(c.owner::oid)));
  END IF;
  SELECT t.way, t.reason INTO way, reason FROM millrace.check_target(c) AS t;
END
$$;

CREATE FUNCTION millrace.check_consumer() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  unversioned constant text[] := ARRAY['wanted', 'version', 'start_pending', 'located_at', 'way', 'way_reason', 'warning',
    'dead_letters_expired', 'created_at', 'changed_at'];
BEGIN
  NEW.delimiter := millrace.delimiter_of(NEW);
  IF NEW.topic_pattern IS NULL THEN
    PERFORM millrace.check_topic(NEW.topic);
  ELSIF NEW.topic IS NOT NULL THEN
    PERFORM millrace.refuse('option-conflict', 'topic and topic_pattern exclude each other');
  ELSIF millrace.topic_expression(NEW.topic_pattern) IS NULL THEN
    PERFORM millrace.refuse('pattern-invalid', format('topic_pattern cannot be %L', left(NEW.topic_pattern, 100)));
  END IF;
  PERFORM millrace.check_options(NEW);
  NEW.changed_at := now();
  -- A member of somebody else's group would take partitions away from it.
  IF NEW.group_id IS NOT NULL AND (TG_OP = 'INSERT' OR NEW.group_id IS DISTINCT FROM OLD.group_id) AND NOT millrace.is_admin() THEN
    PERFORM millrace.refuse('group-denied', format('role %I may not choose the consumer group', current_user));
  END IF;

  IF TG_OP = 'UPDATE' THEN
    -- A start that was asked for and not found yet is still asked for.
    IF OLD.start_pending AND num_nonnulls(NEW.start_offset, NEW.start_time, NEW.start_partitions) = 0 THEN
      NEW.start_offset := OLD.start_offset;
      NEW.start_time := OLD.start_time;
      NEW.start_partitions := OLD.start_partitions;
    END IF;
    IF NEW.wanted = 'running' AND (OLD.wanted <> 'running'
      OR EXISTS (SELECT FROM millrace.failure AS f WHERE f.consumer_id = OLD.id AND f.version = OLD.version)
      OR to_jsonb(NEW) - unversioned IS DISTINCT FROM to_jsonb(OLD) - unversioned)
    THEN
      NEW.version := OLD.version + 1;
      NEW.warning := NULL;
    ELSE
      RETURN NEW;
    END IF;
  END IF;

  -- Also a new row that is to stay stopped: it keeps others from consuming into the relation.
  IF NEW.wanted = 'running' OR TG_OP = 'INSERT' THEN
    SELECT w.way, w.reason INTO NEW.way, NEW.way_reason FROM millrace.check_wanted(NEW) AS w;
  END IF;
  RETURN NEW;
END
$$;

CREATE TRIGGER check_consumer BEFORE INSERT OR UPDATE OF cluster, topic, topic_pattern, parent_id, target_schema, target_name,
  route_by_key, owner, group_id, format, delimiter, quote, escape, encoding, json_path, columns, rest_column, unknown_keys,
  missing_keys, metadata, mode, key_columns, tombstone, transform, on_error, dead_letter_limit, dead_letter_max_age,
  on_offset_gap, batchsize, maxbytes, parallelism, timeout, wanted, start_offset, start_time, start_partitions
  ON millrace.consumer FOR EACH ROW EXECUTE FUNCTION millrace.check_consumer();

-- An explicit start applies once per call that starts the consumer (check_consumer, which comes before this, has raised the
-- version then), or that moves one that is stopped; without one a consumer that stands somewhere goes on from there.
CREATE FUNCTION millrace.set_start_pending() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF NEW.version <> OLD.version THEN
    NEW.start_pending := num_nonnulls(NEW.start_offset, NEW.start_time, NEW.start_partitions) > 0 OR NEW.located_at IS NULL;
  ELSIF NEW.wanted = 'stopped' AND OLD.wanted = 'stopped'
    AND num_nonnulls(NEW.start_offset, NEW.start_time, NEW.start_partitions) > 0
    AND (NEW.start_offset, NEW.start_time, NEW.start_partitions)
      IS DISTINCT FROM (OLD.start_offset, OLD.start_time, OLD.start_partitions)
  THEN
    NEW.start_pending := true;
  END IF;
  -- Nothing of a pattern is located but the topics that it finds; those that it has are told at once.
  IF NEW.topic_pattern IS NOT NULL AND NEW.located_at IS NOT NULL THEN
    NEW.start_pending := false;
  END IF;
  RETURN NEW;
END
$$;

CREATE TRIGGER set_start_pending BEFORE UPDATE OF start_offset, start_time, start_partitions ON millrace.consumer
  FOR EACH ROW EXECUTE FUNCTION millrace.set_start_pending();

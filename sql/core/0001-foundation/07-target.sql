-- A target is a relation that COPY can load under its owner's role, that survives a crash together with the
-- position, and whose loading runs no code that could act as the daemon.

-- The relation that a name means to whoever calls; NULL when there is none.
-- No search_path is pinned, because it is the caller's that counts: everything in here is qualified, no operator
-- is used, and the argument types are exact, so nothing on that path is ever called.
CREATE FUNCTION millrace.relation(name text) RETURNS regclass
LANGUAGE plpgsql STABLE
AS $$
BEGIN
  RETURN pg_catalog.to_regclass(name);
EXCEPTION
  -- not a name at all; a name of another database; too many dots (before 16: later versions answer NULL)
  WHEN invalid_name OR feature_not_supported OR syntax_error THEN
    RETURN NULL;
  WHEN insufficient_privilege THEN
    PERFORM millrace.refuse('insert-denied', pg_catalog.format('relation %L: %s', name, SQLERRM));
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION millrace.relation(text) IS 'The relation that a name means along the caller''s search_path, or NULL.';

CREATE FUNCTION millrace.target_problem(target_schema text, target_name text, owner oid)
RETURNS TABLE (code text, message text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  target record;
  relations oid[];
  schema_owner oid;
  trusted constant oid[] := millrace.trusted_roles();
  shown text := format('%I.%I', target_schema, target_name);
  kind text;
  foreign_code text;
BEGIN
  SELECT c.* INTO target FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
  WHERE n.nspname = target_schema AND c.relname = target_name;
  IF NOT FOUND THEN
    RETURN QUERY SELECT 'relation-missing', format('relation %s does not exist', shown);
    RETURN;
  END IF;

  kind := CASE target.relkind
    WHEN 'm' THEN 'a materialized view' WHEN 'S' THEN 'a sequence' WHEN 'i' THEN 'an index'
    WHEN 'I' THEN 'an index' WHEN 'c' THEN 'a composite type' WHEN 't' THEN 'a TOAST table' END;
  IF kind IS NOT NULL OR target.relkind NOT IN ('r', 'p', 'f', 'v') THEN
    RETURN QUERY SELECT 'relation-kind', format('%s is %s', shown, coalesce(kind, 'no table'));
    RETURN;
  ELSIF target_schema IN ('pg_catalog', 'information_schema', 'pg_toast', 'millrace') THEN
    RETURN QUERY SELECT 'relation-catalog', format('%s belongs to a catalog', shown);
    RETURN;
  -- such as those of the dialects, which write what the daemon goes by
  ELSIF target.relkind = 'v' AND EXISTS (SELECT FROM pg_class AS c
    WHERE c.oid IN (SELECT millrace.written_relations(target.oid)) AND c.relnamespace = 'millrace'::regnamespace)
  THEN
    RETURN QUERY SELECT 'relation-catalog', format('%s is a view of schema millrace', shown);
    RETURN;
  ELSIF target.relpersistence = 't' THEN
    RETURN QUERY SELECT 'relation-temporary', format('%s is temporary', shown);
    RETURN;
  END IF;

  relations := ARRAY[target.oid];
  IF target.relkind = 'p' THEN
    relations := ARRAY(SELECT relid::oid FROM pg_partition_tree(target.oid));
  END IF;
  IF EXISTS (SELECT FROM pg_class WHERE oid = ANY (relations) AND relpersistence = 'u') THEN
    RETURN QUERY SELECT 'relation-unlogged', format('%s is unlogged%s', shown,
      CASE WHEN target.relkind = 'p' THEN ', or one of its partitions is' ELSE '' END);
    RETURN;
  END IF;

  IF target.relkind = 'v' AND NOT EXISTS (
    SELECT FROM pg_trigger
    WHERE tgrelid = target.oid AND tgtype & 4 <> 0 AND tgtype & 64 <> 0 AND tgenabled IN ('O', 'A')
  ) THEN
    RETURN QUERY SELECT 'view-without-trigger', format('view %s has no INSTEAD OF INSERT trigger', shown);
    RETURN;
  END IF;

  -- The name is looked up by LOCK TABLE, here, and by COPY. No lock keeps two schemas from exchanging their names.
  schema_owner := (SELECT nspowner FROM pg_namespace WHERE oid = target.relnamespace);
  IF schema_owner <> ALL (trusted) THEN
    RETURN QUERY SELECT 'relation-schema', format('schema %I of %s belongs to role %I, who can rename it during a load',
      target_schema, shown, pg_get_userbyid(schema_owner));
    RETURN;
  END IF;

  IF target.relkind = 'r' AND target.relowner <> ALL (trusted)
    AND NOT has_table_privilege(owner, target.oid, 'UPDATE, DELETE, TRUNCATE')
  THEN
    RETURN QUERY SELECT 'lock-denied', format('role %I may not lock %s against changes of its owner, role %I',
      pg_get_userbyid(owner), shown, pg_get_userbyid(target.relowner));
    RETURN;
  END IF;

  IF target.relrowsecurity
    AND NOT EXISTS (SELECT FROM pg_roles WHERE oid = owner AND (rolsuper OR rolbypassrls))
    AND (target.relforcerowsecurity OR NOT pg_has_role(owner, target.relowner, 'USAGE'))
  THEN
    RETURN QUERY SELECT 'relation-row-security',
      format('%s is under row-level security for role %I', shown, pg_get_userbyid(owner));
    RETURN;
  END IF;

  foreign_code := millrace.foreign_code(target.oid, owner);
  IF foreign_code IS NOT NULL THEN
    RETURN QUERY SELECT 'relation-runs-code', format('%s %s', shown, foreign_code);
  END IF;
END
$$;
COMMENT ON FUNCTION millrace.target_problem(text, text, oid) IS
  'Why the daemon may not COPY into a relation under its owner''s role; no row when it may. Hold a lock on it while this counts.';

-- Keeps the definition of a relation as it is until the transaction ends; called as the role that loads. The lock that
-- COPY takes keeps away triggers, defaults, checks and new owners. But a table's owner could still begin CREATE INDEX
-- CONCURRENTLY beside it, and COPY runs the constant parts of an index's expressions as soon as the index is in the
-- catalog. So the table of a role that is not trusted gets the weakest lock that keeps that away, too; loads of such a
-- table take turns.
CREATE FUNCTION millrace.lock_target(target_schema text, target_name text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  target record;
  held text := '';
  needed text;
BEGIN
  LOOP
    SELECT c.relkind, c.relowner INTO target FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = target_schema AND c.relname = target_name;
    -- Their owners are trusted. LOCK TABLE takes no foreign table, and of a view what it reads.
    EXIT WHEN target.relkind IN ('v', 'f');
    needed := CASE WHEN target.relkind = 'r' AND target.relowner <> ALL (millrace.trusted_roles())
      THEN 'SHARE UPDATE EXCLUSIVE' ELSE 'ROW EXCLUSIVE' END;
    EXIT WHEN needed = held;
    EXECUTE format('LOCK TABLE %I.%I IN %s MODE', target_schema, target_name, needed);
    held := needed;
    -- and look again: the owner may have changed while this waited for the lock
  END LOOP;
END
$$;

-- Asked in every batch, so it is quick, and says no only where nothing can have changed hands since the relation was
-- checked: all of it belongs to trusted roles, nobody else may add a trigger, and nothing in it is code of users, whose
-- owner could be another one by now.
CREATE FUNCTION millrace.needs_check(target_schema text, target_name text, owner oid) RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  daemon constant oid := (SELECT nspowner FROM pg_namespace WHERE nspname = 'millrace');
  target record;
BEGIN
  SELECT c.oid, c.relowner, c.relkind, c.relhastriggers, c.relchecks, c.relispartition, c.relpersistence,
    c.relrowsecurity, c.relacl, n.nspowner INTO target
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
  WHERE n.nspname = target_schema AND c.relname = target_name;
  IF NOT FOUND OR target.relowner <> daemon OR target.relkind <> 'r' OR target.relhastriggers OR target.relchecks > 0
    OR target.relispartition OR target.relpersistence <> 'p' OR target.relrowsecurity
  THEN
    RETURN true;
  ELSIF (owner <> daemon OR target.nspowner <> daemon) AND NOT ARRAY[owner, target.nspowner] <@ millrace.trusted_roles() THEN
    RETURN true;
  END IF;
  RETURN EXISTS (
      SELECT FROM aclexplode(target.relacl) AS a WHERE a.privilege_type = 'TRIGGER' AND a.grantee <> daemon)
    OR EXISTS (
      SELECT FROM pg_attribute AS a WHERE a.attrelid = target.oid AND a.attnum > 0 AND a.atttypid >= 16384)
    OR EXISTS (
      SELECT FROM pg_index AS i WHERE i.indrelid = target.oid AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL
        OR i.indisexclusion OR EXISTS (SELECT FROM unnest(i.indclass) AS c (class) WHERE c.class >= 16384)))
    -- Functions and types of pg_catalog are not recorded. OFFSET keeps this from beginning with all defaults there are.
    OR EXISTS (
      SELECT FROM pg_attrdef AS d, LATERAL (
        SELECT FROM pg_depend AS p
        WHERE p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid AND p.refclassid <> 'pg_class'::regclass OFFSET 0) AS p
      WHERE d.adrelid = target.oid);
END
$$;

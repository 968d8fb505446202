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
AS $$
DECLARE
  target record;
  relations oid[];
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

  IF target.relrowsecurity
    AND NOT EXISTS (SELECT FROM pg_roles WHERE oid = owner AND (rolsuper OR rolbypassrls))
    AND (target.relforcerowsecurity OR NOT pg_has_role(owner, target.relowner, 'USAGE'))
  THEN
    RETURN QUERY SELECT 'relation-row-security',
      format('%s is under row-level security for role %I', shown, pg_get_userbyid(owner));
    RETURN;
  END IF;

  foreign_code := millrace.foreign_code(relations);
  IF foreign_code IS NOT NULL THEN
    RETURN QUERY SELECT 'relation-runs-code', format('%s %s', shown, foreign_code);
  END IF;
END
$$;
COMMENT ON FUNCTION millrace.target_problem(text, text, oid) IS
  'Why the daemon may not COPY into a relation under its owner''s role; no row when it may. Hold a lock on the relation while this counts.';

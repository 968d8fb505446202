-- What a COPY into a relation would run in the daemon's session. SET ROLE is no boundary there: code can RESET
-- ROLE and act as the daemon. So a relation is loaded directly only when
--   * all that it runs, it itself and the consumer belong to trusted roles (the daemon's, superusers), or
--   * it is a plain table that calls nothing but functions of pg_catalog that run nothing else. Its definition then
--     stays as it is under the lock of whoever loads it (lock_target). That is not so for relations of other kinds, for
--     domains and composite types, and for tables that a foreign key refers to: their owners have to be trusted.
-- Trusted code, too, is kept from consumers of other roles: without a search_path of its own it would look names up
-- along that of the consumer's owner, who then decides what is called.

-- Roles whose code may run in the daemon's session.
CREATE FUNCTION millrace.trusted_roles() RETURNS oid[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  WITH trusted (role) AS (
    SELECT oid FROM pg_roles WHERE rolsuper
    UNION
    SELECT nspowner FROM pg_namespace WHERE nspname = 'millrace'
  )
  SELECT ARRAY(
    SELECT role FROM trusted
    UNION ALL
    -- from 14 on; its one member is whoever owns the database
    SELECT r.oid FROM pg_roles AS r, pg_database AS d
    WHERE r.rolname = 'pg_database_owner' AND d.datname = current_database() AND d.datdba IN (SELECT role FROM trusted))
$$;

-- Support functions of operator classes: superusers choose them. C functions do what they say.
CREATE FUNCTION millrace.support_functions(classes oid[]) RETURNS SETOF oid
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT p.oid FROM pg_opclass AS o
  JOIN pg_amproc AS a ON a.amprocfamily = o.opcfamily JOIN pg_proc AS p ON p.oid = a.amproc
  WHERE o.oid = ANY (classes) AND o.oid >= 16384
    AND p.prolang <> ALL (ARRAY(SELECT oid FROM pg_language WHERE lanname IN ('c', 'internal')))
$$;

-- NULL, or what stands in the way, as the end of a sentence about the relation. (Planning its queries anew for each
-- relation would take longer than running them.)
CREATE FUNCTION millrace.foreign_code(target oid, consumer_owner oid) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  trusted constant oid[] := millrace.trusted_roles();
  kind "char" := (SELECT relkind FROM pg_class WHERE oid = target);
  relations oid[] := ARRAY[target];
  ancestors oid[];
  referenced oid[];
  all_trusted boolean;
  expressions text[];
  domain_expressions text[] := '{}';
  types oid[];
  mentioned oid[];
  functions oid[];
  offender oid;
  node text;
BEGIN
  IF kind = 'p' THEN
    relations := ARRAY(SELECT relid::oid FROM pg_partition_tree(target));
  END IF;
  -- A row that goes to a partition by its own name passes the partition keys of all that it is a partition of.
  ancestors := ARRAY(SELECT relid::oid FROM pg_partition_ancestors(target));
  referenced := ARRAY(SELECT confrelid FROM pg_constraint WHERE conrelid = ANY (relations) AND contype = 'f');
  IF referenced <> '{}' THEN
    referenced := referenced || ARRAY(SELECT t.relid::oid FROM unnest(referenced) AS r, pg_partition_tree(r) AS t);
  END IF;

  -- No lock keeps these as they are: a partition with a trigger is attached beside a load, and LOCK TABLE takes no
  -- foreign table, and of a view what it reads.
  IF kind <> 'r' THEN
    SELECT relowner INTO offender FROM pg_class WHERE oid = ANY (relations) AND relowner <> ALL (trusted) LIMIT 1;
    IF FOUND THEN
      RETURN format('is a %s of role %I, who can change what it runs during a load',
        CASE kind WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view' ELSE 'foreign table' END, pg_get_userbyid(offender));
    END IF;
  END IF;
  IF kind IN ('v', 'f') THEN
    SELECT a.grantee INTO offender FROM pg_class AS c, aclexplode(c.relacl) AS a
    WHERE c.oid = target AND a.privilege_type = 'TRIGGER' AND a.grantee <> ALL (trusted) LIMIT 1;
    IF FOUND THEN
      RETURN format('takes triggers of role %s during a load',
        CASE offender WHEN 0 THEN 'public' ELSE quote_ident(pg_get_userbyid(offender)) END);
    END IF;
  END IF;
  IF kind = 'f' AND consumer_owner <> ALL (trusted) THEN
    RETURN format('is a foreign table, whose wrapper is code that would run for role %I', pg_get_userbyid(consumer_owner));
  END IF;
  -- The query that looks a key up is planned with the indexes and statistics that the other table has by then, which
  -- runs the constant parts of their expressions.
  SELECT oid INTO offender FROM pg_class WHERE oid = ANY (referenced) AND relowner <> ALL (trusted) LIMIT 1;
  IF FOUND THEN
    RETURN format('refers to %s of role %I, who can change what it runs during a load', offender::regclass,
      pg_get_userbyid((SELECT relowner FROM pg_class WHERE oid = offender)));
  END IF;

  all_trusted := consumer_owner = ANY (trusted) AND NOT EXISTS (
    SELECT FROM pg_class WHERE oid = ANY (relations || ancestors) AND relowner <> ALL (trusted));

  expressions := ARRAY(
    SELECT adbin::text FROM pg_attrdef WHERE adrelid = ANY (relations)
    UNION ALL
    SELECT conbin::text FROM pg_constraint WHERE conrelid = ANY (relations || referenced) AND conbin IS NOT NULL
    UNION ALL
    SELECT concat(indexprs::text, ' ', indpred::text) FROM pg_index
      WHERE indrelid = ANY (relations || referenced) AND (indexprs IS NOT NULL OR indpred IS NOT NULL)
    UNION ALL
    SELECT partexprs::text FROM pg_partitioned_table
      WHERE partrelid = ANY (relations || ancestors || referenced) AND partexprs IS NOT NULL
    UNION ALL
    -- statistics on expressions are there from 14 on
    SELECT to_jsonb(s) ->> 'stxexprs' FROM pg_statistic_ext AS s
      WHERE stxrelid = ANY (referenced) AND to_jsonb(s) ->> 'stxexprs' IS NOT NULL
    UNION ALL
    SELECT tgqual::text FROM pg_trigger
      WHERE tgrelid = ANY (relations) AND tgqual IS NOT NULL AND tgtype & 4 <> 0 AND tgenabled IN ('O', 'A'));

  types := ARRAY(
    SELECT DISTINCT atttypid FROM pg_attribute
    WHERE attrelid = ANY (relations) AND attnum > 0 AND NOT attisdropped AND atttypid >= 16384);
  mentioned := ARRAY(SELECT millrace.mentioned_types(expressions));
  -- A domain's own expressions may mention further types, and so on.
  WHILE types <> '{}' OR mentioned <> '{}' LOOP
    types := ARRAY(SELECT millrace.contained_types(types || mentioned));
    domain_expressions := ARRAY(
      SELECT conbin::text FROM pg_constraint WHERE contypid = ANY (types) AND conbin IS NOT NULL
      UNION ALL
      SELECT typdefaultbin::text FROM pg_type WHERE oid = ANY (types) AND typdefaultbin IS NOT NULL);
    mentioned := ARRAY(SELECT millrace.mentioned_types(domain_expressions));
    EXIT WHEN mentioned <@ types;
  END LOOP;

  -- ALTER DOMAIN ... ADD CHECK waits for no lock of a load that runs; a composite type can get such a domain.
  SELECT oid INTO offender FROM pg_type
  WHERE oid = ANY (types) AND typtype IN ('d', 'c') AND typowner <> ALL (trusted) LIMIT 1;
  IF FOUND THEN
    RETURN format('uses type %s of role %I, who can change its checks during a load',
      offender::regtype, pg_get_userbyid((SELECT typowner FROM pg_type WHERE oid = offender)));
  END IF;

  -- Where the two sides of a foreign key have different types, a cast makes them one when a row comes.
  SELECT t.oid INTO offender FROM pg_constraint AS c
    CROSS JOIN LATERAL unnest(c.conkey, c.confkey) AS k (near, far)
    JOIN pg_attribute AS n ON n.attrelid = c.conrelid AND n.attnum = k.near
    JOIN pg_attribute AS f ON f.attrelid = c.confrelid AND f.attnum = k.far
    JOIN pg_type AS t ON t.oid IN (n.atttypid, f.atttypid)
  WHERE c.conrelid = ANY (relations) AND c.contype = 'f' AND n.atttypid <> f.atttypid
    AND (t.typowner <> ALL (trusted) OR t.oid >= 16384 AND NOT all_trusted) LIMIT 1;
  IF FOUND THEN
    RETURN format('has a foreign key that casts type %s of role %I',
      offender::regtype, pg_get_userbyid((SELECT typowner FROM pg_type WHERE oid = offender)));
  END IF;

  -- What is looked up at run time is a cast, which takes the owner of one of its two types to make.
  SELECT n INTO node FROM millrace.unknown_nodes(expressions || domain_expressions) AS n
  WHERE NOT all_trusted OR EXISTS (SELECT FROM pg_type WHERE oid = ANY (types) AND typowner <> ALL (trusted)) LIMIT 1;
  IF FOUND THEN
    RETURN format('has an expression with %s, which may call casts of other roles', node);
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
    SELECT millrace.support_functions(ARRAY(
      SELECT unnest(indclass) FROM pg_index WHERE indrelid = ANY (relations || referenced)
      UNION ALL
      SELECT unnest(partclass) FROM pg_partitioned_table WHERE partrelid = ANY (relations || ancestors || referenced)
      UNION ALL
      SELECT rngsubopc FROM pg_range WHERE rngtypid = ANY (types)))
    UNION
    SELECT millrace.called_functions(expressions || domain_expressions));
  IF all_trusted THEN
    SELECT oid INTO offender FROM pg_proc
    WHERE oid = ANY (functions) AND oid >= 16384 AND proowner <> ALL (trusted) LIMIT 1;
  ELSE
    SELECT f INTO offender FROM millrace.dangerous_functions(functions) AS f LIMIT 1;
  END IF;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  RETURN format('calls function %s of role %I%s', offender::regprocedure,
    pg_get_userbyid((SELECT proowner FROM pg_proc WHERE oid = offender)),
    CASE WHEN all_trusted THEN '' ELSE format(', and the relation or its consumer belongs to role %s', (
      SELECT string_agg(DISTINCT quote_ident(pg_get_userbyid(role)), ', ') FROM (
        SELECT relowner FROM pg_class WHERE oid = ANY (relations || ancestors) UNION ALL SELECT consumer_owner
      ) AS owners (role) WHERE role <> ALL (trusted))) END);
END
$$;

-- What comes before every dialect, over a connection and in an extension's script alike: the core is there, and
-- whatever already has one of the names is the dialect itself, of a role that is trusted to have made it. Inside
-- CREATE EXTENSION such objects become the extension's, so an installation over a connection can be turned into an
-- extension; nothing is dropped, so views and grants of users stay.
-- Only catalogs and one plain table are read: a schema millrace that somebody else made is not given a chance to run.

SET LOCAL search_path = pg_catalog, pg_temp;

DO $core$
DECLARE
  needed constant integer := {{needed}};
  installed integer;
BEGIN
  IF NOT EXISTS (
    SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_attribute AS a ON a.attrelid = c.oid
    WHERE n.nspname = 'millrace' AND c.relname = 'migration' AND c.relkind = 'r' AND c.relowner = n.nspowner
      AND a.attname = 'version' AND a.atttypid = 'integer'::regtype AND a.attgenerated = '')
  THEN
    RAISE EXCEPTION 'the schema millrace is not installed in this database' USING ERRCODE = '55000',
      DETAIL = 'code: schema-missing', HINT = 'Install it first, from a shell: millrace install --database URL';
  END IF;
  EXECUTE 'SELECT max(version) FROM millrace.migration' INTO installed;
  IF installed IS NULL OR installed < needed THEN
    RAISE EXCEPTION 'the schema millrace is at version %, {{name}} needs version %', installed, needed
      USING ERRCODE = '55000', DETAIL = 'code: schema-older',
      HINT = 'Upgrade it first, from a shell: millrace install --database URL';
  END IF;
END
$core$;

DO $names$
DECLARE
  -- Of the schema and of the extension.
  dialect constant name := '{{extension}}';
  objects constant text[] := ARRAY[
    {{objects}}];
  object text;
  found_owner oid;
BEGIN
  IF to_regnamespace(quote_ident(dialect)) IS NULL THEN
    EXECUTE format('CREATE SCHEMA %I', dialect);
  END IF;
  FOREACH object IN ARRAY ('SCHEMA ' || quote_ident(dialect)) || objects LOOP
    found_owner := CASE split_part(object, ' ', 1)
      WHEN 'FUNCTION' THEN (SELECT proowner FROM pg_proc WHERE oid = to_regprocedure(substr(object, 10)))
      WHEN 'VIEW' THEN (SELECT relowner FROM pg_class WHERE oid = to_regclass(substr(object, 6)))
      WHEN 'SCHEMA' THEN (SELECT nspowner FROM pg_namespace WHERE oid = to_regnamespace(substr(object, 8)))
    END;
    CONTINUE WHEN found_owner IS NULL;
    IF split_part(object, ' ', 1) = 'VIEW' AND (SELECT relkind FROM pg_class WHERE oid = to_regclass(substr(object, 6))) <> 'v' THEN
      RAISE EXCEPTION '% exists already and is no view', substr(object, 6)
        USING ERRCODE = '42710', DETAIL = 'code: dialect-name-taken',
        HINT = 'It may be what this dialect takes the place of: docs/migrating-from-... say how to come from there.';
    END IF;
    IF NOT (found_owner = (SELECT nspowner FROM pg_namespace WHERE nspname = 'millrace') OR (SELECT oid = found_owner FROM pg_roles WHERE rolname = current_user)
      OR (SELECT rolsuper FROM pg_roles WHERE oid = found_owner))
    THEN
      RAISE EXCEPTION '% exists already and belongs to role %', object, quote_ident(pg_get_userbyid(found_owner))
        USING ERRCODE = '42710', DETAIL = 'code: dialect-name-taken',
        HINT = 'The dialect needs that name. Drop or rename what has it, or let the owner of schema millrace own it.';
    END IF;
    IF split_part(object, ' ', 1) <> 'SCHEMA' AND EXISTS (SELECT FROM pg_extension WHERE extname = dialect) THEN
      EXECUTE format('ALTER EXTENSION %I ADD %s', dialect, object);
    END IF;
  END LOOP;
END
$names$;


-- Made by scripts/build-extension.ts from sql/dialects.
\echo Use "CREATE EXTENSION kafka" to load this file. \quit

-- What comes before every dialect, over a connection and in an extension's script alike: the core is there, and
-- whatever already has one of the names is the dialect itself, of a role that is trusted to have made it. Inside
-- CREATE EXTENSION such objects become the extension's, so an installation over a connection can be turned into an
-- extension; nothing is dropped, so views and grants of users stay.
-- Only catalogs and one plain table are read: a schema millrace that somebody else made is not given a chance to run.

SET LOCAL search_path = pg_catalog, pg_temp;

DO $core$
DECLARE
  needed constant integer := 1;
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
    RAISE EXCEPTION 'the schema millrace is at version %, pg_kafka needs version %', installed, needed
      USING ERRCODE = '55000', DETAIL = 'code: schema-older',
      HINT = 'Upgrade it first, from a shell: millrace install --database URL';
  END IF;
END
$core$;

DO $names$
DECLARE
  -- Of the schema and of the extension.
  dialect constant name := 'kafka';
  objects constant text[] := ARRAY[
    'FUNCTION kafka.change_broker()',
    'VIEW kafka.broker',
    'FUNCTION kafka.produce(character varying, character varying)',
    'FUNCTION kafka.close()'];
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

-- pg_kafka as its users wrote it, in the schema and the extension kafka. A thin layer without tables of its own over
-- the schema millrace, which can be run again over what it made. What it makes is listed in pg_kafka.json.

-- An address in brackets ends with no port, so a port is what follows the last colon.
CREATE OR REPLACE VIEW kafka.broker AS
SELECT regexp_replace(b.host, ':[0-9]+$', '') AS host, coalesce(substring(b.host FROM ':([0-9]+)$')::integer, 9092) AS port
FROM millrace.broker AS b WHERE b.cluster = 'default';
ALTER VIEW kafka.broker ALTER COLUMN port SET DEFAULT 9092;
COMMENT ON VIEW kafka.broker IS 'Brokers that were added; INSERT adds one, DELETE removes one.';
COMMENT ON COLUMN kafka.broker.host IS 'Name or address.';
COMMENT ON COLUMN kafka.broker.port IS '9092, if it is left out.';

CREATE OR REPLACE FUNCTION kafka.change_broker() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF TG_OP <> 'INSERT' THEN
    PERFORM millrace.remove_broker(b.host) FROM millrace.broker AS b
    WHERE b.cluster = 'default' AND millrace.broker_address(b.host) = lower(OLD.host) || ':' || OLD.port;
  END IF;
  IF TG_OP <> 'DELETE' THEN
    PERFORM millrace.add_broker(
      CASE WHEN NEW.host ~ '^[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*$' THEN '[' || NEW.host || ']' ELSE NEW.host END || ':' || NEW.port);
    RETURN NEW;
  END IF;
  RETURN OLD;
END
$$;

DROP TRIGGER IF EXISTS change_broker ON kafka.broker;
CREATE TRIGGER change_broker INSTEAD OF INSERT OR UPDATE OR DELETE ON kafka.broker
  FOR EACH ROW EXECUTE FUNCTION kafka.change_broker();

-- It pins no search_path, so that it becomes part of the statement that calls it. It does nothing but call, with
-- everything qualified, no operator and exact types.
CREATE OR REPLACE FUNCTION kafka.produce(topic varchar, message varchar) RETURNS boolean
LANGUAGE sql
AS $$
  SELECT millrace.write_message(topic::pg_catalog.text, pg_catalog.convert_to(message::pg_catalog.text, 'UTF8'),
    NULL, NULL, NULL, 'default', NULL, NULL) IS NOT NULL
$$;
COMMENT ON FUNCTION kafka.produce(varchar, varchar) IS
  'Sends a message to a topic when the transaction commits.';

-- The daemon holds the connections, so a session has none to close.
CREATE OR REPLACE FUNCTION kafka.close() RETURNS boolean
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT true
$$;
COMMENT ON FUNCTION kafka.close() IS 'Does nothing, since a session has no connection to Kafka; returns true.';

GRANT USAGE ON SCHEMA kafka TO PUBLIC;
GRANT EXECUTE ON FUNCTION kafka.change_broker(), kafka.produce(varchar, varchar), kafka.close() TO PUBLIC;
-- LOCK TABLE on a view locks its tables with the rights of the view's owner, so nobody else gets more than these two.
GRANT SELECT, INSERT ON kafka.broker TO PUBLIC;
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'millrace_admin') THEN
    GRANT UPDATE, DELETE ON kafka.broker TO millrace_admin;
  END IF;
END
$$;

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

-- Clusters and their brokers are an administrator's: whoever names a broker receives the daemon's credentials.

CREATE TABLE millrace.cluster (
  name text PRIMARY KEY,
  created_at timestamptz NOT NULL DEFAULT now(),
  delivery text NOT NULL DEFAULT 'at_least_once',
  unsent text,
  on_refused text NOT NULL DEFAULT 'wait'
);
COMMENT ON TABLE millrace.cluster IS 'Kafka clusters.';
COMMENT ON COLUMN millrace.cluster.delivery IS 'Of messages that are sent: at_least_once, or exactly_once (in Kafka transactions).';
COMMENT ON COLUMN millrace.cluster.unsent IS
  'Where Kafka and this database disagree about how far the outbox is sent: send what the database holds for unsent, or skip it. NULL: the daemon waits until somebody says.';
COMMENT ON COLUMN millrace.cluster.on_refused IS 'What becomes of messages that Kafka does not take: they wait, with their key, or become dead letters (dead_letter).';
INSERT INTO millrace.cluster (name) VALUES ('default');

CREATE TABLE millrace.broker (
  cluster text NOT NULL DEFAULT 'default' REFERENCES millrace.cluster,
  host text NOT NULL,
  PRIMARY KEY (cluster, host)
);
COMMENT ON TABLE millrace.broker IS 'Brokers through which a cluster is first reached, as host or host:port.';

-- The same broker written two ways is one broker.
CREATE FUNCTION millrace.broker_address(host text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT lower(host) || CASE WHEN host ~ ':[0-9]+$' THEN '' ELSE ':9092' END
$$;

CREATE FUNCTION millrace.check_broker() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF NOT millrace.is_admin() THEN
    PERFORM millrace.refuse('admin-required',
      format('role %I may not change the brokers of cluster %L', current_user, NEW.cluster));
  END IF;
  IF NOT EXISTS (SELECT FROM millrace.cluster WHERE name = NEW.cluster) THEN
    PERFORM millrace.refuse('cluster-missing', format('there is no cluster %L', NEW.cluster));
  END IF;
  -- What does not look like an address may hold a password, so it is not repeated.
  IF NEW.host IS NULL OR length(NEW.host) > 261
    OR NEW.host !~ '^([A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?|\[[0-9A-Fa-f:.]+(%[A-Za-z0-9_.-]+)?\])(:[0-9]{1,5})?$'
    OR NOT coalesce(substring(NEW.host FROM ':([0-9]+)$')::integer, 9092) BETWEEN 1 AND 65535
  THEN
    PERFORM millrace.refuse('broker-invalid', 'the broker is not of the form host or host:port');
  END IF;
  IF EXISTS (
    SELECT FROM millrace.broker AS other
    WHERE other.cluster = NEW.cluster
      AND millrace.broker_address(other.host) = millrace.broker_address(NEW.host)
      AND NOT (TG_OP = 'UPDATE' AND other.cluster = OLD.cluster AND other.host = OLD.host)
  ) THEN
    PERFORM millrace.refuse('broker-exists', format('broker "%s" already exists', NEW.host));
  END IF;
  RETURN NEW;
END
$$;

CREATE TRIGGER check_broker BEFORE INSERT OR UPDATE ON millrace.broker
  FOR EACH ROW EXECUTE FUNCTION millrace.check_broker();

CREATE FUNCTION millrace.check_cluster() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF NOT millrace.is_admin() THEN
    PERFORM millrace.refuse('admin-required', format('role %I may not add clusters', current_user));
  END IF;
  IF NEW.name IS NULL OR NEW.name !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$' THEN
    PERFORM millrace.refuse('cluster-invalid', format('%L cannot be the name of a cluster', left(NEW.name, 64)));
  ELSIF NEW.delivery IN ('at_least_once', 'exactly_once') IS NOT TRUE THEN
    PERFORM millrace.refuse('delivery-invalid', format('there is no delivery %L', left(NEW.delivery, 64)));
  ELSIF NEW.unsent NOT IN ('send', 'skip') THEN
    PERFORM millrace.refuse('unsent-invalid', format('unsent messages cannot be treated as %L', left(NEW.unsent, 64)));
  ELSIF NEW.on_refused IN ('wait', 'dead_letter') IS NOT TRUE THEN
    PERFORM millrace.refuse('on-refused-invalid', format('on_refused cannot be %L', left(NEW.on_refused, 64)));
  END IF;
  RETURN NEW;
END
$$;

CREATE TRIGGER check_cluster BEFORE INSERT OR UPDATE ON millrace.cluster
  FOR EACH ROW EXECUTE FUNCTION millrace.check_cluster();

CREATE FUNCTION millrace.add_broker(host text, cluster text DEFAULT 'default') RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
  INSERT INTO millrace.broker (cluster, host) VALUES (add_broker.cluster, add_broker.host)
$$;
COMMENT ON FUNCTION millrace.add_broker(text, text) IS 'Adds a broker, host or host:port, to a cluster. For administrators.';

CREATE FUNCTION millrace.remove_broker(host text, cluster text DEFAULT 'default') RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF NOT millrace.is_admin() THEN
    PERFORM millrace.refuse('admin-required',
      format('role %I may not change the brokers of cluster %L', current_user, remove_broker.cluster));
  END IF;
  DELETE FROM millrace.broker AS b WHERE b.cluster = remove_broker.cluster AND b.host = remove_broker.host;
  IF NOT FOUND THEN
    PERFORM millrace.refuse('broker-missing', format('broker %L does not exist', remove_broker.host));
  END IF;
END
$$;
COMMENT ON FUNCTION millrace.remove_broker(text, text) IS 'Removes a broker from a cluster. For administrators.';

ALTER TABLE millrace.cluster ENABLE ROW LEVEL SECURITY;
ALTER TABLE millrace.broker ENABLE ROW LEVEL SECURITY;
CREATE POLICY read ON millrace.cluster FOR SELECT USING (true);
CREATE POLICY read ON millrace.broker FOR SELECT USING (true);
CREATE POLICY administer ON millrace.cluster USING ((SELECT millrace.is_admin())) WITH CHECK ((SELECT millrace.is_admin()));
CREATE POLICY administer ON millrace.broker USING ((SELECT millrace.is_admin())) WITH CHECK ((SELECT millrace.is_admin()));
GRANT SELECT, INSERT (name, delivery), UPDATE (delivery, unsent, on_refused) ON millrace.cluster TO PUBLIC;
GRANT SELECT, INSERT ON millrace.broker TO PUBLIC;

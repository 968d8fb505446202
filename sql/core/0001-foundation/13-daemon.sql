-- What daemons report: that they live, what each consumer does, and what Kafka holds. Reports age; who reads
-- them sees when they were made.

CREATE TABLE millrace.daemon (
  id uuid PRIMARY KEY,
  host text,
  pid integer,
  version text,
  backend_pid integer,
  started_at timestamptz NOT NULL DEFAULT now(),
  seen_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE millrace.daemon IS 'Daemons of this database and when they were last seen.';

CREATE TABLE millrace.report (
  consumer_id bigint NOT NULL REFERENCES millrace.consumer ON DELETE CASCADE,
  daemon uuid NOT NULL REFERENCES millrace.daemon ON DELETE CASCADE,
  state text NOT NULL,
  code text,
  detail text,
  rows_per_second double precision,
  reported_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (consumer_id, daemon)
);
COMMENT ON TABLE millrace.report IS 'What each daemon does for each consumer.';
CREATE INDEX report_daemon ON millrace.report (daemon);

CREATE TABLE millrace.watermark (
  cluster text NOT NULL,
  topic text NOT NULL,
  partition integer NOT NULL,
  low bigint NOT NULL,
  high bigint NOT NULL,
  last_stable bigint,
  reported_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (cluster, topic, partition)
);
COMMENT ON TABLE millrace.watermark IS 'What Kafka holds of a partition, as a daemon last saw it.';

CREATE TABLE millrace.watched_topic (
  cluster text NOT NULL DEFAULT 'default',
  topic text NOT NULL,
  asked_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (cluster, topic)
);
COMMENT ON TABLE millrace.watched_topic IS 'Topics whose watermarks somebody asked for.';

CREATE FUNCTION millrace.check_watched_topic() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM millrace.check_topic(NEW.topic);
  IF NOT EXISTS (SELECT FROM millrace.cluster WHERE name = NEW.cluster) THEN
    PERFORM millrace.refuse('cluster-missing', format('there is no cluster %L', NEW.cluster));
  END IF;
  IF NOT millrace.may_consume(NEW.cluster, NEW.topic) THEN
    PERFORM millrace.refuse('topic-not-granted', format('topic %s is not granted to role %I', NEW.topic, current_user));
  END IF;
  NEW.asked_at := now();
  RETURN NEW;
END
$$;

CREATE TRIGGER check_watched_topic BEFORE INSERT OR UPDATE ON millrace.watched_topic
  FOR EACH ROW EXECUTE FUNCTION millrace.check_watched_topic();

-- A connected daemon holds this lock, shared, for as long as its session lives.
CREATE FUNCTION millrace.daemon_connected() RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND classid = 1298756723 AND objid = 1 AND objsubid = 2 AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
$$;
COMMENT ON FUNCTION millrace.daemon_connected() IS 'Whether a daemon is connected to this database now.';

CREATE FUNCTION millrace.warn_without_daemon() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF NOT millrace.daemon_connected() THEN
    RAISE WARNING 'no daemon is connected to this database' USING
      DETAIL = 'code: no-daemon', HINT = 'What was asked for happens when one runs: millrace run --database URL';
  END IF;
END
$$;

-- One notification for a statement that changes what is wanted, none for what daemons record.
CREATE FUNCTION millrace.notify_daemon() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM pg_notify('millrace', '');
  RETURN NULL;
END
$$;

CREATE TRIGGER notify_daemon AFTER INSERT OR DELETE OR UPDATE OF cluster, topic, topic_pattern, parent_id, target_schema,
  target_name, route_by_key, owner, group_id, format, delimiter, quote, escape, encoding, json_path, columns, rest_column,
  unknown_keys, missing_keys, metadata, mode, key_columns, tombstone, transform, on_error, dead_letter_limit,
  dead_letter_max_age, on_offset_gap, batchsize, maxbytes, parallelism, timeout, wanted, start_offset, start_time,
  start_partitions ON millrace.consumer FOR EACH STATEMENT EXECUTE FUNCTION millrace.notify_daemon();
CREATE TRIGGER notify_daemon AFTER INSERT OR UPDATE OR DELETE ON millrace.broker
  FOR EACH STATEMENT EXECUTE FUNCTION millrace.notify_daemon();
CREATE TRIGGER notify_daemon AFTER INSERT OR UPDATE ON millrace.watched_topic
  FOR EACH STATEMENT EXECUTE FUNCTION millrace.notify_daemon();

ALTER TABLE millrace.daemon ENABLE ROW LEVEL SECURITY;
ALTER TABLE millrace.report ENABLE ROW LEVEL SECURITY;
ALTER TABLE millrace.watermark ENABLE ROW LEVEL SECURITY;
ALTER TABLE millrace.watched_topic ENABLE ROW LEVEL SECURITY;
CREATE POLICY administer ON millrace.daemon FOR SELECT USING ((SELECT millrace.is_admin()));
CREATE POLICY own ON millrace.report FOR SELECT USING (consumer_id IN (SELECT id FROM millrace.consumer));
CREATE POLICY own ON millrace.watermark FOR SELECT USING (
  (SELECT millrace.is_admin()) OR (cluster, topic) IN (SELECT c.cluster, c.topic FROM millrace.consumer AS c)
  OR millrace.may_consume(cluster, topic));
CREATE POLICY own ON millrace.watched_topic USING ((SELECT millrace.is_admin()) OR millrace.may_consume(cluster, topic))
  WITH CHECK ((SELECT millrace.is_admin()) OR millrace.may_consume(cluster, topic));
GRANT SELECT ON millrace.daemon, millrace.report, millrace.watermark TO PUBLIC;
GRANT SELECT, INSERT, UPDATE (asked_at) ON millrace.watched_topic TO PUBLIC;

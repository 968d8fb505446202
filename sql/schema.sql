-- Made by scripts/dump-schema.ts from a database with the schema installed. Nothing reads it but people.

CREATE TABLE millrace.broker (
  cluster text DEFAULT 'default'::text NOT NULL,
  host text NOT NULL,
  FOREIGN KEY (cluster) REFERENCES millrace.cluster(name),
  PRIMARY KEY (cluster, host)
);
CREATE TRIGGER check_broker BEFORE INSERT OR UPDATE ON millrace.broker FOR EACH ROW EXECUTE FUNCTION millrace.check_broker();
CREATE TRIGGER notify_daemon AFTER INSERT OR DELETE OR UPDATE ON millrace.broker FOR EACH STATEMENT EXECUTE FUNCTION millrace.notify_daemon();
ALTER TABLE millrace.broker ENABLE ROW LEVEL SECURITY;
CREATE POLICY administer ON millrace.broker FOR ALL
  USING (( SELECT millrace.is_admin() AS is_admin))
  WITH CHECK (( SELECT millrace.is_admin() AS is_admin));
CREATE POLICY read ON millrace.broker FOR SELECT
  USING (true);
GRANT INSERT, SELECT ON TABLE millrace.broker TO PUBLIC;
GRANT DELETE ON TABLE millrace.broker TO millrace_admin;
COMMENT ON TABLE millrace.broker IS 'Brokers through which a cluster is first reached, as host or host:port.';

CREATE TABLE millrace.cluster (
  name text NOT NULL,
  created_at timestamp with time zone DEFAULT now() NOT NULL,
  PRIMARY KEY (name)
);
ALTER TABLE millrace.cluster ENABLE ROW LEVEL SECURITY;
CREATE POLICY read ON millrace.cluster FOR SELECT
  USING (true);
GRANT SELECT ON TABLE millrace.cluster TO PUBLIC;
COMMENT ON TABLE millrace.cluster IS 'Kafka clusters.';

CREATE TABLE millrace.consumer (
  id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  cluster text DEFAULT 'default'::text NOT NULL,
  topic text NOT NULL,
  target_schema text NOT NULL,
  target_name text NOT NULL,
  owner regrole DEFAULT (quote_ident((CURRENT_USER)::text))::regrole NOT NULL,
  group_id text,
  format text DEFAULT 'text'::text NOT NULL,
  delimiter text,
  quote text,
  escape text,
  encoding text,
  batchsize integer DEFAULT 1000 NOT NULL,
  maxbytes integer DEFAULT 32000000 NOT NULL,
  parallelism integer DEFAULT 1 NOT NULL,
  timeout integer DEFAULT 250 NOT NULL,
  on_error text DEFAULT 'stop'::text NOT NULL,
  wanted text DEFAULT 'running'::text NOT NULL,
  version bigint DEFAULT 1 NOT NULL,
  start_offset bigint,
  start_pending boolean DEFAULT true NOT NULL,
  located_at timestamp with time zone,
  warning text,
  created_at timestamp with time zone DEFAULT now() NOT NULL,
  changed_at timestamp with time zone DEFAULT now() NOT NULL,
  CHECK ((on_error = 'stop'::text)),
  CHECK ((wanted = ANY (ARRAY['running'::text, 'stopped'::text]))),
  FOREIGN KEY (cluster) REFERENCES millrace.cluster(name),
  PRIMARY KEY (id),
  UNIQUE (cluster, topic, target_schema, target_name)
);
CREATE UNIQUE INDEX consumer_group ON millrace.consumer USING btree (cluster, topic, group_id) WHERE (group_id IS NOT NULL);
CREATE TRIGGER check_consumer BEFORE INSERT OR UPDATE OF cluster, topic, target_schema, target_name, owner, group_id, format, delimiter, quote, escape, encoding, batchsize, maxbytes, parallelism, timeout, on_error, wanted, start_offset ON millrace.consumer FOR EACH ROW EXECUTE FUNCTION millrace.check_consumer();
CREATE TRIGGER notify_daemon AFTER INSERT OR DELETE OR UPDATE OF cluster, topic, target_schema, target_name, owner, group_id, format, delimiter, quote, escape, encoding, batchsize, maxbytes, parallelism, timeout, on_error, wanted, start_offset ON millrace.consumer FOR EACH STATEMENT EXECUTE FUNCTION millrace.notify_daemon();
CREATE TRIGGER set_start_pending BEFORE UPDATE OF start_offset ON millrace.consumer FOR EACH ROW EXECUTE FUNCTION millrace.set_start_pending();
ALTER TABLE millrace.consumer ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON millrace.consumer FOR ALL
  USING ((pg_has_role((owner)::oid, 'USAGE'::text) OR ( SELECT millrace.is_admin() AS is_admin)))
  WITH CHECK ((pg_has_role((owner)::oid, 'USAGE'::text) OR ( SELECT millrace.is_admin() AS is_admin)));
GRANT SELECT ON TABLE millrace.consumer TO PUBLIC;
GRANT INSERT (cluster, topic, target_schema, target_name, group_id, format, delimiter, quote, escape, encoding, batchsize, maxbytes, parallelism, timeout, on_error, wanted, start_offset) ON TABLE millrace.consumer TO PUBLIC;
GRANT UPDATE (group_id, format, delimiter, quote, escape, encoding, batchsize, maxbytes, parallelism, timeout, on_error, wanted, start_offset) ON TABLE millrace.consumer TO PUBLIC;
COMMENT ON TABLE millrace.consumer IS 'Topics to load into relations, as they are wanted. Read millrace.consumers instead.';

CREATE TABLE millrace.daemon (
  id uuid NOT NULL,
  host text,
  pid integer,
  version text,
  backend_pid integer,
  started_at timestamp with time zone DEFAULT now() NOT NULL,
  seen_at timestamp with time zone DEFAULT now() NOT NULL,
  PRIMARY KEY (id)
);
ALTER TABLE millrace.daemon ENABLE ROW LEVEL SECURITY;
CREATE POLICY administer ON millrace.daemon FOR SELECT
  USING (( SELECT millrace.is_admin() AS is_admin));
GRANT SELECT ON TABLE millrace.daemon TO PUBLIC;
COMMENT ON TABLE millrace.daemon IS 'Daemons of this database and when they were last seen.';

CREATE TABLE millrace.failure (
  consumer_id bigint NOT NULL,
  version bigint NOT NULL,
  code text NOT NULL,
  message text NOT NULL,
  sqlstate text,
  partition integer,
  "offset" bigint,
  failed_at timestamp with time zone DEFAULT now() NOT NULL,
  FOREIGN KEY (consumer_id) REFERENCES millrace.consumer(id) ON DELETE CASCADE,
  PRIMARY KEY (consumer_id)
);
ALTER TABLE millrace.failure ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON millrace.failure FOR SELECT
  USING ((consumer_id IN ( SELECT consumer.id
   FROM millrace.consumer)));
GRANT SELECT ON TABLE millrace.failure TO PUBLIC;
COMMENT ON TABLE millrace.failure IS 'What stopped a consumer; in force while its version is the consumer''s. Written by the daemon.';

CREATE TABLE millrace.installation (
  singleton boolean DEFAULT true NOT NULL,
  id uuid DEFAULT gen_random_uuid() NOT NULL,
  system_identifier text,
  timeline integer,
  database text,
  installed_at timestamp with time zone DEFAULT now() NOT NULL,
  CHECK (singleton),
  PRIMARY KEY (singleton)
);
COMMENT ON TABLE millrace.installation IS 'What this database is, so that a clone or a restored copy of it is noticed.';

CREATE TABLE millrace.migration (
  version integer NOT NULL,
  name text NOT NULL,
  applied_at timestamp with time zone DEFAULT now() NOT NULL,
  PRIMARY KEY (version)
);
GRANT SELECT ON TABLE millrace.migration TO PUBLIC;
COMMENT ON TABLE millrace.migration IS 'Steps of this schema that have been applied.';

CREATE TABLE millrace."position" (
  consumer_id bigint NOT NULL,
  partition integer NOT NULL,
  next_offset bigint NOT NULL,
  cluster_id text,
  topic_id uuid,
  leader_epoch integer DEFAULT '-1'::integer NOT NULL,
  config_version bigint NOT NULL,
  owner_epoch bigint DEFAULT 0 NOT NULL,
  owner uuid,
  owner_pid integer,
  owner_started timestamp with time zone,
  messages bigint DEFAULT 0 NOT NULL,
  skipped bigint DEFAULT 0 NOT NULL,
  bytes bigint DEFAULT 0 NOT NULL,
  moved_at timestamp with time zone,
  FOREIGN KEY (consumer_id) REFERENCES millrace.consumer(id) ON DELETE CASCADE,
  PRIMARY KEY (consumer_id, partition)
) WITH (fillfactor=50);
ALTER TABLE millrace."position" ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON millrace."position" FOR SELECT
  USING ((consumer_id IN ( SELECT consumer.id
   FROM millrace.consumer)));
GRANT SELECT ON TABLE millrace."position" TO PUBLIC;
COMMENT ON TABLE millrace."position" IS 'The next offset of every consumer in every partition, and who moves it. Written by the daemon.';

CREATE TABLE millrace.report (
  consumer_id bigint NOT NULL,
  daemon uuid NOT NULL,
  state text NOT NULL,
  code text,
  detail text,
  rows_per_second double precision,
  reported_at timestamp with time zone DEFAULT now() NOT NULL,
  FOREIGN KEY (consumer_id) REFERENCES millrace.consumer(id) ON DELETE CASCADE,
  FOREIGN KEY (daemon) REFERENCES millrace.daemon(id) ON DELETE CASCADE,
  PRIMARY KEY (consumer_id, daemon)
);
CREATE INDEX report_daemon ON millrace.report USING btree (daemon);
ALTER TABLE millrace.report ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON millrace.report FOR SELECT
  USING ((consumer_id IN ( SELECT consumer.id
   FROM millrace.consumer)));
GRANT SELECT ON TABLE millrace.report TO PUBLIC;
COMMENT ON TABLE millrace.report IS 'What each daemon does for each consumer.';

CREATE TABLE millrace.topic_grant (
  cluster text DEFAULT 'default'::text NOT NULL,
  topic text NOT NULL,
  grantee regrole NOT NULL,
  FOREIGN KEY (cluster) REFERENCES millrace.cluster(name),
  PRIMARY KEY (cluster, topic, grantee)
);
CREATE TRIGGER check_topic_grant BEFORE INSERT OR UPDATE ON millrace.topic_grant FOR EACH ROW EXECUTE FUNCTION millrace.check_topic_grant();
ALTER TABLE millrace.topic_grant ENABLE ROW LEVEL SECURITY;
CREATE POLICY administer ON millrace.topic_grant FOR ALL
  USING (( SELECT millrace.is_admin() AS is_admin))
  WITH CHECK (( SELECT millrace.is_admin() AS is_admin));
CREATE POLICY own ON millrace.topic_grant FOR SELECT
  USING ((((grantee)::oid = (0)::oid) OR pg_has_role((grantee)::oid, 'USAGE'::text)));
GRANT INSERT, SELECT ON TABLE millrace.topic_grant TO PUBLIC;
GRANT DELETE ON TABLE millrace.topic_grant TO millrace_admin;
COMMENT ON TABLE millrace.topic_grant IS 'Which roles may consume a topic; grantee 0 is every role, topic * every topic.';

CREATE TABLE millrace.watched_topic (
  cluster text DEFAULT 'default'::text NOT NULL,
  topic text NOT NULL,
  asked_at timestamp with time zone DEFAULT now() NOT NULL,
  PRIMARY KEY (cluster, topic)
);
CREATE TRIGGER check_watched_topic BEFORE INSERT OR UPDATE ON millrace.watched_topic FOR EACH ROW EXECUTE FUNCTION millrace.check_watched_topic();
CREATE TRIGGER notify_daemon AFTER INSERT OR UPDATE ON millrace.watched_topic FOR EACH STATEMENT EXECUTE FUNCTION millrace.notify_daemon();
ALTER TABLE millrace.watched_topic ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON millrace.watched_topic FOR ALL
  USING ((( SELECT millrace.is_admin() AS is_admin) OR millrace.may_consume(cluster, topic)))
  WITH CHECK ((( SELECT millrace.is_admin() AS is_admin) OR millrace.may_consume(cluster, topic)));
GRANT INSERT, SELECT ON TABLE millrace.watched_topic TO PUBLIC;
GRANT UPDATE (asked_at) ON TABLE millrace.watched_topic TO PUBLIC;
COMMENT ON TABLE millrace.watched_topic IS 'Topics whose watermarks somebody asked for.';

CREATE TABLE millrace.watermark (
  cluster text NOT NULL,
  topic text NOT NULL,
  partition integer NOT NULL,
  low bigint NOT NULL,
  high bigint NOT NULL,
  last_stable bigint,
  reported_at timestamp with time zone DEFAULT now() NOT NULL,
  PRIMARY KEY (cluster, topic, partition)
);
ALTER TABLE millrace.watermark ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON millrace.watermark FOR SELECT
  USING ((( SELECT millrace.is_admin() AS is_admin) OR ((cluster, topic) IN ( SELECT c.cluster,
    c.topic
   FROM millrace.consumer c)) OR millrace.may_consume(cluster, topic)));
GRANT SELECT ON TABLE millrace.watermark TO PUBLIC;
COMMENT ON TABLE millrace.watermark IS 'What Kafka holds of a partition, as a daemon last saw it.';

CREATE VIEW millrace.consumers WITH (security_barrier=true) AS
 SELECT c.id,
    c.cluster,
    c.topic,
    format('%I.%I'::text, c.target_schema, c.target_name) AS target,
    c.owner,
    c.group_id,
    c.format,
    c.delimiter,
    c.quote,
    c.escape,
    c.encoding,
    c.batchsize,
    c.maxbytes,
    c.parallelism,
    c.timeout,
    c.on_error,
    c.start_offset,
        CASE
            WHEN c.wanted = 'stopped'::text THEN 'stopped'::text
            WHEN f.code IS NOT NULL THEN 'failed'::text
            WHEN NOT alive.any_daemon THEN 'no-daemon'::text
            ELSE COALESCE(r.state, 'starting'::text)
        END AS state,
    COALESCE(p.partitions, 0::bigint)::integer AS partitions,
    COALESCE(p.messages, 0::numeric)::bigint AS messages,
    COALESCE(p.skipped, 0::numeric)::bigint AS skipped,
    COALESCE(p.bytes, 0::numeric)::bigint AS bytes,
    p.lag::bigint AS lag,
        CASE
            WHEN c.wanted = 'running'::text AND f.code IS NULL THEN r.rows_per_second
            ELSE NULL::double precision
        END AS rows_per_second,
    p.moved_at,
    COALESCE(f.code, reported.code) AS error_code,
    COALESCE(f.message, reported.detail) AS error_message,
    f.sqlstate AS error_sqlstate,
    f.partition AS error_partition,
    f."offset" AS error_offset,
    COALESCE(f.failed_at, reported.reported_at) AS error_at,
    c.warning,
    c.created_at,
    c.changed_at
   FROM millrace.visible_consumer c
     LEFT JOIN millrace.failure f ON f.consumer_id = c.id AND f.version = c.version
     LEFT JOIN millrace.live_report r ON r.consumer_id = c.id
     LEFT JOIN millrace.live_report reported ON reported.consumer_id = c.id AND reported.code IS NOT NULL AND f.code IS NULL AND c.wanted = 'running'::text
     LEFT JOIN LATERAL ( SELECT count(*) AS partitions,
            sum(o.messages) AS messages,
            sum(o.skipped) AS skipped,
            sum(o.bytes) AS bytes,
            sum(
                CASE
                    WHEN w.high > o.next_offset THEN w.high - o.next_offset
                    WHEN w.high IS NOT NULL THEN 0::bigint
                    ELSE NULL::bigint
                END) AS lag,
            max(o.moved_at) AS moved_at
           FROM millrace."position" o
             LEFT JOIN millrace.watermark w ON w.cluster = c.cluster AND w.topic = c.topic AND w.partition = o.partition
          WHERE o.consumer_id = c.id) p ON true
     CROSS JOIN ( SELECT (EXISTS ( SELECT
                   FROM millrace.daemon
                  WHERE daemon.seen_at > (statement_timestamp() - '00:00:15'::interval))) AS any_daemon) alive;
GRANT SELECT ON TABLE millrace.consumers TO PUBLIC;
COMMENT ON VIEW millrace.consumers IS 'Every consumer that the current role may see: what it should do, what it does, and its last error.';
COMMENT ON COLUMN millrace.consumers.id IS 'Number of the consumer.';
COMMENT ON COLUMN millrace.consumers.cluster IS 'Kafka cluster that is read.';
COMMENT ON COLUMN millrace.consumers.topic IS 'Topic that is read.';
COMMENT ON COLUMN millrace.consumers.target IS 'Relation that is loaded, with its schema, quoted where SQL needs it.';
COMMENT ON COLUMN millrace.consumers.owner IS 'Role under which the relation is loaded.';
COMMENT ON COLUMN millrace.consumers.group_id IS 'Consumer group that was asked for; NULL: one of this installation''s own.';
COMMENT ON COLUMN millrace.consumers.format IS 'text, csv or json.';
COMMENT ON COLUMN millrace.consumers.delimiter IS 'As for COPY.';
COMMENT ON COLUMN millrace.consumers.quote IS 'As for COPY; NULL: COPY''s default.';
COMMENT ON COLUMN millrace.consumers.escape IS 'As for COPY; NULL: COPY''s default.';
COMMENT ON COLUMN millrace.consumers.encoding IS 'Encoding of the messages; NULL: the database''s.';
COMMENT ON COLUMN millrace.consumers.batchsize IS 'Buffered messages from which a commit happens.';
COMMENT ON COLUMN millrace.consumers.maxbytes IS 'Buffered bytes from which a commit happens.';
COMMENT ON COLUMN millrace.consumers.parallelism IS 'COPY streams per daemon.';
COMMENT ON COLUMN millrace.consumers.timeout IS 'Milliseconds a fetch waits for messages.';
COMMENT ON COLUMN millrace.consumers.on_error IS 'What happens to a message that cannot be loaded: stop.';
COMMENT ON COLUMN millrace.consumers.start_offset IS 'The start_offset of the last call that started the consumer.';
COMMENT ON COLUMN millrace.consumers.state IS 'stopped, failed, no-daemon, or what the daemons do: retrying, waiting-for-topic, locating, starting, running.';
COMMENT ON COLUMN millrace.consumers.partitions IS 'Partitions that have a position.';
COMMENT ON COLUMN millrace.consumers.messages IS 'Messages loaded so far.';
COMMENT ON COLUMN millrace.consumers.skipped IS 'Messages passed over so far: tombstones and empty ones.';
COMMENT ON COLUMN millrace.consumers.bytes IS 'Bytes of the messages loaded so far.';
COMMENT ON COLUMN millrace.consumers.lag IS 'Messages not loaded yet, by the last reported high watermarks; NULL: none was reported.';
COMMENT ON COLUMN millrace.consumers.rows_per_second IS 'Recent speed, all daemons together.';
COMMENT ON COLUMN millrace.consumers.moved_at IS 'When the last batch was committed.';
COMMENT ON COLUMN millrace.consumers.error_code IS 'Code of what stopped the consumer or hinders it now (docs/errors.md).';
COMMENT ON COLUMN millrace.consumers.error_message IS 'What stopped the consumer or hinders it now.';
COMMENT ON COLUMN millrace.consumers.error_sqlstate IS 'PostgreSQL''s code for what stopped the consumer.';
COMMENT ON COLUMN millrace.consumers.error_partition IS 'Partition of the message that stopped the consumer.';
COMMENT ON COLUMN millrace.consumers.error_offset IS 'Offset of the message that stopped the consumer.';
COMMENT ON COLUMN millrace.consumers.error_at IS 'When the consumer stopped, or the hindrance was last reported.';
COMMENT ON COLUMN millrace.consumers.warning IS 'What was done other than asked, for example a start_offset moved into what the partition holds.';
COMMENT ON COLUMN millrace.consumers.created_at IS 'When the consumer was first begun.';
COMMENT ON COLUMN millrace.consumers.changed_at IS 'When it was last begun, changed or ended.';

CREATE VIEW millrace.lag WITH (security_barrier=true) AS
 SELECT c.id AS consumer_id,
    c.topic,
    format('%I.%I'::text, c.target_schema, c.target_name) AS target,
    p.partition,
    p.next_offset,
    w.low AS low_watermark,
    w.high AS high_watermark,
        CASE
            WHEN w.high > p.next_offset THEN w.high - p.next_offset
            WHEN w.high IS NOT NULL THEN 0::bigint
            ELSE NULL::bigint
        END AS lag,
    p.moved_at,
    w.reported_at,
    statement_timestamp() - w.reported_at AS age
   FROM millrace.visible_consumer c
     JOIN millrace."position" p ON p.consumer_id = c.id
     LEFT JOIN millrace.watermark w ON w.cluster = c.cluster AND w.topic = c.topic AND w.partition = p.partition;
GRANT SELECT ON TABLE millrace.lag TO PUBLIC;
COMMENT ON VIEW millrace.lag IS 'Every partition of every consumer that the current role may see: where it stands and how far that is from the end.';
COMMENT ON COLUMN millrace.lag.consumer_id IS 'Number of the consumer in millrace.consumers.';
COMMENT ON COLUMN millrace.lag.topic IS 'Topic that is read.';
COMMENT ON COLUMN millrace.lag.target IS 'Relation that is loaded.';
COMMENT ON COLUMN millrace.lag.partition IS 'Partition of the topic.';
COMMENT ON COLUMN millrace.lag.next_offset IS 'Offset of the next message to load; everything before it is in the relation.';
COMMENT ON COLUMN millrace.lag.low_watermark IS 'First offset that the partition still held when a daemon last looked.';
COMMENT ON COLUMN millrace.lag.high_watermark IS 'Offset after the last message when a daemon last looked.';
COMMENT ON COLUMN millrace.lag.lag IS 'Offsets between the two; NULL: nothing was reported yet.';
COMMENT ON COLUMN millrace.lag.moved_at IS 'When the position last moved.';
COMMENT ON COLUMN millrace.lag.reported_at IS 'When a daemon last looked.';
COMMENT ON COLUMN millrace.lag.age IS 'How long ago that was.';

CREATE VIEW millrace.live_report WITH (security_barrier=true) AS
 SELECT DISTINCT ON (r.consumer_id) r.consumer_id,
    r.state,
    r.code,
    r.detail,
    r.reported_at,
    sum(r.rows_per_second) OVER (PARTITION BY r.consumer_id) AS rows_per_second
   FROM millrace.report r
     JOIN millrace.daemon d ON d.id = r.daemon
  WHERE d.seen_at > (statement_timestamp() - '00:00:15'::interval)
  ORDER BY r.consumer_id, (array_position(ARRAY['retrying'::text, 'waiting-for-topic'::text, 'locating'::text, 'starting'::text, 'running'::text], r.state)), r.reported_at DESC;
COMMENT ON VIEW millrace.live_report IS 'One report for each consumer: the worst of the live daemons'' reports. For millrace.consumers.';

CREATE VIEW millrace.visible_consumer WITH (security_barrier=true) AS
 SELECT id,
    cluster,
    topic,
    target_schema,
    target_name,
    owner,
    group_id,
    format,
    delimiter,
    quote,
    escape,
    encoding,
    batchsize,
    maxbytes,
    parallelism,
    timeout,
    on_error,
    wanted,
    version,
    start_offset,
    start_pending,
    located_at,
    warning,
    created_at,
    changed_at
   FROM millrace.consumer
  WHERE pg_has_role(owner::oid, 'USAGE'::text) OR ( SELECT millrace.is_admin() AS is_admin);
GRANT SELECT ON TABLE millrace.visible_consumer TO PUBLIC;
COMMENT ON VIEW millrace.visible_consumer IS 'The rows of millrace.consumer that the current role may see. For other views.';

CREATE OR REPLACE FUNCTION millrace.add_broker(host text, cluster text DEFAULT 'default'::text)
 RETURNS void
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  INSERT INTO millrace.broker (cluster, host) VALUES (add_broker.cluster, add_broker.host)
$function$
;
GRANT EXECUTE ON FUNCTION millrace.add_broker(text,text) TO PUBLIC;
COMMENT ON FUNCTION millrace.add_broker(text,text) IS 'Adds a broker, host or host:port, to a cluster. For administrators.';

CREATE OR REPLACE FUNCTION millrace.broker_address(host text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT lower(host) || CASE WHEN host ~ ':[0-9]+$' THEN '' ELSE ':9092' END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.broker_address(text) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.called_functions(expressions text[])
 RETURNS SETOF oid
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT m[1]::oid FROM unnest(expressions) AS e,
    regexp_matches(e, ':[a-z]*(?:func|fn)(?:id|oid) (\d+)', 'g') AS m WHERE m[1] <> '0'
  UNION
  SELECT o.oprcode::oid FROM unnest(expressions) AS e,
    regexp_matches(e, ':opnos? (?:\(o )?([\d ]+)', 'g') AS m,
    regexp_split_to_table(trim(m[1]), ' +') AS id JOIN pg_operator AS o ON o.oid = id::oid
$function$
;
GRANT EXECUTE ON FUNCTION millrace.called_functions(text[]) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_broker()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_broker() TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_consumer()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  NEW.delimiter := CASE
    WHEN NEW.format = 'json' THEN NULL
    WHEN NEW.delimiter = '\t' THEN E'\t'
    ELSE NEW.delimiter END;
  PERFORM millrace.check_topic(NEW.topic);
  PERFORM millrace.check_options(NEW);
  NEW.changed_at := now();
  -- A member of somebody else's group would take partitions away from it.
  IF NEW.group_id IS NOT NULL AND (TG_OP = 'INSERT' OR NEW.group_id IS DISTINCT FROM OLD.group_id) AND NOT millrace.is_admin() THEN
    PERFORM millrace.refuse('group-denied', format('role %I may not choose the consumer group', current_user));
  END IF;

  IF TG_OP = 'UPDATE' THEN
    -- A start that was asked for and not found yet is still asked for.
    IF NEW.start_offset IS NULL AND OLD.start_pending THEN
      NEW.start_offset := OLD.start_offset;
    END IF;
    IF NEW.wanted = 'running' AND (OLD.wanted <> 'running'
      OR EXISTS (SELECT FROM millrace.failure AS f WHERE f.consumer_id = OLD.id AND f.version = OLD.version)
      OR (NEW.group_id, NEW.format, NEW.delimiter, NEW.quote, NEW.escape, NEW.encoding, NEW.batchsize,
          NEW.maxbytes, NEW.parallelism, NEW.timeout, NEW.on_error, NEW.start_offset)
        IS DISTINCT FROM (OLD.group_id, OLD.format, OLD.delimiter, OLD.quote, OLD.escape, OLD.encoding, OLD.batchsize,
          OLD.maxbytes, OLD.parallelism, OLD.timeout, OLD.on_error, OLD.start_offset))
    THEN
      NEW.version := OLD.version + 1;
      NEW.warning := NULL;
    ELSE
      RETURN NEW;
    END IF;
  END IF;

  -- Also a new row that is to stay stopped: it keeps others from consuming into the relation.
  IF NEW.wanted = 'running' OR TG_OP = 'INSERT' THEN
    IF NOT EXISTS (SELECT FROM millrace.cluster WHERE name = NEW.cluster) THEN
      PERFORM millrace.refuse('cluster-missing', format('there is no cluster %L', NEW.cluster));
    END IF;
    IF NOT EXISTS (SELECT FROM millrace.broker WHERE cluster = NEW.cluster) THEN
      PERFORM millrace.refuse('no-broker', format('cluster %L has no broker', NEW.cluster));
    END IF;
    PERFORM millrace.check_insert(NEW.target_schema, NEW.target_name, NEW.owner);
    -- The owner's grant, also when an administrator begins it again.
    IF NOT millrace.may_consume(NEW.cluster, NEW.topic, NEW.owner::oid) THEN
      PERFORM millrace.refuse('topic-not-granted',
        format('topic %s is not granted to role %I', NEW.topic, pg_get_userbyid(NEW.owner::oid)));
    END IF;
    PERFORM millrace.check_target(NEW.target_schema, NEW.target_name, NEW.owner);
  END IF;
  RETURN NEW;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_consumer() TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_insert(target_schema text, target_name text, owner regrole)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_insert(text,text,regrole) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_options(c millrace.consumer)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF c.format IS NULL OR c.format NOT IN ('text', 'csv', 'json') THEN
    PERFORM millrace.refuse('format-unknown', format('format %L is not known', left(c.format, 64)));
  END IF;
  IF c.delimiter IS NOT NULL AND (NOT millrace.is_ascii_character(c.delimiter)
    OR c.format = 'text' AND c.delimiter ~ '[\\.a-z0-9N]'
    OR c.format = 'csv' AND c.delimiter = coalesce(c.quote, '"'))
  THEN
    PERFORM millrace.refuse('delimiter-invalid', format('%L cannot be the delimiter of %s', left(c.delimiter, 16), c.format));
  END IF;
  IF c.quote IS NOT NULL AND (c.format <> 'csv' OR NOT millrace.is_ascii_character(c.quote)) THEN
    PERFORM millrace.refuse('quote-invalid', format('%L cannot be the quote of %s', left(c.quote, 16), c.format));
  END IF;
  IF c.escape IS NOT NULL AND (c.format <> 'csv' OR NOT millrace.is_ascii_character(c.escape)) THEN
    PERFORM millrace.refuse('escape-invalid', format('%L cannot be the escape of %s', left(c.escape, 16), c.format));
  END IF;
  IF pg_char_to_encoding(c.encoding) < 0 THEN
    PERFORM millrace.refuse('encoding-unknown', format('encoding %L is not known', left(c.encoding, 64)));
  END IF;
  IF NOT coalesce(c.batchsize, 0) >= 1 THEN
    PERFORM millrace.refuse('batchsize-invalid', format('batchsize cannot be %L', c.batchsize));
  END IF;
  IF NOT coalesce(c.maxbytes, 0) >= 1 THEN
    PERFORM millrace.refuse('maxbytes-invalid', format('maxbytes cannot be %L', c.maxbytes));
  END IF;
  IF NOT coalesce(c.parallelism, 0) BETWEEN 1 AND 1000 THEN
    PERFORM millrace.refuse('parallelism-invalid', format('parallelism cannot be %L', c.parallelism));
  END IF;
  IF NOT coalesce(c.timeout, 0) BETWEEN 1 AND 600000 THEN
    PERFORM millrace.refuse('timeout-invalid', format('timeout cannot be %L', c.timeout));
  END IF;
  IF c.start_offset < -2 THEN
    PERFORM millrace.refuse('start-offset-invalid', format('start_offset cannot be %s', c.start_offset));
  END IF;
  -- The groups that consumers are in by themselves are called millrace.<installation>.<consumer>.
  IF c.group_id IS NOT NULL AND (c.group_id !~ '^.{1,255}$' OR c.group_id ~ '[\x01-\x1f\x7f]' OR c.group_id ~ '^millrace\.') THEN
    PERFORM millrace.refuse('group-invalid', format('%L cannot be the consumer group', left(c.group_id, 64)));
  END IF;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_options(millrace.consumer) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_target(target_schema text, target_name text, owner regrole)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  needed text := CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END;
  problem record;
BEGIN
  SELECT * INTO problem FROM millrace.target_problem(target_schema, target_name, owner::oid) LIMIT 1;
  IF FOUND THEN
    PERFORM millrace.refuse(problem.code, problem.message);
  END IF;
  IF NOT pg_has_role(millrace.daemon_role()::oid, owner::oid, needed) THEN
    PERFORM millrace.refuse('role-not-served', format('the daemon''s role %s cannot act as role %I',
      millrace.daemon_role(), pg_get_userbyid(owner::oid)));
  END IF;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_target(text,text,regrole) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_topic(topic text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF topic IS NULL THEN
    PERFORM millrace.refuse('topic-invalid', 'a topic is needed, not NULL');
  ELSIF topic !~ '^[a-zA-Z0-9._-]{1,249}$' OR topic IN ('.', '..') THEN
    PERFORM millrace.refuse('topic-invalid', format('%L is no name of a Kafka topic', left(topic, 249)));
  END IF;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_topic(text) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_topic_grant()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF NOT millrace.is_admin() THEN
    PERFORM millrace.refuse('admin-required', format('role %I may not grant topics', current_user));
  END IF;
  IF NEW.topic IS DISTINCT FROM '*' THEN
    PERFORM millrace.check_topic(NEW.topic);
  END IF;
  IF NOT EXISTS (SELECT FROM millrace.cluster WHERE name = NEW.cluster) THEN
    PERFORM millrace.refuse('cluster-missing', format('there is no cluster %L', NEW.cluster));
  END IF;
  RETURN NEW;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_topic_grant() TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.check_watched_topic()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
$function$
;
GRANT EXECUTE ON FUNCTION millrace.check_watched_topic() TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.contained_types(types oid[])
 RETURNS SETOF oid
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
$function$
;
GRANT EXECUTE ON FUNCTION millrace.contained_types(oid[]) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.daemon_connected()
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND classid = 1298756723 AND objid = 1 AND objsubid = 2 AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
$function$
;
GRANT EXECUTE ON FUNCTION millrace.daemon_connected() TO PUBLIC;
COMMENT ON FUNCTION millrace.daemon_connected() IS 'Whether a daemon is connected to this database now.';

CREATE OR REPLACE FUNCTION millrace.daemon_role()
 RETURNS regrole
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'millrace'
$function$
;
GRANT EXECUTE ON FUNCTION millrace.daemon_role() TO PUBLIC;
COMMENT ON FUNCTION millrace.daemon_role() IS 'The role that the daemon works as: the owner of schema millrace.';

CREATE OR REPLACE FUNCTION millrace.dangerous_functions(functions oid[])
 RETURNS SETOF oid
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
$function$
;
GRANT EXECUTE ON FUNCTION millrace.dangerous_functions(oid[]) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.find_consumer(topic text, target regclass, target_text text, schemas name[], cluster text DEFAULT 'default'::text)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_column
DECLARE
  parts text[];
  ids bigint[];
BEGIN
  ids := ARRAY(
    SELECT c.id FROM millrace.consumer AS c
    JOIN pg_namespace AS n ON n.nspname = c.target_schema
    JOIN pg_class AS r ON r.relnamespace = n.oid AND r.relname = c.target_name
    WHERE c.cluster = find_consumer.cluster AND c.topic = find_consumer.topic AND r.oid = find_consumer.target);
  IF cardinality(ids) = 0 THEN
    BEGIN
      parts := parse_ident(target_text);
    EXCEPTION WHEN invalid_parameter_value THEN
      parts := '{}';
    END;
    -- The first schema of the path that has one, as the name would have been resolved; else wherever it was.
    ids := ARRAY(
      SELECT c.id FROM millrace.consumer AS c
      WHERE c.cluster = find_consumer.cluster AND c.topic = find_consumer.topic
        AND c.target_name = parts[cardinality(parts)]
        AND (cardinality(parts) = 1 OR cardinality(parts) = 2 AND c.target_schema = parts[1])
        AND NOT EXISTS (
          SELECT FROM pg_class AS r JOIN pg_namespace AS n ON n.oid = r.relnamespace
          WHERE n.nspname = c.target_schema AND r.relname = c.target_name)
      ORDER BY array_position(schemas, c.target_schema::name));
    IF cardinality(ids) > 1 THEN
      PERFORM FROM millrace.consumer AS c WHERE c.id = ids[1] AND c.target_schema = ANY (schemas);
      IF NOT FOUND THEN
        PERFORM millrace.refuse('consumer-ambiguous',
          format('topic %s is consumed into several relations that were called %L', topic, left(target_text, 256)));
      END IF;
    END IF;
  END IF;
  IF cardinality(ids) = 0 THEN
    PERFORM millrace.refuse('consumer-missing',
      format('no consumer loads topic %L into relation %L', left(topic, 249), left(target_text, 256)));
  END IF;
  RETURN ids[1];
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.find_consumer(text,regclass,text,name[],text) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.foreign_code(target oid, consumer_owner oid)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
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
$function$
;
GRANT EXECUTE ON FUNCTION millrace.foreign_code(oid,oid) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.grant_admin()
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  GRANT DELETE ON millrace.broker, millrace.topic_grant TO millrace_admin;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.grant_admin() TO PUBLIC;
COMMENT ON FUNCTION millrace.grant_admin() IS 'Gives role millrace_admin its rights, where it was made after the installation. For the role that owns the schema.';

CREATE OR REPLACE FUNCTION millrace.grant_topic(topic text, role text, cluster text DEFAULT 'default'::text)
 RETURNS void
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  INSERT INTO millrace.topic_grant (cluster, topic, grantee)
  VALUES (grant_topic.cluster, grant_topic.topic, millrace.grantee(grant_topic.role))
  ON CONFLICT DO NOTHING
$function$
;
GRANT EXECUTE ON FUNCTION millrace.grant_topic(text,text,text) TO PUBLIC;
COMMENT ON FUNCTION millrace.grant_topic(text,text,text) IS 'Lets a role (or public) consume a topic (or * for all). For administrators.';

CREATE OR REPLACE FUNCTION millrace.grantee(role text)
 RETURNS regrole
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  found_role oid;
BEGIN
  IF role = 'public' THEN
    RETURN 0::oid::regrole;
  END IF;
  SELECT oid INTO found_role FROM pg_roles WHERE rolname = role;
  IF found_role IS NULL THEN
    PERFORM millrace.refuse('role-missing', format('role %L does not exist', role));
  END IF;
  RETURN found_role::regrole;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.grantee(text) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.is_admin()
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT millrace.is_admin((SELECT oid FROM pg_roles WHERE rolname = current_user))
$function$
;
GRANT EXECUTE ON FUNCTION millrace.is_admin() TO PUBLIC;
COMMENT ON FUNCTION millrace.is_admin() IS 'Whether the current role may add brokers and grant topics: superusers, and members of millrace_admin or of the daemon''s role.';

CREATE OR REPLACE FUNCTION millrace.is_admin(role oid)
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT pg_has_role(role, millrace.daemon_role()::oid, 'USAGE')
    OR EXISTS (SELECT FROM pg_roles WHERE rolname = 'millrace_admin' AND pg_has_role(role, oid, 'USAGE'))
$function$
;
GRANT EXECUTE ON FUNCTION millrace.is_admin(oid) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.is_ascii_character(value text)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT length(value) = 1 AND ascii(value) < 128 AND value NOT IN (E'\n', E'\r')
$function$
;
GRANT EXECUTE ON FUNCTION millrace.is_ascii_character(text) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.lock_target(target_schema text, target_name text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
$function$
;
GRANT EXECUTE ON FUNCTION millrace.lock_target(text,text) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.may_consume(cluster text, topic text)
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT millrace.may_consume(cluster, topic, (SELECT oid FROM pg_roles WHERE rolname = current_user))
$function$
;
GRANT EXECUTE ON FUNCTION millrace.may_consume(text,text) TO PUBLIC;
COMMENT ON FUNCTION millrace.may_consume(text,text) IS 'Whether the current role may consume the topic of the cluster.';

CREATE OR REPLACE FUNCTION millrace.may_consume(cluster text, topic text, role oid)
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT millrace.is_admin(role) OR EXISTS (
    SELECT FROM millrace.topic_grant AS g
    WHERE g.cluster = may_consume.cluster AND g.topic IN (may_consume.topic, '*')
      AND (g.grantee::oid = 0 OR pg_has_role(role, g.grantee::oid, 'USAGE')))
$function$
;
GRANT EXECUTE ON FUNCTION millrace.may_consume(text,text,oid) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.mentioned_types(expressions text[])
 RETURNS SETOF oid
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT DISTINCT m[1]::oid FROM unnest(expressions) AS e,
    regexp_matches(e, ':[a-z_]*typ(?:e|id|eid) (\d+)', 'gi') AS m
  WHERE length(m[1]) >= 5 AND m[1]::bigint BETWEEN 16384 AND 4294967295
$function$
;
GRANT EXECUTE ON FUNCTION millrace.mentioned_types(text[]) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.needs_check(target_schema text, target_name text, owner oid)
 RETURNS boolean
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
$function$
;
GRANT EXECUTE ON FUNCTION millrace.needs_check(text,text,oid) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.notify_daemon()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  PERFORM pg_notify('millrace', '');
  RETURN NULL;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.notify_daemon() TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.refuse(problem text, message text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  entry record;
BEGIN
  SELECT * INTO STRICT entry FROM (VALUES
    ('code: topic-invalid', '22023',
      'Kafka allows 1 to 249 of these: letters, digits, ".", "_" and "-"; not "." or "..".'),
    ('code: topic-not-granted', '42501',
      'An administrator can run: SELECT millrace.grant_topic(topic, role).'),
    ('code: admin-required', '42501',
      'Superusers may do this, and members of role millrace_admin or of the role that owns schema millrace.'),
    ('code: role-missing', '42704',
      'Give the name of the role as pg_roles shows it, or public for every role.'),
    ('code: cluster-missing', '42704',
      'SELECT name FROM millrace.cluster shows the clusters.'),
    ('code: broker-invalid', '22023',
      'A broker is written host or host:port, an IPv6 address [address]:port. Add one broker per call; credentials belong in the daemon''s configuration.'),
    ('code: broker-exists', '42710',
      'Nothing has to be done. A port that is left out is 9092.'),
    ('code: broker-missing', '42704',
      'SELECT host FROM millrace.broker shows the brokers, as they were added.'),
    ('code: no-broker', '55000',
      'Add at least one first, for example: SELECT pipeline_kafka.add_broker(''localhost:9092'').'),
    ('code: relation-missing', '42P01',
      'Create it first. A name without schema is looked up along the search_path; a name with capitals or special characters needs double quotes inside the string.'),
    ('code: relation-kind', '42809',
      'Consume into a table, a partitioned table, a foreign table, or a view with an INSTEAD OF INSERT trigger.'),
    ('code: relation-catalog', '42809',
      'Consume into a table of your own.'),
    ('code: relation-temporary', '42809',
      'It would be gone, or invisible to the daemon, while the position stays. Use a permanent table.'),
    ('code: relation-unlogged', '42809',
      'A crash would empty it and keep the position. ALTER TABLE ... SET LOGGED makes it permanent.'),
    ('code: relation-row-security', '0A000',
      'COPY cannot load it for this role. This comes in a later version; until then let a role own the consumer that the policies do not apply to.'),
    ('code: relation-runs-code', '42501',
      'Code of other roles would run in the daemon''s session. This comes in a later version; until then load a plain table, or let the daemon''s role own the relation, what it runs and the consumer.'),
    ('code: relation-schema', '42501',
      'Whoever owns a schema can put another relation in the place of the one that was checked. This comes in a later version; until then let the daemon''s role or a superuser own the schema.'),
    ('code: view-without-trigger', '0A000',
      'COPY needs an INSTEAD OF INSERT trigger on a view. Views that update themselves come in a later version.'),
    ('code: insert-denied', '42501',
      'GRANT INSERT on the whole relation (not on columns), and USAGE on its schema, to the role.'),
    ('code: lock-denied', '42501',
      'It belongs to an ordinary role, who could change what it runs during a load, and LOCK TABLE asks for UPDATE or DELETE. GRANT one of them, begin the consumer as the owner, or let the daemon''s role own the relation.'),
    ('code: role-not-served', '42501',
      'GRANT the role to the daemon''s role, on PostgreSQL 16 and later WITH SET TRUE.'),
    ('code: format-unknown', '22023',
      'The formats are text, csv and json.'),
    ('code: delimiter-invalid', '22023',
      'One ASCII character as in COPY: no line end; in text no backslash, dot, digit, lower-case letter or N; in csv not the quote. \t means the tab.'),
    ('code: quote-invalid', '22023',
      'One ASCII character as in COPY: no line end, not the delimiter. Only csv has a quote.'),
    ('code: escape-invalid', '22023',
      'One ASCII character as in COPY: no line end. Only csv has an escape.'),
    ('code: encoding-unknown', '22023',
      'Give the name of an encoding that PostgreSQL knows, for example LATIN1.'),
    ('code: batchsize-invalid', '22023', 'Give a number of messages from 1.'),
    ('code: maxbytes-invalid', '22023', 'Give a number of bytes from 1.'),
    ('code: parallelism-invalid', '22023', 'Give a number of COPY streams from 1 to 1000.'),
    ('code: timeout-invalid', '22023', 'Give milliseconds from 1 to 600000.'),
    ('code: start-offset-invalid', '22023',
      'NULL: where it stopped; -1: the end; -2: the beginning; from 0: that offset in every partition.'),
    ('code: group-invalid', '22023',
      'A consumer group has 1 to 255 characters, none of them a control character, and does not begin with millrace. (those are given to consumers without a group_id).'),
    ('code: group-denied', '42501',
      'Leave group_id out: the consumer then has a group of its own. An administrator may choose one.'),
    ('code: group-taken', '23505',
      'Members of one group share a topic''s partitions, so each would get only a part. Give every consumer of the topic its own group_id, or none.'),
    ('code: consumer-missing', '42704',
      'SELECT topic, target FROM millrace.consumers shows the consumers you may see.'),
    ('code: consumer-ambiguous', '42725',
      'Give the relation with its schema.'),
    ('code: consumer-not-running', '55000',
      'It was stopped already; consume_begin starts it again.'),
    ('code: consumer-not-yours', '42501',
      'Its owner, a member of that role or an administrator can start and stop it.')
  ) AS known (code, sqlstate, hint) WHERE known.code = 'code: ' || problem;
  RAISE EXCEPTION USING
    MESSAGE = message, DETAIL = entry.code, HINT = entry.hint, ERRCODE = entry.sqlstate;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.refuse(text,text) TO PUBLIC;
COMMENT ON FUNCTION millrace.refuse(text,text) IS 'Raises an error with a code, its SQLSTATE and its hint.';

CREATE OR REPLACE FUNCTION millrace.relation(name text)
 RETURNS regclass
 LANGUAGE plpgsql
 STABLE
AS $function$
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
$function$
;
GRANT EXECUTE ON FUNCTION millrace.relation(text) TO PUBLIC;
COMMENT ON FUNCTION millrace.relation(text) IS 'The relation that a name means along the caller''s search_path, or NULL.';

CREATE OR REPLACE FUNCTION millrace.remove_broker(host text, cluster text DEFAULT 'default'::text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
$function$
;
GRANT EXECUTE ON FUNCTION millrace.remove_broker(text,text) TO PUBLIC;
COMMENT ON FUNCTION millrace.remove_broker(text,text) IS 'Removes a broker from a cluster. For administrators.';

CREATE OR REPLACE FUNCTION millrace.revoke_topic(topic text, role text, cluster text DEFAULT 'default'::text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF NOT millrace.is_admin() THEN
    PERFORM millrace.refuse('admin-required', format('role %I may not revoke topics', current_user));
  END IF;
  DELETE FROM millrace.topic_grant AS g
  WHERE g.cluster = revoke_topic.cluster AND g.topic = revoke_topic.topic
    AND g.grantee = millrace.grantee(revoke_topic.role);
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.revoke_topic(text,text,text) TO PUBLIC;
COMMENT ON FUNCTION millrace.revoke_topic(text,text,text) IS 'Takes a grant back; consumers that run go on until they are stopped. For administrators.';

CREATE OR REPLACE FUNCTION millrace.set_start_pending()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF NEW.version <> OLD.version THEN
    NEW.start_pending := NEW.start_offset IS NOT NULL OR NEW.located_at IS NULL;
  END IF;
  RETURN NEW;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.set_start_pending() TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.start_consumer(topic text, target regclass, target_text text, format text, delimiter text, quote text, escape text, batchsize integer, maxbytes integer, parallelism integer, start_offset bigint, group_id text, timeout integer, cluster text DEFAULT 'default'::text)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_column
<<given>>
DECLARE
  relation record;
  consumer record;
  broken text;
BEGIN
  PERFORM millrace.check_topic(topic);
  SELECT n.nspname AS schema, c.relname AS name, c.relkind AS kind INTO relation
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = start_consumer.target;
  IF NOT FOUND THEN
    PERFORM millrace.refuse('relation-missing',
      CASE WHEN target_text IS NULL THEN 'a relation is needed, not NULL'
        ELSE pg_catalog.format('relation %L does not exist', left(target_text, 256)) END);
  END IF;

  LOOP
    SELECT c.id, c.wanted, EXISTS (
      SELECT FROM millrace.failure AS f WHERE f.consumer_id = c.id AND f.version = c.version) AS failed
    INTO consumer FROM millrace.consumer AS c
    WHERE c.cluster = start_consumer.cluster AND c.topic = start_consumer.topic
      AND c.target_schema = relation.schema AND c.target_name = relation.name
    FOR NO KEY UPDATE;
    IF FOUND AND consumer.wanted = 'running' AND NOT consumer.failed THEN
      RAISE WARNING 'topic % is already being consumed into %', topic,
        pg_catalog.format('%I.%I', relation.schema, relation.name)
        USING DETAIL = 'code: already-running', HINT = 'Nothing was changed. End it first to change its options.';
      RETURN consumer.id;
    END IF;

    BEGIN
      IF FOUND THEN
        UPDATE millrace.consumer AS c SET
          group_id = start_consumer.group_id,
          format = lower(coalesce(start_consumer.format, c.format)),
          delimiter = start_consumer.delimiter,
          quote = start_consumer.quote,
          escape = start_consumer.escape,
          batchsize = coalesce(start_consumer.batchsize, c.batchsize),
          maxbytes = coalesce(start_consumer.maxbytes, c.maxbytes),
          parallelism = coalesce(start_consumer.parallelism, c.parallelism),
          timeout = coalesce(start_consumer.timeout, c.timeout),
          start_offset = start_consumer.start_offset,
          wanted = 'running'
        WHERE c.id = consumer.id;
      ELSE
        INSERT INTO millrace.consumer AS c (cluster, topic, target_schema, target_name, group_id, format, delimiter,
          quote, escape, batchsize, maxbytes, parallelism, timeout, start_offset, wanted)
        VALUES (start_consumer.cluster, start_consumer.topic, relation.schema, relation.name, start_consumer.group_id,
          lower(coalesce(start_consumer.format, 'text')), start_consumer.delimiter, start_consumer.quote,
          start_consumer.escape, coalesce(start_consumer.batchsize, 1000), coalesce(start_consumer.maxbytes, 32000000),
          coalesce(start_consumer.parallelism, 1), coalesce(start_consumer.timeout, 250), start_consumer.start_offset,
          'running')
        RETURNING c.id INTO consumer;
      END IF;
      EXIT;
    EXCEPTION WHEN unique_violation THEN
      GET STACKED DIAGNOSTICS broken = CONSTRAINT_NAME;
      IF broken = 'consumer_group' THEN
        PERFORM millrace.refuse('group-taken',
          pg_catalog.format('another consumer of topic %s is in group %L', topic, group_id));
      END IF;
      -- Somebody else began it at the same moment, or it is of a role whose consumers are not shown to this one.
      PERFORM FROM millrace.consumer AS c
      WHERE c.cluster = start_consumer.cluster AND c.topic = start_consumer.topic
        AND c.target_schema = relation.schema AND c.target_name = relation.name;
      IF NOT FOUND THEN
        PERFORM millrace.refuse('consumer-not-yours', pg_catalog.format(
          'topic %s is already being consumed into %I.%I by another role', topic, relation.schema, relation.name));
      END IF;
    END;
  END LOOP;

  IF relation.kind = 'f' THEN
    RAISE NOTICE '% is a foreign table: a message may arrive there more than once',
      pg_catalog.format('%I.%I', relation.schema, relation.name)
      USING DETAIL = 'code: foreign-at-least-once', HINT = 'Rows and position cannot be committed in one transaction.';
  END IF;
  PERFORM millrace.warn_without_daemon();
  RETURN consumer.id;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.start_consumer(text,regclass,text,text,text,text,text,integer,integer,integer,bigint,text,integer,text) TO PUBLIC;
COMMENT ON FUNCTION millrace.start_consumer(text,regclass,text,text,text,text,text,integer,integer,integer,bigint,text,integer,text) IS 'Begins to consume a topic into a relation, or begins again. What the dialects call.';

CREATE OR REPLACE FUNCTION millrace.start_consumers(parallelism integer DEFAULT NULL::integer, format text DEFAULT NULL::text, delimiter text DEFAULT NULL::text, cluster text DEFAULT 'default'::text)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_column
DECLARE
  consumer record;
  started bigint := 0;
  problem text;
  why text;
  advice text;
BEGIN
  FOR consumer IN
    SELECT c.id, c.topic, c.target_schema, c.target_name FROM millrace.consumer AS c
    WHERE c.cluster = start_consumers.cluster AND (c.wanted = 'stopped' OR EXISTS (
      SELECT FROM millrace.failure AS f WHERE f.consumer_id = c.id AND f.version = c.version))
    ORDER BY c.id FOR NO KEY UPDATE
  LOOP
    BEGIN
      UPDATE millrace.consumer AS c SET
        parallelism = coalesce(start_consumers.parallelism, c.parallelism),
        format = coalesce(lower(start_consumers.format), c.format),
        delimiter = coalesce(start_consumers.delimiter, c.delimiter),
        start_offset = NULL,
        wanted = 'running'
      WHERE c.id = consumer.id;
      started := started + 1;
    EXCEPTION WHEN raise_exception OR insufficient_privilege OR undefined_table OR wrong_object_type
      OR feature_not_supported OR object_not_in_prerequisite_state OR invalid_parameter_value
    THEN
      GET STACKED DIAGNOSTICS why = MESSAGE_TEXT, problem = PG_EXCEPTION_DETAIL, advice = PG_EXCEPTION_HINT;
      RAISE WARNING 'topic % into %.% was not started: %', consumer.topic,
        quote_ident(consumer.target_schema), quote_ident(consumer.target_name), why
        USING DETAIL = problem, HINT = advice;
    END;
  END LOOP;
  IF started > 0 THEN
    PERFORM millrace.warn_without_daemon();
  END IF;
  RETURN started;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.start_consumers(integer,text,text,text) TO PUBLIC;
COMMENT ON FUNCTION millrace.start_consumers(integer,text,text,text) IS 'Begins every consumer again that the current role may start; returns how many. What the dialects call.';

CREATE OR REPLACE FUNCTION millrace.stop_consumer(topic text, target regclass, target_text text, schemas name[], cluster text DEFAULT 'default'::text)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  found_id bigint := millrace.find_consumer(topic, target, target_text, schemas, cluster);
BEGIN
  UPDATE millrace.consumer SET wanted = 'stopped' WHERE id = found_id AND wanted <> 'stopped';
  IF NOT FOUND THEN
    PERFORM millrace.refuse('consumer-not-running', format('the consumer of topic %s into relation %s is not running',
      topic, target_text));
  END IF;
  PERFORM millrace.warn_without_daemon();
  RETURN found_id;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.stop_consumer(text,regclass,text,name[],text) TO PUBLIC;
COMMENT ON FUNCTION millrace.stop_consumer(text,regclass,text,name[],text) IS 'Ends consuming a topic into a relation; its position is kept. What the dialects call.';

CREATE OR REPLACE FUNCTION millrace.stop_consumers(cluster text DEFAULT 'default'::text)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
  stopped bigint;
BEGIN
  UPDATE millrace.consumer AS c SET wanted = 'stopped'
  WHERE c.cluster = stop_consumers.cluster AND c.wanted <> 'stopped';
  GET DIAGNOSTICS stopped = ROW_COUNT;
  IF stopped > 0 THEN
    PERFORM millrace.warn_without_daemon();
  END IF;
  RETURN stopped;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.stop_consumers(text) TO PUBLIC;
COMMENT ON FUNCTION millrace.stop_consumers(text) IS 'Ends every consumer that the current role may end; returns how many. What the dialects call.';

CREATE OR REPLACE FUNCTION millrace.support_functions(classes oid[])
 RETURNS SETOF oid
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT p.oid FROM pg_opclass AS o
  JOIN pg_amproc AS a ON a.amprocfamily = o.opcfamily JOIN pg_proc AS p ON p.oid = a.amproc
  WHERE o.oid = ANY (classes) AND o.oid >= 16384
    AND p.prolang <> ALL (ARRAY(SELECT oid FROM pg_language WHERE lanname IN ('c', 'internal')))
$function$
;
GRANT EXECUTE ON FUNCTION millrace.support_functions(oid[]) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.target_problem(target_schema text, target_name text, owner oid)
 RETURNS TABLE(code text, message text)
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
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
$function$
;
GRANT EXECUTE ON FUNCTION millrace.target_problem(text,text,oid) TO PUBLIC;
COMMENT ON FUNCTION millrace.target_problem(text,text,oid) IS 'Why the daemon may not COPY into a relation under its owner''s role; no row when it may. Hold a lock on it while this counts.';

CREATE OR REPLACE FUNCTION millrace.topic_watermarks(topic text, partition integer DEFAULT NULL::integer, cluster text DEFAULT 'default'::text)
 RETURNS TABLE(partition_id integer, low_watermark bigint, high_watermark bigint, reported_at timestamp with time zone)
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_column
DECLARE
  reported timestamptz;
BEGIN
  PERFORM millrace.check_topic(topic);
  SELECT max(w.reported_at) INTO reported FROM millrace.watermark AS w
  WHERE w.cluster = topic_watermarks.cluster AND w.topic = topic_watermarks.topic;
  IF reported IS NULL OR reported < now() - interval '30 seconds' THEN
    IF NOT current_setting('transaction_read_only')::boolean THEN
      INSERT INTO millrace.watched_topic AS t (cluster, topic)
      VALUES (topic_watermarks.cluster, topic_watermarks.topic)
      ON CONFLICT (cluster, topic) DO UPDATE SET asked_at = now();
    END IF;
    IF reported IS NULL THEN
      RAISE WARNING 'nothing is known about topic % yet', topic USING DETAIL = 'code: topic-unreported',
        HINT = 'The daemon has been asked to look, which happens after this transaction. Call again in a moment.';
    ELSE
      RAISE NOTICE 'the last report about topic % is from %', topic, reported USING DETAIL = 'code: report-old';
    END IF;
    PERFORM millrace.warn_without_daemon();
  END IF;
  RETURN QUERY SELECT w.partition, w.low, w.high, w.reported_at FROM millrace.watermark AS w
    WHERE w.cluster = topic_watermarks.cluster AND w.topic = topic_watermarks.topic
      AND (topic_watermarks.partition IS NULL OR w.partition = topic_watermarks.partition)
    ORDER BY w.partition;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.topic_watermarks(text,integer,text) TO PUBLIC;
COMMENT ON FUNCTION millrace.topic_watermarks(text,integer,text) IS 'First offset and the offset after the last message of a partition, or of all, as a daemon last saw them.';

CREATE OR REPLACE FUNCTION millrace.trusted_roles()
 RETURNS oid[]
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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
$function$
;
GRANT EXECUTE ON FUNCTION millrace.trusted_roles() TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.unknown_nodes(expressions text[])
 RETURNS SETOF text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT DISTINCT m[1] FROM unnest(expressions) AS e, regexp_matches(e, '(?:^|[^\\])\{([^ }]*)', 'g') AS m
  WHERE m[1] <> ALL (ARRAY[
    'VAR', 'CONST', 'FUNCEXPR', 'NAMEDARGEXPR', 'OPEXPR', 'DISTINCTEXPR', 'NULLIFEXPR', 'SCALARARRAYOPEXPR', 'BOOLEXPR',
    'FIELDSELECT', 'SUBSCRIPTINGREF', 'RELABELTYPE', 'COERCEVIAIO', 'ARRAYCOERCEEXPR', 'COERCETODOMAIN',
    'COERCETODOMAINVALUE', 'COLLATEEXPR', 'COLLATE', 'CASEEXPR', 'CASE', 'CASEWHEN', 'WHEN', 'CASETESTEXPR', 'ARRAYEXPR',
    'ARRAY', 'ROWEXPR', 'ROW', 'ROWCOMPAREEXPR', 'ROWCOMPARE', 'COALESCEEXPR', 'COALESCE', 'MINMAXEXPR', 'MINMAX',
    'NULLTEST', 'BOOLEANTEST', 'SQLVALUEFUNCTION', 'JSONISPREDICATE', 'JSONFORMAT'])
$function$
;
GRANT EXECUTE ON FUNCTION millrace.unknown_nodes(text[]) TO PUBLIC;

CREATE OR REPLACE FUNCTION millrace.warn_without_daemon()
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
  IF NOT millrace.daemon_connected() THEN
    RAISE WARNING 'no daemon is connected to this database' USING
      DETAIL = 'code: no-daemon', HINT = 'What was asked for happens when one runs: millrace run --database URL';
  END IF;
END
$function$
;
GRANT EXECUTE ON FUNCTION millrace.warn_without_daemon() TO PUBLIC;

-- The relay sends the outbox to Kafka. One daemon at a time is it, by a lease. A batch is what is visible in one snapshot
-- and not in the one before; both are stored before any of it is sent. So a transaction that commits late is in the batch
-- after its commit, and one that stays open, here or in another database, delays nothing but itself.

-- Work that one daemon at a time does. Whoever takes it over ends the former holder's backend first.
CREATE TABLE millrace.lease (
  name text PRIMARY KEY,
  epoch bigint NOT NULL DEFAULT 0,
  daemon uuid,
  backend_pid integer,
  backend_started timestamptz,
  backend_role oid,
  renewed_at timestamptz
);
COMMENT ON TABLE millrace.lease IS 'Which daemon does the work that only one may do, and when it last said so.';
INSERT INTO millrace.lease (name) VALUES ('outbox');

-- Returns the new epoch, or NULL while another holder lives. Its backend is ended once it has been silent for the timeout;
-- the lease is free when that backend is gone, so nothing that it had begun can commit later.
CREATE FUNCTION millrace.take_lease(name text, daemon uuid, backend_started timestamptz, timeout interval) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  me constant oid := quote_ident(CURRENT_USER::text)::regrole;
  held millrace.lease;
  new_epoch bigint;
BEGIN
  SELECT l.* INTO held FROM millrace.lease AS l WHERE l.name = take_lease.name FOR NO KEY UPDATE;
  -- numbers of processes come again; when a session of another role began is not to be seen
  IF held.backend_pid <> pg_backend_pid() AND EXISTS (
    SELECT FROM pg_stat_activity AS a
    WHERE a.pid = held.backend_pid AND a.usesysid = held.backend_role
      AND coalesce(a.backend_start = held.backend_started, held.backend_role <> me)
  ) THEN
    IF held.renewed_at < clock_timestamp() - timeout THEN
      PERFORM pg_terminate_backend(held.backend_pid);
    END IF;
    RETURN NULL;
  END IF;
  UPDATE millrace.lease AS l
  SET epoch = l.epoch + 1, daemon = take_lease.daemon, backend_pid = pg_backend_pid(),
    backend_started = take_lease.backend_started, backend_role = me, renewed_at = clock_timestamp()
  WHERE l.name = take_lease.name RETURNING l.epoch INTO new_epoch;
  RETURN new_epoch;
END
$$;

-- What is sent of each cluster's messages. Everything visible in `sent` is; of `batch`, ids up to last_id. Whoever holds
-- the lease writes its epoch here first: whatever a former holder still says compares false from then on.
CREATE TABLE millrace.outbox_progress (
  cluster text PRIMARY KEY REFERENCES millrace.cluster ON DELETE CASCADE,
  epoch bigint NOT NULL,
  sent pg_snapshot NOT NULL DEFAULT '1:1:',
  batch pg_snapshot,
  last_id bigint NOT NULL DEFAULT 0,
  ids_until bigint NOT NULL DEFAULT 0,
  number bigint NOT NULL DEFAULT 0,
  token uuid,
  kafka_number bigint,
  kafka_id bigint,
  kafka_line integer,
  transaction_line integer NOT NULL DEFAULT 1,
  fenced_line integer NOT NULL DEFAULT 0,
  transactional boolean NOT NULL DEFAULT false,
  error_code text,
  error_message text,
  error_at timestamptz
) WITH (fillfactor = 50);
COMMENT ON TABLE millrace.outbox_progress IS 'How much of the outbox is sent to each cluster. Written by the daemon.';
COMMENT ON COLUMN millrace.outbox_progress.ids_until IS 'No row that the last of the two snapshots sees has a higher id.';
COMMENT ON COLUMN millrace.outbox_progress.number IS 'Of the batch, or of the last one.';
COMMENT ON COLUMN millrace.outbox_progress.token IS 'Of the batch, or of the last one: no other batch of any database has it.';
COMMENT ON COLUMN millrace.outbox_progress.kafka_number IS 'Exactly once: the batch up to which Kafka has committed, as far as this is known here.';
COMMENT ON COLUMN millrace.outbox_progress.kafka_id IS 'Exactly once: the last id of that batch that Kafka has committed.';
COMMENT ON COLUMN millrace.outbox_progress.transaction_line IS 'Exactly once: of the transactional id. The next one is taken where Kafka cannot end a transaction of the former one.';
COMMENT ON COLUMN millrace.outbox_progress.kafka_line IS 'Exactly once: the line under which Kafka''s position was committed, as far as this is known here. No later position has a lower one.';
COMMENT ON COLUMN millrace.outbox_progress.fenced_line IS 'Exactly once: up to this line nobody can send any more who did before.';
COMMENT ON COLUMN millrace.outbox_progress.transactional IS 'Whether the last messages were sent in Kafka transactions.';

-- Messages that cannot be sent until somebody changes something, and those of the same key behind them. They are copies, so that
-- the segments go on. whole_topic: every message of that topic waits.
CREATE TABLE millrace.outbox_waiting (
  LIKE millrace.outbox_0,
  whole_topic boolean NOT NULL,
  code text,
  message text,
  waiting_since timestamptz NOT NULL DEFAULT clock_timestamp(),
  attempts integer NOT NULL DEFAULT 0,
  PRIMARY KEY (id)
);
COMMENT ON TABLE millrace.outbox_waiting IS
  'Messages that Kafka does not take as they or their topic are, and those behind them. Written by the daemon; read millrace.outbox_status.';
CREATE INDEX outbox_waiting_order ON millrace.outbox_waiting (cluster, topic, id);
ALTER TABLE millrace.outbox_waiting ADD FOREIGN KEY (cluster) REFERENCES millrace.cluster ON DELETE CASCADE;

-- Those for which nothing waits.
CREATE TABLE millrace.outbox_dead_letter (
  LIKE millrace.outbox_0,
  code text NOT NULL,
  message text NOT NULL,
  failed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (id),
  FOREIGN KEY (cluster) REFERENCES millrace.cluster ON DELETE CASCADE
);
COMMENT ON TABLE millrace.outbox_dead_letter IS
  'Messages that Kafka did not take and that nothing waits for. Written by the daemon; read millrace.outbox_dead_letters.';

-- Of a cluster that is new nothing is sent, and nothing that is in the outbox already is for it, also if one of its name was
-- there before. An administrator who adds a cluster has no right to what the daemon writes.
CREATE FUNCTION millrace.begin_cluster() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  own constant xid8 := pg_current_xact_id();
  seen constant pg_snapshot := pg_current_snapshot();
  -- this transaction may produce, too
  under_way constant text := (SELECT string_agg(x.xid::text, ',' ORDER BY x.xid)
    FROM (SELECT pg_snapshot_xip(seen) AS xid UNION SELECT own WHERE own < pg_snapshot_xmax(seen)) AS x);
BEGIN
  INSERT INTO millrace.outbox_progress (cluster, epoch, sent, ids_until)
  SELECT NEW.name, 0, format('%s:%s:%s', least(pg_snapshot_xmin(seen), own), pg_snapshot_xmax(seen), under_way)::pg_snapshot,
    i.last_value
  FROM millrace.outbox_id AS i;
  RETURN NULL;
END
$$;

CREATE TRIGGER begin_cluster AFTER INSERT ON millrace.cluster
  FOR EACH ROW EXECUTE FUNCTION millrace.begin_cluster();

-- The lease is new: everything that is to be known of the outbox belongs to its holder. A former holder may have been ended
-- while it waited until its batch was safe from a crash, or on a standby: this waits for both.
CREATE FUNCTION millrace.begin_relay(epoch bigint) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  INSERT INTO millrace.outbox_progress AS p (cluster, epoch)
  SELECT c.name, begin_relay.epoch FROM millrace.cluster AS c
  ON CONFLICT (cluster) DO UPDATE
    SET epoch = excluded.epoch, error_code = NULL, error_message = NULL, error_at = NULL WHERE p.epoch < excluded.epoch;
  PERFORM set_config('synchronous_commit', 'on', true);
END
$$;

CREATE FUNCTION millrace.renew_lease(name text, epoch bigint) RETURNS boolean
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
  WITH renewed AS (
    UPDATE millrace.lease AS l SET renewed_at = clock_timestamp()
    WHERE l.name = renew_lease.name AND l.epoch = renew_lease.epoch RETURNING 1)
  SELECT EXISTS (SELECT FROM renewed)
$$;

-- The holder ends: nobody has to wait until it is silent for long.
CREATE FUNCTION millrace.release_lease(name text, epoch bigint) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
  UPDATE millrace.lease AS l SET daemon = NULL, backend_pid = NULL, backend_started = NULL, backend_role = NULL
  WHERE l.name = release_lease.name AND l.epoch = release_lease.epoch
$$;

-- The segments with rows that the snapshot does not see, as far as the caller's statement sees them.
CREATE FUNCTION millrace.outbox_news(cluster text, seen pg_snapshot) RETURNS integer[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  -- whoever is not in the snapshot began after it, or was under way
  later xid8 := pg_snapshot_xmax(seen);
  late xid8[] := ARRAY(SELECT pg_snapshot_xip(seen));
  any_late boolean := cardinality(late) > 0;
  found integer[] := '{}';
BEGIN
  IF EXISTS (SELECT FROM millrace.outbox_0 AS o WHERE o.xid >= later AND o.cluster = outbox_news.cluster)
    OR any_late AND EXISTS (SELECT FROM millrace.outbox_0 AS o WHERE o.xid = ANY (late) AND o.cluster = outbox_news.cluster) THEN
    found := found || 0;
  END IF;
  IF EXISTS (SELECT FROM millrace.outbox_1 AS o WHERE o.xid >= later AND o.cluster = outbox_news.cluster)
    OR any_late AND EXISTS (SELECT FROM millrace.outbox_1 AS o WHERE o.xid = ANY (late) AND o.cluster = outbox_news.cluster) THEN
    found := found || 1;
  END IF;
  IF EXISTS (SELECT FROM millrace.outbox_2 AS o WHERE o.xid >= later AND o.cluster = outbox_news.cluster)
    OR any_late AND EXISTS (SELECT FROM millrace.outbox_2 AS o WHERE o.xid = ANY (late) AND o.cluster = outbox_news.cluster) THEN
    found := found || 2;
  END IF;
  IF EXISTS (SELECT FROM millrace.outbox_3 AS o WHERE o.xid >= later AND o.cluster = outbox_news.cluster)
    OR any_late AND EXISTS (SELECT FROM millrace.outbox_3 AS o WHERE o.xid = ANY (late) AND o.cluster = outbox_news.cluster) THEN
    found := found || 3;
  END IF;
  RETURN found;
END
$$;

-- The batch to send now: the one in hand, unless that is finished, else a new one where there is anything new.
-- No row: the lease is another's. batch is NULL: nothing is to be sent.
-- What a batch's snapshot sees must be flushed before it is sent, also of writers that do not wait for it themselves: else a
-- crash could take back what was sent. Where the WAL is not flushed that far, the batch is committed with
-- synchronous_commit on, which waits until it is; so it is, too, where standbys have to have it.
-- kafka_id: the id up to which Kafka has committed the batch that is finished. Exactly once, the batch is stored for good
-- (record_outbox without last_id) before Kafka commits anything of it, since Kafka then keeps its number.
CREATE FUNCTION millrace.next_outbox_batch(
  cluster text, epoch bigint, finished boolean, exactly_once boolean DEFAULT false, kafka_id bigint DEFAULT NULL
) RETURNS TABLE (sent text, batch text, last_id bigint, segments integer[], number bigint, token uuid)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  progress millrace.outbox_progress;
  seen pg_snapshot;
  fresh pg_snapshot;
  seen_until pg_lsn;
BEGIN
  SELECT p.* INTO progress FROM millrace.outbox_progress AS p
  WHERE p.cluster = next_outbox_batch.cluster AND p.epoch = next_outbox_batch.epoch;
  IF NOT FOUND THEN
    RETURN;
  ELSIF progress.batch IS NOT NULL AND NOT finished THEN
    RETURN QUERY SELECT progress.sent::text, progress.batch::text, progress.last_id, '{0,1,2,3}'::integer[],
      progress.number, progress.token;
    RETURN;
  END IF;
  seen := coalesce(progress.batch, progress.sent);
  IF cardinality(millrace.outbox_news(next_outbox_batch.cluster, seen)) > 0 THEN
    -- whatever the statement's snapshot sees has its commit in the WAL before the end of it now
    SELECT pg_current_snapshot(), pg_current_wal_insert_lsn() INTO fresh, seen_until;
    IF pg_current_wal_flush_lsn() < seen_until OR current_setting('synchronous_standby_names') <> '' THEN
      PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    -- looked again for the segments: the batch's snapshot is a later one
    RETURN QUERY UPDATE millrace.outbox_progress AS p
      SET sent = seen, batch = fresh, last_id = 0, ids_until = (SELECT i.last_value FROM millrace.outbox_id AS i),
        number = p.number + 1,
        token = CASE WHEN next_outbox_batch.exactly_once THEN gen_random_uuid() END,
        kafka_number = CASE WHEN next_outbox_batch.kafka_id IS NULL THEN p.kafka_number ELSE p.number END,
        kafka_id = coalesce(next_outbox_batch.kafka_id, p.kafka_id)
      WHERE p.cluster = next_outbox_batch.cluster AND p.epoch = next_outbox_batch.epoch
      RETURNING p.sent::text, p.batch::text, p.last_id, millrace.outbox_news(next_outbox_batch.cluster, seen),
        p.number, p.token;
  ELSIF progress.batch IS NOT NULL THEN
    RETURN QUERY UPDATE millrace.outbox_progress AS p
      SET sent = seen, batch = NULL, last_id = 0,
        kafka_number = CASE WHEN next_outbox_batch.kafka_id IS NULL THEN p.kafka_number ELSE p.number END,
        kafka_id = coalesce(next_outbox_batch.kafka_id, p.kafka_id)
      WHERE p.cluster = next_outbox_batch.cluster AND p.epoch = next_outbox_batch.epoch
      RETURNING p.sent::text, p.batch::text, p.last_id, '{}'::integer[], p.number, p.token;
  ELSE
    RETURN QUERY SELECT progress.sent::text, NULL::text, 0::bigint, '{}'::integer[], progress.number, progress.token;
  END IF;
END
$$;

-- Clusters for which nothing comes are taken along, so that what is asked for them stays what is new. Not those whose
-- messages are under way.
CREATE FUNCTION millrace.advance_outbox(busy text[], epoch bigint) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
  UPDATE millrace.outbox_progress AS p
  SET sent = pg_current_snapshot(), ids_until = (SELECT i.last_value FROM millrace.outbox_id AS i)
  WHERE p.cluster <> ALL (busy) AND p.epoch = advance_outbox.epoch AND p.batch IS NULL
    AND EXISTS (SELECT FROM millrace.outbox AS o WHERE o.xid >= pg_snapshot_xmax(p.sent))
    AND millrace.outbox_news(p.cluster, p.sent) = '{}'
$$;

-- Up to last_id the batch in hand is sent, waits, or is a dead letter: what waits from now on and what is dead is copied here in
-- the same transaction. false: the lease is another's. The arrays are of one length.
-- Exactly once, it is told in two steps: what waits or is dead, for good, before the Kafka transaction that passes it commits
-- (last_id is NULL); and after that the position, up to which Kafka then has it (in_kafka).
CREATE FUNCTION millrace.record_outbox(
  cluster text, epoch bigint, last_id bigint, xids xid8[], ids bigint[], whole_topic boolean[], dead boolean[], codes text[],
  messages text[], in_kafka boolean DEFAULT false
) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF last_id IS NULL THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;
  UPDATE millrace.outbox_progress AS p
  SET last_id = coalesce(record_outbox.last_id, p.last_id),
    kafka_number = CASE WHEN in_kafka THEN p.number ELSE p.kafka_number END,
    kafka_id = CASE WHEN in_kafka THEN record_outbox.last_id ELSE p.kafka_id END
  WHERE p.cluster = record_outbox.cluster AND p.epoch = record_outbox.epoch;
  IF NOT FOUND THEN
    RETURN false;
  ELSIF cardinality(ids) > 0 THEN
    WITH told AS (
      SELECT o AS letter, w.whole_topic, w.dead, w.code, w.message
      FROM unnest(ids, record_outbox.whole_topic, record_outbox.dead, codes, messages) AS w (id, whole_topic, dead, code, message)
      JOIN (
        SELECT * FROM millrace.outbox_0 UNION ALL SELECT * FROM millrace.outbox_1
        UNION ALL SELECT * FROM millrace.outbox_2 UNION ALL SELECT * FROM millrace.outbox_3
      ) AS o ON o.id = w.id
      WHERE o.xid = ANY (xids) AND o.id = ANY (ids)
    ), waits AS (
      INSERT INTO millrace.outbox_waiting
      SELECT (letter).*, t.whole_topic, t.code, t.message FROM told AS t WHERE NOT t.dead
      ON CONFLICT DO NOTHING
    )
    INSERT INTO millrace.outbox_dead_letter
    SELECT (letter).*, t.code, t.message FROM told AS t WHERE t.dead
    ON CONFLICT DO NOTHING;
  END IF;
  RETURN true;
END
$$;

-- Of messages that wait, those that were sent go, so do those that are dead letters now, and the others are told apart.
-- false: the lease is another's.
-- Exactly once, that is stored for good before the next Kafka transaction: Kafka keeps the ids of the last one alone.
CREATE FUNCTION millrace.record_waiting(
  cluster text, epoch bigint, sent bigint[], ids bigint[], whole_topic boolean[], dead boolean[], codes text[], messages text[],
  exactly_once boolean DEFAULT false
) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF exactly_once THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;
  PERFORM FROM millrace.outbox_progress AS p
  WHERE p.cluster = record_waiting.cluster AND p.epoch = record_waiting.epoch FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  DELETE FROM millrace.outbox_waiting AS o WHERE o.id = ANY (record_waiting.sent);
  UPDATE millrace.outbox_waiting AS o
  SET whole_topic = w.whole_topic, code = w.code, message = w.message,
    attempts = o.attempts + (w.code IS NOT NULL)::integer
  FROM unnest(ids, record_waiting.whole_topic, codes, messages) AS w (id, whole_topic, code, message)
  WHERE o.id = w.id;
  PERFORM millrace.bury(ARRAY(SELECT w.id FROM unnest(ids, record_waiting.dead) AS w (id, dead) WHERE w.dead));
  RETURN true;
END
$$;

-- What waits becomes a dead letter, with what it met last.
CREATE FUNCTION millrace.bury(ids bigint[]) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
  WITH moved AS (DELETE FROM millrace.outbox_waiting AS o WHERE o.id = ANY (ids) RETURNING o.*)
  INSERT INTO millrace.outbox_dead_letter
  SELECT id, xid, "timestamp", owner, partition, cluster, topic, key, value, headers, source, code, message FROM moved
  ON CONFLICT DO NOTHING
$$;

-- A topic cannot be written to, and nothing is to wait for it. Returns how many did, NULL: the lease is another's.
CREATE FUNCTION millrace.bury_topic(cluster text, epoch bigint, topic text, code text, message text) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  ids bigint[];
BEGIN
  PERFORM FROM millrace.outbox_progress AS p
  WHERE p.cluster = bury_topic.cluster AND p.epoch = bury_topic.epoch FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  WITH told AS (
    UPDATE millrace.outbox_waiting AS o SET code = bury_topic.code, message = bury_topic.message
    WHERE o.cluster = bury_topic.cluster AND o.topic = bury_topic.topic RETURNING o.id)
  SELECT array_agg(t.id) INTO ids FROM told AS t;
  PERFORM millrace.bury(ids);
  RETURN coalesce(cardinality(ids), 0);
END
$$;

CREATE FUNCTION millrace.segment_is_sent(segment integer) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  progress millrace.outbox_progress;
  unsent boolean;
BEGIN
  FOR progress IN SELECT p.* FROM millrace.outbox_progress AS p LOOP
    EXECUTE format('SELECT EXISTS (SELECT FROM millrace.outbox_%1$s AS o WHERE o.xid >= $1 AND o.cluster = $3)
        OR cardinality($2) > 0 AND EXISTS (SELECT FROM millrace.outbox_%1$s AS o WHERE o.xid = ANY ($2) AND o.cluster = $3)', segment)
      INTO unsent
      USING pg_snapshot_xmax(progress.sent), ARRAY(SELECT pg_snapshot_xip(progress.sent)), progress.cluster;
    IF unsent THEN
      RETURN false;
    END IF;
  END LOOP;
  -- of a cluster that was just added nothing is sent
  RETURN NOT EXISTS (SELECT FROM millrace.cluster AS c
    WHERE NOT EXISTS (SELECT FROM millrace.outbox_progress AS p WHERE p.cluster = c.name));
END
$$;

-- Segments of which everything is sent are emptied, and writing goes on in an empty one once a segment is large. Nobody
-- waits for a lock here, so nobody waits behind one: where a dump reads or a writer still writes, it is left for later.
CREATE FUNCTION millrace.rotate_outbox(large bigint DEFAULT 33554432) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  current_segment smallint;
  next_segment smallint;
BEGIN
  SELECT w.segment INTO current_segment FROM millrace.outbox_writing AS w;
  IF NOT FOUND THEN
    -- a restore may have left it out, and writers do without it meanwhile
    INSERT INTO millrace.outbox_writing (segment) VALUES (coalesce(pg_sequence_last_value('millrace.outbox_segment'), 0))
    RETURNING segment INTO current_segment;
  END IF;
  -- After a change that was rolled back, or a restore, triggers would go on with a segment whose size nobody looks at.
  IF pg_sequence_last_value('millrace.outbox_segment') IS DISTINCT FROM current_segment THEN
    PERFORM setval('millrace.outbox_segment', current_segment);
  END IF;
  FOR i IN 0..3 LOOP
    IF i = current_segment THEN
      CONTINUE;
    END IF;
    IF pg_relation_size(format('millrace.outbox_%s', i)::regclass) > 0 THEN
      CONTINUE WHEN NOT millrace.segment_is_sent(i);
      BEGIN
        EXECUTE format('LOCK TABLE millrace.outbox_%s IN ACCESS EXCLUSIVE MODE NOWAIT', i);
      EXCEPTION WHEN lock_not_available THEN
        CONTINUE;
      END;
      -- asked again under the lock: now it sees everything that was ever written there
      CONTINUE WHEN NOT millrace.segment_is_sent(i);
      EXECUTE format('TRUNCATE millrace.outbox_%s', i);
    END IF;
    next_segment := coalesce(next_segment, i);
  END LOOP;
  IF next_segment IS NOT NULL AND pg_total_relation_size(format('millrace.outbox_%s', current_segment)::regclass) >= large THEN
    UPDATE millrace.outbox_writing SET segment = next_segment;
  END IF;
END
$$;

-- From the moment of the lock every new writer notifies; those who looked before it have locks on a segment, or have committed.
-- true: the relay may sleep if there is nothing new now.
CREATE FUNCTION millrace.outbox_sleep() RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  -- a transaction that has notified cannot be prepared, so where there may be such ones nobody has to
  IF current_setting('max_prepared_transactions')::integer > 0 OR NOT pg_try_advisory_lock(1298756723, 5) THEN
    RETURN false;
  END IF;
  IF EXISTS (
    SELECT FROM pg_locks AS l
    WHERE l.locktype = 'relation' AND l.mode = 'RowExclusiveLock'
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.relation IN ('millrace.outbox_0'::regclass, 'millrace.outbox_1'::regclass, 'millrace.outbox_2'::regclass,
        'millrace.outbox_3'::regclass)
  ) THEN
    PERFORM pg_advisory_unlock(1298756723, 5);
    RETURN false;
  END IF;
  RETURN true;
END
$$;

CREATE VIEW millrace.outbox_status WITH (security_barrier = true) AS
SELECT
  c.name AS cluster,
  coalesce(backlog.messages, 0) AS backlog,
  backlog.oldest AS oldest_unsent,
  coalesce(waiting.messages, 0) AS waiting,
  coalesce(waiting.keys, 0) AS waiting_keys,
  dead.letters AS dead_letters,
  first_waiting.id AS waiting_id,
  first_waiting.topic AS waiting_topic,
  first_waiting.code AS waiting_code,
  first_waiting.message AS waiting_message,
  p.error_code,
  p.error_message,
  p.error_at,
  l.daemon,
  l.renewed_at,
  c.delivery
FROM millrace.cluster AS c
LEFT JOIN millrace.outbox_progress AS p ON p.cluster = c.name
LEFT JOIN millrace.lease AS l ON l.name = 'outbox'
CROSS JOIN LATERAL (
  SELECT count(*) AS messages, min(o."timestamp") AS oldest
  FROM millrace.outbox AS o
  WHERE o.cluster = c.name AND (p.sent IS NULL OR NOT pg_visible_in_snapshot(o.xid, p.sent))
    AND NOT coalesce(o.id <= p.last_id AND pg_visible_in_snapshot(o.xid, p.batch), false)
) AS backlog
CROSS JOIN LATERAL (
  SELECT count(*) AS messages,
    count(DISTINCT ROW(w.topic, w.key, CASE WHEN w.key IS NULL THEN coalesce(-w.partition, w.id) END)) AS keys
  FROM millrace.outbox_waiting AS w WHERE w.cluster = c.name
) AS waiting
CROSS JOIN LATERAL (
  SELECT count(*) AS letters FROM millrace.outbox_dead_letter AS d WHERE d.cluster = c.name
) AS dead
LEFT JOIN LATERAL (
  SELECT w.id, w.topic, w.code, w.message FROM millrace.outbox_waiting AS w
  WHERE w.cluster = c.name AND w.code IS NOT NULL ORDER BY w.id LIMIT 1
) AS first_waiting ON true
WHERE (SELECT millrace.is_admin());
COMMENT ON VIEW millrace.outbox_status IS
  'For administrators: what of the outbox is not sent yet, what waits and why, what the relay met last, and which daemon it is.';

ALTER TABLE millrace.lease ENABLE ROW LEVEL SECURITY;
ALTER TABLE millrace.outbox_progress ENABLE ROW LEVEL SECURITY;
ALTER TABLE millrace.outbox_waiting ENABLE ROW LEVEL SECURITY;
-- With a cluster an administrator makes its row; nobody but the daemon changes one.
CREATE POLICY begin ON millrace.outbox_progress FOR INSERT WITH CHECK (epoch = 0 AND (SELECT millrace.is_admin()));
GRANT INSERT (cluster, epoch, sent) ON millrace.outbox_progress TO PUBLIC;
GRANT SELECT ON millrace.outbox_status TO PUBLIC;

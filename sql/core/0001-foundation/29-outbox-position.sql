-- Where the sending stands is known twice, if it is exactly once: Kafka has a position that it committed with the messages,
-- this database the batch that it is a position in. Kafka's counts, as long as it is one that this database can know of.

-- What Kafka's position, (number, token, id), says to this database's. NULL: it is one that can be; else `ahead` or `missing`.
-- No number: Kafka has no position. `line` is that of the transactional id that it was committed under: before anything is sent
-- under another one, a position is, so one of a former line behind it is of somebody who should not have sent any more.
CREATE FUNCTION millrace.outbox_position_problem(
  progress millrace.outbox_progress, number bigint, token uuid, id bigint, line integer
) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE
    WHEN number > progress.number OR number = progress.number AND token IS DISTINCT FROM progress.token THEN 'ahead'
    WHEN progress.kafka_number IS NOT NULL
      AND (number IS NULL OR number < progress.kafka_number OR number = progress.kafka_number AND id < progress.kafka_id
        OR line < progress.kafka_line)
    THEN 'missing'
  END
$$;

-- Whether the sending may go on from Kafka's position. No row: the lease is another's. `own` tells this database's position.
CREATE FUNCTION millrace.check_outbox_position(
  cluster text, epoch bigint, number bigint, token uuid, id bigint, line integer
) RETURNS TABLE (problem text, own text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE WHEN c.unsent IS NULL THEN
      millrace.outbox_position_problem(p, check_outbox_position.number, check_outbox_position.token, check_outbox_position.id,
        check_outbox_position.line)
    END,
    concat_ws(', ', format('batch %s', p.number),
      format('batch %s and id %s in Kafka, line %s', p.kafka_number, p.kafka_id, coalesce(p.kafka_line, 1)))
  FROM millrace.outbox_progress AS p JOIN millrace.cluster AS c ON c.name = p.cluster
  WHERE p.cluster = check_outbox_position.cluster AND p.epoch = check_outbox_position.epoch
$$;

-- The line of the transactional id, from now on no lower than this one, stored for good. NULL: the lease is another's.
CREATE FUNCTION millrace.transaction_line(cluster text, epoch bigint, at_least integer) RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  line integer;
BEGIN
  PERFORM set_config('synchronous_commit', 'on', true);
  UPDATE millrace.outbox_progress AS p SET transaction_line = greatest(p.transaction_line, at_least)
  WHERE p.cluster = transaction_line.cluster AND p.epoch = transaction_line.epoch RETURNING p.transaction_line INTO line;
  RETURN line;
END
$$;

-- Up to this line nobody can send any more who did before. Returns the highest one of which this is known; NULL: the lease is
-- another's.
CREATE FUNCTION millrace.fenced_line(cluster text, epoch bigint, up_to integer) RETURNS integer
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
  UPDATE millrace.outbox_progress AS p SET fenced_line = greatest(p.fenced_line, up_to)
  WHERE p.cluster = fenced_line.cluster AND p.epoch = fenced_line.epoch RETURNING p.fenced_line
$$;

-- A sender begins, and nobody else sends any more: what Kafka has committed is taken over. `retried` are messages that waited
-- and are part of Kafka's last transaction. Stored for good: what is sent from now on builds on it.
-- Of the batch in hand, what stands behind the position was not sent, whether it was put aside before or not.
CREATE FUNCTION millrace.resume_from_kafka(
  cluster text, epoch bigint, kafka_number bigint, kafka_token uuid, kafka_id bigint, kafka_line integer, retried bigint[],
  exactly_once boolean
) RETURNS TABLE (problem text, own text, number bigint, token uuid, id bigint)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  progress millrace.outbox_progress;
  decision text := (SELECT c.unsent FROM millrace.cluster AS c WHERE c.name = resume_from_kafka.cluster);
BEGIN
  PERFORM set_config('synchronous_commit', 'on', true);
  SELECT p.* INTO progress FROM millrace.outbox_progress AS p
  WHERE p.cluster = resume_from_kafka.cluster AND p.epoch = resume_from_kafka.epoch FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  SELECT c.problem, c.own INTO problem, own
  FROM millrace.check_outbox_position(cluster, epoch, kafka_number, kafka_token, kafka_id, kafka_line) AS c;
  IF problem IS NOT NULL THEN
    RETURN NEXT;
    RETURN;
  ELSIF millrace.outbox_position_problem(progress, kafka_number, kafka_token, kafka_id, kafka_line) IS NOT NULL THEN
    progress := millrace.overrule_kafka(progress, kafka_number, decision = 'skip');
  ELSIF kafka_number IS NOT NULL THEN
    progress.kafka_number := resume_from_kafka.kafka_number;
    progress.kafka_id := resume_from_kafka.kafka_id;
    progress.kafka_line := resume_from_kafka.kafka_line;
    IF kafka_number = progress.number AND progress.batch IS NOT NULL THEN
      progress.last_id := greatest(progress.last_id, kafka_id);
    END IF;
    DELETE FROM millrace.outbox_waiting AS w WHERE w.cluster = progress.cluster AND w.id = ANY (retried);
  END IF;
  progress.token := coalesce(progress.token, gen_random_uuid());
  UPDATE millrace.outbox_progress AS p
  SET sent = progress.sent, batch = progress.batch, last_id = progress.last_id, ids_until = progress.ids_until,
    number = progress.number, token = progress.token, kafka_number = progress.kafka_number, kafka_id = progress.kafka_id,
    kafka_line = progress.kafka_line, transactional = exactly_once
  WHERE p.cluster = progress.cluster;
  DELETE FROM millrace.outbox_waiting AS w
  WHERE w.cluster = progress.cluster AND w.id > progress.last_id
    AND pg_visible_in_snapshot(w.xid, progress.batch) AND NOT pg_visible_in_snapshot(w.xid, progress.sent);
  DELETE FROM millrace.outbox_dead_letter AS d
  WHERE d.cluster = progress.cluster AND d.id > progress.last_id
    AND pg_visible_in_snapshot(d.xid, progress.batch) AND NOT pg_visible_in_snapshot(d.xid, progress.sent);
  UPDATE millrace.cluster AS c SET unsent = NULL WHERE c.name = progress.cluster AND c.unsent IS NOT NULL;
  number := progress.number;
  token := progress.token;
  id := CASE WHEN progress.kafka_number = progress.number THEN progress.kafka_id ELSE 0 END;
  RETURN NEXT;
END
$$;

-- Somebody has said that this database is right: Kafka's numbers are passed, and what it knows is forgotten.
CREATE FUNCTION millrace.overrule_kafka(progress millrace.outbox_progress, number bigint, skip boolean)
RETURNS millrace.outbox_progress
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  progress.number := greatest(progress.number, coalesce(number, 0)) + 1;
  progress.token := NULL;
  progress.kafka_number := NULL;
  progress.kafka_id := NULL;
  progress.kafka_line := NULL;
  IF skip THEN
    progress.sent := pg_current_snapshot();
    progress.batch := NULL;
    progress.last_id := 0;
    progress.ids_until := (SELECT i.last_value FROM millrace.outbox_id AS i);
  END IF;
  RETURN progress;
END
$$;

-- Of a copy nothing of the original's outbox is sent: the original sends it. A database that was loaded from a dump has rows
-- whose transaction ids are of another life, and may be in the future of this one. Among them, and by number among those that
-- were written here since, the snapshots of that life still tell what was sent. That goes; what is left gets the id of the
-- adoption, or, of the batch in hand, one before it: so each is sent once, and the batch stays what it was.
CREATE FUNCTION millrace.adopt_outbox(is_clone boolean) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  segment integer;
  put_aside text;
BEGIN
  IF is_clone THEN
    TRUNCATE millrace.outbox_0, millrace.outbox_1, millrace.outbox_2, millrace.outbox_3, millrace.outbox_waiting,
      millrace.outbox_dead_letter;
    DELETE FROM millrace.outbox_progress;
    RETURN;
  ELSIF NOT millrace.is_loaded() THEN
    RETURN;
  END IF;
  LOCK TABLE millrace.outbox_0, millrace.outbox_1, millrace.outbox_2, millrace.outbox_3 IN SHARE ROW EXCLUSIVE MODE;
  FOR segment IN 0..3 LOOP
    EXECUTE format($sql$
      DELETE FROM millrace.outbox_%s AS o USING millrace.outbox_progress AS p
      WHERE p.cluster = o.cluster AND o.id <= p.ids_until
        AND (pg_visible_in_snapshot(o.xid, p.sent) OR o.id <= p.last_id AND pg_visible_in_snapshot(o.xid, p.batch))
      $sql$, segment);
    EXECUTE format($sql$
      UPDATE millrace.outbox_%s AS o SET xid = CASE WHEN EXISTS (
          SELECT FROM millrace.outbox_progress AS p
          WHERE p.cluster = o.cluster AND o.id <= p.ids_until AND pg_visible_in_snapshot(o.xid, p.batch))
        THEN '3'::xid8 ELSE pg_current_xact_id() END
      $sql$, segment);
  END LOOP;
  FOREACH put_aside IN ARRAY ARRAY['outbox_waiting', 'outbox_dead_letter'] LOOP
    EXECUTE format($sql$
      UPDATE millrace.%I AS w SET xid = CASE WHEN EXISTS (
          SELECT FROM millrace.outbox_progress AS p
          WHERE p.cluster = w.cluster AND pg_visible_in_snapshot(w.xid, p.batch) AND NOT pg_visible_in_snapshot(w.xid, p.sent))
        THEN '3'::xid8 ELSE '1'::xid8 END
      $sql$, put_aside);
  END LOOP;
  UPDATE millrace.outbox_progress AS p
  SET sent = '2:2:',
    batch = CASE WHEN p.batch IS NOT NULL THEN format('%1$s:%1$s:', pg_current_xact_id())::pg_snapshot END;
END
$$;

-- What can be proven and waited for.

-- Batches that follow each other become one as they age: within a day after older_than, all of them after a month. What was no
-- load, and whatever does not follow on, stays by itself, so verify() finds the same before and after.
CREATE FUNCTION millrace.merge_batches(older_than interval DEFAULT '1 hour') RETURNS bigint
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
  WITH placed AS (
    SELECT b.*, lag(b.to_offset) OVER w AS before, lag(b.kind) OVER w AS kind_before,
      b.committed_at < clock_timestamp() - interval '30 days'
        OR (b.committed_at AT TIME ZONE 'UTC')::date = (lag(b.committed_at) OVER w AT TIME ZONE 'UTC')::date AS together
    FROM millrace.batch AS b WHERE b.committed_at < clock_timestamp() - older_than
    WINDOW w AS (PARTITION BY b.consumer_id, b.partition ORDER BY b.id)
  ), numbered AS (
    SELECT p.*, count(*) FILTER (WHERE NOT (p.kind = 'load' AND p.kind_before = 'load' AND p.before = p.from_offset AND p.together)
      IS TRUE) OVER (PARTITION BY p.consumer_id, p.partition ORDER BY p.id) AS run
    FROM placed AS p
  ), merged AS (
    SELECT min(id) AS id, max(to_offset) AS to_offset, sum(messages) AS messages, sum(skipped) AS skipped,
      sum(dead_letters) AS dead_letters, sum(bytes) AS bytes, sum(transaction_ids) AS transaction_ids,
      sum(commits)::integer AS commits, max(committed_at) AS committed_at,
      (array_agg(xid ORDER BY id DESC))[1] AS xid, array_agg(id) AS ids
    FROM numbered GROUP BY consumer_id, partition, run HAVING count(*) > 1
  ), gone AS (
    DELETE FROM millrace.batch AS b USING merged AS m WHERE b.id = ANY (m.ids) AND b.id <> m.id RETURNING b.id
  ), kept AS (
    UPDATE millrace.batch AS b SET to_offset = m.to_offset, messages = m.messages, skipped = m.skipped,
      dead_letters = m.dead_letters, bytes = m.bytes, transaction_ids = m.transaction_ids, commits = m.commits,
      committed_at = m.committed_at, xid = m.xid
    FROM merged AS m WHERE b.id = m.id
  )
  SELECT count(*) FROM gone
$$;
COMMENT ON FUNCTION millrace.merge_batches(interval) IS
  'Merges batches of a partition that follow each other; returns how many rows went. The daemon calls it.';

-- The commits of a partition in their order have to join: each begins where those before it had come to, and the position is where
-- the last one ended. A jump that was wanted is listed as what it is and is no problem; from there it goes on anew.
CREATE FUNCTION millrace.verify(consumer bigint)
RETURNS TABLE (partition integer, finding text, problem boolean, from_offset bigint, to_offset bigint, found_at timestamptz)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM millrace.visible_consumer AS c WHERE c.id = consumer) THEN
    PERFORM millrace.refuse('consumer-missing', format('there is no consumer %s', coalesce(consumer::text, 'NULL')));
  END IF;
  RETURN QUERY
  WITH steps AS (
    SELECT b.partition AS part, b.id AS place, b.kind, b.from_offset AS begins, b.to_offset AS ends, b.committed_at
    FROM millrace.batch AS b WHERE b.consumer_id = consumer
    UNION ALL
    SELECT p.partition, NULL, 'position', p.next_offset, p.next_offset, p.moved_at
    FROM millrace.position AS p WHERE p.consumer_id = consumer
  ), numbered AS (
    SELECT s.*, s.kind IN ('start', 'seek', 'gap') AS jumps,
      (s.kind = 'load' AND lag(s.kind) OVER w = 'load' AND lag(s.ends) OVER w = s.begins) IS NOT TRUE AS anew
    FROM steps AS s WINDOW w AS (PARTITION BY s.part ORDER BY s.place NULLS LAST)
  ), placed AS (
    SELECT n.*, count(*) FILTER (WHERE n.anew) OVER w AS run, count(*) FILTER (WHERE n.jumps) OVER w AS stretch
    FROM numbered AS n WINDOW w AS (PARTITION BY n.part ORDER BY n.place NULLS LAST)
  ), runs AS (
    -- loads that join are one, as they are once they have been merged
    SELECT p.part, p.run, p.stretch, p.kind, p.jumps, min(p.begins) AS begins, max(p.ends) AS ends, max(p.committed_at) AS committed_at
    FROM placed AS p GROUP BY 1, 2, 3, 4, 5
  ), reached AS (
    SELECT r.*, CASE WHEN r.jumps THEN r.ends ELSE max(r.ends) OVER (PARTITION BY r.part, r.stretch ORDER BY r.run) END AS reach FROM runs AS r
  ), joined AS (
    -- before: how far it had come since it last jumped
    SELECT r.*, lag(r.reach) OVER (PARTITION BY r.part ORDER BY r.run) AS before FROM reached AS r
  )
  SELECT j.part, f.finding, f.problem, f.begins, f.ends, j.committed_at FROM joined AS j CROSS JOIN LATERAL (
    SELECT 'missing', true, j.before, j.begins, 1 WHERE j.begins > j.before AND j.kind <> 'start'
    UNION ALL
    SELECT 'doubled', true, j.begins, CASE j.kind WHEN 'load' THEN least(j.before, j.ends) ELSE j.before END, 1
      WHERE j.begins < j.before AND NOT j.jumps
    UNION ALL
    SELECT j.kind, false, j.begins, j.ends, 2 WHERE j.jumps
  ) AS f (finding, problem, begins, ends, number)
  ORDER BY j.part, j.run, f.number;
END
$$;
COMMENT ON FUNCTION millrace.verify(bigint) IS
  'Proves from the batches of a consumer that no offset was passed over or loaded twice: problem is true for each range where that is not so. Jumps that were wanted are listed, too.';

-- The flush position is not asked for the commit itself, which nobody knows, but for all WAL that there was when it was visible. It
-- may end with a record that nothing flushes soon: a message in the WAL makes it so.
CREATE FUNCTION millrace.wait_for_flush(until timestamptz) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  needed pg_lsn;
BEGIN
  IF pg_is_in_recovery() THEN
    RETURN true; -- what a standby shows was flushed there before
  END IF;
  needed := pg_current_wal_insert_lsn();
  IF pg_current_wal_flush_lsn() < needed THEN
    IF current_setting('server_version_num')::integer >= 170000 THEN
      EXECUTE 'SELECT pg_logical_emit_message(false, ''millrace'', '''', true)';
    ELSE
      PERFORM pg_logical_emit_message(false, 'millrace', repeat(' ', 16384)); -- whole pages are flushed before long
    END IF;
  END IF;
  LOOP
    IF pg_current_wal_flush_lsn() >= needed THEN
      RETURN true;
    ELSIF clock_timestamp() >= until THEN
      RETURN false;
    END IF;
    PERFORM pg_sleep(0.01);
  END LOOP;
END
$$;

CREATE FUNCTION millrace.wait_for(
  topic text, partition integer, "offset" bigint, timeout interval DEFAULT '10 seconds', consumer bigint DEFAULT NULL,
  flushed boolean DEFAULT false
) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
  until timestamptz := clock_timestamp() + timeout;
  behind record;
  pause double precision := 0.002;
BEGIN
  IF NOT coalesce(partition >= 0 AND "offset" >= 0, false) THEN
    PERFORM millrace.refuse('wait-invalid', format('there is no offset %s of partition %s', coalesce("offset"::text, 'NULL'),
      coalesce(partition::text, 'NULL')));
  END IF;
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    PERFORM millrace.refuse('wait-isolation', 'waiting sees nothing new in this transaction');
  END IF;
  IF NOT EXISTS (SELECT FROM millrace.visible_consumer AS c WHERE c.topic = wait_for.topic AND (consumer IS NULL OR c.id = consumer)) THEN
    PERFORM millrace.refuse('consumer-missing', format('no consumer%s loads topic %L',
      coalesce(' ' || consumer::text, ''), left(topic, 249)));
  END IF;
  LOOP
    -- a statement of its own each time, so that it sees what was committed meanwhile
    SELECT c.id, c.wanted, f.code, f.message, p.next_offset INTO behind
    FROM millrace.visible_consumer AS c
    LEFT JOIN millrace.position AS p ON p.consumer_id = c.id AND p.partition = wait_for.partition
    LEFT JOIN millrace.failure AS f ON f.consumer_id = c.id AND f.version = c.version
    WHERE c.topic = wait_for.topic AND (consumer IS NULL OR c.id = consumer)
      AND NOT coalesce(p.next_offset > "offset" AND NOT c.start_pending, false)
    ORDER BY c.wanted = 'running' AND f.code IS NULL, c.id LIMIT 1;
    EXIT WHEN NOT FOUND;
    IF behind.wanted <> 'running' THEN
      PERFORM millrace.refuse('consumer-not-running', format('consumer %s is stopped, at offset %s of partition %s', behind.id,
        coalesce(behind.next_offset::text, 'NULL'), partition));
    ELSIF behind.code IS NOT NULL THEN
      PERFORM millrace.refuse('consumer-failed', format('consumer %s failed, at offset %s of partition %s: %s: %s', behind.id,
        coalesce(behind.next_offset::text, 'NULL'), partition, behind.code, behind.message));
    ELSIF NOT coalesce(clock_timestamp() < until, true) THEN
      PERFORM millrace.refuse('wait-timeout', format('consumer %s is at offset %s of partition %s, not past %s, after %s', behind.id,
        coalesce(behind.next_offset::text, 'NULL'), partition, coalesce("offset"::text, 'NULL'), timeout));
    END IF;
    PERFORM pg_sleep(pause);
    pause := least(pause * 1.5, 0.1);
  END LOOP;
  IF flushed AND NOT millrace.wait_for_flush(until) THEN
    PERFORM millrace.refuse('wait-timeout', format('what was loaded is not flushed to disk after %s', timeout));
  END IF;
  RETURN true;
END
$$;
COMMENT ON FUNCTION millrace.wait_for(text, integer, bigint, interval, bigint, boolean) IS
  'Returns when the position of the topic''s consumers (or of one) in a partition has passed an offset, so that the message is in the relation.';

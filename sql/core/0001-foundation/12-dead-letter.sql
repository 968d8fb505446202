-- Messages that could not be loaded, with everything that is needed to load them again. The daemon writes them in the
-- transaction that moves the position past them, and deletes each in the transaction that loads it after all.

CREATE TABLE millrace.dead_letter (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  consumer_id bigint NOT NULL,
  cluster text NOT NULL,
  topic text NOT NULL,
  partition integer NOT NULL,
  "offset" bigint NOT NULL,
  "timestamp" timestamptz,
  key bytea,
  value bytea,
  headers bytea[],
  code text NOT NULL,
  sqlstate text,
  message text NOT NULL,
  failed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  attempts integer NOT NULL DEFAULT 1,
  replay_id bigint
);
COMMENT ON TABLE millrace.dead_letter IS
  'Messages that could not be loaded. Written by the daemon; read millrace.dead_letters instead.';
CREATE INDEX dead_letter_consumer ON millrace.dead_letter (consumer_id, id);
-- Written in the order of time, so this costs a letter next to nothing.
CREATE INDEX dead_letter_age ON millrace.dead_letter USING brin (failed_at) WITH (autosummarize = on);
CREATE INDEX dead_letter_replay ON millrace.dead_letter (replay_id, id) WHERE replay_id IS NOT NULL;

-- How many more a consumer may have. Where there is room enough for `needed`, nothing is counted: a consumer has no more
-- letters than its ids span.
CREATE FUNCTION millrace.dead_letter_room(consumer bigint, needed bigint DEFAULT NULL) RETURNS bigint
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE WHEN needed <= c.dead_letter_limit - coalesce(
      (SELECT d.id FROM millrace.dead_letter AS d WHERE d.consumer_id = c.id ORDER BY d.id DESC LIMIT 1)
      - (SELECT d.id FROM millrace.dead_letter AS d WHERE d.consumer_id = c.id ORDER BY d.id LIMIT 1) + 1, 0)
    THEN needed
    ELSE greatest(c.dead_letter_limit - (
      SELECT count(*) FROM (
        SELECT FROM millrace.dead_letter AS d WHERE d.consumer_id = c.id LIMIT c.dead_letter_limit) AS stored), 0)
    END
  FROM millrace.consumer AS c WHERE c.id = consumer
$$;

-- Those that are to be loaded again wait for it.
CREATE FUNCTION millrace.expire_dead_letters() RETURNS bigint
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
  WITH expired AS (
    DELETE FROM millrace.dead_letter AS d USING millrace.consumer AS c
    WHERE c.id = d.consumer_id AND d.failed_at < clock_timestamp() - c.dead_letter_max_age AND d.replay_id IS NULL
    RETURNING d.consumer_id
  ), counted AS (
    UPDATE millrace.consumer AS c SET dead_letters_expired = c.dead_letters_expired + e.count
    FROM (SELECT consumer_id, count(*) FROM expired GROUP BY 1) AS e WHERE c.id = e.consumer_id
  )
  SELECT count(*) FROM expired
$$;
COMMENT ON FUNCTION millrace.expire_dead_letters() IS
  'Removes dead letters older than their consumer''s dead_letter_max_age; returns how many. The daemon calls it.';

-- Their owner may mark them, with a request of its own to load them again, and change nothing else.
ALTER TABLE millrace.dead_letter ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON millrace.dead_letter FOR SELECT USING (consumer_id IN (SELECT id FROM millrace.consumer));
GRANT SELECT, UPDATE (replay_id) ON millrace.dead_letter TO PUBLIC;

-- What the daemon does for snapshots: it takes a chunk, has the writer write it, and records both in one transaction. A range
-- of blocks belongs to whoever has its row locked, so several daemons share the work, and one that dies leaves nothing half done.

-- Whether the segments of the outbox with something that is not sent take more than this on disk.
CREATE FUNCTION millrace.outbox_exceeds(most_bytes bigint) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  sizes constant bigint[] := ARRAY(SELECT pg_table_size(format('millrace.outbox_%s', i)::regclass) FROM generate_series(0, 3) AS i);
BEGIN
  IF (SELECT sum(size) FROM unnest(sizes) AS size) <= most_bytes THEN
    RETURN false;
  END IF;
  RETURN (SELECT coalesce(sum(sizes[i + 1]), 0) > most_bytes FROM generate_series(0, 3) AS i WHERE NOT millrace.segment_is_sent(i));
END
$$;

-- Returns what to write now, if anything: blocks first_block to end_block - 1 or the rows at `again`, of the range that begins
-- at range_block. Otherwise relation is NULL, and pause the time after which to look again; NULL, too: nothing is open.
-- What is not wanted any more is finished here, and what was rewritten begins anew. A role with a very large UPDATE under way has
-- more of its rows skipped than can be kept: then nothing else is read until they are free.
CREATE FUNCTION millrace.take_chunk(
  owner oid, most_bytes bigint, OUT pause interval, OUT snapshot_id bigint, OUT relation oid, OUT range_block bigint,
  OUT writer text, OUT first_block bigint, OUT end_block bigint, OUT again tid[]
)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  most_skipped constant integer := 10000;
  taken millrace.snapshot;
  function oid;
BEGIN
  LOOP
    SELECT s.* INTO taken FROM millrace.snapshot AS s
    WHERE s.owner = take_chunk.owner AND NOT s.settled AND s.finished_at IS NULL AND s.not_before <= clock_timestamp()
    ORDER BY s.changed_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
    EXIT WHEN NOT FOUND;
    function := to_regprocedure(taken.writer);
    IF NOT taken.wanted OR function IS NULL OR NOT millrace.in_snapshot(taken.root, taken.relation) THEN
      UPDATE millrace.snapshot AS s SET finished_at = clock_timestamp(), ended = true, skipped = '{}', waits_for = NULL
      WHERE (s.snapshot_id, s.relation, s.first_block) = (taken.snapshot_id, taken.relation, taken.first_block);
      CONTINUE;
    ELSIF taken.filenode <> pg_relation_filenode(taken.relation) THEN
      UPDATE millrace.snapshot AS s SET filenode = pg_relation_filenode(s.relation), next_block = s.first_block, skipped = '{}',
        end_block = CASE WHEN s.to_end THEN greatest(s.first_block, millrace.snapshot_blocks(s.relation)) ELSE s.end_block END
      WHERE (s.snapshot_id, s.relation, s.first_block) = (taken.snapshot_id, taken.relation, taken.first_block)
      RETURNING s.* INTO taken;
    END IF;
    IF taken.next_block >= taken.end_block AND taken.skipped = '{}' THEN
      UPDATE millrace.snapshot AS s SET finished_at = clock_timestamp(), waits_for = NULL
      WHERE (s.snapshot_id, s.relation, s.first_block) = (taken.snapshot_id, taken.relation, taken.first_block);
      CONTINUE;
    ELSIF millrace.outbox_exceeds(most_bytes) THEN
      UPDATE millrace.snapshot AS s SET waits_for = 'the outbox to be sent'
      WHERE (s.snapshot_id, s.relation, s.first_block) = (taken.snapshot_id, taken.relation, taken.first_block)
        AND s.waits_for IS DISTINCT FROM 'the outbox to be sent';
      pause := '200 ms';
      RETURN;
    END IF;
    snapshot_id := taken.snapshot_id;
    relation := taken.relation;
    range_block := taken.first_block;
    writer := (SELECT format('%I.%I', n.nspname, p.proname)
      FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace WHERE p.oid = function);
    first_block := taken.next_block;
    IF first_block < taken.end_block AND cardinality(taken.skipped) < most_skipped THEN
      end_block := least(first_block + taken.chunk_blocks, taken.end_block);
      again := '{}';
    ELSE
      end_block := first_block;
      again := taken.skipped[1:1000];
    END IF;
    RETURN;
  END LOOP;
  pause := (SELECT CASE WHEN count(*) > 0 THEN greatest(min(s.not_before) - clock_timestamp(), '100 ms') END FROM millrace.snapshot AS s
    WHERE s.owner = take_chunk.owner AND NOT s.settled AND s.finished_at IS NULL);
END
$$;

CREATE FUNCTION millrace.in_snapshot(root oid, relation oid) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  WITH RECURSIVE ancestor (relation) AS (
    SELECT c.oid FROM pg_class AS c WHERE c.oid = in_snapshot.relation
    UNION
    SELECT i.inhparent FROM ancestor AS a JOIN pg_inherits AS i ON i.inhrelid = a.relation
  )
  SELECT EXISTS (SELECT FROM ancestor AS a WHERE a.relation = in_snapshot.root)
$$;

-- What take_chunk() gave is written: in the same transaction. The writer has the table locked until the end, so what it is now
-- it was when it was read; ML003: it is not what it was when the chunk was taken, and the chunk is to be given up. took:
-- milliseconds of the writer; the next chunk is to take 50.
CREATE FUNCTION millrace.record_chunk(
  snapshot_id bigint, relation oid, range_block bigint, end_block bigint, again integer, written bigint, skipped tid[],
  took double precision
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  taken millrace.snapshot;
  left_over tid[];
  goal constant double precision := 50;
BEGIN
  SELECT s.* INTO taken FROM millrace.snapshot AS s
  WHERE (s.snapshot_id, s.relation, s.first_block) = (record_chunk.snapshot_id, record_chunk.relation, record_chunk.range_block);
  IF taken.filenode IS DISTINCT FROM pg_relation_filenode(relation) OR NOT millrace.in_snapshot(taken.root, relation) THEN
    RAISE EXCEPTION 'the table was rewritten' USING ERRCODE = 'ML003';
  END IF;
  left_over := taken.skipped[again + 1:] || record_chunk.skipped;
  UPDATE millrace.snapshot AS s SET
    next_block = record_chunk.end_block,
    skipped = left_over,
    written = s.written + record_chunk.written,
    chunks = s.chunks + 1,
    chunk_blocks = CASE WHEN again > 0 THEN s.chunk_blocks
      ELSE greatest(1, least(CASE WHEN current_setting('server_version_num')::integer < 140000 THEN 256 ELSE 2048 END,
        s.chunk_blocks * greatest(0.25, least(2, goal / greatest(1, took))))) END,
    waits_for = CASE WHEN again > 0 AND record_chunk.written = 0 AND cardinality(record_chunk.skipped) >= again
      THEN 'rows that others have locked' END,
    not_before = CASE WHEN again > 0 AND record_chunk.written = 0 AND cardinality(record_chunk.skipped) >= again
      THEN clock_timestamp() + '300 ms' ELSE to_timestamp(0) END,
    attempts = 0, error_code = NULL, error_message = NULL, changed_at = clock_timestamp(),
    finished_at = CASE WHEN record_chunk.end_block >= s.end_block AND left_over = '{}' THEN clock_timestamp() END
  WHERE (s.snapshot_id, s.relation, s.first_block) = (record_chunk.snapshot_id, record_chunk.relation, record_chunk.range_block);
END
$$;

-- A chunk was not written. With a code, for a reason that somebody may have to see to; it is tried again, later each time.
-- Without one, something passes by itself. too_long: the next one is to be smaller.
CREATE FUNCTION millrace.fail_chunk(
  snapshot_id bigint, relation oid, range_block bigint, waits_for text, code text, message text, too_long boolean
) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
  UPDATE millrace.snapshot AS s SET
    attempts = s.attempts + (code IS NOT NULL)::integer,
    not_before = clock_timestamp() + CASE WHEN code IS NULL THEN interval '100 ms'
      ELSE least(interval '30 s', interval '200 ms' * power(2, least(s.attempts, 10))) END,
    chunk_blocks = CASE WHEN too_long THEN greatest(1, s.chunk_blocks / 8) ELSE s.chunk_blocks END,
    waits_for = fail_chunk.waits_for, error_code = code, error_message = message, changed_at = clock_timestamp()
  WHERE (s.snapshot_id, s.relation, s.first_block) = (fail_chunk.snapshot_id, fail_chunk.relation, fail_chunk.range_block)
    AND s.finished_at IS NULL
$$;

-- When all of a snapshot is finished, its writer goes, where that was asked for and the writer is its owner's. Something of the
-- owner's may need the writer: then it stays.
CREATE FUNCTION millrace.settle_snapshots(owner oid) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  finished record;
  function oid;
BEGIN
  FOR finished IN
    SELECT s.snapshot_id, min(s.writer) AS writer, bool_and(s.drop_writer) AS drop_writer FROM millrace.snapshot AS s
    WHERE s.owner = settle_snapshots.owner AND NOT s.settled GROUP BY s.snapshot_id HAVING bool_and(s.finished_at IS NOT NULL)
  LOOP
    function := to_regprocedure(finished.writer);
    IF finished.drop_writer AND EXISTS (
      SELECT FROM pg_proc AS p WHERE p.oid = function AND p.proowner = settle_snapshots.owner) THEN
      BEGIN
        EXECUTE format('DROP FUNCTION %s', function::regprocedure);
      EXCEPTION WHEN OTHERS THEN
        NULL;
      END;
    END IF;
    UPDATE millrace.snapshot AS s SET settled = true WHERE s.snapshot_id = finished.snapshot_id;
  END LOOP;
END
$$;

CREATE VIEW millrace.snapshots WITH (security_barrier = true) AS
SELECT
  s.snapshot_id AS id,
  s.name AS relation,
  CASE
    WHEN bool_and(s.finished_at IS NOT NULL) THEN CASE WHEN bool_and(s.ended) THEN 'ended' ELSE 'done' END
    WHEN count(s.error_code) > 0 THEN 'failing'
    WHEN count(s.waits_for) > 0 THEN 'waiting'
    WHEN sum(s.chunks) > 0 THEN 'running'
    ELSE 'pending'
  END AS state,
  sum(s.written)::bigint AS rows,
  sum(CASE WHEN s.finished_at IS NULL THEN s.next_block ELSE s.end_block END - s.first_block)::bigint AS blocks_done,
  sum(s.end_block - s.first_block)::bigint AS blocks,
  sum(cardinality(s.skipped))::bigint AS locked_rows,
  min(s.waits_for) AS waits_for,
  min(s.error_code) AS error_code,
  min(s.error_message) AS error_message,
  pg_get_userbyid(s.owner::oid) AS owner,
  min(s.begun_at) AS begun_at,
  max(s.changed_at) AS changed_at,
  CASE WHEN bool_and(s.finished_at IS NOT NULL) THEN max(s.finished_at) END AS finished_at
FROM millrace.snapshot AS s
WHERE pg_has_role(s.owner::oid, 'USAGE') OR (SELECT millrace.is_admin())
GROUP BY s.snapshot_id, s.name, s.owner;
COMMENT ON VIEW millrace.snapshots IS 'Snapshots of your tables, how far they are and what they wait for; those that are done for a day.';
GRANT SELECT ON millrace.snapshots TO PUBLIC;

-- The rows that a table has when its changes begin to be captured are written into the outbox by the daemon, a range of blocks
-- at a time. A row that is there when the trigger is made either stays where it is until its chunk comes, or is changed,
-- and its change is captured. A chunk locks the rows that it sends and waits for none: who changed a row before that has
-- committed, with a smaller number in the outbox; who changes it later waits for the chunk's COMMIT and takes a larger one. So no
-- older row follows a newer one. Rows that somebody else has locked are tried again until they can be locked, or are changed.
--
-- What writes is a function of the table's owner, the writer:
--   FUNCTION (relation oid, first_block bigint, end_block bigint, again tid[]) RETURNS TABLE (written bigint, skipped tid[])
-- It writes one message into the outbox for each row of that table (without its children) in blocks first_block to end_block - 1
-- and at the places `again` whose lock it gets, and returns one row: how many it wrote, and where the rows are whose lock it did
-- not get. write_chunk() does that, when it is called in it. The daemon calls the writer as the table's owner, whatever it is.
--
-- While a snapshot is open, a trigger that captures changes leaves out no UPDATE, also none that changes nothing or nothing
-- that is sent, and whatever of an event is only a part of the row is followed by the whole row: an UPDATE moves a row to a place where
-- the snapshot may have been, or does not come. snapshot_open() tells.

CREATE SEQUENCE millrace.snapshot_id AS bigint;
COMMENT ON SEQUENCE millrace.snapshot_id IS 'Numbers of snapshots.';

-- A row for each range of blocks: of a large table several, so that more than one can be read at a time; of a partitioned table
-- those of each partition. What it points at is found again after a dump and restore.
CREATE TABLE millrace.snapshot (
  snapshot_id bigint NOT NULL,
  root regclass NOT NULL,
  name text NOT NULL,
  relation regclass NOT NULL,
  owner regrole NOT NULL,
  writer text NOT NULL,
  drop_writer boolean NOT NULL DEFAULT false,
  wanted boolean NOT NULL DEFAULT true,
  filenode oid NOT NULL,
  first_block bigint NOT NULL,
  next_block bigint NOT NULL,
  end_block bigint NOT NULL,
  to_end boolean NOT NULL,
  skipped tid[] NOT NULL DEFAULT '{}',
  written bigint NOT NULL DEFAULT 0,
  chunks bigint NOT NULL DEFAULT 0,
  chunk_blocks integer NOT NULL DEFAULT 16,
  attempts integer NOT NULL DEFAULT 0,
  not_before timestamptz NOT NULL DEFAULT to_timestamp(0),
  waits_for text,
  error_code text,
  error_message text,
  begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at timestamptz,
  ended boolean NOT NULL DEFAULT false,
  settled boolean NOT NULL DEFAULT false,
  PRIMARY KEY (snapshot_id, relation, first_block)
) WITH (fillfactor = 50);
COMMENT ON TABLE millrace.snapshot IS 'How far the snapshots of tables are. Written with each chunk, in its transaction; read millrace.snapshots.';
COMMENT ON COLUMN millrace.snapshot.root IS 'The table whose snapshot it is a part of; relation, or what that is a partition or a child of.';
COMMENT ON COLUMN millrace.snapshot.writer IS 'Function that writes a chunk, with its schema and the types of its arguments.';
COMMENT ON COLUMN millrace.snapshot.wanted IS 'false: millrace.end_snapshot() ended it.';
COMMENT ON COLUMN millrace.snapshot.filenode IS 'Another one means that the table was rewritten: the range begins anew.';
COMMENT ON COLUMN millrace.snapshot.end_block IS 'Rows in blocks that were added since it began are captured as they come.';
COMMENT ON COLUMN millrace.snapshot.to_end IS 'It is the table''s last range.';
COMMENT ON COLUMN millrace.snapshot.skipped IS 'Rows that others had locked; they are tried again.';
COMMENT ON COLUMN millrace.snapshot.chunk_blocks IS 'So many blocks are the next chunk: it is to take 50 ms.';
COMMENT ON COLUMN millrace.snapshot.ended IS 'It was finished before its end: it, the table or the writer was not wanted any more.';
COMMENT ON COLUMN millrace.snapshot.settled IS 'Nothing is left to do for it.';
CREATE INDEX snapshot_unsettled ON millrace.snapshot (owner) WHERE NOT settled;
CREATE INDEX snapshot_unfinished ON millrace.snapshot (relation) WHERE finished_at IS NULL;

-- Locks no row that another has locked. One statement, so what it counts is what it locked; a row that was changed since the
-- statement began is sent as it is now, or it is gone. Numbers of the outbox are taken after the rows' locks.
CREATE FUNCTION millrace.write_chunk(
  relation oid, first_block bigint, end_block bigint, again tid[], message text, filter text DEFAULT NULL,
  OUT written bigint, OUT skipped tid[]
)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET work_mem = '32MB'
AS $$
DECLARE
  me constant regrole := quote_ident(CURRENT_USER::text)::regrole;
  segment constant smallint := coalesce((SELECT w.segment FROM millrace.outbox_writing AS w), 0);
  -- before version 14 a range of places is looked for in the whole table
  ranges constant boolean := current_setting('server_version_num')::integer >= 140000;
  places text;
  found_written bigint;
  found_skipped tid[];
BEGIN
  written := 0;
  skipped := '{}';
  FOREACH places IN ARRAY array_remove(ARRAY[
    CASE WHEN end_block > first_block THEN
      CASE WHEN ranges THEN format('t.ctid >= ''(%s,0)'' AND t.ctid < ''(%s,0)''', first_block, end_block)
        ELSE format('t.ctid = ANY (millrace.places(%s, %s))', first_block, end_block) END END,
    CASE WHEN cardinality(again) > 0 THEN 't.ctid = ANY ($1)' END], NULL)
  LOOP
    EXECUTE format(
      'WITH locked (tid, cluster, topic, partition, key, value, headers, "timestamp", source) AS MATERIALIZED (
         SELECT t.ctid, %4$s FROM ONLY %1$s AS t WHERE %2$s AND (%5$s) FOR SHARE OF t SKIP LOCKED
       ), sent AS (
         INSERT INTO millrace.outbox_%3$s (owner, cluster, topic, partition, key, value, headers, "timestamp", source)
         SELECT $2, l.cluster, l.topic, l.partition, l.key, l.value, l.headers, coalesce(l."timestamp", clock_timestamp()), l.source
         FROM locked AS l)
       SELECT (SELECT count(*) FROM locked),
         CASE WHEN (SELECT count(*) FROM locked) <> (SELECT count(*) FROM ONLY %1$s AS t WHERE %2$s AND (%5$s)) THEN
           ARRAY(SELECT t.ctid FROM ONLY %1$s AS t WHERE %2$s AND (%5$s)
             EXCEPT SELECT l.tid FROM locked AS l) END',
      relation::regclass, places, segment, message, coalesce(filter, 'true'))
    INTO found_written, found_skipped USING again, me;
    written := written + found_written;
    skipped := skipped || found_skipped;
  END LOOP;
  IF written > 0 AND millrace.outbox_wake() IS NULL THEN
    NULL;
  END IF;
END
$$;
COMMENT ON FUNCTION millrace.write_chunk(oid, bigint, bigint, tid[], text, text) IS
  'Called in the writer of a snapshot: writes the rows of a chunk into the outbox. message: expressions over the row t, separated by commas: cluster, topic, partition, key, value, headers, timestamp, source; filter: a condition over t.';

-- Every place that a row can have in these blocks. A row is never smaller than its header and the pointer to it.
CREATE FUNCTION millrace.places(first_block bigint, end_block bigint) RETURNS tid[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT array_agg(format('(%s,%s)', b, i)::tid)
  FROM generate_series(first_block, end_block - 1) AS b, generate_series(1, current_setting('block_size')::integer / 28) AS i
$$;

-- For a trigger of a table. A transaction that sees the database as it was before the trigger was made does not see the snapshot
-- either.
CREATE FUNCTION millrace.snapshot_open(relation oid, trigger_name name) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN EXISTS (SELECT FROM millrace.snapshot AS s WHERE s.relation = snapshot_open.relation AND s.finished_at IS NULL)
    OR current_setting('transaction_isolation') <> 'read committed' AND NOT EXISTS (
      SELECT FROM pg_trigger AS t WHERE t.tgrelid = snapshot_open.relation AND t.tgname = trigger_name);
END
$$;
COMMENT ON FUNCTION millrace.snapshot_open(oid, name) IS
  'Whether rows that a table had before this trigger of it was made may still have to be sent.';

-- The tables that a snapshot of a relation reads.
CREATE FUNCTION millrace.snapshot_relations(relation oid, children boolean DEFAULT true) RETURNS SETOF oid
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  WITH RECURSIVE family (member) AS (
    SELECT relation
    UNION
    SELECT i.inhrelid FROM family AS f JOIN pg_inherits AS i ON i.inhparent = f.member JOIN pg_class AS c ON c.oid = i.inhrelid
    WHERE children OR c.relispartition
  )
  SELECT f.member FROM family AS f JOIN pg_class AS c ON c.oid = f.member WHERE c.relkind <> 'p' ORDER BY f.member
$$;

CREATE FUNCTION millrace.snapshot_blocks(relation oid) RETURNS bigint
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT coalesce(pg_relation_size(relation, 'main'), 0) / current_setting('block_size')::bigint
$$;
COMMENT ON FUNCTION millrace.snapshot_blocks(oid) IS 'Blocks that a table has now, without its indexes.';

CREATE FUNCTION millrace.check_snapshot() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  target record;
  owner_name name;
  daemon constant regrole := millrace.daemon_role();
BEGIN
  SELECT r.relowner, c.relkind, c.relpersistence, c.relrowsecurity AND (c.relforcerowsecurity OR c.relowner <> r.relowner) AS hides_rows,
    coalesce(m.amname, 'heap') AS method, format('%I.%I', n.nspname, c.relname) AS shown, format('%I.%I', o.nspname, r.relname) AS name
  INTO target
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace LEFT JOIN pg_am AS m ON m.oid = c.relam
  JOIN pg_class AS r ON r.oid = NEW.root::oid JOIN pg_namespace AS o ON o.oid = r.relnamespace WHERE c.oid = NEW.relation::oid;
  IF NOT FOUND OR to_regprocedure(NEW.writer) IS NULL THEN
    PERFORM millrace.refuse('relation-missing', 'a table and a writer are needed, not NULL');
  END IF;
  owner_name := pg_get_userbyid(target.relowner);
  IF NOT pg_has_role(target.relowner, 'USAGE') THEN
    PERFORM millrace.refuse('relation-not-yours', format('%s belongs to role %I', target.name, owner_name));
  ELSIF target.relkind NOT IN ('r', 'm') OR target.relpersistence = 't' OR target.method <> 'heap' THEN
    PERFORM millrace.refuse('snapshot-unreadable', format('%s cannot be read in ranges of blocks', target.shown));
  ELSIF target.hides_rows AND NOT (SELECT r.rolsuper OR r.rolbypassrls FROM pg_roles AS r WHERE r.oid = target.relowner) THEN
    PERFORM millrace.refuse('snapshot-row-security', format('row-level security would hide rows of %s from role %I', target.shown, owner_name));
  ELSIF NOT (has_table_privilege(target.relowner, NEW.relation, 'SELECT') AND has_table_privilege(target.relowner, NEW.relation, 'UPDATE')) THEN
    PERFORM millrace.refuse('snapshot-denied', format('role %I may not SELECT and UPDATE %s', owner_name, target.shown));
  ELSIF NOT millrace.can_act_as(daemon::oid, target.relowner) THEN
    PERFORM millrace.refuse('role-not-served', format('the daemon''s role %s cannot act as role %I', daemon, owner_name));
  ELSIF NOT has_database_privilege(target.relowner, current_database(), 'TEMPORARY') THEN
    PERFORM millrace.refuse('owner-needs-temp', format('role %I may not create temporary tables in this database', owner_name));
  END IF;
  NEW.owner := target.relowner;
  NEW.name := target.name;
  NEW.filenode := pg_relation_filenode(NEW.relation);
  NEW.next_block := NEW.first_block;
  RETURN NEW;
END
$$;

CREATE TRIGGER check_snapshot BEFORE INSERT ON millrace.snapshot
  FOR EACH ROW EXECUTE FUNCTION millrace.check_snapshot();
CREATE TRIGGER notify_daemon AFTER INSERT ON millrace.snapshot
  FOR EACH STATEMENT EXECUTE FUNCTION millrace.notify_daemon();

CREATE FUNCTION millrace.begin_snapshot(
  relation regclass, writer regprocedure, drop_writer boolean DEFAULT false, children boolean DEFAULT true
) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  snapshot constant bigint := nextval('millrace.snapshot_id');
BEGIN
  -- the ranges of a table have one size in common: none is left out between them
  INSERT INTO millrace.snapshot (snapshot_id, root, relation, writer, drop_writer, first_block, end_block, to_end)
  SELECT snapshot, begin_snapshot.relation, r.relation, begin_snapshot.writer, begin_snapshot.drop_writer,
    r.blocks * part / r.parts, r.blocks * (part + 1) / r.parts, part + 1 = r.parts
  FROM (
    SELECT f.relation, f.blocks, greatest(1, least(4, f.blocks / 1024)) AS parts
    FROM (SELECT m AS relation, millrace.snapshot_blocks(m) AS blocks
      FROM millrace.snapshot_relations(begin_snapshot.relation, begin_snapshot.children) AS m OFFSET 0) AS f
  ) AS r CROSS JOIN LATERAL generate_series(0, r.parts - 1) AS part;
  PERFORM millrace.warn_without_daemon();
  RETURN snapshot;
END
$$;
COMMENT ON FUNCTION millrace.begin_snapshot(regclass, regprocedure, boolean, boolean) IS
  'Has the rows of a table sent by the daemon, by a writer (docs/sql.md); returns the snapshot''s number. To be called after the triggers were made that capture changes. drop_writer: the writer is dropped when all is sent; children: also the tables that inherit from it.';

CREATE FUNCTION millrace.end_snapshot(snapshot bigint) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
  UPDATE millrace.snapshot AS s SET wanted = false WHERE s.snapshot_id = end_snapshot.snapshot AND s.finished_at IS NULL
$$;
COMMENT ON FUNCTION millrace.end_snapshot(bigint) IS 'Ends a snapshot; what is written of it is sent. Waits for a chunk that is being written.';

ALTER TABLE millrace.snapshot ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON millrace.snapshot
  USING (pg_has_role(owner::oid, 'USAGE') OR (SELECT millrace.is_admin())) WITH CHECK (pg_has_role(owner::oid, 'USAGE') OR (SELECT millrace.is_admin()));
GRANT SELECT, INSERT (snapshot_id, root, relation, writer, drop_writer, first_block, end_block, to_end), UPDATE (wanted) ON millrace.snapshot TO PUBLIC;
GRANT USAGE ON SEQUENCE millrace.snapshot_id TO PUBLIC;

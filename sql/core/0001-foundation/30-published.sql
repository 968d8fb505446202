-- What a publication begins with, and what its state is: how its rows are sent, and what keeps its changes from being told.

-- Nobody writes to the table until the transaction ends, because of the triggers that it just got; so a small one is read at once.
CREATE FUNCTION millrace.send_snapshot(p millrace.publication) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  writer constant text := format('millrace.%I(oid, bigint, bigint, tid[])', millrace.capture_name(p.id) || ' snapshot');
  -- so many blocks are read in the transaction of the call
  small constant bigint := 1000;
  part oid;
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    PERFORM millrace.refuse('setup-isolation', 'what others committed since this transaction began would be missed');
  END IF;
  IF (SELECT sum(millrace.snapshot_blocks(r)) FROM millrace.snapshot_relations(p.relation::oid, children := false) AS r) >= small THEN
    UPDATE millrace.publication AS o SET snapshot = millrace.begin_snapshot(p.relation, writer::regprocedure, children := false)
    WHERE o.id = p.id;
    RETURN;
  END IF;
  FOR part IN SELECT r FROM millrace.snapshot_relations(p.relation::oid, children := false) AS r LOOP
    EXECUTE format('SELECT written FROM millrace.%I($1, 0, $2, ''{}'')', millrace.capture_name(p.id) || ' snapshot')
    USING part, millrace.snapshot_blocks(part);
  END LOOP;
END
$$;

-- What stands in the way of capturing all changes of a published table, as it is now; NULL: nothing.
CREATE FUNCTION millrace.publication_problem(p millrace.publication) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  prefix constant text := format('!millrace %s ', p.id);
  function constant oid := to_regprocedure(format('millrace.%I()', millrace.capture_name(p.id)));
  owner_now oid := (SELECT c.relowner FROM pg_class AS c WHERE c.oid = p.relation);
  needs_rows text;
BEGIN
  IF owner_now IS NULL THEN
    RETURN 'relation-missing';
  ELSIF function IS NULL OR (SELECT count(*) FROM pg_trigger AS t WHERE t.tgrelid = p.relation AND t.tgfoid = function
    AND t.tgname IN (prefix || 'insert', prefix || 'update', prefix || 'delete', prefix || 'truncate')) < 4
  THEN
    RETURN 'trigger-missing';
  ELSIF EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgfoid = function AND t.tgenabled IN ('D', 'R')
    AND t.tgname <> prefix || 'is captured by statements')
  THEN
    RETURN 'trigger-disabled';
  ELSIF owner_now <> p.owner::oid THEN
    RETURN 'owner-changed';
  ELSIF NOT millrace.may_produce(p.cluster, p.topic, p.owner::oid) THEN
    RETURN 'topic-not-granted';
  ELSIF EXISTS (SELECT FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhparent WHERE c.oid = p.relation AND c.relkind = 'r') THEN
    RETURN 'relation-inherited';
  END IF;
  needs_rows := millrace.needs_row_capture(p.relation::oid);
  IF p.capture = 'statement' AND needs_rows IS NOT NULL THEN
    RETURN needs_rows;
  ELSIF needs_rows = 'subscribed' AND EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = p.relation AND t.tgfoid = function
    AND t.tgenabled <> 'A')
  THEN
    RETURN 'subscribed';
  ELSIF EXISTS (SELECT FROM pg_partition_tree(p.relation) AS m
    WHERE NOT EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = m.relid AND t.tgname = prefix || 'truncate'))
    AND p.truncate <> 'skip'
  THEN
    RETURN 'partition-truncate';
  ELSIF p.columns IS NOT NULL AND p.with_schema AND EXISTS (SELECT FROM pg_attribute AS a
    WHERE a.attrelid = p.relation AND a.attnum > (SELECT max(n.value::smallint) FROM jsonb_each_text(millrace.column_numbers(p)) AS n)
      AND NOT a.attisdropped)
  THEN
    RETURN 'column-added';
  END IF;
  RETURN NULL;
END
$$;

CREATE VIEW millrace.publications WITH (security_barrier = true) AS
SELECT p.id, coalesce((SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.oid = p.relation), p.name) AS relation, p.cluster, p.topic, p.key_columns AS key, p.columns, p.filter, p.envelope, p.with_schema,
  p.truncate, p.capture, p.snapshot, pg_get_userbyid(p.owner::oid) AS owner, p.created_at, millrace.publication_problem(p) AS problem
FROM millrace.publication AS p
WHERE pg_has_role(p.owner::oid, 'USAGE') OR (SELECT millrace.is_admin());
COMMENT ON VIEW millrace.publications IS
  'Your published tables, and what keeps a change of one from being sent (docs/publishing.md).';
GRANT SELECT ON millrace.publications TO PUBLIC;

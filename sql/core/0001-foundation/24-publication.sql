-- A published table sends its changes to a topic: triggers write them into the outbox, in the transaction that changes the
-- table. What the triggers run belongs to the table's owner and runs as that role, so whoever writes to the table needs no right to
-- anything here, and nothing of a user's runs as another role.

-- Names of columns are those at the time of publishing; column_numbers tells which they are after a RENAME.
CREATE TABLE millrace.publication (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  relation regclass NOT NULL,
  name text NOT NULL,
  owner regrole NOT NULL,
  cluster text NOT NULL REFERENCES millrace.cluster,
  topic text NOT NULL,
  key_columns text[] NOT NULL,
  columns text[],
  filter text,
  filter_columns text[] NOT NULL,
  column_numbers jsonb NOT NULL,
  envelope text NOT NULL,
  with_schema boolean NOT NULL,
  truncate text NOT NULL,
  capture text NOT NULL,
  snapshot bigint,
  created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE millrace.publication IS 'Tables whose changes go to a topic. Read millrace.publications.';
COMMENT ON COLUMN millrace.publication.name IS 'The relation''s, when it was published.';
COMMENT ON COLUMN millrace.publication.owner IS 'Role that the triggers'' function belongs to and runs as.';
COMMENT ON COLUMN millrace.publication.key_columns IS 'Columns of the message''s key; empty: messages have none.';
COMMENT ON COLUMN millrace.publication.columns IS 'Columns that are sent; NULL: all that the table has at the time.';
COMMENT ON COLUMN millrace.publication.column_numbers IS 'Number of each column that is named here, as it was when the table was published: see column_numbers().';
COMMENT ON COLUMN millrace.publication.capture IS 'statement or row: how often the triggers fire.';
COMMENT ON COLUMN millrace.publication.snapshot IS 'Number of its snapshot, if it has one.';

ALTER TABLE millrace.publication ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON millrace.publication
  USING (pg_has_role(owner::oid, 'USAGE') OR (SELECT millrace.is_admin())) WITH CHECK (pg_has_role(owner::oid, 'USAGE'));
GRANT SELECT, INSERT, UPDATE (snapshot) ON millrace.publication TO PUBLIC;

-- The numbers that the named columns have now. After a dump and restore a table has the columns that it had in the same order,
-- but without the numbers of those that were dropped. Its triggers name the same columns, and follow them.
CREATE FUNCTION millrace.column_numbers(p millrace.publication) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  WITH named AS (
    SELECT n.key AS name, row_number() OVER (ORDER BY n.value::smallint) AS place FROM jsonb_each_text(p.column_numbers) AS n
  ), followed AS (
    SELECT d.refobjsubid AS number, row_number() OVER (ORDER BY d.refobjsubid) AS place
    FROM (
      SELECT DISTINCT d.refobjsubid FROM pg_trigger AS t JOIN pg_depend AS d ON d.classid = 'pg_trigger'::regclass AND d.objid = t.oid
      WHERE t.tgrelid = p.relation AND t.tgname = format('!millrace %s insert', p.id)
        AND d.refclassid = 'pg_class'::regclass AND d.refobjid = p.relation AND d.refobjsubid > 0
    ) AS d
  )
  -- while the triggers are made the numbers are new
  SELECT CASE WHEN (SELECT count(*) FROM named) = (SELECT count(*) FROM followed)
    THEN (SELECT coalesce(jsonb_object_agg(n.name, f.number), '{}') FROM named AS n JOIN followed AS f ON f.place = n.place)
    ELSE p.column_numbers END
$$;

-- What the current role publishes to. Only read where it may produce to all topics.
CREATE FUNCTION millrace.published_topics(cluster text) RETURNS text[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN ARRAY(
    SELECT DISTINCT p.topic FROM millrace.publication AS p
    WHERE p.cluster = published_topics.cluster AND p.topic ~ '^[a-zA-Z0-9._-]+$' AND length(p.topic) <= 249
      AND p.topic NOT IN ('.', '..'));
END
$$;

-- The policy of the outbox looks here once for a statement, and need not call anything for each row: 'cluster topic' of what the
-- current role may produce to by name, and of what it publishes where it may produce to all topics. The view reads as its owner,
-- past the policy of the table, so that nothing else is looked up.
CREATE VIEW millrace.produced_topic WITH (security_barrier = true) AS
SELECT g.cluster || ' ' || t.topic AS name
FROM millrace.topic_grant AS g
CROSS JOIN LATERAL unnest(
  CASE g.topic WHEN '*' THEN millrace.published_topics(g.cluster) ELSE ARRAY[g.topic] END) AS t (topic)
WHERE g.action = 'produce' AND (g.grantee::oid = 0 OR pg_has_role(g.grantee::oid, 'USAGE'));
COMMENT ON VIEW millrace.produced_topic IS 'Topics that the current role may produce to, for the policies of the outbox.';
GRANT SELECT ON millrace.produced_topic TO PUBLIC;

DO $outer$
BEGIN
  FOR segment IN 0..3 LOOP
    EXECUTE format($$
      ALTER POLICY produce ON millrace.outbox_%s WITH CHECK (
        owner = (SELECT quote_ident(CURRENT_USER::text)::regrole)
        AND CASE WHEN cluster || ' ' || topic = ANY (ARRAY(SELECT t.name FROM millrace.produced_topic AS t))
            AND partition IS NULL AND headers IS NULL
            AND "timestamp" >= timestamptz '1970-01-01 00:00:00+00' AND "timestamp" < timestamptz 'infinity'
          THEN true
          ELSE millrace.admit_message(cluster, topic, partition, headers, "timestamp") END)
    $$, segment);
  END LOOP;
END
$outer$;

-- What Kafka does not take in a name becomes an underscore, in what stands for the braces only.
CREATE FUNCTION millrace.topic_of(template text, schema_name name, table_name name) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  parts text[] := regexp_split_to_array(template, '[{}]');
  topic text := '';
BEGIN
  FOR i IN 1..cardinality(parts) LOOP
    IF i % 2 = 1 THEN
      topic := topic || parts[i];
      CONTINUE;
    END IF;
    IF i = cardinality(parts) OR parts[i] NOT IN ('database', 'schema', 'table') THEN
      PERFORM millrace.refuse('topic-template-invalid', format('%L is no template of a topic', left(template, 249)));
    END IF;
    topic := topic || regexp_replace(
      CASE parts[i] WHEN 'database' THEN current_database()::text WHEN 'schema' THEN schema_name::text ELSE table_name::text END,
      '[^a-zA-Z0-9._-]', '_', 'g');
  END LOOP;
  RETURN topic;
END
$$;

-- Which columns an expression over the row of a table reads: without such a one it means nothing. Called as whoever publishes. The row as
-- a whole has no name here: a trigger for each row has no more of it than the columns that are named.
CREATE FUNCTION millrace.columns_of_filter(relation regclass, filter text) RETURNS text[]
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  names constant text[] := ARRAY(SELECT a.attname::text FROM pg_attribute AS a
    WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum);
  used text[] := '{}';
  column_name text;
  others text;
BEGIN
  BEGIN
    EXECUTE format('SELECT FROM (SELECT * FROM %s) AS "a row" WHERE (%s%s) IS TRUE LIMIT 0', relation, filter, E'\n');
  EXCEPTION WHEN OTHERS THEN
    PERFORM millrace.refuse('filter-invalid', format('the filter: %s', SQLERRM));
  END;
  FOREACH column_name IN ARRAY names LOOP
    CONTINUE WHEN position(lower(column_name) IN lower(filter)) = 0;
    others := (SELECT string_agg(quote_ident(o), ', ') FROM unnest(names) AS o WHERE o <> column_name);
    BEGIN
      EXECUTE format('SELECT FROM (SELECT %s FROM %s) AS "a row" WHERE (%s%s) IS TRUE LIMIT 0', others, relation, filter, E'\n');
    EXCEPTION WHEN OTHERS THEN
      used := used || column_name;
    END;
  END LOOP;
  RETURN used;
END
$$;

-- Whether a trigger FOR EACH STATEMENT would miss or reorder changes, and why; NULL: it would not.
CREATE FUNCTION millrace.needs_row_capture(target oid) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE
    WHEN c.relkind = 'p' THEN 'partitioned'
    WHEN c.relkind = 'f' THEN 'foreign'
    WHEN EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhrelid = c.oid) THEN 'inherits'
    WHEN EXISTS (SELECT FROM pg_subscription_rel AS s WHERE s.srrelid = c.oid) THEN 'subscribed'
    WHEN EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled <> 'D'
      AND t.tgtype & 1 <> 0 AND t.tgtype & 66 = 0 AND t.tgname NOT LIKE '!millrace %') THEN 'row-trigger'
    WHEN EXISTS (SELECT FROM pg_constraint AS k WHERE k.conrelid = c.oid AND k.confrelid = c.oid AND k.contype = 'f'
      AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd'))) THEN 'refers-to-itself'
  END
  FROM pg_class AS c WHERE c.oid = target
$$;

CREATE FUNCTION millrace.primary_key(relation oid) RETURNS text[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT ARRAY(SELECT a.attname::text FROM pg_index AS i
    CROSS JOIN LATERAL unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (number, place)
    JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.number
    WHERE i.indrelid = relation AND i.indisprimary ORDER BY k.place)
$$;

-- Refuses what cannot be published, before anything is written.
CREATE FUNCTION millrace.check_publishable(target oid) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  c record;
BEGIN
  SELECT k.*, n.nspname, format('%I.%I', n.nspname, k.relname) AS shown INTO c
  FROM pg_class AS k JOIN pg_namespace AS n ON n.oid = k.relnamespace WHERE k.oid = target;
  IF NOT FOUND THEN
    PERFORM millrace.refuse('relation-missing', 'a table is needed, not NULL');
  ELSIF c.relkind NOT IN ('r', 'p') THEN
    PERFORM millrace.refuse('relation-not-published', format('%s is no table', c.shown));
  ELSIF c.nspname IN ('pg_catalog', 'information_schema', 'pg_toast', 'millrace') THEN
    PERFORM millrace.refuse('relation-catalog', format('%s belongs to a catalog', c.shown));
  ELSIF c.relpersistence = 't' THEN
    PERFORM millrace.refuse('relation-temporary', format('%s is temporary', c.shown));
  ELSIF NOT pg_has_role(c.relowner, 'USAGE') THEN
    PERFORM millrace.refuse('relation-not-yours', format('%s belongs to role %I', c.shown, pg_get_userbyid(c.relowner)));
  ELSIF c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhparent = c.oid) THEN
    PERFORM millrace.refuse('relation-inherited', format('tables inherit from %s', c.shown));
  ELSIF NOT millrace.can_act_as(millrace.daemon_role()::oid, c.relowner) THEN
    PERFORM millrace.refuse('role-not-served', format('the daemon''s role %s cannot act as role %I',
      millrace.daemon_role(), pg_get_userbyid(c.relowner)));
  END IF;
END
$$;

CREATE FUNCTION millrace.check_publish_options(
  envelope text, with_schema boolean, capture text, truncate text, key text[]
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF envelope IS NULL OR envelope NOT IN ('row', 'debezium', 'pg2kafka') THEN
    PERFORM millrace.refuse('envelope-invalid', format('%L is no envelope', left(envelope, 64)));
  ELSIF with_schema IS NULL OR with_schema AND envelope = 'pg2kafka' THEN
    PERFORM millrace.refuse('option-conflict', 'events of pg2kafka have no schema');
  ELSIF envelope = 'pg2kafka' AND cardinality(key) > 1 THEN
    PERFORM millrace.refuse('option-conflict', 'events of pg2kafka have one column as external_id');
  ELSIF capture IS NULL OR capture NOT IN ('auto', 'statement', 'row') THEN
    PERFORM millrace.refuse('capture-invalid', format('%L is no way to capture', left(capture, 64)));
  ELSIF truncate NOT IN ('delete', 'event', 'skip') OR truncate = 'event' AND envelope <> 'debezium' THEN
    PERFORM millrace.refuse('truncate-invalid', format('%L is not what envelope %s can do with TRUNCATE', left(truncate, 64), envelope));
  END IF;
END
$$;

CREATE FUNCTION millrace.check_columns(relation regclass, names text[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  absent text;
BEGIN
  SELECT coalesce(n.name, 'NULL') INTO absent FROM unnest(names) AS n (name)
  WHERE NOT EXISTS (SELECT FROM pg_attribute AS a
    WHERE a.attrelid = relation AND a.attname = n.name AND a.attnum > 0 AND NOT a.attisdropped) LIMIT 1;
  IF FOUND THEN
    PERFORM millrace.refuse('column-missing', format('%s has no column %I', relation, absent));
  ELSIF (SELECT count(DISTINCT n) <> count(*) FROM unnest(names) AS n) THEN
    PERFORM millrace.refuse('columns-invalid', 'a column is named twice');
  END IF;
END
$$;

CREATE FUNCTION millrace.publish(
  relation regclass, topic text DEFAULT '{schema}.{table}', key text[] DEFAULT NULL, columns text[] DEFAULT NULL,
  filter text DEFAULT NULL, envelope text DEFAULT 'row', with_schema boolean DEFAULT false, snapshot boolean DEFAULT true,
  cluster text DEFAULT NULL, capture text DEFAULT 'auto', truncate text DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  p millrace.publication;
  target record;
  needs_rows text;
  sent_columns text[] := columns;
BEGIN
  PERFORM millrace.check_publishable(relation::oid);
  p.truncate := coalesce(truncate, CASE envelope WHEN 'debezium' THEN 'event' ELSE 'delete' END);
  PERFORM millrace.check_publish_options(envelope, with_schema, capture, p.truncate, key);
  SELECT c.oid, c.relowner, n.nspname, c.relname, format('%I.%I', n.nspname, c.relname) AS shown INTO target
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = relation;

  p.cluster := coalesce(cluster, millrace.given_cluster(NULL));
  IF NOT EXISTS (SELECT FROM millrace.cluster AS c WHERE c.name = p.cluster) THEN
    PERFORM millrace.refuse('cluster-missing', format('there is no cluster %L', left(p.cluster, 64)));
  END IF;
  p.topic := millrace.topic_of(coalesce(topic, '{schema}.{table}'), target.nspname, target.relname);
  PERFORM millrace.check_topic(p.topic);
  IF NOT millrace.may_produce(p.cluster, p.topic, target.relowner) THEN
    PERFORM millrace.refuse('topic-not-granted',
      format('topic %s is not granted to role %I for producing', p.topic, pg_get_userbyid(target.relowner)));
  ELSIF EXISTS (SELECT FROM millrace.publication AS o
    WHERE o.relation = publish.relation AND o.cluster = p.cluster AND o.topic = p.topic) THEN
    PERFORM millrace.refuse('already-published', format('%s is published to topic %s already', target.shown, p.topic));
  END IF;

  IF with_schema AND columns IS NULL THEN
    sent_columns := ARRAY(SELECT a.attname::text FROM pg_attribute AS a
      WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum);
  END IF;
  p.key_columns := coalesce(key, millrace.primary_key(relation::oid));
  IF key IS NULL AND p.key_columns = '{}' THEN
    PERFORM millrace.refuse('publish-key-missing', format('%s has no primary key', target.shown));
  ELSIF key IS NULL AND EXISTS (
    SELECT FROM pg_index AS i WHERE i.indrelid = publish.relation AND i.indisprimary AND NOT i.indimmediate)
  THEN
    PERFORM millrace.refuse('publish-key-deferrable',
      format('two rows of %s can have one primary key for a while: it is deferrable', target.shown));
  END IF;
  PERFORM millrace.check_columns(relation, p.key_columns);
  PERFORM millrace.check_columns(relation, sent_columns);
  IF filter IS NOT NULL THEN
    p.filter_columns := millrace.columns_of_filter(relation, filter);
  END IF;

  needs_rows := millrace.needs_row_capture(relation::oid);
  IF capture = 'statement' AND needs_rows IS NOT NULL THEN
    PERFORM millrace.refuse('capture-needs-rows', format('statements would not tell all changes of %s: %s', target.shown, needs_rows));
  END IF;
  INSERT INTO millrace.publication (relation, name, owner, cluster, topic, key_columns, columns, filter, filter_columns,
    column_numbers, envelope, with_schema, truncate, capture)
  VALUES (relation, target.shown, target.relowner::regrole, p.cluster, p.topic, p.key_columns, sent_columns, filter,
    coalesce(p.filter_columns, '{}'),
    coalesce((SELECT jsonb_object_agg(a.attname, a.attnum) FROM pg_attribute AS a WHERE a.attrelid = publish.relation AND a.attnum > 0
      AND a.attname = ANY (p.key_columns || coalesce(sent_columns, '{}') || coalesce(p.filter_columns, '{}'))), '{}'),
    envelope, with_schema, p.truncate, CASE WHEN capture = 'row' OR needs_rows IS NOT NULL THEN 'row' ELSE 'statement' END)
  RETURNING * INTO p;
  PERFORM millrace.make_capture(p.id);
  PERFORM millrace.make_triggers(p, needs_rows IS NOT DISTINCT FROM 'subscribed');
  IF snapshot THEN
    PERFORM millrace.send_snapshot(p);
  END IF;
  RETURN p.id;
END
$$;
COMMENT ON FUNCTION millrace.publish(regclass, text, text[], text[], text, text, boolean, boolean, text, text, text) IS
  'Sends the rows of a table and from then on every change of it to a topic; returns the publication''s number. For the table''s owner.';

-- Ends one publication: what is in the outbox is still sent.
CREATE FUNCTION millrace.drop_publication(publication bigint) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  p millrace.publication;
  made text;
BEGIN
  SELECT o.* INTO p FROM millrace.publication AS o WHERE o.id = publication;
  IF NOT FOUND THEN
    PERFORM millrace.refuse('publication-missing', format('there is no publication %s of yours', coalesce(publication::text, 'NULL')));
  ELSIF NOT pg_has_role(p.owner::oid, 'USAGE') THEN
    PERFORM millrace.refuse('relation-not-yours', format('publication %s belongs to role %s', p.id, p.owner));
  END IF;
  PERFORM millrace.end_snapshot(p.snapshot);
  PERFORM millrace.drop_triggers(p);
  FOR made IN
    SELECT f.oid::regprocedure::text FROM pg_proc AS f
    WHERE f.pronamespace = 'millrace'::regnamespace AND f.proname IN (millrace.capture_name(p.id), millrace.capture_name(p.id) || ' snapshot')
  LOOP
    EXECUTE format('DROP FUNCTION %s', made);
  END LOOP;
  PERFORM millrace.forget_publication(p.id);
END
$$;
COMMENT ON FUNCTION millrace.drop_publication(bigint) IS
  'Ends a publication by its number, also one whose table is gone: its triggers go; what they wrote is still sent.';

CREATE FUNCTION millrace.unpublish(relation regclass, topic text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM millrace.drop_publication(p.id) FROM millrace.publication AS p
  WHERE p.relation = unpublish.relation AND p.topic = coalesce(unpublish.topic, p.topic);
  IF NOT FOUND THEN
    PERFORM millrace.refuse('publication-missing', format('%s is not published%s', coalesce(relation::text, 'NULL'), ' to topic ' || topic));
  END IF;
END
$$;
COMMENT ON FUNCTION millrace.unpublish(regclass, text) IS 'Ends the publications of a table, or the one to a topic.';

-- Anybody may call this: only what has no function any more is forgotten.
CREATE FUNCTION millrace.forget_publication(publication bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  DELETE FROM millrace.publication AS p
  WHERE p.id = publication AND to_regprocedure(format('millrace.%I()', millrace.capture_name(p.id))) IS NULL;
END
$$;

-- A consumer is what somebody wants to flow. The trigger of this table checks every row, so a direct INSERT or
-- UPDATE can do no more than the functions can; what the daemon records cannot be written by others at all.

CREATE TABLE millrace.consumer (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  cluster text NOT NULL DEFAULT 'default' REFERENCES millrace.cluster,
  topic text NOT NULL,
  target_schema text NOT NULL,
  target_name text NOT NULL,
  owner regrole NOT NULL DEFAULT quote_ident(CURRENT_USER::text)::regrole,
  group_id text,
  format text NOT NULL DEFAULT 'text',
  delimiter text,
  quote text,
  escape text,
  encoding text,
  batchsize integer NOT NULL DEFAULT 1000,
  maxbytes integer NOT NULL DEFAULT 32000000,
  parallelism integer NOT NULL DEFAULT 1,
  timeout integer NOT NULL DEFAULT 250,
  on_error text NOT NULL DEFAULT 'stop' CHECK (on_error = 'stop'),
  wanted text NOT NULL DEFAULT 'running' CHECK (wanted IN ('running', 'stopped')),
  version bigint NOT NULL DEFAULT 1,
  start_offset bigint,
  start_pending boolean NOT NULL DEFAULT true,
  located_at timestamptz,
  warning text,
  created_at timestamptz NOT NULL DEFAULT now(),
  changed_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (cluster, topic, target_schema, target_name)
);
COMMENT ON TABLE millrace.consumer IS 'Topics to load into relations, as they are wanted. Read millrace.consumers instead.';
CREATE UNIQUE INDEX consumer_group ON millrace.consumer (cluster, topic, group_id) WHERE group_id IS NOT NULL;

CREATE TABLE millrace.failure (
  consumer_id bigint PRIMARY KEY REFERENCES millrace.consumer ON DELETE CASCADE,
  version bigint NOT NULL,
  code text NOT NULL,
  message text NOT NULL,
  sqlstate text,
  partition integer,
  "offset" bigint,
  failed_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE millrace.failure IS
  'What stopped a consumer; in force while its version is the consumer''s. Written by the daemon.';

CREATE FUNCTION millrace.is_ascii_character(value text) RETURNS boolean
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT length(value) = 1 AND ascii(value) < 128 AND value NOT IN (E'\n', E'\r')
$$;

-- COPY's own rules for one row's options, and this project's.
CREATE FUNCTION millrace.check_options(c millrace.consumer) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;

-- What has to be so while a consumer runs. The rights that count are those of its owner.
CREATE FUNCTION millrace.check_insert(target_schema text, target_name text, owner regrole) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;

CREATE FUNCTION millrace.check_target(target_schema text, target_name text, owner regrole) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;

CREATE FUNCTION millrace.check_consumer() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
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
$$;

CREATE TRIGGER check_consumer BEFORE INSERT OR UPDATE OF cluster, topic, target_schema, target_name, owner, group_id,
  format, delimiter, quote, escape, encoding, batchsize, maxbytes, parallelism, timeout, on_error, wanted, start_offset
  ON millrace.consumer FOR EACH ROW EXECUTE FUNCTION millrace.check_consumer();

-- An explicit start_offset applies once per call that starts the consumer (check_consumer, which comes before this,
-- has raised the version then); without one a consumer that stands somewhere goes on from there.
CREATE FUNCTION millrace.set_start_pending() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF NEW.version <> OLD.version THEN
    NEW.start_pending := NEW.start_offset IS NOT NULL OR NEW.located_at IS NULL;
  END IF;
  RETURN NEW;
END
$$;

CREATE TRIGGER set_start_pending BEFORE UPDATE OF start_offset ON millrace.consumer
  FOR EACH ROW EXECUTE FUNCTION millrace.set_start_pending();

-- Row-level security asks this for every row: the rights of the owner, or an administrator's.
ALTER TABLE millrace.consumer ENABLE ROW LEVEL SECURITY;
ALTER TABLE millrace.failure ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON millrace.consumer
  USING (pg_has_role(owner::oid, 'USAGE') OR (SELECT millrace.is_admin()))
  WITH CHECK (pg_has_role(owner::oid, 'USAGE') OR (SELECT millrace.is_admin()));
CREATE POLICY own ON millrace.failure FOR SELECT USING (consumer_id IN (SELECT id FROM millrace.consumer));

GRANT SELECT ON millrace.consumer, millrace.failure TO PUBLIC;
GRANT INSERT (cluster, topic, target_schema, target_name, group_id, format, delimiter, quote, escape, encoding,
  batchsize, maxbytes, parallelism, timeout, on_error, wanted, start_offset) ON millrace.consumer TO PUBLIC;
GRANT UPDATE (group_id, format, delimiter, quote, escape, encoding,
  batchsize, maxbytes, parallelism, timeout, on_error, wanted, start_offset) ON millrace.consumer TO PUBLIC;

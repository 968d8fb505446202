-- A consumer is what somebody wants to flow. The triggers of this table check every row, so a direct INSERT or
-- UPDATE can do no more than the functions can; what the daemon records cannot be written by others at all.

CREATE TABLE millrace.consumer (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  cluster text NOT NULL DEFAULT 'default' REFERENCES millrace.cluster,
  topic text,
  topic_pattern text,
  parent_id bigint REFERENCES millrace.consumer ON DELETE CASCADE,
  target_schema text NOT NULL,
  target_name text,
  route_by_key boolean NOT NULL DEFAULT false,
  owner regrole NOT NULL DEFAULT quote_ident(CURRENT_USER::text)::regrole,
  group_id text,
  format text NOT NULL DEFAULT 'text',
  delimiter text,
  quote text,
  escape text,
  encoding text,
  json_path text,
  columns text[],
  rest_column text,
  unknown_keys text NOT NULL DEFAULT 'ignore',
  missing_keys text NOT NULL DEFAULT 'default',
  metadata jsonb,
  mode text NOT NULL DEFAULT 'insert',
  key_columns text[],
  tombstone text,
  transform text,
  on_error text NOT NULL DEFAULT 'stop',
  dead_letter_limit bigint NOT NULL DEFAULT 1000000,
  dead_letter_max_age interval,
  on_offset_gap text NOT NULL DEFAULT 'stop',
  batchsize integer NOT NULL DEFAULT 1000,
  maxbytes integer NOT NULL DEFAULT 32000000,
  parallelism integer NOT NULL DEFAULT 1,
  timeout integer NOT NULL DEFAULT 250,
  wanted text NOT NULL DEFAULT 'running' CHECK (wanted IN ('running', 'stopped')),
  version bigint NOT NULL DEFAULT 1,
  start_offset bigint,
  start_time timestamptz,
  start_partitions jsonb,
  start_pending boolean NOT NULL DEFAULT true,
  located_at timestamptz,
  way text,
  way_reason text,
  warning text,
  dead_letters_expired bigint NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL DEFAULT now(),
  changed_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (cluster, topic, target_schema, target_name),
  CHECK ((topic IS NULL) = (topic_pattern IS NOT NULL)),
  CHECK ((target_name IS NULL) = route_by_key)
);
COMMENT ON TABLE millrace.consumer IS 'Topics to load into relations, as they are wanted. Read millrace.consumers instead.';
CREATE UNIQUE INDEX consumer_group ON millrace.consumer (cluster, topic, group_id) WHERE group_id IS NOT NULL;
CREATE UNIQUE INDEX consumer_route ON millrace.consumer (cluster, topic, target_schema)
  WHERE target_name IS NULL AND topic IS NOT NULL;
CREATE UNIQUE INDEX consumer_pattern ON millrace.consumer (cluster, topic_pattern, target_schema, (coalesce(target_name, '')))
  WHERE topic_pattern IS NOT NULL;
CREATE INDEX consumer_parent ON millrace.consumer (parent_id) WHERE parent_id IS NOT NULL;

-- The options: columns that whoever owns a consumer may change. A change is a new version of the consumer.
CREATE FUNCTION millrace.consumer_options() RETURNS text[]
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT ARRAY['group_id', 'format', 'delimiter', 'quote', 'escape', 'encoding', 'json_path', 'columns', 'rest_column',
    'unknown_keys', 'missing_keys', 'metadata', 'mode', 'key_columns', 'tombstone', 'transform', 'on_error',
    'dead_letter_limit', 'dead_letter_max_age', 'on_offset_gap', 'batchsize', 'maxbytes', 'parallelism', 'timeout']
$$;

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

-- Row-level security asks this for every row: the rights of the owner, or an administrator's.
ALTER TABLE millrace.consumer ENABLE ROW LEVEL SECURITY;
ALTER TABLE millrace.failure ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON millrace.consumer
  USING (pg_has_role(owner::oid, 'USAGE') OR (SELECT millrace.is_admin()))
  WITH CHECK (pg_has_role(owner::oid, 'USAGE') OR (SELECT millrace.is_admin()));
CREATE POLICY own ON millrace.failure FOR SELECT USING (consumer_id IN (SELECT id FROM millrace.consumer));

GRANT SELECT ON millrace.consumer, millrace.failure TO PUBLIC;
GRANT INSERT (cluster, topic, topic_pattern, target_schema, target_name, route_by_key,
  group_id, format, delimiter, quote, escape, encoding, json_path, columns, rest_column, unknown_keys, missing_keys, metadata,
  mode, key_columns, tombstone, transform, on_error, dead_letter_limit, dead_letter_max_age, on_offset_gap,
  batchsize, maxbytes, parallelism, timeout, wanted, start_offset, start_time, start_partitions) ON millrace.consumer TO PUBLIC;
GRANT UPDATE (group_id, format, delimiter, quote, escape, encoding, json_path, columns, rest_column, unknown_keys, missing_keys,
  metadata, mode, key_columns, tombstone, transform, on_error, dead_letter_limit, dead_letter_max_age, on_offset_gap,
  batchsize, maxbytes, parallelism, timeout, wanted, start_offset, start_time, start_partitions) ON millrace.consumer TO PUBLIC;

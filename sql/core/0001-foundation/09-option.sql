-- What the options of a consumer may be, each by itself and together, whatever the relation is.

CREATE FUNCTION millrace.is_ascii_character(value text) RETURNS boolean
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT length(value) = 1 AND ascii(value) < 128 AND value NOT IN (E'\n', E'\r')
$$;

-- A regular expression over the whole name of a topic; NULL when it is none. Back references may take for ever.
CREATE FUNCTION millrace.topic_expression(pattern text) RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF pattern = '' OR length(pattern) > 1000 OR pattern ~ '\\[0-9]' THEN
    RETURN NULL;
  END IF;
  PERFORM '' ~ pattern, '' ~ ('^(?:' || pattern || ')$');
  RETURN '^(?:' || pattern || ')$';
EXCEPTION WHEN invalid_regular_expression THEN
  RETURN NULL;
END
$$;

-- The column definitions of a transform's batch: a name, as SQL writes it, and a type whose input runs no code of users.
-- type is NULL where that is not so. Types of users are written with their schema.
CREATE FUNCTION millrace.column_definitions(columns text[]) RETURNS TABLE (name text, type text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  definition text;
  parts text[];
  identifiers text[];
  modifiers text;
  found_type regtype;
BEGIN
  FOREACH definition IN ARRAY coalesce(columns, '{}') LOOP
    name := NULL;
    type := NULL;
    parts := regexp_match(definition, '^\s*("(?:[^"]|"")+"|[^\s"(),;]+)\s+(\S.*?)\s*$');
    IF parts IS NOT NULL AND parts[2] !~ '--|/\*|[;\x01-\x1f]' THEN
      BEGIN
        identifiers := parse_ident(parts[1]);
        found_type := to_regtype(parts[2]);
      EXCEPTION WHEN OTHERS THEN
        identifiers := NULL;
        found_type := NULL;
      END;
      IF cardinality(identifiers) = 1
        AND (found_type = 'text'::regtype OR millrace.staging_type(found_type, -1) <> 'text')
      THEN
        name := identifiers[1];
        modifiers := substring(parts[2] FROM '\([^()]*\)');
        type := parts[2];
        IF modifiers IS NULL THEN
          type := format_type(found_type, -1);
        END IF;
      END IF;
    END IF;
    RETURN NEXT;
  END LOOP;
END
$$;

-- A type for a column of a staging table, into which the daemon copies: what reads its text form must be no code of users.
-- Domains have checks, and so may what is inside composite types; as text they are converted where their owner's code may run.
CREATE FUNCTION millrace.staging_type(type oid, typmod integer) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  base oid := type;
  modifier integer := typmod;
  found_type record;
BEGIN
  LOOP
    SELECT t.typtype, t.typbasetype, t.typtypmod INTO found_type FROM pg_type AS t WHERE t.oid = base;
    EXIT WHEN found_type.typtype IS DISTINCT FROM 'd';
    modifier := greatest(modifier, found_type.typtypmod);
    base := found_type.typbasetype;
  END LOOP;
  IF found_type.typtype IS NULL OR found_type.typtype = 'p' OR EXISTS (
    SELECT FROM pg_type AS t WHERE t.oid IN (SELECT millrace.contained_types(ARRAY[base])) AND t.oid >= 16384 AND t.typtype IN ('d', 'c'))
  THEN
    RETURN 'text';
  END IF;
  RETURN format_type(base, modifier);
END
$$;

-- $, or a name; then names, each after a dot or quoted in brackets; [*] at most at the end. In a name without quotes
-- no ASCII character but letters, digits, _, - and $. As src/formats/json-path.ts reads it.
CREATE FUNCTION millrace.is_json_path(path text) RETURNS boolean
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT path ~ concat('^\s*(\$|', letter, other, '*)(\.', other, '+|\.?\[\s*(''([^''\\]|\\.)*''|"([^"\\]|\\.)*")\s*\])*(\.?\[\s*\*\s*\]|\s*)$')
  FROM (VALUES ('[^\x01-\x2c\x2e\x2f\x3a-\x40\x5b-\x5e\x60\x7b-\x7f]', '[^\x01-\x23\x25-\x2c\x2e\x2f\x3a-\x40\x5b-\x5e\x60\x7b-\x7f]'))
    AS name (letter, other)
$$;

-- As it is stored: json has none, and \t means the tab.
CREATE FUNCTION millrace.delimiter_of(c millrace.consumer) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE WHEN c.format = 'json' THEN NULL WHEN c.delimiter = '\t' THEN E'\t' ELSE c.delimiter END
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
  -- The groups that consumers are in by themselves are called millrace.<installation>.<consumer>.
  IF c.group_id IS NOT NULL AND (c.group_id !~ '^.{1,255}$' OR c.group_id ~ '[\x01-\x1f\x7f]' OR c.group_id ~ '^millrace\.') THEN
    PERFORM millrace.refuse('group-invalid', format('%L cannot be the consumer group', left(c.group_id, 64)));
  END IF;
  PERFORM millrace.check_start(c);
  PERFORM millrace.check_failing(c);
  PERFORM millrace.check_rows(c);
  PERFORM millrace.check_together(c);
END
$$;

-- Where reading starts: one of an offset, a time, and offsets for single partitions.
CREATE FUNCTION millrace.check_start(c millrace.consumer) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF c.start_offset < -2 THEN
    PERFORM millrace.refuse('start-offset-invalid', format('start_offset cannot be %s', c.start_offset));
  END IF;
  IF NOT isfinite(c.start_time) THEN
    PERFORM millrace.refuse('start-offset-invalid', format('start_time cannot be %s', c.start_time));
  END IF;
  -- start_partitions with one of them: where these partitions start, and where the others do.
  IF num_nonnulls(c.start_offset, c.start_time) > 1 THEN
    PERFORM millrace.refuse('start-offset-invalid', 'start_offset and start_time exclude each other');
  END IF;
  IF c.start_partitions IS NOT NULL AND (jsonb_typeof(c.start_partitions) <> 'object' OR c.start_partitions = '{}' OR EXISTS (
    SELECT FROM jsonb_each(CASE jsonb_typeof(c.start_partitions) WHEN 'object' THEN c.start_partitions ELSE '{}' END) AS p
    WHERE p.key !~ '^(0|[1-9][0-9]{0,8})$' OR jsonb_typeof(p.value) <> 'number' OR p.value::text !~ '^(-[12]|[0-9]{1,18})$'))
  THEN
    PERFORM millrace.refuse('start-offset-invalid',
      format('start_partitions cannot be %s', left(c.start_partitions::text, 100)));
  END IF;
END
$$;

-- What happens to messages that cannot be loaded or are not there.
CREATE FUNCTION millrace.check_failing(c millrace.consumer) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF c.on_error IS NULL OR c.on_error NOT IN ('stop', 'dead_letter', 'skip') THEN
    PERFORM millrace.refuse('on-error-invalid', format('on_error cannot be %L', left(c.on_error, 64)));
  END IF;
  IF c.on_offset_gap IS NULL OR c.on_offset_gap NOT IN ('stop', 'earliest') THEN
    PERFORM millrace.refuse('offset-gap-invalid', format('on_offset_gap cannot be %L', left(c.on_offset_gap, 64)));
  END IF;
  IF NOT coalesce(c.dead_letter_limit, 0) >= 1 THEN
    PERFORM millrace.refuse('dead-letter-limit-invalid', format('dead_letter_limit cannot be %L', c.dead_letter_limit));
  END IF;
  IF c.dead_letter_max_age <= interval '0' THEN
    PERFORM millrace.refuse('dead-letter-limit-invalid', format('dead_letter_max_age cannot be %L', c.dead_letter_max_age));
  END IF;
END
$$;

-- What rows are made of.
CREATE FUNCTION millrace.check_rows(c millrace.consumer) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF c.mode IS NULL OR c.mode NOT IN ('insert', 'upsert', 'changes') THEN
    PERFORM millrace.refuse('mode-invalid', format('mode cannot be %L', left(c.mode, 64)));
  END IF;
  IF c.tombstone NOT IN ('skip', 'row', 'delete') THEN
    PERFORM millrace.refuse('tombstone-invalid', format('tombstone cannot be %L', left(c.tombstone, 64)));
  END IF;
  IF c.unknown_keys IS NULL OR c.unknown_keys NOT IN ('ignore', 'error') THEN
    PERFORM millrace.refuse('unknown-keys-invalid', format('unknown_keys cannot be %L', left(c.unknown_keys, 64)));
  END IF;
  IF c.missing_keys IS NULL OR c.missing_keys NOT IN ('default', 'error') THEN
    PERFORM millrace.refuse('missing-keys-invalid', format('missing_keys cannot be %L', left(c.missing_keys, 64)));
  END IF;
  IF NOT millrace.is_json_path(c.json_path) THEN
    PERFORM millrace.refuse('json-path-invalid', format('json_path cannot be %L', left(c.json_path, 100)));
  END IF;
  IF c.metadata IS NOT NULL AND (jsonb_typeof(c.metadata) <> 'object' OR EXISTS (
    SELECT FROM jsonb_each(CASE jsonb_typeof(c.metadata) WHEN 'object' THEN c.metadata ELSE '{}' END) AS m
    WHERE m.key NOT IN ('key', 'topic', 'partition', 'offset', 'timestamp', 'headers')
      OR jsonb_typeof(m.value) <> 'string' OR m.value = '""'
    ) OR (SELECT count(*) <> count(DISTINCT m.value)
          FROM jsonb_each(CASE jsonb_typeof(c.metadata) WHEN 'object' THEN c.metadata ELSE '{}' END) AS m))
  THEN
    PERFORM millrace.refuse('metadata-invalid', format('metadata cannot be %s', left(c.metadata::text, 200)));
  END IF;
  IF c.columns IS NOT NULL AND (cardinality(c.columns) = 0 OR array_ndims(c.columns) > 1 OR '' = ANY (c.columns)
    OR array_position(c.columns, NULL) IS NOT NULL)
  THEN
    PERFORM millrace.refuse('columns-invalid', 'columns needs at least one name, and each has to have a character');
  END IF;
  IF c.key_columns IS NOT NULL AND (cardinality(c.key_columns) = 0 OR array_ndims(c.key_columns) > 1
    OR array_position(c.key_columns, NULL) IS NOT NULL
    OR (SELECT count(*) <> count(DISTINCT k) FROM unnest(c.key_columns) AS k))
  THEN
    PERFORM millrace.refuse('columns-invalid', 'key_columns needs at least one name, and each of them once');
  END IF;
  IF c.transform !~* '^\s*(select|with|values|table|\()' THEN
    PERFORM millrace.refuse('transform-invalid', 'the transform does not begin with SELECT, WITH, VALUES or TABLE');
  END IF;
END
$$;

-- Options that say something different about the same thing, or nothing at all.
CREATE FUNCTION millrace.check_together(c millrace.consumer) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  problem text;
BEGIN
  problem := CASE
    WHEN c.format <> 'json' AND c.mode = 'changes' THEN 'mode changes needs format json'
    WHEN c.format <> 'json' AND c.json_path IS NOT NULL THEN 'json_path needs format json'
    WHEN c.format <> 'json' AND c.rest_column IS NOT NULL THEN 'rest_column needs format json'
    WHEN c.format <> 'json' AND c.unknown_keys <> 'ignore' THEN 'unknown_keys needs format json'
    WHEN c.format <> 'json' AND c.missing_keys <> 'default' THEN 'missing_keys needs format json'
    WHEN c.mode = 'changes' AND c.json_path IS NOT NULL THEN 'json_path and mode changes exclude each other'
    WHEN c.mode = 'insert' AND c.key_columns IS NOT NULL THEN 'key_columns needs mode upsert or changes'
    WHEN c.mode = 'insert' AND c.tombstone = 'delete' THEN 'tombstone delete needs mode upsert or changes'
    WHEN c.mode <> 'insert' AND c.tombstone = 'row' THEN 'tombstone row needs mode insert'
    WHEN c.transform IS NOT NULL AND c.mode <> 'insert' THEN 'a transform needs mode insert: it has its own ON CONFLICT'
    WHEN c.transform IS NOT NULL AND c.route_by_key THEN 'a transform and route_by_key exclude each other'
    WHEN c.unknown_keys = 'error' AND c.rest_column IS NOT NULL THEN
      'unknown_keys error and rest_column exclude each other: no key is unknown that rest_column takes'
  END;
  IF problem IS NOT NULL THEN
    PERFORM millrace.refuse('option-conflict', problem);
  END IF;
END
$$;

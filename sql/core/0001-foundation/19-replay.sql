-- To load dead letters again, and to try a load without keeping it. Both are done by the daemon, which sees a request only when it
-- is committed: functions ask; procedures ask, commit and wait, where they may.

CREATE FUNCTION millrace.request_replay(consumer bigint, ids bigint[], "where" text, OUT asked bigint, OUT request bigint)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  chosen bigint[];
BEGIN
  IF consumer IS NOT NULL AND NOT EXISTS (SELECT FROM millrace.visible_consumer AS c WHERE c.id = consumer) THEN
    PERFORM millrace.refuse('consumer-missing', format('there is no consumer %s', consumer));
  END IF;
  -- Evaluated with the rights of whoever calls, over what it may see. What an unfinished request wants already is left to that.
  BEGIN
    EXECUTE format('SELECT coalesce(array_agg(d.id), ''{}'') FROM millrace.dead_letters AS d WHERE ($1 IS NULL OR d.consumer_id = $1)
      AND ($2 IS NULL OR d.id = ANY ($2)) AND (%s
      ) AND NOT EXISTS (SELECT FROM millrace.request AS r WHERE r.id = d.replay_id AND r.state IN (''pending'', ''running''))',
      coalesce("where", 'true')) INTO chosen USING consumer, ids;
  EXCEPTION WHEN syntax_error_or_access_rule_violation OR data_exception OR cardinality_violation OR feature_not_supported
    OR invalid_schema_name OR invalid_catalog_name OR program_limit_exceeded OR plpgsql_error OR external_routine_exception THEN
    PERFORM millrace.refuse('where-invalid', format('the condition cannot be used: %s', SQLERRM));
  END;
  asked := cardinality(chosen);
  IF asked > 0 THEN
    INSERT INTO millrace.request (kind, consumer_id, arguments, asked_count)
    VALUES ('replay', consumer, jsonb_strip_nulls(jsonb_build_object('where', "where")), asked) RETURNING id INTO request;
    UPDATE millrace.dead_letter SET replay_id = request WHERE id = ANY (chosen);
    PERFORM millrace.warn_without_daemon();
  END IF;
END
$$;
CREATE FUNCTION millrace.ask_replay(consumer bigint DEFAULT NULL, ids bigint[] DEFAULT NULL, "where" text DEFAULT NULL) RETURNS bigint
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT asked FROM millrace.request_replay(consumer, ids, "where")
$$;
COMMENT ON FUNCTION millrace.ask_replay(bigint, bigint[], text) IS
  'Asks for dead letters to be loaded again: all, those of a consumer, by number, by a condition; returns how many were asked for.';

CREATE FUNCTION millrace.ask_try(target regclass, "into" text, cluster text, options jsonb) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
  relation record;
  request bigint;
BEGIN
  SELECT * INTO relation FROM millrace.check_relation(target, "into");
  INSERT INTO millrace.request (kind, arguments) VALUES ('try', options || jsonb_build_object(
    'cluster', millrace.given_cluster(cluster), 'target_schema', relation.target_schema, 'target_name', relation.target_name,
    'route_by_key', false, 'format', lower(options ->> 'format'), 'dead_letter_limit', 1, 'on_offset_gap', 'stop'))
  RETURNING id INTO request;
  PERFORM millrace.warn_without_daemon();
  RETURN request;
END
$$;

-- The words with which COMMIT is refused where no COMMIT is possible at all, as in every function. Those of a procedure that
-- may commit differ, because its handler, too, keeps it from that.
CREATE FUNCTION millrace.commit_refusal() RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  BEGIN
    COMMIT;
  EXCEPTION WHEN invalid_transaction_termination THEN
    RETURN SQLERRM;
  END;
  RETURN NULL;
END
$$;

-- A daemon that was there may be away for as long as its restart takes.
CREATE FUNCTION millrace.request_progress(request bigint, OUT open boolean, OUT shown text, OUT daemon boolean)
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT r.state IN ('pending', 'running'), format('%s of %s, %s failed', r.done_count + r.failed_count, r.asked_count, r.failed_count),
    millrace.daemon_connected()
  FROM millrace.request AS r WHERE r.id = request
$$;

CREATE FUNCTION millrace.notice_waiting(request bigint) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RAISE NOTICE 'the outcome of request % cannot be waited for inside a transaction block', request USING
    DETAIL = 'code: request-waiting',
    HINT = 'The daemon sees it after COMMIT: SELECT state, done_count, failed_count, result FROM millrace.request WHERE id = ' || request;
END
$$;

CREATE FUNCTION millrace.check_outcome(request bigint) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  found_request record;
BEGIN
  SELECT * INTO found_request FROM millrace.request AS r WHERE r.id = request;
  IF found_request.state = 'failed' THEN
    PERFORM millrace.refuse('request-failed',
      format('request %s failed: %s: %s', request, found_request.error_code, found_request.error_message));
  END IF;
END
$$;

CREATE FUNCTION millrace.try_outcome(request bigint, OUT loaded bigint, OUT failed bigint, OUT reasons jsonb)
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT (r.result ->> 'loaded')::bigint, (r.result ->> 'failed')::bigint, r.result -> 'reasons' FROM millrace.request AS r WHERE r.id = request
$$;

CREATE FUNCTION millrace.replay_outcome(request bigint, OUT loaded bigint, OUT failed bigint)
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT r.done_count, r.failed_count FROM millrace.request AS r WHERE r.id = request
$$;

-- Procedures that commit cannot pin a search_path: everything in them is qualified, no operator is used but with its schema.

-- Commits, and waits for the outcome of a request, telling how far it is. Not possible: says so and leaves it.
CREATE PROCEDURE millrace.await(request bigint, INOUT finished boolean DEFAULT NULL)
LANGUAGE plpgsql
AS $$
DECLARE
  progress pg_catalog.record;
  told pg_catalog.text;
  patience pg_catalog.int4 := 100;
BEGIN
  BEGIN
    COMMIT;
  EXCEPTION WHEN invalid_transaction_termination THEN
    finished := SQLERRM OPERATOR(pg_catalog.<>) millrace.commit_refusal();
  END;
  IF NOT finished THEN
    PERFORM millrace.notice_waiting(request);
    RETURN;
  END IF;
  finished := false;
  COMMIT;
  LOOP
    SELECT * INTO progress FROM millrace.request_progress(request);
    finished := NOT progress.open;
    EXIT WHEN finished;
    IF progress.shown OPERATOR(pg_catalog.<>) COALESCE(told, '') THEN
      told := progress.shown;
      RAISE NOTICE '%', told;
    END IF;
    patience := CASE WHEN progress.daemon THEN 100 ELSE patience OPERATOR(pg_catalog.-) 1 END;
    EXIT WHEN patience OPERATOR(pg_catalog.<) 0;
    COMMIT;
    PERFORM pg_catalog.pg_sleep(0.1);
  END LOOP;
  IF finished THEN
    PERFORM millrace.check_outcome(request);
  ELSE
    PERFORM millrace.warn_without_daemon();
  END IF;
END
$$;
COMMENT ON PROCEDURE millrace.await(bigint, boolean) IS 'Waits for the outcome of a request; finished: whether there is one.';

CREATE PROCEDURE millrace.replay(
  consumer bigint DEFAULT NULL, ids bigint[] DEFAULT NULL, "where" text DEFAULT NULL,
  INOUT asked bigint DEFAULT NULL, INOUT loaded bigint DEFAULT NULL, INOUT failed bigint DEFAULT NULL, INOUT request bigint DEFAULT NULL
)
LANGUAGE plpgsql
AS $$
DECLARE
  finished pg_catalog.bool;
BEGIN
  SELECT a.asked, a.request INTO asked, request FROM millrace.request_replay(consumer, ids, "where") AS a;
  loaded := NULL;
  failed := NULL;
  IF request IS NOT NULL THEN
    CALL millrace.await(request, finished);
    IF finished THEN
      SELECT o.loaded, o.failed INTO loaded, failed FROM millrace.replay_outcome(request) AS o;
    END IF;
  END IF;
END
$$;
COMMENT ON PROCEDURE millrace.replay(bigint, bigint[], text, bigint, bigint, bigint, bigint) IS
  'Loads dead letters again, each deleted in the transaction that loads it, and waits until it is done.';

CREATE PROCEDURE millrace.try(
  topic text, "into" text, messages integer DEFAULT 100,
  format text DEFAULT 'json', delimiter text DEFAULT NULL, quote text DEFAULT NULL, escape text DEFAULT NULL,
  encoding text DEFAULT NULL, json_path text DEFAULT NULL, columns text[] DEFAULT NULL,
  rest_column text DEFAULT NULL, unknown_keys text DEFAULT 'ignore', missing_keys text DEFAULT 'default',
  metadata jsonb DEFAULT NULL, mode text DEFAULT 'insert', key_columns text[] DEFAULT NULL,
  tombstone text DEFAULT NULL, transform text DEFAULT NULL, on_error text DEFAULT 'stop',
  cluster text DEFAULT NULL,
  INOUT loaded bigint DEFAULT NULL, INOUT failed bigint DEFAULT NULL, INOUT reasons jsonb DEFAULT NULL, INOUT request bigint DEFAULT NULL
)
LANGUAGE plpgsql
AS $$
DECLARE
  finished pg_catalog.bool;
BEGIN
  request := millrace.ask_try(millrace.relation("into"), "into", cluster, pg_catalog.jsonb_build_object(
    'topic', topic, 'messages', messages, 'format', format, 'delimiter', delimiter, 'quote', quote,
    'escape', escape, 'encoding', encoding, 'json_path', json_path, 'columns', columns, 'rest_column', rest_column,
    'unknown_keys', unknown_keys, 'missing_keys', missing_keys, 'metadata', metadata, 'mode', mode,
    'key_columns', key_columns, 'tombstone', tombstone, 'transform', transform, 'on_error', on_error,
    'batchsize', 1000, 'maxbytes', 32000000, 'parallelism', 1, 'timeout', 250));
  loaded := NULL;
  failed := NULL;
  reasons := NULL;
  CALL millrace.await(request, finished);
  IF finished THEN
    SELECT o.loaded, o.failed, o.reasons INTO loaded, failed, reasons FROM millrace.try_outcome(request) AS o;
  END IF;
END
$$;
COMMENT ON PROCEDURE millrace.try(text, text, integer, text, text, text, text, text, text, text[], text, text, text, jsonb, text, text[], text, text, text, text, bigint, bigint, jsonb, bigint) IS
  'Loads the last messages of a topic into a relation, takes that back, and reports what would have failed and why.';

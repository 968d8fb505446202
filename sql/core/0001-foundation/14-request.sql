-- What only the daemon can do and somebody waits for: to load dead letters again, to try a load and take it back. A request
-- is a row; the daemon writes into it how far it is and what came of it.

CREATE TABLE millrace.request (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind text NOT NULL,
  owner regrole NOT NULL,
  consumer_id bigint,
  arguments jsonb NOT NULL DEFAULT '{}',
  state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'running', 'done', 'failed')),
  asked_count bigint NOT NULL DEFAULT 0,
  done_count bigint NOT NULL DEFAULT 0,
  failed_count bigint NOT NULL DEFAULT 0,
  result jsonb,
  error_code text,
  error_message text,
  daemon uuid,
  backend_pid integer,
  backend_started timestamptz,
  asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  started_at timestamptz,
  finished_at timestamptz
);
COMMENT ON TABLE millrace.request IS 'What was asked of the daemon, how far it is, and what came of it.';
CREATE INDEX request_open ON millrace.request (id) WHERE state IN ('pending', 'running');

-- A try is checked as a consumer is that begins: its arguments become a whole row of millrace.consumer, of the role that asks.
CREATE FUNCTION millrace.try_arguments(arguments jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  wanted millrace.consumer;
  messages bigint;
BEGIN
  wanted := jsonb_populate_record(NULL::millrace.consumer, arguments - 'messages');
  wanted.id := 0;
  wanted.version := 0;
  wanted.owner := (SELECT oid FROM pg_roles WHERE rolname = current_user);
  wanted.wanted := 'running';
  wanted.group_id := NULL;
  wanted.parent_id := NULL;
  wanted.delimiter := CASE WHEN wanted.format = 'json' THEN NULL WHEN wanted.delimiter = '\t' THEN E'\t' ELSE wanted.delimiter END;
  IF wanted.topic_pattern IS NOT NULL OR coalesce(wanted.route_by_key, true) OR wanted.target_name IS NULL THEN
    PERFORM millrace.refuse('option-conflict', 'a try takes one topic and one relation');
  END IF;
  IF jsonb_typeof(arguments -> 'messages') <> 'number' OR arguments ->> 'messages' !~ '^[1-9][0-9]{0,4}$' THEN
    PERFORM millrace.refuse('messages-invalid', format('messages cannot be %s', left(arguments ->> 'messages', 20)));
  END IF;
  messages := (arguments ->> 'messages')::bigint;
  IF messages IS NULL THEN
    PERFORM millrace.refuse('messages-invalid', 'messages cannot be NULL');
  END IF;
  PERFORM millrace.check_topic(wanted.topic);
  PERFORM millrace.check_options(wanted);
  SELECT w.way, w.reason INTO wanted.way, wanted.way_reason FROM millrace.check_wanted(wanted) AS w;
  RETURN to_jsonb(wanted) || jsonb_build_object('messages', messages);
END
$$;

CREATE FUNCTION millrace.check_request() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  NEW.owner := (SELECT oid FROM pg_roles WHERE rolname = current_user);
  IF NEW.kind = 'try' AND NEW.consumer_id IS NULL AND jsonb_typeof(NEW.arguments) = 'object' THEN
    NEW.arguments := millrace.try_arguments(NEW.arguments);
    NEW.asked_count := (NEW.arguments ->> 'messages')::bigint;
  ELSIF NEW.kind = 'replay' AND jsonb_typeof(NEW.arguments) = 'object' AND NEW.asked_count >= 0 THEN
    IF NEW.consumer_id IS NOT NULL AND NOT EXISTS (SELECT FROM millrace.visible_consumer AS c WHERE c.id = NEW.consumer_id) THEN
      PERFORM millrace.refuse('consumer-missing', format('there is no consumer %s', NEW.consumer_id));
    END IF;
  ELSE
    PERFORM millrace.refuse('request-invalid', format('%L is no request, or its arguments are no object', left(NEW.kind, 64)));
  END IF;
  RETURN NEW;
END
$$;

CREATE TRIGGER check_request BEFORE INSERT ON millrace.request
  FOR EACH ROW EXECUTE FUNCTION millrace.check_request();
CREATE TRIGGER notify_daemon AFTER INSERT ON millrace.request
  FOR EACH STATEMENT EXECUTE FUNCTION millrace.notify_daemon();

ALTER TABLE millrace.request ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON millrace.request
  USING (pg_has_role(owner::oid, 'USAGE') OR (SELECT millrace.is_admin())) WITH CHECK (pg_has_role(owner::oid, 'USAGE'));
GRANT SELECT, INSERT (kind, consumer_id, arguments, asked_count) ON millrace.request TO PUBLIC;

CREATE POLICY replay ON millrace.dead_letter FOR UPDATE USING (consumer_id IN (SELECT id FROM millrace.consumer))
  WITH CHECK (replay_id IN (SELECT r.id FROM millrace.request AS r WHERE r.kind = 'replay' AND r.state = 'pending'));

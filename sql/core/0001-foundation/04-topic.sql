-- An ordinary role consumes and produces only the topics that an administrator granted to it for that.

CREATE FUNCTION millrace.check_topic(topic text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF topic IS NULL THEN
    PERFORM millrace.refuse('topic-invalid', 'a topic is needed, not NULL');
  -- Without {1,249}, which is a large automaton.
  ELSIF topic ~ '[^a-zA-Z0-9._-]' OR length(topic) NOT BETWEEN 1 AND 249 OR topic IN ('.', '..') THEN
    PERFORM millrace.refuse('topic-invalid', format('%L is no name of a Kafka topic', left(topic, 249)));
  END IF;
END
$$;

CREATE TABLE millrace.topic_grant (
  cluster text NOT NULL DEFAULT 'default' REFERENCES millrace.cluster,
  topic text NOT NULL,
  grantee regrole NOT NULL,
  action text NOT NULL DEFAULT 'consume',
  PRIMARY KEY (cluster, topic, grantee, action)
);
COMMENT ON TABLE millrace.topic_grant IS
  'Which roles may consume or produce a topic; grantee 0 is every role, topic * every topic.';

CREATE FUNCTION millrace.may_use(cluster text, topic text, action text, role oid) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT millrace.is_admin(role) OR EXISTS (
    SELECT FROM millrace.topic_grant AS g
    WHERE g.cluster = may_use.cluster AND g.topic IN (may_use.topic, '*') AND g.action = may_use.action
      AND (g.grantee::oid = 0 OR pg_has_role(role, g.grantee::oid, 'USAGE')))
$$;

CREATE FUNCTION millrace.may_consume(cluster text, topic text, role oid) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT millrace.may_use(cluster, topic, 'consume', role)
$$;

CREATE FUNCTION millrace.may_consume(cluster text, topic text) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT millrace.may_consume(cluster, topic, (SELECT oid FROM pg_roles WHERE rolname = current_user))
$$;
COMMENT ON FUNCTION millrace.may_consume(text, text) IS 'Whether the current role may consume the topic of the cluster.';

-- Asked for every message that an ordinary role produces, so it is a language that keeps its plans.
CREATE FUNCTION millrace.may_produce(cluster text, topic text) RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN EXISTS (
    SELECT FROM millrace.topic_grant AS g
    WHERE g.cluster = may_produce.cluster AND g.topic IN (may_produce.topic, '*') AND g.action = 'produce'
      AND (g.grantee::oid = 0 OR pg_has_role(g.grantee::oid, 'USAGE'))
  ) OR millrace.is_admin();
END
$$;
COMMENT ON FUNCTION millrace.may_produce(text, text) IS 'Whether the current role may produce to the topic of the cluster.';

CREATE FUNCTION millrace.may_produce(cluster text, topic text, role oid) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT millrace.may_use(cluster, topic, 'produce', role)
$$;

CREATE FUNCTION millrace.check_action(action text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF action IS NULL OR action NOT IN ('consume', 'produce') THEN
    PERFORM millrace.refuse('action-invalid', format('%L is nothing that can be done with a topic', left(action, 64)));
  END IF;
END
$$;

CREATE FUNCTION millrace.check_topic_grant() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF NOT millrace.is_admin() THEN
    PERFORM millrace.refuse('admin-required', format('role %I may not grant topics', current_user));
  END IF;
  IF NEW.topic IS DISTINCT FROM '*' THEN
    PERFORM millrace.check_topic(NEW.topic);
  END IF;
  PERFORM millrace.check_action(NEW.action);
  IF NOT EXISTS (SELECT FROM millrace.cluster WHERE name = NEW.cluster) THEN
    PERFORM millrace.refuse('cluster-missing', format('there is no cluster %L', NEW.cluster));
  END IF;
  RETURN NEW;
END
$$;

CREATE TRIGGER check_topic_grant BEFORE INSERT OR UPDATE ON millrace.topic_grant
  FOR EACH ROW EXECUTE FUNCTION millrace.check_topic_grant();

-- 0 for public; the name is compared exactly, without folding.
CREATE FUNCTION millrace.grantee(role text) RETURNS regrole
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  found_role oid;
BEGIN
  IF role = 'public' THEN
    RETURN 0::oid::regrole;
  END IF;
  SELECT oid INTO found_role FROM pg_roles WHERE rolname = role;
  IF found_role IS NULL THEN
    PERFORM millrace.refuse('role-missing', format('role %L does not exist', role));
  END IF;
  RETURN found_role::regrole;
END
$$;

CREATE FUNCTION millrace.grant_topic(
  topic text, role text, cluster text DEFAULT 'default', action text DEFAULT 'consume'
) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
  INSERT INTO millrace.topic_grant (cluster, topic, grantee, action)
  VALUES (grant_topic.cluster, grant_topic.topic, millrace.grantee(grant_topic.role), grant_topic.action)
  ON CONFLICT DO NOTHING
$$;
COMMENT ON FUNCTION millrace.grant_topic(text, text, text, text) IS
  'Lets a role (or public) consume or produce a topic (or * for all). For administrators.';

CREATE FUNCTION millrace.revoke_topic(
  topic text, role text, cluster text DEFAULT 'default', action text DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF NOT millrace.is_admin() THEN
    PERFORM millrace.refuse('admin-required', format('role %I may not revoke topics', current_user));
  END IF;
  IF action IS NOT NULL THEN
    PERFORM millrace.check_action(action);
  END IF;
  DELETE FROM millrace.topic_grant AS g
  WHERE g.cluster = revoke_topic.cluster AND g.topic = revoke_topic.topic
    AND g.grantee = millrace.grantee(revoke_topic.role) AND g.action = coalesce(revoke_topic.action, g.action);
END
$$;
COMMENT ON FUNCTION millrace.revoke_topic(text, text, text, text) IS
  'Takes grants back, of one action or of all; consumers that run go on until they are stopped. For administrators.';

ALTER TABLE millrace.topic_grant ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON millrace.topic_grant FOR SELECT
  USING (grantee::oid = 0 OR pg_has_role(grantee::oid, 'USAGE'));
CREATE POLICY administer ON millrace.topic_grant
  USING ((SELECT millrace.is_admin())) WITH CHECK ((SELECT millrace.is_admin()));
GRANT SELECT, INSERT ON millrace.topic_grant TO PUBLIC;

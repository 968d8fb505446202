-- LOCK TABLE takes a right to the whole table, and more than SELECT and INSERT allow locks that hold up the daemon.
-- So PUBLIC has no more than those two, and UPDATE on columns; only administrators can delete.
CREATE FUNCTION millrace.grant_admin() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  GRANT DELETE ON millrace.cluster, millrace.broker, millrace.topic_grant, millrace.outbox_dead_letter TO millrace_admin;
  GRANT SELECT ON millrace.outbox_dead_letter TO millrace_admin;
END
$$;
COMMENT ON FUNCTION millrace.grant_admin() IS
  'Gives role millrace_admin its rights, where it was made after the installation. For the role that owns the schema.';

DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'millrace_admin') THEN
    PERFORM millrace.grant_admin();
  END IF;
END
$$;

-- Functions run as whoever calls them and can do what that role can do, so calling is open to everybody; said
-- here because ALTER DEFAULT PRIVILEGES may have taken it away.
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA millrace TO PUBLIC;
-- It runs as the role that owns the schema, for the trigger that is here, and for no other.
REVOKE ALL ON FUNCTION millrace.begin_cluster() FROM PUBLIC;

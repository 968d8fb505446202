-- Who is who: the owner of this schema is the role the daemon works as, and nothing here needs a superuser.
-- Every other role meets these objects through grants, row-level security and the triggers of the tables.

CREATE SCHEMA millrace;
COMMENT ON SCHEMA millrace IS 'Millrace: what should flow between Kafka and this database. Its owner is the role of the daemon.';

CREATE TABLE millrace.migration (
  version integer PRIMARY KEY,
  name text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE millrace.migration IS 'Steps of this schema that have been applied.';

-- One row: what this database was when that was last recorded, at its installation, by a daemon, or by adopt().
CREATE TABLE millrace.installation (
  singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  id uuid NOT NULL DEFAULT gen_random_uuid(),
  system_identifier text,
  timeline integer,
  database text,
  database_oid oid,
  installed_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE millrace.installation IS 'What this database is, so that a clone or a restored copy of it is noticed.';
INSERT INTO millrace.installation DEFAULT VALUES;

CREATE TABLE millrace.identity_history (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  reason text NOT NULL CHECK (reason IN ('installed', 'found', 'moved', 'clone')),
  installation_id uuid NOT NULL,
  system_identifier text,
  timeline integer,
  database text,
  database_oid oid
);
COMMENT ON TABLE millrace.identity_history IS
  'Each time the identity of this database was recorded: installed, found (by a daemon, such as a new timeline after a failover), moved or clone (by millrace adopt).';

-- A row knows which transaction wrote it, and a dump does not: where the two differ, all of this was loaded from a dump, and
-- transaction ids that are stored in it are of another life. Every copy of the files, pg_upgrade's too, keeps both.
CREATE TABLE millrace.life (
  singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  written_by bigint NOT NULL
);
COMMENT ON TABLE millrace.life IS 'The transaction that wrote this row, in 32 bits: another one, if it was loaded from a dump.';
INSERT INTO millrace.life (written_by) VALUES (0);
UPDATE millrace.life SET written_by = xmin::text::bigint;

CREATE FUNCTION millrace.is_loaded() RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT l.xmin::text::bigint <> l.written_by FROM millrace.life AS l
$$;
COMMENT ON FUNCTION millrace.is_loaded() IS 'Whether this database was loaded from a dump and not adopted since.';

-- What tells this database from others. What a provider does not show is NULL, and so is the timeline of a standby.
-- The timeline is that of the WAL being written: the control file names the new one only at the next checkpoint.
CREATE FUNCTION millrace.identity(
  OUT system_identifier text, OUT timeline integer, OUT database text, OUT database_oid oid
)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  SELECT d.datname, d.oid INTO database, database_oid FROM pg_database AS d WHERE d.datname = current_database();
  BEGIN
    SELECT c.system_identifier::text INTO system_identifier FROM pg_control_system() AS c;
  EXCEPTION WHEN OTHERS THEN
    NULL;
  END;
  BEGIN
    IF NOT pg_is_in_recovery() THEN
      timeline := ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer;
    END IF;
  EXCEPTION WHEN OTHERS THEN
    NULL;
  END;
END
$$;
COMMENT ON FUNCTION millrace.identity() IS 'What tells this database from others, as far as this role may see it.';

-- The timeline is not compared: rows and positions are of one moment on every timeline (docs/operations.md).
CREATE FUNCTION millrace.identity_difference() RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT nullif(concat_ws('; ',
      CASE WHEN i.system_identifier <> coalesce(f.system_identifier, '') THEN
        format('the system identifier was %s and is %s', i.system_identifier, coalesce(f.system_identifier, 'not shown'))
      END,
      CASE WHEN i.database <> f.database THEN format('the database was called %I and is called %I', i.database, f.database) END,
      CASE WHEN i.database_oid <> f.database_oid THEN
        format('the database had the oid %s and has %s', i.database_oid, f.database_oid)
      END,
      CASE WHEN millrace.is_loaded() THEN 'it was loaded from a dump' END), '')
  FROM millrace.installation AS i, millrace.identity() AS f
$$;
COMMENT ON FUNCTION millrace.identity_difference() IS
  'What differs from the identity that was recorded, in words; NULL: nothing, this is the database that it was.';

-- Records what this database is now. Says whether anything was another before.
CREATE FUNCTION millrace.record_identity(reason text) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM FROM millrace.installation FOR UPDATE;
  UPDATE millrace.installation AS i
  SET system_identifier = f.system_identifier, timeline = coalesce(f.timeline, i.timeline), database = f.database,
    database_oid = f.database_oid
  FROM millrace.identity() AS f
  WHERE reason = 'clone' OR (i.system_identifier, i.timeline, i.database, i.database_oid)
    IS DISTINCT FROM (f.system_identifier, coalesce(f.timeline, i.timeline), f.database, f.database_oid);
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  INSERT INTO millrace.identity_history (reason, installation_id, system_identifier, timeline, database, database_oid)
  SELECT record_identity.reason, i.id, i.system_identifier, i.timeline, i.database, i.database_oid
  FROM millrace.installation AS i;
  RETURN true;
END
$$;
COMMENT ON FUNCTION millrace.record_identity(text) IS
  'Records what this database is now; false when that was recorded already. For the role that owns the schema.';
SELECT millrace.record_identity('installed');

-- Says what this database is, where it is not the one that was recorded. Daemons wait for it.
CREATE FUNCTION millrace.adopt(is_clone boolean, keep_running boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF is_clone THEN
    UPDATE millrace.installation SET id = gen_random_uuid();
    IF NOT keep_running THEN
      UPDATE millrace.consumer SET wanted = 'stopped' WHERE wanted <> 'stopped';
      UPDATE millrace.snapshot SET wanted = false WHERE finished_at IS NULL;
    END IF;
  END IF;
  PERFORM millrace.adopt_outbox(is_clone);
  UPDATE millrace.life SET written_by = 0;
  UPDATE millrace.life SET written_by = xmin::text::bigint;
  PERFORM millrace.record_identity(CASE WHEN is_clone THEN 'clone' ELSE 'moved' END);
  -- Daemons of the database that this one was copied from.
  DELETE FROM millrace.daemon AS d WHERE NOT EXISTS (
    SELECT FROM pg_stat_activity AS a WHERE a.pid = d.backend_pid AND a.datname = current_database());
  PERFORM pg_notify('millrace', '');
END
$$;
COMMENT ON FUNCTION millrace.adopt(boolean, boolean) IS
  'What millrace adopt calls. A clone gets an installation id of its own, and its consumers are stopped and its snapshots ended, unless they are to keep running; otherwise this database goes on as the one that was recorded. For the role that owns the schema.';

-- Roles belong to the whole server: another database may have made this one already.
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'millrace_admin') THEN
    RETURN;
  ELSIF (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user) THEN
    CREATE ROLE millrace_admin NOLOGIN;
  ELSE
    RAISE NOTICE 'role millrace_admin was not created: % may not create roles', quote_ident(current_user)
      USING HINT = 'Until somebody creates it, only superusers and members of ' || quote_ident(current_user)
        || ' can add brokers and grant topics. Once it is there: SELECT millrace.grant_admin().';
  END IF;
END
$$;

CREATE FUNCTION millrace.daemon_role() RETURNS regrole
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'millrace'
$$;
COMMENT ON FUNCTION millrace.daemon_role() IS 'The role that the daemon works as: the owner of schema millrace.';

CREATE FUNCTION millrace.is_admin(role oid) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT pg_has_role(role, millrace.daemon_role()::oid, 'USAGE')
    OR EXISTS (SELECT FROM pg_roles WHERE rolname = 'millrace_admin' AND pg_has_role(role, oid, 'USAGE'))
$$;

CREATE FUNCTION millrace.is_admin() RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT millrace.is_admin((SELECT oid FROM pg_roles WHERE rolname = current_user))
$$;
COMMENT ON FUNCTION millrace.is_admin() IS
  'Whether the current role may add brokers and grant topics: superusers, and members of millrace_admin or of the daemon''s role.';

-- The program and the extensions' scripts ask which version is installed.
GRANT USAGE ON SCHEMA millrace TO PUBLIC;
GRANT SELECT ON millrace.migration TO PUBLIC;
-- Whether the database is the one that it was, everybody may know.
GRANT SELECT (system_identifier, timeline, database, database_oid) ON millrace.installation TO PUBLIC;
GRANT SELECT ON millrace.life TO PUBLIC;

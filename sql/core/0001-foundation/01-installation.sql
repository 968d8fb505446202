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

-- One row. What a daemon saw when it first connected tells a clone or a restore from the original.
CREATE TABLE millrace.installation (
  singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  id uuid NOT NULL DEFAULT gen_random_uuid(),
  system_identifier text,
  timeline integer,
  database text,
  installed_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE millrace.installation IS 'What this database is, so that a clone or a restored copy of it is noticed.';
INSERT INTO millrace.installation DEFAULT VALUES;

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

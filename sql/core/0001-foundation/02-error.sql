-- Every refusal has one code. It stands in the first line of DETAIL; SQLSTATE and HINT belong to the code and
-- are written here once. docs/errors.md lists them all.

CREATE FUNCTION millrace.refuse(problem text, message text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  entry record;
BEGIN
  SELECT * INTO STRICT entry FROM (VALUES
    ('code: topic-invalid', '22023',
      'Kafka allows 1 to 249 of these: letters, digits, ".", "_" and "-"; not "." or "..".'),
    ('code: topic-not-granted', '42501',
      'An administrator can run: SELECT millrace.grant_topic(topic, role).'),
    ('code: admin-required', '42501',
      'Superusers may do this, and members of role millrace_admin or of the role that owns schema millrace.'),
    ('code: role-missing', '42704',
      'Give the name of the role as pg_roles shows it, or public for every role.'),
    ('code: cluster-missing', '42704',
      'SELECT name FROM millrace.cluster shows the clusters.'),
    ('code: broker-invalid', '22023',
      'A broker is written host or host:port, an IPv6 address [address]:port. Add one broker per call; credentials belong in the daemon''s configuration.'),
    ('code: broker-exists', '42710',
      'Nothing has to be done. A port that is left out is 9092.'),
    ('code: broker-missing', '42704',
      'SELECT host FROM millrace.broker shows the brokers, as they were added.'),
    ('code: no-broker', '55000',
      'Add at least one first, for example: SELECT pipeline_kafka.add_broker(''localhost:9092'').'),
    ('code: relation-missing', '42P01',
      'Create it first. A name without schema is looked up along the search_path; a name with capitals or special characters needs double quotes inside the string.'),
    ('code: relation-kind', '42809',
      'Consume into a table, a partitioned table, a foreign table, or a view with an INSTEAD OF INSERT trigger.'),
    ('code: relation-catalog', '42809',
      'Consume into a table of your own.'),
    ('code: relation-temporary', '42809',
      'It would be gone, or invisible to the daemon, while the position stays. Use a permanent table.'),
    ('code: relation-unlogged', '42809',
      'A crash would empty it and keep the position. ALTER TABLE ... SET LOGGED makes it permanent.'),
    ('code: relation-row-security', '0A000',
      'COPY cannot load it for this role. This comes in a later version; until then let a role own the consumer that the policies do not apply to.'),
    ('code: relation-runs-code', '42501',
      'Code of other roles would run in the daemon''s session. This comes in a later version; until then load a plain table, or let the daemon''s role own the relation, what it runs and the consumer.'),
    ('code: relation-schema', '42501',
      'Whoever owns a schema can put another relation in the place of the one that was checked. This comes in a later version; until then let the daemon''s role or a superuser own the schema.'),
    ('code: view-without-trigger', '0A000',
      'COPY needs an INSTEAD OF INSERT trigger on a view. Views that update themselves come in a later version.'),
    ('code: insert-denied', '42501',
      'GRANT INSERT on the whole relation (not on columns), and USAGE on its schema, to the role.'),
    ('code: lock-denied', '42501',
      'It belongs to an ordinary role, who could change what it runs during a load, and LOCK TABLE asks for UPDATE or DELETE. GRANT one of them, begin the consumer as the owner, or let the daemon''s role own the relation.'),
    ('code: role-not-served', '42501',
      'GRANT the role to the daemon''s role, on PostgreSQL 16 and later WITH SET TRUE.'),
    ('code: format-unknown', '22023',
      'The formats are text, csv and json.'),
    ('code: delimiter-invalid', '22023',
      'One ASCII character as in COPY: no line end; in text no backslash, dot, digit, lower-case letter or N; in csv not the quote. \t means the tab.'),
    ('code: quote-invalid', '22023',
      'One ASCII character as in COPY: no line end, not the delimiter. Only csv has a quote.'),
    ('code: escape-invalid', '22023',
      'One ASCII character as in COPY: no line end. Only csv has an escape.'),
    ('code: encoding-unknown', '22023',
      'Give the name of an encoding that PostgreSQL knows, for example LATIN1.'),
    ('code: batchsize-invalid', '22023', 'Give a number of messages from 1.'),
    ('code: maxbytes-invalid', '22023', 'Give a number of bytes from 1.'),
    ('code: parallelism-invalid', '22023', 'Give a number of COPY streams from 1 to 1000.'),
    ('code: timeout-invalid', '22023', 'Give milliseconds from 1 to 600000.'),
    ('code: start-offset-invalid', '22023',
      'NULL: where it stopped; -1: the end; -2: the beginning; from 0: that offset in every partition.'),
    ('code: group-invalid', '22023',
      'A consumer group has 1 to 255 characters, none of them a control character, and does not begin with millrace. (those are given to consumers without a group_id).'),
    ('code: group-denied', '42501',
      'Leave group_id out: the consumer then has a group of its own. An administrator may choose one.'),
    ('code: group-taken', '23505',
      'Members of one group share a topic''s partitions, so each would get only a part. Give every consumer of the topic its own group_id, or none.'),
    ('code: consumer-missing', '42704',
      'SELECT topic, target FROM millrace.consumers shows the consumers you may see.'),
    ('code: consumer-ambiguous', '42725',
      'Give the relation with its schema.'),
    ('code: consumer-not-running', '55000',
      'It was stopped already; consume_begin starts it again.'),
    ('code: consumer-not-yours', '42501',
      'Its owner, a member of that role or an administrator can start and stop it.')
  ) AS known (code, sqlstate, hint) WHERE known.code = 'code: ' || problem;
  RAISE EXCEPTION USING
    MESSAGE = message, DETAIL = entry.code, HINT = entry.hint, ERRCODE = entry.sqlstate;
END
$$;
COMMENT ON FUNCTION millrace.refuse(text, text) IS 'Raises an error with a code, its SQLSTATE and its hint.';

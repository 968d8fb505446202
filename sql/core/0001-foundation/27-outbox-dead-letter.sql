-- Messages that Kafka did not take, where a cluster's on_refused says that nothing is to wait for them. The relay puts them here
-- in the transaction that moves the position past them; from here they are sent again, as new messages, or discarded.

CREATE VIEW millrace.outbox_dead_letters WITH (security_barrier = true) AS
SELECT d.id, d.cluster, d.topic, d.partition, d."timestamp", d.key, d.value, d.headers,
  millrace.readable(d.key) AS key_text, millrace.readable(d.value) AS value_text,
  millrace.readable_headers(d.headers) AS headers_json, d.owner, d.source, d.code, d.message, d.failed_at
FROM millrace.outbox_dead_letter AS d
WHERE (SELECT millrace.is_admin()) OR pg_has_role(d.owner::oid, 'USAGE');
COMMENT ON VIEW millrace.outbox_dead_letters IS
  'Messages that Kafka did not take, of the current role; administrators see all of them.';
COMMENT ON COLUMN millrace.outbox_dead_letters.id IS 'Number that it had in the outbox.';
COMMENT ON COLUMN millrace.outbox_dead_letters.partition IS 'That was asked for; NULL: the key decides.';
COMMENT ON COLUMN millrace.outbox_dead_letters.value IS 'NULL: a tombstone.';
COMMENT ON COLUMN millrace.outbox_dead_letters.headers IS 'name, value, name, value, ...';
COMMENT ON COLUMN millrace.outbox_dead_letters.key_text IS 'The key, where it is UTF-8.';
COMMENT ON COLUMN millrace.outbox_dead_letters.value_text IS 'The value, where it is UTF-8.';
COMMENT ON COLUMN millrace.outbox_dead_letters.headers_json IS
  'Headers as an object, the last one of each name; a value that is not UTF-8 is null.';
COMMENT ON COLUMN millrace.outbox_dead_letters.owner IS 'Role that produced it.';
COMMENT ON COLUMN millrace.outbox_dead_letters.source IS 'Relation whose trigger produced it, if one did.';
COMMENT ON COLUMN millrace.outbox_dead_letters.code IS 'Why it was not taken (docs/errors.md).';

-- Which of them are meant. Nobody discards everything by leaving everything out.
CREATE FUNCTION millrace.take_dead_letters(ids bigint[], topic text, cluster text) RETURNS SETOF millrace.outbox_dead_letter
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF NOT millrace.is_admin() THEN
    PERFORM millrace.refuse('admin-required', format('role %I may not decide about dead letters of sending', current_user));
  ELSIF ids IS NULL AND topic IS NULL AND cluster IS NULL THEN
    PERFORM millrace.refuse('choice-missing', 'it is not said which dead letters');
  END IF;
  RETURN QUERY DELETE FROM millrace.outbox_dead_letter AS d
    WHERE (take_dead_letters.ids IS NULL OR d.id = ANY (take_dead_letters.ids))
      AND (take_dead_letters.topic IS NULL OR d.topic = take_dead_letters.topic)
      AND (take_dead_letters.cluster IS NULL OR d.cluster = take_dead_letters.cluster)
    RETURNING d.*;
END
$$;

CREATE FUNCTION millrace.resend_dead_letters(ids bigint[] DEFAULT NULL, topic text DEFAULT NULL, cluster text DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  letter millrace.outbox_dead_letter;
  sent bigint := 0;
BEGIN
  FOR letter IN SELECT l.* FROM millrace.take_dead_letters(ids, topic, cluster) AS l ORDER BY l.id LOOP
    PERFORM millrace.write_message(letter.topic, letter.value, letter.key, letter.partition, letter.headers, letter.cluster,
      letter."timestamp", letter.source);
    sent := sent + 1;
  END LOOP;
  RETURN sent;
END
$$;
COMMENT ON FUNCTION millrace.resend_dead_letters(bigint[], text, text) IS
  'Produces dead letters of sending again, as new messages in their old order; returns how many. For administrators.';

CREATE FUNCTION millrace.discard_dead_letters(ids bigint[] DEFAULT NULL, topic text DEFAULT NULL, cluster text DEFAULT NULL)
RETURNS bigint
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT count(*) FROM millrace.take_dead_letters(ids, topic, cluster)
$$;
COMMENT ON FUNCTION millrace.discard_dead_letters(bigint[], text, text) IS
  'Removes dead letters of sending for ever; returns how many. For administrators.';

ALTER TABLE millrace.outbox_dead_letter ENABLE ROW LEVEL SECURITY;
CREATE POLICY administer ON millrace.outbox_dead_letter USING ((SELECT millrace.is_admin()));
GRANT SELECT ON millrace.outbox_dead_letters TO PUBLIC;

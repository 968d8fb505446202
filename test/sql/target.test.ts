// Which relations the daemon may COPY into. Those it refuses either lose rows in a crash, or could run code that
// acts as the daemon: each way to smuggle such code in has a line here.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type OwnedDatabase, ownedDatabase, type RoleSession } from '../support/owned-database.ts'

// Functions of a role that is not trusted, under every guise in which a table can call one.
const setting = `
  CREATE FUNCTION evil() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN 'x'; END $$;
  CREATE FUNCTION evil_check(anyelement) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN true; END $$;
  CREATE FUNCTION evil_trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
  CREATE FUNCTION evil_equal(int, int) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN true; END $$;
  CREATE FUNCTION evil_difference(float8, float8) RETURNS float8 IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END $$;
  CREATE OPERATOR ==== (LEFTARG = int, RIGHTARG = int, FUNCTION = evil_equal);
  CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = pg_catalog.int4eq);
  CREATE DOMAIN evil_domain AS text CHECK (evil_check(VALUE));
  CREATE DOMAIN tame_domain AS text CHECK (VALUE <> '');
  CREATE TYPE evil_composite AS (x int, y evil_domain);
  CREATE TYPE evil_range AS RANGE (subtype = float8, subtype_diff = evil_difference);
  CREATE TYPE tame_range AS RANGE (subtype = float8, subtype_diff = pg_catalog.float8mi);
  CREATE TYPE domain_range AS RANGE (subtype = evil_domain);
  CREATE TYPE mood AS ENUM ('good', 'bad');
  CREATE FUNCTION evil_cast(mood) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN 'x'; END $$;
  CREATE CAST (mood AS text) WITH FUNCTION evil_cast(mood);
  CREATE SEQUENCE numbers;
  CREATE TABLE referenced (a int PRIMARY KEY)`

const accepted: Record<string, string> = {
  'a plain table': 'CREATE TABLE target (a int, b text[], c jsonb, d numeric)',
  'ordinary defaults': `CREATE TABLE target (a bigserial, b timestamptz DEFAULT now(), c uuid DEFAULT gen_random_uuid(),
    d int DEFAULT nextval('numbers'), e date DEFAULT current_date, f text DEFAULT current_user, g int GENERATED ALWAYS AS IDENTITY,
    h text DEFAULT to_char(now(), 'YYYY'), i text DEFAULT concat('a', 1), j timestamptz DEFAULT now() + interval '1 day')`,
  'ordinary checks': `CREATE TABLE target (a int CHECK (a > 0), b text CHECK (b ~ '^x'), c timestamptz CHECK (c > '2000-01-01'::date),
    d mood CHECK (d IN ('good', 'bad')), CHECK (a <> ALL (ARRAY[1, 2])))`,
  'a generated column': 'CREATE TABLE target (a int, b int GENERATED ALWAYS AS (a * 2) STORED)',
  'a foreign key': 'CREATE TABLE target (a int REFERENCES referenced DEFERRABLE, b int UNIQUE DEFERRABLE)',
  'an index of pg_catalog’s functions':
    'CREATE TABLE target (a text); CREATE INDEX ON target (lower(a)) WHERE a IS NOT NULL',
  'an exclusion constraint': 'CREATE TABLE target (a int4range, EXCLUDE USING gist (a WITH &&))',
  'an operator on a function of pg_catalog': 'CREATE TABLE target (a int CHECK (a === 1))',
  'an enumerated type': `CREATE TABLE target (a mood DEFAULT 'good', b mood[])`,
  'a range of numbers': 'CREATE TABLE target (a tame_range)',
  'a trigger for other events':
    'CREATE TABLE target (a int); CREATE TRIGGER t AFTER UPDATE OR DELETE ON target FOR EACH ROW EXECUTE FUNCTION evil_trigger()',
  'a disabled trigger': `CREATE TABLE target (a int); CREATE TRIGGER t BEFORE INSERT ON target FOR EACH ROW EXECUTE FUNCTION evil_trigger();
    ALTER TABLE target DISABLE TRIGGER t`,
  'the trigger for text search': `CREATE TABLE target (a text, v tsvector); CREATE TRIGGER t BEFORE INSERT ON target FOR EACH ROW
    EXECUTE FUNCTION tsvector_update_trigger(v, 'pg_catalog.english', a)`,
  'partitions of partitions': `CREATE TABLE target (a int) PARTITION BY RANGE (a);
    CREATE TABLE one PARTITION OF target FOR VALUES FROM (0) TO (9);
    CREATE TABLE rest PARTITION OF target DEFAULT PARTITION BY LIST ((a % 2)); CREATE TABLE rest_all PARTITION OF rest DEFAULT`,
  'row-level security that is not for its owner':
    'CREATE TABLE target (a int); ALTER TABLE target ENABLE ROW LEVEL SECURITY',
  'a rule, which COPY ignores':
    'CREATE TABLE target (a int); CREATE RULE r AS ON INSERT TO target DO INSTEAD NOTHING',
}

const refused: Record<string, [code: string, sql: string]> = {
  'an unlogged table': ['relation-unlogged', 'CREATE UNLOGGED TABLE target (a int)'],
  'a table with an unlogged partition': [
    'relation-unlogged',
    'CREATE TABLE target (a int) PARTITION BY LIST (a); CREATE UNLOGGED TABLE part PARTITION OF target DEFAULT',
  ],
  'a materialized view': ['relation-kind', 'CREATE MATERIALIZED VIEW target AS SELECT 1 AS a'],
  'a sequence': ['relation-kind', 'CREATE SEQUENCE target'],
  'an index': ['relation-kind', 'CREATE TABLE t (a int); CREATE INDEX target ON t (a)'],
  'a composite type': ['relation-kind', 'CREATE TYPE target AS (a int)'],
  'a view that updates itself': [
    'view-without-trigger',
    'CREATE TABLE t (a int); CREATE VIEW target AS SELECT * FROM t',
  ],
  'a view that cannot be updated': ['view-without-trigger', 'CREATE VIEW target AS SELECT 1 AS a'],
  'row-level security for its owner too': [
    'relation-row-security',
    'CREATE TABLE target (a int); ALTER TABLE target ENABLE ROW LEVEL SECURITY; ALTER TABLE target FORCE ROW LEVEL SECURITY',
  ],
  'a view’s trigger': [
    'relation-runs-code',
    `CREATE VIEW target AS SELECT 1 AS a;
    CREATE TRIGGER t INSTEAD OF INSERT ON target FOR EACH ROW EXECUTE FUNCTION evil_trigger()`,
  ],
  'a row trigger': [
    'relation-runs-code',
    'CREATE TABLE target (a int); CREATE TRIGGER t BEFORE INSERT ON target FOR EACH ROW EXECUTE FUNCTION evil_trigger()',
  ],
  'a statement trigger': [
    'relation-runs-code',
    'CREATE TABLE target (a int); CREATE TRIGGER t AFTER INSERT ON target EXECUTE FUNCTION evil_trigger()',
  ],
  'a deferred constraint trigger': [
    'relation-runs-code',
    `CREATE TABLE target (a int);
    CREATE CONSTRAINT TRIGGER t AFTER INSERT ON target DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION evil_trigger()`,
  ],
  'a trigger’s condition': [
    'relation-runs-code',
    `CREATE TABLE target (a text, v tsvector); CREATE TRIGGER t BEFORE INSERT ON target FOR EACH ROW
    WHEN (evil_check(NEW.a)) EXECUTE FUNCTION tsvector_update_trigger(v, 'pg_catalog.english', a)`,
  ],
  'a partition’s trigger': [
    'relation-runs-code',
    `CREATE TABLE target (a int) PARTITION BY LIST (a); CREATE TABLE part PARTITION OF target DEFAULT;
    CREATE TRIGGER t BEFORE INSERT ON part FOR EACH ROW EXECUTE FUNCTION evil_trigger()`,
  ],
  'a trigger that only the partitions have enabled': [
    'relation-runs-code',
    `CREATE TABLE target (a int) PARTITION BY LIST (a);
    CREATE TABLE part PARTITION OF target DEFAULT; CREATE TRIGGER t BEFORE INSERT ON target FOR EACH ROW EXECUTE FUNCTION evil_trigger();
    ALTER TABLE ONLY target DISABLE TRIGGER t`,
  ],
  'a default': ['relation-runs-code', 'CREATE TABLE target (a text DEFAULT evil())'],
  'a partition’s default': [
    'relation-runs-code',
    `CREATE TABLE target (a int, b text) PARTITION BY LIST (a);
    CREATE TABLE part PARTITION OF target DEFAULT; ALTER TABLE part ALTER b SET DEFAULT evil()`,
  ],
  'a check': ['relation-runs-code', 'CREATE TABLE target (a int CHECK (evil_check(a)))'],
  'a check that is not valid yet': [
    'relation-runs-code',
    'CREATE TABLE target (a int); ALTER TABLE target ADD CHECK (evil_check(a)) NOT VALID',
  ],
  'a generated column': [
    'relation-runs-code',
    'CREATE TABLE target (a int, b boolean GENERATED ALWAYS AS (evil_check(a)) STORED)',
  ],
  'an index on an expression': [
    'relation-runs-code',
    'CREATE TABLE target (a text); CREATE INDEX ON target (evil_check(a))',
  ],
  'an index with a condition': [
    'relation-runs-code',
    'CREATE TABLE target (a text); CREATE INDEX ON target (a) WHERE evil_check(a)',
  ],
  'a partition key': [
    'relation-runs-code',
    'CREATE TABLE target (a int) PARTITION BY LIST ((evil_check(a)))',
  ],
  'an operator': ['relation-runs-code', 'CREATE TABLE target (a int CHECK (a ==== 1))'],
  'an operator over an array': [
    'relation-runs-code',
    'CREATE TABLE target (a int CHECK (a ==== ANY (ARRAY[1, 2])))',
  ],
  'a cast': ['relation-runs-code', `CREATE TABLE target (a text DEFAULT ('good'::mood)::text)`],
  'a cast that || makes': ['relation-runs-code', `CREATE TABLE target (a text DEFAULT 'x' || 'good'::mood)`],
  'a domain': ['relation-runs-code', 'CREATE TABLE target (a evil_domain)'],
  'a domain to which its owner can add a check meanwhile': [
    'relation-runs-code',
    'CREATE TABLE target (a tame_domain)',
  ],
  'an array of a domain': ['relation-runs-code', 'CREATE TABLE target (a evil_domain[])'],
  'a composite type with a domain': ['relation-runs-code', 'CREATE TABLE target (a evil_composite)'],
  'an array of a composite type with a domain': [
    'relation-runs-code',
    'CREATE TABLE target (a evil_composite[])',
  ],
  'a range over a domain': ['relation-runs-code', 'CREATE TABLE target (a domain_range)'],
  'a multirange over a domain': ['relation-runs-code', 'CREATE TABLE target (a domain_multirange)'],
  'a range’s difference, which its index calls': [
    'relation-runs-code',
    'CREATE TABLE target (a evil_range); CREATE INDEX ON target USING gist (a)',
  ],
  'a conversion to a domain': [
    'relation-runs-code',
    `CREATE TABLE target (a text DEFAULT ('x'::evil_domain)::pg_catalog.text)`,
  ],
  'a conversion by json': [
    'relation-runs-code',
    `CREATE TABLE target (a text DEFAULT (json_populate_record(NULL::evil_composite, '{}'))::text)`,
  ],
  // pg_depend knows none of these: functions of pg_catalog are pinned.
  set_config: ['relation-runs-code', `CREATE TABLE target (a text DEFAULT set_config('role', 'none', true))`],
  query_to_xml: [
    'relation-runs-code',
    `CREATE TABLE target (a text DEFAULT query_to_xml('RESET ROLE', true, true, '')::text)`,
  ],
  'table_to_xml, which is stable': [
    'relation-runs-code',
    `CREATE TABLE target (a text DEFAULT table_to_xml('referenced', true, true, '')::text)`,
  ],
  schema_to_xml: [
    'relation-runs-code',
    `CREATE TABLE target (a text DEFAULT schema_to_xml('public', true, true, '')::text)`,
  ],
  domain_in: [
    'relation-runs-code',
    `CREATE TABLE target (a text DEFAULT domain_in('x', 'evil_domain'::regtype, -1)::text)`,
  ],
  pg_input_is_valid: [
    'relation-runs-code',
    `CREATE TABLE target (a boolean DEFAULT pg_input_is_valid('x', 'evil_domain'))`,
  ],
  pg_terminate_backend: [
    'relation-runs-code',
    'CREATE TABLE target (a boolean DEFAULT pg_terminate_backend(1))',
  ],
  'lo_import in a check': ['relation-runs-code', `CREATE TABLE target (a text CHECK (lo_import(a) > 0))`],
}

interface Setting extends OwnedDatabase {
  owner: RoleSession
  alice: RoleSession
}

async function prepared(t: Parameters<typeof ownedDatabase>[0]): Promise<Setting> {
  const db = await ownedDatabase(t)
  const owner = await db.as(db.roles.owner)
  const alice = await db.as(db.roles.alice)
  await owner.run(
    `SELECT pipeline_kafka.add_broker('localhost'), millrace.grant_topic('topic', '${db.roles.alice}')`,
  )
  return { ...db, owner, alice }
}

const begin = `SELECT pipeline_kafka.consume_begin('topic', 'target')`

/** Alone in a transaction, so that the next one finds nothing. */
async function outcome(session: RoleSession, sql: string): Promise<string | null> {
  await session.run('BEGIN')
  try {
    await session.run(sql)
    return (await session.refusal(begin))?.split(' ')[0] ?? null
  } finally {
    await session.run('ROLLBACK')
  }
}

test('a relation of an ordinary role', async (t) => {
  const { alice } = await prepared(t)
  await alice.run(setting)
  for (const [name, sql] of Object.entries(accepted)) {
    await t.test(`is accepted with ${name}`, async () => assert.equal(await outcome(alice, sql), null))
  }
  for (const [name, [code, sql]] of Object.entries(refused)) {
    await t.test(`F38 is refused: ${name}`, async () => assert.equal(await outcome(alice, sql), code))
  }
  await t.test('is refused when it is temporary', async () => {
    assert.equal(await outcome(alice, 'CREATE TEMPORARY TABLE target (a int)'), 'relation-temporary')
  })
})

test('a relation of the daemon’s own role may run its own code', async (t) => {
  const { owner } = await prepared(t)
  await owner.run(setting)
  const codes = Object.entries(refused).filter(([, [code]]) => code === 'relation-runs-code')
  for (const [name, [, sql]] of codes) {
    await t.test(name, async () => assert.equal(await outcome(owner, sql), null))
  }
})

describe('a relation of the daemon’s own role', () => {
  const granted = (roles: OwnedDatabase['roles']): string =>
    `GRANT TRIGGER, INSERT, REFERENCES ON target TO ${roles.alice}`

  test('F38 may not run a trigger that somebody else put on it', async (t) => {
    const { owner, alice, roles } = await prepared(t)
    await owner.run(`CREATE TABLE target (a int); ${granted(roles)}`)
    await alice.run(
      `${setting}; CREATE TRIGGER t BEFORE INSERT ON target FOR EACH ROW EXECUTE FUNCTION evil_trigger()`,
    )
    assert.equal(await owner.refusal(begin), 'relation-runs-code 42501')
  })

  test('F38 may not have partitions, domains or functions of somebody else', async (t) => {
    const { owner, alice, superuser, roles } = await prepared(t)
    await alice.run(`${setting}; GRANT USAGE ON TYPE tame_domain TO ${roles.owner}`)
    assert.equal(await outcome(owner, 'CREATE TABLE target (a tame_domain)'), 'relation-runs-code')
    assert.equal(await outcome(owner, 'CREATE TABLE target (a text DEFAULT evil())'), 'relation-runs-code')
    await owner.run(
      'CREATE TABLE target (a int) PARTITION BY LIST (a); CREATE TABLE part PARTITION OF target DEFAULT',
    )
    assert.equal(await owner.refusal(`${begin}; SELECT pipeline_kafka.consume_end('topic', 'target')`), null)
    await superuser.run(`ALTER TABLE part OWNER TO ${roles.alice}`)
    await alice.run('CREATE TRIGGER t BEFORE INSERT ON part FOR EACH ROW EXECUTE FUNCTION evil_trigger()')
    assert.equal(await owner.refusal(begin), 'relation-runs-code 42501')
  })

  test('may run functions of a superuser', async (t) => {
    const { owner, superuser } = await prepared(t)
    await superuser.run(
      `CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$`,
    )
    await owner.run(
      'CREATE TABLE target (a int); CREATE TRIGGER t BEFORE INSERT ON target FOR EACH ROW EXECUTE FUNCTION audit()',
    )
    assert.equal(await owner.refusal(begin), null)
  })

  test('may be a view with a trigger of its own, loaded by whoever may insert', async (t) => {
    const { owner, alice, roles } = await prepared(t)
    await owner.run(`${setting}; CREATE VIEW target AS SELECT 1 AS a; GRANT INSERT ON target TO ${roles.alice};
      CREATE TRIGGER t INSTEAD OF INSERT ON target FOR EACH ROW EXECUTE FUNCTION evil_trigger()`)
    assert.equal(await alice.refusal(begin), null)
  })
})

test('what changes after the consumer began is found by the daemon’s own check', async (t) => {
  const { owner, alice, roles } = await prepared(t)
  await alice.run(`${setting}; CREATE TABLE target (a int, b text); ${begin}`)
  const problem = (): Promise<unknown[]> =>
    owner.column(`SELECT code FROM millrace.target_problem('public', 'target', '${roles.alice}'::regrole)`)
  assert.deepEqual(await problem(), [])
  const changes: [string, string, string][] = [
    [
      'ALTER TABLE target ALTER b SET DEFAULT evil()',
      'ALTER TABLE target ALTER b DROP DEFAULT',
      'relation-runs-code',
    ],
    ['ALTER TABLE target SET UNLOGGED', 'ALTER TABLE target SET LOGGED', 'relation-unlogged'],
    ['ALTER TABLE target RENAME TO other', 'ALTER TABLE other RENAME TO target', 'relation-missing'],
    ['ALTER TABLE target ADD c evil_domain', 'ALTER TABLE target DROP c', 'relation-runs-code'],
  ]
  for (const [change, undo, code] of changes) {
    await alice.run(change)
    assert.deepEqual(await problem(), [code], change)
    await alice.run(undo)
    assert.deepEqual(await problem(), [], undo)
  }
})

test('relations of the system are refused', async (t) => {
  const { superuser } = await prepared(t)
  for (const name of [
    'pg_catalog.pg_class',
    'pg_class',
    'information_schema.sql_features',
    'millrace.consumer',
    'millrace.broker',
  ]) {
    const refusal = await superuser.refusal('SELECT pipeline_kafka.consume_begin($1, $2)', ['topic', name])
    assert.equal(refusal, 'relation-catalog 42809', name)
  }
  const toast = await superuser.value(
    `SELECT reltoastrelid::regclass::text FROM pg_class WHERE oid = 'millrace.consumer'::regclass`,
  )
  assert.equal(
    await superuser.refusal('SELECT pipeline_kafka.consume_begin($1, $2)', ['topic', toast]),
    'relation-kind 42809',
  )
})

test('a foreign table is accepted with a notice', async (t) => {
  const { superuser, alice, roles } = await prepared(t)
  await superuser.run(`CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw;
    GRANT USAGE ON FOREIGN SERVER far TO ${roles.alice}`)
  await alice.run('CREATE FOREIGN TABLE target (a int) SERVER far')
  assert.deepEqual((await alice.run(begin)).notices, ['NOTICE foreign-at-least-once', 'WARNING no-daemon'])
})

test('the check takes a few milliseconds at worst', async (t) => {
  const { owner, alice, roles } = await prepared(t)
  await alice.run(`${setting}; ${accepted['ordinary defaults']};
    CREATE TABLE parts (a int DEFAULT 1, CHECK (a > 0)) PARTITION BY LIST (a)`)
  await alice.run(
    `DO $$ BEGIN FOR i IN 1..200 LOOP EXECUTE format('CREATE TABLE parts_%s PARTITION OF parts FOR VALUES IN (%s)', i, i); END LOOP; END $$`,
  )
  const milliseconds = async (name: string): Promise<number> => {
    const times: number[] = []
    for (let round = 0; round < 21; round++) {
      const begun = performance.now()
      await owner.run(`SELECT * FROM millrace.target_problem('public', '${name}', '${roles.alice}'::regrole)`)
      times.push(performance.now() - begun)
    }
    return Math.min(...times) // whatever else the machine does, it does not make this smaller
  }
  const times = { plain: await milliseconds('target'), partitioned: await milliseconds('parts') }
  t.diagnostic(JSON.stringify(times))
  assert.ok(times.plain < 15 && times.partitioned < 60, JSON.stringify(times))
})

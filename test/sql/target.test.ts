// Which relations the daemon may COPY into, which it loads by way of a staging table, and which not at all. What is
// refused loses rows in a crash; what is staged could run code that acts as the daemon: each way to smuggle such code in
// has a line here.

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
  CREATE TYPE digit AS ENUM ('1', '2');
  CREATE FUNCTION evil_number(digit) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END $$;
  CREATE CAST (digit AS int) WITH FUNCTION evil_number(digit) AS IMPLICIT;
  CREATE TYPE tame_composite AS (x int, y text);
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
  'a foreign key to a table of the daemon’s role':
    'CREATE TABLE target (a int REFERENCES trusted_keys DEFERRABLE, b int UNIQUE DEFERRABLE)',
  'every kind of expression that says what it calls': `CREATE TABLE target (a int, b text, c text[], d jsonb, e numeric(9,2), f boolean,
    t timestamptz, m mood[] DEFAULT ARRAY['good'::mood],
    CHECK (a > 0 AND NOT f OR b IS NULL), CHECK (a IS DISTINCT FROM 3), CHECK (nullif(a, 1) = 2), CHECK (a = ANY (ARRAY[1, 2])),
    CHECK (b LIKE 'x%' COLLATE "C"), CHECK (CASE a WHEN 1 THEN true ELSE false END), CHECK (CASE WHEN a = 1 THEN true END),
    CHECK (coalesce(a, 1) > 0), CHECK (greatest(a, 1) > least(a, 2)), CHECK (f IS NOT TRUE), CHECK (row(a, b) < row(1, 'x')),
    CHECK (row(a, b) IS NOT NULL), CHECK (c[1] = 'x' AND c[1:2] IS NOT NULL), CHECK ((d ->> 'k') = 'v'), CHECK (d['k'] IS NOT NULL),
    CHECK (b::int > 0), CHECK (c::int[] IS NOT NULL), CHECK (b = current_user), CHECK (t > '2000-01-01'::date),
    CHECK (make_interval(days => a) > '1 day'), CHECK (t AT TIME ZONE 'UTC' > '2000-01-01'), CHECK (extract(year FROM t) > 2000),
    CHECK (b IS JSON), CHECK (e::int > 0), CHECK (trim(b) SIMILAR TO 'x'))`,
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
  'a place among partitions whose keys are ordinary': `CREATE TABLE whole (a int, b text) PARTITION BY RANGE (a);
    CREATE TABLE part PARTITION OF whole DEFAULT PARTITION BY LIST ((lower(b))); CREATE TABLE target PARTITION OF part DEFAULT`,
  'row-level security that is not for its owner':
    'CREATE TABLE target (a int); ALTER TABLE target ENABLE ROW LEVEL SECURITY',
  'a rule, which COPY ignores':
    'CREATE TABLE target (a int); CREATE RULE r AS ON INSERT TO target DO INSTEAD NOTHING',
}

/** Not copied into: refused, or staged where the reason is not one of `forGood`
 * and the line does not say `refused`. `changeable`: no code of anybody's yet, but whoever owns it could change that while a load runs. */
const notDirect: Record<string, [code: string, sql: string, why?: 'changeable' | 'refused']> = {
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
  'a view that cannot be updated': ['view-without-trigger', 'CREATE VIEW target AS SELECT 1 AS a', 'refused'],
  'row-level security for its owner too': [
    'relation-row-security',
    'CREATE TABLE target (a int); ALTER TABLE target ENABLE ROW LEVEL SECURITY; ALTER TABLE target FORCE ROW LEVEL SECURITY',
  ],
  'a partitioned table, to which a partition with a trigger can be attached during a load': [
    'relation-runs-code',
    'CREATE TABLE target (a int) PARTITION BY LIST (a); CREATE TABLE part PARTITION OF target DEFAULT',
    'changeable',
  ],
  'the key of what it is a partition of': [
    'relation-runs-code',
    `CREATE TABLE whole (a int) PARTITION BY LIST ((evil_check(a)));
    CREATE TABLE target PARTITION OF whole FOR VALUES IN (true)`,
  ],
  'the key of what it is a partition of a partition of': [
    'relation-runs-code',
    `CREATE TABLE whole (a int) PARTITION BY LIST ((evil_check(a)));
    CREATE TABLE part PARTITION OF whole FOR VALUES IN (true) PARTITION BY LIST (a); CREATE TABLE target PARTITION OF part DEFAULT`,
  ],
  'a foreign key to a table of an ordinary role, whose indexes its check is planned with': [
    'relation-runs-code',
    'CREATE TABLE target (a int REFERENCES referenced)',
    'changeable',
  ],
  'a foreign key to itself': [
    'relation-runs-code',
    'CREATE TABLE target (a int PRIMARY KEY, b int REFERENCES target)',
    'changeable',
  ],
  'a foreign key that casts': ['relation-runs-code', 'CREATE TABLE target (a digit REFERENCES trusted_keys)'],
  'a composite type, which can get a domain during a load': [
    'relation-runs-code',
    'CREATE TABLE target (a tame_composite)',
    'changeable',
  ],
  'a row type of a table': ['relation-runs-code', 'CREATE TABLE target (a referenced)', 'changeable'],
  'a whole row': [
    'relation-runs-code',
    'CREATE TABLE target (a int, CHECK (target IS NOT NULL))',
    'changeable',
  ],
  ...Object.fromEntries(
    [
      `json_object('k': m) IS NOT NULL`,
      'json_array(m) IS NOT NULL',
      'json_scalar(m::text) IS NOT NULL',
      'json(m::text) IS NOT NULL',
      `json_value(jsonb '{}', '$.a') = 'x'`,
      'xmlelement(name x, m) IS NOT NULL',
      `xmlserialize(content xml '<a/>' AS text) = 'x'`,
      'to_json(m) IS NOT NULL',
      'm || m::text = m::text',
      'quote_literal(m) IS NOT NULL',
    ].map((expression) => [
      `a cast that is looked up when it runs: ${expression}`,
      ['relation-runs-code', `CREATE TABLE target (m mood CHECK (${expression}))`],
    ]),
  ),
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
    'relation-defers-code',
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
    'changeable',
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
  bob: RoleSession
}

async function prepared(t: Parameters<typeof ownedDatabase>[0]): Promise<Setting> {
  const db = await ownedDatabase(t)
  const owner = await db.as(db.roles.owner)
  const alice = await db.as(db.roles.alice)
  const bob = await db.as(db.roles.bob)
  await owner.run(
    `SELECT pipeline_kafka.add_broker('localhost'), millrace.grant_topic('topic', '${db.roles.alice}');
    CREATE TABLE trusted_keys (a int PRIMARY KEY); GRANT REFERENCES ON trusted_keys TO ${db.roles.alice}`,
  )
  return { ...db, owner, alice, bob }
}

const begin = `SELECT pipeline_kafka.consume_begin('topic', 'target')`

const forGood = ['relation-unlogged', 'relation-kind', 'relation-temporary', 'relation-defers-code']

/** `staged CODE` or `refused CODE`; null: it is loaded directly. */
async function hindrance(session: RoleSession, sql: string): Promise<string | null> {
  const refusal = await session.refusal(sql)
  if (refusal !== null) return `refused ${refusal.split(' ')[0]}`
  return (await session.value(`SELECT CASE WHEN way <> 'direct' THEN concat_ws(' ', way, split_part(way_reason, ':', 1)) END
    FROM millrace.consumers ORDER BY id DESC LIMIT 1`)) as string | null
}

/** Alone in a transaction, so that the next one finds nothing. */
async function outcome(session: RoleSession, sql: string, call = begin): Promise<string | null> {
  await session.run('BEGIN')
  try {
    await session.run(sql)
    return await hindrance(session, call)
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
  for (const [name, [code, sql, why]] of Object.entries(notDirect)) {
    const way = forGood.includes(code) || why === 'refused' ? 'refused' : 'staged'
    await t.test(`F38 is ${way}: ${name}`, async () =>
      assert.equal(await outcome(alice, sql), `${way} ${code}`),
    )
  }
  await t.test('is refused when it is temporary', async () => {
    assert.equal(await outcome(alice, 'CREATE TEMPORARY TABLE target (a int)'), 'refused relation-temporary')
  })
})

test('a relation of the daemon’s own role may run its own code', async (t) => {
  const { owner } = await prepared(t)
  await owner.run(setting)
  const codes = Object.entries(notDirect).filter(([, [code]]) => code === 'relation-runs-code')
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
    assert.equal(await outcome(owner, '', begin), 'refused relation-runs-code')
  })

  test('F38 may not have partitions, domains or functions of somebody else', async (t) => {
    const { owner, alice, superuser, roles } = await prepared(t)
    await alice.run(`${setting}; GRANT USAGE ON TYPE tame_domain TO ${roles.owner}`)
    assert.equal(await outcome(owner, 'CREATE TABLE target (a tame_domain)'), 'refused relation-runs-code')
    assert.equal(
      await outcome(owner, 'CREATE TABLE target (a text DEFAULT evil())'),
      'refused relation-runs-code',
    )
    await owner.run(
      'CREATE TABLE target (a int) PARTITION BY LIST (a); CREATE TABLE part PARTITION OF target DEFAULT',
    )
    assert.equal(await owner.refusal(`${begin}; SELECT pipeline_kafka.consume_end('topic', 'target')`), null)
    await superuser.run(`ALTER TABLE part OWNER TO ${roles.alice}`)
    await alice.run('CREATE TRIGGER t BEFORE INSERT ON part FOR EACH ROW EXECUTE FUNCTION evil_trigger()')
    assert.equal(await outcome(owner, '', begin), 'refused relation-runs-code')
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

  test('may use another role’s type, unless a cast of it is looked up when it runs', async (t) => {
    const { owner, alice } = await prepared(t)
    await alice.run(setting)
    assert.equal(await outcome(owner, 'CREATE TABLE target (m mood)'), null)
    const json = `CREATE TABLE target (m mood CHECK (json_object('k': m) IS NOT NULL))`
    assert.equal(await outcome(owner, json), 'refused relation-runs-code')
    assert.equal(await outcome(owner, json.replaceAll('m mood', 'm text')), null)
    assert.equal(await outcome(owner, 'CREATE TABLE target (m tame_composite)'), 'refused relation-runs-code')
  })

  test('F38 may not refer to a table of somebody else', async (t) => {
    const { owner, alice, roles } = await prepared(t)
    await alice.run(`${setting}; GRANT REFERENCES ON referenced TO ${roles.owner}`)
    assert.equal(
      await outcome(owner, 'CREATE TABLE target (a int REFERENCES referenced)'),
      'refused relation-runs-code',
    )
  })

  // Without a search_path of its own such code would look names up in the schema of the consumer's owner.
  test('F38 runs none of its code for a consumer of somebody else', async (t) => {
    const { owner, superuser, roles } = await prepared(t)
    await owner.run(setting)
    const codes = Object.entries(notDirect).filter(([, [code]]) => code === 'relation-runs-code')
    for (const [name, [code, sql, why]] of codes) {
      await superuser.run(`BEGIN; SET LOCAL ROLE ${roles.owner}; ${sql}; GRANT INSERT ON target TO ${roles.alice};
        SET LOCAL ROLE ${roles.alice}`)
      const expected = why === 'changeable' ? null : `staged ${code}`
      assert.equal(await hindrance(superuser, begin), expected, name)
      await superuser.run('ROLLBACK')
    }
  })

  test('may be a view with a trigger of its own', async (t) => {
    const { owner } = await prepared(t)
    await owner.run(`${setting}; CREATE VIEW target AS SELECT 1 AS a;
      CREATE TRIGGER t INSTEAD OF INSERT ON target FOR EACH ROW EXECUTE FUNCTION evil_trigger()`)
    assert.equal(await owner.refusal(begin), null)
  })

  test('F38 may not be a view that takes triggers of others', async (t) => {
    const { owner, roles } = await prepared(t)
    await owner.run(`${setting}; CREATE VIEW target AS SELECT 1 AS a;
      CREATE TRIGGER t INSTEAD OF INSERT ON target FOR EACH ROW EXECUTE FUNCTION evil_trigger();
      GRANT TRIGGER ON target TO ${roles.bob}`)
    assert.equal(await outcome(owner, '', begin), 'refused relation-runs-code')
  })
})

describe('F38 the schema of a relation', () => {
  const beginIn = (schema: string): string =>
    `SELECT pipeline_kafka.consume_begin('topic', '${schema}.target')`

  test('belongs to the daemon’s role or a superuser, because whoever owns it can exchange what a name means', async (t) => {
    const { superuser, owner, alice, roles } = await prepared(t)
    await superuser.run(`CREATE SCHEMA hers AUTHORIZATION ${roles.alice}; CREATE SCHEMA super;
      GRANT USAGE, CREATE ON SCHEMA super TO ${roles.alice}`)
    await alice.run('CREATE TABLE hers.target (a int); CREATE TABLE super.target (a int)')
    assert.equal(await outcome(alice, '', beginIn('hers')), 'staged relation-schema')
    assert.equal(await alice.refusal(beginIn('super')), null)
    // Whoever owns the relation.
    await superuser.run(`ALTER TABLE hers.target OWNER TO ${roles.owner}`)
    assert.equal(await outcome(owner, '', beginIn('hers')), 'refused relation-schema')
    assert.equal(await outcome(superuser, '', beginIn('hers')), 'refused relation-schema')
    await superuser.run(`ALTER SCHEMA hers OWNER TO ${roles.owner}`)
    assert.equal(await owner.refusal(beginIn('hers')), null)
  })

  test('public counts as the owner of the database’s', async (t) => {
    const { superuser, alice, database, roles } = await prepared(t)
    await alice.run('CREATE TABLE target (a int)')
    await superuser.run(`ALTER DATABASE ${database.name} OWNER TO ${roles.bob}`)
    assert.equal(await outcome(alice, '', beginIn('public')), 'staged relation-schema')
    await superuser.run(`ALTER SCHEMA public OWNER TO ${roles.owner}`)
    assert.equal(await alice.refusal(beginIn('public')), null)
  })
})

test('a table of another ordinary role has to be one that the consumer’s owner may lock', async (t) => {
  const { alice, bob, roles } = await prepared(t)
  await bob.run(`CREATE TABLE target (a int); GRANT INSERT ON target TO ${roles.alice}`)
  assert.equal(await outcome(alice, '', begin), 'staged lock-denied')
  await bob.run(`GRANT UPDATE ON target TO ${roles.alice}`)
  assert.equal(await alice.refusal(begin), null)
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
    'millrace.consumers',
    'pipeline_kafka.consumers',
    'pipeline_kafka.brokers',
    'pipeline_kafka.offsets',
    'pipeline_kafka.consumer_lag',
    'pipeline_kafka_consumers',
    'pipeline_kafka_brokers',
    'pipeline_kafka_offsets',
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

test('a foreign table of the daemon’s role is accepted with a notice, for its own consumers', async (t) => {
  const { superuser, owner, alice, roles } = await prepared(t)
  await superuser.run(`CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw;
    GRANT USAGE ON FOREIGN SERVER far TO ${roles.alice}, ${roles.owner}`)
  await alice.run('CREATE FOREIGN TABLE target (a int) SERVER far')
  assert.equal(await outcome(alice, '', begin), 'staged relation-runs-code')
  assert.equal(await outcome(owner, '', begin), 'refused relation-runs-code')
  await superuser.run(`ALTER TABLE target OWNER TO ${roles.owner}; GRANT INSERT ON target TO ${roles.alice}`)
  assert.equal(await outcome(alice, '', begin), 'staged relation-runs-code')
  assert.deepEqual((await owner.run(begin)).notices, ['NOTICE foreign-at-least-once', 'WARNING no-daemon'])
})

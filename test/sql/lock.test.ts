// Between the check and the COPY, and until COMMIT, nobody can give a relation code to run: what a load does first is
// done here by hand, and then the relation's owner tries.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CopyIn } from '../../src/postgres/copy.ts'
import { eventually } from '../support/eventually.ts'
import { type OwnedDatabase, ownedDatabase, type RoleSession } from '../support/owned-database.ts'

interface Scene extends OwnedDatabase {
  /** Does what the daemon does. */
  daemon: RoleSession
  alice: RoleSession
  problems(name: string, owner: string): Promise<unknown[]>
}

/** Alice's code: it becomes the daemon where it runs in the daemon's session, and leaves a trace. */
const evil = `
  CREATE FUNCTION act() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
    IF session_user <> current_user THEN
      PERFORM set_config('role', 'none', true); INSERT INTO loot VALUES (current_user);
    END IF; END $$;
  CREATE FUNCTION evil(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM public.act(); RETURN $1; END $$;
  CREATE FUNCTION evil_trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM public.act(); RETURN NEW; END $$;
  CREATE DOMAIN evil_domain AS int CHECK (evil(VALUE) > 0)`

async function scene(t: Parameters<typeof ownedDatabase>[0]): Promise<Scene> {
  const db = await ownedDatabase(t)
  const daemon = await db.as(db.roles.owner)
  const alice = await db.as(db.roles.alice)
  await daemon.run('CREATE TABLE loot (who text); GRANT INSERT ON loot TO PUBLIC')
  await alice.run(evil)
  await alice.run('CREATE TABLE target (a int, b int)')
  const problems = (name: string, owner: string): Promise<unknown[]> =>
    daemon.column(`SELECT code FROM millrace.target_problem('public', '${name}', '${owner}'::regrole)`)
  return { ...db, daemon, alice, problems }
}

/** As src/inbound/loader.ts does. */
async function lock({ daemon, roles, problems }: Scene, name = 'target', owner = roles.alice): Promise<void> {
  await daemon.run(
    `BEGIN; SET LOCAL ROLE ${owner}; SELECT millrace.lock_target('public', '${name}'); RESET ROLE`,
  )
  assert.deepEqual(await problems(name, owner), [])
}

async function copyAndCommit({ daemon, roles }: Scene): Promise<void> {
  const copy = new CopyIn(`SET LOCAL ROLE ${roles.alice}; COPY public.target FROM STDIN`, [
    Buffer.from('1\t2\n'),
  ])
  await daemon.client.query(copy).done
  await daemon.run('COMMIT')
}

const attempts = [
  'CREATE TRIGGER t BEFORE INSERT ON target FOR EACH ROW EXECUTE FUNCTION evil_trigger()',
  'ALTER TABLE target ALTER b SET DEFAULT evil(1)',
  'ALTER TABLE target ADD CHECK (evil(a) > 0) NOT VALID',
  'ALTER TABLE target ADD c evil_domain',
  'ALTER TABLE target ALTER b TYPE evil_domain',
  'CREATE INDEX ON target ((a + evil(1)))',
  'CREATE INDEX CONCURRENTLY ON target ((a + evil(1)))',
  'CREATE STATISTICS s ON a, (evil(a)) FROM target',
  'CREATE TABLE whole (a int, b int) PARTITION BY LIST ((evil(a))); ALTER TABLE whole ATTACH PARTITION target FOR VALUES IN (1)',
  'CREATE TABLE elsewhere (a int PRIMARY KEY); ALTER TABLE target ADD FOREIGN KEY (a) REFERENCES elsewhere',
  'ALTER TABLE target RENAME TO other; CREATE TABLE target (a int, b evil_domain)',
  'DROP TABLE target; CREATE TABLE target (a int, b evil_domain)',
]
for (const attempt of attempts) {
  test(`F38 the owner of a table waits for the load: ${attempt}`, async (t) => {
    const here = await scene(t)
    await lock(here)
    await here.alice.run(`SET lock_timeout = '150ms'`)
    assert.match(String(await here.alice.refusal(attempt)), / 55P03$/)
    await here.daemon.run('ROLLBACK')
  })
}

/** Whose code ran in the session of a load beside which alice makes an index. */
async function indexBesideLoad(here: Scene): Promise<unknown[]> {
  const { alice, superuser } = here
  const pid = await alice.value('SELECT pg_backend_pid()')
  const making = alice.run('CREATE INDEX CONCURRENTLY ON target ((a + evil(1)))')
  await eventually('the index waits for the load', () =>
    superuser.value(`SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $1`, [pid]),
  )
  await copyAndCommit(here)
  await making
  return superuser.column('SELECT who FROM loot')
}

test('F38 an index that is made beside a load runs nothing in it', async (t) => {
  const here = await scene(t)
  await lock(here)
  assert.deepEqual(await indexBesideLoad(here), [])
  assert.deepEqual(await here.problems('target', here.roles.alice), ['relation-runs-code'])
})

// Or there would be nothing to fear, and loads of such a table need not take turns.
test('with the lock of COPY alone it would run as the daemon', async (t) => {
  const here = await scene(t)
  await here.daemon.run('BEGIN; LOCK TABLE target IN ROW EXCLUSIVE MODE')
  assert.deepEqual(await indexBesideLoad(here), [here.roles.owner])
})

test('F38 who may add triggers to a partition waits for the load', async (t) => {
  const here = await scene(t)
  const { daemon, alice, roles } = here
  await daemon.run(`CREATE TABLE parted (a int) PARTITION BY LIST (a); CREATE TABLE part PARTITION OF parted DEFAULT;
    GRANT TRIGGER ON part TO ${roles.alice}`)
  await lock(here, 'parted', roles.owner)
  await alice.run(`SET lock_timeout = '150ms'`)
  const attempt = 'CREATE TRIGGER t BEFORE INSERT ON part FOR EACH ROW EXECUTE FUNCTION evil_trigger()'
  assert.match(String(await alice.refusal(attempt)), / 55P03$/)
  await daemon.run('COMMIT')
  await alice.run(attempt)
  assert.deepEqual(await here.problems('parted', roles.owner), ['relation-runs-code'])
})

test('a relation that changes hands while the lock is waited for gets the lock it needs', async (t) => {
  const here = await scene(t)
  const { daemon, superuser, roles } = here
  await superuser.run(
    `ALTER TABLE target OWNER TO ${roles.owner}; GRANT INSERT, UPDATE ON target TO ${roles.alice}`,
  )
  await superuser.run(`BEGIN; ALTER TABLE target OWNER TO ${roles.bob}`)
  const pid = await daemon.value('SELECT pg_backend_pid()')
  const locking = lock(here)
  await eventually('the load waits for the lock', () =>
    superuser.value(`SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $1`, [pid]),
  )
  await superuser.run('COMMIT')
  await locking
  assert.deepEqual(
    await superuser.column(
      `SELECT mode FROM pg_locks WHERE pid = $1 AND relation = 'target'::regclass AND granted ORDER BY 1`,
      [pid],
    ),
    ['RowExclusiveLock', 'ShareUpdateExclusiveLock'],
  )
})

test('loads of a table of the daemon’s role do not wait for each other', async (t) => {
  const here = await scene(t)
  const { superuser, roles, as } = here
  await superuser.run(`ALTER TABLE target OWNER TO ${roles.owner}; GRANT INSERT ON target TO ${roles.alice}`)
  await lock(here)
  const other = await as(roles.owner)
  await other.run(`SET lock_timeout = '150ms'`)
  await lock({ ...here, daemon: other })
})

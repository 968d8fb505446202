// A relation that was the daemon's own when its consumer began is loaded without a lock and a full check for as long
// as nothing of it changes hands. Whatever does is noticed before the next batch runs code of the new owner.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { begin, positionsOf, promptDaemon, untilPassed, untilRows, untilState } from '../support/flow.ts'
import { type PlainRoles, plainRoles } from '../support/plain-roles.ts'
import { produce, topicFor } from '../support/topic.ts'

const trap = (returns: string, result: string): string => `
  CREATE FUNCTION public.trap() RETURNS ${returns} LANGUAGE plpgsql AS $$
    BEGIN RESET ROLE; INSERT INTO public.seen VALUES (current_user); RETURN ${result}; END $$;`

const cases: { what: string; made: string; changed: (roles: PlainRoles) => string; said: RegExp }[] = [
  {
    what: 'its schema, which can then be exchanged for another',
    made: 'CREATE TABLE landing.target (n int)',
    changed: ({ mallory, daemon }) =>
      `ALTER SCHEMA landing OWNER TO ${mallory}; GRANT USAGE ON SCHEMA landing TO ${daemon}`,
    said: /schema landing of landing\.target belongs to role/,
  },
  {
    what: 'a partition',
    made: `CREATE TABLE landing.target (n int) PARTITION BY LIST (n);
      CREATE TABLE landing.part PARTITION OF landing.target DEFAULT`,
    changed: ({ mallory }) => `ALTER TABLE landing.part OWNER TO ${mallory}; SET LOCAL ROLE ${mallory};
      ${trap('trigger', 'NEW')}
      CREATE TRIGGER trap BEFORE INSERT ON landing.part FOR EACH ROW EXECUTE FUNCTION public.trap()`,
    said: /is a partitioned table of role/,
  },
  {
    what: 'a function that its default calls',
    made: `CREATE FUNCTION public.trap() RETURNS text LANGUAGE sql AS $$ SELECT 'tame' $$;
      CREATE TABLE landing.target (n int, b text DEFAULT public.trap())`,
    changed: ({ mallory }) => `ALTER FUNCTION public.trap() OWNER TO ${mallory}; SET LOCAL ROLE ${mallory};
      ${trap('text', "'x'").replace('CREATE', 'CREATE OR REPLACE')}`,
    said: /calls function (public\.)?trap\(\) of role/,
  },
  {
    what: 'the domain of a column',
    made: 'CREATE DOMAIN public.dom AS int; CREATE TABLE landing.target (n public.dom)',
    changed: ({ mallory }) => `ALTER DOMAIN public.dom OWNER TO ${mallory}; SET LOCAL ROLE ${mallory};
      ${trap('boolean', 'true')} ALTER DOMAIN public.dom ADD CHECK (public.trap()) NOT VALID`,
    said: /uses type (public\.)?dom of role/,
  },
]

for (const { what, made, changed, said } of cases) {
  test(`F38 nothing of the new owner's runs as the daemon when this changes hands: ${what}`, async (t) => {
    const roles = await plainRoles(t)
    const { db, daemon, mallory } = roles
    await promptDaemon(t, { url: roles.urlOf(daemon) })
    const topic = await topicFor(t, { partitions: 1 })
    const client = () => db.client({ connectionString: roles.urlOf(daemon) })
    const asDaemon = await client()
    await asDaemon.query(`CREATE SCHEMA landing; GRANT USAGE, CREATE ON SCHEMA landing TO ${mallory}; ${made};
      CREATE TABLE public.seen (who text); GRANT INSERT ON public.seen TO PUBLIC`)
    await produce(topic, [{ value: '{"n": 1}' }])
    await begin({ client }, topic, 'landing.target', { format: 'json', start_offset: -2 })
    await untilPassed(db, topic, 1)
    await db.query(`BEGIN; ${changed(roles)}; COMMIT`)
    await produce(topic, [{ value: '{"n": 2}' }])
    const failed = await untilState(db, topic, 'failed')
    assert.equal(failed.error_code, 'target-refused')
    assert.match(failed.error_message ?? '', said)
    await untilRows(db, 'SELECT who FROM seen', [])
    await untilRows(db, 'SELECT n::int FROM landing.target', [[1]])
    assert.deepEqual(await positionsOf(db, topic), { 0: 1 })
  })
}

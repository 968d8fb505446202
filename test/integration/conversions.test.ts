// A value that is none of its column's type is its message's fault, however PostgreSQL says so (regclass: no such relation)
// and by whichever way it is found: a COPY into the relation, a COPY into the staging table, the loop over messages.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { consume, promptDaemon, untilPassed, untilRows } from '../support/flow.ts'
import { plainRoles } from '../support/plain-roles.ts'
import { produce, topicFor } from '../support/topic.ts'

const columns = `n int PRIMARY KEY, s smallint, v varchar(3), b bit(3), num numeric(4, 2), d date, u uuid, ip inet,
  a int[], r int4range, bytes bytea, mood mood, moods mood[], few few, short short, cls regclass, typ regtype, proc regproc,
  op regoper, clss regclass[], role regrole, ns regnamespace, q tsquery`

/** Column, a value that it does not take, and what PostgreSQL says. */
const bad: [column: string, value: string, sqlstate: string][] = [
  ['s', '40000', '22003'],
  ['v', 'long', '22001'],
  ['b', '10', '22026'],
  ['num', '100', '22003'],
  ['d', '2026-02-30', '22008'],
  ['u', 'x', '22P02'],
  ['ip', '1.2.3', '22P02'],
  ['a', '{1', '22P02'],
  ['r', '[2,1)', '22000'],
  ['bytes', '\\xq', '22023'],
  ['mood', 'none', '22P02'],
  ['moods', '{sad,none}', '22P02'],
  ['few', '[z,a)', '22000'],
  ['short', 'long', '22001'],
  ['short', 'no', '23514'],
  ['cls', 'pg_catalog.nope', '42P01'],
  ['cls', 'nowhere.nope', '42P01'],
  ['cls', 'elsewhere.public.nope', '0A000'],
  ['cls', 'a..b', '42602'],
  ['cls', 'hidden.x', '42501'],
  ['clss', '{1259,nope}', '42P01'],
  ['typ', 'nope', '42704'],
  ['typ', 'nowhere.nope', '3F000'],
  ['typ', 'int(', '42601'],
  ['proc', 'nope', '42883'],
  ['proc', 'upper', '42725'],
  ['op', '+', '42725'],
  ['role', 'nobody at all', '42602'],
  ['role', 'nobody_at_all', '42704'],
  ['ns', 'nope', '3F000'],
  ['q', '&', '42601'],
]

const values = bad.map(([column, value], n) => JSON.stringify({ n, [column]: value }))
const good = JSON.stringify({
  n: 1000,
  cls: '1259',
  mood: 'sad',
  few: '[a,z)',
  short: 'yes',
  typ: 'int4',
  role: 'pg_monitor',
})

interface Way {
  name: string
  options: Record<string, string>
  /** All messages in one batch, after some that make the loop begin; else each in a batch of its own. */
  looped: boolean
}

const ways: Way[] = [
  { name: 'direct', options: {}, looped: false },
  { name: 'direct_looped', options: {}, looped: true },
  { name: 'staged', options: { mode: 'upsert' }, looped: false },
  { name: 'staged_looped', options: { mode: 'upsert' }, looped: true },
]

test('a value that is none of its type is a dead letter with the same reason by every way', async (t) => {
  const roles = await plainRoles(t)
  const { db } = roles
  const asOwner = await db.client({ connectionString: roles.urlOf(roles.daemon) })
  await db.query(`ALTER SCHEMA public OWNER TO ${roles.daemon}; CREATE SCHEMA hidden`)
  await asOwner.query(`CREATE TYPE mood AS ENUM ('happy', 'sad'); CREATE TYPE few AS RANGE (subtype = text);
    CREATE DOMAIN short AS varchar(3) CHECK (VALUE <> 'no')`)
  const begun: (Way & { topic: string })[] = []
  for (const way of ways) {
    await asOwner.query(`CREATE TABLE ${way.name} (${columns})`)
    const topic = await topicFor(t, { partitions: 1 })
    if (way.looped) {
      const first = Array.from({ length: 5 }, () => ({ value: '{"n": "x"}' }))
      await produce(topic, [...first, ...[...values, good].map((value) => ({ value }))])
    }
    await consume(asOwner, topic, way.name, { on_error: 'dead_letter', ...way.options })
    begun.push({ ...way, topic })
  }
  await untilRows(
    db,
    'SELECT way FROM millrace.consumer ORDER BY id',
    ways.map(({ options }) => [options.mode ? 'staged' : 'direct']),
  )
  await promptDaemon(t, { url: roles.urlOf(roles.daemon) })
  for (const [n, value] of [...values, good].entries()) {
    for (const { topic } of begun.filter(({ looped }) => !looped)) {
      await produce(topic, [{ value }])
      await untilPassed(db, topic, n + 1)
    }
  }
  const expected = bad.map(([column, value, sqlstate]) => [column, value, sqlstate])
  const reasons: unknown[] = []
  for (const { name, topic, looped } of begun) {
    await untilPassed(db, topic, values.length + 1 + (looped ? 5 : 0))
    await untilRows(db, `SELECT n, cls::text, mood::text FROM ${name}`, [[1000, 'pg_class', 'sad']])
    const { rows } = await db.query(
      `SELECT convert_from(value, 'UTF8')::jsonb AS value, sqlstate, message FROM millrace.dead_letter
        WHERE topic = $1 AND value <> '{"n": "x"}' ORDER BY "offset"`,
      [topic],
    )
    assert.deepEqual(
      rows.map(({ value: { n, ...given }, sqlstate }) => [...(Object.entries(given)[0] ?? []), sqlstate]),
      expected,
      name,
    )
    // names are shown as the search path has it, which differs between the ways
    reasons.push(rows.map(({ message }) => message.replaceAll('public.', '')))
  }
  for (const one of reasons) assert.deepEqual(one, reasons[0])
})

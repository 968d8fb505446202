// The demo shows CREATE EXTENSION wherever that works, which takes no superuser.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Installation } from '../../demo/installation.ts'
import { ownedDatabase } from '../support/owned-database.ts'

async function runAs(
  t: Parameters<typeof ownedDatabase>[0],
  prepare: (name: string, owner: string) => string,
) {
  const { database, roles, superuser } = await ownedDatabase(t, { installed: false })
  await superuser.run(`ALTER ROLE ${roles.owner} PASSWORD 'secret-of-test'`)
  const url = database.urlAs(roles.owner, 'secret-of-test')
  const client = await database.client({ connectionString: url })
  const installation = await Installation.inspect(client, url)
  const said: string[] = []
  const say = (line: string): number => said.push(line.trim())
  await installation.install(say)
  await client.query('CREATE TABLE orders (a int)')
  await superuser.run(prepare(database.name, roles.owner))
  await installation.runSql('localhost:9092', 'topic', 'orders', say)
  const extensions = await superuser.column(
    `SELECT pg_get_userbyid(extowner) FROM pg_extension WHERE extname = 'pipeline_kafka'`,
  )
  return { said, extensions, roles }
}

test('a plain owner of the database creates the extension', async (t) => {
  const { said, extensions, roles } = await runAs(t, () => 'SELECT')
  assert.deepEqual(extensions, [roles.owner])
  assert.ok(said.includes('CREATE EXTENSION pipeline_kafka;'), said.join('\n'))
})

test('who may not create anything in the database installs over the connection', async (t) => {
  const { said, extensions } = await runAs(
    t,
    (name, owner) => `CREATE SCHEMA pipeline_kafka AUTHORIZATION ${owner};
      ALTER DATABASE ${name} OWNER TO CURRENT_USER; GRANT CONNECT, TEMPORARY ON DATABASE ${name} TO ${owner};
      GRANT CREATE ON SCHEMA public TO ${owner}`,
  )
  assert.deepEqual(extensions, [])
  assert.match(said.join('\n'), /CREATE EXTENSION is not to be had here/)
})

// A daemon as it should run in production: its role owns the schema, is no superuser, and may act as one role that
// owns consumers and not as another.
import { randomUUID } from 'node:crypto'
import type { PostgresServer } from '../../stack/postgres.ts'
import type { Cleanup } from './cleanup.ts'
import type { Database } from './database.ts'
import { addBroker } from './flow.ts'
import { ownedDatabase } from './owned-database.ts'

export interface PlainRoles {
  /** As superuser. */
  db: Database
  daemon: string
  /** The daemon may act as it, and every topic is granted to it. */
  owner: string
  mallory: string
  /** Of all three. */
  password: string
  /** Where one of them connects. */
  urlOf(role: string): string
}

/** @param own servers of the test's own; default: the shared ones */
export async function plainRoles(
  t: Cleanup,
  own?: { postgres: PostgresServer; brokers: string },
): Promise<PlainRoles> {
  const {
    database: db,
    roles,
    superuser,
  } = await ownedDatabase(t, own && { server: { server: own.postgres } })
  const { owner: daemon, alice: owner, bob: mallory } = roles
  const password = `secret-${randomUUID()}`
  for (const role of [daemon, owner, mallory])
    await superuser.run(`ALTER ROLE ${role} PASSWORD '${password}'`)
  await addBroker(db, own?.brokers)
  await superuser.run(`SELECT millrace.grant_topic('*', $1)`, [owner])
  return { db, daemon, owner, mallory, password, urlOf: (role) => db.urlAs(role, password) }
}

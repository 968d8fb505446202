// What `millrace pg2kafka` makes of a database before its daemon starts, as often as it is started: each step looks at what
// is there and does what is missing. Several may start at a time.

import type pg from 'pg'
import { MillraceError } from '../errors.ts'
import { type DialectChange, installDialect } from './dialect.ts'
import { becomeOwner, changing, checkSchema, type SchemaChange, upgradeSchema } from './schema.ts'

export interface Pg2kafkaPreparation {
  migrate: boolean
  /** To be those of the cluster `default`; empty: whatever it has. */
  brokers: string[]
  namespace: string
}

export interface Pg2kafkaPrepared {
  migrated: { schema: SchemaChange; dialect: DialectChange } | null
  /** Brokers of the cluster `default` that were added, and those whose place they took. */
  added: string[]
  removed: string[]
}

/**
 * @throws MillraceError schema-missing, schema-older, schema-newer, schema-taken, dialect-missing, dialect-name-taken,
 *   not-daemon-role, database-unreachable, database-refused, topic-invalid, topic-not-granted
 */
export async function preparePg2kafka(
  client: pg.ClientBase,
  { migrate, brokers, namespace }: Pg2kafkaPreparation,
): Promise<Pg2kafkaPrepared> {
  const migrated = migrate
    ? { schema: await upgradeSchema(client), dialect: await installDialect(client, 'pg2kafka') }
    : null
  await checkSchema(client)
  return changing(client, async ({ owner }) => {
    const { rows } = await client.query<{ there: boolean }>(
      "SELECT pg_catalog.to_regprocedure('pg2kafka.set_namespace(text)') IS NOT NULL AS there",
    )
    if (!rows[0]?.there) throw new MillraceError('dialect-missing', { dialect: 'pg2kafka' })
    await becomeOwner(client, owner)
    await client.query('SELECT pg2kafka.set_namespace($1)', [namespace])
    return { migrated, ...(await setBrokers(client, brokers)) }
  })
}

/** Addresses of one cluster are as good as each other; where none of them is known, they are of another one. */
async function setBrokers(
  client: pg.ClientBase,
  wanted: string[],
): Promise<{ added: string[]; removed: string[] }> {
  const { rows } = await client.query<{ host: string }>(
    "SELECT host FROM millrace.broker WHERE cluster = 'default' ORDER BY host",
  )
  const known = rows.map(({ host }) => host)
  const isOneOf = (host: string, hosts: string[]): boolean => hosts.map(addressOf).includes(addressOf(host))
  const added = wanted.filter((host, at) => !isOneOf(host, known) && !isOneOf(host, wanted.slice(0, at)))
  const other = wanted.length > 0 && !wanted.some((host) => isOneOf(host, known))
  const removed = other ? known : []
  for (const host of added) await client.query('SELECT millrace.add_broker($1)', [host])
  for (const host of removed) await client.query('SELECT millrace.remove_broker($1)', [host])
  return { added, removed }
}

function addressOf(host: string): string {
  return host.toLowerCase() + (/:\d+$/.test(host) ? '' : ':9092')
}

// `millrace pg2kafka` in a database as pg2kafka's document creates one: with nothing in it.
import assert from 'node:assert/strict'
import { afterwards, type Cleanup } from './cleanup.ts'
import { type Daemon, startDaemon } from './daemon.ts'
import { type Database, databaseAt } from './database.ts'
import { type ReadRecord, readWithJava } from './java-client.ts'
import { promptRelay, untilCount } from './sent.ts'
import { sharedServers } from './servers.ts'

export interface Shop {
  db: Database
  /** As somebody would export it. */
  url: string
  /** The executable; `env` is stronger. */
  start(env?: Record<string, string | undefined>): Promise<Daemon>
}

/** $ createdb NAME */
export async function shopFor(t: Cleanup, name: string): Promise<Shop> {
  const { databaseUrl, brokers } = sharedServers()
  const postgres = databaseAt(t, databaseUrl)
  afterwards(t, () => postgres.query(`DROP DATABASE ${name} WITH (FORCE)`))
  await postgres.query(`CREATE DATABASE ${name} TEMPLATE template0`)
  const address = new URL(databaseUrl)
  address.pathname = `/${name}`
  const url = `${address.href}?sslmode=disable`
  const variables = { KAFKA_BROKER: brokers, PERFORM_MIGRATIONS: 'true' }
  return {
    db: databaseAt(t, url),
    url,
    start: (env = {}) =>
      startDaemon(t, { url, command: 'pg2kafka', env: { ...promptRelay, ...variables, ...env } }),
  }
}

export interface Event {
  uuid: string
  external_id: string | null
  statement: string
  data: Record<string, unknown>
  created_at: string
}

/** Checks what is the same of every event. */
export function eventOf({ key, value, timestamp }: ReadRecord): Event {
  const text = Buffer.from(value!, 'latin1').toString()
  const event = JSON.parse(text) as Event
  assert.deepEqual(Object.keys(event), ['uuid', 'external_id', 'statement', 'data', 'created_at'])
  assert.match(event.uuid, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
  assert.match(event.created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$/)
  assert.equal(timestamp, Math.floor(Date.parse(event.created_at)), 'the message has the time of the event')
  assert.equal(key === null ? null : Buffer.from(key, 'latin1').toString(), event.external_id)
  return event
}

/** Of a topic, once there are so many: those of one key in their order. */
export async function eventsOf(t: Cleanup, topic: string, count: number): Promise<Event[]> {
  await untilCount(topic, count)
  return (await readWithJava(t, topic)).map(eventOf)
}

export function shown({ external_id, statement, data }: Event): unknown[] {
  return [statement, external_id, data]
}

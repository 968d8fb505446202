// A server that many consumers use is away: the log says so once, not once for each of them, and every state shows it.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type KafkaServer, startKafka } from '../../stack/kafka.ts'
import type { Daemon } from '../support/daemon.ts'
import { type Database, databaseFor } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { addBroker, begin, promptDaemon, untilPassed, untilState } from '../support/flow.ts'
import { postgresFor } from '../support/servers.ts'
import { produce, topicFor } from '../support/topic.ts'

let kafka: KafkaServer
before(async () => {
  kafka = await startKafka({ brief: true })
})
after(() => kafka?.remove())

interface Line {
  level: string
  msg: string
  err?: { code?: string; stack?: string }
  over?: string[]
}

function linesOf(daemon: Daemon): Line[] {
  const whole = daemon.output().split('\n').slice(0, -1)
  return whole.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line))
}

const warnings = (daemon: Daemon): string[] =>
  linesOf(daemon)
    .filter(({ level, msg }) => level === 'warn' && msg.endsWith('trying again'))
    .map(({ msg, err }) => `${msg}: ${err?.code}`)

const recoveries = (daemon: Daemon, name: string): number =>
  linesOf(daemon).filter(
    ({ level, msg, over }) => level === 'info' && msg === 'recovered' && over?.includes(name),
  ).length

/** Several consumers that have read something. */
async function consumersOf(
  t: Parameters<typeof topicFor>[0],
  db: Database,
  brokers?: string,
): Promise<string[]> {
  const topics: string[] = []
  for (let n = 0; n < 4; n++) {
    const topic = await topicFor(t, { partitions: 1, ...(brokers && { brokers }) })
    topics.push(topic)
    await db.query(`CREATE TABLE t${n} (n int)`)
    await produceOne(topic, brokers)
    await begin(db, topic, `t${n}`, { start_offset: -2 })
    await untilPassed(db, topic, 1)
  }
  return topics
}

function produceOne(topic: string, brokers?: string): Promise<void> {
  return produce(topic, [{ value: '1', partition: 0 }], brokers === undefined ? {} : { brokers })
}

test('a broker that is gone is one warning for all consumers, and one line when it is back', async (t) => {
  const { brokers } = kafka
  const db = await databaseFor(t)
  await addBroker(db, brokers)
  const daemon = await promptDaemon(t, db)
  const topics = await consumersOf(t, db, brokers)
  await kafka.kill()
  for (const topic of topics) await untilState(db, topic, 'retrying')
  const said = warnings(daemon)
  assert.equal(
    said.filter((line) => line === 'Kafka is away; trying again: kafka-unreachable').length,
    1,
    said.join('\n'),
  )
  assert.equal(new Set(said).size, said.length, said.join('\n'))
  const later = linesOf(daemon).filter(({ level, msg }) => level === 'debug' && msg === 'trying again')
  assert.ok(later.length >= topics.length - 1, 'the others are to be found at debug')
  assert.ok(later.every(({ err }) => err === undefined))
  await kafka.start()
  for (const topic of topics) await untilState(db, topic, 'running', { deadline: 60_000 })
  const away = warnings(daemon).filter((line) => line.startsWith('Kafka is away')).length
  assert.equal(recoveries(daemon, 'Kafka cluster default: kafka-unreachable'), away)
})

test('a broker that is frozen for longer than the request timeout shows as retrying', async (t) => {
  const { brokers } = kafka
  const db = await databaseFor(t)
  await addBroker(db, brokers)
  await promptDaemon(t, db, {
    env: {
      MILLRACE_KAFKA_REQUEST_TIMEOUT: '2s',
      // so that it is not the group that notices
      MILLRACE_GROUP_SESSION_TIMEOUT: '120s',
      MILLRACE_GROUP_HEARTBEAT_INTERVAL: '40s',
      MILLRACE_KAFKA_METADATA_INTERVAL: '60s',
    },
  })
  const topic = await topicFor(t, { partitions: 1, brokers })
  await db.query('CREATE TABLE target (n int)')
  await produceOne(topic, brokers)
  await begin(db, topic, 'target', { start_offset: -2 })
  await untilPassed(db, topic, 1)
  await untilState(db, topic, 'running')
  process.kill(kafka.pid(), 'SIGSTOP')
  try {
    const { error_code } = await untilState(db, topic, 'retrying')
    assert.equal(error_code, 'kafka-unreachable')
  } finally {
    process.kill(kafka.pid(), 'SIGCONT')
  }
  await untilState(db, topic, 'running', { deadline: 60_000 })
  await produceOne(topic, brokers)
  await untilPassed(db, topic, 2)
})

test('PostgreSQL that is gone is one warning for the daemon and all consumers', async (t) => {
  const server = await postgresFor(t, { settings: { fsync: 'off' } })
  const db = await databaseFor(t, { server })
  await addBroker(db)
  const daemon = await promptDaemon(t, db)
  const topics = await consumersOf(t, db)
  await server.stop()
  for (const topic of topics) await produceOne(topic)
  await eventually('all of them have met it', () => {
    const met = linesOf(daemon).filter(({ msg }) => msg.endsWith('trying again'))
    return met.length >= topics.length
  })
  const said = warnings(daemon)
  assert.equal(said.length, 1, said.join('\n'))
  assert.match(said[0]!, /^PostgreSQL is away; trying again: /)
  await server.start()
  for (const topic of topics) await untilPassed(db, topic, 2)
  await eventually('it is said to be back', () => recoveries(daemon, 'PostgreSQL') > 0)
  assert.equal(recoveries(daemon, 'PostgreSQL'), warnings(daemon).length)
})

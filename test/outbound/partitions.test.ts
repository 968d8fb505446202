// What a producer meets at partitions that come, go and refuse: nothing counts as sent that is not written, and one
// partition holds up nobody but its topic.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  AclOperations,
  AclPermissionTypes,
  ResourcePatternTypes,
  ResourceTypes,
} from '../../src/kafka/library.ts'
import { databaseFor } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { addBroker, promptDaemon } from '../support/flow.ts'
import { readWithJava } from '../support/java-client.ts'
import { distinct, outboxStatus, promptRelay, untilCount, untilSent, valuesOf } from '../support/sent.ts'
import { kafkaFor, postgresFor } from '../support/servers.ts'
import { adminOf, topicFor } from '../support/topic.ts'

test('what waited for the right to write is written when the right is there, not taken for a repetition', async (t) => {
  const { brokers } = await kafkaFor(t, {
    settings: {
      'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
      'allow.everyone.if.no.acl.found': 'true',
    },
  })
  const db = await databaseFor(t)
  await addBroker(db, brokers)
  const topic = await topicFor(t, { partitions: 1, brokers })
  await promptDaemon(t, db, { env: promptRelay })
  const produce = (value: string) => db.query('SELECT millrace.produce($1, $2, $3)', [topic, value, 'k'])
  await produce('one')
  await untilSent(db)
  const writing = {
    resourceType: ResourceTypes.TOPIC,
    resourcePatternType: ResourcePatternTypes.LITERAL,
    operation: AclOperations.WRITE,
    permissionType: AclPermissionTypes.DENY,
  }
  const everybody = { resourceName: topic, principal: 'User:*', host: '*' }
  await adminOf(brokers).createAcls({ creations: [{ ...writing, ...everybody }] })
  await eventually('the broker knows', async () => {
    await produce('refused')
    return (await outboxStatus(db)).waiting_code === 'topic-not-writable'
  })
  await adminOf(brokers).deleteAcls({ filters: [{ ...writing, ...everybody }] })
  await eventually('nothing waits', async () => (await outboxStatus(db)).waiting === '0')
  await produce('last')
  await untilSent(db)
  const { rows } = await db.query('SELECT last_value AS count FROM millrace.outbox_id')
  const values = valuesOf(await readWithJava(t, topic, brokers))
  assert.equal(values.length, Number(rows[0].count), `each message that was produced: ${values}`)
  assert.deepEqual([values[0], values.at(-1)], ['one', 'last'])
})

test('a user who may write to no topic: the code says so, and what was produced is sent when there is a right', async (t) => {
  const { brokers } = await kafkaFor(t, {
    settings: {
      'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
      'allow.everyone.if.no.acl.found': 'true',
    },
  })
  const db = await databaseFor(t)
  await addBroker(db, brokers)
  const topic = await topicFor(t, { partitions: 1, brokers })
  const everybody = {
    ...{ principal: 'User:*', host: '*', resourcePatternType: ResourcePatternTypes.LITERAL },
    permissionType: AclPermissionTypes.DENY,
  }
  const denied = [
    {
      ...everybody,
      resourceType: ResourceTypes.CLUSTER,
      resourceName: 'kafka-cluster',
      operation: AclOperations.IDEMPOTENT_WRITE,
    },
    { ...everybody, resourceType: ResourceTypes.TOPIC, resourceName: '*', operation: AclOperations.WRITE },
  ]
  const allowed = denied.map((acl) => ({
    ...acl,
    operation: AclOperations.ALL,
    permissionType: AclPermissionTypes.ALLOW,
  }))
  const admin = adminOf(brokers)
  await admin.createAcls({ creations: [...allowed, ...denied] })
  await promptDaemon(t, db, { env: promptRelay })
  await db.query("SELECT millrace.produce($1, 'v')", [topic])
  await eventually('it shows', async () => (await outboxStatus(db)).error_code === 'sending-denied')
  await admin.deleteAcls({ filters: denied })
  await untilSent(db)
  await eventually('it is over', async () => (await outboxStatus(db)).error_code === null)
  assert.deepEqual(valuesOf(await readWithJava(t, topic, brokers)), ['v'])
})

test('a topic that is created again with fewer partitions gets what is produced then, and holds up nobody', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  const topic = await topicFor(t)
  const other = await topicFor(t)
  await promptDaemon(t, db, { env: promptRelay })
  const produce = (round: string) =>
    db.query("SELECT millrace.produce($1, $2 || i, 'k' || i) FROM generate_series(1, 20) AS i", [
      topic,
      round,
    ])
  await produce('a')
  await untilCount(topic, 20)
  await adminOf().deleteTopics({ topics: [topic] })
  await eventually('the topic is gone', async () => {
    const found = await adminOf()
      .metadata({ topics: [topic], forceUpdate: true })
      .catch(() => null)
    return !found?.topics.get(topic)?.partitionsCount
  })
  await adminOf().createTopics({ topics: [topic], partitions: 1, replicas: 1 })
  await produce('b')
  await db.query("SELECT millrace.produce($1, 'v')", [other])
  await untilCount(other, 1)
  await eventually('nothing waits', async () => {
    const { backlog, waiting } = await outboxStatus(db)
    return backlog === '0' && waiting === '0'
  })
  const { records } = await distinct(t, topic)
  assert.deepEqual(valuesOf(records).sort(), Array.from({ length: 20 }, (_, i) => `b${i + 1}`).sort())
})

test('a transaction can be prepared while the relay has nothing to do', async (t) => {
  const server = await postgresFor(t, { settings: { max_prepared_transactions: '5' } })
  const db = await databaseFor(t, { server })
  await addBroker(db)
  const topic = await topicFor(t, { partitions: 1 })
  await promptDaemon(t, db, { env: promptRelay })
  await db.query("SELECT millrace.produce($1, 'first')", [topic])
  await untilCount(topic, 1)
  const client = await db.client()
  // nothing new comes meanwhile, so the relay would go to sleep
  for (let i = 0; i < 300; i++) {
    await client.query('BEGIN')
    await client.query("SELECT millrace.produce($1, 'second')", [topic])
    await client.query("PREPARE TRANSACTION 'p'")
    await client.query(i < 299 ? "ROLLBACK PREPARED 'p'" : "COMMIT PREPARED 'p'")
  }
  await untilCount(topic, 2)
})

test('large messages that were sent leave the disk', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  const topic = await topicFor(t, { config: { 'max.message.bytes': '2000000' } })
  await promptDaemon(t, db, { env: promptRelay })
  const random = Buffer.from(Array.from({ length: 1000 }, () => Math.floor(Math.random() * 256)))
  for (let i = 0; i < 45; i++) {
    await db.query(
      `SELECT millrace.produce($1, (SELECT string_agg(sha512(($2 || i)::bytea), NULL) FROM generate_series(1, 15000) AS i), $3::bytea)`,
      [topic, random.toString('hex') + i, Buffer.from('k')],
    )
  }
  await untilCount(topic, 45)
  // while nothing is produced it looks every ten seconds, first for another segment, then for what can go
  const isSmall = async () => {
    const { rows } = await db.query(
      `SELECT sum(pg_total_relation_size(('millrace.outbox_' || i)::regclass))::float8 AS bytes FROM generate_series(0, 3) AS i`,
    )
    return rows[0].bytes < 34e6
  }
  await eventually('less is there than was sent', isSmall, { deadline: 60_000 })
})

test('a message that no broker takes, by its value or by its headers, holds up its key alone', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  const topic = await topicFor(t)
  await promptDaemon(t, db, { env: promptRelay })
  await db.query(
    `INSERT INTO millrace.outbox_0 (cluster, topic, key, headers)
     VALUES ('default', $1, 'a', ARRAY['h', decode(repeat('00', 100000000), 'hex')]),
            ('default', $1, 'b', array_fill(''::bytea, ARRAY[12000000]))`,
    [topic],
  )
  await db.query('SELECT millrace.outbox_wake()')
  await db.query("SELECT millrace.produce($1, 'v', key) FROM unnest('{a,c}'::text[]) AS key", [topic])
  await untilCount(topic, 1)
  await eventually('three wait', async () => (await outboxStatus(db)).waiting === '3')
  const { waiting_code, waiting_message } = await outboxStatus(db)
  assert.equal(waiting_code, 'message-refused')
  assert.match(waiting_message!, /95 MB/)
})

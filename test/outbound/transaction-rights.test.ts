// Sending exactly once needs rights in Kafka that other sending does not. Whichever one is missing, the code says so, other
// clusters are sent to meanwhile, and it goes on by itself when the right is there.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Coordinator } from '../../src/kafka/coordinator.ts'
import {
  AclOperations,
  AclPermissionTypes,
  ResourcePatternTypes,
  ResourceTypes,
} from '../../src/kafka/library.ts'
import { Transactions } from '../../src/kafka/transactions.ts'
import { afterwards, type Cleanup } from '../support/cleanup.ts'
import { eventually } from '../support/eventually.ts'
import { exactDatabase, positionTopicOf, valuesOnce } from '../support/exact.ts'
import { promptDaemon } from '../support/flow.ts'
import { outboxStatus, promptRelay, untilCount, untilSent } from '../support/sent.ts'
import { kafkaFor, sharedServers } from '../support/servers.ts'
import { adminOf, topicFor } from '../support/topic.ts'

type Operation = 'READ' | 'WRITE' | 'CREATE' | 'DESCRIBE'
type Resource = [type: keyof typeof ResourceTypes, name: string]

const patient = { deadline: 60_000 }

/** A database that sends to a broker with ACLs, exactly once, and to another cluster. */
async function setUp(t: Cleanup) {
  const { brokers } = await kafkaFor(t, {
    settings: {
      'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
      'allow.everyone.if.no.acl.found': 'true',
    },
  })
  const db = await exactDatabase(t, { brokers })
  await db.query("SELECT millrace.add_cluster('other', $1)", [sharedServers().brokers])
  const topic = await topicFor(t, { partitions: 2, brokers })
  const elsewhere = await topicFor(t, { partitions: 1 })
  const positions = await positionTopicOf(db)
  let count = 0
  const admin = adminOf(brokers)
  return {
    db,
    brokers,
    topic,
    positions,
    transactionalId: positions.replace(/\.position$/, ''),
    /** One message for each cluster. */
    produce: async () => {
      count++
      await db.query(
        "SELECT millrace.produce($1, $3, 'k', cluster := 'default'), millrace.produce($2, $3, cluster := 'other')",
        [topic, elsewhere, String(count)],
      )
    },
    /** @returns what takes it back */
    deny: async (operation: Operation, ...resources: Resource[]) => {
      const acl = (operation: keyof typeof AclOperations, permission: 'ALLOW' | 'DENY') =>
        resources.map(([type, resourceName]) => ({
          resourceType: ResourceTypes[type],
          resourceName,
          resourcePatternType: ResourcePatternTypes.LITERAL,
          operation: AclOperations[operation],
          permissionType: AclPermissionTypes[permission],
          ...{ principal: 'User:*', host: '*' },
        }))
      // what has any ACL is open to nobody without one
      await admin.createAcls({ creations: [...acl('ALL', 'ALLOW'), ...acl(operation, 'DENY')] })
      return async () => {
        await admin.deleteAcls({ filters: acl(operation, 'DENY') })
      }
    },
    untilCode: (code: string, message: string) =>
      eventually(
        `${code} ${message}`,
        async () => {
          const { rows } = await db.query('SELECT * FROM millrace.outbox_status WHERE cluster = $1', [
            'default',
          ])
          return rows[0].error_code === code && rows[0].error_message.includes(message)
        },
        patient,
      ).catch(async (error) => {
        throw new Error(`${error.message}; it is ${JSON.stringify(await outboxStatus(db))}`)
      }),
    /** That all of it is in Kafka, once. */
    check: async () => {
      await untilSent(db, patient)
      await eventually('nothing is wrong', async () => {
        const { error_code, waiting } = await outboxStatus(db)
        return error_code === null && waiting === '0'
      })
      const values = (await valuesOnce(t, topic, brokers)).map(Number)
      assert.deepEqual(
        values.toSorted((a, b) => a - b),
        Array.from({ length: count }, (_, i) => i + 1),
      )
    },
    untilElsewhere: () => untilCount(elsewhere, count, patient),
  }
}

test('rights that are missing when sending begins', async (t) => {
  const { db, positions, transactionalId, produce, deny, untilCode, check, untilElsewhere } = await setUp(t)
  const id: Resource = ['TRANSACTIONAL_ID', transactionalId]
  const topic: Resource = ['TOPIC', positions]
  const cases: [Operation, Resource[], string, string][] = [
    // the first one, as long as there is no topic
    ['CREATE', [topic, ['CLUSTER', 'kafka-cluster']], 'position-topic-denied', 'CREATE the topic'],
    ['DESCRIBE', [id], 'transaction-refused', transactionalId],
    ['WRITE', [id], 'transaction-refused', transactionalId],
    ['DESCRIBE', [topic], 'position-topic-denied', 'DESCRIBE the topic'],
    ['READ', [topic], 'position-topic-denied', 'READ the topic'],
    ['WRITE', [topic], 'position-topic-denied', 'WRITE the topic'],
  ]
  for (const [operation, resources, code, message] of cases) {
    const allow = await deny(operation, ...resources)
    const daemon = await promptDaemon(t, db, { env: promptRelay })
    await produce()
    await untilCode(code, message)
    await untilElsewhere()
    // it is said once, however often it is asked
    const lines = daemon.output().split('\n')
    const said = lines.filter((line) => line.includes('"level":"warn"') && line.includes(`"code":"${code}"`))
    assert.equal(said.length, 1, said.join('\n'))
    await allow()
    await check()
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
  }
})

test('rights that are taken back while it sends', async (t) => {
  const { db, positions, transactionalId, topic, produce, deny, untilCode, check, untilElsewhere } =
    await setUp(t)
  const daemon = await promptDaemon(t, db, { env: promptRelay })
  await produce()
  await check()
  const cases: [Operation, Resource, string, string][] = [
    ['WRITE', ['TRANSACTIONAL_ID', transactionalId], 'transaction-refused', transactionalId],
    ['WRITE', ['TOPIC', positions], 'position-topic-denied', 'WRITE the topic'],
  ]
  for (const [operation, resource, code, message] of cases) {
    const allow = await deny(operation, resource)
    await produce()
    await untilCode(code, message)
    await produce()
    await untilElsewhere()
    await allow()
    await check()
  }
  // of a topic of messages it is those that wait
  const allow = await deny('WRITE', ['TOPIC', topic])
  await produce()
  await eventually('it waits', async () => (await outboxStatus(db)).waiting_code === 'topic-not-writable')
  await untilElsewhere()
  await allow()
  await check()
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
})

test('whether a transactional id may be used is known before anything is sent under it', async (t) => {
  const { transactionalId, topic, brokers, deny } = await setUp(t)
  const next = `${transactionalId}:2`
  const access = {
    name: 'default',
    brokers: brokers.split(','),
    clientId: 'asks',
    connectTimeout: 5000,
    requestTimeout: 5000,
  }
  const told: (string | null)[] = []
  const trouble = (error: Error | null) => told.push(error ? error.message : null)
  const events = { maySend: () => true, answered: () => {}, trouble }
  const sender = new Transactions('default', [], new Coordinator(access, { min: 20, max: 100 }, events))
  afterwards(t, () => sender.close())
  assert.equal(await sender.begin(transactionalId, 0), null)
  assert.equal(await sender.mayUse(next), true, 'nobody has used it yet')
  const allow = await deny('DESCRIBE', ['TRANSACTIONAL_ID', next])
  assert.equal(await sender.mayUse(next), false)
  assert.match(String(told), new RegExp(`in transactions: transactional id ${next}`))
  // the one that it has is not concerned
  await sender.include([{ topic, partition: 0 }])
  assert.equal(told.at(-1), null)
  await allow()
  assert.equal(await sender.mayUse(next), true)
})

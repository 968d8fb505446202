// Messages in another encoding than the database's: the consumer's own, else that of its role, else that of the database.
import { test } from 'node:test'
import { databaseFor } from '../support/database.ts'
import { addBroker, begin, promptDaemon, untilRows } from '../support/flow.ts'
import { produce, topicFor } from '../support/topic.ts'

const latin1 = Buffer.from('Zürich\t1', 'latin1')

test('text in LATIN1, as the consumer or its database says', async (t) => {
  const db = await databaseFor(t)
  await addBroker(db)
  await promptDaemon(t, db)
  const [own, inherited] = [await topicFor(t, { partitions: 1 }), await topicFor(t, { partitions: 1 })]
  await db.query('CREATE TABLE own (place text, n int); CREATE TABLE inherited (place text, n int)')
  await produce(own, [{ value: latin1 }])
  await produce(inherited, [{ value: latin1 }])
  await db.query(
    `SELECT millrace.consume($1, 'own', format => 'text', encoding => 'LATIN1', start_offset => -2)`,
    [own],
  )
  await untilRows(db, 'SELECT place, n FROM own', [['Zürich', 1]])
  await db.query(`ALTER DATABASE ${db.name} SET client_encoding = 'LATIN1'`)
  await begin(db, inherited, 'inherited', { start_offset: -2 })
  const client = await db.client()
  await client.query(`SET client_encoding = 'UTF8'`)
  await untilRows(db, `SELECT encode(convert_to(place, 'UTF8'), 'hex'), n FROM inherited`, [
    [Buffer.from('Zürich').toString('hex'), 1],
  ])
})

// F07 A disk that is really full, under the table alone or under everything with the WAL: waited for, visibly, and
// nobody's message is to blame.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { databaseFor } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { addBroker, promptDaemon, untilState } from '../support/flow.ts'
import { Ledger } from '../support/ledger.ts'
import { postgresFor } from '../support/servers.ts'
import { noSmallDisk, smallDisk } from '../support/small-disk.ts'

const mebibyte = 1024 * 1024

test('F07 the disk of a table is full', { skip: noSmallDisk }, async (t) => {
  const disk = await smallDisk(t, 64 * mebibyte)
  const server = await postgresFor(t, { settings: { fsync: 'off' } })
  const db = await databaseFor(t, { server })
  await addBroker(db)
  await promptDaemon(t, db)
  await db.query(`CREATE TABLESPACE small LOCATION '${disk.folder}'`)
  const ledger = await Ledger.open(t, db)
  await db.query(`ALTER TABLE ${ledger.table} SET TABLESPACE small`)
  await ledger.begin({ maxbytes: 100_000, parallelism: 2 })
  await ledger.produce(1000)
  await ledger.untilWhole()
  await disk.fill(mebibyte)
  await ledger.produce(40_000)
  const retrying = await untilState(db, ledger.topic, 'retrying', { deadline: 60_000 })
  assert.equal(retrying.error_code, '53100')
  assert.match(retrying.error_message ?? '', /No space left on device/)
  const loaded = await ledger.check()
  assert.ok(loaded < ledger.total, `${loaded} are loaded`)
  await disk.free()
  await ledger.untilWhole()
  await untilState(db, ledger.topic, 'running')
})

test('F07 the disk of the whole server is full, its WAL included', { skip: noSmallDisk }, async (t) => {
  const disk = await smallDisk(t, 400 * mebibyte)
  const server = await postgresFor(t, {
    dataDirectory: join(disk.folder, 'data'),
    settings: { fsync: 'off', min_wal_size: '32MB', max_wal_size: '32MB' },
  })
  const db = await databaseFor(t, { server })
  await addBroker(db)
  const daemon = await promptDaemon(t, db)
  const ledger = await Ledger.open(t, db)
  await ledger.begin({ maxbytes: 100_000, parallelism: 2 })
  await ledger.produce(1000)
  await ledger.untilWhole()
  await disk.fill(mebibyte)
  await ledger.produce(60_000)
  await daemon.waitForLog(/No space left on device|PostgreSQL is away/, { deadline: 60_000 })
  await disk.free()
  await eventually('the server answers', async () => {
    // where it could not even recover it has given up
    await server.start()
    return db.query('SELECT 1')
  })
  await ledger.untilWhole()
  await untilState(db, ledger.topic, 'running')
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
})

// What it costs to walk the records of a batch: values alone, and records with all they have beside them.
//
// node bench/records.ts [records]

import { readRecordBatches } from '../src/kafka/record-batch.ts'
import { RecordWalk } from '../src/kafka/records.ts'
import { WalkedRecord } from '../src/kafka/walked-record.ts'
import { batchBytes } from '../test/kafka/log-segment.ts'

const count = Number(process.argv[2] ?? 20_000)
const rounds = 30
const place = { partition: 0, offset: 0n }

const records = Array.from({ length: count }, (_, delta) => ({
  delta,
  key: Buffer.from(`key ${delta}`),
  value: Buffer.from(`${10_000_000 + delta}\tname ${delta % 1000}\tRotterdam`),
  headers: [[Buffer.from('trace'), Buffer.from('0123456789abcdef')]] as [Buffer, Buffer][],
}))
const [batch] = readRecordBatches(batchBytes({ baseOffset: 0n, records }))
if (!batch) throw new Error('the batch cannot be read')

let bytes = 0
const values = { append: (_: Buffer, start: number, end: number) => void (bytes += end - start) }
const whole = { appendRecord: (record: WalkedRecord) => void (bytes += record.valueEnd - record.valueStart) }
const newWalk = () => new RecordWalk(batch.payload, count, 0, count, 0, place)

const spent = { values: Number.POSITIVE_INFINITY, records: Number.POSITIVE_INFINITY }
for (let round = 0; round < rounds; round++) {
  spent.values = Math.min(
    spent.values,
    time(() => newWalk().walk(values, Number.MAX_SAFE_INTEGER)),
  )
  const record = new WalkedRecord('topic', 0, batch)
  spent.records = Math.min(
    spent.records,
    time(() => newWalk().walkRecords(whole, record, Number.MAX_SAFE_INTEGER)),
  )
}
if (bytes === 0) throw new Error('nothing was walked')
console.log(`values alone ${spent.values.toFixed(0)} ns, whole records ${spent.records.toFixed(0)} ns`)

/** @returns ns per record */
function time(run: () => void): number {
  const start = process.hrtime.bigint()
  run()
  return Number(process.hrtime.bigint() - start) / count
}

// F35: names and characters from outside are data in the COPY statement.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { createFormat } from '../../src/formats/create-format.ts'
import type { FormatOptions } from '../../src/formats/format.ts'
import { CopyIn } from '../../src/postgres/copy.ts'
import { databaseFor } from '../support/database.ts'
import { column, encode, formatOf } from './encode.ts'

suite('the COPY statement', () => {
  const cases: [options: Partial<FormatOptions>, settings: string][] = [
    [{ format: 'text' }, String.raw`FORMAT text, DELIMITER E'\t'`],
    [{ format: 'text', delimiter: '|', encoding: 'LATIN1' }, `FORMAT text, DELIMITER '|', ENCODING 'LATIN1'`],
    // pipeline_kafka passes all three for any format; COPY takes them for csv only
    [{ format: 'text', quote: '"', escape: '"' }, String.raw`FORMAT text, DELIMITER E'\t'`],
    [{ format: 'csv' }, `FORMAT csv, DELIMITER ',', QUOTE '"', ESCAPE '"'`],
    [{ format: 'csv', quote: "'" }, `FORMAT csv, DELIMITER ',', QUOTE '''', ESCAPE ''''`],
    [
      { format: 'csv', delimiter: ';', escape: '\\' },
      String.raw`FORMAT csv, DELIMITER ';', QUOTE '"', ESCAPE E'\\'`,
    ],
    [{ format: 'csv', delimiter: '\x01' }, String.raw`FORMAT csv, DELIMITER E'\x01', QUOTE '"', ESCAPE '"'`],
    [
      { format: 'json', delimiter: ',', quote: '"', escape: '"', encoding: 'LATIN1' },
      String.raw`FORMAT text, DELIMITER E'\t', ENCODING 'UTF8'`,
    ],
  ]
  for (const [options, settings] of cases) {
    test(JSON.stringify(options), () => {
      const statement = formatOf(options).copyStatement({ columns: null, chunks: [] })
      assert.equal(statement, `COPY "public"."t" FROM STDIN WITH (${settings})`)
    })
  }
})

const hostile = [
  `x"; drop table t; --`,
  `it's "quoted"`,
  `back\\slash`,
  `new\nline`,
  `$$`,
  `é键😀`,
  ` `,
  `select`,
]

test('F35 hostile names of schema, relation and columns', async (t) => {
  const client = await (await databaseFor(t, { empty: true })).client()
  const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`
  for (const conforming of ['on', 'off']) {
    await client.query(`SET standard_conforming_strings = ${conforming}`)
    for (const name of hostile) {
      const relation = `${quoted(name)}.${quoted(name)}`
      await client.query(
        `CREATE SCHEMA ${quoted(name)}; CREATE TABLE ${relation} (${quoted(name)} int, b text)`,
      )
      const target = { schema: name, name, columns: [column(name), column('b', 'text')] }
      for (const [options, message] of [
        [{ format: 'text', delimiter: '|' }, '1|x'],
        [{ format: 'csv', quote: "'", escape: '\\' }, `1,'x'`],
        [{ format: 'csv', quote: '\\', escape: "'" }, `1,\\x\\`],
        [{ format: 'json' }, JSON.stringify({ [name]: 1, b: 'x' })],
      ] as const) {
        const format = createFormat({
          delimiter: null,
          quote: null,
          escape: null,
          encoding: null,
          serverVersion: 130000,
          target,
          ...options,
        })
        const [segment] = encode(format, [message]).segments
        await client.query(new CopyIn(format.copyStatement(segment!), segment!.chunks)).done
      }
      const { rows } = await client.query({ text: `SELECT * FROM ${relation}`, rowMode: 'array' })
      assert.deepEqual(rows, Array(4).fill([1, 'x']))
      await client.query(`DROP SCHEMA ${quoted(name)} CASCADE`)
    }
  }
})

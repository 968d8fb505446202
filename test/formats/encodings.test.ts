// F14, other encodings: a message in any of them becomes the rows that the same text becomes in UTF-8, and is refused
// for the same reason. The characters are those of which a later byte is one of COPY's own.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { Table } from './copy.ts'
import { encode } from './encode.ts'
import { holds } from './property.ts'
import type { Dialect } from './records.ts'

// not JOHAB: PostgreSQL refuses the very characters that it makes
const encodings = ['SJIS', 'SHIFT_JIS_2004', 'BIG5', 'GBK', 'UHC', 'GB18030', 'EUC_JP', 'LATIN1', 'WIN1251']

const dialects: Dialect[] = [
  { format: 'text' },
  { format: 'text', delimiter: '|' },
  { format: 'csv' },
  { format: 'csv', quote: '|', escape: '\\' },
]

/** Characters with their bytes in this encoding: some where a backslash or a bar is among these, and some more. */
async function charactersOf(table: Table, encoding: string): Promise<Map<string, Buffer>> {
  await table.client.query(`
    CREATE OR REPLACE FUNCTION pg_temp.encoded(code int, encoding name) RETURNS bytea LANGUAGE plpgsql AS $$
    BEGIN
      RETURN convert_to(chr(code), encoding);
    EXCEPTION WHEN untranslatable_character THEN
      RETURN NULL;
    END $$`)
  const { rows } = await table.client.query<{ character: string; bytes: Buffer }>(
    `SELECT chr(code) AS character, bytes
       FROM (SELECT code, pg_temp.encoded(code, $1) AS bytes
               FROM (SELECT generate_series(160, 1200, 7) UNION ALL SELECT generate_series(12352, 40000, 11)
                     UNION ALL SELECT generate_series(44032, 55000, 9)) AS codes (code)) AS all_of_them
      WHERE bytes IS NOT NULL
      ORDER BY position('\\x5c'::bytea IN bytes) + position('\\x7c'::bytea IN bytes) = 0, code
      LIMIT 60`,
    [encoding],
  )
  return new Map(rows.map(({ character, bytes }) => [character, bytes]))
}

suite('F14 encodings', () => {
  for (const encoding of encodings) {
    test(encoding, async (t) => {
      const table = await Table.create(t, 'a text')
      const bytes = await charactersOf(table, encoding)
      for (const ascii of ['a', '\\', '.', '\n', '\r', '\r\n', '\\.', '|', '"', ','])
        bytes.set(ascii, Buffer.from(ascii))
      const message = fc.array(fc.constantFrom(...bytes.keys()), { minLength: 1, maxLength: 6 })
      const messages = fc.array(message, { minLength: 1, maxLength: 4 })
      let loaded = 0
      const property = fc.asyncProperty(fc.constantFrom(...dialects), messages, async (dialect, texts) => {
        const inUtf8 = table.format(dialect)
        const inOther = table.format({ ...dialect, encoding })
        const expected = encode(
          inUtf8,
          texts.map((characters) => characters.join('')),
        )
        const other = texts.map((characters) =>
          Buffer.concat(characters.map((character) => bytes.get(character)!)),
        )
        const encoded = encode(inOther, other)
        assert.deepEqual(encoded.bad, expected.bad)
        const rows = await table.send(inUtf8, expected)
        assert.deepEqual(await table.send(inOther, encoded), rows)
        if ('rows' in rows && rows.rows.length > 0) loaded++
      })
      await holds(property, 80)
      assert.ok(loaded > 20, `only ${loaded} times there were rows`)
    })
  }
})

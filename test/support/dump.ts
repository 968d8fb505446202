// What pg_dump and pg_restore do with the rows. The programs are not in the package with the server, and those of the machine
// seldom know its version; what is tested with this is to be tested everywhere. `pg-dump.ts` has the real ones, where there are any.
import type { Database } from './database.ts'

/** Of schema millrace, which is installed in both, and of these tables. */
export async function copyRows(from: Database, to: Database, tables: string[] = []): Promise<void> {
  const { rows } = await from.query(
    "SELECT oid::regclass::text AS name FROM pg_class WHERE relnamespace = 'millrace'::regnamespace AND relkind = 'r'",
  )
  const client = await to.client()
  await client.query("BEGIN; SET LOCAL session_replication_role = 'replica'")
  for (const name of [...rows.map((row) => row.name), ...tables]) {
    const { rows: found } = await from.query(`SELECT json_agg(t) AS all FROM ${name} AS t`)
    await client.query(`DELETE FROM ${name}`)
    await client.query(
      `INSERT INTO ${name} OVERRIDING SYSTEM VALUE SELECT * FROM json_populate_recordset(NULL::${name}, $1)`,
      [JSON.stringify(found[0].all ?? [])],
    )
    await client.query(
      `SELECT setval(pg_get_serial_sequence($1, attname), 1000) FROM pg_attribute
        WHERE attrelid = $1::text::regclass AND attidentity <> ''`,
      [name],
    )
  }
  const { rows: sequence } = await from.query('SELECT last_value FROM millrace.outbox_id')
  await client.query("SELECT setval('millrace.outbox_id', $1)", [sequence[0].last_value])
  await client.query('COMMIT')
  await client.end()
}

// What millrace.verify says.
import type { Query } from './way.ts'

/** @returns what is wrong, as `partition finding from-to` */
export async function verifyProblems(query: Query, consumer: string): Promise<string[]> {
  const { rows } = await query(
    `SELECT partition || ' ' || finding || ' ' || from_offset || '-' || to_offset AS line
       FROM millrace.verify($1) WHERE problem`,
    [consumer],
  )
  return rows.map(({ line }) => String(line))
}

// What belongs to one staged load has names made of one name, in the session's temporary schema.

import { identifier } from '../postgres/literal.ts'

/** Quoted. @param kind what follows the name: nothing for the staging table itself */
export function stageName({ name }: { name: string }, kind: string): string {
  return `pg_temp.${identifier(`${name}${kind}`)}`
}

export function columnList(columns: { name: string; type: string }[]): string {
  return columns.map(({ name, type }) => `${identifier(name)} ${type}`).join(', ')
}

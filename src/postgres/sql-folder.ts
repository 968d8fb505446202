// The SQL is read from the same files by a clone (src/) and by a published package (dist/).

import { readdirSync, readFileSync } from 'node:fs'

const folder = new URL('../../sql/', import.meta.url)

export interface Migration {
  version: number
  name: string
  sql: string
}

/** Every migration in order: a folder `0001-name` whose files are run in the order of their names. */
export function readMigrations(): Migration[] {
  const core = new URL('core/', folder)
  return readdirSync(core)
    .filter((name) => /^\d{4}-/.test(name))
    .sort()
    .map((name) => {
      const step = new URL(`${name}/`, core)
      const files = readdirSync(step).filter((file) => file.endsWith('.sql'))
      const sql = files.sort().map((file) => readFileSync(new URL(file, step), 'utf8'))
      return { version: Number(name.slice(0, 4)), name: name.slice(5), sql: sql.join('\n') }
    })
}

export interface Dialect {
  name: string
  /** Also the schema's name; the dialect's own where its manifest gives no other. */
  extension: string
  /** Of the extension. */
  version: string
  comment: string
  /** The lowest version of the core that it works with. */
  needs: number
  /** What it makes, as DROP and ALTER EXTENSION name it; what comes later may use what comes earlier. */
  objects: string[]
  /** Runs before these are dropped, where it made others. */
  remove?: string
  /** Runs in one transaction, over a connection or inside CREATE EXTENSION. */
  sql: string
}

export function dialectNames(): string[] {
  return readdirSync(new URL('dialects/', folder))
    .filter((file) => file.endsWith('.json'))
    .map((file) => file.slice(0, -'.json'.length))
    .sort()
}

export function readDialect(name: string): Dialect {
  const read = (file: string): string => readFileSync(new URL(`dialects/${file}`, folder), 'utf8')
  const manifest: Omit<Dialect, 'name' | 'sql'> = { extension: name, ...JSON.parse(read(`${name}.json`)) }
  const facts: Record<string, string> = {
    name,
    extension: manifest.extension,
    needed: String(manifest.needs),
    objects: manifest.objects.map((object) => `'${object}'`).join(',\n    '),
  }
  const prologue = read('prologue.sql').replace(/\{\{(\w+)\}\}/g, (_, fact) => facts[fact]!)
  return { name, ...manifest, sql: prologue + read(`${name}.sql`) }
}

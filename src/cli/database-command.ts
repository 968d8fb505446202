// Commands that work on the schema connect once, show what the server has to say, and always disconnect.

import { loadConfig } from '../config/config.ts'
import { describeDatabase } from '../config/database-url.ts'
import { connect } from '../postgres/connection.ts'
import type { ParsedOptions } from './command.ts'

/**
 * @param work gets a connected client; notices and warnings of the server are printed as they come
 * @throws MillraceError config-invalid, database-unreachable, and what `work` throws
 */
export async function withDatabase<T>(
  command: string,
  options: ParsedOptions,
  env: NodeJS.ProcessEnv,
  work: (client: Awaited<ReturnType<typeof connect>>) => Promise<T>,
): Promise<T> {
  const { database } = loadConfig({
    env,
    file: options.value('config'),
    overrides: { 'database.url': options.value('database') },
  })
  const url = database.url.reveal()
  const client = await connect(url, {
    applicationName: `millrace ${command}`,
    connectTimeout: database.connectTimeout,
    database: describeDatabase(url),
  })
  client.on('notice', ({ message, hint }) => {
    // What DROP ... IF EXISTS did not find is no news.
    if (!/^(trigger|schema|view|table|function) .* does not exist, skipping$/.test(message ?? '')) {
      print(`note: ${message}${hint ? `\n      ${hint}` : ''}`)
    }
  })
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

export function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

// The servers of a benchmark, with Millrace installed and the broker known as cluster `default`.

import type pg from 'pg'
import { install } from '../../src/cli/install.ts'
import { connect } from '../../src/postgres/connection.ts'
import { startStack } from '../../stack/stack.ts'

export interface InstalledStack {
  url: string
  brokers: string
  client: pg.Client
}

/** Servers of its own for the work; they are removed afterwards. */
export async function withStack<T>(work: (stack: InstalledStack) => Promise<T>): Promise<T> {
  const stack = await startStack()
  try {
    const { url } = stack.postgres
    const { brokers } = stack.kafka
    await install(['--database', url, '--all'], process.env)
    const client = await connect(url)
    try {
      await client.query('SET search_path = public')
      await client.query(`SELECT millrace.add_cluster('default', $1::text)`, [brokers])
      return await work({ url, brokers, client })
    } finally {
      await client.end()
    }
  } finally {
    await stack.remove()
  }
}

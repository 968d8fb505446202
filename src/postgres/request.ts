// Requests are asked for and followed over one connection, by whoever has the rights for it: what SQL refuses keeps its
// code. Counts and numbers stay text, as the server wrote them: they may be past 2^53.

import type pg from 'pg'
import { isErrorCode, isMillraceError, MillraceError } from '../errors.ts'
import { isDaemonConnected, lookUntilOver, noDaemon } from './daemon-presence.ts'
import { checkSchema } from './schema.ts'

export interface FailureReason {
  partition: number
  offset: string
  code: string
  sqlstate: string | null
  message: string
}

export interface RequestProgress {
  id: string
  state: 'pending' | 'running' | 'done' | 'failed'
  asked: string
  done: string
  failed: string
  result: {
    reasons?: FailureReason[]
    messages?: number
    loaded?: number
    failed?: number
    skipped?: number
  } | null
  errorCode: string | null
  errorMessage: string | null
}

/** What dead letters are to be loaded again; null: all. */
export interface ReplayChoice {
  consumer: string | null
  ids: string[] | null
  where: string | null
}

/**
 * Does it with the search path of the role, as psql would.
 * @throws MillraceError no-daemon, what SQL refuses, and schema-missing
 */
export async function asking<T>(client: pg.ClientBase, work: () => Promise<T>): Promise<T> {
  try {
    await checkSchema(client)
    if (!(await isDaemonConnected(client))) throw noDaemon('nothing was asked for')
    await client.query('RESET search_path')
    return await work()
  } catch (error) {
    if (isMillraceError(error)) throw error
    const { code, severity, message, detail } = error as pg.DatabaseError
    if (severity === undefined) throw new MillraceError('database-unreachable', { cause: error })
    const own = /^code: (\S+)/.exec(detail ?? '')?.[1]
    if (own !== undefined && isErrorCode(own)) throw new MillraceError(own, { reason: message, cause: error })
    throw new MillraceError('database-refused', { cause: error, sqlstate: code })
  }
}

/** @returns the request's number; null where no letter was asked for */
export async function askReplay(client: pg.ClientBase, choice: ReplayChoice): Promise<string | null> {
  const { rows } = await client.query<{ request: string | null }>(
    'SELECT request FROM millrace.request_replay($1, $2, $3)',
    [choice.consumer, choice.ids, choice.where],
  )
  return rows[0]?.request ?? null
}

/** @throws as SQL does where there is no such consumer */
export async function findConsumer(client: pg.ClientBase, topic: string, into: string): Promise<string> {
  const { rows } = await client.query<{ id: string }>('SELECT millrace.consumer_id($1, $2) AS id', [
    topic,
    into,
  ])
  const id = rows[0]?.id
  if (id == null)
    throw new MillraceError('consumer-missing', { reason: `no consumer loads ${topic} into ${into}` })
  return id
}

/** @param options of millrace.try, by name @returns the request when it is done */
export async function callTry(
  client: pg.ClientBase,
  options: Map<string, string | string[]>,
): Promise<RequestProgress> {
  await client.query('SET client_min_messages = warning') // how far it is would be a notice
  const names = [...options.keys()].map((name, index) => `"${name}" := $${index + 1}`)
  const { rows } = await client.query<{ request: string }>(`CALL millrace.try(${names.join(', ')})`, [
    ...options.values(),
  ])
  const request = await readRequest(client, String(rows[0]?.request))
  if (request.state !== 'done') throw noDaemon(`request ${request.id} waits for one`)
  return request
}

/** Follows a request to its end. @throws MillraceError no-daemon */
export async function follow(
  client: pg.ClientBase,
  id: string,
  show: (progress: RequestProgress) => void,
): Promise<RequestProgress> {
  let progress: RequestProgress | undefined
  const look = async () => {
    progress = await readRequest(client, id)
    show(progress)
    return progress.state === 'done' || progress.state === 'failed'
  }
  await lookUntilOver(client, look, `request ${id} waits for one`)
  return progress as RequestProgress
}

async function readRequest(client: pg.ClientBase, id: string): Promise<RequestProgress> {
  const { rows } = await client.query<RequestProgress>(
    `SELECT id, state, asked_count AS asked, done_count AS done, failed_count AS failed, result,
            error_code AS "errorCode", error_message AS "errorMessage"
       FROM millrace.request WHERE id = $1`,
    [id],
  )
  const [progress] = rows
  if (!progress) throw new MillraceError('request-failed', { reason: `request ${id} is gone` })
  return progress
}

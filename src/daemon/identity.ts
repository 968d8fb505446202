// Before a daemon does anything it makes sure where it is: the schema must be one that it knows, its role the one
// that the schema belongs to, and the database the one that was recorded. All of its sessions are with one running
// server: where another one answers, everything begins anew there.

import { isMillraceError, MillraceError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { checkSchema, upgradeSchema } from '../postgres/schema.ts'
import type { Session } from '../postgres/session.ts'

/**
 * Makes sure that the schema is the one that this program works with; an older one is brought up to date.
 * @throws MillraceError schema-missing, schema-newer, not-daemon-role, database-refused
 */
export async function matchSchema(session: Session, log: Logger): Promise<void> {
  try {
    await session.withClient(checkSchema)
  } catch (error) {
    if (!isMillraceError(error, 'schema-older')) throw error
    const { from, to } = await session.withClient(upgradeSchema)
    log.info({ from, to }, 'the schema was older than this program and was upgraded')
  }
}

/** @throws MillraceError not-daemon-role */
export async function checkRole(session: Session): Promise<void> {
  const [role] = await session.query<{ daemon: string; served: boolean; superuser: boolean }>(roleQuery)
  if (!role?.served) throw new MillraceError('not-daemon-role', { role: session.user, owner: role?.daemon })
}

export interface Identity {
  /** Of the installation. Part of every consumer group's name, so that two databases never share one by accident. */
  id: string
  /** What differs from the recorded identity, in words; null: nothing. */
  difference: string | null
  timeline: number | null
  recordedTimeline: number | null
  /** Whether there is something to record that is no difference. */
  news: boolean
}

/**
 * Which running server, and which of its databases: no two that run at the same time have the same.
 * @throws MillraceError server-standby
 */
export async function readInstance(session: Session): Promise<string> {
  const [row] = await session.query<{ instance: string; standby: boolean }>(
    `SELECT ${instance} AS instance, pg_catalog.pg_is_in_recovery() AS standby`,
  )
  const found = row as { instance: string; standby: boolean }
  if (found.standby) throw new MillraceError('server-standby')
  return found.instance
}

export async function readIdentity(session: Session): Promise<Identity> {
  const [identity] = await session.query<Identity & Record<string, unknown>>(identityQuery)
  return identity as Identity
}

/** Records what is no difference: a new timeline, or what could not be seen before. */
export async function recordNews(session: Session, identity: Identity, log: Logger): Promise<void> {
  const [row] = await session.query<{ recorded: boolean }>(
    "SELECT millrace.record_identity('found') AS recorded",
  )
  const { timeline, recordedTimeline } = identity
  if (!row?.recorded || timeline === recordedTimeline) return
  log.warn(
    { timeline, before: recordedTimeline },
    'the database is on another timeline: a standby was promoted or a backup restored; going on from the positions stored in it',
  )
}

/**
 * Makes sure that a new session is in the database that was recorded, on the server that the daemon listens on.
 * @throws MillraceError identity-changed, server-changed
 */
export async function admit(session: Session, listeningOn: string | null): Promise<void> {
  const [found] = await session.query<{ difference: string | null; instance: string }>(
    `SELECT millrace.identity_difference() AS difference, ${instance} AS instance`,
  )
  if (found?.difference) throw new MillraceError('identity-changed', { reason: found.difference })
  if (found?.instance !== listeningOn) throw new MillraceError('server-changed')
}

export async function isSuperuser(session: Session): Promise<boolean> {
  const [row] = await session.query<{ on: boolean }>(
    "SELECT pg_catalog.current_setting('is_superuser') = 'on' AS on",
  )
  return row?.on ?? false
}

const roleQuery = `
  SELECT millrace.daemon_role()::text AS daemon,
         pg_catalog.pg_has_role(session_user, millrace.daemon_role()::oid, 'USAGE') AS served`

const identityQuery = `
  SELECT i.id, millrace.identity_difference() AS difference, f.timeline, i.timeline AS "recordedTimeline",
         f.timeline <> coalesce(i.timeline, 0) OR f.system_identifier <> coalesce(i.system_identifier, '')
           OR i.database IS NULL AS news
    FROM millrace.installation AS i, millrace.identity() AS f`

/** A copy of a running database has everything in common with it but the moment at which its server started. */
const instance = `pg_catalog.concat_ws('.', (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()),
  pg_catalog.floor(extract(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000000)::bigint)`

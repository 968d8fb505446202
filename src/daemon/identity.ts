// Before a daemon does anything it makes sure where it is: the schema must be one that it knows, and its role the
// one that the schema belongs to.

import { isMillraceError, MillraceError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { checkSchema, upgradeSchema } from '../postgres/schema.ts'
import type { Session } from '../postgres/session.ts'

export interface Installation {
  /** Part of every consumer group's name, so that two databases never share one by accident. */
  id: string
}

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

/**
 * @throws MillraceError not-daemon-role
 */
export async function readInstallation(session: Session): Promise<Installation> {
  const [role] = await session.query<{ daemon: string; served: boolean; superuser: boolean }>(roleQuery)
  if (!role?.served) throw new MillraceError('not-daemon-role', { role: session.user, owner: role?.daemon })
  await session.query(rememberDatabase).catch(() => {}) // not every provider shows the control file
  const [installation] = await session.query<Installation>('SELECT id FROM millrace.installation')
  return installation as Installation
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

const rememberDatabase = `
  UPDATE millrace.installation
     SET system_identifier = (SELECT system_identifier::text FROM pg_catalog.pg_control_system()),
         timeline = (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()),
         database = pg_catalog.current_database()
   WHERE system_identifier IS NULL`

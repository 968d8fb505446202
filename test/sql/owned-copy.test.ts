// Most tests of roles work in a copy of a database that a plain owner installed, given to an owner of their own: it must
// be what that owner would have installed.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type OwnedDatabase, ownedDatabase } from '../support/owned-database.ts'

/** Who owns what, and who may do what by whose leave. */
async function rightsIn({ superuser, roles }: OwnedDatabase): Promise<unknown[]> {
  const rows = await superuser.column(`
    WITH object (kind, name, owner, acl) AS (
      SELECT 'schema', nspname::text, nspowner, nspacl FROM pg_namespace
      UNION ALL SELECT 'relation ' || relkind::text, oid::regclass::text, relowner, relacl FROM pg_class
        WHERE relnamespace NOT IN ('pg_toast'::regnamespace)
      UNION ALL SELECT 'function', oid::regprocedure::text, proowner, proacl FROM pg_proc
      UNION ALL SELECT 'type', oid::regtype::text, typowner, typacl FROM pg_type WHERE typelem = 0 AND typrelid = 0
      UNION ALL SELECT 'column', attrelid::regclass::text || '.' || attname, c.relowner, attacl
        FROM pg_attribute JOIN pg_class AS c ON c.oid = attrelid WHERE attacl IS NOT NULL
      UNION ALL SELECT 'policy', polrelid::regclass::text || '.' || polname, unnest(polroles), NULL FROM pg_policy
      UNION ALL SELECT 'extension', extname::text, extowner, NULL FROM pg_extension
      UNION ALL SELECT 'default', defaclnamespace::text || defaclobjtype::text, defaclrole, defaclacl FROM pg_default_acl
    )
    SELECT concat_ws(' ', kind, name, owner::regrole, (
      SELECT string_agg(concat_ws(' ', grantee::regrole, privilege_type, is_grantable, grantor::regrole), ', '
        ORDER BY grantee::regrole::text, privilege_type, grantor::regrole::text) FROM aclexplode(acl)))
    FROM object ORDER BY 1`)
  const words = Object.entries(roles).filter(([role]) => role !== 'hostile')
  return rows.map((row) => words.reduce((text, [role, name]) => text.replaceAll(name, role), String(row)))
}

test('a copy that was given to an owner is what that owner installs', async (t) => {
  const installed = await rightsIn(await ownedDatabase(t, { installed: 'here' }))
  const copied = await rightsIn(await ownedDatabase(t))
  assert.ok(installed.filter((row) => / owner\b/.test(String(row))).length > 200)
  assert.deepEqual(copied, installed)
})

// A database URL holds a password as often as not, so it is a secret as a whole; what may be shown of it is
// host, port, database and user.

import { hide, Secret } from '../secret.ts'
import type { ValueType } from './value.ts'

export const databaseUrl: ValueType = {
  name: 'URL (secret)',
  read(raw) {
    const parsed = typeof raw === 'string' ? parse(raw) : null
    if (parsed === null) {
      return {
        problem:
          'must be a URL such as postgresql://user@host:5432/database; ' +
          'special characters in user and password are written %40 for @, %2F for /, %23 for #',
      }
    }
    registerPasswords(parsed)
    return { value: new Secret((raw as string).trim()) }
  },
}

/** `user@host:port/database`, for messages. */
export function describeDatabase(url: string): string {
  const parsed = parse(url)
  if (parsed === null) return 'an unreadable URL'
  const user = parsed.username || parsed.searchParams.get('user') || ''
  const host = parsed.hostname || parsed.searchParams.get('host') || 'localhost'
  const database = parsed.pathname.slice(1) || parsed.searchParams.get('dbname') || ''
  return `${user === '' ? '' : `${decode(user)}@`}${decode(host)}:${parsed.port || 5432}/${decode(database)}`
}

function parse(raw: string): URL | null {
  const url = URL.parse(raw.trim())
  // A fragment means nothing here: the # belonged to the password.
  return url !== null && /^postgres(ql)?:$/.test(url.protocol) && url.hash === '' ? url : null
}

/** Known to scrub() also when a driver repeats only the password. */
function registerPasswords(url: URL): void {
  for (const part of [url.password, url.searchParams.get('password') ?? '']) {
    if (part === '') continue
    hide(part)
    hide(decode(part))
  }
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

import { randomBytes } from 'node:crypto'

/** 16 random bytes as Kafka writes them; its command line takes a leading dash for an option. */
export function randomId(): string {
  for (;;) {
    const id = randomBytes(16).toString('base64url')
    if (!id.startsWith('-')) return id
  }
}

// Kafka's ids of clusters and folders: no two are the same, and its command line takes each of them.
import { randomBytes } from 'node:crypto'

/** 16 random bytes as Kafka writes them, without the leading dash that would make an option of them. */
export function randomId(): string {
  for (;;) {
    const id = randomBytes(16).toString('base64url')
    if (!id.startsWith('-')) return id
  }
}

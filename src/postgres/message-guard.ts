// The driver makes a string of every message that the server sends, and a text that is longer than a string can be ends
// the process. Code of users decides how long an error or a notice is: a message that says it is too long ends its
// connection before it is read.
//
// Framing: https://www.postgresql.org/docs/current/protocol-overview.html#PROTOCOL-MESSAGE-CONCEPTS

import type { Socket } from 'node:net'

/** Bytes. Rows that the daemon asks for are the largest messages that are wanted: a dead letter, or a batch of errors. */
const largest = 256 * 1024 * 1024

/** Bytes of an error, a notice or a notification. */
const largestText = 1024 * 1024

const textTypes: readonly number[] = ['E', 'N', 'A'].map((letter) => letter.charCodeAt(0))

export class MessageTooLong extends Error {}

/** Watches what arrives from here on; the stream has to be between two messages. */
export function guardMessages(stream: Socket): void {
  const header = Buffer.alloc(5)
  let have = 0
  let left = 0
  stream.prependListener('data', (chunk: Buffer) => {
    for (let at = 0; at < chunk.length; ) {
      if (left > 0) {
        const passed = Math.min(left, chunk.length - at)
        left -= passed
        at += passed
        continue
      }
      header[have++] = chunk[at++] as number
      if (have < header.length) continue
      have = 0
      const length = header.readInt32BE(1) - 4
      const limit = textTypes.includes(header[0] as number) ? largestText : largest
      if (length > limit) {
        stream.destroy(
          new MessageTooLong(`the server began a message of ${length} bytes, more than ${limit}`),
        )
        return
      }
      left = length
    }
  })
}

// What stands in a row before the message's own fields: where the message comes from, its key, and what a staging
// table has to know of the row. Each row of a message has it.

import { type FieldWriter, fieldOverhead, fieldRoom, hexRoom, type Room } from './field-writer.ts'
import type { PrefixField, PrefixName } from './format.ts'
import type { Message } from './message.ts'
import { headersJson, timestampText } from './metadata-text.ts'

/** Of a row, what is not of its message. */
export interface RowMarks {
  /** The letter's byte: see PrefixName. */
  readonly op: number
  /** See PrefixName. */
  readonly absent: readonly number[]
}

/** Fields that `append` can fill, without the rest of the record. */
const ofAppend: readonly PrefixName[] = ['tag', 'row', 'op', 'absent']

/** Digits of a bigint, its sign and the delimiter. */
const numberRoom = fieldRoom(20)
const topicRoom = fieldRoom(249)
const timestampRoom = fieldRoom(32)

export class Prefix {
  readonly columns: string[]
  /** Only a whole record has what the fields tell. */
  readonly needsRecords: boolean
  /** Bytes that the prefix of a row of the present message takes at most, `absent` apart. */
  room = 0
  readonly #fields: PrefixField[]
  readonly #writer: FieldWriter
  /** COPY's encoding is another than UTF-8. */
  readonly #ascii: boolean
  readonly #fixedRoom: number
  readonly #hasKey: boolean
  readonly #hasHeaders: boolean
  #message: Message | null = null
  #tag = 0
  #row = 0
  #topicName = ''
  #topic: Buffer = Buffer.alloc(0)
  #timestamp = -1
  #timestampText: Buffer = Buffer.alloc(0)
  #headers: Buffer = Buffer.alloc(0)
  readonly #letter = Buffer.alloc(1)

  constructor(fields: PrefixField[], writer: FieldWriter, ascii: boolean) {
    this.columns = fields.map(({ column }) => column)
    this.needsRecords = fields.some(({ field }) => !ofAppend.includes(field))
    this.#fields = fields
    this.#writer = writer
    this.#ascii = ascii
    this.#hasKey = fields.some(({ field }) => field === 'key')
    this.#hasHeaders = fields.some(({ field }) => field === 'headers')
    this.#fixedRoom = fields.reduce((sum, { field }) => sum + 1 + fixedRoom(field), 0)
  }

  /**
   * Begins a message.
   * @param message may be null only where `needsRecords` is not set
   * @throws what message.headers throws
   */
  enter(message: Message | null, tag: number): void {
    this.#message = message
    this.#tag = tag
    let room = this.#fixedRoom
    if (message !== null) {
      if (this.#hasKey) room += hexRoom(message.keyEnd - message.keyStart)
      if (this.#hasHeaders) {
        this.#headers = headersJson(message.headers(), this.#ascii)
        room += fieldRoom(this.#headers.length)
      }
    }
    this.room = room
  }

  /** Writes the fields of the next row, with a delimiter after each. */
  write(out: Room, marks: RowMarks): void {
    const delimiter = this.#writer.delimiter
    for (const field of this.#fields) {
      this.#writeField(out, field, marks)
      out.chunk[out.position++] = delimiter
    }
    this.#row++
  }

  #writeField(out: Room, { field, type }: PrefixField, marks: RowMarks): void {
    const writer = this.#writer
    const message = this.#message!
    switch (field) {
      case 'tag':
        this.#writeNumber(out, this.#tag)
        break
      case 'row':
        this.#writeNumber(out, this.#row)
        break
      case 'op':
        this.#letter[0] = marks.op
        writer.writeValue(out, this.#letter, 0, 1)
        break
      case 'absent':
        this.#writeNumbers(out, marks.absent)
        break
      case 'key':
        this.#writeKey(out, message, type === 'bytea')
        break
      case 'topic':
        this.#writeTopic(out, message.topic)
        break
      case 'partition':
        this.#writeNumber(out, message.partition)
        break
      case 'offset':
        this.#writeOffset(out, message)
        break
      case 'timestamp':
        this.#writeTimestamp(out, message.timestamp)
        break
      case 'headers':
        writer.writeValue(out, this.#headers, 0, this.#headers.length)
        break
    }
  }

  #writeKey(out: Room, { bytes, keyStart, keyEnd }: Message, isBytes: boolean): void {
    if (keyStart < 0) this.#writer.writeNull(out)
    else if (isBytes) this.#writer.writeHex(out, bytes, keyStart, keyEnd)
    else this.#writer.writeValue(out, bytes, keyStart, keyEnd)
  }

  #writeNumber(out: Room, n: number): void {
    if (n < 0 || !this.#writer.plainDigits) this.#writeText(out, String(n))
    else writeDigits(out, n)
  }

  #writeNumbers(out: Room, numbers: readonly number[]): void {
    if (numbers.length === 0) this.#writer.writeNull(out)
    else this.#writeText(out, `{${numbers.join(',')}}`)
  }

  #writeOffset(out: Room, { baseOffset, delta }: Message): void {
    const base = Number(baseOffset)
    if (base + delta < Number.MAX_SAFE_INTEGER) this.#writeNumber(out, base + delta)
    else this.#writeText(out, String(baseOffset + BigInt(delta)))
  }

  #writeTopic(out: Room, topic: string): void {
    if (topic !== this.#topicName) {
      this.#topicName = topic
      this.#topic = Buffer.from(topic)
    }
    this.#writer.writeValue(out, this.#topic, 0, this.#topic.length)
  }

  #writeTimestamp(out: Room, timestamp: number): void {
    if (timestamp < 0) {
      this.#writer.writeNull(out)
      return
    }
    if (timestamp !== this.#timestamp) {
      this.#timestamp = timestamp
      this.#timestampText = Buffer.from(timestampText(timestamp))
    }
    this.#writer.writeValue(out, this.#timestampText, 0, this.#timestampText.length)
  }

  #writeText(out: Room, text: string): void {
    const bytes = Buffer.from(text)
    this.#writer.writeValue(out, bytes, 0, bytes.length)
  }
}

/** What `absent` takes at most. @param columns how many there are */
export function absentRoom(columns: number): number {
  return 5 * columns + fieldOverhead
}

function fixedRoom(field: PrefixName): number {
  if (field === 'topic') return topicRoom
  if (field === 'timestamp') return timestampRoom
  // the rest is counted for each message
  return field === 'key' || field === 'headers' || field === 'absent' ? fieldOverhead : numberRoom
}

/** @param n not negative, and exact */
function writeDigits(out: Room, n: number): void {
  const chunk = out.chunk
  let length = 1
  for (let left = n; left >= 10; left = Math.floor(left / 10)) length++
  let position = out.position + length
  out.position = position
  for (let i = 0; i < length; i++) {
    const rest = Math.floor(n / 10)
    chunk[--position] = 0x30 + (n - rest * 10)
    n = rest
  }
}

// What a topic holds, offset by offset. Nobody else writes to it, so the model knows the offset of each message, and of
// each marker of a transaction, before it is sent.
import { FetchIsolationLevels } from '../../src/kafka/library.ts'
import { eventually } from '../support/eventually.ts'
import { adminOf, type Message, type ProduceOptions, produce } from '../support/topic.ts'

/**
 * `empty`: a tombstone or another message without a value that is passed over; `nothing`: a message of an aborted
 * transaction, a marker. A bad message with a key is
 * bad for the row that it would make, and a later one of the same key in the same batch keeps it from making one.
 */
export type Entry =
  | { kind: 'good'; key: number; value: number }
  | { kind: 'bad'; key?: number }
  | { kind: 'tombstone'; key: number }
  | { kind: 'empty' }
  | { kind: 'nothing' }

export interface Drawn {
  entry: Entry
  message: Message
}

export class TopicLog {
  readonly name: string
  readonly brokers: string
  /** By partition, then by offset. */
  readonly partitions: Entry[][]

  constructor(name: string, brokers: string, partitions: number) {
    this.name = name
    this.brokers = brokers
    this.partitions = Array.from({ length: partitions }, () => [])
  }

  /** @returns the offset after the last one */
  endOf(partition: number): number {
    return this.partitions[partition]!.length
  }

  get total(): number {
    return this.partitions.reduce((sum, { length }) => sum + length, 0)
  }

  /** Sends what `draw` makes for each partition and offset. In an aborted transaction it counts for nothing. */
  async send(
    counts: ReadonlyMap<number, number>,
    draw: (partition: number, offset: number) => Drawn,
    options: ProduceOptions = {},
  ): Promise<void> {
    const batches = [...counts].map(([partition, count]) => {
      const first = this.endOf(partition)
      const drawn = Array.from({ length: count }, (_, n) => draw(partition, first + n))
      return { partition, first, drawn }
    })
    const marker = options.transaction ? 1 : 0
    const ends = new Map(
      batches.map(({ partition, first, drawn }) => [partition, first + drawn.length + marker]),
    )
    await this.#deliver(
      batches.map(({ partition, drawn }) => ({
        partition,
        messages: drawn.map(({ message }) => ({ ...message, partition })),
      })),
      ends,
      options,
    )
    for (const { partition, drawn } of batches) {
      const aborted = options.transaction === 'abort'
      const entries = drawn.map(({ entry }): Entry => (aborted ? { kind: 'nothing' } : entry))
      if (marker) entries.push({ kind: 'nothing' })
      this.partitions[partition]!.push(...entries)
    }
  }

  async addPartition(): Promise<void> {
    const count = this.partitions.length + 1
    const admin = adminOf(this.brokers)
    await eventually(`${this.name} has ${count} partitions`, async () => {
      const metadata = await admin.metadata({ topics: [this.name], forceUpdate: true })
      const present = metadata.topics.get(this.name)?.partitions ?? []
      if (present.length < count) await admin.createPartitions({ topics: [{ name: this.name, count }] })
      return present.length === count && present.every((partition) => partition.leader >= 0)
    })
    this.partitions.push([])
  }

  /** An error leaves open what has arrived: the ends of the partitions tell, and what is missing is sent again. */
  async #deliver(
    batches: { partition: number; messages: Message[] }[],
    ends: ReadonlyMap<number, number>,
    options: ProduceOptions,
  ): Promise<void> {
    const sendMissing = async (): Promise<boolean> => {
      const now = await this.#ends('READ_UNCOMMITTED')
      const missing = batches.filter(({ partition }) => now[partition]! < ends.get(partition)!)
      if (options.transaction && missing.length < batches.length) throw new Error('half a transaction')
      const messages = missing.flatMap((batch) => batch.messages)
      if (messages.length > 0)
        await produce(this.name, messages, { ...options, brokers: this.brokers, fresh: true })
      return true
    }
    await eventually(`messages for ${this.name}`, sendMissing, { deadline: 60_000 })
    // the broker answers a COMMIT before the markers are written
    await eventually(`the last stable offsets of ${this.name}`, async () => {
      const stable = await this.#ends('READ_COMMITTED')
      for (const [partition, end] of ends) {
        if (stable[partition]! > end)
          throw new Error(`partition ${partition} ends at ${stable[partition]}, not ${end}`)
        if (stable[partition] !== end) return false
      }
      return true
    })
  }

  async #ends(isolation: keyof typeof FetchIsolationLevels): Promise<number[]> {
    const partitions = this.partitions.map((_, partitionIndex) => ({ partitionIndex, timestamp: -1n }))
    const [listed] = await adminOf(this.brokers).listOffsets({
      topics: [{ name: this.name, partitions }],
      isolationLevel: FetchIsolationLevels[isolation],
    })
    const ends: number[] = []
    for (const { partitionIndex, offset } of listed!.partitions) ends[partitionIndex] = Number(offset)
    return ends
  }
}

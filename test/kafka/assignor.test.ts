// Every partition goes to exactly one member that asked for its topic, evenly, and every leader comes to the same
// result whatever the order in which members joined.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { assignPartitions } from '../../src/kafka/assignor.ts'

type Parameters_ = Parameters<typeof assignPartitions>

function assign(
  members: [string, string[]][],
  partitions: Map<string, number>,
  databaseOf: (member: string) => string = () => 'the same',
) {
  const subscriptions = new Map(
    members.map(([memberId, topics]) => {
      const metadata = Buffer.from(databaseOf(memberId))
      return [memberId, { memberId, version: 0, topics, metadata }]
    }),
  ) as Parameters_[1]
  const metadata = {
    topics: new Map([...partitions].map(([topic, partitionsCount]) => [topic, { partitionsCount }])),
  } as unknown as Parameters_[3]
  return assignPartitions('leader', subscriptions, new Set(partitions.keys()), metadata)
}

/** topic, partition and member of each assignment, in an order of their own. */
function flat(assignments: ReturnType<typeof assign>): [string, number, string][] {
  const rows = assignments.flatMap(({ memberId, assignments }) =>
    [...assignments.values()].flatMap(({ topic, partitions }) =>
      partitions.map((partition): [string, number, string] => [topic, partition, memberId]),
    ),
  )
  return rows.sort((a, b) => (String(a) < String(b) ? -1 : 1))
}

const topics = ['alpha', 'beta', 'gamma']
const members = fc.uniqueArray(fc.tuple(fc.string({ minLength: 1 }), fc.subarray(topics)), {
  minLength: 1,
  maxLength: 6,
  selector: ([memberId]) => memberId,
})
const counts = fc
  .tuple(...topics.map(() => fc.integer({ min: 0, max: 12 })))
  .map((numbers) => new Map(topics.map((topic, index) => [topic, numbers[index]!])))

test('each partition has one owner among those that asked for its topic, evenly (property)', () => {
  fc.assert(
    fc.property(members, counts, (members, counts) => {
      const assigned = flat(assign(members, counts))
      for (const topic of topics) {
        const subscribers = members
          .filter(([, wanted]) => wanted.includes(topic))
          .map(([memberId]) => memberId)
        const mine = assigned.filter(([name]) => name === topic)
        const expected = subscribers.length > 0 ? counts.get(topic)! : 0
        assert.deepEqual(
          mine.map(([, partition]) => partition).sort((a, b) => a - b),
          Array.from({ length: expected }, (_, partition) => partition),
        )
        const shares = subscribers.map((memberId) => mine.filter(([, , owner]) => owner === memberId).length)
        assert.equal(
          shares.reduce((sum, share) => sum + share, 0),
          mine.length,
          'nobody else has any',
        )
        if (shares.length > 0) assert.ok(Math.max(...shares) - Math.min(...shares) <= 1, 'evenly')
      }
    }),
  )
})

test('the order of joining changes nothing (property)', () => {
  fc.assert(
    fc.property(members, counts, fc.infiniteStream(fc.nat()), (members, counts, random) => {
      const shuffled = members.toSorted(() => (random.next().value! % 3) - 1)
      assert.deepEqual(flat(assign(shuffled, counts)), flat(assign(members, counts)))
    }),
  )
})

test('members of two databases do not share: each database gets what it would get alone (property)', () => {
  const databaseOf = (member: string) => (member.length % 2 === 0 ? 'original' : 'copy')
  fc.assert(
    fc.property(members, counts, (members, counts) => {
      const alone = ['original', 'copy'].flatMap((database) =>
        flat(
          assign(
            members.filter(([memberId]) => databaseOf(memberId) === database),
            counts,
          ),
        ),
      )
      const together = flat(assign(members, counts, databaseOf))
      assert.deepEqual(together.map(String).sort(), alone.map(String).sort())
    }),
  )
})

test('a member that gets nothing is told so', () => {
  const assigned = assign(
    [
      ['a', ['alpha']],
      ['b', ['alpha']],
    ],
    new Map([['alpha', 1]]),
  )
  assert.deepEqual(
    assigned.map(({ memberId, assignments }) => [memberId, assignments.size]),
    [
      ['a', 1],
      ['b', 0],
    ],
  )
})

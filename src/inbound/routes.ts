// A routed consumer has as many relations as its messages' keys name. Each of them is loaded as a consumer of its own
// would be, all of them in one transaction; a key that names none is a message that cannot be loaded.

import type { ErrorCode } from '../errors.ts'
import { MillraceError } from '../errors.ts'
import type { ChunkPool } from '../formats/chunk-pool.ts'
import type { BadMessage, Encoded, Encoder, Format, Segment } from '../formats/format.ts'
import type { Message } from '../formats/message.ts'
import type { SharedSession } from '../postgres/shared-session.ts'
import { sqlstateOf } from '../postgres/sqlstate.ts'
import type { ConsumerSpec } from './consumer.ts'
import type { RelationPlan } from './relation-plan.ts'

/** A segment of one of the relations. */
export interface RoutedSegment extends Segment {
  plan: RelationPlan
}

interface Problem {
  code: ErrorCode
  reason: string
  /** When it was found, performance.now(). */
  foundAt: number
}

/** Milliseconds after which a key that names nothing is looked up again. */
const patience = 5000

const insufficientPrivilege = '42501'

/** Keys that name nothing; they may be any number. */
const mostProblems = 10_000

export class RouteTable {
  readonly #shared: SharedSession
  readonly #spec: ConsumerSpec
  readonly #describe: (shared: SharedSession, spec: ConsumerSpec) => Promise<RelationPlan>
  readonly #plans = new Map<string, RelationPlan>()
  readonly #problems = new Map<string, Problem>()

  constructor(
    shared: SharedSession,
    spec: ConsumerSpec,
    describe: (shared: SharedSession, spec: ConsumerSpec) => Promise<RelationPlan>,
  ) {
    this.#shared = shared
    this.#spec = spec
    this.#describe = describe
  }

  get plans(): RelationPlan[] {
    return [...this.#plans.values()]
  }

  /** Whether `find` would answer by what is known now. */
  knows(key: string): boolean {
    const problem = this.#problems.get(key)
    return this.#plans.has(key) || (problem !== undefined && performance.now() - problem.foundAt < patience)
  }

  /** Looks the key's relation up. @throws PostgreSQL's error where it is not about the relation */
  async look(key: string): Promise<void> {
    if (this.#problems.size >= mostProblems) this.#problems.clear()
    const [found] = await this.#shared.query<{ schema: string; name: string }>(
      'SELECT schema, name FROM millrace.route($1, $2)',
      [key.replaceAll('\0', ''), this.#spec.schema],
    )
    if (!found) return this.#refuse(key, 'route-missing', 'its key names no relation')
    try {
      await this.#shared.query('SELECT millrace.check_insert($1, $2, $3::oid::regrole)', [
        found.schema,
        found.name,
        this.#spec.ownerOid,
      ])
      const plan = await this.#describe(this.#shared, { ...this.#spec, ...found, routeByKey: false })
      this.#plans.set(key, plan)
      this.#problems.delete(key)
    } catch (error) {
      if (!(error instanceof MillraceError) && sqlstateOf(error) !== insufficientPrivilege) throw error
      this.#refuse(key, 'route-missing', (error as Error).message)
    }
  }

  find(key: string | null): RelationPlan | Problem {
    if (key === null) return noKey
    return this.#plans.get(key) ?? this.#problems.get(key) ?? noKey
  }

  #refuse(key: string, code: ErrorCode, reason: string): void {
    this.#problems.set(key, { code, reason, foundAt: performance.now() })
  }
}

const noKey: Problem = { code: 'route-missing', reason: 'it has no key', foundAt: 0 }

/** Of a message: text, as SQL would write the relation's name. */
export function keyOf(message: Message): string | null {
  return message.keyStart < 0 ? null : message.bytes.toString('utf8', message.keyStart, message.keyEnd)
}

/** Hands each message to the format of the relation that its key names. */
export class RoutedFormat implements Format {
  readonly name: Format['name']
  readonly needsRecords = true
  readonly columns: string[] = []
  readonly #routes: RouteTable

  constructor(spec: ConsumerSpec, routes: RouteTable) {
    this.name = spec.format
    this.#routes = routes
  }

  encoder(pool: ChunkPool): Encoder {
    return new RoutedEncoder(pool, this.#routes)
  }

  copyStatement(segment: Segment): string {
    return (segment as RoutedSegment).plan.format.copyStatement(segment)
  }
}

class RoutedEncoder implements Encoder {
  bad: BadMessage | null = null
  readonly #pool: ChunkPool
  readonly #routes: RouteTable
  readonly #encoders = new Map<RelationPlan, Encoder>()

  constructor(pool: ChunkPool, routes: RouteTable) {
    this.#pool = pool
    this.#routes = routes
  }

  append(): void {
    throw new TypeError('the key is needed')
  }

  appendRecord(message: Message): boolean {
    if (this.bad !== null) return true
    const route = this.#routes.find(keyOf(message))
    if (!('target' in route)) {
      this.bad = { tag: message.tag, code: 'route-missing', reason: route.reason }
      return true
    }
    let encoder = this.#encoders.get(route)
    if (!encoder) this.#encoders.set(route, (encoder = route.format.encoder(this.#pool)))
    const hasValue = message.valueEnd > message.valueStart
    let taken = hasValue
    if (route.format.needsRecords) taken = encoder.appendRecord(message)
    else if (hasValue) encoder.append(message.bytes, message.valueStart, message.valueEnd, message.tag)
    this.bad = encoder.bad
    return taken
  }

  /** An encoder that finds something bad late may be another than the one that found it first. */
  finish(): Encoded {
    const all: Encoded = { segments: [], messages: 0, skipped: 0, bytes: 0, bad: this.bad }
    for (const [plan, encoder] of this.#encoders) {
      const encoded = encoder.finish()
      all.segments.push(...encoded.segments.map((segment): RoutedSegment => ({ ...segment, plan })))
      all.messages += encoded.messages
      all.skipped += encoded.skipped
      all.bytes += encoded.bytes
      if (encoded.bad && (all.bad === null || encoded.bad.tag < all.bad.tag)) all.bad = encoded.bad
    }
    return all
  }
}

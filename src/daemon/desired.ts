// Desired state: what SQL wants to flow now. The daemon compares it with what runs; nothing else starts a pipeline.

import { type ConsumerSpec, consumerColumns } from '../inbound/consumer.ts'
import type { Delivery } from '../outbound/delivery.ts'
import type { Owner } from '../outbound/snapshot-writer.ts'
import type { Session } from '../postgres/session.ts'
import type { TopicPattern } from './topic-patterns.ts'

export interface DesiredState {
  consumers: ConsumerSpec[]
  /** Those that get a consumer for each topic that matches. */
  patterns: TopicPattern[]
  /** Brokers, host:port, by cluster. */
  brokers: Map<string, string[]>
  /** How what is sent is delivered, by cluster with brokers. */
  deliveries: Map<string, Delivery>
  /** Those of them whose messages become dead letters where they are refused. */
  burying: Set<string>
  /** What the columns of each consumer's relation are, by consumer; none where there is no relation. */
  shapes: Map<string, string>
  /** Topics to look at: somebody asked about them, or what is reported of a consumer's topic is old. */
  watched: WatchedRow[]
  /** Nothing runs for them. */
  resting: RestingConsumer[]
  /** Roles with tables of which a snapshot is not done. */
  snapshotOwners: Owner[]
}

export interface RestingConsumer {
  id: string
  cluster: string
  topic: string
  schema: string
  name: string
  state: 'stopped' | 'failed'
  /** Of the failure. */
  code: string | null
}

export async function readDesiredState(session: Session): Promise<DesiredState> {
  // one round trip: a daemon that has nothing to do does little else
  const [consumers, patterns, brokers, watched, resting, shapes, snapshotOwners] = (await session.scripts(
    [
      ...[consumersQuery, patternsQuery, brokersQuery, watchedQuery, restingQuery],
      ...[shapesQuery, snapshotOwnersQuery],
    ].join(';'),
  )) as unknown as Answers
  return {
    consumers,
    patterns,
    brokers: new Map(brokers.map(({ cluster, hosts }) => [cluster, hosts])),
    deliveries: new Map(brokers.map(({ cluster, delivery }) => [cluster, delivery])),
    burying: new Set(brokers.flatMap(({ cluster, buries }) => (buries ? [cluster] : []))),
    shapes: new Map(shapes.map(({ id, shape }) => [id, shape])),
    watched,
    resting,
    snapshotOwners,
  }
}

type Answers = [
  ConsumerSpec[],
  TopicPattern[],
  BrokersRow[],
  WatchedRow[],
  RestingConsumer[],
  ShapeRow[],
  Owner[],
]

/** Of a stopped or failed consumer nothing runs. */
const consumersQuery = `
  SELECT ${consumerColumns}
    FROM millrace.consumer AS c
   WHERE c.wanted = 'running' AND c.topic IS NOT NULL
     AND NOT EXISTS (SELECT FROM millrace.failure AS f WHERE f.consumer_id = c.id AND f.version = c.version)
   ORDER BY c.id`

const patternsQuery = `
  SELECT c.id, c.cluster, c.version FROM millrace.consumer AS c
   WHERE c.topic_pattern IS NOT NULL AND c.wanted = 'running'
   ORDER BY c.id`

/** The others, for whoever watches the daemon. What has no topic of its own only brings forth those that have one. */
const restingQuery = `
  SELECT c.id, c.cluster, c.topic, c.target_schema AS schema, coalesce(c.target_name, '') AS name, f.code,
         CASE WHEN c.wanted = 'running' THEN 'failed' ELSE 'stopped' END AS state
    FROM millrace.consumer AS c
    LEFT JOIN millrace.failure AS f ON f.consumer_id = c.id AND f.version = c.version AND c.wanted = 'running'
   WHERE c.topic IS NOT NULL AND (c.wanted <> 'running' OR f.consumer_id IS NOT NULL)
   ORDER BY c.id`

/** A column that is added, or is another one now, fails no load: so it is looked for. */
const shapesQuery = `
  SELECT c.id, pg_catalog.md5(pg_catalog.string_agg(pg_catalog.concat_ws(' ', a.attname, a.atttypid, a.atttypmod, a.attnotnull,
           a.atthasdef, a.attidentity, a.attgenerated), ',' ORDER BY a.attnum)) AS shape
    FROM millrace.consumer AS c
    JOIN pg_catalog.pg_namespace AS n ON n.nspname = c.target_schema
    JOIN pg_catalog.pg_class AS r ON r.relnamespace = n.oid AND r.relname = c.target_name
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
   WHERE c.wanted = 'running'
   GROUP BY c.id`

const snapshotOwnersQuery = `
  SELECT DISTINCT s.owner::oid::text AS oid, pg_catalog.pg_get_userbyid(s.owner::oid)::text AS name
    FROM millrace.snapshot AS s WHERE NOT s.settled`

const brokersQuery = `
  SELECT b.cluster, pg_catalog.array_agg(b.host ORDER BY b.host) AS hosts, c.delivery,
         c.on_refused = 'dead_letter' AS buries
    FROM millrace.broker AS b JOIN millrace.cluster AS c ON c.name = b.cluster
   GROUP BY c.name, b.cluster`

interface ShapeRow {
  id: string
  shape: string
}

interface WatchedRow {
  cluster: string
  topic: string
}

interface BrokersRow {
  cluster: string
  hosts: string[]
  delivery: Delivery
  buries: boolean
}

/**
 * Who reads says every ten seconds what it sees. Of a consumer that stopped, failed or waits for PostgreSQL nobody says it,
 * and its lag would seem to stand still.
 */
const oldReport = '15 seconds'

const watchedQuery = `
  SELECT w.cluster, w.topic FROM millrace.watched_topic AS w
   WHERE w.asked_at > pg_catalog.now() - interval '10 minutes'
     AND NOT EXISTS (SELECT FROM millrace.consumer AS c
                      WHERE c.cluster = w.cluster AND c.topic = w.topic AND c.wanted = 'running')
  UNION
  SELECT c.cluster, c.topic
    FROM millrace.consumer AS c JOIN millrace.position AS p ON p.consumer_id = c.id
    LEFT JOIN millrace.watermark AS w ON w.cluster = c.cluster AND w.topic = c.topic AND w.partition = p.partition
   WHERE w.reported_at IS NULL OR w.reported_at < pg_catalog.now() - interval '${oldReport}'`

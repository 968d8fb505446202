// What SQL asks for: one row of millrace.consumer, as the daemon reads it. What its options may be and which go
// together, millrace.check_options says; every row that is read here has passed it.

export interface ConsumerSpec {
  id: string
  cluster: string
  /** One topic: what is wanted of a pattern is a row of its own for each topic (`parentId`). */
  topic: string
  schema: string
  /** Empty where the message key names the relation (`routeByKey`), which is looked up in `schema`. */
  name: string
  routeByKey: boolean
  parentId: string | null
  owner: string
  ownerOid: number
  groupId: string | null
  format: 'text' | 'csv' | 'json'
  delimiter: string | null
  quote: string | null
  escape: string | null
  encoding: string | null
  /** To the rows inside a message: `$.a.b`, `$.rows[*]`, `a.b`. */
  jsonPath: string | null
  /** Columns of the relation that a message fills; with a transform, definitions (`name type`) of the batch's columns. */
  columns: string[] | null
  /** Takes an object of the keys that match no column. */
  restColumn: string | null
  unknownKeys: 'ignore' | 'error'
  missingKeys: 'default' | 'error'
  /** Columns for what is known of a message beside its value. */
  metadata: Partial<Record<MetadataKey, string>> | null
  mode: 'insert' | 'upsert' | 'changes'
  /** NULL: the primary key. */
  keyColumns: string[] | null
  /** NULL: skip in insert, delete in upsert and changes. */
  tombstone: 'skip' | 'row' | 'delete' | null
  /** What follows `INSERT INTO relation`: a query over the relation `batch`. */
  transform: string | null
  onError: 'stop' | 'dead_letter' | 'skip'
  /** Dead letters that may be stored, a bigint. */
  deadLetterLimit: string
  onOffsetGap: 'stop' | 'earliest'
  /** Messages from which on a batch is committed. */
  batchSize: number
  /** Bytes from which on a batch is committed. */
  maxBytes: number
  /** COPY streams in each daemon. */
  parallelism: number
  /** Milliseconds that one Fetch waits for messages. */
  timeout: number
  /** How the relation was to be loaded when the consumer was last begun (millrace.loading_way). */
  way: 'direct' | 'staged'
  /** Goes up with each call that changes something. */
  version: string
}

export type MetadataKey = 'key' | 'topic' | 'partition' | 'offset' | 'timestamp' | 'headers'

/** Columns of millrace.consumer AS c, named as in ConsumerSpec. */
export const consumerColumns = `
  c.id, c.cluster, c.topic, c.target_schema AS schema, coalesce(c.target_name, '') AS name, c.route_by_key AS "routeByKey",
  c.parent_id AS "parentId", pg_catalog.pg_get_userbyid(c.owner) AS owner, c.owner::oid::int8::text AS "ownerOid",
  c.group_id AS "groupId", c.format, c.delimiter, c.quote, c.escape, c.encoding, c.json_path AS "jsonPath", c.columns,
  c.rest_column AS "restColumn", c.unknown_keys AS "unknownKeys", c.missing_keys AS "missingKeys", c.metadata, c.mode,
  c.key_columns AS "keyColumns", c.tombstone, c.transform, c.on_error AS "onError",
  c.dead_letter_limit AS "deadLetterLimit", c.on_offset_gap AS "onOffsetGap", c.batchsize AS "batchSize",
  c.maxbytes AS "maxBytes", c.parallelism, c.timeout, c.way, c.version`

// What SQL asks for: one row of millrace.consumer, as the daemon reads it.

export interface ConsumerSpec {
  id: string
  cluster: string
  topic: string
  schema: string
  name: string
  owner: string
  ownerOid: number
  groupId: string | null
  format: 'text' | 'csv' | 'json'
  delimiter: string | null
  quote: string | null
  escape: string | null
  encoding: string | null
  /** Messages from which on a batch is committed. */
  batchSize: number
  /** Bytes from which on a batch is committed. */
  maxBytes: number
  /** COPY streams in each daemon. */
  parallelism: number
  /** Milliseconds that one Fetch waits for messages. */
  timeout: number
  /** Goes up with each consume_begin that changes something. */
  version: string
}

/** Columns of millrace.consumer AS c, named as in ConsumerSpec. */
export const consumerColumns = `
  c.id, c.cluster, c.topic, c.target_schema AS schema, c.target_name AS name,
  pg_catalog.pg_get_userbyid(c.owner) AS owner, c.owner::oid::int8::text AS "ownerOid",
  c.group_id AS "groupId", c.format, c.delimiter, c.quote, c.escape, c.encoding, c.batchsize AS "batchSize",
  c.maxbytes AS "maxBytes", c.parallelism, c.timeout, c.version`

// Both servers or none: when one of them cannot start, the other does not stay behind.
import { type KafkaOptions, type KafkaServer, startKafka } from './kafka.ts'
import { type PostgresOptions, type PostgresServer, startPostgres } from './postgres.ts'

export interface Stack {
  postgres: PostgresServer
  kafka: KafkaServer
  remove(): Promise<void>
}

export async function startStack(
  options: { postgres?: PostgresOptions; kafka?: KafkaOptions } = {},
): Promise<Stack> {
  // PostgreSQL's initdb holds this thread while it runs; Kafka's own start is the longer one anyway.
  const [kafka, postgres] = await Promise.allSettled([
    startKafka(options.kafka),
    startPostgres(options.postgres),
  ])
  if (kafka.status === 'fulfilled' && postgres.status === 'fulfilled') {
    return {
      kafka: kafka.value,
      postgres: postgres.value,
      remove: async () => {
        await Promise.all([kafka.value.remove(), postgres.value.remove()])
      },
    }
  }
  for (const started of [kafka, postgres]) {
    if (started.status === 'fulfilled') await started.value.remove()
  }
  throw kafka.status === 'rejected' ? kafka.reason : (postgres as PromiseRejectedResult).reason
}

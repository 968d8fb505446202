// A partition of any topic, as what is sent and its answers name it.

export interface TopicPartition {
  topic: string
  partition: number
}

/** No topic's name has a slash. */
export function nameOf({ topic, partition }: TopicPartition): string {
  return `${topic}/${partition}`
}

// A topic is asked about until there is an answer, or nobody wants one any more.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { TopicInquiry } from '../../src/outbound/topic-inquiry.ts'
import { Backoff } from '../../src/pipeline/backoff.ts'

test('who stops asking does not wait for the time of the next question', async () => {
  const failed = Promise.withResolvers<void>()
  const learn = () => Promise.reject(new Error('Kafka is away'))
  const minute = 60_000
  const inquiry = new TopicInquiry(learn, () => failed.resolve(), new Backoff(minute, minute))
  const asked = inquiry.ask('a-topic').then(() => 'over')
  await failed.promise
  inquiry.stop()
  const deadline = setTimeout(10_000, 'still waiting', { ref: false })
  assert.equal(await Promise.race([asked, deadline]), 'over')
  assert.equal(inquiry.isUnderWay, false)
})

// The text format, from values of every kind to a strict reader and back, and how long the event loop is held.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { EventLoopDelay } from '../../src/console/event-loop.ts'
import { Exposition, labelText } from '../../src/console/exposition.ts'
import { Histogram } from '../../src/console/histogram.ts'
import { metrics } from '../../src/console/metrics.ts'
import { scrape } from '../../src/console/scrape.ts'
import { hide } from '../../src/secret.ts'
import { parseExposition, sampleOf } from '../support/exposition.ts'
import { daemonView } from './daemon-view.ts'

const gauge = { name: 'some_gauge', type: 'gauge', per: 'daemon', help: 'a \\ and\na line end' } as const

test('any label and any number arrive as they are (property)', () => {
  const text = fc.string({
    unit: fc.oneof(fc.constantFrom('"', '\\', '\n', '{', '}', ',', '='), fc.string()),
  })
  const number = fc.oneof(fc.double({ noNaN: false }), fc.bigInt({ min: 0n, max: 2n ** 63n }))
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.tuple(text, text, number), { selector: ([a, b]) => `${a}\0${b}` }),
      (samples) => {
        const page = new Exposition()
        page.begin(gauge)
        for (const [a, b, value] of samples) page.sample(gauge.name, labelText({ a, b }), value)
        const found = parseExposition(Buffer.concat(page.finish()).toString()).get(gauge.name)!
        assert.deepEqual(
          found.samples.map(({ labels, value }) => [labels.a, labels.b, value]),
          samples.map(([a, b, value]) => [a.toWellFormed(), b.toWellFormed(), Number(value) + 0]),
        )
        assert.equal(found.help, 'a \\\\ and\\na line end')
      },
    ),
  )
})

test('a position past 2^53 keeps every digit', () => {
  const page = new Exposition()
  page.begin(gauge)
  page.sample(gauge.name, '', 2n ** 53n + 1n)
  const found = parseExposition(Buffer.concat(page.finish()).toString())
  assert.equal(sampleOf(found, gauge.name).text, '9007199254740993')
})

test('F39 a secret that is part of a name is not shown', () => {
  hide('sentinel-in-a-topic')
  assert.ok(!labelText({ topic: 'x-sentinel-in-a-topic' }).includes('sentinel'))
})

test('a histogram counts a value at its bound into that bucket, and what is above all bounds', () => {
  const values = new Histogram([1, 10])
  for (const value of [0, 1, 1.5, 10, 11]) values.observe(value)
  assert.deepEqual(values.cumulative, [2, 4])
  assert.deepEqual([values.count, values.sum], [5, 23.5])
})

test('the loop is left alone while a thousand consumers of twelve partitions are written', async (t) => {
  const delay = new EventLoopDelay()
  t.after(() => delay.close())
  // a clock that every look moves by a millisecond: how often others get their turn does not depend on the machine
  let looks = 0
  const clock = () => looks++
  let turns = 0
  let over = false
  const others = () => {
    turns++
    if (!over) setImmediate(others)
  }
  setImmediate(others)
  const chunks = await scrape(daemonView(1000, 12), { partitions: true, delay, clock })
  over = true
  const text = Buffer.concat(chunks).toString()
  const found = parseExposition(text)
  assert.equal(found.get(metrics.partitionLag.name)?.samples.length, 12_000)
  assert.equal(found.get(metrics.messages.name)?.samples.length, 1000)
  const lines = text.split('\n').length
  assert.ok(lines > 38_000)
  assert.ok(turns > lines / 250, `${turns} turns for ${lines} lines`)
  assert.ok(Math.max(...chunks.map((chunk) => chunk.length)) < text.length / 50, 'no slice is large')
})

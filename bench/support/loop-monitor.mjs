// Preloaded into a measured daemon: tells on demand for how long its event loop was held, and for how long by the
// daemon's own work. The rest of the time it was ready to run, and the machine ran something else.

import { createHistogram, performance } from 'node:perf_hooks'

/** Milliseconds between two ticks. */
const resolution = 1

// the histograms hold the time from one tick of a timer to the next, in nanoseconds
const elapsed = createHistogram()
const worked = createHistogram()
let last = now()

function now() {
  const { user, system } = process.threadCpuUsage()
  return { clock: performance.now() * 1e6, processor: (user + system) * 1e3 }
}

setInterval(() => {
  const { clock, processor } = now()
  elapsed.record(Math.max(1, Math.round(clock - last.clock)))
  worked.record(Math.max(1, Math.round(processor - last.processor)))
  last = { clock, processor }
}, resolution).unref()

process.on('message', (question) => {
  if (question !== 'loop-delay') return
  // what exceeds the timer's own interval is delay
  const delay = (nanoseconds) => Math.max(0, nanoseconds / 1e6 - resolution)
  process.send({
    p999: delay(elapsed.percentile(99.9)),
    max: delay(elapsed.max),
    workedP999: worked.percentile(99.9) / 1e6,
  })
  elapsed.reset()
  worked.reset()
})
process.channel?.unref()

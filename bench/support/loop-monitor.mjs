// Preloaded into a measured daemon: tells on demand for how long its event loop was held.

import { monitorEventLoopDelay } from 'node:perf_hooks'

const resolution = 1
const histogram = monitorEventLoopDelay({ resolution })
histogram.enable()

// the histogram holds the time between two ticks of a timer; what exceeds the timer's own interval is delay
const delay = (nanoseconds) => Math.max(0, nanoseconds / 1e6 - resolution)

process.on('message', (question) => {
  if (question !== 'loop-delay') return
  process.send({ p999: delay(histogram.percentile(99.9)), max: delay(histogram.max) })
  histogram.reset()
})
process.channel?.unref()

// The first SIGINT or SIGTERM ends things in order; one that comes later than a moment after it ends the
// process at once (the guard then clears up). One Ctrl-C arrives more than once: from the terminal, and
// passed on by npm and by the bootstrap script.
const sameKeystrokeMs = 1_000

export interface Shutdown {
  /** Resolves with the first signal. */
  readonly requested: Promise<NodeJS.Signals>
  /** Aborted by the first signal. */
  readonly signal: AbortSignal
  /** For what cannot be stopped half way, such as a server's start: a signal ends the process instead. */
  unlessRequested<T>(work: Promise<T>): Promise<T>
}

export function shutdownBySignal(): Shutdown {
  const abort = new AbortController()
  let firstAt = 0
  let resolveRequested: (signal: NodeJS.Signals) => void
  const requested = new Promise<NodeJS.Signals>((resolve) => {
    resolveRequested = resolve
  })
  const onSignal = (signal: NodeJS.Signals): void => {
    if (firstAt === 0) {
      firstAt = Date.now()
      abort.abort()
      resolveRequested(signal)
    } else if (Date.now() - firstAt > sameKeystrokeMs) {
      process.exit(130)
    }
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal)
  // The bootstrap script holds a channel to us: its end, even by SIGKILL, is the end of what it started.
  process.on('disconnect', () => onSignal('SIGTERM'))
  process.channel?.unref()
  const unlessRequested = async <T>(work: Promise<T>): Promise<T> => {
    const leave = (): never => process.exit(130)
    abort.signal.addEventListener('abort', leave)
    try {
      return await work
    } finally {
      abort.signal.removeEventListener('abort', leave)
    }
  }
  return { requested, signal: abort.signal, unlessRequested }
}

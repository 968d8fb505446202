// A failpoint is a named place where a test may make the daemon die, freeze or fail; it costs one
// comparison when none is armed. MILLRACE_FAILPOINTS='inbound.after-copy=crash@3,inbound.before-commit=stop'
// arms them: crash (SIGKILL to itself), stop (SIGSTOP to itself) or error, at the n-th passage (default the first).

export type FailpointAction = 'crash' | 'stop' | 'error'

interface Armed {
  action: FailpointAction
  passagesLeft: number
}

const actions: readonly string[] = ['crash', 'stop', 'error']

function parse(setting: string): Map<string, Armed> {
  const armed = new Map<string, Armed>()
  for (const part of setting.split(',')) {
    const match = /^([\w.-]+)=(\w+)(?:@(\d+))?$/.exec(part.trim())
    if (!match || !actions.includes(match[2] as string)) continue
    armed.set(match[1] as string, {
      action: match[2] as FailpointAction,
      passagesLeft: Number(match[3] ?? 1),
    })
  }
  return armed
}

const armed = parse(process.env.MILLRACE_FAILPOINTS ?? '')

/**
 * Marks a place where a test may interrupt the daemon.
 * @throws Error when the failpoint is armed with `error`
 */
export function failpoint(name: string): void {
  if (armed.size === 0) return
  const found = armed.get(name)
  if (!found || --found.passagesLeft !== 0) return
  if (found.action === 'error') throw new Error(`failpoint ${name}`)
  process.kill(process.pid, found.action === 'crash' ? 'SIGKILL' : 'SIGSTOP')
}

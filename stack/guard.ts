// Nothing that this process started outlives it: a small shell waits for the end of a pipe that only this
// process holds, so the servers are killed and their folders removed even after SIGKILL.
import { type ChildProcess, spawn } from 'node:child_process'
import type { Writable } from 'node:stream'

// One line per order: "pid N", "gone N", "folder PATH". The end of the input is the end of this process.
// SIGQUIT is PostgreSQL's immediate shutdown, which takes its backends along; SIGKILL ends the rest.
const script = `
trap '' INT TERM HUP
pids=' '
while IFS= read -r line; do
  value=\${line#* }
  case $line in
    'pid '*) pids="$pids$value " ;;
    'gone '*) case $pids in *" $value "*) pids="\${pids%%" $value "*} \${pids#*" $value "}" ;; esac ;;
    'folder '*) set -- "$@" "$value" ;;
  esac
done
alive() { for pid in $pids; do kill -0 "$pid" 2>/dev/null && return 0; done; return 1; }
for pid in $pids; do kill -QUIT "$pid" 2>/dev/null; done
tries=0
while alive && [ $tries -lt 10 ]; do sleep 0.1; tries=$((tries + 1)); done
for pid in $pids; do kill -KILL "$pid" 2>/dev/null; done
tries=0
while [ $# -gt 0 ] && [ $tries -lt 20 ]; do
  rm -rf "$@" 2>/dev/null && break
  sleep 0.2; tries=$((tries + 1))
done
`

let orders: Writable | undefined

function tell(order: string): void {
  orders ??= startGuard()
  orders.write(order + '\n')
}

function startGuard(): Writable {
  const guard: ChildProcess = spawn('/bin/sh', ['-c', script, 'millrace-guard'], {
    stdio: ['pipe', 'ignore', 'ignore'],
    cwd: '/',
    // A session of its own: Ctrl-C in the terminal must not reach it before its work is done.
    detached: true,
  })
  guard.unref()
  const input = guard.stdin!
  ;(input as unknown as { unref?: () => void }).unref?.()
  input.on('error', () => {})
  return input
}

/** To be called as soon as a server runs, and `guardGone` once it has been waited for. */
export function guardProcess(pid: number): void {
  tell(`pid ${pid}`)
}

export function guardGone(pid: number): void {
  tell(`gone ${pid}`)
}

/** A folder that must not stay behind. */
export function guardFolder(path: string): void {
  tell(`folder ${path}`)
}

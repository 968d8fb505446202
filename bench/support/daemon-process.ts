// A daemon under measurement: bin/millrace as a user runs it, watched from outside (/proc), and from inside only by
// a preloaded event-loop monitor that the program does not know of.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import memory from '../../bin/memory.json' with { type: 'json' }

const launcher = fileURLToPath(new URL('../../bin/millrace', import.meta.url))
const monitor = fileURLToPath(new URL('./loop-monitor.mjs', import.meta.url))

/** Clock ticks in a second: Linux has had no other value for decades. */
const ticksPerSecond = 100

/** Milliseconds. */
export interface LoopDelay {
  p999: number
  max: number
  /** Processor time that the daemon itself used between two ticks: the delay that a machine of its own would have. */
  workedP999: number
}

export class DaemonProcess {
  readonly #child: ChildProcess
  #highestMemory = 0
  readonly #watching: NodeJS.Timeout

  private constructor(child: ChildProcess) {
    this.#child = child
    this.#watching = setInterval(() => this.#watch(), 50)
  }

  static async start(url: string, { monitored = true } = {}): Promise<DaemonProcess> {
    // the launcher would start it anew with these, without the channel to the monitor
    const child = spawn(process.execPath, [...memory.nodeOptions, launcher, 'run'], {
      env: {
        ...process.env,
        ...memory.environment,
        DATABASE_URL: url,
        NODE_OPTIONS: monitored ? `--import ${monitor}` : '',
      },
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    })
    let output = ''
    for await (const chunk of child.stdout as NodeJS.ReadableStream) {
      output += chunk
      if (output.includes('connected to PostgreSQL')) break
      if (child.exitCode !== null) throw new Error(output)
    }
    child.stdout?.resume()
    return new DaemonProcess(child)
  }

  /** Bytes, the highest resident size seen since the last call. */
  takeHighestMemory(): number {
    this.#watch()
    const highest = this.#highestMemory
    this.#highestMemory = 0
    return highest
  }

  /** Seconds of processor time so far. */
  processorSeconds(): number {
    const fields = readFileSync(`/proc/${this.#child.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
    return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
  }

  /** Of the time since the last call. */
  async takeLoopDelay(): Promise<LoopDelay> {
    this.#child.send('loop-delay')
    const [delay] = await once(this.#child, 'message')
    return delay as LoopDelay
  }

  async stop(): Promise<void> {
    clearInterval(this.#watching)
    if (this.#child.exitCode !== null) return
    this.#child.kill('SIGTERM')
    await once(this.#child, 'exit')
  }

  #watch(): void {
    const status = readFileSync(`/proc/${this.#child.pid}/status`, 'utf8')
    const resident = Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024
    this.#highestMemory = Math.max(this.#highestMemory, resident)
  }
}

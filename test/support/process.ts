// What the operating system says of a process.
import { execFileSync } from 'node:child_process'
import { eventually } from './eventually.ts'

/** Waits until the process is stopped, as by SIGSTOP. */
export async function untilStopped(pid: number): Promise<void> {
  await eventually(`process ${pid} is stopped`, () => isStopped(pid))
}

export function isStopped(pid: number): boolean {
  return ps(pid, 'stat').startsWith('T')
}

/** Bytes of memory that the process holds. */
export function residentBytes(pid: number): number {
  return Number(ps(pid, 'rss')) * 1024
}

function ps(pid: number, column: string): string {
  return execFileSync('ps', ['-o', `${column}=`, '-p', String(pid)], { encoding: 'utf8' }).trim()
}

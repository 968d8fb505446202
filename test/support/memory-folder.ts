// A test has a database and topics of its own, thousands of small files that are gone a moment later. To make and remove
// them on a disk takes more time than what the test does with them, so where there is room they are kept in memory.
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const folder = '/dev/shm'
/** Bytes that have to be free, in the folder and in memory: several times what a run has at its fullest. */
const needed = 8 * 2 ** 30

/** Undefined: temporary files stay where they are otherwise. */
export function memoryFolder(): string | undefined {
  if (process.platform !== 'linux' || process.availableMemory() < needed) return undefined
  try {
    const { bavail, bsize } = statfsSync(folder)
    return bavail * bsize >= needed && runsPrograms() ? folder : undefined
  } catch {
    return undefined
  }
}

/** Kafka loads its compression from its temporary folder, which containers often forbid. */
function runsPrograms(): boolean {
  const own = mkdtempSync(join(folder, 'millrace-test-'))
  try {
    const program = join(own, 'program')
    writeFileSync(program, '#!/bin/sh\n')
    chmodSync(program, 0o700)
    return spawnSync(program).status === 0
  } finally {
    rmSync(own, { recursive: true })
  }
}

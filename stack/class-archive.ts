// A JVM that finds Kafka's classes in an archive, read and checked already, is up with half the processor time. The
// archive belongs to one Java and one set of jars: it lies beside the jars, is made by a broker when it ends in order,
// and appears there complete or not at all. One that is empty says that this Java makes none.
import { createHash } from 'node:crypto'
import { existsSync, statSync, writeFileSync } from 'node:fs'
import { mkdtemp, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { guardFolder } from './guard.ts'
import { javaVersion } from './kafka-jars.ts'

// What it would say of an archive that does not fit: it goes on without.
const quiet = ['-Xlog:cds=off', '-Xlog:cds+dynamic=off']

/** Of the jars on this class path (see kafkaClassPath), for this Java. */
export function archiveOf(classPath: string): string {
  const digest = createHash('sha256').update(javaVersion()).digest('hex').slice(0, 8)
  return `${dirname(classPath)}-${digest}.jsa`
}

/** A JVM's options: none when there is no archive. Its class path has to begin with this one. */
export function archiveOptions(classPath: string): string[] {
  const archive = archiveOf(classPath)
  const there = statSync(archive, { throwIfNoEntry: false })
  return there && there.size > 0 ? [`-XX:SharedArchiveFile=${archive}`, ...quiet] : []
}

/** @param runs a program to its end, with these options beside its own */
export async function makeArchive(
  classPath: string,
  runs: (options: string[]) => Promise<void>,
): Promise<void> {
  const archive = archiveOf(classPath)
  if (existsSync(archive)) return
  const fresh = await mkdtemp(join(dirname(archive), 'archiving-'))
  guardFolder(fresh)
  try {
    const made = join(fresh, 'classes.jsa')
    // a Java that does not know the option may not even start
    await runs([`-XX:ArchiveClassesAtExit=${made}`, ...quiet]).catch(() => {})
    if (!existsSync(made)) writeFileSync(made, '')
    await rename(made, archive)
  } finally {
    await rm(fresh, { recursive: true, force: true })
  }
}

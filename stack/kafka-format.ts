// What Kafka's own command writes into the folder of a broker differs in three lines from one to the next, and a JVM
// for each would take as long as the broker's start: it is run once for one set of jars, and copied from then on.
import { existsSync } from 'node:fs'
import { cp, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { guardFolder } from './guard.ts'
import { randomId } from './kafka-id.ts'

export interface FormattedAs {
  nodeId: number
  clusterId: string
}

/** @param model a folder that was formatted @param folder the one to be made */
export async function formatLike(
  model: string,
  folder: string,
  { nodeId, clusterId }: FormattedAs,
): Promise<void> {
  await cp(model, folder, { recursive: true })
  const file = join(folder, 'meta.properties')
  const lines = (await readFile(file, 'utf8'))
    .replace(/^node\.id=.*$/m, `node.id=${nodeId}`)
    .replace(/^cluster\.id=.*$/m, `cluster.id=${clusterId}`)
    .replace(/^directory\.id=.*$/m, `directory.id=${randomId()}`)
  await writeFile(file, lines)
}

/** Of the jars on this class path (see kafkaClassPath): a folder that was formatted, or where to keep one. */
export function modelOf(classPath: string): string {
  return `${dirname(classPath)}-formatted`
}

/** @param formatted a folder in which nothing has run yet */
export async function keepModel(classPath: string, formatted: string): Promise<void> {
  const model = modelOf(classPath)
  if (existsSync(model)) return
  const fresh = await mkdtemp(join(dirname(model), 'formatting-'))
  guardFolder(fresh)
  try {
    await cp(formatted, join(fresh, 'data'), { recursive: true })
    // Somebody else may have been quicker: then the folder is there, with the same files.
    await rename(join(fresh, 'data'), model).catch((error) => {
      if (!existsSync(model)) throw error
    })
  } finally {
    await rm(fresh, { recursive: true, force: true })
  }
}

// Kafka's jars are fetched once per version of pom.xml into the user's cache, outside the work tree, and
// appear there complete or not at all.
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { guardFolder, guardGone, guardProcess } from './guard.ts'
import { StackProblem } from './problem.ts'

const pom = fileURLToPath(new URL('pom.xml', import.meta.url))
const otherwise = 'or pass --brokers HOST:PORT to use a Kafka that runs already'

interface Java {
  folder: string
  /** All that it says of itself. */
  version: string
}

let java: Java | undefined

/** The folder of the JDK's programs ('' when they are found by PATH); throws when there is no Java 17 or later. */
export function javaFolder(): string {
  java ??= findJava()
  return java.folder
}

export function javaVersion(): string {
  java ??= findJava()
  return java.version
}

function findJava(): Java {
  const folders = process.env.JAVA_HOME ? [join(process.env.JAVA_HOME, 'bin'), ''] : ['']
  for (const folder of folders) {
    const { status, stderr } = spawnSync(join(folder, 'java'), ['-version'], { encoding: 'utf8' })
    const version = /version "(?:1\.)?(\d+)/.exec(stderr ?? '')?.[1]
    if (status === 0 && Number(version) >= 17) return { folder, version: stderr }
  }
  throw new StackProblem(
    `Kafka needs Java 17 or later: install it (Debian: apt-get install openjdk-17-jdk-headless, macOS: brew install openjdk), ${otherwise}`,
  )
}

/** The class path of the Kafka that stack/pom.xml names. */
export async function kafkaClassPath(say: (line: string) => void = () => {}): Promise<string> {
  const text = await readFile(pom, 'utf8')
  const version = /<kafka\.version>(.*?)</.exec(text)![1]
  const digest = createHash('sha256').update(text).digest('hex').slice(0, 8)
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'millrace')
  const jars = join(cache, `kafka-${version}-${digest}`)
  if (!existsSync(jars)) await fetchJars(cache, jars, () => say(`fetching Kafka ${version} with Maven`))
  return join(jars, '*')
}

async function fetchJars(cache: string, jars: string, announce: () => void): Promise<void> {
  if (spawnSync('mvn', ['--version']).status !== 0) {
    throw new StackProblem(
      `fetching Kafka needs Maven: install it (Debian: apt-get install maven, macOS: brew install maven), ${otherwise}`,
    )
  }
  announce()
  await mkdir(cache, { recursive: true })
  const fresh = await mkdtemp(join(cache, 'fetching-'))
  guardFolder(fresh)
  try {
    await runMaven(['-f', pom, 'dependency:copy-dependencies', `-DoutputDirectory=${fresh}`])
    // Somebody else may have been quicker: then the folder is there, full of the same jars.
    await rename(fresh, jars).catch((error) => {
      if (!existsSync(jars)) throw error
    })
  } finally {
    await rm(fresh, { recursive: true, force: true })
  }
}

function runMaven(args: string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const maven = spawn('mvn', ['--batch-mode', '--quiet', '-Dstyle.color=never', ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let output = ''
    maven.stdout.on('data', (chunk) => (output += chunk))
    if (maven.pid) guardProcess(maven.pid)
    maven.once('exit', () => guardGone(maven.pid!))
    maven.once('error', reject)
    maven.once('close', (code) => {
      if (code === 0) return resolve()
      const reason = /^\[ERROR\] (.*)/m.exec(output)?.[1] ?? `exit code ${code}`
      reject(new StackProblem(`Maven could not fetch Kafka (${reason}): see to its network, ${otherwise}`))
    })
  })
}

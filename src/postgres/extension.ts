// The extension files hold the very SQL that `millrace install` runs over a connection.

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Dialect, dialectNames, readDialect } from './sql-folder.ts'

export interface ExtensionFile {
  name: string
  text: string
}

export function extensionFiles(names: readonly string[] = dialectNames()): ExtensionFile[] {
  return names.map(readDialect).flatMap((dialect) => [
    { name: `${dialect.extension}.control`, text: control(dialect) },
    { name: `${dialect.extension}--${dialect.version}.sql`, text: script(dialect) },
  ])
}

/** @returns the paths written */
export async function writeExtensionFiles(folder: string, names?: readonly string[]): Promise<string[]> {
  // Not recursive: a typing mistake should not grow a tree of directories.
  await mkdir(folder).catch((error) => {
    if (error.code !== 'EEXIST') throw error
  })
  const paths: string[] = []
  for (const { name, text } of extensionFiles(names)) {
    const path = join(folder, name)
    await writeFile(path, text)
    paths.push(path)
  }
  return paths
}

// No superuser: the script runs with the rights of whoever creates the extension, and the objects are theirs.
function control({ extension, version, comment }: Dialect): string {
  return `# Made by scripts/build-extension.ts from sql/dialects.
comment = '${comment}'
default_version = '${version}'
schema = ${extension}
relocatable = false
superuser = false
`
}

function script({ extension, sql }: Dialect): string {
  return `-- Made by scripts/build-extension.ts from sql/dialects.
\\echo Use "CREATE EXTENSION ${extension}" to load this file. \\quit

${sql}`
}

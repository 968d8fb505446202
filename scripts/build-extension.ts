// Writes extension/ from sql/dialects. A test fails when they differ.

import { fileURLToPath } from 'node:url'
import { writeExtensionFiles } from '../src/postgres/extension.ts'

for (const path of await writeExtensionFiles(fileURLToPath(new URL('../extension', import.meta.url)))) {
  console.log(path)
}

// A configuration file is one JSON object whose nesting is that of the settings' paths. Nothing that stands in
// it is repeated in a problem, since the parser's own message would quote the text around it, secrets too.

import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { emptyLayer, giveToCluster, type Layer } from './given.ts'
import { clusterSettings, type Setting, settings } from './settings.ts'
import { didYouMean } from './suggest.ts'

export function readConfigFile(file: string): Layer {
  const layer = emptyLayer()
  const content = parse(file, layer.problems)
  if (content === undefined) return layer
  if (!isObject(content)) {
    layer.problems.push(`${file}: must hold one JSON object`)
    return layer
  }
  const { clusters, ...rest } = content
  const directory = dirname(resolve(file))
  const where = { file, directory, problems: layer.problems }
  flatten(rest, settings, { ...where, prefix: '' }, (path, raw, source) =>
    layer.settings.set(path, { raw, source, directory }),
  )
  if (clusters === undefined) return layer
  if (!isObject(clusters)) {
    layer.problems.push(`clusters in ${file}: must be an object with the clusters' names as keys`)
    return layer
  }
  for (const [name, cluster] of Object.entries(clusters)) {
    layer.clusters.set(name, new Map())
    const place = { ...where, prefix: `clusters.${name}.` }
    if (!isObject(cluster)) layer.problems.push(`clusters.${name} in ${file}: must be an object`)
    else {
      flatten(cluster, clusterSettings, place, (path, raw, source) =>
        giveToCluster(layer, name, path, { raw, source, directory }),
      )
    }
  }
  return layer
}

function parse(file: string, problems: string[]): unknown {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    problems.push(`${file}: cannot be read (${(error as NodeJS.ErrnoException).code})`)
    return undefined
  }
  try {
    return JSON.parse(text.replace(/^\uFEFF/, ''))
  } catch (error) {
    const [, line, column] = /\(line (\d+) column (\d+)\)/.exec((error as Error).message) ?? []
    problems.push(`${file}: is not valid JSON${line ? ` (line ${line}, column ${column})` : ''}`)
    return undefined
  }
}

interface Place {
  file: string
  /** What the paths in this object are preceded by. */
  prefix: string
  problems: string[]
}

/** Hands over each setting below an object; what is not in the table, or no object where one should be, is a problem. */
function flatten(
  object: Record<string, unknown>,
  table: readonly Setting[],
  place: Place,
  take: (path: string, raw: unknown, source: string) => void,
  above = '',
): void {
  for (const [key, value] of Object.entries(object)) {
    const path = above + key
    const source = `${place.prefix}${path} in ${place.file}`
    const isGroup = table.some((setting) => setting.path.startsWith(`${path}.`))
    const isSetting = table.some((setting) => setting.path === path)
    if (isGroup && isObject(value)) flatten(value, table, place, take, `${path}.`)
    else if (isSetting && !isObject(value)) take(path, value, source)
    else if (isGroup) place.problems.push(`${source}: must be ${isSetting ? 'true, false or ' : ''}an object`)
    else if (isSetting) place.problems.push(`${source}: must be a single value`)
    else {
      const known = table.map((setting) => setting.path)
      if (place.prefix === '') known.push('clusters')
      const groups = new Set(known.map((name) => name.split('.')[0]!))
      const suggestion = didYouMean(path, [...known, ...groups]) || didYouMean(key, known.map(lastWord))
      place.problems.push(`${source}: no such setting${suggestion}`)
    }
  }
  // {"tls": {}} and {"tls": {"ca": ...}} both ask for TLS.
  if (above === 'tls.') take('tls', true, `${place.prefix}tls in ${place.file}`)
}

function lastWord(path: string): string {
  return path.slice(path.lastIndexOf('.') + 1)
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

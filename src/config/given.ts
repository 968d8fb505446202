// What somebody wrote down somewhere, before it is understood: each value keeps the place it came from, so
// that a problem can name it.

export interface Given {
  raw: unknown
  /** As a message names it: a variable, an option, or a path in a file. */
  source: string
  /** Where relative paths in it start. */
  directory: string
}

export interface Layer {
  /** By path of the setting. */
  settings: Map<string, Given>
  /** By name of the cluster, then by path within it. */
  clusters: Map<string, Map<string, Given>>
  problems: string[]
}

export function emptyLayer(): Layer {
  return { settings: new Map(), clusters: new Map(), problems: [] }
}

export function giveToCluster(layer: Layer, cluster: string, path: string, given: Given): void {
  const known = layer.clusters.get(cluster) ?? new Map<string, Given>()
  layer.clusters.set(cluster, known.set(path, given))
}

// Every MILLRACE_* variable is a setting or a mistake, and a mistake is reported. An empty variable is one that
// is not set: compose files and shells pass those on without meaning anything by it.

import { emptyLayer, type Given, giveToCluster, type Layer } from './given.ts'
import { clusterSettings, defaultCluster, otherVariables, settings } from './settings.ts'
import { didYouMean } from './suggest.ts'

export type Environment = Readonly<Record<string, string | undefined>>

const defaultPrefix = 'MILLRACE_KAFKA_'
const clusterPrefix = 'MILLRACE_CLUSTER_'

/** What the variables of a cluster begin with: upper case, `_` for everything but letters and digits. */
export function clusterVariables(cluster: string): string {
  if (cluster === defaultCluster) return defaultPrefix
  return `${clusterPrefix}${cluster.toUpperCase().replace(/[^A-Z0-9]/g, '_')}_`
}

/** Clusters are named by what their variables begin with, except the default one. */
export function readEnvironment(env: Environment): Layer {
  const layer = emptyLayer()
  for (const setting of settings) {
    const variable = setting.env.find((name) => isSet(env[name]))
    if (variable !== undefined) layer.settings.set(setting.path, given(env, variable))
  }
  for (const variable of Object.keys(env).sort()) {
    if (!variable.startsWith('MILLRACE_') || !isSet(env[variable]) || isKnown(variable)) continue
    const place = clusterPlace(variable)
    if (place !== null) giveToCluster(layer, place.cluster, place.path, given(env, variable))
    else if (!isServiceLink(variable, env[variable]!)) layer.problems.push(unknownVariable(variable))
  }
  return layer
}

function isSet(value: string | undefined): value is string {
  return value !== undefined && value !== ''
}

function isKnown(variable: string): boolean {
  return otherVariables.includes(variable) || settings.some(({ env }) => env.includes(variable))
}

function given(env: Environment, variable: string): Given {
  return { raw: env[variable], source: variable, directory: process.cwd() }
}

function clusterPlace(variable: string): { cluster: string; path: string } | null {
  // The longest ending wins: ..._TLS_CA is the ca of a cluster, not the setting CA of a cluster ..._TLS.
  const endings = clusterSettings.flatMap(({ path, env }) => env.map((ending) => ({ path, ending })))
  endings.sort((a, b) => b.ending.length - a.ending.length)
  for (const { path, ending } of endings) {
    if (variable === defaultPrefix + ending) return { cluster: defaultCluster, path }
    const beginning = variable.slice(0, -ending.length)
    if (!variable.endsWith(`_${ending}`) || beginning.length <= clusterPrefix.length) continue
    // One variable per setting: those of the default cluster have the shorter name.
    if (!beginning.startsWith(clusterPrefix) || beginning === `${clusterPrefix}DEFAULT_`) continue
    return { cluster: beginning, path }
  }
  return null
}

/** Kubernetes describes a service called millrace to every pod beside it in variables of these names. */
function isServiceLink(variable: string, value: string): boolean {
  if (/_SERVICE_(HOST|PORT(_\w+)?)$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$/.test(variable))
    return true
  return variable.endsWith('_PORT') && /^(tcp|udp|sctp):\/\//.test(value)
}

function unknownVariable(variable: string): string {
  const known = [...otherVariables, ...settings.flatMap(({ env }) => env)]
  const endings = clusterSettings.flatMap(({ env }) => env)
  known.push(...endings.map((ending) => defaultPrefix + ending))
  if (variable.startsWith(`${clusterPrefix}DEFAULT_`)) {
    const ending = variable.slice(clusterPrefix.length + 'DEFAULT_'.length)
    if (endings.includes(ending))
      return `${variable}: no such setting (did you mean ${defaultPrefix}${ending}?)`
  }
  if (variable.startsWith(clusterPrefix)) {
    const words = variable.slice(clusterPrefix.length).split('_')
    for (let count = 1; count < words.length; count++) {
      const name = words.slice(0, count).join('_')
      const beginning = name === 'DEFAULT' ? defaultPrefix : `${clusterPrefix}${name}_`
      known.push(...endings.map((ending) => beginning + ending))
    }
  }
  return `${variable}: no such setting${didYouMean(variable, known)}`
}

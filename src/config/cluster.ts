// How to speak to one Kafka cluster: complete and checked, with the contents of the files it names. What is
// missing here is found when the configuration is loaded, not when a broker is first asked.

import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { createSecureContext } from 'node:tls'
import { Secret } from '../secret.ts'
import type { Given } from './given.ts'
import { clusterSettings } from './settings.ts'

export type SaslMechanism = 'PLAIN' | 'SCRAM-SHA-256' | 'SCRAM-SHA-512'

export interface TlsConfig {
  /** PEM; undefined: the certificates that Node trusts. */
  ca: string | undefined
  cert: string | undefined
  key: Secret | undefined
  serverName: string | undefined
  rejectUnauthorized: boolean
}

export interface SaslConfig {
  mechanism: SaslMechanism
  username: string
  password: Secret
}

export interface ClusterConfig {
  tls: TlsConfig | null
  sasl: SaslConfig | null
}

export const plainCluster: ClusterConfig = { tls: null, sasl: null }

/**
 * @param layers what was given, weakest first
 * @param name of the cluster, for messages
 */
export function readCluster(
  name: string,
  layers: readonly ReadonlyMap<string, Given>[],
  problems: string[],
  warnings: string[],
): ClusterConfig {
  const before = problems.length
  const values = readValues(layers, problems)
  const tls = readTls(values, name, problems)
  const sasl = readSasl(values, name, problems)
  if (problems.length > before) return plainCluster
  if (tls?.rejectUnauthorized === false) {
    warnings.push(`cluster ${name}: tls.rejectUnauthorized is false, so any server is taken for the broker`)
  }
  if (sasl?.mechanism === 'PLAIN' && tls === null) {
    warnings.push(`cluster ${name}: SASL PLAIN without TLS sends the password in the clear`)
  }
  return { tls, sasl }
}

interface Value {
  value: unknown
  source: string
}

type Values = ReadonlyMap<string, Value>

function readValues(layers: readonly ReadonlyMap<string, Given>[], problems: string[]): Values {
  const values = new Map<string, Value>()
  for (const layer of layers) {
    if (layer.has('sasl.password') && layer.has('sasl.passwordFile')) {
      const sources = [layer.get('sasl.password')!.source, layer.get('sasl.passwordFile')!.source]
      problems.push(`${sources.join(' and ')}: give one of them`)
    }
    // A password here replaces a password file of a weaker layer, and the other way round.
    if (layer.has('sasl.password') || layer.has('sasl.passwordFile')) {
      values.delete('sasl.password')
      values.delete('sasl.passwordFile')
    }
    for (const setting of clusterSettings) {
      const given = layer.get(setting.path)
      if (given === undefined) continue
      const reading = setting.type.read(given.raw)
      if ('problem' in reading) problems.push(`${given.source}: ${reading.problem}`)
      else {
        const isPath = setting.type.name.startsWith('path')
        const value = isPath ? resolve(given.directory, reading.value as string) : reading.value
        values.set(setting.path, { value, source: given.source })
        if (setting.path.startsWith('tls.') && !layer.has('tls')) {
          values.set('tls', { value: true, source: given.source })
        }
      }
    }
  }
  return values
}

function readTls(values: Values, name: string, problems: string[]): TlsConfig | null {
  if (values.get('tls')?.value !== true) return null
  if (values.has('tls.cert') !== values.has('tls.key')) {
    problems.push(`cluster ${name}: tls.cert and tls.key need each other`)
  }
  const [ca, cert, key] = ['tls.ca', 'tls.cert', 'tls.key'].map((path) =>
    readFile(values.get(path), problems),
  )
  if (ca !== undefined && !isCertificate(ca)) problems.push(notPem('certificate', values.get('tls.ca')))
  if (cert !== undefined && !isCertificate(cert)) problems.push(notPem('certificate', values.get('tls.cert')))
  else if (cert !== undefined && key !== undefined && !fits(cert, key)) {
    problems.push(notPem('unencrypted key of the certificate', values.get('tls.key')))
  }
  return {
    ca,
    cert,
    key: key === undefined ? undefined : new Secret(key),
    serverName: values.get('tls.serverName')?.value as string | undefined,
    rejectUnauthorized: values.get('tls.rejectUnauthorized')?.value !== false,
  }
}

function notPem(what: string, path: Value | undefined): string {
  return `${path?.source}: ${path?.value} does not hold the ${what} in PEM form`
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0
  } catch {
    return false
  }
}

function fits(cert: string, key: string): boolean {
  try {
    createSecureContext({ cert, key })
    return true
  } catch {
    return false
  }
}

function readSasl(values: Values, name: string, problems: string[]): SaslConfig | null {
  const passwordFile = values.get('sasl.passwordFile')
  const content = readFile(passwordFile, problems)?.replace(/\r?\n$/, '')
  if (content === '') problems.push(`${passwordFile?.source}: the file is empty`)
  const mechanism = values.get('sasl.mechanism')?.value as SaslMechanism | undefined
  const username = values.get('sasl.username')?.value as string | undefined
  const password =
    content === undefined ? (values.get('sasl.password')?.value as Secret) : new Secret(content)
  const hasPassword = password !== undefined || passwordFile !== undefined
  const missing = [
    mechanism === undefined ? ['sasl.mechanism'] : [],
    username === undefined ? ['sasl.username'] : [],
    hasPassword ? [] : ['sasl.password or sasl.passwordFile'],
  ].flat()
  if (missing.length === 3) return null
  if (missing.length > 0) problems.push(`cluster ${name}: ${missing.join(' and ')} not given`)
  return { mechanism: mechanism!, username: username!, password }
}

function readFile(path: Value | undefined, problems: string[]): string | undefined {
  if (path === undefined) return undefined
  try {
    return readFileSync(path.value as string, 'utf8')
  } catch (error) {
    problems.push(`${path.source}: ${path.value} cannot be read (${(error as NodeJS.ErrnoException).code})`)
    return undefined
  }
}

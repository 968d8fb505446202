// Each variant of security is one more listener of the same broker, on its own port: the plaintext listener
// stays, so that whoever sets up topics needs none of the secrets under test.
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { freePort } from './port.ts'

export type SaslMechanism = 'PLAIN' | 'SCRAM-SHA-256' | 'SCRAM-SHA-512'

const variants = {
  sasl_plain: { protocol: 'SASL_PLAINTEXT', mechanism: 'PLAIN' },
  sasl_scram256: { protocol: 'SASL_PLAINTEXT', mechanism: 'SCRAM-SHA-256' },
  sasl_scram512: { protocol: 'SASL_PLAINTEXT', mechanism: 'SCRAM-SHA-512' },
  tls: { protocol: 'SSL', mechanism: undefined },
  tls_sasl_plain: { protocol: 'SASL_SSL', mechanism: 'PLAIN' },
  tls_sasl_scram256: { protocol: 'SASL_SSL', mechanism: 'SCRAM-SHA-256' },
  tls_sasl_scram512: { protocol: 'SASL_SSL', mechanism: 'SCRAM-SHA-512' },
} as const satisfies Record<string, { protocol: string; mechanism: SaslMechanism | undefined }>

export type SecurityVariant = keyof typeof variants

export const securityVariants = Object.keys(variants) as SecurityVariant[]

/** What a client has to know to use one listener. */
export interface SecureListener {
  brokers: string
  mechanism?: SaslMechanism
  username?: string
  password?: string
  /** PEM of the certificate authority that signed the broker's certificate (for localhost and 127.0.0.1). */
  caFile?: string
}

export interface Security {
  listeners: { name: string; port: number; protocol: string }[]
  properties: Record<string, string>
  /** Arguments of `StorageTool format` that create the SCRAM credentials. */
  formatArguments: string[]
  facts: Partial<Record<SecurityVariant, SecureListener>>
}

const username = 'millrace'

export async function prepareSecurity(
  wanted: SecurityVariant[],
  folder: string,
  javaFolder: string,
): Promise<Security> {
  const security: Security = { listeners: [], properties: {}, formatArguments: [], facts: {} }
  const password = randomBytes(12).toString('hex')
  const usesTls = wanted.some((variant) => variant.startsWith('tls'))
  const tls = usesTls ? makeCertificates(folder, javaFolder) : undefined

  for (const variant of wanted) {
    const { protocol, mechanism } = variants[variant]
    const name = variant.toUpperCase()
    const port = await freePort()
    const facts: SecureListener = { brokers: `127.0.0.1:${port}` }
    const property = `listener.name.${variant}`
    if (mechanism) {
      Object.assign(facts, { mechanism, username, password })
      const loginModule =
        mechanism === 'PLAIN'
          ? `org.apache.kafka.common.security.plain.PlainLoginModule required user_${username}="${password}";`
          : 'org.apache.kafka.common.security.scram.ScramLoginModule required;'
      security.properties[`${property}.sasl.enabled.mechanisms`] = mechanism
      security.properties[`${property}.${mechanism.toLowerCase()}.sasl.jaas.config`] = loginModule
      if (mechanism !== 'PLAIN') {
        const credential = `${mechanism}=[name=${username},password=${password}]`
        if (!security.formatArguments.includes(credential))
          security.formatArguments.push('--add-scram', credential)
      }
    }
    if (tls && variant.startsWith('tls')) {
      facts.caFile = tls.caFile
      security.properties[`${property}.ssl.keystore.location`] = tls.keyStore
      security.properties[`${property}.ssl.keystore.password`] = tls.keyStorePassword
      security.properties[`${property}.ssl.keystore.type`] = 'PKCS12'
    }
    security.listeners.push({ name, port, protocol })
    security.facts[variant] = facts
  }
  return security
}

interface Certificates {
  caFile: string
  keyStore: string
  keyStorePassword: string
}

/** A certificate authority of our own and a broker certificate signed by it, with the JDK's keytool alone. */
function makeCertificates(folder: string, javaFolder: string): Certificates {
  const keyStorePassword = randomBytes(12).toString('hex')
  const caFile = join(folder, 'ca.pem')
  const keyStore = join(folder, 'broker.p12')
  const request = join(folder, 'broker.csr')
  const certificate = join(folder, 'broker.pem')
  const keytool = (store: string, ...args: string[]): void => {
    const small = ['-J-XX:TieredStopAtLevel=1', '-J-XX:+UseSerialGC']
    const common = [
      ...small,
      '-keystore',
      store,
      '-storetype',
      'PKCS12',
      '-storepass',
      keyStorePassword,
      '-noprompt',
    ]
    const run = spawnSync(join(javaFolder, 'keytool'), [...args, ...common], { encoding: 'utf8' })
    if (run.status !== 0) throw new Error(`keytool ${args[0]} failed: ${run.error?.message ?? run.stdout}`)
  }
  const ca = join(folder, 'ca.p12')
  const key = ['-keyalg', 'EC', '-groupname', 'secp256r1', '-validity', '3650']
  keytool(ca, '-genkeypair', '-alias', 'ca', '-dname', 'CN=Millrace test CA', ...key, '-ext', 'bc:c')
  keytool(ca, '-exportcert', '-alias', 'ca', '-rfc', '-file', caFile)
  keytool(keyStore, '-genkeypair', '-alias', 'broker', '-dname', 'CN=localhost', ...key)
  keytool(keyStore, '-certreq', '-alias', 'broker', '-file', request)
  const names = 'san=dns:localhost,ip:127.0.0.1'
  const signing = ['-alias', 'ca', '-infile', request, '-outfile', certificate, '-rfc', '-validity', '3650']
  keytool(ca, '-gencert', ...signing, '-ext', names)
  keytool(keyStore, '-importcert', '-alias', 'ca', '-file', caFile)
  keytool(keyStore, '-importcert', '-alias', 'broker', '-file', certificate)
  return { caFile, keyStore, keyStorePassword }
}

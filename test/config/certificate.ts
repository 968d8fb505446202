// A certificate and its key, made anew for each run, so that no private key lies in the repository. DER by hand:
// Node makes keys and signatures but no certificates (RFC 5280, RFC 8410).

import { generateKeyPairSync, sign } from 'node:crypto'

function der(tag: number, ...parts: Uint8Array[]): Buffer {
  const content = Buffer.concat(parts)
  const long = [content.length >> 8, content.length & 0xff]
  const length = content.length < 0x80 ? [content.length] : [0x82, ...long]
  return Buffer.concat([Buffer.from([tag, ...length]), content])
}

const [integer, bits, utf8, utcTime, sequence, set, oid] = [0x02, 0x03, 0x0c, 0x17, 0x30, 0x31, 0x06]
const ed25519 = der(sequence, der(oid, Buffer.from([0x2b, 0x65, 0x70])))
const commonName = Buffer.from([0x55, 0x04, 0x03])

function pem(kind: string, content: Buffer): string {
  const lines = content.toString('base64').match(/.{1,64}/g)!
  return `-----BEGIN ${kind}-----\n${lines.join('\n')}\n-----END ${kind}-----\n`
}

const { publicKey, privateKey } = generateKeyPairSync('ed25519')
const name = der(sequence, der(set, der(sequence, der(oid, commonName), der(utf8, Buffer.from('test')))))
const validity = der(
  sequence,
  der(utcTime, Buffer.from('200101000000Z')),
  der(utcTime, Buffer.from('491231235959Z')),
)
const body = der(
  sequence,
  der(integer, Buffer.from([1])),
  ed25519,
  name,
  validity,
  name,
  publicKey.export({ type: 'spki', format: 'der' }),
)
const signature = der(bits, Buffer.from([0]), sign(null, body, privateKey))

/** PEM, all of them; `otherKey` belongs to no certificate. */
export const certificate = pem('CERTIFICATE', der(sequence, body, ed25519, signature))
export const key = String(privateKey.export({ type: 'pkcs8', format: 'pem' }))
export const otherKey = String(
  generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }),
)

// A connection to one broker that carries Fetch alone, or Produce alone, and whose bytes are touched once: the socket reads into one
// fixed buffer, and from there they go to the place where the response stays until it is loaded. (The client
// library's connection keeps every chunk and joins them, which is fine for everything but this.) Protocol, TLS
// options, SASL and the parsing of small responses are the library's.
//
// Framing: https://kafka.apache.org/protocol#protocol_common

import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { type ClusterAccess, kafkaError } from './access.ts'
import {
  type Callback,
  type Connection,
  Reader,
  type ResponseParser,
  saslAuthenticateV2,
  saslHandshakeV1,
  saslPlain,
  saslScramSha,
  Writer,
} from './library.ts'
import type { ResponsePool } from './response-pool.ts'
import { ResponseTooLarge } from './response-too-large.ts'

/** The socket reads this much at once, at the most. */
const readBytes = 256 * 1024

/** Of a response that is too large, so much is read, to tell whose messages they are. */
const headBytes = 64 * 1024

/** Bytes of a request that is written in one piece. */
const joinedBytes = 64 * 1024

/** Bytes of a response's header: a correlation id and, in flexible versions, one byte for no tagged fields. */
const plainHeader = 4
const flexibleHeader = 5

interface Pending {
  correlationId: number
  settle: (error: Error | null, body: Buffer | null) => void
}

export class Wire {
  readonly #socket: Socket
  readonly #access: ClusterAccess
  readonly #pool: ResponsePool
  readonly #size = Buffer.alloc(4)
  #sizeFilled = 0
  #body: Buffer | null = null
  #bodyFilled = 0
  /** Bytes announced for the response under way, where that is more than may be held. */
  #tooLarge = 0
  #pending: Pending[] = []
  #correlationId = 0
  #broken: Error | null = null

  private constructor(access: ClusterAccess, pool: ResponsePool, broker: { host: string; port: number }) {
    this.#access = access
    this.#pool = pool
    const onread = {
      buffer: Buffer.allocUnsafeSlow(readBytes),
      callback: (length: number, buffer: Uint8Array) => this.#read(buffer as Buffer, length),
    }
    const address = { host: broker.host, port: broker.port, onread }
    const servername = access.tlsServerName ?? (isIP(broker.host) ? '' : broker.host)
    this.#socket = access.tls
      ? connectTls({ ...access.tls, ...address, ...(servername && { servername }) })
      : connectTcp(address)
    this.#socket.setNoDelay(true)
    this.#socket.on('error', (error) => this.#fail(error))
    this.#socket.on('close', () => this.#fail(new Error('the broker closed the connection')))
  }

  /**
   * Connects, and authenticates where the cluster asks for it.
   * @throws the socket's error, the library's AuthenticationError
   */
  static async open(
    access: ClusterAccess,
    pool: ResponsePool,
    broker: { host: string; port: number },
  ): Promise<Wire> {
    const wire = new Wire(access, pool, broker)
    try {
      await wire.#connected()
      await wire.#authenticate()
      return wire
    } catch (error) {
      wire.close()
      throw error
    }
  }

  /**
   * Sends a request with flexible headers. @returns the response after its header, in memory of the pool
   * @throws ResponseTooLarge; MillraceError kafka-unreachable when no answer comes within the request timeout; the
   *   socket's error when the connection breaks
   */
  request(apiKey: number, apiVersion: number, payload: Writer): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#send(apiKey, apiVersion, payload, true, true, (error, body) => {
        if (error) reject(error)
        else resolve(body as Buffer)
      })
    })
  }

  /** What the client library's own API functions call: with it they work on this connection too. */
  send<T>(
    apiKey: number,
    apiVersion: number,
    createPayload: () => Writer,
    parse: ResponseParser<T>,
    requestTags: boolean,
    responseTags: boolean,
    callback: Callback<T>,
  ): void {
    this.#send(apiKey, apiVersion, createPayload(), requestTags, responseTags, (error, body) => {
      if (error) {
        callback(error, undefined as T)
        return
      }
      let parsed: T
      try {
        parsed = parse(this.#correlationId, apiKey, apiVersion, Reader.from(body as Buffer)) as T
      } catch (cause) {
        callback(cause as Error, undefined as T)
        return
      }
      callback(null, parsed)
    })
  }

  /** Whether it can still be asked anything: a broker ends connections that nobody used for long. */
  get isOpen(): boolean {
    return this.#broken === null
  }

  /** For the library's API functions, which ask for no more of a connection than `send`. */
  get asConnection(): Connection {
    return this as unknown as Connection
  }

  close(): void {
    this.#fail(new Error('the connection is closed'))
  }

  #connected(): Promise<void> {
    return new Promise((resolve, reject) => {
      const { connectTimeout } = this.#access
      const timer = setTimeout(() => {
        reject(new Error(`no connection within ${connectTimeout} ms`))
      }, connectTimeout)
      this.#socket.once(this.#access.tls ? 'secureConnect' : 'connect', () => {
        clearTimeout(timer)
        resolve()
      })
      this.#socket.once('close', () => {
        clearTimeout(timer)
        reject(this.#broken)
      })
    })
  }

  /** The broker ends the connection when the session's lifetime is over (KIP-368); a new one authenticates again. */
  async #authenticate(): Promise<void> {
    const { sasl } = this.#access
    if (!sasl) return
    await saslHandshakeV1.api.async(this.asConnection, sasl.mechanism)
    const { mechanism, username = '', password = '' } = sasl
    const authenticate = saslAuthenticateV2.api
    if (mechanism === 'PLAIN')
      await saslPlain.authenticate(authenticate, this.asConnection, username, password)
    else {
      const algorithm = mechanism.slice('SCRAM-'.length) as 'SHA-256' | 'SHA-512'
      const { defaultCrypto } = saslScramSha
      await saslScramSha.authenticate(
        authenticate,
        this.asConnection,
        algorithm,
        username,
        password,
        defaultCrypto,
      )
    }
  }

  #send(
    apiKey: number,
    apiVersion: number,
    payload: Writer,
    requestTags: boolean,
    responseTags: boolean,
    done: (error: Error | null, body: Buffer | null) => void,
  ): void {
    if (this.#broken) {
      done(this.#broken, null)
      return
    }
    const correlationId = ++this.#correlationId
    const writer = Writer.create()
    writer.appendInt16(apiKey).appendInt16(apiVersion).appendInt32(correlationId)
    writer.appendString(this.#access.clientId, false)
    if (requestTags) writer.appendTaggedFields()
    writer.appendFrom(payload).prependLength()
    const { requestTimeout } = this.#access
    const timer = setTimeout(() => {
      this.#fail(kafkaError(new Error(`no answer within ${requestTimeout} ms`), this.#access))
    }, requestTimeout)
    const settle = (error: Error | null, body: Buffer | null) => {
      clearTimeout(timer)
      done(error, body?.subarray(responseTags ? flexibleHeader : plainHeader) ?? null)
    }
    this.#pending.push({ correlationId, settle })
    if (writer.length < joinedBytes) {
      this.#socket.write(writer.buffer)
      return
    }
    // in its pieces: joined, a request full of messages would be copied once more
    this.#socket.cork()
    for (const piece of writer.buffers) this.#socket.write(piece)
    this.#socket.uncork()
  }

  /** @returns true: go on reading */
  #read(bytes: Buffer, length: number): boolean {
    let at = 0
    while (at < length && !this.#broken) {
      if (this.#body === null) {
        this.#size[this.#sizeFilled++] = bytes[at++] as number
        if (this.#sizeFilled < 4) continue
        const size = this.#size.readInt32BE(0)
        if (size < plainHeader) {
          this.#fail(new Error(`the broker announced a response of ${size} bytes`))
          break
        }
        // a broker sends more than it was asked for when a single batch is larger (KIP-74)
        this.#tooLarge = size > this.#pool.largest ? size : 0
        this.#body = this.#tooLarge ? Buffer.alloc(Math.min(size, headBytes)) : this.#pool.take(size)
        this.#bodyFilled = 0
        this.#sizeFilled = 0
      }
      const body: Buffer = this.#body
      const part = Math.min(length - at, body.length - this.#bodyFilled)
      bytes.copy(body, this.#bodyFilled, at, at + part)
      this.#bodyFilled += part
      at += part
      if (this.#bodyFilled === body.length) {
        this.#body = null
        if (!this.#tooLarge) this.#answer(body)
        else {
          const head = body.subarray(flexibleHeader)
          this.#fail(new ResponseTooLarge(this.#tooLarge, this.#pool.largest, head))
        }
      }
    }
    return true
  }

  #answer(body: Buffer): void {
    const correlationId = body.readInt32BE(0)
    const request = this.#pending.shift()
    if (request?.correlationId === correlationId) request.settle(null, body)
    else this.#fail(new Error(`the broker answered request ${correlationId}, which was not the next one`))
  }

  #fail(error: Error): void {
    if (this.#broken) return
    this.#broken = error
    for (const request of this.#pending.splice(0)) request.settle(error, null)
    this.#socket.destroy()
  }
}

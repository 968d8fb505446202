// Three pages for machines that watch the daemon. No request can crash it, hold its event loop or fill its memory:
// headers, connections, answers under way and the time for each are bounded, and a body is not read.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, isIPv6 } from 'node:net'
import { MillraceError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { EventLoopDelay } from './event-loop.ts'
import { contentType } from './exposition.ts'
import { readiness } from './readiness.ts'
import { scrape } from './scrape.ts'
import type { DaemonView } from './view.ts'

export interface ConsoleOptions {
  /** 0: any port that is free. */
  listen: { host: string; port: number }
  /** Whether /metrics has series for each partition. */
  partitions: boolean
  /** Milliseconds that sending a request and reading its answer may take; for tests. */
  patience?: number
}

const defaultPatience = 15_000
const mostConnections = 64
/** Answers to /metrics that are being sent; what each holds is a few megabytes at the most. */
const mostScrapes = 8
const headerBytes = 8 * 1024

interface Answer {
  status: number
  type: string
  body: Buffer[]
  headers?: Record<string, string>
}

export class ConsoleServer {
  readonly #daemon: DaemonView
  readonly #log: Logger
  readonly #partitions: boolean
  readonly #patience: number
  readonly #delay = new EventLoopDelay()
  readonly #server: Server
  #scraping: Promise<Buffer[]> | null = null
  #scrapes = 0

  private constructor(options: ConsoleOptions, daemon: DaemonView, log: Logger) {
    this.#daemon = daemon
    this.#log = log
    this.#partitions = options.partitions
    this.#patience = options.patience ?? defaultPatience
    this.#server = createServer(
      {
        maxHeaderSize: headerBytes,
        headersTimeout: this.#patience,
        requestTimeout: this.#patience,
        connectionsCheckingInterval: Math.ceil(this.#patience / 3),
        keepAliveTimeout: 2 * this.#patience,
      },
      (request, response) => void this.#serve(request, response),
    )
    this.#server.maxConnections = mostConnections
    this.#server.maxRequestsPerSocket = 1000
    // a client that says nothing at all, or does not take its answer
    this.#server.setTimeout(2 * this.#patience)
  }

  /**
   * @throws MillraceError http-listen-failed
   */
  static async open(options: ConsoleOptions, daemon: DaemonView, log: Logger): Promise<ConsoleServer> {
    const opened = new ConsoleServer(options, daemon, log)
    const server = opened.#server
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    server.once('error', reject)
    server.listen(options.listen, resolve)
    try {
      await promise
    } catch (cause) {
      opened.#delay.close()
      const { host, port } = options.listen
      throw new MillraceError('http-listen-failed', { address: addressText(host, port), cause })
    }
    server.off('error', reject)
    server.on('error', (error) => log.warn({ err: error }, 'the console could not take a connection'))
    return opened
  }

  /** `host:port`. */
  get address(): string {
    const { address, port } = this.#server.address() as AddressInfo
    return addressText(address, port)
  }

  async close(): Promise<void> {
    this.#delay.close()
    const closed = new Promise((resolve) => this.#server.close(resolve))
    this.#server.closeAllConnections()
    await closed
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const deadline = setTimeout(() => response.destroy(), this.#patience)
    response.on('close', () => clearTimeout(deadline))
    response.on('error', () => {}) // whoever asked has gone
    try {
      send(request, response, await this.#answer(request, response))
    } catch (error) {
      this.#log.error({ err: new MillraceError('internal', { cause: error }) }, 'the console failed')
      if (response.headersSent) response.destroy()
      else send(request, response, text(500, 'a defect in millrace; the log has more\n'))
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<Answer> {
    const path = (request.url ?? '').replace(/[?#].*$/s, '')
    const page = pages[path]
    if (!page) return text(404, `${Object.keys(pages).join('\n')}\n`)
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return { ...text(405, 'GET or HEAD\n'), headers: { Allow: 'GET, HEAD', Connection: 'close' } }
    }
    switch (page) {
      case 'alive':
        return text(200, 'ok\n')
      case 'ready': {
        const { ready, body } = readiness(this.#daemon)
        return {
          status: ready ? 200 : 503,
          type: 'application/json; charset=utf-8',
          body: [Buffer.from(body)],
        }
      }
      case 'metrics':
        return this.#metrics(response)
    }
  }

  /** Who asks while an answer is being written gets that one. */
  async #metrics(response: ServerResponse): Promise<Answer> {
    if (this.#scrapes >= mostScrapes) {
      return { ...text(503, 'too many scrapes at a time\n'), headers: { 'Retry-After': '1' } }
    }
    this.#scrapes++
    response.on('close', () => this.#scrapes--)
    this.#scraping ??= scrape(this.#daemon, { partitions: this.#partitions, delay: this.#delay }).finally(
      () => {
        this.#scraping = null
      },
    )
    return { status: 200, type: contentType, body: await this.#scraping }
  }
}

const pages: Record<string, 'metrics' | 'alive' | 'ready' | undefined> = Object.assign(Object.create(null), {
  '/metrics': 'metrics',
  '/healthz': 'alive',
  '/readyz': 'ready',
})

function send(
  request: IncomingMessage,
  response: ServerResponse,
  { status, type, body, headers }: Answer,
): void {
  if (response.destroyed) return
  response.writeHead(status, {
    'Content-Type': type,
    'Content-Length': body.reduce((sum, part) => sum + part.length, 0),
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    ...headers,
  })
  if (request.method !== 'HEAD') for (const part of body) response.write(part)
  response.end()
}

function text(status: number, content: string): Answer {
  return { status, type: 'text/plain; charset=utf-8', body: [Buffer.from(content)] }
}

function addressText(host: string, port: number): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`
}

// A connection to PostgreSQL that breaks exactly where a test wants it to: around COMMIT, where only the stored
// position can tell what has happened. It reads the frontend's messages as far as needed for that.
//
// Protocol: https://www.postgresql.org/docs/current/protocol-message-formats.html
import { connect, createServer, type Socket } from 'node:net'
import { afterwards, type Cleanup } from './cleanup.ts'

/**
 * `before`: the COMMIT never reaches the server. `after`: the server has answered it, the client never hears so.
 * `during`: the COMMIT is sent on, and both sides lose each other at once.
 */
export type Cut = 'before' | 'after' | 'during'

export interface DatabaseProxy {
  /** What the daemon connects to instead. */
  url: string
  /** From now on, each `every`-th COMMIT of all connections is cut; null: none. */
  cutCommits(cut: Cut | null, every?: number): void
  /** Where new connections go from now on, as after a failover; those that are there are cut, or hear nothing more. */
  switchTo(url: string, old: 'cut' | 'silent'): void
  /** How many were cut. */
  readonly cuts: number
}

export async function databaseProxy(t: Cleanup, url: string): Promise<DatabaseProxy> {
  let target = new URL(url)
  const sockets = new Set<Socket>()
  const silencers = new Set<() => void>()
  const state = { cut: null as Cut | null, every: 1, commits: 0, cuts: 0 }

  const server = createServer((client) => {
    let silent = false
    const upstream = connect({ host: target.hostname, port: Number(target.port) })
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => {})
      socket.on('close', () => {
        sockets.delete(socket)
        if (!silent) client.destroy()
        upstream.destroy()
      })
    }
    let deaf = false
    silencers.add(() => {
      silent = true
      upstream.destroy()
    })
    upstream.on('data', (data) => {
      if (silent) return
      if (deaf) client.destroy()
      else client.write(data)
    })
    const isCommit = commitFinder()
    client.on('data', (data) => {
      if (silent) return
      const commits = isCommit(data) && state.cut !== null && ++state.commits % state.every === 0
      if (!commits) {
        upstream.write(data)
        return
      }
      state.cuts++
      if (state.cut === 'before') client.destroy()
      else if (state.cut === 'after') {
        deaf = true
        upstream.write(data)
      } else {
        upstream.end(data)
        client.destroy()
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  afterwards(t, () => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const own = new URL(url)
  own.hostname = '127.0.0.1'
  own.port = String((server.address() as { port: number }).port)
  return {
    url: own.href,
    cutCommits: (cut, every = 1) => Object.assign(state, { cut, every, commits: 0 }),
    switchTo: (url, old) => {
      target = new URL(url)
      if (old === 'cut') for (const socket of sockets) socket.destroy()
      else for (const silence of silencers) silence()
      silencers.clear()
    },
    get cuts() {
      return state.cuts
    },
  }
}

/** Follows one connection's messages. @returns whether the bytes hold the simple query COMMIT */
function commitFinder(): (data: Buffer) => boolean {
  let pending = Buffer.alloc(0)
  let started = false
  let skip = 0
  return (data) => {
    let found = false
    let at = Math.min(skip, data.length)
    skip -= at
    pending = Buffer.concat([pending, data.subarray(at)])
    at = 0
    for (;;) {
      const header = started ? 5 : 4
      if (pending.length - at < header) break
      const length = pending.readInt32BE(at + header - 4) + header - 4
      const isQuery = started && pending[at] === 'Q'.charCodeAt(0)
      if (pending.length - at < length) {
        // of what is no query only the length matters
        if (isQuery) break
        skip = length - (pending.length - at)
        at = pending.length
        started = true
        break
      }
      if (isQuery && pending.toString('latin1', at + 5, at + length - 1) === 'COMMIT') found = true
      started = true
      at += length
    }
    pending = pending.subarray(at)
    return found
  }
}

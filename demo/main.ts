// npm run demo: a topic that a generator keeps filling flows into a table because of three lines of SQL.
import { reportAndExit } from '../stack/problem.ts'
import { shutdownBySignal } from '../stack/shutdown.ts'
import { readArguments } from './arguments.ts'
import { runDemo } from './demo.ts'
import { demoServers } from './servers.ts'

const shutdown = shutdownBySignal()
try {
  const given = readArguments()
  const servers = await shutdown.unlessRequested(demoServers(given, console.log))
  const alive = setInterval(() => {}, 60_000)
  let complete = false
  try {
    complete = await runDemo(given, servers, shutdown.signal)
  } finally {
    await servers.remove()
    clearInterval(alive)
  }
  process.exit(complete ? 0 : 1)
} catch (error) {
  reportAndExit(error)
}

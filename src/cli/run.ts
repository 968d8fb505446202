// The daemon ends in one of three ways: asked to (exit 0, the batches in hand committed), asked twice (at once),
// or by an error that no waiting mends (logged once, with the exit code of its kind).

import { loadConfig } from '../config/config.ts'
import { startDaemon } from '../daemon/daemon.ts'
import { createLog } from '../log.ts'
import { parseOptions } from './command.ts'
import { commands } from './commands.ts'
import { serve } from './serve.ts'

export async function run(args: string[], env: NodeJS.ProcessEnv): Promise<number> {
  const options = parseOptions(commands.run, args)
  const config = loadConfig({
    env,
    file: options.value('config'),
    overrides: {
      'database.url': options.value('database'),
      'log.level': options.value('log-level'),
      'log.format': options.value('log-format'),
    },
  })
  const log = createLog(config.log)
  for (const warning of config.warnings) log.warn(warning)
  return serve(() => startDaemon(config, log), config.daemon.shutdownTimeout, log)
}

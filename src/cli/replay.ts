// Dead letters are loaded again by the daemon; here somebody asks for it and watches.

import { MillraceError } from '../errors.ts'
import { asking, askReplay, findConsumer, follow, type ReplayChoice } from '../postgres/request.ts'
import { type ParsedOptions, parseOptions } from './command.ts'
import { commands } from './commands.ts'
import { print, withDatabase } from './database-command.ts'
import { exitCodes } from './exit-codes.ts'
import { failureLines } from './failure-report.ts'
import { Progress } from './progress.ts'

export async function replay(args: string[], env: NodeJS.ProcessEnv): Promise<number> {
  const options = parseOptions(commands.replay, args)
  checkChoice(options)
  return withDatabase('replay', options, env, (client) =>
    asking(client, async () => {
      const [topic, into] = [options.value('topic'), options.value('into')]
      const choice: ReplayChoice = {
        consumer:
          topic !== undefined && into !== undefined
            ? await findConsumer(client, topic, into)
            : (options.value('consumer') ?? null),
        ids: options.has('id') ? options.values('id') : null,
        where: options.value('where') ?? null,
      }
      const request = await askReplay(client, choice)
      if (request === null) {
        print('no dead letters to replay')
        return exitCodes.ok
      }
      const progress = new Progress(process.stdout)
      const end = await follow(client, request, ({ asked, done, failed, errorCode, errorMessage }) =>
        progress.show(
          Number(done) + Number(failed),
          Number(asked),
          Number(failed),
          errorCode === null ? '' : `waits: ${errorCode}: ${errorMessage}`,
        ),
      ).finally(() => progress.end())
      print(`${end.done} loaded, ${end.failed} failed`)
      for (const line of failureLines(end.result?.reasons ?? [], Number(end.failed))) print(line)
      if (end.state === 'failed')
        throw new MillraceError('request-failed', {
          reason: `request ${end.id} failed: ${end.errorCode}: ${end.errorMessage}`,
        })
      return end.failed === '0' ? exitCodes.ok : exitCodes.failed
    }),
  )
}

/** @throws MillraceError usage */
function checkChoice(options: ParsedOptions): void {
  const wrong = (reason: string): never => {
    throw new MillraceError('usage', { reason: `replay: ${reason}` })
  }
  const chosen = ['consumer', 'topic', 'id', 'where'].some((name) => options.has(name))
  if (options.has('all') && chosen) wrong('--all goes with no choice')
  if (!options.has('all') && !chosen)
    wrong('say which: --consumer, --topic and --into, --id, --where, or --all')
  if (options.has('topic') !== options.has('into')) wrong('--topic and --into go together')
  if (options.has('topic') && options.has('consumer')) wrong('--consumer or --topic, not both')
  for (const name of ['consumer', 'id']) {
    if (options.values(name).some((value) => !/^[0-9]{1,18}$/.test(value))) wrong(`--${name} takes a number`)
  }
}

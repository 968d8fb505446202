/** What a person has to put right before a server can start. Its message is one line and stands for itself. */
export class StackProblem extends Error {
  override name = 'StackProblem'
}

/** The one line for a problem of the machine, the whole stack trace for anything that is a mistake of ours. */
export function reportAndExit(error: unknown): never {
  console.error(error instanceof StackProblem ? error.message : error)
  process.exit(1)
}

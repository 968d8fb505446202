/** What was typed after the program's name; the bootstrap script puts a `--` before it, for Node's sake. */
export function programArguments(): string[] {
  const given = process.argv.slice(2)
  return given[0] === '--' ? given.slice(1) : given
}

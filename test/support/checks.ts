// What needs no server: the linter with the formatter, and the types.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

const programs = join('node_modules', '.bin')

/** @returns how many of them failed */
export async function runChecks(): Promise<number> {
  const results = await Promise.all([
    check('lint', 'biome', ['check', '--error-on-warnings', '.']),
    check('typecheck', 'tsc', ['--noEmit']),
  ])
  return results.filter((passed) => !passed).length
}

function check(name: string, program: string, args: string[]): Promise<boolean> {
  return new Promise((resolve) => {
    const path = join(programs, program)
    if (!existsSync(path)) throw new Error(`${path} is missing: run npm ci`)
    const child = spawn(process.execPath, [path, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    child.stdout.on('data', (chunk) => (output += chunk))
    child.stderr.on('data', (chunk) => (output += chunk))
    child.once('close', (code) => {
      if (code !== 0) process.stdout.write(output)
      console.log(`${code === 0 ? '✔' : '✖'} ${name}`)
      resolve(code === 0)
    })
  })
}

// A secret is shown by nothing: not by String(), JSON, util.inspect or a template. Only `reveal()` gives it,
// and `scrub()` takes it (and any password inside a URL) out of text that other people's code wrote.

import { inspect } from 'node:util'

const hidden = '[secret]'

// Shorter ones ("a", "test") are part of ordinary words; scrubbing them would garble the log and hide nothing.
const shortestScrubbed = 8

const known = new Set<string>()

export class Secret {
  readonly #value: string

  constructor(value: string) {
    this.#value = value
    hide(value)
  }

  reveal(): string {
    return this.#value
  }

  toString(): string {
    return hidden
  }

  toJSON(): string {
    return hidden
  }

  [inspect.custom](): string {
    return hidden
  }
}

/** From now on scrub() takes this value out, as it is and as URLs and JSON write it. */
export function hide(value: string): void {
  if (value.length < shortestScrubbed) return
  known.add(value)
  known.add(encodeURIComponent(value))
  known.add(JSON.stringify(value).slice(1, -1))
}

// The bounds in the pattern keep a long line of anything from taking time that grows with its square.
/** The text without known secrets and without the passwords of URLs (`scheme://user:password@`, `?password=`). */
export function scrub(text: string): string {
  let clean = text
    .replace(/(:\/\/[^\s:/@"']{0,300}):[^\s"']{0,2000}@/g, `$1:${hidden}@`)
    .replace(/([?&](?:ssl)?password=)[^\s&"']+/gi, `$1${hidden}`)
  for (const value of known) {
    if (clean.includes(value)) clean = clean.replaceAll(value, hidden)
  }
  return clean
}

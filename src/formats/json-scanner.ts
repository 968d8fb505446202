// The strict grammar of RFC 8259, over bytes, without building anything: where a value ends, or where and why it is
// no JSON. Depth costs a byte a level and no recursion. Bytes above 0x7F are taken as they are: PostgreSQL judges them.

export const tab = 0x09
export const lineFeed = 0x0a
export const carriageReturn = 0x0d
export const space = 0x20
export const quote = 0x22
export const comma = 0x2c
export const colon = 0x3a
export const backslash = 0x5c
export const openBrace = 0x7b
export const closeBrace = 0x7d
export const openBracket = 0x5b
export const closeBracket = 0x5d

const minus = 0x2d
const zero = 0x30
const nine = 0x39

const literals = ['true', 'false', 'null'].map((word) => Buffer.from(word))

/** 1 for a byte that stands for itself in a string. */
export const plainInString = new Uint8Array(256).fill(1, space)
plainInString[quote] = plainInString[backslash] = 0

const escapeLetters = new Uint8Array(256)
for (const letter of Buffer.from('"\\/bfnrtu')) escapeLetters[letter] = 1

/** Every scan returns where it ended, or -1 and then tells in `failedAt` and `reason`. */
export class JsonScanner {
  failedAt = 0
  reason = ''
  /** Set when a scan passes a byte that COPY's text format escapes. */
  special = false
  /** Set when a scan passes a \u escape that is half of a surrogate pair without the other half. */
  loneSurrogateAt = -1
  #containers = new Uint8Array(64)

  fail(at: number, reason: string): -1 {
    this.failedAt = at
    this.reason = reason
    return -1
  }

  /** Passes whitespace. */
  gap(bytes: Buffer, p: number, end: number): number {
    for (; p < end; p++) {
      const byte = bytes[p]!
      if (byte === space) continue
      if (byte !== lineFeed && byte !== carriageReturn && byte !== tab) break
      this.special = true
    }
    return p
  }

  /** @param p after the opening quote */
  string(bytes: Buffer, p: number, end: number): number {
    while (p < end) {
      const byte = bytes[p]!
      if (plainInString[byte] === 1) {
        p++
      } else if (byte === quote) {
        return p + 1
      } else if (byte === backslash) {
        this.special = true
        p = this.#escape(bytes, p, end)
        if (p < 0) return -1
      } else {
        return this.fail(p, 'a control character in a string')
      }
    }
    return this.fail(end, 'a string does not end')
  }

  number(bytes: Buffer, p: number, end: number): number {
    if (bytes[p] === minus) p++
    const first = p
    p = digits(bytes, p, end)
    if (p === first) return this.fail(p, 'a digit is missing')
    if (bytes[first] === zero && p > first + 1) return this.fail(first, 'a number begins with 0')
    if (p < end && bytes[p] === 0x2e) {
      const fraction = p + 1
      p = digits(bytes, fraction, end)
      if (p === fraction) return this.fail(p, 'a digit is missing')
    }
    if (p < end && (bytes[p]! | space) === 0x65) {
      p++
      if (p < end && (bytes[p] === 0x2b || bytes[p] === minus)) p++
      const exponent = p
      p = digits(bytes, p, end)
      if (p === exponent) return this.fail(p, 'a digit is missing')
    }
    return p
  }

  /** Any value that is no container. */
  scalar(bytes: Buffer, p: number, end: number): number {
    if (p >= end) return this.fail(end, 'a value is missing')
    const byte = bytes[p]!
    if (byte === quote) return this.string(bytes, p + 1, end)
    if (byte === minus || (byte >= zero && byte <= nine)) return this.number(bytes, p, end)
    for (const word of literals) if (startsWith(bytes, p, end, word)) return p + word.length
    return this.fail(p, 'a value is missing')
  }

  /** Any value. @param p at its first byte, whitespace passed */
  value(bytes: Buffer, p: number, end: number): number {
    let depth = 0
    for (;;) {
      const byte = p < end ? bytes[p]! : 0
      if (byte === openBrace || byte === openBracket) {
        p = this.gap(bytes, p + 1, end)
        if (p < end && bytes[p] === byte + 2) {
          p++
        } else {
          this.#open(depth++, byte)
          if (byte === openBrace) p = this.#key(bytes, p, end)
          if (p < 0) return -1
          continue
        }
      } else {
        p = this.scalar(bytes, p, end)
        if (p < 0) return -1
      }
      for (;;) {
        if (depth === 0) return p
        p = this.gap(bytes, p, end)
        const container = this.#containers[depth - 1]!
        const next = p < end ? bytes[p]! : 0
        if (next === comma) {
          p = this.gap(bytes, p + 1, end)
          if (container === openBrace) p = this.#key(bytes, p, end)
          if (p < 0) return -1
          break
        }
        // the closing byte is two after the opening one, for both
        if (next !== container + 2)
          return this.fail(p, container === openBrace ? ', or } is missing' : ', or ] is missing')
        p++
        depth--
      }
    }
  }

  /** A key, its colon, and the whitespace around. */
  #key(bytes: Buffer, p: number, end: number): number {
    if (p >= end || bytes[p] !== quote) return this.fail(p, 'a key is missing')
    p = this.string(bytes, p + 1, end)
    if (p < 0) return -1
    return this.colon(bytes, p, end)
  }

  /** The colon after a key, and the whitespace around. */
  colon(bytes: Buffer, p: number, end: number): number {
    p = this.gap(bytes, p, end)
    if (p >= end || bytes[p] !== colon) return this.fail(p, 'a colon is missing')
    return this.gap(bytes, p + 1, end)
  }

  #open(depth: number, container: number): void {
    if (depth === this.#containers.length) {
      const larger = new Uint8Array(depth * 4)
      larger.set(this.#containers)
      this.#containers = larger
    }
    this.#containers[depth] = container
  }

  /** @param p at the backslash */
  #escape(bytes: Buffer, p: number, end: number): number {
    const letter = p + 1 < end ? bytes[p + 1]! : 0
    if (escapeLetters[letter] === 0) return this.fail(p, 'an unknown escape in a string')
    if (letter !== 0x75) return p + 2
    const unit = codeUnit(bytes, p, end)
    if (unit < 0) return this.fail(p, 'an unknown escape in a string')
    if (unit < 0xd800 || unit > 0xdfff) return p + 6
    const low = unit < 0xdc00 ? codeUnit(bytes, p + 6, end) : -1
    if (low >= 0xdc00 && low <= 0xdfff) return p + 12
    if (this.loneSurrogateAt < 0) this.loneSurrogateAt = p
    return p + 6
  }
}

function startsWith(bytes: Buffer, p: number, end: number, word: Buffer): boolean {
  if (p + word.length > end) return false
  for (let i = 0; i < word.length; i++) if (bytes[p + i] !== word[i]) return false
  return true
}

function digits(bytes: Buffer, p: number, end: number): number {
  while (p < end && bytes[p]! >= zero && bytes[p]! <= nine) p++
  return p
}

/** The UTF-16 code unit of the \uXXXX at `p`; -1 when there is none. */
export function codeUnit(bytes: Buffer, p: number, end: number): number {
  if (p + 6 > end || bytes[p] !== backslash || bytes[p + 1] !== 0x75) return -1
  let unit = 0
  for (let i = p + 2; i < p + 6; i++) {
    const digit = hexDigit(bytes[i]!)
    if (digit < 0) return -1
    unit = unit * 16 + digit
  }
  return unit
}

function hexDigit(byte: number): number {
  if (byte >= zero && byte <= nine) return byte - zero
  const letter = byte | space
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1
}

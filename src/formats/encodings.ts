// In a few client encodings the second byte of a character can be an ASCII byte, 0x5C among them: half a character
// must not be taken for a backslash or a quote. In all others every byte of a longer character has its high bit set.
// PostgreSQL converts to the server's encoding, which is never one of these, before it looks for such bytes.
//
// https://www.postgresql.org/docs/current/multibyte.html#MULTIBYTE-CHARSET-SUPPORTED, names and their aliases

/** Bytes of the character that begins at `at`; `end` bounds it. For a byte below 0x80 it is not asked. */
export type CharacterWidth = (bytes: Buffer, at: number, end: number) => number

/** @returns null where a byte below 0x80 is always a character */
export function embeddingWidth(encoding: string | null, databaseEncoding?: string): CharacterWidth | null {
  // not converted, so COPY takes half a character for a whole one
  if (databaseEncoding === 'SQL_ASCII') return null
  switch (encoding?.toLowerCase().replace(/[^a-z0-9]/g, '')) {
    case 'sjis':
    case 'shiftjis':
    case 'mskanji':
    case 'win932':
    case 'windows932':
    case 'shiftjis2004':
      return shiftJis
    case 'big5':
    case 'win950':
    case 'windows950':
    case 'gbk':
    case 'win936':
    case 'windows936':
    case 'uhc':
    case 'win949':
    case 'windows949':
    case 'johab':
      return twoBytes
    case 'gb18030':
      return gb18030
    default:
      return null
  }
}

function twoBytes(_bytes: Buffer, at: number, end: number): number {
  return Math.min(2, end - at)
}

/** 0xA1 to 0xDF are half-width katakana, one byte each. */
function shiftJis(bytes: Buffer, at: number, end: number): number {
  const lead = bytes[at]!
  return lead >= 0xa1 && lead <= 0xdf ? 1 : Math.min(2, end - at)
}

/** A digit in second place makes four bytes. */
function gb18030(bytes: Buffer, at: number, end: number): number {
  const second = at + 1 < end ? bytes[at + 1]! : 0
  return Math.min(second >= 0x30 && second <= 0x39 ? 4 : 2, end - at)
}

// A csv dialect: the three characters, and how \. is written at a record's beginning so that no version of COPY takes it
// for the end of the input and every one reads the same value.

import { type CharacterWidth, embeddingWidth } from './encodings.ts'
import type { FormatOptions } from './format.ts'

export interface CsvDialect {
  /** COPY's, one character each. */
  options: { delimiter: string; quote: string; escape: string }
  /** The byte. */
  quote: number
  /** The byte; -1: the quote itself, which needs no care, since doubling it toggles twice. */
  escape: number
  width: CharacterWidth | null
  /** Replaces the two bytes of \. where they would be taken for the end; null: nothing can, for this server. */
  marker: Buffer | null
}

export function csvDialect(options: FormatOptions): CsvDialect {
  const quote = options.quote ?? '"'
  const characters = { delimiter: options.delimiter ?? ',', quote, escape: options.escape ?? quote }
  // from version 18 on \. is no end, so it may stay when there is no other way to write it
  const unchanged = options.serverVersion >= 180000 ? '\\.' : null
  const marker = markerAsData(characters) ?? unchanged
  return {
    options: characters,
    quote: quote.charCodeAt(0),
    escape: characters.escape === quote ? -1 : characters.escape.charCodeAt(0),
    width: embeddingWidth(options.encoding, options.databaseEncoding),
    marker: marker === null ? null : Buffer.from(marker),
  }
}

function markerAsData({ delimiter, quote, escape: escaping }: CsvDialect['options']): string | null {
  const quoted = (character: string) =>
    `${quote}${character === escaping ? escaping : ''}${character}${quote}`
  // the backslash ends an empty field
  if (delimiter === '\\') return quote === '.' ? null : `\\${quoted('.')}`
  // the backslash opens a quote: what is before it, and what is in it, are one value
  if (quote === '\\') return delimiter === '.' ? null : '.\\'
  // the dot opens a quote
  if (quote === '.') return escaping === '\\' ? '.\\\\' : '.\\'
  return `${quoted('\\')}.`
}

// Why a text or csv message may not go into COPY, for people.

import type { Fault } from './rows.ts'

export const trailingBackslash: Fault = {
  code: 'trailing-backslash',
  reason: 'it ends in a backslash that would escape its newline',
}

export const copyEndMarker: Fault = { code: 'copy-end-marker', reason: 'it has a line that ends in \\.' }

export const csvEndMarker: Fault = {
  code: 'copy-end-marker',
  reason: 'it has a record that begins with a line of \\. alone',
}

export const textCarriageReturn: Fault = {
  code: 'carriage-return',
  reason: 'it has a carriage return that ends no line',
}

export const csvCarriageReturn: Fault = {
  code: 'carriage-return',
  reason: 'it has a carriage return outside quotes that ends no line',
}

export const openQuote: Fault = {
  code: 'unbalanced-quote',
  reason: 'it opens a quote that it does not close',
}

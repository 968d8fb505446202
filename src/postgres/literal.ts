// Values and names become SQL here and nowhere else.
// https://www.postgresql.org/docs/current/sql-syntax-lexical.html

import pg from 'pg'

/** A string constant; with E'' where it holds a backslash, so that standard_conforming_strings does not matter. */
export const literal: (value: string) => string = pg.escapeLiteral

/** An identifier, always quoted. */
export const identifier: (name: string) => string = pg.escapeIdentifier

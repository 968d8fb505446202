// Parts of docs/ are made from the program's own tables. They stand between two comments and are compared with what
// they are made from; UPDATE_DOCS=1 in the environment of such a test writes them anew instead.
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'

/** The part stands between `<!-- NAME -->` and `<!-- /NAME -->`, each on a line of its own. */
export function checkDocumentPart(file: string, name: string, text: string): void {
  const path = new URL(`../../docs/${file}`, import.meta.url)
  const document = readFileSync(path, 'utf8')
  const part = new RegExp(`(?<=<!-- ${name} -->\\n)[^]*(?=<!-- /${name} -->)`)
  if (process.env.UPDATE_DOCS)
    writeFileSync(
      path,
      document.replace(part, () => text),
    )
  else assert.equal(document.match(part)?.[0], text)
}

/** A table as the formatter writes it, every column as wide as its widest cell. */
export function documentTable(titles: string[], rows: string[][]): string {
  const cells = [titles, ...rows].map((row) => row.map((cell) => cell.replaceAll('|', '\\|')))
  const widths = titles.map((_, column) => Math.max(3, ...cells.map((row) => row[column]!.length)))
  const line = (row: string[]): string =>
    `| ${row.map((cell, at) => cell.padEnd(widths[at]!)).join(' | ')} |\n`
  const [head, ...body] = cells.map(line)
  return head + line(widths.map((width) => '-'.repeat(width))) + body.join('')
}

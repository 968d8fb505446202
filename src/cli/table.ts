// Plain text that lines up, in a terminal, a file or a mail. What comes from outside (names, messages of servers)
// cannot move the cursor or start a new line.

export type Align = 'left' | 'right'

export interface Column {
  title: string
  align: Align
}

/** @returns lines, the first one the titles */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[]): string[] {
  const cells = [columns.map(({ title }) => title), ...rows.map((row) => row.map(plain))]
  const widths = columns.map((_, index) => Math.max(...cells.map((row) => row[index]!.length)))
  return cells.map((row) =>
    row
      .map((cell, index) =>
        columns[index]!.align === 'right' ? cell.padStart(widths[index]!) : cell.padEnd(widths[index]!),
      )
      .join('  ')
      .trimEnd(),
  )
}

export function plain(text: string): string {
  return text.replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029]+/g, ' ')
}

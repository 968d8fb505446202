// A span is a stretch of one partition's offsets, [from, to), to be loaded whole or not at all. Offsets in it
// may have no message (compaction, control batches, aborted transactions): the position passes over them.

export interface Span {
  partition: number
  from: bigint
  /** The position after it. */
  to: bigint
  /** The leader epoch of the last batch before `to` (KIP-320), whether its messages are seen or not; -1: not known. */
  leaderEpoch: number
}

/** Spans that cannot be split: one offset of one partition. */
export function isSingle(spans: Span[]): boolean {
  return spans.length === 1 && (spans[0] as Span).to - (spans[0] as Span).from <= 1n
}

/**
 * Two parts, in order, which together are the whole: between spans while there are several, then in the
 * middle of the one. @param spans not `isSingle`
 */
export function split<S extends Span>(spans: S[]): [S[], S[]] {
  if (spans.length > 1) {
    const middle = spans.length >> 1
    return [spans.slice(0, middle), spans.slice(middle)]
  }
  const span = spans[0] as S
  const middle = span.from + (span.to - span.from) / 2n
  return [[{ ...span, to: middle, leaderEpoch: -1 }], [{ ...span, from: middle }]]
}

/** What comes before `offset` of the span at `index`: the spans before it whole, and that one cut. */
export function before<S extends Span>(spans: S[], index: number, offset: bigint): S[] {
  const cut = { ...(spans[index] as S), to: offset, leaderEpoch: -1 }
  return [...spans.slice(0, index), ...(cut.to > cut.from ? [cut] : [])]
}

/** What comes after `offset` of the span at `index`. */
export function after<S extends Span>(spans: S[], index: number, offset: bigint): S[] {
  const cut = { ...(spans[index] as S), from: offset + 1n }
  return [...(cut.to > cut.from ? [cut] : []), ...spans.slice(index + 1)]
}

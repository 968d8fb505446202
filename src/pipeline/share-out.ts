// A number is shared out evenly; where a share is more than there is, the others get the rest.

/** @returns of each as many as it may give; together `wanted`, or all there are */
export function shareOut(available: number[], wanted: number): number[] {
  const shares = available.map(() => 0)
  const order = available
    .map((_, index) => index)
    .sort((a, b) => (available[a] as number) - (available[b] as number))
  let left = wanted
  for (const [place, index] of order.entries()) {
    const share = Math.min(available[index] as number, Math.ceil(left / (order.length - place)))
    shares[index] = share
    left -= share
  }
  return shares
}

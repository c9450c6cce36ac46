// What became of numbered messages, said in their order, at those who listened.

export interface Ears {
  /** Numbers, as they came. */
  readonly heard: number[]
  /** Before which of them, by place, it was told that something is missing. */
  readonly gaps: Set<number>
}

export interface Verdict {
  /** In all, by all. */
  readonly heard: number
  /** Said, not heard, and not told to be missing. */
  readonly lost: number
  /** Said, not heard, and told to be missing. */
  readonly told: number
  readonly doubled: number
  /** Came behind one that was said after it. */
  readonly reordered: number
}

/** @param said what must be heard: what the server took */
export function judge(ears: readonly Ears[], said: ReadonlySet<number>): Verdict {
  const verdict = { heard: 0, lost: 0, told: 0, doubled: 0, reordered: 0 }
  for (const { heard, gaps } of ears) {
    const seen = new Set<number>()
    let highest = -1
    const missing = (before: number, place: number): void => {
      for (let n = highest + 1; n < before; n++) if (said.has(n)) verdict[gaps.has(place) ? 'told' : 'lost']++
    }
    for (const [place, n] of heard.entries()) {
      if (n > highest) {
        missing(n, place)
        highest = n
      } else if (seen.has(n)) verdict.doubled++
      else {
        verdict.reordered++
        if (said.has(n)) verdict.lost-- // it was counted as missing, and came late
      }
      seen.add(n)
    }
    missing(Math.max(-1, ...said) + 1, heard.length)
    verdict.heard += heard.length
  }
  return verdict
}

// How the highest rate that a server sustains is searched: which rate is tried next, given all that have been tried.
//
// Rates grow until one fails, then the gap between the highest that did and the lowest that did not is halved (as a ratio) until the two are
// near. That one fails may be bad luck, and of all failures only the one that ends the search counts: so it alone is tried again.

export interface Trial {
  readonly rate: number
  readonly sustained: boolean
}

/** Near twice as much; three halvings bring such a gap below NEAR, where 2 would need a fourth. */
const GROWTH = 1.85
const NEAR = 1.08
const LOWEST_RATE = 500
const HIGHEST_RATE = 2_000_000

/** @returns deliveries per second; null when the search is over, and the highest rate that was sustained is its answer */
export function nextRate(trials: readonly Trial[], first: number): number | null {
  if (trials.length === 0) return first
  const good = Math.max(0, ...trials.filter(({ sustained }) => sustained).map(({ rate }) => rate))
  const bad = Math.min(Number.POSITIVE_INFINITY, ...trials.map(({ rate }) => rate).filter(rate => rate > good))
  if (bad === Number.POSITIVE_INFINITY) return good < HIGHEST_RATE ? good * GROWTH : null
  if (good === 0) return bad > LOWEST_RATE ? bad / GROWTH : null
  if (bad / good > NEAR) return Math.sqrt(good * bad)
  return trials.filter(({ rate }) => rate === bad).length === 1 ? bad : null
}

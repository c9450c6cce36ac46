import t from 'tap'
import { nextRate, type Trial } from '../../bench/search.js'

/** Searches for the limit of a server that does what `sustains` says. */
function search(sustains: (rate: number, trial: number) => boolean, trials: Trial[] = []): Trial[] {
  for (let rate = nextRate(trials, 20_000); rate !== null; rate = nextRate(trials, 20_000))
    trials.push({ rate, sustained: sustains(rate, trials.length) })
  return trials
}

const best = (trials: readonly Trial[]): number =>
  Math.max(...trials.filter(({ sustained }) => sustained).map(({ rate }) => rate))

t.test('the answer is at most 8 % below the limit, wherever that is, within a few steps', t => {
  for (const limit of [900, 19_999, 20_000, 37_000, 200_000, 600_000]) {
    const trials = search(rate => rate <= limit)
    t.ok(best(trials) <= limit && best(trials) >= limit / 1.08, `${limit}: ${best(trials)}`)
    t.ok(trials.length <= 12, `${limit}: ${trials.length} steps`)
  }
  t.end()
})

t.test('a failure that bad luck made costs one step more, not the answer', t => {
  const trials = search((rate, trial) => rate <= 200_000 && trial !== 3)
  t.ok(best(trials) >= 200_000 / 1.08, `${best(trials)}`)
  t.end()
})

t.test('a second search goes on from what the first has tried', t => {
  const trials = search(rate => rate <= 200_000)
  const stricter = trials.map(({ rate }) => ({ rate, sustained: rate <= 70_000 }))
  const more = search(rate => rate <= 70_000, stricter).length - trials.length
  t.ok(more <= 4, `${more} steps more`)
  t.end()
})

t.test('a search ends where nothing is sustained and where everything is', t => {
  t.equal(best([{ rate: 0, sustained: true }, ...search(() => false)]), 0)
  t.ok(best(search(() => true)) >= 2_000_000)
  t.end()
})

import t from 'tap'
import { Histogram } from '../../bench/histogram.js'

t.test('quantiles are at most 1.6 % off', t => {
  const histogram = new Histogram()
  for (let ms = 1; ms <= 1_000; ms++) histogram.add(ms)
  const { count, mean, p50, p99, max } = histogram.summary()
  t.same([count, mean, max], [1_000, 500.5, 1_000])
  t.ok(Math.abs(p50 - 500) <= 8, `p50 ${p50}`)
  t.ok(Math.abs(p99 - 990) <= 16, `p99 ${p99}`)
  t.end()
})

t.test('several histograms make one that tells what a single one would have told', t => {
  const [whole, ...parts] = [new Histogram(), new Histogram(), new Histogram()]
  for (let ms = 0; ms < 1_000; ms++) {
    whole.add(ms)
    parts[ms % 2]!.add(ms)
  }
  t.same(Histogram.of(parts).summary(), whole.summary())
  t.end()
})

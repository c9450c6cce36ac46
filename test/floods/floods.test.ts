// Every flood at a third of its size: what it may cost in memory, that all is given back, and that nobody else loses a message. How long the others
// had to wait is told and not judged: `npm run floods -- --strict` does that, at full size, on a machine that does nothing else.

import t from 'tap'
import { floods } from './attacks/index.js'
import { SERVERS, type ServerKind } from './flood.js'
import { complaints, mib, p99, Stage, type Tempo } from './stage.js'

t.setTimeout(300_000)

const SIZE = 0.3
/** Short times, so that what is left goes soon. */
const TEMPO: Tempo = { options: { timeout: 2_000, maxInterval: 5_000, sweepPeriod: 100 }, requestTimeout: 2_000, quiet: 0 }

for (const kind of Object.keys(SERVERS) as ServerKind[]) {
  t.test(`floods of a server, ${kind}`, async t => {
    const stage = await Stage.start(kind, TEMPO)
    try {
      for (const flood of floods.filter(({ server }) => server === kind)) {
        const size = Math.ceil(flood.size * SIZE)
        const result = await stage.flood(flood, size)
        t.same(complaints(result), [], `${size} ${flood.title}`)
        const { rss, latency } = result
        t.comment(`${flood.name}: ${mib(rss.peak - rss.before)} of ${flood.bound} MiB, p99 ${p99(latency).toFixed(1)} ms`)
      }
    } finally {
      await stage.end()
    }
  })
}

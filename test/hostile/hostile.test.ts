// Thousands of hostile cases against a listening server, on both roads of long-polling; after each, the clients that mean well get their messages.
//
// What is random comes from one seed, `SEED=n`, which is printed. `npm run hostile` runs any number.

import t from 'tap'
import { campaign } from './campaign.js'
import { type Case, LEVELS } from './case.js'
import { tables } from './random.js'

const SEED = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const CASES = 6_000
/** Each kind of answer must have been seen: a server that says the same to all would be well otherwise. */
const ANSWERS = [200, 400, 403, 404, 413, 417, 431, 1000, 1001, 1002, 1005, 1007, 1008, 1009, 1011, 4999]

t.setTimeout(300_000) // of a busy machine

t.test('each case of the tables has a name of its own, and is not content with just any answer', t => {
  const cast = { own: 'own', others: [], healthy: 'healthy' }
  const failure = Buffer.from('HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n')
  const page = Buffer.from('HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}')
  const takes = (each: Case, answer: Buffer): boolean => {
    try {
      each.say(cast).judge(answer)
      return true
    } catch {
      return false
    }
  }
  for (const level of LEVELS) {
    const cases = tables[level]
    t.equal(new Set(cases.map(({ name }) => name)).size, cases.length, `${level}: ${cases.length}`)
    const content = cases.filter(each => takes(each, failure) || takes(each, page))
    t.same(
      content.map(({ name }) => name),
      [],
    )
  }
  t.end()
})

for (const direct of [false, true]) {
  t.test(`${CASES} hostile cases, long-polling ${direct ? 'past' : 'through'} Fastify`, async t => {
    t.comment(`SEED=${SEED}`)
    const { cases, seen, latency, late, failures } = await campaign({
      seed: SEED,
      cases: CASES,
      levels: LEVELS,
      direct,
      strict: false,
      only: null,
    })
    t.comment(
      `healthy clients waited ${latency.p99.toFixed(1)} ms (p99), ${latency.max.toFixed(1)} ms (worst); ${late} times more than 250 ms`,
    )
    for (const failure of failures) {
      const [what, ...details] = failure.split('\n')
      t.fail(what!, { details })
    }
    t.equal(cases, CASES)
    t.same(
      ANSWERS.filter(code => !seen.has(code)),
      [],
      'each kind of answer was seen',
    )
  })
}

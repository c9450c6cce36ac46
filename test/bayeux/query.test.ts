// History queries: a client reads what is kept by a remote call, as far as it may subscribe.

import fc from 'fast-check'
import t from 'tap'
import type { ChannelRules, Json } from '../../bayeux/index.js'
import { MemoryHistory } from '../../lib/history/memory.js'
import { type Client, Drive } from '../support/drive.js'

const RULES: ChannelRules = { '/k/**': { history: { messages: 10_000, age: 3_600_000 } } }
const store = (first = 0) => new MemoryHistory({ messages: 100_000, bytes: 1e9 }, first)
const SERVICE = '/service/history'

/** @returns the answer, and the reply to the call */
function call(client: Client, data: unknown, more: object = {}): { answer: Json | undefined; data: Json; reply: Json } {
  const before = client.messages.length
  client.say({ channel: SERVICE, data, id: 'q7', ...more })
  const answer = client.messages.slice(before).find(({ channel }) => channel === SERVICE)
  const reply = client.replies.findLast(({ channel }) => channel === SERVICE)!
  return { answer, data: (answer?.['data'] ?? {}) as Json, reply }
}

const texts = (data: Json) => (data['messages'] as Json[]).map(message => message['data'])

t.test('all that is kept, oldest first, as it was published, each with its position and time; nothing is subscribed', t => {
  for (const transport of ['websocket', 'long-polling'] as const) {
    const history = store()
    const drive = new Drive({}, RULES, history)
    const client = drive.client(transport)
    client.say({ channel: '/k/a', data: { n: 1 }, id: 'x', ext: { mine: 1 }, position: 99 })
    drive.engine.server.publish('/k/b', 'two', { id: '77' }, null, drive.now)
    drive.publish('/live', 3)
    const { answer, data, reply } = call(client, { channel: '/k/**' })
    t.match(reply, { channel: SERVICE, id: 'q7', successful: true })
    t.match(answer, { channel: SERVICE, id: 'q7', successful: true })
    t.strictSame(
      data,
      {
        epoch: history.epoch,
        messages: [
          { channel: '/k/a', data: { n: 1 }, ext: { mine: 1 }, position: 1, at: drive.now },
          { channel: '/k/b', id: '77', data: 'two', position: 2, at: drive.now },
        ],
        through: 2,
        more: false,
        recovered: true,
      },
      transport,
    )
    t.equal(client.session.subscriptions, null)
  }
  t.end()
})

t.test(
  'where it begins: behind a position, of this epoch or bare, at a moment, with all, or with nothing but the place of the present',
  t => {
    const history = store(1_000)
    const drive = new Drive({}, { '/k/**': { history: { messages: 3, age: 3_600_000 } } }, history)
    for (let n = 1; n <= 5; n++) {
      drive.publish('/k/a', n)
      drive.pass(10)
    }
    const { epoch } = history
    const cases: [after: unknown, messages: number[], recovered: boolean][] = [
      [undefined, [3, 4, 5], true],
      [-2, [3, 4, 5], true],
      [-1, [], true],
      [{ now: true }, [], true],
      [1_003, [4, 5], true],
      [1_001, [3, 4, 5], false],
      [0, [3, 4, 5], false],
      [{ id: 1_004, epoch }, [5], true],
      [{ id: 1_001, epoch }, [3, 4, 5], false],
      [{ id: 1_004, epoch: 'another life' }, [3, 4, 5], false],
      [{ at: drive.now - 15 }, [5], true],
    ]
    for (const [after, messages, recovered] of cases) {
      const { data } = call(drive.client(), { channel: '/k/a', after })
      t.same(texts(data), messages, JSON.stringify(after))
      t.match(data, { recovered, more: false, through: 1_005 })
    }
    t.end()
  },
)

t.test('a page is bounded in messages and bytes, and the next goes on behind it', t => {
  const drive = new Drive({ trusted: true }, RULES, store())
  const client = drive.client()
  for (let n = 0; n < 250; n++) drive.publish(n % 2 === 0 ? '/k/a' : '/k/b', { n, pad: '✓'.repeat((n % 5) * 400) })
  drive.publish('/k/b', { n: 250, pad: 'x'.repeat(200_000) })
  drive.publish('/k/a', { n: 251 })
  fc.assert(
    fc.property(
      fc.constantFrom('/k/a', '/k/*', '/k/**'),
      fc.option(fc.integer({ min: 1, max: 1_000 }), { nil: undefined }),
      (channel, limit) => {
        const got: number[] = []
        let after = 0
        for (let pages = 0, more = true; more; pages++) {
          if (pages > 300) throw new Error('reading does not end')
          const { answer, data } = call(client, { channel, after, ...(limit === undefined ? {} : { limit }) })
          const numbers = (texts(data) as { n: number }[]).map(({ n }) => n)
          if (numbers.length > (limit ?? 100)) throw new Error(`${numbers.length} of ${limit}`)
          if (numbers.length > 1 && Buffer.byteLength(JSON.stringify(answer)) > 65_536) throw new Error('too large')
          if ((data['through'] as number) < after) throw new Error('it goes back')
          got.push(...numbers)
          ;({ through: after, more } = data as { through: number; more: boolean })
        }
        const all = Array.from({ length: 252 }, (_, n) => n).filter(n =>
          channel !== '/k/a' || n % 2 === 0 ? n !== 250 || channel !== '/k/a' : n === 251,
        )
        if (got.join() !== all.join()) throw new Error(`${channel} ${limit}: ${got}`)
      },
    ),
    { numRuns: 25 },
  )
  t.end()
})

t.test('what is asked for wrongly fails with a code and a reason', t => {
  const drive = new Drive({ trusted: true }, RULES, store())
  drive.publish('/k/a', 1)
  const client = drive.client()
  const wrong: [data: unknown, why: RegExp][] = [
    ...[
      undefined,
      null,
      1,
      'x',
      [],
      {},
      { channel: 1 },
      { channel: null },
      { channel: 'k' },
      { channel: '/k/*/a' },
      { channel: `/${'x'.repeat(2_000)}` },
      { channel: '/meta/connect' },
      { channel: '/service/x' },
    ].map((data): [unknown, RegExp] => [data, /^channel is/]),
    ...[0, -1, 1.5, '5', 1_001, 1e300, null, [], true].map((limit): [unknown, RegExp] => [
      { channel: '/k/a', limit },
      /^limit is/,
    ]),
    ...[
      -3,
      1.5,
      '0',
      '-2',
      '',
      null,
      [],
      [0],
      {},
      true,
      2,
      1e300,
      { id: 0 },
      { id: 0, epoch: 1 },
      { id: '0', epoch: drive.engine.server.history('/k/a', 0, 1).epoch },
      { at: '0' },
      { at: null },
    ].map((after): [unknown, RegExp] => [{ channel: '/k/a', after }, /^after is/]),
  ]
  for (const [data, why] of wrong) {
    const { answer, data: error, reply } = call(client, data)
    t.match(reply, { successful: true }, 'the call itself was taken')
    t.match(answer, { id: 'q7', successful: false })
    t.match(error, { error: 'history_query_invalid', text: why }, JSON.stringify(data))
  }
  t.end()
})

t.test(
  'who may not subscribe may not read: by rules, wildcards with what they cover, policy, authorizers; who may not call is refused',
  t => {
    const rules: ChannelRules = { ...RULES, '/k/secret': { subscribe: 'nobody' }, '/k/new/*': { create: 'nobody' } }
    const drive = new Drive({}, rules, store())
    drive.publish('/k/a', 1)
    drive.publish('/k/secret', 2)
    const client = drive.client()
    const refused = (channel: string, error = 'subscribe_denied') => {
      const { answer, data } = call(client, { channel })
      t.match(answer, { successful: false })
      t.match(data, { error, text: /^403:/, messages: undefined }, channel)
    }
    for (const channel of ['/k/secret', '/k/*', '/k/**', '/**']) refused(channel)
    refused('/k/new/x', 'create_denied')
    t.same(texts(call(client, { channel: '/k/a' }).data), [1])
    drive.engine.server.police({ subscribe: true })
    drive.answer = ({ kind, channel }) => kind !== 'subscribe' || channel !== '/k/a'
    refused('/k/a')
    t.same(texts(call(client, { channel: '/k/b' }).data), [])
    drive.answer = () => ({ deny: 'not you' })
    t.match(call(client, { channel: '/k/a' }).data, { text: '403:not you:subscribe_denied' })
    drive.engine.server.police({ subscribe: false })
    drive.engine.server.authorize('/k/a', () => ({ deny: 'closed' }))
    refused('/k/a')
    drive.engine.server.setRules({ ...rules, [SERVICE]: { publish: 'nobody' } }, drive.now)
    const { answer, reply } = call(client, { channel: '/k/b' })
    t.match(reply, { successful: false, error: /publish_denied$/ })
    t.equal(answer, undefined)
    t.end()
  },
)

t.test(
  'a policy that answers later is waited for, first for the call, then for the channel; rights that change meanwhile are asked again',
  t => {
    const drive = new Drive({}, RULES, store())
    drive.publish('/k/a', 1)
    const client = drive.client()
    drive.engine.server.police({ publish: true, subscribe: true })
    drive.answer = () => null
    t.equal(call(client, { channel: '/k/a' }).answer, undefined)
    t.match(drive.open, [{ kind: 'publish', channel: SERVICE }])
    drive.verdict(true)
    t.match(drive.open, [{ kind: 'subscribe', channel: '/k/a' }])
    drive.engine.server.review(client.session, drive.now)
    drive.verdict(true)
    t.match(drive.open, [{ kind: 'subscribe' }], 'once more')
    t.same(client.messages, [])
    client.say({ channel: SERVICE, data: { channel: '/k/b' }, id: 'q8' })
    drive.verdict(true)
    t.same(texts(client.messages[0]!['data'] as Json), [1])
    t.match(drive.open, [{ kind: 'publish', channel: SERVICE }], 'the next waits behind it, and is asked for from the beginning')
    drive.verdict(true)
    drive.verdict(false)
    t.match(client.messages.at(-1), { id: 'q8', successful: false, data: { error: 'subscribe_denied' } })
    t.end()
  },
)

t.test(
  'without rules that keep it is a channel as any; a service of the application in its place wins, one on a wildcard stands beside it',
  t => {
    const none = new Drive({}, {}, store())
    t.match(call(none.client(), { channel: '/k/a' }), { answer: undefined, reply: { successful: true } })
    const own = new Drive({}, RULES, store())
    const heard: unknown[] = []
    own.engine.server.listen('/service/*', ({ data }) => void heard.push(data))
    t.match(call(own.client(), { channel: '/k/a' }), { answer: { successful: true } })
    const off = own.engine.server.listen(SERVICE, ({ data }) => void heard.push(data))
    t.match(call(own.client(), { channel: '/k/b' }), { answer: undefined, reply: { successful: true } })
    t.same(heard, [{ channel: '/k/a' }, { channel: '/k/b' }, { channel: '/k/b' }])
    off(own.now)
    t.match(call(own.client(), { channel: '/k/a' }), { answer: { successful: true } })
    own.engine.server.listen('/service/**', () => false)
    t.match(call(own.client(), { channel: '/k/a' }), {
      answer: undefined,
      reply: { successful: false, error: '404::message_deleted' },
    })
    t.end()
  },
)

t.test('what is asked for costs: who reads without end is slowed down', t => {
  const drive = new Drive({ maxByteRate: 10_000 }, RULES, store())
  for (let n = 0; n < 50; n++) drive.publish('/k/a', 'x'.repeat(1_000))
  const client = drive.client()
  let answers = 0
  for (let i = 0; i < 20; i++) if (call(client, { channel: '/k/a' }).answer !== undefined) answers++
  t.ok(answers > 0 && answers < 10, `${answers} answers`)
  t.end()
})

t.test('a history that cannot be read fails the query and nothing else', t => {
  const history = store()
  const drive = new Drive({}, RULES, history)
  drive.publish('/k/a', 1)
  const client = drive.client()
  history.read = () => {
    throw new Error('page not found')
  }
  t.match(call(client, { channel: '/k/a' }), { answer: { successful: false }, data: { error: 'history_unreadable' } })
  t.match(drive.sink.faults, [{ code: 'HISTORY_UNREADABLE', cause: { message: 'page not found' } }])
  const reply = client.say({ channel: '/meta/subscribe', subscription: '/k/a', ext: { replay: { '/k/a': -2 } } })
  t.match(reply, { successful: false, error: '503::history_unreadable' })
  t.throws(() => drive.engine.server.history('/k/a', 0, 1), { code: 'HISTORY_UNREADABLE' })
  t.match(client.say({ channel: '/k/a', data: 2 }), { successful: true })
  t.end()
})

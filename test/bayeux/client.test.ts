// The client half, driven with time as an argument. Its peer is the test itself, at the end a server behind a hostile network.

import fc from 'fast-check'
import t, { type Test } from 'tap'
import { ClientHalf } from '../../bayeux/client.js'
import {
  type ClientOptions,
  type ClientSink,
  type ClientState,
  clientFailures,
  type Lane,
  type PeerMessage,
  TRANSITIONS,
  type TransportKind,
} from '../../bayeux/client-sink.js'

type Json = Record<string, unknown>

/** Writes down every effect; `on` lets a test act out of one. */
class Recorder implements ClientSink {
  seen: unknown[][] = []
  sent: Json[][] = []
  lanes: Lane[] = []
  readonly log: Json[] = []
  jitter = 0
  on: (event: string) => void = () => {}
  #note(...event: unknown[]): void {
    this.seen.push(event)
    this.on(String(event[0] === 'state' ? event[1] : event[0]))
  }
  open(): void {
    this.#note('open')
  }
  send(text: string, lane: Lane): void {
    const envelope = JSON.parse(text) as Json[]
    this.sent.push(envelope)
    this.lanes.push(lane)
    this.log.push(...envelope)
  }
  abort(lane?: Lane): void {
    this.#note('abort', ...(lane === undefined ? [] : [lane]))
  }
  message(channel: string, message: PeerMessage): void {
    this.#note('message', channel, message.data)
  }
  reply(reply: PeerMessage): void {
    this.#note('reply', reply.channel)
  }
  settled(id: string, code: string | null, reply: PeerMessage | null): void {
    this.#note('settled', id, code, ...(reply === null ? [] : [reply.data ?? reply.error ?? 'ok']))
  }
  failure(code: string, detail: string): void {
    this.#note('failure', code, ...(detail === '' ? [] : [detail]))
  }
  unrestored(channel: string, code: string, reply: PeerMessage | null): void {
    this.#note('unrestored', channel, code, ...(reply === null ? [] : [reply.error]))
  }
  state(state: ClientState): void {
    this.#note('state', state)
  }
  random(): number {
    return this.jitter
  }
  /** The events of these names since the last look. */
  events(...names: string[]): unknown[][] {
    const seen = this.seen.filter(([name]) => names.includes(String(name)))
    this.seen = []
    return seen
  }
  /** The envelopes sent since the last look. */
  envelopes(): Json[][] {
    const sent = this.sent
    this.sent = []
    this.lanes = []
    return sent
  }
}

const ADVICE = { reconnect: 'retry', interval: 0, timeout: 30_000 }
const UNKNOWN = { successful: false, error: '402::session_unknown' }
const FORGOTTEN = { ...UNKNOWN, advice: { reconnect: 'handshake', interval: 0 } }

/** A half whose peer answers in one line each. */
class Pair {
  readonly sink = new Recorder()
  readonly half: ClientHalf
  readonly kind: TransportKind
  constructor(kind: TransportKind = 'websocket', options: Partial<ClientOptions> = {}) {
    this.kind = kind
    this.half = new ClientHalf(this.sink, kind, { timesync: false, ...options })
  }
  /** The message of that channel sent last. */
  last(channel: string): Json {
    const message = this.sink.log.findLast(sent => sent.channel === channel)
    if (message === undefined) throw new Error(`no ${channel} was sent`)
    return message
  }
  /** One envelope of the server, on the lane of what it answers. */
  receive(now: number, lane: Lane, ...messages: unknown[]): this {
    this.half.received(JSON.stringify(messages), now, lane)
    return this
  }
  /** Replies to the last message of that channel; `before` stands in front, in the same envelope. */
  answer(channel: string, now: number, fields: Json = {}, ...before: Json[]): this {
    const lane = channel === '/meta/connect' || channel === '/meta/handshake' ? 'connect' : 'other'
    return this.receive(now, lane, ...before, { channel, id: this.last(channel).id, successful: true, ...fields })
  }
  /** Handshake, answered at once. */
  greet(now = 0, fields: Json = {}): this {
    this.half.handshake(now)
    this.open(now)
    return this.answer('/meta/handshake', now, { clientId: `C${now}`, advice: ADVICE, ...fields })
  }
  /** Whatever is due goes out; a socket asked for opens. */
  open(now: number): this {
    this.half.tick(now)
    this.half.opened(now)
    return this
  }
  /** Handshake, first connect, and these channels subscribed. The next connect is held; the records are empty. */
  up(fields: Json = {}, ...channels: string[]): this {
    this.greet(0, fields).answer('/meta/connect', 0, { ext: { ack: 1 } })
    for (const channel of channels) {
      this.half.subscribe(channel, 0)
      this.answer('/meta/subscribe', 0)
    }
    return this.quiet()
  }
  /** The channels of all subscribes sent since the last look. */
  subscriptions(): unknown[] {
    const subscribes = this.sink
      .envelopes()
      .flat()
      .filter(({ channel }) => channel === '/meta/subscribe')
    return subscribes.map(({ subscription }) => subscription)
  }
  quiet(): this {
    this.sink.events()
    this.sink.envelopes()
    return this
  }
}

const KINDS = ['http', 'websocket'] as const

/** These envelopes and no other, each of these messages and no other; of a message, these fields. */
function matches(t: Test, envelopes: Json[][], pattern: Json[][], text = 'sent'): void {
  t.strictSame(
    envelopes.map(({ length }) => length),
    pattern.map(({ length }) => length),
    `${text}: how many`,
  )
  t.match(envelopes, pattern, text)
}

t.test('states follow each other as the table says, and only so', t => {
  const start = (pair: Pair) => pair.half.handshake(0)
  const welcome = (pair: Pair) => pair.answer('/meta/handshake', 0, { clientId: 'C', advice: ADVICE })
  const connect = (pair: Pair) => pair.answer('/meta/connect', 0)
  const fail = (pair: Pair) => pair.half.failed(0, 'connect')
  const retry = (pair: Pair) => pair.half.wake(0)
  const forget = (pair: Pair) => pair.answer('/meta/connect', 0, UNKNOWN)
  const leave = (pair: Pair) => pair.half.disconnect(0)
  const left = (pair: Pair) => pair.answer('/meta/disconnect', 0)
  const resume = (pair: Pair) =>
    pair.half.resume(
      { clientId: 'C', ack: null, advice: { timeout: 30_000, interval: 0, maxInterval: 0 }, lastId: 9, subscriptions: [] },
      0,
    )
  const up = [start, welcome, connect]
  const walks: [steps: ((pair: Pair) => unknown)[], states: string][] = [
    [[leave, leave], 'closed'],
    [[resume, resume, connect, leave, left, resume], 'connecting connected disconnecting closed connecting'],
    [[start, start, welcome, connect, connect], 'handshaking connecting connected'],
    [[start, fail, retry, fail, leave], 'handshaking closed'],
    [[start, welcome, fail, retry, connect], 'handshaking connecting broken connected'],
    [[start, welcome, forget], 'handshaking connecting handshaking'],
    [[start, welcome, leave, left], 'handshaking connecting disconnecting closed'],
    [[...up, forget], 'handshaking connecting connected handshaking'],
    [[...up, fail, retry, fail, retry, forget], 'handshaking connecting connected broken handshaking'],
    [[...up, fail, leave, leave, left], 'handshaking connecting connected broken disconnecting closed'],
    [[...up, leave, left, leave, start], 'handshaking connecting connected disconnecting closed handshaking'],
  ]
  const edges = new Set<string>()
  for (const [steps, states] of walks) {
    const pair = new Pair('http')
    for (const step of steps) step(pair)
    const walked = pair.sink.events('state').map(([, state]) => String(state))
    t.equal(walked.join(' '), states)
    t.equal(pair.half.state, walked.at(-1))
    for (const [index, state] of walked.entries()) edges.add(`${walked[index - 1] ?? 'new'} ${state}`)
  }
  for (const [from, events] of Object.entries(TRANSITIONS)) {
    const next = new Set<string>(Object.values(events))
    next.delete('closed') // by a kick or advice, elsewhere
    for (const to of next) t.ok(edges.has(`${from} ${to}`), `${from} → ${to} was walked`)
  }
  t.end()
})

t.test('a handshake offers types and extensions; over WebSocket it waits for the socket, over HTTP it does not', t => {
  const http = new Pair('http', { timesync: true, connectionTypes: ['long-polling'] })
  http.half.handshake(1_000.4)
  t.strictSame(http.sink.envelopes(), [
    [
      {
        channel: '/meta/handshake',
        version: '1.0',
        minimumVersion: '1.0',
        supportedConnectionTypes: ['long-polling'],
        ext: { ack: true, timesync: { tc: 1_000, l: 0, o: 0 } },
        id: '1',
      },
    ],
  ])
  const socket = new Pair('websocket', { ack: false })
  socket.half.handshake(1_000)
  t.strictSame(socket.sink.events('state', 'open'), [['state', 'handshaking'], ['open']])
  t.strictSame(socket.sink.envelopes(), [])
  socket.half.opened(1_500)
  socket.half.opened(1_500)
  const envelopes = socket.sink.envelopes()
  matches(t, envelopes, [[{ channel: '/meta/handshake', supportedConnectionTypes: ['websocket', 'long-polling'] }]])
  t.notOk(envelopes[0]?.[0]?.ext, 'nothing asked, nothing sent')
  t.end()
})

t.test('a socket that cannot open, does not open in 10 s or opens too late is tried again', t => {
  const pair = new Pair()
  pair.half.handshake(0)
  t.equal(pair.half.tick(9_999), 10_000)
  pair.sink.jitter = 0.5
  t.equal(pair.half.tick(10_000), 10_500)
  t.strictSame(pair.sink.events('open', 'abort', 'failure'), [['open'], ['abort'], ['failure', 'TIMEOUT']])
  pair.half.opened(10_100)
  t.strictSame(pair.sink.envelopes(), [], 'too late: that socket was dropped')
  pair.half.tick(10_500)
  pair.half.failed(10_600)
  pair.half.failed(10_600)
  t.strictSame(pair.sink.events('open', 'failure'), [['open'], ['failure', 'CONNECTION_FAILED']], 'however often reported')
  t.equal(pair.half.tick(10_600), 11_600)
  t.end()
})

for (const kind of KINDS) {
  t.test(`${kind}: a connect asks for an answer at once until one succeeded, and again after a failure`, t => {
    const pair = new Pair(kind).greet()
    const connectionType = kind === 'http' ? 'long-polling' : 'websocket'
    t.strictSame(pair.sink.envelopes()[1], [
      { channel: '/meta/connect', clientId: 'C0', connectionType, advice: { timeout: 0 }, id: '2' },
    ])
    pair.answer('/meta/connect', 0)
    t.notOk(pair.last('/meta/connect').advice, 'held from now on')
    pair.half.failed(1_000, 'connect')
    pair.open(1_000)
    t.strictSame(pair.last('/meta/connect').advice, { timeout: 0 })
    pair.answer('/meta/connect', 1_000)
    t.notOk(pair.last('/meta/connect').advice)
    t.end()
  })

  t.test(`${kind}: a connect is given up advice.timeout + 10 s after it was sent, one that asked for no hold after 10 s`, t => {
    const pair = new Pair(kind).greet()
    t.equal(pair.half.tick(0), 10_000)
    pair.answer('/meta/connect', 5)
    t.equal(pair.half.tick(40_004), 40_005)
    t.equal(pair.half.state, 'connected')
    pair.half.tick(40_005)
    t.equal(pair.half.state, 'broken')
    t.strictSame(pair.sink.events('abort', 'failure'), [
      kind === 'http' ? ['abort', 'connect'] : ['abort'],
      ['failure', 'TIMEOUT'],
    ])
    t.end()
  })

  t.test(`${kind}: a server that holds every connect is waited for at every eighth try`, t => {
    const pair = new Pair(kind).greet()
    const waits: number[] = []
    for (let now = 0; waits.length < 10; ) {
      const next = pair.open(now).half.tick(now)
      waits.push(next - now)
      now = next
    }
    t.strictSame(waits, [...Array(7).fill(10_000), 40_000, 10_000, 10_000])
    t.end()
  })

  t.test(`${kind}: a connect reply counts only with the id of the connect that is out`, t => {
    const pair = new Pair(kind).up()
    const id = Number(pair.last('/meta/connect').id)
    const wrong = [{ id: String(id - 1) }, { id }, { id: null }, {}, { id: ` ${id}` }]
    for (const fields of wrong) pair.half.received(JSON.stringify([{ channel: '/meta/connect', successful: true, ...fields }]), 1)
    t.strictSame(pair.sink.events('reply'), [])
    t.strictSame(pair.sink.envelopes(), [])
    pair.answer('/meta/connect', 2)
    t.strictSame(pair.sink.events('reply'), [['reply', '/meta/connect']])
    matches(t, pair.sink.envelopes(), [[{ channel: '/meta/connect' }]], 'the next one')
    t.end()
  })

  t.test(`${kind}: what waits for the handshake goes in one envelope right after its reply, in order`, t => {
    const pair = new Pair(kind)
    const ids = [pair.half.publish('/a', 1, 0), pair.half.subscribe('/b', 0), pair.half.publish('/a', 2, 0, { ext: { k: 1 } })]
    t.strictSame(ids, ['1', '2', '3'])
    t.equal(pair.half.queued, 3)
    pair.half.handshake(0)
    pair.open(0)
    matches(t, pair.sink.envelopes(), [[{ channel: '/meta/handshake' }]], 'nothing with it')
    pair.answer('/meta/handshake', 1, { clientId: 'C' })
    t.strictSame(pair.sink.lanes, ['other', 'connect'], 'with the first connect, not after it')
    t.strictSame(pair.sink.envelopes()[0], [
      { clientId: 'C', channel: '/a', data: 1, id: '1' },
      { clientId: 'C', channel: '/meta/subscribe', subscription: '/b', id: '2' },
      { clientId: 'C', ext: { k: 1 }, channel: '/a', data: 2, id: '3' },
    ])
    t.end()
  })

  t.test(`${kind}: after 402 a new handshake, every subscription again in one envelope, then what waited`, t => {
    const pair = new Pair(kind).up({}, '/a', '/b/*', '/c')
    pair.half.unsubscribe('/c', 1)
    pair.answer('/meta/unsubscribe', 1).quiet()
    pair.answer('/meta/connect', 2, FORGOTTEN)
    t.strictSame(pair.sink.events('failure', 'state'), [
      ['state', 'handshaking'],
      ['failure', 'SESSION_LOST', '402::session_unknown'],
    ])
    pair.half.publish('/x', 'meanwhile', 3)
    matches(t, pair.sink.envelopes(), [[{ channel: '/meta/handshake' }]], 'at once, and nothing else')
    pair.answer('/meta/handshake', 4, { clientId: 'D' })
    const [batch, connect] = pair.sink.envelopes()
    t.match(batch, [
      { clientId: 'D', channel: '/meta/subscribe', subscription: '/a' },
      { clientId: 'D', channel: '/meta/subscribe', subscription: '/b/*' },
      { clientId: 'D', channel: '/x', data: 'meanwhile' },
    ])
    t.equal(batch?.length, 3, 'but not /c')
    t.match(connect, [{ clientId: 'D', channel: '/meta/connect', advice: { timeout: 0 } }])
    t.end()
  })

  t.test(`${kind}: a message answered 402 is sent once more in the next session, in its place`, t => {
    const pair = new Pair(kind).up({}, '/a')
    pair.half.startBatch()
    const ids = [pair.half.publish('/x', 1, 1), pair.half.publish('/x', 2, 1)]
    pair.half.endBatch(1)
    const later = pair.half.publish('/x', 3, 1)
    pair.quiet()
    const refused = ids.map(id => ({ channel: '/x', id, ...UNKNOWN }))
    pair.receive(2, 'other', ...refused)
    if (kind === 'websocket') pair.receive(2, 'other', { channel: '/x', id: later, ...UNKNOWN })
    t.strictSame(pair.sink.events('settled', 'state'), [['state', 'handshaking']])
    pair.answer('/meta/handshake', 3, { clientId: 'D' })
    const sent = pair.sink.envelopes()[1]
    t.strictSame(sent?.map(({ id }) => id).slice(1), [...ids, later], 'after the subscription')
    t.equal(sent?.[0]?.subscription, '/a')
    const again = (sent ?? []).map(({ channel, id }) => ({ channel, id, ...(channel === '/x' ? UNKNOWN : { successful: true }) }))
    pair.receive(4, 'other', ...again)
    const settled = [...ids, later].map(id => ['settled', id, 'REFUSED', '402::session_unknown'])
    t.strictSame(pair.sink.events('settled').slice(0, 2), settled.slice(0, 2), 'but not a third time')
    t.end()
  })

  t.test(`${kind}: a server that always forgets is asked less and less often`, t => {
    const pair = new Pair(kind)
    pair.sink.jitter = 1
    pair.half.handshake(0)
    const gaps: number[] = []
    for (let now = 0; gaps.length < 9; ) {
      pair.open(now).answer('/meta/handshake', now, { clientId: 'C' })
      pair.answer('/meta/connect', now).answer('/meta/connect', now, FORGOTTEN)
      const next = pair.half.tick(now)
      const atOnce = pair.sink.log.at(-1)?.channel === '/meta/handshake'
      gaps.push(atOnce ? 0 : next - now)
      if (!atOnce) now = next
    }
    t.strictSame(gaps, [0, 2_000, 4_000, 8_000, 10_000, 10_000, 10_000, 10_000, 10_000])
    t.end()
  })

  t.test(`${kind}: backoff doubles, has full jitter, ends at 10 s, and comes on top of the interval`, t => {
    const rows: [jitter: number, interval: number][] = [
      [0.25, 0],
      [0.5, 700],
      [1, 0],
    ]
    for (const [jitter, interval] of rows) {
      const pair = new Pair(kind).up().answer('/meta/connect', 0, { advice: { interval } })
      pair.half.tick(interval)
      pair.sink.jitter = jitter
      const gaps: number[] = []
      for (let now = interval; gaps.length < 9; ) {
        pair.open(now).half.failed(now, 'connect')
        const next = pair.half.tick(now)
        gaps.push(next - now)
        now = next
      }
      t.strictSame(
        gaps,
        [1, 2, 4, 8, 10, 10, 10, 10, 10].map(cap => interval + jitter * cap * 1_000),
      )
    }
    const pair = new Pair(kind).up()
    pair.half.failed(1, 'connect')
    t.strictSame(pair.open(1).last('/meta/connect').advice, { timeout: 0 }, 'with luck at once')
    t.end()
  })

  t.test(`${kind}: a connection that lasted 10 s starts with a fresh backoff, one that did not keeps the old`, t => {
    for (const [lasted, gap] of [
      [9_999, 4_000],
      [10_000, 1_000],
    ] as const) {
      const pair = new Pair(kind).up()
      pair.sink.jitter = 1
      pair.half.failed(0, 'connect')
      pair.open(1_000).half.failed(1_000, 'connect')
      pair.open(3_000).answer('/meta/connect', 3_000)
      pair.half.failed(3_000 + lasted, 'connect')
      t.equal(pair.half.tick(3_000 + lasted), 3_000 + lasted + gap)
    }
    t.end()
  })

  t.test(`${kind}: while the connection is broken messages wait; then they go in order`, t => {
    const pair = new Pair(kind).up()
    pair.sink.jitter = 0.001
    const lost = pair.half.publish('/a', 0, 1)
    pair.half.failed(2, 'other')
    t.strictSame(pair.sink.events('settled'), [['settled', lost, 'CONNECTION_FAILED']], 'what was out may have arrived')
    pair.half.failed(2, 'connect')
    pair.quiet()
    pair.half.publish('/a', 1, 3)
    pair.half.publish('/a', 2, 3)
    pair.open(4)
    matches(t, pair.sink.envelopes(), [[{ channel: '/meta/connect' }]])
    pair.answer('/meta/connect', 5)
    matches(t, pair.sink.envelopes(), [[{ data: 1 }, { data: 2 }], [{ channel: '/meta/connect' }]])
    t.end()
  })

  t.test(`${kind}: a message without a reply fails after 10 s, not before`, t => {
    const pair = new Pair(kind).up()
    const id = pair.half.publish('/a', 1, 100)
    t.equal(pair.half.tick(10_099), 10_100)
    t.strictSame(pair.sink.events('settled'), [])
    pair.half.tick(10_100)
    t.strictSame(pair.sink.events('settled', 'abort'), [
      kind === 'http' ? ['abort', 'other'] : ['abort'],
      ['settled', id, 'TIMEOUT'],
    ])
    t.equal(pair.half.state, kind === 'http' ? 'connected' : 'broken', 'a socket is dropped, a request alone')
    t.end()
  })

  t.test(`${kind}: a batch goes in one envelope when the outermost ends`, t => {
    const pair = new Pair(kind).up()
    pair.half.startBatch()
    pair.half.publish('/a', 1, 1)
    pair.half.startBatch()
    pair.half.publish('/a', 2, 1)
    pair.half.endBatch(1)
    pair.answer('/meta/connect', 2)
    matches(t, pair.sink.envelopes(), [[{ channel: '/meta/connect' }]], 'connects go on')
    pair.half.endBatch(3)
    matches(t, pair.sink.envelopes(), [[{ data: 1 }, { data: 2 }]])
    t.throws(() => pair.half.endBatch(3), RangeError)
    t.end()
  })

  t.test(`${kind}: what the application sends out of a message leaves in one envelope`, t => {
    const pair = new Pair(kind).up()
    pair.sink.on = event => {
      if (event === 'message') pair.half.publish('/reply', 1, 1)
    }
    pair.answer('/meta/connect', 1, {}, { channel: '/a', data: 1 }, { channel: '/a', data: 2 })
    matches(t, pair.sink.envelopes(), [[{ channel: '/reply' }, { channel: '/reply' }], [{ channel: '/meta/connect' }]])
    t.end()
  })

  t.test(`${kind}: an envelope is cut at maxEnvelope, but no message is`, t => {
    const rows: [maxEnvelope: number, cut: number[][]][] = [
      [224, [[1], [2], [3], [4], [5]]],
      [225, [[1, 2], [3], [4], [5]]],
    ]
    for (const [maxEnvelope, cut] of rows) {
      const pair = new Pair(kind, { maxEnvelope, maxQueue: 5 })
      const text = 'x'.repeat(60)
      for (const data of [text, text, text, text.repeat(9), text]) pair.half.publish('/a', data, 0)
      t.equal(pair.half.publish('/a', 'one too many', 0), null)
      pair.greet()
      for (let id = 1; kind === 'http' && id <= 5; id++) {
        const out = pair.sink.log
          .filter(({ channel }) => channel === '/a')
          .map(({ id }) => ({ channel: '/a', id, successful: true }))
        pair.receive(0, 'other', ...out)
      }
      const publishes = pair.sink.envelopes().filter(([message]) => message?.channel === '/a')
      t.strictSame(
        publishes.map(envelope => envelope.map(({ id }) => Number(id))),
        cut,
      )
      for (const envelope of publishes) t.ok(envelope.length === 1 || JSON.stringify(envelope).length <= maxEnvelope)
    }
    t.end()
  })
}

t.test('HTTP: one other request is out at a time; what comes meanwhile goes together in the next', t => {
  const pair = new Pair('http').up()
  const first = pair.half.publish('/a', 1, 1)
  pair.half.publish('/a', 2, 2)
  pair.half.publish('/a', 3, 3)
  matches(t, pair.sink.envelopes(), [[{ data: 1 }]])
  pair.receive(4, 'other', { channel: '/a', id: first, successful: true })
  matches(t, pair.sink.envelopes(), [[{ data: 2 }, { data: 3 }]])
  pair.half.failed(5, 'other')
  t.equal(pair.half.state, 'connected', 'the held connect is not touched')
  t.strictSame(
    pair.sink.events('settled').map(([, , code]) => code),
    [null, 'CONNECTION_FAILED', 'CONNECTION_FAILED'],
  )
  t.end()
})

t.test('WebSocket: any number of messages is out, and replies come in any order', t => {
  const pair = new Pair().up()
  const ids = [1, 2, 3].map(data => pair.half.publish('/a', data, 1))
  matches(t, pair.sink.envelopes(), [[{ data: 1 }], [{ data: 2 }], [{ data: 3 }]])
  for (const id of [...ids].reverse()) pair.receive(2, 'other', { channel: '/a', id, successful: true })
  t.strictSame(
    pair.sink.events('settled'),
    ids.toReversed().map(id => ['settled', id, null, 'ok']),
  )
  t.equal(pair.half.tick(3), 40_000, 'nothing waits but the connect')
  t.end()
})

t.test('advice is obeyed, in every reply that can carry it', t => {
  const denied = { successful: false, error: '403::handshake_denied' }
  const rows: [channel: string, fields: Json, state: ClientState, next: number, failure: string | null][] = [
    // Answered at 1 000, with; the state then, the next deadline, the failure told. Jitter is 1, so that a backoff shows as 1 s.
    ['/meta/handshake', { ...denied, advice: { reconnect: 'none' } }, 'closed', Number.POSITIVE_INFINITY, 'REFUSED'],
    ['/meta/handshake', { ...denied, advice: { reconnect: 'retry' } }, 'handshaking', 2_000, 'REFUSED'],
    ['/meta/handshake', { ...denied, advice: { reconnect: 'handshake', interval: 500 } }, 'handshaking', 2_500, 'REFUSED'],
    ['/meta/handshake', denied, 'handshaking', 2_000, 'REFUSED'],
    ['/meta/handshake', { clientId: 'C', advice: { interval: 70 } }, 'connecting', 1_070, null],
    ['/meta/handshake', { clientId: 'C', advice: { reconnect: 'none' } }, 'closed', Number.POSITIVE_INFINITY, 'STOPPED'],
    ['/meta/handshake', { clientId: '' }, 'handshaking', 2_000, 'REPLY_INVALID'],
    ['/meta/handshake', { clientId: 5 }, 'handshaking', 2_000, 'REPLY_INVALID'],
    [
      '/meta/handshake',
      { clientId: 'C', supportedConnectionTypes: ['flash'] },
      'closed',
      Number.POSITIVE_INFINITY,
      'TYPE_UNSUPPORTED',
    ],
    ['/meta/handshake', { clientId: 'C', supportedConnectionTypes: 'long-polling' }, 'connecting', 11_000, null],
    ['/meta/connect', {}, 'connected', 41_000, null],
    ['/meta/connect', { advice: { timeout: 5_000 } }, 'connected', 16_000, null],
    ['/meta/connect', { advice: { interval: 250 } }, 'connected', 1_250, null],
    ['/meta/connect', { advice: { 'multiple-clients': true, reconnect: 'retry', interval: 2_000 } }, 'connected', 3_000, null],
    [
      '/meta/connect',
      { successful: false, advice: { 'multiple-clients': true, reconnect: 'none' } },
      'closed',
      Number.POSITIVE_INFINITY,
      'STOPPED',
    ],
    ['/meta/connect', { advice: { reconnect: 'none' } }, 'closed', Number.POSITIVE_INFINITY, 'STOPPED'],
    ['/meta/connect', { advice: { reconnect: 'handshake', interval: 40 } }, 'handshaking', 1_040, 'SESSION_LOST'],
    ['/meta/connect', { ...UNKNOWN, advice: { reconnect: 'none', interval: 0 } }, 'closed', Number.POSITIVE_INFINITY, 'STOPPED'],
    ['/meta/connect', UNKNOWN, 'handshaking', 11_000, 'SESSION_LOST'],
    [
      '/meta/connect',
      { successful: false, error: '403::Unknown client', advice: { reconnect: 'handshake' } },
      'handshaking',
      11_000,
      'SESSION_LOST',
    ],
    ['/meta/connect', { successful: false, error: '404::message_deleted' }, 'broken', 2_000, 'REFUSED'],
    ['/meta/connect', { successful: 'yes', advice: { interval: 5 } }, 'broken', 2_005, 'REFUSED'],
    ['/meta/connect', { advice: { reconnect: 7, interval: '9', timeout: -1, maxInterval: null } }, 'connected', 41_000, null],
    ['/meta/connect', { advice: 'none' }, 'connected', 41_000, null],
    ['/meta/connect', { advice: { interval: 1e300 } }, 'connected', 86_401_000, null],
    ['/a', { advice: { reconnect: 'handshake' } }, 'handshaking', 11_000, 'SESSION_LOST'],
    ['/a', { successful: false, error: '401::', advice: { reconnect: 'none' } }, 'closed', Number.POSITIVE_INFINITY, 'STOPPED'],
    ['/a', { successful: false, error: '402:data:Missing required parameter' }, 'connected', 40_000, null],
  ]
  for (const [channel, fields, state, next, failure] of rows) {
    const pair = new Pair('http')
    if (channel === '/meta/handshake') pair.half.handshake(0)
    else pair.up()
    if (channel === '/a') pair.half.publish('/a', 1, 0)
    pair.sink.jitter = 1
    pair.answer(channel, 1_000, fields)
    const got = [pair.half.state, pair.half.tick(1_000), pair.sink.events('failure')[0]?.[1] ?? null]
    t.strictSame(got, [state, next, failure], `${channel} ${JSON.stringify(fields)}`)
  }
  t.end()
})

t.test('advice in a message that is no reply to us means nothing', t => {
  const pair = new Pair().up()
  const advice = { reconnect: 'none', interval: 9_000 }
  pair.receive(1, 'other', { channel: '/a', data: 1, advice }, { channel: '/a', id: '99', successful: true, advice })
  pair.receive(1, 'other', { channel: '/meta/connect', id: '1', successful: true, advice }, { channel: '/meta/foo', advice })
  pair.answer('/meta/connect', 2)
  t.equal(pair.half.state, 'connected')
  t.equal(pair.half.tick(2), 40_002)
  t.end()
})

t.test('an interval once advised holds until another is', t => {
  const pair = new Pair('http').up()
  const waits: number[] = []
  for (const advice of [{ interval: 2_000 }, {}, { reconnect: 'retry' }, { interval: 0 }, {}]) {
    const now = 10_000 * (waits.length + 1)
    pair.half.tick(now)
    pair.answer('/meta/connect', now, { advice })
    waits.push(Math.min(pair.half.tick(now) - now, 9_999))
  }
  t.strictSame(waits, [2_000, 2_000, 2_000, 9_999, 9_999])
  t.end()
})

t.test('the session lost on a connection that lasted is replaced at once, whatever happened before it', t => {
  for (const [lasted, channel] of [
    [9_999, '/meta/connect'],
    [10_000, '/meta/handshake'],
  ] as const) {
    const pair = new Pair('http').up()
    pair.half.failed(0, 'connect')
    pair.answer('/meta/connect', 0)
    pair.sink.jitter = 1
    pair.answer('/meta/connect', lasted, FORGOTTEN)
    t.equal(pair.sink.log.at(-1)?.channel, channel)
  }
  t.end()
})

t.test('the session lost by a publish: the connect that is out has no say any more', t => {
  for (const kind of KINDS) {
    const pair = new Pair(kind).up()
    pair.answer('/meta/connect', 0, { advice: { interval: 5_000 } }).half.tick(5_000)
    pair.half.publish('/a', 1, 6_000)
    pair.quiet().answer('/a', 6_000, UNKNOWN)
    t.strictSame(pair.sink.events('abort', 'failure'), [
      ...(kind === 'http' ? [['abort', 'connect']] : []),
      ['failure', 'SESSION_LOST', '402::session_unknown'],
    ])
    pair.answer('/meta/connect', 6_001, FORGOTTEN)
    t.strictSame(pair.sink.events('reply', 'failure'), [])
    t.equal(pair.half.tick(6_002), 11_000)
    pair.half.tick(11_000)
    matches(t, pair.sink.envelopes(), [[{ channel: '/meta/handshake' }]])
  }
  t.end()
})

t.test('advice.maxInterval: a session cut off for longer than timeout + interval + maxInterval is not asked for again', t => {
  const rows: [backoffMax: number, channel: string][] = [
    [37_990, '/meta/connect'],
    [37_991, '/meta/handshake'],
  ]
  for (const [backoffMax, channel] of rows) {
    const pair = new Pair('http', { backoffMax }).up({ advice: { ...ADVICE, maxInterval: 8_000 } })
    for (let turn = 0; turn < 6; turn++) pair.half.failed(10, 'connect')
    pair.sink.jitter = 1
    pair.half.failed(20, 'connect')
    t.equal(pair.half.tick(20), 20 + backoffMax)
    pair.quiet().half.tick(20 + backoffMax)
    matches(t, pair.sink.envelopes(), [[{ channel }]], `${10 + backoffMax} ms after the first failure`)
  }
  t.end()
})

t.test('a subscription is made again until it is unsubscribed or refused', t => {
  const rows: [title: string, act: (pair: Pair) => void, again: string[]][] = [
    ['subscribed', pair => pair.half.subscribe('/b', 1), ['/a', '/b']],
    ['several in one message', pair => pair.half.subscribe(['/b', '/c'], 1), ['/a', '/b', '/c']],
    ['subscribed twice', pair => pair.half.subscribe('/a', 1), ['/a']],
    ['unsubscribed', pair => pair.half.unsubscribe('/a', 1), []],
    ['unsubscribed and subscribed', pair => [pair.half.unsubscribe('/a', 1), pair.half.subscribe('/a', 1)], ['/a']],
    ['subscribed and unsubscribed', pair => [pair.half.subscribe('/b', 1), pair.half.unsubscribe('/b', 1)], ['/a']],
  ]
  for (const [title, act, again] of rows) {
    const pair = new Pair().up({}, '/a')
    act(pair)
    for (const { channel, id } of pair.sink.log.filter(({ subscription }) => subscription))
      pair.receive(1, 'other', { channel, id, successful: true })
    pair.answer('/meta/connect', 2, FORGOTTEN).quiet()
    pair.answer('/meta/handshake', 2, { clientId: 'D' })
    const subscribes = pair.sink
      .envelopes()
      .flat()
      .filter(({ channel }) => channel === '/meta/subscribe')
    t.strictSame(
      subscribes.map(({ subscription }) => subscription),
      again,
      title,
    )
  }
  const pair = new Pair().up()
  const id = pair.half.subscribe('/secret', 1)
  pair.answer('/meta/subscribe', 1, { successful: false, error: '403:no:subscribe_denied' })
  t.strictSame(pair.sink.events('settled'), [['settled', id, 'REFUSED', '403:no:subscribe_denied']])
  pair.answer('/meta/connect', 2, FORGOTTEN).quiet()
  pair.answer('/meta/handshake', 2, { clientId: 'D' })
  matches(t, pair.sink.envelopes(), [[{ channel: '/meta/connect' }]], 'refused: not again')
  t.end()
})

t.test('subscribing again: refused is told and dropped, lost is tried until it succeeds, with a backoff', t => {
  const pair = new Pair('http', { maxEnvelope: 100 }).up({}, '/a', '/b', '/c')
  pair.answer('/meta/connect', 1, FORGOTTEN)
  pair.answer('/meta/handshake', 1, { clientId: 'D' }).quiet()
  pair.answer('/meta/subscribe', 2, { successful: false, error: '403:no:subscribe_denied' })
  t.strictSame(pair.sink.events('unrestored'), [['unrestored', '/a', 'REFUSED', '403:no:subscribe_denied']])
  matches(t, pair.sink.envelopes(), [[{ subscription: '/b' }]])
  pair.sink.jitter = 1
  pair.half.failed(3, 'other')
  t.strictSame(
    pair.sink.events('abort', 'state', 'settled'),
    [['abort'], ['state', 'broken']],
    'the held connect is given up too',
  )
  t.equal(pair.half.tick(3), 2_003)
  pair.half.tick(2_003)
  pair.answer('/meta/connect', 2_003)
  for (let turn = 0; turn < 3; turn++) pair.answer('/meta/subscribe', 2_004)
  t.strictSame(pair.subscriptions(), ['/b', '/c'], 'each once, and not /a')
  pair.half.failed(2_005, 'connect')
  pair.half.tick(9_000)
  pair.answer('/meta/connect', 9_000)
  t.strictSame(pair.subscriptions(), [], 'not for a connection that broke: the session lives')
  t.strictSame(pair.sink.events('settled'), [], 'nobody waits for them')
  t.end()
})

for (const kind of KINDS) {
  t.test(`${kind}: subscribing again is not lost with the connection, nor doubled when the session is lost meanwhile`, t => {
    const again = (pair: Pair, now: number) =>
      pair.answer('/meta/connect', now, FORGOTTEN).answer('/meta/handshake', now, { clientId: `C${now}` })
    const pair = new Pair(kind).up({}, '/a')
    again(pair, 1).half.failed(2, 'other')
    t.strictSame(pair.subscriptions(), ['/a'])
    pair.open(2).half.tick(60_000)
    pair.open(60_000).answer('/meta/connect', 60_000)
    t.strictSame(pair.subscriptions(), ['/a'])
    pair.answer('/meta/subscribe', 60_000)
    again(pair, 70_000)
    t.strictSame(pair.subscriptions(), ['/a'])

    const cut = new Pair(kind, { maxEnvelope: 100 }).up({}, '/a', '/b', '/c')
    again(cut, 1)
    const first = cut.subscriptions()
    t.strictSame(first, kind === 'http' ? ['/a'] : ['/a', '/b', '/c'])
    cut.answer('/meta/connect', 2, FORGOTTEN)
    cut.answer('/meta/handshake', 3, { clientId: 'E' })
    for (let turn = 0; turn < 5; turn++) cut.answer('/meta/subscribe', 3, turn === 0 && kind === 'http' ? UNKNOWN : {})
    t.strictSame(cut.subscriptions(), ['/a', '/b', '/c'])
    t.end()
  })
}

t.test('a subscription that succeeded in a session since lost is made again in the new one', t => {
  const pair = new Pair('http').up()
  const id = pair.half.subscribe('/a', 1)
  pair.answer('/meta/connect', 2, FORGOTTEN)
  pair.answer('/meta/handshake', 3, { clientId: 'D' })
  pair.quiet().answer('/meta/subscribe', 4)
  t.strictSame(pair.sink.events('settled'), [['settled', id, null, 'ok']])
  matches(t, pair.sink.envelopes(), [[{ clientId: 'D', subscription: '/a' }]])
  const socket = new Pair('websocket').up({}, '/a')
  socket.half.publish('/x', 1, 1)
  socket.answer('/meta/connect', 2, FORGOTTEN).answer('/meta/handshake', 2, { clientId: 'D' }).answer('/meta/subscribe', 3)
  socket.quiet().answer('/x', 4)
  t.strictSame(socket.subscriptions(), [], 'a publish of that session changes nothing')
  t.end()
})

t.test('ack: asked for, taken only as the extension says, and numbered by every connect reply', t => {
  for (const [ack, first] of [
    [true, 0],
    [{ enabled: true, batch: 7 }, 0],
    [false, undefined],
    ['true', undefined],
    [{ enabled: 'yes' }, undefined],
    [undefined, undefined],
  ]) {
    const pair = new Pair('http').greet(0, { ext: { ack } })
    t.strictSame((pair.last('/meta/connect').ext as Json | undefined)?.ack, first, JSON.stringify(ack))
  }
  const pair = new Pair('http').up({ ext: { ack: true } })
  const steps: [reply: Json, next: number][] = [
    [{ ext: { ack: 5 } }, 5],
    [{}, 5],
    [{ ext: { ack: '6' } }, 5],
    [{ ext: { ack: 6 } }, 6],
  ]
  for (const [reply, next] of steps) {
    pair.answer('/meta/connect', 1, reply)
    t.strictSame(pair.last('/meta/connect').ext, { ack: next })
  }
  pair.half.failed(2, 'connect')
  pair.half.tick(2)
  t.strictSame(pair.last('/meta/connect').ext, { ack: 6 }, 'kept over a lost connection')
  pair.answer('/meta/connect', 3, FORGOTTEN)
  pair.answer('/meta/handshake', 3, { clientId: 'D', ext: { ack: true } })
  t.strictSame(pair.last('/meta/connect').ext, { ack: 0 }, 'begun anew with the session')
  t.strictSame(new Pair('http', { ack: false }).greet(0, { ext: { ack: true } }).last('/meta/connect').ext, undefined)
  t.end()
})

t.test('ack: deliveries count with the connect reply that numbers them; what comes again meanwhile is given once', t => {
  const [one, two] = [1, 2].map(data => ({ channel: '/a', data }))
  const socket = () => new Pair('websocket').up({ ext: { ack: true } })
  const given = (pair: Pair) => pair.sink.events('message').map(([, , data]) => data)

  const together = socket().answer('/meta/connect', 1, { ext: { ack: 2 } }, one as Json, two as Json)
  t.strictSame(given(together), [1, 2], 'in one frame')

  const apart = socket().receive(1, 'other', one).receive(1, 'other', two)
  t.strictSame(given(apart), [], 'CometD/Java writes a frame for each: they wait')
  t.strictSame(given(apart.answer('/meta/connect', 1, { ext: { ack: 2 } })), [1, 2])

  const cut = socket().receive(1, 'other', one)
  cut.half.failed(2)
  cut.open(2)
  cut.receive(3, 'other', one).receive(3, 'other', two)
  t.strictSame(given(cut.answer('/meta/connect', 3, { ext: { ack: 3 } })), [1, 2], 'cut between them: not twice')

  const late = socket()
  const old = late.last('/meta/connect').id
  late.half.failed(1)
  late.open(1).receive(2, 'connect', one, { channel: '/meta/connect', id: old, successful: true, ext: { ack: 2 } })
  t.strictSame(given(late), [], 'under a connect given up: it comes again')
  t.strictSame(given(late.answer('/meta/connect', 3, { ext: { ack: 3 } }, one as Json)), [1])

  const kicked = socket().answer('/meta/connect', 1, { ext: { ack: 2 }, advice: { interval: 5_000 } }, one as Json)
  kicked.receive(2, 'other', { channel: '/meta/disconnect', successful: true })
  t.strictSame(given(kicked), [1], 'not twice because of a kick')

  const refused = socket().answer('/meta/connect', 1, { successful: false, error: '404::message_deleted' }, one as Json)
  t.strictSame(given(refused), [])

  const reversed = socket()
  const { id } = reversed.last('/meta/connect')
  reversed.receive(1, 'connect', { channel: '/meta/connect', id, successful: true, ext: { ack: 2 } }, one, two)
  t.strictSame(given(reversed), [1, 2], 'the reply in front of its messages')
  reversed.answer('/meta/connect', 2, { ext: { ack: 3 } })
  t.strictSame(given(reversed), [])

  const http = new Pair('http').up({ ext: { ack: true } })
  http.half.publish('/a', 0, 1)
  http.answer('/a', 1, {}, one as Json)
  t.strictSame(given(http), [1], 'a server that delivers on any response is not made to wait')
  http.receive(2, 'connect', two, { channel: '/meta/connect', id: 'wrong', successful: true })
  t.strictSame(given(http), [])
  t.end()
})

t.test('without ack, deliveries are given as they come, wherever they come', t => {
  const pair = new Pair().up({}, '/a')
  pair.receive(1, 'other', { channel: '/a', data: null }, { channel: '/a', data: 0, ext: {} }, { channel: '/a' })
  pair.receive(1, 'other', { channel: '/service/x', data: 1, id: '77', successful: true })
  pair.answer('/meta/connect', 2, { ext: { ack: 9 } }, { channel: '/a', data: 2 })
  t.strictSame(pair.sink.events('message'), [
    ['message', '/a', null],
    ['message', '/a', 0],
    ['message', '/service/x', 1],
    ['message', '/a', 2],
  ])
  t.strictSame(pair.last('/meta/connect').ext, undefined)
  t.end()
})

t.test('timesync: lag and offset are averaged over ten replies; nonsense is not believed', t => {
  const pair = new Pair('http', { timesync: true })
  t.equal(pair.half.offset, null)
  pair.half.handshake(1_000)
  pair.answer('/meta/handshake', 1_040, { clientId: 'C', ext: { timesync: { tc: 1_000, ts: 6_015, p: 10 } } })
  t.equal(pair.half.offset, 5_000, 'lag 15, so that the server read 6 015 when we had 1 015')
  t.strictSame(pair.last('/meta/connect').ext, { timesync: { tc: 1_040, l: 15, o: 5_000 } })
  for (const timesync of [
    { tc: 1, ts: 9, p: 0 },
    { tc: 1_040 },
    { tc: 1_040, ts: 'x', p: 1 },
    { tc: '1040', ts: 1, p: 1 },
    null,
    7,
  ])
    pair.answer('/meta/connect', 1_040, { ext: { timesync } })
  t.equal(pair.half.offset, 5_000)
  const synced = () => pair.answer('/meta/connect', 1_040, { ext: { timesync: { tc: 1_040, ts: 3_040, p: 0 } } })
  for (let turn = 0; turn < 9; turn++) synced()
  t.equal(pair.half.offset, 2_300, 'one of ten is the first')
  synced()
  t.equal(pair.half.offset, 2_000, 'it has left the window')
  t.end()
})

t.test('a kick ends the session for good: a disconnect without id', t => {
  const kick = { channel: '/meta/disconnect', successful: true }
  for (const kind of KINDS) {
    const pair = new Pair(kind).up({ ext: { ack: true } }, '/a')
    const waiting = pair.half.publish('/a', 1, 1)
    const held = { channel: '/a', data: 'last words' }
    pair.answer('/meta/connect', 1, { advice: { reconnect: 'none' } }, held, kick)
    t.strictSame(pair.sink.events('message', 'state', 'settled', 'failure', 'abort'), [
      ['message', '/a', 'last words'],
      ['abort'],
      ['state', 'closed'],
      ['settled', waiting, 'KICKED'],
      ['failure', 'KICKED'],
    ])
    t.equal(pair.half.tick(2), Number.POSITIVE_INFINITY)
    t.equal(pair.half.publish('/a', 2, 2), null, 'nothing is taken any more')
    pair.quiet().greet(3)
    t.notOk(
      pair.sink
        .envelopes()
        .flat()
        .some(({ subscription }) => subscription),
      'a new beginning forgets',
    )
  }
  const fresh = new Pair('http')
  fresh.half.handshake(0)
  fresh.receive(0, 'other', kick)
  t.equal(fresh.half.state, 'handshaking', 'no session, no kick')
  fresh.answer('/meta/handshake', 0, { clientId: 'C' }).receive(0, 'other', { ...kick, id: '5' })
  t.equal(fresh.half.state, 'connecting', 'an id that is not ours')
  t.end()
})

t.test('a call settles with its response, before or after the reply; else with why not', t => {
  const response = (id: unknown, fields: Json = {}) => ({ channel: '/service/time', id, data: { now: 7 }, ...fields })
  const reply = (id: unknown, fields: Json = {}) => ({ channel: '/service/time', id, successful: true, ...fields })
  const rows: [title: string, act: (pair: Pair, id: unknown) => void, settled: unknown[] | null][] = [
    ['response first', (pair, id) => pair.receive(1, 'other', response(id), reply(id)), [null, { now: 7 }]],
    [
      'reply first',
      (pair, id) => pair.receive(1, 'other', reply(id)).answer('/meta/connect', 2, {}, response(id)),
      [null, { now: 7 }],
    ],
    ['successful', (pair, id) => pair.receive(1, 'other', response(id, { successful: true }), reply(id)), [null, { now: 7 }]],
    [
      'a failure',
      (pair, id) => pair.receive(1, 'other', response(id, { successful: false }), reply(id)),
      ['REFUSED', { now: 7 }],
    ],
    ['refused', (pair, id) => pair.receive(1, 'other', reply(id, { successful: false, error: '403::x' })), ['REFUSED', '403::x']],
    ['no response', (pair, id) => pair.receive(1, 'other', reply(id)).half.tick(10_001), ['TIMEOUT']],
    ['not yet', (pair, id) => pair.receive(1, 'other', reply(id)).half.tick(10_000), null],
    ['no reply', (pair, _) => pair.half.tick(10_000), ['TIMEOUT']],
    ['lost', (pair, id) => pair.receive(1, 'other', reply(id)).answer('/meta/connect', 2, FORGOTTEN), ['SESSION_LOST']],
    ['gone', (pair, id) => pair.receive(1, 'other', reply(id)).half.failed(2, 'connect'), null],
    ['another channel', (pair, id) => pair.receive(1, 'other', { ...response(id), channel: '/a' }, reply(id)), null],
    ['another id', (pair, id) => pair.receive(1, 'other', response('99'), reply(id)), null],
  ]
  for (const [title, act, settled] of rows) {
    const pair = new Pair('http').up()
    const id = pair.half.call('time', { zone: 'UTC' }, 0)
    matches(t, pair.sink.envelopes(), [[{ channel: '/service/time', data: { zone: 'UTC' }, id }]])
    act(pair, id)
    t.strictSame(pair.sink.events('settled'), settled === null ? [] : [['settled', id, ...settled]], title)
    pair.half.disconnect(20_000)
    pair.half.tick(30_000)
    t.equal(pair.sink.events('settled').length, settled === null ? 1 : 0, 'once in all')
  }
  const pair = new Pair('http').up()
  const call = () => pair.half.call('time', null, 0)
  pair.receive(1, 'other', reply(call())).answer('/meta/connect', 1, {}, response(pair.last('/service/time').id))
  t.equal(pair.half.tick(2), 40_001, 'no deadline left of it')
  pair.receive(3, 'other', reply(call())).answer('/meta/connect', 3, FORGOTTEN).answer('/meta/handshake', 3, { clientId: 'D' })
  pair.answer('/meta/connect', 4, { advice: { timeout: 30_000 } })
  t.equal(pair.half.tick(5), 40_004)
  pair.receive(6, 'other', reply(call()))
  pair.half.disconnect(7)
  pair.answer('/meta/disconnect', 8)
  t.equal(pair.half.tick(8), Number.POSITIVE_INFINITY)
  t.end()
})

t.test('disconnect sends what waits, then itself; every message settles, and no deadline is left', t => {
  const http = new Pair('http').up({}, '/a')
  const ids = [1, 2].map(data => http.half.publish('/a', data, 1))
  http.half.startBatch()
  http.half.disconnect(2)
  t.equal(http.half.publish('/a', 3, 2), null)
  http.quiet().receive(3, 'other', { channel: '/a', id: ids[0], successful: true })
  matches(t, http.sink.envelopes(), [[{ data: 2 }, { channel: '/meta/disconnect' }]], 'after the request that was out')
  http.answer('/meta/connect', 4, { advice: { reconnect: 'none' } }, { channel: '/a', data: 'late' })
  http.receive(
    5,
    'other',
    { channel: '/a', id: ids[1], ...UNKNOWN },
    { channel: '/meta/disconnect', id: http.last('/meta/disconnect').id, ...UNKNOWN },
  )
  t.strictSame(http.sink.events('settled', 'state', 'message'), [
    ['settled', ids[0], null, 'ok'],
    ['message', '/a', 'late'],
    ['settled', ids[1], 'REFUSED', '402::session_unknown'],
    ['state', 'closed'],
  ])
  t.equal(http.half.tick(6), Number.POSITIVE_INFINITY)
  http.half.endBatch(6)

  const endings: [title: string, kind: TransportKind, end: (pair: Pair) => void][] = [
    ['no reply', 'http', pair => pair.half.tick(10_002)],
    ['no reply', 'websocket', pair => pair.half.tick(10_002)],
    ['request lost', 'http', pair => pair.half.failed(3, 'other')],
    ['socket lost', 'websocket', pair => pair.half.failed(3)],
    ['not JSON', 'websocket', pair => pair.half.received('<html>', 3)],
    ['not an array', 'http', pair => pair.half.received('{}', 3, 'other')],
    ['empty', 'http', pair => pair.receive(3, 'other')],
    ['kicked', 'websocket', pair => pair.receive(3, 'other', { channel: '/meta/disconnect', successful: true })],
  ]
  for (const [title, kind, end] of endings) {
    const pair = new Pair(kind).up()
    const id = pair.half.publish('/a', 1, 1)
    if (kind === 'http') pair.receive(2, 'other', { channel: '/a', id, successful: true })
    pair.half.disconnect(2)
    t.equal(pair.half.state, 'disconnecting')
    end(pair)
    t.equal(pair.half.state, 'closed', `${kind}: ${title}`)
    t.equal(pair.sink.events('settled').length, 1)
    t.equal(pair.half.tick(10_003), Number.POSITIVE_INFINITY)
  }

  const pausing = new Pair('http')
    .up()
    .answer('/meta/connect', 1, { advice: { interval: 5_000 } })
    .quiet()
  pausing.half.disconnect(2)
  pausing.half.tick(5_001)
  matches(t, pausing.sink.envelopes(), [[{ channel: '/meta/disconnect' }]], 'no connect after it')

  const broken = new Pair().up()
  broken.half.failed(1)
  const waiting = broken.half.publish('/a', 1, 1)
  broken.half.disconnect(2)
  t.strictSame(broken.sink.events('settled', 'state'), [
    ['state', 'broken'],
    ['state', 'closed'],
    ['settled', waiting, 'DISCONNECTED'],
  ])
  t.strictSame(broken.sink.envelopes(), [], 'no socket to say it on')
  t.end()
})

t.test('a new beginning after the end has forgotten the old advice and backoff', t => {
  const pair = new Pair('http').up().answer('/meta/connect', 1, { advice: { interval: 5_000 } })
  for (let turn = 0; turn < 4; turn++) pair.open(5_001).half.failed(5_001, 'connect')
  pair.half.disconnect(6_000)
  pair.answer('/meta/disconnect', 6_000)
  pair.half.handshake(7_000)
  pair.sink.jitter = 1
  pair.half.failed(7_000, 'connect')
  t.equal(pair.half.tick(7_000), 8_000)
  t.end()
})

t.test('disconnecting while subscriptions are made again does not wait for them', t => {
  const pair = new Pair('http').up({}, '/a', '/b')
  pair.answer('/meta/connect', 1, FORGOTTEN)
  pair.half.startBatch()
  pair.answer('/meta/handshake', 1, { clientId: 'D' }).quiet()
  pair.half.disconnect(2)
  matches(t, pair.sink.envelopes(), [[{ channel: '/meta/disconnect' }]])
  const lost = new Pair('http').up({}, '/a')
  lost.answer('/meta/connect', 1, FORGOTTEN).answer('/meta/handshake', 1, { clientId: 'D' }).quiet()
  lost.half.disconnect(2)
  t.strictSame(lost.sink.envelopes(), [], 'one other request at a time')
  lost.half.failed(3, 'other')
  matches(t, lost.sink.envelopes(), [[{ channel: '/meta/disconnect' }]])
  t.end()
})

t.test('what is not Bayeux leads to a failure with a code and another try, never to an exception', t => {
  const html = '<!doctype html><title>Sign in to the network</title>'
  const texts: [text: string, code: string][] = [
    [html, 'REPLY_INVALID'],
    ['', 'REPLY_INVALID'],
    ['{"channel":"/meta/connect"}', 'REPLY_INVALID'],
    ['null', 'REPLY_INVALID'],
    ['"[]"', 'REPLY_INVALID'],
    ['[[[[', 'REPLY_INVALID'],
    [`${'['.repeat(100_000)}${']'.repeat(100_000)}`, 'REPLY_INVALID or nothing'],
    ['[]', 'REPLY_MISSING'],
    ['[null,1,"x",[],{},{"channel":5},{"channel":null},{"__proto__":{"channel":"/meta/connect"}}]', 'REPLY_MISSING'],
    ['[{"channel":"/meta/connect"}]', 'REPLY_MISSING'],
    ['[{"channel":"/meta/connect","id":["3"],"successful":true}]', 'REPLY_MISSING'],
    ['[{"channel":"/meta/handshake","id":"3","successful":true,"clientId":"D"}]', 'REPLY_MISSING'],
    ['[{"channel":"/meta/subscribe","id":"3","successful":true}]', 'REPLY_MISSING'],
    ['[{"channel":"constructor","id":"__proto__","data":{}}]', 'REPLY_MISSING'],
  ]
  for (const [text, code] of texts) {
    const http = new Pair('http').up()
    http.sink.jitter = 1
    http.half.received(text, 1, 'connect')
    const failures = http.sink.events('failure').map(([, failure]) => failure)
    t.ok(failures.length === 1 && (code.startsWith(String(failures[0])) || failures[0] === 'REPLY_MISSING'), text.slice(0, 60))
    t.equal(http.half.tick(1), 1_001, 'again after the backoff')
    const id = http.half.publish('/a', 1, 1)
    http.half.tick(1_001)
    http.answer('/meta/connect', 1_001)
    http.half.received(text, 1_002, 'other')
    t.match(http.sink.events('settled'), [['settled', id, /^REPLY_(INVALID|MISSING)$/]])

    const socket = new Pair().up()
    socket.half.received(text, 1)
    t.equal(socket.half.state, code === 'REPLY_INVALID' ? 'broken' : socket.half.state)
    if (socket.half.state === 'connected') socket.half.tick(40_000)
    t.equal(socket.half.state, 'broken', 'by its watchdog at the latest')
  }
  const pair = new Pair('http')
  pair.half.received('[', 0, 'other')
  pair.half.failed(0)
  pair.half.handshake(0)
  pair.half.received(html, 1, 'connect')
  t.match(pair.sink.events('failure'), [['failure', 'REPLY_INVALID', html.slice(0, 80)]])
  t.end()
})

t.test('every reply that matches something sent is given as it came, before its effect', t => {
  const pair = new Pair('http').greet()
  pair.answer('/meta/connect', 0)
  pair.half.subscribe('/a', 0)
  pair.answer('/meta/subscribe', 0).answer('/meta/subscribe', 0)
  pair.half.publish('/a', 1, 0)
  pair.answer('/a', 0, UNKNOWN)
  t.strictSame(pair.sink.events('reply', 'state', 'settled'), [
    ['state', 'handshaking'],
    ['reply', '/meta/handshake'],
    ['state', 'connecting'],
    ['reply', '/meta/connect'],
    ['state', 'connected'],
    ['reply', '/meta/subscribe'],
    ['settled', pair.last('/meta/subscribe').id, null, 'ok'],
    ['state', 'handshaking'], // the 402 is not told: that publish is sent again
  ])
  t.end()
})

t.test('a reply to a publish may echo its data; a stranger’s delivery with our id is a delivery', t => {
  const pair = new Pair().up()
  const id = pair.half.publish('/a', 1, 1)
  pair.receive(1, 'other', { channel: '/a', id, data: 'of another client' }, { channel: '/a', id, data: 1, successful: true })
  t.strictSame(pair.sink.events('message', 'settled'), [
    ['message', '/a', 'of another client'],
    ['settled', id, null, 1],
  ])
  t.end()
})

t.test('the caller’s faults throw at once and take nothing', t => {
  const { half } = new Pair()
  for (const channel of ['', '/', 'a', '/meta/connect', 5 as unknown as string])
    t.throws(() => half.publish(channel, 1, 0), TypeError)
  for (const channels of ['a', [], ['/a', 'b'], '/meta/*']) {
    t.throws(() => half.subscribe(channels, 0), TypeError)
    t.throws(() => half.unsubscribe(channels, 0), TypeError)
  }
  const circle: Json = {}
  circle.circle = circle
  t.throws(() => half.publish('/a', circle, 0), TypeError)
  t.throws(() => half.call('x', 1n, 0), TypeError)
  t.equal(half.queued, 0)
  t.ok(half.subscribe(['/a', '/b/**', '/service/x'], 0))
  t.end()
})

t.test('data is taken as it is when given; outgoing sees every message before it is sent', t => {
  const pair = new Pair('http')
  const seen: unknown[] = []
  Object.assign(pair.sink, { outgoing: (message: Json) => seen.push(message.channel) && Object.assign(message, { mark: 1 }) })
  const data = { text: 'before' }
  pair.half.publish('/a', data, 0)
  data.text = 'after'
  pair.greet()
  t.strictSame(seen, ['/a', '/meta/handshake', '/meta/connect'])
  const sent = pair.sink.envelopes().flat()
  t.ok(sent.every(({ mark }) => mark === 1))
  t.match(sent, [{ channel: '/meta/handshake' }, { data: { text: 'before' }, clientId: 'C0' }])
  t.end()
})

t.test('wake skips the backoff but not the interval that the server asked for', t => {
  const pair = new Pair('http').up()
  pair.sink.jitter = 1
  pair.half.wake(1)
  t.strictSame(pair.sink.envelopes(), [], 'nothing waits')
  pair.half.failed(2, 'connect')
  pair.half.wake(500)
  matches(t, pair.sink.envelopes(), [[{ channel: '/meta/connect' }]])
  pair.answer('/meta/connect', 500, { advice: { interval: 5_000 } })
  pair.half.wake(600)
  t.equal(pair.half.tick(600), 5_500)
  pair.half.tick(5_500)
  pair.half.failed(5_600, 'connect')
  t.equal(pair.half.tick(5_600), 11_600)
  pair.half.wake(5_700)
  t.equal(pair.half.tick(5_700), 10_600)
  t.end()
})

t.test('use goes on with the same session over the other transport', t => {
  const pair = new Pair('http').up({ ext: { ack: true } }, '/a')
  pair.half.use('http', 1)
  t.strictSame(pair.sink.events('abort', 'state'), [])
  const id = pair.half.publish('/a', 1, 1)
  pair.half.use('websocket', 2)
  t.strictSame(pair.sink.events('abort', 'state', 'settled', 'open'), [
    ['abort'],
    ['state', 'broken'],
    ['settled', id, 'CONNECTION_FAILED'],
    ['open'],
  ])
  pair.half.opened(3)
  t.match(pair.last('/meta/connect'), { clientId: 'C0', connectionType: 'websocket', advice: { timeout: 0 }, ext: { ack: 1 } })
  pair.answer('/meta/connect', 3)
  pair.half.use('http', 4)
  t.match(pair.last('/meta/connect'), { clientId: 'C0', connectionType: 'long-polling' })
  const unlisted = new Pair()
  unlisted.sink.on = event => {
    if (event === 'reply') unlisted.half.use('http', 0)
  }
  unlisted.greet(0, { supportedConnectionTypes: ['long-polling'] })
  t.equal(unlisted.half.state, 'connecting', 'in time, out of the handshake reply')
  t.equal(unlisted.last('/meta/connect').connectionType, 'long-polling')
  t.end()
})

t.test('until another transport has answered, nothing but the connect is risked on it', t => {
  const pair = new Pair('http').up({ ext: { ack: true } })
  pair.half.useNext('websocket', 1)
  t.strictSame(pair.sink.events('open'), [], 'a connect is held')
  pair.answer('/meta/connect', 2, { ext: { ack: 2 } })
  t.strictSame(pair.sink.events('open'), [['open']])
  pair.half.opened(3)
  const id = pair.half.publish('/a', 1, 4)
  matches(t, pair.sink.envelopes(), [[{ channel: '/meta/connect', connectionType: 'websocket' }]])
  pair.half.use('http', 5)
  t.strictSame(pair.sink.events('settled'), [], 'it was mute: the publish waits')
  pair.answer('/meta/connect', 6)
  matches(t, pair.sink.envelopes().slice(1), [
    [{ channel: '/a', id }],
    [{ channel: '/meta/connect', connectionType: 'long-polling' }],
  ])
  t.end()
})

t.test('a try on one transport and at once on the other count as one', t => {
  const pair = new Pair().up()
  pair.sink.jitter = 1
  const gaps: number[] = []
  pair.half.failed(0)
  for (let now = 0; gaps.length < 5; ) {
    const next = pair.half.tick(now)
    gaps.push(next - now)
    now = next
    pair.half.useNext('websocket', now)
    pair.half.tick(now)
    pair.half.failed(now)
    pair.half.use('http', now)
    pair.half.failed(now, 'connect')
  }
  t.strictSame(gaps, [1_000, 2_000, 4_000, 8_000, 10_000])
  t.end()
})

t.test(
  'a broken connection whose session is found to be gone begins anew at once; a session lost again and again is paced',
  t => {
    const pair = new Pair('http').up()
    pair.sink.jitter = 1
    for (const now of [1, 2_000]) {
      pair.half.failed(now, 'connect')
      pair.half.wake(now)
    }
    pair.quiet().answer('/meta/connect', 3_000, FORGOTTEN)
    matches(t, pair.sink.envelopes(), [[{ channel: '/meta/handshake' }]])
    pair.answer('/meta/handshake', 3_000, { clientId: 'D' }).answer('/meta/connect', 3_000, FORGOTTEN)
    t.ok(pair.half.tick(3_000) > 3_500)
    t.end()
  },
)
for (const kind of KINDS) {
  const other = kind === 'http' ? 'websocket' : 'http'
  t.test(`${kind}: useNext moves the session when nothing is in flight, and not before`, t => {
    const pair = new Pair(kind).up({ ext: { ack: true } }, '/a')
    const id = pair.half.publish('/a', 1, 1)
    pair.quiet().half.useNext(other, 1)
    pair.answer('/meta/connect', 2, { ext: { ack: 2 } }, { channel: '/a', data: 'on the way' })
    pair.answer('/a', 2)
    t.equal(pair.half.kind, kind, 'a connect is out again')
    pair.quiet().answer('/meta/connect', 3, { ext: { ack: 3 } })
    t.equal(pair.half.kind, other)
    const effect = other === 'http' ? ['abort'] : ['open']
    t.strictSame(pair.sink.events('open', 'abort', 'state', 'failure', 'settled'), [effect], 'nobody notices')
    if (other === 'websocket') {
      pair.half.publish('/a', 2, 4)
      t.equal(pair.half.tick(4), 10_003, 'the socket has the time of a reply')
      t.strictSame(pair.sink.envelopes(), [], 'what comes meanwhile waits')
      pair.half.opened(5)
      matches(t, pair.sink.envelopes(), [[{ channel: '/meta/connect' }]], 'also for the first answer over it')
    }
    const connectionType = other === 'http' ? 'long-polling' : other
    t.match(pair.last('/meta/connect'), { clientId: 'C0', connectionType, advice: { timeout: 0 }, ext: { ack: 3 } })
    pair.answer('/meta/connect', 5)
    if (other === 'websocket') matches(t, pair.sink.envelopes(), [[{ data: 2 }], [{ channel: '/meta/connect' }]])
    t.notOk(pair.last('/meta/connect').advice, 'held from now on')
    t.strictSame(pair.sink.events('settled', 'failure'), [])
    t.ok(id)
    t.end()
  })

  t.test(`${kind}: useNext can be taken back, by itself and by use`, t => {
    const pair = new Pair(kind).up()
    pair.half.useNext(other, 1)
    pair.half.useNext(kind, 1)
    pair.answer('/meta/connect', 2)
    t.equal(pair.half.kind, kind)
    pair.half.useNext(other, 3)
    pair.half.use(kind, 3)
    pair.answer('/meta/connect', 4)
    t.equal(pair.half.kind, kind)
    t.strictSame(pair.sink.events('open', 'abort', 'failure'), [])
    t.end()
  })

  t.test(`${kind}: useNext on a broken connection waits for the next try`, t => {
    const pair = new Pair(kind).up()
    pair.sink.jitter = 1
    pair.half.failed(0, 'connect')
    pair.quiet().half.useNext(other, 1)
    t.equal(pair.half.kind, other)
    t.equal(pair.half.tick(999), 1_000)
    t.strictSame([pair.sink.events('open'), pair.sink.envelopes()], [[], []])
    pair.half.tick(1_000)
    if (other === 'websocket') {
      t.strictSame(pair.sink.events('open'), [['open']])
      pair.half.opened(1_001)
    }
    matches(t, pair.sink.envelopes(), [[{ channel: '/meta/connect', clientId: 'C0' }]])
    t.end()
  })

  t.test(`${kind}: useNext while leaving comes too late: what waits is sent by the way that there is`, t => {
    const pair = new Pair(kind).up().answer('/meta/connect', 0, { advice: { interval: 5_000 } })
    const ids = [pair.half.publish('/a', 1, 1), pair.half.publish('/a', 2, 1)]
    pair.half.useNext(other, 1)
    pair.half.disconnect(2)
    pair.half.useNext(other, 2)
    for (const id of ids) pair.receive(3, 'other', { channel: '/a', id, successful: true })
    pair.answer('/meta/disconnect', 4)
    t.strictSame(
      pair.sink.events('settled').map(([, , code]) => code),
      [null, null],
    )
    t.equal(pair.half.state, 'closed')
    t.end()
  })
}

t.test('useNext: a socket that is being opened is not dropped for it', t => {
  const pair = new Pair()
  pair.half.handshake(0)
  pair.half.useNext('http', 1)
  t.equal(pair.half.tick(1), 10_000)
  t.equal(pair.half.kind, 'websocket')
  pair.half.failed(2)
  t.equal(pair.half.kind, 'http')
  pair.half.tick(2)
  matches(t, pair.sink.envelopes(), [[{ channel: '/meta/handshake' }]])
  t.end()
})

t.test('useNext: a socket that does not open breaks the connection, and is tried again', t => {
  const pair = new Pair('http').up()
  pair.half.useNext('websocket', 1)
  pair.answer('/meta/connect', 2)
  pair.sink.jitter = 1
  pair.half.failed(3)
  t.strictSame(pair.sink.events('open', 'state', 'failure'), [['open'], ['state', 'broken'], ['failure', 'CONNECTION_FAILED']])
  pair.half.tick(pair.half.tick(3))
  t.strictSame(pair.sink.events('open'), [['open']])
  t.end()
})

t.test('useNext: the interval that the server asked for holds on the new way too', t => {
  const pair = new Pair('http').up().answer('/meta/connect', 0, { advice: { interval: 5_000 } })
  pair.half.useNext('websocket', 1)
  pair.half.opened(2)
  t.equal(pair.half.tick(2), 5_000)
  pair.quiet().half.tick(5_000)
  matches(t, pair.sink.envelopes(), [[{ channel: '/meta/connect' }]])
  t.end()
})

t.test('check proves the connection by a connect that must be answered in time', t => {
  const rows: [kind: TransportKind, ack: boolean, asked: boolean][] = [
    ['websocket', false, true],
    ['websocket', true, true],
    ['http', true, true],
    ['http', false, false], // what the request given up may bring would be lost
  ]
  for (const [kind, ack, asked] of rows) {
    for (const answered of [true, false]) {
      const pair = new Pair(kind).up({ ext: { ack } })
      pair.half.check(100, 4_000)
      pair.half.check(101, 4_000)
      const envelopes = pair.sink.envelopes()
      matches(t, envelopes, asked ? [[{ channel: '/meta/connect', advice: { timeout: 0 } }]] : [], `${kind} ${ack}: once`)
      t.strictSame(pair.sink.events('abort'), asked && kind === 'http' ? [['abort', 'connect']] : [])
      t.equal(pair.half.tick(102), asked ? 4_100 : 40_000)
      if (answered && asked) pair.answer('/meta/connect', 4_099)
      pair.half.tick(4_100)
      t.equal(pair.half.state, answered || !asked ? 'connected' : 'broken')
      if (answered && asked) t.notOk(pair.last('/meta/connect').advice, 'held from now on')
    }
  }
  t.end()
})

t.test('check in the pause that the server asked for waits for its end', t => {
  const pair = new Pair().up().answer('/meta/connect', 0, { advice: { interval: 5_000 } })
  pair.half.check(1, 4_000)
  t.equal(pair.half.tick(1), 5_000)
  pair.quiet().half.tick(5_000)
  matches(t, pair.sink.envelopes(), [[{ channel: '/meta/connect', advice: { timeout: 0 } }]])
  t.equal(pair.half.tick(5_000), 9_000)
  t.end()
})

t.test('check: the reply to the connect given up loses nothing and doubles nothing', t => {
  const one = { channel: '/a', data: 1 }
  const given = (pair: Pair) => pair.sink.events('message').map(([, , data]) => data)
  for (const apart of [false, true]) {
    const pair = new Pair().up({ ext: { ack: true } })
    const late = { channel: '/meta/connect', id: pair.last('/meta/connect').id, successful: true, ext: { ack: 2 } }
    if (apart) pair.receive(1, 'other', one)
    pair.half.check(2, 4_000)
    if (apart) pair.receive(3, 'connect', late)
    else pair.receive(3, 'connect', one, late)
    t.strictSame(given(pair), [], 'it was not acknowledged, and comes again')
    t.strictSame(pair.last('/meta/connect').ext, { ack: 1 })
    pair.answer('/meta/connect', 4, { ext: { ack: 3 } }, one)
    t.strictSame(given(pair), [1])
  }
  const plain = new Pair().up()
  const { id } = plain.last('/meta/connect')
  plain.half.check(2, 4_000)
  plain.receive(3, 'connect', one, { channel: '/meta/connect', id, successful: true })
  t.strictSame(given(plain), [1], 'without ack it is given as it comes')
  t.equal(plain.half.tick(3), 4_002, 'and proves nothing')
  t.end()
})

t.test('check is wake where there is nothing to prove', t => {
  const fresh = new Pair('http')
  fresh.half.check(0, 4_000)
  t.equal(fresh.half.tick(0), Number.POSITIVE_INFINITY)
  const pair = new Pair('http').up()
  pair.sink.jitter = 1
  pair.half.failed(0, 'connect')
  pair.half.check(1, 4_000)
  matches(t, pair.sink.envelopes(), [[{ channel: '/meta/connect' }]])
  t.equal(pair.half.tick(1), 10_001, 'with the time of every other try')
  t.end()
})

t.test('a saved session goes on in another half, without what its page had in flight', t => {
  for (const kind of KINDS) {
    const first = new Pair(kind)
    t.equal(first.half.save(), null)
    first.up({ ext: { ack: true } }, '/a')
    first.half.subscribe('/b', 1)
    const lost = first.half.publish('/x', 1, 1)
    const saved = JSON.parse(JSON.stringify(first.half.save()))
    t.match(saved, { clientId: 'C0', ack: 1, advice: { timeout: 30_000, interval: 0 }, subscriptions: ['/a'] })

    const pair = new Pair(kind)
    pair.half.resume(saved, 10)
    pair.open(10)
    t.match(pair.last('/meta/connect'), { clientId: 'C0', advice: { timeout: 0 }, ext: { ack: 1 } })
    pair.receive(11, 'other', { channel: '/x', id: lost, successful: true })
    pair.answer('/meta/connect', 11, { ext: { ack: 2 } }, { channel: '/a', data: 1 })
    t.strictSame(pair.sink.events('state', 'message', 'settled', 'failure'), [
      ['state', 'connecting'],
      ['message', '/a', 1],
      ['state', 'connected'],
    ])
    t.ok(Number(pair.half.publish('/x', 2, 12)) > Number(lost), 'no id comes twice in one session')
    pair.answer('/x', 12)
    pair.half.subscribe('/c', 13)
    pair.answer('/meta/subscribe', 13)
    pair.answer('/meta/connect', 14, FORGOTTEN).quiet().answer('/meta/handshake', 14, { clientId: 'D' })
    t.strictSame(pair.subscriptions(), ['/c'], 'the page before this one does not subscribe any more')
    pair.half.disconnect(15)
    t.equal(pair.half.save(), null)
  }
  t.end()
})

t.test('a saved session that the server has forgotten is replaced by a new one', t => {
  const pair = new Pair('http')
  const advice = { timeout: 30_000, interval: 0, maxInterval: 0 }
  pair.half.resume({ clientId: 'old', ack: 7, advice, lastId: 40, subscriptions: [] }, 0)
  pair.half.publish('/a', 1, 0)
  matches(t, pair.sink.envelopes(), [[{ clientId: 'old', id: '41' }], [{ clientId: 'old' }]])
  pair.answer('/a', 1, UNKNOWN).answer('/meta/handshake', 2, { clientId: 'D' })
  const [batch, connect] = pair.sink.envelopes().slice(1)
  t.match([batch, connect], [[{ clientId: 'D', data: 1 }], [{ clientId: 'D' }]], 'with what was told to the old one')
  t.notOk(connect?.[0]?.ext, 'and without its ack id')
  t.end()
})

t.test('incoming sees each message first, and says what is heard in its place', t => {
  const pair = new Pair('http')
  const seen: string[] = []
  Object.assign(pair.sink, {
    incoming: (message: PeerMessage) => {
      seen.push(message.channel)
      if (message.data === 'drop') return null
      return message.data === 'change' ? { ...message, data: 'changed' } : message
    },
  })
  pair.up()
  const id = pair.half.publish('/a', 1, 1)
  pair.receive(1, 'other', { channel: '/a', data: 'drop' }, { channel: '/a', data: 'change' }, null, {
    channel: '/a',
    id,
    successful: true,
  })
  t.strictSame(pair.sink.events('message', 'settled'), [
    ['message', '/a', 'changed'],
    ['settled', id, null, 'ok'],
  ])
  t.strictSame(seen, ['/meta/handshake', '/meta/connect', '/a', '/a', '/a'], 'but nothing that is no message')
  Object.assign(pair.sink, { incoming: () => ({ data: 1 }) })
  pair.answer('/meta/connect', 2)
  t.strictSame(pair.sink.events('failure'), [['failure', 'REPLY_MISSING']], 'what is no message is nothing')
  t.end()
})

t.test('incoming sees of an ack session only what is given, once: not what is given up and comes again', t => {
  const one = { channel: '/a', data: 1 }
  for (const apart of [false, true]) {
    const pair = new Pair('websocket').up({ ext: { ack: true } })
    const seen: unknown[] = []
    Object.assign(pair.sink, {
      incoming: (message: PeerMessage) => {
        if (message.data !== undefined) seen.push(message.data)
        return message
      },
    })
    const late = { channel: '/meta/connect', id: pair.last('/meta/connect').id, successful: true, ext: { ack: 2 } }
    pair.half.check(2, 4_000)
    if (apart) pair.receive(3, 'other', one).receive(3, 'other', late)
    else pair.receive(3, 'other', one, late)
    t.strictSame(seen, [])
    pair.answer('/meta/connect', 4, { ext: { ack: 3 } }, one as Json)
    t.strictSame(seen, [1])
    t.strictSame(
      pair.sink.events('message').map(([, , data]) => data),
      [1],
    )
  }
  t.end()
})

t.test('restore: false: subscriptions end with their session, those that wait are for the next', t => {
  const pair = new Pair('http', { restore: false }).up({}, '/a')
  pair.answer('/meta/connect', 1, FORGOTTEN)
  pair.half.subscribe('/b', 1)
  pair.quiet().answer('/meta/handshake', 2, { clientId: 'D' })
  t.strictSame(pair.subscriptions(), ['/b'])
  t.strictSame(pair.half.save()?.subscriptions, [])
  t.end()
})

t.test('a subscription that is refused in a new session is told once, with the reply', t => {
  const pair = new Pair('http').up({}, '/a')
  const told: unknown[][] = []
  Object.assign(pair.sink, { unrestored: (...event: unknown[]) => told.push(event) })
  pair.answer('/meta/connect', 1, FORGOTTEN).answer('/meta/handshake', 1, { clientId: 'D' }).quiet()
  pair.answer('/meta/subscribe', 2, { successful: false, error: '403:no:subscribe_denied' })
  t.match(told, [['/a', 'REFUSED', { error: '403:no:subscribe_denied' }]])
  t.equal(told.length, 1)
  t.strictSame(pair.sink.events('failure', 'settled'), [])
  t.end()
})

for (const kind of KINDS) {
  t.test(`${kind}: a subscribe or unsubscribe that is lost is asked again by itself, in its place`, t => {
    const pair = new Pair(kind).up({}, '/a')
    pair.sink.jitter = 1
    const ids = [pair.half.subscribe('/b', 1), pair.half.unsubscribe('/a', 1)]
    if (kind === 'http')
      pair.answer('/meta/subscribe', 1) // one at a time
    else pair.receive(1, 'other', { channel: '/meta/subscribe', id: ids[0], successful: true })
    const again = pair.half.subscribe('/c', 1)
    const publish = kind === 'http' ? null : pair.half.publish('/x', 1, 1)
    pair.quiet().half.failed(2, 'other')
    pair.half.publish('/x', 2, 2)
    t.strictSame(pair.sink.events('settled'), publish === null ? [] : [['settled', publish, 'CONNECTION_FAILED']])
    t.equal(pair.half.state, 'broken', 'so that a backoff paces it')
    pair.half.tick(1_002)
    if (kind === 'websocket') pair.half.opened(1_002)
    pair.quiet().answer('/meta/connect', 1_003)
    const [first] = pair.sink.envelopes()
    t.strictSame(
      first?.map(({ channel }) => channel),
      ['/meta/unsubscribe', '/meta/subscribe', '/x'],
    )
    for (const id of [ids[1], again]) t.ok(first?.some(message => message.id === id))
    pair.receive(1_004, 'other', ...(first ?? []).map(({ channel, id }) => ({ channel, id, successful: true })))
    t.strictSame(
      pair.sink.events('settled').map(([, id, code]) => [id, code]),
      (first ?? []).map(({ id }) => [id, null]),
    )
    pair.sink.jitter = 0
    pair.answer('/meta/connect', 1_005, FORGOTTEN).quiet().answer('/meta/handshake', 1_005, { clientId: 'D' })
    t.strictSame(pair.subscriptions(), ['/b', '/c'])
    t.end()
  })

  t.test(`${kind}: a subscribe answered 402 twice is asked a third time, a publish is not`, t => {
    const pair = new Pair(kind).up()
    pair.half.startBatch()
    const publish = pair.half.publish('/x', 1, 1)
    const subscribe = pair.half.subscribe('/a', 1)
    pair.half.endBatch(1)
    for (let now = 2; now < 4; now++) {
      pair
        .quiet()
        .receive(
          now,
          'other',
          { channel: '/x', id: publish, ...UNKNOWN },
          { channel: '/meta/subscribe', id: subscribe, ...UNKNOWN },
        )
      t.strictSame(pair.sink.events('settled'), now === 2 ? [] : [['settled', publish, 'REFUSED', '402::session_unknown']])
      pair.half.tick(now)
      pair.answer('/meta/handshake', now, { clientId: `D${now}` })
    }
    t.strictSame(pair.last('/meta/subscribe'), { clientId: 'D3', channel: '/meta/subscribe', subscription: '/a', id: subscribe })
    pair.answer('/meta/subscribe', 5)
    t.strictSame(pair.sink.events('settled'), [['settled', subscribe, null, 'ok']])
    t.end()
  })

  t.test(`${kind}: without restore, or while leaving, a subscribe that is lost fails as every other message`, t => {
    const plain = new Pair(kind, { restore: false }).up()
    const id = plain.half.subscribe('/a', 1)
    plain.half.failed(2, 'other')
    t.strictSame(plain.sink.events('settled'), [['settled', id, 'CONNECTION_FAILED']])
    t.equal(plain.half.queued, 0)
    const leaving = new Pair(kind).up()
    const last = leaving.half.subscribe('/a', 1)
    leaving.half.disconnect(2)
    leaving.half.failed(3, 'other')
    t.strictSame(leaving.sink.events('settled'), [['settled', last, 'CONNECTION_FAILED']])
    t.end()
  })
}

t.test('closed is told together with its reason', t => {
  const rows: [why: string, act: (pair: Pair) => unknown, detail: string][] = [
    ['DISCONNECTED', pair => [pair.half.disconnect(1), pair.answer('/meta/disconnect', 1)], ''],
    ['KICKED', pair => pair.receive(1, 'other', { channel: '/meta/disconnect', successful: true }), ''],
    ['STOPPED', pair => pair.answer('/meta/connect', 1, { ...UNKNOWN, advice: { reconnect: 'none' } }), '402::session_unknown'],
  ]
  for (const [why, act, detail] of rows) {
    const pair = new Pair('http').up()
    const told: unknown[][] = []
    pair.sink.state = (...event) => told.push(event)
    act(pair)
    t.strictSame(told.at(-1), ['closed', why, detail])
  }
  t.end()
})

t.test('the application may disconnect, publish or begin again out of every event', t => {
  for (const kind of KINDS) {
    const events = kind === 'http' ? [] : ['open']
    for (const event of [
      ...events,
      'handshaking',
      'connecting',
      'connected',
      'broken',
      'reply',
      'message',
      'settled',
      'failure',
      'disconnecting',
      'closed',
    ]) {
      const pair = new Pair(kind)
      const taken = new Set<string>()
      const settled: unknown[] = []
      const publish = (now: number) => {
        const id = pair.half.publish('/a', 1, now)
        if (id !== null) taken.add(id)
      }
      let done = false
      pair.sink.on = name => {
        const last = pair.sink.seen.at(-1)
        if (name === 'settled') settled.push(last?.[1])
        if (name !== event || done) return
        done = true
        publish(50)
        if (event !== 'open') pair.half.disconnect(50)
        if (event === 'closed') pair.half.handshake(50)
      }
      publish(0)
      pair.half.handshake(0)
      pair.open(0)
      const say = (channel: string, now: number, fields: Json = {}, ...before: Json[]) => {
        if (pair.sink.log.some(sent => sent.channel === channel)) pair.answer(channel, now, fields, ...before)
      }
      say('/meta/handshake', 50, { clientId: 'C' })
      say('/meta/connect', 50)
      say('/a', 50)
      say('/meta/connect', 50, {}, { channel: '/a', data: 1 })
      pair.half.failed(50, 'connect')
      pair.open(60)
      pair.half.disconnect(60)
      for (let now = 60, turn = 0; turn < 20; turn++) {
        if (turn === 10) pair.half.disconnect(now) // of those that began again
        now = Math.min(pair.half.tick(now), 1e9)
      }
      t.ok(done, `${kind}: ${event} came`)
      t.equal(pair.half.state, 'closed')
      t.strictSame(settled.toSorted(), [...taken].toSorted(), 'each message once')
      t.equal(pair.half.tick(1e9), Number.POSITIVE_INFINITY)
    }
  }
  t.end()
})

t.test('every failure has a text', t => {
  for (const [code, text] of Object.entries(clientFailures)) t.ok(/^[A-Z_]+$/.test(code) && text.endsWith('.'), code)
  t.end()
})

// A server that keeps to protocol 7.1, behind a network and an application that keep to nothing.

interface PeerSession {
  readonly id: string
  readonly log: number[]
  unacked: [message: Json, batch: number][]
  batch: number
  connected: boolean
  held: { route: number; id: unknown } | null
}

interface Parcel {
  readonly route: number
  readonly lane: Lane
  text: string
}

const OPS = [
  ...(['run', 'run', 'run', 'serve', 'hear', 'wait', 'wait', 'push', 'push', 'expire', 'publish', 'subscribe'] as const),
  ...([
    'call',
    'unsubscribe',
    'batch',
    'wake',
    'use',
    'useNext',
    'check',
    'resume',
    'cut',
    'vanish',
    'double',
    'mangle',
    'advise',
    'forget',
    'kick',
  ] as const),
]
type Op = (typeof OPS)[number]
const ADVICES: Json[] = [
  { reconnect: 'handshake' },
  { reconnect: 'none' },
  { reconnect: 'retry', interval: 3_000, timeout: 1_000 },
  { 'multiple-clients': true, reconnect: 'retry', interval: 2_000 },
  { reconnect: 'retry', interval: 0, timeout: 30_000, maxInterval: 5_000 },
  { reconnect: 'never', interval: '5', timeout: null },
]
const MANGLED = [
  '<html>',
  '{}',
  '[]',
  '[{}',
  '[null,{"channel":"/meta/connect"},7]',
  '"x"',
  '[{"channel":"/x","id":"1","successful":true}]',
]

/** One life of a client: half, network and server; the script decides who moves. */
class Life implements ClientSink {
  now = 1_000
  half: ClientHalf
  readonly taken = new Set<string>()
  readonly ended: string[] = []
  readonly given: number[] = []
  readonly faults: string[] = []
  readonly sessions = new Map<string, PeerSession>()
  /** Requests and responses under way, or frames; a route is a request, or the socket. */
  up: Parcel[] = []
  down: Parcel[] = []
  heard: Parcel[] = []
  readonly routes = new Map<Lane, number>()
  socket = 0
  opening = false
  advice: Json | null = null
  pushed = 0
  resumed = 0
  count = 0
  readonly ack: boolean
  readonly apart: boolean
  readonly jitters: readonly number[]
  constructor(kind: TransportKind, ack: boolean, apart: boolean, jitters: readonly number[]) {
    this.ack = ack
    this.apart = apart
    this.jitters = jitters
    this.half = new ClientHalf(this, kind)
  }
  get kind(): TransportKind {
    return this.half.kind
  }

  open(): void {
    if (this.socket !== 0 || this.opening) this.faults.push('opened twice')
    this.opening = true
  }
  send(text: string, lane: Lane): void {
    if (this.kind === 'http' && this.routes.has(lane)) this.faults.push(`two requests on ${lane}`)
    if (this.kind === 'websocket' && this.socket === 0) this.faults.push('no socket')
    if (this.kind === 'http') this.routes.set(lane, ++this.count)
    this.up.push({ route: this.routes.get(lane) ?? this.socket, lane, text })
  }
  abort(lane?: Lane): void {
    for (const each of lane === undefined ? (['connect', 'other'] as const) : [lane]) this.routes.delete(each)
    if (lane !== undefined) return
    this.socket = 0
    this.opening = false
  }
  message(channel: string, message: PeerMessage): void {
    if (channel === '/a') this.given.push(Number(message.data))
  }
  reply(): void {}
  settled(id: string): void {
    this.ended.push(id)
  }
  failure(code: string): void {
    if (!(code in clientFailures)) this.faults.push(code)
  }
  state(): void {}
  random(): number {
    return this.jitters[this.count++ % this.jitters.length] ?? 0
  }

  tick(): number {
    const next = this.half.tick(this.now)
    if (!(next > this.now)) this.faults.push(`deadline ${next} at ${this.now}`)
    return next
  }
  pass(until: number): void {
    for (let next = this.tick(); next <= until; next = this.tick()) this.now = next
    this.now = until
    this.tick()
  }
  /** The page is loaded again: what it had in flight is nobody's any more. */
  resume(): void {
    const saved = JSON.stringify(this.half.save())
    if (saved === 'null') return
    this.abort()
    this.half = new ClientHalf(this, this.kind)
    for (const id of this.taken) if (!this.ended.includes(id)) this.taken.delete(id)
    this.half.resume(JSON.parse(saved), this.now)
    this.resumed++
  }
  take(id: string | null): void {
    if (id === null) return
    if (this.taken.has(id)) this.faults.push(`id ${id} twice`)
    this.taken.add(id)
  }

  // The network

  alive({ route, lane }: Parcel): boolean {
    return this.kind === 'http' ? this.routes.get(lane) === route : this.socket === route && route !== 0
  }
  pick(parcels: Parcel[], n: number): Parcel | undefined {
    const index = this.kind === 'http' ? n % Math.max(1, parcels.length) : 0 // a socket keeps the order
    return parcels.splice(index, 1)[0]
  }
  serve(n: number): void {
    if (this.opening) {
      this.opening = false
      this.socket = ++this.count
      this.half.opened(this.now)
    }
    const parcel = this.pick(this.up, n)
    if (parcel === undefined || (this.kind === 'websocket' && !this.alive(parcel))) return
    this.#process(parcel)
  }
  hear(n: number): void {
    const parcel = this.pick(this.down, n)
    if (parcel === undefined || !this.alive(parcel)) return
    this.routes.delete(parcel.lane)
    this.heard.push(parcel)
    this.half.received(parcel.text, this.now, parcel.lane)
  }
  run(): void {
    for (let turn = 0; turn < 20 && this.up.length + this.down.length + Number(this.opening) > 0; turn++) {
      this.serve(0)
      this.hear(0)
    }
  }
  cut(n: number): void {
    const lane = [...this.routes.keys()][n % Math.max(1, this.routes.size)]
    if (this.kind === 'http' && lane === undefined) return
    if (lane !== undefined && this.kind === 'http') this.routes.delete(lane)
    else this.socket = 0
    this.opening = false
    this.half.failed(this.now, this.kind === 'http' ? lane : undefined)
  }

  // The server

  #process({ route, lane, text }: Parcel): void {
    const replies: Json[] = []
    let session: PeerSession | undefined
    let hold = false
    for (const message of JSON.parse(text) as Json[]) {
      const { channel, id } = message
      session = this.sessions.get(String(message.clientId))
      if (channel === '/meta/handshake') {
        const clientId = `S${++this.count}`
        this.sessions.set(clientId, { id: clientId, log: [], unacked: [], batch: 1, connected: false, held: null })
        const ext = this.ack ? { ext: { ack: true } } : {}
        replies.push({ channel, id, successful: true, clientId, advice: this.advice ?? ADVICE, ...ext })
        this.advice = null
      } else if (session === undefined) {
        replies.push({
          channel,
          id,
          ...UNKNOWN,
          ...(channel === '/meta/connect' ? { advice: { reconnect: 'handshake', interval: 0 } } : {}),
        })
      } else if (channel === '/meta/connect') {
        const acked = Number((message.ext as Json | undefined)?.ack ?? -1)
        session.unacked = session.unacked.filter(([, batch]) => batch > acked)
        session.held = null // superseded: without a reply
        hold = session.connected && message.advice === undefined && session.unacked.length === 0 && this.advice === null
        session.connected = true
        if (hold) session.held = { route, id }
        else replies.push(this.#connectReply(session, id))
      } else {
        if (String(channel).startsWith('/service/')) this.#queue(session, { channel, id, data: 0 })
        if (channel === '/meta/disconnect') this.sessions.delete(session.id)
        replies.push({ channel, id, successful: true })
      }
    }
    if (session !== undefined && lane === 'other' && session.held !== null && this.sessions.has(session.id)) this.#wake(session)
    if (hold && replies.length === 0) return
    const deliveries = session !== undefined && (lane === 'connect' || !this.ack) ? this.#drain(session) : []
    this.#write(route, lane, deliveries, replies)
  }
  #connectReply(session: PeerSession, id: unknown): Json {
    const advice = this.advice === null ? {} : { advice: this.advice }
    this.advice = null
    return { channel: '/meta/connect', id, successful: true, ...advice, ...(this.ack ? { ext: { ack: session.batch } } : {}) }
  }
  #drain(session: PeerSession): Json[] {
    const deliveries = session.unacked.map(([message]) => message)
    if (this.ack) session.batch++
    else session.unacked = []
    return deliveries
  }
  #write(route: number, lane: Lane, deliveries: Json[], replies: Json[]): void {
    const frames =
      this.kind === 'websocket' && this.apart ? [...deliveries.map(message => [message]), replies] : [[...deliveries, ...replies]]
    for (const frame of frames) this.down.push({ route, lane, text: JSON.stringify(frame) })
  }
  #queue(session: PeerSession, message: Json): void {
    session.unacked.push([message, session.batch])
  }
  #wake(session: PeerSession): void {
    const { held } = session
    if (held === null || session.unacked.length === 0) return
    this.release(session)
  }
  release(session: PeerSession): void {
    const { held } = session
    if (held === null) return
    session.held = null
    const reply = this.#connectReply(session, held.id)
    this.#write(held.route, 'connect', this.#drain(session), [reply])
  }
  push(): void {
    for (const session of this.sessions.values()) {
      this.#queue(session, { channel: '/a', data: ++this.pushed })
      session.log.push(this.pushed)
      this.#wake(session)
    }
  }

  act(op: Op, n: number): void {
    const { half, now } = this
    const [session] = [...this.sessions.values()].slice(-1)
    const wild = this.kind === 'http' || !this.apart // frames of one socket are not lost one by one
    if (op === 'run') this.run()
    else if (op === 'serve') this.serve(n)
    else if (op === 'hear') this.hear(n)
    else if (op === 'wait') this.pass(now + ([1, 40, 900, 10_000, 45_000, 120_000][n % 6] ?? 0))
    else if (op === 'push') this.push()
    else if (op === 'expire') for (const each of this.sessions.values()) this.release(each)
    else if (op === 'publish') this.take(half.publish('/p', n, now))
    else if (op === 'subscribe') this.take(half.subscribe(`/s/${n % 3}`, now))
    else if (op === 'unsubscribe') this.take(half.unsubscribe(`/s/${n % 3}`, now))
    else if (op === 'call') this.take(half.call('x', n, now))
    else if (op === 'wake') half.wake(now)
    else if (op === 'cut') this.cut(n)
    else if (op === 'forget') this.sessions.clear()
    else if (op === 'advise') this.advice = ADVICES[n % ADVICES.length] ?? null
    else if (op === 'vanish' && wild) this.pick(n % 2 === 0 ? this.up : this.down, n)
    else if (op === 'mangle' && wild && this.down[0] !== undefined) this.down[0].text = MANGLED[n % MANGLED.length] ?? ''
    else if (op === 'double' && wild && this.heard.length > 0) {
      const { text, lane } = this.heard[n % this.heard.length] as Parcel
      half.received(text, now, lane)
    } else if (op === 'use' && n % 4 === 0) {
      half.use(this.kind === 'http' ? 'websocket' : 'http', now)
    } else if (op === 'useNext') half.useNext(KINDS[n % 2] ?? 'http', now)
    else if (op === 'check') half.check(now, 4_000)
    else if (op === 'resume' && n % 2 === 0) this.resume()
    else if (op === 'kick' && n % 4 === 0 && session !== undefined) {
      this.sessions.delete(session.id)
      this.down.push({
        route: this.socket || (this.routes.get('connect') ?? 0),
        lane: 'connect',
        text: '[{"channel":"/meta/disconnect","successful":true}]',
      })
    } else if (op === 'batch') {
      half.startBatch()
      for (let data = 0; data < 1 + (n % 3); data++) this.take(half.publish('/p', data, now))
      half.endBatch(now)
    }
    this.tick()
  }
}

t.test('against a hostile network and server: everything settles once, nothing comes twice, nothing is left', t => {
  const seen = { closed: 0, healed: 0, given: 0, renewed: 0, settled: 0, resumed: 0 }
  const script = fc.array(fc.tuple(fc.constantFrom(...OPS), fc.nat(999)), { maxLength: 120, size: 'max' })
  const jitters = fc.array(fc.double({ min: 0, max: 0.999, noNaN: true }), { minLength: 1, maxLength: 8 })
  const life = fc.record({
    kind: fc.constantFrom(...KINDS),
    ack: fc.boolean(),
    apart: fc.boolean(),
    jitters,
    script,
    last: script,
  })
  fc.assert(
    fc.property(life, ({ kind, ack, apart, jitters, script, last }) => {
      const life = new Life(kind, ack, apart, jitters)
      const check = (ok: boolean, text: string) => {
        if (!ok) life.faults.push(text)
      }
      life.half.handshake(life.now)
      for (const [op, n] of script) life.act(op, n)
      // The network heals: what the living session was sent has to arrive.
      life.advice = ADVICE
      for (let turn = 0; turn < 60 && life.half.state !== 'closed'; turn++) {
        life.run()
        life.push()
        life.run()
        if (life.half.state === 'connected' && turn > 20) break
        life.pass(Math.min(life.tick(), life.now + 90_000))
      }
      for (let turn = 0; turn < 3; turn++) {
        life.run()
        if (life.half.state !== 'connected' || turn === 0) life.pass(life.now + 3_000) // the longest interval advised
      }
      const session = life.sessions.get(life.half.clientId ?? '')
      check(
        life.half.state === 'closed' || (life.half.state === 'connected' && session !== undefined),
        `${life.half.state} at the end`,
      )
      if (session !== undefined && ack)
        check(
          session.log.every(n => life.given.includes(n)),
          'lost',
        )
      if (ack)
        check(
          life.given.every((n, index) => index === 0 || n > (life.given[index - 1] ?? 0)),
          'doubled or out of order',
        )
      check(new Set(life.ended).size === life.ended.length, 'settled twice')
      if (life.half.state === 'closed') seen.closed++
      else seen.healed++
      // And breaks for good.
      for (const [op, n] of last.slice(0, 10)) if (op !== 'forget') life.act(op, n)
      life.half.disconnect(life.now)
      for (const [op, n] of last.slice(10, 20)) life.act(op, n)
      life.pass(life.now + 10_000)
      check(life.half.state === 'closed', 'not closed in time')
      check(life.tick() === Number.POSITIVE_INFINITY, 'a deadline is left')
      check(life.half.queued === 0, 'a message is left')
      check(life.ended.toSorted().join() === [...life.taken].toSorted().join(), 'settled are not the taken')
      seen.given += life.given.length
      seen.renewed += life.sessions.size
      seen.settled += life.ended.length
      seen.resumed += life.resumed
      if (life.faults.length > 0) throw new Error(life.faults.join(', '))
    }),
    { numRuns: 500 },
  )
  t.comment(seen)
  t.ok(
    seen.closed > 50 && seen.healed > 50 && seen.given > 500 && seen.settled > 500 && seen.resumed > 50,
    'the script reaches what it should',
  )
  t.end()
})

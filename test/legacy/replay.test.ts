// Clients of Salesforce's streaming API go on where they were, across a stop and a kill of the server, with history on disk.
//
// Knows: what jsforce and a program on CometD's Java client in the way of EMP-Connector must get, and see of what is refused.
// Does not know: how they are driven (listeners.ts, java/src/main/java/Listeners.java).
// Source: protocol reference 7.7; guarantee G4.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { hs256, SECRET } from '../support/issuer.js'
import { startServer } from '../support/server.js'
import { Serving } from '../support/serving.js'
import { post } from '../support/wire.js'
import { touch, until } from './drivers/steps.js'
import { Jsforce, Jvm, type Listener } from './listeners.js'

t.setTimeout(200_000) // well under a minute where nothing else runs

const ORDERS = '/orders/eu'
const OTHERS = '/orders/us'
/** Keeps three messages. */
const BRIEF = '/brief/eu'

const invalid = (place: number): string =>
  `400::The replayId {${place}} you provided was invalid. Please provide a valid ID, -2 to replay all events, or -1 to replay only new events.`
/** From and up to. */
const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i)
const numbers = ({ heard }: Listener): number[] => heard.map(({ n }) => n)

/** A server whose history outlives it, with one publisher. */
class Stand {
  /** Numbers whose publish was answered `successful`, and those of which nothing is known, by channel. */
  readonly taken: Record<string, number[]> = { [ORDERS]: [], [OTHERS]: [], [BRIEF]: [] }
  readonly unknown: number[] = []
  private serving!: Serving
  private port = '0'
  private next: Record<string, number> = { [ORDERS]: 0, [OTHERS]: 0, [BRIEF]: 0 }
  private clientId = ''
  private cookie = ''

  constructor(private readonly t: Test) {
    const folder = t.testdir({
      'perihelion.yaml':
        'drainTimeout: 2000\nchannels:\n  /orders/**: { history: { messages: 100000, age: 3600000 } }\n  /brief/**: { history: { messages: 3, age: 3600000 } }\n',
    })
    this.config = join(folder, 'perihelion.yaml')
    this.history = join(folder, 'history')
  }
  private readonly config: string
  private readonly history: string

  get origin(): string {
    return `http://127.0.0.1:${this.port}`
  }

  async start(): Promise<void> {
    await this.listen(this.port)
  }

  async stop(): Promise<void> {
    assert.equal(await this.serving.end(), 0)
  }

  async kill(): Promise<void> {
    const exit = once(this.serving.child, 'exit')
    this.serving.child.kill('SIGKILL')
    await exit
  }

  /** Publishes while no client can reach it. */
  async away(channel: string, count: number): Promise<void> {
    const { port } = this
    await this.listen('0')
    await this.publish(channel, count)
    await this.stop()
    this.port = port
  }

  /** Publishes the next numbers, one after the other. */
  async publish(channel: string, count: number): Promise<void> {
    for (let i = 0; i < count; i++) assert(await this.say(channel))
  }

  /** Publishes until it is told to stop, or the server is no more. */
  async flood(channel: string, stopped: () => boolean = () => false): Promise<void> {
    while (!stopped() && (await this.say(channel))) touch()
  }

  /** @returns whether it was taken; false when the server died over it */
  private async say(channel: string): Promise<boolean> {
    const n = this.next[channel]!++
    const message = { channel, id: '1', data: { n } }
    try {
      let [reply] = await this.post({ ...message, clientId: this.clientId })
      if (reply?.error === '402::session_unknown') {
        await this.handshake()
        reply = (await this.post({ ...message, clientId: this.clientId }))[0]
      }
      assert.equal(reply?.successful, true, JSON.stringify(reply))
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error
      this.unknown.push(n)
      return false
    }
    this.taken[channel]!.push(n)
    return true
  }

  private async handshake(): Promise<void> {
    const [reply] = await this.post({ channel: '/meta/handshake', version: '1.0', supportedConnectionTypes: ['long-polling'] })
    this.clientId = reply!.clientId!
  }

  private async post(message: object): Promise<{ successful: boolean; error?: string; clientId?: string }[]> {
    const { body, headers } = await post(`${this.origin}/cometd`, JSON.stringify([message]), { cookie: this.cookie })
    this.cookie = headers['set-cookie']?.[0]?.split(';')[0] ?? this.cookie
    return JSON.parse(body)
  }

  private async listen(port: string): Promise<void> {
    this.serving = await Serving.start(this.t, '--config', this.config, '--history-dir', this.history, '--port', port)
    this.port = String(this.serving.port)
    await this.handshake()
  }
}

/** Programs of each kind, by its name. */
type Kinds = ReadonlyMap<string, () => Promise<Listener>>

function kindsOf(t: Test, stand: Stand): Kinds {
  const jvm = new Jvm(t)
  return new Map(
    ['long-polling', 'websocket'].flatMap(transport => [
      [`jsforce 3 on ${transport}`, async () => new Jsforce(t, stand.origin, transport)] as const,
      [`CometD's Java client on ${transport}`, () => jvm.open(`${stand.origin}/cometd`, transport)] as const,
    ]),
  )
}

/** One of each kind, listening. */
async function listening(kinds: Kinds, channel: string, from: (kind: string) => number): Promise<Map<string, Listener>> {
  const all = new Map<string, Listener>()
  for (const [kind, open] of kinds) {
    const listener = await open()
    all.set(kind, listener)
    await listener.listen(channel, from(kind))
  }
  return all
}

/** All have heard a number, and then exactly these. */
async function hear(t: Test, listeners: ReadonlyMap<string, Listener>, expected: readonly number[], what: string): Promise<void> {
  for (const [kind, listener] of listeners)
    await until(`${kind}: ${what}`, () => (listener.heard.at(-1)?.n ?? -1) >= expected.at(-1)!)
  for (const [kind, listener] of listeners) {
    t.same(numbers(listener), expected, `${kind}: ${what}`)
    t.same(listener.refused, [])
  }
}

t.test(
  'jsforce and programs on the Java client go on behind a stop and a kill of the server: nothing lost, nothing twice, in order',
  async t => {
    const stand = new Stand(t)
    await stand.start()
    const kinds = kindsOf(t, stand)
    const all: Map<string, Listener>[] = []
    const join = async (channel: string, from: number) => {
      const listeners = await listening(kinds, channel, () => from)
      all.push(listeners)
      return listeners
    }

    await stand.publish(ORDERS, 10)
    const whole = await join(ORDERS, -2)
    await hear(t, whole, range(0, 9), 'all that is kept with -2')
    const { heard } = whole.values().next().value!
    const placeOf = (n: number): number => heard.find(message => message.n === n)!.event.replayId
    t.match(heard[0]!.event.createdDate, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/)
    const fresh = await join(ORDERS, -1)
    const rest = await join(ORDERS, placeOf(4))
    await stand.publish(ORDERS, 10)
    await hear(t, whole, range(0, 19), 'and then what is new')
    await hear(t, fresh, range(10, 19), 'only new ones with -1')
    await hear(t, rest, range(5, 19), 'the rest with a position')

    await stand.stop()
    await stand.away(ORDERS, 10)
    await stand.start()
    await hear(t, whole, range(0, 29), 'stopped, and published to meanwhile; they began with -2')
    await hear(t, fresh, range(10, 29), 'the same with -1')
    await hear(t, rest, range(5, 29), 'the same with a position')
    await hear(t, await join(ORDERS, -2), range(0, 29), 'whoever comes with -2 only now')
    await hear(t, await join(ORDERS, placeOf(14)), range(15, 29), 'and with a position from before the stop')
    const late = await join(ORDERS, -1)
    for (const listener of late.values()) t.same(numbers(listener), [], 'or with -1')

    const everyone = (n: number): boolean => all.every(set => [...set.values()].every(({ heard }) => (heard.at(-1)?.n ?? -1) > n))
    for (let round = 0; round < 3; round++) {
      const last = stand.taken[ORDERS]!.at(-1)! + 30
      const flood = stand.flood(ORDERS)
      await until('all of them to hear', () => everyone(last))
      await stand.kill()
      await flood
      await stand.start()
      const from = Math.max(stand.taken[ORDERS]!.at(-1)!, stand.unknown.at(-1) ?? 0)
      let done = false
      const again = stand.flood(ORDERS, () => done)
      await until('all of them to be back, while more is published', () => everyone(from)).finally(() => {
        done = true
      })
      await again
    }
    await stand.publish(ORDERS, 1)
    const kept = stand.taken[ORDERS]!.at(-1)!
    await until('the last message', () => [...whole.values()].every(({ heard }) => heard.at(-1)?.n === kept))
    const expected = [...stand.taken[ORDERS]!, ...stand.unknown.filter(n => heard.some(message => message.n === n))].sort(
      (a, b) => a - b,
    )
    t.equal(stand.unknown.length, 3, 'the first publish that was not answered ends each flood')
    for (const [i, listeners] of all.entries())
      await hear(t, listeners, expected.slice([0, 10, 5, 0, 15, 30][i]), 'killed in the midst of it, three times')
    for (const listeners of all) for (const listener of listeners.values()) await listener.close()
  },
)

t.test(
  'a position that is none or of which too much is gone is refused with the error that is documented, and seen by the program',
  async t => {
    const stand = new Stand(t)
    await stand.start()
    const kinds = kindsOf(t, stand)
    await stand.publish(BRIEF, 68)
    const kept = await listening(kinds, BRIEF, () => -2)
    await hear(t, kept, [65, 66, 67], 'no more is kept than the rule says')
    const [third, , fifth] = kept
      .values()
      .next()
      .value!.heard.map(({ event }) => event.replayId)
    await hear(t, await listening(kinds, BRIEF, () => third!), [66, 67], 'a position that is kept')
    await hear(t, await listening(kinds, BRIEF, () => third! - 1), [65, 66, 67], 'one behind which all is kept')
    await stand.publish(OTHERS, 1)

    for (const place of [third! - 2, fifth! + 1_000_000, 0, -3]) {
      const refused = await listening(kinds, BRIEF, () => place)
      for (const [kind, listener] of refused) {
        t.same(listener.refused, [invalid(place)], `${kind}: ${place} is refused`)
        if (listener instanceof Jsforce)
          t.same(listener.rejected, [invalid(place)], 'jsforce: and so is the promise of the subscription')
        const sent = listener.heard.length
        if (listener instanceof Jsforce)
          await listener.subscribe(OTHERS) // its extension says the wrong place of the other channel
        else await listener.listen(OTHERS, -1) // and this one says all that it has
        await stand.publish(BRIEF, 1)
        await stand.publish(OTHERS, 1)
        const marker = stand.taken[OTHERS]!.at(-1)!
        await until(`${kind}: the other channel`, () => listener.heard.at(-1)?.n === marker)
        t.equal(listener.heard.length, sent + 1, 'nothing comes of what was refused, and another channel is not refused with it')
        await listener.listen(BRIEF, -2)
        const all = stand.taken[BRIEF]!.slice(-3)
        await until(`${kind}: all that is kept`, () => listener.heard.at(-1)?.n === all.at(-1))
        t.same(numbers(listener).slice(sent + 1), all, `${kind}: it may go on with -2`)
        await listener.close()
      }
    }

    const before = stand.taken[BRIEF]!.at(-1)!
    for (const [kind, listener] of kept) await until(`${kind}: the last one`, () => listener.heard.at(-1)?.n === before)
    const place = kept.values().next().value!.heard.at(-1)!.event.replayId
    await stand.stop()
    await stand.away(BRIEF, 4)
    await stand.start()
    for (const [kind, listener] of kept) {
      await until(`${kind}: the refusal after a time away`, () => listener.refused.length > 0)
      t.same(listener.refused, [invalid(place)], `${kind}: a gap is told, not passed over`)
      t.equal(listener.heard.at(-1)!.n, before)
    }
  },
)

t.test('jsforce: a token goes by its header, and AuthFailure hears of one that is refused or ends', async t => {
  const { url, bayeux } = await startServer(t, {
    tokenSecret: SECRET,
    channels: { '/orders/**': { history: { messages: 10, age: 60_000 }, subscribe: 'role:orders' } },
  })
  const { origin } = new URL(url)
  const token = (life: number): string =>
    hs256({ sub: 'anna', roles: ['orders'], iat: Math.floor(Date.now() / 1_000) - 1, exp: Math.ceil(Date.now() / 1_000) + life })
  bayeux.publish(ORDERS, { n: 0 })
  for (const transport of ['long-polling', 'websocket']) {
    const brief = new Jsforce(t, origin, transport, token(2))
    await brief.listen(ORDERS, -2)
    await until('what is kept', () => brief.heard.length > 0)
    t.same(numbers(brief), [0], `${transport}: with the right token`)
    await until('the end of the token', () => brief.failures.length > 0)
    t.match(
      brief.failures,
      [{ channel: '/meta/handshake', successful: false, advice: { reconnect: 'none' } }],
      'which ends the session',
    )
    t.equal(brief.failures.length, 1)
    const stranger = new Jsforce(t, origin, transport, 'of somebody else')
    void stranger.subscribe(ORDERS)
    await until('the refusal', () => stranger.failures.length > 0)
    t.match(stranger.failures, [{ channel: '/meta/handshake', successful: false, advice: { reconnect: 'none' } }])
    t.equal(stranger.failures.length, 1)
    t.same(stranger.heard, [])
  }
})

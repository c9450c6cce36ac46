// The API of CometD over our client: arguments, statuses, failures, extensions, transports, the way back after a loss.
//
// Knows: what the client sends and when, by a network and a clock of its own.
// Does not know: real servers (test/legacy/manual.test.ts), browsers (test/legacy/compatibility-browser.test.ts).

import { readFileSync } from 'node:fs'
import { createContext, runInContext } from 'node:vm'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import {
  AckExtension,
  BinaryExtension,
  CometD,
  type Configuration,
  LongPollingTransport,
  type Message,
  type Packet,
  ReloadExtension,
  TimeSyncExtension,
  Transport,
  Z85,
} from '../../../lib/client/cometd/index.js'
import { canAppend } from '../../../lib/client/cometd/settings.js'
import type { PageEvent, Socket, Surroundings } from '../../../lib/client/surroundings.js'

/** One request that waits for its answer. */
interface Asked {
  readonly url: string
  readonly messages: Message[]
  readonly headers: Record<string, string>
  answer(messages: unknown, status?: number): Promise<void>
  fail(why: string): Promise<void>
}

class FakeSocket implements Socket {
  onopen: (() => void) | null = null
  onmessage: ((event: { data: unknown }) => void) | null = null
  onclose: ((event: { code: number; reason: string }) => void) | null = null
  onerror: (() => void) | null = null
  readonly messages: Message[] = []
  closed = false

  constructor(
    readonly url: string,
    readonly protocols: readonly string[],
  ) {}

  send(text: string): void {
    this.messages.push(...(JSON.parse(text) as Message[]))
  }

  close(): void {
    this.closed = true
  }

  async open(): Promise<void> {
    this.onopen?.()
    await turn()
  }

  async say(...messages: object[]): Promise<void> {
    this.onmessage?.({ data: JSON.stringify(messages) })
    await turn()
  }

  async breaks(code: number, reason: string): Promise<void> {
    this.onclose?.({ code, reason })
    await turn()
  }
}

/** Lets everything happen that waits for nothing. */
const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

/** A network of which the test is the server, a clock that it sets, a page that it leaves. */
class World {
  time = 1_000_000
  readonly asked: Asked[] = []
  readonly sockets: FakeSocket[] = []
  readonly kept = new Map<string, string>()
  readonly #alarms = new Set<{ readonly at: number; readonly ring: () => void }>()
  #heard: ((event: PageEvent) => void)[] = []
  readonly around: Surroundings

  constructor(withSockets: boolean) {
    this.around = {
      fetch: (url, init) => this.#fetch(url, init),
      openSocket: withSockets
        ? (url, protocols) => {
            const socket = new FakeSocket(url, protocols)
            this.sockets.push(socket)
            return socket
          }
        : null,
      now: () => this.time,
      random: () => 0,
      after: (ms, ring) => {
        const alarm = { at: this.time + ms, ring }
        this.#alarms.add(alarm)
        return () => this.#alarms.delete(alarm)
      },
      listen: heard => {
        this.#heard.push(heard)
        return () => {
          this.#heard = this.#heard.filter(each => each !== heard)
        }
      },
      storage: {
        getItem: key => this.kept.get(key) ?? null,
        setItem: (key, value) => void this.kept.set(key, value),
        removeItem: key => void this.kept.delete(key),
      },
    }
  }

  /** Lets time pass, alarm by alarm. */
  async pass(ms: number): Promise<void> {
    const end = this.time + ms
    for (;;) {
      await turn()
      const next = [...this.#alarms].filter(alarm => alarm.at <= end).sort((a, b) => a.at - b.at)[0]
      if (next === undefined) break
      this.#alarms.delete(next)
      this.time = Math.max(this.time, next.at)
      next.ring()
    }
    this.time = end
    await turn()
  }

  page(event: PageEvent): void {
    for (const heard of this.#heard) heard(event)
  }

  /** The oldest request not yet taken. @throws {Error} there is none */
  take(channel?: string): Asked {
    const index =
      channel === undefined ? 0 : this.asked.findIndex(({ messages }) => messages.some(each => each.channel === channel))
    const [asked] = index < 0 ? [] : this.asked.splice(index, 1)
    if (asked === undefined) throw new Error(`nothing was sent${channel === undefined ? '' : ` on ${channel}`}`)
    return asked
  }

  #fetch(url: string, init: RequestInit): Promise<Response> {
    return new Promise((resolve, reject) => {
      init.signal?.addEventListener('abort', () => reject(new Error('aborted')))
      this.asked.push({
        url,
        messages: JSON.parse(String(init.body)),
        headers: init.headers as Record<string, string>,
        answer: async (messages, status = 200) => {
          resolve(new Response(JSON.stringify(messages), { status }))
          for (let i = 0; i < 3; i++) await turn()
        },
        fail: async why => {
          reject(new Error(why))
          for (let i = 0; i < 3; i++) await turn()
        },
      })
    })
  }
}

const URL_ = 'http://server/cometd'
const GREETED = {
  channel: '/meta/handshake',
  successful: true,
  version: '1.0',
  clientId: 'c1',
  supportedConnectionTypes: ['websocket', 'long-polling'],
  advice: { reconnect: 'retry', interval: 0, timeout: 30_000 },
}

interface Page {
  readonly cometd: CometD
  readonly world: World
}

function openPage(configuration: Partial<Configuration> = {}, withSockets = false, world = new World(withSockets)): Page {
  const cometd = new CometD('', world.around)
  cometd.configure({ url: URL_, logLevel: 'error', ...configuration })
  return { cometd, world }
}

/** Answers the handshake that was sent, and gives the connect that followed. */
async function greet({ world }: Page, more: object = {}): Promise<Asked> {
  await turn()
  const asked = world.take('/meta/handshake')
  await asked.answer([{ ...GREETED, id: asked.messages[0]!.id, ...more }])
  return world.take('/meta/connect')
}

/** Up to the connect that is held. */
async function connect(page: Page, more: object = {}): Promise<Asked> {
  page.cometd.handshake()
  const first = await greet(page, more)
  await first.answer([{ channel: '/meta/connect', id: first.messages[0]!.id, successful: true }])
  return page.world.take('/meta/connect')
}

async function answered(asked: Asked, fields: object = { successful: true }): Promise<void> {
  await asked.answer(asked.messages.map(({ channel, id, subscription }) => ({ channel, id, subscription, ...fields })))
}

t.test('before a handshake there is no session, and what needs one throws', t => {
  const cometd = new CometD('mine', new World(false).around)
  t.equal(cometd.getName(), 'mine')
  t.equal(cometd.getStatus(), 'disconnected')
  t.equal(cometd.getClientId(), null)
  t.equal(cometd.getTransport(), null)
  t.throws(() => cometd.handshake(), /Missing required configuration parameter 'url'/)
  cometd.configure(URL_)
  t.equal(cometd.getURL(), URL_)
  t.throws(() => cometd.publish('/a', 1), /Illegal state: disconnected/)
  t.throws(() => cometd.remoteCall('a', 1), /Illegal state: disconnected/)
  t.throws(() => cometd.subscribe('/a', () => {}), /Illegal state: disconnected/)
  t.doesNotThrow(() => cometd.disconnect())
  t.end()
})

t.test('what is no argument is refused with the texts of the library', async t => {
  const page = openPage()
  const { cometd } = page
  const loose = cometd as unknown as Record<string, (...given: unknown[]) => unknown>
  await connect(page)
  t.throws(() => loose['addListener']!('/a'), /required 2, got 1/)
  t.throws(() => loose['addListener']!(1, () => {}), /channel must be a string/)
  t.throws(() => loose['addListener']!('/a', 'no function'), /Invalid callback undefined/)
  t.throws(() => loose['addListener']!('/a', null, 'method'), /Invalid scope null/)
  t.throws(() => loose['removeListener']!({}), /expected subscription/)
  t.throws(() => loose['subscribe']!('no slash', () => {}), /invalid channel no slash/)
  t.throws(() => loose['publish']!('/meta/x', 1), /cannot publish to meta channels/)
  t.throws(() => loose['publish']!('/é', 1), /invalid channel/)
  t.throws(() => loose['remoteCall']!(1), /target must be a string/)
  t.throws(() => loose['remoteCall']!('a', 1, '5'), /timeout must be a number/)
  t.throws(() => loose['remoteCall']!('é', 1), /invalid target/)
  t.throws(() => loose['registerExtension']!('name'), /required 2, got 1/)
  t.throws(() => loose['registerExtension']!(1, {}), /name must be a string/)
  t.throws(() => loose['addTransportListener']!('other', () => {}), /Unsupported event other/)
  t.throws(() => cometd.handshake(), /Illegal state: connected/)
  t.equal(cometd.resubscribe(undefined), undefined)
})

t.test('the status tells each step; the first handshake names the transports and the timings', async t => {
  const page = openPage()
  const { cometd, world } = page
  cometd.handshake()
  t.equal(cometd.getStatus(), 'handshaking')
  await turn()
  t.match(world.asked[0]?.messages, [
    {
      channel: '/meta/handshake',
      version: '1.0',
      supportedConnectionTypes: ['long-polling'],
      advice: { timeout: 60_000, interval: 0 },
    },
  ])
  const first = await greet(page)
  t.equal(cometd.getStatus(), 'connected', 'with a connect under way')
  t.match(first.messages, [{ channel: '/meta/connect', clientId: 'c1', connectionType: 'long-polling', advice: { timeout: 0 } }])
  t.match(cometd.getAdvice(), { timeout: 30_000, interval: 0, maxInterval: 0, reconnect: 'retry' })
  cometd.disconnect()
  t.equal(cometd.getStatus(), 'disconnecting')
  t.ok(cometd.isDisconnected())
  await turn()
  await answered(world.take('/meta/disconnect'))
  t.equal(cometd.getStatus(), 'disconnected')
  t.equal(cometd.getClientId(), null)
})

t.test('handshake, connect and disconnect have their name behind the URL, other requests a slash', async t => {
  const page = openPage()
  const held = await connect(page)
  t.equal(held.url, `${URL_}/connect`)
  page.cometd.publish('/a', 1)
  await turn()
  t.equal(page.world.take('/a').url, `${URL_}/`)
  t.ok(canAppend('http://host/a/cometd') && canAppend('/cometd/') && canAppend('http://[::1]:80/cometd'))
  t.notOk(canAppend('/cometd?x=1') || canAppend('/cometd#x') || canAppend('/cometd.php') || canAppend('/a.b/'))
  const plain = openPage({ url: 'http://server/x.cometd' })
  t.equal((await connect(plain)).url, 'http://server/x.cometd')
  t.equal((await connect(openPage({ appendMessageTypeToURL: false }))).url, URL_)
})

t.test('headers are those of the moment of the request; a transport may have a URL of its own', async t => {
  const page = openPage({ requestHeaders: { 'X-One': '1' }, urls: { 'long-polling': 'http://other/bayeux' } })
  const held = await connect(page)
  t.equal(held.headers['X-One'], '1')
  t.equal(held.url, 'http://other/bayeux/connect')
  t.equal(page.cometd.getURL(), 'http://other/bayeux')
  page.cometd.configure({ url: URL_, requestHeaders: { 'X-Two': '2' } })
  page.cometd.getTransport()!.url = 'http://third/cometd'
  page.cometd.publish('/a', 1)
  await turn()
  const asked = page.world.take('/a')
  t.equal(asked.headers['X-Two'], '2')
  t.equal(asked.url, 'http://third/cometd/')
})

t.test('what waited for the session leaves before anything its listeners send; callbacks come before listeners', async t => {
  const page = openPage()
  const { cometd, world } = page
  const order: string[] = []
  for (const channel of ['/meta/handshake', '/meta/*', '/meta/**', '/**']) cometd.addListener(channel, () => order.push(channel))
  cometd.addListener('/meta/handshake', () => cometd.publish('/later', 1))
  cometd.handshake(() => order.push('callback'))
  cometd.publish('/early', 1)
  await greet(page)
  t.same(order, ['callback', '/meta/handshake', '/meta/*', '/meta/**', '/**'])
  t.same(
    world.take('/early').messages.map(message => message.channel),
    ['/early', '/later'],
  )
})

t.test('a publish that HTTP cannot bring there fails with the status; the connection is not touched', async t => {
  const page = openPage()
  const { cometd, world } = page
  await connect(page)
  const seen: [string, Message][] = []
  for (const channel of ['/meta/publish', '/meta/unsuccessful', '/meta/connect'])
    cometd.addListener(channel, message => seen.push([channel, message]))
  cometd.publish('/a', { n: 1 }, { own: 2 }, message => seen.push(['callback', message]))
  await turn()
  await world.take('/a').answer('gone', 503)
  t.same(
    seen.map(([who]) => who),
    ['callback', '/meta/publish', '/meta/unsuccessful'],
  )
  t.match(seen[0]?.[1], {
    channel: '/a',
    id: String,
    successful: false,
    failure: {
      message: { channel: '/a', data: { n: 1 }, own: 2 },
      reason: 'HTTP 503',
      httpCode: 503,
      connectionType: 'long-polling',
      transport: { status: 503 },
    },
  })
  t.equal(cometd.getStatus(), 'connected')
})

t.test('what the server refuses comes as it said it, without a failure', async t => {
  const page = openPage()
  const { cometd, world } = page
  await connect(page)
  const seen: Message[] = []
  const heard: unknown[] = []
  cometd.subscribe(
    '/closed',
    message => heard.push(message),
    message => seen.push(message),
  )
  await turn()
  await answered(world.take('/meta/subscribe'), { successful: false, error: '403:denied:subscribe_denied' })
  t.match(seen, [
    { channel: '/meta/subscribe', subscription: '/closed', successful: false, error: '403:denied:subscribe_denied' },
  ])
  t.notOk('failure' in seen[0]!)
  cometd.subscribe('/closed', () => {})
  await turn()
  t.match(
    world.take('/meta/subscribe').messages,
    [{ subscription: '/closed' }],
    'it is no subscription, so the next one asks again',
  )
})

t.test('a publish to a session that is no more fails and is not sent again; the connect begins the next session', async t => {
  const page = openPage()
  const { cometd, world } = page
  const held = await connect(page)
  const replies: Message[] = []
  cometd.subscribe('/dead', () => {})
  await turn()
  await answered(world.take('/meta/subscribe'))
  cometd.publish('/a', 1, message => replies.push(message))
  await turn()
  await answered(world.take('/a'), { successful: false, error: '402::session_unknown' })
  t.match(replies, [{ successful: false, error: '402::session_unknown' }])
  t.equal(cometd.getStatus(), 'connected')
  const failed: Message[] = []
  cometd.addListener('/meta/connect', message => failed.push(message))
  await held.answer([
    {
      channel: '/meta/connect',
      id: held.messages[0]!.id,
      successful: false,
      error: '402::session_unknown',
      advice: { reconnect: 'handshake', interval: 0 },
    },
  ])
  t.match(failed, [{ successful: false, error: '402::session_unknown' }])
  t.equal(cometd.getStatus(), 'handshaking')
  let reestablished: unknown
  cometd.addListener('/meta/handshake', message => {
    reestablished = message.reestablish
  })
  await greet(page, { clientId: 'c2' })
  t.equal(reestablished, true)
  t.same(
    world.asked.flatMap(({ messages }) => messages.map(message => message.channel)),
    [],
    'neither the publish nor the subscription is sent again',
  )
})

t.test('of sessions lost as soon as they begin the first is replaced at once, the next after a pause', async t => {
  const page = openPage({ backoffIncrement: 1_000 })
  const { cometd, world } = page
  const lose = async (asked: Asked): Promise<void> => {
    await answered(asked, { successful: false, error: '402::session_unknown', advice: { reconnect: 'handshake', interval: 0 } })
  }
  cometd.handshake()
  await lose(await greet(page))
  await lose(await greet(page))
  await world.pass(400)
  t.same(world.asked, [])
  await world.pass(200)
  await greet(page)
  t.equal(cometd.getStatus(), 'connected')
})

t.test('a failed handshake is made again at once, then after growing pauses; a success resets them', async t => {
  const page = openPage({ backoffIncrement: 1_000, maxBackoff: 2_000 })
  const { cometd, world } = page
  const failed: unknown[] = []
  const transports: unknown[] = []
  cometd.addListener('/meta/handshake', message => failed.push(message.failure?.httpCode))
  cometd.onTransportException = (failure, from, to) => transports.push([failure.httpCode, from, to])
  cometd.handshake()
  await turn()
  await world.take('/meta/handshake').answer('', 500)
  t.same(failed, [500])
  t.same(transports, [[500, 'long-polling', 'long-polling']])
  t.equal(cometd.getBackoffPeriod(), 1_000)
  await world.pass(10)
  await world.take('/meta/handshake').answer('', 500)
  t.equal(cometd.getBackoffPeriod(), 2_000)
  await world.pass(400)
  t.equal(world.asked.length, 0)
  await world.pass(700)
  await world.take('/meta/handshake').answer('', 500)
  t.equal(cometd.getBackoffPeriod(), 2_000, 'no more than the limit')
  await world.pass(2_100)
  await greet(page)
  t.equal(cometd.getBackoffPeriod(), 0)
  t.equal(cometd.increaseBackoffPeriod(), 1_000)
  cometd.setBackoffIncrement(50)
  t.equal(cometd.getBackoffIncrement(), 50)
  cometd.resetBackoffPeriod()
  t.equal(cometd.getBackoffPeriod(), 0)
})

t.test('a handshake that is refused for good ends it; one that may be made again is', async t => {
  const page = openPage()
  const { cometd, world } = page
  const seen: Message[] = []
  cometd.handshake(message => seen.push(message))
  await turn()
  await answered(world.take('/meta/handshake'), {
    successful: false,
    error: '403::handshake_denied',
    advice: { reconnect: 'none' },
  })
  t.match(seen, [{ successful: false, error: '403::handshake_denied' }])
  t.equal(cometd.getStatus(), 'disconnected')
  cometd.handshake()
  await turn()
  await answered(world.take('/meta/handshake'), { successful: false, advice: { reconnect: 'handshake' } })
  await world.pass(10)
  await greet(page)
  t.equal(cometd.getStatus(), 'connected')
})

t.test('a handshake reply without a transport that both have fails, and ends it', async t => {
  const page = openPage()
  const seen: Message[] = []
  const transports: unknown[] = []
  page.cometd.addListener('/meta/handshake', message => seen.push(message))
  page.cometd.onTransportException = (_failure, from, to) => transports.push([from, to])
  page.cometd.handshake()
  await turn()
  await answered(page.world.take('/meta/handshake'), { ...GREETED, supportedConnectionTypes: ['smoke'] })
  t.same(transports, [['long-polling', null]])
  t.match(seen, [{ successful: false, failure: { reason: /Could not negotiate transport/ } }])
  t.equal(page.cometd.getStatus(), 'disconnected')
})

t.test('what is published while the connection is broken leaves when it is back', async t => {
  const page = openPage({ maxNetworkDelay: 10_000 })
  const { cometd, world } = page
  const held = await connect(page)
  const connects: unknown[] = []
  cometd.addListener('/meta/connect', message => connects.push([message.successful, message.failure?.reason]))
  await held.fail('network')
  t.match(connects, [[false, /network/]])
  t.equal(cometd.getStatus(), 'connecting')
  let reply: Message | undefined
  cometd.publish('/a', 1, message => {
    reply = message
  })
  await world.pass(3_000)
  const again = world.take('/meta/connect')
  t.equal(world.asked.length, 0, 'it waits')
  const failures: unknown[] = []
  t.equal(cometd.getBackoffPeriod(), 1_000)
  await answered(again)
  t.equal(cometd.getBackoffPeriod(), 0)
  await answered(world.take('/a'))
  t.match(reply, { successful: true })
  cometd.addListener('/meta/unsuccessful', message => failures.push(message))
  await world.pass(10_000)
  t.same(failures, [], 'nor does it fail afterwards')
})

t.test('or fails after maxNetworkDelay, and is not sent afterwards', async t => {
  const page = openPage({ maxNetworkDelay: 2_000 })
  const { cometd, world } = page
  const held = await connect(page)
  await held.fail('network')
  const replies: Message[] = []
  cometd.publish('/a', 1, message => replies.push(message))
  cometd.remoteCall('b', 1, 0, message => replies.push(message))
  await world.pass(2_001)
  t.match(replies, [
    { channel: '/a', successful: false, failure: { message: { channel: '/a', data: 1 }, reason: 'The connection is broken' } },
    { channel: '/service/b', successful: false },
  ])
  const again = world.take('/meta/connect')
  await answered(again)
  t.throws(() => world.take('/a'), /nothing was sent/)
})

t.test('a server that does not answer in time: listeners of the transport hear of it first', async t => {
  const page = openPage({ maxNetworkDelay: 1_000 })
  const { cometd, world } = page
  await connect(page)
  const order: unknown[] = []
  const late = (messages: Message[]): void => void order.push(messages.map(message => message.channel))
  cometd.addTransportListener('timeout', late)
  cometd.publish('/a', 1, message => order.push(message.failure?.reason))
  await world.pass(1_001)
  t.same(order, [['/a'], 'TIMEOUT'])
  t.ok(cometd.removeTransportListener('timeout', late))
  t.notOk(cometd.removeTransportListener('timeout', late))
})

t.test('a message that is too long, or that is no JSON, fails alone; what the half does not take fails too', async t => {
  const page = openPage({ maxSendBayeuxMessageSize: 200 })
  const { cometd, world } = page
  await connect(page)
  const failures: unknown[] = []
  const note = (message: Message): void => void failures.push(String(message.failure?.exception))
  const round: Record<string, unknown> = {}
  round['self'] = round
  cometd.batch(() => {
    cometd.publish('/long', 'x'.repeat(300), note)
    cometd.publish('/round', round, note)
    cometd.publish('/fine', 1)
  })
  cometd.send({ channel: '/meta/other', id: 'mine' })
  cometd.addListener('/meta/unsuccessful', message => message.id === 'mine' && note(message))
  await world.pass(1)
  t.match(failures, [/maxSendBayeuxMessageSize 200 exceeded/, /circular/, /not a channel to use/])
  t.same(
    world.take('/fine').messages.map(message => message.channel),
    ['/fine'],
  )
})

t.test('a remote call whose time is up fails with 406::timeout; an answer after that goes to listeners', async t => {
  const page = openPage()
  const { cometd, world } = page
  const held = await connect(page)
  const seen: Message[] = []
  const heard: unknown[] = []
  cometd.addListener('/service/slow', message => heard.push(message.data))
  cometd.remoteCall('slow', { n: 1 }, 500, message => seen.push(message))
  await turn()
  const asked = world.take('/service/slow')
  await answered(asked)
  await world.pass(501)
  t.match(seen, [
    { successful: false, error: '406::timeout', failure: { reason: 'Remote Call Timeout', message: { data: { n: 1 } } } },
  ])
  await held.answer([
    { channel: '/service/slow', id: asked.messages[0]!.id, data: 'late', successful: true },
    { channel: '/meta/connect', id: held.messages[0]!.id, successful: true },
  ])
  t.same([seen.length, heard], [1, ['late']])
})

t.test('an answer on a service channel that passes for the reply is heard, and the callback is called', async t => {
  const page = openPage()
  const { cometd, world } = page
  await connect(page)
  const heard: unknown[] = []
  const replies: Message[] = []
  cometd.addListener('/service/echo', message => heard.push(message.data))
  cometd.publish('/service/echo', 1, message => replies.push(message))
  await turn()
  const asked = world.take('/service/echo')
  const { id } = asked.messages[0]!
  await asked.answer([
    { channel: '/service/echo', id, data: 1, successful: true },
    { channel: '/service/echo', id, successful: true },
  ])
  t.same(heard, [1])
  t.match(replies, [{ channel: '/service/echo', successful: true, data: undefined }])
})

t.test('outgoing extensions run in the reverse order, see the message as it leaves, and do not own its id', async t => {
  const page = openPage()
  const { cometd, world } = page
  const held = await connect(page)
  const order: string[] = []
  cometd.registerExtension('first', {
    outgoing: message => {
      order.push(`first ${message.clientId} ${message['by']}`)
      return { ...message, id: 'stolen', extra: 1 }
    },
    incoming: message => {
      order.push(`first ${message.channel}`)
    },
  })
  cometd.registerExtension('second', {
    outgoing: message => {
      order.push('second')
      message['by'] = 'second'
    },
    incoming: message => {
      order.push('second in')
      return message.channel === '/dropped' ? null : message
    },
  })
  let reply: Message | undefined
  cometd.startBatch()
  cometd.publish('/a', 1, message => {
    reply = message
  })
  t.same(order, [], 'not before it is sent')
  cometd.endBatch()
  await turn()
  const asked = world.take('/a')
  t.match(asked.messages, [{ channel: '/a', data: 1, by: 'second', extra: 1, clientId: 'c1' }])
  t.same(order, ['second', 'first c1 second'])
  await answered(asked)
  t.match(reply, { channel: '/a', successful: true })
  t.not(reply?.id, 'stolen')
  const heard: unknown[] = []
  for (const channel of ['/dropped', '/heard']) cometd.addListener(channel, message => heard.push(message.channel))
  order.length = 0
  await held.answer([
    { channel: '/dropped', data: 1 },
    { channel: '/heard', data: 1 },
    { channel: '/meta/connect', id: held.messages[0]!.id, successful: true },
  ])
  t.same(heard, ['/heard'])
  t.same(order.slice(0, 2), ['first /dropped', 'second in'], 'incoming ones run in order')
})

t.test('a reply that an extension drops is heard by nobody, and the session goes on', async t => {
  const page = openPage()
  const { cometd, world } = page
  cometd.registerExtension('deaf', { incoming: message => (message.channel.startsWith('/meta/') ? null : message) })
  const heard: unknown[] = []
  cometd.addListener('/meta/*', message => heard.push(message))
  const held = await connect(page)
  await answered(held)
  t.equal(world.take('/meta/connect').messages[0]?.clientId, 'c1')
  t.same(heard, [])
})

t.test('receive takes a message as if it had come; send sends one as it is', async t => {
  const page = openPage()
  const { cometd, world } = page
  await connect(page)
  const heard: unknown[] = []
  cometd.addListener('/a', message => heard.push(message.data))
  cometd.addListener('/meta/connect', message => heard.push(message.id))
  cometd.receive({ channel: '/a', data: 1 })
  cometd.receive({ channel: '/meta/connect', id: 'x', successful: true })
  t.same(heard, [1, 'x'])
  cometd.addListener('/meta/subscribe', message => heard.push([message.id, message.subscription]))
  cometd.send({ channel: '/meta/subscribe', id: 'array', subscription: ['/b', '/c'] })
  await turn()
  const asked = world.take('/meta/subscribe')
  t.match(asked.messages, [{ subscription: ['/b', '/c'] }])
  await answered(asked)
  t.same(heard[2], ['array', ['/b', '/c']])
})

t.test('a disconnect that cannot reach the server fails, and it is over all the same', async t => {
  for (const during of ['handshake', 'session']) {
    const page = openPage()
    const { cometd, world } = page
    if (during === 'session') await connect(page)
    else cometd.handshake()
    await turn()
    const seen: Message[] = []
    const queued: Message[] = []
    cometd.startBatch()
    cometd.publish('/queued', 1, message => queued.push(message))
    cometd.disconnect(message => seen.push(message))
    await turn()
    if (during === 'session') await world.take('/meta/disconnect').fail('network')
    await turn()
    t.match(
      seen,
      [{ channel: '/meta/disconnect', successful: false, failure: { message: { channel: '/meta/disconnect' } } }],
      during,
    )
    t.match(queued, [{ channel: '/queued', successful: false, failure: { reason: 'Disconnected' } }])
    t.equal(cometd.getStatus(), 'disconnected')
  }
})

t.test('a batch in which the client disconnects is over with it', async t => {
  const { cometd } = openPage()
  cometd.handshake()
  t.doesNotThrow(() => cometd.batch(() => cometd.disconnect()))
  t.equal(cometd.getStatus(), 'disconnected')
})

t.test('sent away over a WebSocket: the released connect is heard, then the end; nothing more is sent', async t => {
  const page = openPage({}, true)
  const { cometd, world } = page
  cometd.handshake()
  await turn()
  const [socket] = world.sockets
  t.equal(socket?.url, 'ws://server/cometd')
  await socket?.open()
  await socket?.say({ ...GREETED, id: socket.messages[0]?.id })
  await socket?.say({ channel: '/meta/connect', id: socket.messages[1]?.id, successful: true })
  const heard: string[] = []
  cometd.addListener('/meta/*', message => heard.push(message.channel))
  await socket?.say({ channel: '/meta/disconnect', successful: true })
  await socket?.say({ channel: '/meta/connect', id: socket.messages[2]?.id, successful: true, advice: { reconnect: 'none' } })
  t.same(heard, ['/meta/connect', '/meta/disconnect'])
  t.equal(cometd.getStatus(), 'disconnected')
  await world.pass(60_000)
  t.same([world.sockets.length, socket?.messages.length], [1, 3])
})

t.test('sent away while a connect is on its way: its refusal does not bring the client back', async t => {
  const page = openPage()
  const { cometd, world } = page
  const held = await connect(page)
  const heard: unknown[] = []
  for (const channel of ['/meta/connect', '/meta/disconnect', '/meta/handshake'])
    cometd.addListener(channel, message => heard.push([channel, message.successful]))
  cometd.publish('/service/kick', {})
  await turn()
  const asked = world.take('/service/kick')
  await asked.answer([
    { channel: '/meta/disconnect', successful: true },
    { channel: '/service/kick', id: asked.messages[0]!.id, successful: true },
  ])
  await held.answer([
    {
      channel: '/meta/connect',
      id: held.messages[0]!.id,
      successful: false,
      error: '402::session_unknown',
      advice: { reconnect: 'handshake', interval: 0 },
    },
  ])
  t.same(heard, [
    ['/meta/connect', false],
    ['/meta/disconnect', true],
  ])
  t.equal(cometd.getStatus(), 'disconnected')
  await world.pass(10_000)
  t.same(world.asked, [])
})

t.test("sent away, and nothing more comes: after a while it is over, by the server's word", async t => {
  const page = openPage()
  const { cometd, world } = page
  await connect(page)
  const heard: unknown[] = []
  cometd.addListener('/meta/disconnect', message => heard.push(message))
  cometd.publish('/service/kick', {})
  await turn()
  const asked = world.take('/service/kick')
  await asked.answer([{ channel: '/meta/disconnect', successful: true, data: 'why' }])
  await world.pass(3_001)
  await answered(world.take('/meta/disconnect'), { successful: false, error: '402::session_unknown' })
  t.match(heard, [{ channel: '/meta/disconnect', successful: true, data: 'why', id: undefined }])
  t.equal(cometd.getStatus(), 'disconnected')
})

t.test('a WebSocket that breaks in the pause between two connects is told of as a failed connect', async t => {
  const page = openPage({}, true)
  const { cometd, world } = page
  cometd.handshake()
  await turn()
  const [socket] = world.sockets
  await socket?.open()
  await socket?.say({ ...GREETED, id: socket.messages[0]?.id })
  const advice = { reconnect: 'retry', interval: 5_000 }
  await socket?.say({ channel: '/meta/connect', id: socket.messages[1]?.id, successful: true, advice })
  await world.pass(1_000)
  t.equal(socket?.messages.length, 2, 'it waits, as it was advised')
  const failures: unknown[] = []
  cometd.addListener('/meta/connect', message => failures.push([message.successful, message.failure?.websocketCode]))
  await socket?.breaks(1001, 'away')
  t.same(failures, [[false, 1001]])
})

t.test('a listener that was removed by one before it hears nothing', t => {
  const { cometd } = openPage()
  const heard: string[] = []
  cometd.addListener('/a', () => {
    heard.push('first')
    cometd.removeListener(second)
  })
  const second = cometd.addListener('/a', () => heard.push('second'))
  cometd.receive({ channel: '/a', data: 1 })
  t.same(heard, ['first'])
  t.end()
})

t.test('a remote call that an extension drops has no answer, not even that its time is up', async t => {
  const page = openPage()
  await connect(page)
  page.cometd.registerExtension('drop', { outgoing: ({ channel }) => (channel === '/service/a' ? null : undefined) })
  let answers = 0
  page.cometd.remoteCall('a', 1, 50, () => answers++)
  await page.world.pass(100)
  t.equal(answers, 0)
  t.same(page.world.asked, [])
})

t.test('sent away, and the connect is never released: it is over all the same', async t => {
  const page = openPage({}, true)
  const { cometd, world } = page
  cometd.handshake()
  await turn()
  const [socket] = world.sockets
  await socket?.open()
  await socket?.say({ ...GREETED, id: socket.messages[0]?.id })
  await socket?.say({ channel: '/meta/connect', id: socket.messages[1]?.id, successful: true })
  let gone = 0
  cometd.addListener('/meta/disconnect', () => gone++)
  await socket?.say({ channel: '/meta/disconnect', successful: true })
  await socket?.breaks(1000, 'Disconnect')
  await world.pass(20_000)
  t.equal(cometd.getStatus(), 'disconnected')
  t.equal(gone, 1)
  t.equal(world.sockets.length, 1)
})

t.test('a WebSocket that breaks: the connect fails with its code, the next is made over a new one', async t => {
  const page = openPage({ protocol: 'bayeux' }, true)
  const { cometd, world } = page
  cometd.handshake()
  await turn()
  const [socket] = world.sockets
  t.same(socket?.protocols, ['bayeux'])
  await socket?.open()
  await socket?.say({ ...GREETED, id: socket.messages[0]?.id })
  await socket?.say({ channel: '/meta/connect', id: socket.messages[1]?.id, successful: true })
  const failures: unknown[] = []
  cometd.addListener('/meta/unsuccessful', message =>
    failures.push([message.channel, message.failure?.websocketCode, message.failure?.reason]),
  )
  cometd.publish('/a', 1)
  await socket?.breaks(1006, 'snapped')
  t.same(failures, [
    ['/meta/connect', 1006, 'snapped'],
    ['/a', 1006, 'snapped'],
  ])
  await world.pass(1_000)
  await world.sockets[1]?.open()
  t.match(world.sockets[1]?.messages, [{ channel: '/meta/connect', clientId: 'c1', advice: { timeout: 0 } }])
})

t.test('stickyReconnect false: after a WebSocket that broke comes long-polling', async t => {
  const page = openPage({ stickyReconnect: false }, true)
  const { cometd, world } = page
  cometd.handshake()
  await turn()
  const [socket] = world.sockets
  await socket?.open()
  await socket?.say({ ...GREETED, id: socket.messages[0]?.id })
  await socket?.say({ channel: '/meta/connect', id: socket.messages[1]?.id, successful: true })
  await socket?.breaks(1006, '')
  await world.pass(2_000)
  t.match(world.take().messages, [{ channel: '/meta/connect', clientId: 'c1', connectionType: 'long-polling' }])
  t.equal(world.sockets.length, 1)
})

t.test('transports are registered once, in the order of preference, and leave with their name', async t => {
  const { cometd, world } = openPage({}, true)
  t.same(cometd.getTransportTypes(), ['websocket', 'long-polling', 'callback-polling'])
  t.notOk(cometd.registerTransport('long-polling', new LongPollingTransport()))
  const old = cometd.unregisterTransport('long-polling')
  t.equal(old?.type, null)
  t.equal(cometd.unregisterTransport('long-polling'), null)
  t.ok(cometd.registerTransport('long-polling', new LongPollingTransport(), 0))
  t.same(cometd.getTransportTypes(), ['long-polling', 'websocket', 'callback-polling'])
  t.equal(cometd.findTransport('long-polling')?.getType(), 'long-polling')
  t.equal(cometd.getTransportRegistry().negotiateTransport(['websocket'], '1.0', false, URL_)?.type, 'websocket')
  t.equal(cometd.getTransportRegistry().negotiateTransport(['smoke'], '1.0', false, URL_), null)
  cometd.handshake()
  await turn()
  t.match(world.take().messages, [{ supportedConnectionTypes: ['long-polling'] }], 'the first choice is taken')
  t.same(world.sockets, [])
  cometd.unregisterTransports()
  const none = openPage()
  none.cometd.unregisterTransports()
  t.throws(() => none.cometd.handshake(), /Could not find initial transport among/)
})

t.test('websocketEnabled false: no WebSocket', async t => {
  const { cometd, world } = openPage({}, true)
  cometd.websocketEnabled = false
  cometd.handshake()
  await turn()
  t.match(world.take().messages, [{ supportedConnectionTypes: ['long-polling'] }])
  t.same(world.sockets, [])
})

t.test('a page that brings its own xhrSend makes the requests, derived from ours or as a subclass', async t => {
  const packets: Packet[] = []
  const send = (packet: Packet) => {
    packets.push(packet)
    return { status: 200, abort: () => {} }
  }
  const derived = Transport.derive(new LongPollingTransport())
  derived.xhrSend = send
  class Own extends LongPollingTransport {
    override xhrSend(packet: Packet) {
      return send(packet)
    }
  }
  for (const transport of [derived, new Own()]) {
    packets.length = 0
    const { cometd } = openPage({ requestHeaders: { 'X-One': '1' } })
    if (transport !== derived) cometd.unregisterTransport('long-polling')
    t.ok(cometd.registerTransport('long-polling', transport), 'a derived one takes the place of ours')
    cometd.handshake()
    await turn()
    const [packet] = packets
    t.match(packet, { transport, url: `${URL_}/handshake`, sync: false, headers: { 'X-One': '1' } })
    const [message] = JSON.parse(packet!.body)
    packet?.onSuccess([{ ...GREETED, id: message.id }]) // parsed, as jQuery gives it
    for (let i = 0; i < 5; i++) await turn()
    t.equal(cometd.getClientId(), 'c1')
    const failed: unknown[] = []
    cometd.addListener('/meta/connect', reply => failed.push([reply.failure?.httpCode, reply.failure?.reason]))
    packets[1]?.onError('no way')
    for (let i = 0; i < 5; i++) await turn()
    t.match(failed, [[0, /no way/]])
  }
})

t.test('a subclass may leave the request to the XMLHttpRequest of its parent', async t => {
  class Fake {
    static readonly made: Fake[] = []
    withCredentials = false
    status = 0
    statusText = ''
    responseText = ''
    readonly said: unknown[] = []
    onload = (): void => {}
    onerror = (): void => {}
    constructor() {
      Fake.made.push(this)
    }
    open(...given: unknown[]): void {
      this.said.push(given)
    }
    setRequestHeader(...given: unknown[]): void {
      this.said.push(given)
    }
    send(body: string): void {
      this.said.push(JSON.parse(body)[0].channel)
    }
    abort(): void {}
  }
  Object.assign(globalThis, { XMLHttpRequest: Fake })
  t.teardown(() => Reflect.deleteProperty(globalThis, 'XMLHttpRequest'))
  class Own extends LongPollingTransport {
    override xhrSend(packet: Packet) {
      return super.xhrSend({ ...packet, headers: { 'X-Own': '1' } })
    }
  }
  const { cometd } = openPage()
  cometd.unregisterTransport('long-polling')
  cometd.registerTransport('long-polling', new Own())
  const failed: unknown[] = []
  cometd.addListener('/meta/unsuccessful', message => failed.push([message.channel, message.failure?.httpCode]))
  cometd.handshake()
  await turn()
  const [first] = Fake.made
  t.same(first?.said, [
    ['POST', `${URL_}/handshake`, true],
    ['X-Own', '1'],
    ['Content-Type', 'application/json'],
    '/meta/handshake',
  ])
  t.ok(first?.withCredentials, 'with the cookies of a server elsewhere')
  Object.assign(first!, { status: 200, responseText: JSON.stringify([{ ...GREETED, id: '1' }]) }).onload()
  for (let i = 0; i < 5; i++) await turn()
  Object.assign(Fake.made[1]!, { status: 502, statusText: 'Bad Gateway' }).onload()
  for (let i = 0; i < 5; i++) await turn()
  t.same(failed, [['/meta/connect', 502]])
})

t.test('callback-polling: a message too long for a URL fails alone, the rest of its batch is sent', async t => {
  const scripts: { src: string }[] = []
  const element = (): object => ({ src: '', remove: () => {} })
  const head = { append: (script: { src: string }) => void scripts.push(script) }
  Object.assign(globalThis, { document: { baseURI: 'http://server/page', createElement: element, head } })
  t.teardown(() => Reflect.deleteProperty(globalThis, 'document'))
  const { cometd, world } = openPage({ url: '/cometd', maxURILength: 500 })
  cometd.unregisterTransport('long-polling')
  const sent = (): Message[] => JSON.parse(new URL(scripts.at(-1)!.src).searchParams.get('message')!)
  const answer = async (...messages: object[]): Promise<void> => {
    const name = new URL(scripts.at(-1)!.src).searchParams.get('jsonp')!
    ;(globalThis as unknown as Record<string, (messages: object[]) => void>)[name]!(messages)
    await turn()
  }
  cometd.handshake()
  await turn()
  await answer({ ...GREETED, id: sent()[0]!.id, supportedConnectionTypes: ['callback-polling'] })
  t.match(sent(), [{ channel: '/meta/connect', connectionType: 'callback-polling' }])
  const failures: unknown[] = []
  cometd.batch(() => {
    cometd.publish('/long', 'x'.repeat(500), message => failures.push(String(message.failure?.exception)))
    cometd.publish('/fine', 1)
  })
  await world.pass(1)
  t.match(failures, [/Bayeux message too big \(\d+ bytes, max is 500\) for transport callback-polling/])
  t.match(sent(), [{ channel: '/fine', data: 1 }])
})

t.test('an extension may give other handshakes and connects, but none', async t => {
  const page = openPage()
  page.cometd.registerExtension('other', {
    outgoing: message => (message.channel === '/meta/connect' ? null : { channel: message.channel, version: '1.0', own: 1 }),
  })
  page.cometd.handshake()
  await turn()
  t.match(page.world.asked[0]?.messages, [{ channel: '/meta/handshake', own: 1, id: String }])
  t.notOk('supportedConnectionTypes' in page.world.asked[0]!.messages[0]!)
  t.match((await greet(page)).messages, [{ channel: '/meta/connect', clientId: 'c1' }])
})

t.test('a transport has a type while it is registered, and a URL if it is given one', t => {
  const transport = new LongPollingTransport()
  const { cometd } = openPage()
  cometd.unregisterTransports()
  cometd.registerTransport('long-polling', transport)
  t.equal(String(transport), 'long-polling')
  t.equal(transport.cometd, cometd)
  transport.setURL('http://own')
  t.equal(transport.getURL(), 'http://own')
  t.equal(cometd.unregisterTransport('long-polling'), transport)
  t.equal(transport.cometd, null)
  t.end()
})

t.test('with acks a message that comes twice is delivered once; ackEnabled false does without', async t => {
  const page = openPage()
  page.cometd.registerExtension('ack', new AckExtension())
  const held = await connect(page, { ext: { ack: true } })
  t.match(held.messages, [{ ext: { ack: 0 } }])
  const heard: unknown[] = []
  page.cometd.addListener('/a', message => heard.push(message.data))
  await held.answer([
    { channel: '/a', data: 1 },
    { channel: '/meta/connect', id: held.messages[0]!.id, successful: true, ext: { ack: 7 } },
  ])
  t.same(heard, [1])
  t.match(page.world.take('/meta/connect').messages, [{ ext: { ack: 7 } }])
  const without = openPage()
  without.cometd.registerExtension('ack', new AckExtension())
  without.cometd.ackEnabled = false
  without.cometd.handshake()
  await turn()
  t.equal(without.world.take().messages[0]?.ext, undefined)
})

t.test('a page that called reload leaves its session to the next one', async t => {
  const world = new World(false)
  const first = openPage({}, false, world)
  first.cometd.registerExtension('reload', new ReloadExtension({ name: 'com.acme' }))
  await connect(first, { own: 'field' })
  world.page('leave')
  t.same([...world.kept.keys()], [], 'not without having called it')
  first.cometd.reload?.()
  t.same([...world.kept.keys()], ['com.acme'])
  world.asked.length = 0

  const other = openPage({ url: 'http://other/cometd' }, false, world)
  other.cometd.registerExtension('reload', new ReloadExtension({ name: 'com.acme' }))
  const kept = world.kept.get('com.acme')!
  other.cometd.handshake()
  await turn()
  t.equal(world.take().messages[0]?.channel, '/meta/handshake', 'another server is another session')
  world.kept.set('com.acme', kept)

  const second = openPage({}, false, world)
  const extension = new ReloadExtension()
  second.cometd.registerExtension('reload', extension)
  extension.configure({ name: 'com.acme' })
  const replies: Message[] = []
  second.cometd.handshake({ own: 1 }, message => replies.push(message))
  t.equal(second.cometd.getStatus(), 'handshaking')
  second.cometd.publish('/early', 1)
  t.same(replies, [], 'handshake returns before its callback is called')
  await world.pass(1)
  t.match(replies, [
    { channel: '/meta/handshake', successful: true, clientId: 'c1', own: 'field', ext: { reload: true }, reestablish: false },
  ])
  t.equal(second.cometd.getStatus(), 'connected')
  t.match(world.take('/meta/connect').messages, [{ clientId: 'c1' }])
  t.match(world.take('/early').messages, [{ clientId: 'c1' }])
  t.same([...world.kept.keys()], [])
  second.cometd.unregisterExtension('reload')
  t.equal(second.cometd.reload, undefined)
})

t.test('timers ring once, or not at all; what they throw stays theirs', async t => {
  const { cometd, world } = openPage()
  const rung: number[] = []
  cometd.setTimeout(() => rung.push(1), 10)
  const off = cometd.setTimeout(() => rung.push(2), 10)
  cometd.setTimeout(() => {
    throw new Error('mine')
  }, 10)
  cometd.clearTimeout(off)
  await world.pass(20)
  t.same(rung, [1])
})

t.test('clearListeners and clearSubscriptions ask the server nothing', async t => {
  const page = openPage()
  const { cometd, world } = page
  const held = await connect(page)
  const heard: unknown[] = []
  cometd.subscribe('/a', () => heard.push('subscriber'))
  cometd.addListener('/a', () => heard.push('listener'))
  await turn()
  await answered(world.take('/meta/subscribe'))
  cometd.clearSubscriptions()
  await held.answer([
    { channel: '/a', data: 1 },
    { channel: '/meta/connect', id: held.messages[0]!.id, successful: true },
  ])
  t.same(heard, ['listener'])
  cometd.clearListeners()
  cometd.receive({ channel: '/a', data: 1 })
  t.same(heard, ['listener'])
  world.take('/meta/connect')
  t.same(world.asked, [])
})

t.test('the clock of the server: offset and lag are means of the last samples', t => {
  const sync = new TimeSyncExtension({ maxSamples: 2 })
  for (const offset of [5_000, 1_000, 3_000]) {
    const tc = Date.now() - 20
    sync.incoming({ channel: '/meta/connect', ext: { timesync: { tc, ts: tc + 10 + offset, p: 0 } } })
  }
  t.ok(Math.abs(sync.getTimeOffset() - 2_000) < 20)
  t.ok(Math.abs(sync.getNetworkLag() - 10) < 20)
  sync.incoming({ channel: '/meta/connect', ext: { timesync: { tc: 'spoilt' } } })
  t.ok(Math.abs(sync.getTimeOffset() - 2_000) < 20, 'what is no time is no sample')
  sync.unregistered()
  t.equal(sync.getTimeOffset(), 0)
  t.end()
})

t.test("bytes of every kind become text and bytes again; the application's object stays as it is", t => {
  const bytes = Uint8Array.of(1, 2, 3, 4, 5)
  for (const form of [
    bytes,
    [1, 2, 3, 4, 5],
    bytes.buffer,
    new DataView(bytes.buffer),
    new Uint16Array(bytes.buffer.slice(0, 4)),
  ])
    t.equal(Z85.encode(form).slice(0, 5), '0rJua')
  t.equal(Z85.encode(new Uint8Array([9, 1, 2, 3]).subarray(1)), '0rJu', 'a view is only what it views')
  t.same([...new Uint8Array(Z85.decode('0rJua1P'))], [1, 2, 3, 4, 5])
  t.throws(() => Z85.encode('text' as never), /Cannot Z85 encode/)
  const data = { data: bytes, last: true }
  const sent = new BinaryExtension().outgoing({ channel: '/a', data, ext: { binary: {} } })
  t.equal(sent.data.data, '0rJua1P')
  t.equal(data.data, bytes)
  t.end()
})

t.test('what is logged depends on the level; extensions log through the client', t => {
  const lines: string[] = []
  const { debug, info, warn } = console
  t.teardown(() => Object.assign(console, { debug, info, warn }))
  for (const level of ['debug', 'info', 'warn'] as const)
    console[level] = (_time: string, ...words: unknown[]) => lines.push([level, ...words].join(' '))
  const { cometd } = openPage()
  cometd.setLogLevel('info')
  t.equal(cometd.getLogLevel(), 'info')
  cometd._debug('one')
  cometd._info('two')
  cometd._warn('three')
  t.same(lines, ['info two', 'warn three'])
  t.same(cometd._mixin(true, undefined, { a: { b: 1 }, list: [1] }, { a: { c: 2 }, gone: undefined }), {
    a: { b: 1, c: 2 },
    list: [1],
  })
  t.match(cometd.getConfiguration(), { url: URL_, maxConnections: 2, logLevel: 'info' })
  t.end()
})

const SCRIPT = readFileSync('build/lib/browser/cometd.js', 'utf8')

t.test('cometd.js sets org.cometd; the script files of the extensions that come after it change nothing', t => {
  t.comment(`cometd.js: ${SCRIPT.length} bytes, ${gzipSync(SCRIPT, { level: 9 }).length} gzipped`)
  const page = createContext({ org: { other: 1 }, URL, console })
  runInContext(SCRIPT, page)
  const names = runInContext('Object.keys(org.cometd)', page) as string[]
  for (const name of ['CometD', 'AckExtension', 'Transport', 'LongPollingTransport', 'Utils', 'Z85', 'JSON', 'COOKIE'])
    t.ok(names.includes(name), name)
  t.equal(runInContext('org.other', page), 1, 'what else is there stays')
  const own = runInContext('org.cometd.AckExtension', page)
  for (const file of ['AckExtension', 'ReloadExtension', 'BinaryExtension', 'TimeStampExtension', 'TimeSyncExtension'])
    for (const version of ['cometd3', 'cometd7', 'cometd-jquery/org/cometd'])
      if (!version.includes('jquery') || file !== 'BinaryExtension')
        runInContext(readFileSync(`node_modules/${version}/${file}.js`, 'utf8'), page)
  t.equal(runInContext('org.cometd.AckExtension', page), own)
  t.ok(
    runInContext(
      'org.cometd.Utils.isString("") && org.cometd.Utils.isArray([]) && org.cometd.Utils.inArray(2, [1, 2]) === 1',
      page,
    ),
  )
  t.end()
})

t.test('cometd.js is a module for AMD loaders', t => {
  const defined: unknown[][] = []
  const define = Object.assign((...given: unknown[]) => defined.push(given), { amd: {} })
  const page = createContext({ define, URL, console })
  runInContext(SCRIPT, page)
  t.equal(runInContext('typeof org', page), 'undefined')
  const [[dependencies, factory] = []] = defined
  t.same(dependencies, [])
  t.type((factory as () => { CometD: unknown })().CometD, 'function')
  t.end()
})

// What every real client in a browser must live to see, told once: from its handshake to its kick.
//
// Knows: the rules, the order they are tried in, and how the server sees each step.
// Does not know: the clients; a page's `window.client` speaks for its one.
// Always true: every step waits for an event of the page or the server; that something does not happen is seen by what comes after it.
// Source: protocol reference 3.1 to 3.6, 4.9, 9.1 to 9.3.

import type { Test } from 'tap'
import { type Bayeux, BayeuxSession } from '../../lib/index.js'
import { type Tab, within } from '../support/chromium.js'

/** Times that make a loss of the session quick to see, and still leave a loaded machine room. */
export const TIMES = { timeout: 3_000, maxInterval: 10_000 }

/** What is particular to a client. */
export interface Traits {
  /** The transport it must end up on. */
  readonly transport: 'websocket' | 'long-polling' | 'callback-polling'
  /** `result`: has remote calls, with results and failures; `reply`: sees an answer as a publish's reply; `none`: nothing of the kind. */
  readonly calls: 'result' | 'reply' | 'none'
}

interface Item {
  readonly channel: string
  readonly data: unknown
}

const AWKWARD = 'é 😀 \u2028 \u2029 </script> "\\" <!-- & + %41'
const THIRTY = Array.from({ length: 30 }, (_, i) => i + 1)

/** Lets a page's client live through everything; each assertion is one rule. */
export async function converse(t: Test, tab: Tab, url: string, bayeux: Bayeux, traits: Traits): Promise<void> {
  const server = new Watch(t, bayeux)
  await meet(t, tab, url, server, traits)
  await subscribe(t, tab, bayeux)
  await exchange(t, tab, bayeux, traits)
  await loseSession(t, tab, bayeux, server)
  await part(t, tab, url, bayeux, server, traits)
  t.same(tab.errors, [], 'no script of the page threw')
}

async function meet(t: Test, tab: Tab, url: string, server: Watch, traits: Traits): Promise<void> {
  const clientId = await tab.ask('start', url, traits.transport)
  t.same(clientId, server.begun[0], 'the handshake gives the client the id of a new session')
  t.equal(await tab.ask('transport'), traits.transport, `after the handshake the client takes ${traits.transport}`)
  t.ok(await tab.ask('connected'), 'the answer to the first connect makes the client connected')
}

async function subscribe(t: Test, tab: Tab, bayeux: Bayeux): Promise<void> {
  t.match(await tab.ask('subscribe', '/room/a'), { successful: true }, 'a subscribe to one channel succeeds')
  t.match(await tab.ask('subscribe', '/room/*'), { successful: true }, 'a subscribe to a wildcard of one segment succeeds')
  t.match(await tab.ask('subscribe', '/room/**'), { successful: true }, 'a subscribe to a deep wildcard succeeds')
  t.match(await tab.ask('subscribe', '/list/a', '/list/b'), { successful: true }, 'a subscribe to an array of channels succeeds')

  bayeux.publish('/room/a', 'one')
  bayeux.publish('/room/a/deep', 'two')
  bayeux.publish('/list/b', 'three')
  bayeux.publish('/list/a', 'four')
  await arrived(tab, '/list/a', 'four')
  t.same(await wire(tab, '/room/a'), ['one'], 'a message that matches three subscriptions is sent once')
  t.same(await heardOn(tab, 'one'), ['/room/*', '/room/**', '/room/a'], 'each of the three listeners gets that message')
  t.same(await heardOn(tab, 'two'), ['/room/**'], 'a message two segments down goes to the deep wildcard only')
  t.same(await wire(tab, '/list/b'), ['three'], 'a message to the second channel of the array is delivered')
}

async function exchange(t: Test, tab: Tab, bayeux: Bayeux, traits: Traits): Promise<void> {
  const arrivals: unknown[] = []
  bayeux.on('/talk/own', message => {
    arrivals.push(message.data)
  })
  bayeux.on('/service/tell', (message, session) => {
    if (session instanceof BayeuxSession) session.deliver('/service/tell', message.data)
  })

  await tab.ask('subscribe', '/talk/own')
  t.match(await tab.ask('publish', '/talk/own', { text: AWKWARD }), { successful: true }, 'a publish is acknowledged')
  t.same(arrivals, [{ text: AWKWARD }], 'the server gets the data as the client gave it')
  await arrived(tab, '/talk/own', { text: AWKWARD })
  t.same(await wire(tab, '/talk/own'), [{ text: AWKWARD }], 'the publisher gets its own message back once, to the last character')

  arrivals.length = 0
  await tab.ask('batch', '/talk/own', ['b1', 'b2', 'b3'])
  t.same(arrivals, ['b1', 'b2', 'b3'], 'the messages of a batch come to the server in their order')
  await arrived(tab, '/talk/own', 'b3')
  t.same((await wire(tab, '/talk/own')).slice(1), ['b1', 'b2', 'b3'], 'and back to their publisher in that order, each once')

  await tab.ask('subscribe', '/talk/other')
  const other = bayeux.local('other')
  for (const n of THIRTY) other.publish('/talk/other', n)
  await arrived(tab, '/talk/other', 30)
  t.same(await wire(tab, '/talk/other'), THIRTY, 'thirty messages of another client come in their order, each once')
  other.disconnect()

  t.match(await tab.ask('unsubscribe', '/talk/other'), { successful: true }, 'an unsubscribe succeeds')
  bayeux.publish('/talk/other', 'late')
  bayeux.publish('/talk/own', 'mark')
  await arrived(tab, '/talk/own', 'mark')
  t.same(await wire(tab, '/talk/other'), THIRTY, 'after an unsubscribe nothing more of that channel comes')

  await tab.ask('listen', '/service/tell')
  await tab.ask('publish', '/service/tell', 'me')
  await arrived(tab, '/service/tell', 'me')
  t.same(await heardOn(tab, 'me'), ['/service/tell'], 'what a service delivers is heard without a subscription')

  if (traits.calls === 'none') return
  t.match(await tab.ask('call', 'echo', { n: 1 }), { successful: true, data: { n: 1 } }, 'a remote call gets its result')
  if (traits.calls === 'reply') return
  const failure = { successful: false, data: { error: 'refused' } }
  t.match(await tab.ask('call', 'fail', {}), failure, 'a remote call that the service refuses gets the failure with its data')
}

async function loseSession(t: Test, tab: Tab, bayeux: Bayeux, server: Watch): Promise<void> {
  const before = await tab.ask('clientId')
  await tab.page.evaluate("void client.publish('/service/forget', 1)")
  await tab.until('client.sessions.length === 2', 'a new handshake after the server forgot the session')
  await tab.until("client.subscribed.filter(channel => channel === '/talk/own').length === 2", 'the new subscribe to /talk/own')
  t.not(await tab.ask('clientId'), before, 'a client whose session is unknown handshakes again and gets another id')
  t.equal(server.begun.length, 2, 'it handshakes once')
  bayeux.publish('/talk/own', 'again')
  await arrived(tab, '/talk/own', 'again')
  t.equal(
    (await wire(tab, '/talk/own')).filter(data => data === 'again').length,
    1,
    'in its new session it gets messages, each once',
  )
}

async function part(t: Test, tab: Tab, url: string, bayeux: Bayeux, server: Watch, { transport }: Traits): Promise<void> {
  await tab.ask('disconnect')
  await server.end('disconnected')
  await tab.until('client.stopped()', 'the client to stop after its disconnect')
  t.equal(bayeux.stats().sessions, 0, 'a disconnect ends the session at the server')

  await tab.ask('start', url, transport)
  t.equal(server.begun.length, 3, 'a client that disconnected may come back with a handshake')
  await tab.page.evaluate("void client.publish('/service/kick', 1)")
  await server.end('kicked')
  await tab.until('client.stopped()', 'the client to stop after its kick')
  t.equal(bayeux.stats().sessions, 0, 'a kick ends the session at the server')

  await tab.ask('start', url, transport)
  t.equal(server.begun.length, 4, 'a kicked client stays away until it is told to handshake')
  await tab.ask('disconnect')
  await server.end('disconnected')
}

/** Waits until a message came over the wire. */
async function arrived(tab: Tab, channel: string, data: unknown): Promise<void> {
  const same = `m.channel === ${JSON.stringify(channel)} && JSON.stringify(m.data) === ${JSON.stringify(JSON.stringify(data))}`
  await tab.until(`client.wire.some(m => ${same})`, `${JSON.stringify(data)} on ${channel}`)
}

/** What came over the wire on a channel, in order. */
async function wire(tab: Tab, channel: string): Promise<unknown[]> {
  const items = await tab.read<Item[]>('client.wire')
  return items.filter(item => item.channel === channel).map(item => item.data)
}

/** The subscriptions whose listeners got this data, sorted. */
async function heardOn(tab: Tab, data: unknown): Promise<string[]> {
  const items = await tab.read<{ on: string; data: unknown }[]>('client.heard')
  const on = items.filter(item => item.data === data).map(item => item.on)
  return on.sort()
}

/** The sessions that began, and those that were ended by their client or by a kick. */
export class Watch {
  /** Ids in the order of their handshakes. */
  readonly begun: string[] = []
  readonly #ended: string[] = []
  #wake: () => void = () => {}

  constructor(t: Test, bayeux: Bayeux) {
    t.teardown(bayeux.on('session', session => void this.begun.push(session.id)))
    t.teardown(
      bayeux.on('removed', (_session, reason) => {
        if (reason === 'removed' || reason === 'expired') return
        this.#ended.push(reason)
        this.#wake()
      }),
    )
  }

  /** Waits for the next session to be ended. @throws {Error} none was, or it was for another reason */
  async end(reason: string): Promise<void> {
    const next = new Promise<void>(resolve => {
      this.#wake = resolve
    })
    if (this.#ended.length === 0) await within(next, () => `the server to see a session ${reason}`)
    const ended = this.#ended.shift()
    if (ended !== reason) throw new Error(`a session was ${ended}, not ${reason}`)
  }
}

// The session that tabs share, in a SharedWorker (shared.ts).
//
// Knows: which tab wants which channels and waits for which answers, how a tab that is gone is noticed.
// Does not know: what tabs make of it (shared-line.ts), transports (link.ts).
// Always true: the session is subscribed to what some tab wants; it ends with the last tab.

import type { PeerMessage } from '../../bayeux/client-sink.js'
import { coveringNames } from '../../bayeux/covering.js'
import type { LineEvents, LineFailure, Settings } from './line.js'
import { Link } from './link.js'
import type { News, Wish } from './shared-line.js'
import type { Surroundings } from './surroundings.js'

interface Tab {
  readonly tell: (news: News) => void
  readonly wanted: Set<string>
  token: string | boolean
  /** Messages whose fate it waits for. */
  waiting: number
  leaving: boolean
}

export class Hub {
  readonly #link: Link
  readonly #tabs = new Set<Tab>()
  /** Message id of the session to the tab's number for it. */
  readonly #owners = new Map<string, readonly [tab: Tab, number: string]>()
  /** Said while the session ended, for the next one. */
  readonly #later: (readonly [Tab, Wish])[] = []
  #token: (token: string | null | Promise<never>) => void = () => {}
  /** Released when this worker is gone, which tabs are not told otherwise: it may die with the tab that made it. */
  readonly #lock = `perihelion ${Math.random()}`
  readonly #locked: Promise<void>

  constructor(settings: Settings, around: Surroundings) {
    this.#locked = new Promise(locked => {
      void globalThis.navigator?.locks?.request(this.#lock, () => new Promise(() => locked())) // never let go
    })
    this.#link = new Link({ ...settings, reload: false }, () => this.#askToken(), around, this.#events())
  }

  add(port: MessagePort): void {
    const tell = (news: News): void => port.postMessage(news)
    const tab: Tab = { tell, wanted: new Set(), token: false, waiting: 0, leaving: false }
    port.onmessage = ({ data }) => this.#wish(tab, data)
    void this.#locked.then(() => tell(['lock', this.#lock]))
  }

  #wish(tab: Tab, wish: Wish): void {
    const link = this.#link
    if (link.state === 'disconnecting' && !tab.leaving) return void this.#later.push([tab, wish])
    switch (wish[0]) {
      case 'join':
        this.#tabs.add(tab)
        tab.token = wish[1]
        if (link.state !== 'closed') tab.tell(this.#state()) // of a session that others had
        return
      case 'lock':
        return void navigator.locks.request(wish[1], () => this.#gone(tab))
      case 'start':
        this.#tabs.add(tab)
        tab.leaving = false
        link.start()
        return tab.tell(this.#state())
      case 'wake':
        return link.wake()
      case 'leave':
        tab.leaving = true
        return this.#part()
      case 'gone':
        return this.#gone(tab)
      case 'token':
        return this.#token(wish[2] === undefined ? wish[1] : Promise.reject(wish[2]))
      case 'batch':
        link.startBatch()
        for (const inner of wish[1]) this.#wish(tab, inner)
        return link.endBatch()
      case 'subscribe':
        // What one tab wants of the past comes to all, and each passes over what it has heard.
        tab.wanted.add(wish[2])
        return this.#send(tab, wish[1], () => link.subscribe(wish[2], wish[3]))
      case 'unsubscribe':
        tab.wanted.delete(wish[2])
        if (this.#isWanted(wish[2])) return tab.tell(['settled', wish[1], null, null])
        return this.#send(tab, wish[1], () => link.unsubscribe(wish[2], wish[3]))
      case 'publish':
      case 'call':
        return this.#send(tab, wish[1], () => link[wish[0]](wish[2], wish[3], wish[4]))
    }
  }

  #send(tab: Tab, number: string, send: () => string | null): void {
    const id = send()
    const { state } = this.#link
    const over = state === 'closed' || state === 'disconnecting'
    if (id === null) return tab.tell(['settled', number, over ? 'CLOSED' : 'OUTBOX_FULL', null])
    tab.waiting++
    this.#owners.set(id, [tab, number])
  }

  #isWanted(channel: string): boolean {
    for (const tab of this.#tabs) if (tab.wanted.has(channel)) return true
    return false
  }

  /** Tabs that leave are gone once what they sent is settled; the last ones take the session with them. */
  #part(): void {
    if ([...this.#tabs].every(tab => tab.leaving)) return this.#link.disconnect()
    for (const tab of this.#tabs) if (tab.leaving && tab.waiting === 0) this.#left(tab)
  }

  #left(tab: Tab): void {
    tab.tell(['left'])
    this.#gone(tab)
  }

  /** Without a word: its page was closed, or has crashed. */
  #gone(tab: Tab): void {
    if (!this.#tabs.delete(tab)) return
    for (const channel of tab.wanted) if (!this.#isWanted(channel)) this.#link.unsubscribe(channel)
    tab.wanted.clear()
    this.#part()
  }

  #askToken(): Promise<string | null> {
    const tab = [...this.#tabs].at(-1)
    if (typeof tab?.token === 'string') return Promise.resolve(tab.token)
    if (tab?.token !== true) return Promise.resolve(null)
    tab.tell(['token'])
    return new Promise(resolve => {
      this.#token = resolve
    })
  }

  #state(...why: [why?: LineFailure, detail?: string]): News {
    const { state, clientId, transport, offset } = this.#link
    return ['state', state, clientId, transport, offset, ...why]
  }

  #events(): LineEvents {
    const all = (news: News): void => {
      for (const tab of this.#tabs) tab.tell(news)
    }
    return {
      message: (message, names) => this.#deliver(message, names),
      reply: reply => all(['reply', reply]),
      settled: (id, code, reply) => this.#settled(id, code, reply),
      unrestored: (channel, code, reply) => {
        for (const tab of this.#tabs) if (tab.wanted.delete(channel)) tab.tell(['unrestored', channel, code, reply])
      },
      failure: (code, detail) => all(['failure', code, detail]),
      gap: (channel, dropped) => all(['gap', channel, dropped]),
      state: (state, ...why) => {
        all(this.#state(...why))
        if (state !== 'closed') return
        for (const tab of this.#tabs) {
          tab.wanted.clear()
          if (tab.leaving) this.#left(tab)
        }
        for (const [tab, wish] of this.#later.splice(0)) this.#wish(tab, wish)
      },
      resumed: () => {},
      outgoing: () => {},
      incoming: message => message,
    }
  }

  #deliver(message: PeerMessage, fresh?: readonly string[] | null): void {
    const names = fresh ?? coveringNames(message.channel)
    const toAll = message.channel.startsWith('/service/') // delivered to the session, not to a subscription
    for (const tab of this.#tabs) if (toAll || names.some(name => tab.wanted.has(name))) tab.tell(['message', message, names])
  }

  #settled(id: string, code: LineFailure | null, reply: PeerMessage | null): void {
    const [tab, number] = this.#owners.get(id) ?? []
    this.#owners.delete(id)
    if (tab === undefined || number === undefined) return
    tab.waiting--
    tab.tell(['settled', number, code, reply])
    if (tab.leaving) this.#part()
  }
}

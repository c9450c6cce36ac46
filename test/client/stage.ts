// A server, the way to it, and pages that hear a numbered stream: the stage for troubles of the network.
//
// Knows: in which order the server took the numbers, when a page is whole again, what it must have heard.
// Does not know: which troubles there are, how long anything may take.
// Always true: the stream flows from the first page on until `judge`.

import fastifyStatic from '@fastify/static'
import type { FastifyInstance } from 'fastify'
import type { BrowserContext } from 'playwright-core'
import type { Test } from 'tap'
import { TroubledProxy } from '../../bench/proxy.js'
import type { PerihelionOptions } from '../../lib/index.js'
import { Tab } from '../support/chromium.js'
import { startServer, type TestServer } from '../support/server.js'

/** How long a page may take until it is whole again, ms. */
const GUARD = 90_000
/** A number of the server every so many ms; of each page that talks, at its own pace. */
const PACE = 500

const CHANNEL = '/stream'

/** What a page says of itself; see pages/stream.js. */
export interface Query {
  readonly name?: string
  readonly options?: object
  readonly shared?: true
}

interface Fate {
  readonly n: number
  /** State of the client when the number was said. */
  readonly state: string
  /** '' for well. */
  readonly code: string | null
}

/** What of a `Tab` is needed here. */
export interface Page {
  /** Uncaught errors of the page's scripts. */
  readonly errors: readonly string[]
  /** Evaluates an expression, and waits for its promise. */
  read<T>(expression: string, guard?: number): Promise<T>
}

export class Stage {
  /** Every number that a server took, in its order: `page 7`. */
  readonly order: string[] = []
  /** For each subscription of a page, how many were taken before. */
  readonly joins: number[] = []
  /** The clientIds of the sessions, in order. */
  readonly sessions: string[] = []
  #server!: TestServer
  #flowing: NodeJS.Timeout | null = null
  #said = 0
  proxy!: TroubledProxy

  private constructor(
    readonly t: Test,
    readonly context: BrowserContext,
    readonly options: PerihelionOptions,
    readonly pace: number,
  ) {}

  static async open(t: Test, context: BrowserContext, options: PerihelionOptions = {}, pace = PACE): Promise<Stage> {
    const stage = new Stage(t, context, options, pace)
    await stage.#serve()
    stage.proxy = await TroubledProxy.open(stage.#server.url)
    t.teardown(async () => {
      stage.#stop()
      await Promise.all(context.pages().map(page => (page.url().startsWith(stage.#origin) ? page.close() : null)))
      await stage.proxy.close()
    })
    return stage
  }

  get #origin(): string {
    return new URL(this.proxy.url).origin
  }

  get bayeux(): TestServer['bayeux'] {
    return this.#server.bayeux
  }

  url({ name = 'page', options, shared }: Query = {}): string {
    const query = new URLSearchParams({ name })
    if (options !== undefined) query.set('options', JSON.stringify(options))
    if (shared) query.set('shared', '')
    return `${this.#origin}/pages/stream.html?${query}`
  }

  /** Opens a page, and waits until it hears the stream. */
  async page(query: Query = {}): Promise<Tab> {
    const tab = await Tab.beside(this.context, this.url(query))
    await this.hears(tab)
    return tab
  }

  async hears(page: Page): Promise<void> {
    await page.read('client.connected()', GUARD)
    this.#flow()
    await page.read('client.whole()', GUARD)
  }

  /** Ends the server as a deploy does, or without a goodbye. Nothing listens until `start`. */
  async stop(how: 'end' | 'crash'): Promise<void> {
    this.#stop()
    if (how === 'crash') this.proxy.set('shut')
    await this.#server.app.close()
    this.proxy.set('none')
  }

  async start(): Promise<void> {
    await this.#serve()
    this.proxy.lead(this.#server.url)
    this.#flow()
  }

  /** Ends the trouble, and tells how long it takes from then until a page has heard all, and says and hears again. */
  async mend(name: string, page: Page, end: () => unknown = () => this.proxy.set('none')): Promise<void> {
    const ended = Date.now()
    await end()
    await page.read('client.whole()', GUARD)
    this.t.comment(`${name}: ${Date.now() - ended} ms`)
  }

  /** Ends the stream and holds that the page has heard all of it, once and in order, with no more gaps than sessions were lost. */
  async judge(page: Page, { lost = 0, name = 'page' }: { lost?: number; name?: string } = {}): Promise<void> {
    const { t } = this
    await page.read('client.hush()')
    this.#stop()
    await page.read('client.settled()', GUARD)
    await page.read(`client.until(() => client.heard.includes(${JSON.stringify(this.order.at(-1))}))`, GUARD)
    const heard = await page.read<string[]>('client.heard')
    const gaps = gapsOf(heard, this.order, this.joins)
    const but = lost > 0 ? ', but for what came while it had no session' : ''
    if (typeof gaps === 'string') t.fail(`${name}: heard every message once and in order`, { gaps })
    else t.ok(gaps.length <= lost, `${name}: heard every message once and in order${but}`)
    const fates = await page.read<Fate[]>('client.fates')
    const own = this.order.filter(entry => entry.startsWith(`${name} `)).map(entry => Number(entry.split(' ')[1]))
    t.same(
      own,
      [...new Set(own)].sort((a, b) => a - b),
      `${name}: what it said came once and in order`,
    )
    const missing = fates.filter(({ n, state, code }) => !own.includes(n) && (code === '' || state !== 'connected'))
    t.same(missing, [], `${name}: and all of it, but for what is told to be of unknown fate`)
    t.same(page.errors, [], `${name}: no script of the page threw`)
  }

  async #serve(): Promise<void> {
    this.#server = await startServer(this.t, this.options, async (app: FastifyInstance) => {
      await app.register(fastifyStatic, { root: `${process.cwd()}/test/client/pages`, prefix: '/pages/', decorateReply: false })
    })
    const { bayeux } = this.#server
    bayeux.on(CHANNEL, ({ data }) => {
      const { by, n } = data as { by: string; n: number }
      this.order.push(`${by} ${n}`)
    })
    bayeux.on('session', session => this.sessions.push(session.id))
    bayeux.on('subscribed', () => this.joins.push(this.order.length))
  }

  #flow(): void {
    this.#flowing ??= setInterval(() => this.bayeux.publish(CHANNEL, { by: 'server', n: ++this.#said }), this.pace)
  }

  #stop(): void {
    if (this.#flowing !== null) clearInterval(this.#flowing)
    this.#flowing = null
  }
}

/**
 * Holds a transcript against the order of the server: it leaves out only what comes before a subscription.
 *
 * @returns how many messages each gap lacks, or what is wrong
 */
export function gapsOf(heard: readonly string[], order: readonly string[], joins: readonly number[]): number[] | string {
  const gaps: number[] = []
  let at = order.indexOf(heard[0] ?? '')
  for (const [i, entry] of heard.entries()) {
    if (order[at] !== entry) {
      const join = joins.find(join => join > at && order[join] === entry)
      if (join === undefined) {
        const before = heard.slice(Math.max(0, i - 3), i).join(', ')
        return `after ${before} it has ${entry} and not ${order[at]} (${heard.filter(other => other === entry).length} times)`
      }
      gaps.push(join - at)
      at = join
    }
    at++
  }
  return at === order.length ? gaps : `it ends before ${order[at]}`
}

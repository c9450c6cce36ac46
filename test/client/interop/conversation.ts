// One conversation of our client with whatever server: from its connect to its close, through cuts, lost sessions and blocked sockets.
//
// Knows: what a client does at each step, and how the services of servers.ts are asked.
// Does not know: what is right (interop.test.ts judges what was seen), where it runs. It imports only types, so that a page can load it as it is.
// Always true: a wait ends at an event of a client, or fails after GUARD with a text that says what was waited for.

import type { Cut, Trouble } from '../../../bench/proxy.js'
import type { Client, ClientError, Options, PeerMessage, TransportName } from '../../../lib/client/index.js'

/** What the server offers, as far as the conversation has to know it beforehand. */
export interface Traits {
  /** What the client may use; by default WebSocket, then long-polling. */
  readonly transports?: readonly TransportName[]
  /** The ack extension: nothing is lost or doubled through cuts. */
  readonly ack: boolean
  /** Remote calls. */
  readonly calls: boolean
  /** A service can answer to the session that asked. */
  readonly answers: boolean
  /** The server can end a session with notice. */
  readonly kicks: boolean
  /** Where HTTP can stand in for WebSocket: does a session begun on WebSocket go on, or is it refused and begun anew? */
  readonly fallback: 'same' | 'anew' | null
}

export interface Stage {
  /** The same server, by a way that can be cut and by one that cannot. */
  readonly near: string
  readonly far: string
  client(url: string, options: Options): Client
  /** Loses all connections of the near way: at once, or at the server's next bytes after half or all of them. */
  cut(how: Cut): Promise<void>
  /** From now on this is wrong with the near way. */
  set(trouble: Trouble): Promise<void>
}

/** What each step saw; `failed` with the reason, after which there are no more steps. */
export type Report = Record<string, unknown>

const GUARD = 20_000
const UNDER_FIRE = 120
const OPTIONS: Options = { backoffBase: 100, backoffMax: 400, upgradeBase: 300, upgradeMax: 1_000 }
const BYTES = Uint8Array.from({ length: 1_021 }, (_, n) => (n * 7) & 255)

export const numbers = (count: number): number[] => Array.from({ length: count }, (_, n) => n)

/** Epoch ms, whatever was done to `Date`. */
const trueTime = (): number => performance.timeOrigin + performance.now()

/** A client, and all that it tells. */
class Witness {
  readonly client: Client
  readonly errors: ClientError[] = []
  readonly replies: PeerMessage[] = []
  readonly #waiting = new Set<() => void>()

  constructor(client: Client) {
    this.client = client
    client.on('state', () => this.#look())
    client.on('error', error => {
      this.errors.push(error)
      this.#look()
    })
    client.on('reply', reply => {
      this.replies.push(reply)
      queueMicrotask(() => this.#look()) // after its effect
    })
  }

  get connected(): boolean {
    return this.client.state === 'connected'
  }

  /** Subscribes, and waits until the server has agreed. @returns what is heard from now on */
  async listen(channel: string): Promise<unknown[]> {
    const heard: unknown[] = []
    await this.client.subscribe(channel, ({ data }) => {
      heard.push(data)
      this.#look()
    }).ready
    return heard
  }

  /** How many replies there are to subscribes to a channel. */
  subscribed(channel: string): number {
    return this.replies.filter(
      ({ channel: name, ...reply }) => name === '/meta/subscribe' && [reply['subscription']].flat().includes(channel),
    ).length
  }

  until(what: string, holds: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const { client, errors } = this
      const guard = setTimeout(() => {
        this.#waiting.delete(look)
        const { state, transport } = client
        reject(new Error(`waited in vain for ${what}: ${JSON.stringify({ state, transport, errors: errors.map(String) })}`))
      }, GUARD)
      const look = (): void => {
        if (!holds()) return
        clearTimeout(guard)
        this.#waiting.delete(look)
        resolve()
      }
      this.#waiting.add(look)
      look()
    })
  }

  #look(): void {
    for (const look of [...this.#waiting]) look()
  }
}

/** Lets two clients live through everything. `prefix`: of all channels, so that conversations with one server do not meet. */
export async function converse(stage: Stage, traits: Traits, prefix: string): Promise<Report> {
  const options = { ...OPTIONS, ...(traits.transports === undefined ? null : { transports: traits.transports }) }
  const first = new Witness(stage.client(stage.near, options))
  const second = new Witness(stage.client(stage.far, options))
  const report: Report = {}
  const end = async (): Promise<void> => {
    await Promise.all([first.client.close(), second.client.close()])
  }
  try {
    for (const [name, step] of stepsOf(first, second, stage, traits, prefix)) {
      try {
        report[name] = await step()
      } catch (error) {
        report['failed'] = `${name}: ${error instanceof Error ? error.stack : error}`
        break
      }
    }
  } finally {
    await end()
  }
  return report
}

type Step = readonly [name: string, run: () => Promise<unknown>]

function stepsOf(first: Witness, second: Witness, stage: Stage, traits: Traits, prefix: string): Step[] {
  const { client } = first
  const other = second.client
  let chat: unknown[] = []
  /** Whether a message of the other client still comes in. */
  const reached = async (word: string): Promise<boolean> => {
    await other.publish(`${prefix}/chat`, word)
    await first.until(`the message ${word}`, () => chat.includes(word))
    return chat.filter(data => data === word).length === 1
  }
  const service = (name: string, data: unknown): Promise<unknown> => other.publish(`/service/${name}`, data)

  const steps: (Step | false)[] = [
    [
      'connect',
      async () => {
        await client.connect()
        await other.connect() // only then, since a browser without a cookie gets one with each handshake, and the last one counts
        const { state, transport } = client
        const greeting = first.replies.find(({ channel }) => channel === '/meta/handshake')
        const ack = (greeting?.['ext'] as { ack?: unknown } | undefined)?.ack ?? null
        return { state, transport, ack, twoSessions: client.clientId !== other.clientId }
      },
    ],
    [
      'subscribe and publish',
      async () => {
        chat = await first.listen(`${prefix}/chat`)
        const theirs = await second.listen(`${prefix}/chat`)
        const { successful, channel } = await client.publish(`${prefix}/chat`, { text: 'grüße 😀 \u2028' })
        for (const [witness, heard] of [[first, chat] as const, [second, theirs] as const])
          await witness.until('the message', () => heard.length > 0)
        return { successful, sameChannel: channel === `${prefix}/chat`, delivered: [...chat, ...theirs] }
      },
    ],
    [
      'wildcards',
      async () => {
        const names = ['one', '*', '**']
        const heard = await Promise.all(names.map(name => first.listen(`${prefix}/room/${name}`)))
        for (const name of ['one', 'one/more', 'end']) await other.publish(`${prefix}/room/${name}`, name)
        await first.until('the last message', () => heard[2]!.includes('end') && heard[1]!.includes('end'))
        return heard
      },
    ],
    [
      'order',
      async () => {
        const heard = await first.listen(`${prefix}/order`)
        const replies = await Promise.all(numbers(200).map(n => other.publish(`${prefix}/order`, n)))
        await first.until('the last message', () => heard.length >= 200)
        return { accepted: replies.filter(({ successful }) => successful).length, heard }
      },
    ],
    [
      'batch',
      async () => {
        const heard: unknown[] = []
        const channel = `${prefix}/batch`
        const [, ...replies] = await Promise.all(
          client.batch(() => [
            client.subscribe(channel, ({ data }) => heard.push(data)).ready,
            ...['one', 'two'].map(data => client.publish(channel, data)),
          ]),
        )
        await reached('after the batch')
        return { heard, replies: replies.map(reply => reply?.successful) }
      },
    ],
    [
      'bytes',
      async () => {
        const channel = `${prefix}/bytes`
        const [mine, theirs] = [await first.listen(channel), await second.listen(channel)]
        await client.publish(channel, BYTES)
        await first.until('my bytes', () => mine.length === 1)
        await other.publish(channel, BYTES.subarray(0, 7))
        await first.until('their bytes', () => mine.length === 2)
        await second.until('all bytes', () => theirs.length === 2)
        const same = (data: unknown, length: number): boolean =>
          data instanceof Uint8Array && data.length === length && data.every((byte, n) => byte === BYTES[n])
        return [mine, theirs].map(([long, short]) => same(long, BYTES.length) && same(short, 7))
      },
    ],
    traits.calls && [
      'calls',
      async () => {
        const echo = await client.call('echo', { q: [1, 'two', true] })
        const failure = await client.call('fail').catch((error: ClientError) => [error.code, error.reply?.['data']])
        return { echo, failure }
      },
    ],
    traits.answers && [
      'service',
      async () => {
        const heard = await first.listen('/service/answer')
        await client.publish('/service/answer', 'to me alone')
        await first.until('the answer', () => heard.length > 0)
        return heard
      },
    ],
    [
      'said by the server',
      async () => {
        const heard = await first.listen(`${prefix}/said`)
        await service('say', { channel: `${prefix}/said`, data: 'hear, hear' })
        await first.until('the message', () => heard.length > 0)
        return heard
      },
    ],
    [
      'refusals',
      async () => {
        const channel = '/secret/plan'
        const why = ({ code, status, text }: ClientError): unknown => ({ code, status, text })
        return {
          subscribe: await client.subscribe(channel, () => {}).ready.catch(why),
          publish: await client.publish(channel, 'psst').catch(why),
          stillHere: await reached('after the refusals'),
        }
      },
    ],
    // The client's clock is an hour late.
    ['server time', async () => Math.abs(client.serverTime() - trueTime()) < 1_000],
    traits.ack && [
      'under fire',
      async () => {
        const { clientId } = client
        const heard = await first.listen(`${prefix}/fire`)
        for (let n = 0; n < UNDER_FIRE; n++) {
          await other.publish(`${prefix}/fire`, n)
          const how = ({ 20: 'idle', 50: 'half', 80: 'whole' } as const)[n]
          if (how === undefined) continue
          await first.until('the connection', () => first.connected)
          await stage.cut(how)
        }
        await first.until('the last message', () => heard.at(-1) === UNDER_FIRE - 1)
        return { inOrder: heard.every((data, n) => data === n), count: heard.length, sameSession: client.clientId === clientId }
      },
    ],
    [
      'outbox',
      async () => {
        const heard = await second.listen(`${prefix}/outbox`)
        await stage.set('shut')
        await first.until('the loss of the connection', () => client.state === 'reconnecting')
        const replies = Promise.all(['one', 'two', 'three'].map(data => client.publish(`${prefix}/outbox`, data)))
        await stage.set('none')
        await second.until('the last message', () => heard.includes('three'))
        return { heard, replies: (await replies).map(({ successful }) => successful), back: await reached('after the cut') }
      },
    ],
    [
      'lost session',
      async () => {
        const { clientId } = client
        const before = first.subscribed(`${prefix}/chat`)
        await service('end', { clientId, how: 'forget' })
        await first.until('a new session', () => first.connected && client.clientId !== clientId)
        await first.until('the subscription', () => first.subscribed(`${prefix}/chat`) > before)
        return { back: await reached('after the loss'), transport: client.transport }
      },
    ],
    traits.fallback !== null && [
      'blocked sockets',
      async () => {
        const { clientId } = client
        const before = first.subscribed(`${prefix}/chat`)
        await stage.set('upgrades cut')
        await stage.cut('idle')
        await first.until('long-polling', () => first.connected && client.transport === 'long-polling')
        if (traits.fallback === 'anew') await first.until('the subscription', () => first.subscribed(`${prefix}/chat`) > before)
        return { sameSession: client.clientId === clientId, back: await reached('on long-polling') }
      },
    ],
    traits.fallback !== null && [
      'open sockets',
      async () => {
        await stage.set('none')
        await first.until('WebSocket', () => first.connected && client.transport === 'websocket')
        return { back: await reached('on WebSocket again') }
      },
    ],
    [
      'unsubscribe',
      async () => {
        const left: unknown[] = []
        const subscription = client.subscribe(`${prefix}/left`, ({ data }) => left.push(data))
        await subscription.ready
        await other.publish(`${prefix}/left`, 'before')
        await reached('between')
        await subscription.unsubscribe()
        await other.publish(`${prefix}/left`, 'after')
        return { left, kept: await reached('after leaving') }
      },
    ],
    traits.kicks && [
      'kick',
      async () => {
        // Only a connect that is held brings the notice: a kick between two of them is the loss of a session, and the client comes back.
        while (client.state !== 'closed') {
          const { clientId } = client
          await client.publish(`${prefix}/nobody`, 'is my connect held?')
          await service('end', { clientId, how: 'kick' })
          await first.until('the end', () => client.state === 'closed' || (first.connected && client.clientId !== clientId))
        }
        const code = first.errors.at(-1)?.code
        await client.connect()
        chat = await first.listen(`${prefix}/chat`)
        return { code, again: await reached('after the kick') }
      },
    ],
    [
      'close',
      async () => {
        await Promise.all([client.close(), other.close()])
        return [client.state, other.state]
      },
    ],
  ]
  return steps.filter(step => step !== false)
}

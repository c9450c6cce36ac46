// Programs that get their events as from Salesforce: with jsforce, and with CometD's Java client in the way of EMP-Connector.
//
// Knows: how each is told to listen from a place, and where its application sees what came and what was refused.
// Does not know: what is right.
// Source: jsforce's documentation of `createClient` with extensions; protocol reference 7.7, 9.6.

import { type ChildProcess, spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { touch, until } from './drivers/steps.js'

/** What the application gets of a message. */
export interface Heard {
  readonly n: number
  readonly event: { readonly replayId: number; readonly createdDate: string }
}

export interface Listener {
  /** In the order in which the application got it. */
  readonly heard: readonly Heard[]
  /** The errors that subscribes were answered with. */
  readonly refused: readonly string[]
  /** Listens behind a position, -1 only new, -2 all that is kept; ends when that is answered, one way or the other. */
  listen(channel: string, from: number): Promise<void>
  close(): Promise<void>
}

/** What of a tap test is used here. */
interface Teardown {
  teardown(end: () => unknown): void
}

type Pass = (message: BayeuxMessage) => void
interface BayeuxMessage {
  readonly channel: string
  readonly successful?: boolean
  readonly error?: string
  readonly advice?: { readonly reconnect?: string }
}
interface Extension {
  incoming?(message: BayeuxMessage, pass: Pass): void
  outgoing?(message: BayeuxMessage, pass: Pass): void
}
interface Replay extends Extension {
  setChannel(channel: string): void
  setReplay(replayId: number): void
}
interface FayeClient {
  subscribe(channel: string, take: (data: Heard) => void): PromiseLike<void>
  disable(transport: string): void
  disconnect(): PromiseLike<void> | undefined
  readonly _dispatcher: {
    retry: number
    readonly transports: Record<string, Map<string, { close(): void }> | undefined>
    readonly _envelopes: Map<string, { timer?: NodeJS.Timeout; request?: Promise<{ abort?(): void } | undefined> | null }>
    close(): void
  }
}
interface Connection {
  readonly streaming: { createClient(extensions: readonly Extension[]): FayeClient }
}

const require = createRequire(import.meta.url)
const { Connection } = require('jsforce') as {
  readonly Connection: new (options: { instanceUrl: string; accessToken: string; version: string }) => Connection
}
const { StreamingExtension } = require('jsforce/lib/api/streaming') as {
  readonly StreamingExtension: {
    readonly Replay: new (channel: string, replayId: number | null) => Replay
    readonly AuthFailure: new (failed: (message: BayeuxMessage) => void) => Extension
  }
}

/** jsforce with its two extensions. Its Faye inside moves to WebSocket where it may. */
export class Jsforce implements Listener {
  readonly heard: Heard[] = []
  readonly refused: string[] = []
  /** What AuthFailure called back with. */
  readonly failures: BayeuxMessage[] = []
  /** What the promises of refused subscriptions told. Faye does not take errors with braces apart: all is in the message. */
  readonly rejected: string[] = []
  private readonly replay = new StreamingExtension.Replay('', null)
  private readonly client: FayeClient

  /** @param t at its end the client is silenced, whatever it is about: it would try again for ever */
  constructor(t: Teardown, origin: string, transport: string, accessToken = 'none') {
    const connection = new Connection({ instanceUrl: origin, accessToken, version: '58.0' })
    const refusals: Extension = {
      incoming: (message, pass) => {
        if (message.channel === '/meta/subscribe' && message.successful === false) this.refused.push(message.error!)
        pass(message)
        setImmediate(touch)
      },
    }
    const failure = new StreamingExtension.AuthFailure(message => {
      this.failures.push(message)
      touch()
    })
    this.client = connection.streaming.createClient([failure, this.replay, refusals])
    this.client._dispatcher.retry = 0.1 // s; its 5 would only cost time
    if (transport === 'long-polling') this.client.disable('websocket')
    t.teardown(() => {
      const { _dispatcher: dispatcher } = this.client
      for (const { timer, request } of dispatcher._envelopes.values()) {
        clearTimeout(timer)
        void request?.then(sent => sent?.abort?.())
      }
      for (const socket of dispatcher.transports['websocket']?.values() ?? []) socket.close()
      dispatcher.close()
    })
  }

  async listen(channel: string, from: number): Promise<void> {
    let answered = false
    this.replay.setChannel(channel)
    this.replay.setReplay(from)
    this.subscribe(channel).then(
      () => {
        answered = true
        touch()
      },
      (error: { readonly message: string }) => {
        answered = true
        this.rejected.push(error.message)
        touch()
      },
    )
    await until(`jsforce: an answer to subscribe ${channel}`, () => answered)
  }

  /** Without a place. */
  subscribe(channel: string): PromiseLike<void> {
    return this.client.subscribe(channel, data => {
      this.heard.push(data)
      touch()
    })
  }

  async close(): Promise<void> {
    await this.client.disconnect()
  }
}

/** A line of Listeners.java. */
interface Line {
  readonly name: string
  readonly opened?: true
  readonly listening?: string
  readonly refused?: string
  readonly heard?: Heard
  readonly closed?: true
}

/** A JVM, which `npm test` has built, with listeners of CometD's Java client. */
export class Jvm {
  private readonly child: ChildProcess
  private readonly takers = new Map<string, (line: Line) => void>()
  private readonly noise: string[] = []

  constructor(t: Teardown) {
    const jar = join('test', 'legacy', 'java', 'target', 'driver.jar')
    this.child = spawn('java', ['-cp', jar, 'Listeners'], { stdio: ['pipe', 'pipe', 'pipe'] })
    t.teardown(() => this.child.kill('SIGKILL'))
    createInterface({ input: this.child.stdout! }).on('line', text => {
      const line = text.startsWith('{') ? (JSON.parse(text) as Line) : null
      if (line === null) this.noise.push(text)
      else this.takers.get(line.name)?.(line)
      touch()
    })
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => this.noise.push(text))
  }

  async open(url: string, transport: string): Promise<Listener> {
    const name = String(this.takers.size)
    const lines: Line[] = []
    const heard: Heard[] = []
    const refused: string[] = []
    this.takers.set(name, line => {
      lines.push(line)
      if (line.heard !== undefined) heard.push(line.heard)
      if (line.refused !== undefined) refused.push(line.refused)
    })
    const came = (what: string, condition: (line: Line) => boolean): Promise<void> =>
      until(`${what}; ${this.noise.join('').slice(-2_000)}`, () => lines.some(condition))
    this.wish({ name, open: url, transport })
    await came('the handshake of a Java client', line => line.opened === true)
    return {
      heard,
      refused,
      listen: async (channel, from) => {
        lines.length = 0
        this.wish({ name, listen: channel, from })
        await came(`Java: an answer to subscribe ${channel}`, line => line.listening === channel || line.refused !== undefined)
      },
      close: async () => {
        this.wish({ name, close: true })
        await came('the end of a Java client', line => line.closed === true)
      },
    }
  }

  private wish(wish: object): void {
    this.child.stdin!.write(`${JSON.stringify(wish)}\n`)
  }
}

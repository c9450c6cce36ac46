// One npm `cometd` client of any version from 3.1 to 9.0, or our own build with its API, in a Node process, with all that goes over its wire.
//
// Knows: the public API that these versions share, where each package keeps it, and which Node adapter fits.
// Does not know: scenarios (cometd.ts; security.ts by way of guest.ts).
// Always true: only one version is loaded in a process, for `adapt()` of the Node adapters sets globals.

import { createRequire } from 'node:module'
import { called, quiet, touch, until } from './steps.js'

export interface Message {
  readonly id?: string
  readonly channel: string
  readonly clientId?: string
  readonly successful?: boolean
  readonly error?: string
  readonly data?: unknown
  readonly subscription?: string | string[]
  readonly supportedConnectionTypes?: string[]
  readonly connectionType?: string
  readonly version?: string
  readonly reestablish?: boolean
  readonly advice?: Readonly<Record<string, unknown>>
  ext?: Readonly<Record<string, unknown>>
}
export type Callback = (message: Message) => void
export type Handle = object

/** What the versions have in common; the packages' own declarations exist for some of them only and leave `send` out. */
export interface CometD {
  configure(options: object): void
  handshake(callback: Callback): void
  disconnect(callback: Callback): void
  batch(group: () => void): void
  addListener(channel: string, callback: Callback): Handle
  subscribe(channel: string, callback: Callback, subscribed?: Callback): Handle
  unsubscribe(handle: Handle, callback: Callback): void
  publish(channel: string, data: unknown, callback?: Callback): void
  remoteCall(target: string, data: unknown, callback: Callback): void
  send(message: object): void
  getStatus(): string
  getClientId(): string
  getTransport(): { abort(): void } | null
  unregisterTransport(type: string): unknown
  registerExtension(name: string, extension: object): boolean
}
export interface Library {
  readonly CometD: new (name: string) => CometD
  readonly AckExtension: new () => object
  adapt(): void
}

const require = createRequire(import.meta.url)
const adaptOld = (): void => require('cometd-nodejs-client1').adapt()
const adaptNew = async (): Promise<() => void> => (await import('cometd-nodejs-client')).adapt

/** Up to 7 CommonJS with the extension in a file of its own, from 8 on ES modules with one entry, as our compatibility build. */
const LIBRARIES: Readonly<Record<string, () => Promise<Library>>> = {
  cometd3: async () => ({ ...require('cometd3'), AckExtension: require('cometd3/AckExtension'), adapt: adaptOld }),
  cometd4: async () => ({ ...require('cometd4'), AckExtension: require('cometd4/AckExtension'), adapt: adaptOld }),
  cometd5: async () => ({ ...require('cometd5'), AckExtension: require('cometd5/AckExtension'), adapt: adaptOld }),
  cometd7: async () => ({ ...require('cometd7'), AckExtension: require('cometd7/AckExtension'), adapt: adaptOld }),
  cometd8: async () => ({ ...(await esm(import('cometd8'))), adapt: await adaptNew() }),
  cometd: async () => ({ ...(await esm(import('cometd'))), adapt: await adaptNew() }),
  perihelion: async () => ({ ...(await esm(import('../../../lib/client/cometd/program.js'))), adapt: await adaptNew() }),
}

async function esm(module: Promise<unknown>): Promise<Library> {
  return (await module) as Library
}

/** All sockets that the clients of this process opened, oldest first. */
export const sockets: WebSocket[] = []

/** Loads a version and makes this process look like a browser to it. stdout carries the report: what the library logs goes to stderr. */
export async function load(version: string): Promise<Library> {
  const library = await LIBRARIES[version]?.()
  if (library === undefined) throw new Error(`unknown version ${version}`)
  console.info = console.error
  console.log = console.error
  library.adapt()
  const { window } = globalThis as unknown as { readonly window: { WebSocket: typeof WebSocket } }
  window.WebSocket = class extends window.WebSocket {
    constructor(...args: ConstructorParameters<typeof WebSocket>) {
      super(...args)
      sockets.push(this)
      this.addEventListener('close', touch)
    }
  }
  return library
}

/** A client, with all that went over its wire. */
export class Client {
  readonly bayeux: CometD
  readonly sent: Message[] = []
  readonly got: Message[] = []

  /** @param transport the only one it may use */
  constructor(library: Library, url: string, transport: string, ack: boolean) {
    this.bayeux = new library.CometD(url)
    this.bayeux.unregisterTransport(transport === 'websocket' ? 'long-polling' : 'websocket')
    this.bayeux.unregisterTransport('callback-polling')
    this.bayeux.configure({ url, logLevel: 'warn', backoffIncrement: 50 })
    // Registered first: sees what comes in before, and what goes out after, every other extension.
    this.bayeux.registerExtension('watch', {
      incoming: (message: Message) => {
        this.got.push(structuredClone(message))
        setImmediate(touch)
        return message
      },
      outgoing: (message: Message) => {
        this.sent.push(structuredClone(message))
        setImmediate(touch)
        return message
      },
    })
    if (ack) this.bayeux.registerExtension('ack', new library.AckExtension())
  }

  /** Data of the deliveries on a channel, as they came over the wire: before the client hands them to its subscriptions. */
  delivered(channel: string): unknown[] {
    return this.got.filter(message => message.channel === channel && message.data !== undefined).map(message => message.data)
  }

  replies(channel: string): Message[] {
    return this.got.filter(message => message.channel === channel && message.data === undefined)
  }

  requests(channel: string): Message[] {
    return this.sent.filter(message => message.channel === channel)
  }

  handshake(): Promise<Message> {
    return called('the handshake reply', callback => this.bayeux.handshake(callback))
  }

  /** Until the second connect after a handshake is under way: the one that the server holds. */
  async held(): Promise<void> {
    const from = this.sent.map(message => message.channel).lastIndexOf('/meta/handshake')
    await until('a held connect', () => this.sent.slice(from).filter(message => message.channel === '/meta/connect').length >= 2)
    await quiet(50) // on an HTTP connection of its own it might be overtaken by what is sent next
  }

  subscribe(channel: string, listener: Callback = () => {}): Promise<Message> {
    return called(`the reply to subscribe ${channel}`, callback => this.bayeux.subscribe(channel, listener, callback))
  }

  publish(channel: string, data: unknown): Promise<Message> {
    return called(`the reply to publish ${channel}`, callback => this.bayeux.publish(channel, data, callback))
  }

  call(target: string, data: unknown): Promise<Message> {
    return called(`the answer to the remote call ${target}`, callback => this.bayeux.remoteCall(target, data, callback))
  }

  async disconnect(): Promise<Message> {
    const reply = await called<Message>('the disconnect reply', callback => this.bayeux.disconnect(callback))
    await until('the status disconnected', () => this.bayeux.getStatus() === 'disconnected')
    return reply
  }
}

// What a transcript is played against: the bare engine, or a listening server. Both look alike from here.

import type { Extra, Message, Opinion, Stats, Verdict } from '../../bayeux/index.js'
import type { Json } from './pattern.js'
import type { Via } from './transcript.js'

/** One thing that reached a client: an HTTP answer, a WebSocket frame, or the end of a socket. */
export type Item =
  | { readonly kind: 'messages'; readonly messages: readonly Json[] }
  | { readonly kind: 'status'; readonly status: number }
  | { readonly kind: 'close'; readonly code: number }

/** Where to send from and to listen at. */
export interface Endpoint {
  readonly client: string
  readonly via: Via
  readonly socket: number
}

export interface World {
  /** @param cookie of the browser; null for none */
  send(from: Endpoint, text: string, cookie: string | null): Promise<void>
  /** What came and was not read yet, oldest first. */
  inbox(at: Endpoint): Item[]
  /** All places where anything ever came. */
  endpoints(): Endpoint[]
  /** The value of the cookie that the server set for this client; null for none. */
  cookieOf(client: string): string | null
  /** Breaks all that the client has open. */
  cut(client: string): Promise<void>
  /** @returns the sub-protocol that the server chose, `none`, or `refused` */
  openSocket(at: Endpoint, cookie: string | null, protocols?: string[]): Promise<string>
  isOpen(at: Endpoint): boolean
  /** Lets everything that is under way arrive. */
  settle(): Promise<void>
  /** Moves the server's clock. */
  advance(ms: number): Promise<void>
  /** The server's clock. */
  now(): number
  stats(): Stats
  publish(channel: string, data: unknown, extra: Extra): void
  deliver(clientId: string, channel: string, data: unknown, extra: Extra): void
  kick(clientId: string): void
  remove(clientId: string): void
  close(): Promise<void>
}

/** What the server's application does in a transcript. */
export interface Setup {
  readonly policy?: {
    readonly handshake?: () => Verdict
    readonly create?: (channel: string) => Verdict
    readonly subscribe?: (channel: string) => Verdict
    readonly publish?: (channel: string) => Verdict
  }
  /** An extension that drops what it says false to. */
  readonly incoming?: (message: Json) => boolean
  readonly listeners?: Readonly<Record<string, (message: Message, clientId: string | null, world: World) => boolean | void>>
  readonly authorizers?: Readonly<Record<string, (operation: string, channel: string) => Opinion>>
  readonly overflow?: () => 'drop' | 'remove'
}

export type WorldMaker = (options: Json, setups: readonly Setup[], sharedBrowser: readonly string[]) => Promise<World>

/** Setups by the names that transcripts use in `-- with:`. */
export const SETUPS: Readonly<Record<string, Setup>> = {
  'a policy that refuses handshakes': { policy: { handshake: () => false } },
  'a policy that refuses handshakes for now': {
    policy: { handshake: () => ({ allow: false, advice: { reconnect: 'handshake' }, ext: { reason: 'later' } }) },
  },
  'a policy that refuses to create /secret': { policy: { create: channel => channel !== '/secret' } },
  'a policy that refuses publishes to /read': { policy: { publish: channel => channel !== '/read' } },
  'a policy that refuses subscriptions to /write': { policy: { subscribe: channel => channel !== '/write' } },
  'an extension that drops handshakes': { incoming: message => message['channel'] !== '/meta/handshake' },
  'an extension that drops connects with ext.drop': {
    incoming: message => message['channel'] !== '/meta/connect' || (message['ext'] as Json | undefined)?.['drop'] !== true,
  },
  'an authorizer on /a that denies with nope': { authorizers: { '/a': () => ({ deny: 'nope' }) } },
  'an authorizer on /a that ignores': { authorizers: { '/a': () => 'ignore' } },
  'an authorizer on /** that grants all but creation under /sys': {
    authorizers: {
      '/**': (operation, channel) => (operation === 'create' && channel.startsWith('/sys/') ? { deny: 'nope' } : 'grant'),
    },
  },
  'an authorizer on /** that grants subscriptions': {
    authorizers: { '/**': operation => (operation === 'publish' ? 'ignore' : 'grant') },
  },
  'a listener on /a that vetoes': { listeners: { '/a': () => false } },
  'a listener that drops what overflows': { overflow: () => 'drop' },
  'the service /service/echo': {
    listeners: {
      '/service/echo': (message, clientId, world) =>
        world.deliver(clientId!, '/service/echo', message.data, { id: message.id as string, successful: true }),
    },
  },
  'the service /service/kick': { listeners: { '/service/kick': (_message, clientId, world) => world.kick(clientId!) } },
}

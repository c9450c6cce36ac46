// Clients that show who they are: one in memory whose token is plain text, and one on a WebSocket whose token is a JWT.

import type { Admission, Question } from '../../bayeux/index.js'
import type { Client, Drive } from './drive.js'
import { hs256 } from './issuer.js'
import type { Teardown } from './server.js'
import { WireSocket } from './wire.js'

export type Json = Record<string, unknown>

/** How a subscription is refused that no rule allows. */
export const DENIED = { successful: false, error: '403:denied_by_security_policy:subscribe_denied' }

/**
 * The engine's clients are who their token says: `alice ops,eu 60000` is alice with two roles for a minute; `bad` is refused, `-` is nobody
 * in particular.
 */
export function plainTokens(drive: Drive): Drive {
  drive.engine.server.police({ handshake: true, renew: true })
  const issued = new Map<string, number>() // in the order in which they are first shown
  drive.answer = ({ message }: Question): Admission => {
    const [user = '', roles = '', ms] = String((message.ext as { token?: string } | undefined)?.token ?? '').split(' ')
    if (user === 'bad') return { allow: false, code: 'TOKEN_REFUSED', reason: 'expired' }
    if (user === '') return { allow: true }
    const expiresAt = ms === undefined ? Number.POSITIVE_INFINITY : drive.now + Number(ms)
    const text = JSON.stringify(message.ext)
    issued.set(text, issued.get(text) ?? issued.size)
    const identity = { user: user === '-' ? null : user, roles: roles.split(','), expiresAt, claims: { iat: issued.get(text) } }
    return { allow: true, identity }
  }
  return drive
}

/** A client of such an engine, after its handshake and first connect. */
export function enter(drive: Drive, token: string, transport: 'websocket' | 'long-polling' = 'websocket'): Client {
  const client = drive.stranger(transport)
  client.handshake({ ext: { token } })
  client.say({ channel: '/meta/connect' })
  return client
}

export const subscribe = (client: Client, ...channels: string[]) =>
  client.say({ channel: '/meta/subscribe', subscription: channels })

/** Seconds since 1970, so many from now. */
export const soon = (seconds = 600): number => Math.floor(Date.now() / 1_000) + seconds

/** A token that is good for ten minutes, unless its claims say otherwise. */
export const bearerToken = (user: string, claims: Json = {}): string =>
  hs256({ sub: user, exp: soon(), iat: soon(-1), ...claims })

/** A client on a WebSocket. */
export class Bearer {
  private constructor(
    readonly socket: WireSocket,
    readonly greeting: Json,
    readonly id: string,
  ) {}

  static async join(t: Teardown, url: string, message: Json = {}, headers: Record<string, string> = {}): Promise<Bearer> {
    const socket = await new WireSocket(url, headers).open()
    t.teardown(async () => socket.cut())
    socket.send(JSON.stringify([{ channel: '/meta/handshake', ...message }]))
    const [greeting] = (await socket.next()) as [Json]
    return new Bearer(socket, greeting, String(greeting['clientId']))
  }

  async say(message: Json): Promise<Json> {
    this.socket.send(JSON.stringify([{ clientId: this.id, ...message }]))
    return ((await this.socket.next()) as Json[]).at(-1)!
  }

  subscribe(...subscription: string[]): Promise<Json> {
    return this.say({ channel: '/meta/subscribe', subscription })
  }
}

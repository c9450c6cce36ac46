// The servers that our client converses with, each with the same services, and /secret/** closed to everybody.
//
// Knows: how each is started and told what to do, which the conversation asks for on /service/ channels.
// Does not know: what our client makes of them.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'
import { startServer } from '../../support/server.js'
import type { Traits } from './conversation.js'

export interface Running {
  readonly port: number
  /** How many sessions it has now. */
  sessions(): Promise<number>
}

export interface ServerKind {
  readonly title: string
  readonly websocket: boolean
  readonly callbacks: boolean
  readonly timesync: boolean
  /** A session gets a message once for each of its subscriptions, not once. */
  readonly copies: boolean
  /** The Bayeux error of a refused subscribe and publish: status and text. */
  readonly refusals: readonly [subscribe: readonly [number, string], publish: readonly [number, string]]
  readonly traits: Traits
  /** A page's session that began on WebSocket goes on over HTTP: the upgrade was answered with the browser's cookie. */
  readonly bakes: boolean
  start(t: Test): Promise<Running>
}

interface Wish {
  readonly channel: string
  readonly data: unknown
  readonly clientId: string
  readonly how: 'forget' | 'kick'
}

const require = createRequire(import.meta.url)
const DENIED = [
  [403, 'subscribe_denied'],
  [403, 'publish_denied'],
] as const
/** Of a held connect, ms: short, as a client comes back to WebSocket when one has ended. */
const TIMEOUT = 2_000
/** Both clients of a page may have their connects held. */
const SESSIONS = 2
const ALL: Traits = { ack: true, calls: true, answers: true, kicks: true, fallback: 'anew' }

const perihelion: ServerKind = {
  title: 'our server',
  websocket: true,
  callbacks: true,
  timesync: true,
  copies: false,
  refusals: DENIED,
  traits: ALL,
  bakes: true,
  async start(t) {
    const { app, bayeux } = await startServer(t, { allowedOrigins: ['*'], timeout: TIMEOUT, maxSessionsPerBrowser: SESSIONS })
    const open = (_session: unknown, channel: string): boolean => !channel.startsWith('/secret/')
    bayeux.policy({ canSubscribe: open, canPublish: open })
    bayeux.on('/service/answer', ({ data }, session) => session!.deliver('/service/answer', data))
    bayeux.on('/service/say', ({ data }) => {
      const wish = data as Wish
      bayeux.publish(wish.channel, wish.data)
    })
    bayeux.on('/service/end', ({ data }) => {
      const { clientId, how } = data as Wish
      const session = bayeux.session(clientId)!
      if (how === 'kick') session.disconnect()
      else session.expire()
    })
    const { port } = app.server.address() as AddressInfo
    return { port, sessions: async () => bayeux.stats().sessions }
  },
}

interface CometdSession {
  deliver(sender: null, channel: string, data: unknown): void
  disconnect(): void
}
interface CometdServer {
  policy: object
  handle(request: IncomingMessage, response: ServerResponse): void
  addExtension(extension: object): void
  addListener(event: string, listener: () => void): void
  createServerChannel(name: string): {
    addListener(
      event: 'message',
      listener: (session: CometdSession, channel: unknown, message: Wish, done: () => void) => void,
    ): void
    publish(sender: null, data: unknown): void
  }
  getServerSession(id: string): CometdSession
  /** Not public; what its sweep calls. */
  _removeServerSession(session: CometdSession, expired: boolean): void
  close(): void
}

const cometdNodejs: ServerKind = {
  title: 'cometd-nodejs-server',
  websocket: false,
  callbacks: false,
  timesync: false,
  copies: true,
  refusals: DENIED,
  traits: { ...ALL, calls: false, fallback: null },
  bakes: false,
  async start(t) {
    const cometd = require('cometd-nodejs-server').createCometDServer({
      timeout: TIMEOUT,
      maxSessionsPerBrowser: SESSIONS,
    }) as CometdServer
    const { AcknowledgedMessagesExtension } = require('cometd-nodejs-server/ack-extension')
    cometd.addExtension(new AcknowledgedMessagesExtension())
    const open = (
      _session: unknown,
      _message: unknown,
      channel: { name: string },
      answer: (e: undefined, yes: boolean) => void,
    ): void => answer(undefined, !channel.name.startsWith('/secret/'))
    cometd.policy = { canSubscribe: open, canPublish: open }
    const listen = (channel: string, heard: (session: CometdSession, data: Wish) => void): void =>
      cometd.createServerChannel(channel).addListener('message', (session, _channel, message, done) => {
        heard(session, message.data as Wish)
        done()
      })
    listen('/service/answer', (session, data) => session.deliver(null, '/service/answer', data))
    listen('/service/say', (_session, { channel, data }) => cometd.createServerChannel(channel).publish(null, data))
    listen('/service/end', (_session, { clientId, how }) => {
      const session = cometd.getServerSession(clientId)
      if (how === 'kick') session.disconnect()
      else cometd._removeServerSession(session, true)
    })
    let sessions = 0
    cometd.addListener('sessionAdded', () => sessions++)
    cometd.addListener('sessionRemoved', () => sessions--)
    const server = createServer((request, response) => {
      // It leaves pages of other origins to what is in front of it.
      response.setHeader('Access-Control-Allow-Origin', request.headers.origin ?? '*')
      response.setHeader('Access-Control-Allow-Credentials', 'true')
      response.setHeader('Access-Control-Allow-Headers', 'content-type')
      if (request.method === 'OPTIONS') response.end()
      else cometd.handle(request, response)
    })
    t.teardown(() => cometd.close())
    return { port: await listenOn(t, server), sessions: async () => sessions }
  },
}

const cometdJava: ServerKind = {
  title: 'the CometD Java server',
  websocket: true,
  callbacks: true,
  timesync: true,
  copies: false,
  refusals: DENIED,
  traits: ALL,
  bakes: false,
  async start(t) {
    const java = spawn(
      'java',
      ['-cp', join('test', 'legacy', 'java', 'target', 'driver.jar'), 'Server', String(TIMEOUT), String(SESSIONS)],
      {
        stdio: ['pipe', 'pipe', 'inherit'],
      },
    )
    t.teardown(() => java.kill('SIGKILL'))
    const lines = createInterface(java.stdout)
    const next = async (): Promise<Record<string, number>> => JSON.parse((await once(lines, 'line'))[0] as string)
    const { port } = await next()
    return {
      port: port!,
      async sessions() {
        java.stdin.write('sessions\n')
        return (await next())['sessions']!
      },
    }
  },
}

interface FayeAdapter {
  attach(server: Server): void
  on(event: 'handshake' | 'disconnect', listener: () => void): void
  addExtension(extension: { incoming(message: Record<string, unknown>, pass: (message: object) => void): void }): void
  getClient(): { publish(channel: string, data: unknown): PromiseLike<unknown>; disconnect(): unknown }
  /** Not public; what its memory engine calls for a client that has expired. */
  readonly _server: { readonly _engine: { destroyClient(clientId: string): void } }
}

const faye: ServerKind = {
  title: "Faye's server",
  websocket: true,
  callbacks: true,
  timesync: false,
  copies: false,
  refusals: [
    [403, 'Forbidden'],
    [403, 'Forbidden'],
  ],
  traits: { ack: false, calls: false, answers: false, kicks: false, fallback: 'same' },
  bakes: false,
  async start(t) {
    const adapter = new (require('faye').NodeAdapter)({ mount: '/cometd', timeout: TIMEOUT / 1_000 }) as FayeAdapter
    adapter.addExtension({
      incoming(message, pass) {
        const { channel, subscription, data } = message
        const wish = data as Wish
        if (String(subscription ?? channel).startsWith('/secret/')) message['error'] = '403::Forbidden'
        if (channel === '/service/say') void own.publish(wish.channel, wish.data)
        if (channel === '/service/end') adapter._server._engine.destroyClient(wish.clientId)
        pass(message)
      },
    })
    let sessions = 0
    adapter.on('handshake', () => sessions++)
    adapter.on('disconnect', () => sessions--)
    const server = createServer()
    adapter.attach(server)
    const own = adapter.getClient()
    await own.publish('/nobody', 'so that its session is there')
    sessions = 0
    t.teardown(() => void own.disconnect())
    return { port: await listenOn(t, server), sessions: async () => sessions }
  },
}

export const servers = [perihelion, cometdNodejs, cometdJava, faye] as const

async function listenOn(t: Test, server: Server): Promise<number> {
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

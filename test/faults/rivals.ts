// Servers that Perihelion is compared with, and their own clients, each as its documentation says that fewest messages are lost.
//
// Knows: how each is started, how one subscribes to a channel, and how one publishes until the server has said that it is done.
// Does not know: what befalls them (beside.ts).

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { ownVersionOf, PEERS, peerRequire, versionOf } from '../../bench/peers/peer.js'
import { Client } from '../../lib/client/node.js'
import type { Ears } from './judge.js'

export interface Rival {
  readonly version: () => string
  /** Starts the server in this folder, which is the same after each end. */
  start(folder: string, patience: number): Promise<{ readonly child: ChildProcess; readonly url: string }>
  /** Fulfilled when it is subscribed. */
  listen(url: string, ears: Ears): Promise<void>
  /** @returns how to publish; fulfilled when the server said that it is done, rejected when that is not known or it was not done */
  publisher(url: string): Promise<(n: number) => Promise<void>>
}

const require = createRequire(import.meta.url)
const CHANNEL = '/k/a'
const HOUR = 3_600_000
/** How long a client waits for the outcome of a publish, ms. */
const PATIENCE = 2_000

/** A Node program, or another that says `{"port":n}`. */
async function launch(command: string, args: readonly string[], path = '/cometd'): Promise<{ child: ChildProcess; url: string }> {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'ignore'], env: { ...process.env, NODE_OPTIONS: '' } })
  const [line] = (await once(createInterface(child.stdout!), 'line')) as [string]
  const { port } = JSON.parse(line) as { port: number }
  return { child, url: `http://127.0.0.1:${port}${path}` }
}

const launchOurs = (name: string, patience: number, path?: string) =>
  launch(process.execPath, [fileURLToPath(new URL('./rival-server.js', import.meta.url)), name, `${patience}`], path)

const perihelion: Rival = {
  version: () => ownVersionOf('.').replace('.', 'perihelion'),
  start: async (folder, patience) => {
    const config = join(folder, 'config.yaml')
    const rule = { history: { messages: 10_000, age: HOUR } }
    const files = { historyDir: join(folder, 'history'), sessionStore: join(folder, 'sessions') }
    writeFileSync(config, JSON.stringify({ ...files, channels: { '/**': rule } }))
    const cli = fileURLToPath(new URL('../../lib/cli.js', import.meta.url))
    const args = [cli, 'serve', '--port', '0', '--max-interval', `${patience}`, '--trust-client-session', '--config', config]
    const child = spawn(process.execPath, args, {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, NODE_OPTIONS: '' },
    })
    for await (const line of createInterface(child.stdout)) {
      const [, url] = /listening on (http:\S+?)"/.exec(line) ?? []
      if (url === undefined) continue
      child.stdout.resume()
      return { child, url }
    }
    throw new Error('the server did not start')
  },
  listen: async (url, ears) => {
    const client = new Client(url, { backoffMax: 1_000 })
    client.on('gap', () => ears.gaps.add(ears.heard.length))
    await client.connect()
    await client.subscribe(CHANNEL, ({ data }) => ears.heard.push(data as number)).ready
  },
  publisher: async url => {
    const client = new Client(url, { backoffMax: 1_000, replyTimeout: PATIENCE })
    await client.connect()
    return async n => void (await client.publish(CHANNEL, n))
  },
}

interface CometdClient {
  configure(options: object): void
  registerExtension(name: string, extension: object): void
  unregisterTransport(type: string): void
  handshake(done: (reply: { successful: boolean }) => void): void
  addListener(channel: string, heard: (message: { successful: boolean }) => void): void
  subscribe(channel: string, heard: (message: { data: number }) => void, done: () => void): object
  resubscribe(subscription: object): object
  publish(channel: string, data: unknown, done: (reply: { successful: boolean }) => void): void
}

/** cometd.js, with its ack extension. In a new session the application subscribes again; nobody publishes again what failed. */
async function cometdClient(url: string, websocket: boolean): Promise<CometdClient> {
  require('cometd-nodejs-client1').adapt()
  const { CometD } = require('cometd7') as { CometD: new () => CometdClient }
  const AckExtension = require('cometd7/AckExtension') as new () => object
  const client = new CometD()
  client.configure({ url, maxNetworkDelay: 5_000, maxBackoff: 1_000, logLevel: 'error' })
  client.registerExtension('ack', new AckExtension())
  if (!websocket) client.unregisterTransport('websocket')
  await new Promise<void>((resolve, reject) =>
    client.handshake(({ successful }) => (successful ? resolve() : reject(new Error('no handshake')))),
  )
  return client
}

const cometd = (websocket: boolean): Pick<Rival, 'listen' | 'publisher'> => ({
  listen: async (url, { heard }) => {
    const client = await cometdClient(url, websocket)
    await new Promise<void>(resolve => {
      let subscription = client.subscribe(CHANNEL, ({ data }) => heard.push(data), resolve)
      client.addListener('/meta/handshake', ({ successful }) => {
        if (successful) subscription = client.resubscribe(subscription)
      })
    })
  },
  publisher: async url => {
    const client = await cometdClient(url, websocket)
    return n =>
      new Promise((resolve, reject) =>
        client.publish(CHANNEL, n, ({ successful }) => (successful ? resolve() : reject(new Error('not known')))),
      )
  },
})

const DRIVER = join('test', 'legacy', 'java', 'target', 'driver.jar')

const cometdJava: Rival = {
  version: () => `CometD 7.0.17 for Java, ${ownVersionOf('cometd7')} as its client`,
  start: () => launch('java', ['-cp', DRIVER, 'Server', '5000', '-1']), // its maxInterval is 10 s
  ...cometd(true),
}

const cometdNodejs: Rival = {
  version: () => `${versionOf('cometd-nodejs-server')}, ${ownVersionOf('cometd7')} as its client`,
  start: (_folder, patience) => launchOurs('cometd-nodejs', patience),
  ...cometd(false),
}

interface FayeClient {
  subscribe(channel: string, heard: (data: number) => void): PromiseLike<void>
  publish(channel: string, data: unknown): PromiseLike<void>
}

const faye: Rival = {
  version: () => versionOf('faye'),
  start: (_folder, patience) => launchOurs('faye', patience),
  listen: async (url, { heard }) => {
    const { Client } = peerRequire('faye') as { Client: new (url: string, options: object) => FayeClient }
    await new Client(url, { retry: 1 }).subscribe(CHANNEL, n => heard.push(n))
  },
  publisher: async url => {
    const { Client } = peerRequire('faye') as { Client: new (url: string, options: object) => FayeClient }
    const client = new Client(url, { retry: 1 }) // it publishes again by itself until it is done
    return async n => await client.publish(CHANNEL, n)
  },
}

interface IoClient {
  readonly recovered: boolean
  on(event: 'connect', listener: () => void): void
  on(event: 'k', listener: (n: number) => void): void
  emitWithAck(event: 'publish', n: number): Promise<void>
}
type Io = (url: string, options?: object) => IoClient

const socketIo: Rival = {
  version: () => versionOf('socket.io'),
  start: (_folder, patience) => launchOurs('socket.io', patience, '/'),
  listen: async (url, { heard, gaps }) => {
    const { io } = peerRequire('socket.io-client') as { io: Io }
    const socket = io(url, { reconnectionDelayMax: 1_000 })
    let isFirst = true
    await new Promise<void>(resolve =>
      socket.on('connect', () => {
        if (!isFirst && !socket.recovered) gaps.add(heard.length)
        isFirst = false
        resolve()
      }),
    )
    socket.on('k', n => heard.push(n))
  },
  publisher: async url => {
    const { io } = peerRequire('socket.io-client') as { io: Io }
    const socket = io(url, { reconnectionDelayMax: 1_000, retries: 100, ackTimeout: PATIENCE })
    return n => socket.emitWithAck('publish', n)
  },
}

interface CentrifugeClient {
  connect(): void
  ready(): Promise<void>
  newSubscription(channel: string): {
    on(event: 'publication', heard: (context: { data: { n: number } }) => void): void
    on(event: 'subscribed', heard: (context: { wasRecovering: boolean; recovered: boolean }) => void): void
    subscribe(): void
    ready(): Promise<void>
  }
}

/** Its clients recover from its history in memory; programs publish by its HTTP API with a key. Its binary is named by CENTRIFUGO. */
const centrifugo: Rival = {
  version: () => {
    const { version } = JSON.parse(readFileSync(join(PEERS, 'npm', 'node_modules', 'centrifuge', 'package.json'), 'utf8')) as {
      version: string
    }
    return `Centrifugo, centrifuge ${version} as its client`
  },
  start: async folder => {
    const port = await freePort()
    const config = join(folder, 'config.json')
    const namespace = { history_size: 10_000, history_ttl: '1h', force_recovery: true, allow_subscribe_for_client: true }
    writeFileSync(
      config,
      JSON.stringify({
        client: { insecure: true },
        http_api: { insecure: true },
        http_server: { address: '127.0.0.1', port: `${port}` },
        channel: { without_namespace: namespace },
      }),
    )
    const command = process.env['CENTRIFUGO'] ?? 'centrifugo'
    const child = spawn(command, ['--config', config], { stdio: 'ignore' })
    const url = `http://127.0.0.1:${port}/`
    for (;;) {
      if (child.exitCode !== null) throw new Error('centrifugo did not start')
      if (
        await fetch(url).then(
          () => true,
          () => false,
        )
      )
        return { child, url }
      await new Promise(resolve => setTimeout(resolve, 20))
    }
  },
  listen: async (url, { heard, gaps }) => {
    const { Centrifuge } = peerRequire('centrifuge') as { Centrifuge: new (url: string, options: object) => CentrifugeClient }
    const socket = `${url.replace('http', 'ws')}connection/websocket`
    const client = new Centrifuge(socket, { websocket: WebSocketOfWs, maxReconnectDelay: 1_000 })
    const subscription = client.newSubscription('k')
    subscription.on('publication', ({ data }) => heard.push(data.n))
    subscription.on('subscribed', ({ wasRecovering, recovered }) => wasRecovering && !recovered && gaps.add(heard.length))
    subscription.subscribe()
    client.connect()
    await subscription.ready()
  },
  publisher: async url => async n => {
    const body = JSON.stringify({ channel: 'k', data: { n }, idempotency_key: `${n}` })
    const headers = { 'content-type': 'application/json' }
    const signal = AbortSignal.timeout(PATIENCE)
    const response = await fetch(`${url}api/publish`, { method: 'POST', body, headers, signal })
    const { error } = (await response.json()) as { error?: unknown }
    if (error !== undefined) throw new Error(JSON.stringify(error))
  },
}

const { WebSocket: WebSocketOfWs } = require('ws') as { WebSocket: unknown }

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  await new Promise(resolve => server.close(resolve))
  return port
}

export const newFolder = (): string => mkdtempSync(join(tmpdir(), 'perihelion-beside-'))

export const rivals = {
  perihelion,
  'cometd-java': cometdJava,
  'cometd-nodejs': cometdNodejs,
  faye,
  'socket.io': socketIo,
  centrifugo,
} as const satisfies Record<string, Rival>
export type RivalName = keyof typeof rivals

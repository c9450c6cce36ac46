// Clients for browsers that ours is measured beside, each with a server of its protocol, and the same few functions around it in a page.
//
// Knows: how each is bundled, used and served. Does not know: what is measured (questions/clients.ts).

import { readFileSync, statSync } from 'node:fs'
import { createServer } from 'node:http'
import { resolve } from 'node:path'
import { gzipSync } from 'node:zlib'
import Fastify from 'fastify'
import { rolldown } from 'rolldown'
import { WebSocketServer } from 'ws'
import { fastifyOptions, perihelion } from '../lib/index.js'
import { listen, PEERS, peerRequire } from './peers/peer.js'

export interface Rival {
  title(): string
  /** What an application imports; the whole of its bundle. */
  readonly imports: string
  /** Body of `make(url)` in a page: gives `connected`, `transport`, `id` and `publish(word)`, which may be called without a connection. */
  readonly make: string
  /** The same for what tabs share, where there is such a thing; the script is its worker too. */
  readonly shared?: { readonly imports: string; readonly make: string }
  /** Where it is looked for. */
  readonly from: string
  /** A file of the package as pages can load it, where there is one. */
  readonly dist: string | null
  readonly types: string | null
  /** Is there another transport to come back from? */
  readonly fallback: boolean
  readonly server: 'bayeux' | 'socket.io' | 'centrifuge'
}

const NPM = resolve(PEERS, 'npm')
const NPM_MODULES = resolve(NPM, 'node_modules')
const MODULES = resolve('node_modules')

export const rivals: readonly Rival[] = [
  {
    title: () => 'Perihelion',
    imports: "import { Client } from './lib/client/index.js'",
    make: `const client = new Client(url)
      client.connect().catch(() => {})
      return {
        connected: () => client.state === 'connected',
        transport: () => client.transport,
        id: () => client.clientId,
        publish: word => client.publish('/bench', word).catch(() => {}),
      }`,
    shared: {
      imports: "import { SharedClient } from './lib/client/shared.js'",
      make: `const client = new SharedClient(url, { worker: '/script.js' })
        client.connect().catch(() => {})
        return { connected: () => client.state === 'connected' }`,
    },
    from: resolve('.'),
    dist: resolve('build/lib/browser/client.js'),
    types: resolve('lib/client/index.ts'),
    fallback: true,
    server: 'bayeux',
  },
  {
    title: () => `cometd.js ${versionIn(MODULES, 'cometd')}`,
    imports: "import { CometD } from 'cometd'",
    make: `const client = new CometD()
      let connected = false
      client.addListener('/meta/connect', ({ successful }) => { connected = successful })
      client.configure({ url })
      client.handshake()
      return {
        connected: () => connected,
        transport: () => client.getTransport()?.type,
        id: () => client.getClientId(),
        publish: word => client.publish('/bench', word),
      }`,
    from: resolve('.'),
    dist: null,
    types: resolve(MODULES, 'cometd', 'cometd.d.ts'),
    fallback: true,
    server: 'bayeux',
  },
  {
    title: () => `Faye ${versionIn(NPM_MODULES, 'faye')}`,
    imports: "import Faye from 'faye'",
    make: `const client = new Faye.Client(url)
      let connected = false
      client.on('transport:up', () => { connected = true })
      client.on('transport:down', () => { connected = false })
      client.connect()
      return {
        connected: () => connected,
        transport: () => client._dispatcher.connectionType,
        id: () => client._dispatcher.clientId,
        publish: word => void client.publish('/bench', word).then(() => {}, () => {}),
      }`,
    from: NPM,
    dist: resolve(NPM_MODULES, 'faye', 'client', 'faye-browser-min.js'),
    types: null,
    fallback: true,
    server: 'bayeux',
  },
  {
    title: () => `Socket.IO ${versionIn(NPM_MODULES, 'socket.io-client')}`,
    imports: "import { io } from 'socket.io-client'",
    make: `const client = io(new URL(url).origin)
      return {
        connected: () => client.connected,
        transport: () => client.io.engine.transport.name,
        id: () => client.id,
        publish: word => client.emit('bench', word),
      }`,
    from: NPM,
    dist: resolve(NPM_MODULES, 'socket.io-client', 'dist', 'socket.io.min.js'),
    types: resolve(NPM_MODULES, 'socket.io-client', 'build', 'esm', 'index.d.ts'),
    fallback: true,
    server: 'socket.io',
  },
  {
    title: () => `Centrifuge ${versionIn(NPM_MODULES, 'centrifuge')}`,
    imports: "import { Centrifuge } from 'centrifuge'",
    make: `const client = new Centrifuge(url.replace('http', 'ws'))
      let id = ''
      client.on('connected', context => { id = context.client })
      client.connect()
      return {
        connected: () => client.state === 'connected',
        transport: () => 'websocket',
        id: () => id,
        publish: word => client.publish('bench', word).catch(() => {}),
      }`,
    from: NPM,
    dist: resolve(NPM_MODULES, 'centrifuge', 'dist', 'centrifuge.js'),
    types: resolve(NPM_MODULES, 'centrifuge', 'build', 'index.d.ts'),
    fallback: false,
    server: 'centrifuge',
  },
]

function versionIn(modules: string, name: string): string {
  return (JSON.parse(readFileSync(resolve(modules, name, 'package.json'), 'utf8')) as { version: string }).version
}

/** One script of an import and what is done with it. */
export async function bundle(from: string, text: string): Promise<string> {
  const entry = resolve(from, 'entry.js')
  const made = await rolldown({
    input: entry,
    platform: 'browser',
    plugins: [{ name: 'text', resolveId: id => (id === entry ? id : null), load: id => (id === entry ? text : null) }],
    transform: { define: { global: 'globalThis' } }, // of Node, which Faye expects from what bundles it
    logLevel: 'silent',
    tsconfig: false,
  })
  const { output } = await made.generate({
    format: 'iife',
    comments: false,
    minify: { compress: { target: 'es2022' }, mangle: { toplevel: true }, codegen: { removeWhitespace: true } },
  })
  await made.close()
  return output[0].code
}

export const gzippedBytes = (text: string | Buffer): number => gzipSync(text, { level: 9 }).length

/** The bytes of what an application gets that imports this much and keeps it. */
export async function bundleBytes({ from }: Rival, imports: string): Promise<number> {
  const names = /import (?:\{(.*)\}|(\w+)) from/.exec(imports)!
  return gzippedBytes(await bundle(from, `${imports}\nglobalThis.kept = [${names[1] ?? names[2]}]`))
}

export const distBytes = ({ dist }: Rival): number | null => (dist === null ? null : gzippedBytes(readFileSync(dist)))

export const hasTypes = ({ types }: Rival): boolean => types !== null && statSync(types, { throwIfNoEntry: false }) !== undefined

/** A server that takes words and remembers them. */
export interface Serving {
  readonly port: number
  readonly words: readonly string[]
  sessions(): number
}

export const serve: Readonly<Record<Rival['server'], () => Promise<Serving>>> = {
  async bayeux() {
    const words: string[] = []
    const app = Fastify(fastifyOptions)
    await app.register(perihelion, { allowedOrigins: ['*'] })
    app.bayeux.on('/bench', ({ data }) => void words.push(String(data)))
    await app.listen({ port: 0, host: '127.0.0.1' })
    const { port } = app.server.address() as { port: number }
    return { port, words, sessions: () => app.bayeux.stats().sessions }
  },
  async 'socket.io'() {
    interface Io {
      readonly engine: { readonly clientsCount: number }
      on(event: 'connection', listener: (socket: { on(event: 'bench', heard: (word: string) => void): void }) => void): void
    }
    const { Server } = peerRequire('socket.io') as { Server: new (server: unknown, options: object) => Io }
    const words: string[] = []
    const server = createServer()
    const io = new Server(server, { serveClient: false, cors: { origin: true, credentials: true } })
    io.on('connection', socket => socket.on('bench', word => void words.push(word)))
    return { port: await listen(server), words, sessions: () => io.engine.clientsCount }
  },
  /** Stands in for Centrifugo, which is no package: connect and publish of its JSON protocol. */
  async centrifuge() {
    const words: string[] = []
    const server = createServer()
    const sockets = new WebSocketServer({ server })
    let clients = 0
    sockets.on('connection', socket => {
      socket.on('error', () => {})
      socket.on('message', lines => {
        for (const line of String(lines).split('\n')) {
          const { id, connect, publish } = JSON.parse(line) as { id?: number; connect?: object; publish?: { data: string } }
          if (publish !== undefined) words.push(publish.data)
          if (connect !== undefined) socket.send(JSON.stringify({ id, connect: { client: `client ${++clients}`, version: '1' } }))
          else if (id !== undefined) socket.send(JSON.stringify({ id, publish: {} }))
        }
      })
    })
    return { port: await listen(server), words, sessions: () => sockets.clients.size }
  },
}

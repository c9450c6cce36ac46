// The physical limit of long-polling in Node: `node:http`, and parked requests that are answered with ready bytes. No sessions, no protocol.
//
// The dialect: POST /join/USER with [rooms]; POST /poll/USER is parked until there is something; POST /publish with [[room, text], …].

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type Client, type Ears, Hearing, type Post, type Target } from '../client.js'
import { HttpLink, postRequest } from '../wire/http.js'
import { listen, type Peer } from './peer.js'

class BarePolling extends Hearing implements Client {
  static #made = 0
  protected readonly link = new HttpLink(this)
  readonly #poll: string
  readonly #user: number
  #settle: (() => void) | null = null
  #listening = false

  constructor(target: Target, ears: Ears) {
    super(target, ears)
    this.#user = BarePolling.#made++
    this.#poll = postRequest(target.port, `/poll/${this.#user}`, '')
  }

  async open(rooms: readonly number[]): Promise<void> {
    await this.link.connect(this.target.port)
    await this.#ask(`/join/${this.#user}`, JSON.stringify(rooms))
  }

  listen(): void {
    this.#listening = true
    this.link.send(this.#poll)
  }

  publish(posts: readonly Post[]): void {
    const body = JSON.stringify(posts.map(post => [post.room, post.text]))
    this.link.send(postRequest(this.target.port, '/publish', body))
  }

  async close(): Promise<void> {
    if (!this.#listening) await this.#ask(`/leave/${this.#user}`, '')
    this.drop()
  }

  response(ok: boolean, bytes: Buffer, start: number, end: number): void {
    if (!ok) this.ears.fault(bytes.toString('latin1', 0, end))
    const settle = this.#settle
    this.#settle = null
    settle?.()
    this.hear(bytes, start, end)
    if (this.#listening) this.link.send(this.#poll)
  }

  #ask(path: string, body: string): Promise<void> {
    return new Promise(resolve => {
      this.#settle = resolve
      this.link.send(postRequest(this.target.port, path, body))
    })
  }
}

/** A user of the bare server: what waits for the next poll, and the poll that waits for something. */
interface User {
  rooms: readonly number[]
  queue: Buffer[]
  parked: ServerResponse | null
  dirty: boolean
}

export const bareHttp: Peer = {
  title: 'bare node:http',
  version: () => `node:http ${process.version}`,
  clients: { 'long-polling': BarePolling },
  ack: false,
  needs: 'nothing',
  serve: async () => {
    const limit = new BareServer()
    const server = createServer((request, response) => limit.handle(request, response))
    return { port: await listen(server), sessions: () => limit.users.size }
  },
}

class BareServer {
  readonly users = new Map<string, User>()
  readonly #rooms = new Map<number, Set<User>>()
  #dirty: User[] = []

  handle(request: IncomingMessage, response: ServerResponse): void {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => this.#take(request.url!, Buffer.concat(chunks), response))
  }

  #take(url: string, body: Buffer, response: ServerResponse): void {
    const [, verb, name = ''] = url.split('/')
    if (verb === 'poll') return this.#poll(this.users.get(name)!, response)
    if (verb === 'publish') this.#publish(JSON.parse(body.toString()) as [number, string][])
    else if (verb === 'join') this.#join(name, JSON.parse(body.toString()) as number[])
    else this.#leave(name)
    answer(response, Buffer.from('[]'))
  }

  #join(name: string, rooms: number[]): void {
    const user: User = { rooms, queue: [], parked: null, dirty: false }
    this.users.set(name, user)
    for (const room of rooms) {
      const members = this.#rooms.get(room) ?? new Set()
      this.#rooms.set(room, members.add(user))
    }
  }

  #leave(name: string): void {
    const user = this.users.get(name)
    this.users.delete(name)
    if (user !== undefined) for (const room of user.rooms) this.#rooms.get(room)!.delete(user)
  }

  #poll(user: User, response: ServerResponse): void {
    user.parked = response
    if (user.queue.length > 0) this.#flush(user)
  }

  #publish(posts: readonly [room: number, text: string][]): void {
    for (const [room, text] of posts) {
      const message = Buffer.from(`{"channel":"/room/${room}","data":"${text}"},`)
      for (const user of this.#rooms.get(room) ?? []) {
        user.queue.push(message)
        if (user.dirty) continue
        user.dirty = true
        if (this.#dirty.push(user) === 1) setImmediate(() => this.#flushAll())
      }
    }
  }

  /** Once a turn, as a server does that does not want one response for each message of a burst. */
  #flushAll(): void {
    const dirty = this.#dirty
    this.#dirty = []
    for (const user of dirty) {
      user.dirty = false
      if (user.parked !== null && user.queue.length > 0) this.#flush(user)
    }
  }

  #flush(user: User): void {
    const response = user.parked!
    const body = user.queue.length === 1 ? user.queue[0]! : Buffer.concat(user.queue)
    user.parked = null
    user.queue = []
    answer(response, body)
  }
}

function answer(response: ServerResponse, body: Buffer): void {
  response.writeHead(200, [
    'Content-Type',
    'application/json',
    'Content-Length',
    String(body.length),
    'Cache-Control',
    'no-cache',
  ])
  response.end(body)
}

// A burst: a room of 1,000 WebSocket clients and one of 1,000 long-polling clients, 200 messages to each.
//
// The server is a process of its own, so that its heap is its own. The clients are bare sockets; they check order and number as they read.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import net from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import type { Report } from '../support/child.js'

const CLIENTS = 1_000
const MESSAGES = 200
/** Messages that a publisher sends in one envelope, before it waits for the replies. */
const BATCH = 10
/** Clients that join or leave at once. */
const AT_ONCE = 100
const LIMIT = 30_000
const MEGABYTE = 1_048_576
/** Clients that go without a word are forgotten within the test; one that a busy machine keeps from its next connect is not. */
const OPTIONS = { trusted: true, timeout: 3_000, maxInterval: 6_000, sweepPeriod: 200 }

interface Message {
  readonly channel: string
  readonly id?: string
  readonly clientId?: string
  readonly successful?: boolean
  readonly data?: number
}

/** A client that wants the numbers 0, 1, 2, … of one room. */
abstract class Member {
  received = 0
  /** What it got in place of the number that was due; null while all is well. */
  wrong: string | null = null
  /** What comes now is no longer looked at. */
  protected left = false
  protected clientId = ''
  protected readonly socket: net.Socket
  #bytes: Buffer[] = []
  #id = 0
  readonly #waiting = new Map<string, (reply: Message) => void>()

  constructor(
    protected readonly port: number,
    private readonly room: string,
  ) {
    this.socket = net.connect(port, '127.0.0.1')
    this.socket.setNoDelay(true)
    this.socket.on('data', chunk => {
      this.#bytes.push(chunk)
      const all = this.#bytes.length === 1 ? chunk : Buffer.concat(this.#bytes)
      const rest = this.read(all)
      this.#bytes = rest.length === 0 ? [] : [rest]
    })
    this.socket.on('error', error => {
      if (!this.left) this.wrong ??= error.message
    })
  }

  /** Takes what is whole. @returns the rest */
  protected abstract read(bytes: Buffer): Buffer
  protected abstract write(text: string): void

  /** Handshake, first connect, subscription, and the connect that is held. */
  async join(): Promise<void> {
    const reply = await this.say([
      { channel: '/meta/handshake', version: '1.0', supportedConnectionTypes: ['websocket', 'long-polling'] },
    ])
    this.clientId = reply.clientId!
    await this.say([{ channel: '/meta/connect' }])
    await this.say([{ channel: '/meta/subscribe', subscription: this.room }])
    this.connect()
  }

  /** Says it and waits for the last reply. @throws {Error} it was refused */
  async say(messages: readonly object[]): Promise<Message> {
    const full = messages.map(message => ({ ...message, id: String(++this.#id), clientId: this.clientId }))
    const text = JSON.stringify(full)
    const reply = await new Promise<Message>((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`no reply to ${text}; ${this.wrong}`)), LIMIT)
      this.#waiting.set(full.at(-1)!.id, message => {
        clearTimeout(late)
        resolve(message)
      })
      this.write(text)
    })
    if (reply.successful !== true) throw new Error(JSON.stringify(reply))
    return reply
  }

  cut(): void {
    this.left = true
    this.socket.destroy()
  }

  protected connect(): void {
    this.write(JSON.stringify([{ channel: '/meta/connect', id: `c${++this.#id}`, clientId: this.clientId }]))
  }

  protected take(messages: readonly Message[]): void {
    for (const message of messages) {
      if (message.channel === this.room && message.id === undefined) {
        if (message.data !== this.received) this.wrong ??= `${message.data} in place of ${this.received}`
        this.received++
        continue
      }
      const waiting = this.#waiting.get(message.id ?? '')
      this.#waiting.delete(message.id ?? '')
      if (waiting !== undefined) waiting(message)
      else if (this.left) continue
      else if (message.channel === '/meta/connect' && message.successful === true) this.connect()
      else this.wrong ??= JSON.stringify(message)
    }
  }
}

class SocketMember extends Member {
  #upgraded = false

  constructor(port: number, room: string) {
    super(port, room)
    this.socket.write(
      'GET /cometd HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    )
  }

  protected write(text: string): void {
    const length = Buffer.byteLength(text)
    const header = length < 126 ? Buffer.alloc(6) : Buffer.alloc(8)
    header[0] = 0x81
    header[1] = 0x80 | (length < 126 ? length : 126) // the mask is 0
    if (length >= 126) header.writeUInt16BE(length, 2)
    this.socket.write(Buffer.concat([header, Buffer.from(text)]))
  }

  protected read(bytes: Buffer): Buffer {
    let at = 0
    if (!this.#upgraded) {
      const end = bytes.indexOf('\r\n\r\n')
      if (end === -1) return bytes
      this.#upgraded = true
      at = end + 4
    }
    while (at + 4 <= bytes.length) {
      const short = bytes[at + 1]!
      const header = short < 126 ? 2 : 4
      const length = short < 126 ? short : bytes.readUInt16BE(at + 2)
      if (at + header + length > bytes.length) break
      if (bytes[at] === 0x81) this.take(JSON.parse(bytes.toString('utf8', at + header, at + header + length)) as Message[])
      at += header + length
    }
    return bytes.subarray(at)
  }

  async leave(): Promise<void> {
    this.left = true
    await this.say([{ channel: '/meta/disconnect' }])
    this.cut()
  }
}

class PollingMember extends Member {
  readonly #cookie = `BAYEUX_BROWSER=${Math.random().toString(36).slice(2)}`

  protected write(text: string): void {
    const length = Buffer.byteLength(text)
    this.socket.write(
      `POST /cometd HTTP/1.1\r\nHost: x\r\nCookie: ${this.#cookie}\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n${text}`,
    )
  }

  protected read(bytes: Buffer): Buffer {
    let at = 0
    for (;;) {
      const end = bytes.indexOf('\r\n\r\n', at)
      if (end === -1) break
      const head = bytes.toString('latin1', at, end)
      const length = Number(/content-length: (\d+)/i.exec(head)?.[1])
      if (!head.startsWith('HTTP/1.1 200')) this.wrong ??= head
      if (end + 4 + length > bytes.length) break
      at = end + 4 + length
      this.take(JSON.parse(bytes.toString('utf8', end + 4, at)) as Message[])
    }
    return bytes.subarray(at)
  }

  /** Its own connection is taken by the held connect: it says so on another. */
  async leave(): Promise<void> {
    this.left = true
    const other = new PollingMember(this.port, '')
    const text = JSON.stringify([{ channel: '/meta/disconnect', id: 'd', clientId: this.clientId }])
    other.socket.write(
      `POST /cometd HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCookie: ${this.#cookie}\r\nContent-Length: ${text.length}\r\n\r\n${text}`,
    )
    other.socket.resume()
    await once(other.socket, 'close')
    this.cut()
  }
}

type AnyMember = SocketMember | PollingMember

/** Does `work` for all, some at once. */
async function each<T>(all: readonly T[], work: (one: T) => Promise<unknown>): Promise<void> {
  const rest = all[Symbol.iterator]()
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (let next = rest.next(); next.done !== true; next = rest.next()) await work(next.value)
    }),
  )
}

async function until(what: () => boolean): Promise<void> {
  for (const end = Date.now() + LIMIT; !what() && Date.now() < end; ) await delay(20)
}

/** So many clients in each room get so many messages and leave, all with a goodbye or every other. @returns the rooms in the end */
async function party(port: number, clients: number, messages: number, goodbye: 'all' | 'half'): Promise<AnyMember[][]> {
  const rooms: AnyMember[][] = [[], []]
  // each connects when it joins: 2,000 connects at once would overflow the backlog of the listening socket
  await each(Array.from({ length: clients }), async () => {
    const pair = [new SocketMember(port, '/room/sockets'), new PollingMember(port, '/room/polling')] as const
    for (const [i, member] of pair.entries()) rooms[i]!.push(member)
    await Promise.all(pair.map(member => member.join()))
  })
  const all = rooms.flat()
  await Promise.all(['/room/sockets', '/room/polling'].map(room => publishTo(port, room, messages)))
  await until(() => all.every(({ received, wrong }) => received >= messages || wrong !== null))
  await delay(200) // for what comes once too often
  for (const member of all) member.wrong ??= member.received === messages ? null : `${member.received} of ${messages}`
  await each(
    all.filter((_member, i) => goodbye === 'all' || i % 2 === 0),
    member => member.leave(),
  )
  for (const member of all) member.cut()
  return rooms
}

async function publishTo(port: number, room: string, messages: number): Promise<void> {
  const publisher = new SocketMember(port, '/nowhere')
  await publisher.join()
  for (let n = 0; n < messages; n += BATCH)
    await publisher.say(Array.from({ length: BATCH }, (_none, i) => ({ channel: room, data: n + i })))
  await publisher.leave()
}

t.setTimeout(100_000)
t.test('a burst reaches every client in order and once, and leaves nothing behind', async t => {
  const child = fork(fileURLToPath(new URL('../support/child.js', import.meta.url)), [JSON.stringify(OPTIONS)], {
    execArgv: ['--expose-gc'],
    env: { ...process.env, NODE_OPTIONS: '' }, // tap's own hooks would be measured too
  })
  t.teardown(() => child.kill())
  const [{ url }] = (await once(child, 'message')) as [{ url: string }]
  const port = Number(new URL(url).port)
  const report = async (): Promise<Report> => {
    child.send('report')
    return ((await once(child, 'message')) as [Report])[0]
  }
  /** Waits until the clients that left without a word are forgotten, and unused channels swept. */
  const settled = async (): Promise<Report> => {
    let last = await report()
    for (
      const end = Date.now() + LIMIT;
      Date.now() < end && (last.stats.sessions > 0 || last.stats.channels > empty.channels);
    ) {
      await delay(250)
      last = await report()
    }
    return last
  }
  const { stats: empty } = await report()

  await party(port, 200, 40, 'all') // code is compiled and pools are filled before the first look at the heap
  const before = await settled()
  const rooms = await party(port, CLIENTS, MESSAGES, 'half')
  for (const [i, name] of ['WebSocket', 'long-polling'].entries()) {
    t.equal(rooms[i]!.length, CLIENTS)
    t.same(
      rooms[i]!.map(({ wrong }) => wrong).filter(wrong => wrong !== null),
      [],
      `every ${name} client has all, in order, none twice`,
    )
  }
  const after = await settled()
  t.same(after.stats, empty, 'sessions, channels, subscriptions and queues are back to zero')
  // compiled code and pools grow the heap by 1 MB or so; 4 KB left of each client, of its socket or its session, would be 8 MB
  const bound = 1.1 * before.heap + 2.5 * MEGABYTE
  t.ok(
    after.heap < bound,
    `heap ${inMegabytes(before.heap)} before, ${inMegabytes(after.heap)} after, bound ${inMegabytes(bound)}`,
  )
})

function inMegabytes(bytes: number): string {
  return `${(bytes / MEGABYTE).toFixed(1)} MB`
}

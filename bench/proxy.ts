// A TCP proxy on the way to a server, with the troubles that networks and other people's proxies make.
//
// Knows: bytes and connections; of HTTP as much as shows an upgrade, and where a response ends.
// Does not know: Bayeux, WebSocket frames.
// Always true: what passes keeps its order; a connection that lost bytes passes nothing more, as a stream has no gaps; no socket of
// the proxy keeps a process alive.

import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** What can be wrong with the way, for the connections that are there and for new ones. */
export const troubles = {
  none: 'all passes',
  shut: 'all connections are cut, and new ones are reset',
  deaf: 'what the server sends is lost',
  hole: 'nothing passes, not even the end of a connection, and what is sent meanwhile is lost',
  stall: 'nothing passes, and all of it comes later: TCP after a short loss of the network',
  'upgrades cut': 'a connection that asks for an upgrade is cut',
  'upgrades unanswered': 'a request for an upgrade is swallowed; HTTP passes',
  'upgrades forbidden': 'a request for an upgrade is answered 403',
  'upgrades failed': 'a request for an upgrade is answered 502',
  'frames swallowed': 'an upgrade is answered, and nothing passes after it',
  buffer: 'a response passes when it is complete; after an upgrade, whenever `bufferBytes` have come together',
  slow: 'everything comes `delay` ms later',
} as const
export type Trouble = keyof typeof troubles

/** What can befall one connection, once. */
export const fates = {
  cut: 'both ends see its end, behind all that came before',
  truncate: 'the same in the midst of a chunk: of a frame, of a request, of a response',
  reset: 'both ends get a reset, and what was on the way is lost',
  stall: 'nothing passes for a while, and then all of it',
  delay: 'everything comes later from now on',
} as const
export type FateName = keyof typeof fates

export interface Fate {
  readonly name: FateName
  /** Whose bytes are counted. */
  readonly from: 'client' | 'server'
  /** How many of them pass before. */
  readonly bytes: number
  /** How long a stall lasts, or how late everything is. */
  readonly ms: number
}

/** The next chunk of the server that contains a mark passes by half, or whole but nothing can come back; then all connections are cut. */
export type Cut = 'idle' | 'half' | 'whole'

interface Pair {
  readonly near: Socket
  readonly far: Socket
  /** Asked for an upgrade; null before the first bytes. */
  upgrade: boolean | null
  /** The answer to the upgrade has passed. */
  upgraded: boolean
  /** Ends that lost bytes and get no more. */
  readonly torn: Set<Socket>
  /** Waits to pass, by its destination. */
  readonly held: Map<Socket, Buffer[]>
  /** Chunks that are late. */
  late: number
  /** What is to come over it; of `bytes` those are left that it waits for. */
  fate: Fate | null
  bytes: number
  /** What is wrong with this connection alone; the way's own trouble goes before. */
  trouble: 'none' | 'stall' | 'slow'
  /** Of `slow`, ms; the way's own where it is null. */
  delay: number | null
}

export class TroubledProxy {
  readonly #server: Server
  readonly #pairs = new Set<Pair>()
  #target: { readonly port: number; readonly host: string }
  #trouble: Trouble = 'none'
  #armed: { readonly cut: Cut; readonly mark: string } | null = null
  /** Of `buffer`, after an upgrade. */
  bufferBytes = Number.POSITIVE_INFINITY
  /** Of `slow`, ms. */
  delay = 300
  /** Bytes of the server that were lost since the last change of the trouble. */
  lost = 0
  onLost: () => void = () => {}
  /** When connections came, in ms of `performance.now`, also those that were reset. */
  readonly tries: number[] = []
  /** Requests for an upgrade so far. */
  upgrades = 0
  /** What `cut` has done, each time with the number of connections that it took. */
  readonly cuts: { readonly cut: Cut; readonly connections: number }[] = []
  /** How often each fate came. */
  readonly befallen: Record<FateName, number> = { cut: 0, truncate: 0, reset: 0, stall: 0, delay: 0 }
  #draw: (() => Fate) | null = null
  readonly #sent: string[] = []

  private constructor(
    server: Server,
    target: URL,
    /** The server's URL, by this way. */
    readonly url: string,
  ) {
    this.#server = server
    this.#target = { port: Number(target.port), host: target.hostname }
    server.on('connection', near => this.#join(near))
  }

  /** Listens on a free port of 127.0.0.1. */
  static async open(target: string): Promise<TroubledProxy> {
    const server = createServer({ noDelay: true })
    server.unref()
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const url = new URL(target)
    return new TroubledProxy(server, url, `http://127.0.0.1:${port}${url.pathname}`)
  }

  /** Later connections go to another server. */
  lead(target: string): void {
    const { port, hostname } = new URL(target)
    this.#target = { port: Number(port), host: hostname }
  }

  /** The clients' bytes on all connections, as text, in order of arrival. */
  get sent(): string {
    return this.#sent.join('')
  }

  /** From now on this is wrong with the way. What was held passes. */
  set(trouble: Trouble): void {
    this.#trouble = trouble
    this.lost = 0
    if (trouble === 'shut') this.#dropAll()
    for (const pair of [...this.#pairs]) this.#release(pair)
  }

  /** From now on each new connection has a fate, and another one when it has got over it; null: none has one any more. */
  doom(draw: (() => Fate) | null): void {
    this.#draw = draw
    if (draw !== null) return
    for (const pair of [...this.#pairs]) {
      pair.fate = null
      pair.trouble = 'none'
      this.#release(pair)
    }
  }

  /**
   * Cuts all connections at once, or arms what does it; later ones pass.
   *
   * @param mark what the chunk of the server must contain, for `half` and `whole`
   */
  cut(cut: Cut = 'idle', mark = ''): void {
    if (cut !== 'idle') {
      this.#armed = { cut, mark }
      return
    }
    this.#finish(cut)
  }

  close(): Promise<void> {
    this.#dropAll()
    return new Promise(resolve => this.#server.close(() => resolve()))
  }

  #finish(cut: Cut): void {
    this.cuts.push({ cut, connections: this.#pairs.size })
    this.#dropAll()
  }

  #dropAll(): void {
    for (const pair of [...this.#pairs]) this.#drop(pair)
  }

  #drop(pair: Pair): void {
    this.#pairs.delete(pair)
    pair.near.destroy()
    pair.far.destroy()
  }

  /** What was held passes. */
  #release(pair: Pair): void {
    for (const [to, chunks] of pair.held) for (const chunk of chunks) to.write(chunk)
    pair.held.clear()
    if (!this.#isStill(pair) && (pair.near.destroyed || pair.far.destroyed)) this.#drop(pair)
  }

  #fated(pair: Pair): void {
    pair.fate = this.#draw?.() ?? null
    pair.bytes = pair.fate?.bytes ?? 0
  }

  /** @returns whether the fate of this connection took the chunk */
  #befalls(pair: Pair, from: Fate['from'], chunk: Buffer): boolean {
    const { fate } = pair
    if (!this.#pairs.has(pair)) return true // it had its end, and is only waiting for its ends to see it
    if (fate?.from !== from) return false
    pair.bytes -= chunk.length
    if (pair.bytes > 0) return false
    this.befallen[fate.name]++
    pair.fate = null
    const pass = (bytes: Buffer): void => (from === 'client' ? this.#up(pair, bytes) : this.#down(pair, bytes))
    switch (fate.name) {
      case 'reset':
        reset(pair.near)
        reset(pair.far)
        this.#pairs.delete(pair)
        return true
      case 'cut':
      case 'truncate':
        pass(fate.name === 'cut' ? chunk : chunk.subarray(0, chunk.length + pair.bytes))
        this.#pairs.delete(pair)
        pair.near.destroySoon()
        pair.far.destroySoon()
        return true
      case 'stall':
        pair.trouble = 'stall'
        setTimeout(() => {
          pair.trouble = 'none'
          this.#release(pair)
          this.#fated(pair)
        }, fate.ms).unref()
        return false
      case 'delay':
        pair.trouble = 'slow'
        pair.delay = fate.ms
        this.#fated(pair)
        return false
    }
  }

  #join(near: Socket): void {
    this.tries.push(performance.now())
    near.unref()
    near.on('error', () => {}) // 'close' follows
    if (this.#trouble === 'shut') {
      reset(near)
      return
    }
    const far = connect({ ...this.#target, noDelay: true })
    far.unref()
    far.on('error', () => {})
    const pair: Pair = {
      near,
      far,
      upgrade: null,
      upgraded: false,
      torn: new Set(),
      held: new Map(),
      late: 0,
      fate: null,
      bytes: 0,
      trouble: 'none',
      delay: null,
    }
    this.#pairs.add(pair)
    this.#fated(pair)
    near.on('data', chunk => this.#befalls(pair, 'client', chunk) || this.#up(pair, chunk))
    far.on('data', chunk => this.#befalls(pair, 'server', chunk) || this.#down(pair, chunk))
    for (const [socket, peer] of [
      [near, far],
      [far, near],
    ] as const) {
      socket.on('end', () => this.#silent(pair) || this.#behindLate(pair, () => peer.end()))
      socket.on('close', () => {
        if (this.#silent(pair)) return
        this.#behindLate(pair, () => peer.destroySoon())
        this.#pairs.delete(pair)
      })
    }
  }

  /** Whether not even an end passes. */
  #silent(pair: Pair): boolean {
    return pair.torn.has(pair.far) || this.#isStill(pair)
  }

  #isStill(pair: Pair): boolean {
    return this.#trouble === 'hole' || this.#troubleOf(pair) === 'stall'
  }

  #troubleOf(pair: Pair): Trouble {
    return this.#trouble === 'none' ? pair.trouble : this.#trouble
  }

  /** From the client. */
  #up(pair: Pair, chunk: Buffer): void {
    const trouble = this.#troubleOf(pair)
    const text = chunk.toString('latin1')
    this.#sent.push(text)
    const first = pair.upgrade === null
    if (first) pair.upgrade = /\r\nupgrade: *websocket\r\n/i.test(text)
    if (pair.upgrade && first) {
      this.upgrades++
      if (trouble === 'upgrades cut') return this.#drop(pair)
      if (trouble === 'upgrades unanswered') tear(pair)
      if (trouble === 'upgrades forbidden') return refuse(pair, '403 Forbidden')
      if (trouble === 'upgrades failed') return refuse(pair, '502 Bad Gateway')
    }
    if (trouble === 'hole' || (trouble === 'frames swallowed' && pair.upgraded)) tear(pair)
    if (!pair.torn.has(pair.far)) this.#pass(pair, pair.far, chunk)
  }

  /** From the server. */
  #down(pair: Pair, chunk: Buffer): void {
    if (this.#armed !== null && chunk.includes(this.#armed.mark)) {
      const { cut } = this.#armed
      this.#armed = null
      // Only once the bytes are handed over: destroy would throw them away.
      pair.near.write(cut === 'half' ? chunk.subarray(0, chunk.length / 2) : chunk, () => this.#finish(cut))
      pair.far.pause()
      pair.near.pause()
      return
    }
    const trouble = this.#troubleOf(pair)
    if (trouble === 'hole' || (trouble === 'frames swallowed' && pair.upgraded)) tear(pair)
    if (trouble === 'deaf') pair.torn.add(pair.near)
    if (pair.torn.has(pair.near)) {
      this.lost += chunk.length
      this.onLost()
    } else if (pair.upgrade && !pair.upgraded) {
      // What comes with the answer to the upgrade is after it already.
      pair.upgraded = true
      const end = chunk.indexOf('\r\n\r\n') + 4
      if (trouble === 'stall' || trouble === 'slow' || end < 4) return this.#pass(pair, pair.near, chunk)
      pair.near.write(chunk.subarray(0, end))
      if (chunk.length > end) this.#down(pair, chunk.subarray(end))
    } else this.#pass(pair, pair.near, chunk)
  }

  #behindLate(pair: Pair, act: () => void): void {
    if (pair.late === 0) act()
    else setTimeout(act, pair.delay ?? this.delay).unref()
  }

  #pass(pair: Pair, to: Socket, chunk: Buffer): void {
    const held = pair.held.get(to) ?? []
    const trouble = pair.late > 0 ? 'slow' : this.#troubleOf(pair)
    switch (trouble) {
      case 'slow':
        pair.late++
        setTimeout(() => {
          pair.late--
          to.write(chunk)
        }, pair.delay ?? this.delay).unref()
        return
      case 'stall':
        pair.held.set(to, [...held, chunk])
        return
      case 'buffer': {
        const all = Buffer.concat([...held, chunk])
        const ready = pair.upgraded ? all.length >= this.bufferBytes : to === pair.far || complete(all)
        pair.held.set(to, ready ? [] : [all])
        if (ready) to.write(all)
        return
      }
      default:
        to.write(chunk)
    }
  }
}

function tear({ torn, near, far }: Pair): void {
  torn.add(near).add(far)
}

function refuse(pair: Pair, status: string): void {
  pair.near.end(`HTTP/1.1 ${status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`)
}

/** Whether these bytes end with the end of a response. */
function complete(bytes: Buffer): boolean {
  const end = bytes.indexOf('\r\n\r\n') + 4
  if (end < 4) return false
  const head = bytes.subarray(0, end).toString('latin1')
  const [, length] = /\r\ncontent-length: *(\d+)/i.exec(head) ?? []
  if (length !== undefined) return bytes.length >= end + Number(length)
  return !/\r\ntransfer-encoding: *chunked/i.test(head) || bytes.subarray(end).toString('latin1').endsWith('0\r\n\r\n')
}

/** Node hangs at its end when a socket is reset while it is being shut: such a one is only destroyed. */
function reset(socket: Socket): void {
  if (socket.writableEnded) socket.destroy()
  else socket.resetAndDestroy()
}

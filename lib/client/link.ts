// A client's session in this context: one client half and the transports it has.
//
// Knows: which transport carries the session, when to fall back, when to try a better one, how a dead line is found out.
// Does not know: Bayeux messages (bayeux/client.ts), promises and patterns (client.ts).
// Always true: at most one socket carries the session, at most one more is tried beside it; one alarm is set for the next deadline;
// after `closed` nothing is: no alarm, no socket, no request.

import { ClientHalf } from '../../bayeux/client.js'
import {
  type ClientFailure,
  type ClientSink,
  type ClientState,
  type Lane,
  NEVER,
  type SavedSession,
} from '../../bayeux/client-sink.js'
import { callbackPolling, longPolling, type Requests } from './http.js'
import type { Extra, Line, LineEvents, Settings, TokenSource, TransportName } from './line.js'
import { memory } from './memory.js'
import type { Socket, Surroundings } from './surroundings.js'

/** An alarm that rings so much later than it was set for has slept, ms. */
const LATE = 3_000
/** The longest time without a look at the clock, ms: so soon a machine that slept notices. */
const LOOK = 10_000
/** What a page kept is of no use to one that comes later, ms: it is not a reload any more. */
const KEPT = 60_000

/** The socket in use or on trial. */
interface Trial {
  /** null where the browser refused to make one. */
  socket: Socket | null
  open: boolean
  /** Something came over it. */
  proved: boolean
  /** Until when it has to open, and what was sent first has to be answered. */
  by: number
}

export class Link implements Line {
  readonly #settings: Settings
  readonly #around: Surroundings
  readonly #on: LineEvents
  readonly #token: TokenSource | undefined
  /** Where a reload finds the session: not that of another user. */
  readonly #key: string
  /** What was put there since it was last looked at. */
  #kept = ''
  readonly #half: ClientHalf
  readonly #requests: Requests
  readonly #http: TransportName | null
  /** Whether WebSocket is wanted and there; and whether the server offers it. */
  readonly #able: boolean
  #wanted: boolean
  #used: Trial | null = null
  #spare: Trial | null = null
  #upgradeAt = NEVER
  /** Sockets that were lost since the last one that said something, without that one: -1 while it is there. */
  #lostSockets = 1
  /** How often HTTP had to stand in for WebSocket, one after the other. */
  #fallbacks = 0
  #sends = 0
  #alarmAt = NEVER
  #callOff: () => void = () => {}
  #ringing = false
  #deaf: () => void = () => {}

  /** @throws {TypeError} none of `transports` can be had here */
  constructor(settings: Settings, token: TokenSource | undefined, around: Surroundings, on: LineEvents) {
    this.#settings = settings
    this.#token = token
    this.#key = `perihelion:${settings.url} ${markOf([token, settings.headers])}`
    this.#around = around
    this.#on = on
    const { transports, url } = settings
    this.#http = transports.find(name => name !== 'websocket') ?? null
    this.#able = this.#wanted = transports.includes('websocket') && around.openSocket !== null
    if (!this.#wanted && !this.#http) throw new TypeError('no WebSocket here')
    const answers = {
      received: (text: string, lane: Lane) => this.#do(now => this.#half.received(text, now, lane)),
      failed: (lane: Lane, why: string) => this.#do(now => this.#half.failed(now, lane, why)),
    }
    this.#requests =
      this.#http === 'callback-polling' ? callbackPolling(document, url, answers) : longPolling(around, settings, answers)
    this.#half = new ClientHalf(this.#sink(), this.#wanted ? 'websocket' : 'http', settings, settings.lasting ? memory() : null)
  }

  get state(): ClientState {
    return this.#half.state
  }

  get clientId(): string | null {
    return this.#half.clientId
  }

  get transport(): TransportName | null {
    return this.#half.kind === 'websocket' ? 'websocket' : this.#http
  }

  get offset(): number | null {
    return this.#half.offset
  }

  start(): void {
    if (this.state !== 'new' && this.state !== 'closed') return
    this.#deaf = this.#around.listen(event => this.#page(event))
    const saved = this.#recall()
    this.#do(now => {
      if (saved === null) return this.#half.handshake(now)
      this.#on.resumed(saved.subscriptions)
      this.#half.resume(saved, now)
    })
  }

  subscribe(channel: string | readonly string[], extra?: Extra): string | null {
    return this.#do(now => this.#half.subscribe(channel, now, extra))
  }

  unsubscribe(channel: string | readonly string[], extra?: Extra): string | null {
    return this.#do(now => this.#half.unsubscribe(channel, now, extra))
  }

  publish(channel: string, data: unknown, extra?: Extra): string | null {
    return this.#do(now => this.#half.publish(channel, data, now, extra))
  }

  call(target: string, data: unknown, extra?: Extra): string | null {
    return this.#do(now => this.#half.call(target, data, now, extra))
  }

  startBatch(): void {
    this.#half.startBatch()
  }

  endBatch(): void {
    this.#do(now => this.#half.endBatch(now))
  }

  disconnect(): void {
    this.#do(now => this.#half.disconnect(now))
  }

  /** The network may have changed, the machine have slept. */
  wake(): void {
    this.#do(now => this.#check(now))
  }

  /** Every input of the half goes through here, so that its next deadline is looked for afterwards. */
  #do<T>(input: (now: number) => T): T {
    const result = input(this.#around.now())
    if (!this.#ringing) {
      this.#ringing = true
      queueMicrotask(() => this.#ring())
    }
    return result
  }

  /** Does what is due and sets the alarm for what comes next. */
  #ring(): void {
    this.#ringing = false
    const now = this.#around.now()
    this.#callOff()
    if (now - this.#alarmAt > LATE) this.#check(now)
    if (byOf(this.#used) <= now) this.#lost('the WebSocket is mute', now)
    if (byOf(this.#spare) <= now) this.#spareLost(now)
    if (this.#upgradeAt <= now) this.#tryUpgrade()
    const at = Math.min(this.#half.tick(now), byOf(this.#used), byOf(this.#spare), this.#upgradeAt)
    if (this.state === 'closed' || this.state === 'new') return
    this.#alarmAt = Math.min(at, now + LOOK)
    this.#callOff = this.#around.after(Math.max(0, this.#alarmAt - now), () => this.#ring())
  }

  #rest(): void {
    this.#callOff()
    this.#deaf()
    this.#alarmAt = this.#upgradeAt = NEVER
    this.#dropSpare()
  }

  #sink(): ClientSink {
    const on = this.#on
    return {
      ...on, // the rest goes on as it is
      open: () => this.#open(),
      send: (text, lane) => this.#send(text, lane),
      abort: lane => this.#drop(lane),
      message: (_channel, message, names) => on.message(message, names),
      reply: reply => {
        if (reply.channel === '/meta/handshake' && reply['successful'] === true) this.#offered(reply['supportedConnectionTypes'])
        on.reply(reply)
      },
      failure: (code, detail) => {
        this.#failed(code)
        on.failure(code, detail)
      },
      state: (state, ...why) => {
        if (state === 'connected') this.#connected()
        if (state === 'closed') this.#rest()
        on.state(state, ...why)
      },
      random: () => this.#around.random(),
      outgoing: message => {
        if (message['channel'] === '/meta/handshake' && typeof this.#token === 'string') addToken(message, this.#token)
        on.outgoing(message)
      },
    }
  }

  // Sending

  #send(text: string, lane: Lane): void {
    const token = this.#token
    if (typeof token !== 'function' || lane !== 'connect' || this.clientId) return this.#transmit(text, lane)
    const send = ++this.#sends
    const still = (): boolean => send === this.#sends
    Promise.resolve()
      .then(token)
      .then(
        value => {
          if (!still()) return
          const messages = JSON.parse(text) as Record<string, unknown>[]
          if (value !== null) addToken(messages[0]!, value)
          this.#transmit(JSON.stringify(messages), lane)
        },
        error => still() && this.#do(now => this.#half.failed(now, 'connect', String(error))),
      )
  }

  #transmit(text: string, lane: Lane): void {
    if (this.#half.kind === 'http') return this.#requests.send(text, lane, this.state === 'disconnecting')
    const used = this.#used
    if (used?.proved === false) used.by = this.#around.now() + this.#settings.openTimeout
    try {
      used?.socket?.send(text)
    } catch {
      // it is closing, which its own event tells
    }
  }

  #drop(lane?: Lane): void {
    if (lane !== 'other') this.#sends++
    this.#requests.abort(lane)
    if (lane !== undefined) return
    shut(this.#used)
    this.#used = null
  }

  // WebSocket

  #open(): void {
    const spare = this.#spare
    if (spare?.open) {
      this.#spare = null
      this.#used = spare
      this.#half.opened(this.#around.now())
    } else {
      this.#dropSpare()
      this.#used = this.#connect()
    }
  }

  #connect(): Trial {
    const { url, protocols, headers, openTimeout } = this.#settings
    const trial: Trial = { socket: null, open: false, proved: false, by: this.#around.now() + openTimeout }
    try {
      const socket = this.#around.openSocket!(url.replace(/^http/, 'ws'), protocols, headers)
      socket.onopen = () => this.#opened(trial)
      socket.onmessage = ({ data }) => this.#heard(trial, data)
      socket.onclose = ({ code, reason }) => this.#closed(trial, `WebSocket closed: ${code} ${reason}`)
      socket.onerror = ({ message = 'WebSocket failed' }) => this.#closed(trial, message)
      trial.socket = socket
    } catch (error) {
      queueMicrotask(() => this.#closed(trial, String(error))) // such as a page over TLS and a server without
    }
    return trial
  }

  #opened(trial: Trial): void {
    trial.open = true
    trial.by = NEVER // until something is sent
    this.#do(now => {
      if (trial === this.#used) this.#half.opened(now)
      else if (trial === this.#spare) {
        this.#half.useNext('websocket', now) // as soon as nothing is in flight
        if (this.state !== 'connected') this.#half.wake(now)
      }
    })
  }

  #heard(trial: Trial, data: unknown): void {
    if (trial !== this.#used) return
    const moved = !trial.proved && this.state === 'connected'
    trial.proved = true
    this.#fallbacks = 0
    trial.by = this.#upgradeAt = NEVER
    this.#lostSockets = -1
    this.#do(now => this.#half.received(String(data), now))
    if (moved && this.state === 'connected') this.#on.state('connected')
  }

  #closed(trial: Trial, why: string): void {
    if (trial === this.#used) this.#do(now => this.#lost(why, now))
    else if (trial === this.#spare) this.#do(now => this.#spareLost(now))
  }

  /**
   * The socket in use is no more. One that never said anything gives way to HTTP at once; but a session that has lived on WebSocket tries
   * another one first, since most servers refuse it on HTTP, and what it has not acknowledged is lost with it.
   */
  #lost(why: string, now: number): void {
    this.#half.failed(now, undefined, why)
    if (!this.#http || this.state === 'closed' || this.#lostSockets++ < (!this.clientId ? 0 : 1)) return
    this.#half.use('http', now)
  }

  // The way back to WebSocket

  #offered(types: unknown): void {
    this.#wanted = this.#able && (!Array.isArray(types) || types.includes('websocket'))
    if (!this.#wanted && this.#http) this.#half.use('http', this.#around.now())
  }

  #connected(): void {
    if (this.#half.kind === 'http' && this.#wanted && this.#upgradeAt === NEVER && !this.#spare) this.#planUpgrade()
  }

  /** Where one request fails, the connect beside it may be as dead. The next try begins with WebSocket again, unless HTTP was found to be all that there is. */
  #failed(code: ClientFailure): void {
    if (this.#half.kind === 'websocket' || (code !== 'CONNECTION_FAILED' && code !== 'TIMEOUT')) return
    const now = this.#around.now()
    if (this.state === 'connected') this.#half.check(now, this.#settings.openTimeout)
    else if (this.state !== 'connecting' && this.#fallbacks === 0 && this.#wanted) this.#half.useNext('websocket', now)
  }

  #planUpgrade(): void {
    const { upgradeBase, upgradeMax } = this.#settings
    const wait = Math.min(upgradeMax, upgradeBase * 2 ** this.#fallbacks++)
    this.#upgradeAt = this.#around.now() + wait * (0.75 + this.#around.random() / 2)
  }

  #tryUpgrade(): void {
    this.#upgradeAt = NEVER
    if (!this.#wanted || this.#half.kind === 'websocket' || this.#spare) return
    this.#spare = this.#connect()
  }

  #spareLost(now: number): void {
    this.#dropSpare()
    if (this.#half.kind === 'websocket') return
    this.#half.useNext('http', now)
    if (this.#wanted) this.#planUpgrade()
  }

  #dropSpare(): void {
    shut(this.#spare)
    this.#spare = null
  }

  // The page

  #page(event: 'wake' | 'leave' | 'back'): void {
    if (event === 'leave') return this.#keep()
    this.#recall()
    this.wake()
  }

  #check(now: number): void {
    if (this.#upgradeAt !== NEVER) this.#upgradeAt = now
    this.#half.check(now, this.#settings.openTimeout)
  }

  #keep(): void {
    const session = this.#half.save()
    if (!this.#settings.reload || session === null || typeof this.#token === 'function') return
    try {
      const text = JSON.stringify({ ...session, until: this.#around.now() + KEPT })
      this.#around.storage!.setItem(this.#key, text)
      this.#kept = text
    } catch {
      // full or forbidden: then the next page begins anew
    }
  }

  /** Takes what the page before this one kept, so that no copy of this tab finds it. */
  #recall(): SavedSession | null {
    const { storage } = this.#around
    try {
      const text = storage!.getItem(this.#key)
      storage!.removeItem(this.#key)
      if (this.#kept && this.#kept !== text) this.#do(now => this.#half.renew(now)) // a page in between has gone on with it
      this.#kept = ''
      const kept = JSON.parse(text!)
      if (
        this.#settings.reload &&
        typeof kept.clientId === 'string' &&
        Array.isArray(kept.subscriptions) &&
        kept.until > this.#around.now()
      )
        return kept
    } catch {
      // none, broken, or forbidden
    }
    return null
  }
}

function byOf(trial: Trial | null): number {
  return trial?.by ?? NEVER
}

function shut(trial: Trial | null): void {
  const socket = trial?.socket
  if (!socket) return
  socket.onopen = socket.onmessage = socket.onclose = null
  socket.onerror = () => {} // of a `ws` closed before it opened
  socket.close(1000)
}

/** Tells who a client is (token, headers) from others without telling it. */
export function markOf(who: readonly unknown[]): number {
  let mark = 0
  for (const char of JSON.stringify(who)) mark = (Math.imul(mark, 31) + char.charCodeAt(0)) | 0
  return mark
}

function addToken(message: Record<string, unknown>, token: string): void {
  message['ext'] = { ...(message['ext'] as object | undefined), token }
}

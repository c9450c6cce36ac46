// The property test's model: clients that do as they are told, one engine, and what must hold after each step.
//
// Knows: what each write, reply and end means for the session that it is for. Does not know: which steps come (steps.ts).

import assert from 'node:assert/strict'
import { Engine, type FrozenMessage, type Json, type Question, type Session, type Transport } from '../../bayeux/index.js'
import { covers, Party, type Request } from './party.js'
import {
  assertEmpty,
  flushIfDue,
  openWire,
  RecordingSink,
  type RootOfTree,
  rootOf,
  runTo,
  type Wire,
  type Written,
} from './recording.js'
import { MAX_INTERVAL, RULES, type Setting, type Step, TIMES } from './steps.js'

class Client {
  party: Party | null = null
  socket: Wire | null = null
  constructor(readonly browser: string) {}
}

export class Simulation {
  now = 1_000_000
  readonly engine: Engine
  readonly sink: RecordingSink
  readonly clients: Client[]
  readonly #parties = new Map<string, Party>()
  readonly #requests = new Map<string, Request>()
  readonly #envelopes = new Map<Wire, readonly string[]>()
  readonly #wires = new Map<Wire, Client>()
  readonly #bound = new Map<Wire, Party>()
  readonly #lastSeq = new Map<Wire, number>()
  readonly #heldSince = new WeakMap<object, number>()
  readonly #published = new Set<number>()
  #questions: Question[] = []
  #overflowed = new Set<Session>()
  #forced = false
  #later: ReadonlySet<string>
  #root: RootOfTree | null = null
  #count = 0

  constructor(private readonly given: Setting) {
    this.#later = new Set(given.later)
    this.sink = new RecordingSink({
      written: written => this.#written(written),
      ended: wire => this.#gone(wire),
      asked: question => {
        if (!this.#later.has(question.kind)) return true
        this.#questions.push(question)
        return null
      },
      overflow: session => {
        this.#overflowed.add(session)
        if (given.full === 'remove') this.#party(session).doomed = true
        return given.full
      },
      published: frozen => this.#publishedBy(frozen),
      sessionAdded: session => {
        this.#parties.set(session.id, new Party(session, session.ack !== null))
        if (given.greet) this.#deliver(session)
      },
      sessionRemoved: (session, reason) => {
        if (reason !== 'expired' || this.#forced || given.options.maxProcessing > 0) return
        assert(this.now > this.#party(session).lastConnectReply + MAX_INTERVAL, 'a session expired before its time')
      },
      subscribed: (session, channel) => this.#party(session).subscriptions.add(channel),
      unsubscribed: (session, channel) => this.#party(session).subscriptions.delete(channel),
    })
    this.engine = new Engine({ ...TIMES, ...given.options, trustClientSession: false }, RULES, this.sink)
    this.engine.server.police(Object.fromEntries(given.later.map(kind => [kind, true])))
    this.engine.server.extend({ incoming: (_session, message) => message['veto'] !== true })
    this.clients = [0, 1, 2, 3].map(i => new Client(`browser${i % 2}`))
    const local = this.engine.server.addLocal('local', frozen =>
      this.#parties.get('local')!.take([frozen.message], null, [], false),
    )
    this.#parties.set('local', new Party(local, false))
    this.engine.server.subscribe(local, '/**')
  }

  // Steps.

  do({ what, turn }: Step): void {
    switch (what.op) {
      case 'send':
        this.#send(this.clients[what.who]!, what.transport, what.messages)
        break
      case 'connect':
        this.#send(this.clients[what.who]!, what.transport, [what.message])
        break
      case 'handshake':
        this.handshake(this.clients[what.who]!, what.transport, what.ack)
        break
      case 'disconnect':
        this.#send(this.clients[what.who]!, what.transport, [{ channel: '/meta/disconnect' }])
        break
      case 'publish':
        this.engine.server.publish(what.channel, { n: ++this.#count }, { lazy: what.lazy }, null, this.now)
        break
      case 'deliver':
        this.#onSession(what.who, session => this.#deliver(session))
        break
      case 'kick':
        this.#onSession(what.who, session => this.#kick(session))
        break
      case 'remove':
        this.#onSession(what.who, session => this.engine.server.remove(session, this.now))
        break
      case 'expire':
        this.#forced = true
        this.#onSession(what.who, session => this.engine.server.expire(session, this.now))
        this.#forced = false
        break
      case 'deaf':
      case 'broken':
      case 'closed':
        this.#cut(this.clients[what.who]!, what.which, what.op)
        break
      case 'report':
        this.#report()
        break
      case 'answer':
        this.#answer(what.which, what.allow)
        break
      case 'advance':
        this.#run(what.ms)
        break
      case 'jump':
        this.now += what.ms
        this.engine.tick(this.now)
        break
      case 'batch':
        this.#onSession(what.who, session => {
          if (what.start) this.engine.server.startBatch(session)
          else if (session.batchDepth > 0) this.engine.server.endBatch(session)
        })
        break
      case 'congest':
        this.#congest(this.clients[what.who]!, what.full)
    }
    this.#bind()
    if (turn === true) flushIfDue(this.engine, this.sink, this.now)
    else if (turn === 'slice' && this.sink.flushDue) this.sink.flushDue = this.engine.flush(this.now, 1)
    this.#check(turn === true)
  }

  handshake(client: Client, transport: Transport, ack: boolean): void {
    this.#send(client, transport, [{ channel: '/meta/handshake', ...(ack ? { ext: { ack: true } } : null) }])
  }

  answerAll(): void {
    while (this.#questions.length > 0) this.#answer(0, true)
    flushIfDue(this.engine, this.sink, this.now)
  }

  /** The network heals and the policy is done: all that a living session must have reaches it. Then everybody goes. */
  end(): void {
    this.#later = new Set()
    this.answerAll()
    this.#report()
    for (const client of this.clients) this.#congest(client, false)
    for (const { session } of this.#parties.values()) while (session.batchDepth > 0) this.engine.server.endBatch(session)
    flushIfDue(this.engine, this.sink, this.now)
    for (const client of this.clients) {
      const { party } = client
      if (party === null || party.session.gone) continue
      client.socket = null
      this.#send(client, 'websocket', [{ channel: '/meta/connect', advice: { timeout: 0 } }])
      assert.equal(party.ack ? party.reached : party.sent, party.due.length, 'messages are lost')
      party.checkView()
    }
    this.#send(this.clients[0]!, 'websocket', [{ channel: '/meta/disconnect' }])
    for (const wire of this.#wires.keys()) this.#close(wire)
    this.#run(TIMES.maxLazyTimeout)
    const local = this.#parties.get('local')!
    if (!local.session.gone) assert.equal(local.sent, local.due.length, 'messages to a local session are lost')
    this.engine.server.remove(local.session, this.now)
    this.#root ??= rootOf(this.engine)
    this.#run(60_000)
    assertEmpty(this.engine, this.#root)
    assert.deepEqual(this.sink.faults, [])
  }

  // What clients and applications do.

  #send(client: Client, transport: Transport, given: readonly Json[]): void {
    const wire = this.#wire(client, transport)
    const handshake = given[0]!['channel'] === '/meta/handshake'
    const party = handshake ? null : client.party
    if (wire === null || (party === null && !handshake)) return
    const connects = given.filter(message => message['channel'] === '/meta/connect')
    let concurrent = party?.unsettled === true || (wire.socket && wire.connection.exchange !== null)
    for (const request of this.#requests.values()) {
      if (request.wire === wire && (handshake || (request.party !== party && request.party?.session.gone === true)))
        request.superseded = true
      if (party === null || request.party !== party) continue
      if (connects.length > 0 || (transport === 'websocket' && request.wire !== wire)) request.superseded = true
      if (request.wire.connection.waiting !== null) concurrent = true
    }
    const messages = given.map(message => {
      const seq = ++this.#count
      const id = String(seq)
      const channel = message['channel'] as string
      const full: Record<string, unknown> = { ...message, id }
      if (!handshake) full['clientId'] = party!.session.id
      if (!channel.startsWith('/meta/')) full['data'] = { n: seq }
      if (party?.ack && channel === '/meta/connect') full['ext'] = { ack: party.acknowledges }
      const { subscription } = message
      if (subscription !== undefined)
        party!.told.set(seq, { patterns: [subscription].flat() as string[], on: channel === '/meta/subscribe', concurrent })
      const claims = party === null ? 0 : party.carried.get(party.acknowledges)!
      if (party !== null && full['ext'] !== undefined) party.acknowledged = Math.max(party.acknowledged, claims)
      this.#requests.set(id, {
        seq,
        message: full,
        wire,
        party,
        claims,
        concurrent,
        superseded: connects.includes(message) && message !== connects.at(-1),
      })
      return full
    })
    if (!wire.socket)
      this.#envelopes.set(
        wire,
        messages.map(message => message['id'] as string),
      )
    this.engine.receive(wire.connection, [JSON.stringify(messages)], this.now)
  }

  #wire(client: Client, transport: Transport): Wire | null {
    if (transport === 'websocket' && client.socket?.state === 'open') return client.socket.paused ? null : client.socket
    const wire = openWire(this.engine, transport, client.browser)
    this.#wires.set(wire, client)
    if (wire.socket) client.socket = wire
    return wire
  }

  #deliver(session: Session): void {
    const n = ++this.#count
    this.engine.server.deliver(session, '/greeting', { n }, {}, this.now)
    if (!this.#overflowed.delete(session)) this.#party(session).expect(n, Number.NEGATIVE_INFINITY)
  }

  #kick(session: Session): void {
    const { held, endpoint, exchange } = session
    const way = held?.connection ?? endpoint
    const heard = way !== null && this.sink.writable(way)
    this.engine.server.disconnect(session, this.now)
    if (heard && exchange === null) assert(this.#party(session).noticed, 'the client was not told of its end')
  }

  #onSession(who: number, act: (session: Session) => void): void {
    const session = this.clients[who]!.party?.session
    if (session !== undefined && !session.gone) act(session)
  }

  #cut(client: Client, which: number, how: 'deaf' | 'broken' | 'closed'): void {
    const wires = [...this.#wires].filter(([wire, owner]) => owner === client && wire.state === 'open').map(([wire]) => wire)
    const wire = wires[which % wires.length]
    if (wire === undefined) return
    if (how === 'closed') this.#close(wire)
    else wire.state = how
  }

  #report(): void {
    for (const wire of [...this.#wires.keys()]) if (wire.state === 'deaf' || wire.state === 'broken') this.#close(wire)
  }

  #close(wire: Wire): void {
    wire.state = 'done'
    this.#gone(wire)
    this.engine.closed(wire.connection, this.now)
  }

  #gone(wire: Wire): void {
    this.#wires.delete(wire)
    for (const [id, { wire: its, party }] of this.#requests) {
      if (its !== wire) continue
      this.#requests.delete(id)
      if (party !== null) party.unsettled = true
    }
  }

  #answer(which: number, allow: boolean): void {
    const [question] = this.#questions.splice(which % Math.max(1, this.#questions.length), 1)
    if (question !== undefined) this.engine.answer(question, allow, this.now)
  }

  #congest(client: Client, full: boolean): void {
    if (client.socket !== null && client.socket.state !== 'done') this.engine.congested(client.socket.connection, full)
  }

  #run(ms: number): void {
    runTo(this.engine, this.sink, this.now, this.now + ms, now => {
      this.now = now
    })
  }

  // What the engine does.

  #party(session: Session): Party {
    return this.#parties.get(session.id)!
  }

  #publishedBy(frozen: FrozenMessage): void {
    const { n } = frozen.message.data as { n: number }
    assert(!this.#published.has(n), 'published twice')
    const request = this.#requests.get(String(n))
    if (request?.party != null && !request.concurrent) {
      assert(n > request.party.published, 'published out of order')
      request.party.published = n
    }
    this.#published.add(n)
    const by = frozen.lazy === -1 ? Number.NEGATIVE_INFINITY : this.now + frozen.lazy
    for (const party of this.#parties.values()) {
      if (this.#overflowed.delete(party.session)) continue
      if ([...party.subscriptions].some(pattern => covers(pattern, frozen.channel))) party.expect(n, by)
    }
  }

  #written(written: Written): void {
    const { wire, head, replies, heard } = written
    const all = head === null ? replies : [head, ...replies]
    const requests = all.map(reply => {
      const request = this.#requests.get(reply['id'] as string)
      assert(request !== undefined && request.wire === wire, `a reply that nobody waits for: ${JSON.stringify(reply)}`)
      assert.equal(reply['channel'], request.message['channel'])
      this.#requests.delete(reply['id'] as string)
      return request
    })
    assert(
      requests.every((request, i) => i === 0 || request.seq > requests[i - 1]!.seq),
      'replies out of order',
    )
    if (!wire.socket)
      assert.deepEqual(
        all.map(reply => reply['id']),
        this.#envelopes.get(wire),
        'not one reply to each message',
      )
    for (const [i, request] of requests.entries()) this.#replied(all[i]!, request, heard)
    const party = this.#partyOf(written, requests)
    if (party !== null) party.take(written.messages, written, requests, this.#connectOnly(party, wire))
    else assert.deepEqual(written.messages, [], 'messages to nobody')
    if (!wire.socket) this.#gone(wire)
  }

  #connectOnly({ ack }: Party, { transport }: Wire): boolean {
    return ack || this.given.options.metaConnectDeliverOnly || transport === 'callback-polling'
  }

  #partyOf({ wire, head }: Written, requests: readonly Request[]): Party | null {
    if (head !== null) return this.#parties.get(head['clientId'] as string) ?? null
    if (!wire.socket) return this.#parties.get(requests[0]?.message['clientId'] as string) ?? null
    const { session } = wire.connection
    if (session !== null) return this.#party(session)
    const left = requests.find(
      request => request.message['channel'] === '/meta/disconnect' && request.party?.session.gone === true,
    )
    return left?.party ?? this.#bound.get(wire) ?? null
  }

  #replied(reply: Json, { seq, message, wire, party }: Request, heard: boolean): void {
    const channel = message['channel'] as string
    const ok = reply['successful'] as boolean
    if (channel !== '/meta/connect') {
      assert(seq > (this.#lastSeq.get(wire) ?? 0), 'replies of one socket out of order')
      this.#lastSeq.set(wire, seq)
    } else if (party !== null && ok) party.lastConnectReply = this.now
    if (channel === '/meta/handshake' && ok) {
      const client = this.#wires.get(wire)!
      const made = this.#parties.get(reply['clientId'] as string)!
      assert.equal(made.ack, message['ext'] !== undefined)
      if (heard) client.party = made
    }
    if (!channel.startsWith('/meta/'))
      assert.equal(this.#published.has(seq), ok, 'the reply does not say what became of a publish')
    const told = party?.told.get(seq)
    if (told !== undefined && heard) told.ok = ok
  }

  // What must hold after each step.

  #bind(): void {
    this.#root ??= rootOf(this.engine)
    for (const wire of this.#wires.keys())
      if (wire.connection.session !== null) this.#bound.set(wire, this.#party(wire.connection.session))
  }

  #check(flushed: boolean): void {
    const alive = [...this.#parties.values()].filter(({ session }) => !session.gone)
    const stats = this.engine.server.stats()
    assert.equal(stats.sessions + stats.local, alive.length)
    assert.equal(
      stats.subscriptions,
      alive.reduce((sum, { subscriptions }) => sum + subscriptions.size, 0),
    )
    const queued = alive.reduce((sum, { session, due, sent }) => sum + (session.local ? 0 : due.length - sent), 0)
    assert.equal(stats.queued, queued, 'the queues do not hold what has not left')
    const { size } = this.engine.server['core'].deadlines
    const waiting = [...this.#parties.values()].filter(({ session }) => !session.gone || session.held !== null).length
    assert(size <= waiting, 'the heap keeps sessions that are gone')
    const heldBy = new Map<string, number>()
    for (const { session } of this.#parties.values()) {
      const { held } = session
      if (held === null) continue
      if (held.counted) heldBy.set(session.browser!, (heldBy.get(session.browser!) ?? 0) + 1)
      const since = this.#heldSince.get(held) ?? this.now
      this.#heldSince.set(held, since)
      const advice = this.#requests.get(held.reply.id as string)?.message['advice'] as { timeout?: number } | undefined
      if (!session.gone)
        assert.equal(
          held.until - since,
          Math.min(advice?.timeout ?? TIMES.timeout, TIMES.maxTimeout),
          'held for another time than asked',
        )
      assert(held.until > this.now, 'a held connect outlives its time')
      assert(session.gone || held.connection.open, 'held on a closed connection')
    }
    const { maxSessionsPerBrowser } = this.given.options
    if (maxSessionsPerBrowser >= 0)
      for (const count of heldBy.values()) assert(count <= maxSessionsPerBrowser, 'too many held connects of one browser')
    assert(!alive.some(({ doomed }) => doomed), 'a session lives on although its queue overflowed')
    if (flushed) for (const party of alive) this.#checkGone(party)
    if (this.#questions.length === 0) {
      for (const party of alive) party.unsettled = false
      this.#checkAnswered()
    }
    assert.deepEqual(this.sink.faults, [])
  }

  /** Where there is a way out, nothing waits but lazy messages, and these not too long. */
  #checkGone({ session, due, sent }: Party): void {
    const { held, endpoint } = session
    const byConnect = held !== null && (session.connectOnly || !held.connection.socket) && this.sink.writable(held.connection)
    const bySocket =
      endpoint !== null && !session.connectOnly && !endpoint.congested && endpoint.open && this.sink.writable(endpoint)
    if ((!byConnect && !bySocket && !session.local) || session.batchDepth > 0 || session.exchange !== null) return
    for (const { by } of due.slice(sent)) assert(by > this.now, 'a message waits although it could leave')
  }

  /** No question is open: each message on a wire that works has its reply, unless it is a held connect or one that was superseded. */
  #checkAnswered(): void {
    for (const [id, { party, wire, message, superseded }] of this.#requests) {
      if (wire.state === 'broken') continue
      const connect = message['channel'] === '/meta/connect'
      if (connect && party!.session.held?.reply.id === id) continue
      assert(connect && superseded && wire.socket, `no reply to ${JSON.stringify(message)}`)
      this.#requests.delete(id)
    }
  }
}

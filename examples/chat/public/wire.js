// The chat's wire: the client that the server hands out, the chat's requests as promises, and what became of each message.
//
// Knows: channels and their messages (service.ts lists them), which session was told our name, sentences for what goes wrong.
// Does not know: what is shown, which rooms are wanted (the page says so after each `entered`).
// Always true: a message is said when the room has it, refused when the server says why, and else its fate is not known:
// then it is to be said again with the same tag, by which the server knows what it has already.

/** A request that the server refused (`code` is its reason), or whose fate is not known (`code` is 'unreachable'). */
export class Refused extends Error {
  constructor(code, text) {
    super(text)
    this.code = code
  }
}

const TROUBLE = {
  CONNECTION_FAILED: 'The server cannot be reached.',
  TIMEOUT: 'The server does not answer.',
  SESSION_LOST: 'The server had to begin anew.',
  STOPPED: 'The server has ended this connection.',
  KICKED: 'The server has ended this connection.',
}
/** People are watching: the longest pause between two tries, ms. */
const OPTIONS = { backoffMax: 5_000 }
/** How long to wait before asking again where there was no answer, and for the reason of a refusal, ms. */
const AGAIN = 2_000
const REASON = 10_000

/**
 * @typedef {import('../../../lib/client/index.js').ConnectionState} State
 * @typedef {object} Events
 * @property {(state: State, transport: string) => void} state
 * @property {(text: string) => void} trouble of the connection, as a sentence
 * @property {(channel: string) => void} gap what was said meanwhile is kept no more
 * @property {() => {nick: string, key: string} | null} identity asked in each new session; null while there is no name yet
 * @property {(answer: {nick: string, rooms: object[]}) => void} entered in a new session, or by another name
 * @property {() => void} back the session goes on after the connection was lost
 * @property {(refused: Refused) => void} turnedAway the name was refused
 * @property {(note: {room: string, topic: string, members: number, gone?: boolean}) => void} room
 * @property {(room: string, said: object) => void} said
 * @property {(room: string, move: {event: string, nick: string, was: string, members: number}) => void} moved
 * @property {(room: string, nick: string) => void} typing
 * @property {(message: object) => void} whispered
 */
export class Wire {
  #client
  #on
  /** Subscriptions of each room; the client makes them again in a new session. */
  #rooms = new Map()
  /** The session that knows our name. */
  #session = null
  /** By tag: what waits to learn whether the room has a message, or why not. */
  #verdicts = new Map()

  /**
   * Loads the client from the server that it is to talk to.
   *
   * @param {string} path of the Bayeux server @param {boolean} shared one connection for all tabs of this browser @param {Events} on
   */
  static async load(path, shared, on) {
    if (!shared) return new Wire(new (await import(`${path}/client-durable.mjs`)).Client(path, OPTIONS), on)
    await import(`${path}/client-shared.js`)
    return new Wire(new globalThis.Perihelion.SharedClient(path, OPTIONS), on)
  }

  /** @param {import('../../../lib/client/index.js').Client} client @param {Events} on */
  constructor(client, on) {
    this.#client = client
    this.#on = on
    client.on('state', ({ state, transport }) => this.#changed(state, transport))
    client.on('error', error => on.trouble(TROUBLE[error.code] ?? error.message))
    client.on('gap', ({ channel }) => on.gap(channel))
  }

  /** Whether the server hears us, and knows who we are. */
  get live() {
    return this.#client.state === 'connected' && this.#session !== null && this.#session === this.#client.clientId
  }

  /** Epoch ms by the server's clock. */
  get now() {
    return this.#client.serverTime()
  }

  /** Connects, or connects again after the server sent us away. */
  open() {
    const client = this.#client
    client.connect().catch(() => {}) // the state tells it
    this.#rooms.clear() // they end with a connection that is given up
    client.subscribe('/talk/rooms', ({ data }) => this.#on.room(data))
    client.subscribe('/service/talk/private', ({ data }) => this.#on.whispered(data))
    client.subscribe('/service/talk/refused', ({ data }) => this.#verdicts.get(data.tag)?.(new Refused(data.error, data.text)))
  }

  /** Says who we are. @returns {Promise<void>} rejected with `Refused` when the name is not ours */
  async enter() {
    const identity = this.#on.identity()
    if (identity === null) return
    const session = this.#client.clientId
    const answer = await this.#insist('enter', identity)
    this.#session = session
    this.#on.entered(answer)
  }

  /** Subscribes first, so that nothing said after the answer is missed. @returns {Promise<object>} who is there, what was said */
  join(room) {
    return this.#client.batch(() => {
      if (!this.#rooms.get(room)?.every(subscription => subscription.active)) this.#listen(room)
      return this.#insist('join', { room })
    })
  }

  leave(room) {
    return this.#client.batch(() => {
      for (const subscription of this.#rooms.get(room) ?? []) void subscription.unsubscribe()
      this.#rooms.delete(room)
      return this.#insist('leave', { room })
    })
  }

  /** @returns {Promise<void>} fulfilled when the room has it; rejected with `Refused` */
  async say(room, text, tag) {
    const heard = new Promise(resolve => this.#verdicts.set(tag, resolve))
    const answered = this.#client.publish(`/talk/room/${room}`, { text, tag }).then(
      () => null,
      // Not published: the room has it already, which the delivery of the first one tells, or the reason comes by a message of its own.
      error => (error.text === 'message_deleted' ? pause(REASON).then(() => unreachable('TIMEOUT')) : refusedBy(error)),
    )
    const refused = await Promise.race([heard, answered])
    this.#verdicts.delete(tag)
    if (refused !== null) throw refused
  }

  typing(room) {
    this.#client.publish(`/talk/room/${room}/typing`, {}).catch(() => {}) // then it is not seen
  }

  /** @returns {Promise<object>} the message as the addressee sees it; rejected with `Refused` */
  whisper(to, text, tag) {
    return this.#call('private', { to, text, tag })
  }

  #changed(state, transport) {
    this.#on.state(state, transport ?? '')
    if (state !== 'connected') return
    if (this.live) this.#on.back()
    else this.enter().catch(refused => refused.code !== 'unreachable' && this.#on.turnedAway(refused)) // else the next session tries again
  }

  #listen(room) {
    const listen = (channel, heard) => this.#client.subscribe(channel, ({ data }) => heard(data))
    this.#rooms.set(room, [
      listen(`/talk/room/${room}`, said => {
        this.#on.said(room, said)
        this.#verdicts.get(said.tag)?.(null)
      }),
      listen(`/talk/room/${room}/members`, move => this.#on.moved(room, move)),
      listen(`/talk/room/${room}/typing`, ({ nick }) => this.#on.typing(room, nick)),
    ])
  }

  /** For what may be done twice: asks until there is an answer, or another session to ask in. */
  async #insist(name, data) {
    const session = this.#client.clientId
    for (;;) {
      try {
        return await this.#call(name, data)
      } catch (refused) {
        if (refused.code !== 'unreachable' || session === null || session !== this.#client.clientId) throw refused
        await pause(AGAIN)
      }
    }
  }

  async #call(name, data) {
    try {
      return await this.#client.call(`talk/${name}`, data)
    } catch (error) {
      throw refusedBy(error)
    }
  }
}

function refusedBy({ code, reply, text, detail }) {
  if (code !== 'REFUSED') return unreachable(code)
  const { error = text, text: why = `The server refused it (${text || detail}).` } = reply?.data ?? {}
  return new Refused(error, why)
}

function unreachable(code) {
  return new Refused('unreachable', TROUBLE[code] ?? 'The server did not answer.')
}

/** @param {number} ms */
export function pause(ms) {
  return new Promise(resolve => setTimeout(resolve, ms))
}

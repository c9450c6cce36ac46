// The chat's wire: one CometD client, the chat's requests as promises, and the state of the connection in three words.
//
// Knows: channels and their messages (service.ts lists them), handshakes again after a lost session.
// Does not know: what is shown, which rooms are wanted (the page says so after each `entered`).
import { AckExtension, CometD } from './vendor/cometd/cometd.js'

/** A request that the server refused (`code` is its reason), or that never arrived (`code` is 'unreachable'). */
export class Refused extends Error {
  constructor(code, text) {
    super(text)
    this.code = code
  }
}

/**
 * @typedef {'connecting' | 'live' | 'reconnecting' | 'closed'} State
 * @typedef {object} Events
 * @property {(state: State, transport: string) => void} state
 * @property {() => {nick: string, key: string} | null} identity asked at each handshake; null while there is no name yet
 * @property {(answer: {nick: string, rooms: object[]}) => void} entered
 * @property {(refused: Refused) => void} turnedAway the name was refused
 * @property {(note: {room: string, topic: string, members: number, gone?: boolean}) => void} room
 * @property {(room: string, said: object) => void} said
 * @property {(room: string, move: {event: string, nick: string, was: string, members: number}) => void} moved
 * @property {(room: string, nick: string) => void} typing
 * @property {(message: object) => void} whispered
 * @property {(refusal: {error: string, text: string, room: string, tag: string}) => void} refused
 */
export class Wire {
  #cometd = new CometD()
  #on
  #subscriptions = new Map()
  #entered = false
  #state = 'connecting'

  /** @param {string} url of the Bayeux server @param {Events} on */
  constructor(url, on) {
    this.#on = on
    const cometd = this.#cometd
    cometd.configure({ url, logLevel: 'warn', maxBackoff: 8_000 })
    cometd.registerExtension('ack', new AckExtension())
    cometd.addListener('/meta/handshake', reply => this.#handshaken(reply))
    cometd.addListener('/meta/connect', reply => this.#connected(reply))
    cometd.addListener('/meta/disconnect', () => this.#change('closed'))
    cometd.addListener('/service/talk/private', message => on.whispered(message.data))
    cometd.addListener('/service/talk/refused', message => on.refused(message.data))
  }

  get live() {
    return this.#state === 'live'
  }

  /** Connects, or connects again after the server sent us away. */
  open() {
    this.#change('connecting')
    this.#cometd.handshake()
  }

  close() {
    this.#cometd.disconnect()
  }

  /** Says who we are. @returns {Promise<void>} rejected with `Refused` when the name is not ours */
  async enter() {
    const identity = this.#on.identity()
    if (identity === null) return
    const answer = await this.#call('enter', identity)
    this.#entered = true
    this.#on.entered(answer)
    this.#change('live')
  }

  /** Subscribes first, so that nothing said after the answer is missed. @returns {Promise<object>} who is there, what was said */
  join(room) {
    return this.#batch(() => {
      if (!this.#subscriptions.has(room)) {
        const listen = (channel, heard) => this.#cometd.subscribe(channel, message => heard(message.data))
        this.#subscriptions.set(room, [
          listen(`/talk/room/${room}`, said => this.#on.said(room, said)),
          listen(`/talk/room/${room}/members`, move => this.#on.moved(room, move)),
          listen(`/talk/room/${room}/typing`, ({ nick }) => this.#on.typing(room, nick)),
        ])
      }
      return this.#call('join', { room })
    })
  }

  leave(room) {
    return this.#batch(() => {
      for (const subscription of this.#subscriptions.get(room) ?? []) this.#cometd.unsubscribe(subscription)
      this.#subscriptions.delete(room)
      return this.#call('leave', { room })
    })
  }

  /** @returns {Promise<boolean>} false when the message may not have arrived, and may be sent again with the same tag */
  say(room, text, tag) {
    return new Promise(resolve => {
      this.#cometd.publish(`/talk/room/${room}`, { text, tag }, reply => resolve(reply.successful || !reply.failure))
    })
  }

  typing(room) {
    this.#cometd.publish(`/talk/room/${room}/typing`, {})
  }

  /** @returns {Promise<object>} the message as the addressee sees it */
  whisper(to, text, tag) {
    return this.#call('private', { to, text, tag })
  }

  #handshaken(reply) {
    this.#entered = false
    if (!reply.successful) {
      this.#change(this.#state === 'connecting' ? 'connecting' : 'reconnecting')
      return
    }
    // A new session knows nothing of the old one's subscriptions.
    this.#cometd.clearSubscriptions()
    this.#subscriptions.clear()
    this.#batch(() => {
      this.#cometd.subscribe('/talk/rooms', message => this.#on.room(message.data))
      this.enter().catch(refused => {
        if (refused.code !== 'unreachable') this.#on.turnedAway(refused) // else the next session tries again
      })
    })
  }

  #connected(reply) {
    if (this.#cometd.isDisconnected()) return
    if (!reply.successful) this.#change(this.#state === 'connecting' ? 'connecting' : 'reconnecting')
    else if (this.#entered) this.#change('live')
  }

  #change(state) {
    if (state === this.#state && state !== 'connecting') return
    this.#state = state
    this.#on.state(state, this.#cometd.getTransport()?.type ?? '')
  }

  #call(name, data) {
    return new Promise((resolve, reject) => {
      this.#cometd.remoteCall(`/talk/${name}`, data, reply => {
        if (reply.successful) resolve(reply.data)
        else reject(new Refused(reply.data?.error ?? 'unreachable', reply.data?.text ?? 'The server did not answer.'))
      })
    })
  }

  #batch(work) {
    this.#cometd.startBatch()
    try {
      return work()
    } finally {
      this.#cometd.endBatch()
    }
  }
}

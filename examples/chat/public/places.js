// Places where one talks: rooms and private threads, with what was said, what is unread and who is typing.
//
// Knows: order, duplicates, what is still on its way, notices that belong together.
// Does not know: the wire, what is on the screen.

const KEPT = 500

/**
 * @typedef {object} Entry one line of a conversation: a message, or a notice about people
 * @property {string} id '' for what is still on its way
 * @property {string} nick
 * @property {string} text
 * @property {number} at epoch ms
 * @property {string} tag our own mark
 * @property {boolean} own
 * @property {'' | 'sending' | 'failed'} state
 * @property {string} [why] the reason of a failure
 * @property {{nick: string, event: string}[]} [moves] of a notice
 */

export class Place {
  /** @type {Entry[]} */
  entries = []
  /** @type {Set<string>} names of those in the room */
  people = new Set()
  /** @type {Map<string, number>} until when each is shown as typing */
  typing = new Map()
  topic = ''
  members = 0
  joined = false
  unread = 0
  /** @type {Entry | null} the first entry that was not seen */
  firstUnread = null
  draft = ''
  #ids = new Set()

  /** @param {'room' | 'thread'} kind @param {string} name */
  constructor(kind, name) {
    this.kind = kind
    this.name = name
  }

  get title() {
    return this.kind === 'room' ? `#${this.name}` : this.name
  }

  /** Puts a message of the server in its place. @returns {Entry | null} null when it was there already */
  add(message, own) {
    if (this.#ids.has(message.id)) return null
    this.#ids.add(message.id)
    if (own && message.tag !== '') this.entries = this.entries.filter(entry => entry.id !== '' || entry.tag !== message.tag)
    const entry = { id: message.id, nick: message.nick, text: message.text, at: message.at, tag: message.tag, own, state: '' }
    const waiting = this.entries.findIndex(other => other.state !== '')
    if (waiting === -1) this.entries.push(entry)
    else this.entries.splice(waiting, 0, entry) // what is on its way comes after what has arrived
    this.typing.delete(message.nick)
    this.#trim()
    return entry
  }

  /** @returns {Entry} a message that we are sending */
  pend(nick, text, tag) {
    const entry = { id: '', nick, text, at: Date.now(), tag, own: true, state: 'sending' }
    this.entries.push(entry)
    return entry
  }

  waiting() {
    return this.entries.filter(entry => entry.state === 'sending')
  }

  /** Marks a message of ours as not sent. @returns {boolean} whether there is one */
  fail(tag, why) {
    const entry = this.entries.find(other => other.id === '' && other.tag === tag)
    if (entry === undefined) return false
    entry.state = 'failed'
    entry.why = why
    return true
  }

  drop(entry) {
    this.entries = this.entries.filter(other => other !== entry)
  }

  /** Notes who came and went; moves that follow each other are one notice, and one who comes back at once did not leave. */
  move(nick, event) {
    const last = this.entries.findLast(entry => entry.state === '')
    const opposite = event === 'joined' ? 'left' : 'joined'
    if (last?.moves === undefined) {
      const notice = { id: '', nick: '', text: '', at: Date.now(), tag: '', own: false, state: '', moves: [{ nick, event }] }
      this.entries.push(notice)
    } else if (last.moves.some(move => move.nick === nick && move.event === opposite)) {
      last.moves = last.moves.filter(move => move.nick !== nick)
      if (last.moves.length === 0) this.drop(last)
    } else last.moves.push({ nick, event })
    this.#trim()
  }

  /** @returns {string[]} who is typing now */
  typists(now) {
    for (const [nick, until] of this.typing) if (until <= now) this.typing.delete(nick)
    return [...this.typing.keys()]
  }

  seen() {
    this.unread = 0
  }

  #trim() {
    while (this.entries.length > KEPT) this.#ids.delete(this.entries.shift().id)
  }
}

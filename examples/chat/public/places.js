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
 * @property {'' | 'sending' | 'sent' | 'failed'} state of what we said; '' for all else
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
  /** Whether what waits is being sent. */
  busy = false
  /** What is here already, by id and by tag: sent again to a server that has begun anew, a message has another id. */
  #known = new Set()

  /** @param {'room' | 'thread'} kind @param {string} name */
  constructor(kind, name) {
    this.kind = kind
    this.name = name
  }

  get title() {
    return this.kind === 'room' ? `#${this.name}` : this.name
  }

  /**
   * Puts a message of the server in its place: behind what has arrived, before what is on its way.
   *
   * @returns {{entry: Entry, where: 'end' | 'same' | 'between'} | null} `same`: it is ours, and stays where it was; null when it was there already
   */
  add({ id, nick, text, at, tag }, own) {
    const marks = tag === '' ? [id] : [id, `${nick} ${tag}`]
    if (marks.some(mark => this.#known.has(mark))) return null
    for (const mark of marks) this.#known.add(mark)
    this.typing.delete(nick)
    const ours = own && tag !== '' ? this.entries.find(entry => isOut(entry) && entry.tag === tag) : undefined
    const from = ours === undefined ? -1 : this.entries.indexOf(ours)
    const entry = Object.assign(ours ?? {}, { id, nick, text, at, tag, own, state: own ? 'sent' : '' })
    if (ours !== undefined) this.drop(ours)
    const to = this.#put(entry)
    const where = from === to ? 'same' : ours === undefined && to === this.entries.length - 1 ? 'end' : 'between'
    this.#trim()
    return { entry, where }
  }

  /** @returns {Entry} a message that we are sending */
  pend(nick, text, at, tag) {
    const entry = { id: '', nick, text, at, tag, own: true, state: 'sending' }
    this.entries.push(entry)
    return entry
  }

  /** @returns {Entry[]} what is to be sent, in the order in which it was written */
  get waiting() {
    return this.entries.filter(entry => entry.state === 'sending')
  }

  drop(entry) {
    this.entries = this.entries.filter(other => other !== entry)
  }

  /** Notes who came and went; moves that follow each other are one notice, and one who comes back at once did not leave. */
  move(nick, event) {
    const last = this.entries.findLast(entry => !isOut(entry))
    const opposite = event === 'joined' ? 'left' : 'joined'
    if (last?.moves === undefined) {
      const notice = { id: '', nick: '', text: '', at: Date.now(), tag: '', own: false, state: '', moves: [{ nick, event }] }
      this.#put(notice)
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

  /** Behind all that has arrived. @returns {number} where that is */
  #put(entry) {
    const out = this.entries.findIndex(isOut)
    const at = out === -1 ? this.entries.length : out
    this.entries.splice(at, 0, entry)
    return at
  }

  #trim() {
    while (this.entries.length > KEPT) {
      const { id, nick, tag } = this.entries.shift()
      this.#known.delete(id)
      this.#known.delete(`${nick} ${tag}`)
    }
  }
}

/** Whether it is ours, and has no place among what was said yet. */
function isOut({ own, id }) {
  return own && id === ''
}

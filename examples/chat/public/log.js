// The log: the messages of one place as the page shows them.
//
// Knows: days, groups of one person's messages, bubbles, notices, links, when to scroll.
// Does not know: the wire. What people wrote becomes text nodes, never markup.

const TOGETHER = 5 * 60_000
const time = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' })
const day = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' })
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' })
const LINK = /https?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]}]/g
const SVG = 'http://www.w3.org/2000/svg'
/** What is said of a message of ours, and drawn: a clock, a tick, an exclamation mark. */
const STATES = {
  sending: ['Sending', 'M8 2.6a5.4 5.4 0 1 1 0 10.8A5.4 5.4 0 0 1 8 2.6M8 5.1V8l2 1.3'],
  sent: ['Sent', 'm3 8.6 3.3 3.2L13 4.7'],
  failed: ['Not sent', 'M8 2.2a5.8 5.8 0 1 1 0 11.6A5.8 5.8 0 0 1 8 2.2M8 5.2v3.2M8 10.8v.1'],
}
const EMOJI = /^(?:\p{Extended_Pictographic}(?:\p{Emoji_Modifier}|\u200d|\ufe0f)*\s*){1,4}$/u

/** Makes an element with classes and children; strings become text. */
export function element(name, className, ...children) {
  const made = document.createElement(name)
  if (className) made.className = className
  made.append(...children)
  return made
}

/** A name as a disc with its initials, always of the same colour. */
export function avatar(nick) {
  const words = nick.split(/[\s._-]+/).filter(Boolean)
  const initials = words.length > 1 ? [...words[0]][0] + [...words[1]][0] : [...nick].slice(0, 2).join('')
  let hash = 7
  for (const character of nick.toLowerCase()) hash = (hash * 31 + character.codePointAt(0)) >>> 0
  const disc = element('span', `avatar hue-${hash % 8}`, initials)
  disc.setAttribute('aria-hidden', 'true')
  return disc
}

export class Log {
  #box
  #jump
  #on
  /** What is drawn of each message of ours. */
  #drawn = new WeakMap()
  #place = null
  #last = null
  #group = null
  #stuck = true
  /** Of a drawing that is due; 0 for none. */
  #frame = 0

  /**
   * @param {HTMLElement} box @param {HTMLElement} jump shown when there is news below
   * @param {{retry: (entry: object) => void, discard: (entry: object) => void}} on what the person wants of a message that failed
   */
  constructor(box, jump, on) {
    this.#box = box
    this.#jump = jump
    this.#on = on
    box.addEventListener('scroll', () => {
      this.#stuck = box.scrollHeight - box.scrollTop - box.clientHeight < 60
      if (this.#stuck) jump.hidden = true
    })
    jump.addEventListener('click', () => this.toEnd())
    new ResizeObserver(() => this.#stuck && this.toEnd()).observe(box)
  }

  /** Shows a place from the beginning. */
  show(place) {
    this.#place = place
    this.#stuck = true
    this.#drawAll()
  }

  /** Draws everything again, once for all that happens until the next frame. */
  refresh() {
    if (this.#frame === 0) this.#frame = requestAnimationFrame(() => this.#drawAll())
  }

  /** Adds the newest entry at the end. */
  append(entry) {
    if (entry.own) this.#stuck = true
    if (this.#frame !== 0) return
    if (this.#last === null) this.#box.replaceChildren()
    this.#put(entry)
    if (this.#stuck) this.toEnd()
    else this.#jump.hidden = false
  }

  /** Shows what has become of a message of ours, where it is. */
  update(entry) {
    const drawn = this.#drawn.get(entry)
    if (drawn === undefined) return
    const [label, path] = STATES[entry.state]
    const { said, bubble, fate } = drawn
    said.className = `said ${entry.state}`
    bubble.title = `${moment.format(entry.at)} · ${label}`
    fate.setAttribute('aria-label', label)
    fate.firstElementChild.setAttribute('d', path)
    this.#keepFocus(() => said.querySelector('.why')?.remove())
    if (entry.state === 'failed') said.append(this.#why(entry))
    if (this.#stuck) this.toEnd()
  }

  toEnd() {
    this.#stuck = true
    this.#jump.hidden = true
    this.#box.scrollTop = this.#box.scrollHeight
  }

  /** The place in the text stays, or the end where the reader was at the end. */
  #drawAll() {
    cancelAnimationFrame(this.#frame)
    this.#frame = 0
    this.#box.setAttribute('aria-busy', 'true') // not news: nothing of it is read aloud
    const top = this.#box.scrollTop
    this.#keepFocus(() => this.#box.replaceChildren())
    this.#last = null
    this.#group = null
    if (this.#place.entries.length === 0) this.#box.append(emptyNote(this.#place))
    for (const entry of this.#place.entries) this.#put(entry)
    if (this.#stuck) this.toEnd()
    else this.#box.scrollTop = top
    requestAnimationFrame(() => this.#box.removeAttribute('aria-busy'))
  }

  /** A button that goes away leaves the keyboard where it was. */
  #keepFocus(remove) {
    const inside = this.#box.contains(document.activeElement)
    remove()
    if (inside) this.#box.focus({ preventScroll: true })
  }

  #put(entry) {
    const last = this.#last
    const newDay = last === null || new Date(last.at).toDateString() !== new Date(entry.at).toDateString()
    if (newDay) this.#box.append(element('p', 'day', dayName(entry.at)))
    const unread = this.#place.firstUnread === entry
    if (unread) this.#box.append(element('p', 'new', 'New'))
    if (entry.moves !== undefined) this.#box.append(element('p', 'notice', moved(entry.moves)))
    else {
      const joins = !newDay && !unread && last.moves === undefined && last.nick === entry.nick && entry.at - last.at < TOGETHER
      if (!joins) this.#open(entry)
      this.#group.append(this.#bubble(entry))
    }
    this.#last = entry
  }

  #open(entry) {
    const stamp = element('time', '', time.format(entry.at))
    stamp.dateTime = new Date(entry.at).toISOString()
    const head = element('p', 'head', element('bdi', 'nick', entry.own ? 'You' : entry.nick), stamp)
    this.#group = element('div', 'lines', head)
    this.#box.append(element('div', entry.own ? 'group own' : 'group', avatar(entry.nick), this.#group))
  }

  #bubble(entry) {
    const bubble = element('p', EMOJI.test(entry.text) ? 'bubble emoji' : 'bubble', ...linked(entry.text))
    bubble.dir = 'auto'
    bubble.title = moment.format(entry.at)
    if (entry.state === '') return bubble
    const fate = document.createElementNS(SVG, 'svg')
    fate.setAttribute('viewBox', '0 0 16 16')
    fate.setAttribute('class', 'fate')
    fate.setAttribute('role', 'img')
    fate.append(document.createElementNS(SVG, 'path'))
    bubble.append(fate)
    const said = element('div', '', bubble)
    this.#drawn.set(entry, { said, bubble, fate })
    this.update(entry)
    return said
  }

  #why(entry) {
    const button = (text, act) => {
      const made = element('button', '', text)
      made.type = 'button'
      made.addEventListener('click', () => act(entry))
      return made
    }
    return element('p', 'why', `${entry.why} `, button('Try again', this.#on.retry), ' ', button('Discard', this.#on.discard))
  }
}

function linked(text) {
  const parts = []
  let from = 0
  for (const match of text.matchAll(LINK)) {
    const link = element('a', '', match[0])
    link.href = match[0]
    link.target = '_blank'
    link.rel = 'noopener noreferrer'
    parts.push(text.slice(from, match.index), link)
    from = match.index + match[0].length
  }
  return [...parts, text.slice(from)]
}

function moved(moves) {
  const of = event => moves.filter(move => move.event === event).map(move => move.nick)
  const said = []
  for (const event of ['joined', 'left']) if (of(event).length > 0) said.push(`${names(of(event))} ${event}`)
  return [...said, ...of('renamed')].join(' · ')
}

/** `Ana`, `Ana and Ben`, `Ana, Ben and 3 more` */
export function names(list) {
  if (list.length <= 2) return list.join(' and ')
  return list.length === 3 ? `${list[0]}, ${list[1]} and ${list[2]}` : `${list[0]}, ${list[1]} and ${list.length - 2} more`
}

function dayName(at) {
  const days = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(at).setHours(0, 0, 0, 0)) / 86_400_000)
  return days === 0 ? 'Today' : days === 1 ? 'Yesterday' : day.format(at)
}

function emptyNote(place) {
  const [title, text] =
    place.kind === 'room'
      ? ['It is quiet in here', 'Say something. Whoever comes into this room sees the last messages.']
      : [`You and ${place.name}`, 'Only the two of you see what is written here.']
  return element('div', 'empty', element('strong', '', title), element('p', '', text))
}

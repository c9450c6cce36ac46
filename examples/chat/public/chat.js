// The chat's page: who we are, where we are, and what to do about each event of the wire and of the person at the page.
//
// Knows: rooms and threads (places.js), what is kept in the browser.
// Does not know: channels and messages (wire.js), how a log is drawn (log.js), how the rest is (panels.js).
import { Log, names } from './log.js'
import { Panels } from './panels.js'
import { Place } from './places.js'
import { keep, kept, keyOf, randomId } from './store.js'
import { pause, Wire } from './wire.js'

const TYPING_SHOWN = 4_000
const TYPING_SENT = 2_500
const AGAIN = 2_000
/** Refusals after which a message is sent again: its fate is not known, or our session is a new one. */
const REPEATED = new Set(['unreachable', 'not_entered', 'not_member'])

const me = { nick: kept('nick', ''), key: kept('key', '') || keep('key', randomId(32)) }
/** @type {Map<string, Place>} by name */
const rooms = new Map()
/** @type {Map<string, Place>} by name in small letters */
const threads = new Map()
/** @type {Place | null} */
let here = null
let typedAt = 0
/** Rooms we were in, to be joined again with each new session. */
const wanted = new Set(kept('rooms', ['lobby']))

const panels = new Panels({
  go,
  leave,
  rename,
  create: room => go('room', room),
  whisper: nick => go('thread', nick),
  send: write,
  typing,
  reconnect: () => wire.open(),
})
const log = new Log(panels.log, panels.jump, { retry, discard })
const shared = new URLSearchParams(location.search).has('shared')
const { bayeux } = await (await fetch('config.json')).json()
const wire = await Wire.load(bayeux, shared, {
  identity: () => (me.nick === '' ? null : { nick: me.nick, key: me.key }),
  state: (state, transport) => panels.state(state, shared ? `${transport}, shared` : transport),
  trouble: text => panels.trouble(text),
  gap: () => panels.say('The server has begun anew: what others said meanwhile is lost.'),
  entered,
  back: sendAll,
  turnedAway: refused => panels.askName(me.nick, refused.message, false),
  room: note => {
    const place = room(note.room)
    if (note.gone && !place.joined) rooms.delete(note.room)
    place.topic = note.topic
    place.members = note.members
    draw()
  },
  said: (name, message) => said(room(name), message),
  moved,
  typing: (name, nick) => {
    if (nick === me.nick) return
    room(name).typing.set(nick, Date.now() + TYPING_SHOWN)
    drawTyping()
    setTimeout(drawTyping, TYPING_SHOWN + 50)
  },
  whispered,
})

function room(name) {
  if (!rooms.has(name)) rooms.set(name, new Place('room', name))
  return rooms.get(name)
}

function thread(nick) {
  const key = nick.toLowerCase()
  if (!threads.has(key)) threads.set(key, new Place('thread', nick))
  return threads.get(key)
}

/** The server knows our name: show its rooms and go to those where we were. */
function entered({ nick, rooms: notes }) {
  me.nick = keep('nick', nick)
  panels.named(nick)
  const known = new Set(notes.map(note => note.room))
  for (const [name, place] of rooms) {
    place.joined = false
    if (!known.has(name) && !wanted.has(name)) rooms.delete(name)
  }
  for (const note of notes) Object.assign(room(note.room), { topic: note.topic, members: note.members })
  if (here === null) goToHash()
  for (const name of wanted) void join(name)
  sendAll()
  draw()
}

async function join(name) {
  const place = room(name)
  try {
    const answer = await wire.join(name)
    Object.assign(place, { joined: true, topic: answer.topic, members: answer.members, people: new Set(answer.people) })
    const first = place.entries.length === 0
    for (const message of answer.said) {
      const added = place.add(message, message.nick === me.nick)
      if (added !== null && !first) count(place, added.entry)
    }
    if (place === here) log.refresh()
    void send(place)
  } catch (refused) {
    if (refused.code === 'unreachable' || refused.code === 'not_entered') return // the next session joins again
    forget(name, refused.message)
    panels.say(refused.message)
  }
  draw()
}

function forget(name, why = 'You have left this room.') {
  wanted.delete(name)
  keep('rooms', [...wanted])
  const place = room(name)
  place.joined = false
  for (const entry of place.waiting) settle(place, entry, 'failed', why)
  if (place !== here) return
  if (wanted.size === 0) wanted.add('lobby')
  go('room', [...wanted].at(-1))
}

/** Shows a place, and joins it where that is needed. */
function go(kind, name) {
  const place = kind === 'room' ? room(name) : thread(name)
  if (here !== null) {
    here.draft = panels.draft
    if (here !== place) here.firstUnread = null
  }
  here = place
  if (kind === 'room') {
    keep('here', name)
    if (!wanted.has(name)) {
      wanted.add(name)
      keep('rooms', [...wanted])
      if (wire.live) void join(name)
    }
  }
  panels.draft = place.draft
  place.seen()
  log.show(place)
  const hash = kind === 'room' ? `#${name}` : `#@${encodeURIComponent(place.name)}`
  if (location.hash !== hash) history.pushState(null, '', hash)
  draw()
}

function goToHash() {
  const hash = unescaped(location.hash.slice(1))
  if (/^@./.test(hash)) go('thread', hash.slice(1))
  else go('room', /^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$/.test(hash) ? hash : kept('here', '') || 'lobby')
}

/** @returns '' for what nobody has escaped, such as `%` */
function unescaped(text) {
  try {
    return decodeURIComponent(text)
  } catch {
    return ''
  }
}

function leave() {
  if (here.kind === 'thread') {
    threads.delete(here.name.toLowerCase())
    here = null
    go('room', [...wanted].at(-1) ?? 'lobby')
    return
  }
  quit(here.name)
}

function quit(name) {
  void wire.leave(name).catch(() => {}) // in a new session there is nothing to leave
  forget(name)
}

async function rename(nick) {
  const before = me.nick
  me.nick = nick
  try {
    await wire.enter()
  } catch (refused) {
    me.nick = before
    panels.askName(nick, refused.message, before !== '' && wire.live)
  }
}

/** Another tab has said our name, or changed it. */
function called(nick) {
  const before = me.nick
  me.nick = nick
  panels.named(nick)
  if (before === '') void rename(nick)
}

/** Tabs that share a session are in the same rooms. */
function follow(names) {
  for (const name of names) {
    if (wanted.has(name)) continue
    wanted.add(name)
    if (wire.live) void join(name)
  }
  for (const name of wanted) if (!names.includes(name)) quit(name)
}

function said(place, message) {
  const added = place.add(message, message.nick === me.nick)
  if (added !== null) arrived(place, added)
}

function whispered(message) {
  const own = message.from === me.nick
  const place = thread(own ? message.to : message.from)
  const added = place.add({ ...message, nick: message.from }, own)
  if (added !== null) arrived(place, added)
}

function count(place, entry) {
  if (entry.own || visible(place)) return
  if (place.unread++ === 0 && (place !== here || place.firstUnread === null)) place.firstUnread = entry
}

function arrived(place, { entry, where }) {
  count(place, entry)
  if (place === here) {
    if (where === 'same') log.update(entry)
    else if (where === 'end' && place.firstUnread !== entry) log.append(entry)
    else log.refresh()
  }
  draw()
}

function moved(name, { event, nick, was, members }) {
  const place = room(name)
  place.members = members
  if (event === 'joined') place.people.add(nick)
  else place.people.delete(event === 'left' ? nick : was)
  if (event === 'renamed') place.people.add(nick)
  if (event === 'left') place.typing.delete(nick)
  const renamed = event === 'renamed'
  if (renamed && was === me.nick) called(nick)
  if (renamed && threads.has(was.toLowerCase())) renameThread(was, nick)
  if (nick !== me.nick) {
    place.move(renamed ? `${was} is now ${nick}` : nick, event)
    if (place === here) log.refresh()
  }
  draw()
}

function renameThread(was, nick) {
  const place = threads.get(was.toLowerCase())
  threads.delete(was.toLowerCase())
  if (threads.has(nick.toLowerCase())) return
  place.name = nick
  threads.set(nick.toLowerCase(), place)
}

/** Whether the person is looking at a place right now. */
function visible(place) {
  return place === here && document.visibilityState === 'visible'
}

function write(text) {
  const entry = here.pend(me.nick, text, wire.now, randomId(12))
  typedAt = 0
  log.append(entry)
  void send(here)
  draw()
}

function retry(entry) {
  entry.state = 'sending'
  log.update(entry)
  void send(here)
  draw()
}

function discard(entry) {
  here.drop(entry)
  log.refresh()
}

function sendAll() {
  for (const place of [...rooms.values(), ...threads.values()]) void send(place)
}

/** Whether what we say in a place is heard. */
function may(place) {
  return wire.live && (place.kind === 'thread' || place.joined)
}

/**
 * Sends what waits in a place, one after the other, so that it arrives in the order in which it was written, whatever becomes of each.
 * The client would keep it for us, but in a new session it would be sent before we have entered and joined.
 */
async function send(place) {
  if (place.busy) return
  place.busy = true
  while (may(place) && place.waiting.length > 0) {
    const [entry] = place.waiting
    try {
      if (place.kind === 'room') await wire.say(place.name, entry.text, entry.tag)
      else whispered(await wire.whisper(place.name, entry.text, entry.tag))
      settle(place, entry, 'sent')
    } catch ({ code, message }) {
      if (!REPEATED.has(code)) settle(place, entry, 'failed', message)
      else if (wire.live) {
        await pause(AGAIN)
        if (place.kind === 'room') await join(place.name)
      } // else it goes on when we are back
    }
  }
  place.busy = false
}

function settle(place, entry, state, why) {
  if (entry.state !== 'sending') return // the delivery has told it already
  Object.assign(entry, { state, why })
  if (place === here) log.update(entry)
  draw()
}

function typing() {
  if (here.kind !== 'room' || !may(here) || Date.now() - typedAt < TYPING_SENT) return
  typedAt = Date.now()
  wire.typing(here.name)
}

function draw() {
  const places = [...rooms.values(), ...threads.values()]
  const waiting = places.reduce((sum, place) => sum + place.waiting.length, 0)
  panels.draw({ me, here, rooms: [...rooms.values()], threads: [...threads.values()], waiting })
  drawTyping()
}

function drawTyping() {
  const typists = here?.typists(Date.now()) ?? []
  panels.typing(typists.length === 0 ? '' : `${names(typists)} ${typists.length === 1 ? 'is' : 'are'} typing`)
}

document.addEventListener('visibilitychange', () => {
  if (document.visibilityState === 'visible' && here !== null) {
    here.seen()
    draw()
  }
})
addEventListener('popstate', goToHash)
addEventListener('storage', ({ key }) => {
  if (key === keyOf('nick')) called(kept('nick', me.nick))
  else if (key === keyOf('rooms') && shared) follow(kept('rooms', [...wanted]))
})

panels.shared(shared)
if (me.nick === '') panels.askName('', '', false)
else panels.named(me.nick)
wire.open()

// One room on the API of CometD's JavaScript library: what an application looks like that was written for it.
//
// Knows: the chat's channels (service.ts lists them), what to do again in each new session, as that library leaves it to its user.
// Does not know: that the library is ours and not CometD's. How a conversation is kept and drawn: places.js, log.js.
import { avatar, element, Log, names } from './log.js'
import { Place } from './places.js'
import { keep, kept, randomId } from './store.js'

const TYPING_SHOWN = 4_000
const TYPING_SENT = 2_500
const $ = id => document.getElementById(id)

const { bayeux } = await (await fetch('config.json')).json()
await import(`${bayeux}/cometd.js`) // what a script element does on pages that know its address
const cometd = new globalThis.org.cometd.CometD()

const me = { nick: kept('cometd.nick', ''), key: kept('cometd.key', '') || keep('cometd.key', randomId(32)) }
const log = new Log($('log'), $('jump'), { retry: publish, discard })
let place = new Place('room', location.hash.slice(1) || 'lobby')
let rooms = [place.name]
let subscriptions = []
let entered = false
let typedAt = 0

cometd.configure({ url: new URL(bayeux, location.href).href, logLevel: 'warn', maxBackoff: 8_000 })
cometd.addListener('/meta/handshake', reply => {
  entered = false
  if (reply.successful) enter()
  else banner('The server cannot be reached. Trying again…')
})
cometd.addListener('/meta/connect', reply => {
  if (cometd.isDisconnected()) return
  if (!reply.successful) banner('The connection is lost. Trying to get it back…')
  else if (entered) live()
})
cometd.addListener('/meta/disconnect', () => {
  entered = false
  $('link-state').textContent = 'Not connected'
  $('leave').textContent = 'Connect'
})
cometd.addListener('/service/talk/refused', ({ data }) => fail(data.tag, data.text))
cometd.addListener('/service/talk/private', ({ data }) => {
  said({ ...data, nick: data.from, text: `To ${data.to} alone: ${data.text}` })
})

/** A new session: the library has forgotten the subscriptions of the one before. */
function enter() {
  if (me.nick === '') return
  cometd.remoteCall('talk/enter', me, ({ successful, data }) => {
    if (!successful) return data?.text === undefined ? undefined : askName(data.text)
    entered = true
    me.nick = keep('cometd.nick', data.nick)
    rooms = data.rooms.map(note => note.room)
    $('name-dialog').close()
    live()
    join()
  })
}

function join() {
  cometd.batch(() => {
    const channel = `/talk/room/${place.name}`
    subscriptions = [
      cometd.subscribe(channel, ({ data }) => said(data)),
      cometd.subscribe(`${channel}/members`, ({ data }) => moved(data)),
      cometd.subscribe(`${channel}/typing`, ({ data }) => data.nick !== me.nick && typing(data.nick)),
    ]
    cometd.remoteCall('talk/join', { room: place.name }, ({ successful, data }) => {
      if (!successful) return banner(data?.text ?? 'The server did not answer.')
      place.people = new Set(data.people)
      for (const message of data.said) place.add(message, message.nick === me.nick)
      log.refresh()
      draw()
    })
  })
}

function go(name) {
  if (name === place.name) return
  if (entered) {
    cometd.batch(() => {
      for (const subscription of subscriptions) cometd.unsubscribe(subscription)
      cometd.remoteCall('talk/leave', { room: place.name }, () => {})
    })
  }
  place = new Place('room', name)
  log.show(place)
  if (entered) join()
  draw()
}

function publish(entry) {
  entry.state = 'sending'
  log.update(entry)
  cometd.publish(`/talk/room/${place.name}`, { text: entry.text, tag: entry.tag }, reply => {
    if (reply.successful) entry.state = 'sent'
    else if (reply.failure !== undefined) fail(entry.tag, 'The server cannot be reached.')
    log.update(entry) // where the server refused it, the reason comes by a message of its own
  })
}

function fail(tag, why) {
  const entry = place.waiting.find(waiting => waiting.tag === tag)
  if (entry === undefined) return
  Object.assign(entry, { state: 'failed', why })
  log.update(entry)
}

function discard(entry) {
  place.drop(entry)
  log.refresh()
}

function said(message) {
  const added = place.add(message, message.nick === me.nick)
  if (added?.where === 'same') log.update(added.entry)
  else if (added?.where === 'end') log.append(added.entry)
  else if (added !== null) log.refresh()
  draw()
}

function moved({ event, nick, was }) {
  place.people.delete(event === 'renamed' ? was : nick)
  if (event !== 'left') place.people.add(nick)
  if (nick !== me.nick) place.move(event === 'renamed' ? `${was} is now ${nick}` : nick, event)
  log.refresh()
  draw()
}

function typing(nick) {
  place.typing.set(nick, Date.now() + TYPING_SHOWN)
  setTimeout(draw, TYPING_SHOWN + 50)
  draw()
}

// The screen

function draw() {
  const typists = place.typists(Date.now())
  $('typing').textContent = typists.length === 0 ? '' : `${names(typists)} ${typists.length === 1 ? 'is' : 'are'} typing`
  $('rooms').replaceChildren(
    ...[...new Set([...rooms, place.name])].map(name => {
      const link = element('a', '', `#${name}`)
      link.href = `#${name}`
      if (name === place.name) link.setAttribute('aria-current', 'page')
      return element('li', '', link)
    }),
  )
  $('members').replaceChildren(
    ...[...place.people]
      .sort((a, b) => a.localeCompare(b))
      .map(nick =>
        element('li', '', avatar(nick), element('bdi', 'name', nick), element('small', '', nick === me.nick ? 'you' : '')),
      ),
  )
}

function live() {
  banner('')
  $('link-state').textContent = `${me.nick} · live on ${cometd.getTransport().type}`
  $('leave').textContent = 'Disconnect'
}

function banner(text) {
  $('banner').className = 'reconnecting'
  $('banner').textContent = text
  $('banner').hidden = text === ''
  if (text !== '') $('link-state').textContent = 'Reconnecting…'
}

function askName(error) {
  $('nick').value = me.nick
  $('nick-error').textContent = error
  if (!$('name-dialog').open) $('name-dialog').showModal()
  $('nick').select()
}

$('name-form').addEventListener('submit', event => {
  event.preventDefault()
  me.nick = $('nick').value.trim()
  if (cometd.getStatus() === 'connected') enter()
})
$('name-dialog').addEventListener('cancel', event => event.preventDefault())
$('composer').addEventListener('submit', event => {
  event.preventDefault()
  const text = $('text').value.trim()
  if (text === '') return
  $('text').value = ''
  typedAt = 0
  const entry = place.pend(me.nick, text, Date.now(), randomId(12))
  log.append(entry)
  publish(entry)
})
$('text').addEventListener('input', () => {
  if (!entered || Date.now() - typedAt < TYPING_SENT) return
  typedAt = Date.now()
  cometd.publish(`/talk/room/${place.name}/typing`, {})
})
$('leave').addEventListener('click', () => (cometd.isDisconnected() ? cometd.handshake() : cometd.disconnect()))
addEventListener('hashchange', () => go(location.hash.slice(1) || 'lobby'))
addEventListener('pagehide', () => cometd.disconnect())
addEventListener('pageshow', event => event.persisted && location.reload())

log.show(place)
if (me.nick === '') askName('')
cometd.handshake()

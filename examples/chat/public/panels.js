// The panels around the log: lists, header, composer, banner, drawers and dialogs.
//
// Knows: the elements of index.html, focus and keys.
// Does not know: the wire; what the person wants is told through `on`.
import { avatar, element } from './log.js'

const $ = id => document.getElementById(id)
const time = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' })
/** Shorter interruptions are not worth a word, ms. */
const BRIEF = 400
/** How long a sentence stays, ms. */
const SAID = 5_000
const narrow = matchMedia('(max-width: 759px)')
const noPeople = matchMedia('(max-width: 1079px)')

export class Panels {
  log = $('log')
  jump = $('jump')
  #on
  #link = { state: 'connecting', transport: '', since: 0, trouble: '' }
  #waiting = 0
  #notice = ''
  #timer = 0
  #lastFocus = null

  constructor(on) {
    this.#on = on
    this.#composer()
    this.#drawers()
    this.#names()
    this.#newRoom()
    for (const event of ['online', 'offline']) addEventListener(event, () => this.#banner())
    $('leave').addEventListener('click', () => on.leave())
    this.#fit()
    for (const button of document.querySelectorAll('[data-cancel]')) {
      button.addEventListener('click', () => $(button.dataset.cancel).close())
    }
  }

  get draft() {
    return $('text').value
  }

  set draft(text) {
    $('text').value = text
    this.#fit()
  }

  draw({ me, here, rooms, threads, waiting }) {
    this.#waiting = waiting
    this.#banner()
    const byName = (a, b) => a.name.localeCompare(b.name)
    rooms.sort(
      (a, b) => Number(b.joined) - Number(a.joined) || Number(b.name === 'lobby') - Number(a.name === 'lobby') || byName(a, b),
    )
    const row = () => this.#placeRow()
    arrange($('rooms'), rooms, row, (item, place) => showPlace(item, place, place === here))
    arrange($('threads'), threads.sort(byName), row, (item, place) => showPlace(item, place, place === here))
    $('threads-nav').hidden = threads.length === 0
    const unread = [...rooms, ...threads].reduce((sum, place) => sum + place.unread, 0)
    const elsewhere = unread - (here?.unread ?? 0)
    $('unread-elsewhere').hidden = elsewhere === 0
    $('unread-elsewhere').textContent = elsewhere > 99 ? '99+' : String(elsewhere)
    if (here === null) return
    const inRoom = here.kind === 'room'
    document.title = `${unread > 0 ? `(${unread}) ` : ''}${here.title} · Perihelion`
    $('title').textContent = here.title
    $('topic').textContent = inRoom
      ? here.topic || `${here.members} ${here.members === 1 ? 'member' : 'members'}`
      : 'Private, between the two of you'
    $('text').placeholder = `Message ${here.title}`
    $('text-label').textContent = `Message ${here.title}`
    $('leave').textContent = inRoom ? 'Leave' : 'Close'
    $('leave').hidden = inRoom && rooms.filter(place => place.joined).length < 2
    $('open-people').hidden = !inRoom
    $('people').classList.toggle('none', !inRoom)
    $('people-count').textContent = String(here.people.size)
    $('open-people').setAttribute('aria-label', `Members: ${here.people.size}`)
    const people = inRoom
      ? [...here.people].sort((a, b) => Number(b === me.nick) - Number(a === me.nick) || a.localeCompare(b))
      : []
    const members = people.map(name => ({ name }))
    arrange(
      $('members'),
      members,
      () => this.#memberRow(),
      (item, { name }) => showMember(item, name, name === me.nick),
    )
  }

  /** Offers the other way to be connected. @param {boolean} shared one connection for all tabs */
  shared(shared) {
    if (!shared) return
    $('share').textContent = 'A connection for this tab alone'
    $('share').href = './'
  }

  named(nick) {
    $('my-nick').textContent = nick
    const disc = avatar(nick)
    $('me').firstElementChild.replaceWith(disc)
    $('me').setAttribute('aria-label', `You are ${nick}. Change your name`)
    const asked = $('name-dialog').open
    if (asked) $('name-dialog').close()
    if (!narrow.matches && (asked || document.activeElement === document.body)) $('text').focus()
  }

  /** @param {import('./wire.js').State} state @param {string} transport */
  state(state, transport) {
    const before = this.#link
    const lasts = state === before.state
    this.#link = {
      state,
      transport,
      since: lasts ? before.since : Date.now(),
      trouble: state === 'connected' ? '' : before.trouble,
    }
    document.body.dataset.state = state
    $('link-state').textContent =
      state === 'connected'
        ? `Live · ${transport}`
        : state === 'closed'
          ? 'Not connected'
          : `${state[0].toUpperCase()}${state.slice(1)}…`
    if (lasts) return
    if (state !== 'connected') this.#notice = ''
    if (state === 'connected' && $('banner').className === 'reconnecting' && !$('banner').hidden)
      this.say('Connected again.', 'back')
    else if (state === 'reconnecting') setTimeout(() => this.#banner(), BRIEF + 1)
    this.#banner()
  }

  /** @param {string} text why there is no connection */
  trouble(text) {
    this.#link.trouble = text
    this.#banner()
  }

  /** Shows a sentence for a while. */
  say(text, kind = 'notice') {
    this.#notice = text
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#notice = ''
      this.#banner()
    }, SAID)
    $('banner').className = kind
    this.#banner()
  }

  /** What there is to say of the connection; told again only when it has changed, since it is read aloud. */
  #banner() {
    const banner = $('banner')
    const { state, since, trouble } = this.#link
    if (this.#notice !== '') return show(banner, banner.className, this.#notice)
    if (state === 'connected' || (state === 'reconnecting' && Date.now() - since < BRIEF)) return show(banner, '', '')
    const many = this.#waiting
    const waits = many === 0 ? '' : many === 1 ? '1 message waits to be sent.' : `${many} messages wait to be sent.`
    if (state === 'connecting') return show(banner, state, ['Connecting…', trouble, waits].filter(Boolean).join(' '))
    if (state === 'reconnecting') {
      const why = navigator.onLine ? trouble || 'The connection is lost.' : 'You are offline.'
      return show(
        banner,
        state,
        `Reconnecting since ${time.format(since)}. ${why} ${waits || 'What you write is sent as soon as it is back.'}`,
      )
    }
    const again = element('button', '', 'Connect again')
    again.type = 'button'
    again.addEventListener('click', () => this.#on.reconnect())
    show(banner, state, `${trouble || 'The connection is closed.'} ${waits} `, again)
  }

  typing(text) {
    $('typing').textContent = text
  }

  askName(nick, error, canCancel) {
    $('nick').value = nick
    $('nick-error').textContent = error
    $('name-dialog').classList.toggle('first', !canCancel)
    if (!$('name-dialog').open) $('name-dialog').showModal()
    $('nick').select()
  }

  #placeRow() {
    const button = element('button', '', element('span', 'mark'), element('bdi', 'name'), element('span', 'badge'))
    button.type = 'button'
    const item = element('li', '', button)
    button.addEventListener('click', () => {
      this.#on.go(item.place.kind, item.place.name)
      this.#closeDrawers()
      if (!narrow.matches) $('text').focus()
    })
    return item
  }

  #memberRow() {
    const button = element('button', '', avatar('?'), element('bdi', 'name'), element('small', ''))
    button.type = 'button'
    button.addEventListener('click', () => {
      this.#on.whisper(button.dataset.nick)
      this.#closeDrawers()
      $('text').focus()
    })
    return element('li', '', button)
  }

  #composer() {
    const text = $('text')
    const submit = () => {
      const words = text.value.trim()
      if (words === '') return
      text.value = ''
      this.#fit()
      this.#on.send(words)
    }
    $('composer').addEventListener('submit', event => {
      event.preventDefault()
      submit()
      text.focus()
    })
    text.addEventListener('keydown', event => {
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
      event.preventDefault()
      submit()
    })
    text.addEventListener('input', () => {
      this.#fit()
      if (text.value.trim() !== '') this.#on.typing()
    })
  }

  /** The box grows with its lines. */
  #fit() {
    const text = $('text')
    text.style.height = 'auto'
    text.style.height = `${Math.min(text.scrollHeight, 168)}px`
    $('send').disabled = text.value.trim() === ''
  }

  #drawers() {
    for (const name of ['sidebar', 'people']) {
      $(`open-${name}`).addEventListener('click', () => this.#toggleDrawer(name))
    }
    for (const button of document.querySelectorAll('[data-close]')) button.addEventListener('click', () => this.#closeDrawers())
    $('shade').addEventListener('click', () => this.#closeDrawers())
    document.addEventListener('keydown', event => event.key === 'Escape' && this.#closeDrawers())
    narrow.addEventListener('change', () => this.#closeDrawers())
    noPeople.addEventListener('change', () => this.#closeDrawers())
    this.#closeDrawers()
  }

  #toggleDrawer(name) {
    if ($(name).classList.contains('open')) return this.#closeDrawers()
    this.#lastFocus = document.activeElement
    $(name).inert = false
    $(name).classList.add('open')
    $(`open-${name}`).setAttribute('aria-expanded', 'true')
    $('main').inert = true
    $('shade').hidden = false
    $(name).querySelector('[data-close]').focus()
  }

  /** A closed drawer is out of reach of keyboard and screen reader; a panel that stands beside the log is not. */
  #closeDrawers() {
    const wasOpen = !$('shade').hidden
    $('sidebar').inert = narrow.matches
    $('people').inert = noPeople.matches
    for (const name of ['sidebar', 'people']) {
      $(name).classList.remove('open')
      $(`open-${name}`).setAttribute('aria-expanded', 'false')
    }
    $('main').inert = false
    $('shade').hidden = true
    if (wasOpen) this.#lastFocus?.focus()
  }

  #names() {
    $('me').addEventListener('click', () => this.askName($('my-nick').textContent, '', true))
    $('name-form').addEventListener('submit', event => {
      event.preventDefault()
      const nick = $('nick').value.trim()
      if (nick === '') return
      $('nick-error').textContent = ''
      this.#on.rename(nick)
    })
    // Without a name there is nothing behind this dialog.
    $('name-dialog').addEventListener('cancel', event => {
      if ($('name-dialog').classList.contains('first')) event.preventDefault()
    })
  }

  #newRoom() {
    const show = () => {
      const slug = slugOf($('room-name').value)
      $('room-slug').textContent = slug === '' ? 'Letters, digits and dashes.' : `It will be #${slug}`
    }
    $('new-room').addEventListener('click', () => {
      $('room-name').value = ''
      show()
      $('room-dialog').showModal()
    })
    $('room-name').addEventListener('input', show)
    $('room-form').addEventListener('submit', event => {
      event.preventDefault()
      const slug = slugOf($('room-name').value)
      if (slug === '') return
      $('room-dialog').close()
      this.#on.create(slug)
      this.#closeDrawers()
      $('text').focus()
    })
  }
}

/** What a person types becomes a room's name: `Café  Paris!` is `cafe-paris`. */
export function slugOf(text) {
  const plain = text.normalize('NFKD').toLowerCase().replace(/\p{M}/gu, '')
  return plain
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 32)
    .replace(/^-+|-+$/g, '')
}

function show(banner, className, text, ...more) {
  banner.className = className
  banner.hidden = text === ''
  if (banner.firstChild?.data !== text) banner.replaceChildren(text, ...more)
}

function showPlace(item, place, current) {
  item.place = place
  const button = item.firstElementChild
  const [mark, name, badge] = button.children
  const isRoom = place.kind === 'room'
  if (isRoom) mark.textContent = '#'
  else if (name.textContent !== place.name) mark.replaceChildren(avatar(place.name))
  name.textContent = place.name
  button.classList.toggle('idle', isRoom && !place.joined)
  button.classList.toggle('news', place.unread > 0)
  if (current) button.setAttribute('aria-current', 'page')
  else button.removeAttribute('aria-current')
  const count = place.unread || (isRoom ? place.members : 0)
  badge.className = place.unread > 0 ? 'badge' : 'members'
  badge.textContent = count > 99 ? '99+' : count > 0 ? String(count) : ''
  const news = place.unread > 0 ? `, ${place.unread} unread` : ''
  button.setAttribute('aria-label', isRoom ? `Room ${place.name}, ${place.members} here${news}` : `${place.name}, private${news}`)
}

function showMember(item, nick, own) {
  const button = item.firstElementChild
  const [disc, name, note] = button.children
  if (button.dataset.nick !== nick) disc.replaceWith(avatar(nick))
  button.dataset.nick = nick
  button.disabled = own
  name.textContent = nick
  note.textContent = own ? 'you' : ''
  button.title = own ? '' : `Write to ${nick} in private`
}

/** Brings the rows of a list in line with items, each known by its name, and leaves alone what has its place: focus stays. */
function arrange(list, items, create, update) {
  const rows = new Map(Array.from(list.children, row => [row.dataset.name, row]))
  let at = list.firstElementChild
  for (const item of items) {
    let row = rows.get(item.name)
    if (row === undefined) {
      row = create()
      row.dataset.name = item.name
    }
    rows.delete(item.name)
    update(row, item)
    if (row === at) at = at.nextElementSibling
    else list.insertBefore(row, at)
  }
  for (const row of rows.values()) row.remove()
}

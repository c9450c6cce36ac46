// The chat rooms: who is called what, who is in which room, what was said there last.
//
// Knows: people (a name and the sessions that use it), rooms with their members and last messages, and the limits of each.
// Does not know: Bayeux. A session is its id, what is to be sent goes through `Outlet`, the time is an argument.
// Always true: a name belongs to one person at a time; a person is a member of a room while one of their sessions has joined it.
import { ChatError, fields, keyOf, nickOf, roomOf, sameNick, tagOf, textOf } from './wording.js'

/** The wire of both pages. Under `/talk/` the server alone speaks, but for a room itself and its `typing`. */
export const channels = {
  rooms: '/talk/rooms',
  room: (room: string) => `/talk/room/${room}`,
  members: (room: string) => `/talk/room/${room}/members`,
  typing: (room: string) => `/talk/room/${room}/typing`,
  private: '/service/talk/private',
  refused: '/service/talk/refused',
} as const

/** Where the chat's own words go. */
export interface Outlet {
  /** To all subscribers of a channel. */
  announce(channel: string, data: object): void
  /** To one session. */
  deliver(session: string, channel: string, data: object): void
  /** What is kept of what was said in a room before this process began, oldest first. */
  recall(room: string): readonly Said[]
}

/** As a room's subscribers see it. `at` is epoch ms of the server; `tag` is the sender's mark, '' for none. */
export interface Said {
  readonly id: string
  readonly nick: string
  readonly text: string
  readonly at: number
  readonly tag: string
}

/** As sender and addressee see it. */
export interface Whispered {
  readonly id: string
  readonly from: string
  readonly to: string
  readonly text: string
  readonly at: number
  readonly tag: string
}

export interface RoomNote {
  readonly room: string
  readonly topic: string
  readonly members: number
}

interface Person {
  readonly key: string
  nick: string
  readonly sessions: Set<string>
  /** Their last private messages, oldest first. */
  readonly whispered: Whispered[]
  /** What the person may still say at once; grows by `perSecond`. */
  credit: number
  creditAt: number
}

interface Visit {
  readonly person: Person
  readonly rooms: Set<string>
}

interface Room {
  readonly name: string
  readonly topic: string
  /** How many sessions of each person have joined. */
  readonly people: Map<Person, number>
  readonly said: Said[]
  /** Since when nobody is here, in epoch ms. */
  emptyAt: number
}

export const limits = { rooms: 200, roomsOfSession: 40, kept: 50, burst: 40, perSecond: 4, emptyFor: 600_000 } as const

const FIXED = [
  ['lobby', 'Everyone starts here'],
  ['ideas', 'Half-baked is fine'],
  ['music', 'What are you listening to?'],
] as const

export class ChatRooms {
  readonly #outlet: Outlet
  readonly #fixed: ReadonlySet<string>
  readonly #rooms = new Map<string, Room>()
  readonly #visits = new Map<string, Visit>()
  readonly #byNick = new Map<string, Person>()
  readonly #byKey = new Map<string, Person>()
  readonly #epoch: string
  #count = 0

  /** @param now epoch ms; message ids begin with it, so that those of two runs of the server never meet */
  constructor(outlet: Outlet, now: number) {
    this.#outlet = outlet
    this.#epoch = Math.floor(now).toString(36)
    this.#fixed = new Set(FIXED.map(([name]) => name))
    for (const [name, topic] of FIXED) this.#open(name, topic, now)
  }

  /** How many people are here, how many sessions they use, how many rooms there are. */
  get size(): { people: number; sessions: number; rooms: number } {
    return { people: this.#byKey.size, sessions: this.#visits.size, rooms: this.#rooms.size }
  }

  /**
   * A session says who it is, or takes another name.
   *
   * Sessions with the same key are one person: a second window, or a page that comes back before its old session has
   * expired, has its name at once. The key is never shown to anybody.
   *
   * @param data `{nick, key}`
   * @throws {ChatError} nick_invalid, key_invalid, nick_taken
   */
  enter(session: string, data: unknown, now: number): { nick: string; rooms: RoomNote[] } {
    const { nick: wanted, key: secret } = fields(data)
    const nick = nickOf(wanted)
    const key = keyOf(secret)
    const owner = this.#byNick.get(sameNick(nick))
    if (owner !== undefined && owner.key !== key) throw new ChatError('nick_taken')
    const before = this.#visits.get(session)
    if (before !== undefined && before.person.key !== key) this.gone(session, now)
    let person = this.#byKey.get(key)
    if (person === undefined) {
      person = { key, nick, sessions: new Set(), whispered: [], credit: limits.burst, creditAt: now }
      this.#byKey.set(key, person)
      this.#byNick.set(sameNick(nick), person)
    } else if (person.nick !== nick) this.#rename(person, nick)
    if (!this.#visits.has(session)) this.#visits.set(session, { person, rooms: new Set() })
    person.sessions.add(session)
    this.#prune(now)
    return { nick, rooms: [...this.#rooms.values()].map(noteOf) }
  }

  /**
   * A session joins a room, which comes to be if there is none of that name.
   *
   * @param data `{room}`
   * @returns who is there, and what was said last, oldest first
   * @throws {ChatError} not_entered, room_invalid, too_many_rooms, too_fast
   */
  join(session: string, data: unknown, now: number): RoomNote & { people: string[]; said: readonly Said[] } {
    const visit = this.#visit(session)
    const name = roomOf(fields(data)['room'])
    if (!visit.rooms.has(name)) {
      if (visit.rooms.size >= limits.roomsOfSession) throw new ChatError('too_many_rooms')
      this.#spend(visit.person, now)
      const room = this.#rooms.get(name) ?? this.#create(name, now)
      const sessions = room.people.get(visit.person) ?? 0
      visit.rooms.add(name)
      room.people.set(visit.person, sessions + 1)
      if (sessions === 0) this.#moved(room, visit.person, 'joined')
    }
    const room = this.#rooms.get(name)!
    return { ...noteOf(room), people: [...room.people.keys()].map(person => person.nick), said: room.said }
  }

  /** A session leaves a room; one that it is not in is no fault. @param data `{room}` @throws {ChatError} not_entered, room_invalid */
  leave(session: string, data: unknown, now: number): { room: string } {
    const visit = this.#visit(session)
    const name = roomOf(fields(data)['room'])
    this.#leave(visit, name, now)
    return { room: name }
  }

  /** A session is no more: it leaves its rooms, and its name is free when it was the person's last. */
  gone(session: string, now: number): void {
    const visit = this.#visits.get(session)
    if (visit === undefined) return
    this.#visits.delete(session)
    visit.person.sessions.delete(session)
    for (const name of [...visit.rooms]) this.#leave(visit, name, now)
    if (visit.person.sessions.size > 0) return
    this.#byKey.delete(visit.person.key)
    this.#byNick.delete(sameNick(visit.person.nick))
  }

  /**
   * What a session says in a room, stamped with the name of its person and the time.
   *
   * A message sent again because its fate was not known (same tag) is not said twice: its sender gets the first one.
   *
   * @param data `{text, tag?}`
   * @returns what the room is to see; null when it has seen it already
   * @throws {ChatError} not_entered, not_member, text_invalid, too_fast
   */
  say(session: string, name: string, data: unknown, now: number): Said | null {
    const { person, rooms } = this.#visit(session)
    if (!rooms.has(name)) throw new ChatError('not_member')
    const { text: words, tag: mark } = fields(data)
    const room = this.#rooms.get(name)!
    const tag = tagOf(mark)
    const text = textOf(words)
    const first = tag === '' ? undefined : room.said.find(said => said.tag === tag && said.nick === person.nick)
    if (first !== undefined) {
      this.#outlet.deliver(session, channels.room(name), first)
      return null
    }
    this.#spend(person, now)
    const said = { id: this.#id(), nick: person.nick, text, at: now, tag }
    room.said.push(said)
    if (room.said.length > limits.kept) room.said.shift()
    return said
  }

  /** Somebody is typing in a room. @throws {ChatError} not_entered, not_member, too_fast */
  typing(session: string, name: string, now: number): { nick: string } {
    const { person, rooms } = this.#visit(session)
    if (!rooms.has(name)) throw new ChatError('not_member')
    this.#spend(person, now, 0.25)
    return { nick: person.nick }
  }

  /**
   * A private message: to all sessions of the addressee and of the sender, the one that sent it too, which several windows may share.
   *
   * One sent again because its fate was not known (same tag) is not delivered twice.
   *
   * @param data `{to, text, tag?}`
   * @returns the message as delivered
   * @throws {ChatError} not_entered, person_unknown, text_invalid, too_fast
   */
  whisper(session: string, data: unknown, now: number): Whispered {
    const { person } = this.#visit(session)
    const { to, text: words, tag: mark } = fields(data)
    const tag = tagOf(mark)
    const first = tag === '' ? undefined : person.whispered.find(message => message.tag === tag)
    if (first !== undefined) return first
    const addressee = typeof to === 'string' ? this.#byNick.get(sameNick(to)) : undefined
    if (addressee === undefined) throw new ChatError('person_unknown')
    const text = textOf(words)
    this.#spend(person, now)
    const message = { id: this.#id(), from: person.nick, to: addressee.nick, text, at: now, tag }
    person.whispered.push(message)
    if (person.whispered.length > limits.kept) person.whispered.shift()
    for (const each of new Set([...addressee.sessions, ...person.sessions])) this.#outlet.deliver(each, channels.private, message)
    return message
  }

  #visit(session: string): Visit {
    const visit = this.#visits.get(session)
    if (visit === undefined) throw new ChatError('not_entered')
    return visit
  }

  #rename(person: Person, nick: string): void {
    const was = person.nick
    this.#byNick.delete(sameNick(was))
    this.#byNick.set(sameNick(nick), person)
    person.nick = nick
    for (const room of this.#rooms.values()) if (room.people.has(person)) this.#moved(room, person, 'renamed', was)
  }

  #create(name: string, now: number): Room {
    this.#prune(now, this.#rooms.size >= limits.rooms)
    if (this.#rooms.size >= limits.rooms) throw new ChatError('too_many_rooms')
    return this.#open(name, '', now)
  }

  #open(name: string, topic: string, now: number): Room {
    const said = this.#outlet.recall(name).slice(-limits.kept)
    const room: Room = { name, topic, people: new Map(), said, emptyAt: now }
    this.#rooms.set(name, room)
    return room
  }

  #leave(visit: Visit, name: string, now: number): void {
    const room = this.#rooms.get(name)
    if (!visit.rooms.delete(name) || room === undefined) return
    const sessions = room.people.get(visit.person)! - 1
    if (sessions > 0) {
      room.people.set(visit.person, sessions)
      return
    }
    room.people.delete(visit.person)
    if (room.people.size === 0) room.emptyAt = now
    this.#moved(room, visit.person, 'left')
  }

  #moved(room: Room, person: Person, event: 'joined' | 'left' | 'renamed', was = ''): void {
    this.#outlet.announce(channels.members(room.name), { event, nick: person.nick, was, members: room.people.size })
    if (event !== 'renamed') this.#outlet.announce(channels.rooms, noteOf(room))
  }

  /** Rooms that people made go when they were empty for a while, or at once where there are too many. */
  #prune(now: number, full = false): void {
    for (const room of this.#rooms.values()) {
      if (room.people.size > 0 || this.#fixed.has(room.name) || (!full && now - room.emptyAt < limits.emptyFor)) continue
      this.#rooms.delete(room.name)
      this.#outlet.announce(channels.rooms, { ...noteOf(room), gone: true })
    }
  }

  #spend(person: Person, now: number, cost = 1): void {
    person.credit = Math.min(limits.burst, person.credit + ((now - person.creditAt) / 1_000) * limits.perSecond)
    person.creditAt = now
    if (person.credit < cost) throw new ChatError('too_fast')
    person.credit -= cost
  }

  #id(): string {
    return `${this.#epoch}-${++this.#count}`
  }
}

function noteOf(room: Room): RoomNote {
  return { room: room.name, topic: room.topic, members: room.people.size }
}

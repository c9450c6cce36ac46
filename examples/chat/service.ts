// The chat on Bayeux: its services, the listener on its channels, the end of its sessions.
//
// Knows: which channel is which request. The wire, the same for both pages (`channels` in room.ts):
//   /service/talk/enter    {nick, key}        -> {nick, rooms: [{room, topic, members}]}
//   /service/talk/join     {room}             -> {room, topic, members, people: [nick], said: [message]}
//   /service/talk/leave    {room}             -> {room}
//   /service/talk/private  {to, text, tag?}   -> {id, from, to, text, at, tag}, delivered to both people on the same channel
//   /talk/room/R           {text, tag?}       published; subscribers get {id, nick, text, at, tag}
//   /talk/room/R/typing    {}                 published; subscribers get {nick}
//   /talk/room/R/members   the server: {event: joined | left | renamed, nick, was, members}
//   /talk/rooms            the server: {room, topic, members, gone?}
//   /service/talk/refused  the server, to the sender of a refused message: {error, text, room, tag}
// A refused request is answered by {error, text}, `successful: false`. A page subscribes first, then joins, so it misses nothing.
// Does not know: who may do what (room.ts).
import { type Bayeux, type BayeuxSession, type ChannelRules, ServiceError } from '../../lib/index.js'
import { ChatRooms, channels, limits, type Said } from './room.js'
import { ChatError, fields, tagOf } from './wording.js'

/** What was said in rooms outlives a restart where the server keeps its history on disk. */
export const chatRules = {
  [channels.room('*')]: { history: { messages: limits.kept, age: 86_400_000 } },
} satisfies ChannelRules

const ROOM_CHANNEL = /^\/talk\/room\/([a-z0-9-]{1,32})(\/typing)?$/

/**
 * Opens the chat on a server.
 *
 * @param clock epoch ms
 * @returns the rooms, for tests and curiosity
 */
export function chatService(bayeux: Bayeux, clock: () => number = Date.now): ChatRooms {
  const rooms = new ChatRooms(
    {
      announce: (channel, data) => bayeux.publish(channel, data),
      deliver: (session, channel, data) => bayeux.session(session)?.deliver(channel, data),
      recall: room => bayeux.history(channels.room(room), { limit: 2 * limits.kept }).messages.map(({ data }) => data as Said),
    },
    clock(),
  )
  const request = (name: string, handle: (session: string, data: unknown, now: number) => unknown): void => {
    bayeux.service(`/service/talk/${name}`, (data, session) => {
      try {
        return handle(session.id, data, clock())
      } catch (error) {
        throw error instanceof ChatError ? new ServiceError({ error: error.code, text: error.message }) : error
      }
    })
  }
  request('enter', (session, data, now) => rooms.enter(session, data, now))
  request('join', (session, data, now) => rooms.join(session, data, now))
  request('leave', (session, data, now) => rooms.leave(session, data, now))
  request('private', (session, data, now) => rooms.whisper(session, data, now))

  // What a client publishes is replaced by what the chat knows to be true, so that nobody speaks for another.
  bayeux.on('/talk/**', (message, session) => {
    if (session === null) return true // the server's own announcements
    const [, room, typing] = ROOM_CHANNEL.exec(String(message.channel)) ?? []
    if (room === undefined || !isPlain(message.data)) return false
    try {
      const stamped = typing ? rooms.typing(session.id, room, clock()) : rooms.say(session.id, room, message.data, clock())
      if (stamped !== null) replace(message.data, stamped)
      return stamped !== null
    } catch (error) {
      if (!(error instanceof ChatError)) {
        replace(message.data, {}) // a listener that throws does not veto: let nothing through that was not stamped
        throw error
      }
      if (!typing) refuse(session, error, room, message.data)
      return false
    }
  })
  bayeux.on('removed', session => rooms.gone(session.id, clock()))
  return rooms
}

function refuse(session: BayeuxSession, error: ChatError, room: string, data: unknown): void {
  session.deliver(channels.refused, { error: error.code, text: error.message, room, tag: tagOf(fields(data)['tag']) })
}

function isPlain(data: unknown): data is Record<string, unknown> {
  return typeof data === 'object' && data !== null && !Array.isArray(data)
}

/** Changes the object in place: the engine serializes the message after its listeners have seen it. */
function replace(data: Record<string, unknown>, by: object): void {
  for (const key of Object.keys(data)) delete data[key]
  Object.assign(data, by)
}

// The chat rooms, driven with time as an argument.

import t from 'tap'
import { ChatRooms, limits, type Outlet, type Said } from '../../examples/chat/room.js'

const KEY = { ana: 'a'.repeat(20), ben: 'b'.repeat(20), cleo: 'c'.repeat(20) }

class Recorder implements Outlet {
  seen: unknown[][] = []
  kept: Said[] = []
  announce(channel: string, data: object): void {
    this.seen.push([channel, data])
  }
  deliver(session: string, channel: string, data: object): void {
    this.seen.push([session, channel, data])
  }
  recall(room: string): readonly Said[] {
    return room === 'lobby' ? this.kept : []
  }
  take(): unknown[][] {
    return this.seen.splice(0)
  }
}

function open(): { rooms: ChatRooms; out: Recorder } {
  const out = new Recorder()
  return { rooms: new ChatRooms(out, 0), out }
}

/** Ana and Ben in the lobby, as sessions s1 and s2. */
function two(): { rooms: ChatRooms; out: Recorder } {
  const { rooms, out } = open()
  rooms.enter('s1', { nick: 'Ana', key: KEY.ana }, 0)
  rooms.enter('s2', { nick: 'Ben', key: KEY.ben }, 0)
  rooms.join('s1', { room: 'lobby' }, 0)
  rooms.join('s2', { room: 'lobby' }, 0)
  out.take()
  return { rooms, out }
}

t.test('what was said before this process began is told to who joins, and not said again', async t => {
  const out = new Recorder()
  out.kept = Array.from({ length: 60 }, (_, n) => ({ id: `x-${n}`, nick: 'Ana', text: `${n}`, at: n, tag: `t${n}` }))
  const rooms = new ChatRooms(out, 0)
  rooms.enter('s1', { nick: 'Ana', key: KEY.ana }, 0)
  t.same(rooms.join('s1', { room: 'lobby' }, 0).said, out.kept.slice(-limits.kept))
  t.same(rooms.join('s1', { room: 'ideas' }, 0).said, [])
  out.take()
  t.equal(rooms.say('s1', 'lobby', { text: '59', tag: 't59' }, 0), null, 'its answer was lost')
  t.match(out.take(), [['s1', '/talk/room/lobby', { id: 'x-59' }]])
})

const refused = (code: string): { code: string } => ({ code })

t.test('a name is tidied, and refused when it is empty, long, or not made of letters', async t => {
  const { rooms } = open()
  const enter = (nick: unknown): string => rooms.enter('s1', { nick, key: KEY.ana }, 0).nick
  t.equal(enter('  Ana \t  Lindqvist '), 'Ana Lindqvist')
  t.equal(enter('Ｂjörn'), 'Björn', 'in the composed, ordinary form')
  t.equal(enter('李雷'), '李雷')
  for (const nick of [
    '',
    '   ',
    '-a',
    'a'.repeat(25),
    '<b>',
    'a\u202eb',
    'a,b',
    7,
    null,
    undefined,
    { a: 1 },
    'x'.repeat(100_000),
  ]) {
    t.throws(() => enter(nick), refused('nick_invalid'))
  }
  t.throws(() => rooms.enter('s1', null, 0), refused('nick_invalid'))
  t.throws(() => rooms.enter('s1', { nick: 'Ana', key: 'short' }, 0), refused('key_invalid'))
})

t.test('a name belongs to one person, whatever its capitals, until their last session is gone', async t => {
  const { rooms } = two()
  t.throws(() => rooms.enter('s3', { nick: 'ANA', key: KEY.cleo }, 0), refused('nick_taken'))
  t.equal(rooms.enter('s3', { nick: 'Ana', key: KEY.ana }, 0).nick, 'Ana', 'the same key is the same person')
  rooms.gone('s1', 0)
  t.throws(() => rooms.enter('s4', { nick: 'Ana', key: KEY.cleo }, 0), refused('nick_taken'), 'the second window is still there')
  rooms.gone('s3', 0)
  t.equal(rooms.enter('s4', { nick: 'ana', key: KEY.cleo }, 0).nick, 'ana')
})

t.test('who has not said a name can do nothing', async t => {
  const { rooms } = open()
  t.throws(() => rooms.join('s1', { room: 'lobby' }, 0), refused('not_entered'))
  t.throws(() => rooms.leave('s1', { room: 'lobby' }, 0), refused('not_entered'))
  t.throws(() => rooms.say('s1', 'lobby', { text: 'x' }, 0), refused('not_entered'))
  t.throws(() => rooms.typing('s1', 'lobby', 0), refused('not_entered'))
  t.throws(() => rooms.whisper('s1', { to: 'Ana', text: 'x' }, 0), refused('not_entered'))
  rooms.gone('s1', 0)
})

t.test('joining and leaving is announced once for a person, not for each window', async t => {
  const { rooms, out } = two()
  rooms.enter('s3', { nick: 'Ana', key: KEY.ana }, 0)
  t.same(rooms.join('s3', { room: 'lobby' }, 0).people, ['Ana', 'Ben'])
  rooms.join('s3', { room: 'lobby' }, 0)
  rooms.leave('s1', { room: 'lobby' }, 0)
  rooms.leave('s1', { room: 'lobby' }, 0)
  t.same(out.take(), [])
  rooms.gone('s3', 0)
  t.same(out.take(), [
    ['/talk/room/lobby/members', { event: 'left', nick: 'Ana', was: '', members: 1 }],
    ['/talk/rooms', { room: 'lobby', topic: 'Everyone starts here', members: 1 }],
  ])
  rooms.join('s1', { room: 'lobby' }, 0)
  t.same(out.take()[0], ['/talk/room/lobby/members', { event: 'joined', nick: 'Ana', was: '', members: 2 }])
})

t.test('another name is told to the rooms of its person, and the old one is free', async t => {
  const { rooms, out } = two()
  rooms.enter('s1', { nick: 'Anna', key: KEY.ana }, 0)
  t.same(out.take(), [['/talk/room/lobby/members', { event: 'renamed', nick: 'Anna', was: 'Ana', members: 2 }]])
  t.equal(rooms.enter('s3', { nick: 'Ana', key: KEY.cleo }, 0).nick, 'Ana')
})

t.test('a session that comes with another key is another person', async t => {
  const { rooms, out } = two()
  rooms.enter('s1', { nick: 'Cleo', key: KEY.cleo }, 0)
  t.same(out.take()[0], ['/talk/room/lobby/members', { event: 'left', nick: 'Ana', was: '', members: 1 }])
  t.throws(() => rooms.say('s1', 'lobby', { text: 'x' }, 0), refused('not_member'))
  t.same(rooms.size, { people: 2, sessions: 2, rooms: 3 })
})

t.test('a message is stamped with name, time and a number; only members may speak', async t => {
  const { rooms } = two()
  t.same(rooms.say('s1', 'lobby', { text: ' hi\r\nthere\u0007 ', nick: 'Ben', at: 1, id: 'mine', tag: 'x1' }, 5_000), {
    id: '0-1',
    nick: 'Ana',
    text: 'hi\nthere',
    at: 5_000,
    tag: 'x1',
  })
  t.throws(() => rooms.say('s1', 'ideas', { text: 'x' }, 0), refused('not_member'))
  for (const text of ['', ' \n ', 7, null, undefined, ['x'], 'x'.repeat(2_001), 'x'.repeat(9_000)]) {
    t.throws(() => rooms.say('s1', 'lobby', { text }, 0), refused('text_invalid'))
  }
  t.equal(rooms.say('s1', 'lobby', { text: '🌞'.repeat(2_000), tag: 'not a tag' }, 0)?.tag, '')
  t.same(rooms.typing('s1', 'lobby', 0), { nick: 'Ana' })
  t.throws(() => rooms.typing('s1', 'ideas', 0), refused('not_member'))
})

t.test('a message sent again under its tag is not said twice', async t => {
  const { rooms, out } = two()
  const first = rooms.say('s1', 'lobby', { text: 'hi', tag: 'x1' }, 0)
  t.equal(rooms.say('s1', 'lobby', { text: 'hi', tag: 'x1' }, 9), null)
  t.same(out.take(), [['s1', '/talk/room/lobby', first]], 'its sender gets the first one')
  t.ok(rooms.say('s2', 'lobby', { text: 'hi', tag: 'x1' }, 9), 'tags are each person’s own')
})

t.test('who joins sees the last messages, and no more than are kept', async t => {
  const { rooms } = two()
  for (let i = 0; i < limits.kept + 3; i++) rooms.say('s1', 'lobby', { text: String(i) }, i * 1_000)
  rooms.enter('s3', { nick: 'Cleo', key: KEY.cleo }, 0)
  const { said, people, topic } = rooms.join('s3', { room: 'lobby' }, 0)
  t.same([said.length, said[0]?.text, said.at(-1)?.text], [limits.kept, '3', String(limits.kept + 2)])
  t.same([people, topic], [['Ana', 'Ben', 'Cleo'], 'Everyone starts here'])
})

t.test('a private message reaches all windows of both, and nobody else', async t => {
  const { rooms, out } = two()
  rooms.enter('s3', { nick: 'Ana', key: KEY.ana }, 0)
  rooms.enter('s4', { nick: 'Ben', key: KEY.ben }, 0)
  rooms.enter('s5', { nick: 'Cleo', key: KEY.cleo }, 0)
  const message = rooms.whisper('s1', { to: 'ben', text: 'psst', tag: 'x9' }, 77)
  t.same(message, { id: '0-1', from: 'Ana', to: 'Ben', text: 'psst', at: 77, tag: 'x9' })
  t.same(
    out.take(),
    ['s2', 's4', 's1', 's3'].map(session => [session, '/service/talk/private', message]),
  )
  t.equal(rooms.whisper('s3', { to: 'ben', text: 'psst', tag: 'x9' }, 78), message, 'sent again, it is the same message')
  t.same(out.take(), [])
  t.throws(() => rooms.whisper('s1', { to: 'Dora', text: 'x' }, 0), refused('person_unknown'))
  t.throws(() => rooms.whisper('s1', { to: 7, text: 'x' }, 0), refused('person_unknown'))
  t.throws(() => rooms.whisper('s1', { to: 'Ben' }, 0), refused('text_invalid'))
})

t.test('a room of its own comes with its first member and goes when it was empty for a while', async t => {
  const { rooms, out } = two()
  t.same(rooms.join('s1', { room: 'tea-2' }, 0), { room: 'tea-2', topic: '', members: 1, people: ['Ana'], said: [] })
  rooms.leave('s1', { room: 'tea-2' }, 1_000)
  out.take()
  const names = (now: number): string[] => rooms.enter('s2', { nick: 'Ben', key: KEY.ben }, now).rooms.map(note => note.room)
  t.same(names(1_000 + limits.emptyFor - 1), ['lobby', 'ideas', 'music', 'tea-2'])
  t.same(names(1_000 + limits.emptyFor), ['lobby', 'ideas', 'music'])
  t.same(out.take(), [['/talk/rooms', { room: 'tea-2', topic: '', members: 0, gone: true }]])
  for (const room of ['', 'Tea', 'a b', '-a', 'a-', 'a/b', '*', '__proto__', 'a'.repeat(33), 7, null]) {
    t.throws(() => rooms.join('s1', { room }, 0), refused('room_invalid'))
  }
})

t.test('rooms are limited, for one session and in all; an empty one makes place', async t => {
  const { rooms } = open()
  const later = (i: number): number => i * 1_000
  const key = (i: number): string => `key-of-person-${String(i).padStart(4, '0')}`
  for (let p = 0; p < limits.rooms / limits.roomsOfSession; p++) {
    rooms.enter(`s${p}`, { nick: `P${p}`, key: key(p) }, 0)
    for (let i = 0; i < limits.roomsOfSession; i++) {
      const full = rooms.size.rooms >= limits.rooms
      if (full) t.throws(() => rooms.join(`s${p}`, { room: `r-${p}-${i}` }, later(i)), refused('too_many_rooms'))
      else rooms.join(`s${p}`, { room: `r-${p}-${i}` }, later(i))
    }
  }
  t.equal(rooms.size.rooms, limits.rooms)
  t.throws(
    () => rooms.join('s0', { room: 'one-more' }, later(99)),
    refused('too_many_rooms'),
    'that session is in as many as it may',
  )
  rooms.leave('s0', { room: 'r-0-0' }, later(99))
  t.equal(rooms.join('s0', { room: 'one-more' }, later(99)).members, 1)
  t.equal(rooms.size.rooms, limits.rooms)
})

t.test('who says too much at once is stopped, and may go on a little later', async t => {
  const { rooms } = two() // joining cost one
  for (let i = 1; i < limits.burst; i++) rooms.say('s1', 'lobby', { text: 'x' }, 0)
  t.throws(() => rooms.say('s1', 'lobby', { text: 'x' }, 0), refused('too_fast'))
  t.throws(() => rooms.whisper('s1', { to: 'Ben', text: 'x' }, 0), refused('too_fast'))
  t.ok(rooms.say('s2', 'lobby', { text: 'x' }, 0), 'others do not notice')
  t.ok(rooms.say('s1', 'lobby', { text: 'x' }, 1_000 / limits.perSecond))
})

t.test('when all are gone, nothing of them is left', async t => {
  const { rooms } = two()
  rooms.gone('s1', 0)
  rooms.gone('s2', 0)
  rooms.gone('s2', 0)
  t.same(rooms.size, { people: 0, sessions: 0, rooms: 3 })
})

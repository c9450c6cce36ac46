// An overheard clientId: on each way in it is worth nothing, and the victim notices nothing. On both roads.

import t from 'tap'
import type { PerihelionOptions } from '../../lib/index.js'
import { startServer, type Teardown } from '../support/server.js'
import { get, type HttpAnswer, post, request, WireSocket } from '../support/wire.js'

type Json = Record<string, unknown>

const UNKNOWN = { successful: false, error: '402::session_unknown' }
const handshake = JSON.stringify([{ channel: '/meta/handshake' }])
const parsed = ({ body }: HttpAnswer): Json[] => JSON.parse(body) as Json[]

/** A victim that has subscribed to /secret and holds a connect over long-polling, in a browser of its own. */
async function victim(t: Teardown, options: PerihelionOptions) {
  const { url, bayeux } = await startServer(t, { timeout: 20_000, allowUnknownCallbackOrigin: true, ...options })
  const greeting = await post(url, handshake)
  const [{ clientId }] = parsed(greeting) as [{ clientId: string }]
  const cookie = greeting.headers['set-cookie']![0]!.split(';')[0]!
  const say = (...messages: Json[]) => JSON.stringify(messages.map(message => ({ clientId, ...message })))
  const send = async (message: Json) => parsed(await post(url, say(message), { cookie }))
  await send({ channel: '/meta/connect' })
  await send({ channel: '/meta/subscribe', subscription: '/secret' })
  const held = post(url, say({ channel: '/meta/connect' }), { cookie })
  /** A secret is published: the held connect brings it, and nothing has disturbed that before. */
  const unharmed = async () => {
    bayeux.publish('/secret', 'for the victim')
    return parsed(await held)
  }
  return { url, bayeux, clientId, cookie, say, unharmed, session: bayeux.session(clientId)! }
}

const DELIVERED = [
  { channel: '/secret', data: 'for the victim' },
  { channel: '/meta/connect', successful: true },
]
const attempts: Json[] = [
  { channel: '/meta/connect', advice: { timeout: 0 } },
  { channel: '/meta/subscribe', subscription: '/other' },
  { channel: '/meta/unsubscribe', subscription: '/secret' },
  { channel: '/secret', data: 'forged' },
  { channel: '/service/x', data: 1 },
  { channel: '/meta/disconnect' },
]

for (const direct of [false, true]) {
  const road = direct ? 'past Fastify' : 'through Fastify'

  t.test(`over HTTP, ${road}: from another browser, or from none`, async t => {
    const { url, say, unharmed, session } = await victim(t, { direct })
    const thief = (await post(url, handshake)).headers['set-cookie']![0]!.split(';')[0]!
    for (const headers of [{}, { cookie: thief }, { cookie: 'BAYEUX_BROWSER=guessed' }, { cookie: 'OTHER=1' }]) {
      for (const attempt of attempts) {
        const answer = await post(url, say(attempt), headers)
        t.match(
          parsed(answer),
          [{ channel: attempt['channel'], ...UNKNOWN }],
          `${attempt['channel']} with ${JSON.stringify(headers)}`,
        )
        t.equal(parsed(answer).length, 1)
        const query = `jsonp=cb&message=${encodeURIComponent(say(attempt))}`
        t.match((await get(`${url}?${query}`, headers)).body, /^\/\*\*\/cb\(\[\{[^\]]*"402::session_unknown"[^\]]*\}\]\)$/)
      }
    }
    t.match(await unharmed(), DELIVERED, 'the victim’s connect was held all the time')
    t.same(session.subscriptions, ['/secret'])
  })

  t.test(`on WebSockets, ${road}: with another browser’s cookie, or bound to another session`, async t => {
    const { url, say, unharmed, session } = await victim(t, { direct })
    const foreign = await new WireSocket(url, { cookie: 'BAYEUX_BROWSER=of-the-thief' }).open()
    const bound = await new WireSocket(url).open()
    bound.send(handshake)
    await bound.next()
    for (const [name, socket] of Object.entries({ foreign, bound })) {
      for (const attempt of attempts) {
        socket.send(say(attempt))
        t.match(await socket.next(), [{ channel: attempt['channel'], ...UNKNOWN }], `${attempt['channel']} on a ${name} socket`)
      }
    }
    t.match(await unharmed(), DELIVERED)
    t.same(
      [foreign, bound].flatMap(({ frames }) => frames),
      [],
      'and no thief gets anything',
    )
    t.equal(foreign.code, null, 'a socket is not closed for it (protocol 6.2)')
    t.same(session.subscriptions, ['/secret'])
    for (const socket of [foreign, bound]) socket.cut()
  })
}

t.test('a fresh socket without a cookie is a reconnect, unless the option forbids it', async t => {
  const open = await victim(t, {})
  const socket = await new WireSocket(open.url).open()
  socket.send(open.say({ channel: '/meta/connect', advice: { timeout: 0 } }))
  t.match(await socket.next(), [{ channel: '/meta/connect', successful: true }], 'as clients need it (protocol 4.5)')
  socket.cut()

  const shut = await victim(t, { 'ws.requireHandshakePerConnection': true })
  for (const headers of [{}, { cookie: shut.cookie }, { cookie: 'BAYEUX_BROWSER=x' }] as Record<string, string>[]) {
    const fresh = await new WireSocket(shut.url, headers).open()
    for (const attempt of attempts) {
      fresh.send(shut.say(attempt))
      t.match(await fresh.next(), [{ channel: attempt['channel'], ...UNKNOWN }])
    }
    fresh.cut()
  }
  t.match(await shut.unharmed(), DELIVERED)
})

t.test('a page of another origin gets no session to steal, and cannot use its visitor’s', async t => {
  const { url, cookie, say, unharmed } = await victim(t, {})
  const evil = { origin: 'https://evil.example', cookie }
  t.match(await post(url, say({ channel: '/secret', data: 'forged' }), evil), { status: 403, body: '' })
  t.match(await post(url, say({ channel: '/secret', data: 'forged' }), { ...evil, 'content-type': 'text/plain' }), {
    status: 403,
  })
  t.match(
    await post(url, `message=${encodeURIComponent(say({ channel: '/meta/disconnect' }))}`, {
      ...evil,
      'content-type': 'application/x-www-form-urlencoded',
    }),
    { status: 403 },
  )
  t.match(
    await get(`${url}?jsonp=cb&message=${encodeURIComponent(say({ channel: '/meta/disconnect' }))}`, {
      cookie,
      'sec-fetch-site': 'cross-site',
    }),
    { status: 403 },
  )
  await t.rejects(new WireSocket(url, evil).open(), /403/)
  t.match(await request(url, { method: 'OPTIONS', headers: { ...evil, 'access-control-request-method': 'POST' } }, null).answer, {
    status: 403,
  })
  t.match(await unharmed(), DELIVERED)
})

t.test('an id has more than 128 random bits, and tells nothing of the others', async t => {
  const { url, bayeux } = await startServer(t, { trusted: true })
  const ids = new Set<string>()
  for (let i = 0; i < 2_000; i++) ids.add((parsed(await post(url, handshake))[0] as { clientId: string }).clientId)
  t.equal(ids.size, 2_000)
  t.ok(
    [...ids].every(id => /^[0-9a-z]{26}$/.test(id)),
    '26 of 36 characters are 134 bits',
  )
  const counts = new Map<string, number>()
  for (const id of ids)
    for (const [at, character] of [...id].entries()) counts.set(`${at}${character}`, (counts.get(`${at}${character}`) ?? 0) + 1)
  const expected = 2_000 / 36
  const chi = [...counts.values()].reduce((sum, seen) => sum + (seen - expected) ** 2 / expected, 0)
  t.equal(counts.size, 26 * 36, 'each character comes at each place')
  t.ok(chi < 1_200, `evenly: chi-square ${Math.round(chi)} of 910 degrees of freedom`)
  t.equal(bayeux.stats().sessions, 2_000)
})

// Drives one client library through all that tokens, rules and limits do to it, in a process of its own.
//
// Usage: node security.js <faye|cometd3|…> <websocket|long-polling> <channel prefix> <url of each server, as JSON>
// Knows: the scenarios, which run side by side. Does not know: what is right; it reports what it saw, and the test judges.

import { hs256 } from '../../support/issuer.js'
import { sockets } from './cometd-client.js'
import { type Dress, FAYE_RETRY, type Guest, invitation, type Message } from './guest.js'
import { quiet, scenario, step, until } from './steps.js'

const [library = '', transport = '', prefix = '', servers = '{}'] = process.argv.slice(2)
/**
 * `access` has rules; on `brief` tokens end soon, and there are ticks; `slow` and `hasty` take few messages a second; `full` has room for one
 * session, and `calm` takes few handshakes a second.
 */
const urls = JSON.parse(servers) as Readonly<Record<'access' | 'brief' | 'slow' | 'hasty' | 'full' | 'calm', string>>
const invite = await invitation(library, transport)
const guests: Guest[] = []

const seconds = (): number => Date.now() / 1_000
/** A token that ends at a whole second, `life` to `life + 1` seconds from now. */
const tokenOf = (user: string, roles: readonly string[], life: number): string =>
  hs256({ sub: user, roles, iat: Math.floor(seconds()) - 1, exp: Math.ceil(seconds()) + life })

function invited(url: string, dress?: Dress, headers?: Readonly<Record<string, string>>): Guest {
  const guest = invite(url, dress, headers)
  guests.push(guest)
  return guest
}

/** Puts a token into `ext` of the messages of a channel. */
function bearing(token: () => string, channel = '/meta/handshake'): Dress {
  return message => {
    if (message.channel === channel) message.ext = { ...message.ext, token: token() }
  }
}

function pick(message: Message | undefined): object | null {
  if (message === undefined) return null
  const { successful, error, advice } = message
  return { successful, error, advice }
}

/** The last message with an advice. */
const advised = (guest: Guest): Message | undefined => guest.got.findLast(({ advice }) => advice !== undefined)

/** What a client that was told to stop sends all the same. */
async function sentAfter(guest: Guest): Promise<string[]> {
  const from = guest.sent.length
  await quiet(300)
  return guest.sent.slice(from).map(message => message.channel)
}

const distinct = (list: readonly unknown[]): boolean => new Set(list).size === list.length
/** Whether all numbers between the least and the greatest are there, once, in any order: two responses of long-polling may cross. */
const complete = (list: readonly unknown[]): boolean =>
  distinct(list) && Math.max(...list.map(Number)) - Math.min(...list.map(Number)) === list.length - 1

const opsToken = tokenOf(`${prefix}/ops`, ['ops'], 600)

async function access(ops: Guest): Promise<void> {
  const url = urls.access
  const secret = `/secret${prefix}`
  const open = `/open${prefix}`
  const guestToken = tokenOf(`${prefix}/guest`, ['guest'], 600)
  const guest = invited(
    url,
    bearing(() => guestToken),
  )
  await step('places', async () => {
    const places: Record<string, Guest> = { ops, guest, nobody: invited(url) }
    // a WebSocket of a browser takes no headers
    if (transport === 'long-polling' || library === 'faye')
      places['header'] = invited(url, undefined, { Authorization: `Bearer ${opsToken}` })
    const seen: Record<string, object | null> = {}
    for (const [name, each] of Object.entries(places)) {
      if (each !== ops) each.enter()
      each.subscribe(secret)
      seen[name] = pick(await each.subscribed(secret))
    }
    return seen
  })
  await step('wildcards', async () => {
    const seen: Record<string, unknown> = {}
    for (const wildcard of ['/secret/**', '/secret/*', '/**', `${open}/**`]) {
      guest.subscribe(wildcard)
      seen[wildcard.replace(prefix, '')] = (await guest.subscribed(wildcard)).error ?? 'successful'
    }
    ops.publish(secret, 'secret')
    await until('the secret', () => ops.delivered(secret).length > 0)
    ops.publish(`${open}/x`, 'open')
    await until('what is open', () => guest.delivered(`${open}/x`).length > 0)
    return { replies: seen, ops: ops.delivered(secret), guest: guest.delivered(secret) }
  })
  await step('bad token', async () => {
    const stranger = invited(
      url,
      bearing(() => 'broken'),
    )
    stranger.enter()
    const reply = pick(await stranger.reply('/meta/handshake'))
    return { reply, sentAfterwards: await sentAfter(stranger) }
  })
  await step('revoked', async () => {
    await guest.held()
    ops.publish('/service/revoke', `${prefix}/guest`)
    await until('the end of its connect', () => guest.replies('/meta/connect').at(-1)?.advice?.['reconnect'] === 'none')
    const notices = guest.replies('/meta/disconnect').map(({ successful }) => successful)
    const sentAfterwards = await sentAfter(guest)
    guest.enter()
    if (library !== 'faye') await guest.reply('/meta/handshake', 1)
    return { notices, sentAfterwards, handshakes: guest.replies('/meta/handshake').map(pick).slice(1) }
  })
}

const expires = (message: Message | undefined): number => Number((message?.ext?.['token'] as { expires?: number })?.expires)

/** Tokens that end soon: of clients that bring a new one with a handshake, none, one with a publish, and one with each connect. */
async function endings(): Promise<void> {
  const ticks = '/open/ticks'
  const user = `${prefix}/brief`
  const brief = (): string => tokenOf(user, [], 6)
  const lasting = (): string => tokenOf(user, [], 600)

  /** One that hears the ticks, with a token of its own that ends soon in its first handshake. */
  const listener = async (dress: (message: Message, first: string) => void): Promise<{ guest: Guest; endsAt: number }> => {
    const first = brief()
    const endsAt = (Math.ceil(seconds()) + 6) * 1_000
    const guest = invited(urls.brief, message => dress(message, first))
    guest.enter()
    guest.subscribe(ticks)
    await guest.subscribed(ticks)
    return { guest, endsAt }
  }
  const later = async (guest: Guest, endsAt: number): Promise<void> => {
    await until('the end of the first token', () => Date.now() > endsAt + 200)
    const from = guest.delivered(ticks).length
    await until('five messages after it', () => guest.delivered(ticks).length >= from + 5)
  }

  await Promise.all([
    step('fresh token', async () => {
      let handshakes = 0
      const { guest, endsAt } = await listener((message, first) =>
        bearing(() => (handshakes++ === 0 ? first : lasting()))(message),
      )
      await later(guest, endsAt)
      return {
        told: guest
          .replies('/meta/connect')
          .filter(({ successful }) => successful === false)
          .map(pick),
        handshakes: guest.replies('/meta/handshake').map(({ successful }) => successful),
        subscriptions: guest.replies('/meta/subscribe').map(({ successful }) => successful),
        distinct: distinct(guest.delivered(ticks)),
      }
    }),
    step('stale token', async () => {
      const { guest } = await listener((message, first) => bearing(() => first)(message))
      const refused = (channel: string): Message | undefined =>
        guest.replies(channel).find(({ successful }) => successful === false)
      await until('the refused handshake', () => refused('/meta/handshake') !== undefined)
      return {
        told: pick(refused('/meta/connect')),
        handshakes: guest.replies('/meta/handshake').map(({ successful }) => successful),
        refused: pick(refused('/meta/handshake')),
        sentAfterwards: await sentAfter(guest),
        distinct: distinct(guest.delivered(ticks)),
      }
    }),
    step('renewed by a publish', async () => {
      const { guest, endsAt } = await listener((message, first) => {
        bearing(() => first)(message)
        bearing(() => String(message.data), '/service/token')(message)
      })
      guest.publish('/service/token', lasting())
      const left = expires(await guest.reply('/service/token'))
      guest.publish('/service/token', tokenOf('somebody else', [], 600))
      const other = await guest.reply('/service/token', 1)
      await later(guest, endsAt)
      return {
        left: left > 590_000 && left <= 602_000,
        other: other.ext?.['token'],
        handshakes: guest.requests('/meta/handshake').length,
        complete: complete(guest.delivered(ticks)),
      }
    }),
    step('renewed by each connect', async () => {
      const { guest, endsAt } = await listener((message, first) => {
        bearing(() => first)(message)
        bearing(() => tokenOf(user, [], 10), '/meta/connect')(message)
      })
      await later(guest, endsAt)
      return {
        left: guest.replies('/meta/connect').some(reply => expires(reply) > 2_000),
        handshakes: guest.requests('/meta/handshake').length,
        complete: complete(guest.delivered(ticks)),
      }
    }),
  ])
}

/** Sends too fast once, is slowed down, and goes on. */
async function pace(): Promise<void> {
  const channel = `/open${prefix}/fast`
  const guest = invited(urls.slow)
  guest.enter()
  guest.subscribe(channel)
  await guest.subscribed(channel)
  await guest.held()
  const many = 28
  let pause = 0
  await step('too fast', async () => {
    guest.publishAll(
      channel,
      Array.from({ length: many }, (_, n) => n),
    )
    await guest.reply(channel, many - 1)
    const replies = guest.replies(channel)
    const refused = replies.filter(({ successful }) => successful === false)
    await until('what was accepted', () => guest.delivered(channel).length === many - refused.length)
    const intervals = refused.map(({ advice }) => Number(advice?.['interval']))
    pause = Math.max(...intervals)
    return {
      errors: [...new Set(refused.map(({ error }) => error))],
      advice: { ...refused[0]?.advice, interval: intervals.every(interval => interval > 0) },
      distinct: distinct(guest.delivered(channel)),
    }
  })
  await step('after the pause', async () => {
    await quiet(pause)
    guest.publish(channel, 'later')
    const reply = await guest.reply(channel, many)
    await until('the later message', () => guest.delivered(channel).includes('later'))
    await until('the usual advice', () => advised(guest)?.advice?.['interval'] === 0)
    const usual = advised(guest)
    return {
      reply: pick(reply),
      usual: { channel: usual?.channel, ...pick(usual) },
      handshakes: guest.requests('/meta/handshake').length,
    }
  })
}

/** Sends so much too fast that its session ends, and comes back. */
async function door(): Promise<void> {
  const channel = `/open${prefix}/door`
  const guest = invited(urls.hasty)
  await step('out and in', async () => {
    guest.enter()
    guest.subscribe(channel)
    await guest.subscribed(channel)
    await guest.held()
    // Too many for one session (burst: 8; refused up to 16), and what is left of them not for the next: Faye closes its socket at each
    // handshake, and says again in the new session, under the old one's clientId, what it had no answer to.
    const many = Array.from({ length: 20 }, (_, n) => n)
    guest.publishAll(channel, many)
    await guest.reply(channel, many.length - 1)
    guest.publish(channel, many.length) // though it was told to pause
    await until('the new subscribe', () => guest.replies('/meta/subscribe').length > 1)
    await guest.held()
    let tries = 0
    let reply: Message
    do {
      // each time another text: what arrives twice was then delivered twice, not published twice
      guest.publish(channel, `back ${++tries}`)
      reply = await guest.answer(channel, `back ${tries}`)
      if (reply.successful !== true) await quiet(Number(reply.advice?.['interval'] ?? 0)) // for haste that is not the test's (see above)
    } while (reply.successful !== true)
    await until('a message', () => guest.delivered(channel).includes(`back ${tries}`))
    await until('the usual advice', () => advised(guest)?.advice?.['interval'] === 0)
    return {
      handshakes: guest.replies('/meta/handshake').every(({ successful }) => successful === true),
      few: guest.requests('/meta/handshake').length <= 2,
      distinct: distinct(guest.delivered(channel)),
    }
  })
}

/** Is refused for load, and tries again until there is room. */
async function refused(name: 'full' | 'calm'): Promise<void> {
  let guest = invited(urls[name])
  let interval = 0
  let at = performance.now()
  await step(name, async () => {
    guest.enter()
    let reply = await guest.reply('/meta/handshake')
    while (reply.successful === true) {
      guest = invited(urls[name])
      at = performance.now()
      guest.enter()
      reply = await guest.reply('/meta/handshake')
    }
    interval = Number(reply.advice?.['interval'])
    return { ...pick(reply), advice: { ...reply.advice, interval: interval >= (name === 'full' ? 5_000 : 1_000) } }
  })
  await step(`${name}, then room`, async () => {
    await until('the next handshake', () => guest.requests('/meta/handshake').length > 1)
    const waited = performance.now() - at
    await until('the handshake to succeed', () => guest.replies('/meta/handshake').at(-1)?.successful === true)
    await guest.held()
    return { waited: waited > (library === 'faye' ? 1_000 * FAYE_RETRY : interval) - 100 }
  })
}

async function all(): Promise<void> {
  const ops = invited(
    urls.access,
    bearing(() => opsToken),
  )
  ops.enter()
  await ops.held() // the clients of a process have one jar, in which each of several first cookies would take the place of the other
  await Promise.all([access(ops), endings(), pace(), door(), refused('full'), refused('calm')])
  await step('leave', async () => {
    const gone = (guest: Guest): boolean => advised(guest)?.advice?.['reconnect'] === 'none'
    await Promise.all(guests.map(guest => (gone(guest) ? guest.tidy() : guest.leave())))
    // CometD up to 4 forgets a socket over another. One that had a session the server closes; one that never had must stay open (protocol 6.2)
    for (const socket of sockets) if (new URL(socket.url).host === new URL(urls.hasty).host) socket.close()
    await until('the end of all sockets', () => sockets.every(socket => socket.readyState === socket.CLOSED))
    return true
  })
}

await scenario(all, () => guests.map(({ sent, got }) => ({ sent: sent.slice(-4), got: got.slice(-4) })))

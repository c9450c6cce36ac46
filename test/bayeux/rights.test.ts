// G8 under random interleavings: rules, identities, policies that answer later, acknowledged and lazy delivery, connections that come and go.
//
// Always true: when a message is written for a session, it has a subscription that covers its channel.

import t from 'tap'
import { covers, parseChannel } from '../../bayeux/channel.js'
import { wholeIdentity } from '../../bayeux/identity.js'
import { type Client, Drive } from '../support/drive.js'
import { assertEmpty, rootOf } from '../support/recording.js'
import { generator } from '../support/world.js'

const SEEDS = Number(process.env['SEEDS'] ?? 60)
const ROLES = ['a', 'b', 'c']
const CHANNELS = ['/s/a', '/s/b', '/s/c', '/s/*', '/**', '/l/a', '/l/b', '/l/**', '/s/a/x', '/s/**']
const RULES = {
  '/s/a': { subscribe: 'role:a' },
  '/s/b': { subscribe: 'role:b' },
  '/s/a/**': { subscribe: ['role:a', 'role:b'] },
  '/l/**': { lazy: 700, subscribe: 'role:c' },
  '/l/a': { subscribe: ['role:c', 'role:a'] },
} as const

t.test('what is written was allowed when it was written', t => {
  let delivered = 0
  let ended = 0
  for (let seed = 1; seed <= SEEDS; seed++) {
    const random = generator(seed)
    const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!
    const drive = new Drive({ maxInterval: 60_000, timeout: 3_000 }, RULES)
    const { server } = drive.engine
    server.police({ subscribe: random() < 0.5, renew: true, handshake: true })
    const identities = () => wholeIdentity({ user: 'u', roles: ROLES.filter(() => random() < 0.8) })
    drive.answer = ({ kind }) => {
      if (random() < 0.2) return null
      return kind === 'subscribe' ? random() < 0.8 : { allow: random() < 0.9, identity: identities() }
    }
    const bad: string[] = []
    const watch = drive.sink['watch']
    const { written } = watch
    watch.written = each => {
      const client = drive.clients.find(other => other.has(each.wire))
      const session = client === undefined || client.id === '' ? undefined : client.session
      for (const message of each.messages) {
        const name = parseChannel(String(message['channel']))!
        if (name.kind !== 'broadcast') continue
        delivered++
        if (session === undefined) continue // it has gone; what it gets is what waited for it
        const mine = session.subscriptions?.channels() ?? []
        if (!mine.some(channel => covers(channel, name))) bad.push(`${message['channel']} at step ${step}`)
      }
      written?.(each)
    }
    const clients: Client[] = []
    let step = 0
    for (; step < 400; step++) {
      const client = clients.length < 4 || random() < 0.02 ? null : pick(clients)
      if (client === null) {
        const fresh = drive.stranger(pick(['websocket', 'long-polling']))
        clients.push(fresh)
        fresh.handshake({ ext: { ack: random() < 0.5 } })
        continue
      }
      const session = client.id === '' ? undefined : client.session
      const at = random()
      if (client.id === '') {
        const reply = client.replies.find(each => typeof each['clientId'] === 'string')
        if (reply !== undefined) client.id = String(reply['clientId'])
      }
      if (at < 0.25) drive.publish(pick(['/s/a', '/s/b', '/s/c', '/l/a', '/l/b', '/s/a/x', '/t']), step)
      else if (at < 0.4) client.say({ channel: '/meta/subscribe', subscription: [pick(CHANNELS), pick(CHANNELS)] })
      else if (at < 0.55)
        client.say({
          channel: '/meta/connect',
          ext: { ack: Math.floor(random() * 6) },
          ...(random() < 0.3 && { advice: { timeout: 0 } }),
        })
      else if (at < 0.62 && session !== undefined) server.identify(session, random() < 0.8 ? identities() : null, drive.now)
      else if (at < 0.66 && session !== undefined) server.review(session, drive.now)
      else if (at < 0.68)
        server.setRules(random() < 0.5 ? RULES : { ...RULES, '/s/**': { subscribe: `role:${pick(ROLES)}` } }, drive.now)
      else if (at < 0.74) client.say({ channel: '/service/t', ext: { token: `t${Math.floor(random() * 9)}` } })
      else if (at < 0.76 && session !== undefined) session.batchDepth = session.batchDepth === 0 ? 1 : 0
      else if (at < 0.77 && session !== undefined) session.metaConnectDeliverOnly = !session.metaConnectDeliverOnly
      else if (at < 0.79 && session !== undefined)
        pick([
          () => server.disconnect(session, drive.now),
          () => server.revoke(session, drive.now),
          () => server.remove(session, drive.now),
        ])()
      else if (at < 0.81) {
        client.say({ channel: '/meta/unsubscribe', subscription: '/t' })
      } else if (at < 0.93 && drive.open.length > 0) {
        const [question] = drive.open.splice(Math.floor(random() * drive.open.length), 1)
        drive.engine.answer(
          question!,
          question!.kind === 'subscribe' ? random() < 0.6 : { allow: true, identity: identities() },
          drive.now,
        )
      } else drive.pass(Math.floor(random() * 900))
      if (random() < 0.7) drive.pass(0)
    }
    ended += drive.unsubscribed.length
    const root = rootOf(drive.engine)
    while (drive.open.length > 0) drive.verdict(true)
    for (const session of [...server.sessions()]) server.disconnect(session, drive.now)
    drive.pass(120_000)
    assertEmpty(drive.engine, root)
    if (bad.length > 0) t.fail(`seed ${seed}: ${bad.slice(0, 3)}`)
    if (drive.sink.faults.length > 0) t.fail(`seed ${seed}: ${String((drive.sink.faults[0] as Error).stack)}`)
  }
  t.comment(`${delivered} deliveries, ${ended} subscriptions ended`)
  t.ok(delivered > 1_000 && ended > 200)
  t.end()
})

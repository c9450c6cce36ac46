// Drives one version of the npm `cometd` client through a whole life, in a process of its own.
//
// Usage: node cometd.js <version> <websocket|long-polling> <ack|plain> <url> <channel prefix> [pair|tabs]
// Knows: the scenarios. Does not know: what is right; it reports what it saw, step by step, and the test judges.

import { TroubledProxy } from '../../../bench/proxy.js'
import { type Callback, Client, type Handle, load, type Message, sockets } from './cometd-client.js'
import { called, quiet, scenario, step, told, touch, until } from './steps.js'

const [version = '', transport = '', mode = '', url = '', prefix = '', role = 'whole'] = process.argv.slice(2)
const ack = mode === 'ack'
const library = await load(version)
const proxy = await TroubledProxy.open(url)
proxy.onLost = touch

/** The adapter keeps cookies by host name: another name for the same server makes the second client another browser (protocol 4.7). */
const elsewhere = url.replace('127.0.0.1', 'localhost')

const client = new Client(library, proxy.url, transport, ack)
const second = new Client(library, elsewhere, transport, ack)

/**
 * Up to 4.0, a client that is advised to handshake resets its WebSocket transport, opens a new socket and forgets the one on which it was
 * refused; the server leaves that open, as it must (protocol 6.2). It would keep this process alive.
 */
function closeForgotten(): void {
  const host = new URL(proxy.url).host
  const own = sockets.filter(socket => new URL(socket.url).host === host)
  for (const socket of own.slice(0, -1)) socket.close()
}

/** Members of a message that say something, without those that differ in each run. */
function pick(message: Message | undefined): object | null {
  if (message === undefined) return null
  const { successful, error, data, subscription, channel, advice } = message
  return { channel, successful, error, data, subscription, advice }
}

async function opening(): Promise<void> {
  await step('handshake', async () => {
    const reply = await client.handshake()
    return {
      successful: reply.successful,
      version: reply.version,
      clientId: /^[A-Za-z0-9]{20,}$/.test(reply.clientId ?? ''),
      offersTransport: reply.supportedConnectionTypes?.includes(transport),
      ack: reply.ext?.ack ?? null,
      advice: reply.advice,
    }
  })
  await step('connect', async () => {
    await until('the first connect reply', () => client.replies('/meta/connect').length > 0)
    await client.held()
    const connectionType = client.requests('/meta/connect').map(message => message.connectionType)
    return { ...pick(client.replies('/meta/connect')[0]), connectionType: [...new Set(connectionType)] }
  })
}

async function exchanges(): Promise<void> {
  const chat = `${prefix}/chat`
  let handle: Handle = {}
  await step('subscribe', async () =>
    pick(await called<Message>('the subscribe reply', callback => (handle = client.bayeux.subscribe(chat, () => {}, callback)))),
  )
  await step('publish', async () => {
    const reply = await client.publish(chat, { text: 'hi' })
    await until('the own message', () => client.delivered(chat).length > 0)
    const order = client.got
      .filter(message => message.channel === chat)
      .map(message => (message.data === undefined ? 'reply' : 'message'))
    const message = client.got.find(message => message.channel === chat && message.data !== undefined) ?? {}
    // The ack extension gives every message that it sends an `ext`, which travels on.
    const members = Object.keys(message).filter(name => name !== 'ext')
    return { reply: pick(reply), delivered: client.delivered(chat), members: members.sort(), order: ack ? order.sort() : order }
  })
  await step('wildcards', async () => {
    const heard: Record<string, string[]> = { exact: [], star: [], deep: [] }
    const hear =
      (name: string): Callback =>
      message =>
        heard[name]?.push(message.channel.slice(prefix.length))
    await client.subscribe(`${prefix}/room/one`, hear('exact'))
    const star = await client.subscribe(`${prefix}/room/*`, hear('star'))
    const deep = await client.subscribe(`${prefix}/room/**`, hear('deep'))
    for (const channel of ['/room', '/room/one', '/room/one/more', '/room/end']) await client.publish(prefix + channel, 1)
    await until('the last message', () => client.delivered(`${prefix}/room/end`).length > 0)
    const times = ['/room', '/room/one', '/room/one/more', '/room/end'].map(channel => client.delivered(prefix + channel).length)
    return { star: star.successful, deep: deep.successful, heard, times }
  })
  await step('array', async () => {
    const channels = ['/array/a', '/array/b/*', '/array/c/**'].map(channel => prefix + channel)
    client.bayeux.send({ channel: '/meta/subscribe', id: 'array', subscription: channels })
    await until('the reply to the array', () => client.got.some(message => message.id === 'array'))
    const replies = client.got.filter(message => message.id === 'array')
    const at = ['/array/a', '/array/b/x', '/array/c/x/y'].map(channel => prefix + channel)
    client.bayeux.batch(() => {
      for (const channel of at) client.bayeux.publish(channel, 1)
    })
    await until('a message on each', () => at.every(channel => client.delivered(channel).length > 0))
    client.bayeux.send({ channel: '/meta/unsubscribe', id: 'arrayEnd', subscription: channels })
    await until('the reply to the unsubscribed array', () => client.got.some(message => message.id === 'arrayEnd'))
    return {
      replies: replies.length,
      successful: replies[0]?.successful,
      sameArray: JSON.stringify(replies[0]?.subscription) === JSON.stringify(channels),
      delivered: at.map(channel => client.delivered(channel).length),
      unsubscribed: client.got.find(message => message.id === 'arrayEnd')?.successful,
    }
  })
  await step('order', async () => {
    await second.handshake()
    await second.held()
    await client.subscribe(`${prefix}/order`)
    for (let n = 0; n < 50; n++) second.bayeux.publish(`${prefix}/order`, n)
    await until('fifty messages', () => client.delivered(`${prefix}/order`).length >= 50)
    await second.publish(chat, 'after fifty')
    await until('the message after them', () => client.delivered(chat).includes('after fifty'))
    return client.delivered(`${prefix}/order`)
  })
  await step('unsubscribe', async () => {
    const before = client.delivered(chat).length
    const reply = await called<Message>('the unsubscribe reply', callback => client.bayeux.unsubscribe(handle, callback))
    await second.publish(chat, 'too late')
    await second.publish(`${prefix}/order`, 'marker')
    await until('the marker', () => client.delivered(`${prefix}/order`).includes('marker'))
    return { reply: pick(reply), after: client.delivered(chat).length - before }
  })
  await step('batch', async () => {
    const channel = `${prefix}/batch`
    const replies: boolean[] = []
    const note: Callback = message => {
      replies.push(message.successful === true)
      setImmediate(touch)
    }
    client.bayeux.batch(() => {
      client.bayeux.subscribe(channel, () => {}, note)
      for (const n of [1, 2, 3]) client.bayeux.publish(channel, n, note)
    })
    await until('four replies and three messages', () => replies.length === 4 && client.delivered(channel).length >= 3)
    return { replies, delivered: client.delivered(channel) }
  })
}

async function services(): Promise<void> {
  await step('call', async () => {
    const { successful, data, channel } = await client.call('echo', { q: 1 })
    return { successful, data, channel }
  })
  await step('failing call', async () => {
    const { successful, data } = await client.call('fail', { q: 2 })
    return { successful, data }
  })
  await step('service', async () => {
    const heard: unknown[] = []
    client.bayeux.addListener('/service/echo', message => {
      heard.push(message.data)
      setImmediate(touch)
    })
    await client.publish('/service/echo', { n: 1 })
    await until('the answer', () => heard.length > 0)
    return { heard, subscribed: client.requests('/meta/subscribe').some(message => message.subscription === '/service/echo') }
  })
  await step('server publish', async () => {
    await client.subscribe(`${prefix}/news`)
    await client.publish('/service/publish', { channel: `${prefix}/news`, data: { from: 'server' } })
    await until('the message of the server', () => client.delivered(`${prefix}/news`).length > 0)
    return client.delivered(`${prefix}/news`)
  })
  await step('lazy', async () => {
    const channel = `/lazy${prefix}`
    await client.subscribe(channel)
    await second.publish(channel, 'no hurry')
    await until('the lazy message', () => client.delivered(channel).length > 0)
    return client.delivered(channel)
  })
}

async function acknowledged(): Promise<void> {
  await step('acks', async () => {
    const numbers = client.replies('/meta/connect').map(message => message.ext?.ack)
    const confirmed = client.requests('/meta/connect').map(message => message.ext?.ack)
    return {
      grow: numbers.every((n, i) => typeof n === 'number' && n > Number(i === 0 ? 0 : numbers[i - 1])),
      several: numbers.length > 3,
      confirmed: JSON.stringify(confirmed) === JSON.stringify([0, ...numbers].slice(0, confirmed.length)),
    }
  })
  await step('lost reply', async () => {
    const id = client.bayeux.getClientId()
    const channel = `${prefix}/lost`
    await client.subscribe(channel)
    const handshakes = client.requests('/meta/handshake').length
    proxy.set('deaf')
    await second.publish(channel, 1)
    await until('a reply that gets lost', () => proxy.lost > 0)
    for (const n of [2, 3]) await second.publish(channel, n)
    proxy.set('none')
    proxy.cut()
    for (const n of [4, 5, 6]) await second.publish(channel, n)
    await until('all six', () => client.delivered(channel).includes(6))
    return {
      delivered: client.delivered(channel),
      sameSession: client.bayeux.getClientId() === id && client.requests('/meta/handshake').length === handshakes,
    }
  })
}

async function endings(): Promise<void> {
  await step('forget', async () => {
    const id = client.bayeux.getClientId()
    const channel = `${prefix}/again`
    const renewed: Message[] = []
    // As the CometD book tells: subscriptions belong into the handshake listener, for they die with the session.
    client.bayeux.addListener('/meta/handshake', message => {
      if (message.successful !== true) return
      client.bayeux.batch(() => {
        client.bayeux.subscribe(
          channel,
          () => {},
          reply => {
            renewed.push(reply)
            setImmediate(touch)
          },
        )
      })
    })
    const lost = client.got.length
    client.bayeux.publish('/service/forget', {})
    await until('the re-handshake', () => renewed.length > 0)
    const refused = client.got.slice(lost).find(message => message.channel === '/meta/connect' && message.successful === false)
    const handshake = client.got.slice(lost).find(message => message.channel === '/meta/handshake')
    await second.publish(channel, 'again')
    await until('traffic after the re-handshake', () => client.delivered(channel).length > 0)
    if (version === 'cometd3' || version === 'cometd4') closeForgotten()
    return {
      refused: pick(refused),
      handshake: handshake?.successful,
      newSession: client.bayeux.getClientId() !== id,
      subscribed: renewed[0]?.successful,
      delivered: client.delivered(channel),
    }
  })
  await step('disconnect', async () => {
    await client.held()
    const reply = await client.disconnect()
    const gone = await second.disconnect()
    return { reply: pick(reply), second: pick(gone), status: client.bayeux.getStatus() }
  })
  await step('kick', async () => {
    const notices: Message[] = []
    client.bayeux.addListener('/meta/disconnect', message => notices.push(structuredClone(message)))
    await client.handshake()
    await client.held()
    client.bayeux.publish('/service/kick', {})
    await until('the status disconnected', () => client.bayeux.getStatus() === 'disconnected')
    const sent = client.sent.length
    await quiet(250)
    const released = client.replies('/meta/connect').at(-1)?.advice
    return {
      notices,
      released,
      status: client.bayeux.getStatus(),
      sentAfterwards: client.sent.slice(sent).map(message => message.channel),
    }
  })
  // All publishes of this scenario differ in channel or data.
  await step('twice', async () => {
    const all = client.got
      .filter(message => message.data !== undefined)
      .map(({ channel, data }) => JSON.stringify([channel, data]))
    return all.filter((text, i) => all.indexOf(text) !== i)
  })
}

/** One half of a talk between two processes: hears five messages of the other, says five when told. */
async function pair(): Promise<void> {
  await step('ready', async () => {
    await client.handshake()
    await client.held()
    return pick(await client.subscribe(`${prefix}/to-cometd`))
  })
  await told('go')
  for (const n of [1, 2, 3, 4, 5]) client.bayeux.publish(`${prefix}/to-faye`, { from: 'cometd', n })
  await step('heard', async () => {
    await until('five messages', () => client.delivered(`${prefix}/to-cometd`).length >= 5)
    return client.delivered(`${prefix}/to-cometd`)
  })
  await told('done')
  await step('disconnect', async () => pick(await client.disconnect()))
}

/** Two sessions of one browser: the adapter gives both the same cookie. */
async function tabs(): Promise<void> {
  const tab = new Client(library, proxy.url, transport, ack)
  const channel = `${prefix}/tabs`
  /** What it was told last; a connect that was held, once alone, has no news. */
  const advice = (): Message['advice'] =>
    tab
      .replies('/meta/connect')
      .map(reply => reply.advice)
      .filter(each => each !== undefined)
      .at(-1)
  await step('two', async () => {
    await client.handshake()
    await client.held()
    await tab.handshake()
    await until('the first connect reply of the other session', () => advice() !== undefined)
    const told = advice()
    await tab.subscribe(channel)
    await client.publish(channel, 'for the other')
    await until('the message', () => tab.delivered(channel).length > 0)
    return { advice: told, delivered: tab.delivered(channel) }
  })
  await step('one', async () => {
    await client.disconnect()
    // The reply that matters is that of a connect which was held, and a message ends that: until then each finds a poll.
    const before = tab.replies('/meta/connect').length
    await second.handshake()
    const freed = (): Message | undefined =>
      tab
        .replies('/meta/connect')
        .slice(before)
        .find(reply => reply.successful && reply.advice?.['multiple-clients'] === undefined)
    let said = 0
    while (freed() === undefined) {
      if (said === 100) throw new Error('still told of other sessions')
      await second.publish(channel, ++said)
      await quiet(50)
    }
    await until('all messages', () => tab.delivered(channel).length > said)
    return {
      advice: advice(),
      inOrder: tab
        .delivered(channel)
        .slice(1)
        .every((n, i) => n === i + 1),
    }
  })
  await step('disconnect', async () => [pick(await second.disconnect()), pick(await tab.disconnect())])
}

async function whole(): Promise<void> {
  await opening()
  await exchanges()
  await services()
  if (ack) await acknowledged()
  await endings()
}

const roles: Readonly<Record<string, () => Promise<void>>> = { whole, pair, tabs }
await scenario(roles[role] ?? whole, () => ({
  status: client.bayeux.getStatus(),
  sent: client.sent.slice(-8),
  got: client.got.slice(-8),
}))

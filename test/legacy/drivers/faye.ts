// Drives the Faye 1.4 client through a whole life, in its own process.
//
// Usage: node faye.js <websocket|long-polling> <url> <channel prefix> [pair]
// Knows: the scenarios. Faye handshakes over long-polling in any case and moves to WebSocket afterwards (protocol 4.5, 9.5).
// Does not know: what is right; it reports what it saw, step by step, and the test judges.

import { Client, type Message, type Subscribed, settled } from './faye-client.js'
import { quiet, scenario, step, told, until } from './steps.js'

const [transport = '', url = '', prefix = '', role = 'whole'] = process.argv.slice(2)
const client = new Client(url, transport)
const second = new Client(url, transport)

function pick(message: Message | undefined): object | null {
  if (message === undefined) return null
  const { successful, error, subscription, channel, advice } = message
  return { channel, successful, error, subscription, advice }
}

async function opening(): Promise<void> {
  await step('handshake', async () => {
    client.faye.connect(() => {})
    await until('the handshake reply', () => client.replies('/meta/handshake').length > 0)
    const reply = client.replies('/meta/handshake')[0]
    return {
      successful: reply?.successful,
      version: reply?.version,
      clientId: /^[A-Za-z0-9]{20,}$/.test(reply?.clientId ?? ''),
      offersTransport: reply?.supportedConnectionTypes?.includes(transport),
      advice: reply?.advice,
    }
  })
  await step('connect', async () => {
    await until('the first connect reply', () => client.replies('/meta/connect').length > 0)
    await client.held()
    const last = client.sent.filter(message => message.channel === '/meta/connect').at(-1)
    return { successful: client.replies('/meta/connect')[0]?.successful, connectionType: last?.connectionType }
  })
}

async function exchanges(): Promise<void> {
  const chat = `${prefix}/chat`
  let subscribed: Subscribed | undefined
  await step('subscribe', async () => {
    subscribed = await client.subscribe(chat)
    return pick(client.replies('/meta/subscribe').at(-1))
  })
  await step('publish', async () => {
    await client.publish(chat, { text: 'hi' })
    await until('the own message', () => client.delivered(chat).length > 0)
    const reply = client.replies(chat)[0]
    const order = client.got
      .filter(message => message.channel === chat)
      .map(message => (message.data === undefined ? 'reply' : 'message'))
    const message = client.got.find(message => message.channel === chat && message.data !== undefined) ?? {}
    return { reply: pick(reply), delivered: client.delivered(chat), members: Object.keys(message).sort(), order }
  })
  await step('wildcards', async () => {
    const heard: Record<string, string[]> = { exact: [], star: [], deep: [] }
    for (const [name, channel] of [
      ['exact', '/room/one'],
      ['star', '/room/*'],
      ['deep', '/room/**'],
    ] as const) {
      const { subscription } = await client.subscribe(prefix + channel)
      subscription.withChannel(from => heard[name]?.push(from.slice(prefix.length)))
    }
    for (const channel of ['/room', '/room/one', '/room/one/more', '/room/end']) await client.publish(prefix + channel, 1)
    await until('the last message', () => client.delivered(`${prefix}/room/end`).length > 0)
    const times = ['/room', '/room/one', '/room/one/more', '/room/end'].map(channel => client.delivered(prefix + channel).length)
    return { heard, times }
  })
  await step('array', async () => {
    const channels = ['/array/a', '/array/b'].map(channel => prefix + channel)
    for (const each of client.faye.subscribe(channels, () => {})) await settled('the reply to an array entry', each)
    for (const channel of channels) await client.publish(channel, 1)
    await until('a message on each', () => channels.every(channel => client.delivered(channel).length > 0))
    return channels.map(channel => client.delivered(channel))
  })
  await step('order', async () => {
    const channel = `${prefix}/order`
    await client.subscribe(channel)
    // Over HTTP, Faye sends what is published in one tick in parallel requests as soon as it passes 2 KiB: no order to keep there.
    const replies: Promise<void>[] = []
    for (let n = 0; n < 50; n++) {
      const reply = second.publish(channel, n)
      if (transport === 'long-polling' || n === 0) await reply
      replies.push(reply)
    }
    await Promise.all(replies)
    await second.publish(chat, 'after fifty')
    await until('the message after fifty', () => client.delivered(chat).includes('after fifty'))
    return client.delivered(channel)
  })
  await step('several', async () => {
    const channel = `${prefix}/several`
    await client.subscribe(channel)
    await Promise.all([1, 2, 3].map(n => client.publish(channel, n)))
    await until('all three', () => client.delivered(channel).length >= 3)
    return { delivered: client.delivered(channel), replies: client.replies(channel).map(reply => reply.successful) }
  })
  await step('unsubscribe', async () => {
    const before = client.delivered(chat).length
    subscribed?.subscription.cancel()
    await until('the unsubscribe reply', () => client.replies('/meta/unsubscribe').length > 0)
    await second.publish(chat, 'too late')
    await second.publish(`${prefix}/order`, 'marker')
    await until('the marker', () => client.delivered(`${prefix}/order`).includes('marker'))
    return { reply: pick(client.replies('/meta/unsubscribe')[0]), after: client.delivered(chat).length - before }
  })
}

async function services(): Promise<void> {
  await step('service', async () => {
    await client.publish('/service/echo', { n: 1 })
    await until('the answer', () => client.delivered('/service/echo').length > 0)
    const heard: unknown[] = []
    await client.subscribe('/service/echo', data => heard.push(data)) // the only way to hear of it in Faye's API
    await client.publish('/service/echo', { n: 2 })
    await until('the second answer', () => client.delivered('/service/echo').length > 1)
    return { delivered: client.delivered('/service/echo'), heard }
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

async function endings(): Promise<void> {
  await step('forget', async () => {
    const channel = `${prefix}/again`
    await client.subscribe(channel)
    await client.held()
    const lost = client.got.length
    const asked = client.sent.length
    const since = (wanted: string): Message[] => client.got.slice(lost).filter(message => message.channel === wanted)
    const refusals = (): Message[] => since('/meta/connect').filter(message => message.successful === false)
    void client.faye.publish('/service/forget', {})
    await until('the re-handshake and re-subscribe', () =>
      since('/meta/subscribe').some(message => message.subscription === channel),
    )
    await client.held()
    await second.publish(channel, 'again')
    await until('traffic after the re-handshake', () => client.delivered(channel).length > 0)
    // Faye handshakes over HTTP and may hold a connect there while its socket opens anew; each message ends that and lets it move on.
    const back = (): boolean => client.sent.slice(asked).some(message => message.connectionType === transport)
    for (let n = 1; !back() && n <= 100; n++) {
      await second.publish(`${prefix}/order`, `wake ${n}`)
      await quiet(20)
    }
    const [handshake, ...more] = since('/meta/handshake')
    return {
      refused: pick(refusals()[0]),
      handshake: handshake?.successful,
      handshakes: 1 + more.length,
      newSession: handshake?.clientId !== client.replies('/meta/handshake')[0]?.clientId,
      resubscribed: since('/meta/subscribe').every(message => message.successful === true),
      sameTransport: back(),
      delivered: client.delivered(channel),
    }
  })
  await step('disconnect', async () => {
    const gone = await second.disconnect()
    const sent = second.sent.length
    await quiet(150)
    return { reply: gone, sentAfterwards: second.sent.slice(sent).map(message => message.channel) }
  })
  await step('kick', async () => {
    await client.held()
    const from = client.got.length
    const since = (wanted: string): Message[] => client.got.slice(from).filter(message => message.channel === wanted)
    void client.faye.publish('/service/kick', {})
    await until('the end of the held connect', () => since('/meta/connect').length > 0)
    const sent = client.sent.length
    await quiet(250)
    return {
      notices: since('/meta/disconnect'),
      reconnect: since('/meta/connect').at(-1)?.advice?.['reconnect'],
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
    await client.subscribe(`${prefix}/to-faye`)
    await client.held()
    return pick(client.replies('/meta/subscribe')[0])
  })
  await told('go')
  for (const n of [1, 2, 3, 4, 5]) void client.faye.publish(`${prefix}/to-cometd`, { from: 'faye', n })
  await step('heard', async () => {
    await until('five messages', () => client.delivered(`${prefix}/to-faye`).length >= 5)
    return client.delivered(`${prefix}/to-faye`)
  })
  await told('done')
  await step('disconnect', () => client.disconnect())
}

async function whole(): Promise<void> {
  await opening()
  await exchanges()
  await services()
  await endings()
}

await scenario(role === 'pair' ? pair : whole, () => ({ sent: client.sent.slice(-8), got: client.got.slice(-8) }))

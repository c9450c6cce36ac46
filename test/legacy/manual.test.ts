// What CometD's manual tells pages to write, on our build of its API, against a real server on both transports.
//
// Knows: each documented use, and what its reader may expect of it.
// Does not know: the wire (test/lib/client/cometd.test.ts), the suites of npm cometd (node.test.ts, compatibility-browser.test.ts).
// Source: CometD's reference manual, "JavaScript Library" and "Extensions", in our own words.

import t, { type Test } from 'tap'
import {
  AckExtension,
  BinaryExtension,
  type Callback,
  CometD,
  type Configuration,
  type Handle,
  type Message,
  TimeStampExtension,
  TimeSyncExtension,
} from '../../lib/client/cometd/program.js'
import type { PerihelionOptions } from '../../lib/index.js'
import { within } from '../support/chromium.js'
import { startServer, type TestServer } from '../support/server.js'

t.setTimeout(90_000)

/** The promise of what a callback gets, with a guard. */
function told(what: string, ask: (callback: Callback) => void): Promise<Message> {
  return within(new Promise<Message>(ask), () => what)
}

/** The next message on a channel for which `wanted` holds. */
function heard(cometd: CometD, channel: string, wanted: (message: Message) => boolean = () => true): Promise<Message> {
  return told(`a message on ${channel}`, callback => {
    const handle = cometd.addListener(channel, message => {
      if (!wanted(message)) return
      cometd.removeListener(handle)
      callback(message)
    })
  })
}

interface Page extends TestServer {
  readonly cometd: CometD
}

async function openPage(
  t: Test,
  transport: string,
  configuration: Partial<Configuration> = {},
  options: PerihelionOptions = {},
): Promise<Page> {
  const server = await startServer(t, options)
  const cometd = new CometD()
  if (transport === 'long-polling') cometd.websocketEnabled = false
  else cometd.unregisterTransport('long-polling')
  cometd.configure({ url: server.url, logLevel: 'error', backoffIncrement: 50, ...configuration })
  t.teardown(() => cometd.disconnect())
  return { ...server, cometd }
}

async function connectedPage(...given: Parameters<typeof openPage>): Promise<Page> {
  const page = await openPage(...given)
  const reply = await told('the handshake reply', callback => page.cometd.handshake(callback))
  if (!reply.successful) throw new Error('the handshake failed')
  return page
}

/** A rule, on each transport. */
function rule(title: string, check: (t: Test, transport: string) => Promise<void>): void {
  for (const transport of ['long-polling', 'websocket']) t.test(`${title} (${transport})`, t => check(t, transport))
}

rule('the callback of handshake hears its reply, and may publish and subscribe', async (t, transport) => {
  const { cometd } = await openPage(t, transport)
  const reply = await told('the handshake reply', callback => cometd.handshake(callback))
  t.match(reply, { channel: '/meta/handshake', successful: true, reestablish: false })
  t.equal(cometd.getClientId(), reply.clientId)
  const delivered = heard(cometd, '/foo')
  cometd.subscribe('/foo', () => {})
  cometd.publish('/foo', { foo: 'bar' })
  t.same((await delivered).data, { foo: 'bar' })
  t.equal(cometd.getTransport()?.type, transport)
})

rule('init configures and connects, also with nothing but a callback', async (t, transport) => {
  const { cometd, url } = await openPage(t, transport)
  t.match(await told('the first reply', callback => cometd.init(callback)), { successful: true })
  await told('the end', callback => cometd.disconnect(callback))
  t.match(await told('the second reply', callback => cometd.init(url, callback)), { successful: true })
})

rule('what is given to handshake travels with its message, and cannot spoil it', async (t, transport) => {
  const { cometd } = await openPage(t, transport)
  const seen: unknown[] = []
  cometd.registerExtension('look', {
    outgoing: message => void (message.channel === '/meta/handshake' && seen.push({ ...message })),
  })
  const credentials = { 'com.acme.credentials': { user: 'cometd', token: 'x' }, channel: '/spoilt', ext: { own: 1 } }
  t.match(await told('the reply', callback => cometd.handshake(credentials, callback)), { successful: true })
  t.match(seen, [{ channel: '/meta/handshake', 'com.acme.credentials': { user: 'cometd', token: 'x' }, ext: { own: 1 } }])
})

rule('what is published right after handshake waits for the session', async (t, transport) => {
  const { cometd } = await openPage(t, transport)
  const order: string[] = []
  cometd.addListener('/meta/handshake', () => order.push('handshake'))
  const reply = told('the publish reply', callback => {
    cometd.handshake()
    cometd.publish('/early', 1, message => {
      order.push('publish')
      callback(message)
    })
  })
  t.match(await reply, { channel: '/early', successful: true })
  t.same(order, ['handshake', 'publish'])
})

rule('a handshake that nobody answers is told with its failure, and tried again until it succeeds', async (t, transport) => {
  const { cometd, app, url } = await openPage(t, transport, { maxNetworkDelay: 2_000 })
  const address = new URL(url)
  await app.close()
  const callbacks: Message[] = []
  const unsuccessful: Message[] = []
  cometd.addListener('/meta/unsuccessful', message => unsuccessful.push(message))
  cometd.handshake(message => callbacks.push(message))
  const failed = await heard(cometd, '/meta/handshake', message => !message.successful)
  t.match(failed, {
    channel: '/meta/handshake',
    successful: false,
    failure: { message: { channel: '/meta/handshake' }, connectionType: transport },
  })
  t.type(failed.failure?.reason, 'string')
  if (transport === 'long-polling') t.equal(failed.failure?.httpCode, 0, 'no answer has no status')
  t.equal(callbacks[0], failed, 'the callback and the listeners get the same message')
  t.equal(unsuccessful[0], failed)
  const again = await startServer(t, {}, undefined, Number(address.port))
  t.equal(again.url, url)
  t.match(await heard(cometd, '/meta/handshake', message => message.successful === true), { reestablish: false })
  t.ok(callbacks.at(-1)?.successful, 'the callback is called for every reply')
})

rule('subscriptions end with the session; the handshake listener makes them again in the next', async (t, transport) => {
  const { cometd, bayeux } = await openPage(t, transport)
  const statics: unknown[] = []
  const dynamics: unknown[] = []
  const replies: Message[] = []
  let dynamic: Handle | undefined
  cometd.addListener('/meta/handshake', message => {
    replies.push(message)
    if (!message.successful) return
    cometd.batch(() => {
      cometd.subscribe('/static', m => statics.push(m.data))
      dynamic = cometd.resubscribe(dynamic)
    })
  })
  cometd.handshake()
  await heard(cometd, '/meta/subscribe')
  await told('the dynamic subscription', callback => {
    dynamic = cometd.subscribe('/dynamic', m => dynamics.push(m.data), callback)
  })
  const first = cometd.getClientId()
  const resubscribed = heard(cometd, '/meta/subscribe', message => message.subscription === '/dynamic')
  cometd.publish('/service/forget', {})
  await resubscribed
  t.not(cometd.getClientId(), first)
  t.same(
    replies.map(message => message.reestablish),
    [false, true],
    'the second handshake says that there was a session before',
  )
  const last = heard(cometd, '/dynamic')
  bayeux.publish('/static', 1)
  bayeux.publish('/dynamic', 2)
  await last
  t.same([statics, dynamics], [[1], [2]], 'each is heard once')
})

rule('listeners hear without subscribing, until they are removed', async (t, transport) => {
  const { cometd, bayeux } = await connectedPage(t, transport)
  const seen: unknown[] = []
  const handle = cometd.addListener('/news', message => seen.push(message.data))
  await told('the subscription', callback => cometd.subscribe('/news', () => {}, callback))
  bayeux.publish('/news', 1)
  await heard(cometd, '/news')
  cometd.removeListener(handle)
  bayeux.publish('/news', 2)
  await heard(cometd, '/news')
  t.same(seen, [1])
})

rule('scope and method name say whose method hears', async (t, transport) => {
  const { cometd, bayeux } = await connectedPage(t, transport)
  const controller = {
    seen: [] as unknown[],
    onEvent(message: Message) {
      this.seen.push(message.data)
    },
  }
  await told('the subscription', callback => cometd.subscribe('/scoped', controller, 'onEvent', {}, callback))
  cometd.subscribe('/scoped', controller, controller.onEvent)
  bayeux.publish('/scoped', 1)
  await heard(cometd, '/scoped')
  t.same(controller.seen, [1, 1])
  t.throws(() => cometd.subscribe('/scoped', controller, 'nothing'), /Invalid callback nothing/)
})

rule('the server is asked at the first subscription to a channel and after the last', async (t, transport) => {
  const { cometd } = await connectedPage(t, transport)
  const asked: string[] = []
  cometd.registerExtension('count', { outgoing: message => void (message.subscription && asked.push(message.channel)) })
  const handles: Handle[] = []
  for (const _ of [1, 2])
    t.match(await told('the subscribe reply', callback => handles.push(cometd.subscribe('/twice', () => {}, callback))), {
      channel: '/meta/subscribe',
      subscription: '/twice',
      successful: true,
    })
  for (const handle of handles)
    t.match(await told('the unsubscribe reply', callback => cometd.unsubscribe(handle, { 'com.acme.discard': true }, callback)), {
      channel: '/meta/unsubscribe',
      subscription: '/twice',
      successful: true,
    })
  t.same(asked, ['/meta/subscribe', '/meta/unsubscribe'])
})

rule('a subscription that the server refuses is told, and hears nothing', async (t, transport) => {
  const { cometd } = await connectedPage(t, transport, {}, { channels: { '/closed': { subscribe: 'nobody' } } })
  const reply = await told('the refusal', callback => cometd.subscribe('/closed', () => {}, callback))
  t.match(reply, { channel: '/meta/subscribe', subscription: '/closed', successful: false, error: /^403:/ })
  t.equal(reply.failure, undefined, 'the network has not failed')
})

rule('wildcards hear channels below, and /meta/* every meta channel', async (t, transport) => {
  const { cometd, bayeux } = await openPage(t, transport)
  const metas = new Set<string>()
  cometd.addListener('/meta/*', message => metas.add(message.channel))
  await told('the handshake reply', callback => cometd.handshake(callback))
  const rooms: string[] = []
  cometd.subscribe('/chatrooms/*', message => rooms.push(message.channel))
  await told('the second subscription', callback =>
    cometd.subscribe('/events/**', message => rooms.push(message.channel), callback),
  )
  const last = heard(cometd, '/events/feed/2009/08/03')
  for (const channel of ['/chatrooms/12', '/chatrooms/12/upload', '/events/stock/FOO', '/events/feed/2009/08/03'])
    bayeux.publish(channel, 1)
  await last
  t.same(rooms, ['/chatrooms/12', '/events/stock/FOO', '/events/feed/2009/08/03'])
  t.ok(metas.has('/meta/handshake') && metas.has('/meta/connect') && metas.has('/meta/subscribe'))
})

rule('/meta/publish hears of each publish, and its callback as well', async (t, transport) => {
  const { cometd } = await connectedPage(t, transport)
  const listened = heard(cometd, '/meta/publish')
  const reply = await told('the publish reply', callback => cometd.publish('/mychannel', { mydata: { foo: 'bar' } }, callback))
  t.match(reply, { channel: '/mychannel', successful: true })
  t.equal(await listened, reply)
})

rule('the messages of a batch leave in one request, those of startBatch and endBatch too', async (t, transport) => {
  const { cometd, bayeux } = await connectedPage(t, transport)
  const arrived: unknown[] = []
  for (const channel of ['/channel1', '/channel2', '/channel3'] as const)
    t.teardown(bayeux.on(channel, message => void arrived.push(message.channel)))
  const replies = Promise.all(
    [1, 2].map(n =>
      told(`the reply to ${n}`, callback => {
        if (n === 1)
          return cometd.batch(() => {
            cometd.publish('/channel1', { product: 'foo' })
            cometd.publish('/channel2', { notificationType: 'all' }, callback)
          })
        cometd.startBatch()
        cometd.publish('/channel3', { update: false }, callback)
        cometd.endBatch()
      }),
    ),
  )
  await replies
  t.same(arrived, ['/channel1', '/channel2', '/channel3'])
  t.throws(() => cometd.endBatch(), /not paired/)
  const scope = {
    channel: '/channel1',
    send() {
      cometd.publish(this.channel, 1)
    },
  }
  const sent = heard(cometd, '/meta/publish')
  cometd.batch(scope, 'send')
  t.match(await sent, { channel: '/channel1', successful: true })
  t.throws(
    () =>
      cometd.batch(() => {
        throw new Error('mine')
      }),
    /mine/,
    'what is thrown in a batch comes out of it',
  )
  t.match(await told('a reply after it', callback => cometd.publish('/channel1', 1, callback)), { successful: true })
})

rule('a remote call gets its result, its failure with data, or 406::timeout', async (t, transport) => {
  const { cometd, bayeux } = await connectedPage(t, transport)
  bayeux.service('/service/never', () => new Promise(() => {}))
  const call = (target: string, ...rest: unknown[]): Promise<Message> =>
    told(`the answer of ${target}`, callback =>
      cometd.remoteCall(target, { foo: 'bar' }, ...(rest as [number]), callback as never),
    )
  t.match(await call('echo', 5_000), { successful: true, data: { foo: 'bar' } })
  t.match(await call('/echo'), { successful: true, data: { foo: 'bar' } }, 'with a slash and without a timeout')
  t.match(await call('fail', 5_000), { successful: false, data: { error: 'refused' } })
  const late = await call('never', 50)
  t.match(late, { successful: false, error: '406::timeout' })
  t.equal(late.data, undefined)
})

rule('publishes and calls carry bytes with the binary extension', async (t, transport) => {
  const { cometd } = await connectedPage(t, transport)
  cometd.registerExtension('binary', new BinaryExtension())
  const view = new DataView(new ArrayBuffer(4))
  view.setUint32(0, 0xcafebabe)
  await told('the subscription', callback => cometd.subscribe('/binary', () => {}, callback))
  const delivered = heard(cometd, '/binary')
  cometd.publishBinary('/binary', view, true, { prolog: 'java' })
  const { data } = await delivered
  t.same([...new Uint8Array(data.data)], [0xca, 0xfe, 0xba, 0xbe])
  t.match(data, { last: true, meta: { prolog: 'java' } })
  const response = await told('the answer', callback =>
    cometd.remoteCallBinary('echo', new Uint8Array([1, 2, 3]), true, {}, 5_000, callback),
  )
  t.match(response, { successful: true })
})

rule('an extension of the page sees every message, may change it, drop it, and be removed', async (t, transport) => {
  const { cometd } = await openPage(t, transport)
  let counter = 0
  const seen: unknown[] = []
  const logger = {
    cometd: null as CometD | null,
    registered(_name: string, owner: CometD) {
      this.cometd = owner
    },
    unregistered() {
      this.cometd = null
    },
    outgoing(message: Message) {
      if (message.channel === '/meta/connect') message.ext = { ...message.ext, logger: { counter: ++counter } }
      return message.channel === '/dropped' ? null : message
    },
    incoming(message: Message) {
      seen.push(message.channel)
      return message.channel === '/silent' ? null : message
    },
  }
  t.ok(cometd.registerExtension('logger', logger))
  t.notOk(cometd.registerExtension('logger', {}), 'a name is given once')
  t.equal(cometd.getExtension('logger'), logger)
  t.equal(logger.cometd, cometd)
  await told('the handshake reply', callback => cometd.handshake(callback))
  await heard(cometd, '/meta/connect')
  t.ok(counter > 0)
  let dropped = 0
  cometd.publish('/dropped', 1, () => dropped++)
  const silent: unknown[] = []
  cometd.subscribe('/silent', message => silent.push(message))
  cometd.subscribe('/loud', () => {})
  const loud = heard(cometd, '/loud')
  cometd.publish('/silent', 1)
  cometd.publish('/loud', 1)
  await loud
  t.same([dropped, silent], [0, []], 'what it drops is neither sent nor heard')
  t.ok(seen.includes('/silent'))
  t.ok(cometd.unregisterExtension('logger'))
  t.notOk(cometd.unregisterExtension('logger'))
  t.equal(logger.cometd, null)
})

rule('what listeners, callbacks and extensions throw goes to the handlers, with the client as this', async (t, transport) => {
  const { cometd } = await connectedPage(t, transport)
  const caught: unknown[] = []
  cometd.onListenerException = function (this: CometD, exception, handle, isListener) {
    caught.push([(exception as Error).message, isListener, this === cometd])
    if (isListener) this.removeListener(handle)
    else this.unsubscribe(handle)
  }
  cometd.onExtensionException = function (this: CometD, exception, name, outgoing) {
    caught.push([(exception as Error).message, name, outgoing])
    this.unregisterExtension(name)
  }
  cometd.onCallbackException = exception => caught.push((exception as Error).message)
  const fail = (why: string) => (): never => {
    throw new Error(why)
  }
  cometd.addListener('/bad', fail('listener'))
  await told('the subscription', callback => cometd.subscribe('/bad', fail('subscriber'), callback))
  cometd.registerExtension('bad', { outgoing: fail('extension') })
  const delivered = heard(cometd, '/bad')
  cometd.publish('/bad', 1, fail('callback'))
  await delivered
  await told('another reply', callback => cometd.publish('/good', 1, callback))
  t.same(
    caught.map(String).sort(),
    [['extension', 'bad', true], ['listener', true, true], ['subscriber', false, true], 'callback'].map(String).sort(),
  )
})

rule("the extensions of the library: acknowledged delivery, time of sending, the server's clock", async (t, transport) => {
  const { cometd } = await openPage(t, transport)
  const sync = new TimeSyncExtension()
  const sent: Message[] = []
  cometd.registerExtension('look', { outgoing: message => void sent.push(structuredClone(message)) })
  cometd.registerExtension('ack', new AckExtension())
  cometd.registerExtension('timestamp', new TimeStampExtension())
  cometd.registerExtension('timesync', sync)
  const reply = await told('the handshake reply', callback => cometd.handshake(callback))
  t.match(reply.ext, { ack: true })
  t.match((await heard(cometd, '/meta/connect')).ext, { ack: Number })
  t.ok(sent.every(message => !Number.isNaN(Date.parse(message.timestamp ?? ''))))
  t.match(sent[0]?.ext, { ack: true, timesync: { tc: Number, l: 0, o: 0 } })
  t.ok(Math.abs(sync.getTimeOffset()) < 5_000, 'server and client share a clock here')
  t.ok(Math.abs(sync.getServerDate().getTime() - Date.now()) < 5_000)
  await told('the alarm', callback => void sync.setTimeout(() => callback({ channel: '' }), sync.getServerTime() + 5))
})

rule(
  'a network failure is told on /meta/connect, what is published meanwhile fails, and the client comes back',
  async (t, transport) => {
    const { cometd, app, url } = await connectedPage(t, transport, { maxNetworkDelay: 300 })
    const states: boolean[] = []
    cometd.addListener('/meta/connect', message => {
      if (!cometd.isDisconnected() && states.at(-1) !== message.successful) states.push(message.successful === true)
    })
    await heard(cometd, '/meta/connect')
    const broken = heard(cometd, '/meta/connect', message => !message.successful)
    await app.close()
    const failed = await broken
    t.match(failed, {
      channel: '/meta/connect',
      successful: false,
      failure: { message: { channel: '/meta/connect' }, connectionType: transport },
    })
    const listened = heard(cometd, '/meta/publish')
    const lost = await told('the failure', callback => cometd.publish('/lost', 1, callback))
    t.match(lost, { channel: '/lost', successful: false, failure: { message: { channel: '/lost', data: 1 }, reason: String } })
    t.equal(await listened, lost)
    const call = await told('the failed call', callback => cometd.remoteCall('echo', 1, 0, callback))
    t.match(call, { successful: false })
    t.equal(call.data, undefined)
    await startServer(t, {}, undefined, Number(new URL(url).port))
    await heard(cometd, '/meta/connect', message => message.successful === true)
    t.same(states, [true, false, true], 'connected, disconnected, connected: a server that lost the session makes a new one')
  },
)

rule('disconnect tells its callback, and afterwards the client may come back', async (t, transport) => {
  const { cometd, bayeux } = await connectedPage(t, transport)
  const reply = await told('the disconnect reply', callback => cometd.disconnect({ 'com.acme.reset': false }, callback))
  t.match(reply, { channel: '/meta/disconnect', successful: true })
  t.equal(cometd.getStatus(), 'disconnected')
  t.equal(bayeux.stats().sessions, 0)
  t.throws(() => cometd.publish('/foo', 1), /Illegal state: disconnected/)
  t.throws(() => cometd.subscribe('/foo', () => {}), /Illegal state: disconnected/)
  t.match(await told('the next handshake', callback => cometd.handshake(callback)), { successful: true, reestablish: false })
  t.throws(() => cometd.handshake(), /Illegal state/)
  const early = told('the reply to a disconnect of old', callback => cometd.disconnect(true, {}, callback))
  t.match(await early, { successful: true })
})

rule('a client that the server sends away stays away', async (t, transport) => {
  const { cometd, bayeux } = await connectedPage(t, transport)
  await heard(cometd, '/meta/connect')
  const gone = heard(cometd, '/meta/disconnect')
  cometd.publish('/service/kick', {})
  t.match(await gone, { channel: '/meta/disconnect', successful: true })
  t.equal(cometd.getStatus(), 'disconnected')
  t.equal(bayeux.stats().sessions, 0)
})

t.test('the server hands out the build below its path, as a script and as a module', async t => {
  const { url } = await startServer(t)
  const ask = async (name: string): Promise<string> => {
    const response = await fetch(`${url}/${name}`)
    t.equal(response.status, 200)
    t.match(response.headers.get('content-type'), /^text\/javascript/)
    return response.text()
  }
  const [script, module] = [await ask('cometd.js'), await ask('cometd.mjs')]
  t.notOk(/\bexport\b/.test(script), 'a classic script exports nothing')
  for (const name of ['CometD', 'AckExtension', 'WebSocketTransport'])
    t.ok(new RegExp(`export\\{.*\\b${name}\\b`).test(module), name)
})

t.test('several objects connect to several servers', async t => {
  const pages = await Promise.all(['long-polling', 'websocket'].map(transport => connectedPage(t, transport)))
  t.not(pages[0]!.url, pages[1]!.url)
  t.same(
    pages.map(({ bayeux }) => bayeux.stats().sessions),
    [1, 1],
  )
})

t.test('a client whose WebSocket cannot be opened goes on by long-polling, and says so', async t => {
  const { url, bayeux } = await startServer(t, { allowedTransports: ['long-polling'] })
  const cometd = new CometD()
  t.teardown(() => cometd.disconnect())
  cometd.configure({ url, logLevel: 'error' })
  const changes: unknown[] = []
  cometd.onTransportException = (failure, from, to) => changes.push([failure.message.channel, from, to])
  cometd.handshake()
  await heard(cometd, '/meta/handshake', message => message.successful === true)
  t.equal(cometd.getTransport()?.type, 'long-polling')
  t.same(changes, [['/meta/handshake', 'websocket', 'long-polling']])
  t.equal(bayeux.stats().sessions, 1)
})

// The application around Dojo's dojox.cometd. The query says which transport is loaded, and which extensions.
const query = new URLSearchParams(location.search)
const transport = query.get('transport')

if (transport === 'form') {
  dojo.require('dojox.cometd._base')
  dojo.require('dojox.cometd.longPollTransportFormEncoded')
} else {
  dojo.require('dojox.cometd')
}
// A page of the same host takes the first transport both know: with long-polling gone, that is JSONP.
if (transport === 'jsonp') {
  dojox.cometd.connectionTypes.unregister('long-polling')
  dojox.cometd.connectionTypes.unregister('long-polling-json-encoded')
}
for (const extension of query.getAll('extension')) dojo.require(`dojox.cometd.${extension}`)

const cometd = dojox.cometd
// A script element tells no one that its request failed: Dojo finds out by this limit, which is else 10 s more than a connect's hold.
cometd.connectTimeout = Number(query.get('connectTimeout') ?? 0)
const seen = window.recorder()
const subscriptions = new Map()
const acknowledged = []

cometd._extendInList.push(message => {
  if (message.data !== undefined) seen.wire.push({ channel: message.channel, data: message.data })
  else if (typeof message.channel === 'string' && !message.channel.startsWith('/meta/')) acknowledged.shift()?.(message)
  return message
})
cometd._extendOutList.push(message => {
  if (message.channel === '/meta/handshake' && seen.token !== null) message.ext = { ...message.ext, token: seen.token }
  return message
})
cometd.subscribed = channel => seen.subscribed.push(String(channel))
dojo.subscribe('/cometd/meta', null, meta => {
  if (!meta.successful) {
    if (meta.action !== 'disconnect' && !meta.cancel) seen.failures.push(meta.action)
    return
  }
  if (meta.action !== 'handshake') return
  seen.sessions.push(meta.response.clientId)
  if (seen.sessions.length > 1) for (const [channel, listener] of subscriptions) cometd.subscribe(channel, listener)
})

const settled = deferred =>
  new Promise(resolve => {
    deferred.addCallbacks(
      () => resolve({ successful: true }),
      error => resolve({ successful: false, error: String(error) }),
    )
  })
const hear = channel => message => seen.heard.push({ on: channel, channel: message.channel, data: message.data })
const publish = (channel, data) =>
  new Promise(resolve => {
    acknowledged.push(resolve)
    cometd.publish(channel, data)
  })

window.client = Object.assign(seen, {
  clientId: () => cometd.clientId,
  transport: () => cometd.currentTransport._connectionType,
  connected: () => cometd.state() === 'connected',
  /** Dojo keeps its state when the server tells it to stop, it only polls no more; and its own disconnect does not wait for the poll. */
  stopped: () => !cometd._polling && (cometd.state() === 'disconnected' || cometd._advice?.reconnect === 'none'),
  start: url =>
    new Promise(resolve => {
      const waiting = dojo.subscribe('/cometd/meta', null, meta => {
        if (meta.action !== 'connect' || !meta.successful) return
        dojo.unsubscribe(waiting)
        resolve(cometd.clientId)
      })
      cometd.init(url)
    }),
  subscribe: (channel, ...also) => {
    // Dojo passes an array on as it is, but calls no listener for it: those are put on its topics.
    for (const one of also.length > 0 ? [channel, ...also] : []) dojo.subscribe(`/cometd${one}`, null, hear(one))
    const listener = also.length > 0 ? () => {} : hear(channel)
    const what = also.length > 0 ? [channel, ...also] : channel
    subscriptions.set(what, listener)
    return settled(cometd.subscribe(what, listener))
  },
  unsubscribe: channel => {
    const listener = subscriptions.get(channel)
    subscriptions.delete(channel)
    return settled(cometd.unsubscribe(channel, listener))
  },
  listen: channel => void dojo.subscribe(`/cometd${channel}`, null, hear(channel)),
  publish,
  batch: (channel, list) => {
    cometd.startBatch()
    const replies = list.map(data => publish(channel, data))
    cometd.endBatch()
    return Promise.all(replies)
  },
  disconnect: () => {
    subscriptions.clear()
    cometd.disconnect()
  },
  /** What the timesync extension has found out. */
  timesync: () => ({ samples: dojox.cometd.timesync.samples, offset: dojox.cometd.timesync.offset }),
})

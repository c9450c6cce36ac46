// The application around a client with the API of CometD's JavaScript library: npm `cometd`, or cometd-jquery.
window.application = cometd => {
  const seen = window.recorder()
  const handles = new Map()
  let connected = false
  const listen = channel => message => seen.heard.push({ on: channel, channel: message.channel, data: message.data })

  cometd.registerExtension('recorder', {
    incoming(message) {
      if (message.data !== undefined) seen.wire.push({ channel: message.channel, data: message.data })
      return message
    },
    // The library takes one channel a call; the protocol takes several, and an extension can ask for them.
    outgoing(message) {
      if (message.channel === '/meta/handshake' && seen.token !== null) message.ext = { ...message.ext, token: seen.token }
      if (message.also !== undefined) {
        message.subscription = [message.subscription].concat(message.also)
        delete message.also
      }
      return message
    },
  })
  cometd.addListener('/meta/handshake', message => {
    if (!message.successful) return
    seen.sessions.push(message.clientId)
    // As CometD's documentation tells applications to do: subscribe again whenever a session is new.
    if (seen.sessions.length > 1)
      cometd.batch(() => {
        for (const [channel, handle] of handles) handles.set(channel, cometd.resubscribe(handle))
      })
  })
  // The library's own status says `connected` as soon as a connect is sent.
  cometd.addListener('/meta/connect', message => {
    connected = message.successful
  })
  cometd.addListener('/meta/subscribe', message => {
    if (message.successful) seen.subscribed.push(String(message.subscription))
  })
  cometd.addListener('/meta/unsuccessful', message => seen.failures.push(message.channel.slice('/meta/'.length)))

  return Object.assign(seen, {
    clientId: () => cometd.getClientId(),
    transport: () => {
      const transport = cometd.getTransport()
      return typeof transport.getType === 'function' ? transport.getType() : transport.type
    },
    connected: () => connected,
    stopped: () => cometd.getStatus() === 'disconnected',
    /** Resolves with the clientId when the first connect has been answered. */
    start: (url, transport) => {
      for (const type of cometd.getTransportTypes()) if (type !== transport) cometd.unregisterTransport(type)
      cometd.configure({ url, backoffIncrement: 100, logLevel: 'warn' })
      return new Promise(resolve => {
        const waiting = cometd.addListener('/meta/connect', message => {
          if (!message.successful) return
          cometd.removeListener(waiting)
          resolve(cometd.getClientId())
        })
        cometd.handshake()
      })
    },
    subscribe: (channel, ...also) =>
      new Promise(resolve => {
        for (const other of also) cometd.addListener(other, listen(other))
        handles.set(channel, cometd.subscribe(channel, listen(channel), also.length > 0 ? { also } : {}, resolve))
      }),
    unsubscribe: channel =>
      new Promise(resolve => {
        const handle = handles.get(channel)
        handles.delete(channel)
        cometd.unsubscribe(handle, {}, resolve)
      }),
    /** Hears what comes on a channel without a subscription at the server. */
    listen: channel => void cometd.addListener(channel, listen(channel)),
    publish: (channel, data) => new Promise(resolve => cometd.publish(channel, data, {}, resolve)),
    batch: (channel, list) => {
      const replies = []
      cometd.batch(() => {
        for (const data of list) replies.push(new Promise(resolve => cometd.publish(channel, data, {}, resolve)))
      })
      return Promise.all(replies)
    },
    /** Resolves with the result of a remote call. Versions before it take a message that says `successful` for the reply to a publish. */
    call: (name, data) =>
      new Promise(resolve => {
        if (typeof cometd.remoteCall === 'function') return cometd.remoteCall(name, data, resolve)
        const channel = `/service/${name}`
        const waiting = cometd.addListener('/meta/publish', message => {
          if (message.channel !== channel || message.data === undefined) return
          cometd.removeListener(waiting)
          resolve(message)
        })
        cometd.publish(channel, data)
      }),
    disconnect: () =>
      new Promise(resolve => {
        handles.clear()
        cometd.disconnect({}, resolve)
      }),
  })
}

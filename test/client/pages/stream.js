// A page on the bundled client that hears a numbered stream, keeps a transcript of it, and says numbers itself.
//
// The query says: `name` under which it speaks, `options` of its client as JSON, `shared` for a session that all tabs share.
{
  const query = new URLSearchParams(location.search)
  const { Client, SharedClient } = window.Perihelion
  const client = new (query.has('shared') ? SharedClient : Client)('/cometd', JSON.parse(query.get('options') ?? '{}'))

  // What a chat would keep over a reload: what it showed, and its last number. A copy of the tab has another name.
  const name = query.get('name') ?? 'page'
  const kept = JSON.parse(sessionStorage.getItem(name) ?? '{"heard":[],"said":0}')
  let looks = []
  addEventListener('pagehide', () => sessionStorage.setItem(name, JSON.stringify(kept)))
  const touch = () => {
    looks = looks.filter(look => !look())
  }
  const until = condition =>
    new Promise(resolve => {
      const look = () => {
        if (!condition()) return false
        resolve()
        return true
      }
      if (!look()) looks.push(look)
    })

  /** Each number said: the state in which it was, and its fate, a code or '' for well. */
  const fates = []
  const states = []
  const errors = []
  client.on('state', ({ state, transport }) => {
    states.push([Date.now(), state, transport])
    touch()
  })
  client.on('error', error => errors.push([Date.now(), String(error)]))
  client.subscribe('/stream', ({ data }) => {
    kept.heard.push(`${data.by} ${data.n}`)
    touch()
  })
  const connected = client.connect()

  const say = async () => {
    const n = ++kept.said
    const fate = { n, state: client.state, code: null }
    fates.push(fate)
    fate.code = await client.publish('/stream', { by: name, n }).then(
      () => '',
      error => error.code,
    )
    touch()
    return fate
  }

  window.client = {
    ...{ fates, states, errors, say, until },
    heard: kept.heard,
    get state() {
      return client.state
    },
    get clientId() {
      return client.clientId
    },
    get transport() {
      return client.transport
    },
    connected: () => connected,
    /** Says a number every `ms`, until `hush`. */
    talk(ms) {
      const timer = setInterval(say, ms)
      this.hush = () => clearInterval(timer)
    },
    hush() {},
    /** Fulfilled once a number said from now on was heard, so that all before it was too. */
    async whole() {
      for (;;) {
        const { n, code } = await say()
        if (code === '') return until(() => kept.heard.includes(`${name} ${n}`))
      }
    },
    on: transport => until(() => client.state === 'connected' && client.transport === transport),
    /** Fulfilled when every number has its fate. */
    settled: () => until(() => fates.every(({ code }) => code !== null)),
    close: () => client.close(),
  }
}

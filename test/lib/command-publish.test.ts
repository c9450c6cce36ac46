// The commands `perihelion publish` and `perihelion subscribe`, as processes, against a server: what goes in comes out, and each fault has its code.

import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { makeToken } from '../../lib/commands/token.js'
import { SECRET } from '../support/issuer.js'
import { startServer } from '../support/server.js'

const cli = fileURLToPath(new URL('../../lib/cli.js', import.meta.url))

/** One run of the command. */
class Run {
  readonly #child: ChildProcessWithoutNullStreams
  stdout = ''
  stderr = ''
  constructor(t: Test, argv: readonly string[], env: Record<string, string> = {}, input?: string) {
    this.#child = spawn(process.execPath, [cli, ...argv], { env: { ...process.env, ...env } })
    this.#child.stdout.setEncoding('utf8').on('data', text => {
      this.stdout += text
    })
    this.#child.stderr.setEncoding('utf8').on('data', text => {
      this.stderr += text
    })
    if (input !== undefined) this.#child.stdin.end(input)
    t.teardown(() => void this.#child.kill('SIGKILL'))
  }
  /** @returns the exit code */
  async ended(): Promise<number | null> {
    const [code] = this.#child.exitCode === null ? await once(this.#child, 'close') : [this.#child.exitCode]
    return code as number | null
  }
  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }
  deafen(): void {
    this.#child.stdout.destroy()
  }
  get messages(): unknown[] {
    return this.stdout
      .split('\n')
      .filter(line => line !== '')
      .map(line => JSON.parse(line))
  }
}

/** Fulfilled once so many subscriptions were made. */
function subscribed(bayeux: Awaited<ReturnType<typeof startServer>>['bayeux'], count: number): Promise<void> {
  return new Promise(resolve => {
    let seen = 0
    bayeux.on('subscribed', () => {
      if (++seen === count) resolve()
    })
  })
}

t.test('what is published comes out of subscribe as lines of JSON, over each transport', async t => {
  const { url, bayeux } = await startServer(t)
  for (const transport of ['websocket', 'long-polling']) {
    const there = subscribed(bayeux, 2)
    const follower = new Run(t, ['subscribe', '/a/*', '/b', '--url', url, '--transport', transport, '--count=5'])
    await there
    t.equal(await new Run(t, ['publish', '/a/1', '{"x":[1,"ä"]}', '--url', url, '--transport', transport]).ended(), 0)
    const many = new Run(t, ['publish', '/b', '-'], { PERIHELION_URL: url }, '1\n\n"two"\nnull\n')
    t.equal(await many.ended(), 0, many.stderr)
    bayeux.publish('/a/2', { data: '0rJu', last: true }, { ext: { binary: {} } })
    t.equal(await follower.ended(), 0, follower.stderr)
    t.match(follower.messages, [
      { channel: '/a/1', data: { x: [1, 'ä'] } },
      { channel: '/b', data: 1 },
      { channel: '/b', data: 'two' },
      { channel: '/b', data: null },
      { channel: '/a/2', base64: 'AQID' },
    ])
    t.equal(follower.stderr, '')
  }
})

t.test('subscribe begins in the past where it is asked to', async t => {
  const { url, bayeux } = await startServer(t, { channels: { '/k/**': { history: { messages: 100, age: 3_600_000 } } } })
  for (const n of [0, 1, 2]) bayeux.publish('/k/a', n)
  const follow = async (from: string): Promise<Run> => {
    const follower = new Run(t, ['subscribe', '/k/*', '--url', url, '--from', from, '--count=2'])
    t.equal(await follower.ended(), 0, follower.stderr)
    return follower
  }
  const all = (await follow('all')).messages as { data: number; ext: { replay: { id: number; epoch: string } } }[]
  t.match(all, [{ data: 0 }, { data: 1 }])
  t.match((await follow(JSON.stringify(all[0]!.ext.replay))).messages, [{ data: 1 }, { data: 2 }])
  t.match((await follow('2020-01-01T00:00Z')).messages, [{ data: 0 }, { data: 1 }])
  for (const from of ['yesterday', '{"id":"1"}', '{']) {
    const wrong = new Run(t, ['subscribe', '/k/*', '--url', url, '--from', from])
    t.equal(await wrong.ended(), 2)
    t.match(wrong.stderr, /--from must be all/)
  }
})

t.test('a line that is not JSON is named, the others are sent, and the exit code is 1', async t => {
  const { url, bayeux } = await startServer(t)
  const seen: unknown[] = []
  bayeux.on('/b', message => void seen.push(message.data))
  const run = new Run(t, ['publish', '/b', '-', '--url', url], {}, '1\nbad\n2\n')
  t.equal(await run.ended(), 1)
  t.match(run.stderr, /^perihelion: line 2: not JSON: bad/)
  t.same(seen, [1, 2])
})

t.test('more lines than may wait for their replies are all published, in order', async t => {
  const { url, bayeux } = await startServer(t, { trusted: true })
  const seen: unknown[] = []
  bayeux.on('/b', message => void seen.push(message.data))
  const numbers = Array.from({ length: 2_000 }, (_, n) => n)
  const run = new Run(t, ['publish', '/b', '-', '--url', url], {}, numbers.join('\n'))
  t.equal(await run.ended(), 0, run.stderr)
  t.same(seen, numbers)
})

t.test('a token and headers are sent; what is refused is told with its Bayeux error and code 1', async t => {
  const { url } = await startServer(t, {
    tokenSecret: SECRET,
    channels: { '/desk': { publish: 'user:ana', subscribe: 'user:ana' } },
  })
  const token = await makeToken(['--secret', SECRET, '--sub', 'ana'], {})
  const denied = new Run(t, ['publish', '/desk', '1', '--url', url])
  t.equal(await denied.ended(), 1)
  t.match(denied.stderr, /^perihelion: REFUSED: 403:[^:]*:publish_denied\n$/)
  const unheard = new Run(t, ['subscribe', '/desk', '--url', url])
  t.equal(await unheard.ended(), 1)
  t.match(unheard.stderr, /^perihelion: REFUSED: 403:[^:]*:subscribe_denied\n$/)
  t.equal(await new Run(t, ['publish', '/desk', '1', '--url', url], { PERIHELION_TOKEN: token }).ended(), 0)
  t.equal(await new Run(t, ['publish', '/desk', '1', '--url', url, '--header', `Authorization: Bearer ${token}`]).ended(), 0)
  const wrong = new Run(t, ['publish', '/desk', '1', '--url', url, '--token', 'x.y.z'])
  t.equal(await wrong.ended(), 1)
  t.match(wrong.stderr, /^perihelion: REFUSED: 40[13]:/)
})

t.test('subscribe ends with 0 at SIGTERM, at SIGINT, and when nobody reads any more', async t => {
  const { url, bayeux } = await startServer(t)
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    const there = subscribed(bayeux, 1)
    const run = new Run(t, ['subscribe', '/a', '--url', url])
    await there
    run.kill(signal)
    t.equal(await run.ended(), 0, signal)
  }
  const there = subscribed(bayeux, 1)
  const run = new Run(t, ['subscribe', '/a', '--url', url])
  await there
  run.deafen()
  const clock = setInterval(() => bayeux.publish('/a', 1), 20)
  t.teardown(() => clearInterval(clock))
  t.equal(await run.ended(), 0, run.stderr)
})

t.test('subscribe ends with 1 when nothing will come any more: sent away, or refused in a new session', async t => {
  const { url, bayeux } = await startServer(t)
  for (const [end, text] of [
    [() => [...bayeux.sessions()].map(session => session.disconnect()), 'KICKED'],
    [
      () => {
        bayeux.policy({ canSubscribe: () => false })
        for (const session of bayeux.sessions()) session.expire()
      },
      'REFUSED: 403:.*:subscribe_denied',
    ],
  ] as const) {
    const there = subscribed(bayeux, 1)
    const run = new Run(t, ['subscribe', '/a', '--url', url])
    await there
    end()
    t.equal(await run.ended(), 1, text)
    t.match(run.stderr, new RegExp(`^(perihelion: SESSION_LOST.*\\n)?perihelion: ${text}\\n$`))
  }
})

t.test('a server that is not there is told in one line and code 1, a wrong command line in one line and code 2', async t => {
  const gone = new Run(t, ['publish', '/a', '1', '--url', 'http://127.0.0.1:2/cometd', '--wait', '0.5'])
  t.equal(await gone.ended(), 1)
  t.match(gone.stderr, /^perihelion: CONNECTION_FAILED: .*ECONNREFUSED.*\n$/)
  const wrong: [argv: string[], text: RegExp][] = [
    [['publish', '/a'], /needs a channel and JSON/],
    [['publish', '/a', '1', '2'], /needs a channel and JSON/],
    [['publish', '/a', 'x'], /not JSON: x/],
    [['publish', '/meta/x', '1'], /\/meta\/x is not a broadcast or service channel/],
    [['publish', '/a', '1', '--url', 'ftp://x'], /ftp:\/\/x is not an http or https URL/],
    [['publish', '/a', '1', '--transport', 'pigeon'], /--transport must be/],
    [['publish', '/a', '1', '--header', 'nonsense'], /--header must be name:value/],
    [['publish', '/a', '1', '--wait', 'x'], /--wait must be a number/],
    [['publish', '/a', '1', '--colour', 'red'], /unknown flag --colour/],
    [['subscribe'], /needs a channel/],
    [['subscribe', 'a'], /a is not a broadcast/],
    [['subscribe', '/a', '--count', '0'], /--count must be/],
  ]
  await Promise.all(
    wrong.map(async ([argv, text]) => {
      const run = new Run(t, argv)
      t.equal(await run.ended(), 2, argv.join(' '))
      t.match(run.stderr, new RegExp(`^perihelion: .*${text.source}.*\\n$`))
      t.equal(run.stdout, '')
    }),
  )
  for (const command of ['publish', 'subscribe']) {
    const help = new Run(t, [command, '--help'])
    t.equal(await help.ended(), 0)
    t.match(help.stdout, new RegExp(`^perihelion ${command} <channel>`))
  }
})

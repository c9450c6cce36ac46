// The command: flags, variables, file; what it says when they are wrong; and how it serves.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { BayeuxError } from '../../bayeux/errors.js'
import { isOption } from '../../bayeux/options.js'
import { flagOf, readConfig, variableOf } from '../../lib/config.js'
import { listenOptions, pluginOptions, serveOptions } from '../../lib/options.js'
import { usage } from '../../lib/usage.js'
import { get, post, rawHttp } from '../support/wire.js'

const folder = mkdtempSync(join(tmpdir(), 'perihelion-'))
t.teardown(() => rmSync(folder, { recursive: true }))
let files = 0

function file(text: string): string {
  const path = join(folder, `${files++}.yaml`)
  writeFileSync(path, text)
  return path
}

function errorOf(argv: string[], env: Record<string, string> = {}): [code: string, message: string] {
  try {
    readConfig(argv, env)
  } catch (error) {
    if (error instanceof BayeuxError) return [error.code, error.message]
    throw error
  }
  return ['none', '']
}

t.test('an option has one name in three spellings', t => {
  t.equal(flagOf('maxInterval'), 'max-interval')
  t.equal(flagOf('ws.idleTimeout'), 'ws.idle-timeout')
  t.equal(flagOf('long-polling.jsonp.maxInterval'), 'long-polling.jsonp.max-interval')
  t.equal(flagOf('duplicateMetaConnectHttpResponseCode'), 'duplicate-meta-connect-http-response-code')
  t.equal(flagOf('http2MaxSessionsPerBrowser'), 'http2-max-sessions-per-browser')
  t.equal(variableOf('maxInterval'), 'PERIHELION_MAX_INTERVAL')
  t.equal(variableOf('ws.idleTimeout'), 'PERIHELION_WS_IDLE_TIMEOUT')
  const names = Object.keys(serveOptions)
  t.equal(new Set(names.map(flagOf)).size, names.length, 'no two share a flag')
  t.equal(new Set(names.map(variableOf)).size, names.length, 'no two share a variable')
  t.end()
})

t.test('every option can be given as flag, as variable and as key, and is the same', t => {
  for (const [name, row] of Object.entries(serveOptions)) {
    const { default: value } = row
    const text = Array.isArray(value) ? value.join(',') : String(value)
    if (text === '') continue
    const expected = { [name]: value }
    t.same(readConfig([`--${flagOf(name)}`, text], {}).options, expected, `--${flagOf(name)}`)
    t.same(readConfig([], { [variableOf(name)]: text }).options, expected, variableOf(name))
    t.same(readConfig(['--config', file(JSON.stringify({ [name]: value }))], {}).options, expected, name)
  }
  t.end()
})

t.test('flags win over variables, variables over the file', t => {
  const path = file('timeout: 1\ninterval: 1\nmaxInterval: 1\nchannels:\n  /a/**: { lazy: true }\n')
  const env = { PERIHELION_TIMEOUT: '2', PERIHELION_INTERVAL: '2', OTHER: 'x' }
  const { options, channels } = readConfig(['--config', path, '--timeout=3'], env)
  t.same(options, { timeout: 3, interval: 2, maxInterval: 1 })
  t.same(channels, { '/a/**': { lazy: true } })
  t.same(
    readConfig([], { ...env, PERIHELION_CONFIG: path }).options,
    { timeout: 2, interval: 2, maxInterval: 1 },
    'the file by its variable',
  )
  t.same(readConfig(['--config', file('')], {}).options, {}, 'an empty file says nothing')
  t.end()
})

t.test('switches stand alone, lists have commas, one transport may have its own value', t => {
  const of = (...argv: string[]) => readConfig(argv, {}).options
  t.same(of('--trust-client-session'), { trustClientSession: true })
  t.same(of('--trust-client-session', 'false'), { trustClientSession: false })
  t.same(of('--no-ack', '--timeout', '5'), { ack: false, timeout: 5 })
  t.same(of('--ack', '--no-timesync'), { ack: true, timesync: false })
  t.same(of('--allowed-transports', 'websocket, long-polling'), { allowedTransports: ['websocket', 'long-polling'] })
  t.same(of('--allowed-origins', ''), { allowedOrigins: [] })
  t.same(of('--ws.timeout', '7', '--long-polling.json.timeout', '8'), { 'ws.timeout': 7, 'long-polling.json.timeout': 8 })
  t.same(of('--multi-session-interval', '-1'), { multiSessionInterval: -1 }, 'a negative number is a value, not a flag')
  t.same(readConfig([], { PERIHELION_WS_TIMEOUT: '9' }).options, { 'ws.timeout': 9 })
  t.end()
})

t.test('what is wrong is said in one line that names it', t => {
  const missing = join(folder, 'missing.yaml')
  const broken = file('timeout: [1\n')
  const alias = file('tokenSecret: *a-secret-that-begins-with-a-star\n')
  const list = file('- 1\n')
  const stranger = file('timout: 5\n')
  const wrong = file('timeout: soon\n')
  const nested = file('channels:\n  /a: { lazy: maybe }\n')
  const cases: [argv: string[], env: Record<string, string>, code: string, message: string | RegExp][] = [
    [['extra'], {}, 'OPTION_UNKNOWN', 'a value without a flag; one with blanks needs quotes'],
    [['--timout', '5'], {}, 'OPTION_UNKNOWN', 'unknown flag --timout'],
    [['--no-timeout'], {}, 'OPTION_UNKNOWN', 'unknown flag --no-timeout'],
    [['--no-ack=true'], {}, 'OPTION_UNKNOWN', 'unknown flag --no-ack'],
    [['--maxInterval', '5'], {}, 'OPTION_UNKNOWN', 'unknown flag --maxInterval'],
    [['--__proto__', '5'], {}, 'OPTION_UNKNOWN', 'unknown flag --__proto__'],
    [['--timeout'], {}, 'OPTION_INVALID', 'flag --timeout needs a value'],
    [['--timeout', 'soon'], {}, 'OPTION_INVALID', 'flag --timeout must be a whole number, not "soon"'],
    [['--timeout', '1.5'], {}, 'OPTION_INVALID', 'flag --timeout must be a whole number, not "1.5"'],
    [['--timeout', '-1'], {}, 'OPTION_INVALID', 'option timeout must be at least 0'],
    [['--port', '70000'], {}, 'OPTION_INVALID', 'option port must be at most 65535'],
    [['--ack=maybe'], {}, 'OPTION_INVALID', 'flag --ack must be true or false, not "maybe"'],
    [['--log-level', 'loud'], {}, 'OPTION_INVALID', /^option logLevel must be one of fatal, /],
    [
      ['--allowed-transports', 'pigeon'],
      {},
      'OPTION_INVALID',
      'option allowedTransports must be a list of websocket, long-polling, callback-polling',
    ],
    [['--ws.timeout', '-1'], {}, 'OPTION_INVALID', 'option ws.timeout must be at least 0'],
    [[], { PERIHELION_TIMOUT: '5' }, 'OPTION_UNKNOWN', 'unknown variable PERIHELION_TIMOUT'],
    [[], { PERIHELION_TIMEOUT: 'x' }, 'OPTION_INVALID', 'PERIHELION_TIMEOUT must be a whole number, not "x"'],
    [[], { PERIHELION_ACK: 'yes' }, 'OPTION_INVALID', 'PERIHELION_ACK must be true or false, not "yes"'],
    [['--config', missing], {}, 'CONFIG_UNREADABLE', /^cannot read .*missing\.yaml: ENOENT/],
    [['--config', broken], {}, 'CONFIG_UNREADABLE', /^cannot read .*\.yaml: no YAML at line \d+ \([A-Z_]+\)$/],
    [['--config', alias], {}, 'CONFIG_UNREADABLE', /^cannot read .*\.yaml: no YAML$/],
    [['--config', list], {}, 'CONFIG_UNREADABLE', `${list}: must be a map of options`],
    [['--config', stranger], {}, 'OPTION_UNKNOWN', `${stranger}: unknown key timout`],
    [['--config', wrong], {}, 'OPTION_INVALID', 'option timeout must be a whole number of ms'],
    [['--config'], {}, 'OPTION_INVALID', 'flag --config needs a value'],
  ]
  for (const [argv, env, code, message] of cases) {
    const [gotCode, gotMessage] = errorOf(argv, env)
    const what = `${argv.join(' ')} ${JSON.stringify(env)}`
    t.equal(gotCode, code, what)
    if (typeof message === 'string') t.equal(gotMessage, message)
    else t.match(gotMessage, message)
    t.notMatch(gotMessage, /\n/, 'one line')
  }
  t.same(readConfig(['--config', nested], {}).channels, { '/a': { lazy: 'maybe' } }, 'channel rules are judged by the engine')
  t.end()
})

t.test('the help names every option with its default, and fits a terminal', t => {
  const text = usage()
  for (const [name, row] of Object.entries(serveOptions)) {
    t.ok(text.includes(`--${flagOf(name)} `), name)
    t.ok(text.includes(row.help))
  }
  t.match(text, '--timeout <ms>')
  t.match(text, 'Default: 30000')
  t.end()
})

t.test('an option stands in one table only', t => {
  for (const name of Object.keys(listenOptions)) t.notOk(isOption(pluginOptions, name), name)
  t.end()
})

const cli = fileURLToPath(new URL('../../lib/cli.js', import.meta.url))

function run(...argv: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [cli, ...argv], { encoding: 'utf8', timeout: 20_000 })
}

t.test('wrong flags, keys and values end the command with code 2 and one line', t => {
  const rule = file('channels:\n  /a/*/b: { lazy: true }\n')
  const cases: [argv: string[], line: string][] = [
    [['serve', '--prot', '1'], 'perihelion: unknown flag --prot\n'],
    [['serve', '--timeout', 'x'], 'perihelion: flag --timeout must be a whole number, not "x"\n'],
    [['serve', '--path', 'cometd'], 'perihelion: option path must be '],
    [['serve', '--config', rule], 'perihelion: channel rule /a/*/b: not a broadcast or service channel pattern\n'],
    [['serve', '--port', '0', '--host', '203.0.113.1'], 'perihelion: cannot listen on 203.0.113.1:0 (EADDRNOTAVAIL)\n'],
    [['sreve'], 'perihelion: unknown command sreve; try perihelion help\n'],
  ]
  for (const [argv, line] of cases) {
    const { status, stderr } = run(...argv)
    t.equal(status, 2, argv.join(' '))
    t.ok(stderr.startsWith(line), stderr)
    t.equal(stderr.split('\n').length, 2, 'one line')
  }
  for (const argv of [['help'], ['serve', '--help'], []])
    t.match(run(...argv), { status: 0, stdout: /--max-interval <ms>/, stderr: '' })
  t.end()
})

/** Starts the command and waits for its first line that says where it listens. */
async function serve(
  t: { teardown(end: () => void): void },
  ...argv: string[]
): Promise<{ child: ChildProcess; origin: string; log: () => string }> {
  const child = spawn(process.execPath, [cli, 'serve', '--port', '0', ...argv], { stdio: ['ignore', 'pipe', 'pipe'] })
  t.teardown(() => void child.kill('SIGKILL'))
  let log = ''
  child.stderr!.on('data', chunk => {
    log += String(chunk)
  })
  const origin = await new Promise<string>((resolve, reject) => {
    child.stdout!.on('data', chunk => {
      log += String(chunk)
      const found = /http:\/\/[\d.]+:\d+/.exec(log)
      if (found !== null) resolve(found[0])
    })
    child.on('exit', code => reject(new Error(`ended with ${code}: ${log}`)))
  })
  return { child, origin, log: () => log }
}

t.test('a port that is taken ends the command with code 1 and one line', async t => {
  const taken = net.createServer().listen(0, '127.0.0.1')
  await new Promise(resolve => taken.once('listening', resolve))
  t.teardown(() => taken.close())
  const { port } = taken.address() as net.AddressInfo
  const child = spawn(process.execPath, [cli, 'serve', '--port', String(port)], { stdio: ['ignore', 'ignore', 'pipe'] })
  let stderr = ''
  child.stderr.on('data', chunk => {
    stderr += String(chunk)
  })
  t.equal(await new Promise(resolve => child.on('close', resolve)), 1)
  t.equal(stderr, `perihelion: port ${port} on 127.0.0.1 is taken by another program\n`)
})

t.test('serve: health, no bodies on errors, a clean end that answers held connects', async t => {
  const { child, origin, log } = await serve(t, '--config', file('channels:\n  /quiet: { broadcastToPublisher: false }\n'))
  t.same(JSON.parse((await get(`${origin}/healthz`)).body), { status: 'ok' })
  t.match(JSON.parse((await get(`${origin}/readyz`)).body), { status: 'ready', sessions: 0 })
  t.match(await get(`${origin}/nowhere`), { status: 404, body: '' })
  t.match(await get(`${origin}/%zz`), { status: 400, body: '' })
  const endless = 'POST /nowhere HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n'
  t.match(await rawHttp(origin, endless), /^HTTP\/1\.1 404 /, 'a body for nobody is not waited for')
  const client = await handshake(`${origin}/cometd`)
  t.match(await client.say({ channel: '/meta/subscribe', subscription: '/quiet', id: '2' }), [{ successful: true }])
  t.same(
    await client.say({ channel: '/quiet', data: 1, id: '3' }),
    [{ channel: '/quiet', id: '3', successful: true }],
    'the rules of the file hold',
  )
  await client.say({ channel: '/meta/connect', id: '4' })
  const held = client.say({ channel: '/meta/connect', id: '5' })
  for (let tries = 0; tries < 3; tries++) await get(`${origin}/healthz`)
  child.kill('SIGTERM')
  t.match(await held, [{ id: '5', successful: true, advice: { reconnect: 'retry' } }])
  t.equal(await new Promise(resolve => child.on('exit', resolve)), 0)
  t.notOk(log().includes(client.id), 'no clientId in the log')
})

t.test('serve: SIGHUP takes over the channel rules of the file, and keeps the ones before when they are wrong', async t => {
  const rules = file('channels: {}\n')
  const { child, origin, log } = await serve(t, '--config', rules)
  const client = await handshake(`${origin}/cometd`)
  const subscribe = (subscription: string) => client.say({ channel: '/meta/subscribe', subscription })
  const hangup = async (content: string, line: string): Promise<void> => {
    writeFileSync(rules, content)
    child.kill('SIGHUP')
    while (!log().includes(line)) await get(`${origin}/healthz`)
  }
  t.match(await subscribe('/a'), [{ successful: true }])
  await hangup('channels:\n  /a: { subscribe: nobody }\n', 'took over the channel rules')
  t.match(await subscribe('/a'), [{ error: '403:denied_by_security_policy:subscribe_denied' }])
  t.same(
    await client.say({ channel: '/a', data: 1 }),
    [{ channel: '/a', successful: true }],
    'and the subscription before has ended',
  )
  await hangup('channels:\n  /a: { subscribe: everyone }\n', 'the channel rules before stay')
  t.match(await subscribe('/a'), [{ successful: false }])
  t.match(await subscribe('/b'), [{ successful: true }])
})

t.test('serve --timeout 2000 --interval 0 --max-interval 2000 holds for 2 s and forgets a silent session 2 s later', async t => {
  const { origin } = await serve(t, '--timeout', '2000', '--interval', '0', '--max-interval', '2000')
  const sessions = async (): Promise<number> =>
    (JSON.parse((await get(`${origin}/readyz`)).body) as { sessions: number }).sessions
  const client = await handshake(`${origin}/cometd`)
  await client.say({ channel: '/meta/connect', id: '2' })
  const asked = Date.now()
  t.same(await client.say({ channel: '/meta/connect', id: '3' }), [{ channel: '/meta/connect', id: '3', successful: true }])
  const answered = Date.now()
  t.ok(answered - asked >= 1_990, `held for ${answered - asked} ms`)
  t.equal(await sessions(), 1, 'it is still known')
  while ((await sessions()) === 1 && Date.now() - answered < 20_000) await new Promise(resolve => setTimeout(resolve, 20))
  t.ok(Date.now() - asked >= 3_990, `forgotten ${Date.now() - asked} ms after it asked, and 2 s after it was answered`)
  t.equal(await sessions(), 0)
  t.match(await client.say({ channel: '/meta/connect', id: '4' }), [
    { error: '402::session_unknown', advice: { reconnect: 'handshake', interval: 0 } },
  ])
})

type Message = Record<string, unknown>

async function handshake(url: string): Promise<{ id: string; say: (message: Message) => Promise<Message[]> }> {
  const { headers, body } = await post(url, JSON.stringify([{ channel: '/meta/handshake', id: '1' }]))
  const cookie = headers['set-cookie']![0]!.split(';')[0]!
  const id = (JSON.parse(body) as Message[])[0]!['clientId'] as string
  const say = async (message: Message): Promise<Message[]> =>
    JSON.parse((await post(url, JSON.stringify([{ clientId: id, ...message }]), { cookie })).body) as Message[]
  return { id, say }
}

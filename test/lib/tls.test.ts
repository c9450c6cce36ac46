// TLS of the command: every transport over it, a certificate that is renewed, and files that are wrong. The certificates in test/support/tls
// are signed by themselves and good for nothing else.

import { generateKeyPairSync } from 'node:crypto'
import { copyFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createServer, request } from 'node:https'
import { type AddressInfo, connect as connectTcp } from 'node:net'
import { join } from 'node:path'
import { connect } from 'node:tls'
import t from 'tap'
import WebSocket from 'ws'
import { BayeuxError } from '../../bayeux/index.js'
import { fastifyOptions } from '../../lib/index.js'
import { start } from '../../lib/serve.js'
import { TlsFiles } from '../../lib/tls.js'

const FILES = join('test', 'support', 'tls')
const certOf = (name: string): string => join(FILES, `${name}.cert.pem`)
const keyOf = (name: string): string => join(FILES, `${name}.key.pem`)
const ca = [readFileSync(certOf('one')), readFileSync(certOf('two'))]
const HANDSHAKE = '[{"channel":"/meta/handshake","id":"1"}]'

/** Which certificate a server shows now. */
function fingerprintAt(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', ca, servername: 'localhost' }, () => {
      resolve(socket.getPeerCertificate().fingerprint256)
      socket.destroy()
    })
    socket.on('error', reject)
  })
}

t.test('serve speaks TLS on every transport, and cookies are Secure then', async t => {
  const options = {
    port: 0,
    logLevel: 'silent',
    tlsCert: certOf('one'),
    tlsKey: keyOf('one'),
    browserCookieSecure: true,
    allowUnknownCallbackOrigin: true,
  }
  const app = await start({ options, channels: {} })
  t.teardown(() => app.close())
  const { port } = app.server.address() as AddressInfo
  const ask = (method: string, path: string, body?: string): Promise<{ body: string; cookie: string }> =>
    new Promise((resolve, reject) => {
      const sent = request({ host: '127.0.0.1', port, path, method, ca, servername: 'localhost' }, response => {
        let text = ''
        response.on('data', chunk => {
          text += String(chunk)
        })
        response.on('end', () => resolve({ body: text, cookie: response.headers['set-cookie']?.[0] ?? '' }))
      })
      sent.on('error', reject)
      sent.end(body)
    })
  const polled = await ask('POST', '/cometd', HANDSHAKE)
  t.match(polled.body, '"successful":true')
  t.match(polled.cookie, '; Secure')
  const jsonp = await ask('GET', `/cometd?jsonp=cb&message=${encodeURIComponent(HANDSHAKE)}`)
  t.match(jsonp.body, '"successful":true')
  t.match(jsonp.cookie, '; Secure')
  const socket = new WebSocket(`wss://localhost:${port}/cometd`, { ca })
  t.teardown(() => socket.terminate())
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject))
  socket.send(HANDSHAKE)
  t.match(await new Promise(resolve => socket.once('message', data => resolve(String(data)))), '"successful":true')
})

t.test('a renewed certificate is taken over as soon as its key is there as well', async t => {
  const folder = t.testdir({})
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
  const put = (from: string, to: string): void => {
    copyFileSync(from, `${to}.new`)
    renameSync(`${to}.new`, to) // as a whole, as whoever renews a certificate does it
  }
  put(certOf('one'), cert)
  put(keyOf('one'), key)
  const files = new TlsFiles(cert, key, 20)
  const server = createServer(files.read())
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  let told: ((error: unknown) => void) | null = null
  const change = (): Promise<unknown> =>
    new Promise(resolve => {
      told = resolve
    })
  const end = files.follow(server, error => told?.(error))
  t.teardown(() => {
    end()
    server.close()
  })
  const first = await fingerprintAt(port)
  let changed = change()
  put(certOf('two'), cert)
  t.match(await changed, { code: 'OPTION_INVALID' }, 'the key is still the old one')
  t.equal(await fingerprintAt(port), first)
  changed = change()
  put(keyOf('two'), key)
  t.equal(await changed, null)
  t.not(await fingerprintAt(port), first)
})

t.test('files that are missing, wrong or of different certificates are refused with one line', t => {
  const rsa = join(t.testdir({}), 'rsa.pem')
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 })
  writeFileSync(rsa, privateKey.export({ type: 'pkcs8', format: 'pem' }))
  const cases: [cert: string, key: string, message: RegExp][] = [
    [certOf('one'), '', /^option tlsKey is missing/],
    ['', keyOf('one'), /^option tlsCert is missing/],
    [certOf('none'), keyOf('one'), /^option tlsCert: ENOENT/],
    [certOf('one'), keyOf('two'), /^options tlsCert and tlsKey: no certificate with its key: /],
    [certOf('one'), rsa, /^options tlsCert and tlsKey: no certificate with its key: /],
    [keyOf('one'), keyOf('one'), /^options tlsCert and tlsKey: no certificate with its key: /],
  ]
  for (const [cert, key, message] of cases) {
    const refused = (error: unknown): boolean =>
      error instanceof BayeuxError &&
      error.code === 'OPTION_INVALID' &&
      message.test(error.message) &&
      !error.message.includes('\n')
    try {
      new TlsFiles(cert, key).read()
      t.fail(String(message))
    } catch (error) {
      t.ok(refused(error), `${message}: ${error}`)
    }
  }
  t.end()
})

t.test('a client that never comes through TLS is cut', async t => {
  const server = createServer({ handshakeTimeout: 50, cert: readFileSync(certOf('one')), key: readFileSync(keyOf('one')) })
  server.on('clientError', fastifyOptions.clientErrorHandler as never)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const socket = connectTcp((server.address() as AddressInfo).port, '127.0.0.1')
  socket.on('error', () => undefined)
  await new Promise(resolve => socket.once('close', resolve))
  await new Promise<void>(resolve => server.close(() => resolve()))
  t.pass('and the server can close')
})

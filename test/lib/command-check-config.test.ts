// The command `perihelion check-config`: what it says is what the server does, and why.

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { checkConfig } from '../../lib/commands/check-config.js'
import { makeToken } from '../../lib/commands/token.js'
import { SECRET } from '../support/issuer.js'

const RULES = `
tokenRoles: realm.roles
channels:
  /**: { publish: authenticated, subscribeAll: 'role:auditor' }
  /chat/**: { publish: anyone }
  /user/{sub}/**: { subscribe: authenticated, publish: nobody, create: ['role:ops', 'user:root'] }
  /secret/**: { subscribe: 'role:ops' }
`
const file = join(t.testdir({ 'perihelion.yaml': RULES }), 'perihelion.yaml')
const ALICE = '{"sub":"alice","realm":{"roles":["eu"]}}'
const check = (...argv: string[]) => checkConfig(['--config', file, ...argv], {})
const channels = (...names: string[]) => names.flatMap(name => ['--channel', name])

t.test('what somebody may do, and by which rule', async t => {
  t.equal(
    await check('--claims', ALICE, ...channels('/user/alice/inbox', '/secret/**')),
    `the configuration holds: 4 channel rules
as user alice, roles eu

/user/alice/inbox
  subscribe  yes  subscribe of /user/{sub}/**: authenticated
  publish    no   publish of /user/{sub}/**: nobody
  create     no   create of /user/{sub}/**: role:ops, user:root

/secret/**
  subscribe  no   subscribe of /secret/**: role:ops
  publish    yes  publish of /**: authenticated
  create     yes  no rule says who may`,
  )
  t.match(
    await check(...channels('/user/alice/x', '/chat/lobby')),
    /as nobody that is known\n\n\/user\/alice\/x\n {2}subscribe {2}no {3}.*\n[\s\S]*publish {4}yes {2}publish of \/chat\/\*\*: anyone/,
  )
  t.match(
    await check('--claims', '{"realm":{"roles":["auditor"]}}', ...channels('/**')),
    'as somebody without a name, roles auditor\n\n/**\n  subscribe  yes  subscribeAll of /**: role:auditor\n',
  )
})

t.test('a token is verified with the keys of the configuration', async t => {
  const token = await makeToken(['--secret', SECRET, '--sub', 'alice', '--claim', 'realm={"roles":["ops"]}'], {})
  t.match(
    await check('--token-secret', SECRET, '--token', token, ...channels('/secret/x')),
    /as user alice, roles ops[\s\S]*subscribe {2}yes/,
  )
  await t.rejects(check('--token-secret', SECRET.toUpperCase(), '--token', token), {
    code: 'OPTION_INVALID',
    message: /flag --token: the signature/,
  })
  await t.rejects(check('--token', token), { message: /no key/ })
})

t.test('what does not hold is said in one line, with code 2', async t => {
  const bad: [argv: string[], message: RegExp][] = [
    [['--claims', 'x'], /--claims must be a JSON object/],
    [['--claims', '[]'], /--claims must be a JSON object/],
    [['--claims', '{"sub":7}'], /--claims: the claim sub/],
    [['--claims'], /--claims needs a value/],
    [['--claims', '{}', '--token', 'x'], /one of them/],
    [channels('/a//b'), /\/a\/\/b is not a broadcast or service channel/],
    [channels('/meta/connect'), /is not/],
    [['--timeout', 'x'], /--timeout must be a whole number/],
    [['--token-keys', join(t.testdirName, 'none.pem')], /tokenKeys/],
    [['--tls-cert', file], /tlsKey/],
    [['--no-such-flag'], /unknown flag/],
  ]
  for (const [argv, message] of bad) await t.rejects(check(...argv), { name: 'BayeuxError', message })
  const cli = fileURLToPath(new URL('../../lib/cli.js', import.meta.url))
  const run = (...argv: string[]) => spawnSync(process.execPath, [cli, 'check-config', ...argv], { encoding: 'utf8' })
  t.match(run('--config', file), { status: 0, stdout: 'the configuration holds: 4 channel rules\n', stderr: '' })
  t.match(run('--config', file, '--claims', '1'), {
    status: 2,
    stdout: '',
    stderr: /^perihelion: flag --claims must be a JSON object\n$/,
  })
  t.match(run('--help'), { status: 0, stdout: /^perihelion check-config / })
})

// Who may, by the channel rules: words, templates, wildcards. A wildcard is held against an oracle that knows every channel.

import fc from 'fast-check'
import t from 'tap'
import type { ChannelRules } from '../../bayeux/index.js'
import { type Identity, parseChannel, Rules, wholeIdentity } from '../../bayeux/index.js'
import type { Operation } from '../../bayeux/policy.js'

const SEED = Number(process.env['SEED'] ?? 20_261_125)
const alice = wholeIdentity({
  user: 'alice',
  roles: ['ops', 'eu'],
  claims: { sub: 'alice', team: ['red', 7], org: { unit: 'fx' }, 'a.b': true },
})
const bob = wholeIdentity({ user: 'bob' })
const nameless = wholeIdentity({ roles: ['service'] })
const name = (text: string) => parseChannel(text)!
const may = (rules: ChannelRules, operation: Operation, channel: string, identity: Identity | null): boolean =>
  new Rules(rules).guardOf(name(channel)).allows(operation, identity)

t.test('the words of a grant', t => {
  const cases: [who: string | string[], alice: boolean, bob: boolean, nameless: boolean, anonymous: boolean][] = [
    ['anyone', true, true, true, true],
    ['authenticated', true, true, true, false],
    ['nobody', false, false, false, false],
    ['role:ops', true, false, false, false],
    ['user:bob', false, true, false, false],
    [['role:service', 'user:bob'], false, true, true, false],
    ['claim:team=red', true, false, false, false],
    ['claim:team=7', true, false, false, false],
    ['claim:team=8', false, false, false, false],
    ['claim:org.unit=fx', true, false, false, false],
    ['claim:a.b=true', true, false, false, false],
    ['claim:sub=bob', false, true, false, false],
    ['claim:constructor=x', false, false, false, false],
    ['role:op', false, false, false, false],
  ]
  for (const [who, ...wanted] of cases) {
    for (const operation of ['subscribe', 'publish', 'create'] as const) {
      const found = [alice, bob, nameless, null].map(identity => may({ '/x': { [operation]: who } }, operation, '/x', identity))
      t.same(found, wanted, `${operation}: ${who}`)
      t.equal(may({ '/x': { [operation]: who } }, operation, '/y', null), true, 'and nothing is said of others')
    }
  }
  t.end()
})

t.test('a rule that is none is refused with its place', t => {
  for (const who of ['', 'everyone', 'role:', 'user:', 'claim:a', 'claim:=b', [], ['anyone', 7], ['nobody', 'role:x'], 5, null])
    t.throws(() => new Rules({ '/x': { subscribe: who as string } }), {
      code: 'RULE_INVALID',
      message: /channel rule \/x: subscribe must be/,
    })
  for (const pattern of ['x', '/a//b', '/a/*/b', '/meta/connect', '/{a}b/**/c'])
    t.throws(() => new Rules({ [pattern]: {} }), { code: 'RULE_INVALID' }, pattern)
  t.end()
})

t.test('the most specific rule that says it decides, setting by setting', t => {
  const rules: ChannelRules = {
    '/**': { publish: 'nobody' },
    '/chat/**': { publish: 'anyone', create: 'role:ops' },
    '/chat/*': { subscribe: 'authenticated' },
    '/chat/ops': { subscribe: 'role:ops' },
  }
  t.equal(may(rules, 'publish', '/x', alice), false)
  t.equal(may(rules, 'publish', '/chat/ops', null), true)
  t.equal(may(rules, 'create', '/chat/a/b', bob), false)
  t.equal(may(rules, 'create', '/chat/a/b', alice), true)
  t.equal(may(rules, 'subscribe', '/chat/lobby', bob), true)
  t.equal(may(rules, 'subscribe', '/chat/ops', bob), false)
  t.equal(may(rules, 'subscribe', '/chat/a/b', null), true)
  t.equal(may(rules, 'publish', '/service/x', alice), false, '/** is for service channels, too, as for authorizers')
  t.end()
})

t.test('a template is whose it names', t => {
  const rules: ChannelRules = {
    '/user/{sub}/**': { subscribe: 'authenticated', publish: 'nobody' },
    '/user/{sub}/admin': { subscribe: 'role:ops' },
    '/team/{team}': { subscribe: 'anyone' },
    '/unit/{org.unit}/*': { subscribe: 'authenticated' },
    '/user/shared/**': { subscribe: 'anyone' },
  }
  t.equal(may(rules, 'subscribe', '/user/alice/inbox', alice), true)
  t.equal(may(rules, 'subscribe', '/user/alice/a/b', alice), true)
  t.equal(may(rules, 'subscribe', '/user/alice/inbox', bob), false)
  t.equal(may(rules, 'subscribe', '/user/alice/inbox', null), false)
  t.equal(may(rules, 'subscribe', '/user/bob/admin', bob), false, 'the grant has to allow as well')
  t.equal(may(rules, 'subscribe', '/user/alice/admin', alice), true)
  t.equal(may(rules, 'subscribe', '/user/shared/x', null), true, 'a literal is more specific than a template')
  t.equal(may(rules, 'publish', '/user/alice/inbox', alice), false)
  t.equal(may(rules, 'subscribe', '/team/red', alice), true, 'an entry of a list')
  t.equal(may(rules, 'subscribe', '/team/7', alice), true)
  t.equal(may(rules, 'subscribe', '/team/blue', alice), false)
  t.equal(may(rules, 'subscribe', '/team/red', null), false, 'and nobody is nobody, also where anyone may')
  t.equal(may(rules, 'subscribe', '/unit/fx/desk', alice), true)
  t.equal(may(rules, 'subscribe', '/user/alice/**', alice), true, 'a wildcard below it')
  t.equal(may(rules, 'subscribe', '/user/alice/*', bob), false)
  t.equal(may(rules, 'subscribe', '/user/**', alice), false, 'one in its place is nobody’s alone')
  t.equal(may(rules, 'subscribe', '/user/*', alice), true, '/user/{sub}/** has no channel of two segments')
  t.equal(may(rules, 'subscribe', '/team/*', alice), false)
  t.end()
})

t.test('a wildcard needs the leave of all that it covers, unless a rule says otherwise', t => {
  const rules: ChannelRules = { '/secret/**': { subscribe: 'role:ops' }, '/service/admin/**': { subscribe: 'nobody' } }
  for (const wildcard of ['/**', '/secret/**', '/secret/*', '/secret/a/**'])
    t.same(
      [alice, bob, null].map(identity => may(rules, 'subscribe', wildcard, identity)),
      [true, false, false],
      wildcard,
    )
  for (const wildcard of ['/*', '/open/**', '/secrets/*']) t.equal(may(rules, 'subscribe', wildcard, null), true, wildcard)
  const shadowed: ChannelRules = { '/**': { subscribe: 'nobody' }, '/chat/**': { subscribe: 'anyone' } }
  t.equal(may(shadowed, 'subscribe', '/chat/**', null), true, 'a rule for all of it hides those behind')
  t.equal(may(shadowed, 'subscribe', '/**', alice), false)
  const audit: ChannelRules = {
    ...rules,
    '/**': { subscribeAll: 'role:ops' },
    '/secret/{sub}/**': { subscribe: 'authenticated' },
  }
  t.equal(may(audit, 'subscribe', '/**', alice), true, 'a rule says so')
  t.equal(may(audit, 'subscribe', '/secret/bob/x', alice), true, 'and not for wildcards alone')
  t.equal(may(audit, 'subscribe', '/**', bob), false)
  t.equal(may(audit, 'publish', '/x', bob), true)
  t.end()
})

t.test('channels of the same rules share what is compiled', t => {
  const rules = new Rules({ '/a/**': { subscribe: 'role:x', lazy: 5 }, '/u/{sub}': { subscribe: 'anyone' } })
  t.equal(rules.guardOf(name('/a/1')), rules.guardOf(name('/a/2')))
  t.equal(rules.settingsOf(name('/a/1')), rules.settingsOf(name('/a/2')))
  t.not(rules.guardOf(name('/u/1')), rules.guardOf(name('/u/2')), 'but not what a template binds')
  t.equal(rules.guardOf(name('/b')), rules.guardOf(name('/c')))
  t.end()
})

const segment = fc.constantFrom('a', 'b', '{sub}')
const pattern = fc
  .tuple(fc.array(segment, { maxLength: 3 }), fc.constantFrom('', '/*', '/**'))
  .map(([fixed, wild]) => fixed.map(each => `/${each}`).join('') + wild)
  .filter(text => text !== '')
const rulesOf = fc.dictionary(
  pattern,
  fc.record(
    {
      subscribe: fc.constantFrom('anyone', 'authenticated', 'nobody', 'role:r'),
      subscribeAll: fc.constantFrom('nobody', 'role:all'),
    },
    { requiredKeys: [] },
  ),
  { maxKeys: 5 },
)
const wildcard = fc
  .tuple(fc.array(fc.constantFrom('a', 'b'), { maxLength: 2 }), fc.constantFrom('/*', '/**'))
  .map(([fixed, wild]) => fixed.map(each => `/${each}`).join('') + wild)
const identity = fc.option(
  fc
    .record({ user: fc.constantFrom('a', 'b', 'z'), roles: fc.subarray(['r', 'all']) })
    .map(({ user, roles }) => wholeIdentity({ user, roles })),
)

/** Every channel of up to four segments over three letters: `c` is in no rule. */
const CHANNELS = [1, 2, 3, 4].flatMap(length =>
  Array.from({ length: 3 ** length }, (_, n) =>
    Array.from({ length }, (_, i) => `/${'abc'[Math.floor(n / 3 ** i) % 3]}`).join(''),
  ),
)

t.test('no wildcard lets through a channel that its own rules refuse', t => {
  let allowed = 0
  let refused = 0
  fc.assert(
    fc.property(rulesOf, wildcard, identity, (given, text, who) => {
      const rules = new Rules(given as ChannelRules)
      const name = parseChannel(text)!
      const covered = CHANNELS.filter(channel => covers(text, channel))
      const all = covered.every(channel => rules.guardOf(parseChannel(channel)!).allows('subscribe', who))
      const found = rules.guardOf(name).allows('subscribe', who)
      if (found) allowed++
      else refused++
      return !found || all
    }),
    { numRuns: 5_000, seed: SEED },
  )
  t.ok(allowed > 500 && refused > 500, `seed ${SEED}: ${allowed} allowed, ${refused} refused`)
  t.end()
})

t.test('and none is refused without a channel for it, where no rules hide one another', t => {
  fc.assert(
    fc.property(
      pattern,
      wildcard,
      identity,
      fc.constantFrom('anyone', 'authenticated', 'nobody', 'role:r'),
      (text, wild, who, subscribe) => {
        const rules = new Rules({ [text]: { subscribe } })
        const covered = CHANNELS.filter(channel => covers(wild, channel))
        const all = covered.every(channel => rules.guardOf(parseChannel(channel)!).allows('subscribe', who))
        return rules.guardOf(parseChannel(wild)!).allows('subscribe', who) === all
      },
    ),
    { numRuns: 5_000, seed: SEED },
  )
  t.end()
})

/** What a wildcard covers, said another way than the code says it. */
function covers(wildcard: string, channel: string): boolean {
  const expression = wildcard.endsWith('/**') ? `^${wildcard.slice(0, -3)}/.+$` : `^${wildcard.slice(0, -2)}/[^/]+$`
  return new RegExp(expression).test(channel)
}

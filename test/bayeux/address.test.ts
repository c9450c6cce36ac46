// Addresses as keys, with Node's own judgement of what is an address and the URL parser's way to write it as oracles.

import { isIP, isIPv4 } from 'node:net'
import fc from 'fast-check'
import t from 'tap'
import { addressKey } from '../../bayeux/index.js'

t.test('an IPv4 address counts as itself, however it is wrapped', t => {
  const ways = ['203.0.113.7', '::ffff:203.0.113.7', '::FFFF:cb00:7107', '0:0:0:0:0:ffff:203.0.113.7', '64:ff9b::203.0.113.7']
  for (const way of [...ways, '203.0.113.7:4711', '[::ffff:203.0.113.7]:4711']) t.equal(addressKey(way), '203.0.113.7', way)
  t.not(addressKey('203.0.113.8'), '203.0.113.7')
  t.end()
})

t.test('an IPv6 address counts as its /64', t => {
  const ways = ['2001:db8:0:1::1', '2001:0DB8:0:1:ffff:ffff:ffff:ffff', '[2001:db8::1:0:0:0:1]', '[2001:db8:0:1::9]:4711']
  for (const way of ways) t.equal(addressKey(way), '2001:db8:0:1::/64', way)
  t.equal(addressKey('2001:db8:0:2::1'), '2001:db8:0:2::/64', 'the next network is another')
  t.equal(addressKey('fe80::1%eth0'), 'fe80:0:0:0::/64')
  t.equal(addressKey('::1'), '0:0:0:0::/64')
  t.equal(addressKey('::203.0.113.7'), '0:0:0:0::/64', 'neither mapped nor translated')
  t.equal(addressKey('64:ff9b:1::203.0.113.7'), '64:ff9b:1:0::/64', 'a network of somebody: RFC 8215')
  t.end()
})

t.test('all that is no address counts as one', t => {
  const strangers = [
    '',
    'unknown',
    '_hidden',
    '256.1.1.1',
    '01.2.3.4',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.4:x',
    '::1::',
    '1:2:3:4:5:6:7',
    'fe80::1%',
  ]
  for (const text of [
    ...strangers,
    ':::',
    '1::2:3:4:5:6:7:8',
    '1.2.3.4::',
    '::1.2.3.4:5',
    `::1%${'x'.repeat(100)}`,
    '9'.repeat(40_000),
  ])
    t.equal(addressKey(text), '', text.slice(0, 50))
  t.end()
})

/** Tolerated here, no address to Node. */
const WITH_PORT = /^[\d.]+:\d+$|^\[/

/** IPv6 as somebody may write it: with zeros in front, capitals, `::`, an IPv4 tail; sometimes spoilt. */
const texts = fc
  .record({
    groups: fc.array(fc.oneof(fc.constant(0), fc.constant(0xffff), fc.nat(0xffff)), { minLength: 8, maxLength: 8 }),
    wide: fc.boolean(),
    capitals: fc.boolean(),
    dotted: fc.boolean(),
    spoil: fc.option(fc.tuple(fc.nat(45), fc.constantFrom('', ':', '::', '.', '0', 'g', '%')), { freq: 3 }),
  })
  .map(({ groups, wide, capitals, dotted, spoil }) => {
    const hex = groups.map(group => group.toString(16).padStart(wide ? 4 : 1, '0'))
    const [g, h] = groups.slice(6) as [number, number]
    const parts = dotted ? [...hex.slice(0, 6), `${g >> 8}.${g & 255}.${h >> 8}.${h & 255}`] : hex
    let text = parts.join(':').replace(/(?:^|:)(?:0+(?::|$)){2,}/, '::')
    if (capitals) text = text.toUpperCase()
    return spoil === null ? text : text.slice(0, spoil[0]) + spoil[1] + text.slice(spoil[0])
  })

t.test('what Node takes for an address is one here, and the first half of its groups decides', t => {
  fc.assert(
    fc.property(fc.oneof(texts, fc.ipV4(), fc.ipV6(), fc.string({ maxLength: 20 })), text => {
      if (WITH_PORT.test(text)) return
      const key = addressKey(text)
      if (isIP(text) === 0) return key === ''
      if (isIPv4(text)) return key === text
      const written = text.replace(/%.*/, '')
      if (isIPv4(key)) return [`::ffff:${key}`, `64:ff9b::${key}`].some(way => canonical(way) === canonical(written))
      const network = canonical(key.replace('/64', ''))
      const groups = expand(canonical(written))
      return network === canonical(`${groups.slice(0, 4).join(':')}::`)
    }),
    { numRuns: 5_000 },
  )
  t.end()
})

/** The one way to write an address, by the URL standard. */
function canonical(text: string): string {
  return new URL(`http://[${text}]`).hostname.slice(1, -1)
}

function expand(text: string): string[] {
  const [head = '', tail = ''] = text.split('::')
  const [before, after] = [head, tail].map(half => (half === '' ? [] : half.split(':'))) as [string[], string[]]
  return text.includes('::') ? [...before, ...Array<string>(8 - before.length - after.length).fill('0'), ...after] : before
}

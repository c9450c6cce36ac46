// Hostile callback-polling: callbacks that are code, messages in broken query strings, pages of other origins.
//
// Source: protocol reference 5.6, 5.7, DEV-14. Envelopes of all kinds go over callback-polling too (json.ts, bayeux.ts).

import assert from 'node:assert/strict'
import { brief, type Case, filled, OWN } from './case.js'
import { answersIn, CLOSE, COOKIE, messagesIn } from './requests.js'

/** `[{}]` and its reply. */
const EMPTY = 'message=%5B%7B%7D%5D'
const MISSING = [{ successful: false, error: '400::channel_missing' }]

/** Values of the parameter, as they stand in the URL. */
const BAD_CALLBACKS = [
  ...[
    '',
    ' ',
    '%20',
    '+',
    'a b',
    'a+b',
    'a%20b',
    'a%0Ab',
    'a%0Db',
    'a%00b',
    'a%09b',
    '%E2%80%A8',
    '%E2%80%A9',
    'a%E2%80%A8b',
    '%C3%A9',
    '%ff',
    '%',
  ],
  ...[
    'alert(1)',
    'alert%281%29',
    'a(',
    'a)',
    'a;b',
    'a%3Bb',
    'a,b',
    'a=b',
    'a%3Db',
    'a/b',
    'a%2F%2Fb',
    '/**/a',
    'a/**/',
    'a*b',
    '*/a',
    '//a',
  ],
  ...[
    '%3Cscript%3E',
    'a%3Cb',
    'a%3Eb',
    '%3C/script%3E',
    '%3C!--',
    'a%26b',
    '%22a%22',
    '%27a%27',
    '%60a%60',
    'a%5B0%5D',
    'a[0]',
    'a%5Cu0061',
  ],
  ...[
    '{a}',
    '%7Ba%7D',
    'a:b',
    'a%3Ab',
    'javascript:a',
    'a?b',
    'a!',
    '!a',
    '~a',
    '@a',
    '%23a',
    'a%23b',
    'a^b',
    'a|b',
    '$',
    '%24',
    '$a',
    'jQuery$',
  ],
  ...[
    'a'.repeat(65),
    'a.'.repeat(40),
    'x'.repeat(5_000),
    '%EF%BC%A1',
    '%F0%9F%98%80',
    '%ED%A0%80',
    'a%C2%A0b',
    '%EF%BB%BFa',
    'a%7Fb',
  ],
]
const GOOD_CALLBACKS = [
  ...[
    'a',
    '_',
    '_cometd_jsonp_0',
    'jQuery21_123',
    'dojo.io.script.jsonp_dojoIoScript1._jsonpCallback',
    '__jsonp3__',
    'a'.repeat(64),
    'a-b',
  ],
  ...['%61', 'a%2Eb', '0', '.', '-', '__proto__', 'constructor', 'eval', 'alert', 'window.location', 'a.__proto__.b'],
]

/** Query strings, and the status of their answer. */
const QUERIES: readonly (readonly [name: string, query: string, status: number])[] = [
  ['no message', 'jsonp=a', 400],
  ['an empty message', 'jsonp=a&message=', 400],
  ['a message without a value', 'jsonp=a&message', 400],
  ['a message by another name', 'jsonp=a&messages=%5B%7B%7D%5D', 400],
  ['a message in capitals', 'jsonp=a&MESSAGE=%5B%7B%7D%5D', 400],
  ['two messages', `jsonp=a&${EMPTY}&message=%7B%7D`, 200],
  ['a sound message and a broken one', `jsonp=a&${EMPTY}&message=%7B`, 400],
  ['a sound message and an empty one', `jsonp=a&${EMPTY}&message=`, 400],
  ['1,000 messages', `jsonp=a${'&message=%7B%7D'.repeat(1_000)}`, 200],
  ['1,001 messages', `jsonp=a${'&message=%7B%7D'.repeat(1_001)}`, 413],
  ['a handshake and another message', 'jsonp=a&message=%7B%22channel%22:%22/meta/handshake%22%7D&message=%7B%7D', 400],
  ['broken percent-encoding', 'jsonp=a&message=%', 400],
  ['broken percent-encoding of hex', 'jsonp=a&message=%zz', 400],
  ['percent-encoding that breaks off', 'jsonp=a&message=%5B%7B%7D%5', 400],
  ['broken percent-encoding in a string', 'jsonp=a&message=%5B%7B%22x%22:%22%zz%22%7D%5D', 200],
  ['percent-encoded twice', 'jsonp=a&message=%255B%257B%257D%255D', 400],
  ['no UTF-8 in a string', 'jsonp=a&message=%5B%7B%22x%22:%22%ff%fe%22%7D%5D', 200],
  ['overlong UTF-8', 'jsonp=a&message=%5B%7B%22x%22:%22%c0%af%22%7D%5D', 200],
  ['UTF-16 escapes of old browsers', 'jsonp=a&message=%u005B%u007B%u007D%u005D', 400],
  ['not encoded', 'jsonp=a&message=[{}]', 200],
  ['NUL around', 'jsonp=a&message=%00%5B%7B%7D%5D', 400],
  ['a plus for a blank', 'jsonp=a&message=%5B+%7B+%7D+%5D', 200],
  ['a second question mark', `jsonp=a?&${EMPTY}`, 400],
  ['a semicolon between', 'jsonp=a;message=%5B%7B%7D%5D', 400],
  ['empty parameters', `&&&jsonp=a&&&${EMPTY}&&=&`, 200],
  ['1,000 other parameters', `${'x=1&'.repeat(1_000)}jsonp=a&${EMPTY}`, 200],
  ['names of prototypes', `__proto__=1&constructor=2&jsonp=a&${EMPTY}&toString=3`, 200],
  ['two callbacks', `jsonp=a&jsonp=b&${EMPTY}`, 400],
  ['one callback twice', `jsonp=a&jsonp=a&${EMPTY}`, 400],
  ['a callback and an empty one', `jsonp=a&jsonp=&${EMPTY}`, 400],
  ['a callback with brackets', `jsonp[]=a&${EMPTY}`, 400],
  ['a callback by an encoded name', `%6Asonp=a&${EMPTY}`, 200],
  ['a callback by the name of Faye', `jsonpcallback=a&${EMPTY}`, 400],
  ['a callback in capitals', `JSONP=a&${EMPTY}`, 400],
  ['no callback', EMPTY, 400],
  ['nothing', '', 400],
  ['a fragment', `jsonp=a&${EMPTY}#`, 400],
  ['as long a URL as may be', `jsonp=a&${EMPTY}&x=${'x'.repeat(30_000)}`, 200],
  ['too long a URL', `jsonp=a&${EMPTY}&x=${'x'.repeat(40_000)}`, 431],
]

/** What a browser says of the page that asks. */
const PAGES: readonly (readonly [headers: string, status: number])[] = [
  ['Sec-Fetch-Site: cross-site\r\n', 403],
  ['Sec-Fetch-Site: same-site\r\n', 403],
  ['Sec-Fetch-Site: \r\n', 403],
  ['Sec-Fetch-Site: Same-Origin\r\n', 403],
  ['Sec-Fetch-Site: same-origin, cross-site\r\n', 403],
  ['Sec-Fetch-Site: same-origin\r\nSec-Fetch-Site: cross-site\r\n', 403],
  ['Sec-Fetch-Site: cross-site\r\nReferer: http://evil.example/\r\n', 403],
  ['Sec-Fetch-Site: cross-site\r\nReferer: http://x/\r\n', 200],
  ['Referer: http://evil.example/\r\n', 403],
  ['Referer: http://x.evil.example/\r\n', 403],
  ['Referer: http://evil.example/?http://x/\r\n', 403],
  ['Referer: http://evil.example#@x/\r\n', 403],
  ['Referer: http://x@evil.example/\r\n', 403],
  ['Referer: http://evil.example\\@x/\r\n', 403],
  ['Referer: data:text/html,x\r\n', 403],
  ['Origin: http://evil.example\r\n', 403],
  ['Origin: null\r\n', 403],
  ['Origin: http://x\r\nOrigin: http://evil.example\r\n', 403],
]

/** Texts that a page must get as they were published. */
const TEXTS = [
  '</script>',
  '<!--<script>',
  ']]>',
  '\u2028\u2029',
  '"\\',
  '*/',
  ');alert(1);(',
  '\u0000',
  '$1',
  '`',
  "'",
  '\ufeff',
  '\ud800',
  '&lt;',
]

export function* jsonpCases(): Generator<Case> {
  for (const value of BAD_CALLBACKS) yield asked(`callback ${brief(value, 40)}`, `jsonp=${value}&${EMPTY}`, '', 400)
  for (const value of GOOD_CALLBACKS) yield asked(`callback ${brief(value, 40)}`, `jsonp=${value}&${EMPTY}`, '', 200)
  for (const [name, query, status] of QUERIES) yield asked(name, query, '', status)
  for (const [headers, status] of PAGES) yield asked(`a page with ${brief(headers.trim())}`, `jsonp=a&${EMPTY}`, headers, status)
  for (const text of TEXTS) yield published(text)
}

function asked(name: string, query: string, headers: string, status: number): Case {
  const bytes = Buffer.from(`GET /cometd?${query} HTTP/1.1\r\nHost: x\r\n${COOKIE}${CLOSE}${headers}\r\n`, 'latin1')
  const judge = (said: Buffer): number[] => {
    const answers = answersIn(said)
    assert.deepEqual(
      answers.map(answer => answer.status),
      [status],
    )
    if (status === 200) for (const message of messagesIn(answers[0]!)) assert.deepEqual([message], MISSING)
    return [status]
  }
  return { level: 'jsonp', name: `jsonp: ${name}`, say: () => ({ pieces: [bytes], after: 'close', judge }) }
}

/** What is published comes with the connect: as the same text, whatever it is. */
function published(text: string): Case {
  const messages = [
    { channel: '/meta/subscribe', clientId: OWN, subscription: '/jsonp/a' },
    { channel: '/jsonp/a', clientId: OWN, data: { [text]: text } },
    { channel: '/meta/connect', clientId: OWN },
  ]
  const judge = (said: Buffer): number[] => {
    const [answer] = answersIn(said)
    assert.deepEqual((messagesIn(answer!) as { data?: unknown }[])[0]!.data, { [text]: text })
    return [answer!.status]
  }
  return {
    level: 'jsonp',
    name: `jsonp: delivery of ${brief(text)}`,
    say: cast => {
      const query = `jsonp=a&message=${encodeURIComponent(filled(JSON.stringify(messages), cast))}`
      const bytes = Buffer.from(`GET /cometd?${query} HTTP/1.1\r\nHost: x\r\n${COOKIE}${CLOSE}\r\n`, 'latin1')
      return { pieces: [bytes], after: 'close', judge }
    },
  }
}

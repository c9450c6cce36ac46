// Markup filters: what stays of texts, and that none of what stays runs a script in a real browser, with vectors by hand and from a seed (`SEED=n`).

import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { type MarkupKind, markupFilter } from '../../lib/markup.js'
import { startChromium, within } from '../support/chromium.js'
import { generator } from '../support/world.js'

const SEED = Number(process.env['SEED'] ?? 1)
const KINDS: readonly MarkupKind[] = ['no-markup', 'no-script']
const noMarkup = markupFilter('no-markup')
const noScript = markupFilter('no-script')

/** Each calls `hit()` if a browser runs it, when it is shown, or used: clicked, pointed at, focused. */
const VECTORS = [
  '<script>hit()</script>',
  '<ScRiPt>hit()</sCrIpT >',
  '<script/x>hit()</script>',
  '<scr<script>ipt>hit()</scr</script>ipt>',
  '<<script>hit();//<</script>',
  '<img src=x onerror=hit()>',
  '<IMG SRC=x OnErRoR=hit()>',
  '<img/src=x/onerror=hit()>',
  '<img src=x onerror\n=\nhit()>',
  '<img src=x:x onerror="hit()"//',
  '<img src="x` `<script>hit()</script>"` onerror=hit()>',
  '<img alt="<img src=x onerror=hit()>" src=x>',
  "<img src=x title='\"><img src=x onerror=hit()>'>",
  '"><img src=x onerror=hit()>',
  '<img src=x onerror=&#104;&#105;&#116;&#40;&#41;>',
  '<svg onload=hit()>',
  '<svg><script>hit()</script></svg>',
  '<svg><script href="data:text/javascript,hit()"></script></svg>',
  '<svg><animate onbegin=hit() attributeName=x dur=1s>',
  '<svg><a xlink:href="javascript:hit()"><text y=20>x</text></a></svg>',
  '<svg><a><animate attributeName=href values="javascript:hit()" /><text y=20>x</text></a></svg>',
  '<svg><style><img src=x onerror=hit()></style></svg>',
  '<svg></p><style><a id="</style><img src=x onerror=hit()>">',
  '<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=x onerror=hit()&gt;">',
  '<math><mi><table><mi><mglyph><style><math><img src=x onerror=hit()></style></mglyph>',
  '<math href="javascript:hit()">x</math>',
  '<form><math><mtext></form><form><mglyph><style></math><img src=x onerror=hit()>',
  '<noscript><p title="</noscript><img src=x onerror=hit()>">',
  '<textarea><img title="</textarea><img src=x onerror=hit()>"></textarea>',
  '<textarea/><img src=x onerror=hit()></textarea/>',
  '<title><img title="</title><img src=x onerror=hit()>"></title>',
  '<xmp><p title="</xmp><img src=x onerror=hit()>"></xmp>',
  '<noembed><img title="</noembed><img src=x onerror=hit()>"></noembed>',
  '<noframes><img title="</noframes><img src=x onerror=hit()>"></noframes>',
  '<plaintext><img src=x onerror=hit()>',
  '<select><style></select><img src=x onerror=hit()></style>',
  '<select><option><img src=x onerror=hit()></option></select>',
  '<template><img src=x onerror=hit()></template>',
  '<div><template shadowrootmode=open><img src=x onerror=hit()></template></div>',
  '<iframe src="javascript:parent.hit()"></iframe>',
  '<iframe srcdoc="<script>parent.hit()</script>"></iframe>',
  '<iframe><img title="</iframe><img src=x onerror=hit()>"></iframe>',
  '<object data="javascript:parent.hit()"></object>',
  '<embed src="javascript:parent.hit()">',
  '<a href="javascript:hit()">x</a>',
  '<a href=" &#14; javascript:hit()">x</a>',
  '<a href="java&#10;script:hit()">x</a>',
  '<a href="java&Tab;script&colon;hit()">x</a>',
  '<a href="JaVaScRiPt:hit()">x</a>',
  '<a href="javascript\n:hit()">x</a>',
  '<a href="&#x6a;avascript&#0000058;hit()">x</a>',
  '<a href="\u0001javascript:hit()">x</a>',
  '<a href="<!--->javascript:hit()">x</a>',
  '<a href="data:text/html,<script>opener.hit()</script>" target=x>x</a>',
  '<a href="vbscript:hit()">x</a>',
  '<a href=x onclick=hit()>x</a>',
  '<a href="x" title="y"onclick=hit()>x</a>',
  '<b onmouseover=hit()>x</b>',
  '<b style="animation:x" onanimationstart=hit()>x</b><style>@keyframes x{}</style>',
  '<p onfocus=hit() tabindex=0 id=x>x</p>',
  '<details open ontoggle=hit()><summary>x</summary></details>',
  '<video src=x onerror=hit()></video>',
  '<video><source onerror=hit() src=x></video>',
  '<audio src=x onerror=hit()></audio>',
  '<input autofocus onfocus=hit()>',
  '<button onclick=hit()>x</button>',
  '<form action="javascript:hit()"><button>x</button></form>',
  '<form><button formaction="javascript:hit()">x</button></form>',
  '<body onload=hit()>',
  '<marquee onstart=hit()>x</marquee>',
  '<link rel=stylesheet href="data:text/css,x" onload=hit()>',
  '<style onload=hit()></style>',
  '<meta http-equiv=refresh content="0;url=javascript:hit()">',
  '<base href="javascript:/a/"><a href="hit()">x</a>',
  '<!--><img src=x onerror=hit()>-->',
  '<!-- --!><img src=x onerror=hit()> -->',
  '<![CDATA[><img src=x onerror=hit()>]]>',
  '<?x ><img src=x onerror=hit()>',
  '</b ><img src=x onerror=hit()>',
  '<b\u0000><img\u0000 src=x onerror=hit()>',
  '<x onclick=hit()>x</x>',
  '<custom-element is=x onclick=hit()>x</custom-element>',
  '<table><td><a href=javascript:hit()>x</a><table><tr><img src=x onerror=hit()>',
  '<p><a href="https://a.example/"><a href="javascript:hit()">x</a></a>',
  '&lt;img src=x onerror=hit()&gt;<b>&lt;script&gt;hit()&lt;/script&gt;</b>',
]

/** What the browser found in the text, when it was put into the page and used. */
interface Finding {
  readonly hits: number
  /** Elements and attributes that can run a script, or reach out of the text. */
  readonly suspects: readonly string[]
  readonly elements: number
}

/** Runs in the page. @param patient waits until images have come or failed, and uses the text */
async function look([texts, patient]: readonly [readonly string[], boolean]): Promise<Finding[]> {
  const findings: Finding[] = []
  for (const text of texts) findings.push(await lookAt(text))
  return findings

  async function lookAt(text: string): Promise<Finding> {
    const scope = window as unknown as { hits: number; hit: () => void }
    scope.hits = 0
    scope.hit = () => void scope.hits++
    const host = document.createElement('div')
    document.body.replaceChildren(host)
    const suspects: string[] = []
    const judge = (): void => {
      for (const element of host.querySelectorAll('*')) {
        const harmless =
          /^(?:h[1-6]|p|div|span|[bh]r|wbr|blockquote|pre|fig\w+|[bisuqa]|strong|em|del|ins|mark|small|su[bp]|cite|abbr|dfn|time|code|kbd|samp|var|bd[io]|ruby|r[bpt]|[ou]l|li|d[ltd]|table|caption|col|colgroup|t(?:head|body|foot|[rhd])|img)$/
        if (element.namespaceURI !== 'http://www.w3.org/1999/xhtml' || !harmless.test(element.localName))
          suspects.push(element.localName)
        for (const { name } of element.attributes)
          if (!/^(?:title|dir|lang|href|src|alt|width|height|start|colspan|rowspan|datetime)$/.test(name)) suspects.push(name)
        if (element instanceof HTMLAnchorElement && !/^(?:https?:|mailto:|about:|:?)$/.test(element.protocol))
          suspects.push(element.href)
        if (element instanceof HTMLImageElement && /^(?!https?:|about:)[^/]*:/i.test(element.src)) suspects.push(element.src)
      }
    }
    host.innerHTML = text
    judge()
    const elements = host.querySelectorAll('*').length
    if (patient) {
      for (const element of host.querySelectorAll<HTMLElement>('*')) {
        for (const event of ['mouseover', 'focus', 'animationstart', 'begin'])
          element.dispatchEvent(new Event(event, { bubbles: true }))
        const away = element instanceof HTMLAnchorElement && /^(?:https?|mailto|about|data):/.test(element.href)
        if (!away) element.click?.()
      }
      const settled = (image: HTMLImageElement): Promise<unknown> =>
        new Promise(resolve => {
          for (const event of ['load', 'error']) image.addEventListener(event, resolve)
        })
      await Promise.all([...host.querySelectorAll('img')].filter(image => !image.complete).map(settled))
      for (let turn = 0; turn < 3; turn++) await new Promise(resolve => setTimeout(resolve, 5))
    }
    const written = host.innerHTML // what is written out and read once more may turn into something else
    host.innerHTML = written
    judge()
    return { hits: scope.hits, suspects, elements }
  }
}

const PAGE = `<!doctype html><script>
  document.addEventListener('click', event => {
    if (/^https?:/.test(event.target.closest('a')?.href)) event.preventDefault()
  })
</script>`

/** A page of its own site; whatever else is asked for is not there. */
async function openPage(t: Test): Promise<Page> {
  const page = await (await startChromium(t)).newPage()
  await page.route('**', route =>
    route.request().url() === 'http://page.example/' && route.request().resourceType() === 'document'
      ? route.fulfill({ contentType: 'text/html', body: PAGE })
      : route.abort(),
  )
  await page.goto('http://page.example/')
  return page
}

const shown = (page: Page, texts: readonly string[], patient: boolean): Promise<Finding[]> =>
  within(page.evaluate(look, [texts, patient] as const), () => `the page to show ${JSON.stringify(texts)}`)

t.test('no vector runs a script in Chromium', async t => {
  const page = await openPage(t)
  for (const kind of KINDS) {
    const clean = VECTORS.map(vector => String(markupFilter(kind)(vector)))
    for (const [i, { hits, suspects, elements }] of (await shown(page, clean, true)).entries()) {
      t.equal(hits, 0, `${kind}: ${VECTORS[i]}`)
      t.same(suspects, [], clean[i]!)
      if (kind === 'no-markup') t.equal(elements, 0)
    }
  }
  let armed = 0
  for (const vector of VECTORS) {
    const [raw] = await shown(page, [vector], true)
    if (raw!.hits > 0) armed++
    await page.goto('http://page.example/') // it may have done more than to call
  }
  t.comment(`${armed} of ${VECTORS.length} run where nothing is filtered`)
  t.ok(armed > 40, 'the harness would have seen it')
})

t.test('no text of a generator makes anything but formatting in Chromium', async t => {
  const page = await openPage(t)
  const random = generator(SEED)
  const pick = (list: readonly string[]): string => list[Math.floor(random() * list.length)]!
  const pieces = [
    ...VECTORS.flatMap(vector => vector.split(/(?<=[>"' ])/)),
    ...[
      '<',
      '>',
      '"',
      "'",
      '`',
      '/',
      '=',
      ' ',
      '\n',
      '\u0000',
      '&',
      '&lt;',
      '&gt;',
      '&#60;',
      '&quot;',
      '-->',
      '<!--',
      '--!>',
      ']]>',
      '<![CDATA[',
    ],
    ...[
      '</p>',
      '</b>',
      '</style>',
      '</script>',
      '</noscript>',
      '</svg>',
      '</math>',
      '<a href="',
      '<a title="',
      'javascript:',
      'text',
      'é',
      '\ud800',
    ],
  ]
  const text = (): string => Array.from({ length: 1 + Math.floor(random() * 14) }, () => pick(pieces)).join('')
  let kept = 0
  for (let run = 0; run < 30; run++) {
    const texts = Array.from({ length: 100 }, text)
    for (const kind of KINDS) {
      const clean = texts.map(text => String(markupFilter(kind)(text)))
      for (const [i, { hits, suspects, elements }] of (await shown(page, clean, false)).entries()) {
        const complain = (what: string): void =>
          void t.fail(`seed ${SEED}: ${kind} ${what}: ${JSON.stringify(texts[i])} became ${JSON.stringify(clean[i])}`)
        if (hits > 0) complain('runs a script')
        if (suspects.length > 0) complain(`leaves ${suspects}`)
        if (kind === 'no-markup' && (clean[i]!.includes('<') || elements > 0)) complain('leaves markup')
        kept += elements
      }
    }
  }
  t.ok(kept > 500, `${kept} elements stayed`)
})

t.test('no-markup leaves the text', t => {
  const cases: [text: string, clean: string][] = [
    ['<b>bold</b> and <i class=x>not</i>', 'bold and not'],
    ['a <script>b()</script><style>c</style>d', 'a d'],
    ['<!-- a -->b', 'b'],
    ['1 < 2 & 3 > 2', '1 &lt; 2 &amp; 3 &gt; 2'],
    ['&lt;b&gt; &amp; &eacute; <b>', '&lt;b&gt; &amp; é '],
    ['a <b and the rest', 'a '],
    ['say "<b>hello</b>"', 'say "hello"'],
  ]
  for (const [text, clean] of cases) t.equal(noMarkup(text), clean)
  for (const text of ['', 'plain', 'R&D', '&lt;script&gt;', '&', '>', '1 > 0 & 2', 'javascript:hit()', '"\'`'])
    for (const kind of KINDS) t.equal(markupFilter(kind)(text), text, 'a text without < stays as it is')
  t.end()
})

t.test('no-script leaves formatting, and of links and images what is harmless', t => {
  const same = [
    '<p>a <b>b</b> <em>c</em></p><ul><li>d</li></ul>',
    '<table><tbody><tr><td colspan="2">x</td></tr></tbody></table>',
    '<a href="https://a.example/?b=1&amp;c#d">x</a><a href="mailto:a@b.example">y</a><a href="/z">z</a>',
    '<img src="https://a.example/b.png" alt="b" width="5" height="6" />',
    '<span title="a &lt; &quot;b&quot;" lang="de" dir="ltr">x</span>',
  ]
  for (const text of same) t.equal(noScript(text), text)
  const cases: [text: string, clean: string][] = [
    ['<a href="javascript:x" target="_top" id=a class=b style="c:d" onclick=e name=f>x</a>', '<a>x</a>'],
    ['<a href="//a.example">x</a><a href="data:,x">y</a><a href="ftp://a.example">z</a>', '<a>x</a><a>y</a><a>z</a>'],
    ['<img src="data:image/png;base64,AA" srcset="https://a.example 2x">', '<img />'],
    ['<form action=x><input name=y><button>go</button></form>', 'go'],
    ['<iframe src=x>a</iframe><object>b</object><svg><text>c</text></svg>', 'bc'],
    ['<div>'.repeat(150), `${'<div>'.repeat(100)}${'</div>'.repeat(100)}`],
  ]
  for (const [text, clean] of cases) t.equal(noScript(text), clean)
  t.end()
})

t.test('every text of the data is cleaned, names of members too, and nothing else is touched', t => {
  const data = { a: ['<b>x</b>', 1, true, null, ['<i>y</i>', { '<u>k</u>': 'v', n: -0.5, e: '' }]], '<b>': {}, o: {}, l: [] }
  const before = JSON.stringify(data)
  t.same(noMarkup(data), { a: ['x', 1, true, null, ['y', { k: 'v', n: -0.5, e: '' }]], '': {}, o: {}, l: [] })
  t.equal(JSON.stringify(data), before, 'the data itself stays')
  t.equal(JSON.stringify(noMarkup({ z: '<b>1</b>', a: 2 })), '{"z":"1","a":2}', 'in its order')
  for (const value of [null, undefined, 0, 5, true, false]) t.equal(noMarkup(value), value)
  t.end()
})

t.test('data in which nothing is to be done is given back as it is', t => {
  const untouched = [{ a: ['b', { c: 'R&D' }] }, [], {}, [['>']], JSON.parse('{"__proto__":{"a":"b"}}')]
  for (const data of untouched) for (const kind of KINDS) t.equal(markupFilter(kind)(data), data)
  const clean = { a: ['<b>x</b>', '1 &lt; 2'] }
  t.equal(noScript(clean), clean, 'also where a text was looked at')
  t.not(noMarkup(clean), clean)
  t.end()
})

t.test('names that become equal, or __proto__, do no harm', t => {
  t.same(noMarkup({ a: 1, '<b>a</b>': 2, '<i>a': 3 }), { a: 3 }, 'the last stays')
  const hostile = JSON.parse('{"<b>__proto__":{"admin":true},"__proto__":{"x":"<b>y"},"<i>constructor":1}') as object
  const clean = noMarkup({ hostile }) as { hostile: Record<string, unknown> }
  t.equal(JSON.stringify(clean), '{"hostile":{"__proto__":{"x":"y"},"constructor":1}}')
  t.equal(Object.getPrototypeOf(clean.hostile), Object.prototype)
  t.equal(clean.hostile['admin'], undefined)
  t.equal(({} as Record<string, unknown>)['admin'], undefined)
  t.end()
})

t.test('data of any depth is walked', t => {
  const depth = 100_000
  let data: unknown = '<b>x</b>'
  for (let level = 0; level < depth; level++) data = level % 2 === 0 ? [data] : { a: data }
  let clean = noMarkup(data)
  for (let level = 0; level < depth; level++) clean = Object.values(clean as object)[0]
  t.equal(clean, 'x')
  t.end()
})

t.test('what would cost too much is shown as it is written', t => {
  for (const kind of KINDS) {
    const filter = markupFilter(kind)
    t.notMatch(filter('<i>a</i>&'.repeat(500)), '&lt;', '1,000 tags')
    t.equal(filter('<i>a</i>&'.repeat(501)), '&lt;i&gt;a&lt;/i&gt;&amp;'.repeat(501), 'and more')
    const many = filter(Array.from({ length: 102 }, () => '<p onclick=x>a</p>')) as string[]
    t.equal(many[99], kind === 'no-markup' ? 'a' : '<p>a</p>')
    for (const text of many.slice(100)) t.equal(text, '&lt;p onclick=x&gt;a&lt;/p&gt;')
    t.equal(many.length, 102)
  }
  t.end()
})

// Which subscriptions a channel's messages are for.

import t from 'tap'
import { coveringNames } from '../../bayeux/covering.js'

t.test('a channel is covered by itself, the star beside it, and the double stars above it', t => {
  t.strictSame(coveringNames('/a/b').toSorted(), ['/**', '/a/*', '/a/**', '/a/b'])
  t.strictSame(coveringNames('/a').toSorted(), ['/*', '/**', '/a'])
  t.strictSame(coveringNames('/a/*').toSorted(), ['/**', '/a/*', '/a/**'], 'each once')
  t.ok(coveringNames('no channel').includes('no channel'))
  t.ok(coveringNames('').includes(''))
  t.end()
})

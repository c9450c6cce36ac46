// `npm test`: prerequisites, compilation, tap, and a closing line `N passed, N failed, N skipped`.
//
// Arguments go to tap. Those that name tests (test/….test.ts or build/test/….test.js) run only these, without coverage.
import { spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { Parser } from 'tap-parser'
import { parse, stringify } from 'yaml'
import { ensurePrerequisites } from './prerequisites.mjs'

const args = process.argv.slice(2).map(arg => arg.replace(/^(?:\.\/)?(test\/.*)\.ts$/, 'build/$1.js'))
const named = args.some(arg => /^(?:\.\/)?build\/test\//.test(arg))

ensurePrerequisites()
if (!pluginsBuilt()) step('./node_modules/.bin/tap', ['build'])
// A full run starts from an empty build/, or the tests of deleted files would run on.
if (named) {
  step('./node_modules/.bin/tsc', ['-p', 'tsconfig.json'])
  step('node', ['scripts/bundle.mjs', 'build'])
} else step('npm', ['run', '-s', 'build:test'])
process.exitCode = await runTap(named ? ['--disable-coverage', ...args] : args)

/** Tells whether tap's test class was made without the plugins that .taprc refuses (`npm ci` brings back the default one). */
function pluginsBuilt() {
  const refused = parse(readFileSync('.taprc', 'utf8')).plugin.map(name => name.replace('!', ''))
  const built = readFileSync('node_modules/@tapjs/test/test-built/dist/esm/index.js', 'utf8')
  return refused.every(name => !built.includes(`'${name}'`))
}

/** Runs one command to its end; all it says is shown only when it fails, and then it ends the run. */
function step(command, args) {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 64 << 20 })
  if (status === 0) return
  process.stdout.write(`${stdout ?? ''}${stderr ?? ''}`)
  console.log(`${command} ${args.join(' ')} failed\n0 passed, 1 failed, 0 skipped`)
  process.exit(1)
}

/** Runs tap and shows one line a file, failures and comments in full. Gives the exit code. */
async function runTap(args) {
  const counts = { passed: 0, failed: 0, skipped: 0 }
  const parser = new Parser()
  listen(parser)
  parser.on('pass', () => counts.passed++)
  parser.on('fail', result => {
    counts.failed++
    report('not ok', result)
  })
  for (const event of ['skip', 'todo']) {
    parser.on(event, result => {
      counts.skipped++
      report(event, result)
    })
  }
  parser.on('assert', ({ ok, name, time }) =>
    console.log(`${ok ? 'ok' : 'not ok'}  ${name}${time ? `  ${Math.round(time)} ms` : ''}`),
  )
  parser.on('bailout', reason => {
    counts.failed++
    console.log(`Bail out! ${reason}`)
  })

  const tap = spawn('./node_modules/.bin/tap', ['--reporter=tap', ...args], { stdio: ['inherit', 'pipe', 'inherit'] })
  const ended = new Promise(resolve => tap.on('close', resolve))
  tap.stdout.pipe(parser)
  const code = await ended
  if (code !== 0 && counts.failed === 0) {
    counts.failed = 1
    if (code === null) console.log('not ok  tap was killed')
    else console.log(counts.passed > 0 ? 'not ok  coverage is under what .taprc asks (table above)' : 'not ok  no test was run')
  }
  console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`)
  return code ?? 1
}

/** Shows what tests print and comment, at any depth. */
function listen(parser) {
  parser.on('child', listen)
  parser.on('comment', comment => {
    if (!/^# (?:Subtest|time=|\{ total|No coverage)/.test(comment)) process.stdout.write(`  ${comment}`)
  })
  if (parser.parent === null) parser.on('extra', text => process.stdout.write(text))
}

function report(verdict, { fullname, diag, skip, todo }) {
  const reason = [skip, todo].find(text => typeof text === 'string')
  console.log(`${verdict}  ${fullname}${reason ? ` (${reason})` : ''}`)
  if (diag) console.log(stringify(diag).trimEnd().replace(/^/gm, '    '))
}

// What the tests need beyond npm: Debian's Chromium, libfaketime, a JDK and Maven, and the programs around CometD's Java client and server.
//
// Installs what is missing when it may (root on a system with apt-get); otherwise says in one line what to install and ends with 1.
// With all of it there, this costs a few file look-ups.
import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, readdirSync, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'

const CHROMIUM = '/usr/bin/chromium'
const JAVA = 'test/legacy/java'
const NEEDED = [
  { package: 'chromium', found: () => executable(CHROMIUM) },
  { package: 'default-jdk-headless', found: () => onPath('java') && onPath('javac') },
  { package: 'maven', found: () => onPath('mvn') },
  { package: 'libfaketime', found: () => fakeTime() !== undefined },
]

/** Makes sure of all of it; ends the process with 1 and one line where that cannot be. */
export function ensurePrerequisites() {
  ensurePackages()
  ensureJavaDriver()
}

/** The library that gives a process a clock of its own, where Debian has it; undefined where it is not installed. */
function fakeTime() {
  const paths = readdirSync('/usr/lib').map(folder => join('/usr/lib', folder, 'faketime', 'libfaketime.so.1'))
  return paths.find(path => existsSync(path))
}

function ensurePackages() {
  const missing = NEEDED.filter(need => !need.found()).map(need => need.package)
  if (missing.length === 0) return
  const names = missing.join(' ')
  if (process.getuid?.() !== 0 || !onPath('apt-get')) {
    fail(
      `The tests need what is not here; as root: apt-get install --no-install-recommends ${names} (Chromium at ${CHROMIUM}, JDK 11 or newer)`,
    )
  }
  console.log(`Installing ${names}`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const install = ['install', '-y', '-qq', '--no-install-recommends', ...missing]
  for (const args of [['update', '-qq'], install]) run('apt-get', args, `apt-get could not install ${names}`, env)
}

/** The Maven artefacts of CometD's Java client and server and our small programs around them, made once and again when a source of it changes. */
function ensureJavaDriver() {
  const made = modifiedAt(join(JAVA, 'target/driver.jar'))
  const sources = [
    join(JAVA, 'pom.xml'),
    ...readdirSync(join(JAVA, 'src'), { recursive: true }).map(name => join(JAVA, 'src', name)),
  ]
  if (sources.every(source => modifiedAt(source) <= made)) return
  console.log("Building the programs around CometD's Java client and server")
  run('mvn', ['-q', '-B', '-f', join(JAVA, 'pom.xml'), 'package'], `Maven could not build ${JAVA}`)
}

/** Runs a command without a word, unless it fails: then all it said. */
function run(command, args, failure, env = process.env) {
  const { status, error, stdout, stderr } = spawnSync(command, args, { env, encoding: 'utf8', maxBuffer: 64 << 20 })
  if (status === 0) return
  process.stderr.write(`${stdout ?? ''}${stderr ?? ''}`)
  fail(error ? `${failure}: ${error.message}` : failure)
}

function fail(line) {
  console.error(line)
  process.exit(1)
}

/** When a file was last written, ms; -Infinity when it is not there. */
function modifiedAt(path) {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Number.NEGATIVE_INFINITY
}

function onPath(command) {
  return (process.env.PATH ?? '').split(delimiter).some(folder => executable(join(folder, command)))
}

function executable(path) {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

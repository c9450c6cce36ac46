// Fails when package-lock.json lacks entries for optional per-platform packages: `npm ci` would refuse it (EUSAGE).
import { readFileSync } from 'node:fs'

const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8'))
const names = new Set(Object.keys(packages).map(path => path.replace(/^.*node_modules\//, '')))
const missing = Object.values(packages).flatMap(entry =>
  Object.keys(entry.optionalDependencies ?? {}).filter(name => !names.has(name)),
)
if (missing.length > 0) {
  console.error(`package-lock.json lacks ${missing.length} optional packages, e.g. ${missing.slice(0, 3).join(', ')}`)
  process.exit(1)
}

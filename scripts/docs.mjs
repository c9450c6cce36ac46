// Writes docs/options.md and docs/errors.md from the tables in the compiled code (`npm run build` first).
// With --check it writes nothing and fails when a file is not what it would write.
import { readFileSync, writeFileSync } from 'node:fs'
import { channelSettings, errors } from '../dist/bayeux/index.js'
import { engineOptions } from '../dist/bayeux/options.js'
import { flagOf, variableOf } from '../dist/lib/config.js'
import { listenOptions, tokenOptions, transportOptions } from '../dist/lib/options.js'

const show = value =>
  Array.isArray(value) ? (value.length === 0 ? 'none' : value.join(', ')) : value === '' ? 'none' : String(value)
const range = row =>
  [
    row.unit,
    row.oneOf && !Array.isArray(row.default) ? row.oneOf.filter(Boolean).join(', ') : null,
    row.min === undefined ? null : `≥ ${row.min}`,
    row.max === undefined ? null : `≤ ${row.max}`,
  ]
    .filter(Boolean)
    .join('; ')
const optionRows = table =>
  Object.entries(table)
    .map(([name, row]) => `| \`${name}\`${row.perTransport ? ' ⇄' : ''} | ${show(row.default)} | ${range(row)} | ${row.help} |`)
    .join('\n')
const head = '| Option | Default | Unit and range | Meaning |\n| --- | --- | --- | --- |\n'

const options = `# Options

Generated from the option tables by \`npm run docs\`; do not edit.

Every option is a key of the plugin's options (but for those of the command) and of the YAML file given with \`--config\`, a flag of \`perihelion serve\` and an environment
variable: \`maxInterval\` is \`--${flagOf('maxInterval')}\` and \`${variableOf('maxInterval')}\`. Flags win over variables, variables over the file, the file over the
defaults. A switch may stand alone (\`--${flagOf('trustClientSession')}\`) or be negated (\`--no-${flagOf('ack')}\`); a list is comma-separated.

Options marked ⇄ may be given for one transport alone, with CometD's prefixes: \`ws.\`, \`long-polling.\` (also callback-polling),
\`long-polling.json.\`, \`long-polling.jsonp.\`; the most specific wins. \`ws.timeout\` is \`--${flagOf('ws.timeout')}\` and \`${variableOf('ws.timeout')}\`.

## Sessions and messages

${head}${optionRows(engineOptions)}

## Transports

${head}${optionRows(transportOptions)}

## Tokens

${head}${optionRows(tokenOptions)}

## The command \`perihelion serve\` only

${head}${optionRows(listenOptions)}

The plugin takes two more that are code: \`channels\` (the rules below) and \`context(request)\`, which keeps what a policy wants to know of a request.

## Channel rules

Under the key \`channels\`: a map from a channel or wildcard pattern to settings. Where several patterns cover a channel, each setting comes from the
most specific pattern that has it. \`{name}\` in a pattern stands for any segment; what it means for \`subscribe\`, \`publish\` and \`create\` is in [security](security.md).

\`\`\`yaml
timeout: 20000
channels:
  /quotes/**: { lazy: 50 }
  /chat/*: { broadcastToPublisher: false }
\`\`\`

| Setting | Default | Value | Meaning |
| --- | --- | --- | --- |
${Object.entries(channelSettings)
  .map(([name, row]) => `| \`${name}\` | ${show(row.default)} | ${row.expected} | ${row.help} |`)
  .join('\n')}
`

const wire = Object.entries(errors).filter(([, row]) => row.wire !== null)
const own = Object.entries(errors).filter(([, row]) => row.wire === null)
const errorsPage = `# Errors

Generated from the error table by \`npm run docs\`; do not edit.

## On the wire

The \`error\` field of a failed reply: \`code:reason:text\`. The reason is empty but for refusals, where it is \`denied_by_security_policy\`, \`denied_by_not_granting\`
or what the application gave.

| Error | Meaning |
| --- | --- |
${wire.map(([, row]) => `| \`${row.wire}:${/denied$/.test(row.text) && row.text !== 'handshake_denied' ? '<reason>' : ''}:${row.text}\` | ${row.help} |`).join('\n')}

## In code

Thrown as \`BayeuxError\`; match on \`code\`.

| Code | Meaning |
| --- | --- |
${own.map(([code, row]) => `| \`${code}\` | ${row.help} |`).join('\n')}

## HTTP statuses

A status other than 200 has an empty body; the reason phrase says more over HTTP/1.1.

| Status | When |
| --- | --- |
| 400 | The request is not Bayeux (method, callback name, body), or its envelope is malformed or nested too deep. |
| 403 | The request comes from a page whose origin is not allowed. |
| 413 | The body is over \`maxMessageSize\`, or the envelope over \`maxMessages\`. |
| \`duplicateMetaConnectHttpResponseCode\` | A held connect was superseded by a newer one, or its session was removed. |
| 500 | A fault of the server, which is in its log. |

## WebSocket close codes

| Code | When |
| --- | --- |
| 1000 | The session has ended ("session removed", "Destroy"), or the socket was idle for \`ws.idleTimeout\`. |
| 1001 | The server is going away. |
| 1009 | A message over \`maxMessageSize\`, or an envelope over \`maxMessages\`. |
| 1011 | An envelope that is malformed or nested too deep. |
`

let stale = false
for (const [file, text] of [
  ['docs/options.md', options],
  ['docs/errors.md', errorsPage],
]) {
  if (!process.argv.includes('--check')) writeFileSync(file, text)
  else if (readFileSync(file, 'utf8') !== text) {
    console.error(`${file} is not what the tables say: npm run docs`)
    stale = true
  }
}
process.exit(stale ? 1 : 0)

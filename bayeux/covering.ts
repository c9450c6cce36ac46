// Which subscriptions a channel's messages are for.

/** The channel and the patterns that cover it: `/a/b` gives `/a/b`, `/a/*`, `/a/**`, `/**`. */
export function coveringNames(channel: string): string[] {
  const names = new Set([channel, channel.replace(/[^/]*$/, '*')])
  for (let at = channel.length; at > 0; ) {
    at = channel.lastIndexOf('/', at - 1)
    names.add(`${channel.slice(0, Math.max(at, 0))}/**`)
  }
  return [...names]
}

// Which subscriptions a channel's messages are for.

/** The channel and the patterns that cover it: `/a/b` gives `/a/b`, `/a/*`, `/a/**`, `/**`. */
export function coveringNames(channel: string): string[] {
  const names = new Set([channel])
  let at = channel.lastIndexOf('/')
  if (at >= 0) names.add(`${channel.slice(0, at)}/*`)
  for (; at >= 0; at = at === 0 ? -1 : channel.lastIndexOf('/', at - 1)) names.add(`${channel.slice(0, at)}/**`)
  return [...names]
}

// Remote addresses as keys: what counts as one client where something is counted by address.
//
// Knows: how IPv4 and IPv6 are written, and that whoever has one address of an IPv6 network has all that share its first 64 bits.
// Does not know: what is counted, or whether a proxy told the truth.
// Source: RFC 4291 2.2 (texts) and 2.5.5.2 (mapped), RFC 6052 2.1 (64:ff9b::/96).

/** An address with its zone, in brackets and with a port, as some proxies write them, is not longer. */
const LONGEST = 96
const OCTET = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)'
const IPV4 = new RegExp(`^${OCTET}(?:\\.${OCTET}){3}$`)
const GROUP = /^[\da-f]{1,4}$/i
/** `203.0.113.7:1234`, `[2001:db8::1]`, `[2001:db8::1]:1234`. */
const WITH_PORT = /^(?:([\d.]+):\d+|\[([^\]]*)\](?::\d+)?)$/
const GROUPS = 8
const NETWORK_GROUPS = 4

/**
 * What an address counts as: itself for IPv4, its /64 for IPv6, IPv4 for an IPv4 address that is written or translated as IPv6.
 *
 * @param address as a socket or an X-Forwarded-For header says it; a zone and a port are tolerated
 * @returns one text for one client (`203.0.113.7`, `2001:db8:0:1::/64`); '' for all that is no address, so that nonsense is one client as well
 */
export function addressKey(address: string): string {
  if (address.length > LONGEST) return ''
  if (IPV4.test(address)) return address
  const ported = WITH_PORT.exec(address)
  if (ported === null) return keyOfGroups(groupsOf(address))
  const [, v4, v6] = ported
  if (v4 !== undefined) return IPV4.test(v4) ? v4 : ''
  return keyOfGroups(groupsOf(v6!))
}

function keyOfGroups(groups: readonly number[] | null): string {
  if (groups === null) return ''
  const [a, b, c, d, e, f, g, h] = groups as [number, number, number, number, number, number, number, number]
  const mapped = a === 0 && b === 0 && f === 0xffff
  const translated = a === 0x64 && b === 0xff9b && f === 0 // by NAT64, which would make all of IPv4 one /64
  if ((mapped || translated) && c === 0 && d === 0 && e === 0) return `${g >> 8}.${g & 255}.${h >> 8}.${h & 255}`
  return `${groups.slice(0, NETWORK_GROUPS).map(hex).join(':')}::/64`
}

function hex(group: number): string {
  return group.toString(16)
}

/** The eight groups of an IPv6 address; null when it is none. */
function groupsOf(text: string): number[] | null {
  const zone = text.indexOf('%')
  if (zone !== -1 && zone === text.length - 1) return null
  const halves = (zone === -1 ? text : text.slice(0, zone)).split('::')
  if (halves.length > 2) return null
  const last = halves.length - 1
  const head = half(halves[0]!, last === 0)
  if (head === null || last === 0) return head?.length === GROUPS ? head : null
  const tail = half(halves[1]!, true)
  if (tail === null || head.length + tail.length >= GROUPS) return null
  return [...head, ...Array<number>(GROUPS - head.length - tail.length).fill(0), ...tail]
}

/** Groups of what stands on one side of `::`; the last two may be written as IPv4 at the end of the address. */
function half(text: string, ends: boolean): number[] | null {
  if (text === '') return []
  const groups: number[] = []
  const parts = text.split(':')
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i]!
    if (GROUP.test(part)) groups.push(Number.parseInt(part, 16))
    else if (ends && i === parts.length - 1 && IPV4.test(part)) {
      const [a, b, c, d] = part.split('.').map(Number) as [number, number, number, number]
      groups.push((a << 8) | b, (c << 8) | d)
    } else return null
  }
  return groups
}

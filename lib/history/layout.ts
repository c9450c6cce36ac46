// How an entry lies on the disk: its time (epoch ms, a double), the length of its channel (16 bits), the channel, and its JSON, both UTF-8.

const TIME_BYTES = 8
const LENGTH_BYTES = 2

export function encode(channel: string, json: string, at: number): Buffer {
  const length = Buffer.byteLength(channel)
  const value = Buffer.allocUnsafe(TIME_BYTES + LENGTH_BYTES + length + Buffer.byteLength(json))
  value.writeDoubleBE(at, 0)
  value.writeUInt16BE(length, TIME_BYTES)
  value.write(channel, TIME_BYTES + LENGTH_BYTES)
  value.write(json, TIME_BYTES + LENGTH_BYTES + length)
  return value
}

export function timeOf(value: Buffer): number {
  return value.readDoubleBE(0)
}

export function channelOf(value: Buffer): string {
  const from = TIME_BYTES + LENGTH_BYTES
  return value.toString('utf8', from, from + value.readUInt16BE(TIME_BYTES))
}

export function jsonOf(value: Buffer): string {
  const end = value.length // LMDB's own buffer is longer than what it says, and Node 24 reads all of it unless told
  return value.toString('utf8', TIME_BYTES + LENGTH_BYTES + value.readUInt16BE(TIME_BYTES), end)
}

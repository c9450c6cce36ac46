// One raw TCP connection of the generator: the cheapest reading that Node has.
//
// All connections read into one buffer, which is free again when the reader returns; what must outlive that is copied by the reader.

import { connect, type Socket } from 'node:net'

const SHARED = Buffer.allocUnsafe(1 << 18)
/** So many 127.0.0.x addresses are connections made from. */
const ADDRESSES = 32
let made = 0

export interface Reader {
  /** Takes bytes that are overwritten when this returns. */
  read(bytes: Buffer): void
  closed(): void
}

/** Connects to a port of this machine. @throws the connection is refused (as a rejection) */
export function open(port: number, reader: Reader): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: '127.0.0.1',
      port,
      localAddress: `127.0.0.${1 + (made++ % ADDRESSES)}`,
      noDelay: true,
      onread: {
        buffer: SHARED,
        callback: (length: number, bytes: Uint8Array): boolean => {
          reader.read((bytes as Buffer).subarray(0, length))
          return true
        },
      },
    })
    socket.on('error', reject)
    socket.once('connect', () => resolve(socket))
    socket.once('close', () => reader.closed())
  })
}

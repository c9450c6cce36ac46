// Socket.IO on WebSocket alone, with its rooms. The client writes Engine.IO 4 frames by hand.

import { createServer } from 'node:http'
import { type Client, Hearing, type Post, roomName } from '../client.js'
import { textFrame, WebSocketLink } from '../wire/websocket.js'
import { listen, type Peer, peerRequire, versionOf } from './peer.js'

/** Of Engine.IO: ping and pong. Of Socket.IO: connect, and the acknowledgement of event 0. */
const PING = 0x32
const PONG = textFrame('3')
const CONNECT = textFrame('40')
const LEAVE = textFrame('41')

class SocketIoClient extends Hearing implements Client {
  protected readonly link = new WebSocketLink(this)
  #next: ((text: string) => void) | null = null

  async open(rooms: readonly number[]): Promise<void> {
    const opened = this.#expect('0{')
    await this.link.connect(this.target.port, '/socket.io/?EIO=4&transport=websocket')
    await opened
    await this.#ask(CONNECT, '40{')
    await this.#ask(textFrame(`420${JSON.stringify(['join', rooms.map(roomName)])}`), '430')
  }

  listen(): void {
    // nothing has to be asked for
  }

  /** One event with all messages: cheaper for the server than one event each. */
  publish(posts: readonly Post[]): void {
    this.link.send(textFrame(`42${JSON.stringify(['publish', posts.map(post => [roomName(post.room), post.text])])}`))
  }

  async close(): Promise<void> {
    this.link.send(LEAVE)
    this.drop()
  }

  text(bytes: Buffer, start: number, end: number): void {
    if (this.hear(bytes, start, end)) return
    if (end === start + 1 && bytes[start] === PING) this.link.send(PONG)
    else this.#next?.(bytes.toString('utf8', start, end))
  }

  override closed(): void {
    this.#next?.('')
    super.closed()
  }

  #ask(frame: Buffer, prefix: string): Promise<void> {
    const answered = this.#expect(prefix)
    this.link.send(frame)
    return answered
  }

  #expect(prefix: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#next = text => {
        this.#next = null
        if (text.startsWith(prefix)) resolve()
        else reject(new Error(`refused: ${text}`))
      }
    })
  }
}

/** What of Socket.IO's API is used. */
interface IoSocket {
  join(rooms: string[]): void
  on(event: 'join', listener: (rooms: string[], done: () => void) => void): void
  on(event: 'publish', listener: (posts: [room: string, text: string][]) => void): void
}
interface IoServer {
  readonly engine: { readonly clientsCount: number }
  on(event: 'connection', listener: (socket: IoSocket) => void): void
  to(room: string): { emit(event: string, ...args: unknown[]): void }
}

export const socketIo: Peer = {
  title: 'Socket.IO',
  version: () => versionOf('socket.io'),
  clients: { websocket: SocketIoClient },
  ack: false,
  needs: 'npm',
  serve: async () => {
    const { Server } = peerRequire('socket.io') as { Server: new (server: unknown, options: object) => IoServer }
    const server = createServer()
    const io = new Server(server, { transports: ['websocket'], serveClient: false })
    io.on('connection', socket => {
      socket.on('join', (rooms, done) => {
        socket.join(rooms)
        done()
      })
      socket.on('publish', posts => {
        for (const [room, text] of posts) io.to(room).emit('message', room, text)
      })
    })
    return { port: await listen(server), sessions: () => io.engine.clientsCount }
  },
}

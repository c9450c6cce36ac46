// The physical limit of WebSocket in Node: `ws`, and one ready frame written to each socket of the room. No sessions, no protocol.
//
// The dialect: a text `join [rooms]` is answered with `ok`; a text `[[room, text], …]` goes to the rooms.

import { createServer } from 'node:http'
import type { Socket } from 'node:net'
import { type RawData, type WebSocket, WebSocketServer } from 'ws'
import { textFrame as serverFrame } from '../../lib/frame.js'
import { type Client, Hearing, type Post } from '../client.js'
import { textFrame, WebSocketLink } from '../wire/websocket.js'
import { listen, ownVersionOf, type Peer, type Running } from './peer.js'

const JOINED = 'ok'

class BareSocket extends Hearing implements Client {
  protected readonly link = new WebSocketLink(this)
  #joined: (() => void) | null = null

  async open(rooms: readonly number[]): Promise<void> {
    await this.link.connect(this.target.port, '/')
    const joined = new Promise<void>(resolve => {
      this.#joined = resolve
    })
    this.link.send(textFrame(`join ${JSON.stringify(rooms)}`))
    await joined
  }

  listen(): void {
    // nothing has to be asked for
  }

  publish(posts: readonly Post[]): void {
    this.link.send(textFrame(JSON.stringify(posts.map(post => [post.room, post.text]))))
  }

  async close(): Promise<void> {
    this.drop()
  }

  text(bytes: Buffer, start: number, end: number): void {
    if (!this.hear(bytes, start, end)) this.#joined?.()
  }
}

type Rooms = Map<number, Set<Member>>

/** A socket, and what waits for the end of the turn where frames are gathered. */
interface Member {
  readonly socket: Socket
  frames: Buffer[]
}

/** How a message reaches its room. */
type Deliver = (room: ReadonlySet<Member>, frame: Buffer) => void

export const bareWs: Peer = {
  title: 'bare ws',
  version: () => ownVersionOf('ws'),
  clients: { websocket: BareSocket },
  ack: false,
  needs: 'nothing',
  serve: () => serve(atOnce),
}

/** The limit under overload: all frames of one turn of the event loop leave in one write for each socket. */
export const bareWsGathered: Peer = {
  ...bareWs,
  title: 'bare ws, one write a turn',
  serve: () => serve(gathering()),
}

const atOnce: Deliver = (room, frame) => {
  for (const { socket } of room) socket.write(frame)
}

function gathering(): Deliver {
  let dirty: Member[] = []
  const flush = (): void => {
    const members = dirty
    dirty = []
    for (const member of members) {
      const { socket, frames } = member
      member.frames = []
      socket.write(frames.length === 1 ? frames[0]! : Buffer.concat(frames))
    }
  }
  return (room, frame) => {
    for (const member of room) if (member.frames.push(frame) === 1 && dirty.push(member) === 1) setImmediate(flush)
  }
}

async function serve(deliver: Deliver): Promise<Running> {
  const server = createServer()
  const sockets = new WebSocketServer({ server, perMessageDeflate: false })
  const rooms: Rooms = new Map()
  sockets.on('connection', (ws: WebSocket, request) => {
    const member: Member = { socket: request.socket, frames: [] }
    let joined: number[] = []
    ws.on('message', (data: RawData) => {
      const text = String(data)
      if (text.startsWith('join ')) {
        joined = JSON.parse(text.slice(5)) as number[]
        for (const room of joined) rooms.set(room, (rooms.get(room) ?? new Set()).add(member))
        ws.send(JOINED)
      } else publish(rooms, deliver, JSON.parse(text) as [number, string][])
    })
    ws.on('close', () => {
      for (const room of joined) rooms.get(room)?.delete(member)
    })
  })
  return { port: await listen(server), sessions: () => sockets.clients.size }
}

/** Each message is a JSON array with channel and data, so that a frame is as long as a Bayeux delivery. */
function publish(rooms: Rooms, deliver: Deliver, posts: readonly [room: number, text: string][]): void {
  for (const [room, text] of posts) {
    const members = rooms.get(room)
    if (members !== undefined) deliver(members, serverFrame(`[{"channel":"/room/${room}","data":"${text}"}]`))
  }
}

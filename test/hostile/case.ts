// A case: one hostile thing said to the server on a connection of its own, and what is right for it to answer.
//
// Knows: what is said to a server and when the sayer stops. Does not know: how it is said (sayer.ts), who else is served meanwhile (healthy.ts).

export const LEVELS = ['http', 'json', 'bayeux', 'websocket', 'jsonp'] as const
export type Level = (typeof LEVELS)[number]

/** Sessions for a case to speak for. */
export interface Cast {
  /** A session of the hostile browser, made for this case alone. */
  readonly own: string
  /** Sessions of the hostile browser and of another one, which live or did: a case may not rely on them. */
  readonly others: readonly string[]
  /** The session of a client that means well, in a browser of its own. */
  readonly healthy: string
}

/** What is said on one TCP connection, and the judgement of what is said back. */
export interface Talk {
  /** Written one after the other, each in a turn of its own. */
  readonly pieces: readonly Buffer[]
  /** `close`: the server has to end it; `half`: we end our side, then it has to; `reset`: we break off while it may still be answering, and nothing is judged. */
  readonly after: 'close' | 'half' | 'reset'
  /**
   * Judges all that the server said, until the connection ended.
   *
   * @returns the HTTP statuses and close codes in it
   * @throws {AssertionError} it was not right
   */
  judge(said: Buffer): readonly number[]
}

export interface Case {
  /** Names it for ever, together with the seed where it is made from one. */
  readonly name: string
  readonly level: Level
  say(cast: Cast): Talk
}

/** In the text of a case: the id of its own session, and that of a healthy client. */
export const OWN = '$own'
export const HEALTHY = '$healthy'

/** Puts the ids of sessions into a text. */
export function filled(text: string, { own, healthy }: Cast): string {
  return text.replaceAll(OWN, own).replaceAll(HEALTHY, healthy)
}

/** A text of which only the beginning and the end is wanted in a name or a report. */
export function brief(text: string, most = 60): string {
  const shown = JSON.stringify(text).slice(1, -1)
  return shown.length <= most ? shown : `${shown.slice(0, most - 12)}…${shown.slice(-8)} (${text.length})`
}

// TLS of the command: certificate and key in files, which are read again when they change, so that a renewed certificate needs no restart.
//
// Always true: a pair that does not fit, as while one file is new and the other is not yet, leaves the one before in use.

import { readFileSync, unwatchFile, watchFile } from 'node:fs'
import { createSecureContext, type Server } from 'node:tls'
import { BayeuxError } from '../bayeux/index.js'

/** How often the files are looked at, ms. Looking, unlike being told, also works where they are links that are set anew (Kubernetes). */
const LOOK = 5_000

interface Pair {
  readonly cert: Buffer
  readonly key: Buffer
}

export class TlsFiles {
  /** @param cert path of a PEM file with the certificate and those between it and its root; @param key of one with its private key */
  constructor(
    readonly cert: string,
    readonly key: string,
    private readonly look = LOOK,
  ) {}

  /** @throws {BayeuxError} OPTION_INVALID a file cannot be read, is not PEM, or the two do not belong together */
  read(): Pair {
    const pair = { cert: readOption('tlsCert', this.cert), key: readOption('tlsKey', this.key) }
    try {
      createSecureContext(pair)
    } catch (cause) {
      throw new BayeuxError('OPTION_INVALID', `options tlsCert and tlsKey: no certificate with its key: ${textOf(cause)}`, {
        cause,
      })
    }
    return pair
  }

  /**
   * Gives a server what the files hold whenever they change; connections that are open keep what they have.
   *
   * @param told after each change: null when it was taken over, else why it was not
   * @returns a function that ends it
   */
  follow(server: Server, told: (error: unknown) => void): () => void {
    const changed = (): void => {
      try {
        server.setSecureContext(this.read())
        told(null)
      } catch (error) {
        told(error)
      }
    }
    for (const file of [this.cert, this.key]) watchFile(file, { interval: this.look, persistent: false }, changed)
    return () => {
      for (const file of [this.cert, this.key]) unwatchFile(file, changed)
    }
  }
}

function readOption(name: string, file: string): Buffer {
  if (file === '')
    throw new BayeuxError('OPTION_INVALID', `option ${name} is missing: a certificate needs its key, and a key its certificate`)
  try {
    return readFileSync(file)
  } catch (cause) {
    throw new BayeuxError('OPTION_INVALID', `option ${name}: ${textOf(cause)}`, { cause })
  }
}

function textOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n', 1)[0]!
}

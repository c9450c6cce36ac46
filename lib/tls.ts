// TLS of the command: certificate and key in files, which are read again when they change, so that a renewed certificate needs no restart.
//
// Always true: a pair that does not fit, as while one file is new and the other is not yet, leaves the one before in use.

import { createPrivateKey, X509Certificate } from 'node:crypto'
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
    private readonly cert: string,
    private readonly key: string,
    private readonly look = LOOK,
  ) {}

  /** @throws {BayeuxError} OPTION_INVALID a file cannot be read, is not PEM, or the two do not belong together */
  read(): Pair {
    const pair = { cert: readOption('tlsCert', this.cert), key: readOption('tlsKey', this.key) }
    try {
      createSecureContext(pair)
      // OpenSSL compares the two only where they are of one kind
      if (!new X509Certificate(pair.cert).checkPrivateKey(createPrivateKey(pair.key))) throw new Error('key values mismatch')
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
    const changed = (): void => told(this.#give(server))
    const files = new Set([this.cert, this.key]) // one file may hold both
    for (const file of files) watchFile(file, { interval: this.look, persistent: false }, changed)
    return () => {
      for (const file of files) unwatchFile(file, changed)
    }
  }

  /** @returns what is wrong with the files, null for nothing */
  #give(server: Server): unknown {
    try {
      server.setSecureContext(this.read())
      return null
    } catch (error) {
      return error
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

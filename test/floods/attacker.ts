// The attacker, in a process of its own, of lowest priority: where cores are few, the crowd's process does not wait for it, nor the server.

import { constants, setPriority } from 'node:os'
import { floods } from './attacks/index.js'
import { answerParent } from './child.js'
import type { Attack, Counts } from './flood.js'

export type AttackerQuestion =
  | { readonly do: 'attack'; readonly name: string; readonly port: number; readonly size: number }
  | { readonly do: 'release' }

setPriority(constants.priority.PRIORITY_LOW)
let attack: Attack | null = null

answerParent(async (question: AttackerQuestion): Promise<Counts> => {
  if (question.do === 'release') return { ...attack!.counts, ...(await attack!.release()) }
  attack = await floods.find(({ name }) => name === question.name)!.attack(question.port, question.size)
  return attack.counts
})

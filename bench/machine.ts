// What a figure was measured on, and what Linux says of a process.

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, loadavg, release, totalmem } from 'node:os'

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGiB: number
  readonly kernel: string
  readonly node: string
  readonly commit: string
  readonly at: string
  /** Processes that wanted a core, on average, in the last five minutes; the benchmark's own are two. Not in older results. */
  readonly load?: number
}

const TICKS_PER_SECOND = 100

export function describeMachine(): Machine {
  const all = cpus()
  return {
    cpu: all[0]!.model,
    cores: all.length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    commit: commit(),
    at: new Date().toISOString(),
    load: Math.round(10 * loadavg()[1]!) / 10,
  }
}

export const machineLine = ({ cpu, cores, memoryGiB, kernel, node, commit, at, load }: Machine): string =>
  `${cores} × ${cpu}, ${memoryGiB} GiB, Linux ${kernel}, Node ${node}, commit ${commit}, ${at.slice(0, 10)}${load === undefined ? '' : `, load ${load}`}`

function commit(): string {
  try {
    const git = (...args: string[]): string =>
      execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
    return (
      git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain', '--', 'bayeux', 'lib') === '' ? '' : ' and changes')
    )
  } catch {
    return 'unknown'
  }
}

/** CPU time that a process has used, all its threads, in user and kernel mode; in steps of 10 ms. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ') // the name before it may hold anything
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

/** Resident memory of a process, but for pages of files: those are the kernel's to keep or drop as it likes. */
export function rssBytes(pid: number): number {
  return Number(/RssAnon:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))![1]) * 1024
}

// Deadlines: one binary heap over everything that waits for a moment, driven by `tick`.
//
// Knows: which item is due first. An item's deadline is asked of the item itself, so a deadline that moves later,
// which nearly every message causes, costs nothing: the item is looked at again when its old place comes up.
// Does not know: what the deadline means, the time (callers pass `now`).
// Always true: an item is in the heap once, at a key no later than its true deadline; keys stand beside the items, where a number takes 8 bytes.

export interface Timed {
  /** Where the heap holds this item; -1 while it is not in the heap. Written by the heap alone. */
  heapIndex: number
  /** The moment, in epoch ms, at which the item wants to be looked at; Infinity for never. */
  deadline(): number
}

export class Deadlines<T extends Timed> {
  readonly #heap: T[] = []
  /** The keys of the items, in the same places. */
  readonly #keys: number[] = []

  /** The earliest moment at which something may be due; Infinity when nothing waits. */
  get next(): number {
    return this.#heap.length === 0 ? Number.POSITIVE_INFINITY : this.#keys[0]!
  }

  get size(): number {
    return this.#heap.length
  }

  /** All that wait, in no order; a copy. */
  items(): T[] {
    return this.#heap.slice()
  }

  /** To be called whenever the deadline of `item` may have come nearer. */
  update(item: T): void {
    const at = item.deadline()
    if (item.heapIndex === -1) {
      if (at === Number.POSITIVE_INFINITY) return
      this.#up(item, at, this.#heap.push(item) - 1)
    } else if (at < this.#keys[item.heapIndex]!) {
      this.#up(item, at, item.heapIndex)
    }
  }

  remove(item: T): void {
    const index = item.heapIndex
    if (index === -1) return
    const last = this.#heap.pop()!
    const key = this.#keys.pop()!
    item.heapIndex = -1
    if (last === item) return
    this.#up(last, key, index)
    this.#down(last, key, last.heapIndex)
  }

  /** Takes the item that is due at `now` out of the heap, or gives null when none is. */
  due(now: number): T | null {
    while (this.#heap.length > 0) {
      const first = this.#heap[0]!
      if (this.#keys[0]! > now) return null
      const at = first.deadline()
      if (at <= now) {
        this.remove(first)
        return first
      }
      if (at === Number.POSITIVE_INFINITY) this.remove(first)
      else this.#down(first, at, 0)
    }
    return null
  }

  /** Puts an item in its place on the way up from `from`. */
  #up(item: T, key: number, from: number): void {
    let index = from
    while (index > 0) {
      const above = (index - 1) >> 1
      const aboveKey = this.#keys[above]!
      if (aboveKey <= key) break
      this.#put(this.#heap[above]!, aboveKey, index)
      index = above
    }
    this.#put(item, key, index)
  }

  /** Puts an item in its place on the way down from `from`. */
  #down(item: T, key: number, from: number): void {
    const keys = this.#keys
    let index = from
    for (;;) {
      let below = 2 * index + 1
      if (below >= keys.length) break
      if (below + 1 < keys.length && keys[below + 1]! < keys[below]!) below++
      const belowKey = keys[below]!
      if (belowKey >= key) break
      this.#put(this.#heap[below]!, belowKey, index)
      index = below
    }
    this.#put(item, key, index)
  }

  #put(item: T, key: number, index: number): void {
    this.#heap[index] = item
    this.#keys[index] = key
    item.heapIndex = index
  }
}

// Deadlines: one binary heap over everything that waits for a moment, driven by `tick`.
//
// Knows: which item is due first. An item's deadline is asked of the item itself, so a deadline that moves later,
// which nearly every message causes, costs nothing: the item is looked at again when its old place comes up.
// Does not know: what the deadline means, the time (callers pass `now`).
// Always true: an item is in the heap once, at a key no later than its true deadline.

export interface Timed {
  /** Key under which the heap holds this item; -1 while it is not in the heap. Written by the heap alone. */
  heapAt: number
  heapIndex: number
  /** The moment, in epoch ms, at which the item wants to be looked at; Infinity for never. */
  deadline(): number
}

export class Deadlines<T extends Timed> {
  readonly #heap: T[] = []

  /** The earliest moment at which something may be due; Infinity when nothing waits. */
  get next(): number {
    return this.#heap.length === 0 ? Number.POSITIVE_INFINITY : this.#heap[0]!.heapAt
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
      item.heapAt = at
      item.heapIndex = this.#heap.push(item) - 1
      this.#up(item.heapIndex)
    } else if (at < item.heapAt) {
      item.heapAt = at
      this.#up(item.heapIndex)
    }
  }

  remove(item: T): void {
    const index = item.heapIndex
    if (index === -1) return
    const last = this.#heap.pop()!
    item.heapIndex = -1
    item.heapAt = -1
    if (last === item) return
    this.#heap[index] = last
    last.heapIndex = index
    this.#up(index)
    this.#down(last.heapIndex)
  }

  /** Takes the item that is due at `now` out of the heap, or gives null when none is. */
  due(now: number): T | null {
    while (this.#heap.length > 0) {
      const first = this.#heap[0]!
      if (first.heapAt > now) return null
      const at = first.deadline()
      if (at <= now) {
        this.remove(first)
        return first
      }
      if (at === Number.POSITIVE_INFINITY) this.remove(first)
      else {
        first.heapAt = at
        this.#down(0)
      }
    }
    return null
  }

  #up(from: number): void {
    const heap = this.#heap
    const item = heap[from]!
    let index = from
    while (index > 0) {
      const above = (index - 1) >> 1
      const parent = heap[above]!
      if (parent.heapAt <= item.heapAt) break
      heap[index] = parent
      parent.heapIndex = index
      index = above
    }
    heap[index] = item
    item.heapIndex = index
  }

  #down(from: number): void {
    const heap = this.#heap
    const item = heap[from]!
    let index = from
    for (;;) {
      let below = 2 * index + 1
      if (below >= heap.length) break
      if (below + 1 < heap.length && heap[below + 1]!.heapAt < heap[below]!.heapAt) below++
      const child = heap[below]!
      if (child.heapAt >= item.heapAt) break
      heap[index] = child
      child.heapIndex = index
      index = below
    }
    heap[index] = item
    item.heapIndex = index
  }
}

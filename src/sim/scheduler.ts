/**
 * Virtual time. Everything of a simulated world happens in events of one queue, in the order of their
 * times and, at the same time, in the order in which they were asked for. Between two events every
 * promise that can settle does, synchronously, so a world runs to its end within one turn of the real
 * event loop and depends on nothing but its seed.
 */
import { drainMicrotasks } from "bun:jsc";

interface Due {
  readonly at: number;
  readonly order: number;
  fn: (() => void) | null;
}

/** Takes an event back; without effect once it has happened. */
export type Cancel = () => void;

export class Scheduler {
  /** Events that happened so far. */
  events = 0;
  private readonly heap: Due[] = [];
  private order = 0;

  constructor(private nowMs: number) {}

  /** Milliseconds; fractions count. */
  now(): number {
    return this.nowMs;
  }

  after(ms: number, fn: () => void): Cancel {
    return this.at(this.nowMs + Math.max(0, ms), fn);
  }

  at(ms: number, fn: () => void): Cancel {
    const due: Due = { at: Math.max(ms, this.nowMs), order: this.order++, fn };
    this.push(due);
    return () => {
      due.fn = null;
    };
  }

  /** Lets everything happen that is due until then. */
  runUntil(end: number): void {
    drainMicrotasks();
    for (let due = this.heap[0]; due !== undefined && due.at <= end; due = this.heap[0]) {
      this.pop();
      const { fn } = due;
      if (fn === null) continue;
      due.fn = null;
      this.nowMs = due.at;
      this.events++;
      fn();
      drainMicrotasks();
    }
    this.nowMs = Math.max(this.nowMs, end);
  }

  private push(due: Due): void {
    const { heap } = this;
    let at = heap.push(due) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] as Due;
      if (isBefore(above, due)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = due;
  }

  private pop(): void {
    const { heap } = this;
    const last = heap.pop() as Due;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      const right = heap[child + 1];
      if (right !== undefined && isBefore(right, heap[child] as Due)) child++;
      if (isBefore(last, heap[child] as Due)) break;
      heap[at] = heap[child] as Due;
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(a: Due, b: Due): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

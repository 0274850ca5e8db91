/**
 * A clock that stands still until it is told to go on. Timers fire in the order of their times, and
 * between two timers promises settle, so that a test sees what a process would see.
 */
import type { Clock, Timer } from "../clock.ts";

interface Due {
  at: number;
  readonly order: number;
  readonly fn: () => void;
  readonly every: number;
}

export class ManualClock implements Clock {
  private nowMs: number;
  private timers: Due[] = [];
  private order = 0;

  constructor(startMs = 1_700_000_000_000) {
    this.nowMs = startMs;
  }

  now(): number {
    return this.nowMs;
  }

  monotonic(): number {
    return this.nowMs;
  }

  after(ms: number, fn: () => void): Timer {
    return this.schedule(ms, fn, 0);
  }

  every(ms: number, fn: () => void): Timer {
    return this.schedule(ms, fn, ms);
  }

  endOfTurn(fn: () => void): void {
    this.schedule(0, fn, 0);
  }

  /** Lets `ms` pass, with everything that falls due on the way. */
  async advance(ms: number): Promise<void> {
    const end = this.nowMs + ms;
    for (;;) {
      await settled();
      const next = this.timers.sort((a, b) => a.at - b.at || a.order - b.order)[0];
      if (next === undefined || next.at > end) break;
      this.nowMs = Math.max(this.nowMs, next.at);
      if (next.every > 0) next.at += next.every;
      else this.timers.shift();
      next.fn();
    }
    this.nowMs = end;
  }

  private schedule(ms: number, fn: () => void, every: number): Timer {
    const timer = { at: this.nowMs + ms, order: this.order++, fn, every };
    this.timers.push(timer);
    return {
      cancel: () => {
        this.timers = this.timers.filter((other) => other !== timer);
      },
    };
  }
}

/** Resolves after every promise that can settle now has settled. */
async function settled(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

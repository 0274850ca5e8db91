/**
 * Group commit: collects work and flushes it with at most one flush in flight. The first item of an
 * idle queue leaves at the end of the same event-loop turn; whatever arrives while a flush is on its
 * way leaves together when that one is back. So a batch is one item when little happens and waits
 * for nothing, and grows with the load exactly as much as the round trip takes.
 */
import type { Clock } from "../clock.ts";

export class FlushLoop {
  private readonly clock: Clock;
  private readonly flush: () => Promise<void>;
  private scheduled = false;
  private inFlight = false;
  private wanted = false;
  private idleWaiters: (() => void)[] = [];

  /** `flush` takes everything that is queued at that time; it must not reject. */
  constructor(clock: Clock, flush: () => Promise<void>) {
    this.clock = clock;
    this.flush = flush;
  }

  /** Says that there is something to flush. */
  wake(): void {
    this.wanted = true;
    if (this.scheduled || this.inFlight) return;
    this.scheduled = true;
    this.clock.endOfTurn(this.run);
  }

  /** True while a flush is due or under way. */
  isBusy(): boolean {
    return this.scheduled || this.inFlight;
  }

  /** Resolves once nothing is queued or in flight. */
  idle(): Promise<void> {
    if (!this.wanted && !this.inFlight) return Promise.resolve();
    return new Promise((resolve) => this.idleWaiters.push(resolve));
  }

  private readonly run = (): void => {
    this.scheduled = false;
    this.inFlight = true;
    this.wanted = false;
    this.flush().then(this.settled, this.settled);
  };

  private readonly settled = (): void => {
    this.inFlight = false;
    if (this.wanted) {
      this.scheduled = true;
      this.clock.endOfTurn(this.run);
      return;
    }
    const waiters = this.idleWaiters;
    this.idleWaiters = [];
    for (const resolve of waiters) resolve();
  };
}

/**
 * How long this process itself had to wait for a processor: what a machine does that runs more than
 * it can. It is not the cluster's to answer for, and it is reported beside the figures.
 */
const TICK_MS = 100;
/** Below it is what timers do anyway. */
const TOLERATED_MS = 150;

export class Starvation {
  /** Since the start, in milliseconds. */
  ms = 0;
  private readonly timer: Timer;
  private last = performance.now();

  constructor() {
    this.timer = setInterval(() => {
      const now = performance.now();
      const late = now - this.last - TICK_MS;
      this.last = now;
      if (late > TOLERATED_MS) this.ms += late;
    }, TICK_MS);
  }

  stop(): number {
    clearInterval(this.timer);
    return Math.round(this.ms);
  }
}

/**
 * Time as of this turn of the event loop, for what happens once per message: the clock is read at the
 * first question of a turn, and everything that the same turn does happens at that time.
 */
import type { Clock } from "../clock.ts";

export class TurnClock implements Pick<Clock, "now" | "monotonic"> {
  private readonly clock: Clock;
  private fresh = false;
  private wallMs = 0;
  private monotonicMs = 0;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  now(): number {
    if (!this.fresh) this.read();
    return this.wallMs;
  }

  monotonic(): number {
    if (!this.fresh) this.read();
    return this.monotonicMs;
  }

  private read(): void {
    this.wallMs = this.clock.now();
    this.monotonicMs = this.clock.monotonic();
    this.fresh = true;
    this.clock.endOfTurn(this.turnEnds);
  }

  private readonly turnEnds = (): void => {
    this.fresh = false;
  };
}

/**
 * Gives out the turns of an owner's commits. They come from the monotonic clock, in microseconds, so
 * that they grow also where a process gives a partition up and is given it again under the epoch that
 * it had; whoever owned it before under another epoch counted for itself.
 */
import type { Clock } from "../clock.ts";

export class CommitTurns {
  private last = 0;

  constructor(private readonly clock: Pick<Clock, "monotonic">) {}

  next(): number {
    this.last = Math.max(this.last + 1, Math.floor(this.clock.monotonic() * 1_000));
    return this.last;
  }
}

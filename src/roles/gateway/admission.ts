/**
 * How many clients a gateway takes per second. After a failure all clients of a gateway, or of a
 * whole site, come at once; each costs a check of its token, a session in Redis and a look into the
 * offline store, and a gateway that takes them all serves none. So it takes as many as the rate says
 * and gives each of the others a time at which to come back, one after the other: the queue fits the
 * rate, however long it is, and nobody has to stand in it with a connection open.
 *
 * A slot is a time, not a ticket: who comes then is admitted like anybody else, which works because
 * slots are given out no faster than the rate. Telling a client its slot costs a little too, so past
 * TELL_FACTOR times the rate a client is told over HTTP instead of in a `bye`.
 */
import type { Clock } from "../../core/clock.ts";

export interface AdmissionOptions {
  readonly clock: Pick<Clock, "monotonic">;
  readonly perSecond: number;
  /** Taken at once by a gateway that was idle. */
  readonly burst: number;
}

/** Of `bye` refusals per admission: each is a WebSocket handshake, and nothing behind it. */
const TELL_FACTOR = 4;

class Bucket {
  private tokens: number;
  private at: number;

  constructor(
    private readonly perSecond: number,
    private readonly burst: number,
    now: number,
  ) {
    this.tokens = burst;
    this.at = now;
  }

  take(now: number): boolean {
    this.tokens = Math.min(this.burst, this.tokens + ((now - this.at) * this.perSecond) / 1_000);
    this.at = now;
    if (this.tokens < 1) return false;
    this.tokens -= 1;
    return true;
  }
}

export class Admission {
  private readonly admitted: Bucket;
  private readonly told: Bucket;
  /** Monotonic ms of the last slot that was given out. */
  private lastSlot = Number.NEGATIVE_INFINITY;

  constructor(private readonly options: AdmissionOptions) {
    const { burst, clock, perSecond } = options;
    const now = clock.monotonic();
    this.admitted = new Bucket(perSecond, burst, now);
    this.told = new Bucket(perSecond * TELL_FACTOR, burst * TELL_FACTOR, now);
  }

  /** 0 when a client may connect now, else the milliseconds until its slot. */
  take(): number {
    const now = this.options.clock.monotonic();
    if (this.admitted.take(now)) return 0;
    this.lastSlot = Math.max(this.lastSlot, now) + 1_000 / this.options.perSecond;
    return Math.ceil(this.lastSlot - now);
  }

  /** True when a refused client may be told so in a `bye`. */
  tells(): boolean {
    return this.told.take(this.options.clock.monotonic());
  }
}

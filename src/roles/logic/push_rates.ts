/**
 * How many messages callers may push per second: each of them, and all together at this process. A
 * bucket holds what two seconds bring, and always room for one request of the largest size. A rate of
 * 0 is none.
 */
import type { Clock } from "../../core/clock.ts";
import { GenerationCache } from "../../core/generation_cache.ts";
import type { Limits } from "../../core/limits.ts";
import { ChatifyError } from "../../core/protocol/errors.ts";

/** Fills at `perSecond` up to `burst`. */
export class Bucket {
  private level: number;
  private at: number;

  constructor(
    private readonly perSecond: number,
    private readonly burst: number,
    now: number,
  ) {
    this.level = burst;
    this.at = now;
  }

  /** Takes `count` and returns 0, or takes nothing and returns the ms until there is enough. */
  take(count: number, now: number): number {
    const grown = ((now - this.at) / 1_000) * this.perSecond;
    this.level = Math.min(this.burst, this.level + grown);
    this.at = now;
    if (this.level < count) return Math.ceil(((count - this.level) / this.perSecond) * 1_000);
    this.level -= count;
    return 0;
  }

  giveBack(count: number): void {
    this.level = Math.min(this.burst, this.level + count);
  }
}

export interface PushRatesDeps {
  readonly clock: Pick<Clock, "monotonic">;
  readonly limits: Pick<Limits, "PUSH_RECIPIENTS_MAX" | "PUSH_CALLERS_MAX">;
  readonly rate: number;
  readonly ratePerCaller: number;
}

export class PushRates {
  private readonly all: Bucket | null;
  private readonly callers: GenerationCache<string, Bucket>;

  constructor(private readonly deps: PushRatesDeps) {
    this.all = this.bucket(deps.rate);
    this.callers = new GenerationCache(deps.limits.PUSH_CALLERS_MAX);
  }

  /** Throws `rate_limited` with the time after which as many messages are allowed. */
  take(caller: string, messages: number): void {
    const now = this.deps.clock.monotonic();
    const own = this.callerOf(caller);
    const ownWait = own?.take(messages, now) ?? 0;
    if (ownWait > 0) throw refused(`more than ${this.deps.ratePerCaller} of one caller`, ownWait);
    const wait = this.all?.take(messages, now) ?? 0;
    if (wait === 0) return;
    own?.giveBack(messages);
    throw refused(`more than ${this.deps.rate} of all callers`, wait);
  }

  private callerOf(caller: string): Bucket | null {
    if (this.deps.ratePerCaller === 0) return null;
    const known = this.callers.get(caller);
    if (known !== undefined) return known;
    const made = this.bucket(this.deps.ratePerCaller);
    if (made !== null) this.callers.set(caller, made);
    return made;
  }

  private bucket(rate: number): Bucket | null {
    if (rate === 0) return null;
    const burst = Math.max(rate * 2, this.deps.limits.PUSH_RECIPIENTS_MAX);
    return new Bucket(rate, burst, this.deps.clock.monotonic());
  }
}

function refused(what: string, waitMs: number): ChatifyError {
  return new ChatifyError("rate_limited", `${what} messages per second are pushed`, waitMs);
}

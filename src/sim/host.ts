/**
 * A process of the simulated cluster: it can be killed and stopped at any time. Whatever happens to
 * it (a timer, a reply, a message) goes through `deliver`. A killed one hears nothing ever again, so
 * its promises never settle and its timers never fire. One that is stopped (SIGSTOP) hears
 * everything afterwards: each channel in its order, but the channels in any.
 */
import type { Clock, Timer } from "../core/clock.ts";
import type { Cancel, Scheduler } from "./scheduler.ts";
import type { SeededRandom } from "./seeded_random.ts";

/** What arrives through one channel arrives in its order. */
export type Channel = "timer" | "redis" | "store" | "trunk" | "client" | "out";

export class Host {
  alive = true;
  readonly clock: HostClock;
  private held: Map<Channel, (() => void)[]> | null = null;
  private readonly onEnd: (() => void)[] = [];

  constructor(
    readonly id: string,
    readonly scheduler: Scheduler,
    readonly random: SeededRandom,
  ) {
    this.clock = new HostClock(this);
  }

  get paused(): boolean {
    return this.held !== null;
  }

  deliver(channel: Channel, fn: () => void): void {
    if (!this.alive) return;
    if (this.held === null) {
      fn();
      return;
    }
    const list = this.held.get(channel);
    if (list === undefined) this.held.set(channel, [fn]);
    else list.push(fn);
  }

  pause(): void {
    if (this.alive) this.held ??= new Map();
  }

  /** What was held happens now, one event each, before anything that arrives from now on. */
  resume(): void {
    const { held } = this;
    if (held === null) return;
    this.held = null;
    for (const channel of this.random.shuffled([...held.keys()])) {
      for (const fn of held.get(channel) ?? []) {
        this.scheduler.after(0, () => this.deliver(channel, fn));
      }
    }
  }

  kill(): void {
    if (!this.alive) return;
    this.alive = false;
    this.held = null;
    for (const end of this.onEnd.splice(0)) end();
  }

  whenKilled(fn: () => void): void {
    this.onEnd.push(fn);
  }
}

export class HostClock implements Clock {
  /** How far the wall clock is off. */
  skewMs = 0;
  private readonly bootMs: number;

  constructor(private readonly host: Host) {
    this.bootMs = host.scheduler.now() - 1_000;
  }

  now(): number {
    return Math.floor(this.host.scheduler.now() + this.skewMs);
  }

  monotonic(): number {
    return this.host.scheduler.now() - this.bootMs;
  }

  after(ms: number, fn: () => void): Timer {
    return this.arm(ms, () => fn(), false);
  }

  every(ms: number, fn: () => void): Timer {
    return this.arm(ms, fn, true);
  }

  endOfTurn(fn: () => void): void {
    this.host.scheduler.after(0, () => this.host.deliver("timer", fn));
  }

  private arm(ms: number, fn: () => void, again: boolean): Timer {
    const { host } = this;
    let active = true;
    let cancel: Cancel = () => {};
    const fire = () => {
      if (!active) return;
      // Like setInterval, one that is late fires once and goes on from there.
      if (again) start();
      else active = false;
      fn();
    };
    const start = () => {
      cancel = host.scheduler.after(ms, () => host.deliver("timer", fire));
    };
    start();
    return {
      cancel: () => {
        active = false;
        cancel();
      },
    };
  }
}

/** The time of the world itself, for what is no process: Redis' server and the network. */
export function worldClock(scheduler: Scheduler): Clock {
  return {
    now: () => Math.floor(scheduler.now()),
    monotonic: () => scheduler.now(),
    after: (ms, fn) => ({ cancel: scheduler.after(ms, fn) }),
    every(ms, fn) {
      let cancel: Cancel = () => {};
      const start = () => {
        cancel = scheduler.after(ms, () => {
          start();
          fn();
        });
      };
      start();
      return { cancel: () => cancel() };
    },
    endOfTurn: (fn) => {
      scheduler.after(0, fn);
    },
  };
}

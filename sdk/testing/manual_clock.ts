import type { SdkClock, SdkTimer } from "../clock.ts";

interface Alarm {
  readonly at: number;
  readonly fn: () => void;
}

/** A clock that a test moves by hand. */
export class ManualClock implements SdkClock {
  #now = 0;
  readonly #alarms = new Set<Alarm>();

  now(): number {
    return this.#now;
  }

  after(ms: number, fn: () => void): SdkTimer {
    const alarm = { at: this.#now + ms, fn };
    this.#alarms.add(alarm);
    return { cancel: () => this.#alarms.delete(alarm) };
  }

  /** Milliseconds from now to the next alarm; undefined when none is set. */
  get next(): number | undefined {
    const ats = [...this.#alarms].map((alarm) => alarm.at - this.#now);
    return ats.length === 0 ? undefined : Math.min(...ats);
  }

  /** Lets time pass, alarms in their order, with the microtasks that each one causes. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settle();
    for (;;) {
      const due = [...this.#alarms].filter((alarm) => alarm.at <= end);
      const first = due.sort((a, b) => a.at - b.at)[0];
      if (first === undefined) break;
      this.#now = first.at;
      this.#alarms.delete(first);
      first.fn();
      await settle();
    }
    this.#now = end;
  }
}

/** Lets everything run that waits for nothing but microtasks. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
}

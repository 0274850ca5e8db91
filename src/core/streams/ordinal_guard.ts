/**
 * Notices that an entry of a topic partition was given to somebody else.
 *
 * Ordinals are handed out without gaps, but settled entries are deleted, so a reader that starts
 * from the oldest unsettled entry rightly sees holes. Where may it not see one? Entries with an
 * ordinal above the counter's value at assignment were appended afterwards, and only this owner can
 * settle them, which it does only after they were handed to it. So they must arrive one after the
 * other, and the first that does not says that the ones between went elsewhere: typically to the
 * blocked read of an owner that was paused and has not noticed.
 *
 * The reader then drops what it got and goes back to the start of the stream. What it hands over
 * again is below `next` and not checked: holes there are entries that were settled meanwhile. From
 * `next` on it is, and now holds, because the stream contains the missing entry. If it does not, and
 * the same gap is there a third time, the entry is gone (an operator deleted it): the guard gives it
 * up and says so, rather than keep the partition from ever advancing.
 */
import type { StreamEntry } from "./contract.ts";

const ATTEMPTS = 3;

export class OrdinalGuard {
  /** The ordinal that the next entry handed over for the first time has. */
  private next: number;
  private gapAt = 0;
  private attempts = 0;

  /** `last`: the counter's value when the partition was assigned. */
  constructor(last: number) {
    this.next = last + 1;
  }

  /** The counter went back: Redis lost data, so the old expectation is void. */
  rebase(last: number): void {
    if (last + 1 < this.next) this.next = last + 1;
  }

  /** `gap`: hand nothing of `entries` over and go back. `skipped`: entries that are gone for good. */
  check(entries: readonly StreamEntry[]): { gap: boolean; skipped: number } {
    let next = this.next;
    let skipped = 0;
    for (const { ordinal } of entries) {
      if (ordinal === 0 || ordinal < next) continue;
      if (ordinal > next) {
        // Having given up one gap, it takes the others of the same batch as they are: otherwise two
        // gaps would take turns for ever.
        if (skipped === 0 && !this.givesUp(next)) return { gap: true, skipped: 0 };
        skipped += ordinal - next;
      }
      next = ordinal + 1;
    }
    this.next = next;
    return { gap: false, skipped };
  }

  private givesUp(at: number): boolean {
    this.attempts = this.gapAt === at ? this.attempts + 1 : 1;
    this.gapAt = at;
    return this.attempts >= ATTEMPTS;
  }
}

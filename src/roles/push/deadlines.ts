/**
 * Live items in the order of their deadlines, which is the order in which they came, since all wait
 * equally long. Settled ones are skipped when their turn comes.
 */
import type { Feed, Item } from "./feed.ts";

const COMPACT_AFTER = 4_096;

export class Deadlines {
  private items: Item[] = [];
  private from = 0;

  add(item: Item): void {
    this.items.push(item);
  }

  /** The feeds with live items that are due at `now` (monotonic ms). */
  takeDue(now: number): Set<Feed> {
    const due = new Set<Feed>();
    while (this.from < this.items.length) {
      const item = this.items[this.from] as Item;
      if (!item.done && item.deadline > now) break;
      this.from++;
      if (!item.done && item.entry !== null && !item.archiving) due.add(item.feed);
    }
    if (this.from > COMPACT_AFTER) {
      this.items = this.items.slice(this.from);
      this.from = 0;
    }
    return due;
  }
}

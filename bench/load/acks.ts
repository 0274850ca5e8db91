/**
 * Acks as clients write them: what came is collected, and acked `ackMs` after the first of it. One
 * wheel for all connections, because a timer each would be the load generator's greatest cost.
 */
import { present } from "../present.ts";
import type { Link } from "./connection.ts";

export class AckWheel {
  private readonly slots: Link[][];
  private readonly pending = new Map<Link, string[]>();
  private doneMs = Math.floor(performance.now());
  private readonly timer: Timer;

  constructor(
    private readonly ackMs: number,
    private readonly encode: (ids: readonly string[]) => Buffer | null,
    private readonly onAck: () => void = () => {},
  ) {
    this.slots = Array.from({ length: ackMs + 1 }, () => []);
    this.timer = setInterval(() => this.turn(), 1);
  }

  add(link: Link, msgId: string): void {
    const ids = this.pending.get(link);
    if (ids !== undefined) {
      ids.push(msgId);
      return;
    }
    this.pending.set(link, [msgId]);
    const due = Math.max(Math.floor(performance.now()), this.doneMs) + this.ackMs;
    present(this.slots[due % this.slots.length]).push(link);
  }

  stop(): void {
    clearInterval(this.timer);
    for (const link of this.pending.keys()) this.write(link);
  }

  /** A late turn makes up for all slots that it missed. */
  private turn(): void {
    const now = Math.floor(performance.now());
    const from = Math.max(this.doneMs + 1, now - this.ackMs);
    for (let ms = from; ms <= now; ms += 1) {
      const index = ms % this.slots.length;
      const due = present(this.slots[index]);
      if (due.length === 0) continue;
      this.slots[index] = [];
      for (const link of due) this.write(link);
    }
    this.doneMs = now;
  }

  private write(link: Link): void {
    const ids = present(this.pending.get(link));
    this.pending.delete(link);
    const frame = this.encode(ids);
    if (frame === null) return;
    this.onAck();
    link.write(frame);
  }
}

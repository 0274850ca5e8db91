/**
 * Acks as clients write them: what came is collected, and acked `ackMs` after the first of it. One
 * wheel for all connections, because a timer each would be the load generator's greatest cost.
 */
import type { Connection } from "./connection.ts";
import { textFrame } from "./frames.ts";

export class AckWheel {
  private readonly slots: Connection[][];
  private readonly pending = new Map<Connection, string[]>();
  private doneMs = Math.floor(performance.now());
  private readonly timer: Timer;

  constructor(private readonly ackMs: number) {
    this.slots = Array.from({ length: ackMs + 1 }, () => []);
    this.timer = setInterval(() => this.turn(), 1);
  }

  add(connection: Connection, msgId: string): void {
    const ids = this.pending.get(connection);
    if (ids !== undefined) {
      ids.push(msgId);
      return;
    }
    this.pending.set(connection, [msgId]);
    const due = Math.max(Math.floor(performance.now()), this.doneMs) + this.ackMs;
    this.slots[due % this.slots.length]!.push(connection);
  }

  stop(): void {
    clearInterval(this.timer);
    for (const connection of this.pending.keys()) this.write(connection);
  }

  /** A late turn makes up for all slots that it missed. */
  private turn(): void {
    const now = Math.floor(performance.now());
    const from = Math.max(this.doneMs + 1, now - this.ackMs);
    for (let ms = from; ms <= now; ms += 1) {
      const index = ms % this.slots.length;
      const due = this.slots[index]!;
      if (due.length === 0) continue;
      this.slots[index] = [];
      for (const connection of due) this.write(connection);
    }
    this.doneMs = now;
  }

  private write(connection: Connection): void {
    const ids = this.pending.get(connection)!;
    this.pending.delete(connection);
    connection.write(textFrame(`{"type":"ack","msg_ids":["${ids.join('","')}"]}`));
  }
}

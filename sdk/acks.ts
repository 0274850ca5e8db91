/**
 * Collects what was handled and acks it together: one frame per ACK_DELAY_MS, or sooner when a
 * frame is full. What cannot be sent now waits for the next connection, up to ACKS_WAITING_MAX ids;
 * beyond it the oldest are forgotten, and acked as duplicates when the server repeats them.
 */
import type { SdkClock, SdkTimer } from "./clock.ts";
import type { Link } from "./link.ts";
import type { ClientStats } from "./options.ts";
import { RecentIds } from "./recent_ids.ts";
import { MSG_IDS_PER_ACK_MAX } from "./wire.ts";

export const ACK_DELAY_MS = 20;
const ACKS_WAITING_MAX = 10_000;

export class Acks {
  readonly #link: Pick<Link, "ready" | "send">;
  readonly #clock: SdkClock;
  readonly #stats: ClientStats;
  readonly #waiting = new RecentIds(ACKS_WAITING_MAX);
  #timer: SdkTimer | undefined;

  constructor(link: Pick<Link, "ready" | "send">, clock: SdkClock, stats: ClientStats) {
    this.#link = link;
    this.#clock = clock;
    this.#stats = stats;
  }

  add(msgId: string): void {
    this.#waiting.add(msgId);
    if (this.#waiting.size >= MSG_IDS_PER_ACK_MAX) this.flush();
    else this.#timer ??= this.#clock.after(ACK_DELAY_MS, () => this.flush());
  }

  /** Sends all that wait, if there is a connection to send them on. */
  flush(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    while (this.#link.ready && this.#waiting.size > 0) {
      const ids = this.#waiting.take(MSG_IDS_PER_ACK_MAX);
      this.#stats.acked += ids.length;
      this.#link.send({ type: "ack", msg_ids: ids });
    }
  }
}

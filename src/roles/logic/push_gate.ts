/**
 * Back-pressure for pushes: at most PUSH_PENDING_MAX messages of one process are being written at a
 * time, and none while more waits in `push_task` than may. Whoever comes meanwhile waits its turn,
 * which is all that a caller needs who sends the next push when this one is answered. Refused is only
 * who has waited for PUSH_WAIT_MS, and who finds too many waiting.
 */
import type { Clock, Timer } from "../../core/clock.ts";
import type { Limits } from "../../core/limits.ts";
import { ChatifyError } from "../../core/protocol/errors.ts";
import type { PushStore } from "../../core/pushes/contract.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";

export interface PushGateDeps {
  readonly pushes: Pick<PushStore, "backlogBytes">;
  readonly clock: Clock;
  readonly telemetry: Pick<Telemetry, "log" | "metrics">;
  readonly limits: Pick<Limits, "PUSH_PENDING_MAX" | "PUSH_WAIT_MS" | "PUSH_WAITING_MAX">;
  /** What may wait in `push_task`, in bytes. */
  readonly backlogBytesMax: number;
}

interface Waiting {
  readonly messages: number;
  /** Monotonic ms. */
  readonly until: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

const LOOK_MS = 200;
const RETRY_AFTER_MS = 2_000;

export class PushGate {
  private bytes = 0;
  private lookedAt = Number.NEGATIVE_INFINITY;
  private looking = false;
  private inside = 0;
  private queue: Waiting[] = [];
  private waiting = 0;
  private timer: Timer | null = null;

  constructor(private readonly deps: PushGateDeps) {}

  /** True when `push_task` has room now. */
  isOpen(): boolean {
    this.look();
    return this.bytes <= this.deps.backlogBytesMax;
  }

  /** Does `work`, which writes so many messages, in its turn; rejects with `overloaded`. */
  async pass<T>(messages: number, work: () => Promise<T>): Promise<T> {
    await this.enter(messages);
    try {
      return await work();
    } finally {
      this.inside -= messages;
      this.advance();
    }
  }

  private enter(messages: number): Promise<void> {
    const { clock, limits } = this.deps;
    if (this.queue.length === 0 && this.hasRoom(messages)) {
      this.inside += messages;
      return Promise.resolve();
    }
    if (this.waiting + messages > limits.PUSH_WAITING_MAX) return Promise.reject(full());
    this.count(messages);
    return new Promise((resolve, reject) => {
      const until = clock.monotonic() + limits.PUSH_WAIT_MS;
      this.queue.push({ messages, until, resolve, reject });
      this.timer ??= clock.every(LOOK_MS / 2, () => this.advance());
    });
  }

  private hasRoom(messages: number): boolean {
    const fits = this.inside + messages <= this.deps.limits.PUSH_PENDING_MAX;
    return (fits || this.inside === 0) && this.isOpen();
  }

  private advance(): void {
    const now = this.deps.clock.monotonic();
    let next = 0;
    for (; next < this.queue.length; next++) {
      const { messages, reject, resolve, until } = this.queue[next] as Waiting;
      const hasRoom = this.hasRoom(messages);
      if (!hasRoom && until > now) break;
      this.count(-messages);
      if (hasRoom) {
        this.inside += messages;
        resolve();
      } else {
        reject(full());
      }
    }
    if (next > 0) this.queue = this.queue.slice(next);
    if (this.queue.length > 0 || this.timer === null) return;
    this.timer.cancel();
    this.timer = null;
  }

  private count(messages: number): void {
    this.waiting += messages;
    this.deps.telemetry.metrics.pushWaiting.set(this.waiting);
  }

  /** What is known is at most LOOK_MS and a round trip old; nobody waits for the answer. */
  private look(): void {
    const { clock, pushes, telemetry } = this.deps;
    const now = clock.monotonic();
    if (this.looking || now - this.lookedAt < LOOK_MS) return;
    this.looking = true;
    this.lookedAt = now;
    pushes
      .backlogBytes()
      .then(
        (bytes) => {
          this.bytes = bytes;
          telemetry.metrics.pushBacklog.set(bytes);
        },
        (error: unknown) => {
          // The push itself will find out what is wrong with Redis.
          telemetry.log.debug({ err: error }, "the backlog of pushes is not known");
        },
      )
      .finally(() => {
        this.looking = false;
      });
  }
}

function full(): ChatifyError {
  const message = "more waits to be delivered than may; push less, or start more push nodes";
  return new ChatifyError("overloaded", message, RETRY_AFTER_MS);
}

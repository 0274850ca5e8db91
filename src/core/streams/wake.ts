/**
 * Wakes a reader, wherever it waits: for work, or in Redis, where CLIENT UNBLOCK from the command
 * connection ends its read. The read may not have arrived in Redis when UNBLOCK does, which is then
 * without effect and repeated until the read has ended.
 */
import { type Clock, sleep } from "../clock.ts";

const REPEAT_MS = 2;

export class Wake {
  private clientId: string | null = null;
  private generation = 0;
  /** Grows with each blocking read, so that an old request to wake does not end a later one. */
  private reads = 0;
  private blocked = false;
  /** The read that is to end. */
  private wanted = 0;
  private unblocking = false;
  private pending = false;
  private resolve: (() => void) | null = null;

  constructor(
    /** Asks Redis to end the read of the client with this id. */
    private readonly unblockClient: (id: string) => Promise<unknown>,
    private readonly clock: Clock,
  ) {}

  isConnectedTo(generation: number): boolean {
    return this.clientId !== null && this.generation === generation;
  }

  connectedTo(generation: number, clientId: unknown): void {
    this.generation = generation;
    this.clientId = String(clientId);
  }

  disconnected(): void {
    this.clientId = null;
  }

  now(): void {
    if (!this.blocked) {
      this.pending = true;
      this.resolve?.();
      return;
    }
    this.wanted = this.reads;
    if (!this.unblocking) void this.unblock();
  }

  isPending(): boolean {
    return this.pending;
  }

  clear(): void {
    this.pending = false;
  }

  /** Resolves at the next `now()`, or at once if there was one since the last wait. */
  async wait(): Promise<void> {
    if (!this.pending) {
      await new Promise<void>((resolve) => {
        this.resolve = resolve;
      });
    }
    this.resolve = null;
    this.pending = false;
  }

  /** The same, but for no longer than `ms`. */
  async waitAtMost(ms: number): Promise<void> {
    const timer = this.clock.after(ms, () => this.now());
    await this.wait();
    timer.cancel();
  }

  async whileBlocked<T>(read: Promise<T>): Promise<T> {
    this.reads++;
    this.blocked = true;
    try {
      return await read;
    } finally {
      this.blocked = false;
    }
  }

  private async unblock(): Promise<void> {
    this.unblocking = true;
    while (this.blocked && this.wanted === this.reads && this.clientId !== null) {
      await this.unblockClient(this.clientId).catch(() => 0);
      await sleep(this.clock, REPEAT_MS);
    }
    this.unblocking = false;
  }
}

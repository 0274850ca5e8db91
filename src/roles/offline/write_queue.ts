/**
 * Group commit for the offline store: writes that are called in one turn of the event loop, or while
 * a transaction is under way, share the next transaction, so that they share its fsync. Each call
 * is still answered for itself: the engine checks every call's fence before it writes the call's
 * rows, so a stale call changes nothing and fails nobody else.
 */
import type { Clock } from "../../core/clock.ts";
import { FlushLoop } from "../../core/lifecycle/flush.ts";
import type { OfflineRow, OfflineStore, OwnerEpoch } from "../../core/offline/contract.ts";
import type { WindowSegment } from "../../core/offline/window_store.ts";
import { ChatifyError } from "../../core/protocol/errors.ts";
import { storeClosed } from "./engine.ts";

export type Confirmed = Parameters<OfflineStore["confirm"]>[1];

export type Write =
  | {
      readonly kind: "archive";
      readonly owner: OwnerEpoch | null;
      readonly rows: readonly OfflineRow[];
    }
  | {
      readonly kind: "confirm";
      readonly owner: OwnerEpoch | null;
      readonly confirmed: Confirmed;
    }
  | { readonly kind: "window"; readonly owner: null; readonly segments: readonly WindowSegment[] };

/** Rows that the write changed, or why it was refused while the others of its batch were not. */
export type Outcome = number | Error;

export interface WriteQueueOptions {
  readonly clock: Clock;
  /**
   * Executes writes in one transaction; as many outcomes as writes, in their order. Rejects when
   * the transaction failed as a whole, and then none of it happened, or its outcome is not known.
   */
  readonly transact: (writes: readonly Write[]) => Promise<Outcome[]>;
  /** Rows from which on a transaction takes no further call. */
  readonly transactionRowsMax?: number;
  /** Rows that wait; a call beyond it is refused as overloaded. */
  readonly pendingRowsMax?: number;
}

interface Pending {
  readonly write: Write;
  readonly size: number;
  resolve(changed: number): void;
  reject(error: unknown): void;
}

/** Past a thousand rows per fsync, more rows gain nothing and only hold up the event loop. */
const TRANSACTION_ROWS_MAX = 1_000;
const PENDING_ROWS_MAX = 100_000;
/** A full segment of a window has the bytes of so many rows. */
const ROWS_PER_SEGMENT = 100;

export class WriteQueue {
  private readonly transact: WriteQueueOptions["transact"];
  private readonly transactionRowsMax: number;
  private readonly pendingRowsMax: number;
  private readonly loop: FlushLoop;
  private pending: Pending[] = [];
  private pendingRows = 0;
  private closed = false;

  constructor(options: WriteQueueOptions) {
    this.transact = options.transact;
    this.transactionRowsMax = options.transactionRowsMax ?? TRANSACTION_ROWS_MAX;
    this.pendingRowsMax = options.pendingRowsMax ?? PENDING_ROWS_MAX;
    this.loop = new FlushLoop(options.clock, () => this.flush());
  }

  /** Resolves with the rows changed once they are on disk. */
  submit(write: Write): Promise<number> {
    if (this.closed) return Promise.reject(storeClosed());
    const size = sizeOf(write);
    // An empty queue takes a call of any size, or a large one could never be served.
    if (this.pendingRows > 0 && this.pendingRows + size > this.pendingRowsMax) {
      const message = `${this.pendingRows} rows wait to be stored offline`;
      return Promise.reject(new ChatifyError("overloaded", message, 1_000));
    }
    this.pendingRows += size;
    return new Promise((resolve, reject) => {
      this.pending.push({ write, size, resolve, reject });
      this.loop.wake();
    });
  }

  /** Refuses new writes and resolves once those before are answered. */
  async close(): Promise<void> {
    this.closed = true;
    await this.loop.idle();
  }

  private async flush(): Promise<void> {
    const batch = this.take();
    if (batch.length === 0) return;
    if (this.pending.length > 0) this.loop.wake();
    await this.execute(batch);
  }

  private take(): Pending[] {
    let rows = 0;
    let count = 0;
    for (const { size } of this.pending) {
      if (count > 0 && rows + size > this.transactionRowsMax) break;
      rows += size;
      count++;
    }
    this.pendingRows -= rows;
    return this.pending.splice(0, count);
  }

  private async execute(batch: readonly Pending[]): Promise<void> {
    let outcomes: Outcome[];
    try {
      outcomes = await this.transact(batch.map(({ write }) => write));
    } catch (error) {
      const database = error instanceof ChatifyError && error.retryable;
      if (batch.length === 1 || database) {
        for (const { reject } of batch) reject(error);
        return;
      }
      // One of the calls is at fault and the others must not fail with it: each goes by itself.
      for (const pending of batch) await this.execute([pending]);
      return;
    }
    for (const [i, { resolve, reject }] of batch.entries()) {
      const outcome = outcomes[i] as Outcome;
      if (typeof outcome === "number") resolve(outcome);
      else reject(outcome);
    }
  }
}

/** At least one, so that empty calls are bounded too. */
function sizeOf(write: Write): number {
  if (write.kind === "window") return Math.max(1, write.segments.length * ROWS_PER_SEGMENT);
  if (write.kind === "archive") return Math.max(1, write.rows.length);
  return write.confirmed.reduce((sum, { msg_ids }) => sum + msg_ids.length, 1);
}

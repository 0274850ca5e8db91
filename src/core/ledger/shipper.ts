/**
 * From the recorder to the store: sealed segments, in batches, one call at a time, repeated while the
 * store is away. What waits is bounded by LEDGER_PENDING_BYTES_MAX; when that is full the newest
 * segment is dropped and its events are counted, because a trail may have a gap and a process that
 * runs out of memory may not.
 */
import { type Clock, sleep } from "../clock.ts";
import { FlushLoop } from "../lifecycle/flush.ts";
import type { Limits } from "../limits.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import type { NodeId } from "../trunk/node_id.ts";
import type { Sealed } from "./segment_writer.ts";
import type { Segment, SegmentSink } from "./store.ts";

export interface ShipperDeps {
  readonly self: NodeId;
  readonly clock: Clock;
  readonly telemetry: Pick<Telemetry, "log" | "metrics">;
  readonly limits: Pick<Limits, "LEDGER_PENDING_BYTES_MAX">;
}

const RETRY_FIRST_MS = 250;
const RETRY_MAX_MS = 5_000;
const BATCH_BYTES_MAX = 2_097_152;

export class Shipper {
  private readonly loop: FlushLoop;
  private pending: Segment[] = [];
  private pendingBytes = 0;
  private sink: SegmentSink | null = null;
  private stopping = false;

  constructor(private readonly deps: ShipperDeps) {
    this.loop = new FlushLoop(deps.clock, () => this.flush());
  }

  /** Roles are made after the ledger that they write to; until then segments wait. */
  to(sink: SegmentSink): void {
    this.sink = sink;
    if (this.pending.length > 0) this.loop.wake();
  }

  add(sealed: Sealed & { readonly number: number }): void {
    const { limits, self, telemetry } = this.deps;
    const size = sizeOf(sealed);
    if (this.pendingBytes + size > limits.LEDGER_PENDING_BYTES_MAX) {
      telemetry.metrics.ledgerDropped.inc(sealed.events);
      return;
    }
    this.pending.push({ node: self, ...sealed });
    this.pendingBytes += size;
    if (this.sink !== null) this.loop.wake();
  }

  /** Resolves once everything that was added is kept, or cannot be in `budgetMs`. */
  async drain(budgetMs: number): Promise<void> {
    if (this.sink === null || this.pending.length === 0) return;
    await Promise.race([this.loop.idle(), sleep(this.deps.clock, budgetMs)]);
  }

  stop(): void {
    this.stopping = true;
  }

  private async flush(): Promise<void> {
    const { clock, telemetry } = this.deps;
    let wait = RETRY_FIRST_MS;
    while (this.sink !== null && this.pending.length > 0 && !this.stopping) {
      const batch = this.batch();
      try {
        await this.sink.add(batch);
      } catch (error) {
        telemetry.metrics.storeErrors.inc({ operation: "ledger_add" });
        telemetry.log.warn({ err: error }, "ledger segments could not be stored; again");
        await sleep(clock, wait);
        wait = Math.min(wait * 2, RETRY_MAX_MS);
        continue;
      }
      wait = RETRY_FIRST_MS;
      this.pending.splice(0, batch.length);
      for (const segment of batch) this.pendingBytes -= sizeOf(segment);
    }
  }

  private batch(): Segment[] {
    let bytes = 0;
    let count = 0;
    for (const segment of this.pending) {
      bytes += sizeOf(segment);
      if (count > 0 && bytes > BATCH_BYTES_MAX) break;
      count++;
    }
    return this.pending.slice(0, count);
  }
}

function sizeOf({ body, filter }: Sealed): number {
  return body.length + filter.length;
}

/**
 * Deletes what expired, in batches that leave room for others in between, and keeps the row count
 * for the operator. A failed round is logged and the next one tries again.
 */
import { type Clock, sleep, type Timer } from "../../core/clock.ts";
import type { OfflineStore } from "../../core/offline/contract.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";

export interface SweeperOptions {
  readonly store: Pick<OfflineStore, "sweep" | "sweepWindow" | "count">;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
}

export const SWEEP_EVERY_MS = 30_000;
export const SWEEP_ROWS = 500;
/** Bounds a round to 50 000 rows; what is left waits for the next one. */
export const SWEEP_BATCHES_MAX = 100;
const PAUSE_MS = 10;

export class Sweeper {
  private timer: Timer | null = null;
  private running: Promise<void> | null = null;

  constructor(private readonly options: SweeperOptions) {}

  start(): void {
    this.timer = this.options.clock.every(SWEEP_EVERY_MS, () => this.wake());
    this.wake();
  }

  /** Stops after the batch under way. */
  async stop(): Promise<void> {
    this.timer?.cancel();
    this.timer = null;
    await this.running;
  }

  private wake(): void {
    if (this.running !== null) return;
    this.running = this.round().finally(() => {
      this.running = null;
    });
  }

  private async round(): Promise<void> {
    const { clock, store, telemetry } = this.options;
    try {
      for (let batch = 0; batch < SWEEP_BATCHES_MAX && this.timer !== null; batch++) {
        const swept = await store.sweep(Math.floor(clock.now() / 1_000), SWEEP_ROWS);
        if (swept.length > 0) {
          telemetry.metrics.expired.inc({ stage: "offline" }, swept.length);
          for (const { msg_id, user_id } of swept) {
            telemetry.ledger.expired(msg_id, user_id, "offline");
          }
          const line = { reason: "expired", stage: "offline", messages: swept };
          telemetry.log.info(line, "offline messages expired and were deleted");
        }
        if (swept.length < SWEEP_ROWS) break;
        await sleep(clock, PAUSE_MS);
      }
      for (let batch = 0; batch < SWEEP_BATCHES_MAX && this.timer !== null; batch++) {
        const nowS = Math.floor(clock.now() / 1_000);
        if ((await store.sweepWindow(nowS, SWEEP_ROWS)) < SWEEP_ROWS) break;
        await sleep(clock, PAUSE_MS);
      }
      telemetry.metrics.offlineRows.set(await store.count());
    } catch (error) {
      telemetry.log.warn({ err: error }, "sweeping the offline store failed; again later");
    }
  }
}

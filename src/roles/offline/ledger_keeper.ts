/** Keeps the ledger within its retention, in hours and in bytes, and says how large it is. */
import type { Clock, Timer } from "../../core/clock.ts";
import type { LedgerStore } from "../../core/ledger/store.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";

export interface LedgerKeeperDeps {
  readonly ledger: Pick<LedgerStore, "trim" | "size">;
  readonly retentionHours: number;
  readonly bytesMax: number;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
}

const EVERY_MS = 30_000;
const HOUR_MS = 3_600_000;

export class LedgerKeeper {
  private timer: Timer | null = null;
  private running: Promise<void> | null = null;

  constructor(private readonly deps: LedgerKeeperDeps) {}

  start(): void {
    this.timer = this.deps.clock.every(EVERY_MS, () => this.wake());
    this.wake();
  }

  async stop(): Promise<void> {
    this.timer?.cancel();
    await this.running;
  }

  private wake(): void {
    if (this.running !== null) return;
    this.running = this.round().finally(() => {
      this.running = null;
    });
  }

  private async round(): Promise<void> {
    const { bytesMax, clock, ledger, retentionHours, telemetry } = this.deps;
    const now = clock.now();
    try {
      const gone = await ledger.trim(now - retentionHours * HOUR_MS, bytesMax);
      if (gone > 0) telemetry.log.debug({ segments: gone }, "old segments of the ledger deleted");
      const { bytes, oldestMs } = await ledger.size();
      telemetry.metrics.ledgerBytes.set(bytes);
      telemetry.metrics.ledgerOldest.set(oldestMs === null ? 0 : (now - oldestMs) / 1_000);
    } catch (error) {
      telemetry.log.warn({ err: error }, "trimming the ledger failed; again later");
    }
  }
}

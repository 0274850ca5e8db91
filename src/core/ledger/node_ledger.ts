/** The ledger as a process has it: recorder and shipper, or nothing when none is to be kept. */
import type { Clock } from "../clock.ts";
import type { Limits } from "../limits.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import type { NodeId } from "../trunk/node_id.ts";
import { type Ledger, silentLedger } from "./contract.ts";
import { Recorder } from "./recorder.ts";
import { Shipper } from "./shipper.ts";
import type { SegmentSink } from "./store.ts";

export interface NodeLedgerDeps {
  readonly self: NodeId;
  readonly clock: Clock;
  readonly telemetry: Pick<Telemetry, "log" | "metrics">;
  readonly limits: Limits;
  readonly config: { readonly ledgerRetentionHours: number; readonly ledgerSampleRatio: number };
}

export interface NodeLedger {
  readonly ledger: Ledger;
  /** Where segments go from now on. */
  shipTo(sink: SegmentSink): void;
  /** Hands over what is in memory, in so many milliseconds at most. */
  flush(budgetMs: number): Promise<void>;
  stop(): void;
}

export function createNodeLedger(deps: NodeLedgerDeps): NodeLedger {
  const { clock, config, limits, self, telemetry } = deps;
  if (config.ledgerRetentionHours === 0) {
    return { ledger: silentLedger, shipTo() {}, flush: () => Promise.resolve(), stop() {} };
  }
  const shipper = new Shipper({ self, clock, telemetry, limits });
  const sampleRatio = config.ledgerSampleRatio;
  const { metrics } = telemetry;
  const recorder = new Recorder({ self, clock, metrics, limits, shipper, sampleRatio });
  return {
    ledger: recorder,
    shipTo: (sink) => shipper.to(sink),
    async flush(budgetMs) {
      recorder.seal();
      await shipper.drain(budgetMs);
    },
    stop: () => shipper.stop(),
  };
}

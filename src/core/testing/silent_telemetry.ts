/** Telemetry that nobody sees: real metrics in a registry of their own, and a log without output. */
import { pino } from "pino";
import { silentLedger } from "../ledger/contract.ts";
import { createMetrics } from "../telemetry/metrics.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import { silentTracer } from "../telemetry/trace.ts";

export function silentTelemetry(): Telemetry {
  return {
    log: pino({ level: "silent" }),
    metrics: createMetrics(),
    tracer: silentTracer,
    ledger: silentLedger,
  };
}

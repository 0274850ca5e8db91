/**
 * The tracer: spans by the OpenTelemetry SDK, which is loaded only when a collector is configured.
 * Without one the silent tracer answers "" to everything, so tracing costs a comparison.
 */
import { type Clock, type Random, systemClock, systemRandom } from "../clock.ts";
import type { Config } from "../config.ts";
import type { Tracer } from "./telemetry.ts";

export const silentTracer: Tracer = {
  sample: () => "",
  sampleProblem: () => "",
  follow: () => "",
  child: () => "",
  span: () => "",
  shutdown: async () => {},
};

export type TraceConfig = Pick<Config, "otlpEndpoint" | "traceSampleRatio" | "nodeId" | "roles">;

export async function createTracer(
  config: TraceConfig,
  random: Random = systemRandom,
  clock: Pick<Clock, "monotonic"> = systemClock,
): Promise<Tracer> {
  if (config.otlpEndpoint === null) return silentTracer;
  const { createOtlpTracer } = await import("./otlp.ts");
  return createOtlpTracer({ ...config, otlpEndpoint: config.otlpEndpoint }, random, clock);
}

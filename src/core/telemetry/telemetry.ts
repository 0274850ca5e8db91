/**
 * What every role is given to be seen by: a logger, metrics, and a tracer. Handed in like the clock,
 * so that the simulator can hand in silent ones.
 */
import type { Logger } from "pino";
import type { Metrics } from "./metrics.ts";

/**
 * The trace context that travels inside a message: a W3C `traceparent`, or "" when the message is
 * not sampled. Every span function returns at once on "", which is why tracing is free when off.
 */
export type TraceContext = string;

export interface Span {
  readonly name: string;
  readonly parent: TraceContext;
  /** Unix ms; fractions count. */
  readonly start: number;
  readonly end: number;
  readonly attributes?: Record<string, string | number | boolean>;
  readonly error?: string;
}

export interface Tracer {
  /** Decides whether a new trace is sampled; honours an incoming `traceparent` that says so. */
  sample(incoming?: string): TraceContext;
  /** Records a finished span and returns the context for its children. */
  span(span: Span): TraceContext;
  shutdown(): Promise<void>;
}

export interface Telemetry {
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly tracer: Tracer;
}

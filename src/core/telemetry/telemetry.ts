/**
 * What every role is given to be seen by: a logger, metrics, a tracer, and the ledger of messages.
 * Handed in like the clock, so that the simulator can hand in silent ones.
 */
import type { Logger } from "pino";
import type { Ledger } from "../ledger/contract.ts";
import type { Metrics } from "./metrics.ts";

/** A message that takes longer than this from accepted to its first write is traced as slow. */
export const SLOW_MS = 1_000;
/** Traces of problems that one process starts per second, sustained and at once. */
export const PROBLEMS_PER_SECOND = 10;

/**
 * The trace context that travels inside a message: a W3C `traceparent`, or "" when the message is
 * not sampled. Every span function returns at once on "", which is why tracing is free when off.
 */
export type TraceContext = string;

export interface Span {
  readonly name: string;
  readonly parent: TraceContext;
  /** What `child` gave out for this span, when its children had to leave before it ended. */
  readonly self?: TraceContext;
  /** A span of another trace that this one goes on from, such as a replay from its message. */
  readonly link?: TraceContext;
  /** Unix ms; fractions count. */
  readonly start: number;
  readonly end: number;
  readonly attributes?: Record<string, string | number | boolean>;
  readonly error?: string;
}

export interface Tracer {
  /** Decides whether a new trace is sampled; honours an incoming `traceparent` that says so. */
  sample(incoming?: string): TraceContext;
  /**
   * For a message that turned out bad or slow: its own context, or a new one although it was not
   * sampled. "" once PROBLEMS_PER_SECOND is spent, so that a flood of errors costs as little as
   * anything else. Earlier spans of an unsampled message are gone; the one that follows says when
   * the message was accepted and which id it has.
   */
  sampleProblem(trace: TraceContext): TraceContext;
  /** A new trace that is sampled because `origin` was; without an origin the ratio decides. */
  follow(origin: TraceContext): TraceContext;
  /** The context of a span that `span` will record later as its `self`. "" for "". */
  child(parent: TraceContext): TraceContext;
  /** Records a finished span and returns the context for its children. */
  span(span: Span): TraceContext;
  shutdown(): Promise<void>;
}

export interface Telemetry {
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly tracer: Tracer;
  readonly ledger: Ledger;
}

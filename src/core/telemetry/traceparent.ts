/**
 * The trace context as text: W3C Trace Context's `traceparent`, read, written and decided upon.
 */
import type { Random } from "../clock.ts";
import type { TraceContext } from "./telemetry.ts";

/** A span id of zeros: the trace is sampled, and its first span is still to come. */
export const NO_SPAN = "0000000000000000";

export interface ParsedContext {
  readonly traceId: string;
  readonly spanId: string;
  readonly sampled: boolean;
}

/**
 * Reads a W3C `traceparent`. Null when it is not one; the specification (Trace Context, 3.2.2.3 and
 * 4.3) then wants a new trace. NO_SPAN is accepted, because `sample` gives it out.
 */
export function parseTraceparent(text: string): ParsedContext | null {
  const match = /^([\da-f]{2})-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})(-|$)/.exec(text);
  const [, version, traceId, spanId, flags, rest] = match ?? [];
  if (!version || !traceId || !spanId || !flags || /^0+$/.test(traceId)) return null;
  if (version === "ff" || (version === "00" && rest === "-")) return null;
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 };
}

/** The head decision: an incoming sampled or unsampled context is honoured, else `ratio` decides. */
export function sampleTrace(ratio: number, random: Random, incoming?: string): TraceContext {
  const parent = incoming ? parseTraceparent(incoming) : null;
  if (parent) return parent.sampled ? traceparent(parent.traceId, parent.spanId) : "";
  return random.fraction() < ratio ? newTrace(random) : "";
}

/** A trace whose first span is still to come. */
export function newTrace(random: Random): TraceContext {
  return traceparent(hex(random, 32), NO_SPAN);
}

export function traceparent(traceId: string, spanId: string): TraceContext {
  return `00-${traceId}-${spanId}-01`;
}

/** `length` random hexadecimal digits, not all of them zero. */
export function hex(random: Random, length: number): string {
  let text = "";
  // A base-32 character carries five bits; the lower four of them make one digit.
  for (const char of random.token(length)) text += (char.charCodeAt(0) & 15).toString(16);
  return /^0+$/.test(text) ? hex(random, length) : text;
}

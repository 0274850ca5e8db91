/**
 * Spans of what logic decides. The context of a message's span is made before the message is numbered,
 * because it leaves with the message for push; the span itself is recorded once the batch is committed.
 */
import type { ChatInput } from "../../core/protocol/chat_input.ts";
import type { Telemetry, TraceContext, Tracer } from "../../core/telemetry/telemetry.ts";
import type { DecodedEntry, Numbering } from "./numbering.ts";

interface Origin {
  readonly parent: TraceContext;
  /** Unix ms at which Redis took the entry. */
  readonly start: number;
}

/** The sampled messages of a batch, by their input in the context of their own span. */
export type Traces = ReadonlyMap<ChatInput, Origin>;

const none: Traces = new Map();

/** Puts every sampled message of `entries` into the context of its own span to come. */
export function openTraces(tracer: Tracer, entries: readonly DecodedEntry[]): Traces {
  let traces: Map<ChatInput, Origin> | null = null;
  for (const { items, ms } of entries) {
    if (items === null) continue;
    for (let i = 0; i < items.length; i++) {
      const input = items[i];
      if (input === null || input === undefined || input.traceparent === "") continue;
      const traceparent = tracer.child(input.traceparent);
      if (traceparent === "") continue;
      const own = { ...input, traceparent };
      items[i] = own;
      traces ??= new Map();
      traces.set(own, { parent: input.traceparent, start: ms });
    }
  }
  return traces ?? none;
}

interface Outcome {
  readonly out: Numbering;
  readonly traces: Traces;
  readonly partition: number;
  /** Unix ms. */
  readonly end: number;
}

/**
 * Spans of the sampled messages, and of those that came to a bad end although they were not; a line
 * of the log for each entry that is given up.
 */
export function recordTraces(
  { log, tracer }: Pick<Telemetry, "log" | "tracer">,
  { out, traces, partition, end }: Outcome,
): void {
  const span = { name: "logic.number", end, attributes: { "chatify.partition": partition } };
  for (const { id, reason } of out.poison) {
    const attributes = { ...span.attributes, "chatify.entry": id };
    const parent = tracer.sampleProblem("");
    const error = `dead letter: ${reason}`;
    const trace = tracer.span({ ...span, parent, start: end, attributes, error });
    log.error({ trace, entry: id, reason }, "chat_input entry goes to dead_letter");
  }
  if (traces.size === 0 && out.rejected.size === 0) return;
  for (const { input, frame } of out.replies) {
    const origin = traces.get(input);
    const code = out.rejected.size === 0 ? "" : rejectionOf(frame);
    if (origin === undefined && code === "") continue;
    const error = code === "" ? {} : { error: code };
    if (origin !== undefined) {
      tracer.span({ ...span, ...origin, self: input.traceparent, ...error });
      continue;
    }
    const parent = tracer.sampleProblem("");
    if (parent !== "") tracer.span({ ...span, parent, start: input.receivedAtMs, ...error });
  }
}

/** The code of a `rejected` frame; "" for any other. */
function rejectionOf(frame: string): string {
  if (!frame.startsWith('{"type":"rejected"')) return "";
  return (JSON.parse(frame) as { code: string }).code;
}

/**
 * Spans of what becomes of one delivery. Each continues where the one before ended: an item's context
 * is that of its last span, so that gateway.write and client.ack are below push.deliver.
 *
 * A replay is a trace of its own, linked to that of the message. The link is remembered here, not in
 * the row: a column for one message in a hundred would be paid by all. So it is there while the owner
 * that archived the message also replays it; after a hand-over the attribute chatify.msg_id is what
 * the two traces have in common.
 */
import type { Clock } from "../../core/clock.ts";
import { GenerationCache } from "../../core/generation_cache.ts";
import type { Limits } from "../../core/limits.ts";
import { SLOW_MS, type Telemetry, type TraceContext } from "../../core/telemetry/telemetry.ts";
import type { Item } from "./feed.ts";

export interface DeliveryTracesDeps {
  readonly clock: Clock;
  readonly telemetry: Pick<Telemetry, "log" | "tracer">;
  readonly limits: Pick<Limits, "ACK_TIMEOUT_MS">;
}

/** Archived messages whose trace is remembered for their replay; more: the oldest go. */
const REMEMBERED_MAX = 4_096;

export class DeliveryTraces {
  private readonly deps: DeliveryTracesDeps;
  private readonly archivedAs = new GenerationCache<string, TraceContext>(REMEMBERED_MAX);

  constructor(deps: DeliveryTracesDeps) {
    this.deps = deps;
  }

  /** The first write of a live item, `ageMs` after it was accepted. Slow ones are always traced. */
  delivered(item: Item, ageMs: number): void {
    const slow = ageMs > SLOW_MS;
    if (item.trace === "" && !slow) return;
    const { limits, telemetry } = this.deps;
    const sampled = item.trace !== "";
    if (!sampled) item.trace = telemetry.tracer.sampleProblem("");
    // Without the earlier spans of its trace, this one covers the whole way since `accepted`.
    const from = sampled ? item.deadline - limits.ACK_TIMEOUT_MS : item.sentAt - ageMs;
    const more = slow ? { "chatify.slow": true, "chatify.age_ms": ageMs } : {};
    item.trace = this.span("push.deliver", item, from, item.sentAt, { more });
    // One that has no trace came after the budget was spent, and is counted by the histogram alone.
    if (!slow || item.trace === "") return;
    const line = { trace: item.trace, msg_id: item.msgId, age_ms: Math.round(ageMs) };
    telemetry.log.warn(line, "a message was slow");
  }

  replayed(item: Item): void {
    const { tracer } = this.deps.telemetry;
    const link = this.archivedAs.get(item.msgId) ?? "";
    item.trace = tracer.follow(link);
    if (item.trace === "") return;
    item.trace = this.span("push.replay", item, item.sentAt, item.sentAt, { link });
  }

  acked(item: Item, now: number): void {
    if (item.trace !== "") this.span("client.ack", item, item.sentAt, now, {});
  }

  /** Archived for want of an ack is a problem; for want of a device it is the normal way. */
  archived(item: Item, reason: string): void {
    const { clock, telemetry } = this.deps;
    const unacked = reason === "unacked";
    if (unacked) item.trace = telemetry.tracer.sampleProblem(item.trace);
    if (item.trace === "") return;
    const now = clock.monotonic();
    const error = unacked ? { error: "no ack in time" } : {};
    const from = item.sentAt === 0 ? now : item.sentAt;
    const trace = this.span("push.archive", item, from, now, error);
    this.archivedAs.set(item.msgId, trace);
    if (unacked) telemetry.log.info({ trace, msg_id: item.msgId }, "no ack in time; archived");
  }

  /** `from` and `to` are monotonic; spans carry wall time. */
  private span(name: string, item: Item, from: number, to: number, extra: Extra): TraceContext {
    const { clock, telemetry } = this.deps;
    const offset = clock.now() - clock.monotonic();
    const { more, ...rest } = extra;
    return telemetry.tracer.span({
      name,
      parent: item.trace,
      start: from + offset,
      end: to + offset,
      attributes: { "chatify.msg_id": item.msgId, ...more },
      ...rest,
    });
  }
}

interface Extra {
  readonly more?: Record<string, string | number | boolean>;
  readonly link?: TraceContext;
  readonly error?: string;
}

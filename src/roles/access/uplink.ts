/**
 * Uplink: what clients send goes onto `chat_input`, and `accepted` goes back once it is durable.
 * One write is in flight at a time, for all partitions together; what arrives meanwhile shares the
 * next one, so the number of messages per entry follows the load.
 */
import type { Clock } from "../../core/clock.ts";
import { FlushLoop } from "../../core/lifecycle/flush.ts";
import type { Limits } from "../../core/limits.ts";
import {
  chatInputBody,
  decodeChatInputText,
  traceOfItem,
  withTrace,
} from "../../core/protocol/chat_input.ts";
import { ChatifyError, type ErrorCode } from "../../core/protocol/errors.ts";
import type { Append, Streams } from "../../core/streams/contract.ts";
import type { Telemetry, TraceContext } from "../../core/telemetry/telemetry.ts";
import type { ConnId, UplinkTuple, WriteTuple } from "../../core/trunk/messages.ts";
import type { NodeId } from "../../core/trunk/node_id.ts";

export interface UplinkDeps {
  readonly streams: Streams;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly limits: Limits;
  /** Sends frames to connections of a gateway. */
  readonly write: (gateway: NodeId, items: WriteTuple[]) => void;
}

/** What the sender of each message of an entry is to be told, in the order of the entry. */
interface Origins {
  readonly gateways: NodeId[];
  readonly conns: ConnId[];
  readonly clientMsgIds: string[];
  readonly items: string[];
}

/** A sampled message of an entry: its span is recorded when the entry is in, or is not. */
interface Traced {
  readonly parent: TraceContext;
  readonly self: TraceContext;
  /** Unix ms. */
  readonly start: number;
}

interface Pending extends Origins {
  /** Null in most entries, since few messages are sampled. */
  traced: Traced[] | null;
  bytes: number;
}

const newPending = (): Pending => {
  return { gateways: [], conns: [], clientMsgIds: [], items: [], traced: null, bytes: 0 };
};

export class Uplink {
  private readonly deps: UplinkDeps;
  private readonly loop: FlushLoop;
  /** Per partition, the entries being filled; the last one takes what comes next. */
  private open = new Map<number, Pending[]>();
  private pending = 0;

  constructor(deps: UplinkDeps) {
    this.deps = deps;
    this.loop = new FlushLoop(deps.clock, () => this.flush());
  }

  take(gateway: NodeId, items: readonly UplinkTuple[]): void {
    const { limits } = this.deps;
    if (this.pending + items.length > limits.UPLINK_PENDING_MAX) {
      this.reject(
        {
          gateways: items.map(() => gateway),
          conns: items.map((i) => i[0]),
          clientMsgIds: items.map((i) => i[1]),
          items: items.map((i) => i[3]),
        },
        new ChatifyError("overloaded", "too many messages wait to be written", 1_000),
        "",
      );
      return;
    }
    this.pending += items.length;
    for (const [conn, clientMsgId, partition, item] of items) {
      const entry = this.entryFor(partition, item.length);
      entry.gateways.push(gateway);
      entry.conns.push(conn);
      entry.clientMsgIds.push(clientMsgId);
      const trace = traceOfItem(item);
      entry.items.push(trace === "" ? item : this.trace(entry, item, trace));
      entry.bytes += item.length;
    }
    this.loop.wake();
  }

  idle(): Promise<void> {
    return this.loop.idle();
  }

  private entryFor(partition: number, bytes: number): Pending {
    const { limits } = this.deps;
    let entries = this.open.get(partition);
    if (entries === undefined) {
      entries = [newPending()];
      this.open.set(partition, entries);
    }
    const last = entries[entries.length - 1];
    const fits =
      last !== undefined &&
      last.items.length < limits.MESSAGES_PER_ENTRY_MAX &&
      (last.items.length === 0 || last.bytes + bytes <= limits.ENTRY_BYTES_MAX);
    if (fits) return last;
    const next = newPending();
    entries.push(next);
    return next;
  }

  private async flush(): Promise<void> {
    const { streams, telemetry } = this.deps;
    const origins: Pending[] = [];
    const appends: Append[] = [];
    for (const [partition, entries] of this.open) {
      for (const entry of entries) {
        origins.push(entry);
        appends.push({ topic: "chat_input", partition, body: chatInputBody(entry.items) });
        telemetry.metrics.batch.observe({ topic: "chat_input" }, entry.items.length);
      }
    }
    this.open = new Map();
    let results: (string | Error)[];
    try {
      results = await streams.append(appends);
    } catch (error) {
      results = origins.map(() => (error instanceof Error ? error : new Error(String(error))));
    }
    const accepted: Origins[] = [];
    for (const [i, origin] of origins.entries()) {
      this.pending -= origin.conns.length;
      const result = results[i];
      const trace = this.recordSpans(origin, result);
      if (typeof result === "string") accepted.push(origin);
      else this.reject(origin, result ?? new Error("no result"), trace);
    }
    this.accept(accepted);
  }

  /** The item as logic gets it: in the context of the span that covers its way into the stream. */
  private trace(entry: Pending, item: string, parent: TraceContext): string {
    const { clock, telemetry } = this.deps;
    const self = telemetry.tracer.child(parent);
    if (self === "") return item;
    entry.traced ??= [];
    entry.traced.push({ parent, self, start: clock.now() });
    return withTrace(item, self);
  }

  /** The context of one of the spans, for the log; "" where there is none. */
  private recordSpans(entry: Pending, result: string | Error | undefined): TraceContext {
    const failed = typeof result !== "string";
    if (entry.traced === null && !failed) return "";
    const { clock, telemetry } = this.deps;
    const { tracer } = telemetry;
    const end = clock.now();
    const error = failed ? { error: result?.message ?? "no result" } : {};
    const attributes = { "chatify.messages": entry.items.length };
    const shared = { name: "access.append", end, attributes, ...error };
    let last = "";
    for (const traced of entry.traced ?? []) last = tracer.span({ ...shared, ...traced });
    if (entry.traced !== null || !failed) return last;
    return tracer.span({ ...shared, parent: tracer.sampleProblem(""), start: end });
  }

  private accept(origins: readonly Origins[]): void {
    const frames = new Map<NodeId, Map<ConnId, string>>();
    let count = 0;
    for (const origin of origins) {
      count += origin.conns.length;
      addFrames(
        frames,
        origin,
        (id) => `{"type":"accepted","client_msg_id":${JSON.stringify(id)}}`,
      );
    }
    if (count > 0) this.deps.telemetry.metrics.accepted.inc(count);
    this.writeAll(frames);
  }

  private reject(origin: Origins, cause: Error, trace: TraceContext): void {
    const error =
      cause instanceof ChatifyError ? cause : new ChatifyError("internal", "not accepted");
    const { log, metrics } = this.deps.telemetry;
    metrics.rejected.inc({ code: error.code }, origin.conns.length);
    this.recordRejections(origin.items, error.code);
    metrics.redisErrors.inc({ operation: "append" });
    const line = { trace, err: cause, code: error.code, messages: origin.conns.length };
    log.warn(line, "sends not accepted");
    const body = JSON.stringify({ retry_after_ms: 1_000, ...error.toBody() }).slice(1);
    const frames = new Map<NodeId, Map<ConnId, string>>();
    addFrames(frames, origin, (id) => {
      return `{"type":"rejected","client_msg_id":${JSON.stringify(id)},${body}`;
    });
    this.writeAll(frames);
  }

  private recordRejections(items: readonly string[], code: ErrorCode): void {
    for (const item of items) {
      const input = decodeChatInputText(item);
      if (input === null) continue;
      const sender = { user: input.fromUserId, device: input.deviceId };
      this.deps.telemetry.ledger.rejected("access", sender, input.clientMsgId, code);
    }
  }

  private writeAll(frames: ReadonlyMap<NodeId, ReadonlyMap<ConnId, string>>): void {
    for (const [gateway, conns] of frames) {
      const items: WriteTuple[] = [];
      for (const [conn, text] of conns) items.push([[conn], text]);
      this.deps.write(gateway, items);
    }
  }
}

/** Joins the frames of each connection, so that a connection is written to once. */
function addFrames(
  frames: Map<NodeId, Map<ConnId, string>>,
  origin: Origins,
  frame: (clientMsgId: string) => string,
): void {
  for (let i = 0; i < origin.conns.length; i++) {
    const gateway = origin.gateways[i] as NodeId;
    const conn = origin.conns[i] as ConnId;
    let conns = frames.get(gateway);
    if (conns === undefined) {
      conns = new Map();
      frames.set(gateway, conns);
    }
    const before = conns.get(conn);
    const text = frame(origin.clientMsgIds[i] as string);
    conns.set(conn, before === undefined ? text : `${before},${text}`);
  }
}

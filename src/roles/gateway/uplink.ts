/**
 * From clients: parses what they send, refuses what is wrong with a code, and hands the rest to the
 * access node of the connection. Everything here is synchronous, so the order in which a client
 * wrote is the order in which access gets it.
 */
import type { Clock } from "../../core/clock.ts";
import type { Ledger } from "../../core/ledger/contract.ts";
import type { TurnClock } from "../../core/lifecycle/turn_clock.ts";
import type { Limits } from "../../core/limits.ts";
import { encodeChatInput } from "../../core/protocol/chat_input.ts";
import type { ErrorCode } from "../../core/protocol/errors.ts";
import { ClientFrame, FRAMES_PER_MESSAGE_MAX, type SendFrame } from "../../core/protocol/frames.ts";
import { ClientMsgId, conversationId } from "../../core/protocol/message.ts";
import { quickFrame } from "../../core/protocol/quick_frame.ts";
import type { Tracer } from "../../core/telemetry/telemetry.ts";
import { type Partitions, partitionOf } from "../../core/topology.ts";
import type { NodeId } from "../../core/trunk/node_id.ts";
import type { AccessLinks } from "./access_links.ts";
import type { Connection } from "./connection.ts";
import type { Downlink } from "./downlink.ts";
import { errorFrame, pongFrame, rejectedFrame } from "./server_frames.ts";
import type { Tally } from "./tally.ts";

export interface UplinkDeps {
  readonly selfNode: NodeId;
  readonly clock: Clock;
  /** For what is asked once per message. */
  readonly turn: TurnClock;
  readonly limits: Limits;
  readonly partitions: Partitions;
  readonly tracer: Tracer;
  readonly ledger: Ledger;
  readonly links: AccessLinks;
  readonly downlink: Downlink;
  readonly tally: Tally;
}

/** Bad frames in a row after which a client is taken for broken or hostile. */
export const BAD_FRAMES_MAX = 20;
/** Client messages, and their characters, that wait for one registration; more are refused. */
const HELD_MAX = 64;
const HELD_CHARS_MAX = 262_144;
/** Characters that wait for registrations on all connections together; more are refused. */
const HELD_CHARS_TOTAL_MAX = 67_108_864;
/** What a client is told to wait when nobody can take its messages at the moment. */
const RETRY_MS = 1_000;

type SignalFrame = Extract<ClientFrame, { type: "typing" | "read" }>;

export class Uplink {
  private readonly deps: UplinkDeps;
  private heldChars = 0;

  constructor(deps: UplinkDeps) {
    this.deps = deps;
  }

  /** Takes one WebSocket text message. It never throws, whatever the text holds. */
  receive(conn: Connection, text: string): void {
    if (conn.closed) return;
    this.deps.tally.bytesIn += Buffer.byteLength(text);
    if (conn.epoch === 0 && conn.access !== null && this.hold(conn, text)) return;
    this.process(conn, text);
  }

  refuseBinary(conn: Connection): void {
    if (!conn.closed) this.bad(conn, undefined, "bad_frame", "the protocol has no binary frames");
  }

  /** Goes on with what arrived before the connection was registered, in its order. */
  release(conn: Connection): void {
    const { held } = conn;
    this.forget(conn);
    for (const text of held ?? []) if (!conn.closed) this.process(conn, text);
  }

  /** Drops what is held. */
  forget(conn: Connection): void {
    this.heldChars -= conn.heldChars;
    conn.held = null;
    conn.heldChars = 0;
  }

  private hold(conn: Connection, text: string): boolean {
    const chars = conn.heldChars + text.length;
    const total = this.heldChars + text.length;
    if (chars > HELD_CHARS_MAX || total > HELD_CHARS_TOTAL_MAX) return false;
    conn.held ??= [];
    if (conn.held.length >= HELD_MAX) return false;
    conn.held.push(text);
    conn.heldChars = chars;
    this.heldChars = total;
    return true;
  }

  private process(conn: Connection, text: string): void {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      this.bad(conn, undefined, "bad_frame", "the message is not JSON");
      return;
    }
    // A text message is valid UTF-8, so only an escape can bring a lone surrogate in.
    const escaped = text.includes("\\u");
    if (!Array.isArray(value)) {
      this.frame(conn, value, escaped);
      return;
    }
    if (value.length === 0) {
      this.bad(conn, undefined, "bad_frame", "an array of frames holds at least one");
    } else if (value.length > FRAMES_PER_MESSAGE_MAX) {
      const most = `a message holds at most ${FRAMES_PER_MESSAGE_MAX} frames`;
      this.bad(conn, undefined, "too_large", most);
    } else {
      for (const frame of value) if (!conn.closed) this.frame(conn, frame, escaped);
    }
  }

  private frame(conn: Connection, value: unknown, escaped: boolean): void {
    const frame = quickFrame(value) ?? this.checked(conn, value);
    if (frame === null) return;
    if (escaped && !wellFormed(frame)) {
      this.bad(conn, undefined, "bad_frame", "a text holds half of a surrogate pair");
      return;
    }
    conn.badFrames = 0;
    this.deps.tally.framesIn[frame.type]++;
    this.dispatch(conn, frame);
  }

  /** What the schema makes of the value; null when it was refused. */
  private checked(conn: Connection, value: unknown): ClientFrame | null {
    const result = ClientFrame.safeParse(value);
    if (result.success) return result.data;
    const issue = result.error.issues[0];
    const field = issue === undefined ? "" : issue.path.join(".");
    const code = field === "content" && issue?.code === "too_big" ? "too_large" : "bad_frame";
    // Neither the value nor the name of an unknown field is repeated: both are the client's.
    this.bad(conn, value, code, `frame is not valid: ${field || "type or fields"}`);
    return null;
  }

  private dispatch(conn: Connection, frame: ClientFrame): void {
    const { access } = conn;
    const { clock, downlink, limits, links } = this.deps;
    if (frame.type === "send") {
      this.send(conn, frame);
      return;
    }
    if (frame.type === "ack") {
      // Without an access node nobody waits for it: what was delivered is delivered again.
      if (access !== null) links.acks(access, conn.id, frame.msg_ids);
      return;
    }
    const wait = this.spend(conn, clock.monotonic(), limits);
    if (wait > 0) {
      downlink.queue(conn, errorFrame("rate_limited", "too many frames", wait));
    } else if (frame.type === "ping") {
      downlink.queue(conn, pongFrame(clock.now()));
    } else if (access === null) {
      downlink.queue(conn, errorFrame("unavailable", "no access node is live", RETRY_MS));
    } else if (frame.type === "watch") {
      links.watch(access, conn.id, frame.user_ids);
    } else {
      this.signal(conn, access, frame);
    }
  }

  private send(conn: Connection, frame: SendFrame): void {
    const { links, partitions, selfNode, turn } = this.deps;
    const at = turn.monotonic();
    const { access } = conn;
    const refusal = this.refusal(conn, at);
    if (refusal !== null || access === null) {
      const [code, message, retryAfterMs] = refusal ?? noAccessNode;
      this.reject(conn, frame.client_msg_id, code, message, retryAfterMs);
      return;
    }
    const conversation = conversationId(frame.target_type, conn.user, frame.to_user_id);
    const receivedAt = turn.now();
    const item = encodeChatInput([
      conversation,
      conn.user,
      conn.device,
      frame.client_msg_id,
      frame.message_type,
      frame.target_type,
      frame.to_user_id,
      frame.content,
      frame.expire_time,
      receivedAt,
      selfNode,
      access,
      conn.id,
      this.trace(conn, receivedAt),
    ]);
    const partition = partitionOf(conversation, partitions.chat);
    links.uplink(access, [conn.id, frame.client_msg_id, partition, item]);
    conn.inFlight ??= new Map();
    // Set anew at a repetition, so that the latency is that of the try which is answered.
    conn.inFlight.set(frame.client_msg_id, at);
  }

  /** Why the connection may not send now; null when it may, which takes a token. */
  private refusal(conn: Connection, at: number): Refusal | null {
    const { limits } = this.deps;
    if (conn.leaving) return ["draining", "this gateway shuts down", RETRY_MS];
    if (conn.access === null || conn.epoch === 0) return noAccessNode;
    const inFlight = conn.inFlight?.size ?? 0;
    if (inFlight >= limits.SENDS_IN_FLIGHT_PER_CONNECTION_MAX) {
      return ["overloaded", "too many sends wait to be accepted", RETRY_MS];
    }
    const wait = this.spend(conn, at, limits);
    return wait > 0 ? ["rate_limited", "too many messages", wait] : null;
  }

  private signal(conn: Connection, access: NodeId, frame: SignalFrame): void {
    const { type, target_type, to_user_id } = frame;
    const seq = frame.type === "read" ? { seq: frame.seq } : {};
    const event = { type, from_user_id: conn.user, target_type, to_user_id, ...seq };
    const conversation = conversationId(target_type, conn.user, to_user_id);
    const encoded = JSON.stringify(event);
    this.deps.links.signal(access, [conversation, conn.user, target_type, to_user_id, encoded]);
  }

  private trace(conn: Connection, receivedAt: number): string {
    const { clock, selfNode, tracer } = this.deps;
    const parent = tracer.sample(conn.traceparent === "" ? undefined : conn.traceparent);
    if (parent === "") return "";
    const attributes = { "chatify.node": selfNode };
    const times = { start: receivedAt, end: clock.now() };
    return tracer.span({ name: "gateway.receive", parent, ...times, attributes });
  }

  /** What is refused here has no other span; one that was not sampled is traced all the same. */
  private traceRefusal(conn: Connection, error: ErrorCode): void {
    const { clock, selfNode, tracer } = this.deps;
    const parent = tracer.sampleProblem("");
    if (parent === "") return;
    const now = clock.now();
    const attributes = { "chatify.node": selfNode };
    const link = conn.traceparent;
    tracer.span({ name: "gateway.receive", parent, start: now, end: now, attributes, error, link });
  }

  private spend(conn: Connection, at: number, limits: Limits): number {
    return conn.spend(at, limits.MESSAGES_PER_SECOND, limits.MESSAGES_BURST);
  }

  private reject(
    conn: Connection,
    clientMsgId: string,
    code: ErrorCode,
    message: string,
    retryAfterMs?: number,
  ): void {
    this.deps.tally.rejected(code);
    this.deps.ledger.rejected("gateway", conn, clientMsgId, code);
    this.traceRefusal(conn, code);
    this.deps.downlink.queue(conn, rejectedFrame(clientMsgId, code, message, retryAfterMs));
  }

  /** Answers a frame that is none: a send by its id where it has one, so that its sender knows. */
  private bad(conn: Connection, value: unknown, code: ErrorCode, message: string): void {
    this.deps.tally.framesIn.bad++;
    conn.badFrames++;
    const clientMsgId = clientMsgIdOf(value);
    if (clientMsgId !== null) this.reject(conn, clientMsgId, code, message);
    else this.deps.downlink.queue(conn, errorFrame(code, message));
    if (conn.badFrames >= BAD_FRAMES_MAX) this.deps.downlink.end(conn, "protocol_error");
  }
}

type Refusal = [code: ErrorCode, message: string, retryAfterMs: number];

const noAccessNode: Refusal = ["unavailable", "no access node has this connection now", RETRY_MS];

function clientMsgIdOf(value: unknown): string | null {
  if (typeof value !== "object" || value === null) return null;
  const { type, client_msg_id: id } = value as Record<string, unknown>;
  if (type !== "send" || !ClientMsgId.safeParse(id).success) return null;
  return typeof id === "string" && id.isWellFormed() ? id : null;
}

/** Whether all texts of a frame are whole; ids and contents alike end up in JSON and in SQL. */
function wellFormed(frame: ClientFrame): boolean {
  for (const field of Object.values(frame)) {
    if (typeof field === "string" && !field.isWellFormed()) return false;
    if (Array.isArray(field) && !field.every((id) => String(id).isWellFormed())) return false;
  }
  return true;
}

/**
 * The ledger of one process. Events go into the buffer of a segment; when it is full, or a second
 * after its first event, it is sealed and handed to the shipper. An event is some stores into that
 * buffer: about a fifth of a microsecond, its share of sealing included.
 */
import type { Clock, Timer } from "../clock.ts";
import type { Limits } from "../limits.ts";
import type { ChatInput } from "../protocol/chat_input.ts";
import type { ErrorCode } from "../protocol/errors.ts";
import { isPushMsgId } from "../protocol/msg_id.ts";
import type { Session } from "../sessions/contract.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { NodeId } from "../trunk/node_id.ts";
import type { Ledger, PushedMessage, RefusingRole, StoredReason } from "./contract.ts";
import { type EventKind, kindCode } from "./event.ts";
import { messageHash } from "./id_filter.ts";
import { SegmentWriter } from "./segment_writer.ts";
import type { Shipper } from "./shipper.ts";

export interface RecorderDeps {
  readonly self: NodeId;
  readonly clock: Clock;
  readonly metrics: Pick<Metrics, "ledgerEvents">;
  readonly limits: Pick<Limits, "LEDGER_SEAL_MS">;
  readonly shipper: Shipper;
  /** Share of chat messages whose straight way is kept; 1 keeps all. */
  readonly sampleRatio: number;
}

const NUMBERED = kindCode("numbered");
const REPEATED = kindCode("repeated");
const REJECTED = kindCode("rejected");
const PUSHED = kindCode("pushed");
const WRITTEN = kindCode("written");
const REPLAYED = kindCode("replayed");
const ACKED = kindCode("acked");
const MAX_HASH = 0x1_0000_0000;

export class Recorder implements Ledger {
  private readonly writer = new SegmentWriter();
  /** Hashes below it are kept. */
  private readonly keepBelow: number;
  private timer: Timer | null = null;
  private count = 0;

  constructor(private readonly deps: RecorderDeps) {
    this.keepBelow = deps.sampleRatio * MAX_HASH;
  }

  numbered(input: ChatInput, msgId: string, seq: number, recipients: number): void {
    if (this.skips(msgId)) return;
    const row = this.open(NUMBERED);
    row.msgId(msgId);
    row.send(input.fromUserId, input.clientMsgId);
    row.text(input.deviceId);
    row.text(input.toUserId);
    row.text(input.messageType);
    row.byte(input.targetType === "GROUP" ? 1 : 0);
    row.number(seq);
    row.number(recipients);
    row.number(input.expireTime);
    row.time(input.receivedAtMs);
    row.node(input.gatewayNodeId);
    row.node(input.accessNodeId);
  }

  repeated(input: ChatInput, msgId: string): void {
    const row = this.open(REPEATED);
    row.msgId(msgId);
    row.send(input.fromUserId, input.clientMsgId);
    row.text(input.deviceId);
  }

  rejected(
    role: RefusingRole,
    sender: { readonly user: string; readonly device: string },
    clientMsgId: string,
    code: ErrorCode,
  ): void {
    const row = this.open(REJECTED);
    row.send(sender.user, clientMsgId);
    row.text(sender.device);
    row.text(role);
    row.text(code);
  }

  pushed(message: PushedMessage): void {
    const row = this.open(PUSHED);
    row.msgId(message.msgId);
    row.text(message.fromUserId);
    row.text(message.toUserId);
    row.text(message.contentId);
    row.number(message.expireTime);
  }

  written(msgId: string, user: string, session: Session, replayed: boolean): void {
    if (!replayed && this.skips(msgId)) return;
    const row = this.open(replayed ? REPLAYED : WRITTEN);
    row.msgId(msgId);
    row.text(user);
    row.text(session.device);
    row.node(session.gateway);
    row.number(session.conn);
  }

  acked(msgId: string, user: string, device: string): void {
    if (this.skips(msgId)) return;
    const row = this.open(ACKED);
    row.msgId(msgId);
    row.text(user);
    row.text(device);
  }

  stored(msgId: string, user: string, reason: StoredReason): void {
    this.about("stored", msgId, user, reason);
  }

  expired(msgId: string, user: string, stage: "push" | "offline"): void {
    this.about("expired", msgId, user, stage);
  }

  confirmed(msgId: string, user: string): void {
    this.about("confirmed", msgId, user);
  }

  deadLettered(about: string, topic: string, reason: string): void {
    this.about("dead_lettered", about, topic, reason);
  }

  notified(msgId: string, user: string, channel: string, outcome: string): void {
    this.about("notified", msgId, user, channel, outcome);
  }

  /** Seals what there is, so that it can be found. */
  seal(): void {
    this.timer?.cancel();
    this.timer = null;
    if (this.writer.events === 0) return;
    const { metrics, shipper } = this.deps;
    metrics.ledgerEvents.inc(this.writer.events);
    shipper.add({ number: ++this.count, ...this.writer.seal() });
  }

  private about(kind: EventKind, msgId: string, ...texts: readonly string[]): void {
    const row = this.open(kindCode(kind));
    row.msgId(msgId);
    for (const text of texts) row.text(text);
  }

  private open(kind: number): SegmentWriter {
    const { clock, limits } = this.deps;
    if (this.writer.isFull()) this.seal();
    this.timer ??= clock.after(limits.LEDGER_SEAL_MS, () => {
      this.timer = null;
      this.seal();
    });
    this.writer.begin(kind, clock.now());
    return this.writer;
  }

  /** A function of the id alone, so that all nodes keep the same messages. */
  private skips(msgId: string): boolean {
    if (this.keepBelow >= MAX_HASH || isPushMsgId(msgId)) return false;
    return messageHash(msgId) >>> 0 >= this.keepBelow;
  }
}

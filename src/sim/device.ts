/**
 * A device of a user: a raw client of the protocol, without the SDK. It repeats what is not answered
 * under the same client message id, acks what it gets, comes back when its connection ends, and can
 * be told to behave badly. What it sees goes into the history.
 */
import { mayReconnect } from "../core/protocol/errors.ts";
import type { ServerFrame } from "../core/protocol/frames.ts";
import type { History } from "./history.ts";
import type { Host } from "./host.ts";
import type { Node } from "./node.ts";
import type { Cancel, Scheduler } from "./scheduler.ts";
import type { SeededRandom } from "./seeded_random.ts";
import { Wire } from "./wire.ts";

/** A message that a user wants to send. */
export interface Operation {
  readonly op: string;
  readonly target: "USER" | "GROUP";
  readonly to: string;
  readonly expireTime: number;
  readonly content: string;
}

export interface DeviceWorld {
  readonly scheduler: Scheduler;
  readonly history: History;
  /** The gateways that a balancer would pick from. */
  gateways(): readonly Node[];
  nextConnection(): number;
  readonly droppedSend: number;
  readonly freshClientIds: boolean;
  /** Called with every text that a device gets, for a planted bug. */
  onText?(device: Device, text: string): void;
}

export interface Habits {
  /** Longest pause before an ack. */
  ackMs: number;
  /** How long reading one text takes. */
  readMs: number;
  /** Part of the deliveries at which the client dies before it acks. */
  dies: number;
}

const CONNECT_MS = 3_000;
const ANSWER_MS = 3_000;
const PING_MS = 2_500;
const SILENCE_MS = 6_000;
const ATTEMPTS_MAX = 40;
const BUFFER_TEXTS = 4;
/** Part of the messages that a client repeats although they may have been answered, and when. */
const REPEATED = 0.12;
const REPEAT_MS_MAX = 9_000;
export const POLITE: Habits = { ackMs: 20, readMs: 0, dies: 0 };

interface Sending extends Operation {
  attempts: number;
  /** Refused for good: a repetition could only confuse. */
  settled: boolean;
  clientMsgId: string;
  retry: Cancel;
}

type Rejected = Extract<ServerFrame, { type: "rejected" }>;
type Sent = Extract<ServerFrame, { type: "sent" }>;

export class Device {
  habits: Habits = { ...POLITE };
  wire: Wire | null = null;
  private wanted = false;
  /** The server said that coming back would not help. */
  private sentAway = false;
  private welcomed = false;
  private connection = 0;
  private heardAt = 0;
  private readonly unanswered = new Map<string, Sending>();
  private readonly opOf = new Map<string, string>();
  private acks: string[] = [];
  private ackDue = false;

  constructor(
    readonly user: string,
    readonly id: string,
    private readonly world: DeviceWorld,
    private readonly random: SeededRandom,
  ) {}

  get online(): boolean {
    return this.welcomed;
  }

  /** It wants to be online, and is not. */
  get stranded(): boolean {
    return this.wanted && !this.welcomed;
  }

  /** The host of the gateway that it is connected to. */
  gateway: Host | null = null;

  goOnline(): void {
    this.wanted = true;
    this.sentAway = false;
    if (this.wire === null) this.connect();
  }

  goAway(): void {
    this.wanted = false;
    this.drop(false);
  }

  /** Ends the connection without notice to anybody; comes back later if it was to be online. */
  crash(silently: boolean): void {
    this.drop(silently);
    this.comeBack(this.random.between(100, 3_000));
  }

  submit(operation: Operation): void {
    const clientMsgId = `c-${operation.op}`;
    const none = { attempts: 0, settled: false, retry: () => {} };
    const sending: Sending = { ...operation, ...none, clientMsgId };
    this.unanswered.set(operation.op, sending);
    if (this.welcomed) this.attempt(sending);
    if (!this.random.chance(REPEATED)) return;
    this.world.scheduler.after(this.random.between(0, REPEAT_MS_MAX), () => this.repeat(sending));
  }

  /** It lost its memory of the answer, as a page does that is loaded again. */
  private repeat(sending: Sending): void {
    if (sending.attempts === 0 || sending.settled) return;
    this.unanswered.set(sending.op, sending);
    this.attempt(sending);
  }

  /** For a planted bug: what somebody else was sent arrives here as well. */
  overhear(text: string): void {
    this.wire?.leak(text);
  }

  private connect(): void {
    const gateways = this.world.gateways();
    if (gateways.length === 0) {
      this.comeBack(500);
      return;
    }
    const node = this.random.pick(gateways);
    if (node.gateway === null) return;
    const connection = this.world.nextConnection();
    this.connection = connection;
    this.gateway = node.host;
    const wire: Wire = new Wire({
      host: node.host,
      hub: node.gateway,
      random: this.random.fork(),
      identity: {
        userId: this.user,
        deviceId: this.id,
        expiresAt: null,
        issuedAt: 0,
        traceparent: "",
      },
      bufferMax: BUFFER_TEXTS,
      droppedSend: this.world.droppedSend,
      end: {
        onText: (text) => {
          if (this.wire === wire) this.read(text);
        },
        onClose: (code) => {
          if (this.wire === wire) this.lost(code);
        },
      },
    });
    wire.readMs = this.habits.readMs;
    this.wire = wire;
    this.world.scheduler.after(CONNECT_MS, () => {
      if (this.wire === wire && !this.welcomed) this.crash(false);
    });
  }

  private lost(code: number): void {
    this.drop(false, code);
    if (!mayReconnect(code)) this.sentAway = true;
    this.comeBack(this.random.between(20, 800));
  }

  private drop(silently: boolean, code = 0): void {
    const { wire } = this;
    this.wire = null;
    this.gateway = null;
    this.acks = [];
    if (this.welcomed) this.session("closed", code);
    this.welcomed = false;
    if (wire === null) return;
    if (silently) wire.vanish();
    else wire.end();
  }

  private comeBack(ms: number): void {
    this.world.scheduler.after(ms, () => {
      if (this.wanted && !this.sentAway && this.wire === null) this.connect();
    });
  }

  private session(state: "welcome" | "closed", code = 0): void {
    const { user, id: device, connection } = this;
    this.world.history.add({ kind: "session", user, device, connection, state, code });
  }

  private read(text: string): void {
    this.heardAt = this.world.scheduler.now();
    this.world.onText?.(this, text);
    const value = JSON.parse(text) as ServerFrame | ServerFrame[];
    const { wire } = this;
    for (const frame of Array.isArray(value) ? value : [value]) {
      // What comes after the frame at which the client died, it never saw.
      if (this.wire !== wire) return;
      this.frame(frame);
    }
  }

  private frame(frame: ServerFrame): void {
    switch (frame.type) {
      case "welcome":
        this.welcomed = true;
        this.session("welcome");
        this.watchSilence();
        for (const sending of [...this.unanswered.values()]) this.attempt(sending);
        return;
      case "accepted":
        this.answered(frame.client_msg_id, "accepted", null, null);
        return;
      case "sent":
        this.answered(frame.client_msg_id, "sent", frame, null);
        return;
      case "rejected":
        this.answered(frame.client_msg_id, "rejected", null, frame);
        return;
      case "error":
        if (frame.code === "outcome_unknown") this.repeatAll(frame.retry_after_ms ?? 100);
        return;
      case "message":
        this.message(frame.message);
        return;
      default:
    }
  }

  private message(message: Extract<ServerFrame, { type: "message" }>["message"]): void {
    const { user, id: device, connection } = this;
    this.world.history.add({
      kind: "delivery",
      user,
      device,
      connection,
      msgId: message.msg_id,
      conversation: message.conversation_id,
      seq: message.seq,
      from: message.from_user_id,
      op: tokenOf(message.content),
    });
    if (this.random.chance(this.habits.dies)) {
      this.crash(this.random.chance(0.5));
      return;
    }
    this.acks.push(message.msg_id);
    if (this.ackDue) return;
    this.ackDue = true;
    this.world.scheduler.after(this.random.between(0, this.habits.ackMs), () => {
      this.ackDue = false;
      const msg_ids = this.acks;
      this.acks = [];
      if (msg_ids.length > 0) this.write({ type: "ack", msg_ids });
    });
  }

  private attempt(sending: Sending): void {
    if (!this.welcomed || !this.unanswered.has(sending.op)) return;
    const { op, target, to, content, expireTime } = sending;
    if (sending.attempts >= ATTEMPTS_MAX) return;
    if (sending.attempts > 0 && this.world.freshClientIds) sending.clientMsgId += "x";
    sending.attempts++;
    const { clientMsgId } = sending;
    this.opOf.set(clientMsgId, op);
    const { user, id: device } = this;
    this.world.history.add({
      ...{ kind: "send", op, clientMsgId, user, device, target, to, expireTime },
    });
    this.write({
      type: "send",
      client_msg_id: clientMsgId,
      target_type: target,
      to_user_id: to,
      content,
      ...(expireTime > 0 ? { expire_time: expireTime } : {}),
    });
    this.retryIn(sending, ANSWER_MS);
  }

  private retryIn(sending: Sending, ms: number): void {
    sending.retry();
    sending.retry = this.world.scheduler.after(ms, () => this.attempt(sending));
  }

  private repeatAll(ms: number): void {
    for (const sending of this.unanswered.values()) this.retryIn(sending, ms);
  }

  private answered(
    clientMsgId: string,
    answer: "accepted" | "sent" | "rejected",
    sent: Sent | null,
    rejected: Rejected | null,
  ): void {
    const op = this.opOf.get(clientMsgId);
    if (op === undefined) return;
    const sending = this.unanswered.get(op);
    this.world.history.add({
      ...{ kind: "answer", op, user: this.user, answer, code: rejected?.code ?? "" },
      ...{ msgId: sent?.msg_id ?? "", seq: sent?.seq ?? 0 },
      conversation: sent?.conversation_id ?? "",
    });
    if (sending === undefined) return;
    if (rejected?.retryable) {
      this.retryIn(sending, (rejected.retry_after_ms ?? 100) * this.random.between(0.5, 1.5));
      return;
    }
    sending.retry();
    sending.settled = answer === "rejected";
    this.unanswered.delete(op);
  }

  /** A connection on which nothing comes, not even an answer to a ping, is given up. */
  private watchSilence(): void {
    const { wire, world } = this;
    const look = () => {
      if (this.wire !== wire || wire === null) return;
      if (world.scheduler.now() - this.heardAt > SILENCE_MS) {
        this.crash(false);
        return;
      }
      this.write({ type: "ping" });
      world.scheduler.after(PING_MS, look);
    };
    world.scheduler.after(PING_MS, look);
  }

  private write(frame: object): void {
    this.wire?.write(JSON.stringify(frame));
  }
}

function tokenOf(content: string): string {
  const text = content.startsWith("{") ? content : Buffer.from(content, "base64").toString();
  const body = JSON.parse(text) as { token?: string };
  return body.token ?? "";
}

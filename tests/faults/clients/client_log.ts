/**
 * What all clients of a run observe, as the history that the checker judges, and what they know of
 * each other's messages. Written at the socket, so that repetitions are seen that the SDK would hide.
 */
import { CLOSE_CODES } from "../../../src/core/protocol/errors.ts";
import type { Message } from "../../../src/core/protocol/message.ts";
import { History, type NewEvent } from "../../../src/sim/history.ts";
import type { Frame } from "../../integration/raw_client.ts";

export interface Party {
  readonly user: string;
  readonly device: string;
}

const RECENT_IDS = 256;

export class ClientLog {
  readonly history: History;
  /** What the SDK handed to its application twice in one life, which it promises not to do. */
  readonly handedTwice: string[] = [];
  accepted = 0;
  /** Ids that senders were told: their recipients have them, or are about to get them. */
  readonly recentIds: string[] = [];
  private readonly acceptedOps = new Set<string>();
  private readonly connections = new Map<string, number>();

  constructor(readonly now: () => number) {
    this.history = new History(now);
  }

  note(text: string): void {
    this.history.add({ kind: "note", text });
  }

  /** Counts an operation once, however often it is answered. */
  accept(op: string): void {
    if (this.acceptedOps.has(op)) return;
    this.acceptedOps.add(op);
    this.accepted++;
  }

  /** Connections of a device are numbered as they are dialled. */
  nextConnection({ user, device }: Party): number {
    const name = `${user}/${device}`;
    const number = (this.connections.get(name) ?? 0) + 1;
    this.connections.set(name, number);
    return number;
  }

  welcomed({ user, device }: Party, connection: number): void {
    const event = { kind: "session", user, device, connection, state: "welcome", code: 0 } as const;
    this.history.add(event);
  }

  /** `code` is 0 when the client ended it. */
  closed({ user, device }: Party, connection: number, code: number): void {
    // A later one was dialled: the server may have registered it although its welcome never came.
    const explained =
      code === CLOSE_CODES.replaced &&
      (this.connections.get(`${user}/${device}`) ?? 0) > connection;
    this.history.add({
      ...{ kind: "session", user, device, connection },
      ...{ state: "closed", code: explained ? 0 : code },
    });
  }

  sent({ user, device }: Party, frame: Frame): void {
    const op = String(frame.client_msg_id);
    this.history.add({
      ...{ kind: "send", op, clientMsgId: op, user, device },
      target: frame.target_type === "GROUP" ? "GROUP" : "USER",
      to: String(frame.to_user_id),
      expireTime: Number(frame.expire_time ?? 0),
    });
  }

  answered({ user }: Party, frame: Frame): void {
    const op = String(frame.client_msg_id);
    const answer = frame.type as "accepted" | "sent" | "rejected";
    if (answer !== "rejected") this.accept(op);
    // Accepted by access, and then refused by logic, which looks at it later.
    else if (frame.retryable !== true && this.acceptedOps.delete(op)) this.accepted--;
    if (answer === "sent") this.remember(String(frame.msg_id));
    const event: NewEvent = {
      ...{ kind: "answer", op, user, answer, code: String(frame.code ?? "") },
      ...{ msgId: String(frame.msg_id ?? ""), conversation: String(frame.conversation_id ?? "") },
      seq: Number(frame.seq ?? 0),
    };
    this.history.add(event);
  }

  delivered({ user, device }: Party, connection: number, message: Message): void {
    this.history.add({
      ...{ kind: "delivery", user, device, connection },
      ...{ msgId: message.msg_id, conversation: message.conversation_id, seq: message.seq },
      ...{ from: message.from_user_id, op: canaryOf(message) },
    });
  }

  private remember(msgId: string): void {
    this.recentIds.push(msgId);
    if (this.recentIds.length > RECENT_IDS) this.recentIds.shift();
  }
}

/** Every body starts with a token that no other body has; system pushes carry theirs in base64. */
export function bodyOf(canary: string, filler: string): string {
  return `${canary} ${filler}`;
}

function canaryOf({ content, target_type }: Message): string {
  const text = target_type === "SYSTEM" ? Buffer.from(content, "base64").toString() : content;
  const end = text.indexOf(" ");
  return end < 0 ? "" : text.slice(0, end);
}

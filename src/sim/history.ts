/**
 * What clients saw, in the order of time: the only thing that the checker judges delivery by. Real
 * runs write the same events. Times are milliseconds of one clock that all events share.
 *
 * An operation is one message that a user wants to send, named by a token that no other has, which
 * is also in its body. It may be attempted several times, under one client message id.
 */
export type HistoryEvent =
  | Send
  | Answer
  | Delivery
  | SessionEvent
  | GroupChange
  | SystemPush
  | DataLoss
  | Eviction
  | Sample
  | Failure
  | { readonly kind: "note"; readonly at: number; readonly text: string };

/** One attempt of an operation leaves the client. */
export interface Send {
  readonly kind: "send";
  readonly at: number;
  readonly op: string;
  readonly clientMsgId: string;
  readonly user: string;
  readonly device: string;
  readonly target: "USER" | "GROUP";
  readonly to: string;
  /** Unix seconds; 0 means never. */
  readonly expireTime: number;
}

/** The client got an answer to an attempt. */
export interface Answer {
  readonly kind: "answer";
  readonly at: number;
  readonly op: string;
  readonly user: string;
  readonly answer: "accepted" | "sent" | "rejected";
  /** Of `rejected`. */
  readonly code: string;
  /** Of `sent`. */
  readonly msgId: string;
  readonly conversation: string;
  readonly seq: number;
}

/** A message frame arrived at a device. */
export interface Delivery {
  readonly kind: "delivery";
  readonly at: number;
  readonly user: string;
  readonly device: string;
  readonly connection: number;
  readonly msgId: string;
  readonly conversation: string;
  readonly seq: number;
  readonly from: string;
  /** The token in the body; "" when the body has none. */
  readonly op: string;
}

export interface SessionEvent {
  readonly kind: "session";
  readonly at: number;
  readonly user: string;
  readonly device: string;
  readonly connection: number;
  readonly state: "welcome" | "closed";
  /** Of the WebSocket, when the server closed it; 0 when the client did, or nobody. */
  readonly code: number;
}

export interface GroupChange {
  readonly kind: "group";
  readonly at: number;
  readonly group: string;
  readonly change: "add" | "remove";
  readonly users: readonly string[];
  /** `asked` when the request leaves; then how it ended. */
  readonly outcome: "asked" | "ok" | "unknown";
}

/** A system push over HTTP; each recipient gets a message of their own with the same token. */
export interface SystemPush {
  readonly kind: "push";
  readonly at: number;
  readonly op: string;
  readonly users: readonly string[];
  readonly outcome: "asked" | "ok" | "unknown";
}

/** Redis lost what it had confirmed. */
export interface DataLoss {
  readonly kind: "loss";
  readonly at: number;
  readonly what: string;
  /** What the offline store held then and nobody had acked, without what may expire. */
  readonly kept: readonly (readonly [user: string, msgId: string])[];
  /** Whoever numbered messages before lives on, so that repetitions are recognised all the same. */
  readonly remembered: boolean;
}

/** An administrator ended the sessions of a user, or of one device; recorded when it was answered. */
export interface Eviction {
  readonly kind: "evicted";
  readonly at: number;
  readonly user: string;
  /** "" for all. */
  readonly device: string;
  readonly why: "kicked" | "token_revoked";
}

/** How much of something there was: memory, descriptors, a queue. */
export interface Sample {
  readonly kind: "sample";
  readonly at: number;
  /** What it is and whose. */
  readonly what: string;
  readonly value: number;
  readonly max: number;
}

/** A process did what it never may: a rejection that nobody handled, an exception, an exit. */
export interface Failure {
  readonly kind: "failure";
  readonly at: number;
  readonly text: string;
}

type Without<T> = T extends { at: number } ? Omit<T, "at"> : never;
/** An event before the history has given it its time. */
export type NewEvent = Without<HistoryEvent>;

export class History {
  readonly events: HistoryEvent[] = [];

  constructor(private readonly now: () => number) {}

  add(event: NewEvent): void {
    const at = Math.round(this.now() * 1_000) / 1_000;
    this.events.push({ at, ...event } as HistoryEvent);
  }

  /** Equal for equal histories. */
  digest(): string {
    const hasher = new Bun.CryptoHasher("sha256");
    for (const event of this.events) hasher.update(JSON.stringify(event)).update("\n");
    return hasher.digest("hex");
  }
}

/** One event as a line for people; times are seconds since `start`. */
export function describe(event: HistoryEvent, start: number): string {
  const time = ((event.at - start) / 1_000).toFixed(4).padStart(9);
  return `${time}  ${wordsOf(event)}`;
}

function wordsOf(event: HistoryEvent): string {
  switch (event.kind) {
    case "send": {
      const { user, device, op, clientMsgId, to, expireTime } = event;
      const expiry = expireTime > 0 ? ` expires ${expireTime}` : "";
      return `${user}/${device} sends ${op} (${clientMsgId}) to ${to}${expiry}`;
    }
    case "answer": {
      const { user, op, answer, code, msgId, conversation, seq } = event;
      const more = answer === "sent" ? ` as ${msgId}, ${conversation} #${seq}` : ` ${code}`;
      return `${user} hears ${answer} for ${op}${more}`;
    }
    case "delivery": {
      const { user, device, connection, op, msgId, conversation, seq, from } = event;
      const what = `${op} (${msgId}, ${conversation} #${seq}) from ${from}`;
      return `${user}/${device} gets ${what} on connection ${connection}`;
    }
    case "session":
      return `${event.user}/${event.device} connection ${event.connection}: ${event.state}${event.code > 0 ? ` ${event.code}` : ""}`;
    case "group":
      return `group ${event.group}: ${event.change} ${event.users.join()}: ${event.outcome}`;
    case "push":
      return `system push ${event.op} to ${event.users.join()}: ${event.outcome}`;
    case "loss":
      return `-- Redis loses ${event.what}; SQL holds ${event.kept.length} messages`;
    case "evicted":
      return `${event.user}/${event.device || "*"} is sent away: ${event.why}`;
    case "sample":
      return `${event.what}: ${event.value} of ${event.max}`;
    case "failure":
      return `-- ${event.text}`;
    case "note":
      return `-- ${event.text}`;
  }
}

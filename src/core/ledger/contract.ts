/**
 * The ledger: the trail that every message leaves, so that "where is it, and why?" has an answer.
 * Roles say what happened; a recorder keeps it and hands it to the offline role in segments.
 *
 * Cost: no call allocates, waits or throws. An event is some bytes appended to a buffer.
 * Loss: events of about the last second are only in memory, and go with a process that is killed.
 * A message never depends on them, and a trace also looks at what is at rest: see `present.ts`.
 * Order: events of one node are in the order of its calls; those of several are merged by their
 * wall clocks, so they can be off by as much as the clocks are.
 * Sampling: the straight way of a chat message (numbered, written, acked) is kept for a share of
 * messages that is configured, the same ones on every node; everything else is always kept.
 */
import type { ChatInput } from "../protocol/chat_input.ts";
import type { ErrorCode } from "../protocol/errors.ts";
import type { Session } from "../sessions/contract.ts";

/** Who refused a send. */
export type RefusingRole = "gateway" | "access" | "logic";
/** `offline`: no device was there. `unacked`: it was written and nobody confirmed it in time. */
export type StoredReason = "offline" | "unacked" | "http";
/** Says whose push it was: from a user's backend, in the way of `sendSystemPush`. */
export interface PushedMessage {
  readonly msgId: string;
  readonly fromUserId: string;
  readonly toUserId: string;
  readonly contentId: string;
  /** Unix seconds; 0 means never. */
  readonly expireTime: number;
}

export interface Ledger {
  /** logic: committed with its number, and handed over to push for `recipients` users. */
  numbered(input: ChatInput, msgId: string, seq: number, recipients: number): void;
  /** logic: a repetition of `msgId` by its client, answered with the number that it has. */
  repeated(input: ChatInput, msgId: string): void;
  /** A send that was refused. It has no id, so it is found by its sender and client message id. */
  rejected(
    role: RefusingRole,
    sender: { readonly user: string; readonly device: string },
    clientMsgId: string,
    code: ErrorCode,
  ): void;
  /** logic: a system push to one user is durable. */
  pushed(message: PushedMessage): void;
  /** push: handed to the connection of a device, live or out of the offline store. */
  written(msgId: string, user: string, session: Session, replayed: boolean): void;
  /** push: the device confirmed it. */
  acked(msgId: string, user: string, device: string): void;
  /** It is in the offline store, on disk. */
  stored(msgId: string, user: string, reason: StoredReason): void;
  /** Past its expire_time, and therefore dropped, before delivery or out of the store. */
  expired(msgId: string, user: string, stage: "push" | "offline"): void;
  /** The user, or the user's backend, confirmed it over HTTP. */
  confirmed(msgId: string, user: string): void;
  /**
   * Given up: its entry is in dead_letter. `about` is a message id; or of `chat_input` the 15
   * characters that all ids of the entry begin with, when the entry could not be taken apart.
   */
  deadLettered(about: string, topic: string, reason: string): void;
  /** Somebody outside was told that nobody had confirmed it: a webhook, or Web Push. */
  notified(msgId: string, user: string, channel: string, outcome: string): void;
}

/** For what keeps no ledger: the simulator, tests, and a process that is configured so. */
export const silentLedger: Ledger = {
  numbered() {},
  repeated() {},
  rejected() {},
  pushed() {},
  written() {},
  acked() {},
  stored() {},
  expired() {},
  confirmed() {},
  deadLettered() {},
  notified() {},
};

/** What the ledger tells about one step of a message. */
import type { RefusingRole, StoredReason } from "./contract.ts";

/** In a row, a kind is its place here, from 1: new ones come at the end. */
export const EVENT_KINDS = [
  "numbered",
  "repeated",
  "rejected",
  "pushed",
  "written",
  "replayed",
  "acked",
  "stored",
  "expired",
  "confirmed",
  "dead_lettered",
  "notified",
] as const;
export type EventKind = (typeof EVENT_KINDS)[number];

export function kindCode(kind: EventKind): number {
  return EVENT_KINDS.indexOf(kind) + 1;
}

interface Step {
  /** Unix ms by the wall clock of `node`. */
  readonly at: number;
  readonly node: string;
}

export interface Sender {
  /** Who sent it. */
  readonly user: string;
  readonly device: string;
  readonly clientMsgId: string;
}

export interface Numbered extends Step, Sender {
  readonly kind: "numbered";
  readonly msgId: string;
  readonly to: string;
  readonly target: "USER" | "GROUP";
  readonly messageType: string;
  readonly seq: number;
  readonly recipients: number;
  /** Unix seconds; 0 means never. */
  readonly expireTime: number;
  /** Unix ms at which the gateway read it. */
  readonly receivedAt: number;
  readonly gateway: string;
  readonly access: string;
}

export interface Repeated extends Step, Sender {
  readonly kind: "repeated";
  readonly msgId: string;
}

export interface Rejected extends Step, Sender {
  readonly kind: "rejected";
  readonly msgId: "";
  readonly role: RefusingRole;
  readonly code: string;
}

export interface Pushed extends Step {
  readonly kind: "pushed";
  readonly msgId: string;
  readonly user: string;
  readonly to: string;
  readonly contentId: string;
  readonly expireTime: number;
}

export interface Written extends Step {
  readonly kind: "written" | "replayed";
  readonly msgId: string;
  /** The recipient. */
  readonly user: string;
  readonly device: string;
  readonly gateway: string;
  readonly conn: number;
}

export interface Acked extends Step {
  readonly kind: "acked";
  readonly msgId: string;
  readonly user: string;
  readonly device: string;
}

export interface Stored extends Step {
  readonly kind: "stored";
  readonly msgId: string;
  readonly user: string;
  readonly reason: StoredReason;
}

export interface Expired extends Step {
  readonly kind: "expired";
  readonly msgId: string;
  readonly user: string;
  readonly stage: "push" | "offline";
}

export interface Confirmed extends Step {
  readonly kind: "confirmed";
  readonly msgId: string;
  readonly user: string;
}

export interface DeadLettered extends Step {
  readonly kind: "dead_lettered";
  /** Of the message, or what the ids of its entry begin with. */
  readonly msgId: string;
  readonly user: "";
  readonly topic: string;
  readonly reason: string;
}

export interface Notified extends Step {
  readonly kind: "notified";
  readonly msgId: string;
  readonly user: string;
  readonly channel: string;
  readonly outcome: string;
}

export type LedgerEvent =
  | Numbered
  | Repeated
  | Rejected
  | Pushed
  | Written
  | Acked
  | Stored
  | Expired
  | Confirmed
  | DeadLettered
  | Notified;

/**
 * One client connection. There are up to 18 500 of them in a process and most are idle, so a
 * connection owns no timer and no closure, and what only a busy one needs is made when it is needed.
 */
import type { CloseReason } from "../../core/protocol/errors.ts";
import type { ConnId } from "../../core/trunk/messages.ts";
import type { NodeId } from "../../core/trunk/node_id.ts";

/** What a WebSocket is to the gateway; Bun's ServerWebSocket is one, the simulator has another. */
export interface ClientSocket {
  /** Bytes written, -1 when they wait in the socket's buffer, 0 when they were dropped. */
  send(text: string): number;
  close(code: number, reason: string): void;
}

export interface Identity {
  readonly userId: string;
  readonly deviceId: string;
  /** Unix ms; null for a token that never expires. */
  readonly expiresAt: number | null;
  /** Unix seconds; 0 for a token that does not say. */
  readonly issuedAt: number;
  /** The handshake's own `traceparent`, or "". */
  readonly traceparent: string;
}

/** Something that arrived before `registered` did; looked at once the epoch is known. */
export type EarlyItem = [epoch: number, frames: string, close: CloseReason | ""];

export class Connection {
  readonly id: ConnId;
  readonly user: string;
  readonly device: string;
  /** Unix ms of the handshake. */
  readonly since: number;
  readonly expiresAt: number;
  readonly issuedAt: number;
  readonly traceparent: string;
  socket: ClientSocket | null = null;

  /** The access node that it is bound to; null while there is none. */
  access: NodeId | null = null;
  /** The one before, which may still owe answers to sends; null when it owes none. */
  previousAccess: NodeId | null = null;
  /** The session epoch; 0 while `registered` is awaited. */
  epoch = 0;
  /** When it was bound, on the monotonic clock, and how often. */
  boundAt = 0;
  bindings = 0;
  welcomed = false;
  /** True from the moment at which the gateway or the client ended it. */
  closed = false;
  /** Why the gateway closed it; "" when it did not. */
  closeReason: CloseReason | "" = "";
  /** It was told to go, or is about to be: takes no more sends. */
  leaving = false;
  /** Ms until its slot when it came too soon; it is told so and closed, and is no connection. */
  turnedAwayMs = 0;

  /** Tokens left to spend, and when they were counted (monotonic ms). */
  tokens: number;
  tokensAt: number;
  /** Bad frames since the last good one. */
  badFrames = 0;

  /** Sends without an answer: client message id → when received (monotonic ms). */
  inFlight: Map<string, number> | null = null;
  /** Client messages that wait for `registered`. */
  held: string[] | null = null;
  heldChars = 0;
  early: EarlyItem[] | null = null;

  /** Encoded frames of this turn, comma-separated. */
  out = "";
  outCount = 0;
  /** They leave at the end of this turn; else they wait for others. */
  outDue = false;

  constructor(id: ConnId, identity: Identity, since: number, at: number, burst: number) {
    this.id = id;
    this.user = identity.userId;
    this.device = identity.deviceId;
    this.expiresAt = identity.expiresAt ?? Number.POSITIVE_INFINITY;
    this.issuedAt = identity.issuedAt;
    this.traceparent = identity.traceparent;
    this.since = since;
    this.tokens = burst;
    this.tokensAt = at;
  }

  /**
   * Takes one token of a bucket that refills at `perSecond` up to `burst`. Returns 0 when there was
   * one, else the milliseconds until there is.
   */
  spend(now: number, perSecond: number, burst: number): number {
    const refilled = this.tokens + ((now - this.tokensAt) * perSecond) / 1_000;
    this.tokens = Math.min(refilled, burst);
    this.tokensAt = now;
    if (this.tokens >= 1) {
      this.tokens -= 1;
      return 0;
    }
    return Math.ceil(((1 - this.tokens) * 1_000) / perSecond);
  }
}

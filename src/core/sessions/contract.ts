/**
 * The session directory: user → devices → where each is connected. It lives in Redis, one hash per
 * user partition, so that registering a batch of sessions and publishing their `user_state` event is
 * one atomic step in one slot.
 *
 * A session is identified by (gateway, conn, epoch): a device that connects again replaces its
 * session, and `unregister` of the replaced one finds another session there and changes nothing.
 * That is why a stale offline event never clears a newer connection. `epoch` grows with each
 * registration in the partition, also when the same connection is registered again through another
 * access node; so an unregister that was late on the way cannot end the newer registration.
 *
 * Registrations can be late as well: repeated while Redis was away, or read from a socket by an
 * access node that had been stopped. So of two registrations of a device the one with the later
 * `since` stands, whichever comes first, and the earlier one is refused as superseded.
 *
 * Users can be barred: connections made before a moment (`kick`), or with tokens issued before one
 * (`revokeTokens`), are refused from then on. The bar is checked in the same step as the registration,
 * so a connection that was on its way, or that its gateway registers again, cannot slip past it.
 */

import type { ConnId } from "../trunk/messages.ts";
import type { NodeId } from "../trunk/node_id.ts";

export interface Session {
  readonly user: string;
  readonly device: string;
  readonly access: NodeId;
  readonly gateway: NodeId;
  readonly conn: ConnId;
  readonly epoch: number;
  /** Unix ms of the handshake; each registration of the same connection counts one more. */
  readonly since: number;
}

export interface NewSession extends Omit<Session, "epoch"> {
  /** When its token was issued, unix seconds; 0 when the token does not say. */
  readonly issuedAt: number;
}

export type SessionRef = Pick<Session, "user" | "device" | "gateway" | "conn" | "epoch">;

export interface Registered {
  /** 0 when the session was refused. */
  readonly epoch: number;
  /**
   * The session of the same device that this one replaced, if it was another connection. Of a
   * refused one: the later session that stands, or null when the user has DEVICES_PER_USER_MAX others.
   */
  readonly replaced: Session | null;
  /** Why it was refused, where a bar did; null otherwise. */
  readonly barred: BarReason | null;
}

export type BarReason = "kicked" | "token_revoked";

/** What a user's registrations must be later than. */
export type Bar =
  /** Connections made up to now, by Redis' clock: of one device, or of all when it is null. */
  | { readonly kick: string | null }
  /** Tokens issued before this moment (unix seconds), and those that do not say when. */
  | { readonly tokensBefore: number };

export interface Presence {
  readonly sessions: readonly Session[];
  /** True when the user may have offline rows: then nothing is delivered live before a replay. */
  readonly stored: boolean;
}

/**
 * One event of the `user_state` stream; an entry's body is a JSON array of them. `stored` says that
 * somebody other than the owner put rows of the user into the offline store; only the user counts.
 */
export type UserStateEvent = [
  kind: "online" | "offline" | "stored",
  user: string,
  device: string,
  access: NodeId,
  gateway: NodeId,
  conn: ConnId,
  epoch: number,
  since: number,
];

/** Seconds for which a kick is remembered: a gateway that was frozen may come back until then. */
export const KICK_KEPT_S = 86_400;

export interface SessionDirectory {
  /** Registers a batch and appends its `user_state` events; results in the order of `sessions`. */
  register(sessions: readonly NewSession[]): Promise<Registered[]>;
  /** Removes those that are still current, epoch included, and appends `user_state` events for these only. */
  unregister(sessions: readonly SessionRef[]): Promise<void>;
  /**
   * Bars a user's connections. Sessions that exist are for the caller to end. A bar only ever moves
   * forward; kicks are forgotten after KICK_KEPT_S, when no connection is as old, tokens never are.
   */
  bar(user: string, bar: Bar): Promise<void>;
  /** Tokens of the user count when they were issued at this moment or later (unix s); 0: all do. */
  tokensBefore(user: string): Promise<number>;
  /** Sessions and the stored mark of each user, in order; one round trip per partition at most. */
  lookup(users: readonly string[]): Promise<Presence[]>;
  /** Walks the sessions of a partition in pages: for sweeping those of dead nodes. */
  scan(partition: number): AsyncIterable<readonly Session[]>;
  /** How many users have a session, in all partitions. */
  onlineCount(): Promise<number>;
}

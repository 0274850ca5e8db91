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

export type NewSession = Omit<Session, "epoch">;

export type SessionRef = Pick<Session, "user" | "device" | "gateway" | "conn" | "epoch">;

export interface Registered {
  /** 0 when the session was refused. */
  readonly epoch: number;
  /**
   * The session of the same device that this one replaced, if it was another connection. Of a
   * refused one: the later session that stands, or null when the user has DEVICES_PER_USER_MAX others.
   */
  readonly replaced: Session | null;
}

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

export interface SessionDirectory {
  /** Registers a batch and appends its `user_state` events; results in the order of `sessions`. */
  register(sessions: readonly NewSession[]): Promise<Registered[]>;
  /** Removes those that are still current, epoch included, and appends `user_state` events for these only. */
  unregister(sessions: readonly SessionRef[]): Promise<void>;
  /** Sessions and the stored mark of each user, in order; one round trip per partition at most. */
  lookup(users: readonly string[]): Promise<Presence[]>;
  /** Walks the sessions of a partition in pages: for sweeping those of dead nodes. */
  scan(partition: number): AsyncIterable<readonly Session[]>;
  /** How many users have a session, in all partitions. */
  onlineCount(): Promise<number>;
}

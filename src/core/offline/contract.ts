/**
 * The offline store: what could not be delivered, in SQL. SQLite and Postgres behind one contract,
 * held to it by one suite; the push role reaches it over HTTP or, in one process, directly.
 *
 * Order: rows of a user come back in the order in which they were archived; one owner archives for
 * a user, and awaits each call before the next, so this is also the order of each conversation.
 * Idempotency: (user_id, msg_id) is unique; archiving a row that exists changes nothing.
 * Fencing: `archive` and `confirm` by a push owner carry the partition's epoch. Once the store has
 * seen a later epoch for the partition it refuses the whole call with StaleEpochError, in the same
 * transaction as the write, so that a paused owner cannot bring back what was confirmed. A `confirm`
 * of nothing only makes the epoch known.
 * Durability: a resolved call is on disk (SQLite: WAL with synchronous=FULL; Postgres:
 * synchronous_commit on). Deleting happens only by `confirm`, by expiry and by the retention limit.
 */

import type { WindowStore } from "./window_store.ts";

export interface OfflineRow {
  readonly user_id: string;
  readonly msg_id: string;
  readonly conversation_id: string;
  readonly seq: number;
  /** Unix seconds; 0 means never. */
  readonly expire_time: number;
  /** Unix ms at which it was archived. */
  readonly stored_at: number;
  /** The encoded Message (JSON text), exactly as clients get it. */
  readonly message: string;
}

export interface OwnerEpoch {
  readonly partition: number;
  readonly epoch: number;
}

export class StaleEpochError extends Error {
  /** `seen` is the later epoch; 0 where that is not known. */
  constructor(
    owner: OwnerEpoch,
    readonly seen = 0,
  ) {
    super(`push partition ${owner.partition} has an owner later than epoch ${owner.epoch}`);
    this.name = "StaleEpochError";
  }
}

export interface OfflinePage {
  readonly rows: readonly OfflineRow[];
  /** Pass it to get the next page; null when there is nothing more. */
  readonly cursor: string | null;
}

/**
 * What SQL keeps of a chat partition beside Redis, so that a Redis that comes back with less than it
 * had is found out, and numbers go on above all that were given before.
 */
export interface ChatMark {
  readonly partition: number;
  /** A commit of the partition's owner, and the largest seq that was given until then. */
  readonly epoch: number;
  readonly turn: number;
  readonly top: number;
  /** It was the last one: its owner gave the partition up in good order. */
  readonly closed: boolean;
}

export interface KeptChatMark extends ChatMark {
  /** No seq above it has ever been given. */
  readonly ceiling: number;
}

/** Marks only grow: of two of a partition the later commit stands, whichever comes first. */
export interface ChatMarks {
  markChats(marks: readonly ChatMark[]): Promise<void>;
  /** Null when nothing was ever kept of the partition. */
  chatMark(partition: number): Promise<KeptChatMark | null>;
  /** Raises the ceiling to `count` above both itself and `above`, and returns it. */
  reserveSeqs(partition: number, above: number, count: number): Promise<number>;
}

/** Offline messages, and beside them the idempotency windows and the marks of logic. */
export interface OfflineStore extends WindowStore, ChatMarks {
  /** Stores rows; those that exist are left alone. Rows of many users may share a call. */
  archive(owner: OwnerEpoch, rows: readonly OfflineRow[]): Promise<void>;
  /**
   * The oldest rows of a user after `cursor` (null: from the start), at most `limit` (≤ 1000).
   * Rows that expired before `nowS` (unix seconds) are left out.
   */
  page(userId: string, cursor: string | null, limit: number, nowS: number): Promise<OfflinePage>;
  /** The cursor just after `msgId`, or null when the user has no such row. */
  cursorOf(userId: string, msgId: string): Promise<string | null>;
  /**
   * Deletes confirmed rows and returns how many there were. `owner` is null for a call over the
   * public route, which is not fenced: the user confirms what the user has.
   */
  confirm(
    owner: OwnerEpoch | null,
    confirmed: readonly { readonly user_id: string; readonly msg_ids: readonly string[] }[],
  ): Promise<number>;
  /** Which of `userIds` have rows, expired or not. */
  withRows(userIds: readonly string[]): Promise<string[]>;
  /** At most `limit` users who have rows, in the order of their ids, from after `after` on. */
  users(after: string, limit: number): Promise<string[]>;
  /** Deletes at most `limit` rows that expired before `nowS`; returns what was deleted. */
  sweep(nowS: number, limit: number): Promise<{ user_id: string; msg_id: string }[]>;
  /** Rows in the store, for metrics and the doctor. */
  count(): Promise<number>;
}

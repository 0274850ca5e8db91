/**
 * Idempotency windows in SQL, beside the offline messages. A logic owner remembers who sent what for
 * 24 hours; the latest of it is in Redis, committed with the messages themselves, and what is older
 * than a few seconds is moved here, a segment at a time, so that Redis holds nothing at rest.
 *
 * Order of a move: saved here, then dropped there, by a fenced commit. So at every instant a record is
 * in at least one of the two, and an owner that has the lease and reads both has all of them.
 * Fencing: none. A segment is a fact, what was committed under its owner's epoch: one that a former
 * owner saves late is as true as before, and its name, which holds the epoch, is nobody else's.
 * Idempotency: (partition, name) is unique; saving a segment that exists changes nothing.
 * Durability: as of the offline messages.
 */
export interface WindowSegment {
  /** Of chat_input. */
  readonly partition: number;
  readonly name: string;
  /** Unix seconds after which nobody asks for it. */
  readonly expire_at: number;
  /** What the owner packed; the store does not look inside. */
  readonly records: string;
}

export interface WindowPage {
  readonly segments: readonly Pick<WindowSegment, "name" | "records">[];
  /** Pass it to get the next page; null when there is nothing more. */
  readonly cursor: string | null;
}

export interface WindowStore {
  saveWindow(segments: readonly WindowSegment[]): Promise<void>;
  /**
   * Segments of a partition that have not expired at `nowS` (unix seconds), ordered by name, after
   * `cursor` (null: from the start), at most `limit` (≤ WINDOW_PAGE_MAX).
   */
  windowPage(
    partition: number,
    cursor: string | null,
    limit: number,
    nowS: number,
  ): Promise<WindowPage>;
  /** Deletes at most `limit` segments that expired before `nowS`; returns how many. */
  sweepWindow(nowS: number, limit: number): Promise<number>;
}

/** Most segments of one page. */
export const WINDOW_PAGE_MAX = 64;

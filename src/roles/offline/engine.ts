/**
 * An offline store with the database below it: what `openOfflineStore` returns. It adds to the
 * contract what only the offline role itself needs.
 */
import type { LedgerStore } from "../../core/ledger/store.ts";
import type { OfflineRow, OfflineStore } from "../../core/offline/contract.ts";
import { WINDOW_PAGE_MAX, type WindowPage } from "../../core/offline/window_store.ts";
import { ChatifyError } from "../../core/protocol/errors.ts";

export interface OfflineEngine extends OfflineStore {
  readonly engine: "sqlite" | "postgres";
  /**
   * `archive` without an owner, for the public route. A caller from outside owns no partition, so
   * there is no epoch to compare; and taking one would fence the real owner. Its rows are ordered
   * against those of owners by when the database takes them.
   */
  archiveUnfenced(rows: readonly OfflineRow[]): Promise<void>;
  /** Who has this message in the store, in the order of their ids; at most `limit` of them. */
  holders(msgId: string, limit: number): Promise<OfflineRow[]>;
  /** The message in the store of this user; null when it is not there. */
  row(userId: string, msgId: string): Promise<OfflineRow | null>;
  readonly ledger: LedgerStore;
  /** Finishes the writes under way, then closes; every later call is refused as unavailable. */
  close(): Promise<void>;
}

/** Most rows of one page; the contract's own bound. */
export const PAGE_ROWS_MAX = 1_000;

/** The position in a cursor; 0, before every row, for null. */
export function positionOf(cursor: string | null): number {
  if (cursor === null) return 0;
  const position = /^\d{1,16}$/.test(cursor) ? Number(cursor) : Number.NaN;
  if (Number.isSafeInteger(position)) return position;
  throw new ChatifyError("bad_request", "this cursor was not given by the offline store");
}

export function checkPageLimit(limit: number): void {
  if (Number.isInteger(limit) && limit >= 1 && limit <= PAGE_ROWS_MAX) return;
  throw new ChatifyError("bad_request", `a page holds 1 to ${PAGE_ROWS_MAX} rows, not ${limit}`);
}

export function checkWindowLimit(limit: number): void {
  if (Number.isInteger(limit) && limit >= 1 && limit <= WINDOW_PAGE_MAX) return;
  const most = `a page holds 1 to ${WINDOW_PAGE_MAX} segments, not ${limit}`;
  throw new ChatifyError("bad_request", most);
}

/** The page in what was found when one segment more than `limit` was asked for. */
export function windowPageOf(found: WindowPage["segments"], limit: number): WindowPage {
  const segments = found.slice(0, limit);
  return { segments, cursor: found.length > limit ? (segments.at(-1)?.name ?? null) : null };
}

export function storeClosed(): ChatifyError {
  return new ChatifyError("unavailable", "the offline store is closed");
}

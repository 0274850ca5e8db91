/**
 * Replay: rows of a user who is online go out page by page, oldest first. The store is the truth:
 * each page is "the oldest rows there are", because confirmed ones are gone by the time the next
 * page is fetched. When there is none, the user's mark is taken away and the feed is live again.
 *
 * Before its first page an owner tells the store its epoch. Otherwise a former owner that wakes up
 * late could still archive there: rows that nobody is marked for, behind an empty page.
 */

import type { Clock } from "../../core/clock.ts";
import { sleep } from "../../core/clock.ts";
import type { Limits } from "../../core/limits.ts";
import {
  type OfflineRow,
  type OfflineStore,
  type OwnerEpoch,
  StaleEpochError,
} from "../../core/offline/contract.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";
import type { Feed, Item } from "./feed.ts";
import type { Settlement } from "./settlement.ts";

export interface ReplayDeps {
  readonly owner: OwnerEpoch;
  readonly store: OfflineStore;
  readonly settlement: Settlement;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly limits: Limits;
  /** The next page of a feed; empty when the store has nothing more. */
  readonly onRows: (feed: Feed, rows: readonly OfflineRow[]) => void;
  /** Called when a later owner exists, with its epoch where that is known. */
  readonly onFenced: (seen: number) => void;
}

const RETRY_FIRST_MS = 200;
const RETRY_MAX_MS = 3_000;

export class Replay {
  private readonly deps: ReplayDeps;
  private readonly feeds = new Set<Feed>();
  /** The store knows this owner's epoch. */
  private known = false;
  private stopped = false;

  constructor(deps: ReplayDeps) {
    this.deps = deps;
  }

  /** The feed has rows and sessions. With `fresh` sessions what is in memory goes out at once. */
  enter(feed: Feed, fresh: boolean): void {
    if (feed.mode !== "replay" || fresh) this.armRedelivery(feed, true);
    feed.mode = "replay";
    this.feeds.add(feed);
  }

  /** Fetches the next page, unless something that changes the store is still on its way. */
  next(feed: Feed): void {
    if (feed.fetching || feed.archiving > 0 || feed.confirming > 0) return;
    if (feed.mode !== "replay" || this.stopped) return;
    feed.fetching = true;
    void this.fetch(feed);
  }

  /** Sends unacked rows again when their time has come; settles those that one device acked. */
  tick(settle: (feed: Feed, item: Item) => void, advance: (feed: Feed) => void): void {
    const { clock, limits } = this.deps;
    const now = clock.monotonic();
    for (const feed of this.feeds) {
      if (feed.mode !== "replay") {
        this.feeds.delete(feed);
        continue;
      }
      let settled = false;
      for (const item of feed.items) {
        if (item.entry !== null || item.done || item.ackedBy === null) continue;
        if (now - item.sentAt < limits.ACK_TIMEOUT_MS) continue;
        settle(feed, item);
        settled = true;
      }
      if (now >= feed.redeliverAt && feed.hasOpenRows()) {
        this.armRedelivery(feed, false);
        feed.rewind();
        settled = true;
      }
      if (settled) advance(feed);
    }
  }

  stop(): void {
    this.stopped = true;
    this.feeds.clear();
  }

  private async fetch(feed: Feed): Promise<void> {
    const { clock, limits, onFenced, owner, store, telemetry } = this.deps;
    let wait = RETRY_FIRST_MS;
    while (!this.stopped && feed.mode === "replay") {
      try {
        if (!this.known) await store.confirm(owner, []);
        this.known = true;
        const nowS = Math.floor(clock.now() / 1_000);
        const { archives } = feed;
        const page = await store.page(feed.user, null, limits.REPLAY_PAGE, nowS);
        feed.fetching = false;
        this.fetched(feed, page.rows, archives);
        return;
      } catch (error) {
        if (error instanceof StaleEpochError) {
          this.stop();
          onFenced(error.seen);
          return;
        }
        telemetry.metrics.storeErrors.inc({ operation: "page" });
        telemetry.log.warn({ err: error }, "fetching a page of a replay failed; again");
        await sleep(clock, wait);
        wait = Math.min(wait * 2, RETRY_MAX_MS);
      }
    }
    feed.fetching = false;
  }

  /** `archives` is how often something of the feed had been archived when the page was asked for. */
  private fetched(feed: Feed, rows: readonly OfflineRow[], archives: number): void {
    if (this.stopped || feed.mode !== "replay") return;
    // Something was archived while the page was on its way: it may belong behind this page, so an
    // empty one does not say that the store is. What is still being archived asks again by itself.
    if (rows.length === 0 && feed.archives !== archives) {
      this.next(feed);
      return;
    }
    if (rows.length === 0) {
      this.feeds.delete(feed);
      feed.stored = false;
      feed.marked = false;
      this.deps.settlement.unmark(feed.user);
    } else {
      this.armRedelivery(feed, true);
    }
    this.deps.onRows(feed, rows);
  }

  private armRedelivery(feed: Feed, first: boolean): void {
    const { clock, limits } = this.deps;
    feed.redeliverMs = first
      ? limits.REDELIVER_FIRST_MS
      : Math.min(feed.redeliverMs * 2, limits.REDELIVER_MAX_MS);
    feed.redeliverAt = clock.monotonic() + feed.redeliverMs;
  }
}

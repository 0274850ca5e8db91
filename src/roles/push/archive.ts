/**
 * The way into and out of the offline store for one partition: archiving what no device took, and
 * confirming rows that a device acked. Each has one call in flight, in batches, repeated while the
 * store is away; the stream keeps what waits, so a store that is down costs nothing but room.
 */

import type { Clock } from "../../core/clock.ts";
import { sleep } from "../../core/clock.ts";
import { ACKED } from "../../core/jobs/contract.ts";
import { FlushLoop } from "../../core/lifecycle/flush.ts";
import {
  type OfflineRow,
  type OfflineStore,
  type OwnerEpoch,
  StaleEpochError,
} from "../../core/offline/contract.ts";
import { isJobMsgId } from "../../core/protocol/msg_id.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";
import type { Feed, Item } from "./feed.ts";
import type { Settlement } from "./settlement.ts";

export interface ArchiveDeps {
  readonly owner: OwnerEpoch;
  readonly store: OfflineStore;
  readonly settlement: Settlement;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly onArchived: (items: readonly Item[]) => void;
  readonly onConfirmed: (feeds: readonly Feed[]) => void;
  /** `seen` is the epoch of the later owner, 0 where it is not known. */
  readonly onFenced: (seen: number) => void;
}

/** `claimed`: the user says so, and whether there is such a row nobody has looked. */
type Confirm = readonly [feed: Feed, msgId: string, claimed: boolean];

const RETRY_FIRST_MS = 100;
const RETRY_MAX_MS = 2_000;
const ROWS_PER_CALL_MAX = 500;

export class Archive {
  private readonly deps: ArchiveDeps;
  private readonly archiveLoop: FlushLoop;
  private readonly confirmLoop: FlushLoop;
  private items: Item[] = [];
  private confirms: Confirm[] = [];
  private stopped = false;

  constructor(deps: ArchiveDeps) {
    this.deps = deps;
    this.archiveLoop = new FlushLoop(deps.clock, () => this.flushItems());
    this.confirmLoop = new FlushLoop(deps.clock, () => this.flushConfirms());
  }

  /** Items of one feed must come in their order. */
  add(item: Item): void {
    item.archiving = true;
    item.feed.archiving++;
    item.feed.archives++;
    item.feed.stored = true;
    this.items.push(item);
    this.archiveLoop.wake();
  }

  confirm(feed: Feed, msgId: string, claimed = false): void {
    feed.confirming++;
    this.confirms.push([feed, msgId, claimed]);
    this.confirmLoop.wake();
  }

  async idle(): Promise<void> {
    await Promise.all([this.archiveLoop.idle(), this.confirmLoop.idle()]);
  }

  stop(): void {
    this.stopped = true;
  }

  private async flushItems(): Promise<void> {
    const items = this.items.splice(0, ROWS_PER_CALL_MAX);
    if (items.length === 0) return;
    if (this.items.length > 0) this.archiveLoop.wake();
    const unmarked = new Set<Feed>();
    for (const { feed } of items) if (!feed.marked) unmarked.add(feed);
    if (unmarked.size > 0) {
      // The mark comes first: a row without a mark would wait for ever for its user to come back.
      await this.deps.settlement.mark([...unmarked].map((feed) => feed.user));
      for (const feed of unmarked) feed.marked = true;
    }
    const storedAt = this.deps.clock.now();
    const rows = items.map((item): OfflineRow => {
      return {
        user_id: item.feed.user,
        msg_id: item.msgId,
        conversation_id: item.conversation,
        seq: item.seq,
        expire_time: item.expireTime,
        stored_at: storedAt,
        message: item.message,
      };
    });
    const { owner, store } = this.deps;
    if (await this.untilDone("archive", () => store.archive(owner, rows))) {
      this.deps.onArchived(items);
    }
  }

  private async flushConfirms(): Promise<void> {
    const batch = this.confirms.splice(0, ROWS_PER_CALL_MAX);
    if (batch.length === 0) return;
    if (this.confirms.length > 0) this.confirmLoop.wake();
    if (!(await this.jobsKnow(batch))) return;
    const byFeed = new Map<Feed, string[]>();
    for (const [feed, msgId] of batch) {
      const ids = byFeed.get(feed);
      if (ids === undefined) byFeed.set(feed, [msgId]);
      else ids.push(msgId);
    }
    const confirmed = [...byFeed].map(([feed, msg_ids]) => ({ user_id: feed.user, msg_ids }));
    const { owner, store } = this.deps;
    if (!(await this.untilDone("confirm", () => store.confirm(owner, confirmed)))) return;
    for (const [feed, ids] of byFeed) feed.confirming -= ids.length;
    this.deps.onConfirmed([...byFeed.keys()]);
  }

  /** A push job hears that a row was acked before the row is gone, since nobody could tell later. */
  private async jobsKnow(batch: readonly Confirm[]): Promise<boolean> {
    const ofJobs = batch.filter(([, msgId]) => isJobMsgId(msgId));
    if (ofJobs.length === 0) return true;
    const { settlement, store } = this.deps;
    for (const [{ user }, msgId, claimed] of ofJobs) {
      if (!claimed) continue;
      const look = async () => {
        if ((await store.cursorOf(user, msgId)) !== null) settlement.outcome(msgId, ACKED);
      };
      if (!(await this.untilDone("cursor_of", look))) return false;
    }
    await settlement.outcomesRecorded();
    return true;
  }

  private async untilDone(name: string, step: () => Promise<unknown>): Promise<boolean> {
    const { clock, onFenced, owner, telemetry } = this.deps;
    let wait = RETRY_FIRST_MS;
    while (!this.stopped) {
      try {
        await step();
        return !this.stopped;
      } catch (error) {
        if (error instanceof StaleEpochError) {
          this.stopped = true;
          onFenced(error.seen);
          return false;
        }
        telemetry.metrics.storeErrors.inc({ operation: name });
        telemetry.log.warn({ err: error, partition: owner.partition }, `${name} failed; again`);
        await sleep(clock, wait);
        wait = Math.min(wait * 2, RETRY_MAX_MS);
      }
    }
    return false;
  }
}

/**
 * Moves feeds on: sends what may be sent, archives what must be, settles what is done. Every change
 * to a feed ends in `advance`, which brings the feed to where the rules of its mode allow; calling it
 * once too often does nothing.
 */
import type { Clock } from "../../core/clock.ts";
import { ACKED, DELIVERED, EXPIRED, STORED } from "../../core/jobs/contract.ts";
import type { TurnClock } from "../../core/lifecycle/turn_clock.ts";
import type { Limits } from "../../core/limits.ts";
import type { OfflineRow } from "../../core/offline/contract.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";
import type { Archive } from "./archive.ts";
import { DeliveryTraces } from "./delivery_traces.ts";
import type { Feed, Item } from "./feed.ts";
import { itemOfRow } from "./item.ts";
import type { Outbox } from "./outbox.ts";
import type { Replay } from "./replay.ts";
import type { OpenEntry } from "./settlement.ts";

export interface FeedMoverDeps {
  readonly archive: Archive;
  readonly replay: Replay;
  readonly outbox: Outbox;
  readonly clock: Clock;
  /** For what is asked once per message. */
  readonly turn: TurnClock;
  readonly telemetry: Telemetry;
  readonly limits: Limits;
  /** A recipient of an entry is settled. */
  readonly settleEntry: (entry: OpenEntry) => void;
  /** It is stored and nobody has confirmed it: somebody outside may want to hear of that later. */
  readonly undelivered: (item: Item) => void;
  /** What became of a message; told before whatever settles it. */
  readonly outcome: (msgId: string, bits: number) => void;
}

export class FeedMover {
  private readonly deps: FeedMoverDeps;
  private readonly traces: DeliveryTraces;
  /** Counted since the last `count()`: a metric of prom-client costs more than the rest of an ack. */
  private sentLive = 0;
  private ackedCount = 0;

  constructor(deps: FeedMoverDeps) {
    this.deps = deps;
    this.traces = new DeliveryTraces(deps);
  }

  /** A new live item, behind everything the feed has. */
  append(feed: Feed, item: Item): void {
    feed.items.push(item);
    if (feed.mode === "live") this.send(feed);
    else if (feed.mode === "offline" && !this.expire(feed, item)) this.store(item, "offline");
  }

  advance(feed: Feed): void {
    feed.compact();
    if (feed.mode === "offline") {
      this.archiveAll(feed);
    } else if (feed.mode === "replay") {
      this.send(feed);
      if (!feed.hasOpenRows()) this.deps.replay.next(feed);
    } else if (feed.mode === "live") {
      this.send(feed);
    }
  }

  /** The sessions changed: what every remaining device has is settled. */
  sessionsChanged(feed: Feed): void {
    for (const item of feed.items) {
      if (!item.done && item.ackedBy !== null && feed.isAckedByAll(item)) this.acked(feed, item);
    }
  }

  /** Session `who` confirmed `item`. */
  ack(feed: Feed, item: Item, who: string): void {
    if (item.sentAt === 0) return;
    this.deps.telemetry.ledger.acked(item.msgId, feed.user, feed.deviceOf(who));
    if (!feed.ack(item, who)) return;
    const now = this.deps.turn.monotonic();
    this.deps.telemetry.metrics.deliveredAcked.observe((now - item.sentAt) / 1_000);
    this.traces.acked(item, now);
    this.acked(feed, item);
  }

  /** A row that one of several devices acked; the others were too slow. */
  rowAcked(feed: Feed, item: Item): void {
    this.rowSettled(feed, item, ACKED);
  }

  /** A row of the store is done with: it is deleted there. */
  private rowSettled(feed: Feed, item: Item, outcome: number): void {
    this.deps.outcome(item.msgId, outcome);
    item.done = true;
    this.deps.archive.confirm(feed, item.msgId);
  }

  /** The oldest live items passed their deadline: those before them go first, to keep the order. */
  archiveDue(feed: Feed, now: number): void {
    let last = -1;
    for (const [i, item] of feed.items.entries()) {
      if (!item.done && item.entry !== null && item.deadline <= now) last = i;
    }
    let archived = 0;
    for (const item of feed.items.slice(0, last + 1)) {
      if (item.done || item.archiving || item.entry === null) continue;
      // One of several devices has it: the user is not left without, the others were too slow.
      if (item.ackedBy !== null) this.liveSettled(item, ACKED);
      else if (!this.expire(feed, item)) {
        this.store(item, "unacked");
        archived++;
      }
    }
    if (archived > 0 && feed.mode === "live") this.deps.replay.enter(feed, false);
    this.advance(feed);
  }

  /** Moves what was counted per message to the metrics. */
  count(): void {
    const { delivered, acked } = this.deps.telemetry.metrics;
    if (this.sentLive > 0) delivered.inc({ way: "live" }, this.sentLive);
    if (this.ackedCount > 0) acked.inc(this.ackedCount);
    this.sentLive = this.ackedCount = 0;
  }

  onArchived(items: readonly Item[]): void {
    const feeds = new Set<Feed>();
    for (const item of items) {
      const { feed } = item;
      feed.archiving--;
      item.archiving = false;
      feeds.add(feed);
      this.deps.outcome(item.msgId, STORED);
      const entry = item.entry as OpenEntry;
      item.entry = null;
      const reason = item.sentAt === 0 ? "offline" : "unacked";
      this.deps.telemetry.ledger.stored(item.msgId, feed.user, reason);
      if (!item.done) this.deps.undelivered(item);
      this.deps.settleEntry(entry);
      if (item.done) this.deps.archive.confirm(feed, item.msgId);
      // An item that was never sent comes back with the replay; one that was may still be acked, and
      // stays, unless rows before it did not: it would go out again ahead of them.
      else if (item.sentAt === 0 || feed.mode === "offline" || feed.behind) {
        item.done = true;
        feed.behind = true;
      }
    }
    for (const feed of feeds) this.advance(feed);
  }

  onRows(feed: Feed, rows: readonly OfflineRow[]): void {
    if (rows.length === 0) {
      feed.mode = "live";
      feed.behind = false;
    } else {
      this.deps.telemetry.metrics.replayed.inc(rows.length);
      feed.prepend(rows.map((row) => itemOfRow(feed, row)));
    }
    this.advance(feed);
  }

  private send(feed: Feed): void {
    const { limits, outbox, telemetry } = this.deps;
    const end = feed.base + Math.min(feed.items.length, limits.UNACKED_PER_SESSION_MAX);
    for (const session of feed.sessions) {
      if (session.next >= end || !outbox.canReach(session)) continue;
      for (; session.next < end; session.next++) {
        const item = feed.items[session.next - feed.base] as Item;
        // While rows are replayed, live items wait behind them.
        if (feed.mode === "replay" && item.entry !== null) break;
        if (item.done || this.expire(feed, item)) continue;
        if (item.sentAt === 0) this.firstSent(item);
        outbox.add(session, item.frame, item.trace);
        telemetry.ledger.written(item.msgId, feed.user, session, item.entry === null);
      }
    }
  }

  private firstSent(item: Item): void {
    const { telemetry, turn } = this.deps;
    item.sentAt = turn.monotonic();
    this.deps.outcome(item.msgId, DELIVERED);
    if (item.entry === null) {
      telemetry.metrics.delivered.inc({ way: "replay" });
      this.traces.replayed(item);
      return;
    }
    const age = Math.max(0, turn.now() - item.acceptedAt);
    this.sentLive++;
    telemetry.metrics.acceptedDelivered.observe(age / 1_000);
    this.traces.delivered(item, age);
  }

  /** True, and settled, when the message is past its time. */
  private expire(feed: Feed, item: Item): boolean {
    if (item.expireTime === 0 || item.archiving) return false;
    if (item.expireTime * 1_000 > this.deps.turn.now()) return false;
    this.deps.telemetry.metrics.expired.inc({ stage: "push" });
    this.deps.telemetry.ledger.expired(item.msgId, feed.user, "push");
    if (item.entry === null) this.rowSettled(feed, item, EXPIRED);
    else this.liveSettled(item, EXPIRED);
    return true;
  }

  private archiveAll(feed: Feed): void {
    for (const item of feed.items) {
      if (item.done || item.archiving) continue;
      if (item.entry === null) {
        item.done = true;
        feed.behind = true;
      } else if (item.ackedBy !== null) this.liveSettled(item, ACKED);
      else if (!this.expire(feed, item)) this.store(item, "offline");
    }
    feed.compact();
  }

  private store(item: Item, reason: string): void {
    this.deps.telemetry.metrics.archived.inc({ reason });
    this.traces.archived(item, reason);
    this.deps.archive.add(item);
  }

  /** Every device has it. */
  private acked(feed: Feed, item: Item): void {
    this.ackedCount++;
    // On its way into the store it is only marked: once it is there, it is confirmed.
    if (item.archiving) {
      this.deps.outcome(item.msgId, ACKED);
      item.done = true;
    } else if (item.entry === null) this.rowSettled(feed, item, ACKED);
    else this.liveSettled(item, ACKED);
  }

  private liveSettled(item: Item, outcome: number): void {
    this.deps.outcome(item.msgId, outcome);
    item.done = true;
    if (item.entry !== null) this.deps.settleEntry(item.entry);
  }
}

/**
 * One user partition while this node owns it. Takes `push_task` and `user_state` entries, keeps the
 * feeds of the users they concern, and sees to it that each item comes to its end: acked, archived
 * or expired. The rules are in feed.ts and feed_mover.ts; here is when they are applied.
 */
import { type Clock, sleep } from "../../core/clock.ts";
import { GenerationCache } from "../../core/generation_cache.ts";
import type { JobStore } from "../../core/jobs/contract.ts";
import { TurnClock } from "../../core/lifecycle/turn_clock.ts";
import type { Limits } from "../../core/limits.ts";
import type { OfflineStore } from "../../core/offline/contract.ts";
import { decodePushTasks, type PushTask } from "../../core/protocol/push_task.ts";
import type { Presence, SessionDirectory, UserStateEvent } from "../../core/sessions/contract.ts";
import type { StreamEntry, Streams } from "../../core/streams/contract.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";
import type { Partitions, Topic } from "../../core/topology.ts";
import type { Address } from "../../core/trunk/messages.ts";
import type { NodeId } from "../../core/trunk/node_id.ts";
import { closedOutlet, type HookOutlet } from "../../core/webhooks/contract.ts";
import { Archive } from "./archive.ts";
import { Deadlines } from "./deadlines.ts";
import { Feed, sessionKey } from "./feed.ts";
import { FeedMover } from "./feed_mover.ts";
import { itemOfTask, messageFrame } from "./item.ts";
import type { Outbox } from "./outbox.ts";
import { PresenceLoader } from "./presence_loader.ts";
import { Replay } from "./replay.ts";
import { RowSearch } from "./row_search.ts";
import { type OpenEntry, Settlement } from "./settlement.ts";
import type { Watches } from "./watches.ts";

export interface PartitionDeps {
  readonly partition: number;
  readonly epoch: number;
  /** Redis certainly has the mark of every user with rows. */
  readonly verified: boolean;
  readonly partitions: Partitions;
  readonly streams: Streams;
  readonly jobs: Pick<JobStore, "record">;
  readonly directory: SessionDirectory;
  readonly store: OfflineStore;
  readonly outbox: Outbox;
  readonly watches: Watches;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly limits: Limits;
  /** Feeds kept in memory; more: idle ones are forgotten and asked for again when needed. */
  readonly feedsMax: number;
  readonly hooks?: HookOutlet;
  /** `seen` is the epoch of the later owner, 0 where it is not known. */
  readonly onFenced: (seen: number) => void;
  /** Called when more is unsettled than should be, and when there is room again. */
  readonly onPressure: (high: boolean) => void;
}

const SETTLED_REMEMBERED = 8_192;
/** Of a sampled message for a large group only the first recipients have spans. */
const TRACED_RECIPIENTS_MAX = 16;

export class PushPartition {
  private readonly deps: PartitionDeps;
  private readonly feeds = new Map<string, Feed>();
  private readonly settlement: Settlement;
  private readonly archive: Archive;
  private readonly replay: Replay;
  private readonly presence: PresenceLoader;
  private readonly search: RowSearch;
  /** Entries that are open, and those settled lately: the reader may hand either over again. */
  private readonly open = new Set<string>();
  private readonly settled = new GenerationCache<string, true>(SETTLED_REMEMBERED);
  private readonly deadlines = new Deadlines();
  private readonly mover: FeedMover;
  private readonly turn: TurnClock;
  private readonly hooks: HookOutlet;
  private unsettled = 0;
  private high = false;
  private stopped = false;

  constructor(deps: PartitionDeps) {
    this.deps = deps;
    this.turn = new TurnClock(deps.clock);
    this.hooks = deps.hooks ?? closedOutlet;
    const { clock, epoch, partition, telemetry } = deps;
    const fence = { group: "push" as const, partition, epoch };
    const onFenced = (seen: number) => this.fenced(seen);
    this.settlement = new Settlement({
      ...deps,
      fence,
      onFenced: () => this.fenced(0),
      onSettled: (topic, ids) => this.onSettled(topic, ids),
    });
    this.archive = new Archive({
      ...deps,
      owner: { partition, epoch },
      settlement: this.settlement,
      onFenced,
      onArchived: (items) => this.mover.onArchived(items),
      onConfirmed: (feeds) => {
        for (const feed of feeds) this.mover.advance(feed);
      },
    });
    this.replay = new Replay({
      ...deps,
      owner: { partition, epoch },
      onFenced,
      settlement: this.settlement,
      onRows: (feed, rows) => this.mover.onRows(feed, rows),
    });
    this.mover = new FeedMover({
      ...deps,
      turn: this.turn,
      archive: this.archive,
      replay: this.replay,
      settleEntry: (entry) => this.settleEntry(entry),
      undelivered: ({ acceptedAt, feed, msgId }) => {
        if (!this.hooks.takes("undelivered", 1)) return;
        const due = acceptedAt + this.hooks.undeliveredAfterMs;
        this.settlement.notify(["undelivered", feed.user, msgId, due]);
      },
      outcome: (msgId, bits) => this.settlement.outcome(msgId, bits),
    });
    this.search = new RowSearch(
      {
        ...deps,
        owner: { partition, epoch },
        partitionCount: deps.partitions.user,
        onFound: (users) => this.found(users),
      },
      !deps.verified,
    );
    this.presence = new PresenceLoader(
      deps.directory,
      clock,
      telemetry,
      this.search,
      (user, found, hasRows) => this.onPresence(user, found, hasRows),
    );
  }

  get feedCount(): number {
    return this.feeds.size;
  }

  get confirmedTurn(): number {
    return this.settlement.confirmedTurn;
  }

  get inFlight(): number {
    return this.unsettled;
  }

  /** Looks for users who have rows and are online: their replay may have died with the old owner. */
  async recover(): Promise<void> {
    const { partition, streams } = this.deps;
    for await (const { entries } of streams.mapSlices("stored", "push", partition)) {
      if (this.stopped) return;
      for (const [user] of entries) this.presence.request(user);
    }
  }

  /** Marks users whom Redis has forgotten; true when there is something to record. */
  searchRows(): Promise<boolean> {
    return this.search.run();
  }

  take(topic: Topic, entries: readonly StreamEntry[]): void {
    if (this.stopped) return;
    for (const entry of entries) {
      const key = `${topic}/${entry.id}`;
      if (this.open.has(key) || this.settled.get(key)) continue;
      this.open.add(key);
      if (topic === "user_state") this.takeEvents(entry);
      else this.takeTasks(entry);
    }
    if (!this.high && this.unsettled > this.deps.limits.PARTITION_UNSETTLED_MAX) {
      this.high = true;
      this.deps.onPressure(true);
    }
  }

  /** What devices of users confirmed. */
  acks(user: string, address: Address, msgIds: readonly string[]): void {
    const feed = this.feeds.get(user);
    const { ledger, metrics } = this.deps.telemetry;
    if (feed === undefined) {
      metrics.duplicates.inc({ stage: "ack" }, msgIds.length);
      return;
    }
    const who = sessionKey({ gateway: address[0], conn: address[1] });
    for (const msgId of msgIds) {
      const item = feed.find(msgId);
      if (item !== null) {
        this.mover.ack(feed, item, who);
        continue;
      }
      // Acked before, or forged, or its row is not in memory: a user may confirm own rows.
      metrics.duplicates.inc({ stage: "ack" });
      if (!feed.stored) continue;
      this.archive.confirm(feed, msgId, true);
      ledger.acked(msgId, user, feed.deviceOf(who));
    }
    this.mover.advance(feed);
  }

  /** Frames that are neither stored nor acked: to the sessions that are known right now. */
  relay(user: string, frame: string): void {
    const feed = this.feeds.get(user);
    if (feed !== undefined && feed.mode !== "loading") {
      for (const session of feed.sessions) this.deps.outbox.add(session, frame);
      return;
    }
    this.deps.directory.lookup([user]).then(
      ([found]) => {
        for (const session of found?.sessions ?? []) this.deps.outbox.add(session, frame);
      },
      () => this.deps.telemetry.metrics.drops.inc({ reason: "relay" }),
    );
  }

  /** Asks for a user's presence, so that watchers are told. */
  look(user: string): void {
    this.presence.request(user);
  }

  /** A link to an access node works again: what it carried when it broke is sent again. */
  linkUp(access: NodeId): void {
    for (const feed of this.feeds.values()) {
      if (!feed.sessions.some((session) => session.access === access)) continue;
      for (const session of feed.sessions) if (session.access === access) session.next = feed.base;
      this.mover.advance(feed);
    }
  }

  /** Twice a second: deadlines, redelivery, and forgetting what is idle. */
  tick(): void {
    if (this.stopped) return;
    this.mover.count();
    const now = this.deps.clock.monotonic();
    for (const feed of this.deadlines.takeDue(now)) this.mover.archiveDue(feed, now);
    this.replay.tick(
      (feed, item) => this.mover.rowAcked(feed, item),
      (feed) => this.mover.advance(feed),
    );
    this.settlement.recordOutcomes();
    this.forgetIdle();
  }

  /** Waits, at most `budgetMs`, for clients to ack what is under way, then for what is queued. */
  async handOver(budgetMs: number): Promise<void> {
    const { clock } = this.deps;
    const until = clock.monotonic() + budgetMs;
    while (this.unsettled > 0 && clock.monotonic() < until && !this.stopped) await sleep(clock, 20);
    if (this.stopped) return;
    await this.archive.idle();
    await this.settlement.idle();
  }

  stop(): void {
    this.stopped = true;
    this.mover.count();
    this.settlement.stop();
    this.archive.stop();
    this.presence.stop();
    this.replay.stop();
    this.search.stop();
    this.feeds.clear();
  }

  private fenced(seen: number): void {
    if (this.stopped) return;
    this.stop();
    this.deps.onFenced(seen);
  }

  private takeEvents(entry: StreamEntry): void {
    let events: UserStateEvent[];
    try {
      events = JSON.parse(entry.body) as UserStateEvent[];
      for (const [kind, user, , , , , epoch] of events) {
        if (kind !== "stored" && this.hooks.takes("presence", 1)) {
          this.settlement.notify(["presence", user, epoch, this.deps.clock.now()]);
        }
        if (kind === "stored") this.rowsFromElsewhere(user);
        if (kind === "offline" && !this.feeds.has(user) && !this.deps.watches.has(user)) continue;
        this.presence.request(user);
      }
    } catch {
      this.settlement.deadLetter("user_state", entry.id, "entry_not_decodable", entry.body);
      return;
    }
    this.settlement.settle("user_state", entry.id);
  }

  /** The mark is durable in the commit that settles the event, so neither can be without the other. */
  private rowsFromElsewhere(user: string): void {
    const feed = this.feedOf(user);
    feed.stored = true;
    feed.marked = true;
    feed.archives++;
    void this.settlement.mark([user]);
  }

  private takeTasks(entry: StreamEntry): void {
    let tasks: PushTask[];
    try {
      tasks = decodePushTasks(entry.body);
    } catch {
      this.settlement.deadLetter("push_task", entry.id, "entry_not_decodable", entry.body);
      return;
    }
    const open: OpenEntry = { topic: "push_task", id: entry.id, remaining: 0 };
    for (const task of tasks) open.remaining += task.recipients.length;
    this.unsettled += open.remaining;
    if (open.remaining === 0) this.settlement.settle("push_task", entry.id);
    for (const task of tasks) this.takeTask(task, open);
  }

  private takeTask(task: PushTask, entry: OpenEntry): void {
    const frame = messageFrame(task.message);
    const deadline = this.turn.monotonic() + this.deps.limits.ACK_TIMEOUT_MS;
    let traced = 0;
    for (const user of task.recipients) {
      const feed = this.feedOf(user);
      const item = itemOfTask(feed, task, frame, entry, deadline);
      if (item.trace !== "" && ++traced > TRACED_RECIPIENTS_MAX) item.trace = "";
      this.deadlines.add(item);
      this.mover.append(feed, item);
    }
  }

  private feedOf(user: string): Feed {
    let feed = this.feeds.get(user);
    if (feed === undefined) {
      feed = new Feed(user);
      this.feeds.set(user, feed);
      this.presence.request(user);
    }
    return feed;
  }

  private async found(users: readonly string[]): Promise<void> {
    await this.settlement.mark(users);
    for (const user of users) {
      const feed = this.feeds.get(user);
      if (feed !== undefined) feed.stored = feed.marked = true;
      this.presence.request(user);
    }
  }

  private onPresence(user: string, found: Presence, hasRows: boolean): void {
    if (this.stopped) return;
    const isOnline = found.sessions.length > 0;
    this.deps.watches.report(user, isOnline);
    let feed = this.feeds.get(user);
    if (feed === undefined) {
      if (!(found.stored || hasRows) || !isOnline) return;
      feed = new Feed(user);
      this.feeds.set(user, feed);
    }
    // From now on this owner is the only one who changes the mark.
    if (feed.mode === "loading" && (found.stored || hasRows)) {
      feed.stored = true;
      feed.marked ||= found.stored;
    }
    const changed = feed.setSessions(found.sessions);
    if (changed) this.mover.sessionsChanged(feed);
    if (!isOnline) feed.mode = "offline";
    else if (feed.stored) this.replay.enter(feed, changed);
    else feed.mode = "live";
    this.mover.advance(feed);
  }

  private settleEntry(entry: OpenEntry): void {
    this.unsettled--;
    this.settlement.done(entry);
    if (this.high && this.unsettled < this.deps.limits.PARTITION_UNSETTLED_MAX / 2) {
      this.high = false;
      this.deps.onPressure(false);
    }
  }

  private onSettled(topic: Topic, ids: readonly string[]): void {
    for (const id of ids) {
      const key = `${topic}/${id}`;
      this.open.delete(key);
      this.settled.set(key, true);
    }
  }

  private forgetIdle(): void {
    const max = this.deps.feedsMax;
    if (this.feeds.size <= max) return;
    for (const [user, feed] of this.feeds) {
      if (this.feeds.size <= max * 0.9) break;
      if (feed.isIdle()) this.feeds.delete(user);
    }
  }
}

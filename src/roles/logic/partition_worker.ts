/**
 * One chat partition while this node owns it: takes entries in order, decides, commits, replies.
 * One batch is in flight at a time; what arrives meanwhile makes the next one. A batch whose commit
 * has an unknown outcome is committed again until it is in or somebody else owns the partition:
 * numbers that were given out in memory are never taken back while this owner lives.
 */

import type { Clock } from "../../core/clock.ts";
import { sleep } from "../../core/clock.ts";
import { GenerationCache } from "../../core/generation_cache.ts";
import { FlushLoop } from "../../core/lifecycle/flush.ts";
import type { Limits } from "../../core/limits.ts";
import type { ChatMarks } from "../../core/offline/contract.ts";
import type { WindowStore } from "../../core/offline/window_store.ts";
import type { ChatInput } from "../../core/protocol/chat_input.ts";
import { encodePushTasks, type PushTask } from "../../core/protocol/push_task.ts";
import type { Lease } from "../../core/registry/contract.ts";
import type { Relations } from "../../core/relations/contract.ts";
import { CommitTurns } from "../../core/streams/commit_turns.ts";
import {
  type Append,
  type Commit,
  FencedError,
  type MapPut,
  type StreamEntry,
  type Streams,
} from "../../core/streams/contract.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";
import type { Partitions } from "../../core/topology.ts";
import type { HookOutlet } from "../../core/webhooks/contract.ts";
import type { ChatMarker } from "./chat_marker.ts";
import type { ContentCheck } from "./content_check.ts";
import { type Conversation, Conversations } from "./conversations.ts";
import { dedupKey } from "./dedup_records.ts";
import { DedupWindow } from "./dedup_window.ts";
import { recordDecisions } from "./number_ledger.ts";
import { openTraces, recordTraces, type Traces } from "./number_traces.ts";
import {
  type DecodedEntry,
  decodeEntry,
  isNotice,
  type Numbering,
  newNumbering,
  numberEntry,
  type Reply,
} from "./numbering.ts";
import type { Refusals, SendGate } from "./send_gate.ts";
import { sentAppends } from "./sent_notices.ts";
import { type Finding, SeqRange } from "./seq_range.ts";
import { CHARS_PER_RECORD, WindowSpill } from "./window_spill.ts";

export interface PartitionWorkerDeps {
  readonly partition: number;
  readonly epoch: number;
  readonly lease: Lease;
  /** What an earlier owner on this node had committed, and not moved to SQL. */
  readonly unsaved: readonly string[];
  readonly store: ChatMarks;
  readonly marker: Pick<ChatMarker, "note">;
  readonly streams: Streams;
  readonly windows: WindowStore;
  readonly relations: Relations;
  readonly partitions: Partitions;
  readonly contentCheck: ContentCheck;
  readonly dedupSeed: bigint;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly limits: Limits;
  /** Null: nobody is asked before a message is sent. */
  readonly gate: SendGate | null;
  readonly hooks: HookOutlet;
  readonly reply: (replies: readonly Reply[]) => void;
  /** Called once when a later owner exists. */
  readonly onFenced: () => void;
  /** Called when the queue is longer than it should be, and when it is short again. */
  readonly onPressure: (high: boolean) => void;
}

const RETRY_MS = 200;
const NO_REFUSALS: Refusals = new Map();
const SETTLED_REMEMBERED = 4_096;
const QUEUE_HIGH = 512;
const QUEUE_LOW = 64;
/** Entries per batch: one script call must not hold Redis up for long. */
const BATCH_ENTRIES_MAX = 64;

export class PartitionWorker {
  readonly conversations: Conversations;
  private readonly deps: PartitionWorkerDeps;
  private readonly dedup: DedupWindow;
  private readonly spill: WindowSpill;
  private readonly range: SeqRange;
  private readonly loop: FlushLoop;
  private readonly turns: CommitTurns;
  private queue: StreamEntry[] = [];
  /** Entries queued or in a batch, and those settled lately: the reader may repeat either. */
  private readonly open = new Set<string>();
  private readonly settled = new GenerationCache<string, true>(SETTLED_REMEMBERED);
  /** Of the last commit that is known to be in; 0 before the first. */
  confirmedTurn = 0;
  private stopped = false;
  private high = false;

  constructor(deps: PartitionWorkerDeps) {
    this.deps = deps;
    this.range = new SeqRange(deps);
    this.conversations = new Conversations({ ...deps, range: this.range });
    const entriesMax = Math.ceil(deps.limits.DEDUP_ENTRIES_MAX / deps.partitions.chat);
    this.dedup = new DedupWindow(deps.partition, entriesMax);
    this.spill = new WindowSpill({ ...deps, waitingCharsMax: entriesMax * CHARS_PER_RECORD });
    this.loop = new FlushLoop(deps.clock, () => this.flush());
    this.turns = new CommitTurns(deps.clock);
  }

  /**
   * Finds out which numbers may be given, and fills the idempotency window from what former owners
   * recorded; the partition is read after. Where Redis has lost its part, it gets what this node knows.
   */
  async recover(): Promise<Finding> {
    const { unsaved } = this.deps;
    const finding = await this.range.recover();
    await this.spill.recover(this.dedup);
    for (const text of unsaved) this.dedup.load(text);
    if (finding === "intact") return finding;
    const turn = this.turns.next();
    const restored = finding === "lost" ? this.spill.restore(unsaved, turn) : [];
    await this.write([...this.range.takePuts(), ...restored], turn);
    return finding;
  }

  /** A commit of maps alone; rejects when it is not known to be in. */
  private async write(puts: MapPut[], turn: number): Promise<void> {
    const { epoch, partition, streams } = this.deps;
    const after = this.confirmedTurn;
    await streams.commit({ fence: { group: "logic", partition, epoch }, turn, after, puts });
    this.committed(turn);
  }

  private committed(turn: number): void {
    const { epoch, marker, partition } = this.deps;
    this.confirmedTurn = turn;
    marker.note({ partition, epoch, turn, top: this.range.largest, closed: false });
  }

  /** Says in SQL that nothing comes after the last commit. */
  close(): void {
    const { epoch, marker, partition } = this.deps;
    const turn = this.confirmedTurn;
    if (this.stopped || turn === 0) return;
    this.stop();
    marker.note({ partition, epoch, turn, top: this.range.largest, closed: true });
  }

  get dedupEntries(): number {
    return this.dedup.size;
  }

  get unsavedChars(): number {
    return this.spill.unsavedChars;
  }

  /** Records that were committed and that SQL has not got yet. */
  unsavedTexts(): string[] {
    return this.spill.unsavedTexts();
  }

  /** Now and then: what of the window is to be moved out of Redis also where nothing comes any more. */
  tick(): void {
    if (!this.stopped && !this.loop.isBusy()) this.spill.sealDue();
  }

  take(entries: readonly StreamEntry[]): void {
    if (this.stopped) return;
    for (const entry of entries) {
      // The reader may hand unsettled entries over once more; those at hand are known.
      if (this.open.has(entry.id) || this.settled.get(entry.id)) continue;
      this.open.add(entry.id);
      this.queue.push(entry);
    }
    if (this.queue.length > QUEUE_HIGH && !this.high) {
      this.high = true;
      this.deps.onPressure(true);
    }
    if (this.queue.length > 0) this.loop.wake();
  }

  idle(): Promise<void> {
    return this.loop.idle();
  }

  stop(): void {
    this.stopped = true;
    this.spill.stop();
    this.queue = [];
  }

  private async flush(): Promise<void> {
    if (this.stopped || this.queue.length === 0) return;
    const entries = this.queue.splice(0, BATCH_ENTRIES_MAX).map(decodeEntry);
    const traces = openTraces(this.deps.telemetry.tracer, entries);
    if (this.queue.length > 0) this.loop.wake();
    if (this.high && this.queue.length < QUEUE_LOW) {
      this.high = false;
      this.deps.onPressure(false);
    }
    const conversations = await this.loadFor(entries);
    if (conversations === null) return;
    const refusals = await this.askGate(entries);
    await this.range.have(entries.reduce((sum, { items }) => sum + (items?.length ?? 0), 0));
    const out = newNumbering();
    const { clock, contentCheck, dedupSeed, limits, partition, partitions } = this.deps;
    const nowMs = clock.now();
    this.dedup.expire(nowMs, limits.DEDUP_WINDOW_S);
    const { dedup } = this;
    const context = {
      partition,
      partitions,
      dedup,
      dedupSeed,
      contentCheck,
      conversations,
      nowMs,
      refusals,
    };
    for (const entry of entries) numberEntry(out, context, entry);
    const commit = this.toCommit(entries, out);
    if (!(await this.commit(commit))) return;
    this.spill.confirmed();
    for (const seq of out.seqs.values()) this.range.given(seq);
    this.committed(commit.turn ?? 0);
    this.spill.sealDue();
    for (const { id } of entries) {
      this.open.delete(id);
      this.settled.set(id, true);
    }
    this.finish(out, traces);
  }

  /**
   * What the entries are about. A notice that a conversation changed comes before everything of the
   * batch that is behind it, and what is before it in the same batch may see the change already:
   * both were accepted before the change was answered.
   */
  private async loadFor(
    entries: readonly DecodedEntry[],
  ): Promise<Map<string, Conversation> | null> {
    const ids = new Set<string>();
    for (const entry of entries) {
      for (const input of entry.items ?? []) {
        if (input === null) continue;
        if (isNotice(input)) this.conversations.forget(input.conversationId);
        else if (input.messageType !== "DATAREPORT") ids.add(input.conversationId);
      }
    }
    return this.untilDone("load", () => this.conversations.load(ids));
  }

  /** Messages that are known already are not asked about: their answer stands. */
  private async askGate(entries: readonly DecodedEntry[]): Promise<Refusals> {
    const { dedupSeed, gate } = this.deps;
    if (gate === null) return NO_REFUSALS;
    const unknown = entries
      .flatMap(({ items }) => items ?? [])
      .filter((input) => {
        if (input === null || isNotice(input)) return false;
        return this.dedup.find(dedupKey(dedupSeed, input.fromUserId, input.clientMsgId)) === null;
      });
    return gate.check(unknown as ChatInput[]);
  }

  private toCommit(entries: readonly DecodedEntry[], out: Numbering): Commit {
    const { epoch, limits, partition, telemetry } = this.deps;
    const appends: Append[] = [];
    for (const [q, tasks] of out.tasks) {
      const bodies = encodeEntries(tasks, limits);
      telemetry.metrics.batch.observe({ topic: "push_task" }, tasks.length / bodies.length);
      for (const body of bodies) {
        appends.push({ topic: "push_task", partition: q, body });
      }
    }
    appends.push(...sentAppends(this.deps.hooks, out));
    for (const body of out.reports) appends.push({ topic: "data_report", partition: 0, body });
    for (const poison of out.poison) {
      const body = JSON.stringify({ topic: "chat_input", partition, ...poison });
      appends.push({ topic: "dead_letter", partition: 0, body });
    }
    const turn = this.turns.next();
    return {
      fence: { group: "logic", partition, epoch },
      turn,
      after: this.confirmedTurn,
      puts: [
        { map: "seq", entries: [...out.seqs].map(([id, seq]) => [id, `${seq}`]) },
        ...this.spill.put(out.records, turn),
        ...this.range.takePuts(),
      ],
      appends,
      settles: [{ topic: "chat_input", ids: entries.map((entry) => entry.id) }],
    };
  }

  private async commit(commit: Commit): Promise<boolean> {
    const done = await this.untilDone("commit", async () => {
      await this.deps.streams.commit(commit);
      return true;
    });
    return done === true;
  }

  /** Repeats `step` until it works; null once this node does not own the partition any more. */
  private async untilDone<T>(name: string, step: () => Promise<T>): Promise<T | null> {
    const { clock, onFenced, partition, telemetry } = this.deps;
    for (let attempt = 1; !this.stopped; attempt++) {
      try {
        const result = await step();
        return this.stopped && name === "load" ? null : result;
      } catch (error) {
        if (error instanceof FencedError) {
          this.stop();
          onFenced();
          return null;
        }
        telemetry.metrics.redisErrors.inc({ operation: name });
        telemetry.log.warn({ err: error, partition, attempt }, `${name} failed; trying again`);
        await sleep(clock, RETRY_MS);
      }
    }
    return null;
  }

  private finish(out: Numbering, traces: Traces): void {
    const { metrics } = this.deps.telemetry;
    metrics.numbered.inc({ type: "chat" }, out.numbered);
    if (out.duplicates > 0) metrics.duplicates.inc({ stage: "logic" }, out.duplicates);
    for (const [code, count] of out.rejected) metrics.rejected.inc({ code }, count);
    for (const { reason } of out.poison) metrics.deadLetters.inc({ reason });
    const { clock, partition, telemetry } = this.deps;
    recordTraces(telemetry, { out, traces, partition, end: clock.now() });
    this.deps.reply(out.replies);
    recordDecisions(telemetry.ledger, partition, out);
  }
}

/** Splits tasks into entries within the bounds of one entry. */
function encodeEntries(tasks: readonly PushTask[], limits: Limits): string[] {
  if (tasks.length === 1) return [encodePushTasks(tasks)];
  const bodies: string[] = [];
  let from = 0;
  let bytes = 0;
  for (let i = 0; i < tasks.length; i++) {
    const size = (tasks[i] as PushTask).message.length;
    const full = i - from >= limits.MESSAGES_PER_ENTRY_MAX || bytes + size > limits.ENTRY_BYTES_MAX;
    if (full && i > from) {
      bodies.push(encodePushTasks(tasks.slice(from, i)));
      from = i;
      bytes = 0;
    }
    bytes += size;
  }
  bodies.push(encodePushTasks(tasks.slice(from)));
  return bodies;
}

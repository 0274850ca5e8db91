/**
 * Settling what push has read: an entry is acknowledged and deleted when every recipient of every
 * message in it is settled. Also the durable `stored` marks (which users have offline rows), because
 * both are commits of the same owner: one commit is in flight at a time, repeated until it is in,
 * so a mark can never be overtaken by an earlier unmark.
 *
 * What became of messages of push jobs is recorded before the commit that settles them: what a crash
 * in between leaves is read, decided and recorded again, and recording twice counts once.
 */

import type { Clock } from "../../core/clock.ts";
import { sleep } from "../../core/clock.ts";
import type { JobStore } from "../../core/jobs/contract.ts";
import { FlushLoop } from "../../core/lifecycle/flush.ts";
import { CommitTurns } from "../../core/streams/commit_turns.ts";
import {
  type Append,
  type Commit,
  type Fence,
  FencedError,
  type Streams,
} from "../../core/streams/contract.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";
import type { Topic } from "../../core/topology.ts";
import { type HookNotice, hookAppends } from "../../core/webhooks/contract.ts";
import { JobOutcomes } from "./job_outcomes.ts";

/** A stream entry with what in it is not settled yet. */
export interface OpenEntry {
  readonly topic: Topic;
  readonly id: string;
  remaining: number;
}

export interface SettlementDeps {
  readonly fence: Fence;
  readonly streams: Streams;
  readonly jobs: Pick<JobStore, "record">;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly onSettled: (topic: Topic, ids: readonly string[]) => void;
  readonly onFenced: () => void;
}

const RETRY_MS = 200;

export class Settlement {
  private readonly deps: SettlementDeps;
  private readonly loop: FlushLoop;
  private readonly turns: CommitTurns;
  private ids = new Map<Topic, string[]>();
  private marks = new Map<string, boolean>();
  private letters: Append[] = [];
  private notices: HookNotice[] = [];
  private waiters: (() => void)[] = [];
  private readonly outcomes = new JobOutcomes();
  private stopped = false;
  /** Of the last commit that is known to be in; 0 before the first. */
  confirmedTurn = 0;

  constructor(deps: SettlementDeps) {
    this.deps = deps;
    this.loop = new FlushLoop(deps.clock, () => this.flush());
    this.turns = new CommitTurns(deps.clock);
  }

  /** One recipient of one message of the entry is settled. */
  done(entry: OpenEntry): void {
    entry.remaining--;
    if (entry.remaining === 0) this.settle(entry.topic, entry.id);
  }

  settle(topic: Topic, id: string): void {
    const ids = this.ids.get(topic);
    if (ids === undefined) this.ids.set(topic, [id]);
    else ids.push(id);
    this.loop.wake();
  }

  /** Gives the entry up: it goes to dead_letter, with the reason, and is settled. */
  deadLetter(topic: Topic, id: string, reason: string, body: string): void {
    const { fence, telemetry } = this.deps;
    telemetry.metrics.deadLetters.inc({ reason });
    // What cannot be decoded may still show which messages were in it.
    for (const [, msgId = ""] of body.matchAll(/"msg_id":"([0-9a-z]{1,40})"/g)) {
      telemetry.ledger.deadLettered(msgId, topic, reason);
    }
    const now = this.deps.clock.now();
    const trace = telemetry.tracer.span({
      name: "push.take",
      parent: telemetry.tracer.sampleProblem(""),
      start: now,
      end: now,
      attributes: { "chatify.entry": id, "chatify.partition": fence.partition },
      error: `dead letter: ${reason}`,
    });
    telemetry.log.error({ trace, entry: id, topic, reason }, "entry goes to dead_letter");
    const letter = JSON.stringify({ topic, partition: fence.partition, id, reason, body });
    this.letters.push({ topic: "dead_letter", partition: 0, body: letter });
    this.settle(topic, id);
  }

  /** What became of a message, if a job wants to know; goes out with what is settled next. */
  outcome(msgId: string, bits: number): void {
    this.outcomes.note(msgId, bits);
  }

  /** Lets outcomes go out that nothing else takes along. */
  recordOutcomes(): void {
    if (!this.outcomes.isEmpty()) this.loop.wake();
  }

  /** Resolves once every outcome told so far is durable; never if the partition is lost before. */
  outcomesRecorded(): Promise<void> {
    return this.written();
  }

  /** For webhooks: leaves in the commit that settles what it is about. */
  notify(notice: HookNotice): void {
    this.notices.push(notice);
    this.loop.wake();
  }

  /** Resolves once the marks of these users are durable; never if the partition is lost before. */
  mark(users: readonly string[]): Promise<void> {
    for (const user of users) this.marks.set(user, true);
    return this.written();
  }

  unmark(user: string): void {
    this.marks.set(user, false);
    this.loop.wake();
  }

  idle(): Promise<void> {
    this.recordOutcomes();
    return this.loop.idle();
  }

  stop(): void {
    this.stopped = true;
  }

  private async flush(): Promise<void> {
    if (this.stopped) return;
    const { ids, letters, marks, notices, waiters } = this;
    this.ids = new Map();
    this.letters = [];
    this.notices = [];
    this.marks = new Map();
    this.waiters = [];
    if (!(await this.recorded())) return;
    const users = [...marks];
    const set = users.filter(([, on]) => on).map(([user]): [string, string] => [user, "1"]);
    const unset = users.filter(([, on]) => !on).map(([user]) => user);
    const isEmpty = ids.size + letters.length + users.length === 0;
    const turn = this.turns.next();
    const done =
      isEmpty ||
      (await this.commit({
        fence: this.deps.fence,
        turn,
        after: this.confirmedTurn,
        ...(set.length > 0 ? { puts: [{ map: "stored" as const, entries: set }] } : {}),
        ...(unset.length > 0 ? { deletes: [{ map: "stored" as const, fields: unset }] } : {}),
        ...(letters.length + notices.length > 0
          ? { appends: [...letters, ...hookAppends(notices)] }
          : {}),
        settles: [...ids].map(([topic, own]) => ({ topic, ids: own })),
      }));
    if (!done) return;
    if (!isEmpty) this.confirmedTurn = turn;
    for (const [topic, own] of ids) this.deps.onSettled(topic, own);
    for (const resolve of waiters) resolve();
  }

  private written(): Promise<void> {
    return new Promise((resolve) => {
      this.waiters.push(resolve);
      this.loop.wake();
    });
  }

  private async recorded(): Promise<boolean> {
    if (this.outcomes.isEmpty()) return true;
    const marks = this.outcomes.take();
    return this.untilDone(() => this.deps.jobs.record(this.deps.fence.partition, marks));
  }

  private commit(commit: Commit): Promise<boolean> {
    return this.untilDone(() => this.deps.streams.commit(commit));
  }

  private async untilDone(step: () => Promise<void>): Promise<boolean> {
    const { clock, fence, onFenced, telemetry } = this.deps;
    while (!this.stopped) {
      try {
        await step();
        return true;
      } catch (error) {
        if (error instanceof FencedError) {
          this.stopped = true;
          onFenced();
          return false;
        }
        telemetry.metrics.redisErrors.inc({ operation: "settle" });
        telemetry.log.warn({ err: error, partition: fence.partition }, "settling failed; again");
        await sleep(clock, RETRY_MS);
      }
    }
    return false;
  }
}

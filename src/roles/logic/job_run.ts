/**
 * One push job while this node runs it. Whatever it does may be done by another node at the same time
 * or has been done already; the store sees to it that this changes nothing (core/jobs/contract.ts).
 * So there is no recovery: a node that takes a job over looks where it stands, and goes on.
 */
import { type Clock, sleep } from "../../core/clock.ts";
import { hasEnded, type JobRecord, type JobStore, sumOf } from "../../core/jobs/contract.ts";
import type { Limits } from "../../core/limits.ts";
import { jobMsgIds } from "../../core/protocol/msg_id.ts";
import { encodePushTasks, type PushTask } from "../../core/protocol/push_task.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";
import type { NodeId } from "../../core/trunk/node_id.ts";
import { chunkMaxOf, JobRecipients, type TargetSources, usersOf } from "./job_recipients.ts";
import type { PushGate } from "./push_gate.ts";
import { Bucket } from "./push_rates.ts";
import { pushTasks } from "./push_text.ts";

export interface JobRunDeps extends TargetSources {
  readonly self: NodeId;
  readonly jobs: JobStore;
  readonly gate: Pick<PushGate, "isOpen">;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly limits: Limits;
}

const RETRY_MS = 300;
const SPEED_WINDOW_MS = 2_000;
/** Ticks without anything sent after which a hold that nobody took back is taken for a left-over. */
const STUCK_TICKS = 6;

export class JobRun {
  private stopped = false;
  private leasedAt = Number.NEGATIVE_INFINITY;
  private record: JobRecord | null = null;
  private bucket: Bucket | null = null;
  /** Partitions whose lists may hold something; the next round starts with the first. */
  private open: number[];
  private sentAt: [at: number, count: number][] = [];
  private stuck = 0;

  constructor(
    private readonly deps: JobRunDeps,
    private readonly id: string,
  ) {
    this.open = [...Array(deps.partitions.user).keys()];
  }

  /** Resolves when the job has ended, or another node runs it. */
  async run(): Promise<void> {
    const { clock, telemetry } = this.deps;
    while (!this.stopped) {
      try {
        if (!(await this.refresh())) return;
        const waitMs = await this.step(this.record as JobRecord);
        if (waitMs === null) return;
        if (waitMs > 0) await sleep(clock, waitMs);
      } catch (error) {
        telemetry.log.debug({ err: error, job: this.id }, "a push job cannot go on; again");
        await sleep(clock, RETRY_MS);
        this.leasedAt = Number.NEGATIVE_INFINITY;
      }
    }
    // Whoever looks next takes it, and need not wait for the lease to end.
    await this.deps.jobs.lease(this.id, this.deps.self, 0).catch(() => false);
  }

  stop(): void {
    this.stopped = true;
  }

  /** Renews the lease and looks at the job, once per tick. False when it is not this node's any more. */
  private async refresh(): Promise<boolean> {
    const { clock, jobs, limits, self } = this.deps;
    if (clock.monotonic() - this.leasedAt < limits.JOB_TICK_MS) return true;
    const startedAt = clock.monotonic();
    if (!(await jobs.lease(this.id, self, limits.JOB_LEASE_MS))) return false;
    this.record = await jobs.get(this.id);
    this.leasedAt = startedAt;
    return this.record !== null;
  }

  /** Does what is next and returns after how many ms to go on; null when there is nothing more. */
  private async step(record: JobRecord): Promise<number | null> {
    const { clock, jobs, limits } = this.deps;
    const { expireTime, startTime } = record.spec;
    const now = clock.now();
    if (hasEnded(record.state)) {
      if (record.state === "cancelled") await jobs.stop(this.id, "cancelled");
      await jobs.retire(this.id);
      return null;
    }
    if (record.state === "loading") {
      // Whoever was loading it has the lease while it lives. Nothing was sent.
      await jobs.remove(this.id);
      return null;
    }
    const isOver = expireTime !== 0 && expireTime * 1_000 <= now;
    if (record.state === "paused") {
      if (!isOver) return limits.JOB_TICK_MS;
      await this.change({ state: "running" });
      return 0;
    }
    if (record.state === "scheduled") {
      const wait = startTime * 1_000 - now;
      if (wait > 0 && !isOver) return Math.min(wait, limits.JOB_TICK_MS);
      await this.change({ state: "running", startedAt: now });
      return 0;
    }
    if (isOver) {
      await jobs.stop(this.id, "expired");
      await this.change({ resolved: true });
      return this.settle();
    }
    if (!record.resolved) return this.resolve(record);
    return this.open.length > 0 ? this.send(record) : this.settle();
  }

  private async change(change: Parameters<JobStore["change"]>[2]): Promise<void> {
    const from = ["scheduled", "running", "paused"] as const;
    const changed = await this.deps.jobs.change(this.id, from, change);
    if (changed !== null) this.record = changed.record;
  }

  /** Fills the lists. Done again by whoever takes over: who is in already stays in, once. */
  private async resolve({ spec }: JobRecord): Promise<number> {
    const chunkMax = chunkMaxOf(spec, spec.rate, this.deps.limits);
    const recipients = new JobRecipients(this.deps, this.id, chunkMax);
    for await (const users of usersOf(spec.target, this.deps)) {
      if (users === null) await this.change({ problems: ["there is no such group"] });
      for (const user of users ?? []) await recipients.add(user);
      if (!(await this.refresh()) || this.record?.state !== "running") return 0;
    }
    await recipients.finish();
    await this.deps.jobs.seal(this.id);
    await this.change({ resolved: true });
    return 0;
  }

  /** One round: some chunks of some partitions. */
  private async send({ spec }: JobRecord): Promise<number> {
    const { clock, gate, jobs, limits } = this.deps;
    if (!gate.isOpen()) return limits.JOB_TICK_MS / 5;
    const round = this.open.slice(0, limits.JOB_CHUNKS_IN_FLIGHT_MAX);
    const each = Math.max(1, Math.floor(limits.JOB_CHUNKS_IN_FLIGHT_MAX / round.length));
    const found = await Promise.all(round.map((q) => jobs.chunks(this.id, q, each)));
    const make = pushTasks(spec, clock.now(), "");
    const sending: Promise<number>[] = [];
    const empty = new Set<number>();
    let waitMs = 0;
    for (const [i, { chunks, sent }] of found.entries()) {
      const partition = round[i] as number;
      if (chunks.length === 0) empty.add(partition);
      let next = sent;
      for (const users of chunks) {
        waitMs ||= this.mayNotSend(spec.rate, users.length);
        if (waitMs > 0) break;
        sending.push(this.sendChunk(partition, next, users, make));
        next += users.length;
      }
    }
    // Those of this round come last in the next one.
    const rest = this.open.filter((q) => !round.includes(q));
    this.open = [...rest, ...round.filter((q) => !empty.has(q))];
    const count = (await Promise.all(sending)).reduce((sum, sent) => sum + sent, 0);
    await this.noteSent(count, sending.length > 0);
    return waitMs > 0 ? Math.min(waitMs, limits.JOB_TICK_MS) : 0;
  }

  private mayNotSend(rate: number, count: number): number {
    if (rate === 0) return 0;
    const now = this.deps.clock.monotonic();
    this.bucket ??= new Bucket(rate, Math.max(1, rate / 5), now);
    return this.bucket.take(count, now);
  }

  private async sendChunk(
    partition: number,
    sent: number,
    users: readonly string[],
    make: (user: string, msgId: string) => PushTask,
  ): Promise<number> {
    const { jobs, telemetry } = this.deps;
    const idOf = jobMsgIds(this.id, partition);
    const tasks = users.map((user, i) => make(user, idOf(sent + i)));
    const body = encodePushTasks(tasks);
    if (!(await jobs.send(this.id, partition, sent, users.length, body))) return 0;
    telemetry.metrics.pushed.inc(users.length);
    telemetry.metrics.jobMessages.inc(users.length);
    telemetry.metrics.batch.observe({ topic: "push_task" }, users.length);
    const { contentId, expireTime, fromUserId } = (this.record as JobRecord).spec;
    for (const { msgId, recipients } of tasks) {
      const toUserId = recipients[0] ?? "";
      telemetry.ledger.pushed({ msgId, fromUserId, toUserId, contentId, expireTime });
    }
    return users.length;
  }

  private async noteSent(count: number, tried: boolean): Promise<void> {
    const { clock, jobs, limits } = this.deps;
    const now = clock.monotonic();
    if (count > 0) {
      this.stuck = 0;
      this.sentAt.push([now, count]);
    } else if (tried) {
      await sleep(clock, limits.JOB_TICK_MS);
      this.leasedAt = Number.NEGATIVE_INFINITY;
      if (++this.stuck < STUCK_TICKS) return;
      this.stuck = 0;
      await jobs.hold(this.id, false);
    }
    const [first] = this.sentAt;
    if (first === undefined || now - first[0] < SPEED_WINDOW_MS) return;
    const total = this.sentAt.reduce((sum, [, sent]) => sum + sent, 0);
    this.sentAt = [];
    await this.change({ speed: Math.round((total * 1_000) / (now - first[0])) });
  }

  /** Everything is sent: the job is finished when it is known what became of every message. */
  private async settle(): Promise<number | null> {
    const { clock, jobs, limits, telemetry } = this.deps;
    const { inFlight, waiting } = sumOf(await jobs.counts(this.id));
    if (waiting > 0) {
      this.open = [...Array(this.deps.partitions.user).keys()];
      return 0;
    }
    if (inFlight > 0) return limits.JOB_TICK_MS;
    const total = sumOf(await jobs.counts(this.id));
    await this.change({ state: "finished", finishedAt: clock.now() });
    telemetry.metrics.jobEvents.inc({ event: "finished" });
    telemetry.log.info({ job: this.id, ...total }, "a push job has finished");
    return 0;
  }
}

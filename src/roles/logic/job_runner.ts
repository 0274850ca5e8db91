/**
 * Runs push jobs: takes those that nobody runs, and lets go of them when this node drains. Any logic
 * node takes any job; a lease in the job says whose it is.
 */
import type { Timer } from "../../core/clock.ts";
import { msgIdTime } from "../../core/protocol/msg_id.ts";
import { JobRun, type JobRunDeps } from "./job_run.ts";

const GONE_AFTER_MS = 60_000;

export class JobRunner {
  private readonly runs = new Map<string, JobRun>();
  /** Jobs that another node had when they were looked at, and when to look again (monotonic ms). */
  private readonly elsewhere = new Map<string, number>();
  private readonly ends = new Set<Promise<void>>();
  private timer: Timer | null = null;
  private looking = false;
  private stopped = false;

  constructor(private readonly deps: JobRunDeps) {}

  start(): void {
    this.timer = this.deps.clock.every(this.deps.limits.JOB_TICK_MS, () => void this.look());
  }

  /** There is a job that may not wait for the next look. */
  wake(id: string): void {
    this.elsewhere.delete(id);
    void this.look();
  }

  /** Resolves when nothing of any job is on its way. Other nodes take them over in JOB_LEASE_MS. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.timer?.cancel();
    for (const run of this.runs.values()) run.stop();
    await Promise.all(this.ends);
  }

  private async look(): Promise<void> {
    const { clock, jobs, limits, self, telemetry } = this.deps;
    if (this.looking || this.stopped) return;
    this.looking = true;
    try {
      const open = await jobs.open();
      const now = clock.monotonic();
      for (const id of this.elsewhere.keys()) if (!open.includes(id)) this.elsewhere.delete(id);
      const free = open.filter((id) => {
        return !this.runs.has(id) && (this.elsewhere.get(id) ?? 0) <= now;
      });
      await Promise.all(
        free.map(async (id) => {
          if (await jobs.lease(id, self, limits.JOB_LEASE_MS)) return this.take(id);
          this.elsewhere.set(id, now + limits.JOB_LEASE_MS / 2);
          // A name without a job: it was removed, or is just being made.
          const isOld = msgIdTime(id) < clock.now() - GONE_AFTER_MS;
          if (isOld && (await jobs.get(id)) === null) await jobs.retire(id);
        }),
      );
    } catch (error) {
      telemetry.log.debug({ err: error }, "looking for push jobs failed");
    } finally {
      this.looking = false;
    }
  }

  private take(id: string): void {
    if (this.stopped) return;
    const run = new JobRun(this.deps, id);
    this.runs.set(id, run);
    this.deps.telemetry.metrics.jobsRunning.set(this.runs.size);
    const end = run.run().finally(() => {
      this.runs.delete(id);
      this.deps.telemetry.metrics.jobsRunning.set(this.runs.size);
      this.ends.delete(end);
    });
    this.ends.add(end);
  }
}

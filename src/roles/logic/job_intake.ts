/**
 * Takes push jobs in. A job becomes one when its description and its whole list are there: until then
 * nothing is sent, and an upload that breaks off leaves nothing behind.
 */
import type { Clock, Random } from "../../core/clock.ts";
import type { JobRecord, JobStore } from "../../core/jobs/contract.ts";
import type { Limits } from "../../core/limits.ts";
import { ChatifyError } from "../../core/protocol/errors.ts";
import { jobId } from "../../core/protocol/msg_id.ts";
import type { PushStore } from "../../core/pushes/contract.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";
import type { Partitions } from "../../core/topology.ts";
import type { NodeId } from "../../core/trunk/node_id.ts";
import { type JobRequest, userOfLine } from "./job_body.ts";
import { chunkMaxOf, JobRecipients } from "./job_recipients.ts";

export interface JobIntakeDeps {
  readonly self: NodeId;
  readonly jobs: JobStore;
  readonly pushes: Pick<PushStore, "reserve">;
  readonly partitions: Partitions;
  readonly clock: Clock;
  readonly random: Random;
  readonly telemetry: Pick<Telemetry, "log" | "metrics">;
  readonly limits: Limits;
  /** There is a job to run. */
  readonly onReady: (id: string) => void;
}

const PROBLEMS_SHOWN_MAX = 10;
const TAG_CHARS = 8;

export class JobIntake {
  constructor(private readonly deps: JobIntakeDeps) {}

  /**
   * `key` makes a repetition the same job; it is null where the caller gives none. Lines are only
   * read where the target is a list. Rejects with `key_reused`, `conflict`, `rate_limited`.
   */
  async take(
    request: JobRequest,
    lines: AsyncIterable<readonly string[]>,
    key: string | null,
  ): Promise<JobRecord> {
    const { jobs, limits, random, self, telemetry } = this.deps;
    if ((await jobs.open()).length >= limits.JOBS_OPEN_MAX) {
      const message = `there are ${limits.JOBS_OPEN_MAX} jobs that have not ended`;
      throw new ChatifyError("rate_limited", message, 10_000);
    }
    const id = await this.idOf(request, key);
    const { spec } = request;
    const isList = spec.target.kind === "list";
    const record: JobRecord = {
      id,
      spec,
      state: isList ? "loading" : "scheduled",
      ...{ resolved: false, createdAt: this.deps.clock.now(), startedAt: 0, finishedAt: 0 },
      ...{ speed: 0, invalid: 0, problems: [] },
    };
    // Held from the first moment on: whoever finds a job that loads and that nobody holds removes it.
    const loader = `${self}/${random.token(TAG_CHARS)}`;
    const holder = { node: loader, ttlMs: limits.JOB_LEASE_MS };
    const isNew = await jobs.create(record, isList ? holder : undefined);
    if (isNew) {
      telemetry.metrics.jobEvents.inc({ event: "created" });
      const { rate, startTime, target } = spec;
      telemetry.log.info({ job: id, target: target.kind, rate, startTime }, "a push job was made");
    }
    const known = isNew ? record : await jobs.get(id);
    if (known === null) throw new ChatifyError("unavailable", "the job is just going away", 1_000);
    if (known.state !== "loading") {
      this.deps.onReady(id);
      return known;
    }
    return this.load(known, loader, request.users, lines);
  }

  private async idOf({ spec, users }: JobRequest, key: string | null): Promise<string> {
    const { clock, pushes, random } = this.deps;
    const proposal = { taskId: random.token(TAG_CHARS), ms: clock.now(), digest: "" };
    if (key === null) return jobId(proposal.ms, proposal.taskId);
    // Times that the caller left to the server differ from one request to the next.
    const { content, contentId, fromUserId, pushType, rate, target } = spec;
    const asked = [content, contentId, fromUserId, pushType, rate, target, users];
    const digest = hashOf(JSON.stringify(asked));
    const name = hashOf(`job ${key}`);
    const reserved = (await pushes.reserve(name, { ...proposal, digest })) ?? proposal;
    if (reserved.digest === digest) return jobId(reserved.ms, reserved.taskId);
    const message = "this Idempotency-Key was used for another job; a new job takes a new one";
    throw new ChatifyError("key_reused", message);
  }

  /** Repeated after an upload that broke off it goes on with the same job: each user is in once. */
  private async load(
    { id, spec }: JobRecord,
    loader: string,
    users: readonly string[],
    lines: AsyncIterable<readonly string[]>,
  ): Promise<JobRecord> {
    const { clock, jobs, limits } = this.deps;
    const lease = () => jobs.lease(id, loader, limits.JOB_LEASE_MS);
    if (!(await lease())) throw new ChatifyError("conflict", "this job is being loaded already");
    const recipients = new JobRecipients(this.deps, id, chunkMaxOf(spec, spec.rate, limits));
    let lost = false;
    // Not with the lines: a caller may be slow for longer than the lease lasts.
    const renewal = clock.every(limits.JOB_TICK_MS, () => {
      lease().then(
        (held) => {
          lost ||= !held;
        },
        () => {},
      );
    });
    try {
      const problems = await this.fill(recipients, users, lines, () => lost);
      await recipients.finish();
      await jobs.seal(id);
      const change = { ...problems, state: "scheduled", resolved: true } as const;
      const done = await jobs.change(id, ["loading"], change);
      if (done?.changed !== true) throw new ChatifyError("conflict", "the job was taken away");
      await jobs.lease(id, loader, 0);
      this.deps.onReady(id);
      return done.record;
    } catch (error) {
      // Whoever looks next finds a job that nobody loads, and removes it if this does not work.
      if (!lost) await jobs.remove(id).catch(() => {});
      throw error;
    } finally {
      renewal.cancel();
    }
  }

  private async fill(
    recipients: JobRecipients,
    users: readonly string[],
    lines: AsyncIterable<readonly string[]>,
    isLost: () => boolean,
  ): Promise<Pick<JobRecord, "invalid" | "problems">> {
    for (const user of users) await recipients.add(user);
    const problems: string[] = [];
    let invalid = 0;
    let number = 1;
    for await (const some of lines) {
      if (isLost()) throw new ChatifyError("conflict", "somebody else loads this job now");
      for (const line of some) {
        number++;
        const user = userOfLine(line);
        if (user === null) {
          invalid++;
          if (problems.length < PROBLEMS_SHOWN_MAX) problems.push(`line ${number} names no user`);
          continue;
        }
        const room = recipients.add(user);
        if (room !== undefined) await room;
      }
    }
    return { invalid, problems };
  }
}

function hashOf(text: string): string {
  return new Bun.CryptoHasher("sha256").update(text).digest("hex").slice(0, 32);
}

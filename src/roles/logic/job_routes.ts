/** Push jobs over HTTP: making one, watching it, pausing, resuming and cancelling it. */
import type { Context, Hono } from "hono";
import * as z from "zod";
import type { Clock } from "../../core/clock.ts";
import { callerOf } from "../../core/http/api_auth.ts";
import { checked } from "../../core/http/json_body.ts";
import { parseLooseJson } from "../../core/http/loose_json.ts";
import {
  JOB_STATES,
  type JobRecord,
  type JobState,
  type JobStore,
  sumOf,
} from "../../core/jobs/contract.ts";
import type { Limits } from "../../core/limits.ts";
import { ChatifyError } from "../../core/protocol/errors.ts";
import { JOB_ID_CHARS } from "../../core/protocol/msg_id.ts";
import type { Telemetry } from "../../core/telemetry/telemetry.ts";
import { bodyLines } from "./body_lines.ts";
import { type JobRequest, jobRequest } from "./job_body.ts";
import type { JobIntake } from "./job_intake.ts";
import { withKnownNames } from "./push_body.ts";
import { PushHeaders } from "./push_route.ts";

const count = z.int().nonnegative();
const unixMs = z.int().nullable().meta({ description: "Unix ms; null before that" });

export const JobAnswer = z.object({
  job_id: z.string(),
  state: z.enum(JOB_STATES),
  target: z.object({
    kind: z.enum(["list", "group", "tag", "online"]),
    name: z.string().optional(),
  }),
  content_id: z.string(),
  from_user_id: z.string(),
  created_at: unixMs,
  started_at: unixMs,
  finished_at: unixMs,
  start_time: z.int().meta({ description: "Unix seconds; 0: at once" }),
  expire_time: z.int().meta({ description: "Unix seconds; 0: never" }),
  rate: z.number().meta({ description: "Messages per second that it may send; 0: no limit" }),
  speed: z.number().meta({ description: "Messages per second that it sent of late" }),
  eta_s: z.int().nullable().meta({ description: "Seconds until all is sent, where one can tell" }),
  counts: z
    .object({
      accepted: count.meta({ description: "Users it is for; the sum of the next six" }),
      waiting: count,
      in_flight: count,
      acked: count.meta({ description: "A device confirmed it, at once or after a replay" }),
      stored_offline: count.meta({ description: "Waits in the offline store for its user" }),
      expired: count,
      cancelled: count,
      delivered: count.meta({ description: "Handed to a device, whether or not that confirmed" }),
      duplicates: count.meta({ description: "Mentions of users who were in the list already" }),
      failed: count.meta({ description: "Lines that name no user" }),
    })
    .meta({ description: "Users" }),
  problems: z.array(z.string()).meta({ description: "The first of what failed" }),
});
export type JobAnswer = z.infer<typeof JobAnswer>;
export const JobsAnswer = z.object({ jobs: z.array(JobAnswer) });
export const JobParam = z.object({
  job: z.string().regex(new RegExp(`^(latest|[0-9a-z]{${JOB_ID_CHARS}})$`), {
    error: "takes a job's id, or latest",
  }),
});
export const JobsQuery = z.object({
  limit: z.coerce.number().int().min(1).max(1_000).default(100),
});

export interface JobRoutesDeps {
  readonly jobs: JobStore;
  readonly jobIntake: Pick<JobIntake, "take">;
  readonly clock: Pick<Clock, "now">;
  readonly telemetry: Pick<Telemetry, "log" | "metrics">;
  readonly limits: Pick<Limits, "HTTP_BODY_BYTES_MAX" | "JOB_START_DELAY_MAX_S">;
}

export const JOBS = "/chatify/logic/v1/pushJobs";

export function addJobRoutes(app: Hono, deps: JobRoutesDeps): void {
  const { clock, jobIntake, jobs, telemetry } = deps;
  const answer = async (record: JobRecord) =>
    jobAnswer(record, sumOf(await jobs.counts(record.id)), clock.now());

  const idOf = async (c: Context): Promise<string> => {
    const { job } = checked(JobParam, c.req.param());
    if (job !== "latest") return job;
    const [record] = await jobs.list(1);
    if (record === undefined) throw noJob();
    return record.id;
  };

  app.post(JOBS, async (c) => {
    const header = c.req.header("idempotency-key");
    const key = checked(PushHeaders, { "Idempotency-Key": header })["Idempotency-Key"];
    const { lines, request } = await readJob(c.req.raw, deps);
    const scoped = key === undefined ? null : `${callerOf(c)} ${key}`;
    return c.json(await answer(await jobIntake.take(request, lines, scoped)), 201);
  });

  app.get(JOBS, async (c) => {
    const { limit } = checked(JobsQuery, c.req.query());
    const all = await jobs.list(limit);
    return c.json({ jobs: await Promise.all(all.map(answer)) });
  });

  app.get(`${JOBS}/:job`, async (c) => {
    const record = await jobs.get(await idOf(c));
    if (record === null) throw noJob();
    return c.json(await answer(record));
  });

  const change = async (id: string, from: JobState[], to: JobState) => {
    const change = to === "cancelled" ? { state: to, finishedAt: clock.now() } : { state: to };
    const done = await jobs.change(id, from, change);
    if (done === null) throw noJob();
    // Asked for again, it is what it is to be.
    if (done.changed || done.record.state === to) return done.record;
    throw new ChatifyError("conflict", `the job is ${done.record.state}`);
  };

  app.delete(`${JOBS}/:job`, async (c) => {
    const id = await idOf(c);
    const record = await change(id, ["loading", "scheduled", "running", "paused"], "cancelled");
    await jobs.stop(id, "cancelled");
    telemetry.metrics.jobEvents.inc({ event: "cancelled" });
    telemetry.log.info({ job: id }, "a push job was cancelled");
    return c.json(await answer(record));
  });

  app.post(`${JOBS}/:job/pause`, async (c) => {
    const id = await idOf(c);
    const record = await change(id, ["scheduled", "running"], "paused");
    await jobs.hold(id, true);
    return c.json(await answer(record));
  });

  app.post(`${JOBS}/:job/resume`, async (c) => {
    const id = await idOf(c);
    const before = await jobs.get(id);
    if (before?.state === "paused") await jobs.hold(id, false);
    const to = before?.startedAt === 0 ? "scheduled" : "running";
    return c.json(await answer(await change(id, ["paused"], to)));
  });
}

export function jobAnswer(
  record: JobRecord,
  counts: Awaited<ReturnType<JobStore["counts"]>>[number],
  nowMs: number,
): JobAnswer {
  const { createdAt, finishedAt, id, invalid, problems, spec, speed, startedAt, state } = record;
  const { inFlight, stored, ...rest } = counts;
  // What is past its time is not given out any more, wherever it is.
  const isOver = spec.expireTime !== 0 && spec.expireTime * 1_000 <= nowMs;
  const expired = rest.expired + (isOver ? stored : 0);
  const perSecond = speed > 0 ? speed : spec.rate;
  const canTell = state === "running" && perSecond > 0;
  return {
    job_id: id,
    state,
    target: spec.target,
    content_id: spec.contentId,
    from_user_id: spec.fromUserId,
    created_at: createdAt,
    started_at: startedAt || null,
    finished_at: finishedAt || null,
    start_time: spec.startTime,
    expire_time: spec.expireTime,
    rate: spec.rate,
    speed: state === "running" ? speed : 0,
    eta_s: canTell ? Math.ceil(rest.waiting / perSecond) : null,
    counts: {
      ...rest,
      expired,
      in_flight: inFlight,
      stored_offline: isOver ? 0 : stored,
      failed: invalid,
    },
    problems: [...problems],
  };
}

/** The description, and the lines behind it, which are still to be read. */
async function readJob(
  request: Request,
  { clock, limits }: JobRoutesDeps,
): Promise<{ request: JobRequest; lines: AsyncIterable<readonly string[]> }> {
  if (request.body === null) throw new ChatifyError("bad_request", "the body is missing");
  const max = limits.HTTP_BODY_BYTES_MAX;
  const lines = bodyLines(request.body, max)[Symbol.asyncIterator]();
  const nowS = Math.floor(clock.now() / 1_000);
  let text = "";
  // JSON that people write has line feeds in it: the description ends where it is whole.
  for (;;) {
    const next = await lines.next();
    if (next.done === true) throw new ChatifyError("bad_request", "the body is not JSON");
    const some: string[] = next.value;
    for (const [i, line] of some.entries()) {
      text += `${line}\n`;
      if (text.length > max) throw new ChatifyError("too_large", "the description is too long");
      if (!line.endsWith("}")) continue;
      const given = whole(text);
      if (given === undefined) continue;
      const rest = some.slice(i + 1);
      const after = rest.length > 0 ? null : await lines.next();
      const hasLines = rest.length > 0 || after?.done === false;
      const body = jobRequest(withKnownNames(given), hasLines, nowS, limits.JOB_START_DELAY_MAX_S);
      const first = rest.length > 0 ? rest : after?.done === false ? after.value : [];
      return { request: body, lines: chain(first, lines) };
    }
  }
}

function whole(text: string): unknown {
  try {
    return parseLooseJson(text);
  } catch {
    return undefined;
  }
}

async function* chain(
  first: readonly string[],
  rest: AsyncIterator<string[]>,
): AsyncIterable<readonly string[]> {
  if (first.length > 0) yield first;
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
}

function noJob(): ChatifyError {
  return new ChatifyError("not_found", "there is no such job; it may have been forgotten");
}

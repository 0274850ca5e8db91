/** Jobs and their counts as the fields of a Redis hash, there and back. */
import type { JobChange, JobCounts, JobRecord, JobSpec, JobState } from "./contract.ts";

export type Fields = Readonly<Record<string, string>>;

export function writeJob(record: JobRecord): string[] {
  const { createdAt, id, spec, ...rest } = record;
  return ["id", id, "spec", JSON.stringify(spec), "created", `${createdAt}`, ...writeChange(rest)];
}

export function writeChange(change: JobChange): string[] {
  const { finishedAt, invalid, problems, resolved, speed, startedAt, state } = change;
  const values: [name: string, value: string | undefined][] = [
    ["state", state],
    ["resolved", resolved === undefined ? undefined : resolved ? "1" : "0"],
    ["started", startedAt?.toString()],
    ["finished", finishedAt?.toString()],
    ["speed", speed?.toString()],
    ["invalid", invalid?.toString()],
    ["problems", problems === undefined ? undefined : JSON.stringify(problems)],
  ];
  return values.flatMap(([name, value]) => (value === undefined ? [] : [name, value]));
}

/** Null for the fields of a job that is gone. */
export function readJob(fields: Fields): JobRecord | null {
  const { id, spec, state } = fields;
  if (id === undefined || spec === undefined || state === undefined) return null;
  return {
    id,
    spec: JSON.parse(spec) as JobSpec,
    state: state as JobState,
    resolved: fields.resolved === "1",
    createdAt: numberOf(fields, "created"),
    startedAt: numberOf(fields, "started"),
    finishedAt: numberOf(fields, "finished"),
    speed: numberOf(fields, "speed"),
    invalid: numberOf(fields, "invalid"),
    problems: JSON.parse(fields.problems ?? "[]") as string[],
  };
}

export function readCounts(fields: Fields): JobCounts {
  const [accepted, sent] = [numberOf(fields, "accepted"), numberOf(fields, "sent")];
  const [acked, stored] = [numberOf(fields, "acked"), numberOf(fields, "stored")];
  const expired = numberOf(fields, "expired");
  const unsentExpired = numberOf(fields, "unsent_expired");
  const cancelled = numberOf(fields, "unsent_cancelled");
  return {
    accepted,
    waiting: accepted - sent - unsentExpired - cancelled,
    inFlight: sent - acked - stored - expired,
    acked,
    stored,
    expired: expired + unsentExpired,
    cancelled,
    delivered: numberOf(fields, "delivered"),
    duplicates: numberOf(fields, "duplicates"),
  };
}

/** A flat list of names and values, as HGETALL replies. */
export function fieldsOf(flat: readonly string[]): Fields {
  const fields: Record<string, string> = {};
  for (let i = 0; i + 1 < flat.length; i += 2) fields[flat[i] ?? ""] = flat[i + 1] ?? "";
  return fields;
}

function numberOf(fields: Fields, name: string): number {
  return Number(fields[name] ?? 0);
}

/** A push job as a person sees it. */
import type { JobAnswer } from "../../src/roles/logic/job_routes.ts";
import { age } from "./table.ts";

export type JobView = JobAnswer;

const BAR = 40;

export function jobPage(view: JobView, nowMs: number): string {
  const { counts, finished_at, job_id, problems, started_at, state, target } = view;
  const { accepted, waiting } = counts;
  const sent = accepted - waiting - counts.cancelled;
  const to = { list: "a list", online: "everybody online", group: "group", tag: "tag" }[
    target.kind
  ];
  const lines = [
    `${job_id}  ${state}  to ${to}${target.name === undefined ? "" : ` ${target.name}`}`,
    "",
    `  ${bar(accepted - waiting, accepted, BAR)}  ${percent(accepted - waiting, accepted)}`,
    "",
    row("users", accepted, accepted, notes(counts)),
    row("waiting", waiting, accepted, pace(view)),
    row("under way", counts.in_flight, accepted, ""),
    row("acked", counts.acked, accepted, ""),
    row("stored", counts.stored_offline, accepted, "until they come"),
    row("expired", counts.expired, accepted, ""),
    row("cancelled", counts.cancelled, accepted, ""),
    row("delivered", counts.delivered, accepted, `of ${sent} sent`),
  ];
  const end = finished_at ?? nowMs;
  if (started_at !== null)
    lines.push("", `  took ${age(end - started_at)}${finished_at === null ? " so far" : ""}`);
  if (state === "scheduled" && view.start_time > 0) {
    lines.push("", `  starts in ${age(view.start_time * 1_000 - nowMs)}`);
  }
  if (problems.length > 0) lines.push("", ...problems.map((problem) => `  ! ${problem}`));
  return lines.join("\n");
}

function pace({ eta_s, rate, speed }: JobView): string {
  const parts = [];
  if (speed > 0) parts.push(`${speed}/s`);
  if (rate > 0) parts.push(`at most ${rate}/s`);
  if (eta_s !== null && eta_s > 0) parts.push(`${age(eta_s * 1_000)} to go`);
  return parts.join(", ");
}

function notes({ duplicates, failed }: JobView["counts"]): string {
  const parts = [];
  if (duplicates > 0) parts.push(`${duplicates} named again`);
  if (failed > 0) parts.push(`${failed} lines name no user`);
  return parts.join(", ");
}

function row(name: string, count: number, of: number, note: string): string {
  const share = name === "users" ? "" : percent(count, of);
  return `  ${name.padEnd(10)}${String(count).padStart(9)}  ${share.padStart(6)}  ${note}`.trimEnd();
}

export function bar(part: number, whole: number, width: number): string {
  const full = whole === 0 ? 0 : Math.round((part / whole) * width);
  return `${"█".repeat(full)}${"░".repeat(width - full)}`;
}

function percent(part: number, whole: number): string {
  if (whole === 0) return "";
  const share = (part / whole) * 100;
  return `${share === 100 || share === 0 ? share : share.toFixed(1)}%`;
}

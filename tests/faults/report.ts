/** What a run prints: a table for people, what went wrong and how to see it again, one JSON line. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe } from "../../src/sim/history.ts";
import type { FaultOptions } from "./options.ts";
import { replayCommand } from "./options.ts";
import type { DoneFault } from "./schedule/injector.ts";
import { describePlan, type PlannedFault } from "./schedule/schedule.ts";
import { around, type Figures, type Verdict } from "./verdict/verdict.ts";

const VIOLATIONS_SHOWN = 12;
const EVENTS_SHOWN = 60;

export function table(figures: Figures, faults: readonly DoneFault[]): string {
  const byKind = new Map<string, number>();
  for (const { kind } of faults) byKind.set(kind, (byKind.get(kind) ?? 0) + 1);
  const kinds = [...byKind].toSorted(([a], [b]) => (a < b ? -1 : 1));
  const f = figures;
  const lines: [string, string][] = [
    ["accepted messages", `${f.acked} (${f.refused} refused, ${f.unknown} unknown)`],
    ["lost", `${f.lost}`],
    ["duplicated after dedup", `${f.duplicated}`],
    ["reordered", `${f.reordered}`],
    ["leaked", `${f.leaked}`],
    ["violations of any rule", `${f.violations}`],
    ["deliveries", `${f.delivered} in ${f.frames} frames, ${percent(f.raw_duplicate_ratio)} again`],
    ["faults", `${f.faults} of ${f.kinds} kinds, ${f.pairs} pairs at the same time`],
    ["role killed → redelivered", redelivery(f)],
    ["fault over → all arrived", `p99 ${f.recovery_p99_ms} ms`],
    ["waited for a processor", `${f.starved_ms} ms after the last fault`],
    ["processes", `${f.restarts} ended, ${f.rss_mib_max} MiB and ${f.descriptors_max} fds at most`],
  ];
  const width = Math.max(...lines.map(([name]) => name.length), ...kinds.map(([k]) => k.length));
  const rows = [...lines, ["", ""], ...kinds.map(([kind, n]) => [kind, `${n}`])];
  return rows.map(([name = "", value = ""]) => `${name.padEnd(width)}  ${value}`).join("\n");
}

function redelivery(f: Figures): string {
  const { kills, redelivered, redelivery_max_ms, redelivery_p50_ms, redelivery_p99_ms } = f;
  const spread = `p50/p99/max ${redelivery_p50_ms}/${redelivery_p99_ms}/${redelivery_max_ms} ms`;
  return `${spread} (${redelivered} messages that ${kills} kills held up)`;
}

const percent = (ratio: number) => `${(ratio * 100).toFixed(2)} %`;

export interface Failure {
  readonly options: FaultOptions;
  readonly verdict: Verdict;
  readonly schedule: readonly PlannedFault[];
  readonly history: Parameters<typeof around>[0];
  readonly dir: string;
}

/** Writes the whole history beside the logs; returns where. */
export function keepHistory(dir: string, history: Failure["history"]): string {
  const start = history[0]?.at ?? 0;
  const path = join(dir, "history.txt");
  writeFileSync(path, history.map((event) => describe(event, start)).join("\n"));
  return path;
}

/** Everything that somebody needs to look into it; the whole history goes into a file. */
export function explain({ dir, history, options, schedule, verdict }: Failure): string {
  const start = history[0]?.at ?? 0;
  const path = keepHistory(dir, history);
  const all = verdict.violations.map(({ rule, text }) => `${rule}: ${text}`);
  writeFileSync(join(dir, "violations.txt"), all.join("\n"));
  const shown = verdict.violations.slice(0, VIOLATIONS_SHOWN);
  const first = shown.find(({ about }) => Object.keys(about).length > 0);
  const events = first === undefined ? [] : around(history, first).slice(-EVENTS_SHOWN);
  return [
    `FAILED: ${verdict.violations.length} violations with seed ${options.seed}`,
    ...shown.map(({ rule, text }) => `  ${rule}: ${text}`),
    "the schedule:",
    ...describePlan(schedule).map((line) => `  ${line}`),
    ...(events.length > 0 ? ["the history around the first of them:"] : []),
    ...events.map((event) => `  ${describe(event, start)}`),
    `the whole history: ${path}`,
    `the logs of the processes: ${join(dir, "logs")}`,
    `again: ${replayCommand(options)}`,
  ].join("\n");
}

/** Runs worlds one after the other and adds their results up. */
import { pino } from "pino";
import { silentLedger } from "../core/ledger/contract.ts";
import { createMetrics } from "../core/telemetry/metrics.ts";
import type { Telemetry } from "../core/telemetry/telemetry.ts";
import { silentTracer } from "../core/telemetry/trace.ts";
import type { Violation } from "./checker.ts";
import { describe, type HistoryEvent } from "./history.ts";
import type { Seams } from "./seams.ts";
import { runWorld, type WorldOptions, type WorldResult } from "./world.ts";

/** One for all worlds: nobody looks at the numbers, and making a registry costs as much as a node. */
export const SILENT: Telemetry = {
  log: pino({ level: "silent" }),
  metrics: createMetrics(),
  tracer: silentTracer,
  ledger: silentLedger,
};

const LINES_MAX = 80;

export function runSeed(
  seed: number,
  seams: Seams = {},
  options: Pick<WorldOptions, "dataLoss" | "moreFaults"> = {},
): WorldResult {
  return runWorld({ seed, seams, telemetry: () => SILENT, ...options });
}

/** What a person needs to understand a violation, and to see it again. */
export function report(result: WorldResult, violation: Violation, command: string): string {
  const { history, seed, start } = result;
  const lines = history.events
    .filter((event) => isAbout(event, violation))
    .map((event) => describe(event, start));
  const shown = lines.length > LINES_MAX ? ["…", ...lines.slice(-LINES_MAX)] : lines;
  return [
    `seed ${seed}: ${violation.rule}`,
    `  ${violation.text}`,
    ...shown.map((line) => `  ${line}`),
    `  replay: ${command}`,
    "",
  ].join("\n");
}

function isAbout(event: HistoryEvent, { about }: Violation): boolean {
  switch (event.kind) {
    case "note":
    case "loss":
    case "failure":
      return true;
    case "sample":
      return false;
    case "evicted":
      return event.user === about.user;
    case "send":
    case "answer":
    case "push":
      return event.op === about.op;
    case "session":
      return event.user === about.user;
    case "delivery":
      if (event.op === about.op) return true;
      return event.user === about.user && event.conversation === about.conversation;
    case "group":
      return about.user !== undefined && event.users.includes(about.user);
  }
}

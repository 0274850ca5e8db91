/**
 * The promises under real faults, as anybody can repeat them with `bun run faults`: 60 faults of more
 * than 20 kinds on real processes, real Redis, SQLite and Postgres, and 50 000 accepted messages. And
 * the proof that such a run can fail.
 */
import { expect, test } from "bun:test";
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Figures } from "./verdict/verdict.ts";

const RUN_MS = 240_000;
/** What a killed role's messages may take, at p99. */
const REDELIVERY_MS_MAX = 5_000;

interface Run {
  readonly code: number;
  readonly figures: Figures;
  readonly report: string;
}

const runs: Run[] = [];

async function faults(...args: string[]): Promise<Run> {
  const project = join(import.meta.dir, "../..");
  const child = Bun.spawn(["bun", "run", "faults", "--json", ...args], {
    cwd: project,
    stdout: "pipe",
    stderr: "pipe",
  });
  const [output, report, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  const line = output.trim().split("\n").at(-1) ?? "";
  if (!line.startsWith("{")) throw new Error(`the run gave no figures:\n${output}\n${report}`);
  return { code, report, figures: JSON.parse(line) as Figures };
}

/** Shows the whole report of a run that failed. */
function expectClean(run: Run): void {
  if (run.code !== 0) process.stderr.write(run.report);
  const { duplicated, leaked, lost, reordered, violations } = run.figures;
  expect({ duplicated, leaked, lost, reordered, violations }).toEqual({
    duplicated: 0,
    leaked: 0,
    lost: 0,
    reordered: 0,
    violations: 0,
  });
  expect(run.code).toBe(0);
  runs.push(run);
}

test(
  "40 faults on SQLite break no promise",
  async () => {
    const load = ["--seconds", "80", "--messages", "36000", "--stop-max", "4"];
    const run = await faults(...load, "--seed", "1", "--faults", "40");
    expectClean(run);
    expect(run.figures.acked).toBeGreaterThanOrEqual(36_000);
    expect(run.figures.kills).toBeGreaterThan(0);
    expect(run.figures.redelivery_p99_ms).toBeLessThanOrEqual(REDELIVERY_MS_MAX);
  },
  RUN_MS,
);

test(
  "20 faults on Postgres break no promise",
  async () => {
    const load = ["--seconds", "32", "--messages", "14000", "--stop-max", "4"];
    const run = await faults(...load, "--seed", "2", "--faults", "20", "--backend", "postgres");
    expectClean(run);
    expect(run.figures.acked).toBeGreaterThanOrEqual(14_000);
  },
  RUN_MS,
);

test("together they were 60 faults of 20 kinds or more, some at the same time", () => {
  const sum = (name: "faults" | "pairs") => runs.reduce((n, { figures }) => n + figures[name], 0);
  expect(sum("faults")).toBe(60);
  expect(sum("pairs")).toBeGreaterThanOrEqual(10);
  expect(Math.max(...runs.map(({ figures }) => figures.kinds))).toBeGreaterThanOrEqual(20);
});

test(
  "a run in which stored messages disappear fails, and says which, and how to see it again",
  async () => {
    const load = ["--seconds", "6", "--messages", "2500", "--seed", "3", "--faults", "0"];
    const run = await faults(...load, "--plant");
    expect(run.code).toBe(1);
    expect(run.figures.lost).toBeGreaterThan(0);
    expect(run.report).toMatch(/\w+ never reached u\d+/);
    expect(run.report).toContain("planted: ");
    expect(run.report).toContain("again: bun run faults --seconds 6 --seed 3");
    const kept = /the logs of the processes: (.+)\/logs/.exec(run.report)?.[1] ?? "";
    expect(existsSync(join(kept, "history.txt"))).toBe(true);
    rmSync(kept, { recursive: true });
  },
  RUN_MS,
);

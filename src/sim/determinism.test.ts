/** A seed is a history: the same one each time, in this process and in any other. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { report, runSeed } from "./run.ts";

const RUN_MS = 60_000;
const SEEDS = [1, 2, 21];

const digests = () => SEEDS.map((seed) => runSeed(seed).digest);

test(
  "a seed gives the same history twice, and another seed another one",
  () => {
    const first = digests();
    expect(digests()).toEqual(first);
    expect(new Set(first).size).toBe(SEEDS.length);
  },
  RUN_MS,
);

test(
  "a seed gives the same history in another process, whatever ran there before",
  async () => {
    const run = JSON.stringify(join(import.meta.dir, "run.ts"));
    const seeds = JSON.stringify([7, ...SEEDS]);
    const code = `import { runSeed } from ${run};
    console.log(JSON.stringify(${seeds}.map((seed) => runSeed(seed).digest)));`;
    const child = Bun.spawn([process.execPath, "-e", code], { stdout: "pipe" });
    const output = await new Response(child.stdout).text();
    expect(JSON.parse(output).slice(1)).toEqual(digests());
  },
  RUN_MS,
);

test(
  "a violation is shown with its seed, the history around it and the command that replays it",
  () => {
    const leaked = runSeed(3, { leak: true });
    const violation = leaked.verdict.violations.find(({ rule }) => rule.includes("entitled"));
    if (violation === undefined) throw new Error("a leak was not noticed");
    const text = report(leaked, violation, "bun run sim --from 3 --seeds 1");
    expect(text).toContain("seed 3: nothing reaches who is not entitled");
    expect(text).toContain(`gets ${violation.about.op} `);
    expect(text).toContain("replay: bun run sim --from 3 --seeds 1");
    expect(text.split("\n").length).toBeLessThan(100);
  },
  RUN_MS,
);

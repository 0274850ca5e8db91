/**
 * `bun run sim --seeds N [--from S] [--json] [--planted]`: runs simulated worlds and judges them. Ends
 * with one line of JSON on stdout when asked to; what people read goes to stderr.
 */
import { parseArgs } from "node:util";
import { systemClock } from "../core/clock.ts";
import { report, runSeed } from "./run.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "200" },
    from: { type: "string", default: "1" },
    json: { type: "boolean", default: false },
    planted: { type: "boolean", default: false },
  },
});

const SHOWN_MAX = 5;

async function simulate(from: number, seeds: number): Promise<number> {
  const started = systemClock.monotonic();
  const sums = { messages: 0, faults: 0, violations: 0, accepted: 0, frames: 0, duplicates: 0 };
  const failed: number[] = [];
  for (let seed = from; seed < from + seeds; seed++) {
    const result = runSeed(seed);
    const { verdict } = result;
    sums.messages += result.messages;
    sums.faults += result.faults;
    sums.accepted += verdict.accepted;
    sums.frames += verdict.frames;
    sums.duplicates += verdict.duplicates;
    sums.violations += verdict.violations.length;
    const [violation] = verdict.violations;
    if (violation === undefined) continue;
    failed.push(seed);
    const command = `bun run sim --from ${seed} --seeds 1`;
    if (failed.length <= SHOWN_MAX) process.stderr.write(report(result, violation, command));
    else process.stderr.write(`seed ${seed}: ${violation.rule}: ${violation.text}\n`);
  }
  const seconds = (systemClock.monotonic() - started) / 1_000;
  const duplicateRatio = Number((sums.duplicates / Math.max(1, sums.frames)).toFixed(4));
  const speed = Number((seeds / seconds).toFixed(1));
  const line = {
    seeds,
    from,
    ...sums,
    duplicate_ratio: duplicateRatio,
    seeds_per_s: speed,
    failed,
  };
  process.stdout.write(`${JSON.stringify(line)}\n`);
  return failed.length;
}

const failures = await simulate(Number(values.from), Number(values.seeds));
process.exit(failures === 0 ? 0 : 1);

/**
 * `bun run sim --seeds N [--from S] [--jobs J] [--json]`: runs simulated worlds and judges them.
 * `bun run sim --planted [--seeds N]`: plants each bug and shows that it is caught, within N worlds.
 * Both end with one line of JSON on stdout; what people read goes to stderr.
 */
import { parseArgs } from "node:util";
import { sleep, systemClock } from "../core/clock.ts";
import { runInJobs } from "./jobs.ts";
import { PLANTED_BUGS, PLANTED_SEEDS_MAX, runPlanted } from "./planted/run_planted.ts";
import { report, runSeed } from "./run.ts";
import { type SimLine, sumLines } from "./sim_line.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string" },
    from: { type: "string", default: "1" },
    jobs: { type: "string", default: "1" },
    json: { type: "boolean", default: false },
    planted: { type: "boolean", default: false },
  },
});

const SEEDS = 200;
const SHOWN_MAX = 5;
const say = (text: string) => process.stderr.write(`${text}\n`);

/** What a role left unhandled comes to light once the world's turn of the event loop is over. */
const unhandled: string[] = [];
process.on("unhandledRejection", (reason) => {
  unhandled.push(reason instanceof Error ? (reason.stack ?? reason.message) : String(reason));
});

async function simulate(from: number, seeds: number): Promise<SimLine> {
  const started = systemClock.monotonic();
  const line = sumLines([]);
  for (let seed = from; seed < from + seeds; seed++) {
    const result = runSeed(seed);
    await sleep(systemClock, 0);
    for (const text of unhandled.splice(0)) {
      result.verdict.violations.push({ rule: "no process fails by itself", text, about: {} });
    }
    const { verdict } = result;
    line.seeds++;
    line.messages += result.messages;
    line.faults += result.faults;
    line.accepted += verdict.accepted;
    line.frames += verdict.frames;
    line.duplicates += verdict.duplicates;
    line.lost_with_redis += verdict.lostWithRedis;
    line.violations += verdict.violations.length;
    const [violation] = verdict.violations;
    if (violation === undefined) continue;
    line.failed.push(seed);
    const command = `bun run sim --from ${seed} --seeds 1`;
    if (line.failed.length <= SHOWN_MAX) say(report(result, violation, command));
    else say(`seed ${seed}: ${violation.rule}: ${violation.text}`);
  }
  line.seconds = (systemClock.monotonic() - started) / 1_000;
  return line;
}

/** True when every bug was caught. */
function plant(seedsMax: number): boolean {
  const results = PLANTED_BUGS.map((bug) => {
    const result = runPlanted(bug, 1, seedsMax);
    const { caught, mistake, name, rule, seed, seeds } = result;
    const how = caught ? `seed ${seed}: ${rule}` : `NOT CAUGHT in ${seeds} worlds`;
    say(`${name.padEnd(38)} ${how}\n  ${mistake}`);
    return result;
  });
  const caught = results.filter((result) => result.caught).length;
  const escaped = results.filter((result) => !result.caught).map(({ name }) => name);
  process.stdout.write(`${JSON.stringify({ planted: results.length, caught, escaped })}\n`);
  return escaped.length === 0;
}

if (values.planted) {
  process.exit(plant(Number(values.seeds ?? PLANTED_SEEDS_MAX)) ? 0 : 1);
} else {
  const [from, seeds] = [Number(values.from), Number(values.seeds ?? SEEDS)];
  const jobs = Math.min(Number(values.jobs), seeds);
  const line =
    jobs > 1 ? await runInJobs(import.meta.path, from, seeds, jobs) : await simulate(from, seeds);
  const { seconds, ...rest } = line;
  const ratio = Number((line.duplicates / Math.max(1, line.frames)).toFixed(4));
  const speed = Number((line.seeds / Math.max(0.001, seconds)).toFixed(1));
  const figures = { ...rest, from, duplicate_ratio: ratio, seeds_per_s: speed, seconds };
  process.stdout.write(`${JSON.stringify(figures)}\n`);
  process.exit(line.violations === 0 ? 0 : 1);
}

/** `bun run faults`: what real faults do to real processes, and whether the promises hold. */
import { type FaultOptions, readOptions, USAGE, UsageError } from "./options.ts";
import { explain, keepHistory, table } from "./report.ts";
import { run } from "./run.ts";
import { storm } from "./storm/storm.ts";

function options(): FaultOptions {
  try {
    return readOptions(process.argv.slice(2));
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`${error.message}\n\n${USAGE}\n`);
    process.exit(2);
  }
}

for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(130));
const chosen = options();
const tell = (text: string) => void process.stderr.write(`${text}\n`);
if (chosen.storm > 0) {
  const { dir, figures, violations } = await storm(chosen, tell);
  for (const [name, value] of Object.entries(figures)) tell(`${name.padEnd(24)}${value}`);
  for (const { rule, text } of violations.slice(0, 20)) tell(`${rule}: ${text}`);
  if (violations.length > 0) tell(`FAILED; the logs of the processes: ${dir}/logs`);
  process.stdout.write(`${JSON.stringify({ ...figures, seed: chosen.seed })}\n`);
  process.exit(violations.length > 0 ? 1 : 0);
}
const result = await run(chosen, tell);
const { dir, faults, log, schedule, verdict } = result;
const passed = verdict.violations.length === 0;
tell(table(verdict.figures, faults));
if (!passed) {
  tell(explain({ options: chosen, verdict, schedule, history: log.history.events, dir }));
} else if (chosen.keepLogs) tell(`kept: ${keepHistory(dir, log.history.events)}`);
const line = { ...verdict.figures, seed: chosen.seed, backend: chosen.backend };
process.stdout.write(`${JSON.stringify(line)}\n`);
process.exit(passed ? 0 : 1);

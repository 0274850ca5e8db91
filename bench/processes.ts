/**
 * What processes cost, from the operating system's own accounting. CPU is what the kernel charged
 * (user and system time of all threads, and of children that ended); memory is resident pages.
 */
import { readdirSync, readFileSync } from "node:fs";

/** `USER_HZ`: /proc counts in hundredths of a second on every Linux that Bun runs on. */
const TICK_MS = 10;

export interface ProcessCost {
  readonly pid: number;
  readonly name: string;
  readonly cpuMs: number;
}

interface Stat extends ProcessCost {
  readonly parent: number;
}

/** Null when the process has ended. */
function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return null;
  }
}

function readStat(pid: number): Stat | null {
  const text = readIfThere(`/proc/${pid}/stat`);
  if (text === null) return null;
  // The name stands in parentheses and may itself hold some.
  const end = text.lastIndexOf(")");
  const fields = text.slice(end + 2).split(" ");
  const ticks = [11, 12, 13, 14].reduce((sum, i) => sum + Number(fields[i]), 0);
  const name = text.slice(text.indexOf("(") + 1, end);
  return { pid, name, parent: Number(fields[1]), cpuMs: ticks * TICK_MS };
}

/** `roots` and everything that they started. */
export function processTree(roots: readonly number[]): ProcessCost[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const all = pids.map((pid) => readStat(Number(pid))).filter((stat) => stat !== null);
  const wanted = new Set(roots);
  for (let before = -1; before !== wanted.size; ) {
    before = wanted.size;
    for (const stat of all) if (wanted.has(stat.parent)) wanted.add(stat.pid);
  }
  return all.filter((stat) => wanted.has(stat.pid));
}

/** What was spent between two looks at the same tree, by process. */
export function costBetween(
  before: readonly ProcessCost[],
  after: readonly ProcessCost[],
): ProcessCost[] {
  const earlier = new Map(before.map(({ pid, cpuMs }) => [pid, cpuMs]));
  return after.map((cost) => ({ ...cost, cpuMs: cost.cpuMs - (earlier.get(cost.pid) ?? 0) }));
}

export function residentBytes(processes: readonly ProcessCost[]): number {
  let sum = 0;
  for (const { pid } of processes) {
    const status = readIfThere(`/proc/${pid}/status`) ?? "";
    sum += Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1_024;
  }
  return sum;
}

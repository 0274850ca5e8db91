/**
 * Sums a .cpuprofile up: `bun bench/profile_top.ts FILE [rows]`. Self time is where the processor
 * was; total time of a function includes what it called, once per stack; a file of ours is charged
 * with the libraries and built-ins that it called.
 */

import { readFileSync } from "node:fs";
import { present } from "./present.ts";

interface ProfileNode {
  readonly id: number;
  readonly callFrame: {
    readonly functionName: string;
    readonly url: string;
    readonly lineNumber: number;
  };
  readonly children?: readonly number[];
}

interface Profile {
  readonly nodes: readonly ProfileNode[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** The profiler looks once a millisecond. */
const STEP_US_MAX = 2_000;

class Sums {
  readonly own = new Map<string, number>();
  readonly total = new Map<string, number>();
  readonly files = new Map<string, number>();
  all = 0;
  private readonly byId: Map<number, ProfileNode>;
  private readonly parentOf = new Map<number, number>();

  constructor(profile: Profile) {
    this.byId = new Map(profile.nodes.map((node) => [node.id, node]));
    for (const { children, id } of profile.nodes) {
      for (const child of children ?? []) this.parentOf.set(child, id);
    }
    for (const [i, id] of profile.samples.entries()) {
      // A longer step is a time in which the process waited, not one in which it worked.
      this.add(id, Math.min(profile.timeDeltas[i] ?? 0, STEP_US_MAX));
    }
  }

  private add(leaf: number, us: number): void {
    const stack: ProfileNode[] = [];
    for (let at: number | undefined = leaf; at !== undefined; at = this.parentOf.get(at)) {
      stack.push(present(this.byId.get(at)));
    }
    const first = present(stack[0]);
    if (/^\((idle|root)\)$/.test(first.callFrame.functionName)) return;
    this.all += us;
    charge(this.own, nameOf(first), us);
    for (const name of new Set(stack.map(nameOf))) charge(this.total, name, us);
    const ours = stack.find(({ callFrame }) => callFrame.url.includes("/src/"));
    const library = stack.find(({ callFrame }) => callFrame.url.includes("/node_modules/"));
    charge(this.files, fileOf(ours ?? library ?? first) || "(built in)", us);
  }
}

function charge(sums: Map<string, number>, name: string, us: number): void {
  sums.set(name, (sums.get(name) ?? 0) + us);
}

function fileOf({ callFrame }: ProfileNode): string {
  return callFrame.url.replace(/^.*\/(src|node_modules)\//, "$1/");
}

function nameOf(node: ProfileNode): string {
  const { functionName, lineNumber } = node.callFrame;
  const file = fileOf(node);
  return `${functionName || "(anonymous)"} ${file}${file ? `:${lineNumber}` : ""}`;
}

const [path = "", rows = "40"] = process.argv.slice(2);
const sums = new Sums(JSON.parse(readFileSync(path, "utf8")) as Profile);
for (const [title, times] of [
  ["self", sums.own],
  ["total", sums.total],
  ["by file of ours", sums.files],
] as const) {
  process.stdout.write(`${title}, % of ${(sums.all / 1e6).toFixed(1)} s\n`);
  const sorted = [...times].sort(([, a], [, b]) => b - a).slice(0, Number(rows));
  for (const [name, us] of sorted) {
    process.stdout.write(`  ${((us / sums.all) * 100).toFixed(1).padStart(5)}  ${name}\n`);
  }
}

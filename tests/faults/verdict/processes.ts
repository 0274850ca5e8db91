/** What the processes themselves show: how they ended, what their logs say, what they used. */
import type { RoleProcess } from "../stage/role_process.ts";

const MIB = 1_048_576;
/** Far above what a process of this load uses, far below what a leak reaches. */
const RSS_BYTES_MAX = 768 * MIB;
const DESCRIPTORS_MAX = 400;
/** At rest, above what it had before the first fault: some pools keep a few connections. */
const DESCRIPTORS_MORE_MAX = 64;

const BUG = /a bug ended the process|unhandled|uncaught/i;
const CANNOT_START = "chatify cannot start";

export interface ProcessReport {
  readonly problems: string[];
  readonly restarts: number;
  readonly rssMibMax: number;
  readonly descriptorsMax: number;
}

/** `connections`: of clients, all of which may be at one gateway. */
export function reportOn(processes: readonly RoleProcess[], connections: number): ProcessReport {
  const usage = processes.flatMap((process) => process.usage);
  return {
    problems: processes.flatMap((each) => [
      ...endings(each),
      ...bugs(each),
      ...usageOf(each, connections),
    ]),
    restarts: processes.reduce((sum, { exits }) => sum + exits.length, 0),
    rssMibMax: Math.round(Math.max(0, ...usage.map(({ rssBytes }) => rssBytes)) / MIB),
    descriptorsMax: Math.max(0, ...usage.map(({ descriptors }) => descriptors)),
  };
}

/** It ends when it is told to, or while it starts and something that it needs is away. */
function endings(process: RoleProcess): string[] {
  const byItself = process.exits.filter(({ asked }) => !asked);
  const refusals = process.log().split(CANNOT_START).length - 1;
  if (byItself.length <= refusals) return [];
  return [`${process.name} ended by itself ${byItself.length - refusals} times`];
}

function bugs(process: RoleProcess): string[] {
  const lines = process
    .log()
    .split("\n")
    .filter((line) => BUG.test(line));
  return lines.slice(0, 3).map((line) => `${process.name} logged ${line.slice(0, 400)}`);
}

function usageOf({ name, role, usage }: RoleProcess, connections: number): string[] {
  const problems: string[] = [];
  const rss = Math.max(0, ...usage.map(({ rssBytes }) => rssBytes));
  if (rss > RSS_BYTES_MAX) problems.push(`${name} used ${Math.round(rss / MIB)} MiB`);
  const descriptors = Math.max(0, ...usage.map((each) => each.descriptors));
  const clients = role === "gateway" ? connections : 0;
  if (descriptors > DESCRIPTORS_MAX + clients)
    problems.push(`${name} held ${descriptors} descriptors`);
  const [first, last] = [usage[0], usage.at(-1)];
  const more = (last?.descriptors ?? 0) - (first?.descriptors ?? 0);
  if (more > DESCRIPTORS_MORE_MAX + clients) {
    problems.push(`${name} holds ${more} descriptors more than before the first fault`);
  }
  return problems;
}

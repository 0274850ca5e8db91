/** Rounds of ours and of the floor in turn, each on fresh processes, and the medians of both. */
import type { Job, LoadResult } from "./job.ts";
import { median } from "./median.ts";
import type { Options } from "./options.ts";
import { figure, type ReportRow } from "./report.ts";
import { type Run, runLoad } from "./run.ts";
import { startOurs } from "./targets/ours.ts";
import { type PeerName, startPeer } from "./targets/peers.ts";
import type { Target } from "./targets/target.ts";

export interface Setup {
  readonly options: Options;
  /** Where the profiles of a further run go; null: no such run. */
  readonly profileDir: string | null;
  readonly startFloor: () => Promise<Target>;
  readonly job: (target: Target, ours: boolean) => Job;
  readonly peers?: readonly PeerName[];
  /** What the product must know before the load comes. */
  readonly prepare?: (target: Target) => Promise<void>;
}

export class Alternation {
  readonly ours: Run[] = [];
  readonly floor: Run[] = [];
  readonly peers = new Map<PeerName, Run[]>();
  private readonly byProcess: Record<string, number>[] = [];

  static async run(setup: Setup): Promise<Alternation> {
    const all = new Alternation();
    for (let round = 0; round < setup.options.rounds; round += 1) {
      const [run, byProcess] = await all.runOurs(setup, null);
      all.ours.push(run);
      all.byProcess.push(byProcess);
      const target = await setup.startFloor();
      all.floor.push(await loaded(target, setup.job(target, false)));
      for (const name of setup.peers ?? []) await all.runPeer(setup, name);
    }
    // A run of its own, because the profiler costs what it shows.
    if (setup.profileDir !== null) await all.runOurs(setup, setup.profileDir);
    return all;
  }

  /** Medians of both sides; the floor's is NaN where it has none. */
  medians(pick: (run: Run) => number): [ours: number, floor: number] {
    return [median(this.ours.map(pick)), median(this.floor.map(pick))];
  }

  row(name: string, pick: (run: Run) => number): ReportRow {
    const [ours, floor] = this.medians(pick);
    return [name, figure(ours), figure(floor)];
  }

  /** CPU for each unit of work by process, in microseconds. */
  cpu(): Record<string, number> {
    const names = Object.keys(this.byProcess[0] ?? {});
    const values = (name: string) => this.byProcess.map((by) => by[name] ?? 0);
    return Object.fromEntries(names.map((name) => [name, median(values(name))]));
  }

  cpuRows(): ReportRow[] {
    const spent = Object.entries(this.cpu()).filter(([, us]) => us >= 0.01);
    return spent.map(([name, us]): ReportRow => [`  CPU of ${name}, µs`, figure(us), ""]);
  }

  peerRows(name: string, pick: (run: Run) => number): ReportRow[] {
    return this.peerFigures(pick).map(([peer, value]) => [`${peer}: ${name}`, figure(value), ""]);
  }

  peerFigures(pick: (run: Run) => number): [peer: PeerName, value: number][] {
    return [...this.peers].map(([peer, runs]) => [peer, median(runs.map(pick))]);
  }

  private async runPeer(setup: Setup, name: PeerName): Promise<void> {
    const target = await startPeer(name);
    const runs = this.peers.get(name) ?? [];
    runs.push(await loaded(target, setup.job(target, false)));
    this.peers.set(name, runs);
  }

  private async runOurs(
    setup: Setup,
    profileDir: string | null,
  ): Promise<[Run, Record<string, number>]> {
    const target = await startOurs({ ...setup.options, profileDir });
    const run = await loaded(target, setup.job(target, true), setup.prepare);
    return [run, cpuByProcess(run.load, target)];
  }
}

async function loaded(target: Target, job: Job, prepare = async (_: Target) => {}): Promise<Run> {
  try {
    await prepare(target);
    return await runLoad(target, job);
  } finally {
    await target.stop();
  }
}

export function cpuUs({ load }: Run): number {
  const total = load.cpu.reduce((sum, { cpuMs }) => sum + cpuMs, 0);
  return (total * 1_000) / load.done;
}

export function perSecond({ load }: Run): number {
  return (load.done * 1_000) / load.windowMs;
}

function cpuByProcess(load: LoadResult, target: Target): Record<string, number> {
  const by: Record<string, number> = {};
  for (const { cpuMs, name, pid } of load.cpu) {
    // Replicas of a role count as one.
    const label = (target.pids.get(pid) ?? name).replace(/-\d+$/, "");
    by[label] = (by[label] ?? 0) + (cpuMs * 1_000) / load.done;
  }
  return by;
}

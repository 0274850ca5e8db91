/**
 * A million connections, or as many as are asked for and the machine holds, in stages: connect, be
 * silent, look at memory and CPU, push to everybody; at the end restart a tenth of the gateways.
 */
import { RedisProbe } from "../redis_counts.ts";
import type { Durability } from "../targets/redis_server.ts";
import { broadcast } from "./broadcast.ts";
import { Cluster, type ClusterSize } from "./cluster.ts";
import { Herds } from "./herds.ts";
import { lookAtMemory, type MemoryLook } from "./memory.ts";
import { CpuMeter, type Point, type Stage, type Times } from "./stage.ts";

export interface MillionOptions {
  readonly connections: number;
  readonly perGateway: number;
  readonly size: ClusterSize;
  readonly durability: Durability;
  /** No stage goes on after this; what was measured by then is reported. */
  readonly minutesMax: number;
  /** Told what is going on. */
  readonly say: (text: string) => void;
}

export interface Restart {
  readonly gateways: number;
  readonly seconds: number;
  /** Users that were told to go, and what they saw. */
  readonly moved: number;
  readonly awayMs: Times;
  /** A push afterwards to users spread over all. */
  readonly reachedAfter: number;
  readonly pushedAfter: number;
}

export interface MillionResult {
  readonly empty: MemoryLook;
  readonly redisEmptyBytes: number;
  readonly stages: readonly Stage[];
  readonly points: readonly Point[];
  readonly restart: Restart | null;
  /** Null when everything that was asked for was reached. */
  readonly stoppedBy: string | null;
}

const STAGES = [50_000, 200_000, 500_000, 1_000_000];
const LOOK_MS = 500;
const SETTLE_MS = 3_000;
const IDLE_MS = 10_000;
/** No connection more in this time: something is full. */
const STUCK_MS = 60_000;
/** The machine must not start to kill processes. */
const AVAILABLE_BYTES_MIN = 700e6;
const BROADCAST_AHEAD = 20_000;
const BROADCAST_MS_MAX = 240_000;
const RESTART_SHARE = 10;
const RESTART_MS_MAX = 180_000;
const PUSHED_AFTER = 20_000;

class Stopped extends Error {}

export class MillionRun {
  private readonly herds = new Herds();
  private readonly startMs = performance.now();
  private readonly points: Point[] = [];
  private readonly rooms = new Map<number, number>();
  private connected = 0;

  private constructor(
    private readonly options: MillionOptions,
    private readonly cluster: Cluster,
    private readonly probe: RedisProbe,
  ) {}

  static async run(options: MillionOptions): Promise<MillionResult> {
    const cluster = await Cluster.start(options.size, options.durability);
    const probe = new RedisProbe(cluster.redisUrl);
    const run = new MillionRun(options, cluster, probe);
    try {
      return await run.all();
    } finally {
      probe.close();
      await Promise.all([run.herds.stop(), cluster.stop()]);
    }
  }

  private async all(): Promise<MillionResult> {
    const { connections } = this.options;
    const empty = lookAtMemory(this.kinds());
    const redisEmptyBytes = (await this.probe.read()).memoryBytes;
    const stages: Stage[] = [];
    let restart: Restart | null = null;
    let stoppedBy: string | null = null;
    try {
      for (const target of [...STAGES.filter((n) => n < connections), connections]) {
        const stage = await this.stage(target);
        stages.push(stage);
        this.options.say(JSON.stringify({ ...stage, broadcast: stage.broadcast?.ms ?? null }));
      }
      restart = await this.restart();
    } catch (error) {
      if (!(error instanceof Stopped)) throw error;
      stoppedBy = error.message;
      this.options.say(`stopped: ${stoppedBy}`);
    }
    return { empty, redisEmptyBytes, stages, points: this.points, restart, stoppedBy };
  }

  private async stage(target: number): Promise<Stage> {
    const { perGateway, say } = this.options;
    const gateways = Math.ceil(target / perGateway);
    say(`${target} connections: starting gateways up to ${gateways}`);
    await this.cluster.growTo(gateways);
    for (const port of this.cluster.gatewayPorts) {
      if (!this.rooms.has(port)) this.rooms.set(port, perGateway);
    }
    const meter = new CpuMeter(() => this.kinds());
    meter.begin();
    const more = target - this.connected;
    this.herds.connect(more, this.rooms);
    this.connected = target;
    const startMs = performance.now();
    await this.until(target, STUCK_MS);
    const connectSeconds = (performance.now() - startMs) / 1_000;
    const connectCpuUs = meter.end(() => more / 1_000);
    say(`${target} connected in ${connectSeconds.toFixed(0)} s`);
    const welcomeMs = this.herds.times("welcomeMs");
    await Bun.sleep(SETTLE_MS);
    meter.begin();
    await Bun.sleep(IDLE_MS);
    const idleCores = meter.end((wallMs) => wallMs);
    const memory = lookAtMemory(this.kinds());
    const redisBytes = (await this.probe.read()).memoryBytes;
    const sent = await this.pushToAll(meter);
    const { length: herds } = this.herds.pids();
    const connectionsPerSecond = more / connectSeconds;
    const base = { connections: target, gateways, herds, connectSeconds, connectionsPerSecond };
    const cpu = { idleCores, connectCpuUs };
    return { ...base, welcomeMs, ...cpu, memory, redisBytes, broadcast: sent };
  }

  private async pushToAll(meter: CpuMeter): Promise<Stage["broadcast"]> {
    meter.begin();
    const sent = await this.push(Array.from({ length: this.connected }, (_, user) => user));
    this.options.say(`pushed to ${sent.reached} of ${sent.users} in ${sent.ms} ms`);
    return { ...sent, cpuUs: meter.end(() => sent.users / 1_000) };
  }

  private push(users: readonly number[]) {
    const before = this.herds.totals().messages;
    return broadcast({
      ports: this.cluster.pushPorts,
      users,
      aheadMax: BROADCAST_AHEAD,
      reached: () => this.herds.totals().messages - before,
      timeoutMs: BROADCAST_MS_MAX,
    });
  }

  /** One after the other, as a rolling update does it; clients go where there is room. */
  private async restart(): Promise<Restart> {
    const gateways = Math.max(1, Math.floor(this.cluster.gateways.length / RESTART_SHARE));
    const before = this.herds.totals();
    const startMs = performance.now();
    for (let index = 0; index < gateways; index += 1) {
      const ports = this.cluster.gatewayPorts;
      this.herds.tellPorts(ports.filter((_, i) => i !== index));
      await this.cluster.restartGateway(index);
      this.herds.tellPorts(this.cluster.gatewayPorts);
    }
    await this.until(this.connected, RESTART_MS_MAX);
    const seconds = (performance.now() - startMs) / 1_000;
    const awayMs = this.herds.times("awayMs");
    const moved = this.herds.totals().ended - before.ended;
    this.options.say(`${gateways} gateways restarted in ${seconds.toFixed(0)} s; ${moved} moved`);
    const step = Math.max(1, Math.floor(this.connected / PUSHED_AFTER));
    const some = Array.from({ length: Math.floor(this.connected / step) }, (_, i) => i * step);
    const { reached: reachedAfter, users: pushedAfter } = await this.push(some);
    return { gateways, seconds, moved, awayMs, reachedAfter, pushedAfter };
  }

  /** Until so many are there; throws when no more come, or the memory is used up. */
  private async until(target: number, stuckMs: number): Promise<void> {
    let best = -1;
    let bestAtMs = performance.now();
    for (;;) {
      await Bun.sleep(LOOK_MS);
      const totals = this.herds.totals();
      this.points.push({
        s: Math.round((performance.now() - this.startMs) / 100) / 10,
        here: totals.here,
      });
      if (totals.here >= target) return;
      if (totals.here > best) {
        best = totals.here;
        bestAtMs = performance.now();
      }
      if (performance.now() - this.startMs > this.options.minutesMax * 60_000) {
        throw new Stopped(`time, at ${totals.here} of ${target} connections`);
      }
      const { availableBytes } = lookAtMemory(new Map());
      if (availableBytes < AVAILABLE_BYTES_MIN) {
        throw new Stopped(`memory, at ${totals.here} of ${target} connections`);
      }
      if (performance.now() - bestAtMs > stuckMs) {
        const failed = JSON.stringify(totals.failed);
        throw new Stopped(`no more than ${totals.here} of ${target} connected; ${failed}`);
      }
    }
  }

  private kinds(): Map<number, string> {
    const kinds = this.cluster.kinds();
    for (const pid of this.herds.pids()) kinds.set(pid, "clients");
    return kinds;
  }
}

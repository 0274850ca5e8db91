/** The product as many processes: gateways by the dozen, and a few of everything else. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { present } from "../present.ts";
import { baseEnv, type Started, start, untilReady } from "../targets/ours.ts";
import { type Durability, type RedisServer, startRedis } from "../targets/redis_server.ts";
import { ended } from "../targets/target.ts";

/** Gateways that start at once. */
const STARTS_AT_ONCE = 2;
const STOP_MS = 20_000;

export interface ClusterSize {
  readonly access: number;
  readonly push: number;
  readonly logic: number;
}

export class Cluster {
  readonly gateways: Started[] = [];
  private readonly others: Started[] = [];
  private readonly dir = mkdtempSync(join(tmpdir(), "chatify-million-"));
  private readonly redis: RedisServer;
  private readonly env: Record<string, string>;
  private starts = 0;

  private constructor(durability: Durability) {
    this.redis = startRedis(this.dir, durability);
    this.env = { ...baseEnv(durability), REDIS_URL: this.redis.url };
  }

  static async start(size: ClusterSize, durability: Durability): Promise<Cluster> {
    const cluster = new Cluster(durability);
    const roles = (["push", "logic", "access"] as const).flatMap((role) =>
      Array.from({ length: size[role] }, () => role),
    );
    try {
      for (const role of ["offline", ...roles]) cluster.others.push(cluster.run(role));
      await Promise.all(cluster.others.map(untilReady));
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  get redisUrl(): string {
    return this.redis.url;
  }

  get pushPorts(): number[] {
    return this.portsOf(this.others, "logic");
  }

  get gatewayPorts(): number[] {
    return this.portsOf(this.gateways, "gateway");
  }

  /** Process id → what it is counted as. */
  kinds(): Map<number, string> {
    const all = [...this.others, ...this.gateways];
    const kinds = new Map(all.map(({ child, name }) => [child.pid, present(name.split("-")[0])]));
    for (const { pid } of this.redis.children) kinds.set(pid, "redis");
    return kinds;
  }

  async growTo(gateways: number): Promise<void> {
    while (this.gateways.length < gateways) {
      const missing = Math.min(STARTS_AT_ONCE, gateways - this.gateways.length);
      const fresh = Array.from({ length: missing }, () => this.run("gateway"));
      this.gateways.push(...fresh);
      await Promise.all(fresh.map(untilReady));
    }
  }

  /** Ends it as an orchestrator does, and starts it at the same port. */
  async restartGateway(index: number): Promise<void> {
    const old = present(this.gateways[index]);
    old.child.kill("SIGTERM");
    await ended(old.child, STOP_MS);
    const fresh = this.run("gateway", old.ports);
    this.gateways[index] = fresh;
    await untilReady(fresh);
  }

  async stop(): Promise<void> {
    const all = [...this.gateways, ...this.others];
    // Nobody is waited for politely: a drain of so many connections is measured elsewhere.
    for (const { child } of all) child.kill("SIGKILL");
    await Promise.all([...all.map(({ child }) => child.exited), this.redis.stop()]);
    rmSync(this.dir, { recursive: true, force: true });
  }

  private run(role: string, ports?: Readonly<Record<string, number>>): Started {
    this.starts += 1;
    return start(this.dir, `${role}-${this.starts}`, role, this.env, null, ports);
  }

  private portsOf(started: readonly Started[], role: string): number[] {
    return started
      .filter(({ name }) => name.startsWith(role))
      .map(({ ports }) => present(ports[role]));
  }
}

/**
 * What concerns the whole cluster and nobody in particular: partitions without an owner and what
 * waits in them, the streams that only the operator reads, and Redis itself. Every node could report
 * it; the live node with the smallest id does, so that it is asked for once, and when that node is
 * gone the next one takes over within NODE_TTL_MS. A node that stops reporting takes its series away.
 */
import type { Clock, Timer } from "../clock.ts";
import type { Config } from "../config.ts";
import type { Membership } from "../lifecycle/membership.ts";
import type { RedisClient } from "../redis/client.ts";
import type { Registry } from "../registry/contract.ts";
import { forgetBacklog, readBacklog, reportBacklog } from "../streams/backlog.ts";
import { type ConsumerGroup, GROUP_TOPICS, type Topic } from "../topology.ts";
import type { NodeId } from "../trunk/node_id.ts";
import type { Telemetry } from "./telemetry.ts";

export interface ClusterReportDeps {
  readonly self: NodeId;
  readonly redis: RedisClient;
  readonly registry: Pick<Registry, "leases">;
  readonly membership: Pick<Membership, "first">;
  readonly durability: Config["durability"];
  readonly clock: Clock;
  readonly telemetry: Pick<Telemetry, "log" | "metrics">;
}

/** A lease that changes hands in good order has no owner for less than a renewal. */
const REPORT_MS = 3_000;
const GROUPS: readonly ConsumerGroup[] = ["logic", "push"];
const OPERATOR_TOPICS: readonly Topic[] = ["dead_letter", "data_report"];

export class ClusterReport {
  /** What was reported and is to be taken back when it is not ours any more. */
  private readonly reported = new Map<string, [topic: Topic, partition: number]>();
  private timer: Timer | null = null;
  private looking = false;

  constructor(private readonly deps: ClusterReportDeps) {}

  start(): void {
    this.timer = this.deps.clock.every(REPORT_MS, () => void this.look());
  }

  stop(): void {
    this.timer?.cancel();
    this.timer = null;
    this.retract();
  }

  private async look(): Promise<void> {
    const { membership, redis, self, telemetry } = this.deps;
    if (this.looking) return;
    if (membership.first() !== self || !redis.lane.isReady()) {
      this.retract();
      return;
    }
    this.looking = true;
    try {
      await Promise.all([this.lookAtStreams(), this.lookAtRedis()]);
    } catch (error) {
      telemetry.log.debug({ err: error }, "the cluster could not be looked at");
    }
    this.looking = false;
    if (this.timer === null) this.retract();
  }

  private async lookAtStreams(): Promise<void> {
    const { clock, redis, registry, telemetry } = this.deps;
    const { metrics } = telemetry;
    const mine: [Topic, number][] = OPERATOR_TOPICS.map((topic) => [topic, 0]);
    const leases = await Promise.all(GROUPS.map((group) => registry.leases(group)));
    for (const [i, group] of GROUPS.entries()) {
      const unowned = (leases[i] ?? []).filter(({ owner }) => owner === null);
      metrics.partitionsUnowned.set({ group }, unowned.length);
      for (const { partition } of unowned) {
        for (const topic of GROUP_TOPICS[group]) mine.push([topic, partition]);
      }
    }
    const backlogs = await Promise.all(mine.map((stream) => readBacklog(redis, ...stream)));
    const before = new Map(this.reported);
    this.reported.clear();
    for (const [i, [topic, partition]] of mine.entries()) {
      const backlog = backlogs[i];
      if (backlog === undefined) continue;
      reportBacklog(metrics, topic, partition, backlog, clock.now());
      this.reported.set(`${topic}/${partition}`, [topic, partition]);
      before.delete(`${topic}/${partition}`);
    }
    for (const [topic, partition] of before.values()) this.forget(topic, partition);
  }

  private async lookAtRedis(): Promise<void> {
    const { durability, redis, telemetry } = this.deps;
    const { redisMemory, redisPersistence, redisReplicas } = telemetry.metrics;
    const sections = ["memory", "replication", "persistence"];
    const info = parseInfo(String(await redis.lane.read("info", "INFO", sections)));
    const number = (field: string) => Number(info.get(field) ?? 0);
    redisMemory.set({ kind: "used" }, number("used_memory"));
    const limit = number("maxmemory") || number("total_system_memory");
    redisMemory.set({ kind: "limit" }, limit);
    redisReplicas.set({ state: "connected" }, number("connected_slaves"));
    redisReplicas.set({ state: "wanted" }, durability === "replicated" ? 1 : 0);
    // With DURABILITY=memory nobody relies on the file.
    if (durability === "memory") return;
    redisPersistence.set({ check: "aof_enabled" }, number("aof_enabled"));
    const written = info.get("aof_last_write_status") === "ok" ? 1 : 0;
    redisPersistence.set({ check: "aof_write_ok" }, written);
  }

  private retract(): void {
    const { metrics } = this.deps.telemetry;
    for (const [topic, partition] of this.reported.values()) this.forget(topic, partition);
    this.reported.clear();
    metrics.partitionsUnowned.reset();
    metrics.redisMemory.reset();
    metrics.redisReplicas.reset();
    metrics.redisPersistence.reset();
  }

  /** If this node has become the owner, its own reader sets it again within seconds. */
  private forget(topic: Topic, partition: number): void {
    forgetBacklog(this.deps.telemetry.metrics, topic, partition);
  }
}

function parseInfo(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const line of text.split("\r\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1));
  }
  return fields;
}

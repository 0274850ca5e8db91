/** What each contract suite runs against: every shape in which Redis is run, and the double. */
import { afterAll, beforeAll } from "bun:test";
import { type Backend, MemoryBackend, redisBackend } from "./backends.ts";
import { startRedis } from "./redis_topologies.ts";
import { type RedisTopology, TOPOLOGIES, type TopologyKind } from "./redis_topology.ts";

const START_MS = 60_000;
const NAMES = {
  single: "in Redis",
  sentinel: "in Redis behind Sentinel",
  cluster: "in a Redis Cluster",
} satisfies Record<TopologyKind, string>;

/** Starts the servers for the file that calls it, and ends them after its last test. */
export function contractServers(): [name: string, server: () => RedisTopology][] {
  const servers = new Map<TopologyKind, RedisTopology>();
  beforeAll(async () => {
    await Promise.all(TOPOLOGIES.map(async (kind) => servers.set(kind, await startRedis(kind))));
  }, START_MS);
  afterAll(async () => {
    await Promise.all([...servers.values()].map((server) => server.stop()));
  }, START_MS);
  return TOPOLOGIES.map((kind) => [NAMES[kind], () => servers.get(kind) as RedisTopology]);
}

export function contractBackends(): [name: string, make: () => Backend][] {
  const redis = contractServers().map(([name, server]): [string, () => Backend] => [
    name,
    () => redisBackend(server()),
  ]);
  return [...redis, ["in memory", () => new MemoryBackend()]];
}

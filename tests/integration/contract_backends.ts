/** What each contract suite runs against: every shape in which Redis is run, and the double. */
import { afterAll, beforeAll } from "bun:test";
import { type Backend, MemoryBackend, redisBackend } from "./backends.ts";
import { startRedis } from "./redis_topologies.ts";
import type { RedisTopology, TopologyKind } from "./redis_topology.ts";

const START_MS = 60_000;
const SHAPES: readonly (readonly [TopologyKind, string])[] = [
  ["single", "in Redis"],
  ["sentinel", "in Redis behind Sentinel"],
];

/** Starts the servers for the file that calls it, and ends them after its last test. */
export function contractBackends(): [name: string, make: () => Backend][] {
  const servers = new Map<TopologyKind, RedisTopology>();
  beforeAll(async () => {
    await Promise.all(SHAPES.map(async ([kind]) => servers.set(kind, await startRedis(kind))));
  }, START_MS);
  afterAll(async () => {
    await Promise.all([...servers.values()].map((server) => server.stop()));
  }, START_MS);
  const redis = SHAPES.map(([kind, name]): [string, () => Backend] => [
    name,
    () => redisBackend(servers.get(kind) as RedisTopology),
  ]);
  return [...redis, ["in memory", () => new MemoryBackend()]];
}

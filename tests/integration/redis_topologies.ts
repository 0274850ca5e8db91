/** The three shapes in which Redis is run, started on loopback: the same to a test. */
import { ClusterRedis } from "./redis_cluster.ts";
import { SentinelRedis } from "./redis_sentinel.ts";
import { startRedisServer } from "./redis_server.ts";
import type { RedisTopology, TopologyKind } from "./redis_topology.ts";

/** Throws when redis-server, or redis-cli for a cluster, is not installed. */
export function startRedis(kind: TopologyKind): Promise<RedisTopology> {
  if (kind === "sentinel") return SentinelRedis.start();
  return kind === "cluster" ? ClusterRedis.start() : startRedisServer();
}

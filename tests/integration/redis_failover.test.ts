/** The server that has everything is replaced by its replica under people who chat. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { spreadTag } from "../../src/core/redis/spread.ts";
import { chatThrough } from "./chat_through.ts";
import { Cluster } from "./cluster.ts";
import { ClusterRedis } from "./redis_cluster.ts";
import { SentinelRedis } from "./redis_sentinel.ts";

const START_MS = 90_000;
const RUN_MS = 120_000;

describe("a cluster whose Redis is watched by Sentinels", () => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await Cluster.start({ layout: "split", redis: "sentinel" });
  }, START_MS);
  afterAll(async () => {
    await cluster?.stop();
  }, START_MS);

  function redis(): SentinelRedis {
    expect(cluster.topology).toBeInstanceOf(SentinelRedis);
    return cluster.topology as SentinelRedis;
  }

  test(
    "loses nothing and keeps the order when the primary is killed, and when the next one hangs",
    async () => {
      await chatThrough({ cluster, seed: 31 }, async () => {
        await redis().failOver();
        await redis().hang();
      });
    },
    RUN_MS,
  );
});

describe("a cluster on a Redis Cluster", () => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await Cluster.start({ layout: "split", redis: "cluster" });
  }, START_MS);
  afterAll(async () => {
    await cluster?.stop();
  }, START_MS);

  test(
    "loses nothing and keeps the order when a master is killed and a slot moves",
    async () => {
      expect(cluster.topology).toBeInstanceOf(ClusterRedis);
      const redis = cluster.topology as ClusterRedis;
      await chatThrough({ cluster, seed: 32 }, async () => {
        await redis.failOver(`{${spreadTag(0)}}`);
        for (const partition of [0, 1, 2]) await redis.migrate(`{${spreadTag(partition)}}`, 20);
      });
    },
    RUN_MS,
  );
});

/** The server that has everything is replaced by its replica under people who chat. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chatThrough } from "./chat_through.ts";
import { Cluster } from "./cluster.ts";
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

/** What one node reports for the whole cluster, from a real Redis with a real replica. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import pino from "pino";
import { systemClock, type Timer } from "../../src/core/clock.ts";
import { LIMITS } from "../../src/core/limits.ts";
import { createRedis, type RedisClient } from "../../src/core/redis/client.ts";
import { RedisRegistry } from "../../src/core/registry/redis_registry.ts";
import { ClusterReport } from "../../src/core/telemetry/cluster_report.ts";
import { createMetrics, type Metrics } from "../../src/core/telemetry/metrics.ts";
import { type RedisServer, startRedisServer } from "../integration/redis_server.ts";

const log = pino({ level: "silent" });
const partitions = { chat: 2, user: 2 };
let server: RedisServer;
let replica: RedisServer | null = null;
let redis: RedisClient;
let metrics: Metrics;
let registry: RedisRegistry;
let port: number;

beforeAll(async () => {
  const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  port = listener.port;
  listener.stop(true);
  const args = ["--port", `${port}`, "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0"];
  server = await startRedisServer({ args });
  metrics = createMetrics();
  redis = createRedis(server.url, { clock: systemClock, log, metrics, prefix: "test" });
  await redis.ready();
  registry = new RedisRegistry({ redis, partitions, limits: LIMITS });
});

afterAll(async () => {
  redis?.close();
  await replica?.stop();
  await server?.stop();
});

/** A report that looks when `tick` is called, at node `a` while `first` says who reports. */
function reporter(durability: "fsync" | "replicated" | "memory", first: { id: string }) {
  let look = () => {};
  const clock = {
    ...systemClock,
    every(_ms: number, fn: () => void): Timer {
      look = fn;
      return { cancel: () => {} };
    },
  };
  const membership = { first: () => first.id };
  const telemetry = { log, metrics };
  const deps = { self: "a", redis, registry, membership, durability, clock, telemetry };
  const report = new ClusterReport(deps);
  report.start();
  const tick = async () => {
    look();
    await Bun.sleep(50);
  };
  return { report, tick };
}

async function pendingIds(stream: string): Promise<string[]> {
  const rows = (await server.admin.xpending(stream, "push", "-", "+", 10)) as [string][];
  return rows.map(([id]) => id);
}

async function series(name: string): Promise<string[]> {
  const text = await metrics.registry.getSingleMetricAsString(`chatify_${name}`);
  return text.split("\n").filter((line) => !line.startsWith("#") && line !== "");
}

test("partitions that nobody owns are counted, with what waits in them", async () => {
  const { report, tick } = reporter("fsync", { id: "a" });
  await registry.lease("logic", "a", 2);
  await registry.lease("push", "a", 1);
  const owned = await registry.lease("push", "a", 1);
  const free = owned[0]?.partition === 0 ? 1 : 0;
  const stream = redis.keys.stream("push_task", free);
  await server.admin.xadd(stream, "*", "b", "one");
  await server.admin.xadd(stream, "*", "b", "two");
  await server.admin.xgroup("CREATE", stream, "push", "0");
  await server.admin.xreadgroup("GROUP", "push", "gone", "COUNT", 1, "STREAMS", stream, ">");
  await Bun.sleep(100);
  await tick();
  expect((await series("partitions_unowned")).sort()).toEqual([
    'chatify_partitions_unowned{group="logic"} 0',
    'chatify_partitions_unowned{group="push"} 1',
  ]);
  const labels = `{topic="push_task",partition="${free}"}`;
  expect(await series("stream_entries")).toContain(`chatify_stream_entries${labels} 2`);
  expect(await series("stream_pending")).toContain(`chatify_stream_pending${labels} 1`);
  expect(await series("stream_lag")).toContain(`chatify_stream_lag${labels} 1`);
  const [age] = (await series("stream_oldest_seconds")).filter((line) => line.includes(labels));
  expect(Number(age?.split(" ")[1])).toBeGreaterThanOrEqual(0.1);
  const pendingAges = await series("stream_oldest_pending_seconds");
  const pendingAge = pendingAges.find((line) => line.includes(labels));
  expect(Number(pendingAge?.split(" ")[1])).toBeGreaterThanOrEqual(0.1);
  // What is deleted or trimmed is neither pending nor unread.
  for (const body of ["three", "four", "five"]) await server.admin.xadd(stream, "*", "b", body);
  await server.admin.xtrim(stream, "MAXLEN", 2);
  await tick();
  expect(await series("stream_entries")).toContain(`chatify_stream_entries${labels} 2`);
  await server.admin.xack(stream, "push", ...(await pendingIds(stream)));
  await tick();
  expect(await series("stream_lag")).toContain(`chatify_stream_lag${labels} 2`);
  expect(await series("stream_oldest_pending_seconds")).toContain(
    `chatify_stream_oldest_pending_seconds${labels} 0`,
  );
  // Its streams and those of the operator; what has an owner is the owner's to report.
  const topics = (await series("stream_entries")).map((line) => /topic="(\w+)"/.exec(line)?.[1]);
  expect(topics.sort()).toEqual(["data_report", "dead_letter", "push_task", "user_state"]);
  await registry.lease("push", "a", 2);
  await tick();
  expect(await series("partitions_unowned")).toContain(
    'chatify_partitions_unowned{group="push"} 0',
  );
  expect(await series("stream_entries")).toHaveLength(2);
  report.stop();
  expect(await series("stream_entries")).toEqual([]);
  expect(await series("partitions_unowned")).toEqual([]);
});

test("only the first node reports, and one that is not first any more takes it all back", async () => {
  const first = { id: "b" };
  const { report, tick } = reporter("fsync", first);
  await tick();
  expect(await series("redis_memory_bytes")).toEqual([]);
  first.id = "a";
  await tick();
  expect(await series("redis_memory_bytes")).toHaveLength(2);
  first.id = "b";
  await tick();
  expect(await series("redis_memory_bytes")).toEqual([]);
  expect(await series("stream_entries")).toEqual([]);
  report.stop();
});

test("a replica that comes and goes is seen", async () => {
  const { report, tick } = reporter("replicated", { id: "a" });
  const connected = async (count: number) => {
    for (let i = 0; i < 100; i++) {
      await tick();
      const line = `chatify_redis_replicas{state="connected"} ${count}`;
      if ((await series("redis_replicas")).includes(line)) return;
    }
    throw new Error(`no ${count} replicas: ${await series("redis_replicas")}`);
  };
  await connected(0);
  expect(await series("redis_replicas")).toContain('chatify_redis_replicas{state="wanted"} 1');
  replica = await startRedisServer({ args: ["--replicaof", "127.0.0.1", `${port}`] });
  await connected(1);
  await replica.stop();
  replica = null;
  await connected(0);
  report.stop();
}, 30_000);

test("Redis' memory and its file are reported as they are", async () => {
  const { report, tick } = reporter("fsync", { id: "a" });
  await server.admin.config("SET", "maxmemory", "50mb");
  await tick();
  const limit = 'chatify_redis_memory_bytes{kind="limit"} 52428800';
  expect(await series("redis_memory_bytes")).toContain(limit);
  const on = 'chatify_redis_persistence{check="aof_enabled"} 1';
  expect(await series("redis_persistence")).toContain(on);
  await server.admin.config("SET", "appendonly", "no");
  await tick();
  const off = 'chatify_redis_persistence{check="aof_enabled"} 0';
  expect(await series("redis_persistence")).toContain(off);
  report.stop();
  const careless = reporter("memory", { id: "a" });
  await careless.tick();
  expect(await series("redis_persistence")).toEqual([]);
  careless.report.stop();
});

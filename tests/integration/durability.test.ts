/** DURABILITY=replicated: a write resolves only once a replica has it. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { pino } from "pino";
import { systemClock } from "../../src/core/clock.ts";
import { ChatifyError } from "../../src/core/protocol/errors.ts";
import { createRedis } from "../../src/core/redis/client.ts";
import { RedisStreams } from "../../src/core/streams/redis_streams.ts";
import { createMetrics } from "../../src/core/telemetry/metrics.ts";
import { eventually } from "./backends.ts";
import { type RedisServer, startRedisServer } from "./redis_server.ts";

let primary: RedisServer;
let replica: RedisServer;

function freePort(): number {
  const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  listener.stop(true);
  return listener.port;
}

beforeAll(async () => {
  const port = String(freePort());
  primary = await startRedisServer({ args: ["--port", port, "--repl-diskless-sync-delay", "0"] });
  replica = await startRedisServer({ args: ["--replicaof", `127.0.0.1 ${port}`] });
});

afterAll(async () => {
  await replica.stop();
  await primary.stop();
});

test("a replicated append resolves with a replica, and is outcome_unknown while it hangs", async () => {
  const durability = "replicated" as const;
  const [clock, log, metrics] = [systemClock, pino({ level: "silent" }), createMetrics()];
  const redis = createRedis(primary.url, { clock, log, metrics, durability });
  await redis.ready();
  const telemetry = { log, metrics };
  const streams = new RedisStreams({ redis, nodeId: "a", clock, telemetry });
  const append = async () => {
    const [result] = await streams.append([{ topic: "chat_input", partition: 0, body: "1" }]);
    return result instanceof ChatifyError ? result.code : typeof result;
  };
  await eventually("the replica follows", async () => (await append()) === "string", 10_000);
  expect(await replica.admin.xlen("chat_input:{0}")).toBeGreaterThan(0);
  replica.stall();
  expect(await append()).toBe("outcome_unknown");
  replica.goOn();
  await eventually("the replica follows again", async () => (await append()) === "string", 10_000);
  redis.close();
}, 30_000);

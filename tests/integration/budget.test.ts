/**
 * What a message, a session and a silent system may cost, counted rather than timed, so that it
 * holds on any machine: a change that spends more fails here. The bounds leave twice the room that
 * was measured, or more. Times are the business of `bun run bench`.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { Redis } from "ioredis";
import type { ChatJob } from "../../bench/job.ts";
import { RedisProbe } from "../../bench/redis_counts.ts";
import {
  callsPerMessage,
  commandsPerMessage,
  entriesPerMessage,
  memoryPerMessage,
} from "../../bench/redis_figures.ts";
import { type Run, runLoad } from "../../bench/run.ts";
import { startOurs } from "../../bench/targets/ours.ts";
import { JWT_SECRET, type Target } from "../../bench/targets/target.ts";

const USERS = 200;
const CONNECTIONS = 2_000;
const IDLE_S = 3;

const COMMANDS_PER_MESSAGE_MAX = 1;
const ENTRIES_PER_MESSAGE_MAX = 0.25;
const SCRIPTS_PER_MESSAGE_MAX = 0.25;
const REDIS_BYTES_PER_MESSAGE_MAX = 60;
const REDIS_BYTES_PER_SESSION_MAX = 300;
/** Of all processes, beyond the first tenth, by which the code is compiled. */
const RESIDENT_BYTES_PER_SESSION_MAX = 12_000;
const IDLE_COMMANDS_PER_SECOND_MAX = 500;
const SENDS_PER_MESSAGE_MAX = 2.5;

let target: Target;
let run: Run;

function job(): ChatJob {
  return {
    kind: "chat",
    dialect: target.dialect,
    wsPorts: target.wsPorts,
    path: target.path,
    secret: JWT_SECRET,
    users: USERS,
    pids: [...target.pids.keys()],
    warmupS: 1,
    warmupMessages: 5_000,
    messagesMin: 0,
    seconds: 4,
    inFlight: 8,
    rate: 0,
    bodyBytes: 100,
    ackMs: 20,
  };
}

beforeAll(async () => {
  target = await startOurs({ processes: 1, replicas: 1, durability: "fsync", profileDir: null });
}, 60_000);

afterAll(async () => {
  await target?.stop();
}, 30_000);

test("a silent system asks Redis only for what keeps its leases", async () => {
  const probe = new RedisProbe(target.redisUrl ?? "");
  await Bun.sleep(1_000);
  const before = await probe.read();
  await Bun.sleep(IDLE_S * 1_000);
  const after = await probe.read();
  probe.close();
  const perSecond = (after.commands - before.commands) / IDLE_S;
  expect(perSecond).toBeLessThan(IDLE_COMMANDS_PER_SECOND_MAX);
});

test("a session costs Redis a few hundred bytes, and all processes a few kilobytes", async () => {
  const connected = await runLoad(target, {
    ...job(),
    kind: "connect",
    users: CONNECTIONS,
    inFlight: 100,
    welcomes: true,
    holdS: 1,
  });
  const { load, redis, residentBegin, residentEnd } = connected;
  const resident = (residentEnd - residentBegin) / load.done;
  expect(resident).toBeLessThan(RESIDENT_BYTES_PER_SESSION_MAX);
  const grown = (redis?.end.memoryBytes ?? 0) - (redis?.idle.memoryBytes ?? 0);
  expect(grown / CONNECTIONS).toBeLessThan(REDIS_BYTES_PER_SESSION_MAX);
});

test("under load messages share stream entries, scripts and frames", async () => {
  run = await runLoad(target, job());
  expect(run.load.done).toBeGreaterThan(1_000);
  expect(run.load.missing).toBe(0);
  expect(run.load.duplicates).toBe(0);
  expect(commandsPerMessage(run)).toBeLessThan(COMMANDS_PER_MESSAGE_MAX);
  expect(entriesPerMessage(run)).toBeLessThan(ENTRIES_PER_MESSAGE_MAX);
  expect(callsPerMessage(run).evalsha ?? 0).toBeLessThan(SCRIPTS_PER_MESSAGE_MAX);
  const frames = (run.load.wire?.received ?? 0) / run.load.done;
  expect(frames).toBeLessThan(SENDS_PER_MESSAGE_MAX);
}, 90_000);

test("settled messages leave next to nothing in Redis", async () => {
  expect(memoryPerMessage(run)).toBeLessThan(REDIS_BYTES_PER_MESSAGE_MAX);
  const redis = new Redis(target.redisUrl ?? "", { disableClientInfo: true });
  const streams = (await redis.keys("*")).filter((key) => /chat_input|push_task/.test(key));
  let left = 0;
  for (const key of streams) {
    if ((await redis.type(key)) === "stream") left += await redis.xlen(key);
  }
  redis.disconnect();
  expect(streams).not.toBeEmpty();
  expect(left).toBe(0);
});

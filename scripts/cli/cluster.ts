/** What an operator sees of a cluster: its Redis, found and read. */
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pino } from "pino";
import { systemClock } from "../../src/core/clock.ts";
import { LIMITS } from "../../src/core/limits.ts";
import { createRedis, type RedisClient } from "../../src/core/redis/client.ts";
import type { LeaseState, NodeRecord } from "../../src/core/registry/contract.ts";
import { RedisRegistry } from "../../src/core/registry/redis_registry.ts";
import { RedisSessions } from "../../src/core/sessions/redis_sessions.ts";
import { readBacklog } from "../../src/core/streams/backlog.ts";
import { createMetrics } from "../../src/core/telemetry/metrics.ts";
import {
  type ConsumerGroup,
  GROUP_TOPICS,
  type Partitions,
  partitionCount,
  type Topic,
} from "../../src/core/topology.ts";
import { CliError, type Input, type OptionSpec } from "./command.ts";
import { environment } from "./environment.ts";

export const CLUSTER_OPTIONS: Readonly<Record<string, OptionSpec>> = {
  redis: { takes: "text", help: "URL or socket; default: REDIS_URL, else the one in DATA_DIR" },
};

const READY_MS = 3_000;
const METRICS_MS = 1_000;
export const GROUPS: readonly ConsumerGroup[] = ["logic", "push"];

/** Where Redis is, and whether it is the one that Chatify runs for itself. */
export function redisPlace(input: Input): { url: string | null; embedded: boolean } {
  const url = input.text("redis") ?? environment("REDIS_URL");
  if (url !== undefined) return { url, embedded: false };
  return { url: embeddedUrl(resolve(environment("DATA_DIR"))), embedded: true };
}

/** Read from what the embedded Redis was started with; null when it never was. */
function embeddedUrl(dataDir: string): string | null {
  const path = join(dataDir, "redis/redis.conf");
  if (!existsSync(path)) return null;
  const conf = readFileSync(path, "utf8");
  const socket = /^unixsocket "(.*)"$/m.exec(conf)?.[1];
  if (socket !== undefined) return socket.replaceAll(/\\(["\\])/g, "$1");
  const port = /^port (\d+)$/m.exec(conf)?.[1];
  const password = /^requirepass (\w+)$/m.exec(conf)?.[1];
  return port === undefined ? null : `redis://:${password ?? ""}@127.0.0.1:${port}`;
}

/** Rejects with `unavailable`, and what to do, when no Redis answers. */
export async function connectRedis(input: Input): Promise<RedisClient> {
  const { embedded, url } = redisPlace(input);
  const start =
    "start Chatify here with `bun run start`, or name a Redis with REDIS_URL or --redis";
  if (url === null) {
    throw new CliError("unavailable", `no data in ${resolve(environment("DATA_DIR"))}; ${start}`);
  }
  const ca = environment("REDIS_CA_FILE");
  const redis = createRedis(url, {
    clock: systemClock,
    log: pino({ level: "silent" }),
    metrics: createMetrics(),
    prefix: environment("KEY_PREFIX"),
    ca: ca === undefined ? undefined : readFileSync(ca, "utf8"),
  });
  try {
    await redis.ready(READY_MS);
    return redis;
  } catch {
    redis.close();
    // A URL may hold a password, so it is not repeated.
    const where = embedded ? `at ${url}` : "where REDIS_URL or --redis says";
    throw new CliError("unavailable", `no Redis answers ${where}; ${start}`);
  }
}

/** The counts that the cluster agreed on at its first start. */
export async function agreedPartitions(redis: RedisClient): Promise<Partitions> {
  const args = [redis.keys.partitions(), "chat", "user"];
  const reply = (await redis.lane.read("partitions", "HMGET", args)) as (string | null)[];
  const [chat, user] = reply.map(Number);
  if (chat && user) return { chat, user };
  const prefix = environment("KEY_PREFIX");
  const keys = prefix === "" ? "without a KEY_PREFIX" : `with KEY_PREFIX=${prefix}`;
  throw new CliError("not_found", `no Chatify has used this Redis ${keys} yet`);
}

export interface TopicBacklog {
  readonly topic: Topic;
  readonly entries: number;
  readonly pending: number;
  readonly oldest_ms: number;
}

export interface ClusterView {
  readonly nodes: readonly NodeRecord[];
  readonly leases: Readonly<Record<ConsumerGroup, readonly LeaseState[]>>;
  readonly backlog: readonly TopicBacklog[];
  readonly deadLetters: number;
  readonly dataReports: number;
  readonly usersOnline: number;
  /** Users for whom something may be stored. */
  readonly usersWithRows: number;
  /** Rows of the offline store as its node counted them last; null where it cannot be asked. */
  readonly offlineRows: number | null;
}

export async function viewCluster(redis: RedisClient): Promise<ClusterView> {
  const partitions = await agreedPartitions(redis);
  const registry = new RedisRegistry({ redis, partitions, limits: LIMITS });
  const sessions = new RedisSessions({ redis, partitions, limits: LIMITS });
  const count = async (command: "XLEN" | "HLEN", key: string) =>
    Number(await redis.lane.read("status", command, [key]));
  const users = [...Array(partitions.user).keys()];
  const [nodes, logic, push, backlog, letters, reports, online, marks] = await Promise.all([
    registry.nodes(),
    registry.leases("logic"),
    registry.leases("push"),
    backlogs(redis, partitions),
    count("XLEN", redis.keys.stream("dead_letter", 0)),
    count("XLEN", redis.keys.stream("data_report", 0)),
    sessions.onlineCount(),
    Promise.all(users.map((q) => count("HLEN", redis.keys.map("stored", "push", q)))),
  ]);
  return {
    nodes: [...nodes].sort((a, b) => (a.id < b.id ? -1 : 1)),
    leases: { logic, push },
    backlog,
    deadLetters: letters,
    dataReports: reports,
    usersOnline: online,
    usersWithRows: marks.reduce((sum, of) => sum + of, 0),
    offlineRows: await offlineRows(nodes),
  };
}

function backlogs(redis: RedisClient, partitions: Partitions): Promise<TopicBacklog[]> {
  const topics = GROUPS.flatMap((group) => GROUP_TOPICS[group].map((topic) => ({ group, topic })));
  return Promise.all(
    topics.map(async ({ group, topic }) => {
      const numbers = [...Array(partitionCount(partitions, group)).keys()];
      const all = await Promise.all(numbers.map((p) => readBacklog(redis, topic, p)));
      const now = systemClock.now();
      return {
        topic,
        entries: all.reduce((sum, of) => sum + of.entries, 0),
        pending: all.reduce((sum, of) => sum + of.pending, 0),
        oldest_ms: Math.max(0, ...all.map(({ oldestMs }) => now - (oldestMs ?? now))),
      };
    }),
  );
}

/** From the metrics of an offline node, which are on its loopback unless configured otherwise. */
async function offlineRows(nodes: readonly NodeRecord[]): Promise<number | null> {
  for (const { adminPort, host, roles } of nodes) {
    if (!roles.includes("offline")) continue;
    const signal = AbortSignal.timeout(METRICS_MS);
    const answer = await fetch(`http://${host}:${adminPort}/metrics`, { signal }).catch(() => null);
    const line = /^chatify_offline_rows (\d+)$/m.exec((await answer?.text()) ?? "");
    if (line !== null) return Number(line[1]);
  }
  return null;
}

/** What the doctor looks at in Redis and in the cluster that meets there. */
import { systemClock } from "../../src/core/clock.ts";
import { LIMITS } from "../../src/core/limits.ts";
import type { RedisClient } from "../../src/core/redis/client.ts";
import type { ConsumerGroup } from "../../src/core/topology.ts";
import { above, type Finding, fail, finding, ok, warn } from "./check.ts";
import { type ClusterView, GROUPS } from "./cluster.ts";
import { age, ranges } from "./table.ts";

const REDIS_MAJOR_MIN = 7;
/** Tokens, expiry and message times are this machine's; leases are Redis' own. */
const SKEW_MS = { warn: 1_000, fail: 30_000 };
/** An entry is settled, or archived, within the ack timeout; older ones say that nobody reads. */
const OLDEST_MS = { warn: LIMITS.ACK_TIMEOUT_MS * 2, fail: 60_000 };

export async function checkRedis(redis: RedisClient, durability: string): Promise<Finding[]> {
  const findings = [await checkVersion(redis), await checkClock(redis)];
  for (const check of await checkSettings(redis, durability)) findings.push(check);
  return findings;
}

async function checkVersion(redis: RedisClient): Promise<Finding> {
  const info = String(await redis.lane.read("doctor", "INFO", ["server"]));
  const version = /^redis_version:(\S+)/m.exec(info)?.[1] ?? "unknown";
  const enough = Number.parseInt(version, 10) >= REDIS_MAJOR_MIN;
  const advice = `Chatify needs Redis ${REDIS_MAJOR_MIN}.0 or later`;
  return finding(enough ? "ok" : "fail", "Redis", `answers, version ${version}`, advice);
}

async function checkClock(redis: RedisClient): Promise<Finding> {
  const before = systemClock.now();
  const reply = (await redis.lane.read("doctor", "TIME", [])) as [string, string];
  const half = (systemClock.now() - before) / 2;
  const skew = Math.abs(Number(reply[0]) * 1_000 + Number(reply[1]) / 1_000 - before - half);
  const advice = "run an NTP client on both machines";
  return finding(above(skew, SKEW_MS), "clock", `${skew.toFixed(0)} ms from Redis'`, advice);
}

async function checkSettings(redis: RedisClient, durability: string): Promise<Finding[]> {
  let settings: Map<string, string>;
  try {
    settings = await settingsOf(redis);
  } catch {
    const advice = "look at appendonly, appendfsync and maxmemory-policy where it is managed";
    return [warn("Redis settings", "this Redis does not show them", advice)];
  }
  const policy = settings.get("maxmemory-policy") ?? "unknown";
  const evicts = policy !== "noeviction" && settings.get("maxmemory") !== "0";
  const set = (name: string, value: string) => `\`CONFIG SET ${name} ${value}\`, and in redis.conf`;
  const keeps = finding(
    evicts ? "fail" : policy === "noeviction" ? "ok" : "warn",
    "maxmemory-policy",
    policy,
    `Redis would throw messages away when it is full: ${set("maxmemory-policy", "noeviction")}`,
  );
  if (durability === "memory")
    return [ok("persistence", "not asked for: DURABILITY=memory"), keeps];
  const appendonly = settings.get("appendonly") ?? "unknown";
  if (appendonly !== "yes") {
    const advice = `what is accepted does not survive a restart: ${set("appendonly", "yes")}`;
    return [fail("appendonly", appendonly, advice), keeps];
  }
  const fsync = settings.get("appendfsync") ?? "unknown";
  const weak = fsync === "always" ? "ok" : durability === "fsync" ? "fail" : "warn";
  const advice = `the last second is lost with the power: ${set("appendfsync", "always")}`;
  return [ok("appendonly", "yes"), finding(weak, "appendfsync", fsync, advice), keeps];
}

async function settingsOf(redis: RedisClient): Promise<Map<string, string>> {
  const names = ["appendonly", "appendfsync", "maxmemory", "maxmemory-policy"];
  const replies = await Promise.all(
    names.map((name) => redis.lane.read("doctor", "CONFIG", ["GET", name]) as Promise<string[]>),
  );
  return new Map(replies.map(([name = "", value = ""]) => [name, value]));
}

export function checkCluster(view: ClusterView): Finding[] {
  const groups = GROUPS.map((group) => checkOwners(view, group));
  const oldest = view.backlog.reduce((a, b) => (b.oldest_ms > a.oldest_ms ? b : a));
  const waiting = finding(
    above(oldest.oldest_ms, OLDEST_MS),
    "oldest pending",
    oldest.oldest_ms === 0 ? "nothing waits" : `${age(oldest.oldest_ms)} in ${oldest.topic}`,
    "its owner does not settle it: see the log of that node, and the offline store",
  );
  const letters = finding(
    view.deadLetters > 0 ? "warn" : "ok",
    "dead letters",
    String(view.deadLetters),
    "look at them with `bun run chatify dead-letter`",
  );
  return [...groups, waiting, letters];
}

function checkOwners(view: ClusterView, group: ConsumerGroup): Finding {
  const name = `${group} partitions`;
  const free = view.leases[group].filter(({ owner }) => owner === null);
  const total = view.leases[group].length;
  if (free.length === 0) return ok(name, `all ${total} have an owner`);
  const nodes = view.nodes.filter(({ roles }) => roles.includes(group)).length;
  const found = `nobody owns ${ranges(free.map(({ partition }) => partition))} of ${total}`;
  const advice =
    nodes === 0
      ? `no process with ROLE=${group} runs: start one`
      : `${nodes} ${group} node(s) live: see their logs, and look again in ${age(LIMITS.NODE_TTL_MS)}`;
  return fail(name, found, advice);
}

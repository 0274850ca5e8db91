/** Looks for what would keep Chatify from working here, and says what to do about it. */
import type { RedisClient } from "../../src/core/redis/client.ts";
import { type Finding, fail, type Level, warn } from "./check.ts";
import { CLUSTER_OPTIONS, connectRedis, redisPlace, viewCluster } from "./cluster.ts";
import { CliError, type Command, type Input } from "./command.ts";
import { environment } from "./environment.ts";
import {
  checkBun,
  checkConfiguration,
  checkDataDir,
  checkOpenFiles,
  checkPorts,
  checkRedisServer,
} from "./machine_checks.ts";
import { checkCluster, checkRedis } from "./redis_checks.ts";

export const doctor: Command = {
  name: "doctor",
  summary:
    "Checks this machine, Redis and the cluster (with --redis that cluster only); 1 on failure",
  usage: "[options]",
  argumentsMax: 0,
  options: CLUSTER_OPTIONS,
  async run(input) {
    const findings = [...(await machineFindings(input)), ...(await redisFindings(input))];
    const count = (level: Level) => findings.filter((one) => one.level === level).length;
    const sum = { ok: count("ok"), warn: count("warn"), fail: count("fail") };
    const last = `${sum.ok} ok, ${sum.warn} to look at, ${sum.fail} failed`;
    input.print(`${findings.map(lineOf).join("\n")}\n\n${last}`, { ...sum, checks: findings });
    return sum.fail === 0 ? 0 : 1;
  },
};

async function machineFindings(input: Input): Promise<Finding[]> {
  // Another cluster was named: what a start from here would need says nothing about it.
  if (input.text("redis") !== undefined) return [checkBun()];
  const { config, finding } = checkConfiguration();
  const findings = [checkBun(), finding, checkOpenFiles()];
  if (config === null) return findings;
  if (redisPlace(input).embedded) findings.push(checkRedisServer(config.redisServerPath));
  findings.push(...checkDataDir(config.dataDir), ...(await checkPorts(config)));
  return findings;
}

async function redisFindings(input: Input): Promise<Finding[]> {
  let redis: RedisClient;
  try {
    redis = await connectRedis(input);
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    // Before the first start, or between two, it is not there and need not be.
    if (!redisPlace(input).embedded) return [fail("Redis", error.message, "see that it runs")];
    return [warn("Redis", "Chatify does not run here", "start it with `bun run start`")];
  }
  try {
    const findings = await checkRedis(redis, environment("DURABILITY"));
    return [...findings, ...(await clusterFindings(redis))];
  } finally {
    redis.close();
  }
}

async function clusterFindings(redis: RedisClient): Promise<Finding[]> {
  try {
    return checkCluster(await viewCluster(redis));
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    return [warn("cluster", error.message, "start a node")];
  }
}

const MARKS: Readonly<Record<Level, string>> = { ok: "ok  ", warn: "warn", fail: "FAIL" };

function lineOf({ advice, check, found, level }: Finding): string {
  const line = `${MARKS[level]}  ${check.padEnd(18)} ${found}`;
  return advice === undefined ? line : `${line}\n      ${"".padEnd(18)} → ${advice}`;
}

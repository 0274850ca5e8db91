/**
 * The program. ROLE says which roles this process runs; with all of them and no REDIS_URL it also
 * runs its own Redis. It ends with 0 after SIGTERM or SIGINT, with 1 when it cannot start or go on,
 * and always says why. Whatever kills it, the next start recovers.
 */
import page from "../web/index.html";
import { systemClock, systemRandom } from "./core/clock.ts";
import { type Config, ConfigError, readConfig } from "./core/config.ts";
import { LIMITS } from "./core/limits.ts";
import { type EmbeddedRedis, startEmbeddedRedis } from "./core/redis/embedded.ts";
import { createLog } from "./core/telemetry/log.ts";
import { whyNotReady } from "./healthcheck.ts";
import { type RunningNode, startNode } from "./node.ts";

function configure(): Config {
  try {
    return readConfig();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(1);
  }
}

const config = configure();
if (process.argv.includes("--healthcheck")) {
  const reason = await whyNotReady(config);
  if (reason !== null) process.stderr.write(`not ready: ${reason}\n`);
  process.exit(reason === null ? 0 : 1);
}
const log = createLog(config);

function die(reason: string, error?: unknown): never {
  log.fatal({ err: error }, reason);
  process.exit(1);
}

process.on("uncaughtException", (error) => die("a bug ended the process", error));
process.on("unhandledRejection", (error) => die("a bug ended the process", error));

async function start(): Promise<[RunningNode, EmbeddedRedis | null]> {
  if (config.redisUrl !== null) return [await startNode(config, config.redisUrl, page), null];
  const redis = await startEmbeddedRedis({
    config,
    clock: systemClock,
    random: systemRandom,
    log,
    onExit: (reason) => die(`the embedded Redis ended: ${reason}`),
  });
  try {
    return [await startNode(config, redis.url, page), redis];
  } catch (error) {
    await redis.stop();
    throw error;
  }
}

try {
  const [node, redis] = await start();
  const roles = config.roles.join(",");
  const url = node.gatewayPort === null ? "" : ` at http://${config.host}:${node.gatewayPort}`;
  log.info({ node: node.id, roles, pid: process.pid }, `chatify is ready${url}`);
  if (config.authMode === "dev") {
    log.warn("AUTH_MODE=dev: everybody is who they say they are; only loopback may connect");
  }
  let stopping = false;
  const stop = (signal: string) => {
    if (stopping) return;
    stopping = true;
    log.info({ signal }, "stopping");
    // Crash-only: what is not handed over in time is recovered by others, or by the next start.
    systemClock.after(LIMITS.DRAIN_MS + 1_000, () => die("could not stop in time"));
    node
      .stop()
      .then(() => redis?.stop())
      .then(
        () => process.exit(0),
        (error: unknown) => die("stopping failed", error),
      );
  };
  process.on("SIGTERM", () => stop("SIGTERM"));
  process.on("SIGINT", () => stop("SIGINT"));
} catch (error) {
  const reason = error instanceof Error ? error.message : String(error);
  die(`chatify cannot start: ${reason}`, error);
}

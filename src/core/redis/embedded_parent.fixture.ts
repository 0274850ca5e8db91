/** A process to be killed: starts the embedded Redis in argv[2], prints its pids, and waits. */
import { pino } from "pino";
import { systemClock, systemRandom } from "../clock.ts";
import { startEmbeddedRedis } from "./embedded.ts";

const redis = await startEmbeddedRedis({
  config: { dataDir: process.argv[2] ?? "", redisServerPath: "redis-server" },
  clock: systemClock,
  random: systemRandom,
  log: pino({ level: "silent" }),
  onExit: (reason) => {
    process.stdout.write(`${JSON.stringify({ reason })}\n`);
    process.exit(3);
  },
});
process.on("SIGTERM", async () => {
  await redis.stop();
  process.exit(0);
});
process.stdout.write(`${JSON.stringify({ pid: redis.pid, url: redis.url })}\n`);

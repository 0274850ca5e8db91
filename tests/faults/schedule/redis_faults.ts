/** Redis that dies, hangs, drops everybody, is busy with a script, or has no memory left. */
import type { RedisNode } from "../stage/redis_node.ts";
import type { FaultAct, Theatre } from "./fault_act.ts";
import type { PlannedFault } from "./schedule.ts";

/** Redis kills no script that has written, so this one only counts; it is bounded by its argument. */
const BUSY = `local t = redis.call('TIME')
local ends = t[1] * 1000 + t[2] / 1000 + ARGV[1]
repeat t = redis.call('TIME') until t[1] * 1000 + t[2] / 1000 > ends
return 1`;

export function redisFault(fault: PlannedFault, { stage }: Theatre): FaultAct[] {
  const { redis } = stage;
  return [{ target: "redis", run: () => act(fault, redis) }];
}

async function act({ durationMs, kind }: PlannedFault, redis: RedisNode): Promise<void> {
  switch (kind) {
    case "redis kill -9":
      await redis.kill();
      await Bun.sleep(Math.min(durationMs, 2_000));
      await redis.restart();
      return;
    case "redis SIGSTOP":
      redis.freeze(true);
      await Bun.sleep(durationMs);
      redis.freeze(false);
      return;
    case "redis DEBUG SLEEP":
      await redis.second.call("DEBUG", "SLEEP", String(durationMs / 1_000));
      return;
    case "redis CLIENT PAUSE":
      await redis.second.call("CLIENT", "PAUSE", String(durationMs), "ALL");
      await Bun.sleep(durationMs);
      return;
    case "redis CLIENT KILL":
      await redis.second.call("CLIENT", "KILL", "TYPE", "normal");
      return;
    case "redis slow script":
      await redis.second.call("EVAL", BUSY, "0", String(durationMs));
      return;
    case "redis out of memory":
      await redis.admin.config("SET", "maxmemory", "1mb");
      await Bun.sleep(durationMs);
      await redis.admin.config("SET", "maxmemory", "0");
      return;
    default:
      throw new Error(`${kind} is nothing that Redis does`);
  }
}

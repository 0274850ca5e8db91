/** Pushing once, in Redis. */
import type { RedisClient } from "../redis/client.ts";
import type { CommandLane } from "../redis/command_lane.ts";
import { script } from "../redis/script.ts";
import type { Partitions } from "../topology.ts";
import backlogLua from "./backlog_bytes.lua" with { type: "text" };
import type { OnceUnit, PushStore, Reservation } from "./contract.ts";
import onceLua from "./push_once.lua" with { type: "text" };

export interface RedisPushesDeps {
  readonly redis: RedisClient;
  readonly partitions: Partitions;
  readonly limits: { readonly DEDUP_WINDOW_S: number };
}

const LATE_S = 600;

const once = script(onceLua);
const backlogBytes = script(backlogLua);

export class RedisPushes implements PushStore {
  private readonly writes: CommandLane;

  constructor(private readonly deps: RedisPushesDeps) {
    this.writes = deps.redis.durable;
  }

  async reserve(key: string, proposal: Reservation | null): Promise<Reservation | null> {
    const name = this.deps.redis.keys.pushKey(key);
    if (proposal === null) return read(await this.writes.read("push", "GET", [name]));
    const { digest, ms, taskId } = proposal;
    const window = `${this.deps.limits.DEDUP_WINDOW_S}`;
    const args = [name, `${taskId} ${ms} ${digest}`, "EX", window, "NX", "GET"];
    return read(await this.writes.write("push", "SET", args)) ?? proposal;
  }

  async appendOnce(partition: number, units: readonly OnceUnit[]): Promise<string[]> {
    const { limits, redis } = this.deps;
    const names = units.map(({ name }) => redis.keys.pushOnce(partition, name));
    const args = units.flatMap(({ headers, lines, value }) => [value, headers, lines]);
    const keys = [redis.keys.stream("push_task", partition), ...names];
    // Longer than the key of a request that may still be on its way when that ends.
    const window = `${limits.DEDUP_WINDOW_S + LATE_S}`;
    return (await this.writes.script("push", once, keys, [window, ...args])) as string[];
  }

  async backlogBytes(): Promise<number> {
    const { partitions, redis } = this.deps;
    const sizes = await Promise.all(
      Array.from({ length: partitions.user }, (_, partition) => {
        const keys = [redis.keys.stream("push_task", partition)];
        return redis.lane.script("push", backlogBytes, keys, []) as Promise<number>;
      }),
    );
    return sizes.reduce((sum, bytes) => sum + bytes, 0);
  }
}

function read(text: unknown): Reservation | null {
  if (typeof text !== "string") return null;
  const [taskId = "", ms, digest = ""] = text.split(" ");
  return { taskId, ms: Number(ms), digest };
}

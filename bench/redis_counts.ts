/** What Redis itself counted: commands, entries appended, memory. */
import { Redis } from "ioredis";

export interface RedisCounts {
  /** Commands executed, those inside scripts included. */
  readonly commands: number;
  /** Calls by command name, as Redis spells them. */
  readonly calls: Readonly<Record<string, number>>;
  readonly memoryBytes: number;
}

export class RedisProbe {
  private readonly redis: Redis;

  constructor(url: string) {
    this.redis = new Redis(url, { disableClientInfo: true, maxRetriesPerRequest: 1 });
    this.redis.on("error", () => {});
  }

  async read(): Promise<RedisCounts> {
    const text = await this.redis.info("stats", "commandstats", "memory");
    const number = (name: string) =>
      Number(new RegExp(`^${name}:(\\d+)`, "m").exec(text)?.[1] ?? 0);
    const calls: Record<string, number> = {};
    for (const [, name, count] of text.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)) {
      calls[`${name}`] = Number(count);
    }
    return {
      commands: number("total_commands_processed"),
      calls,
      memoryBytes: number("used_memory"),
    };
  }

  close(): void {
    this.redis.disconnect();
  }
}

export function callsBetween(before: RedisCounts, after: RedisCounts): Record<string, number> {
  const grown: Record<string, number> = {};
  for (const [name, count] of Object.entries(after.calls)) {
    const more = count - (before.calls[name] ?? 0);
    if (more > 0) grown[name] = more;
  }
  return grown;
}

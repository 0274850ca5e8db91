/** Where browsers of users can be reached: one hash per user, kept until the browser is gone. */
import * as z from "zod";
import type { RedisClient } from "../../../core/redis/client.ts";

/** What a browser's `PushSubscription.toJSON()` is, and which device of the user it belongs to. */
export const PushSubscription = z.object({
  endpoint: z.url().max(2_048),
  keys: z.object({
    p256dh: z.string().regex(/^[\w-]{80,100}=*$/, "takes the browser's public key in base64url"),
    auth: z.string().regex(/^[\w-]{16,48}=*$/, "takes the browser's secret in base64url"),
  }),
});
export type PushSubscription = z.infer<typeof PushSubscription>;

const Kept = PushSubscription.extend({ device_id: z.string(), since: z.number() });
export type Kept = z.infer<typeof Kept>;

export class Subscriptions {
  constructor(
    private readonly redis: RedisClient,
    private readonly perUserMax: number,
  ) {}

  /** Adds it, or takes its place; past the bound the oldest of the user is forgotten. */
  async add(user: string, kept: Kept): Promise<void> {
    const args = [this.redis.keys.webPush(user), nameOf(kept.endpoint), JSON.stringify(kept)];
    await this.redis.durable.write("webhooks", "HSET", args);
    const all = [...(await this.of(user))].sort(([, a], [, b]) => b.since - a.since);
    for (const [name] of all.slice(this.perUserMax)) await this.remove(user, name);
  }

  async of(user: string): Promise<ReadonlyMap<string, Kept>> {
    const key = this.redis.keys.webPush(user);
    const reply = (await this.redis.lane.read("webhooks", "HGETALL", [key])) as string[];
    const found = new Map<string, Kept>();
    for (let i = 0; i < reply.length; i += 2) {
      const result = Kept.safeParse(JSON.parse(reply[i + 1] ?? "null"));
      if (result.success) found.set(reply[i] ?? "", result.data);
    }
    return found;
  }

  /** True when there was one. */
  async remove(user: string, name: string): Promise<boolean> {
    const args = [this.redis.keys.webPush(user), name];
    return (await this.redis.durable.write("webhooks", "HDEL", args)) === 1;
  }
}

/** Endpoints are long, and secrets: who knows one can push there. */
export function nameOf(endpoint: string): string {
  return new Bun.CryptoHasher("sha256").update(endpoint).digest("base64url").slice(0, 22);
}

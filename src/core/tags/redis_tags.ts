/** Tags in Redis: for each user partition the users of a tag, and the tags of a user, in one slot. */
import { ChatifyError } from "../protocol/errors.ts";
import type { RedisClient } from "../redis/client.ts";
import { script } from "../redis/script.ts";
import { type Partitions, partitionOf } from "../topology.ts";
import type { TagPage, Tags } from "./contract.ts";
import changeLua from "./tag_change.lua" with { type: "text" };

export interface RedisTagsDeps {
  readonly redis: RedisClient;
  readonly partitions: Partitions;
  readonly limits: { readonly TAGS_PER_USER_MAX: number };
}

const change = script(changeLua);
const SCAN_PAGE = 500;

export class RedisTags implements Tags {
  constructor(private readonly deps: RedisTagsDeps) {}

  add(tag: string, users: readonly string[]): Promise<number> {
    return this.change("add", tag, users);
  }

  remove(tag: string, users: readonly string[]): Promise<number> {
    return this.change("remove", tag, users);
  }

  async list(): Promise<{ tag: string; users: number }[]> {
    const counts = new Map<string, number>();
    const parts = Array.from({ length: this.deps.partitions.user }, (_, partition) =>
      this.read("HGETALL", [this.keys.tagCounts(partition)]),
    );
    for (const part of await Promise.all(parts)) {
      const flat = part as string[];
      for (let i = 0; i + 1 < flat.length; i += 2) {
        const tag = flat[i] ?? "";
        counts.set(tag, (counts.get(tag) ?? 0) + Number(flat[i + 1]));
      }
    }
    const all = [...counts].map(([tag, users]) => ({ tag, users }));
    return all.sort((a, b) => (a.tag < b.tag ? -1 : 1));
  }

  async of(user: string): Promise<string[]> {
    const key = this.keys.userTags(this.partitionOf(user), user);
    return ((await this.read("SMEMBERS", [key])) as string[]).sort();
  }

  /** A cursor is the partition, and where the scan of its set stands. */
  async users(tag: string, cursor: string | null, limit: number): Promise<TagPage> {
    const [from = 0, at = 0] = (cursor ?? "0.0").split(".").map(Number);
    for (let partition = from; partition < this.deps.partitions.user; partition++) {
      const start = partition === from ? `${at}` : "0";
      const args = [this.keys.tagUsers(partition, tag), start, "COUNT", `${limit}`];
      const [next, users] = (await this.read("SSCAN", args)) as [string, string[]];
      const isLast = partition === this.deps.partitions.user - 1;
      const after = next === "0" ? `${partition + 1}.0` : `${partition}.${next}`;
      if (users.length > 0 || next !== "0") {
        return { users, cursor: next === "0" && isLast ? null : after };
      }
    }
    return { users: [], cursor: null };
  }

  async *usersIn(tag: string, partition: number): AsyncIterable<readonly string[]> {
    let cursor = "0";
    do {
      const args = [this.keys.tagUsers(partition, tag), cursor, "COUNT", `${SCAN_PAGE}`];
      const [next, users] = (await this.read("SSCAN", args)) as [string, string[]];
      cursor = next;
      if (users.length > 0) yield users;
    } while (cursor !== "0");
  }

  private async change(how: string, tag: string, users: readonly string[]): Promise<number> {
    const { limits, redis } = this.deps;
    const byPartition = Map.groupBy(new Set(users), (user) => this.partitionOf(user));
    const changed = await Promise.all(
      [...byPartition].map(([partition, own]) => {
        const keys = [this.keys.tagUsers(partition, tag), this.keys.tagCounts(partition)];
        for (const user of own) keys.push(this.keys.userTags(partition, user));
        const args = [how, tag, `${limits.TAGS_PER_USER_MAX}`, ...own];
        return redis.durable.script("tags", change, keys, args) as Promise<number>;
      }),
    );
    if (changed.includes(-1)) throw tooMany(limits.TAGS_PER_USER_MAX);
    return changed.reduce((sum, count) => sum + count, 0);
  }

  private get keys() {
    return this.deps.redis.keys;
  }

  private partitionOf(user: string): number {
    return partitionOf(user, this.deps.partitions.user);
  }

  private read(command: string, args: string[]): Promise<unknown> {
    return this.deps.redis.durable.read("tags", command, args);
  }
}

export function tooMany(max: number): ChatifyError {
  return new ChatifyError("conflict", `one of the users would have more than ${max} tags`);
}

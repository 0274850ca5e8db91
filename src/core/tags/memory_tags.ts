/** Tags in memory: the double of RedisTags for the simulator and for tests of the API. */
import { type Partitions, partitionOf } from "../topology.ts";
import type { TagPage, Tags } from "./contract.ts";
import { tooMany } from "./redis_tags.ts";

export interface MemoryTagsDeps {
  readonly partitions: Partitions;
  readonly limits: { readonly TAGS_PER_USER_MAX: number };
}

export class MemoryTags implements Tags {
  private readonly byTag = new Map<string, Set<string>>();

  constructor(private readonly deps: MemoryTagsDeps) {}

  async add(tag: string, users: readonly string[]): Promise<number> {
    const max = this.deps.limits.TAGS_PER_USER_MAX;
    const held = this.byTag.get(tag) ?? new Set<string>();
    for (const user of users) {
      if (!held.has(user) && (await this.of(user)).length >= max) throw tooMany(max);
    }
    const before = held.size;
    for (const user of users) held.add(user);
    this.byTag.set(tag, held);
    return held.size - before;
  }

  async remove(tag: string, users: readonly string[]): Promise<number> {
    const held = this.byTag.get(tag) ?? new Set<string>();
    const removed = users.filter((user) => held.delete(user)).length;
    if (held.size === 0) this.byTag.delete(tag);
    return removed;
  }

  async list(): Promise<{ tag: string; users: number }[]> {
    const all = [...this.byTag].map(([tag, { size }]) => ({ tag, users: size }));
    return all.sort((a, b) => (a.tag < b.tag ? -1 : 1));
  }

  async of(user: string): Promise<string[]> {
    return [...this.byTag]
      .filter(([, users]) => users.has(user))
      .map(([tag]) => tag)
      .sort();
  }

  async users(tag: string, cursor: string | null, limit: number): Promise<TagPage> {
    const from = Number(cursor ?? 0);
    const all = [...(this.byTag.get(tag) ?? [])];
    const isLast = from + limit >= all.length;
    return { users: all.slice(from, from + limit), cursor: isLast ? null : `${from + limit}` };
  }

  async *usersIn(tag: string, partition: number): AsyncIterable<readonly string[]> {
    const users = [...(this.byTag.get(tag) ?? [])];
    const own = users.filter((user) => partitionOf(user, this.deps.partitions.user) === partition);
    if (own.length > 0) yield own;
  }
}

/**
 * What the owner of a chat partition knows of its conversations: the last seq, who blocks whom, and
 * group members already split by the partition of each member. All of it is a cache of Redis that
 * only its owner changes, so it is exact while the partition is owned, and dropped with it.
 */
import { GenerationCache } from "../../core/generation_cache.ts";
import type { Limits } from "../../core/limits.ts";
import type { Relations } from "../../core/relations/contract.ts";
import type { Streams } from "../../core/streams/contract.ts";
import { type Partitions, partitionOf } from "../../core/topology.ts";
import type { SeqRange } from "./seq_range.ts";

export interface GroupMembers {
  readonly all: ReadonlySet<string>;
  /** user partition → members in it */
  readonly byPartition: ReadonlyMap<number, readonly string[]>;
}

export interface Conversation {
  readonly id: string;
  /** The seq of the last numbered message; 0 when there is none. */
  seq: number;
  /** For two users: those who do not want to hear from the other. */
  readonly blockers: readonly string[];
  /** For a group: its members, or null when there is no such group. */
  readonly group: GroupMembers | null;
}

export interface ConversationsDeps {
  readonly partition: number;
  readonly streams: Streams;
  readonly relations: Relations;
  readonly partitions: Partitions;
  readonly limits: Limits;
  /** Conversations go on above `floor`; `given` hears of numbers that were given before. */
  readonly range: Pick<SeqRange, "floor" | "given">;
}

export class Conversations {
  private readonly deps: ConversationsDeps;
  private readonly users: GenerationCache<string, Conversation>;
  private readonly groups = new Map<string, Conversation>();
  private membersCached = 0;

  constructor(deps: ConversationsDeps) {
    this.deps = deps;
    this.users = new GenerationCache(
      Math.ceil(deps.limits.CONVERSATIONS_CACHED_MAX / deps.partitions.chat),
    );
  }

  /**
   * All of these conversations, loaded where they are not known, in two round trips at most. The
   * caller keeps the map for as long as it works on them: the cache may evict at any time.
   */
  async load(ids: ReadonlySet<string>): Promise<Map<string, Conversation>> {
    const found = new Map<string, Conversation>();
    const cold: string[] = [];
    for (const id of ids) {
      const known = isGroup(id) ? this.groups.get(id) : this.users.get(id);
      if (known === undefined) cold.push(id);
      else found.set(id, known);
    }
    if (cold.length > 0) await this.loadCold(cold, found);
    return found;
  }

  /**
   * The same for somebody who only looks, beside the owner's batches: what is loaded is not kept.
   * Two copies of a conversation in the cache would number it twice.
   */
  async peek(ids: ReadonlySet<string>): Promise<Map<string, Conversation>> {
    const found = new Map<string, Conversation>();
    const cold: string[] = [];
    for (const id of ids) {
      const known = this.groups.get(id) ?? this.users.get(id);
      if (known === undefined) cold.push(id);
      else found.set(id, known);
    }
    if (cold.length > 0) {
      for (const conversation of await this.fetch(cold)) found.set(conversation.id, conversation);
    }
    return found;
  }

  /** Something about the conversation changed in Redis: the next use loads it again. */
  forget(id: string): void {
    const group = this.groups.get(id);
    if (group !== undefined) {
      this.groups.delete(id);
      this.membersCached -= group.group?.all.size ?? 0;
    }
    this.users.delete(id);
  }

  /** Notices of changes may have been lost: everything is loaded again when it is used. */
  forgetAll(): void {
    for (const id of [...this.groups.keys()]) this.forget(id);
    this.users.clear();
  }

  private async loadCold(cold: string[], found: Map<string, Conversation>): Promise<void> {
    for (const conversation of await this.fetch(cold)) {
      if (isGroup(conversation.id)) this.rememberGroup(conversation);
      else this.users.set(conversation.id, conversation);
      found.set(conversation.id, conversation);
    }
  }

  private async fetch(cold: string[]): Promise<Conversation[]> {
    const { partition, relations, streams } = this.deps;
    const users = cold.filter((id) => !isGroup(id));
    const groups = cold.filter(isGroup);
    const [seqs, blockers, members] = await Promise.all([
      streams.mapGet("seq", "logic", partition, [...users, ...groups]),
      users.length > 0 ? relations.blockers(users) : [],
      groups.length > 0 ? relations.members(groups.map((id) => id.slice(2))) : [],
    ]);
    const { range } = this.deps;
    const seqOf = (i: number) => {
      const seq = Math.max(Number(seqs[i] ?? 0), range.floor);
      range.given(seq);
      return seq;
    };
    return [
      ...users.map((id, i) => ({ id, seq: seqOf(i), blockers: blockers[i] ?? [], group: null })),
      ...groups.map((id, i) => {
        const list = members[i] ?? null;
        const group = list === null ? null : this.split(list);
        return { id, seq: seqOf(users.length + i), blockers: [], group };
      }),
    ];
  }

  private rememberGroup(conversation: Conversation): void {
    this.groups.set(conversation.id, conversation);
    this.membersCached += conversation.group?.all.size ?? 0;
    const max = this.deps.limits.GROUP_MEMBERS_CACHED_MAX / this.deps.partitions.chat;
    for (const id of this.groups.keys()) {
      if (this.membersCached <= max || id === conversation.id) break;
      this.forget(id);
    }
  }

  private split(members: readonly string[]): GroupMembers {
    const byPartition = new Map<number, string[]>();
    for (const user of members) {
      const partition = partitionOf(user, this.deps.partitions.user);
      const list = byPartition.get(partition);
      if (list === undefined) byPartition.set(partition, [user]);
      else list.push(user);
    }
    return { all: new Set(members), byPartition };
  }
}

function isGroup(id: string): boolean {
  return id.startsWith("g:");
}

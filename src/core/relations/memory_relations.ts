/**
 * Relations in memory: the double of RedisRelations for the simulator and for tests of the API. One
 * contract suite runs against both.
 */
import type { Clock } from "../clock.ts";
import type { Limits } from "../limits.ts";
import { ChatifyError } from "../protocol/errors.ts";
import { conversationId } from "../protocol/message.ts";
import type { Group, Relations } from "./contract.ts";

interface HeldGroup {
  readonly ownerId: string;
  readonly createdAt: number;
  readonly members: Set<string>;
  version: number;
}

export interface MemoryRelationsDeps {
  readonly clock: Pick<Clock, "now">;
  readonly limits: Pick<Limits, "GROUP_MEMBERS_MAX">;
}

export class MemoryRelations implements Relations {
  private readonly groups = new Map<string, HeldGroup>();
  private readonly blocks = new Map<string, Set<string>>();
  private readonly blocked = new Map<string, Set<string>>();

  constructor(private readonly deps: MemoryRelationsDeps) {}

  async members(groupIds: readonly string[]): Promise<(readonly string[] | null)[]> {
    return groupIds.map((groupId) => {
      const held = this.groups.get(groupId);
      return held === undefined ? null : [...held.members];
    });
  }

  async group(groupId: string): Promise<Group | null> {
    const held = this.groups.get(groupId);
    return held === undefined ? null : groupOf(groupId, held);
  }

  async createGroup(groupId: string, ownerId: string, members: readonly string[]): Promise<Group> {
    const all = new Set([ownerId, ...members]);
    this.refuseMoreThanMax(groupId, all.size);
    if (this.groups.has(groupId)) {
      throw new ChatifyError("conflict", `group ${groupId} exists already`);
    }
    const createdAt = this.deps.clock.now();
    const held: HeldGroup = { ownerId, createdAt, members: all, version: 1 };
    this.groups.set(groupId, held);
    return groupOf(groupId, held);
  }

  async addMembers(groupId: string, userIds: readonly string[]): Promise<Group> {
    const held = this.require(groupId);
    const added = new Set(userIds.filter((user) => !held.members.has(user)));
    this.refuseMoreThanMax(groupId, held.members.size + added.size);
    for (const user of added) held.members.add(user);
    if (added.size > 0) held.version++;
    return groupOf(groupId, held);
  }

  async removeMembers(groupId: string, userIds: readonly string[]): Promise<Group> {
    const held = this.require(groupId);
    let removed = 0;
    for (const user of userIds) if (held.members.delete(user)) removed++;
    if (removed > 0) held.version++;
    return groupOf(groupId, held);
  }

  async deleteGroup(groupId: string): Promise<void> {
    this.require(groupId);
    this.groups.delete(groupId);
  }

  async blockers(conversationIds: readonly string[]): Promise<(readonly string[])[]> {
    return conversationIds.map((id) => [...(this.blocks.get(id) ?? [])]);
  }

  async block(blockerId: string, blockedId: string): Promise<void> {
    addTo(this.blocked, blockerId, blockedId);
    addTo(this.blocks, conversationId("USER", blockerId, blockedId), blockerId);
  }

  async unblock(blockerId: string, blockedId: string): Promise<void> {
    removeFrom(this.blocks, conversationId("USER", blockerId, blockedId), blockerId);
    removeFrom(this.blocked, blockerId, blockedId);
  }

  async blockedBy(blockerId: string): Promise<readonly string[]> {
    return [...(this.blocked.get(blockerId) ?? [])];
  }

  private require(groupId: string): HeldGroup {
    const held = this.groups.get(groupId);
    if (held === undefined) throw new ChatifyError("not_found", `there is no group ${groupId}`);
    return held;
  }

  private refuseMoreThanMax(groupId: string, count: number): void {
    const max = this.deps.limits.GROUP_MEMBERS_MAX;
    if (count <= max) return;
    throw new ChatifyError("group_full", `group ${groupId} would have more than ${max} members`);
  }
}

function groupOf(groupId: string, held: HeldGroup): Group {
  const { ownerId, version, createdAt, members } = held;
  return { groupId, ownerId, version, createdAt, memberCount: members.size };
}

function addTo(sets: Map<string, Set<string>>, key: string, value: string): void {
  const set = sets.get(key);
  if (set === undefined) sets.set(key, new Set([value]));
  else set.add(value);
}

function removeFrom(sets: Map<string, Set<string>>, key: string, value: string): void {
  const set = sets.get(key);
  set?.delete(value);
  if (set?.size === 0) sets.delete(key);
}

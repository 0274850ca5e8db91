/**
 * Relations in Redis. A group is a hash and a set, changed by one script at a time, so its members
 * and its version move together. Who blocks whom is stored by conversation, where the logic owner
 * looks; a second set by user answers "whom do I block". That set may live in another slot, so the
 * two are written one after the other, in the order that keeps the set a superset of the truth: a
 * block that is in force can be found and lifted. Repeating a call that failed halfway heals it;
 * only a block and an unblock of the same pair at the same time may leave the set short.
 */
import type { Clock } from "../clock.ts";
import type { Limits } from "../limits.ts";
import { ChatifyError } from "../protocol/errors.ts";
import { conversationId } from "../protocol/message.ts";
import type { RedisClient } from "../redis/client.ts";
import { type Script, script } from "../redis/script.ts";
import { type Partitions, partitionOf } from "../topology.ts";
import addMembersLua from "./add_members.lua" with { type: "text" };
import blockLua from "./block.lua" with { type: "text" };
import type { Group, Relations } from "./contract.ts";
import createGroupLua from "./create_group.lua" with { type: "text" };
import { RelationKeys } from "./relation_keys.ts";
import removeMembersLua from "./remove_members.lua" with { type: "text" };
import unblockLua from "./unblock.lua" with { type: "text" };

export interface RedisRelationsDeps {
  readonly redis: RedisClient;
  readonly partitions: Partitions;
  readonly clock: Clock;
  readonly limits: Pick<Limits, "GROUP_MEMBERS_MAX">;
}

/** What the scripts answer instead of a group. */
const NO_GROUP = -1;
const GROUP_EXISTS = -2;
const GROUP_FULL = -3;

const createGroup = script(createGroupLua);
const addMembers = script(addMembersLua);
const removeMembers = script(removeMembersLua);
const block = script(blockLua);
const unblock = script(unblockLua);

export class RedisRelations implements Relations {
  private readonly keys: RelationKeys;

  constructor(private readonly deps: RedisRelationsDeps) {
    this.keys = new RelationKeys(deps.redis.keys, deps.partitions);
  }

  async members(groupIds: readonly string[]): Promise<(readonly string[] | null)[]> {
    return Promise.all(
      groupIds.map(async (groupId) => {
        const [exists, members] = await Promise.all([
          this.read("relations_members", "EXISTS", [this.keys.group(groupId)]),
          this.read("relations_members", "SMEMBERS", [this.keys.members(groupId)]),
        ]);
        return exists === 1 ? (members as string[]) : null;
      }),
    );
  }

  async group(groupId: string): Promise<Group | null> {
    const key = this.keys.group(groupId);
    const [fields, count] = await Promise.all([
      this.read("relations_group", "HMGET", [key, "owner", "version", "created"]),
      this.read("relations_group", "SCARD", [this.keys.members(groupId)]),
    ]);
    const [owner, version, created] = fields as (string | null)[];
    if (owner == null || version == null || created == null) return null;
    return groupOf(groupId, [owner, version, created, count as number]);
  }

  async createGroup(groupId: string, ownerId: string, members: readonly string[]): Promise<Group> {
    const all = new Set([ownerId, ...members]);
    if (all.size > this.deps.limits.GROUP_MEMBERS_MAX) throw this.refusal(GROUP_FULL, groupId);
    const args = [ownerId, String(this.deps.clock.now()), ...all];
    return this.changeGroup("relations_create_group", createGroup, groupId, args);
  }

  async addMembers(groupId: string, userIds: readonly string[]): Promise<Group> {
    const args = [String(this.deps.limits.GROUP_MEMBERS_MAX), ...new Set(userIds)];
    return this.changeGroup("relations_add_members", addMembers, groupId, args);
  }

  async removeMembers(groupId: string, userIds: readonly string[]): Promise<Group> {
    return this.changeGroup("relations_remove_members", removeMembers, groupId, userIds);
  }

  async deleteGroup(groupId: string): Promise<void> {
    const keys = [this.keys.group(groupId), this.keys.members(groupId)];
    const deleted = await this.write("relations_delete_group", "DEL", keys);
    if (deleted === 0) throw this.refusal(NO_GROUP, groupId);
  }

  async blockers(conversationIds: readonly string[]): Promise<(readonly string[])[]> {
    const byPartition = new Map<number, string[]>();
    for (const id of conversationIds) {
      const partition = partitionOf(id, this.deps.partitions.chat);
      const ids = byPartition.get(partition);
      if (ids === undefined) byPartition.set(partition, [id]);
      else ids.push(id);
    }
    const replies = await Promise.all(
      [...byPartition].map(([p, ids]) =>
        this.read("relations_blockers", "HMGET", [this.keys.blocks(p), ...ids]),
      ),
    );
    const found = new Map<string, readonly string[]>();
    for (const [i, ids] of [...byPartition.values()].entries()) {
      for (const [j, text] of (replies[i] as (string | null)[]).entries()) {
        if (text !== null) found.set(ids[j] ?? "", JSON.parse(text) as string[]);
      }
    }
    return conversationIds.map((id) => found.get(id) ?? []);
  }

  async block(blockerId: string, blockedId: string): Promise<void> {
    const conversation = conversationId("USER", blockerId, blockedId);
    const key = this.keys.blocks(partitionOf(conversation, this.deps.partitions.chat));
    await this.write("relations_block", "SADD", [this.keys.blockedBy(blockerId), blockedId]);
    await this.run("relations_block", block, [key], [conversation, blockerId]);
  }

  async unblock(blockerId: string, blockedId: string): Promise<void> {
    const conversation = conversationId("USER", blockerId, blockedId);
    const key = this.keys.blocks(partitionOf(conversation, this.deps.partitions.chat));
    await this.run("relations_unblock", unblock, [key], [conversation, blockerId]);
    await this.write("relations_unblock", "SREM", [this.keys.blockedBy(blockerId), blockedId]);
  }

  async blockedBy(blockerId: string): Promise<readonly string[]> {
    const keys = [this.keys.blockedBy(blockerId)];
    return (await this.read("relations_blocked_by", "SMEMBERS", keys)) as string[];
  }

  private async changeGroup(
    operation: string,
    change: Script,
    groupId: string,
    args: readonly string[],
  ): Promise<Group> {
    const keys = [this.keys.group(groupId), this.keys.members(groupId)];
    const reply = await this.run(operation, change, keys, args);
    if (typeof reply === "number") throw this.refusal(reply, groupId);
    return groupOf(groupId, reply as GroupReply);
  }

  private refusal(reply: number, groupId: string): ChatifyError {
    const max = this.deps.limits.GROUP_MEMBERS_MAX;
    if (reply === NO_GROUP) return new ChatifyError("not_found", `there is no group ${groupId}`);
    if (reply === GROUP_EXISTS) {
      return new ChatifyError("conflict", `group ${groupId} exists already`);
    }
    if (reply !== GROUP_FULL) throw new Error(`a relations script answered ${reply}`);
    const message = `group ${groupId} would have more than ${max} members`;
    return new ChatifyError("group_full", message);
  }

  /** On the connection that writes, so that what was written in this turn is seen. */
  private read(operation: string, command: string, args: string[]): Promise<unknown> {
    return this.deps.redis.durable.read(operation, command, args);
  }

  private write(operation: string, command: string, args: string[]): Promise<unknown> {
    return this.deps.redis.durable.write(operation, command, args);
  }

  private run(
    operation: string,
    code: Script,
    keys: string[],
    args: readonly string[],
  ): Promise<unknown> {
    return this.deps.redis.durable.script(operation, code, keys, [...args]);
  }
}

type GroupReply = [owner: string, version: string, created: string, count: number];

function groupOf(groupId: string, [ownerId, version, created, memberCount]: GroupReply): Group {
  const createdAt = Number(created);
  return { groupId, ownerId, version: Number(version), createdAt, memberCount };
}

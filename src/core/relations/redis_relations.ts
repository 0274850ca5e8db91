/**
 * Relations in Redis. A group is a hash and a set, changed by one script at a time, so its members
 * and its version move together. Who blocks whom is stored by conversation, where the logic owner
 * looks; a second set by user answers "whom do I block". That set may live in another slot, so the
 * two are written one after the other, in the order that keeps the set a superset of the truth: a
 * block that is in force can be found and lifted. Repeating a call that failed halfway heals it;
 * only a block and an unblock of the same pair at the same time may leave the set short.
 */
import type { ChainableCommander, Redis } from "ioredis";
import type { Clock } from "../clock.ts";
import type { Limits } from "../limits.ts";
import { ChatifyError } from "../protocol/errors.ts";
import { conversationId } from "../protocol/message.ts";
import { type Script, script } from "../redis/lane.ts";
import { replyCode, toChatifyError } from "../redis/redis_error.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import { type Partitions, partitionOf } from "../topology.ts";
import addMembersLua from "./add_members.lua" with { type: "text" };
import blockLua from "./block.lua" with { type: "text" };
import type { Group, Relations } from "./contract.ts";
import createGroupLua from "./create_group.lua" with { type: "text" };
import { RelationKeys } from "./relation_keys.ts";
import removeMembersLua from "./remove_members.lua" with { type: "text" };
import unblockLua from "./unblock.lua" with { type: "text" };

export interface RedisRelationsDeps {
  /** `RedisClient.commands`, or any connection that does not block. */
  readonly redis: Redis;
  readonly partitions: Partitions;
  readonly clock: Clock;
  readonly telemetry: Pick<Telemetry, "metrics">;
  readonly limits: Pick<Limits, "GROUP_MEMBERS_MAX">;
  readonly prefix: string;
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
  private readonly redis: Redis;
  private readonly keys: RelationKeys;

  constructor(private readonly deps: RedisRelationsDeps) {
    this.redis = deps.redis;
    this.keys = new RelationKeys(deps.prefix, deps.partitions);
  }

  async members(groupIds: readonly string[]): Promise<(readonly string[] | null)[]> {
    if (groupIds.length === 0) return [];
    const pipeline = this.redis.pipeline();
    for (const groupId of groupIds) {
      pipeline.exists(this.keys.group(groupId)).smembers(this.keys.members(groupId));
    }
    const replies = await this.read("relations_members", pipeline);
    return groupIds.map((_, i) =>
      replies[2 * i] === 1 ? (replies[2 * i + 1] as readonly string[]) : null,
    );
  }

  async group(groupId: string): Promise<Group | null> {
    const pipeline = this.redis
      .pipeline()
      .hmget(this.keys.group(groupId), "owner", "version", "created")
      .scard(this.keys.members(groupId));
    const [fields, count] = await this.read("relations_group", pipeline);
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
    const deleted = await this.write("relations_delete_group", () => this.redis.del(...keys));
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
    if (byPartition.size === 0) return [];
    const pipeline = this.redis.pipeline();
    for (const [p, ids] of byPartition) pipeline.hmget(this.keys.blocks(p), ...ids);
    const replies = await this.read("relations_blockers", pipeline);
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
    await this.write("relations_block", async () => {
      await this.redis.sadd(this.keys.blockedBy(blockerId), blockedId);
      await run(this.redis, block, [key], [conversation, blockerId]);
    });
  }

  async unblock(blockerId: string, blockedId: string): Promise<void> {
    const conversation = conversationId("USER", blockerId, blockedId);
    const key = this.keys.blocks(partitionOf(conversation, this.deps.partitions.chat));
    await this.write("relations_unblock", async () => {
      await run(this.redis, unblock, [key], [conversation, blockerId]);
      await this.redis.srem(this.keys.blockedBy(blockerId), blockedId);
    });
  }

  async blockedBy(blockerId: string): Promise<readonly string[]> {
    const pipeline = this.redis.pipeline().smembers(this.keys.blockedBy(blockerId));
    const [blocked] = await this.read("relations_blocked_by", pipeline);
    return blocked as string[];
  }

  private async changeGroup(
    operation: string,
    change: Script,
    groupId: string,
    args: readonly string[],
  ): Promise<Group> {
    const keys = [this.keys.group(groupId), this.keys.members(groupId)];
    const reply = await this.write(operation, () => run(this.redis, change, keys, args));
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

  /** The replies of a pipeline; one that failed fails them all. */
  private async read(operation: string, pipeline: ChainableCommander): Promise<unknown[]> {
    return this.timed(operation, true, async () => {
      const replies = (await pipeline.exec()) ?? [];
      return replies.map(([error, reply]) => {
        if (error !== null) throw error;
        return reply;
      });
    });
  }

  private write<T>(operation: string, work: () => Promise<T>): Promise<T> {
    return this.timed(operation, false, work);
  }

  private async timed<T>(operation: string, readOnly: boolean, work: () => Promise<T>): Promise<T> {
    const { clock, telemetry } = this.deps;
    const start = clock.monotonic();
    try {
      return await work();
    } catch (error) {
      telemetry.metrics.redisErrors.inc({ operation });
      throw toChatifyError(error, operation, readOnly);
    } finally {
      telemetry.metrics.redisLatency.observe({ operation }, (clock.monotonic() - start) / 1_000);
    }
  }
}

type GroupReply = [owner: string, version: string, created: string, count: number];

function groupOf(groupId: string, [ownerId, version, created, memberCount]: GroupReply): Group {
  const createdAt = Number(created);
  return { groupId, ownerId, version: Number(version), createdAt, memberCount };
}

/** Sends a script by its hash, and its text where Redis does not know it: nothing was done then. */
async function run(
  redis: Redis,
  { sha, text }: Script,
  keys: readonly string[],
  args: readonly string[],
): Promise<unknown> {
  try {
    return await redis.evalsha(sha, keys.length, ...keys, ...args);
  } catch (error) {
    if (replyCode(error) !== "NOSCRIPT") throw error;
    return redis.eval(text, keys.length, ...keys, ...args);
  }
}

/**
 * Relations: groups and block lists, in Redis. The truth is here; the logic owner of a conversation
 * caches what it needs of it, and every change also appends an internal item to that conversation's
 * `chat_input` partition, so the owner forgets its copy in stream order: a message accepted after a
 * change was answered is judged by the changed relations, whoever judges it.
 *
 * All keys of a conversation carry the tag of its chat partition. Group ids and user ids are valid
 * ids of the protocol. Changes to one group are atomic, and each raises its version.
 */

export interface Group {
  readonly groupId: string;
  readonly ownerId: string;
  readonly version: number;
  /** Unix ms. */
  readonly createdAt: number;
  readonly memberCount: number;
}

export interface Relations {
  /** Members of each group, in order; null where there is no such group. */
  members(groupIds: readonly string[]): Promise<(readonly string[] | null)[]>;
  group(groupId: string): Promise<Group | null>;
  /** Rejects with `conflict` when the group exists, `group_full` past GROUP_MEMBERS_MAX. */
  createGroup(groupId: string, ownerId: string, members: readonly string[]): Promise<Group>;
  /** Adds users; those who are members already stay. `not_found`, `group_full`. */
  addMembers(groupId: string, userIds: readonly string[]): Promise<Group>;
  /** Removes users; those who are no members are ignored. `not_found`. */
  removeMembers(groupId: string, userIds: readonly string[]): Promise<Group>;
  /** `not_found` when there is none. */
  deleteGroup(groupId: string): Promise<void>;
  /** Who blocks the other side in each USER conversation, in order; usually nobody. */
  blockers(conversationIds: readonly string[]): Promise<(readonly string[])[]>;
  block(blockerId: string, blockedId: string): Promise<void>;
  unblock(blockerId: string, blockedId: string): Promise<void>;
  /** Whom a user blocks, in no particular order. */
  blockedBy(blockerId: string): Promise<readonly string[]>;
}

/**
 * The Redis keys of relations. What a script changes together carries one hash tag: the chat
 * partition of the conversation, or the user partition of the user who asks.
 */
import { conversationId } from "../protocol/message.ts";
import { type Partitions, partitionOf } from "../topology.ts";

export class RelationKeys {
  /** Comes before every key: empty, or the prefix and a colon, as in Keys. */
  private readonly before: string;

  constructor(
    prefix: string,
    private readonly partitions: Partitions,
  ) {
    this.before = prefix === "" ? "" : `${prefix}:`;
  }

  /** Hash: owner, version, created. */
  group(groupId: string): string {
    return `${this.before}group:{${this.groupPartition(groupId)}}:${groupId}`;
  }

  /** Set of user ids. */
  members(groupId: string): string {
    return `${this.before}members:{${this.groupPartition(groupId)}}:${groupId}`;
  }

  /** Hash: conversation id → JSON array of the users who block the other side. */
  blocks(chatPartition: number): string {
    return `${this.before}blocks:{${chatPartition}}`;
  }

  /** Set of those whom a user blocks. */
  blockedBy(userId: string): string {
    const partition = partitionOf(userId, this.partitions.user);
    return `${this.before}blocked_by:{${partition}}:${userId}`;
  }

  private groupPartition(groupId: string): number {
    return partitionOf(conversationId("GROUP", "", groupId), this.partitions.chat);
  }
}

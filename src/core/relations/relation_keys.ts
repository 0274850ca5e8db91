/**
 * Where the relations of a conversation or a user are: in the slot of the chat partition of the
 * conversation, or of the user partition of the user who asks.
 */
import { conversationId } from "../protocol/message.ts";
import type { Keys } from "../redis/keys.ts";
import { type Partitions, partitionOf } from "../topology.ts";

export class RelationKeys {
  constructor(
    private readonly keys: Keys,
    private readonly partitions: Partitions,
  ) {}

  group(groupId: string): string {
    return this.keys.group(this.groupPartition(groupId), groupId);
  }

  members(groupId: string): string {
    return this.keys.members(this.groupPartition(groupId), groupId);
  }

  blocks(chatPartition: number): string {
    return this.keys.blocks(chatPartition);
  }

  blockedBy(userId: string): string {
    return this.keys.blockedBy(partitionOf(userId, this.partitions.user), userId);
  }

  private groupPartition(groupId: string): number {
    return partitionOf(conversationId("GROUP", "", groupId), this.partitions.chat);
  }
}

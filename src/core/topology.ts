/**
 * The data map: every stream, who writes it, which consumer group reads it, what its partition key
 * is and why. Read this first; the rest of the code fills it in.
 */

export const ROLES = ["gateway", "access", "logic", "push", "offline"] as const;
export type Role = (typeof ROLES)[number];

/** The consumer groups are named after the role that reads. */
export type ConsumerGroup = "logic" | "push";

export interface StreamTopic {
  readonly producers: readonly Role[];
  /** null: read by the operator (dead_letter) or by the operator's own consumers (data_report). */
  readonly group: ConsumerGroup | null;
  readonly partitionKey: "conversation" | "user" | "none";
  /** Which of the two partition counts applies; a topic without a key has one partition. */
  readonly partitions: "chat" | "user" | 1;
}

export const TOPICS = {
  /** Uplink. One owner numbers a conversation, so its order is decided once. */
  chat_input: {
    producers: ["access", "logic"],
    group: "logic",
    partitionKey: "conversation",
    partitions: "chat",
  },
  /** Resolved deliveries. One owner serialises everything for a user. */
  push_task: { producers: ["logic"], group: "push", partitionKey: "user", partitions: "user" },
  /** Online and offline events meet a user's messages at the same owner, so they cannot race. */
  user_state: {
    producers: ["access", "offline"],
    group: "push",
    partitionKey: "user",
    partitions: "user",
  },
  /** DATAREPORT messages, for the operator's own consumers; bounded by DATA_REPORT_ENTRIES_MAX. */
  data_report: { producers: ["logic"], group: null, partitionKey: "none", partitions: 1 },
  /** What webhooks and Web Push are to tell; taken by the offline role, bounded at its producers. */
  webhooks: { producers: ["logic", "push"], group: null, partitionKey: "none", partitions: 1 },
  /** Entries that could not be processed, with the reason; bounded, inspected with the CLI. */
  dead_letter: { producers: ["logic", "push"], group: null, partitionKey: "none", partitions: 1 },
} as const satisfies Record<string, StreamTopic>;

export type Topic = keyof typeof TOPICS;

/** The topics that a consumer group reads, each as `topic:{partition}`. */
export const GROUP_TOPICS: Record<ConsumerGroup, readonly Topic[]> = {
  logic: ["chat_input"],
  push: ["user_state", "push_task"],
};

/** Deploy-time partition counts; recorded in Redis at first start and checked at each later one. */
export interface Partitions {
  readonly chat: number;
  readonly user: number;
}

export function partitionCount(partitions: Partitions, group: ConsumerGroup): number {
  return group === "logic" ? partitions.chat : partitions.user;
}

/** Partition of a conversation (logic) or of a user (push): xxHash32 modulo the count. */
export function partitionOf(key: string, count: number): number {
  return Bun.hash.xxHash32(key) % count;
}

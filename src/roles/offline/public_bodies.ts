/** What the public routes of the offline role take. Numbers may arrive as strings. */
import * as z from "zod";
import { LIMITS } from "../../core/limits.ts";
import type { OfflineRow } from "../../core/offline/contract.ts";
import { CONTENT_CHARS_MAX, conversationId, Message, UserId } from "../../core/protocol/message.ts";

/** Most messages or message ids of one call; more: 413. */
export const BATCH_MAX = 1_000;
const PAGE_SIZE = 100;

const wholeNumber = z
  .union([
    z.int(),
    z
      .string()
      .regex(/^\d{1,15}$/, "expected digits")
      .transform(Number),
  ])
  .pipe(z.int().nonnegative());

export const RetrieveQuery = z.object({
  user_id: UserId,
  /** The last message the caller has; empty: from the oldest one on. */
  last_message_id: z.string().max(40).default(""),
  page_size: wholeNumber.pipe(z.int().min(1).max(LIMITS.RETRIEVE_PAGE_MAX)).default(PAGE_SIZE),
});

export const RetrieveAnswer = z.object({
  messages: z.array(Message),
  /** The last one of this page when there are more; null when this was the last page. */
  next_message_id: z.string().nullable(),
  has_more: z.boolean(),
});

const MessageIds = z.array(Message.shape.msg_id);

export const AcknowledgeBody = z
  .object({
    user_id: UserId,
    msg_ids: MessageIds.optional(),
    /** The name that the succeeded system used. */
    message_ids: MessageIds.optional(),
  })
  .transform(({ user_id, msg_ids, message_ids }, context) => {
    const ids = msg_ids ?? message_ids;
    if (ids !== undefined) return { user_id, msg_ids: ids };
    context.issues.push({ code: "custom", input: ids, path: ["msg_ids"], message: "is missing" });
    return z.NEVER;
  });

export const AcknowledgeAnswer = z.object({ acknowledged: z.int() });

/** A message as callers have it who know nothing of conversations and sequence numbers. */
const ArchivedMessage = Message.extend({
  content: z.string().max(CONTENT_CHARS_MAX),
  timestamp: wholeNumber,
  expire_time: wholeNumber.default(0),
  content_id: z.string().default(""),
  conversation_id: z.string().default(""),
  seq: wholeNumber.default(0),
  client_msg_id: z.string().default(""),
}).transform((message): Message => {
  const {
    conversation_id: given,
    target_type: target,
    from_user_id: from,
    to_user_id: to,
  } = message;
  if (given !== "" || target === "SYSTEM") return message;
  return { ...message, conversation_id: conversationId(target, from, to) };
});

export const ArchiveBody = z.object({ user_id: UserId, messages: z.array(ArchivedMessage) });

export const ArchiveAnswer = z.object({ archived: z.int() });

export function toRow(userId: string, message: Message, storedAt: number): OfflineRow {
  return {
    user_id: userId,
    msg_id: message.msg_id,
    conversation_id: message.conversation_id,
    seq: message.seq,
    expire_time: message.expire_time,
    stored_at: storedAt,
    message: JSON.stringify(message),
  };
}

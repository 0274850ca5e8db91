/**
 * The message, as every role and every client knows it. Times are unix seconds. The field names are
 * those of the system that Chatify succeeds; `conversation_id`, `seq` and `client_msg_id` are added.
 */
import * as z from "zod";

/** Longest user, group or device id, in characters. */
export const ID_CHARS_MAX = 128;
/** Longest message ids, a client's and ours, in UTF-16 code units. */
export const CLIENT_MSG_ID_CHARS_MAX = 64;
export const MSG_ID_CHARS_MAX = 40;
/** Longest message body, in UTF-16 code units as JSON carries it. */
export const CONTENT_CHARS_MAX = 65_536;

// Ids are opaque, but spaces, control characters and the separators used in keys are refused.
const idPattern = /^[^\s:{}"\\\p{Cc}]+$/u;

export const UserId = z.string().min(1).max(ID_CHARS_MAX).regex(idPattern).meta({
  description: 'Opaque id: 1–128 characters, no white space, control characters, or : { } " \\',
});
export const GroupId = UserId;
export const DeviceId = z.string().min(1).max(64).regex(idPattern);
export const ClientMsgId = z.string().min(1).max(CLIENT_MSG_ID_CHARS_MAX);
export const MsgId = z.string().min(1).max(MSG_ID_CHARS_MAX);

export const MessageType = z.enum(["CHAT", "DATAREPORT", "CONTROL"]);
export const TargetType = z.enum(["USER", "GROUP", "SYSTEM"]);
export type MessageType = z.infer<typeof MessageType>;
export type TargetType = z.infer<typeof TargetType>;

export const Message = z.object({
  msg_id: MsgId,
  message_type: MessageType,
  from_user_id: z.string(),
  target_type: TargetType,
  /** The recipient: a user id, or a group id when `target_type` is GROUP. */
  to_user_id: z.string(),
  content: z.string(),
  timestamp: z.int().nonnegative(),
  /** Unix seconds after which the message is not delivered any more; 0 means never. */
  expire_time: z.int().nonnegative(),
  /** The caller's own id of the content of a system push; empty for chat. */
  content_id: z.string(),
  conversation_id: z.string(),
  /** Position in the conversation, from 1; 0 for what is not numbered (system push). */
  seq: z.int().nonnegative(),
  /** The sender's idempotency key; empty for system push. */
  client_msg_id: z.string(),
  /** Present on a system push only: the caller's category, such as NOTICE (1) or INFORM (2). */
  push_type: z.union([z.int(), z.string()]).optional(),
});
export type Message = z.infer<typeof Message>;

/**
 * The conversation that two users share, the same from either side, or that of a group.
 * `:` cannot stand in an id, so the parts never run into each other.
 */
export function conversationId(target: "USER" | "GROUP", from: string, to: string): string {
  if (target === "GROUP") return `g:${to}`;
  return from < to ? `u:${from}:${to}` : `u:${to}:${from}`;
}

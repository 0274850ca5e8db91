/**
 * The frames of the WebSocket protocol `chatify.v1`. A WebSocket text message holds one frame or an
 * array of frames, both ways. docs/PROTOCOL.md is the prose of this file; a test holds its examples
 * against these schemas and another holds the schemas against a recorded hash, so that a change of
 * the wire is a decision.
 */
import * as z from "zod";
import { ClientMsgId, CONTENT_CHARS_MAX, Message, MsgId, UserId } from "./message.ts";

export const SUBPROTOCOL = "chatify.v1";
export const WEBSOCKET_PATH = "/chatify/access/v1/ws";

/** Most frames in one WebSocket message. */
export const FRAMES_PER_MESSAGE_MAX = 256;
/** Most message ids in one ack frame. */
export const MSG_IDS_PER_ACK_MAX = 1_000;

/** Most users in one watch frame. */
export const WATCHED_USERS_MAX = 100;
/** How long a watch lasts. */
export const WATCH_TTL_MS = 300_000;

const Target = { target_type: z.enum(["USER", "GROUP"]).default("USER"), to_user_id: UserId };

export const SendFrame = z.strictObject({
  type: z.literal("send"),
  client_msg_id: ClientMsgId,
  message_type: z.enum(["CHAT", "DATAREPORT", "CONTROL"]).default("CHAT"),
  ...Target,
  content: z.string().max(CONTENT_CHARS_MAX),
  expire_time: z.int().nonnegative().default(0),
});
export const AckFrame = z.strictObject({
  type: z.literal("ack"),
  msg_ids: z.array(MsgId).min(1).max(MSG_IDS_PER_ACK_MAX),
});
export const TypingFrame = z.strictObject({ type: z.literal("typing"), ...Target });
export const ReadFrame = z.strictObject({
  type: z.literal("read"),
  ...Target,
  seq: z.int().positive(),
});
/**
 * Asks for the presence of these users from now on: one `presence` frame each at once, and one at
 * each change. A watch lasts WATCH_TTL_MS; watching again renews it.
 */
export const WatchFrame = z.strictObject({
  type: z.literal("watch"),
  user_ids: z.array(UserId).min(1).max(WATCHED_USERS_MAX),
});
export const PingFrame = z.strictObject({ type: z.literal("ping") });

export const ClientFrame = z.discriminatedUnion("type", [
  SendFrame,
  AckFrame,
  TypingFrame,
  ReadFrame,
  WatchFrame,
  PingFrame,
]);
export type ClientFrame = z.infer<typeof ClientFrame>;
export type SendFrame = z.infer<typeof SendFrame>;
export type AckFrame = z.infer<typeof AckFrame>;
/** What a client may leave out is optional here. */
export type ClientFrameInput = z.input<typeof ClientFrame>;
export type SendFrameInput = z.input<typeof SendFrame>;

const Coded = {
  code: z.string(),
  message: z.string(),
  retryable: z.boolean(),
  retry_after_ms: z.int().nonnegative().optional(),
};

export const WelcomeFrame = z.object({
  type: z.literal("welcome"),
  user_id: z.string(),
  device_id: z.string(),
  connection_id: z.string(),
  /** Grows each time this device is registered; a later session has a larger one. */
  epoch: z.int(),
  server_time: z.int(),
  heartbeat_ms: z.int(),
  limits: z.object({
    frame_bytes_max: z.int(),
    content_chars_max: z.int(),
    frames_per_message_max: z.int(),
    messages_per_second: z.number(),
    unacked_max: z.int(),
  }),
});
export const AcceptedFrame = z.object({ type: z.literal("accepted"), client_msg_id: z.string() });
export const SentFrame = z.object({
  type: z.literal("sent"),
  client_msg_id: z.string(),
  msg_id: z.string(),
  conversation_id: z.string(),
  seq: z.int(),
  timestamp: z.int(),
});
export const RejectedFrame = z.object({
  type: z.literal("rejected"),
  client_msg_id: z.string(),
  ...Coded,
});
export const MessageFrame = z.object({ type: z.literal("message"), message: Message });
export const TypingEvent = z.object({
  type: z.literal("typing"),
  from_user_id: z.string(),
  target_type: z.enum(["USER", "GROUP"]),
  to_user_id: z.string(),
});
export const ReadEvent = z.object({ ...TypingEvent.shape, type: z.literal("read"), seq: z.int() });
export const PresenceFrame = z.object({
  type: z.literal("presence"),
  user_id: z.string(),
  online: z.boolean(),
});
export const PongFrame = z.object({ type: z.literal("pong"), server_time: z.int() });
export const ErrorFrame = z.object({ type: z.literal("error"), ...Coded });
export const ByeFrame = z.object({
  type: z.literal("bye"),
  reason: z.string(),
  /** Wait this long before connecting again; absent when coming back will not help. */
  reconnect_after_ms: z.int().nonnegative().optional(),
});

export const ServerFrame = z.discriminatedUnion("type", [
  WelcomeFrame,
  AcceptedFrame,
  SentFrame,
  RejectedFrame,
  MessageFrame,
  TypingEvent,
  ReadEvent,
  PresenceFrame,
  PongFrame,
  ErrorFrame,
  ByeFrame,
]);
export type ServerFrame = z.infer<typeof ServerFrame>;

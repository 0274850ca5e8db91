/** The frames that the gateway itself says, encoded. All others pass through it as text. */
import type { Limits } from "../../core/limits.ts";
import {
  CLOSE_CODES,
  type CloseReason,
  ERRORS,
  type ErrorCode,
  mayReconnect,
} from "../../core/protocol/errors.ts";
import { FRAMES_PER_MESSAGE_MAX, type ServerFrame } from "../../core/protocol/frames.ts";
import { CONTENT_CHARS_MAX } from "../../core/protocol/message.ts";
import type { NodeId } from "../../core/trunk/node_id.ts";
import type { Connection } from "./connection.ts";

const encode = (frame: ServerFrame): string => JSON.stringify(frame);

export function welcomeFrame(conn: Connection, self: NodeId, now: number, limits: Limits): string {
  return encode({
    type: "welcome",
    user_id: conn.user,
    device_id: conn.device,
    connection_id: `${self}-${conn.id}`,
    epoch: conn.epoch,
    server_time: unixSeconds(now),
    heartbeat_ms: limits.HEARTBEAT_MS,
    limits: {
      frame_bytes_max: limits.FRAME_BYTES_MAX,
      content_chars_max: CONTENT_CHARS_MAX,
      frames_per_message_max: FRAMES_PER_MESSAGE_MAX,
      messages_per_second: limits.MESSAGES_PER_SECOND,
      unacked_max: limits.UNACKED_PER_SESSION_MAX,
    },
  });
}

export function pongFrame(now: number): string {
  return `{"type":"pong","server_time":${unixSeconds(now)}}`;
}

export function errorFrame(code: ErrorCode, message: string, retryAfterMs?: number): string {
  return encode({ type: "error", ...coded(code, message, retryAfterMs) });
}

export function rejectedFrame(
  clientMsgId: string,
  code: ErrorCode,
  message: string,
  retryAfterMs?: number,
): string {
  const body = coded(code, message, retryAfterMs);
  return encode({ type: "rejected", client_msg_id: clientMsgId, ...body });
}

/** `reconnectAfterMs` is left out where the close code says that coming back will not help. */
export function byeFrame(reason: CloseReason, reconnectAfterMs: number): string {
  const again = mayReconnect(CLOSE_CODES[reason]);
  const wait = { reconnect_after_ms: Math.round(reconnectAfterMs) };
  return encode({ type: "bye", reason, ...(again ? wait : {}) });
}

function coded(code: ErrorCode, message: string, retryAfterMs: number | undefined) {
  const { retryable } = ERRORS[code];
  const wait = retryAfterMs === undefined ? {} : { retry_after_ms: retryAfterMs };
  return { code, message, retryable, ...wait };
}

/** Times of the protocol are unix seconds. */
function unixSeconds(ms: number): number {
  return Math.floor(ms / 1_000);
}

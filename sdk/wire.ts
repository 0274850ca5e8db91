/**
 * Constants of the wire. They are written again here, and checked by type, because importing their
 * values would bring the server's schema library into the browser bundle.
 */
import type * as frames from "../src/core/protocol/frames.ts";
import type * as message from "../src/core/protocol/message.ts";

export const SUBPROTOCOL = "chatify.v1" satisfies typeof frames.SUBPROTOCOL;
export const WEBSOCKET_PATH = "/chatify/access/v1/ws" satisfies typeof frames.WEBSOCKET_PATH;
export const FRAMES_PER_MESSAGE_MAX = 256 satisfies typeof frames.FRAMES_PER_MESSAGE_MAX;
export const MSG_IDS_PER_ACK_MAX = 1_000 satisfies typeof frames.MSG_IDS_PER_ACK_MAX;
export const WATCHED_USERS_MAX = 100 satisfies typeof frames.WATCHED_USERS_MAX;
export const WATCH_TTL_MS = 300_000 satisfies typeof frames.WATCH_TTL_MS;
export const CONTENT_CHARS_MAX = 65_536 satisfies typeof message.CONTENT_CHARS_MAX;
/** Longest client_msg_id; the server's schema has it as a bare number. */
export const CLIENT_MSG_ID_CHARS_MAX = 64;
/** Largest WebSocket message until `welcome` has said otherwise. */
export const FRAME_BYTES_MAX = 1_048_576;

/** Whether HTTP allows `text` as a subprotocol (RFC 9110, 5.6.2); a JWT always is. */
export function isSubprotocol(text: string): boolean {
  return /^[\w!#$%&'*+.^`|~-]+$/.test(text);
}

/** The WebSocket address for what the caller gave: any of http, https, ws, wss; path optional. */
export function websocketUrl(url: string, deviceId: string): string {
  const address = new URL(url);
  address.protocol = address.protocol.replace("http", "ws");
  if (address.pathname === "/") address.pathname = WEBSOCKET_PATH;
  address.searchParams.set("device_id", deviceId);
  return address.href;
}

import type { Message } from "../src/core/protocol/message.ts";
import type { ChatifyClientError } from "./client_error.ts";
import type { SdkClock } from "./clock.ts";

/** What the SDK uses of a WebSocket; the browser's, Bun's and Node's all fit. */
export interface SocketLike {
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  onerror: (() => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}
export type SocketConstructor = new (url: string, protocols: string[]) => SocketLike;

export interface ConnectOptions {
  /** Of the gateway: `https://chat.example`, or the full `wss://…/chatify/access/v1/ws`. */
  url: string;
  /** A function is asked again before every connection, so it may return fresh tokens. */
  token: string | (() => string | Promise<string>);
  /** One per installation. Without it each client is a device of its own, new at every start. */
  deviceId?: string;
  /** Default: the platform's. */
  WebSocket?: SocketConstructor;
  clock?: SdkClock;
  /** Uniform in [0, 1): spreads the reconnects. */
  random?: () => number;
  /** Sends that may wait for `sent`; one more is rejected with `overloaded`. Default 1 000. */
  queueMax?: number;
  /**
   * From send() to its rejection when nothing else decided, in milliseconds. Default 60 000; at
   * most 24 hours, because the server forgets a client_msg_id after that and a retry would be a
   * second message.
   */
  sendDeadlineMs?: number;
  /**
   * Sends to one target that may be on the wire unaccepted. Default 1, which keeps their order
   * whatever the server refuses in between. More is faster on a long link; then a send that was
   * refused and tried again may come after one that followed it.
   */
  unacceptedPerTargetMax?: number;
  /**
   * Conversations whose last seq is remembered. Default 10 000. Beyond it the one that was silent
   * longest is forgotten: should the server repeat a message of it, that is handed over again.
   */
  conversationsMax?: number;
}

export type ClientState = "connecting" | "online" | "offline" | "closed";
export type TargetType = "USER" | "GROUP";

export interface SendOptions {
  /** A user id, or a group id with `targetType: "GROUP"`. */
  to: string;
  content: string;
  targetType?: TargetType;
  messageType?: "CHAT" | "DATAREPORT" | "CONTROL";
  /** Unix seconds after which it is not delivered any more; 0, the default: never. */
  expireTime?: number;
  /** Default: a new one. Give the one of a failed send to try that again without a duplicate. */
  clientMsgId?: string;
  /** Called once, when the server has the message durably. */
  onAccepted?: () => void;
}

export interface SendResult {
  readonly msg_id: string;
  /** Position in the conversation; 0 for a DATAREPORT. */
  readonly seq: number;
  readonly conversation_id: string;
  /** Unix seconds, the server's clock. */
  readonly timestamp: number;
  readonly client_msg_id: string;
}

export interface TypingSignal {
  readonly from_user_id: string;
  readonly target_type: TargetType;
  readonly to_user_id: string;
}
export interface ReadSignal extends TypingSignal {
  /** Everything up to this position was read. */
  readonly seq: number;
}

export interface ClientEvents {
  /** Acked once every handler has resolved; one conversation is handled one message at a time. */
  message: Message;
  accepted: { readonly client_msg_id: string };
  presence: { readonly user_id: string; readonly online: boolean };
  typing: TypingSignal;
  read: ReadSignal;
  state: ClientState;
  /** The end: the server said that coming back will not help, or close() was called (1000). */
  closed: { readonly code: number; readonly reason: string };
  /** What has no promise to reject: error frames, failed handlers, a token that cannot be had. */
  error: ChatifyClientError;
}

/** Counts since connect(). */
export interface ClientStats {
  sent: number;
  retries: number;
  received: number;
  /** Messages that arrived again and were acked again without being handed over. */
  duplicates: number;
  /** Messages left unacked, so that the server repeats them: failed handler, full inbox. */
  refused: number;
  acked: number;
  /** Connections that were welcomed. */
  connections: number;
}

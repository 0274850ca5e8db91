/** The SDK's one entry. See sdk/README.md; the wire is in docs/PROTOCOL.md. */
import { ChatifyClient } from "./client.ts";
import type { ConnectOptions } from "./options.ts";

/** Connects, and reconnects until close() or until the server says not to come back. */
export function connect(options: ConnectOptions): ChatifyClient {
  return new ChatifyClient(options);
}

export type { Message } from "../src/core/protocol/message.ts";
export type { ChatifyClient } from "./client.ts";
export { ChatifyClientError } from "./client_error.ts";
export { type SdkClock, type SdkTimer, systemClock, uniqueToken } from "./clock.ts";
export type {
  ClientEvents,
  ClientState,
  ClientStats,
  ConnectOptions,
  ReadSignal,
  SendOptions,
  SendResult,
  SocketConstructor,
  SocketLike,
  TargetType,
  TypingSignal,
} from "./options.ts";

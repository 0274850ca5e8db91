import type { ErrorCode } from "../src/core/protocol/errors.ts";

/** What the SDK reports: a code of the protocol's table, whoever raised it. */
export class ChatifyClientError extends Error {
  /** A code of docs/PROTOCOL.md; a newer server may know codes that this SDK does not. */
  readonly code: ErrorCode | (string & {});
  /** True when the same call may succeed later. */
  readonly retryable: boolean;
  /** How long to wait before that, when the server said so. */
  readonly retryAfterMs: number | undefined;
  /** Of the send that failed. Sending again with it cannot make a second message. */
  readonly clientMsgId: string | undefined;

  constructor(
    code: ErrorCode | (string & {}),
    message: string,
    retryable: boolean,
    more: { retryAfterMs?: number | undefined; clientMsgId?: string; cause?: unknown } = {},
  ) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.name = "ChatifyClientError";
    this.code = code;
    this.retryable = retryable;
    this.retryAfterMs = more.retryAfterMs;
    this.clientMsgId = more.clientMsgId;
  }
}

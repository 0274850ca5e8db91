/**
 * What a failure of Redis means to whoever asked, decided in one place: `unavailable` when the
 * command was certainly not executed, `outcome_unknown` when it may have been.
 */
import { ReplyError } from "ioredis";
import { ChatifyError } from "../protocol/errors.ts";

/** First words of the replies by which Redis refuses a command as a whole, for now. */
const REFUSALS = new Set([
  "LOADING",
  "OOM",
  "READONLY",
  "MISCONF",
  "CLUSTERDOWN",
  "MASTERDOWN",
  "NOREPLICAS",
  "TRYAGAIN",
  "BUSY",
  "NOSCRIPT",
  "MOVED",
  "ASK",
  "NOAUTH",
  "NOPERM",
]);

const RETRY_AFTER_MS = 250;

/** True for an error that Redis itself replied: the connection works, and the command ended. */
export function isReply(error: unknown): error is Error {
  return error instanceof ReplyError;
}

/** The first word of a reply that is an error, such as NOGROUP; empty for other errors. */
export function replyCode(error: unknown): string {
  return isReply(error) ? (error.message.split(" ", 1)[0] ?? "") : "";
}

/** `readOnly`: repeating it does no harm, so a lost reply is merely unavailable. */
export function toChatifyError(error: unknown, operation: string, readOnly: boolean): ChatifyError {
  if (error instanceof ChatifyError) return error;
  const message = `Redis ${operation}: ${error instanceof Error ? error.message : String(error)}`;
  if (isReply(error)) {
    const code = REFUSALS.has(replyCode(error)) ? "unavailable" : "internal";
    return new ChatifyError(code, message, RETRY_AFTER_MS);
  }
  // ioredis refuses before it writes when its socket has just gone away.
  const unwritten = error instanceof Error && error.message.startsWith("Stream isn't writeable");
  const code = unwritten || readOnly ? "unavailable" : "outcome_unknown";
  return new ChatifyError(code, message, RETRY_AFTER_MS);
}

export function notConnected(operation: string): ChatifyError {
  return new ChatifyError("unavailable", `Redis ${operation}: not connected`, RETRY_AFTER_MS);
}

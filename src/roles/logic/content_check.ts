/**
 * What a message may contain, apart from what the frame's schema says already. Pure: it returns the
 * reason a message is refused, or null.
 */
import AhoCorasick from "modern-ahocorasick";
import type { ChatInput } from "../../core/protocol/chat_input.ts";
import { ChatifyError } from "../../core/protocol/errors.ts";
import { CONTENT_CHARS_MAX } from "../../core/protocol/message.ts";

export type ContentCheck = (input: ChatInput, nowMs: number) => ChatifyError | null;

/** The check, with a word filter when there are words. Words match in any case, anywhere. */
export function createContentCheck(words: readonly string[]): ContentCheck {
  const folded = words.map(fold).filter((word) => word.length > 0);
  const filter = folded.length > 0 ? new AhoCorasick(folded) : null;
  return (input, nowMs) => {
    if (input.content.length > CONTENT_CHARS_MAX) {
      return new ChatifyError("too_large", `content has more than ${CONTENT_CHARS_MAX} characters`);
    }
    if (!input.content.isWellFormed()) {
      return new ChatifyError("bad_request", "content is no well-formed Unicode text");
    }
    if (input.expireTime > 0 && input.expireTime * 1_000 <= nowMs) {
      return new ChatifyError("expired", "expire_time is in the past");
    }
    if (input.messageType === "CONTROL") return checkControl(input.content);
    if (input.messageType === "CHAT" && filter !== null) {
      if (filter.search(fold(input.content)).length > 0) {
        return new ChatifyError(
          "content_rejected",
          "content holds a word that is not allowed here",
        );
      }
    }
    return null;
  };
}

/** One word or phrase a line; empty lines and lines that begin with # are left out. */
export function parseWordList(text: string): string[] {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
}

/** Full-width letters, ligatures and case are no way around the filter. */
function fold(text: string): string {
  return text.normalize("NFKC").toLowerCase();
}

function checkControl(content: string): ChatifyError | null {
  let value: unknown;
  try {
    value = JSON.parse(content);
  } catch {
    value = null;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return new ChatifyError("bad_request", "content of a CONTROL message must be a JSON object");
  }
  const op = "op" in value ? value.op : undefined;
  if (typeof op === "string" && op.startsWith("chatify.")) {
    return new ChatifyError(
      "forbidden",
      'op names that begin with "chatify." belong to the server',
    );
  }
  return null;
}

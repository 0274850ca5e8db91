/** The lines of a body, as they come. What is not read waits with the caller: TCP holds it back. */
import { ChatifyError } from "../../core/protocol/errors.ts";

/**
 * Lines without their ends; empty ones are left out. Throws `too_large` for a line of more than
 * `charsMax` characters, and `bad_request` when the body ends early.
 */
export async function* bodyLines(
  body: ReadableStream<Uint8Array>,
  charsMax: number,
): AsyncIterable<string[]> {
  const decoder = new TextDecoder();
  let rest = "";
  const chunks = body[Symbol.asyncIterator]();
  for (;;) {
    const next = await chunks.next().catch(() => {
      throw new ChatifyError("bad_request", "the body ended early");
    });
    if (next.done === true) break;
    const parts = (rest + decoder.decode(next.value, { stream: true })).split("\n");
    rest = parts.pop() ?? "";
    if (rest.length > charsMax) {
      throw new ChatifyError("too_large", `a line has more than ${charsMax} characters`);
    }
    const lines = kept(parts);
    if (lines.length > 0) yield lines;
  }
  const last = kept([rest + decoder.decode()]);
  if (last.length > 0) yield last;
}

function kept(lines: readonly string[]): string[] {
  return lines.map((line) => line.trim()).filter((line) => line !== "");
}

/**
 * Which sends have been answered. Answers pass through the gateway as text, so it looks for them
 * there: `accepted` and `rejected` frames that start with their type, and the id in them.
 */
import type { Connection } from "./connection.ts";

const FRAME = '{"type":"';
const ACCEPTED = `${FRAME}accepted"`;
const ID = '"client_msg_id":"';

/**
 * Forgets the sends that `frames` (encoded, comma-separated) answers, and calls `onAccepted` with the
 * time at which each accepted one was received. Quotes inside JSON strings are escaped, so what
 * a client wrote is never mistaken for a frame.
 */
export function settleSends(
  conn: Connection,
  frames: string,
  onAccepted: (receivedAt: number) => void,
): void {
  const { inFlight } = conn;
  if (inFlight === null || inFlight.size === 0) return;
  for (let at = frames.indexOf(FRAME); at >= 0; at = frames.indexOf(FRAME, at + FRAME.length)) {
    const type = at + FRAME.length;
    const accepted = frames.startsWith("accepted", type);
    if (!accepted && !frames.startsWith("rejected", type)) continue;
    const id = idAfter(frames, type);
    const receivedAt = inFlight.get(id);
    if (receivedAt === undefined) continue;
    inFlight.delete(id);
    if (accepted) onAccepted(receivedAt);
  }
  if (inFlight.size === 0) conn.previousAccess = null;
}

/** True for the `accepted` of access, with which come no other frames: its `sent` follows. */
export function isAccepted(frames: string): boolean {
  return frames.startsWith(ACCEPTED);
}

function idAfter(frames: string, from: number): string {
  const label = frames.indexOf(ID, from);
  if (label < 0) return "";
  const start = label + ID.length;
  let end = frames.indexOf('"', start);
  const id = frames.slice(start, end);
  if (!id.includes("\\")) return id;
  // Escapes: the string ends at the first quote that has an even number of backslashes before it.
  while (end >= 0 && backslashesBefore(frames, end) % 2 === 1) end = frames.indexOf('"', end + 1);
  return end < 0 ? "" : String(JSON.parse(frames.slice(start - 1, end + 1)));
}

function backslashesBefore(text: string, at: number): number {
  let count = 0;
  while (text[at - 1 - count] === "\\") count++;
  return count;
}

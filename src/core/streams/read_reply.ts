/** The reply to XREADGROUP: by stream key, entries with their fields as a flat list. */
import type { Topic } from "../topology.ts";
import type { ReadBatch, StreamEntry } from "./contract.ts";

type Fields = readonly string[];
/** Null when nothing came while the read was blocked. */
export type ReadReply = [key: string, entries: [id: string, fields: Fields | null][]][] | null;

export function parseReadReply(
  reply: ReadReply,
  targets: ReadonlyMap<string, { topic: Topic; partition: number }>,
): ReadBatch[] {
  const batches: ReadBatch[] = [];
  for (const [key, entries] of reply ?? []) {
    const target = targets.get(key);
    if (target === undefined) continue;
    batches.push({ ...target, entries: entries.map(([id, fields]) => parseEntry(id, fields)) });
  }
  return batches;
}

function parseEntry(id: string, fields: Fields | null): StreamEntry {
  let body = "";
  let ordinal = 0;
  for (let i = 0; fields !== null && i + 1 < fields.length; i += 2) {
    if (fields[i] === "b") body = fields[i + 1] ?? "";
    else if (fields[i] === "n") ordinal = Number(fields[i + 1]);
  }
  return { id, body, ordinal };
}

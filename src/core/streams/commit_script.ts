/** A commit as the keys and arguments of commit.lua, whose header says how they are laid out. */
import { LIMITS } from "../limits.ts";
import type { Keys } from "../redis/keys.ts";
import { type Script, script } from "../redis/script.ts";
import { TOPICS, type Topic } from "../topology.ts";
import commitLua from "./commit.lua" with { type: "text" };
import type { Commit } from "./contract.ts";

export const commitScript: Script = script(commitLua);

/** Only the streams that nobody settles are trimmed; the others are exactly what is unsettled. */
export function maxLength(topic: Topic): number {
  if (topic === "dead_letter") return LIMITS.DEAD_LETTER_ENTRIES_MAX;
  // Its producers stop long before; this is for the case that they cannot see how full it is.
  if (topic === "webhooks") return LIMITS.WEBHOOK_QUEUE_MAX * 2;
  return topic === "data_report" ? LIMITS.DATA_REPORT_ENTRIES_MAX : 0;
}

export function encodeCommit(keys: Keys, commit: Commit): { keys: string[]; args: string[] } {
  const { group, partition, epoch } = commit.fence;
  const k = [keys.lease(group, partition)];
  const args = [String(epoch), String(commit.turn ?? 0), String(commit.after ?? 0)];
  for (const { map, slice, expireAt, entries } of commit.puts ?? []) {
    if (entries.length === 0) continue;
    k.push(keys.map(map, group, partition, slice));
    if (slice === undefined) {
      args.push("P", String(entries.length * 2));
    } else {
      k.push(keys.slices(map, group, partition));
      args.push("Q", slice, String(expireAt ?? 0), String(entries.length * 2));
    }
    for (const [field, value] of entries) args.push(field, value);
  }
  for (const { topic, partition: target, body } of commit.appends ?? []) {
    k.push(keys.stream(topic, target));
    if (TOPICS[topic].group === null) {
      args.push("A", String(maxLength(topic)), body);
    } else {
      k.push(keys.ordinal(topic, target));
      args.push("N", body);
    }
  }
  for (const { map, fields } of commit.deletes ?? []) {
    if (fields.length === 0) continue;
    k.push(keys.map(map, group, partition));
    args.push("D", String(fields.length));
    for (const field of fields) args.push(field);
  }
  for (const { map, slices } of commit.drops ?? []) {
    for (const slice of slices) {
      k.push(keys.map(map, group, partition, slice), keys.slices(map, group, partition));
      args.push("X", slice);
    }
  }
  for (const { topic, ids } of commit.settles ?? []) {
    if (ids.length === 0) continue;
    k.push(keys.stream(topic, partition));
    args.push("S", TOPICS[topic].group ?? "", String(ids.length));
    for (const id of ids) args.push(id);
  }
  return { keys: k, args };
}

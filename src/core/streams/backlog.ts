/** What waits in one partition of a topic, asked of Redis in one step. */
import type { RedisClient } from "../redis/client.ts";
import { script } from "../redis/script.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { TOPICS, type Topic } from "../topology.ts";
import backlogLua from "./backlog.lua" with { type: "text" };

export interface Backlog {
  /** Entries of the stream: read or not, none of them is settled. */
  readonly entries: number;
  /** Unix ms at which Redis took the oldest of them; null when there is none. */
  readonly oldestMs: number | null;
  readonly pending: number;
  /** The consumers that the pending ones were given to. */
  readonly readers: readonly string[];
}

const backlogScript = script(backlogLua);

type Reply = [entries: number, oldestId: string, pending: number, readers: string[]];

/** Rejects as every Redis command does. All that are asked in one turn leave in one pipeline. */
export async function readBacklog(
  redis: RedisClient,
  topic: Topic,
  partition: number,
): Promise<Backlog> {
  const keys = [redis.keys.stream(topic, partition)];
  const args = [TOPICS[topic].group ?? ""];
  const reply = await redis.lane.script("pending", backlogScript, keys, args);
  const [entries, oldestId, pending, readers] = reply as Reply;
  const oldestMs = oldestId === "" ? null : Number(oldestId.split("-", 1)[0]);
  return { entries, oldestMs, pending, readers };
}

export function reportBacklog(
  metrics: Metrics,
  topic: Topic,
  partition: number,
  backlog: Backlog,
  nowMs: number,
): void {
  const labels = { topic, partition: `${partition}` };
  const ageMs = backlog.oldestMs === null ? 0 : nowMs - backlog.oldestMs;
  metrics.streamLength.set(labels, backlog.entries);
  metrics.streamPending.set(labels, backlog.pending);
  metrics.streamOldest.set(labels, Math.max(0, ageMs) / 1_000);
}

/** Whoever owns the partition from now on reports it; two reports of one would be a double. */
export function forgetBacklog(metrics: Metrics, topic: Topic, partition: number): void {
  const labels = { topic, partition: `${partition}` };
  metrics.streamLength.remove(labels);
  metrics.streamPending.remove(labels);
  metrics.streamOldest.remove(labels);
}

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
  /** As `oldestMs`, of those that are pending. */
  readonly oldestPendingMs: number | null;
  /** The consumers that the pending ones were given to. */
  readonly readers: readonly string[];
}

const backlogScript = script(backlogLua);

type Reply = [entries: number, oldest: string, pending: number, pendingId: string, string[]];

/** Rejects as every Redis command does. All that are asked in one turn leave in one pipeline. */
export async function readBacklog(
  redis: RedisClient,
  topic: Topic,
  partition: number,
): Promise<Backlog> {
  const keys = [redis.keys.stream(topic, partition)];
  const args = [TOPICS[topic].group ?? ""];
  const reply = await redis.lane.script("pending", backlogScript, keys, args);
  const [entries, oldest, pending, oldestPending, readers] = reply as Reply;
  return {
    entries,
    oldestMs: millisecondsOf(oldest),
    pending,
    oldestPendingMs: millisecondsOf(oldestPending),
    readers,
  };
}

function millisecondsOf(id: string): number | null {
  return id === "" ? null : Number(id.split("-", 1)[0]);
}

export function reportBacklog(
  metrics: Metrics,
  topic: Topic,
  partition: number,
  backlog: Backlog,
  nowMs: number,
): void {
  const labels = { topic, partition: `${partition}` };
  const seconds = (ms: number | null) => (ms === null ? 0 : Math.max(0, nowMs - ms) / 1_000);
  metrics.streamLength.set(labels, backlog.entries);
  metrics.streamPending.set(labels, backlog.pending);
  // Redis' own lag goes on counting what was trimmed or deleted. Here an entry is unread, pending or
  // gone: what is there and not pending has not been read.
  metrics.streamLag.set(labels, Math.max(0, backlog.entries - backlog.pending));
  metrics.streamOldest.set(labels, seconds(backlog.oldestMs));
  metrics.streamOldestPending.set(labels, seconds(backlog.oldestPendingMs));
}

/** Whoever owns the partition from now on reports it; two reports of one would be a double. */
export function forgetBacklog(metrics: Metrics, topic: Topic, partition: number): void {
  const labels = { topic, partition: `${partition}` };
  metrics.streamLength.remove(labels);
  metrics.streamPending.remove(labels);
  metrics.streamLag.remove(labels);
  metrics.streamOldest.remove(labels);
  metrics.streamOldestPending.remove(labels);
}

/** What a run cost Redis, per unit of work. */
import { callsBetween } from "./redis_counts.ts";
import type { Run } from "./run.ts";

export function commandsPerMessage({ load, redis }: Run): number {
  return redis === null ? Number.NaN : (redis.end.commands - redis.begin.commands) / load.done;
}

/** Both streams together: chat_input and push_task. */
export function entriesPerMessage(run: Run): number {
  return run.redis === null ? Number.NaN : (callsPerMessage(run).xadd ?? 0);
}

export function callsPerMessage({ load, redis }: Run): Record<string, number> {
  if (redis === null) return {};
  const calls = Object.entries(callsBetween(redis.begin, redis.end));
  return Object.fromEntries(calls.map(([name, n]) => [name, Number((n / load.done).toFixed(4))]));
}

export function memoryGrowth({ redis }: Run): number {
  return redis === null ? Number.NaN : redis.after.memoryBytes / redis.connected.memoryBytes;
}

export function memoryPerMessage({ load, redis }: Run): number {
  if (redis === null) return Number.NaN;
  return (redis.after.memoryBytes - redis.connected.memoryBytes) / load.total;
}

/** One run: a target, a load generator in its own process, and what Redis counted meanwhile. */
import { join } from "node:path";
import type { Job, LoadEvent, LoadResult } from "./job.ts";
import { processTree, residentBytes } from "./processes.ts";
import { type RedisCounts, RedisProbe } from "./redis_counts.ts";
import type { Target } from "./targets/target.ts";

export interface Run {
  readonly load: LoadResult;
  /** Resident bytes of the target before the first connection, after the warm-up, and at the end. */
  readonly residentBefore: number;
  readonly residentBegin: number;
  readonly residentEnd: number;
  readonly redis: null | {
    /** Before the first connection, with all connected, around the window, after the last ack. */
    readonly idle: RedisCounts;
    readonly connected: RedisCounts;
    readonly begin: RedisCounts;
    readonly end: RedisCounts;
    readonly after: RedisCounts;
  };
}

/** What is left in Redis is looked at when the last acks have been worked off. */
const SETTLE_MS = 1_000;

export async function runLoad(target: Target, job: Job): Promise<Run> {
  const probe = target.redisUrl === null ? null : new RedisProbe(target.redisUrl);
  const tree = () => processTree([...target.pids.keys()]);
  const counts: Partial<Record<string, RedisCounts>> = {};
  const look = async (when: string) => {
    if (probe !== null) counts[when] = await probe.read();
  };
  await look("idle");
  const residentBefore = residentBytes(tree());
  let residentBegin = residentBefore;
  let residentEnd = residentBefore;
  let load: LoadResult | null = null;
  for await (const event of spawnLoad(job)) {
    if (event.event === "result") load = event;
    else await look(event.event);
    if (event.event === "begin") residentBegin = residentBytes(tree());
    if (event.event === "held" || event.event === "end") residentEnd = residentBytes(tree());
  }
  if (load === null) throw new Error("the load generator ended without a result");
  await Bun.sleep(SETTLE_MS);
  await look("after");
  probe?.close();
  const { after, begin, connected, end, idle } = counts;
  const redis = idle && connected && begin && end && after;
  const all = redis ? { idle, connected, begin, end, after } : null;
  return { load, residentBefore, residentBegin, residentEnd, redis: all };
}

async function* spawnLoad(job: Job): AsyncGenerator<LoadEvent> {
  const path = join(import.meta.dir, "load/main.ts");
  const child = Bun.spawn(["bun", path, JSON.stringify(job)], {
    stdout: "pipe",
    stderr: "inherit",
  });
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of child.stdout) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) yield JSON.parse(line) as LoadEvent;
  }
  const code = await child.exited;
  if (code !== 0) throw new Error(`the load generator ended with ${code}`);
}

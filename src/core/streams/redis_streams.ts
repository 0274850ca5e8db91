/**
 * Streams on one Redis server. A topic partition is a stream and its consumer group; an entry has a
 * field `b`, its body, and `n`, its ordinal, when a commit wrote it. Settled entries are deleted, so
 * a stream holds exactly what is not settled, and reading it from its start is recovery.
 *
 * Everything given in one turn of the event loop leaves in one pipeline and is executed in order.
 */
import type { Clock } from "../clock.ts";
import type { RedisClient } from "../redis/client.ts";
import type { Lane } from "../redis/lane.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import type { ConsumerGroup } from "../topology.ts";
import { commitScript, encodeCommit, maxLength } from "./commit_script.ts";
import {
  type Append,
  type Commit,
  FencedError,
  type OwnerMap,
  type ReadBatch,
  type StreamReader,
  type Streams,
} from "./contract.ts";
import { mapSlices, mapValues } from "./redis_maps.ts";
import { RedisReader } from "./redis_reader.ts";

/** What a write must have survived before it resolves. */
export type Durability = "fsync" | "replicated" | "memory";

export interface RedisStreamsDeps {
  readonly redis: RedisClient;
  readonly nodeId: string;
  readonly clock: Clock;
  readonly telemetry: Pick<Telemetry, "log" | "metrics">;
  /** fsync and memory differ in how Redis is configured (appendfsync always), not here. */
  readonly durability: Durability;
}

export class RedisStreams implements Streams {
  private readonly writes: Lane;

  constructor(private readonly deps: RedisStreamsDeps) {
    const { durability, redis } = deps;
    this.writes = durability === "replicated" ? redis.replicatedLane() : redis.lane;
  }

  append(entries: readonly Append[]): Promise<(string | Error)[]> {
    const { keys } = this.deps.redis;
    return Promise.all(
      entries.map(async ({ topic, partition, body }) => {
        const max = maxLength(topic);
        const trim = max === 0 ? [] : ["MAXLEN", "~", String(max)];
        const args = [keys.stream(topic, partition), ...trim, "*", "b", body];
        try {
          return (await this.writes.write("append", "XADD", args)) as string;
        } catch (error) {
          if (error instanceof Error) return error;
          throw error;
        }
      }),
    );
  }

  async commit(commit: Commit): Promise<void> {
    const { keys, args } = encodeCommit(this.deps.redis.keys, commit);
    const applied = await this.writes.script("commit", commitScript, keys, args);
    if (applied !== 1) throw new FencedError(commit.fence);
  }

  mapGet(
    map: OwnerMap,
    group: ConsumerGroup,
    partition: number,
    fields: readonly string[],
  ): Promise<(string | undefined)[]> {
    return mapValues(this.deps.redis, { map, group, partition }, fields);
  }

  mapSlices(
    map: OwnerMap,
    group: ConsumerGroup,
    partition: number,
  ): AsyncIterable<{ slice: string; entries: [string, string][] }> {
    return mapSlices(this.deps.redis, { map, group, partition }, this.deps.clock);
  }

  reader(
    group: ConsumerGroup,
    onBatch: (batches: readonly ReadBatch[]) => void,
    onError: (error: Error) => void,
  ): StreamReader {
    return new RedisReader({ ...this.deps, group, onBatch, onError });
  }
}

/**
 * Streams on Redis. A topic partition is a stream and its consumer group; an entry has a
 * field `b`, its body, and `n`, its ordinal, when a commit wrote it. Settled entries are deleted, so
 * a stream holds exactly what is not settled, and reading it from its start is recovery.
 *
 * Everything given in one turn of the event loop leaves in one pipeline and is executed in order. On
 * a Redis Cluster that holds for each partition, and commits and readers are what cluster_commits.ts
 * and cluster_reader.ts say.
 */
import type { Clock } from "../clock.ts";
import type { RedisClient } from "../redis/client.ts";
import type { CommandLane } from "../redis/command_lane.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import type { ConsumerGroup } from "../topology.ts";
import { ClusterCommits } from "./cluster_commits.ts";
import { ClusterReader } from "./cluster_reader.ts";
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

export interface RedisStreamsDeps {
  readonly redis: RedisClient;
  readonly nodeId: string;
  readonly clock: Clock;
  readonly telemetry: Pick<Telemetry, "log" | "metrics">;
}

export class RedisStreams implements Streams {
  private readonly writes: CommandLane;
  private readonly across: ClusterCommits | null;

  constructor(private readonly deps: RedisStreamsDeps) {
    this.writes = deps.redis.durable;
    this.across = deps.redis.isCluster ? new ClusterCommits(deps.redis, deps.clock) : null;
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
    if (this.across !== null) return this.across.commit(commit);
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
    mayRead = () => true,
  ): StreamReader {
    const { across } = this;
    const base = { ...this.deps, group, onError, mayRead };
    if (across === null) return new RedisReader({ ...base, onBatch, home: "" });
    const { keys } = this.deps.redis;
    return new ClusterReader((partition, onPart) => {
      const home = keys.lease(group, partition);
      const recover = () => across.finishIntents({ group, partition });
      return new RedisReader({ ...base, onBatch: onPart, home, recover });
    }, onBatch);
  }
}

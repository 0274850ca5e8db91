/** Streams in memory, for the simulator: one object per node, all on one engine. */
import type { Clock } from "../clock.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import { type ConsumerGroup, TOPICS } from "../topology.ts";
import {
  type Append,
  type Commit,
  FencedError,
  type MapPut,
  type OwnerMap,
  type ReadBatch,
  type StreamReader,
  type Streams,
} from "./contract.ts";
import { directAccess, type MemoryAccess, type MemoryEngine } from "./memory_engine.ts";
import { MemoryReader } from "./memory_reader.ts";

export interface MemoryStreamsDeps {
  readonly engine: MemoryEngine;
  readonly nodeId: string;
  readonly clock: Clock;
  readonly telemetry: Pick<Telemetry, "log" | "metrics">;
  /** How this node reaches the engine; without faults when absent. */
  readonly access?: MemoryAccess;
}

export class MemoryStreams implements Streams {
  private readonly engine: MemoryEngine;
  private readonly access: MemoryAccess;

  constructor(private readonly deps: MemoryStreamsDeps) {
    this.engine = deps.engine;
    this.access = deps.access ?? directAccess(deps.clock);
  }

  append(entries: readonly Append[]): Promise<(string | Error)[]> {
    return Promise.all(
      entries.map(async ({ topic, partition, body }) => {
        try {
          const step = () => this.engine.append(topic, partition, body, 0);
          return await this.access.perform("append", step);
        } catch (error) {
          if (error instanceof Error) return error;
          throw error;
        }
      }),
    );
  }

  commit(commit: Commit): Promise<void> {
    return this.access.perform("commit", () => this.apply(commit));
  }

  mapGet(
    map: OwnerMap,
    group: ConsumerGroup,
    partition: number,
    fields: readonly string[],
  ): Promise<(string | undefined)[]> {
    return this.access.perform("map_get", () => {
      const slices = this.engine.slicesOf(this.engine.keys.map(map, group, partition));
      const latestFirst = [...slices].sort(([a], [b]) =>
        a === "" || (b !== "" && a > b) ? -1 : 1,
      );
      return fields.map((field) => {
        for (const [, slice] of latestFirst) {
          const value = slice.fields.get(field);
          if (value !== undefined) return value;
        }
        return undefined;
      });
    });
  }

  async *mapSlices(
    map: OwnerMap,
    group: ConsumerGroup,
    partition: number,
  ): AsyncIterable<{ slice: string; entries: [string, string][] }> {
    const slices = await this.access.perform("map_slices", () => {
      const found = this.engine.slicesOf(this.engine.keys.map(map, group, partition));
      return [...found].map(([slice, { fields }]) => ({ slice, entries: [...fields] }));
    });
    for (const slice of slices) if (slice.entries.length > 0) yield slice;
  }

  reader(
    group: ConsumerGroup,
    onBatch: (batches: readonly ReadBatch[]) => void,
    onError: (error: Error) => void,
    mayRead = () => true,
  ): StreamReader {
    return new MemoryReader({
      ...this.deps,
      access: this.access,
      group,
      onBatch,
      onError,
      mayRead,
    });
  }

  private apply(commit: Commit): void {
    const { engine } = this;
    const { group, partition, epoch } = commit.fence;
    const lease = engine.leases.get(engine.keys.lease(group, partition));
    if (lease?.epoch !== epoch) throw new FencedError(commit.fence);
    const { after = 0, turn = 0 } = commit;
    if (lease.turn < after) throw new FencedError(commit.fence);
    if (turn > 0 && turn <= lease.turn) return;
    if (turn > 0) lease.turn = turn;
    for (const put of commit.puts ?? []) this.put(commit, put);
    for (const { topic, partition: target, body } of commit.appends ?? []) {
      const counter = engine.keys.ordinal(topic, target);
      engine.append(topic, target, body, TOPICS[topic].group === null ? 0 : engine.count(counter));
    }
    for (const { map, fields } of commit.deletes ?? []) {
      const own = engine.fieldsOf(engine.keys.map(map, group, partition));
      for (const field of fields) own.delete(field);
    }
    for (const { map, slices } of commit.drops ?? []) {
      const own = engine.slicesOf(engine.keys.map(map, group, partition));
      for (const slice of slices) own.delete(slice);
    }
    for (const { topic, ids } of commit.settles ?? []) {
      const stream = engine.streamAt(engine.keys.stream(topic, partition));
      for (const id of ids) stream.delete(id);
    }
  }

  private put({ fence }: Commit, { map, slice, expireAt, entries }: MapPut): void {
    const key = this.engine.keys.map(map, fence.group, fence.partition);
    const fields = this.engine.fieldsOf(key, slice, expireAt);
    for (const [field, value] of entries) fields.set(field, value);
  }
}

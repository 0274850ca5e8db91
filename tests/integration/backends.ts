/**
 * The two things that the contract suites run against: a real Redis, and the double in memory. A
 * backend is one empty cluster state that several nodes use; each test makes its own.
 */
import { pino } from "pino";
import { sleep, systemClock, systemRandom } from "../../src/core/clock.ts";
import type { JobStore } from "../../src/core/jobs/contract.ts";
import { MemoryJobs } from "../../src/core/jobs/memory_jobs.ts";
import { RedisJobs } from "../../src/core/jobs/redis_jobs.ts";
import { LIMITS } from "../../src/core/limits.ts";
import type { PushStore } from "../../src/core/pushes/contract.ts";
import { MemoryPushes } from "../../src/core/pushes/memory_pushes.ts";
import { RedisPushes } from "../../src/core/pushes/redis_pushes.ts";
import { createRedis, type RedisClient } from "../../src/core/redis/client.ts";
import type { Registry } from "../../src/core/registry/contract.ts";
import { MemoryRegistry } from "../../src/core/registry/memory_registry.ts";
import { RedisRegistry } from "../../src/core/registry/redis_registry.ts";
import type { SessionDirectory } from "../../src/core/sessions/contract.ts";
import { MemorySessions } from "../../src/core/sessions/memory_sessions.ts";
import { RedisSessions } from "../../src/core/sessions/redis_sessions.ts";
import type { ReadBatch, StreamReader, Streams } from "../../src/core/streams/contract.ts";
import { directAccess, MemoryEngine } from "../../src/core/streams/memory_engine.ts";
import { MemoryStreams } from "../../src/core/streams/memory_streams.ts";
import { RedisStreams } from "../../src/core/streams/redis_streams.ts";
import type { Tags } from "../../src/core/tags/contract.ts";
import { MemoryTags } from "../../src/core/tags/memory_tags.ts";
import { RedisTags } from "../../src/core/tags/redis_tags.ts";
import { createMetrics } from "../../src/core/telemetry/metrics.ts";
import { type ConsumerGroup, TOPICS, type Topic } from "../../src/core/topology.ts";
import type { RedisTopology } from "./redis_topology.ts";

export const partitions = { chat: 4, user: 4 };
/** Short, so that a test sees leases and nodes end. */
export const limits = {
  ...LIMITS,
  LEASE_TTL_MS: 300,
  NODE_TTL_MS: 300,
  JOB_START_DELAY_MAX_S: 10,
  TAGS_PER_USER_MAX: 3,
};
export const clock = systemClock;
/** Of push jobs; short for the same reason. */
export const retentionS = 1;

export interface TestNode {
  readonly streams: Streams;
  readonly registry: Registry;
  readonly sessions: SessionDirectory;
  readonly jobs: JobStore;
  readonly pushes: PushStore;
  readonly tags: Tags;
  readonly metrics: ReturnType<typeof createMetrics>;
}

export interface Backend {
  node(id: string): Promise<TestNode>;
  /** Loses everything that this backend holds. */
  flush(): Promise<void>;
  /** Loses a stream, its group and whatever is in it. */
  drop(topic: Topic, partition: number): Promise<void>;
  /** Gives the next entries of a stream to a reader that nobody knows. */
  steal(topic: Topic, partition: number): Promise<number>;
  /** Removes an entry behind everybody's back. */
  vanish(topic: Topic, partition: number, id: string): Promise<void>;
  length(topic: Topic, partition: number): Promise<number>;
  close(): void;
}

const log = pino({ level: "silent" });

export function redisBackend(server: RedisTopology, commandTimeoutMs = 5_000): RedisBackend {
  return new RedisBackend(server, commandTimeoutMs);
}

export class RedisBackend implements Backend {
  readonly clients: RedisClient[] = [];
  private readonly prefix = `test-${systemRandom.token(10)}`;

  constructor(
    private readonly server: RedisTopology,
    private readonly commandTimeoutMs: number,
  ) {}

  async node(nodeId: string): Promise<TestNode> {
    const metrics = createMetrics();
    const { commandTimeoutMs, prefix } = this;
    const redis = createRedis(this.server.url, { clock, log, metrics, prefix, commandTimeoutMs });
    this.clients.push(redis);
    await redis.ready();
    const telemetry = { log, metrics };
    const base = { redis, partitions, limits, clock };
    return {
      streams: new RedisStreams({ redis, nodeId, clock, telemetry }),
      registry: new RedisRegistry(base),
      sessions: new RedisSessions(base),
      pushes: new RedisPushes(base),
      tags: new RedisTags(base),
      jobs: new RedisJobs({ ...base, retentionS }),
      metrics,
    };
  }

  async flush(): Promise<void> {
    await this.server.flush();
  }

  async drop(topic: Topic, partition: number): Promise<void> {
    const key = this.key(topic, partition);
    await (await this.server.serving(key)).del(key);
  }

  async steal(topic: Topic, partition: number): Promise<number> {
    const group = TOPICS[topic].group ?? "";
    const key = this.key(topic, partition);
    const admin = await this.server.serving(key);
    const args = ["GROUP", group, "thief", "COUNT", "1", "STREAMS", key, ">"];
    const reply = await admin.call("XREADGROUP", args);
    return reply === null ? 0 : 1;
  }

  async vanish(topic: Topic, partition: number, id: string): Promise<void> {
    const key = this.key(topic, partition);
    await (await this.server.serving(key)).xdel(key, id);
  }

  async length(topic: Topic, partition: number): Promise<number> {
    const key = this.key(topic, partition);
    return (await this.server.serving(key)).xlen(key);
  }

  close(): void {
    for (const client of this.clients) client.close();
  }

  private key(topic: Topic, partition: number): string {
    return this.clients[0]?.keys.stream(topic, partition) ?? "";
  }
}

export class MemoryBackend implements Backend {
  private readonly engine = new MemoryEngine(clock);
  private readonly tags = new MemoryTags({ partitions, limits });

  async node(nodeId: string): Promise<TestNode> {
    const metrics = createMetrics();
    const base = { engine: this.engine, partitions, limits };
    return {
      streams: new MemoryStreams({ ...base, nodeId, clock, telemetry: { log, metrics } }),
      registry: new MemoryRegistry(base),
      sessions: new MemorySessions(base),
      pushes: new MemoryPushes({ ...base, access: directAccess(clock) }),
      tags: this.tags,
      jobs: new MemoryJobs({ ...base, access: directAccess(clock), retentionS }),
      metrics,
    };
  }

  async flush(): Promise<void> {
    this.engine.clear();
  }

  async drop(topic: Topic, partition: number): Promise<void> {
    this.engine.dropStream(this.engine.keys.stream(topic, partition));
  }

  async steal(topic: Topic, partition: number): Promise<number> {
    return this.at(topic, partition).read("thief", 1).length;
  }

  async vanish(topic: Topic, partition: number, id: string): Promise<void> {
    this.at(topic, partition).delete(id);
  }

  async length(topic: Topic, partition: number): Promise<number> {
    return this.at(topic, partition).length;
  }

  close(): void {}

  private at(topic: Topic, partition: number) {
    return this.engine.streamAt(this.engine.keys.stream(topic, partition));
  }
}

/** A reader that notes what it is given. */
export class Recorder {
  readonly batches: ReadBatch[] = [];
  readonly errors: Error[] = [];
  readonly reader: StreamReader;
  mayRead = true;

  constructor(node: TestNode, group: ConsumerGroup) {
    this.reader = node.streams.reader(
      group,
      (batches) => this.batches.push(...batches),
      (error) => this.errors.push(error),
      () => this.mayRead,
    );
  }

  bodies(topic: Topic): string[] {
    return this.entries(topic).map(({ body }) => body);
  }

  entries(topic: Topic) {
    return this.batches.filter((batch) => batch.topic === topic).flatMap(({ entries }) => entries);
  }

  /** Bodies in the order in which each was handed over for the first time. */
  firsts(topic: Topic): string[] {
    return [...new Set(this.bodies(topic))];
  }
}

/** Waits until `holds`; says what was missing when it does not within `ms`. */
export async function eventually(
  what: string,
  holds: () => boolean | Promise<boolean>,
  ms = 5_000,
): Promise<void> {
  const deadline = clock.monotonic() + ms;
  while (!(await holds())) {
    if (clock.monotonic() > deadline)
      throw new Error(`within ${ms} ms it is not true that ${what}`);
    await sleep(clock, 5);
  }
}

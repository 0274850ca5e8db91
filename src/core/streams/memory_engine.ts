/**
 * What Redis holds, in memory: the state that the in-memory streams, registry and sessions of all
 * nodes of a simulated cluster share. Every step runs to its end at once, as a script does in Redis.
 * Its only time is the clock it is given, and everything happens in an order that depends on nothing
 * but the order of the calls, so a seed reproduces a run.
 */
import type { Clock } from "../clock.ts";
import type { MemoryJob } from "../jobs/memory_job.ts";
import { LIMITS } from "../limits.ts";
import { Keys } from "../redis/keys.ts";
import type { NodeRecord } from "../registry/contract.ts";
import type { Topic } from "../topology.ts";
import { MemoryStream } from "./memory_stream.ts";

/**
 * How a node reaches the engine. The simulator puts delays and faults here: it may run `step` later,
 * never (`unavailable`), or run it and lose what it returned (`outcome_unknown`).
 */
export interface MemoryAccess {
  perform<T>(operation: string, step: () => T): Promise<T>;
}

/** Steps run at the end of the turn in which they were asked for, in that order; none fails. */
export function directAccess(clock: Clock): MemoryAccess {
  return {
    perform: <T>(_operation: string, step: () => T) =>
      new Promise<T>((resolve, reject) => {
        clock.endOfTurn(() => {
          try {
            resolve(step());
          } catch (error) {
            reject(error);
          }
        });
      }),
  };
}

/** See registry/lease.lua. */
export interface HeldLease {
  owner: string;
  epoch: number;
  /** By the engine's clock. */
  until: number;
  /** Of its owner's last commit. */
  turn: number;
  server: string;
  verified: string;
  wasEpoch: number;
  wasTurn: number;
}

interface Slice {
  expireAt: number;
  readonly fields: Map<string, string>;
}

export class MemoryEngine {
  readonly keys = new Keys("");
  readonly leases = new Map<string, HeldLease>();
  readonly nodes = new Map<string, { heardAt: number; given: NodeRecord; record: NodeRecord }>();
  readonly counters = new Map<string, number>();
  /** By the key of a user partition: user → JSON of the user's sessions. */
  readonly sessions = new Map<string, Map<string, string>>();
  readonly jobs = new Map<string, MemoryJob>();
  agreed: { chat: number; user: number } | null = null;
  /** Which process this is; another one after each restart or failover. */
  server = "server-1";
  lossAt = 0;
  private readonly streams = new Map<string, MemoryStream>();
  /** By the key of a map: slice ("" for the map itself) → fields. */
  private readonly maps = new Map<string, Map<string, Slice>>();
  private readonly listeners = new Set<(key: string) => void>();
  private lastMs = 0;
  private lastSeq = 0;

  constructor(readonly clock: Clock) {}

  now(): number {
    return this.clock.now();
  }

  /** The next value, which is at least `least`. */
  count(counter: string, least = 0): number {
    const next = Math.max((this.counters.get(counter) ?? 0) + 1, least);
    this.counters.set(counter, next);
    return next;
  }

  append(topic: Topic, partition: number, body: string, ordinal: number): string {
    const key = this.keys.stream(topic, partition);
    const id = this.nextId();
    this.streamAt(key).append({ id, body, ordinal });
    if (topic === "dead_letter") this.streamAt(key).trim(LIMITS.DEAD_LETTER_ENTRIES_MAX);
    if (topic === "data_report") this.streamAt(key).trim(LIMITS.DATA_REPORT_ENTRIES_MAX);
    for (const listener of this.listeners) listener(key);
    return id;
  }

  /** The stream of that key, made if there is none, as XADD and MKSTREAM do. */
  streamAt(key: string): MemoryStream {
    let stream = this.streams.get(key);
    if (stream === undefined) {
      stream = new MemoryStream();
      this.streams.set(key, stream);
    }
    return stream;
  }

  /** Keys of the streams, maps, leases and sessions that hold anything. */
  namesOf(): string[] {
    const streams = [...this.streams].filter(([, { length }]) => length > 0);
    const sessions = [...this.sessions].filter(([, users]) => users.size > 0);
    const maps = [...this.maps].filter(([, slices]) =>
      [...slices.values()].some(({ fields }) => fields.size > 0),
    );
    return [...streams, ...sessions, ...maps, ...this.leases].map(([name]) => name);
  }

  hasStream(key: string): boolean {
    return this.streams.has(key);
  }

  /** DEL of a stream, group and all. Its reader finds the group gone. */
  dropStream(key: string): void {
    this.streams.delete(key);
    for (const listener of this.listeners) listener(key);
  }

  /** XGROUP DESTROY. Its reader finds the group gone. */
  dropGroup(key: string): void {
    this.streams.get(key)?.dropGroup();
    for (const listener of this.listeners) listener(key);
  }

  /** Fields of a map's live slices, the map itself first; forgets those that have expired. */
  slicesOf(key: string): Map<string, Slice> {
    const slices = this.maps.get(key) ?? new Map<string, Slice>();
    this.maps.set(key, slices);
    for (const [name, { expireAt }] of slices) {
      if (expireAt > 0 && expireAt * 1_000 <= this.now()) slices.delete(name);
    }
    return slices;
  }

  fieldsOf(key: string, slice = "", expireAt = 0): Map<string, string> {
    const slices = this.slicesOf(key);
    const found = slices.get(slice) ?? { expireAt, fields: new Map<string, string>() };
    slices.set(slice, found);
    return found.fields;
  }

  sessionsAt(key: string): Map<string, string> {
    const found = this.sessions.get(key) ?? new Map<string, string>();
    this.sessions.set(key, found);
    return found;
  }

  /** Calls back at each append, until the returned function is called. */
  onAppend(listener: (key: string) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Loses everything, as FLUSHALL does. Readers find their groups gone. */
  clear(): void {
    const keys = [...this.streams.keys()];
    for (const all of [this.streams, this.maps, this.leases, this.nodes, this.counters])
      all.clear();
    this.sessions.clear();
    this.jobs.clear();
    this.agreed = null;
    this.lossAt = 0;
    for (const key of keys) for (const listener of this.listeners) listener(key);
  }

  /** What is there now: the function brings it back, as a Redis does that has lost all since. */
  snapshot(): () => void {
    const { agreed, lossAt } = this;
    const own = [this.leases, this.nodes, this.counters, this.sessions, this.jobs, this.maps];
    const kept = structuredClone(own) as Map<string, unknown>[];
    const streams = [...this.streams].map(([key, stream]) => [key, stream.copy()] as const);
    return () => {
      const keys = [...this.streams.keys()];
      for (const [i, map] of (own as Map<string, unknown>[]).entries()) {
        map.clear();
        for (const [key, value] of kept[i] ?? []) map.set(key, value);
      }
      this.streams.clear();
      for (const [key, stream] of streams) this.streams.set(key, stream);
      this.agreed = agreed;
      this.lossAt = lossAt;
      for (const key of keys) for (const listener of this.listeners) listener(key);
    };
  }

  private nextId(): string {
    const ms = Math.max(Math.floor(this.now()), this.lastMs);
    this.lastSeq = ms === this.lastMs ? this.lastSeq + 1 : 0;
    this.lastMs = ms;
    return `${ms}-${this.lastSeq}`;
  }
}

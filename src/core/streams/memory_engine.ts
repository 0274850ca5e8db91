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

export interface Lease {
  owner: string;
  epoch: number;
  /** By the engine's clock. */
  until: number;
  /** Of its owner's last commit. */
  turn: number;
}

interface Slice {
  expireAt: number;
  readonly fields: Map<string, string>;
}

export class MemoryEngine {
  readonly keys = new Keys("");
  readonly leases = new Map<string, Lease>();
  readonly nodes = new Map<string, { heardAt: number; given: NodeRecord; record: NodeRecord }>();
  readonly counters = new Map<string, number>();
  /** By the key of a user partition: user → JSON of the user's sessions. */
  readonly sessions = new Map<string, Map<string, string>>();
  readonly jobs = new Map<string, MemoryJob>();
  agreed: { chat: number; user: number } | null = null;
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

  count(counter: string): number {
    const next = (this.counters.get(counter) ?? 0) + 1;
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
    for (const key of keys) for (const listener of this.listeners) listener(key);
  }

  private nextId(): string {
    const ms = Math.max(Math.floor(this.now()), this.lastMs);
    this.lastSeq = ms === this.lastMs ? this.lastSeq + 1 : 0;
    this.lastMs = ms;
    return `${ms}-${this.lastSeq}`;
  }
}

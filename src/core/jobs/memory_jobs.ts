/** Push jobs in memory: the double of RedisJobs, one object per node, all on one engine. */

import type { MemoryAccess, MemoryEngine } from "../streams/memory_engine.ts";
import type { Partitions } from "../topology.ts";
import {
  type JobChange,
  type JobChunks,
  type JobCounts,
  type JobHolder,
  type JobMark,
  type JobRecord,
  type JobState,
  type JobStore,
  NO_COUNTS,
} from "./contract.ts";
import { countsOf, type MemoryJob, type MemoryPart } from "./memory_job.ts";

export interface MemoryJobsDeps {
  readonly engine: MemoryEngine;
  readonly access: MemoryAccess;
  readonly partitions: Partitions;
  readonly retentionS: number;
  readonly limits: { readonly JOB_START_DELAY_MAX_S: number };
}

export class MemoryJobs implements JobStore {
  constructor(private readonly deps: MemoryJobsDeps) {}

  create(record: JobRecord, holder?: JobHolder): Promise<boolean> {
    return this.step("job_create", () => {
      if (this.find(record.id) !== null) return false;
      const { engine, limits, partitions, retentionS } = this.deps;
      const end = engine.now() + (retentionS + limits.JOB_START_DELAY_MAX_S) * 1_000;
      const parts = Array.from({ length: partitions.user }, newPart);
      const owner = holder?.node ?? "";
      const until = engine.now() + (holder?.ttlMs ?? 0);
      engine.jobs.set(record.id, { record, owner, until, open: true, end, parts });
      return true;
    });
  }

  get(id: string): Promise<JobRecord | null> {
    return this.step("job_get", () => this.find(id)?.record ?? null);
  }

  list(limit: number): Promise<JobRecord[]> {
    return this.step("job_list", () => {
      const ids = [...this.deps.engine.jobs.keys()];
      const all = ids.flatMap((id) => this.find(id)?.record ?? []);
      return all
        .sort((a, b) => b.createdAt - a.createdAt || (a.id < b.id ? 1 : -1))
        .slice(0, limit);
    });
  }

  open(): Promise<string[]> {
    return this.step("job_open", () => {
      return [...this.deps.engine.jobs].filter(([, job]) => job.open).map(([id]) => id);
    });
  }

  change(id: string, from: readonly JobState[], change: JobChange) {
    return this.step("job_change", () => {
      const job = this.find(id);
      if (job === null) return null;
      const changed = from.includes(job.record.state);
      if (changed) job.record = { ...job.record, ...change };
      return { changed, record: job.record };
    });
  }

  lease(id: string, node: string, ttlMs: number): Promise<boolean> {
    return this.step("job_lease", () => {
      const job = this.find(id);
      const now = this.deps.engine.now();
      if (job === null || (job.owner !== node && job.until > now)) return false;
      job.owner = node;
      job.until = now + ttlMs;
      return true;
    });
  }

  add(id: string, partition: number, users: readonly string[], chunkMax: number): Promise<void> {
    return this.step("job_add", () => {
      const part = this.part(id, partition);
      if (part === null || part.unsentAs !== null || part.sealed) return;
      const fresh: string[] = [];
      for (const user of users) {
        if (part.seen.has(user)) part.duplicates++;
        else fresh.push(user);
        part.seen.add(user);
      }
      part.accepted += fresh.length;
      for (let i = 0; i < fresh.length; i += chunkMax) part.list.push(fresh.slice(i, i + chunkMax));
    });
  }

  seal(id: string): Promise<void> {
    return this.step("job_seal", () => {
      for (const part of this.find(id)?.parts ?? []) {
        part.sealed = true;
        part.seen.clear();
      }
    });
  }

  chunks(id: string, partition: number, max: number): Promise<JobChunks> {
    return this.step("job_chunks", () => {
      const part = this.part(id, partition);
      return { sent: part?.sent ?? 0, chunks: part?.list.slice(0, max) ?? [] };
    });
  }

  send(id: string, partition: number, sent: number, count: number, body: string): Promise<boolean> {
    return this.step("job_send", () => {
      const part = this.part(id, partition);
      if (part === null || part.held || part.unsentAs !== null || part.sent !== sent) return false;
      if (part.list.length === 0) return false;
      this.deps.engine.append("push_task", partition, body, 0);
      part.list.shift();
      part.sent += count;
      return true;
    });
  }

  hold(id: string, on: boolean): Promise<void> {
    return this.step("job_hold", () => {
      for (const part of this.find(id)?.parts ?? []) part.held = on;
    });
  }

  stop(id: string, as: "cancelled" | "expired"): Promise<void> {
    return this.step("job_stop", () => {
      for (const part of this.find(id)?.parts ?? []) {
        part.unsentAs ??= as;
        part.list = [];
      }
    });
  }

  counts(id: string): Promise<JobCounts[]> {
    return this.step("job_counts", () => {
      const parts = this.find(id)?.parts;
      return parts?.map(countsOf) ?? Array(this.deps.partitions.user).fill(NO_COUNTS);
    });
  }

  retire(id: string): Promise<void> {
    return this.step("job_retire", () => {
      const job = this.find(id);
      if (job === null) return;
      job.open = false;
      job.end = this.deps.engine.now() + this.deps.retentionS * 1_000;
    });
  }

  remove(id: string): Promise<void> {
    return this.step("job_remove", () => {
      this.deps.engine.jobs.delete(id);
    });
  }

  record(partition: number, marks: readonly JobMark[]): Promise<void> {
    return this.step("job_record", () => {
      for (const [id, index, bits] of marks) {
        const part = this.part(id, partition);
        part?.marks.set(index, (part.marks.get(index) ?? 0) | bits);
      }
    });
  }

  private find(id: string): MemoryJob | null {
    const { engine } = this.deps;
    const job = engine.jobs.get(id);
    if (job === undefined || job.end > engine.now()) return job ?? null;
    engine.jobs.delete(id);
    return null;
  }

  private part(id: string, partition: number): MemoryPart | null {
    return this.find(id)?.parts[partition] ?? null;
  }

  private step<T>(operation: string, work: () => T): Promise<T> {
    return this.deps.access.perform(operation, work);
  }
}

function newPart(): MemoryPart {
  const none = { accepted: 0, duplicates: 0, sent: 0, unsentAs: null, held: false, sealed: false };
  return { seen: new Set(), list: [], marks: new Map(), ...none };
}

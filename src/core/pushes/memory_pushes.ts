/** Pushing once, in memory: the double of RedisPushes. */
import type { MemoryAccess, MemoryEngine } from "../streams/memory_engine.ts";
import type { Partitions } from "../topology.ts";
import type { OnceUnit, PushStore, Reservation } from "./contract.ts";

export interface MemoryPushesDeps {
  readonly engine: MemoryEngine;
  readonly access: MemoryAccess;
  readonly partitions: Partitions;
  readonly limits: { readonly DEDUP_WINDOW_S: number };
}

export class MemoryPushes implements PushStore {
  constructor(private readonly deps: MemoryPushesDeps) {}

  reserve(key: string, proposal: Reservation | null): Promise<Reservation | null> {
    return this.deps.access.perform("push", () => {
      const fields = this.fields("push_key");
      const known = fields.get(key);
      if (known !== undefined) return JSON.parse(known) as Reservation;
      if (proposal !== null) fields.set(key, JSON.stringify(proposal));
      return proposal;
    });
  }

  appendOnce(partition: number, units: readonly OnceUnit[]): Promise<string[]> {
    return this.deps.access.perform("push", () => {
      const known = this.fields(`push_once:${partition}`);
      const fresh = units.filter(({ name }) => !known.has(name));
      for (const { name, value } of fresh) known.set(name, value);
      if (fresh.length > 0) {
        const headers = fresh.map((unit) => unit.headers).join(",");
        const lines = fresh.map((unit) => unit.lines).join("");
        this.deps.engine.append("push_task", partition, `[[],[${headers}]]${lines}`, 0);
      }
      return units.map(({ name }) => known.get(name) ?? "");
    });
  }

  backlogBytes(): Promise<number> {
    return this.deps.access.perform("push", () => {
      const { engine, partitions } = this.deps;
      let entries = 0;
      for (let q = 0; q < partitions.user; q++) {
        entries += engine.streamAt(engine.keys.stream("push_task", q)).length;
      }
      return entries * BYTES_PER_ENTRY;
    });
  }

  private fields(name: string): Map<string, string> {
    const { engine, limits } = this.deps;
    const end = Math.ceil(engine.now() / 1_000) + limits.DEDUP_WINDOW_S;
    return engine.fieldsOf(name, "all", end);
  }
}

const BYTES_PER_ENTRY = 400;

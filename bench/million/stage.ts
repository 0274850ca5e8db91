/** What is looked at when so many connections are there and silent. */
import { costBetween, type ProcessCost, processTree } from "../processes.ts";
import type { Broadcast } from "./broadcast.ts";
import type { MemoryLook } from "./memory.ts";

export interface Point {
  /** Seconds from the start of the run. */
  readonly s: number;
  readonly here: number;
}

export interface Times {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export interface Stage {
  readonly connections: number;
  readonly gateways: number;
  readonly herds: number;
  /** From the first handshake of this stage to the last welcome, new gateways' start left out. */
  readonly connectSeconds: number;
  readonly connectionsPerSecond: number;
  readonly welcomeMs: Times;
  /** Core seconds per wall second, while nothing happens, by kind of process. */
  readonly idleCores: Readonly<Record<string, number>>;
  /** Microseconds for each new connection, by kind of process. */
  readonly connectCpuUs: Readonly<Record<string, number>>;
  readonly memory: MemoryLook;
  readonly redisBytes: number;
  readonly broadcast: (Broadcast & { readonly cpuUs: Readonly<Record<string, number>> }) | null;
}

/** CPU by kind between two looks, in milliseconds. */
export class CpuMeter {
  private before: ProcessCost[] = [];
  private startMs = 0;

  constructor(private readonly kinds: () => ReadonlyMap<number, string>) {}

  begin(): void {
    this.before = processTree([...this.kinds().keys()]);
    this.startMs = performance.now();
  }

  /** `unit`: what a kind's milliseconds are divided by. */
  end(unit: (wallMs: number) => number): Record<string, number> {
    const kinds = this.kinds();
    const wallMs = performance.now() - this.startMs;
    const by: Record<string, number> = {};
    for (const { cpuMs, pid } of costBetween(this.before, processTree([...kinds.keys()]))) {
      const kind = kinds.get(pid);
      if (kind !== undefined) by[kind] = (by[kind] ?? 0) + cpuMs / unit(wallMs);
    }
    return by;
  }
}

/**
 * Bytes that each connection costs, by where they are: what grew from the empty cluster until the
 * stage. Of a kind of process that comes in more and more replicas this counts the replicas, too.
 */
export function bytesPerConnection(empty: MemoryLook, stage: Stage): Record<string, number> {
  const { connections, memory } = stage;
  const each = (now: number, before: number) => (now - before) / connections;
  const by: Record<string, number> = {};
  for (const [kind, bytes] of Object.entries(memory.pssBytes)) {
    by[kind] = each(bytes, empty.pssBytes[kind] ?? 0);
  }
  by.kernel = each(memory.slabBytes, empty.slabBytes);
  by["page tables"] = each(memory.pageTableBytes, empty.pageTableBytes);
  by["machine, in all"] = each(-memory.availableBytes, -empty.availableBytes);
  return by;
}

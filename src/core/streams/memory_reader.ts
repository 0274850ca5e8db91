/**
 * The reader in memory. It takes partitions, notices gaps and reads anew exactly as the one on Redis
 * does, and shares its rules (OrdinalGuard, Reading); what differs is that nothing blocks: the
 * engine calls back at each append, and a read that finds nothing is simply not repeated.
 */
import { type Clock, sleep, type Timer } from "../clock.ts";
import { LIMITS } from "../limits.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import { type ConsumerGroup, GROUP_TOPICS, type Topic } from "../topology.ts";
import { type ReadBatch, StreamLostError, type StreamReader } from "./contract.ts";
import type { MemoryAccess, MemoryEngine } from "./memory_engine.ts";
import { OrdinalGuard } from "./ordinal_guard.ts";
import { MAY_READ_POLL_MS, newReading, type Reading } from "./reading.ts";

export interface MemoryReaderDeps {
  readonly engine: MemoryEngine;
  readonly nodeId: string;
  readonly clock: Clock;
  readonly telemetry: Pick<Telemetry, "log" | "metrics">;
  readonly access: MemoryAccess;
  readonly group: ConsumerGroup;
  readonly onBatch: (batches: readonly ReadBatch[]) => void;
  readonly onError: (error: Error) => void;
  readonly mayRead: () => boolean;
}

interface Target {
  readonly topic: Topic;
  readonly partition: number;
  readonly key: string;
}

const RETRY_MS = 100;
const CHECK_MS = 3_000;

export class MemoryReader implements StreamReader {
  private readonly assigned = new Map<number, Reading>();
  private readonly unsubscribe: () => void;
  private readonly checks: Timer;
  private generation = 0;
  private working: Promise<void> | null = null;
  private again = false;
  private stopped = false;

  constructor(private readonly deps: MemoryReaderDeps) {
    this.unsubscribe = deps.engine.onAppend((key) => {
      if (this.isRead(key)) this.work();
    });
    this.checks = deps.clock.every(CHECK_MS, () => this.check());
  }

  assign(partition: number): Promise<void> {
    const reading = this.assigned.get(partition) ?? newReading(partition);
    this.assigned.set(partition, reading);
    reading.guards = new Map();
    this.takeAnew(reading);
    return new Promise((resolve) => reading.waiting.push(resolve));
  }

  revoke(partition: number): void {
    const reading = this.assigned.get(partition);
    if (reading === undefined) return;
    this.assigned.delete(partition);
    reading.turn++;
    for (const resolve of reading.waiting.splice(0)) resolve();
  }

  pause(partition: number): void {
    const reading = this.assigned.get(partition);
    if (reading !== undefined) reading.paused = true;
  }

  resume(partition: number): void {
    const reading = this.assigned.get(partition);
    if (reading === undefined) return;
    reading.paused = false;
    this.work();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.unsubscribe();
    this.checks.cancel();
    for (const partition of [...this.assigned.keys()]) this.revoke(partition);
  }

  /** Starts working, or makes the work under way look once more before it ends. */
  private work(): void {
    this.again = true;
    if (this.working !== null || this.stopped) return;
    this.working = this.run().finally(() => {
      this.working = null;
      if (this.again) this.work();
    });
  }

  private async run(): Promise<void> {
    while (this.again && !this.stopped) {
      this.again = false;
      const batches = await this.attempt();
      if (this.stopped || batches === null) continue;
      if (batches.length > 0) {
        this.again = true;
        this.handOver(batches);
      }
    }
  }

  private async attempt(): Promise<ReadBatch[] | null> {
    try {
      if (this.assigned.size > 0 && !this.deps.mayRead()) {
        await sleep(this.deps.clock, MAY_READ_POLL_MS);
        this.again = true;
        return null;
      }
      await this.takePartitions();
      const held: ReadBatch[] = [];
      for (const reading of this.assigned.values()) {
        if (!reading.paused) held.push(...reading.held.splice(0));
      }
      if (held.length > 0) return held;
      // Named as it leaves: one that is late on the way must not read under a later name.
      const [targets, consumer] = [this.keysToRead(), this.consumer()];
      const read = await this.deps.access.perform("read", () => this.read(targets, consumer));
      return read.filter((batch) => this.accepts(batch));
    } catch (error) {
      if (this.stopped || !(error instanceof Error)) return null;
      if (error instanceof StreamLostError) {
        this.deps.telemetry.metrics.dataLost.inc({ what: "stream" }, error.streams.length);
      }
      this.deps.onError(error);
      // Whatever the lost reply held is pending under the old name, as after a lost connection.
      for (const reading of this.assigned.values()) this.takeAnew(reading);
      this.generation++;
      await sleep(this.deps.clock, RETRY_MS);
      return null;
    }
  }

  private async takePartitions(): Promise<void> {
    const { access, engine, group } = this.deps;
    for (;;) {
      const fresh = [...this.assigned.values()].filter((reading) => !reading.taken);
      if (fresh.length === 0) return;
      const turns = fresh.map((reading) => reading.turn);
      const lasts = await access.perform("take", () =>
        fresh.map(({ partition }) =>
          GROUP_TOPICS[group].map((topic) => {
            engine.streamAt(engine.keys.stream(topic, partition)).createGroup(true);
            return engine.counters.get(engine.keys.ordinal(topic, partition)) ?? 0;
          }),
        ),
      );
      for (const [i, reading] of fresh.entries()) {
        if (reading.turn !== turns[i]) continue;
        reading.taken = true;
        for (const [t, topic] of GROUP_TOPICS[group].entries()) {
          const last = lasts[i]?.[t] ?? 0;
          const guard = reading.guards.get(topic);
          if (guard === undefined) reading.guards.set(topic, new OrdinalGuard(last));
          else guard.rebase(last);
        }
        for (const resolve of reading.waiting.splice(0)) resolve();
      }
    }
  }

  /** Runs in the engine. */
  private read(targets: readonly Target[], consumer: string): ReadBatch[] {
    const { engine } = this.deps;
    const batches: ReadBatch[] = [];
    const missing = targets.map(({ key }) => key).filter((key) => !engine.hasStream(key));
    const streams = targets.map((target) => ({
      ...target,
      stream: engine.streamAt(target.key),
    }));
    if (missing.length > 0) throw new StreamLostError(missing);
    if (streams.some(({ stream }) => !stream.hasGroup())) throw new Error("NOGROUP");
    for (const { topic, partition, stream } of streams) {
      const entries = stream.read(consumer, LIMITS.READ_ENTRIES_MAX);
      if (entries.length > 0) batches.push({ topic, partition, entries });
    }
    return batches;
  }

  private accepts(batch: ReadBatch): boolean {
    const reading = this.assigned.get(batch.partition);
    if (reading?.paused === true && reading.taken) reading.held.push(batch);
    return reading?.taken === true && !reading.paused;
  }

  private handOver(batches: readonly ReadBatch[]): void {
    const inOrder = batches.filter(({ topic, partition, entries }) => {
      const reading = this.assigned.get(partition);
      if (reading?.taken !== true) return false;
      const check = reading.guards.get(topic)?.check(entries);
      if ((check?.skipped ?? 0) > 0) {
        this.deps.telemetry.metrics.dataLost.inc({ what: "entries" });
      }
      if (check?.gap !== true) return true;
      this.deps.telemetry.metrics.gaps.inc({ topic });
      this.takeAnew(reading);
      return false;
    });
    if (inOrder.length > 0) this.deps.onBatch(inOrder);
  }

  /** Looks for entries of ours that another reader was given. */
  private check(): void {
    const { engine, group, telemetry } = this.deps;
    for (const reading of this.assigned.values()) {
      for (const topic of GROUP_TOPICS[group]) {
        const stream = engine.streamAt(engine.keys.stream(topic, reading.partition));
        const consumer = this.consumer();
        if (!reading.taken || ![...stream.pending.values()].some((name) => name !== consumer)) {
          continue;
        }
        telemetry.metrics.gaps.inc({ topic });
        this.takeAnew(reading);
      }
    }
  }

  private isRead(key: string): boolean {
    const { engine, group } = this.deps;
    for (const { partition, paused, taken } of this.assigned.values()) {
      if (paused || !taken) continue;
      for (const topic of GROUP_TOPICS[group]) {
        if (engine.keys.stream(topic, partition) === key) return true;
      }
    }
    return false;
  }

  private keysToRead(): Target[] {
    const { engine, group } = this.deps;
    return [...this.assigned.values()]
      .filter(({ paused, taken }) => taken && !paused)
      .flatMap(({ partition }) =>
        GROUP_TOPICS[group].map((topic) => {
          return { topic, partition, key: engine.keys.stream(topic, partition) };
        }),
      );
  }

  private takeAnew(reading: Reading): void {
    reading.taken = false;
    reading.turn++;
    reading.held = [];
    this.work();
  }

  private consumer(): string {
    return `${this.deps.nodeId}/${this.generation}`;
  }
}

/**
 * Reads a consumer group's partitions from a Redis Cluster. XREADGROUP takes streams of one slot
 * only, so there is a reader, with a connection of its own, for each partition that is assigned. In
 * the whole cluster that is one blocked connection per partition and group, whoever owns them.
 */
import type { ReadBatch, StreamReader } from "./contract.ts";

export class ClusterReader implements StreamReader {
  private readonly readers = new Map<number, StreamReader>();
  private readonly ending = new Set<Promise<void>>();

  constructor(
    private readonly open: (
      partition: number,
      onBatch: (batches: readonly ReadBatch[]) => void,
    ) => StreamReader,
    private readonly onBatch: (batches: readonly ReadBatch[]) => void,
  ) {}

  assign(partition: number): Promise<void> {
    let reader = this.readers.get(partition);
    if (reader === undefined) {
      reader = this.open(partition, this.onBatch);
      this.readers.set(partition, reader);
    }
    return reader.assign(partition);
  }

  revoke(partition: number): void {
    const reader = this.readers.get(partition);
    if (reader === undefined) return;
    this.readers.delete(partition);
    reader.revoke(partition);
    const end = reader.stop().finally(() => this.ending.delete(end));
    this.ending.add(end);
  }

  pause(partition: number): void {
    this.readers.get(partition)?.pause(partition);
  }

  resume(partition: number): void {
    this.readers.get(partition)?.resume(partition);
  }

  async stop(): Promise<void> {
    for (const partition of [...this.readers.keys()]) this.revoke(partition);
    await Promise.all(this.ending);
  }
}

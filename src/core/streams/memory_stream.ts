/** A stream and its one consumer group. Entries keep their position; those deleted leave a hole. */
import type { StreamEntry } from "./contract.ts";

/** Holes at the front are closed once there are so many; closing them costs as many moves. */
const HOLES_MAX = 1_024;

export class MemoryStream {
  private entries: (StreamEntry | null)[] = [];
  /** Position of `entries[0]`. */
  private base = 0;
  private readonly positions = new Map<string, number>();
  /** Null until the group is created; then the position that is delivered next. */
  private next: number | null = null;
  /** Id → the consumer that an unsettled entry was given to. */
  readonly pending = new Map<string, string>();

  /** The same entries and the same group. */
  copy(): MemoryStream {
    const copy = new MemoryStream();
    copy.entries = [...this.entries];
    copy.base = this.base;
    copy.next = this.next;
    for (const [id, position] of this.positions) copy.positions.set(id, position);
    for (const [id, consumer] of this.pending) copy.pending.set(id, consumer);
    return copy;
  }

  /** XGROUP DESTROY. */
  dropGroup(): void {
    this.next = null;
    this.pending.clear();
  }

  get length(): number {
    return this.positions.size;
  }

  append(entry: StreamEntry): void {
    this.positions.set(entry.id, this.base + this.entries.length);
    this.entries.push(entry);
  }

  delete(id: string): void {
    const position = this.positions.get(id);
    this.pending.delete(id);
    if (position === undefined) return;
    this.positions.delete(id);
    this.entries[position - this.base] = null;
    this.closeHoles();
  }

  /** Deletes the oldest until at most `max` are left. */
  trim(max: number): void {
    while (this.positions.size > max) {
      const oldest = this.positions.keys().next();
      if (!oldest.done) this.delete(oldest.value);
    }
  }

  /** Creates the group at the start; with `anew`, also where it exists, forgetting what is pending. */
  createGroup(anew: boolean): void {
    if (this.next !== null && !anew) return;
    this.next = this.base;
    this.pending.clear();
  }

  hasGroup(): boolean {
    return this.next !== null;
  }

  /** Gives `consumer` up to `max` entries that the group has not been given. */
  read(consumer: string, max: number): StreamEntry[] {
    const taken: StreamEntry[] = [];
    let next = Math.max(this.next ?? 0, this.base);
    for (; taken.length < max && next < this.base + this.entries.length; next++) {
      const entry = this.entries[next - this.base] ?? null;
      if (entry === null) continue;
      taken.push(entry);
      this.pending.set(entry.id, consumer);
    }
    this.next = next;
    return taken;
  }

  private closeHoles(): void {
    let holes = 0;
    while (holes < this.entries.length && this.entries[holes] === null) holes++;
    if (holes < HOLES_MAX && holes < this.entries.length) return;
    this.entries = this.entries.slice(holes);
    this.base += holes;
  }
}
